//! Backfill: a run for each due time of a past stretch, because a person asks for it. All or nothing:
//! more than a call may queue is refused with the way to ask for less.

use std::collections::BTreeMap;

use crate::model::backfill::{BACKFILL_MAX, BackfillOnly, BackfillRequest, BackfillRow};
use crate::model::catalog::PipelineState;
use crate::model::commit::Sighting;
use crate::model::event::{Refusal, Reply};
use crate::model::job::{Definition, EveryFrom};
use crate::model::run::{Cause, Outcome};
use crate::model::time::Timestamp;
use crate::pipeline::draft::Draft;
use crate::pipeline::{due, pause, trigger};

/// Due times of a stretch that are looked at.
const LOOK_MAX: usize = 1_000_000;

fn conflict(why: String) -> Reply {
    Reply::Refused(Refusal::Conflict(why))
}

/// `shipbell backfill JOB --from --to`.
pub fn backfill(draft: &mut Draft<'_>, request: &BackfillRequest) -> Reply {
    let key = &request.job;
    let Some(definition) = draft.world.job(key).map(|job| job.definition.clone()) else {
        return Reply::Refused(Refusal::NotFound(format!("there is no job {key}: shipbell status lists them")));
    };
    if let Some(PipelineState::Off { why, .. }) = draft.world.pipeline(&key.pipeline).map(|pipeline| &pipeline.state) {
        return conflict(format!("pipeline {} is off: {why}", key.pipeline));
    }
    if let Err(why) = can_be(&definition) {
        return conflict(why);
    }
    // A list changes nothing: it may be asked for while the job is paused.
    if let Some(refused) = pause::refuses(draft, key).filter(|_| !request.dry_run) {
        return refused;
    }
    let all = match stretch(draft, &definition, request) {
        Ok(all) => all,
        Err(why) => return conflict(why),
    };
    let known = known(request);
    let of = |due: &Timestamp| known.get(due).copied().unwrap_or_default();
    let (wanted, left): (Vec<_>, Vec<_>) = all.into_iter().partition(|(due, _)| wants(request.only, of(due)));
    if wanted.len() > BACKFILL_MAX {
        let last = wanted.get(BACKFILL_MAX - 1).map_or(request.to, |(due, _)| *due);
        let count = wanted.len();
        return conflict(format!(
            "{count} due times: one call queues at most {BACKFILL_MAX}; end it with --to {last} and call again"
        ));
    }
    let sighting = match commit(draft, &definition) {
        Ok(sighting) => sighting,
        Err(why) => return conflict(why),
    };
    let left_out = left.len() as u64;
    let mut rows = Vec::new();
    for (due, previous) in wanted {
        let cause = Cause::Backfill { due, previous, by: request.by.clone() };
        let run =
            (!request.dry_run).then(|| trigger::queue(draft, key, sighting.as_ref(), cause, BTreeMap::new())).flatten();
        rows.push(BackfillRow { due, run });
    }
    if !request.dry_run && !rows.is_empty() {
        let detail = format!("{} due times from {} to {}", rows.len(), request.from, request.to);
        draft.note_by(&request.by, "backfilled", key, detail);
    }
    Reply::Backfill { dry_run: request.dry_run, rows, left_out }
}

/// Whether the job has due times of a past that can be run for.
fn can_be(definition: &Definition) -> Result<(), String> {
    let key = &definition.key;
    let from_end = definition.every.as_ref().is_some_and(|every| every.from == EveryFrom::End);
    if !definition.timed() || from_end {
        return Err(format!("{key} has no due times to backfill: it has neither `schedule` nor a plain `every`"));
    }
    if definition.deploys() {
        return Err(format!("{key} deploys: what is live is one commit, there is no past to fill; shipbell run {key}"));
    }
    let missing = definition.params.iter().find(|(_, param)| param.default.is_none());
    missing.map_or(Ok(()), |(name, _)| Err(format!("{key} needs the parameter {name}=VALUE: start it by hand")))
}

/// The due times of the stretch up to now, each with the one before it.
fn stretch(
    draft: &Draft<'_>,
    definition: &Definition,
    request: &BackfillRequest,
) -> Result<Vec<(Timestamp, Option<Timestamp>)>, String> {
    let Some(cursor) = draft.world.cursors.get(&request.job) else {
        return Err(format!("{} has not been planned yet: try again", request.job));
    };
    let to = request.to.min(draft.now);
    if request.from > to {
        return Err("the stretch ends before it begins: --from is later than --to or than now".into());
    }
    // An instant earlier: the first one may be due exactly then.
    let instant = std::time::Duration::from_millis(1);
    let mut from = request.from.checked_sub(instant).unwrap_or(request.from);
    let mut found = Vec::new();
    let mut before = None;
    while let Some(due) = due::next_after(draft.world, definition, cursor, from).filter(|due| *due <= to) {
        let previous = before.or_else(|| due::previous(draft.world, definition, cursor, due));
        found.push((due, previous));
        (from, before) = (due, Some(due));
        if found.len() > LOOK_MAX {
            return Err(format!("more than {LOOK_MAX} due times: ask for a shorter stretch"));
        }
    }
    Ok(found)
}

/// What is known of a due time's own runs.
#[derive(Default, Clone, Copy)]
struct Known {
    ran: bool,
    live: bool,
    good: bool,
}

fn known(request: &BackfillRequest) -> BTreeMap<Timestamp, Known> {
    let mut known: BTreeMap<Timestamp, Known> = BTreeMap::new();
    for run in request.known.iter().filter(|run| run.outcome != Some(Outcome::Skipped)) {
        let entry = known.entry(run.due).or_default();
        entry.ran = true;
        entry.live |= run.outcome.is_none();
        entry.good |= run.outcome == Some(Outcome::Succeeded);
    }
    known
}

/// Whether `only` takes a due time. One of which a run is queued or runs is never taken.
fn wants(only: BackfillOnly, known: Known) -> bool {
    !known.live
        && match only {
            BackfillOnly::Missing => !known.good,
            BackfillOnly::Failed => known.ran && !known.good,
            BackfillOnly::All => true,
        }
}

/// A backfill runs for the newest commit, as the schedule would.
fn commit(draft: &Draft<'_>, definition: &Definition) -> Result<Option<Sighting>, String> {
    match definition.repo {
        Some(_) => due::newest(draft.world, &definition.key, definition).map(Some),
        None => Ok(None),
    }
}
