//! What comes by itself: due times of every timed job, runs that wait for an instant (a window, a retry).

use crate::model::catalog::{Job, PipelineState};
use crate::model::job::{Every, EveryFrom};
use crate::model::ledger::DueVerdict;
use crate::model::name::{JobKey, RunRef};
use crate::model::run::{Outcome, Run, RunState};
use crate::model::schedule::Schedule;
use crate::model::time::{Seconds, Timestamp, seconds_between};
use crate::model::view::{NextRow, NextView, SCHEMA};
use crate::model::window::{Opening, Windows};

use super::{Rows, World, tells};

/// Soonest first: at most `n`, of one job or of all.
#[must_use]
pub fn next(world: &World, rows: &Rows, job: Option<&JobKey>, n: usize, now: Timestamp) -> NextView {
    let wanted = |key: &JobKey| job.is_none_or(|job| job == key);
    let mut found = Vec::new();
    for pipeline in world.scratch.catalog.pipelines.values() {
        if !matches!(pipeline.state, PipelineState::Off { .. }) {
            let jobs = pipeline.jobs.values().filter(|job| wanted(&job.definition.key));
            found.extend(jobs.filter_map(|job| due_row(world, rows, job, now)));
        }
    }
    found.extend(world.runs().filter(|run| wanted(&run.run.job)).filter_map(|run| held_row(world, run, now)));
    found.sort_by(|a, b| (a.at, &a.job).cmp(&(b.at, &b.job)));
    let total = found.len();
    found.truncate(n);
    NextView { schema: SCHEMA, now, rows: found, total }
}

/// The next due time of a timed job.
fn due_row(world: &World, rows: &Rows, job: &Job, now: Timestamp) -> Option<NextRow> {
    let definition = &job.definition;
    let key = &definition.key;
    let due = definition.schedule.iter().filter_map(|rule| {
        let at = Schedule::of(rule).ok()?.next_after(now)?;
        Some((at, format!("schedule \"{}\"", rule.text), Some(rule.zone.clone())))
    });
    let every = definition.every.as_ref().and_then(|every| {
        let after = if every.from == EveryFrom::End { " after end" } else { "" };
        Some((every_after(world, rows, key, every, now)?, format!("every {}{after}", every.period), None))
    });
    let (at, rule, zone) = due.chain(every).min()?;
    let (last, result) = last_due(world, rows, key);
    let result = if crate::pipeline::pause::of(world, key, at).is_some() { "paused".to_owned() } else { result };
    Some(NextRow { at, job: key.clone(), run: None, last, result, zone, rule })
}

/// Multiples of the period counted from when the rule was first loaded, or from the last end.
fn every_after(world: &World, rows: &Rows, key: &JobKey, every: &Every, now: Timestamp) -> Option<Timestamp> {
    let since = world.cursors.get(key)?.since;
    let period = every.period.0.max(1);
    match every.from {
        EveryFrom::Start => {
            let passed = seconds_between(since, now).0 / period + 1;
            Some(Seconds(passed.saturating_mul(period)).after(since))
        }
        EveryFrom::End => {
            if world.runs().any(|run| run.run.job == *key) {
                return None;
            }
            let ended = rows.recent.get(key).and_then(|runs| runs.iter().find(|run| run.outcome().is_some()));
            let from = ended.and_then(|run| run.finished()).map_or(since, |end| end.at.max(since));
            Some(every.period.after(from).max(now))
        }
    }
}

/// The last due time that was decided, and what came of it.
fn last_due(world: &World, rows: &Rows, key: &JobKey) -> (Option<Timestamp>, String) {
    let Some(row) = world.ledger.get(key) else { return (None, "-".into()) };
    let result = match &row.verdict {
        DueVerdict::Run(run) | DueVerdict::Coalesced(run) => result_of(world, rows, run),
        DueVerdict::Skipped(why) => why.clone(),
    };
    (Some(row.last), result)
}

fn result_of(world: &World, rows: &Rows, run: &RunRef) -> String {
    if let Some(live) = world.run(run) {
        return if live.is_running() { "runs".into() } else { "waits".into() };
    }
    let Some(run) = rows.runs.get(run) else { return "-".into() };
    let Some(end) = run.finished() else { return "-".into() };
    match end.outcome {
        Outcome::Succeeded => {
            end.started_at.map_or_else(|| "ok".into(), |from| format!("ok {}", seconds_between(from, end.at)))
        }
        Outcome::Skipped => end.reason.clone(),
        _ => failures(rows, run),
    }
}

/// `FAILED`, and how often in a row.
fn failures(rows: &Rows, run: &Run) -> String {
    let recent = rows.recent.get(&run.run.job).map(Vec::as_slice).unwrap_or_default();
    let told = recent.iter().filter(|run| tells(run));
    match told.take_while(|run| run.outcome() != Some(Outcome::Succeeded)).count() {
        0 | 1 => "FAILED".into(),
        n => format!("FAILED x{n}"),
    }
}

/// A queued run that an instant will let go: the end of a retry's delay, or the window's opening.
fn held_row(world: &World, run: &Run, now: Timestamp) -> Option<NextRow> {
    let RunState::Queued { not_before, .. } = &run.state else { return None };
    let row = |at, rule: String| NextRow {
        at,
        job: run.run.job.clone(),
        run: Some(run.run.clone()),
        last: None,
        result: "held".into(),
        zone: None,
        rule,
    };
    let definition = &world.job(&run.run.job)?.definition;
    if let Some(at) = crate::pipeline::gate::delayed(*not_before, definition, now) {
        return Some(row(at, "the next attempt".into()));
    }
    let policy = definition.environment.clone()?;
    let windows = Windows::parse(&policy.windows, &policy.freezes).ok()?;
    let Opening::Closed { opens: Some(at) } = windows.at(now) else { return None };
    let open = world.request_of(&run.run).is_some_and(crate::model::request::Request::is_open);
    let texts: Vec<&str> = policy.windows.iter().flat_map(|window| &window.any_of).map(String::as_str).collect();
    let window =
        if texts.is_empty() { "the freeze ends".to_owned() } else { format!("window {} opens", texts.join(", ")) };
    Some(row(at, if open { format!("if approved: {window}") } else { window }))
}
