//! What repositories showed: pipelines, sightings, and how jobs stand for commits.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};

use crate::model::commit::{CommitId, CommitInfo, RefName, Sighting};
use crate::model::event::{Failing, LastRan, Latest, Pulled, Standing};
use crate::model::name::{JobKey, PipelineName};
use crate::model::time::Timestamp;
use crate::pipeline::world::Seen;
use crate::store::sql::{Count, Json, Millis, Text, execute, first, limit, rows, upsert};

/// A pipeline's row: what was seen, and what is wrong.
pub struct PipelineRow {
    pub name: PipelineName,
    pub seen: Option<Seen>,
    pub problem: Option<(Timestamp, String)>,
}

/// Any change of a pipeline leaves a trace of it.
pub fn touch_pipeline(db: &Connection, name: &PipelineName) -> rusqlite::Result<()> {
    execute(db, "INSERT OR IGNORE INTO pipelines (name) VALUES (?)", [name.as_str()])
}

pub fn put_seen(db: &Connection, name: &PipelineName, seen: &Seen) -> rusqlite::Result<()> {
    let head = seen.head.as_ref().map(Text);
    let rest: &[(_, &dyn rusqlite::ToSql)] = &[("url", &seen.url), ("head", &head), ("seen_at", &Millis(seen.at))];
    upsert(db, "pipelines", &[("name", &name.as_str())], rest)
}

pub fn put_problem(
    db: &Connection,
    name: &PipelineName,
    problem: Option<&(Timestamp, String)>,
) -> rusqlite::Result<()> {
    let (at, text) = (problem.map(|(at, _)| Millis(*at)), problem.map(|(_, text)| text));
    upsert(db, "pipelines", &[("name", &name.as_str())], &[("problem_at", &at), ("problem", &text)])
}

pub fn pipelines(db: &Connection) -> rusqlite::Result<Vec<PipelineRow>> {
    rows(db, "SELECT * FROM pipelines", [], |row| {
        let seen_at: Option<Millis> = row.get("seen_at")?;
        let problem_at: Option<Millis> = row.get("problem_at")?;
        let seen = match seen_at {
            Some(Millis(at)) => {
                Some(Seen { url: row.get("url")?, head: row.get::<_, Option<Text<_>>>("head")?.map(|head| head.0), at })
            }
            None => None,
        };
        let problem = match problem_at {
            Some(Millis(at)) => Some((at, row.get("problem")?)),
            None => None,
        };
        Ok(PipelineRow { name: row.get::<_, Text<_>>("name")?.0, seen, problem })
    })
}

/// Also takes back that the ref is gone, for this sighting.
pub fn put_sighting(db: &Connection, sighting: &Sighting) -> rusqlite::Result<()> {
    let commit = &sighting.commit;
    upsert(
        db,
        "sightings",
        &[
            ("pipeline", &sighting.pipeline.as_str()),
            ("git_ref", &sighting.git_ref.as_str()),
            ("number", &Count(sighting.number)),
        ],
        &[
            ("commit_id", &commit.id.as_str()),
            ("subject", &commit.subject),
            ("author", &commit.author),
            ("author_mail", &commit.author_mail),
            ("authored_at", &Millis(commit.authored_at)),
            ("seen_at", &Millis(sighting.seen_at)),
            ("runs", &sighting.runs),
            ("begun", &sighting.begun),
            ("passed_over", &sighting.passed_over),
            ("on_branch", &sighting.on_branch),
            ("refused", &sighting.refused),
            ("gone", &false),
        ],
    )
}

pub fn put_ref_gone(db: &Connection, pipeline: &PipelineName, git_ref: &RefName) -> rusqlite::Result<()> {
    let sql = "UPDATE sightings SET gone = 1 WHERE pipeline = ? AND git_ref = ? AND gone = 0";
    execute(db, sql, [pipeline.as_str(), git_ref.as_str()])?;
    let sql = "DELETE FROM pulled WHERE pipeline = ? AND git_ref = ?";
    execute(db, sql, [pipeline.as_str(), git_ref.as_str()])
}

fn commit_of(row: &Row<'_>) -> rusqlite::Result<CommitInfo> {
    Ok(CommitInfo {
        id: row.get::<_, Text<_>>("commit_id")?.0,
        subject: row.get("subject")?,
        author: row.get("author")?,
        author_mail: row.get("author_mail")?,
        authored_at: row.get::<_, Millis>("authored_at")?.0,
    })
}

fn sighting(row: &Row<'_>) -> rusqlite::Result<Sighting> {
    Ok(Sighting {
        pipeline: row.get::<_, Text<_>>("pipeline")?.0,
        git_ref: row.get::<_, Text<_>>("git_ref")?.0,
        number: row.get::<_, Count>("number")?.0,
        commit: commit_of(row)?,
        seen_at: row.get::<_, Millis>("seen_at")?.0,
        runs: row.get("runs")?,
        begun: row.get("begun")?,
        passed_over: row.get("passed_over")?,
        on_branch: row.get("on_branch")?,
        refused: row.get("refused")?,
    })
}

/// The newest `max` sightings of every ref that is still there, oldest first.
pub fn sightings_there(
    db: &Connection,
    pipeline: &PipelineName,
    max: usize,
) -> rusqlite::Result<BTreeMap<RefName, Vec<Sighting>>> {
    let refs = "SELECT DISTINCT git_ref FROM sightings WHERE pipeline = ? AND gone = 0";
    let newest = "SELECT * FROM sightings WHERE pipeline = ? AND git_ref = ? AND gone = 0 ORDER BY number DESC LIMIT ?";
    let mut found = BTreeMap::new();
    for Text(git_ref) in rows(db, refs, [pipeline.as_str()], |row| row.get::<_, Text<RefName>>(0))? {
        let mut row = rows(db, newest, params![pipeline.as_str(), git_ref.as_str(), limit(max)], sighting)?;
        row.reverse();
        found.insert(git_ref, row);
    }
    Ok(found)
}

/// The newest of all refs, there or gone.
pub fn sightings(db: &Connection, pipeline: &PipelineName, max: usize) -> rusqlite::Result<Vec<Sighting>> {
    let sql = "SELECT * FROM sightings WHERE pipeline = ? ORDER BY number DESC LIMIT ?";
    rows(db, sql, params![pipeline.as_str(), limit(max)], sighting)
}

pub fn commit(db: &Connection, pipeline: &PipelineName, id: &CommitId) -> rusqlite::Result<Option<CommitInfo>> {
    let sql = "SELECT * FROM sightings WHERE pipeline = ? AND commit_id = ? LIMIT 1";
    first(db, sql, [pipeline.as_str(), id.as_str()], commit_of)
}

pub fn put_standing(db: &Connection, standing: &Standing) -> rusqlite::Result<()> {
    let latest = standing.latest.as_ref();
    upsert(
        db,
        "standings",
        &[
            ("pipeline", &standing.job.pipeline.as_str()),
            ("commit_id", &standing.commit.as_str()),
            ("job", &standing.job.job.as_str()),
        ],
        &[
            ("fired", &standing.fired),
            ("carries", &standing.carries.as_ref().map(Text)),
            ("latest_outcome", &latest.map(|latest| latest.outcome.word())),
            ("latest_at", &latest.map(|latest| Millis(latest.at))),
            ("latest_tries", &latest.map(|latest| latest.tries)),
            ("latest_run", &latest.map(|latest| Json(&latest.upstream))),
        ],
    )
}

/// How the jobs of a pipeline stand for these commits.
pub fn standings<'a>(
    db: &Connection,
    pipeline: &PipelineName,
    commits: impl IntoIterator<Item = &'a CommitId>,
) -> rusqlite::Result<Vec<Standing>> {
    let mut found = Vec::new();
    for id in commits {
        let sql = "SELECT * FROM standings WHERE pipeline = ? AND commit_id = ?";
        found.extend(rows(db, sql, [pipeline.as_str(), id.as_str()], |row| standing(row, pipeline, id))?);
    }
    Ok(found)
}

fn standing(row: &Row<'_>, pipeline: &PipelineName, commit: &CommitId) -> rusqlite::Result<Standing> {
    let latest = match row.get::<_, Option<Text<_>>>("latest_outcome")? {
        Some(Text(outcome)) => Some(Latest {
            outcome,
            upstream: row.get::<_, Json<_>>("latest_run")?.0,
            at: row.get::<_, Millis>("latest_at")?.0,
            tries: row.get("latest_tries")?,
        }),
        None => None,
    };
    Ok(Standing {
        job: JobKey { pipeline: pipeline.clone(), job: row.get::<_, Text<_>>("job")?.0 },
        commit: commit.clone(),
        fired: row.get("fired")?,
        carries: row.get::<_, Option<Text<_>>>("carries")?.map(|run| run.0),
        latest,
    })
}

pub fn put_last_ran(db: &Connection, last: &LastRan) -> rusqlite::Result<()> {
    upsert(
        db,
        "last_ran",
        &[("pipeline", &last.pipeline.as_str()), ("job", &last.job.as_str()), ("git_ref", &last.git_ref.as_str())],
        &[("commit_id", &last.commit.as_str()), ("run", &Text(&last.run))],
    )
}

pub fn put_pulled(db: &Connection, pulled: &Pulled) -> rusqlite::Result<()> {
    upsert(
        db,
        "pulled",
        &[
            ("pipeline", &pulled.pipeline.as_str()),
            ("job", &pulled.job.as_str()),
            ("git_ref", &pulled.git_ref.as_str()),
        ],
        &[("sighting", &Count(pulled.sighting))],
    )
}

pub fn pulled(db: &Connection) -> rusqlite::Result<Vec<Pulled>> {
    rows(db, "SELECT * FROM pulled", [], |row| {
        Ok(Pulled {
            pipeline: row.get::<_, Text<_>>("pipeline")?.0,
            job: row.get::<_, Text<_>>("job")?.0,
            git_ref: row.get::<_, Text<_>>("git_ref")?.0,
            sighting: row.get::<_, Count>("sighting")?.0,
        })
    })
}

pub fn last_ran(db: &Connection) -> rusqlite::Result<Vec<LastRan>> {
    rows(db, "SELECT * FROM last_ran", [], |row| {
        Ok(LastRan {
            pipeline: row.get::<_, Text<_>>("pipeline")?.0,
            job: row.get::<_, Text<_>>("job")?.0,
            git_ref: row.get::<_, Text<_>>("git_ref")?.0,
            commit: row.get::<_, Text<_>>("commit_id")?.0,
            run: row.get::<_, Text<_>>("run")?.0,
        })
    })
}

pub fn put_failing(db: &Connection, failing: &Failing) -> rusqlite::Result<()> {
    upsert(
        db,
        "failing",
        &[
            ("pipeline", &failing.job.pipeline.as_str()),
            ("job", &failing.job.job.as_str()),
            ("git_ref", &failing.git_ref.as_ref().map_or("", RefName::as_str)),
        ],
        &[("count", &failing.count), ("since", &Millis(failing.since)), ("run", &Text(&failing.run))],
    )
}

/// Those that fail now.
pub fn failing(db: &Connection) -> rusqlite::Result<Vec<Failing>> {
    rows(db, "SELECT *, nullif(git_ref, '') AS real_ref FROM failing WHERE count > 0", [], |row| {
        let (pipeline, job) = (row.get::<_, Text<_>>("pipeline")?.0, row.get::<_, Text<_>>("job")?.0);
        Ok(Failing {
            job: JobKey { pipeline, job },
            git_ref: row.get::<_, Option<Text<_>>>("real_ref")?.map(|name| name.0),
            count: row.get("count")?,
            since: row.get::<_, Millis>("since")?.0,
            run: row.get::<_, Text<_>>("run")?.0,
        })
    })
}
