//! The journal: lines that are only ever added.

use rusqlite::{Connection, Row, params};

use crate::model::event::JournalLine;
use crate::store::sql::{Millis, execute, limit, rows};

pub fn add(db: &Connection, line: &JournalLine) -> rusqlite::Result<()> {
    let sql = "INSERT INTO journal (at, actor, verb, subject, detail) VALUES (?, ?, ?, ?, ?)";
    execute(db, sql, params![Millis(line.at), line.actor, line.verb, line.subject, line.detail])
}

fn line(row: &Row<'_>) -> rusqlite::Result<JournalLine> {
    Ok(JournalLine {
        at: row.get::<_, Millis>("at")?.0,
        actor: row.get("actor")?,
        verb: row.get("verb")?,
        subject: row.get("subject")?,
        detail: row.get("detail")?,
    })
}

/// Newest first.
pub fn lines(db: &Connection, subject: Option<&str>, max: usize) -> rusqlite::Result<Vec<JournalLine>> {
    match subject {
        Some(subject) => {
            let sql = "SELECT * FROM journal WHERE subject = ? ORDER BY id DESC LIMIT ?";
            rows(db, sql, params![subject, limit(max)], line)
        }
        None => rows(db, "SELECT * FROM journal ORDER BY id DESC LIMIT ?", [limit(max)], line),
    }
}

/// Those whose subject begins with `start`, newest first.
pub fn beginning(db: &Connection, start: &str, max: usize) -> rusqlite::Result<Vec<JournalLine>> {
    let sql = "SELECT * FROM journal WHERE subject >= ? AND subject < ? ORDER BY id DESC LIMIT ?";
    rows(db, sql, params![start, format!("{start}\u{10ffff}"), limit(max)], line)
}
