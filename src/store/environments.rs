//! What each environment is in.

use rusqlite::{Connection, Row};

use crate::model::environment::{Deployment, Environment, EnvironmentState};
use crate::model::job::Hash;
use crate::store::sql::{Json, Millis, Text, rows, upsert};

pub fn put(db: &Connection, environment: &Environment) -> rusqlite::Result<()> {
    let (state, attempted, unknown) = match &environment.state {
        EnvironmentState::Empty => ("empty", None, false),
        EnvironmentState::Clean => ("clean", None, false),
        EnvironmentState::Unclear { attempted, unknown } => ("unclear", Some(attempted), *unknown),
    };
    let live = environment.live.as_ref();
    upsert(
        db,
        "environments",
        &[("pipeline", &environment.pipeline.as_str()), ("name", &environment.name.as_str())],
        &[
            ("state", &state),
            ("unknown", &unknown),
            ("live_run", &live.map(|d| Text(&d.run))),
            ("live_commit", &live.and_then(|d| d.commit.as_ref()).map(Text)),
            ("live_ref", &live.and_then(|d| d.git_ref.as_ref()).map(Text)),
            ("live_definition", &live.map(|d| d.definition.as_str())),
            ("live_upstream", &live.map(|d| Json(&d.upstream))),
            ("live_at", &live.map(|d| Millis(d.at))),
            ("live_approved_by", &live.map(|d| Json(&d.approved_by))),
            ("attempted_run", &attempted.map(|d| Text(&d.run))),
            ("attempted_commit", &attempted.and_then(|d| d.commit.as_ref()).map(Text)),
            ("attempted_ref", &attempted.and_then(|d| d.git_ref.as_ref()).map(Text)),
            ("attempted_definition", &attempted.map(|d| d.definition.as_str())),
            ("attempted_upstream", &attempted.map(|d| Json(&d.upstream))),
            ("attempted_at", &attempted.map(|d| Millis(d.at))),
            ("attempted_approved_by", &attempted.map(|d| Json(&d.approved_by))),
        ],
    )
}

/// The columns of one of the two deployments.
struct Columns {
    run: &'static str,
    commit: &'static str,
    git_ref: &'static str,
    definition: &'static str,
    upstream: &'static str,
    at: &'static str,
    approved_by: &'static str,
}

const LIVE: Columns = Columns {
    run: "live_run",
    commit: "live_commit",
    git_ref: "live_ref",
    definition: "live_definition",
    upstream: "live_upstream",
    at: "live_at",
    approved_by: "live_approved_by",
};

const ATTEMPTED: Columns = Columns {
    run: "attempted_run",
    commit: "attempted_commit",
    git_ref: "attempted_ref",
    definition: "attempted_definition",
    upstream: "attempted_upstream",
    at: "attempted_at",
    approved_by: "attempted_approved_by",
};

fn deployment(row: &Row<'_>, columns: &Columns) -> rusqlite::Result<Deployment> {
    Ok(Deployment {
        run: row.get::<_, Text<_>>(columns.run)?.0,
        commit: row.get::<_, Option<Text<_>>>(columns.commit)?.map(|id| id.0),
        git_ref: row.get::<_, Option<Text<_>>>(columns.git_ref)?.map(|name| name.0),
        definition: Hash(row.get(columns.definition)?),
        upstream: row.get::<_, Json<_>>(columns.upstream)?.0,
        at: row.get::<_, Millis>(columns.at)?.0,
        approved_by: row.get::<_, Json<_>>(columns.approved_by)?.0,
    })
}

pub fn all(db: &Connection) -> rusqlite::Result<Vec<Environment>> {
    rows(db, "SELECT * FROM environments", [], |row| {
        let state = match row.get::<_, String>("state")?.as_str() {
            "empty" => EnvironmentState::Empty,
            "clean" => EnvironmentState::Clean,
            // The table's CHECK leaves only `unclear`.
            _ => EnvironmentState::Unclear { attempted: deployment(row, &ATTEMPTED)?, unknown: row.get("unknown")? },
        };
        let has_live = row.get::<_, Option<String>>("live_run")?.is_some();
        Ok(Environment {
            pipeline: row.get::<_, Text<_>>("pipeline")?.0,
            name: row.get::<_, Text<_>>("name")?.0,
            state,
            live: if has_live { Some(deployment(row, &LIVE)?) } else { None },
        })
    })
}
