//! Rows 3 and 4 of the trigger rule: due times. Each gets exactly one ledger row, written in the turn
//! that decides it; times missed while the daemon was down are coalesced into one run.

use std::collections::BTreeMap;

use crate::model::commit::Sighting;
use crate::model::event::Change;
use crate::model::job::{CatchUp, Definition, EveryFrom, Hash, Overlap, ScheduleDef, Unchanged};
use crate::model::ledger::{Cursor, DueVerdict, LedgerRow};
use crate::model::name::{JobKey, PipelineName, RunRef};
use crate::model::run::{Cause, Run};
use crate::model::schedule::Schedule;
use crate::model::time::{Seconds, Timestamp};
use crate::pipeline::draft::{Draft, upstream};
use crate::pipeline::world::World;
use crate::pipeline::{life, promote, trigger};

/// Due times decided in one look; the rest follows in the next.
const BATCH: usize = 5_000;
/// With `catch-up = "skip"` a due time later than this is missed.
const LATE: Seconds = Seconds(60);

/// How far the clock may be put back without a due time running a second time.
const CLOCK_STEP: Seconds = Seconds(86_400);

/// Decides every due time of a pipeline that has come.
pub fn plan(draft: &mut Draft<'_>, name: &PipelineName) {
    let Some(pipeline) = draft.world.pipeline(name) else { return };
    let timed: Vec<_> =
        pipeline.jobs.values().map(|job| job.definition.clone()).filter(|d| d.timed() && !d.manual).collect();
    let off = match &pipeline.state {
        crate::model::catalog::PipelineState::Off { why, .. } => Some(format!("pipeline off: {why}")),
        _ => None,
    };
    for definition in timed {
        job(draft, &definition.key, &definition, off.as_deref());
    }
}

fn job(draft: &mut Draft<'_>, key: &JobKey, definition: &Definition, off: Option<&str>) {
    let text = Hash::of_json(&(&definition.schedule, &definition.every));
    let cursor = match draft.world.cursors.get(key) {
        Some(cursor) if cursor.schedule == text => cursor.clone(),
        // First load of this text: it never catches up times from before it existed.
        old => {
            // Nor does it run again what ran before the clock went back a little; by more than that the
            // clock was wrong, and waiting for it to come there again would be worse.
            let ran = old.map(|old| old.decided).filter(|at| *at <= CLOCK_STEP.after(draft.now));
            let cursor = Cursor {
                job: key.clone(),
                schedule: text,
                since: draft.now,
                decided: ran.map_or(draft.now, |ran| ran.max(draft.now)),
                ran: None,
                boot: None,
            };
            draft.put(Change::CursorPut(cursor.clone()));
            cursor
        }
    };
    let due = due_times(draft, definition, &cursor);
    if let Some((newest, missed)) = due.split_last() {
        decide(draft, key, definition, cursor, *newest, missed, off);
    }
    // One that has come and still waits for git is looked at again when the answer comes.
    if let Some(next) = next_due(draft.world, definition).filter(|next| *next > draft.now) {
        draft.wake(&key.pipeline, next);
    }
}

/// Due times after the decided ones up to now, oldest first.
fn due_times(draft: &mut Draft<'_>, definition: &Definition, cursor: &Cursor) -> Vec<Timestamp> {
    let mut found = Vec::new();
    let mut from = cursor.decided;
    while found.len() < BATCH {
        match next_after(draft.world, definition, cursor, from) {
            Some(next) if next <= draft.now && next > from => {
                found.push(next);
                from = next;
            }
            _ => break,
        }
    }
    if found.len() == BATCH {
        draft.world.scratch.dirty.insert(definition.key.pipeline.clone());
    }
    found
}

/// When a timed job is due next, as its cursor stands; `None` before it was planned for the first time.
#[must_use]
pub fn next_due(world: &World, definition: &Definition) -> Option<Timestamp> {
    let cursor = world.cursors.get(&definition.key)?;
    next_after(world, definition, cursor, cursor.decided)
}

/// The first due time after `from` by any of the job's schedules.
#[must_use]
pub fn next_after(world: &World, definition: &Definition, cursor: &Cursor, from: Timestamp) -> Option<Timestamp> {
    let of_schedule =
        |schedule: &ScheduleDef| Schedule::of(schedule).ok().and_then(|schedule| schedule.next_after(from));
    let scheduled = definition.schedule.iter().filter_map(of_schedule).min();
    let every = definition.every.as_ref().and_then(|every| {
        let period = every.period.0.max(1);
        match every.from {
            EveryFrom::Start => {
                let elapsed = u64::try_from(from.duration_since(cursor.since).as_secs()).unwrap_or(0);
                Some(Seconds((elapsed / period + 1) * period).after(cursor.since))
            }
            EveryFrom::End => {
                let live = world.live.get(&definition.key.pipeline);
                let busy = live.is_some_and(|live| live.runs.keys().any(|run| run.job == definition.key));
                // While one is queued or running the next is not yet due; its end moves `decided`.
                (!busy).then(|| Seconds(period).after(from))
            }
        }
    });
    scheduled.into_iter().chain(every).min()
}

/// After a run ended: `every = "6h after end"` counts from here.
pub fn ended(draft: &mut Draft<'_>, run: &Run) {
    let from_end = draft.world.job(&run.run.job).and_then(|job| job.definition.every.as_ref()).map(|every| every.from);
    if from_end != Some(EveryFrom::End) {
        return;
    }
    if let Some(cursor) = draft.world.cursors.get(&run.run.job).cloned() {
        draft.put(Change::CursorPut(Cursor { decided: draft.now.max(cursor.decided), ..cursor }));
    }
}

fn decide(
    draft: &mut Draft<'_>,
    key: &JobKey,
    definition: &Definition,
    cursor: Cursor,
    newest: Timestamp,
    missed: &[Timestamp],
    off: Option<&str>,
) {
    let verdict = match (off, too_late(draft.now, definition, newest)) {
        (Some(why), _) => DueVerdict::Skipped(why.to_owned()),
        (None, Some(why)) => DueVerdict::Skipped(why),
        (None, None) => match due(draft, key, definition, newest) {
            Some(verdict) => verdict,
            // Git has not answered yet: decided in the turn that brings the answer.
            None => return,
        },
    };
    let of_missed = match &verdict {
        DueVerdict::Run(run) | DueVerdict::Coalesced(run) => DueVerdict::Coalesced(run.clone()),
        DueVerdict::Skipped(_) => verdict.clone(),
    };
    for at in missed {
        let verdict = match too_late(draft.now, definition, *at) {
            Some(why) => DueVerdict::Skipped(why),
            None => of_missed.clone(),
        };
        record(draft, key, *at, verdict);
    }
    record(draft, key, newest, verdict);
    draft.put(Change::CursorPut(Cursor { decided: newest, ..cursor }));
}

/// Missed for good: beyond the catch-up window, or late where late ones are to be skipped.
fn too_late(now: Timestamp, definition: &Definition, due: Timestamp) -> Option<String> {
    if definition.catch_up_window.after(due) < now {
        return Some(format!("missed: more than {} late", definition.catch_up_window));
    }
    let skip = definition.catch_up == CatchUp::Skip && LATE.after(due) < now;
    skip.then(|| "missed: shipbell was not running, and catch-up = \"skip\"".to_owned())
}

/// Equal neighbours share a row.
fn record(draft: &mut Draft<'_>, key: &JobKey, at: Timestamp, verdict: DueVerdict) {
    let row = match draft.world.ledger.get(key) {
        Some(last) if last.verdict == verdict && !matches!(verdict, DueVerdict::Run(_)) => {
            LedgerRow { last: at, count: last.count + 1, ..last.clone() }
        }
        _ => LedgerRow { job: key.clone(), first: at, last: at, count: 1, verdict },
    };
    draft.put(Change::LedgerPut(row));
}

fn skipped(why: impl Into<String>) -> Option<DueVerdict> {
    Some(DueVerdict::Skipped(why.into()))
}

/// What becomes of one due time; `None` while git has not answered.
fn due(draft: &mut Draft<'_>, key: &JobKey, definition: &Definition, at: Timestamp) -> Option<DueVerdict> {
    let sighting = if definition.repo.is_some() {
        match newest(draft.world, key, definition) {
            Ok(sighting) => Some(sighting),
            Err(why) => return skipped(why),
        }
    } else {
        None
    };
    let commit = sighting.as_ref().map(|sighting| &sighting.commit.id);
    if definition.unchanged == Unchanged::Skip {
        let same = match (&definition.environment, &sighting) {
            (Some(_), _) => promote::is_unchanged(draft.world, key, definition, commit),
            (None, Some(sighting)) => ran_last_for(draft, key, sighting),
            (None, None) => false,
        };
        if same {
            return skipped("unchanged");
        }
    }
    if let (Some(sighting), false) = (&sighting, definition.paths.is_empty() && definition.repo_paths.is_empty()) {
        let git_ref = sighting.git_ref.clone();
        let touched = trigger::touches_paths(draft, key, definition, &git_ref, &sighting.commit.id)?;
        if !touched {
            return skipped("unchanged: no path of it changed");
        }
    }
    match busy(draft, key, definition, sighting.as_ref()) {
        Some(verdict) => Some(verdict),
        None => {
            trigger::queue(draft, key, sighting.as_ref(), Cause::Schedule { due: at, previous: None }, BTreeMap::new())
                .map(DueVerdict::Run)
        }
    }
}

fn ran_last_for(draft: &Draft<'_>, key: &JobKey, sighting: &Sighting) -> bool {
    let last =
        draft.live(&key.pipeline).and_then(|live| live.last_ran.get(&(key.job.clone(), sighting.git_ref.clone())));
    last.is_some_and(|last| last.commit == sighting.commit.id)
}

/// What `overlap` says: coalesced into one that waits, skipped because one runs, or neither.
fn busy(
    draft: &mut Draft<'_>,
    key: &JobKey,
    definition: &Definition,
    sighting: Option<&Sighting>,
) -> Option<DueVerdict> {
    let git_ref = sighting.map(|sighting| &sighting.git_ref);
    let commit = sighting.map(|sighting| &sighting.commit.id);
    let live = draft.live(&key.pipeline)?;
    let others: Vec<Run> =
        live.runs.values().filter(|run| run.run.job == *key && run.git_ref.as_ref() == git_ref).cloned().collect();
    // A due time whose commit already waits (also for approval) is that run's.
    if let Some(same) = others.iter().find(|run| run.is_queued() && run.commit.as_ref() == commit) {
        return Some(DueVerdict::Coalesced(same.run.clone()));
    }
    if definition.overlap == Overlap::Skip
        && let Some(running) = others.iter().find(|run| run.is_running())
    {
        return Some(DueVerdict::Skipped(format!("#{} still runs", running.run.number)));
    }
    // One waits: the newest due time and its commit take the place of an older due time's.
    let outdated = |run: &&Run| {
        run.is_queued()
            && run.attempt == 0
            && matches!(run.cause, Cause::Schedule { .. })
            && draft.world.request_of(&run.run).is_none()
    };
    let old: Vec<RunRef> = others.iter().filter(outdated).map(|run| run.run.clone()).collect();
    for run in old {
        life::skip(draft, &run, "coalesced: a newer due time has a newer commit");
    }
    None
}

/// The newest commit of the job's branch or tags that is still on it and, with needs, has them green.
///
/// # Errors
/// Why there is none, for people.
pub fn newest(world: &World, key: &JobKey, definition: &Definition) -> Result<Sighting, String> {
    let none = || "no commit was seen yet".to_owned();
    let live = world.live.get(&key.pipeline).ok_or_else(none)?;
    let head = live.seen.as_ref().and_then(|seen| seen.head.as_ref());
    let rows = live.sightings.iter().filter(|(git_ref, _)| definition.refs.matches(git_ref, head));
    let mut all: Vec<&Sighting> = rows.flat_map(|(_, row)| row).filter(|sighting| sighting.on_branch).collect();
    all.sort_by_key(|sighting| std::cmp::Reverse(sighting.number));
    if all.is_empty() {
        return Err(none());
    }
    if definition.needs.is_empty() {
        return all.first().map(|sighting| (*sighting).clone()).ok_or_else(none);
    }
    let ready = |sighting: &&&Sighting| upstream(world, key, Some(&sighting.commit.id)).is_ok();
    let needs: Vec<&str> = definition.needs.iter().map(crate::model::name::JobName::as_str).collect();
    all.iter()
        .find(ready)
        .map(|sighting| (*sighting).clone())
        .ok_or_else(|| format!("no commit has {} green", needs.join(" and ")))
}
