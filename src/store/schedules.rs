//! The ledger of due times, how far they are decided, what is paused, and how jobs have been going.

use rusqlite::{Connection, Row, params};

use crate::model::job::Hash;
use crate::model::ledger::{Cursor, DueVerdict, LedgerRow};
use crate::model::name::JobKey;
use crate::model::pause::{Pause, Scope};
use crate::model::pulse::Pulse;
use crate::model::time::Timestamp;
use crate::store::sql::{Count, Json, Millis, Text, execute, limit, rows, upsert};

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

/// Rows that touch the stretch from `from` to before `to`, newest first.
pub fn touching(
    db: &Connection,
    job: &JobKey,
    (from, to): (Timestamp, Timestamp),
    max: usize,
) -> rusqlite::Result<Vec<LedgerRow>> {
    let sql = "SELECT * FROM ledger WHERE pipeline = ? AND job = ? AND first_due < ? AND last_due >= ? \
               ORDER BY seq DESC LIMIT ?";
    rows(db, sql, params![job.pipeline.as_str(), job.job.as_str(), Millis(to), Millis(from), limit(max)], ledger_row)
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
            ("ran", &cursor.ran.map(Millis)),
            ("boot", &cursor.boot),
            ("ahead", &cursor.ahead.map(Millis)),
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
            ran: row.get::<_, Option<Millis>>("ran")?.map(|at| at.0),
            boot: row.get("boot")?,
            ahead: row.get::<_, Option<Millis>>("ahead")?.map(|at| at.0),
        })
    })
}

pub fn put_pause(db: &Connection, pause: &Pause) -> rusqlite::Result<()> {
    upsert(
        db,
        "pauses",
        &[("scope", &Text(&pause.scope))],
        &[
            ("at", &Millis(pause.at)),
            ("until", &pause.until.map(Millis)),
            ("note", &pause.note),
            ("by_whom", &pause.by),
        ],
    )
}

pub fn end_pause(db: &Connection, scope: &Scope) -> rusqlite::Result<()> {
    execute(db, "DELETE FROM pauses WHERE scope = ?", [scope.to_string()])
}

pub fn pauses(db: &Connection) -> rusqlite::Result<Vec<Pause>> {
    rows(db, "SELECT * FROM pauses", [], |row| {
        Ok(Pause {
            scope: row.get::<_, Text<_>>("scope")?.0,
            at: row.get::<_, Millis>("at")?.0,
            until: row.get::<_, Option<Millis>>("until")?.map(|at| at.0),
            note: row.get("note")?,
            by: row.get("by_whom")?,
        })
    })
}

pub fn put_pulse(db: &Connection, pulse: &Pulse) -> rusqlite::Result<()> {
    upsert(
        db,
        "pulses",
        &[("pipeline", &pulse.job.pipeline.as_str()), ("job", &pulse.job.job.as_str())],
        &[
            ("since", &Millis(pulse.since)),
            ("last_success", &pulse.last_success.map(Millis)),
            ("stale_told", &pulse.stale_told.map(Millis)),
            ("long_told", &pulse.long_told.as_ref().map(Text)),
            ("took", &Json(&pulse.took)),
        ],
    )
}

pub fn pulses(db: &Connection) -> rusqlite::Result<Vec<Pulse>> {
    rows(db, "SELECT * FROM pulses", [], |row| {
        Ok(Pulse {
            job: JobKey { pipeline: row.get::<_, Text<_>>("pipeline")?.0, job: row.get::<_, Text<_>>("job")?.0 },
            since: row.get::<_, Millis>("since")?.0,
            last_success: row.get::<_, Option<Millis>>("last_success")?.map(|at| at.0),
            stale_told: row.get::<_, Option<Millis>>("stale_told")?.map(|at| at.0),
            long_told: row.get::<_, Option<Text<_>>>("long_told")?.map(|run| run.0),
            took: row.get::<_, Json<_>>("took")?.0,
        })
    })
}
