//! What `[retention]` takes away: what the history has of old runs, what is about to go, and what went.
//! Whether something may go is not decided here; that rows of decisions stay, the tables see to.

use rusqlite::{Connection, Row, params};

use crate::model::commit::CommitId;
use crate::model::name::{EnvironmentName, JobKey, JobName, PipelineName, RunRef};
use crate::model::retention::{Deployed, Old, Part, Past, Removal, Removed, Retention, Tally};
use crate::model::run::Upstream;
use crate::model::time::Timestamp;
use crate::store::sql::{Count, Json, Millis, Text, execute, first, limit, rows, upsert};

/// Deployments that are looked at of each environment: several may be of one commit.
const DEPLOYED: usize = 50;

pub fn put(db: &Connection, removal: &Removal) -> rusqlite::Result<()> {
    let key = &removal.run.job;
    upsert(
        db,
        "removals",
        &[
            ("pipeline", &key.pipeline.as_str()),
            ("job", &key.job.as_str()),
            ("number", &Count(removal.run.number)),
            ("part", &removal.part.word()),
        ],
        &[
            ("decided_at", &Millis(removal.decided_at)),
            ("done_at", &removal.done.map(|done| Millis(done.at))),
            ("bytes", &removal.done.map(|done| Count(done.bytes))),
        ],
    )
}

/// Takes the row of a run away, with its attempts and steps.
pub fn forget(db: &Connection, run: &RunRef) -> rusqlite::Result<()> {
    let sql = "DELETE FROM runs WHERE pipeline = ? AND job = ? AND number = ?";
    execute(db, sql, params![run.job.pipeline.as_str(), run.job.job.as_str(), Count(run.number)])
}

fn run_ref(row: &Row<'_>) -> rusqlite::Result<RunRef> {
    let pipeline: Text<PipelineName> = row.get("pipeline")?;
    let job: Text<JobName> = row.get("job")?;
    Ok(RunRef { job: JobKey { pipeline: pipeline.0, job: job.0 }, number: row.get::<_, Count>("number")?.0 })
}

fn removal(row: &Row<'_>) -> rusqlite::Result<Removal> {
    let done = row.get::<_, Option<Millis>>("done_at")?.zip(row.get::<_, Option<Count>>("bytes")?);
    Ok(Removal {
        run: run_ref(row)?,
        part: row.get::<_, Text<Part>>("part")?.0,
        decided_at: row.get::<_, Millis>("decided_at")?.0,
        done: done.map(|(at, bytes)| Removed { at: at.0, bytes: bytes.0 }),
    })
}

/// What is about to go.
pub fn open(db: &Connection) -> rusqlite::Result<Vec<Removal>> {
    rows(db, "SELECT * FROM removals WHERE done_at IS NULL", [], removal)
}

pub fn of_run(db: &Connection, run: &RunRef) -> rusqlite::Result<Vec<Removal>> {
    let sql = "SELECT * FROM removals WHERE pipeline = ? AND job = ? AND number = ?";
    rows(db, sql, params![run.job.pipeline.as_str(), run.job.job.as_str(), Count(run.number)], removal)
}

/// What was removed since then, mirrors not counted.
pub fn since(db: &Connection, at: Timestamp) -> rusqlite::Result<Tally> {
    let sql = "SELECT count(*) FILTER (WHERE part = 'artifacts'), count(*) FILTER (WHERE part = 'log'), \
                      count(*) FILTER (WHERE part = 'run'), coalesce(sum(bytes), 0) \
               FROM removals WHERE done_at >= ?";
    let count = |row: &Row<'_>, column| row.get::<_, Count>(column).map(|count| count.0);
    let found = first(db, sql, [Millis(at)], |row| {
        let (artifacts, logs, runs, bytes) = (count(row, 0)?, count(row, 1)?, count(row, 2)?, count(row, 3)?);
        Ok(Tally { artifacts, logs, runs, bytes, ..Tally::default() })
    })?;
    Ok(found.unwrap_or_default())
}

pub fn past(
    db: &Connection,
    retention: &Retention,
    now: Timestamp,
    after: Option<u64>,
    max: usize,
) -> rusqlite::Result<Past> {
    let (old, next) = old(db, retention, now, after, max)?;
    if old.is_empty() {
        return Ok(Past { after, ..Past::default() });
    }
    let newest = "SELECT pipeline, job, number FROM (SELECT pipeline, job, number, \
                    row_number() OVER (PARTITION BY pipeline, job ORDER BY number DESC) AS place \
                  FROM runs WHERE state = 'finished') WHERE place <= ?";
    let successes = "SELECT pipeline, job, max(number) AS number FROM runs WHERE outcome = 'succeeded' \
                     GROUP BY pipeline, job";
    let deployed = "SELECT * FROM (SELECT pipeline, job, number, environment, commit_id, upstream, seq, \
                      row_number() OVER (PARTITION BY pipeline, environment ORDER BY seq DESC) AS place \
                    FROM runs WHERE environment IS NOT NULL AND outcome = 'succeeded') \
                    WHERE place <= ? ORDER BY seq DESC";
    Ok(Past {
        old,
        after,
        next,
        newest: rows(db, newest, [retention.keep], run_ref)?,
        successes: rows(db, successes, [], run_ref)?,
        deployed: rows(db, deployed, [limit(DEPLOYED)], |row| {
            let upstream: Vec<Upstream> = row.get::<_, Json<_>>("upstream")?.0;
            Ok(Deployed {
                pipeline: row.get::<_, Text<PipelineName>>("pipeline")?.0,
                environment: row.get::<_, Text<EnvironmentName>>("environment")?.0,
                run: run_ref(row)?,
                commit: row.get::<_, Option<Text<CommitId>>>("commit_id")?.map(|id| id.0),
                upstream: upstream.into_iter().map(|upstream| upstream.run).collect(),
            })
        })?,
    })
}

/// One page of what has outlived its time and is still there, and where the next one begins.
fn old(
    db: &Connection,
    retention: &Retention,
    now: Timestamp,
    after: Option<u64>,
    max: usize,
) -> rusqlite::Result<(Vec<Old>, Option<u64>)> {
    let before = |part| retention.before(part, now).map(Millis);
    // No time is before NULL.
    let sql = "WITH ended AS (SELECT seq, pipeline, job, number, finished_at, attempt, \
                   artifacts <> '[]' OR attempt > 1 AS some, \
                   environment IS NOT NULL OR EXISTS (SELECT 1 FROM requests q \
                     WHERE q.pipeline = r.pipeline AND q.job = r.job AND q.number = r.number) AS decided, \
                   coalesce((SELECT group_concat(part) FROM removals m \
                     WHERE m.pipeline = r.pipeline AND m.job = r.job AND m.number = r.number), '') AS gone \
                 FROM runs r WHERE state = 'finished' AND seq > ?1 \
                   AND finished_at < max(coalesce(?2, 0), coalesce(?3, 0), coalesce(?4, 0))) \
               SELECT * FROM ended WHERE instr(gone, 'run') = 0 AND (\
                 (finished_at < ?2 AND some AND instr(gone, 'artifacts') = 0) \
                 OR (finished_at < ?3 AND attempt > 0 AND instr(gone, 'log') = 0) \
                 OR (finished_at < ?4 AND NOT decided)) \
               ORDER BY seq LIMIT ?5";
    let (artifacts, logs, runs) = (before(Part::Artifacts), before(Part::Log), before(Part::Run));
    let params = params![Count(after.unwrap_or(0)), artifacts, logs, runs, limit(max)];
    let found = rows(db, sql, params, |row| {
        let gone: String = row.get("gone")?;
        let old = Old {
            run: run_ref(row)?,
            at: row.get::<_, Millis>("finished_at")?.0,
            begun: row.get::<_, u32>("attempt")? > 0,
            artifacts: row.get("some")?,
            decided: row.get("decided")?,
            gone: gone.split(',').filter_map(|word| word.parse().ok()).collect(),
        };
        Ok((row.get::<_, Count>("seq")?.0, old))
    })?;
    let next = found.last().map(|(seq, _)| *seq).filter(|_| found.len() == max);
    Ok((found.into_iter().map(|(_, old)| old).collect(), next))
}
