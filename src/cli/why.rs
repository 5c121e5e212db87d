//! `shipbell why`: one due time or commit, what became of it, and the facts it came from.

use std::process::ExitCode;

use crate::model::time::Timestamp;
use crate::model::view::{DueState, FactView, WhyView};

use super::Context;
use super::args::WhyArgs;
use super::client::query;
use super::exit::Failure;
use super::paint::{Screen, Tone, WIDTH, count, safe_line, wrap};
use super::when::Reader;

pub(super) async fn why(context: &Context, asked: &WhyArgs) -> Result<ExitCode, Failure> {
    let mut path = format!("/api/v1/why?job={}", asked.job.0);
    if !asked.time.is_empty() {
        path.push_str(&format!("&time={}", query(&asked.time.join(" "))));
    }
    if let Some(zone) = context.screen.zone.iana_name() {
        path.push_str(&format!("&zone={}", query(zone)));
    }
    let text = context.client.get_text(&path).await?;
    if context.json {
        context.screen.print(&format!("{}\n", text.trim_end()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let view: WhyView = super::client::read(&text)?;
    context.screen.print(&render(&view, &context.screen))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn render(view: &WhyView, screen: &Screen) -> String {
    let reader = screen.reader(view.now);
    let mut text = format!("{}{}\n", screen.paint(Tone::Strong, &view.job.to_string()), about(view, &reader));
    let headline = match view.due.as_ref().filter(|due| due.state == DueState::Coming) {
        Some(due) => format!("COMES {}", reader.soon(due.at)),
        None => safe_line(&view.headline),
    };
    for line in wrap(&headline, WIDTH) {
        text.push_str(&format!("{}\n", screen.paint(tone(view), &line)));
    }
    text.push('\n');
    let room = view.facts.iter().map(|fact| fact.subject.len()).filter(|width| *width <= 12).max().unwrap_or_default();
    for fact in view.facts.iter().filter(|fact| !fact.now) {
        text.push_str(&row(fact, room, &reader));
    }
    if view.facts.iter().any(|fact| fact.now) {
        text.push_str(&format!("  {}\n", screen.paint(Tone::Faint, "as it stands now:")));
    }
    for fact in view.facts.iter().filter(|fact| fact.now) {
        text.push_str(&row(fact, room, &reader));
    }
    for (n, at) in view.nearest.iter().enumerate() {
        text.push_str(&line(if n == 0 { "nearest" } else { "" }, &both(*at, view, &reader)));
    }
    if view.others > 0 {
        let more = count(view.others, "more due time", "more due times");
        text.push_str(&line("also", &format!("{more} in that stretch; name the minute for another one")));
    }
    if let Some(next) = view.next_due {
        text.push_str(&line("next due", &reader.dated(next)));
    }
    if let Some(command) = &view.command {
        let label = if command.starts_with("shipbell run ") { "run now" } else { "look" };
        text.push_str(&line(label, command));
    }
    text
}

/// What the first line is about: the due time in the job's zone and the reader's.
fn about(view: &WhyView, reader: &Reader) -> String {
    match (&view.due, &view.asked) {
        (Some(due), _) => format!("   due {}", both(due.at, view, reader)),
        (None, Some((from, to))) if view.commit.is_none() => {
            let to = if *to > *from { format!(" - {}", reader.dated(*to)) } else { String::new() };
            format!("   {}{to}", reader.dated(*from))
        }
        _ => String::new(),
    }
}

/// `Fri 27 Nov 02:00 Asia/Shanghai = Thu 26 Nov 19:00`.
fn both(at: Timestamp, view: &WhyView, reader: &Reader) -> String {
    match view.zone.as_ref().and_then(|zone| reader.dated_elsewhere(at, zone)) {
        Some(there) => format!("{there} = {}", reader.dated(at)),
        None => reader.dated(at),
    }
}

fn tone(view: &WhyView) -> Tone {
    match view.due.as_ref().map(|due| due.state) {
        Some(DueState::Skipped | DueState::Coalesced | DueState::Pending) => Tone::Waits,
        _ if view.headline.contains("FAILED") || view.headline.starts_with("DID NOT RUN") => Tone::Bad,
        Some(DueState::Run) => Tone::Good,
        _ => Tone::Plain,
    }
}

fn row(fact: &FactView, room: usize, reader: &Reader) -> String {
    let subject = match (fact.subject.as_str(), room) {
        ("", _) => String::new(),
        (subject, room) => format!("{:<room$}  ", safe_line(subject)),
    };
    let at = fact.at.map(|at| reader.when(at));
    let text = Some(fact.text.as_str()).filter(|text| !text.is_empty()).map(safe_line);
    let mut said = [text, at].into_iter().flatten().collect::<Vec<_>>().join(" ");
    if !fact.more.is_empty() {
        let place = fact.label == "rule";
        let glue = match (place, fact.label.as_str()) {
            (true, _) => "     ",
            (_, "deployed" | "carries") => " ",
            _ => ", ",
        };
        said.push_str(&format!("{glue}{}", safe_line(&fact.more)));
    }
    line(&fact.label, &format!("{subject}{said}"))
}

/// A labelled line, wrapped below itself.
fn line(label: &str, text: &str) -> String {
    const INDENT: usize = 13;
    let parts: Vec<String> = wrap(text, WIDTH - INDENT).iter().map(|part| part.trim_end().to_owned()).collect();
    let glue = format!("\n{}", " ".repeat(INDENT));
    format!("{}\n", format!("  {label:<10} {}", parts.join(&glue)).trim_end())
}
