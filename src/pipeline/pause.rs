//! Pauses: nothing that they cover starts; what runs goes on. Every due time meanwhile has its row, and
//! when a pause ends the newest head runs: nothing is caught up in a burst.

use crate::model::commit::Sighting;
use crate::model::event::{Change, Refusal, Reply};
use crate::model::name::JobKey;
use crate::model::pause::{Pause, Scope};
use crate::model::time::Timestamp;
use crate::pipeline::draft::{Draft, upstream};
use crate::pipeline::due;
use crate::pipeline::world::World;

/// The pause that holds a job at an instant, the widest first.
#[must_use]
pub fn of<'w>(world: &'w World, job: &JobKey, at: Timestamp) -> Option<&'w Pause> {
    if world.pauses.is_empty() {
        return None;
    }
    let mut scopes = Scope::of(job).into_iter();
    scopes.find_map(|scope| world.pauses.get(&scope).filter(|pause| pause.holds(at)))
}

/// What a person hears who starts something of a paused job.
#[must_use]
pub fn refuses(draft: &Draft<'_>, job: &JobKey) -> Option<Reply> {
    let pause = of(draft.world, job, draft.now)?;
    let why = format!("{job} is {}; to let it go: {}", pause.told(), pause.scope.resume());
    Some(Reply::Refused(Refusal::Conflict(why)))
}

/// `shipbell pause`.
pub fn pause(draft: &mut Draft<'_>, scope: &Scope, until: Option<Timestamp>, note: &str, by: &str) -> Reply {
    let known = match scope {
        Scope::All => true,
        Scope::Pipeline(pipeline) => draft.world.pipeline(pipeline).is_some(),
        Scope::Job(job) => draft.world.job(job).is_some(),
    };
    if !known {
        return Reply::Refused(Refusal::NotFound(format!("there is no {}: shipbell status lists them", scope.told())));
    }
    if until.is_some_and(|until| until <= draft.now) {
        return Reply::Refused(Refusal::Conflict("a pause that ends in the past would be none".into()));
    }
    // What came due before belongs to the time before.
    due::plan(draft);
    let pause = Pause { scope: scope.clone(), at: draft.now, until, note: note.to_owned(), by: by.to_owned() };
    let detail = pause.told();
    draft.put(Change::PausePut(pause));
    draft.note_by(by, "paused", &scope.told(), detail);
    let of_it = |running: bool| {
        let covered = draft.world.runs().filter(|run| scope.covers(&run.run.job));
        covered.filter(|run| run.is_running() == running).count()
    };
    let (running, waiting) = (of_it(true), of_it(false));
    let then = scope.resume();
    Reply::Told(format!(
        "{} is paused: nothing of it starts; {running} running go on, {waiting} queued wait. To end it: {then}",
        scope.told()
    ))
}

/// `shipbell resume`.
pub fn resume(draft: &mut Draft<'_>, scope: &Scope, by: &str) -> Reply {
    if draft.world.pauses.get(scope).is_none_or(|pause| !pause.holds(draft.now)) {
        return Reply::Refused(Refusal::Conflict(format!(
            "{} is not paused: there is nothing to resume",
            scope.told()
        )));
    }
    due::plan(draft);
    end(draft, scope, by, "");
    let mut wider = draft.world.pauses.values().filter(|pause| pause.holds(draft.now) && overlaps(&pause.scope, scope));
    let still = wider.next().map(|pause| format!("; {} is still {}", pause.scope.told(), pause.told()));
    Reply::Told(format!("{} goes on{}", scope.told(), still.unwrap_or_default()))
}

/// Whether one of them covers the other, or a part of it.
fn overlaps(one: &Scope, other: &Scope) -> bool {
    match (one, other) {
        (Scope::All, _) | (_, Scope::All) => true,
        (Scope::Pipeline(one), Scope::Pipeline(other)) => one == other,
        (Scope::Pipeline(pipeline), Scope::Job(job)) | (Scope::Job(job), Scope::Pipeline(pipeline)) => {
            *pipeline == job.pipeline
        }
        (Scope::Job(one), Scope::Job(other)) => one == other,
    }
}

/// Ends the pauses whose time is over. Due times up to now are decided already.
pub fn plan(draft: &mut Draft<'_>) {
    let over = |pause: &&Pause| pause.until.is_some_and(|until| until <= draft.now);
    let over: Vec<Scope> = draft.world.pauses.values().filter(over).map(|pause| pause.scope.clone()).collect();
    for scope in over {
        end(draft, &scope, "shipbell", "its time is over");
    }
}

/// When the next pause ends by itself.
#[must_use]
pub fn next_end(world: &World) -> Option<Timestamp> {
    world.pauses.values().filter_map(|pause| pause.until).min()
}

fn end(draft: &mut Draft<'_>, scope: &Scope, by: &str, why: &str) {
    draft.put(Change::PauseOver { scope: scope.clone() });
    draft.note_by(by, "resumed", &scope.told(), why);
    let catalog = draft.world.scratch.catalog.clone();
    let jobs = catalog.pipelines.values().flat_map(|pipeline| pipeline.jobs.values());
    for job in jobs.filter(|job| job.definition.follows_needs() && scope.covers(&job.definition.key)) {
        let key = &job.definition.key;
        if of(draft.world, key, draft.now).is_none() {
            newest_only(draft, key);
        }
    }
}

/// Of the commits whose needs became green meanwhile only each ref's newest is triggered.
fn newest_only(draft: &mut Draft<'_>, key: &JobKey) {
    let Some(definition) = draft.world.job(key).map(|job| job.definition.clone()) else { return };
    let Some(live) = draft.live(&key.pipeline) else { return };
    let head = live.seen.as_ref().and_then(|seen| seen.head.clone());
    let rows = live.sightings.iter().filter(|(git_ref, _)| definition.follows(git_ref, head.as_ref()));
    let rows: Vec<Vec<Sighting>> = rows.map(|(_, row)| row.clone()).collect();
    for row in rows {
        let mut newer: Option<Sighting> = None;
        for sighting in row.into_iter().rev().filter(|sighting| sighting.runs && !sighting.passed_over) {
            let mut standing = draft.standing(key, &sighting.commit.id);
            let green = upstream(draft.world, key, Some(&sighting.commit.id)).is_ok();
            if let (Some(newer), false, true) = (&newer, standing.fired, green) {
                standing.fired = true;
                draft.put(Change::StandingPut(standing));
                let detail = format!("it was paused; {} is newer", newer.commit.id.short());
                draft.note("skipped", &format!("{key} {}", sighting.commit.id.short()), detail);
            } else if green && newer.is_none() {
                draft.world.scratch.heat(&key.pipeline, &sighting.commit.id);
                newer = Some(sighting);
            }
        }
    }
}
