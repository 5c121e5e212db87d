//! Queued runs of a pipeline, each brought to the gate; and admission to pools and slots, oldest first.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::model::event::{Action, Change, LastRan};
use crate::model::name::{JobKey, PipelineName, RunRef};
use crate::model::request::Vote;
use crate::model::run::{Attempt, Holds, Run, RunState};
use crate::model::statement::{Receipt, Receipts, Statement};
use crate::model::ticket::StartOrder;
use crate::model::time::{Timestamp, seconds_between};
use crate::pipeline::draft::{Draft, upstream};
use crate::pipeline::gate::{Gate, gate};
use crate::pipeline::world::World;
use crate::pipeline::{asking, compare, due, life, pulse, telling};

/// Brings every queued run of the pipeline to the gate.
pub fn plan(draft: &mut Draft<'_>, name: &PipelineName) {
    let Some(live) = draft.live(name) else { return };
    let queued = live.runs.values().filter(|run| run.is_queued()).map(place).collect();
    judge(draft, name, queued);
}

/// The same for the queued runs of one job.
pub fn plan_job(draft: &mut Draft<'_>, job: &JobKey) {
    let queued = draft.world.runs_of(job).filter(|run| run.is_queued()).map(place).collect();
    judge(draft, &job.pipeline, queued);
}

/// Its place among those that are ready.
fn place(run: &Run) -> (Timestamp, RunRef) {
    (run.since(), run.run.clone())
}

fn judge(draft: &mut Draft<'_>, name: &PipelineName, mut queued: Vec<(Timestamp, RunRef)>) {
    queued.sort();
    for place in queued {
        draft.world.scratch.ready.remove(&place);
        draft.world.scratch.patience.remove(&place.1);
        bring(draft, name, &place.1);
    }
}

fn bring(draft: &mut Draft<'_>, name: &PipelineName, run: &RunRef) {
    let Some(run) = draft.world.run(run).cloned() else { return };
    match gate(draft.world, &run, draft.now) {
        Gate::Ready => {
            if let Some(until) = due::patience(draft.world, &run) {
                draft.world.scratch.patience.set(&run.run, until);
            }
            draft.world.scratch.ready.insert(place(&run));
        }
        Gate::Wait { until, .. } => {
            if let Some(at) = until {
                draft.wake(name, at);
            }
        }
        Gate::Skip { reason } => life::skip(draft, &run.run, &reason),
        Gate::Ask { base, head } => {
            compare::ask(draft, name, &base, &head);
        }
        Gate::Request { takes_back } => asking::open(draft, &run, &takes_back),
        Gate::Void { why } => {
            if let Some(request) = draft.world.request_of(&run.run).cloned() {
                asking::void(draft, request, &why);
            }
        }
        Gate::Expired { .. } => {
            if let Some(request) = draft.world.request_of(&run.run).cloned() {
                asking::expire(draft, request);
            }
        }
        Gate::Refresh => refresh(draft, run),
    }
}

/// Takes the present definition and the present upstream runs.
fn refresh(draft: &mut Draft<'_>, mut run: Run) {
    if let Some(job) = draft.world.job(&run.run.job) {
        run.definition = job.hash.clone();
    }
    if let Ok(upstream) = upstream(draft.world, &run.run.job, run.commit.as_ref()) {
        run.upstream = upstream;
    }
    draft.put_run(run);
}

/// Starts what is ready, oldest first, as far as pools, slots and the disk allow. Who waits for a busy
/// pool does not hold up others; but it keeps its place in the other pools that it wants, or a run of
/// two pools would starve beside runs of one. (No more claim than can go at once: the places of the pool.)
pub fn admit(draft: &mut Draft<'_>) {
    let mut used: BTreeMap<String, u32> = owned(pools_in_use(draft.world));
    let mut claims: BTreeMap<String, u32> = BTreeMap::new();
    let mut after: Option<(Timestamp, RunRef)> = None;
    while host_full(draft.world).is_none() {
        let range = match &after {
            Some(place) => (Bound::Excluded(place.clone()), Bound::Unbounded),
            None => (Bound::Unbounded, Bound::Unbounded),
        };
        let Some(place) = draft.world.scratch.ready.range(range).next().cloned() else { break };
        after = Some(place.clone());
        let pools = pools_of(draft.world, &place.1);
        if let Some(full) = pools.iter().find(|pool| is_full(draft.world, pool, &used)).cloned() {
            let claimed = claims.entry(full.clone()).or_default();
            if *claimed < draft.world.scratch.catalog.settings.places(&full) {
                *claimed += 1;
                pools.into_iter().for_each(|pool| *used.entry(pool).or_default() += 1);
            }
            continue;
        }
        draft.world.scratch.ready.remove(&place);
        let Some(run) = draft.world.run(&place.1).cloned() else { continue };
        // Judged once more in the turn that starts it: an earlier start may have changed the answer.
        if gate(draft.world, &run, draft.now) == Gate::Ready {
            start(draft, run);
            pools.into_iter().for_each(|pool| *used.entry(pool).or_default() += 1);
        } else {
            draft.world.scratch.touched.insert(run.run.job);
        }
    }
    give_up(draft);
}

/// The end of the catch-up window ends the wait for a pool or slot.
fn give_up(draft: &mut Draft<'_>) {
    for run in draft.world.scratch.patience.take_due(draft.now) {
        let Some(held) = held(draft.world, &run) else { continue };
        if draft.world.run(&run).is_some_and(|run| draft.world.scratch.ready.contains(&place(run))) {
            life::skip(draft, &run, &format!("waited for {held} until its catch-up-window was over"));
        }
    }
}

fn owned(used: BTreeMap<&str, u32>) -> BTreeMap<String, u32> {
    used.into_iter().map(|(pool, count)| (pool.to_owned(), count)).collect()
}

fn pools_of(world: &World, run: &RunRef) -> Vec<String> {
    world.job(&run.job).map(|job| job.definition.pools.clone()).unwrap_or_default()
}

fn is_full(world: &World, pool: &str, used: &BTreeMap<String, u32>) -> bool {
    used.get(pool).copied().unwrap_or(0) >= world.scratch.catalog.settings.places(pool)
}

/// What holds a run that the gate lets pass: disk, pool or slot.
#[must_use]
pub fn held(world: &World, run: &RunRef) -> Option<String> {
    pool_full(world, run, &pools_in_use(world)).map(|pool| format!("pool {pool}")).or_else(|| host_full(world))
}

fn host_full(world: &World) -> Option<String> {
    let settings = &world.scratch.catalog.settings;
    if world.scratch.disk_free.is_some_and(|free| free < settings.disk_floor) {
        return Some(format!("disk: less than {} MiB are free", settings.disk_floor >> 20));
    }
    (world.scratch.running.len() >= settings.slots as usize).then(|| "a slot".to_owned())
}

fn pool_full<'w>(world: &'w World, run: &RunRef, used: &BTreeMap<&str, u32>) -> Option<&'w str> {
    let settings = &world.scratch.catalog.settings;
    let pools = world.job(&run.job).map(|job| job.definition.pools.as_slice()).unwrap_or_default();
    pools.iter().map(String::as_str).find(|pool| used.get(pool).copied().unwrap_or(0) >= settings.places(pool))
}

fn pools_in_use(world: &World) -> BTreeMap<&str, u32> {
    let mut used = BTreeMap::new();
    for run in world.scratch.running.iter().filter_map(|run| world.run(run)) {
        for pool in &run.holds.pools {
            *used.entry(pool.as_str()).or_default() += 1;
        }
    }
    used
}

/// Records that it runs; the action is done once that is on disk.
fn start(draft: &mut Draft<'_>, mut run: Run) {
    let key = run.run.job.clone();
    run.attempt += 1;
    run.tries += 1;
    if let Some(job) = draft.world.job(&key) {
        let environment = job.definition.environment.as_ref().map(|policy| policy.name.clone());
        run.holds = Holds { environment, pools: job.definition.pools.clone() };
    }
    run.state =
        RunState::Running { launched_at: draft.now, started_at: None, step: None, touched: false, stopping: None };
    draft.put(Change::AttemptPut(Attempt {
        run: run.run.clone(),
        attempt: run.attempt,
        launched_at: draft.now,
        started_at: None,
        finished_at: None,
        outcome: None,
        reason: String::new(),
        usage: None,
    }));
    draft.put_run(run.clone());
    draft.note("started", &run.run, format!("attempt {}", run.attempt));
    begun(draft, &run);
    telling::begun(draft, &run);
    let environment = run.holds.environment.as_ref().and_then(|name| draft.world.environment(&key.pipeline, name));
    let deployed = environment.and_then(|environment| environment.live.as_ref()?.commit.clone());
    draft.world.scratch.known.insert((run.run.clone(), run.attempt));
    let cause = due::begun(draft, &run);
    let late = cause.due().map(|(due, _)| seconds_between(due, draft.now).0);
    let (receipts, broken_glass) = said(draft, &run);
    draft.actions.push(Action::Start(Box::new(StartOrder {
        attempt: run.attempt,
        commit: run.commit,
        git_ref: run.git_ref,
        // The shell knows where mirrors lie.
        mirror: None,
        deployed,
        definition: run.definition,
        params: run.params,
        cause,
        needs: run.upstream,
        public_url: draft.world.scratch.catalog.settings.public_url(),
        late,
        receipts,
        broken_glass,
        run: run.run,
    })));
}

/// What people said to a deployment that wants approval, or root.
fn said(draft: &Draft<'_>, run: &Run) -> (Option<Box<Receipts>>, Option<String>) {
    let Some(request) = draft.world.request_of(&run.run) else { return (None, None) };
    let voted = request.approvals().filter(|vote| !vote.broke_glass());
    let receipt =
        |vote: &Vote| Some(Receipt { person: vote.by.parse().ok()?, at: vote.at, signed: vote.signed.clone() });
    let votes = voted.filter_map(receipt).collect();
    let receipts = Receipts { statement: Statement::of(request, run.git_ref.as_ref()), votes };
    (Some(Box::new(receipts)), request.broken_glass().map(|vote| vote.reason.clone()))
}

/// Its head has begun, and `paths` compares with this commit from now on.
fn begun(draft: &mut Draft<'_>, run: &Run) {
    let (Some(commit), Some(git_ref)) = (&run.commit, &run.git_ref) else { return };
    let name = &run.run.job.pipeline;
    let row = draft.live(name).and_then(|live| live.sightings.get(git_ref));
    let sighting = row.and_then(|row| row.iter().find(|sighting| sighting.number == run.sighting)).cloned();
    if let Some(mut sighting) = sighting.filter(|sighting| !sighting.begun) {
        sighting.begun = true;
        draft.put(Change::SightingPut(sighting));
    }
    draft.put(Change::LastRanPut(LastRan {
        pipeline: name.clone(),
        job: run.run.job.job.clone(),
        git_ref: git_ref.clone(),
        commit: commit.clone(),
        run: run.run.clone(),
    }));
}

/// Running attempts that this daemon has not started itself, and those that someone wants ended.
pub fn watch_running(draft: &mut Draft<'_>) {
    for run in std::mem::take(&mut draft.world.scratch.unwatched) {
        let Some(run) = draft.world.run(&run).cloned() else { continue };
        let RunState::Running { stopping, launched_at, .. } = &run.state else { continue };
        let key = (run.run.clone(), run.attempt);
        if draft.world.scratch.known.insert(key.clone()) {
            draft.actions.push(Action::Examine { run: run.run.clone(), attempt: run.attempt });
        }
        if let Some(reason) = stopping
            && draft.world.scratch.stopping.insert(key)
        {
            draft.actions.push(Action::Stop { run: run.run.clone(), attempt: run.attempt, reason: reason.clone() });
        }
        pulse::watch(draft, &run.run, *launched_at);
    }
}
