//! `shipbell next` and `shipbell approvals`: what comes by itself, and what waits for a vote.

use std::process::ExitCode;

use crate::model::name::JobKey;
use crate::model::view::{ApprovalRow, ApprovalsView, NextRow, NextView};

use super::Context;
use super::exit::Failure;
use super::paint::{Cell, Screen, Table, Tone, count, cut, safe_line, wrap};
use super::when::Reader;

pub(super) async fn next(context: &Context, n: usize, job: Option<&JobKey>) -> Result<ExitCode, Failure> {
    let of = job.map(|job| format!("&job={job}")).unwrap_or_default();
    let text = context.client.get_text(&format!("/api/v1/next?n={n}{of}")).await?;
    if context.json {
        context.screen.print(&format!("{}\n", text.trim_end()))?;
    } else {
        let view: NextView = super::client::read(&text)?;
        context.screen.print(&render_next(&view, &context.screen))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn render_next(view: &NextView, screen: &Screen) -> String {
    if view.rows.is_empty() {
        return "Nothing comes by the clock: no job has `schedule` or `every`. Commits and people start the rest.\n"
            .into();
    }
    let reader = screen.reader(view.now);
    let mut notes: Vec<String> = Vec::new();
    let mut table = Table::new(0);
    table.head(&["NEXT", "LEFT", "LAST", "RESULT", "JOB"]);
    for row in &view.rows {
        let name = row.run.as_ref().map_or_else(|| row.job.to_string(), ToString::to_string);
        let mark = note(row, &reader).map(|note| {
            notes.push(note);
            format!(" [{}]", notes.len())
        });
        let tone = if row.result.starts_with("FAILED") { Tone::Bad } else { Tone::Plain };
        table.row(vec![
            reader.day(row.at).into(),
            reader.left(row.at).into(),
            row.last.map_or_else(|| "-".into(), |last| reader.day(last).into()),
            Cell::new(tone, cut(&safe_line(&row.result), 20)),
            format!("{name}{}", mark.unwrap_or_default()).into(),
        ]);
    }
    let mut text = table.render(screen);
    let notes: Vec<String> = notes.iter().enumerate().map(|(at, note)| format!("[{}] {note}", at + 1)).collect();
    if !notes.is_empty() {
        text.push_str(&format!("{}\n", wrap(&notes.join("   "), 80).join("\n")));
    }
    let total = if view.total == view.rows.len() {
        format!("{} in all", view.total)
    } else {
        format!("{} of {}", view.rows.len(), view.total)
    };
    let last = view.rows.last().map_or(view.now, |row| row.at);
    let change = reader.clock_change().map(|(at, date)| {
        let before = if at > last { "No DST change before" } else { "The clock changes on" };
        format!(". {before} {date}.")
    });
    text.push_str(&format!("{total}; times in {}{}\n", reader.zone(), change.unwrap_or_default()));
    text
}

/// What the row alone does not say: the same instant in the rule's zone, or what holds a run.
fn note(row: &NextRow, reader: &Reader) -> Option<String> {
    if row.run.is_some() {
        return Some(safe_line(&row.rule));
    }
    reader.elsewhere(row.at, row.zone.as_ref()?)
}

pub(super) async fn approvals(context: &Context) -> Result<ExitCode, Failure> {
    let text = context.client.get_text("/api/v1/approvals").await?;
    if context.json {
        context.screen.print(&format!("{}\n", text.trim_end()))?;
    } else {
        let view: ApprovalsView = super::client::read(&text)?;
        context.screen.print(&render_approvals(&view, &context.screen))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn render_approvals(view: &ApprovalsView, screen: &Screen) -> String {
    let reader = screen.reader(view.now);
    let mut text = String::new();
    let mut table = Table::new(0);
    table.head(&["RUN", "COMMIT", "ASKED", "UNTIL", "VOTES", "WHO CAN"]);
    for row in &view.open {
        table.row(approval_cells(row, &reader));
    }
    // Each row's story stands under it, so the table is taken apart again by its lines.
    let rendered = table.render(screen);
    let mut lines = rendered.lines();
    if view.open.is_empty() {
        text.push_str("Nothing waits for a vote.\n");
    } else {
        text.push_str(&format!("{}\n", lines.next().unwrap_or_default()));
    }
    let mut rows = view.open.iter();
    for line in lines.filter(|_| !view.open.is_empty()) {
        if line.starts_with(' ') {
            text.push_str(&format!("{line}\n"));
            continue;
        }
        text.push_str(&format!("{line}\n"));
        if let Some(row) = rows.next() {
            for story in story(row, &reader) {
                text.push_str(&format!("  {story}\n"));
            }
        }
    }
    let open = view.open.iter().filter(|row| row.state == "open").count();
    let lately: Vec<String> = view.decided.iter().take(5).map(|row| decided(row, &reader)).collect();
    let lately = if lately.is_empty() { String::new() } else { format!(" Decided lately: {}.", lately.join("; ")) };
    text.push_str(&format!("{}\n", wrap(&format!("{open} open.{lately}"), 80).join("\n")));
    text
}

fn approval_cells(row: &ApprovalRow, reader: &Reader) -> Vec<Cell> {
    let approved = row.votes.iter().filter(|vote| vote.verdict == "approve").count();
    let who = if row.state == "open" { row.who_can.join(", ") } else { row.state.clone() };
    vec![
        row.run.to_string().into(),
        row.commit.as_ref().map_or("-", |commit| commit.id.short()).into(),
        reader.when(row.asked_at).into(),
        reader.when(row.expires_at).into(),
        format!("{approved} of {}", row.votes_needed).into(),
        if who.is_empty() { Cell::new(Tone::Bad, "nobody") } else { who.into() },
    ]
}

/// What is approved by it, what to mind, and what happens then.
pub(super) fn story(row: &ApprovalRow, reader: &Reader) -> Vec<String> {
    let mut lines = Vec::new();
    // Without one, `mind` says that it is the first.
    if let Some((live, since)) = &row.live {
        let commits = count(row.adds_total, "commit", "commits");
        lines.push(format!("{commits} since {} (live since {})", live.short(), reader.when(*since)));
    }
    for commit in row.adds.iter().take(8) {
        lines.push(cut(&format!("- {}  ({})", safe_line(&commit.subject), safe_line(&commit.author)), 76));
    }
    if !row.takes_back.is_empty() {
        lines.push(format!("TAKES BACK {}:", count(row.takes_back.len() as u64, "COMMIT", "COMMITS")));
        let back = row.takes_back.iter();
        lines.extend(back.map(|commit| cut(&format!("- {} {}", commit.id.short(), safe_line(&commit.subject)), 76)));
    }
    lines.extend(row.mind.iter().map(|mind| format!("! {}", safe_line(mind))));
    lines.extend(row.excluded.iter().map(|(who, why)| format!("{who} cannot vote: {}", safe_line(why))));
    if row.state == "open" {
        lines.push(format!("shipbell approve {}{}", row.run, if row.signed { " --sign" } else { "" }));
    } else if let Some(waits) = &row.waits {
        lines.push(format!("approved; it waits ({})", safe_line(waits)));
    }
    lines
}

fn decided(row: &ApprovalRow, reader: &Reader) -> String {
    let by: Vec<&str> = row.votes.iter().map(|vote| vote.by.as_str()).collect();
    let by = if by.is_empty() { String::new() } else { format!(" by {}", by.join(", ")) };
    let at = row.decided_at.map(|at| format!(" {}", reader.when(at))).unwrap_or_default();
    let word = if row.state == "used" { "approved" } else { row.state.as_str() };
    let why = if row.state == "used" || row.reason.is_empty() {
        String::new()
    } else {
        format!(" ({})", safe_line(&row.reason))
    };
    format!("{} {word}{by}{at}{why}", row.run)
}
