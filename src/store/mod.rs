//! SQLite: history and the live World. One writer, whose commits are on disk when they return, and
//! readers of their own. What is decided is none of its business; that promises are not broken is:
//! constraints and triggers refuse what must never be written.

mod deliveries;
mod environments;
mod error;
mod journal;
mod letters;
mod load;
pub mod migrations;
mod open;
mod reader;
mod removals;
mod requests;
mod runs;
mod schedules;
mod sources;
mod sql;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::{Connection, TransactionBehavior};

pub use error::{OpenError, StoreError};
pub use reader::{Reader, RunFilter};

use crate::model::event::Change;
use crate::model::name::PipelineName;
use crate::model::time::Timestamp;
use crate::pipeline::world::{Seen, World};

/// The one writer.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    db: Connection,
    nonce: String,
    /// Whether the last commit was taken; shared with its readers.
    recording: Arc<AtomicBool>,
}

impl Store {
    /// Opens the database, or makes it; brings its tables up to date.
    ///
    /// # Errors
    /// If it cannot be used; the text says what to do. A file that is not Shipbell's is not touched.
    pub fn open(path: &Path) -> Result<Store, OpenError> {
        let db = open::writer(path)?;
        let nonce = open::nonce(&db).map_err(|error| OpenError::new(path, &error))?;
        Ok(Store { path: path.to_owned(), db, nonce, recording: Arc::new(AtomicBool::new(true)) })
    }

    /// The World as its changes have built it, without the catalog.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn load(&self) -> Result<World, StoreError> {
        let snapshot = self.db.unchecked_transaction()?;
        Ok(load::world(&snapshot, self.nonce.clone())?)
    }

    /// Writes all changes or none; they are on disk when it returns.
    ///
    /// # Errors
    /// If it cannot be written: then nothing was, and work can go on.
    pub fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let written = self.write(changes);
        self.recording.store(written.is_ok(), Ordering::Relaxed);
        written
    }

    fn write(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let transaction = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for change in changes {
            put(&transaction, change)?;
        }
        Ok(transaction.commit()?)
    }

    /// A reader with connections of its own.
    ///
    /// # Errors
    /// If the database cannot be opened once more.
    pub fn reader(&self) -> Result<Reader, StoreError> {
        Reader::open(&self.path, Arc::clone(&self.recording))
    }

    /// Copies the database to a new file while work goes on.
    ///
    /// # Errors
    /// If it cannot be read or the copy not be written.
    pub fn backup(&self, to: &Path) -> Result<(), StoreError> {
        open::backup(&self.db, to)
    }

    /// # Errors
    /// What SQLite finds wrong with the file.
    pub fn quick_check(&self) -> Result<(), String> {
        open::quick_check(&self.db)
    }

    /// Whether the disk took the last commit.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.recording.load(Ordering::Relaxed)
    }

    /// Tries whether the disk takes something again.
    pub fn try_recording(&mut self, now: Timestamp) -> bool {
        let taken = self.set_meta("recorded", &now.to_string()).is_ok();
        self.recording.store(taken, Ordering::Relaxed);
        taken
    }

    /// A fact about this installation.
    #[must_use]
    pub fn meta(&self, key: &str) -> Option<String> {
        sql::first(&self.db, "SELECT value FROM meta WHERE key = ?", [key], |row| row.get(0)).ok().flatten()
    }

    /// # Errors
    /// If it cannot be written.
    pub fn set_meta(&mut self, key: &str, value: &str) -> Result<(), StoreError> {
        Ok(sql::upsert(&self.db, "meta", &[("key", &key)], &[("value", &value)])?)
    }
}

/// Writes one change: a row each, whole.
fn put(db: &Connection, change: &Change) -> rusqlite::Result<()> {
    if let Some(pipeline) = traced(change) {
        sources::touch_pipeline(db, pipeline)?;
    }
    match change {
        Change::PipelineSeen { pipeline, url, head, at } => {
            sources::put_seen(db, pipeline, &Seen { url: url.clone(), head: head.clone(), at: *at })
        }
        Change::PollProblem { pipeline, problem } => sources::put_problem(db, pipeline, problem.as_ref()),
        Change::DeliveryPut(delivery) => deliveries::put(db, delivery),
        Change::SightingPut(sighting) => sources::put_sighting(db, sighting),
        Change::RefGone { pipeline, git_ref } => sources::put_ref_gone(db, pipeline, git_ref),
        Change::StandingPut(standing) => sources::put_standing(db, standing),
        Change::LastRanPut(last) => sources::put_last_ran(db, last),
        Change::PulledPut(pulled) => sources::put_pulled(db, pulled),
        Change::FailingPut(failing) => sources::put_failing(db, failing),
        Change::RunPut(run) => runs::put_run(db, run),
        Change::AttemptPut(attempt) => runs::put_attempt(db, attempt),
        Change::StepPut(step) => runs::put_step(db, step),
        Change::EnvironmentPut(environment) => environments::put(db, environment),
        Change::RequestPut(request) => requests::put(db, request),
        Change::LedgerPut(row) => schedules::put_ledger(db, row),
        Change::CursorPut(cursor) => schedules::put_cursor(db, cursor),
        Change::PulsePut(pulse) => schedules::put_pulse(db, pulse),
        Change::PausePut(pause) => schedules::put_pause(db, pause),
        Change::PauseOver { scope } => schedules::end_pause(db, scope),
        Change::LetterPut(letter) => letters::put(db, letter),
        Change::RemovalPut(removal) => removals::put(db, removal),
        Change::RunGone { run } => removals::forget(db, run),
        Change::Journal(line) => journal::add(db, line),
    }
}

/// The pipeline of which the World knows something by this change.
fn traced(change: &Change) -> Option<&PipelineName> {
    match change {
        Change::PipelineSeen { pipeline, .. }
        | Change::PollProblem { pipeline, .. }
        | Change::RefGone { pipeline, .. } => Some(pipeline),
        Change::SightingPut(sighting) => Some(&sighting.pipeline),
        Change::StandingPut(standing) => Some(&standing.job.pipeline),
        Change::LastRanPut(last) => Some(&last.pipeline),
        Change::PulledPut(pulled) => Some(&pulled.pipeline),
        Change::FailingPut(failing) => Some(&failing.job.pipeline),
        Change::RunPut(run) => Some(&run.run.job.pipeline),
        Change::EnvironmentPut(environment) => Some(&environment.pipeline),
        Change::RequestPut(request) => Some(&request.run.job.pipeline),
        Change::AttemptPut(_)
        | Change::StepPut(_)
        | Change::LedgerPut(_)
        | Change::CursorPut(_)
        | Change::PulsePut(_)
        | Change::PausePut(_)
        | Change::PauseOver { .. }
        | Change::DeliveryPut(_)
        | Change::LetterPut(_)
        | Change::RemovalPut(_)
        | Change::RunGone { .. }
        | Change::Journal(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::JournalLine;

    fn line(detail: String) -> Change {
        let (actor, verb, subject) = ("shipbell".into(), "queued".into(), "x".into());
        Change::Journal(JournalLine { at: Timestamp::UNIX_EPOCH, actor, verb, subject, detail })
    }

    #[test]
    fn a_full_disk_writes_nothing_and_work_goes_on_when_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(&dir.path().join("shipbell.db")).unwrap();
        store.commit(&[line("before".into())]).unwrap();
        let pages: i64 = store.db.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        let limit = |store: &Store, pages: i64| {
            store.db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
        };
        limit(&store, pages + 2);
        let long: Vec<Change> = (0..2000).map(|n| line(format!("{n} {}", "x".repeat(500)))).collect();
        for _ in 0..2 {
            assert!(matches!(store.commit(&long), Err(StoreError::Full)));
        }
        let count = |store: &Store| store.reader().unwrap().journal(None, usize::MAX).unwrap().len();
        assert_eq!(count(&store), 1);
        limit(&store, 1_000_000);
        store.commit(&long).unwrap();
        assert_eq!(count(&store), 2001);
        store.quick_check().unwrap();
    }

    #[test]
    fn another_writer_makes_it_busy_for_as_long_as_it_writes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shipbell.db");
        let mut store = Store::open(&path).unwrap();
        store.db.busy_timeout(std::time::Duration::from_millis(20)).unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let error = store.commit(&[line("waits".into())]).expect_err("another process is writing");
        assert!(error.to_string().contains("locked"), "{error}");
        assert!(store.load().is_ok(), "readers do not wait");
        other.execute_batch("ROLLBACK").unwrap();
        store.commit(&[line("goes".into())]).unwrap();
    }
}
