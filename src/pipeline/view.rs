//! What is shown, made from the World and from rows that the caller read from the store: pure, so that
//! pages and commands cannot tell two stories. How it is printed is decided by the CLI and the pages.

mod approvals;
mod attention;
mod cells;
mod commits;
mod dues;
mod forecast;
mod next;
mod pauses;
mod simulate;
mod status;
mod why;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::commit::{CommitId, CommitInfo, RefName};
use crate::model::environment::EnvironmentState;
use crate::model::ledger::DueVerdict;
use crate::model::letter::Letter;
use crate::model::name::{EnvironmentName, JobKey, PipelineName, RunRef};
use crate::model::request::Request;
use crate::model::run::{Outcome, Run, RunState};
use crate::model::time::{Seconds, Timestamp, seconds_between};
use crate::model::view::RunRow;

use super::world::World;

pub use approvals::{approval_row, approvals, who_can};
pub use dues::Anchor;
pub use forecast::{Basis, forecast};
pub use next::next;
pub use simulate::simulate;
pub use status::status;
pub use why::{WhyRows, why};

/// Finished runs of a job that are read for [`Rows::recent`]: so many failures in a row are counted.
pub const RECENT: usize = 20;

/// What the World has no more and the store knows.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// The disk did not take the last records.
    pub unrecorded: bool,
    /// Finished runs of every job, newest first, at most [`RECENT`].
    pub recent: BTreeMap<JobKey, Vec<Run>>,
    /// The finished runs that [`Wanted`] named.
    pub runs: BTreeMap<RunRef, Run>,
    pub commits: BTreeMap<(PipelineName, CommitId), CommitInfo>,
    pub usual: BTreeMap<JobKey, Seconds>,
    /// Letters that could not be delivered so far.
    pub undelivered: Vec<Letter>,
}

/// What of the store a picture of the World needs.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub jobs: BTreeSet<JobKey>,
    pub runs: BTreeSet<RunRef>,
    pub commits: BTreeSet<(PipelineName, CommitId)>,
    /// Jobs that run now: what they usually take is told.
    pub usual: BTreeSet<JobKey>,
}

/// Names what [`status`] and [`next`] want to know beside the World.
#[must_use]
pub fn wanted(world: &World) -> Wanted {
    let mut wanted = Wanted::default();
    for pipeline in world.scratch.catalog.pipelines.values() {
        wanted.jobs.extend(pipeline.jobs.values().map(|job| job.definition.key.clone()));
    }
    for (name, live) in &world.live {
        let standings = live.standings.values().filter_map(|s| Some(s.latest.as_ref()?.upstream.run.clone()));
        wanted.runs.extend(standings);
        for environment in live.environments.values() {
            let attempted = match &environment.state {
                EnvironmentState::Unclear { attempted, .. } => Some(attempted),
                EnvironmentState::Empty | EnvironmentState::Clean => None,
            };
            for deployment in environment.live.iter().chain(attempted) {
                wanted.runs.insert(deployment.run.clone());
                wanted.commits.extend(deployment.commit.clone().map(|commit| (name.clone(), commit)));
            }
        }
        wanted.usual.extend(live.runs.keys().map(|run| run.job.clone()));
    }
    for row in world.ledger.values() {
        if let DueVerdict::Run(run) | DueVerdict::Coalesced(run) = &row.verdict {
            wanted.runs.insert(run.clone());
        }
    }
    wanted
}

/// A run in one row. `request` is the newest request of the run, if it had one.
#[must_use]
pub fn run_row(world: &World, run: &Run, request: Option<&Request>, usual: Option<Seconds>, now: Timestamp) -> RunRow {
    let definition = world.job(&run.run.job).map(|job| &job.definition);
    let live_request = world.request_of(&run.run);
    let approved_by = live_request.or(request).map(|request| request.approvals().map(|vote| vote.by.clone()).collect());
    let waits = super::waits(world, run, now);
    let (started_at, finished_at, reason, step) = match &run.state {
        RunState::Queued { .. } => (None, None, String::new(), None),
        RunState::Running { launched_at, started_at, step, stopping, .. } => {
            let reason = stopping.as_ref().map(|why| format!("is being ended: {why}")).unwrap_or_default();
            (Some(started_at.unwrap_or(*launched_at)), None, reason, step.clone())
        }
        RunState::Finished(end) => (end.started_at, Some(end.at), end.reason.clone(), end.step.clone()),
    };
    RunRow {
        run: run.run.clone(),
        state: state_word(run, waits.as_deref()),
        outcome: run.outcome(),
        commit: run.commit.clone(),
        branch: run.git_ref.as_ref().map(|git_ref| git_ref.short().to_owned()),
        environment: definition.and_then(|d| d.environment.as_ref().map(|e| e.name.clone())),
        cause: run.cause.clone(),
        queued_at: run.queued_at,
        started_at,
        finished_at,
        took: started_at.map(|from| seconds_between(from, finished_at.unwrap_or(now))),
        waits,
        reason,
        step,
        steps: definition.map_or(0, |d| u32::try_from(d.steps.len()).unwrap_or(u32::MAX)),
        attempt: run.attempt,
        tries: run.tries,
        approved_by: approved_by.unwrap_or_default(),
        usual,
    }
}

/// `queued`, `waiting`, `running` or the outcome.
fn state_word(run: &Run, waits: Option<&str>) -> String {
    match &run.state {
        RunState::Queued { .. } if waits.is_some() => "waiting".into(),
        RunState::Queued { .. } => "queued".into(),
        RunState::Running { .. } => "running".into(),
        RunState::Finished(end) => end.outcome.word().into(),
    }
}

/// How a run stands, in a few words: `ok, 6m 02s`, `FAILED in step 2 "unit": exit 2`, `waits (pool docker)`.
fn result_words(row: &RunRow) -> String {
    let step = row.step.as_ref().map(|(index, name)| format!(" in step {index} \"{name}\"")).unwrap_or_default();
    let reason = if row.reason.is_empty() { String::new() } else { format!(": {}", row.reason) };
    match row.outcome {
        Some(Outcome::Succeeded) => format!("ok, {}", row.took.unwrap_or_default()),
        Some(Outcome::Failed) => format!("FAILED{step}{reason}"),
        Some(Outcome::Skipped) => format!("skipped{reason}"),
        Some(other) => format!("{other}{step}{reason}"),
        None => match &row.waits {
            Some(why) => format!("waits ({why})"),
            None => format!("runs{step}"),
        },
    }
}

/// Whether an end says something of the job: a skipped run never began, a cancelled one was a person's choice.
fn tells(run: &Run) -> bool {
    run.outcome().is_some_and(|outcome| !matches!(outcome, Outcome::Skipped | Outcome::Cancelled))
}

/// The branch that stands for the pipeline: the one plain name of `[repo] branches`, else the remote's
/// HEAD. `None` where there is no such one; then every branch counts.
fn main_ref(world: &World, pipeline: &PipelineName) -> Option<RefName> {
    let repo = world.pipeline(pipeline)?.repo.as_ref()?;
    match &repo.refs.branches {
        None => world.live.get(pipeline)?.seen.as_ref()?.head.clone(),
        Some(names) => {
            let mut plain = names.iter().filter(|name| crate::model::glob::is_plain(name));
            let only = plain.next().filter(|_| plain.next().is_none())?;
            RefName::branch(only).ok()
        }
    }
}

/// The environment that a job deploys to.
fn environment_of(world: &World, key: &JobKey) -> Option<EnvironmentName> {
    Some(world.job(key)?.definition.environment.as_ref()?.name.clone())
}

/// What is known of a commit: from the live sightings, else from the store.
fn commit_info(world: &World, rows: &Rows, pipeline: &PipelineName, commit: &CommitId) -> Option<CommitInfo> {
    let live = world.live.get(pipeline)?;
    let sighted = live.sightings.values().flatten().find(|sighting| sighting.commit.id == *commit);
    sighted.map(|s| s.commit.clone()).or_else(|| rows.commits.get(&(pipeline.clone(), commit.clone())).cloned())
}
