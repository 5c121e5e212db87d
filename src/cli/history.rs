//! `shipbell history`: runs, newest first; equal results of timed jobs fold into one line.

use std::process::ExitCode;

use crate::model::run::{Cause, Outcome};
use crate::model::view::{HistoryView, RunRow};

use super::Context;
use super::args::HistoryArgs;
use super::exit::Failure;
use super::paint::{Cell, Screen, Table, Tone, cut, safe_line};
use super::target::Scope;
use super::when::{Reader, took};

/// So many equal results in a row are folded into one line.
const FOLD: usize = 4;

pub(super) async fn history(context: &Context, query: &HistoryArgs) -> Result<ExitCode, Failure> {
    let scope = match &query.scope {
        None => String::new(),
        Some(Scope::Pipeline(pipeline)) => format!("&pipeline={pipeline}"),
        Some(Scope::Job(job)) => format!("&job={job}"),
    };
    let path = format!("/api/v1/history?n={}&failed={}{scope}", query.n, query.failed);
    let text = context.client.get_text(&path).await?;
    if context.json {
        context.screen.print(&format!("{}\n", text.trim_end()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let view: HistoryView = super::client::read(&text)?;
    let text = if view.runs.is_empty() { nothing(query) } else { render(&view, query, &context.screen) };
    context.screen.print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn nothing(query: &HistoryArgs) -> String {
    let of = match &query.scope {
        None => String::new(),
        Some(Scope::Pipeline(pipeline)) => format!(" of {pipeline}"),
        Some(Scope::Job(job)) => format!(" of {job}"),
    };
    let what = if query.failed { "No failed run" } else { "No run" };
    format!("{what}{of} yet. What comes: shipbell next\n")
}

pub(super) fn render(view: &HistoryView, query: &HistoryArgs, screen: &Screen) -> String {
    let reader = screen.reader(view.now);
    let one_pipeline = query.scope.is_some();
    let mut table = Table::new(0);
    table.head(&["RUN", "COMMIT", "CAUSE", "START", "TOOK", "RESULT"]);
    let mut rows = view.runs.as_slice();
    while let Some((row, rest)) = rows.split_first() {
        let same = rows.iter().take_while(|other| folds(row, other)).count();
        table.row(cells(row, one_pipeline, &reader));
        rows = rest;
        if same >= FOLD {
            let (_, beyond) = rows.split_at(same - 1);
            let word = if row.outcome == Some(Outcome::Succeeded) { "ok" } else { "like it" };
            let fold = format!("{} more runs {word}", same - 1);
            table.row(vec![Cell::new(Tone::Faint, fold), "".into(), "".into(), "".into(), "".into(), "".into()]);
            rows = beyond;
        }
    }
    let mut text = table.render(screen);
    if view.more {
        text.push_str(&screen.paint(Tone::Faint, "older ones: shipbell history -n N"));
        text.push('\n');
    }
    text
}

/// Runs of one timed job with one result say no more than one of them does.
fn folds(row: &RunRow, other: &RunRow) -> bool {
    let timed = |row: &RunRow| matches!(row.cause, Cause::Schedule { .. });
    timed(row)
        && timed(other)
        && row.run.job == other.run.job
        && row.outcome.is_some()
        && row.outcome == other.outcome
        && row.reason == other.reason
        && row.approved_by == other.approved_by
}

fn cells(row: &RunRow, one_pipeline: bool, reader: &Reader) -> Vec<Cell> {
    let name = if one_pipeline { format!("{}#{}", row.run.job.job, row.run.number) } else { row.run.to_string() };
    let commit = row.commit.as_ref().map_or("-", |commit| commit.short());
    let started = row.started_at.or(row.finished_at).unwrap_or(row.queued_at);
    let took = row.started_at.map(|from| took(from, row.finished_at.unwrap_or(reader.now)));
    vec![
        name.into(),
        commit.into(),
        cut(&cause(row), 22).into(),
        reader.when(started).into(),
        took.unwrap_or_else(|| "-".into()).into(),
        result(row),
    ]
}

/// `commit on main`, `needs test#611`, `schedule`.
pub(super) fn cause(row: &RunRow) -> String {
    let text = match (&row.cause, &row.branch) {
        (Cause::Commit { .. }, Some(branch)) => format!("commit on {branch}"),
        (cause, _) => cause.to_string(),
    };
    safe_line(&text)
}

/// `ok, 2nd try`, `FAILED unit`, `waits, 0 of 1`, `ok, by anna`.
pub(super) fn result(row: &RunRow) -> Cell {
    let reason = safe_line(&row.reason);
    let by = if row.approved_by.is_empty() { String::new() } else { format!(", by {}", row.approved_by.join(", ")) };
    match row.outcome {
        None if row.state == "running" => {
            let step = row.step.as_ref().map(|(_, name)| format!(", {}", safe_line(name))).unwrap_or_default();
            Cell::new(Tone::Plain, format!("runs{step}"))
        }
        None => Cell::new(
            Tone::Waits,
            row.waits.as_ref().map_or("queued".into(), |why| format!("waits ({})", safe_line(why))),
        ),
        Some(Outcome::Succeeded) if row.tries > 1 => {
            Cell::new(Tone::Good, format!("ok, {} try{by}", ordinal(row.tries)))
        }
        Some(Outcome::Succeeded) => Cell::new(Tone::Good, format!("ok{by}")),
        Some(Outcome::Failed) => {
            let what = row.step.as_ref().map_or(reason, |(_, name)| safe_line(name));
            Cell::new(Tone::Bad, format!("FAILED {what}"))
        }
        Some(Outcome::Skipped) => Cell::new(Tone::Faint, format!("skipped: {reason}")),
        Some(outcome @ (Outcome::TimedOut | Outcome::Interrupted | Outcome::Unknown)) => {
            Cell::new(Tone::Bad, format!("{} {reason}", outcome.word().to_uppercase()))
        }
        Some(Outcome::Cancelled) => Cell::new(Tone::Plain, reason_or("cancelled", &reason)),
    }
}

fn reason_or(word: &str, reason: &str) -> String {
    if reason.is_empty() || reason.starts_with(word) {
        [word, reason.trim_start_matches(word)].concat()
    } else {
        format!("{word}: {reason}")
    }
}

fn ordinal(n: u32) -> String {
    match (n % 10, n % 100) {
        (1, rest) if rest != 11 => format!("{n}st"),
        (2, rest) if rest != 12 => format!("{n}nd"),
        (3, rest) if rest != 13 => format!("{n}rd"),
        _ => format!("{n}th"),
    }
}
