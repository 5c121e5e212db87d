//! Promise 3: every due time has its row in the ledger, exactly once, and starts at most one run.

use std::collections::BTreeMap;

use shipbell::model::event::Change;
use shipbell::model::job::{Definition, EveryFrom};
use shipbell::model::ledger::{Cursor, DueVerdict, LedgerRow};
use shipbell::model::name::JobKey;
use shipbell::model::run::Cause;
use shipbell::model::schedule::Schedule;
use shipbell::model::time::{Seconds, Timestamp};

use crate::checks::{Checks, Fault, Transition, must};

pub fn due_times(checks: &mut Checks, all: &Transition<'_>) -> Result<(), Fault> {
    for change in &all.done.changes {
        if let Change::RunPut(run) = change
            && let (Cause::Schedule { due, .. }, None) = (&run.cause, all.before.run(&run.run))
        {
            must(*due <= all.now, "nothing runs before it is due", run)?;
        }
    }
    let keys: Vec<JobKey> = all.after.cursors.keys().cloned().collect();
    for key in keys {
        let (Some(job), Some(now)) = (all.after.job(&key), all.after.cursors.get(&key)) else { continue };
        if !job.definition.timed() {
            continue;
        }
        let decided = match all.before.cursors.get(&key) {
            Some(old) if old.schedule == now.schedule => Some(old.decided),
            _ => None,
        };
        if let Some(from) = decided {
            must(now.decided >= from, "decided due times stay decided", (&key, from, now))?;
            rows(checks, all, &key, &job.definition, now, from)?;
        }
        let next = next_after(&job.definition, now, now.decided);
        let due = next.is_some_and(|next| next <= all.now);
        let asks = all.after.scratch.asked.iter().any(|question| question.pipeline == key.pipeline);
        let off = all.after.pipeline(&key.pipeline).is_none();
        must(!due || asks || off, "no due time is passed over", (&key, next, all.now))?;
    }
    Ok(())
}

/// Due times after `from` up to and with the cursor's.
fn rows(
    checks: &mut Checks,
    all: &Transition<'_>,
    key: &JobKey,
    definition: &Definition,
    cursor: &Cursor,
    from: Timestamp,
) -> Result<(), Fault> {
    let mut due = Vec::new();
    if definition.every.as_ref().is_none_or(|every| every.from == EveryFrom::Start) {
        let mut at = from;
        while let Some(next) = next_after(definition, cursor, at).filter(|next| *next <= cursor.decided) {
            due.push(next);
            at = next;
        }
    }
    let mut put: BTreeMap<Timestamp, &LedgerRow> = BTreeMap::new();
    for change in &all.done.changes {
        if let Change::LedgerPut(row) = change
            && row.job == *key
        {
            put.insert(row.first, row);
            checks.seen(match &row.verdict {
                DueVerdict::Run(_) => "due: run",
                DueVerdict::Coalesced(_) => "due: coalesced",
                DueVerdict::Skipped(_) => "due: skipped",
            });
        }
    }
    if definition.every.as_ref().is_some_and(|every| every.from == EveryFrom::End) {
        return Ok(());
    }
    for at in &due {
        let has = put.values().any(|row| row.first <= *at && *at <= row.last);
        must(has, "every due time has its row", (key, at, &put))?;
    }
    let before = all.before.ledger.get(key);
    let had = |row: &LedgerRow| before.filter(|old| old.first == row.first).map_or(0, |old| old.count);
    let counted: u64 = put.values().map(|row| row.count - had(row)).sum();
    must(counted == due.len() as u64, "every due time is counted once", (key, due, &put))
}

/// By the words of the definition: the earliest of its schedules and of `every`.
fn next_after(definition: &Definition, cursor: &Cursor, from: Timestamp) -> Option<Timestamp> {
    let parse = |text: &str, zone: &str| Schedule::parse(text, zone).unwrap();
    let crons = definition.schedule.iter().filter_map(|s| parse(&s.text, &s.zone).next_after(from));
    let every = definition.every.as_ref().filter(|every| every.from == EveryFrom::Start).map(|every| {
        let mut at = cursor.since;
        while at <= from {
            at = every.period.after(at);
        }
        at
    });
    crons.chain(every).min().filter(|at| *at > Seconds(0).after(from))
}
