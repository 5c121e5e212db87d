//! How one job stands for one commit, in one word: what goes on now wins over what is live, that over
//! how the last run ended.

use crate::model::catalog::Pipeline;
use crate::model::commit::CommitId;
use crate::model::environment::{Environment, EnvironmentState};
use crate::model::event::Standing;
use crate::model::name::{JobKey, JobName};
use crate::model::run::{Outcome, Run, RunState};
use crate::model::time::{Timestamp, seconds_between};
use crate::model::view::{CellState, CellView};

use super::{Rows, World, environment_of, tells};

/// A job and a commit.
pub(super) fn cell(
    world: &World,
    rows: &Rows,
    pipeline: &Pipeline,
    job: &JobName,
    commit: &CommitId,
    now: Timestamp,
) -> CellView {
    let key = JobKey { pipeline: pipeline.name.clone(), job: job.clone() };
    let going_on = live_run(world, &key, |run| run.commit.as_ref() == Some(commit));
    let state = going_on
        .map(|run| of_live_run(world, run, now))
        .or_else(|| of_environment(world, rows, &key, |deployed| deployed == Some(commit)))
        .or_else(|| of_standing(world, rows, &key, commit));
    finish(world, &key, state.unwrap_or_else(|| without_run(world, pipeline, job, commit)))
}

/// A job that has no commit.
pub(super) fn cell_without_commit(
    world: &World,
    rows: &Rows,
    pipeline: &Pipeline,
    job: &JobName,
    now: Timestamp,
) -> CellView {
    let key = JobKey { pipeline: pipeline.name.clone(), job: job.clone() };
    let last = || rows.recent.get(&key)?.iter().find(|run| tells(run));
    let state = live_run(world, &key, |_| true)
        .map(|run| of_live_run(world, run, now))
        .or_else(|| of_environment(world, rows, &key, |deployed| deployed.is_none()))
        .or_else(|| last().map(of_finished));
    finish(world, &key, state.unwrap_or_else(|| empty(CellState::Never)))
}

fn finish(world: &World, key: &JobKey, mut cell: CellView) -> CellView {
    cell.environment = environment_of(world, key);
    cell
}

fn empty(state: CellState) -> CellView {
    CellView { state, text: String::new(), run: None, at: None, took: None, environment: None }
}

/// What runs before what waits; of those the newest.
fn live_run<'w>(world: &'w World, key: &JobKey, of: impl Fn(&Run) -> bool) -> Option<&'w Run> {
    let runs = world.live.get(&key.pipeline)?.runs.values();
    runs.filter(|run| run.run.job == *key && of(run)).max_by_key(|run| (run.is_running(), run.run.number))
}

fn of_live_run(world: &World, run: &Run, now: Timestamp) -> CellView {
    let (state, text, since) = match &run.state {
        RunState::Running { launched_at, started_at, step, .. } => {
            let text = step.as_ref().map(|(_, name)| name.clone()).unwrap_or_default();
            (CellState::Running, text, Some(started_at.unwrap_or(*launched_at)))
        }
        _ => (CellState::Waits, crate::pipeline::waits(world, run, now).unwrap_or_default(), None),
    };
    CellView {
        text,
        run: Some(run.run.clone()),
        at: since,
        took: since.map(|from| seconds_between(from, now)),
        ..empty(state)
    }
}

fn of_environment(
    world: &World,
    rows: &Rows,
    key: &JobKey,
    is_it: impl Fn(Option<&CommitId>) -> bool,
) -> Option<CellView> {
    let environment: &Environment = world.environment(&key.pipeline, &environment_of(world, key)?)?;
    if let EnvironmentState::Unclear { attempted, unknown } = &environment.state
        && is_it(attempted.commit.as_ref())
        && attempted.run.job == *key
    {
        let state = if *unknown { CellState::Unknown } else { CellState::Failed };
        let ended = rows.runs.get(&attempted.run).map(of_finished).unwrap_or_else(|| empty(state));
        return Some(CellView { state, run: Some(attempted.run.clone()), at: Some(attempted.at), ..ended });
    }
    let live = environment.live.as_ref().filter(|live| is_it(live.commit.as_ref()) && live.run.job == *key)?;
    let took = rows.runs.get(&live.run).and_then(|run| of_finished(run).took);
    Some(CellView { run: Some(live.run.clone()), at: Some(live.at), took, ..empty(CellState::Live) })
}

fn of_standing(world: &World, rows: &Rows, key: &JobKey, commit: &CommitId) -> Option<CellView> {
    let standing: &Standing = world.standing(key, commit)?;
    let latest = standing.latest.as_ref()?;
    let run = latest.upstream.run.clone();
    let ended = rows.runs.get(&run).map(of_finished).unwrap_or_else(|| empty(CellState::Ended));
    let text = if standing.carries.is_some() { format!("as in #{}", run.number) } else { ended.text };
    let state = state_of(latest.outcome);
    Some(CellView { state, text, run: Some(run), at: Some(latest.at), took: ended.took, environment: None })
}

fn state_of(outcome: Outcome) -> CellState {
    match outcome {
        Outcome::Succeeded => CellState::Ok,
        Outcome::Failed | Outcome::TimedOut | Outcome::Interrupted => CellState::Failed,
        Outcome::Unknown => CellState::Unknown,
        Outcome::Cancelled | Outcome::Skipped => CellState::Ended,
    }
}

fn of_finished(run: &Run) -> CellView {
    let Some(end) = run.finished() else { return empty(CellState::Never) };
    CellView {
        text: end.reason.clone(),
        run: Some(run.run.clone()),
        at: Some(end.at),
        took: end.started_at.map(|from| seconds_between(from, end.at)),
        ..empty(state_of(end.outcome))
    }
}

/// No run of it: blocked where something it needs, at any depth, ended red for this commit.
fn without_run(world: &World, pipeline: &Pipeline, job: &JobName, commit: &CommitId) -> CellView {
    let red = pipeline.upstream_of(job).into_iter().any(|need| {
        let key = JobKey { pipeline: pipeline.name.clone(), job: need };
        let latest = world.standing(&key, commit).and_then(|standing| standing.latest.as_ref());
        latest.is_some_and(|latest| latest.outcome != Outcome::Succeeded)
    });
    empty(if red { CellState::Blocked } else { CellState::Never })
}
