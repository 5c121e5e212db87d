//! Rows 3 and 4 of the trigger rule: due times. Each gets exactly one ledger row, written in the turn
//! that decides it; times missed while the daemon was down are coalesced into one run. Which times
//! there are is found in `times`.

mod book;
mod times;

use std::collections::{BTreeMap, BTreeSet};

pub use times::{Rules, next_after, next_due, previous};

use crate::model::catalog::PipelineState;
use crate::model::commit::Sighting;
use crate::model::event::Change;
use crate::model::job::{CatchUp, Definition, EveryFrom, Hash, Overlap, Unchanged};
use crate::model::ledger::{Cursor, DueVerdict};
use crate::model::name::{JobKey, PipelineName, RunRef};
use crate::model::pause::Pause;
use crate::model::run::{Cause, Run};
use crate::model::schedule::Due;
use crate::model::time::{Seconds, Timestamp};
use crate::pipeline::draft::{Draft, upstream};
use crate::pipeline::world::World;
use crate::pipeline::{life, pause, promote, trigger};
use book::Book;

/// Due times found in one look; the rest follows in the next. Within a catch-up window there is no limit.
const BATCH: u64 = 100_000;
/// With `catch-up = "skip"` a due time later than this is missed.
const LATE: Seconds = Seconds(60);
/// How far the clock may be put back without a due time running a second time. By more than that it was
/// wrong before, and a schedule that is silent until it comes there again would be worse.
const CLOCK_STEP: Seconds = Seconds(86_400);

/// Due times of these pipelines that waited for git are looked at again.
pub fn again(draft: &mut Draft<'_>, names: &BTreeSet<PipelineName>) {
    let scratch = &mut draft.world.scratch;
    if !scratch.undecided.is_empty() {
        scratch.undecided.retain(|job| {
            let again = names.contains(&job.pipeline);
            if again {
                scratch.retime.insert(job.clone());
            }
            !again
        });
    }
}

/// Decides every due time that has come.
pub fn plan(draft: &mut Draft<'_>) {
    let mut jobs = std::mem::take(&mut draft.world.scratch.retime);
    jobs.extend(draft.world.scratch.dues.take_due(draft.now));
    for key in jobs {
        job(draft, &key);
    }
}

fn job(draft: &mut Draft<'_>, key: &JobKey) {
    let definition = draft.world.job(key).map(|job| job.definition.clone());
    let Some(definition) = definition.filter(|definition| definition.timed() && !definition.manual) else {
        draft.world.scratch.dues.remove(key);
        return;
    };
    let rules = match draft.world.scratch.schedules.get(key) {
        Some(rules) => rules.clone(),
        None => {
            let rules = Rules::of(&definition);
            draft.world.scratch.schedules.insert(key.clone(), rules.clone());
            rules
        }
    };
    let cursor = cursor(draft, &definition, &rules.text);
    let booted = booted(draft, key, &cursor);
    let look = decide(draft, key, &definition, &cursor, booted);
    let mut next = next_due(draft.world, &definition);
    if let Look::Waits(newest) = look {
        // The answer may come too late; and the next due time takes its place.
        let after = next_after(draft.world, &definition, &cursor, newest);
        next = [after, Some(last_call(&definition, newest))].into_iter().flatten().min();
    }
    match next.filter(|next| *next > draft.now) {
        Some(next) => draft.world.scratch.dues.set(key, next),
        None => draft.world.scratch.dues.remove(key),
    }
    if look == Look::More {
        draft.world.scratch.retime.insert(key.clone());
    } else {
        draft.world.scratch.retime.remove(key);
    }
}

/// How far its due times are decided. Another text begins anew: it never catches up times from before it
/// existed.
fn cursor(draft: &mut Draft<'_>, definition: &Definition, text: &Hash) -> Cursor {
    let key = &definition.key;
    let boot = Some(draft.world.scratch.boot_id.clone()).filter(|boot| !boot.is_empty());
    let now = draft.now;
    let old = draft.world.cursors.get(key).cloned();
    let mut cursor = match old.clone().filter(|old| old.schedule == *text) {
        Some(cursor) => Cursor { boot: cursor.boot.clone().or(boot), ..cursor },
        // Nor does it run again what ran before the clock went back a little.
        None => Cursor {
            job: key.clone(),
            schedule: text.clone(),
            since: now,
            decided: old.as_ref().map_or(now, |old| old.decided.max(now)),
            ran: old.as_ref().and_then(|old| old.ran),
            boot,
            ahead: old.as_ref().and_then(|old| old.ahead),
        },
    };
    if cursor.decided > CLOCK_STEP.after(now) {
        let detail = format!("the clock stood ahead: due times were decided up to {}", cursor.decided);
        draft.note("clock", key, detail);
        // What counts from an end has one due time, not a row of them to be told apart; and its
        // `decided` is that end, which must stand still.
        let from_end = definition.every.as_ref().is_some_and(|every| every.from == EveryFrom::End);
        let ahead = cursor.ahead.max(Some(cursor.decided)).filter(|_| !from_end);
        cursor = Cursor { since: cursor.since.min(now), decided: now, ahead, ..cursor };
    }
    if let Some(ahead) = cursor.ahead {
        // What was passed over has its row; what comes in its time runs.
        let (passed, left) = if ahead <= now { (ahead, None) } else { (LATE.before(now), Some(ahead)) };
        (cursor.decided, cursor.ahead) = (cursor.decided.max(passed), left);
    }
    if old.as_ref() != Some(&cursor) {
        draft.put(Change::CursorPut(cursor.clone()));
    }
    cursor
}

/// `@reboot`: due once for each boot of the host that comes after the first load.
fn booted(draft: &Draft<'_>, key: &JobKey, cursor: &Cursor) -> Option<Timestamp> {
    let boot = Some(&draft.world.scratch.boot_id).filter(|boot| !boot.is_empty())?;
    let rules = draft.world.scratch.schedules.get(key)?;
    let other =
        rules.schedules.iter().any(crate::model::schedule::Schedule::is_reboot) && cursor.boot.as_ref() != Some(boot);
    // Never an instant that has its row: the host's clock may stand wrong when it comes up.
    other.then(|| draft.now.max(Seconds(1).after(cursor.decided)))
}

/// After a run ended: `every = "6h after end"` counts from here, and what it stood for is left to the
/// next one if it never began.
pub fn ended(draft: &mut Draft<'_>, run: &Run) {
    let Some(cursor) = draft.world.cursors.get(&run.run.job).cloned() else { return };
    let mut after = cursor.clone();
    if let (Cause::Schedule { due, previous }, 0) = (&run.cause, run.attempt)
        && cursor.ran.is_some_and(|ran| ran == *due)
    {
        after.ran = *previous;
    }
    let job = draft.world.job(&run.run.job);
    let from = job.and_then(|job| job.definition.every.as_ref()).map(|every| every.from);
    if from == Some(EveryFrom::End) {
        after.decided = draft.now.max(cursor.decided);
    }
    if after != cursor {
        draft.put(Change::CursorPut(after));
    }
}

/// A run begins: what it stands for. Due times that were coalesced into it while it waited are its own.
pub fn begun(draft: &mut Draft<'_>, run: &Run) -> Cause {
    let Cause::Schedule { due, previous } = &run.cause else { return run.cause.clone() };
    let key = &run.run.job;
    let newest = match draft.world.ledger.get(key) {
        Some(row) if row.verdict == DueVerdict::Coalesced(run.run.clone()) => row.last.max(*due),
        _ => *due,
    };
    if let Some(cursor) =
        draft.world.cursors.get(key).filter(|cursor| cursor.ran.is_none_or(|ran| ran < newest || ran > draft.now))
    {
        let cursor = Cursor { ran: Some(newest), ..cursor.clone() };
        draft.put(Change::CursorPut(cursor));
    }
    Cause::Schedule { due: newest, previous: *previous }
}

/// Until when a run waits for its turn: the end of its due time's catch-up window. Runs that a person
/// asked for, and those that wait for people or a window, have no such end.
#[must_use]
pub fn patience(world: &World, run: &Run) -> Option<Timestamp> {
    let Cause::Schedule { due, .. } = &run.cause else { return None };
    let definition = &world.job(&run.run.job)?.definition;
    let held = |policy: &crate::model::job::EnvironmentPolicy| {
        policy.approval.is_some() || !policy.windows.is_empty() || !policy.freezes.is_empty()
    };
    let confirmed = matches!(&run.state, crate::model::run::RunState::Queued { confirmed_by: Some(_), .. });
    let exempt = run.attempt > 0 || confirmed || definition.environment.as_deref().is_some_and(held);
    (!exempt).then(|| definition.catch_up_window.after(*due))
}

/// How far a look at the due times of a job came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Done,
    /// There are more of them.
    More,
    /// The newest one waits for git.
    Waits(Timestamp),
}

/// What becomes of the due times that have come: the newest one makes the run, the others stand behind
/// it.
fn decide(
    draft: &mut Draft<'_>,
    key: &JobKey,
    definition: &Definition,
    cursor: &Cursor,
    booted: Option<Timestamp>,
) -> Look {
    let mut book = Book::default();
    let mut from = cursor.decided;
    let come = |next: &Due, now, from| next.at <= now && next.at > from;
    while let Some(next) =
        times::due_after(draft.world, definition, cursor, from).filter(|next| come(next, draft.now, from))
    {
        book.add(next.at, never(draft, key, definition, &next));
        from = next.at;
        if book.newest.is_none() && book.count >= BATCH {
            book.write(draft, key, None);
            return Look::More;
        }
    }
    if let Some(at) = booted.filter(|at| *at > from) {
        let paused = pause::of(draft.world, key, at).map(Pause::told);
        book.add(at, paused.or_else(|| off(draft.world, key)));
    }
    let verdict = match book.newest {
        None => None,
        Some(newest) => match due(draft, key, definition, newest) {
            Some(verdict) => Some(verdict),
            None => {
                // Git has not answered yet: decided in the turn that brings the answer.
                draft.world.scratch.undecided.insert(key.clone());
                return Look::Waits(newest);
            }
        },
    };
    let any = book.count > 0;
    book.write(draft, key, verdict.as_ref());
    let Some(written) = draft.world.cursors.get(key).cloned() else { return Look::Done };
    let mut after = written.clone();
    if booted.is_some() {
        after.boot = Some(draft.world.scratch.boot_id.clone());
    }
    // What was missed is no end to count from: the next one comes a whole period from now.
    if any && definition.every.as_ref().is_some_and(|every| every.from == EveryFrom::End) {
        after.decided = after.decided.max(draft.now);
    }
    if after != written {
        draft.put(Change::CursorPut(after));
    }
    Look::Done
}

/// Why nothing comes of a due time, whatever else is the case.
fn never(draft: &Draft<'_>, key: &JobKey, definition: &Definition, due: &Due) -> Option<String> {
    if let Some(day) = due.missing {
        return Some(format!("no such day: {day}"));
    }
    let paused = pause::of(draft.world, key, due.at).map(Pause::told);
    paused.or_else(|| off(draft.world, key)).or_else(|| too_late(draft.now, definition, due.at))
}

/// The first instant at which it is too late for a due time.
fn last_call(definition: &Definition, due: Timestamp) -> Timestamp {
    let window = definition.catch_up_window;
    let last = if definition.catch_up == CatchUp::Skip { window.min(LATE) } else { window };
    let instant = std::time::Duration::from_millis(1);
    last.after(due).checked_add(instant).unwrap_or(Timestamp::MAX)
}

fn off(world: &World, key: &JobKey) -> Option<String> {
    match &world.pipeline(&key.pipeline)?.state {
        PipelineState::Off { why, .. } => Some(format!("pipeline off: {why}")),
        PipelineState::Ok | PipelineState::LastGood { .. } => None,
    }
}

/// Missed for good: beyond the catch-up window, or late where late ones are to be skipped.
fn too_late(now: Timestamp, definition: &Definition, due: Timestamp) -> Option<String> {
    if definition.catch_up_window.after(due) < now {
        return Some(format!("missed: more than {} late", definition.catch_up_window));
    }
    let skip = definition.catch_up == CatchUp::Skip && LATE.after(due) < now;
    skip.then(|| "missed: shipbell was not running, and catch-up = \"skip\"".to_owned())
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
            let cause = Cause::Schedule { due: at, previous: before(draft.world, key, definition, at) };
            trigger::queue(draft, key, sighting.as_ref(), cause, BTreeMap::new()).map(DueVerdict::Run)
        }
    }
}

fn ran_last_for(draft: &Draft<'_>, key: &JobKey, sighting: &Sighting) -> bool {
    let last =
        draft.live(&key.pipeline).and_then(|live| live.last_ran.get(&(key.job.clone(), sighting.git_ref.clone())));
    last.is_some_and(|last| last.commit == sighting.commit.id)
}

/// The due time up to which an earlier run did its work; for the first one, the one before by the schedule.
fn before(world: &World, key: &JobKey, definition: &Definition, due: Timestamp) -> Option<Timestamp> {
    let cursor = world.cursors.get(key)?;
    // One that ran while the clock stood ahead was not before it.
    cursor.ran.filter(|ran| *ran < due).or_else(|| previous(world, definition, cursor, due))
}

/// Whether a due time can be a waiting run's: a backfill stands for another one, and what a person gave
/// parameters to, or started where there is no commit, is their own.
fn can_stand_for(run: &Run, definition: &Definition) -> bool {
    let own = run
        .params
        .iter()
        .all(|(name, value)| definition.params.get(name).and_then(|param| param.default.as_ref()) == Some(value));
    match run.cause {
        Cause::Schedule { .. } => true,
        Cause::Backfill { .. } => false,
        _ => run.commit.is_some() && own,
    }
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
    let of_ref = |run: &&Run| run.git_ref.as_ref() == git_ref;
    let others: Vec<Run> = draft.world.runs_of(key).filter(of_ref).cloned().collect();
    // A due time whose commit already waits (also for approval) is that run's.
    let stands = |run: &&Run| run.is_queued() && run.commit.as_ref() == commit && can_stand_for(run, definition);
    if let Some(same) = others.iter().find(stands) {
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
    let mut all: Vec<&Sighting> = rows.flat_map(|(_, row)| row).collect();
    all.retain(|sighting| sighting.on_branch && sighting.refused.is_none());
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
