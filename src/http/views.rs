//! What is shown, gathered: looks at the World between two turns, reads the rest from the store, and has
//! `pipeline::view` put it together. Used by the JSON routes and by the pages alike.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::model::name::{JobKey, PipelineName, RunRef};
use crate::model::request::Request;
use crate::model::retention::{Part, Removal};
use crate::model::run::{Outcome, Run, StepReport};
use crate::model::time::{Seconds, Timestamp, seconds_between};
use crate::model::view::{
    ApprovalsView, HistoryView, JournalView, LogChunk, NextView, RunRow, RunView, SCHEMA, StatusView, StepView,
};
use crate::pipeline::view::{self, Rows};
use crate::pipeline::world::World;
use crate::report::display;
use crate::report::facts::read_span;
use crate::store::{Reader, RunFilter, StoreError};

use super::{App, removed, rows};

/// Lines of a failed run's log that are shown with it, and the bytes they are taken from.
const TAIL_LINES: usize = 12;
const TAIL_BYTES: u64 = 8 << 10;

/// Most bytes of a log in one answer.
const CHUNK_MAX: u64 = 1 << 20;

/// Longer than any log: file systems refuse offsets that are much larger.
const OFFSET_MAX: u64 = 1 << 40;

/// Most rows of history in one answer.
const HISTORY_MAX: usize = 1000;

/// Decided requests that are still shown.
const DECIDED: usize = 20;

/// Why something cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    #[error("{0}")]
    NotFound(String),
    #[error("shipbell is stopping")]
    Stopping,
    #[error("the database cannot be read: {0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Other(String),
}

/// Which runs `history` shows.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    pub pipeline: Option<PipelineName>,
    pub job: Option<JobKey>,
    pub failed: bool,
    pub n: usize,
}

pub(super) async fn look<T: Send + 'static>(
    app: &App,
    look: impl FnOnce(&World, Timestamp) -> T + Send + 'static,
) -> Result<T, ViewError> {
    app.inbox.look(look).await.ok_or(ViewError::Stopping)
}

/// Reads the store away from the async threads.
pub(super) async fn read<T: Send + 'static>(
    app: &App,
    read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ViewError> {
    let reader = app.reader.clone();
    let done = tokio::task::spawn_blocking(move || read(&reader)).await;
    Ok(done.map_err(|error| ViewError::Other(error.to_string()))??)
}

/// Everything at a glance.
///
/// # Errors
/// If the daemon is stopping or the database cannot be read.
pub async fn status(app: &App) -> Result<StatusView, ViewError> {
    let rows = rows(app).await?;
    let site = app.site.view();
    look(app, move |world, now| view::status(world, &rows, &site, now)).await
}

/// What comes by itself.
///
/// # Errors
/// If the job is unknown, the daemon is stopping or the database cannot be read.
pub async fn next(app: &App, job: Option<JobKey>, n: usize) -> Result<NextView, ViewError> {
    if let Some(key) = job.clone() {
        job_is_known(app, key).await?;
    }
    let rows = rows(app).await?;
    look(app, move |world, now| view::next(world, &rows, job.as_ref(), n, now)).await
}

/// Requests for approval.
///
/// # Errors
/// If the daemon is stopping or the database cannot be read.
pub async fn approvals(app: &App) -> Result<ApprovalsView, ViewError> {
    let recent = read(app, |reader| reader.recent_requests(DECIDED)).await?;
    look(app, move |world, now| view::approvals(world, &recent, now)).await
}

/// What the World does not know of what it shows.
async fn rows(app: &App) -> Result<Rows, ViewError> {
    let (wanted, now) = look(app, |world, now| (view::wanted(world), now)).await?;
    read(app, move |reader| rows::read(reader, &wanted, now)).await
}

pub(super) async fn job_is_known(app: &App, key: JobKey) -> Result<(), ViewError> {
    let known = {
        let key = key.clone();
        look(app, move |world, _| world.job(&key).is_some()).await?
    };
    let missing = || ViewError::NotFound(format!("there is no job {key}\n  all jobs: shipbell status"));
    if known { Ok(()) } else { Err(missing()) }
}

/// Runs, newest first.
///
/// # Errors
/// If the pipeline or job is unknown and has no history, or the database cannot be read.
pub async fn history(app: &App, scope: Scope) -> Result<HistoryView, ViewError> {
    let n = scope.n.clamp(1, HISTORY_MAX);
    let filter = RunFilter {
        pipeline: scope.pipeline.clone(),
        job: scope.job.clone(),
        failed_only: scope.failed,
        limit: n + 1,
        ..RunFilter::default()
    };
    let found = read(app, move |reader| {
        let runs = reader.runs(&filter)?;
        runs.into_iter().map(|run| Ok((last_request(reader, &run)?, run))).collect::<Result<Vec<_>, StoreError>>()
    });
    let mut found = found.await?;
    if found.is_empty() {
        scope_is_known(app, &scope).await?;
    }
    let more = found.len() > n;
    found.truncate(n);
    look(app, move |world, now| {
        let row = |(request, run): &(Option<Request>, Run)| view::run_row(world, run, request.as_ref(), None, now);
        HistoryView { schema: SCHEMA, now, runs: found.iter().map(row).collect(), more }
    })
    .await
}

fn last_request(reader: &Reader, run: &Run) -> Result<Option<Request>, StoreError> {
    Ok(reader.requests_of(&run.run)?.pop())
}

async fn scope_is_known(app: &App, scope: &Scope) -> Result<(), ViewError> {
    if let Some(job) = &scope.job {
        return job_is_known(app, job.clone()).await;
    }
    let Some(name) = scope.pipeline.clone() else { return Ok(()) };
    let known = {
        let name = name.clone();
        look(app, move |world, _| world.pipeline(&name).is_some()).await?
    };
    let missing = || ViewError::NotFound(format!("there is no pipeline {name}\n  all pipelines: shipbell status"));
    if known { Ok(()) } else { Err(missing()) }
}

/// A run as the store has it.
///
/// # Errors
/// If there is no such run or the database cannot be read.
pub async fn stored_run(app: &App, name: &RunRef) -> Result<Run, ViewError> {
    let wanted = name.clone();
    let found = read(app, move |reader| Ok((reader.run(&wanted)?, reader.removals(&wanted)?))).await?;
    found.0.ok_or_else(|| {
        let what = match removed::when(&found.1, Part::Run) {
            Some(at) => removed::told(&name.to_string(), at, Part::Run),
            None => format!("there is no run {name}"),
        };
        ViewError::NotFound(format!("{what}\n  its runs: shipbell history {}", name.job))
    })
}

/// What the store knows of one run beside its own row.
struct Facts {
    run: Run,
    request: Option<Request>,
    commit: Option<crate::model::commit::CommitInfo>,
    attempts: Vec<crate::model::run::Attempt>,
    steps: Vec<StepReport>,
    usual: Option<Seconds>,
    usual_usage: Option<crate::model::run::UsualUsage>,
    last_good: Option<Run>,
    /// Runs of the same commit.
    others: Vec<Run>,
    journal: Vec<crate::model::event::JournalLine>,
    removals: Vec<Removal>,
}

fn facts(reader: &Reader, run: Run) -> Result<Facts, StoreError> {
    let name = &run.run;
    let commit = match &run.commit {
        Some(id) => reader.commit(&name.job.pipeline, id)?,
        None => None,
    };
    let bad = run.outcome().is_some_and(|outcome| !matches!(outcome, Outcome::Succeeded | Outcome::Skipped));
    let others = match &run.commit {
        Some(id) => reader.runs(&RunFilter {
            pipeline: Some(name.job.pipeline.clone()),
            commit: Some(id.clone()),
            ..RunFilter::default()
        })?,
        None => Vec::new(),
    };
    Ok(Facts {
        request: last_request(reader, &run)?,
        commit,
        attempts: reader.attempts(name)?,
        steps: reader.steps(name, run.attempt)?,
        usual: reader.usual(&name.job)?,
        usual_usage: reader.usual_usage(name)?,
        last_good: if bad { reader.last_success_before(&name.job, name.number)? } else { None },
        others,
        journal: reader.journal(Some(&name.to_string()), 50)?,
        removals: reader.removals(name)?,
        run,
    })
}

/// All about one run.
///
/// # Errors
/// If there is no such run, the daemon is stopping or the database cannot be read.
pub async fn run(app: &App, name: &RunRef) -> Result<RunView, ViewError> {
    let stored = stored_run(app, name).await?;
    let facts = Arc::new(read(app, move |reader| facts(reader, stored)).await?);
    let tail = tail(app, &facts).await;
    let page = format!("{}/{}/{}", app.site.public_url, name.job, name.number);
    look(app, move |world, now| run_view(world, &facts, tail, page, now)).await
}

fn run_view(world: &World, facts: &Facts, tail: Vec<String>, page: String, now: Timestamp) -> RunView {
    let run = &facts.run;
    let row = view::run_row(world, run, facts.request.as_ref(), facts.usual, now);
    let request = world.request_of(&run.run).or(facts.request.as_ref());
    let line = |line: &crate::model::event::JournalLine| JournalView {
        at: line.at,
        actor: line.actor.clone(),
        verb: line.verb.clone(),
        subject: line.subject.clone(),
        detail: line.detail.clone(),
    };
    RunView {
        schema: SCHEMA,
        now,
        id: run.run.id(),
        page,
        commit: facts.commit.clone(),
        definition: run.definition.clone(),
        params: run.params.clone(),
        upstream: run.upstream.iter().map(|upstream| upstream.run.clone()).collect(),
        outputs: run.outputs.clone(),
        artifacts: run.artifacts.clone(),
        attempts: facts.attempts.clone(),
        usual_usage: facts.usual_usage,
        steps: facts.steps.iter().map(|step| step_view(step, now)).collect(),
        request: request.map(|request| view::approval_row(world, request, now)),
        then: then(world, facts, &row, now),
        last_good: facts.last_good.as_ref().map(|run| view::run_row(world, run, None, None, now)),
        tail,
        removed: removed::views(&facts.removals),
        journal: facts.journal.iter().map(line).collect(),
        row,
    }
}

fn step_view(step: &StepReport, now: Timestamp) -> StepView {
    StepView {
        index: step.index,
        name: step.name.clone(),
        always: step.always,
        started_at: step.started_at,
        finished_at: step.finished_at,
        took: Some(seconds_between(step.started_at, step.finished_at.unwrap_or(now))),
        ended: step.ended.clone(),
        log_from: step.log_from,
        log_to: step.log_to,
    }
}

/// What came of it in the jobs that need it.
fn then(world: &World, facts: &Facts, row: &RunRow, now: Timestamp) -> Vec<String> {
    let run = &facts.run;
    let Some(pipeline) = world.pipeline(&run.run.job.pipeline) else { return Vec::new() };
    let mut lines = Vec::new();
    for name in &pipeline.order {
        let needs = pipeline.jobs.get(name).map(|job| job.definition.needs.as_slice()).unwrap_or_default();
        if !needs.contains(&run.run.job.job) {
            continue;
        }
        let stands_on =
            |other: &&Run| other.run.job.job == *name && other.upstream.iter().any(|upstream| upstream.run == run.run);
        match facts.others.iter().find(stands_on) {
            Some(other) => {
                let other = view::run_row(world, other, None, None, now);
                let waits = other.waits.map(|why| format!(" ({why})")).unwrap_or_default();
                lines.push(format!("{name}#{} {}{waits}", other.run.number, other.state));
            }
            None if row.outcome.is_some_and(|outcome| outcome != Outcome::Succeeded) => {
                lines.push(format!("{name} did not start: needs {}", run.run.job.job));
            }
            None => {}
        }
    }
    lines
}

/// The last lines of the step in which a run ended badly.
async fn tail(app: &App, facts: &Facts) -> Vec<String> {
    let bad = |step: &&StepReport| step.ended.as_ref().is_some_and(|end| !end.good());
    let told = facts.run.outcome().is_some_and(|outcome| outcome != Outcome::Succeeded);
    let told = told && removed::when(&facts.removals, Part::Log).is_none();
    let Some(step) = facts.steps.iter().find(bad).filter(|_| told) else { return Vec::new() };
    let to = step.log_to.unwrap_or(step.log_from);
    let from = to.saturating_sub(TAIL_BYTES).max(step.log_from);
    let cut_in = from > step.log_from;
    let (read_log, run, attempt) = (app.read_log.clone(), facts.run.run.clone(), step.attempt);
    let read = tokio::task::spawn_blocking(move || read_span(&read_log, &run, attempt, from, to)).await;
    let Ok(Ok(bytes)) = read else { return Vec::new() };
    let text = display::plain_bytes(&bytes);
    let lines = text.lines().skip(usize::from(cut_in));
    // What the supervisor says of the step is told beside it.
    let mut lines: Vec<String> = lines.filter(|line| !line.starts_with("=== step ")).map(str::to_owned).collect();
    lines.drain(..lines.len().saturating_sub(TAIL_LINES));
    lines
}

async fn log_bytes(app: &App, run: &RunRef, attempt: u32, from: u64, max: u64) -> std::io::Result<(Vec<u8>, u64)> {
    let (read_log, run) = (app.read_log.clone(), run.clone());
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let read = tokio::task::spawn_blocking(move || read_log(&run, attempt, from, max)).await;
    read.map_err(std::io::Error::other)?
}

/// A piece of a run's log; of the last attempt where none is named.
///
/// # Errors
/// If there is no such run or attempt, or it cannot be read.
pub async fn log(app: &App, name: &RunRef, attempt: Option<u32>, from: u64, max: u64) -> Result<LogChunk, ViewError> {
    let wanted = name.clone();
    let (known, removals) = read(app, move |reader| Ok((reader.run(&wanted)?, reader.removals(&wanted)?))).await?;
    if let Some(at) = removed::when(&removals, Part::Log) {
        return Ok(removed::log(name, known.as_ref(), at));
    }
    // The state is read before the bytes: if the attempt was over by then, its log is whole.
    let run = stored_run(app, name).await?;
    let asked = run.clone();
    let waits = look(app, move |world, now| crate::pipeline::waits(world, world.run(&asked.run)?, now)).await?;
    let attempt = attempt.unwrap_or(run.attempt);
    if attempt > run.attempt {
        return Err(ViewError::NotFound(format!("{name} has no attempt {attempt}; its last is {}", run.attempt)));
    }
    let over = !run.is_running() || attempt < run.attempt;
    let chunk = |next, bytes: &[u8]| LogChunk {
        schema: SCHEMA,
        run: name.clone(),
        attempt,
        last_attempt: run.attempt,
        from,
        next,
        data: STANDARD.encode(bytes),
        over,
        outcome: run.outcome(),
        waits: waits.clone(),
        removed: None,
    };
    // An attempt without a log yet is about to begin.
    let from = from.min(OFFSET_MAX);
    if attempt == 0 {
        return Ok(chunk(from, &[]));
    }
    match log_bytes(app, name, attempt, from, max.clamp(1, CHUNK_MAX)).await {
        // Not always behind the bytes: where output is missing, a line says so and `next` is behind it.
        Ok((bytes, next)) => Ok(chunk(next, &bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !over => Ok(chunk(from, &[])),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(ViewError::NotFound(format!("the log of {name}, attempt {attempt}, is not there any more")))
        }
        Err(error) => Err(ViewError::Other(format!("the log of {name} cannot be read: {error}"))),
    }
}
