//! Requests for approval, their votes and the places of those who were asked.

use rusqlite::{Connection, Row, params};

use crate::model::job::Hash;
use crate::model::name::{JobKey, PipelineName, RunRef};
use crate::model::request::{Request, RequestState, Signed, Slot, Vote};
use crate::store::sql::{Count, Json, Millis, Text, execute, first, limit, rows, upsert};

/// The columns of a state beside its word.
#[derive(Default)]
struct StateColumns {
    at: Option<Millis>,
    until: Option<Millis>,
    by: Option<String>,
    why: Option<String>,
}

fn state_columns(state: &RequestState) -> StateColumns {
    let none = StateColumns::default();
    match state.clone() {
        RequestState::Open => none,
        RequestState::Approved { at, until } => {
            StateColumns { at: Some(Millis(at)), until: Some(Millis(until)), ..none }
        }
        RequestState::Rejected { at, by, reason } => {
            StateColumns { at: Some(Millis(at)), by: Some(by), why: Some(reason), ..none }
        }
        RequestState::Superseded { at, by } => StateColumns { at: Some(Millis(at)), by: Some(by.to_string()), ..none },
        RequestState::Voided { at, why } | RequestState::Closed { at, why } => {
            StateColumns { at: Some(Millis(at)), why: Some(why), ..none }
        }
        RequestState::Expired { at } | RequestState::Used { at } => StateColumns { at: Some(Millis(at)), ..none },
    }
}

fn state(row: &Row<'_>) -> rusqlite::Result<RequestState> {
    let word: String = row.get("state")?;
    if word == "open" {
        return Ok(RequestState::Open);
    }
    let at = row.get::<_, Millis>("state_at")?.0;
    Ok(match word.as_str() {
        "approved" => RequestState::Approved { at, until: row.get::<_, Millis>("until")?.0 },
        "rejected" => RequestState::Rejected { at, by: row.get("by_whom")?, reason: row.get("why")? },
        "expired" => RequestState::Expired { at },
        "superseded" => RequestState::Superseded { at, by: row.get::<_, Text<RunRef>>("by_whom")?.0 },
        "voided" => RequestState::Voided { at, why: row.get("why")? },
        "used" => RequestState::Used { at },
        // The table's CHECK leaves only `closed`.
        _ => RequestState::Closed { at, why: row.get("why")? },
    })
}

pub fn put(db: &Connection, request: &Request) -> rusqlite::Result<()> {
    let (key, state) = (&request.run.job, state_columns(&request.state));
    upsert(
        db,
        "requests",
        &[("id", &Count(request.id))],
        &[
            ("pipeline", &key.pipeline.as_str()),
            ("job", &key.job.as_str()),
            ("number", &Count(request.run.number)),
            ("environment", &request.tuple.environment.as_str()),
            ("tuple", &Json(&request.tuple)),
            ("tuple_hash", &request.tuple_hash.as_str()),
            ("asked_at", &Millis(request.asked_at)),
            ("expires_at", &Millis(request.expires_at)),
            ("votes_needed", &request.votes_needed),
            ("state", &request.state.word()),
            ("state_at", &state.at),
            ("until", &state.until),
            ("by_whom", &state.by),
            ("why", &state.why),
            ("brief", &Json(&request.brief)),
        ],
    )?;
    put_votes(db, request)?;
    put_slots(db, request)
}

/// Adds the votes that are new. One that is there must be the same: the table refuses an update.
fn put_votes(db: &Connection, request: &Request) -> rusqlite::Result<()> {
    let sql = "INSERT INTO votes (request, person, place, verdict, at, reason, via, key, signature, coded) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
               ON CONFLICT (request, person) DO UPDATE SET verdict = excluded.verdict, place = excluded.place \
               WHERE verdict <> excluded.verdict OR place <> excluded.place OR at <> excluded.at";
    for (place, vote) in (0_u32..).zip(&request.votes) {
        let (at, verdict) = (Millis(vote.at), vote.verdict.word());
        let (key, signature) = vote.signed.as_ref().map(|signed| (&signed.key, &signed.signature)).unzip();
        let id = Count(request.id);
        let values = params![id, vote.by, place, verdict, at, vote.reason, vote.via, key, signature, vote.coded];
        execute(db, sql, values)?;
    }
    Ok(())
}

fn put_slots(db: &Connection, request: &Request) -> rusqlite::Result<()> {
    execute(db, "DELETE FROM slots WHERE request = ?", [Count(request.id)])?;
    let sql = "INSERT INTO slots (request, place, person, email, id) VALUES (?, ?, ?, ?, ?)";
    for (place, slot) in (0_u32..).zip(&request.slots) {
        execute(db, sql, params![Count(request.id), place, slot.person.as_str(), slot.email, slot.id])?;
    }
    Ok(())
}

/// Reads a row of `requests`; votes and slots are asked for besides.
fn bare(row: &Row<'_>) -> rusqlite::Result<Request> {
    let (pipeline, job) = (row.get::<_, Text<_>>("pipeline")?.0, row.get::<_, Text<_>>("job")?.0);
    Ok(Request {
        id: row.get::<_, Count>("id")?.0,
        run: RunRef { job: JobKey { pipeline, job }, number: row.get::<_, Count>("number")?.0 },
        tuple: row.get::<_, Json<_>>("tuple")?.0,
        tuple_hash: Hash(row.get("tuple_hash")?),
        asked_at: row.get::<_, Millis>("asked_at")?.0,
        expires_at: row.get::<_, Millis>("expires_at")?.0,
        state: state(row)?,
        votes: Vec::new(),
        slots: Vec::new(),
        brief: row.get::<_, Json<_>>("brief")?.0,
        votes_needed: row.get("votes_needed")?,
    })
}

fn whole(db: &Connection, mut request: Request) -> rusqlite::Result<Request> {
    request.votes = rows(db, "SELECT * FROM votes WHERE request = ? ORDER BY place", [Count(request.id)], |row| {
        Ok(Vote {
            by: row.get("person")?,
            verdict: row.get::<_, Text<_>>("verdict")?.0,
            at: row.get::<_, Millis>("at")?.0,
            reason: row.get("reason")?,
            via: row.get("via")?,
            signed: match (row.get("key")?, row.get("signature")?) {
                (Some(key), Some(signature)) => Some(Signed { key, signature }),
                _ => None,
            },
            coded: row.get("coded")?,
        })
    })?;
    request.slots = rows(db, "SELECT * FROM slots WHERE request = ? ORDER BY place", [Count(request.id)], |row| {
        Ok(Slot { person: row.get::<_, Text<_>>("person")?.0, email: row.get("email")?, id: row.get("id")? })
    })?;
    Ok(request)
}

fn all(db: &Connection, requests: Vec<Request>) -> rusqlite::Result<Vec<Request>> {
    requests.into_iter().map(|request| whole(db, request)).collect()
}

pub fn one(db: &Connection, id: u64) -> rusqlite::Result<Option<Request>> {
    let found = first(db, "SELECT * FROM requests WHERE id = ?", [Count(id)], bare)?;
    found.map(|request| whole(db, request)).transpose()
}

pub fn of_slot(db: &Connection, slot: &str) -> rusqlite::Result<Option<Request>> {
    let id = first(db, "SELECT request FROM slots WHERE id = ?", [slot], |row| row.get::<_, Count>(0))?;
    id.map_or(Ok(None), |id| one(db, id.0))
}

/// Oldest first.
pub fn of_run(db: &Connection, run: &RunRef) -> rusqlite::Result<Vec<Request>> {
    let sql = "SELECT * FROM requests WHERE pipeline = ? AND job = ? AND number = ? ORDER BY id";
    let key = params![run.job.pipeline.as_str(), run.job.job.as_str(), Count(run.number)];
    all(db, rows(db, sql, key, bare)?)
}

/// Newest first.
pub fn recent(db: &Connection, max: usize) -> rusqlite::Result<Vec<Request>> {
    all(db, rows(db, "SELECT * FROM requests ORDER BY id DESC LIMIT ?", [limit(max)], bare)?)
}

/// Open and approved ones.
pub fn live(db: &Connection) -> rusqlite::Result<Vec<Request>> {
    all(db, rows(db, "SELECT * FROM requests WHERE state IN ('open', 'approved')", [], bare)?)
}

/// Every tuple that was ever rejected.
pub fn rejected(db: &Connection) -> rusqlite::Result<Vec<(PipelineName, Hash)>> {
    rows(db, "SELECT pipeline, tuple_hash FROM requests WHERE state = 'rejected'", [], |row| {
        Ok((row.get::<_, Text<_>>("pipeline")?.0, Hash(row.get("tuple_hash")?)))
    })
}
