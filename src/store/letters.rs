//! Letters: those that wait, and what became of the others.

use rusqlite::{Connection, Row};

use crate::model::commit::CommitId;
use crate::model::letter::{Letter, LetterKind, LetterState, PingAt};
use crate::model::name::RunRef;
use crate::model::time::{Seconds, Timestamp};
use crate::store::sql::{Column, Count, Millis, Text, first, rows, upsert};

/// How long a letter that was given up is shown as undelivered.
const SHOWN: Seconds = Seconds(7 * 86_400);

pub fn put(db: &Connection, letter: &Letter) -> rusqlite::Result<()> {
    let (topic, job) = match &letter.kind {
        LetterKind::Stale { job } => (Some("stale"), Some(job)),
        LetterKind::Fresh { .. } => (Some("fresh"), None),
        LetterKind::Long { .. } => (Some("long"), None),
        _ => (None, None),
    };
    let message = match &letter.kind {
        LetterKind::Mark { .. } => Some("mark"),
        LetterKind::Ping { at, .. } => Some(ping_word(*at)),
        _ => None,
    };
    let carried = match &letter.kind {
        LetterKind::Carried { commit, .. } => Some(Text(commit)),
        _ => None,
    };
    let rests_until = match &letter.kind {
        LetterKind::Rests { until, .. } => Some(Millis(*until)),
        _ => None,
    };
    let (kind, request, slot, run) = match &letter.kind {
        LetterKind::Approval { request, slot } => ("approval", Some(request), Some(slot), None),
        LetterKind::Decided { request } | LetterKind::Rests { request, .. } => ("decided", Some(request), None, None),
        LetterKind::Unsatisfiable { request } => ("unsatisfiable", Some(request), None, None),
        LetterKind::Failure { run } => ("failure", None, None, Some(run)),
        LetterKind::Recovery { run } => ("recovery", None, None, Some(run)),
        LetterKind::Unknown { run } => ("unknown", None, None, Some(run)),
        LetterKind::Stale { .. } => ("failure", None, None, None),
        LetterKind::Fresh { run } => ("recovery", None, None, Some(run)),
        LetterKind::Long { run }
        | LetterKind::Mark { run }
        | LetterKind::Carried { run, .. }
        | LetterKind::Ping { run, .. } => ("failure", None, None, Some(run)),
    };
    let (state, not_before, at, problem) = match &letter.state {
        LetterState::Waiting { not_before, last_error } => ("waiting", Some(*not_before), None, last_error.as_ref()),
        LetterState::Sent { at } => ("sent", None, Some(*at), None),
        LetterState::Dead { at, why } => ("dead", None, Some(*at), Some(why)),
    };
    let rest: &[Column<'_>] = &[
        ("kind", &kind),
        ("topic", &topic),
        ("message", &message),
        ("job", &job.map(Text)),
        ("carried", &carried),
        ("rests_until", &rests_until),
        ("note", &letter.note),
        ("request", &request.map(|&id| Count(id))),
        ("slot", &slot),
        ("run", &run.map(Text)),
        ("recipient", &letter.to),
        ("created_at", &Millis(letter.created_at)),
        ("attempts", &letter.attempts),
        ("state", &state),
        ("not_before", &not_before.map(Millis)),
        ("problem", &problem),
        ("state_at", &at.map(Millis)),
    ];
    upsert(db, "letters", &[("id", &Count(letter.id))], rest)
}

fn ping_word(at: PingAt) -> &'static str {
    match at {
        PingAt::Start => "ping-start",
        PingAt::Success => "ping-success",
        PingAt::Failure => "ping-failure",
    }
}

fn letter(row: &Row<'_>) -> rusqlite::Result<Letter> {
    let request = || row.get::<_, Count>("request").map(|id| id.0);
    let run = || row.get::<_, Text<RunRef>>("run").map(|run| run.0);
    let carried: Option<Text<CommitId>> = row.get("carried")?;
    // Whichever of the later columns is set has the last word.
    let topic: Option<String> = row.get("message")?;
    let topic = topic.map_or_else(|| row.get("topic"), |message| Ok(Some(message)))?;
    let rests_until: Option<Millis> = row.get("rests_until")?;
    let kind = if let Some(Millis(until)) = rests_until {
        LetterKind::Rests { request: request()?, until }
    } else if let Some(Text(commit)) = carried {
        LetterKind::Carried { commit, run: run()? }
    } else {
        match topic.as_deref().map_or_else(|| row.get::<_, String>("kind"), |topic| Ok(topic.to_owned()))?.as_str() {
            "stale" => LetterKind::Stale { job: row.get::<_, Text<_>>("job")?.0 },
            "fresh" => LetterKind::Fresh { run: run()? },
            "long" => LetterKind::Long { run: run()? },
            "mark" => LetterKind::Mark { run: run()? },
            "ping-start" => LetterKind::Ping { run: run()?, at: PingAt::Start },
            "ping-success" => LetterKind::Ping { run: run()?, at: PingAt::Success },
            "ping-failure" => LetterKind::Ping { run: run()?, at: PingAt::Failure },
            "approval" => LetterKind::Approval { request: request()?, slot: row.get("slot")? },
            "decided" => LetterKind::Decided { request: request()? },
            "unsatisfiable" => LetterKind::Unsatisfiable { request: request()? },
            "failure" => LetterKind::Failure { run: run()? },
            "recovery" => LetterKind::Recovery { run: run()? },
            // The table's CHECK leaves only `unknown`.
            _ => LetterKind::Unknown { run: run()? },
        }
    };
    let at = || row.get::<_, Millis>("state_at").map(|at| at.0);
    let state = match row.get::<_, String>("state")?.as_str() {
        "waiting" => {
            LetterState::Waiting { not_before: row.get::<_, Millis>("not_before")?.0, last_error: row.get("problem")? }
        }
        "sent" => LetterState::Sent { at: at()? },
        // The table's CHECK leaves only `dead`.
        _ => LetterState::Dead { at: at()?, why: row.get("problem")? },
    };
    Ok(Letter {
        id: row.get::<_, Count>("id")?.0,
        kind,
        to: row.get("recipient")?,
        note: row.get("note")?,
        created_at: row.get::<_, Millis>("created_at")?.0,
        state,
        attempts: row.get("attempts")?,
    })
}

pub fn one(db: &Connection, id: u64) -> rusqlite::Result<Option<Letter>> {
    first(db, "SELECT * FROM letters WHERE id = ?", [Count(id)], letter)
}

pub fn waiting(db: &Connection) -> rusqlite::Result<Vec<Letter>> {
    rows(db, "SELECT * FROM letters WHERE state = 'waiting'", [], letter)
}

/// A dead letter that was never tried is none of these: what it asked was over before it left.
pub fn undelivered(db: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Letter>> {
    let sql = "SELECT * FROM letters WHERE (state = 'waiting' AND problem IS NOT NULL) \
               OR (state = 'dead' AND attempts > 0 AND state_at >= ?) ORDER BY id";
    rows(db, sql, [Millis(SHOWN.before(now))], letter)
}
