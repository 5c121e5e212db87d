//! Runs, their attempts and their steps.

use rusqlite::{Connection, Row, ToSql, params, params_from_iter};

use crate::model::backfill::DueRun;
use crate::model::commit::{CommitId, RefName};
use crate::model::job::Hash;
use crate::model::name::{JobKey, JobName, PipelineName, RunRef};
use crate::model::run::{
    Attempt, Cause, Finished, Holds, Outcome, Run, RunState, StepEnd, StepReport, Usage, UsualUsage,
};
use crate::model::time::{Seconds, Timestamp};
use crate::store::reader::RunFilter;
use crate::store::sql::{Column, Count, Json, Millis, Text, first, limit, rows, upsert};

/// How a step is kept that the kernel ended for want of memory: by this signal, for this reason.
const KILL: i32 = 9;
const OUT_OF_MEMORY: &str = "out of memory";

/// Successes of which the median duration is taken.
const USUAL_OF: usize = 20;

/// The columns of a cause beside its word.
#[derive(Default)]
struct CauseColumns {
    due: Option<Millis>,
    previous: Option<Millis>,
    number: Option<Count>,
    run: Option<Text<RunRef>>,
    by: Option<String>,
}

fn cause_columns(cause: &Cause) -> CauseColumns {
    let none = CauseColumns::default();
    match cause.clone() {
        Cause::Schedule { due, previous } => {
            CauseColumns { due: Some(Millis(due)), previous: previous.map(Millis), ..none }
        }
        Cause::Commit { sighting } => CauseColumns { number: Some(Count(sighting)), ..none },
        Cause::Needs { run } => CauseColumns { run: Some(Text(run)), ..none },
        Cause::Manual { by } => CauseColumns { by: Some(by), ..none },
        Cause::Retry { of, by } => CauseColumns { run: Some(Text(of)), by: Some(by), ..none },
        Cause::Rollback { deployment, by } => CauseColumns { run: Some(Text(deployment)), by: Some(by), ..none },
        Cause::Backfill { due, previous, by } => {
            CauseColumns { due: Some(Millis(due)), previous: previous.map(Millis), by: Some(by), ..none }
        }
    }
}

fn cause(row: &Row<'_>) -> rusqlite::Result<Cause> {
    let due = || row.get::<_, Millis>("cause_due").map(|due| due.0);
    let previous = || time(row, "cause_previous");
    let run = || row.get::<_, Text<RunRef>>("cause_run").map(|run| run.0);
    let by = || row.get::<_, String>("cause_by");
    Ok(match row.get::<_, String>("cause")?.as_str() {
        "schedule" => Cause::Schedule { due: due()?, previous: previous()? },
        "commit" => Cause::Commit { sighting: row.get::<_, Count>("cause_number")?.0 },
        "needs" => Cause::Needs { run: run()? },
        "retry" => Cause::Retry { of: run()?, by: by()? },
        "rollback" => Cause::Rollback { deployment: run()?, by: by()? },
        "backfill" => Cause::Backfill { due: due()?, previous: previous()?, by: by()? },
        // The table's CHECK leaves only `manual`.
        _ => Cause::Manual { by: by()? },
    })
}

/// The columns of a state; those of other states are NULL.
#[derive(Default)]
struct StateColumns {
    state: &'static str,
    not_before: Option<Millis>,
    confirmed_by: Option<String>,
    launched_at: Option<Millis>,
    started_at: Option<Millis>,
    step_index: Option<u32>,
    step_name: Option<String>,
    touched: Option<bool>,
    stopping: Option<String>,
    outcome: Option<&'static str>,
    reason: Option<String>,
    finished_at: Option<Millis>,
}

fn state_columns(state: &RunState) -> StateColumns {
    match state.clone() {
        RunState::Queued { not_before, confirmed_by } => StateColumns {
            state: "queued",
            not_before: not_before.map(Millis),
            confirmed_by,
            ..StateColumns::default()
        },
        RunState::Running { launched_at, started_at, step, touched, stopping } => {
            let (step_index, step_name) = step.unzip();
            StateColumns {
                state: "running",
                launched_at: Some(Millis(launched_at)),
                started_at: started_at.map(Millis),
                step_index,
                step_name,
                touched: Some(touched),
                stopping,
                ..StateColumns::default()
            }
        }
        RunState::Finished(Finished { outcome, started_at, at, reason, step }) => {
            let (step_index, step_name) = step.unzip();
            StateColumns {
                state: "finished",
                started_at: started_at.map(Millis),
                step_index,
                step_name,
                outcome: Some(outcome.word()),
                reason: Some(reason),
                finished_at: Some(Millis(at)),
                ..StateColumns::default()
            }
        }
    }
}

fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<Millis>>(column)?.map(|at| at.0))
}

fn state(row: &Row<'_>) -> rusqlite::Result<RunState> {
    let step = row.get::<_, Option<u32>>("step_index")?.zip(row.get("step_name")?);
    Ok(match row.get::<_, String>("state")?.as_str() {
        "queued" => RunState::Queued { not_before: time(row, "not_before")?, confirmed_by: row.get("confirmed_by")? },
        "running" => RunState::Running {
            launched_at: row.get::<_, Millis>("launched_at")?.0,
            started_at: time(row, "started_at")?,
            step,
            touched: row.get("touched")?,
            stopping: row.get("stopping")?,
        },
        // The table's CHECK leaves only `finished`.
        _ => RunState::Finished(Finished {
            outcome: row.get::<_, Text<Outcome>>("outcome")?.0,
            started_at: time(row, "started_at")?,
            at: row.get::<_, Millis>("finished_at")?.0,
            reason: row.get("reason")?,
            step,
        }),
    })
}

pub fn put_run(db: &Connection, run: &Run) -> rusqlite::Result<()> {
    let (key, cause, state) = (&run.run.job, cause_columns(&run.cause), state_columns(&run.state));
    let keys: &[Column<'_>] =
        &[("pipeline", &key.pipeline.as_str()), ("job", &key.job.as_str()), ("number", &Count(run.run.number))];
    let rest: &[Column<'_>] = &[
        ("commit_id", &run.commit.as_ref().map(Text)),
        ("git_ref", &run.git_ref.as_ref().map(Text)),
        ("sighting", &Count(run.sighting)),
        ("cause", &run.cause.word()),
        ("cause_due", &cause.due),
        ("cause_previous", &cause.previous),
        ("cause_number", &cause.number),
        ("cause_run", &cause.run),
        ("cause_by", &cause.by),
        ("definition", &run.definition.as_str()),
        ("params", &Json(&run.params)),
        ("upstream", &Json(&run.upstream)),
        ("queued_at", &Millis(run.queued_at)),
        ("attempt", &run.attempt),
        ("tries", &run.tries),
        ("environment", &run.holds.environment.as_ref().map(Text)),
        ("pools", &Json(&run.holds.pools)),
        ("state", &state.state),
        ("not_before", &state.not_before),
        ("confirmed_by", &state.confirmed_by),
        ("launched_at", &state.launched_at),
        ("started_at", &state.started_at),
        ("step_index", &state.step_index),
        ("step_name", &state.step_name),
        ("touched", &state.touched),
        ("stopping", &state.stopping),
        ("outcome", &state.outcome),
        ("reason", &state.reason),
        ("finished_at", &state.finished_at),
        ("outputs", &Json(&run.outputs)),
        ("artifacts", &Json(&run.artifacts)),
    ];
    upsert(db, "runs", keys, rest)
}

fn run_ref(row: &Row<'_>) -> rusqlite::Result<RunRef> {
    let pipeline: Text<PipelineName> = row.get("pipeline")?;
    let job: Text<JobName> = row.get("job")?;
    Ok(RunRef { job: JobKey { pipeline: pipeline.0, job: job.0 }, number: row.get::<_, Count>("number")?.0 })
}

fn run(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        run: run_ref(row)?,
        commit: row.get::<_, Option<Text<_>>>("commit_id")?.map(|id| id.0),
        git_ref: row.get::<_, Option<Text<_>>>("git_ref")?.map(|name| name.0),
        sighting: row.get::<_, Count>("sighting")?.0,
        cause: cause(row)?,
        definition: Hash(row.get("definition")?),
        params: row.get::<_, Json<_>>("params")?.0,
        upstream: row.get::<_, Json<_>>("upstream")?.0,
        queued_at: row.get::<_, Millis>("queued_at")?.0,
        attempt: row.get("attempt")?,
        tries: row.get("tries")?,
        holds: Holds {
            environment: row.get::<_, Option<Text<_>>>("environment")?.map(|name| name.0),
            pools: row.get::<_, Json<_>>("pools")?.0,
        },
        state: state(row)?,
        outputs: row.get::<_, Json<_>>("outputs")?.0,
        artifacts: row.get::<_, Json<_>>("artifacts")?.0,
    })
}

pub fn one(db: &Connection, key: &RunRef) -> rusqlite::Result<Option<Run>> {
    let sql = "SELECT * FROM runs WHERE pipeline = ? AND job = ? AND number = ?";
    first(db, sql, params![key.job.pipeline.as_str(), key.job.job.as_str(), Count(key.number)], run)
}

pub fn seq(db: &Connection, key: &RunRef) -> rusqlite::Result<Option<u64>> {
    let sql = "SELECT seq FROM runs WHERE pipeline = ? AND job = ? AND number = ?";
    let params = params![key.job.pipeline.as_str(), key.job.job.as_str(), Count(key.number)];
    first(db, sql, params, |row| row.get::<_, Count>(0).map(|seq| seq.0))
}

/// Those that are not finished.
pub fn live(db: &Connection) -> rusqlite::Result<Vec<Run>> {
    rows(db, "SELECT * FROM runs WHERE state <> 'finished'", [], run)
}

/// Newest first.
pub fn filtered(db: &Connection, filter: &RunFilter) -> rusqlite::Result<Vec<Run>> {
    let mut sql = "SELECT * FROM runs WHERE true".to_owned();
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    let mut and = |text: &str, value: Option<Box<dyn ToSql>>| {
        sql.push_str(" AND ");
        sql.push_str(text);
        values.extend(value);
    };
    let job = filter.job.as_ref();
    if let Some(pipeline) = filter.pipeline.as_ref().or(job.map(|job| &job.pipeline)) {
        and("pipeline = ?", Some(Box::new(Text(pipeline.clone()))));
    }
    if let Some(job) = job {
        and("pipeline = ?", Some(Box::new(Text(job.pipeline.clone()))));
        and("job = ?", Some(Box::new(Text(job.job.clone()))));
    }
    if let Some(commit) = &filter.commit {
        and("commit_id = ?", Some(Box::new(Text(commit.clone()))));
    }
    if filter.failed_only {
        and("outcome NOT IN ('succeeded', 'skipped')", None);
    }
    if filter.finished_only {
        and("state = 'finished'", None);
    }
    if let Some(since) = filter.since {
        and("queued_at >= ?", Some(Box::new(Millis(since))));
    }
    if let Some(seq) = filter.before_seq {
        and("seq < ?", Some(Box::new(Count(seq))));
    }
    sql.push_str(" ORDER BY seq DESC LIMIT ?");
    values.push(Box::new(limit(filter.limit)));
    rows(db, &sql, params_from_iter(values), run)
}

pub fn last_success_before(db: &Connection, job: &JobKey, number: u64) -> rusqlite::Result<Option<Run>> {
    let sql = "SELECT * FROM runs WHERE pipeline = ? AND job = ? AND number < ? AND outcome = 'succeeded' \
               ORDER BY number DESC LIMIT 1";
    first(db, sql, params![job.pipeline.as_str(), job.job.as_str(), Count(number)], run)
}

pub fn last_success_on(db: &Connection, run: &RunRef, git_ref: Option<&RefName>) -> rusqlite::Result<Option<CommitId>> {
    let sql = "SELECT commit_id FROM runs WHERE pipeline = ? AND job = ? AND number < ? AND outcome = 'succeeded' \
               AND git_ref IS ? AND commit_id IS NOT NULL ORDER BY number DESC LIMIT 1";
    let (job, git_ref) = (&run.job, git_ref.map(Text));
    let params = params![job.pipeline.as_str(), job.job.as_str(), Count(run.number), git_ref];
    first(db, sql, params, |row| row.get::<_, Text<CommitId>>(0).map(|id| id.0))
}

/// Median duration of the last successes.
pub fn usual(db: &Connection, job: &JobKey) -> rusqlite::Result<Option<Seconds>> {
    let sql = "SELECT max(0, finished_at - started_at) FROM runs \
               WHERE pipeline = ? AND job = ? AND outcome = 'succeeded' AND started_at IS NOT NULL \
               ORDER BY seq DESC LIMIT ?";
    let params = params![job.pipeline.as_str(), job.job.as_str(), limit(USUAL_OF)];
    let mut millis = rows(db, sql, params, |row| row.get::<_, Count>(0).map(|count| count.0))?;
    millis.sort_unstable();
    Ok(millis.get(millis.len() / 2).map(|&median| Seconds(median.div_ceil(1000))))
}

/// Medians of what the last successes before this run used.
pub fn usual_usage(db: &Connection, run: &RunRef) -> rusqlite::Result<Option<UsualUsage>> {
    let sql = "SELECT cpu_ms, memory_peak, coalesce(written, 0) FROM runs \
               JOIN attempts USING (pipeline, job, number, attempt) \
               WHERE pipeline = ? AND job = ? AND number < ? AND runs.outcome = 'succeeded' AND cpu_ms IS NOT NULL \
               ORDER BY number DESC LIMIT ?";
    let key = &run.job;
    let params = params![key.pipeline.as_str(), key.job.as_str(), Count(run.number), limit(USUAL_OF)];
    let count = |row: &Row<'_>, column| row.get::<_, Count>(column).map(|count| count.0);
    let all = rows(db, sql, params, |row| Ok((count(row, 0)?, count(row, 1)?, count(row, 2)?)))?;
    let median = |of: fn(&(u64, u64, u64)) -> u64| {
        let mut values: Vec<u64> = all.iter().map(of).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied()
    };
    let (cpu_ms, memory_peak, written) = (median(|u| u.0), median(|u| u.1), median(|u| u.2));
    let runs = u32::try_from(all.len()).unwrap_or(u32::MAX);
    Ok(cpu_ms.zip(memory_peak).zip(written).map(|((cpu_ms, memory_peak), written)| UsualUsage {
        runs,
        cpu_ms,
        memory_peak,
        written,
    }))
}

pub fn put_attempt(db: &Connection, attempt: &Attempt) -> rusqlite::Result<()> {
    let (key, usage) = (&attempt.run.job, attempt.usage);
    upsert(
        db,
        "attempts",
        &[
            ("pipeline", &key.pipeline.as_str()),
            ("job", &key.job.as_str()),
            ("number", &Count(attempt.run.number)),
            ("attempt", &attempt.attempt),
        ],
        &[
            ("launched_at", &Millis(attempt.launched_at)),
            ("started_at", &attempt.started_at.map(Millis)),
            ("finished_at", &attempt.finished_at.map(Millis)),
            ("outcome", &attempt.outcome.map(Outcome::word)),
            ("reason", &attempt.reason),
            ("cpu_ms", &usage.map(|usage| Count(usage.cpu_ms))),
            ("memory_peak", &usage.map(|usage| Count(usage.memory_peak))),
            ("log_bytes", &usage.map(|usage| Count(usage.log_bytes))),
            ("masked", &Count(usage.map_or(0, |usage| usage.masked))),
            ("written", &usage.map(|usage| Count(usage.written))),
            ("oom_kills", &usage.map(|usage| Count(usage.oom_kills))),
        ],
    )
}

/// The first one first.
pub fn attempts(db: &Connection, key: &RunRef) -> rusqlite::Result<Vec<Attempt>> {
    let sql = "SELECT * FROM attempts WHERE pipeline = ? AND job = ? AND number = ? ORDER BY attempt";
    rows(db, sql, params![key.job.pipeline.as_str(), key.job.job.as_str(), Count(key.number)], |row| {
        let usage = match row.get::<_, Option<Count>>("cpu_ms")? {
            Some(Count(cpu_ms)) => Some(Usage {
                cpu_ms,
                memory_peak: row.get::<_, Count>("memory_peak")?.0,
                log_bytes: row.get::<_, Count>("log_bytes")?.0,
                masked: row.get::<_, Count>("masked")?.0,
                // Not counted by older releases.
                written: row.get::<_, Option<Count>>("written")?.map_or(0, |count| count.0),
                oom_kills: row.get::<_, Option<Count>>("oom_kills")?.map_or(0, |count| count.0),
            }),
            None => None,
        };
        Ok(Attempt {
            run: run_ref(row)?,
            attempt: row.get("attempt")?,
            launched_at: row.get::<_, Millis>("launched_at")?.0,
            started_at: time(row, "started_at")?,
            finished_at: time(row, "finished_at")?,
            outcome: row.get::<_, Option<Text<_>>>("outcome")?.map(|outcome| outcome.0),
            reason: row.get("reason")?,
            usage,
        })
    })
}

pub fn put_step(db: &Connection, step: &StepReport) -> rusqlite::Result<()> {
    let (ended, code, why) = match &step.ended {
        None => (None, None, None),
        Some(StepEnd::Exit(code)) => (Some("exit"), Some(*code), None),
        Some(StepEnd::Signal(signal)) => (Some("signal"), Some(*signal), None),
        Some(StepEnd::OutOfMemory) => (Some("signal"), Some(KILL), Some(OUT_OF_MEMORY)),
        Some(StepEnd::TimedOut) => (Some("timed-out"), None, None),
        Some(StepEnd::Cancelled) => (Some("cancelled"), None, None),
        Some(StepEnd::Refused(why)) => (Some("refused"), None, Some(why.as_str())),
    };
    let key = &step.run.job;
    upsert(
        db,
        "steps",
        &[
            ("pipeline", &key.pipeline.as_str()),
            ("job", &key.job.as_str()),
            ("number", &Count(step.run.number)),
            ("attempt", &step.attempt),
            ("step", &step.index),
        ],
        &[
            ("name", &step.name),
            ("always", &step.always),
            ("started_at", &Millis(step.started_at)),
            ("finished_at", &step.finished_at.map(Millis)),
            ("ended", &ended),
            ("code", &code),
            ("why", &why),
            ("log_from", &Count(step.log_from)),
            ("log_to", &step.log_to.map(Count)),
        ],
    )
}

/// In the order of their numbers.
pub fn steps(db: &Connection, key: &RunRef, attempt: u32) -> rusqlite::Result<Vec<StepReport>> {
    let sql = "SELECT * FROM steps WHERE pipeline = ? AND job = ? AND number = ? AND attempt = ? ORDER BY step";
    let params = params![key.job.pipeline.as_str(), key.job.job.as_str(), Count(key.number), attempt];
    rows(db, sql, params, |row| {
        let ended = match row.get::<_, Option<String>>("ended")?.as_deref() {
            None => None,
            Some("exit") => Some(StepEnd::Exit(row.get("code")?)),
            Some("signal") if row.get::<_, Option<String>>("why")?.is_some() => Some(StepEnd::OutOfMemory),
            Some("signal") => Some(StepEnd::Signal(row.get("code")?)),
            Some("timed-out") => Some(StepEnd::TimedOut),
            Some("cancelled") => Some(StepEnd::Cancelled),
            // The table's CHECK leaves only `refused`.
            Some(_) => Some(StepEnd::Refused(row.get("why")?)),
        };
        Ok(StepReport {
            run: key.clone(),
            attempt,
            index: row.get("step")?,
            name: row.get("name")?,
            always: row.get("always")?,
            started_at: row.get::<_, Millis>("started_at")?.0,
            finished_at: time(row, "finished_at")?,
            ended,
            log_from: row.get::<_, Count>("log_from")?.0,
            log_to: row.get::<_, Option<Count>>("log_to")?.map(|offset| offset.0),
        })
    })
}

/// Runs for due times from `from` to `to`, both included, oldest due time first.
pub fn of_dues(db: &Connection, job: &JobKey, from: Timestamp, to: Timestamp) -> rusqlite::Result<Vec<DueRun>> {
    let sql = "SELECT number, cause_due, outcome FROM runs \
               WHERE pipeline = ? AND job = ? AND cause_due BETWEEN ? AND ? ORDER BY cause_due, number";
    rows(db, sql, params![job.pipeline.as_str(), job.job.as_str(), Millis(from), Millis(to)], |row| {
        Ok(DueRun {
            due: row.get::<_, Millis>("cause_due")?.0,
            run: RunRef { job: job.clone(), number: row.get::<_, Count>("number")?.0 },
            outcome: row.get::<_, Option<Text<_>>>("outcome")?.map(|word| word.0),
        })
    })
}
