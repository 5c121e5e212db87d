//! `shipbell show`: all about one run, the end first, the last lines of a failed one's log, and the
//! next commands to type.

use std::process::ExitCode;

use crate::model::run::{Outcome, StepEnd};
use crate::model::time::seconds_between;
use crate::model::view::{RemovedView, RunView, StepView};
use crate::report::used::{bytes, compared, used};

use super::Context;
use super::exit::Failure;
use super::history::cause;
use super::paint::{Cell, Screen, Table, Tone, WIDTH, safe, safe_line, wrap};
use super::target::Target;
use super::when::{Reader, rough, took};

pub(super) async fn show(context: &Context, target: &Target) -> Result<ExitCode, Failure> {
    let run = target.last(&context.client).await?;
    let text = context.client.get_text(&format!("/api/v1/runs/{}", run.id())).await?;
    if context.json {
        context.screen.print(&format!("{}\n", text.trim_end()))?;
    } else {
        let view: RunView = super::client::read(&text)?;
        context.screen.print(&render(&view, &context.screen))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn render(view: &RunView, screen: &Screen) -> String {
    let reader = screen.reader(view.now);
    let mut text = headline(view, screen);
    let mut facts = Table::new(2);
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            facts.row(vec![label(name), value.into()]);
        }
    };
    fact("commit", commit(view));
    fact("cause", cause_line(view, &reader));
    fact("time", time(view, &reader));
    let usage = view.attempts.last().and_then(|attempt| attempt.usage);
    fact("used", usage.as_ref().map(used).unwrap_or_default());
    fact("", usage.and_then(|usage| compared(&usage, view.usual_usage.as_ref())).unwrap_or_default());
    fact("waits", view.row.waits.as_deref().map(safe_line).unwrap_or_default());
    fact("approval", approval(view, &reader));
    fact("params", pairs(&view.params));
    fact("needs", view.upstream.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    fact("outputs", pairs(&view.outputs));
    fact("left", artifacts(view));
    fact("gone", removed(view, &reader));
    text.push_str(&facts.render(screen));
    text.push_str(&steps(view, screen));
    let mut after = Table::new(2);
    for (number, line) in view.then.iter().enumerate() {
        after.row(vec![label(if number == 0 { "then" } else { "" }), safe_line(line).into()]);
    }
    text.push_str(&after.render(screen));
    text.push_str(&last_good(view, &reader));
    if !view.tail.is_empty() {
        text.push('\n');
        for line in &view.tail {
            text.push_str(&format!("      {}\n", safe(line)));
        }
    }
    text.push_str(&commands(view, screen));
    text
}

/// The first column is one for all parts.
fn label(name: &str) -> Cell {
    Cell::new(Tone::Faint, format!("{name:<8}"))
}

fn headline(view: &RunView, screen: &Screen) -> String {
    let row = &view.row;
    let (tone, word) = match row.outcome {
        None if row.state == "running" => (Tone::Strong, "RUNS".to_owned()),
        None => (Tone::Waits, "WAITS".to_owned()),
        Some(Outcome::Succeeded) => (Tone::Good, "ok".to_owned()),
        Some(outcome @ (Outcome::Skipped | Outcome::Cancelled)) => (Tone::Plain, outcome.word().to_owned()),
        Some(outcome) => (Tone::Bad, outcome.word().to_uppercase()),
    };
    let head = format!("{}   ", row.run);
    let reason = safe(&row.reason);
    let mut lines = reason.lines();
    let first = lines.next().unwrap_or_default();
    let glue = if first.is_empty() || first.starts_with("in ") { " " } else { ": " };
    let told = if first.is_empty() { String::new() } else { format!("{glue}{first}") };
    let all = wrap(&format!("{word}{told}"), WIDTH.saturating_sub(head.len()).max(24));
    let mut text = String::new();
    for (number, line) in all.iter().enumerate() {
        let before = if number == 0 { head.clone() } else { " ".repeat(head.len()) };
        text.push_str(&format!("{before}{}\n", screen.paint(tone, line)));
    }
    for line in lines {
        text.push_str(&format!("      {line}\n"));
    }
    text
}

fn commit(view: &RunView) -> String {
    let branch = view.row.branch.as_ref().map(|branch| format!(", {}", safe_line(branch))).unwrap_or_default();
    match (&view.commit, &view.row.commit) {
        (Some(info), _) => {
            format!("{} {} ({}){branch}", info.id.short(), safe_line(&info.subject), safe_line(&info.author))
        }
        (None, Some(id)) => format!("{}{branch}", id.short()),
        (None, None) => String::new(),
    }
}

fn cause_line(view: &RunView, reader: &Reader) -> String {
    format!("{}, queued {}", cause(&view.row), reader.exact(view.row.queued_at))
}

fn time(view: &RunView, reader: &Reader) -> String {
    let row = &view.row;
    let Some(start) = row.started_at else { return String::new() };
    let usual = row.usual.map(|usual| format!(" (usually {usual})")).unwrap_or_default();
    let queued = rough(seconds_between(row.queued_at, start));
    let took = took(start, row.finished_at.unwrap_or(view.now));
    let end = row.finished_at.map_or_else(|| "...".to_owned(), |end| reader.clock(end));
    let attempts = if row.attempt > 1 { format!(", attempt {}", row.attempt) } else { String::new() };
    format!("{} - {end}, {took}{usual}, queued {queued}{attempts}", reader.exact(start))
}

fn approval(view: &RunView, reader: &Reader) -> String {
    let Some(request) = &view.request else { return String::new() };
    let votes = request.votes.iter().map(|vote| {
        let reason = if vote.reason.is_empty() { String::new() } else { format!(" ({})", safe_line(&vote.reason)) };
        format!("{} {} {}{reason}", vote.by, vote.verdict, reader.when(vote.at))
    });
    let votes: Vec<String> = votes.collect();
    let all = if votes.is_empty() { String::new() } else { format!("; {}", votes.join(", ")) };
    let until =
        if request.state == "open" { format!(" until {}", reader.when(request.expires_at)) } else { String::new() };
    let who = if request.who_can.is_empty() { String::new() } else { format!("; can: {}", request.who_can.join(", ")) };
    let state = if request.state == "used" { "approved" } else { request.state.as_str() };
    format!("{state}{until}, asked {}{all}{who}", reader.when(request.asked_at))
}

fn pairs(values: &std::collections::BTreeMap<String, String>) -> String {
    let all: Vec<String> = values.iter().map(|(key, value)| safe_line(&format!("{key}={value}"))).collect();
    all.join(", ")
}

fn artifacts(view: &RunView) -> String {
    let all: Vec<String> =
        view.artifacts.iter().map(|file| format!("{} ({})", safe_line(&file.path), bytes(file.size))).collect();
    all.join(", ")
}

/// What went by `[retention]`.
fn removed(view: &RunView, reader: &Reader) -> String {
    let one = |gone: &RemovedView| format!("{}, {}", gone.part, reader.exact(gone.at));
    match view.removed.as_slice() {
        [] => String::new(),
        gone => format!("{} (by [retention])", gone.iter().map(one).collect::<Vec<_>>().join("; ")),
    }
}

fn steps(view: &RunView, screen: &Screen) -> String {
    let mut table = Table::new(2);
    for (number, step) in view.steps.iter().enumerate() {
        let (tone, word) = step_word(step);
        let always = if step.always { "  (always)" } else { "" };
        let took = took(step.started_at, step.finished_at.unwrap_or(view.now));
        table.row(vec![
            label(if number == 0 { "steps" } else { "" }),
            format!("{} {}", step.index, safe_line(&step.name)).into(),
            Cell::new(tone, word),
            format!("{took}{always}").into(),
        ]);
    }
    table.render(screen)
}

fn step_word(step: &StepView) -> (Tone, String) {
    match &step.ended {
        None => (Tone::Strong, "runs".into()),
        Some(end) if end.good() => (Tone::Good, "ok".into()),
        Some(StepEnd::Refused(_)) => (Tone::Bad, "REFUSED".into()),
        Some(StepEnd::Exit(_)) => (Tone::Bad, "FAILED".into()),
        Some(end) => (Tone::Bad, end.to_string()),
    }
}

fn last_good(view: &RunView, reader: &Reader) -> String {
    let Some(good) = &view.last_good else { return String::new() };
    let at = good.finished_at.map(|at| format!(" {}", reader.when(at))).unwrap_or_default();
    let commit = good.commit.as_ref().map(|commit| format!(", {}", commit.short())).unwrap_or_default();
    format!("  last success{at} ({}#{}{commit})\n", good.run.job.job, good.run.number)
}

fn commands(view: &RunView, screen: &Screen) -> String {
    let run = &view.row.run;
    let mut table = Table::new(2);
    let mut command = |name: &str, text: String| table.row(vec![label(name), text.into()]);
    let bad = view.row.outcome.is_some_and(|outcome| outcome != Outcome::Succeeded && outcome != Outcome::Skipped);
    if view.row.attempt > 0 {
        command("log", format!("shipbell logs {run}"));
    }
    if let Some(request) = view.request.as_ref().filter(|request| request.state == "open") {
        command("approve", format!("shipbell approve {run}{}", if request.signed { " --sign" } else { "" }));
    }
    if bad {
        command("again", format!("shipbell retry {run}"));
    }
    if view.row.outcome.is_none() {
        command("end it", format!("shipbell cancel {run}"));
    }
    command("page", view.page.clone());
    format!("\n{}", table.render(screen))
}
