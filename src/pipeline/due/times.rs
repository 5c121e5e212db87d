//! Which due times a job has: its schedules united, `every`, and days that do not exist. What becomes of
//! them is decided in `due`.

use std::sync::Arc;

use crate::model::job::{Definition, EveryFrom, Hash};
use crate::model::ledger::Cursor;
use crate::model::schedule::{Due, Schedule};
use crate::model::time::{Seconds, Timestamp};
use crate::pipeline::world::World;

/// What a definition says of its times.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Of its texts and zones: the cursor of another one begins anew.
    pub text: Hash,
    pub schedules: Arc<[Schedule]>,
}

impl Rules {
    /// A schedule that does not parse (config lets none through) has no times.
    #[must_use]
    pub fn of(definition: &Definition) -> Self {
        Self {
            text: Hash::of_json(&(&definition.schedule, &definition.every)),
            schedules: definition.schedule.iter().filter_map(|def| Schedule::of(def).ok()).collect(),
        }
    }
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
    let mut from = from;
    loop {
        let due = due_after(world, definition, cursor, from)?;
        match due.missing {
            None => return Some(due.at),
            Some(_) => from = due.at,
        }
    }
}

/// What comes after `from`: a due time, or a day that does not exist.
#[must_use]
pub fn due_after(world: &World, definition: &Definition, cursor: &Cursor, from: Timestamp) -> Option<Due> {
    let schedules = match world.scratch.schedules.get(&definition.key) {
        Some(rules) => rules.schedules.clone(),
        None => Rules::of(definition).schedules,
    };
    let scheduled = schedules.iter().filter_map(|schedule| schedule.due_after(from)).min();
    let every = every_after(world, definition, cursor, from).map(|at| Due { at, missing: None });
    scheduled.into_iter().chain(every).min()
}

fn every_after(world: &World, definition: &Definition, cursor: &Cursor, from: Timestamp) -> Option<Timestamp> {
    let every = definition.every.as_ref()?;
    let period = every.period.0.max(1);
    match every.from {
        EveryFrom::Start => {
            let elapsed = u64::try_from(from.duration_since(cursor.since).as_secs()).unwrap_or(0);
            let before = from < cursor.since;
            let steps = if before { 1 } else { elapsed / period + 1 };
            Some(Seconds(steps.saturating_mul(period)).after(cursor.since))
        }
        EveryFrom::End => {
            // While one is queued or running the next is not yet due; its end moves `decided`.
            // From an end there is one due time, not a row of them.
            let busy = world.runs_of(&definition.key).next().is_some();
            (!busy && from == cursor.decided).then(|| Seconds(period).after(from))
        }
    }
}

/// The due time before `due`, whether or not anything came of it.
#[must_use]
pub fn previous(world: &World, definition: &Definition, cursor: &Cursor, due: Timestamp) -> Option<Timestamp> {
    if let Some(every) = definition.every.as_ref().filter(|_| definition.schedule.is_empty()) {
        return Some(every.period.before(due)).filter(|at| *at >= cursor.since);
    }
    // Searched in ever longer stretches: most schedules come every hour, day or week.
    for days in [0, 1, 8, 62, 800] {
        let mut from = Seconds(days * 86_400 + 7200).before(due);
        let mut last = None;
        while let Some(at) = next_after(world, definition, cursor, from).filter(|at| *at < due) {
            (last, from) = (Some(at), at);
        }
        if last.is_some() {
            return last;
        }
    }
    None
}
