//! The ledger of due times, and how far they are decided.

use rusqlite::{Connection, Row, params};

use crate::model::job::Hash;
use crate::model::ledger::{Cursor, DueVerdict, LedgerRow};
use crate::model::name::JobKey;
use crate::store::sql::{Count, Millis, Text, execute, limit, rows, upsert};

/// A row that is put again becomes the newest: `seq` says what was decided last, whatever the clock did.
pub fn put_ledger(db: &Connection, row: &LedgerRow) -> rusqlite::Result<()> {
    let (verdict, run, reason) = match &row.verdict {
        DueVerdict::Run(run) => ("run", Some(Text(run)), None),
        DueVerdict::Coalesced(run) => ("coalesced", Some(Text(run)), None),
        DueVerdict::Skipped(reason) => ("skipped", None, Some(reason)),
    };
    let sql = "INSERT OR REPLACE INTO ledger (pipeline, job, first_due, last_due, count, verdict, run, reason) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    let (key, first, last, count) = (&row.job, Millis(row.first), Millis(row.last), Count(row.count));
    execute(db, sql, params![key.pipeline.as_str(), key.job.as_str(), first, last, count, verdict, run, reason])
}

fn ledger_row(row: &Row<'_>) -> rusqlite::Result<LedgerRow> {
    let run = |row: &Row<'_>| row.get::<_, Text<_>>("run").map(|run| run.0);
    let verdict = match row.get::<_, String>("verdict")?.as_str() {
        "run" => DueVerdict::Run(run(row)?),
        "coalesced" => DueVerdict::Coalesced(run(row)?),
        // The table's CHECK leaves only `skipped`.
        _ => DueVerdict::Skipped(row.get("reason")?),
    };
    Ok(LedgerRow {
        job: JobKey { pipeline: row.get::<_, Text<_>>("pipeline")?.0, job: row.get::<_, Text<_>>("job")?.0 },
        first: row.get::<_, Millis>("first_due")?.0,
        last: row.get::<_, Millis>("last_due")?.0,
        count: row.get::<_, Count>("count")?.0,
        verdict,
    })
}

/// Newest first.
pub fn ledger(db: &Connection, job: &JobKey, max: usize) -> rusqlite::Result<Vec<LedgerRow>> {
    let sql = "SELECT * FROM ledger WHERE pipeline = ? AND job = ? ORDER BY seq DESC LIMIT ?";
    rows(db, sql, params![job.pipeline.as_str(), job.job.as_str(), limit(max)], ledger_row)
}

/// The newest row of every job.
pub fn newest(db: &Connection) -> rusqlite::Result<Vec<LedgerRow>> {
    let sql = "SELECT * FROM ledger WHERE seq IN (SELECT max(seq) FROM ledger GROUP BY pipeline, job)";
    rows(db, sql, [], ledger_row)
}

pub fn put_cursor(db: &Connection, cursor: &Cursor) -> rusqlite::Result<()> {
    upsert(
        db,
        "cursors",
        &[("pipeline", &cursor.job.pipeline.as_str()), ("job", &cursor.job.job.as_str())],
        &[
            ("schedule", &cursor.schedule.as_str()),
            ("since", &Millis(cursor.since)),
            ("decided", &Millis(cursor.decided)),
        ],
    )
}

pub fn cursors(db: &Connection) -> rusqlite::Result<Vec<Cursor>> {
    rows(db, "SELECT * FROM cursors", [], |row| {
        Ok(Cursor {
            job: JobKey { pipeline: row.get::<_, Text<_>>("pipeline")?.0, job: row.get::<_, Text<_>>("job")?.0 },
            schedule: Hash(row.get("schedule")?),
            since: row.get::<_, Millis>("since")?.0,
            decided: row.get::<_, Millis>("decided")?.0,
        })
    })
}
