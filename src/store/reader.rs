//! Questions about what is stored, each answered from one snapshot. Blocking: callers in async code
//! use `spawn_blocking`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use crate::model::backfill::DueRun;
use crate::model::commit::{CommitId, CommitInfo, RefName, Sighting};
use crate::model::event::{JournalLine, Standing};
use crate::model::forge::{Forge, HookCount};
use crate::model::ledger::LedgerRow;
use crate::model::letter::Letter;
use crate::model::name::{JobKey, PipelineName, RunRef};
use crate::model::pause::Pause;
use crate::model::request::Request;
use crate::model::retention::{Past, Removal, Retention, Tally};
use crate::model::run::{Attempt, Run, StepReport, UsualUsage};
use crate::model::time::{Seconds, Timestamp};
use crate::store::{StoreError, deliveries, journal, letters, open, removals, requests, runs, schedules, sources};

/// Reads beside the writer; cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader(Arc<Pool>);

/// Connections that nobody uses just now.
#[derive(Debug)]
struct Pool {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    recording: Arc<AtomicBool>,
}

/// Connections kept open for the next question.
const IDLE_MAX: usize = 4;

/// Which runs. The default is the newest 50 of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFilter {
    pub pipeline: Option<PipelineName>,
    pub job: Option<JobKey>,
    pub commit: Option<CommitId>,
    /// Finished, and neither succeeded nor skipped.
    pub failed_only: bool,
    pub finished_only: bool,
    /// Queued at this instant or later.
    pub since: Option<Timestamp>,
    /// Only runs recorded before this one (see [`Reader::seq`]): the next page.
    pub before_seq: Option<u64>,
    pub limit: usize,
}

impl Default for RunFilter {
    fn default() -> Self {
        Self {
            pipeline: None,
            job: None,
            commit: None,
            failed_only: false,
            finished_only: false,
            since: None,
            before_seq: None,
            limit: 50,
        }
    }
}

impl Reader {
    pub(super) fn open(path: &Path, recording: Arc<AtomicBool>) -> Result<Self, StoreError> {
        let first = open::reader(path)?;
        Ok(Self(Arc::new(Pool { path: path.to_owned(), idle: Mutex::new(vec![first]), recording })))
    }

    /// Whether the disk took the writer's last commit.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.0.recording.load(Ordering::Relaxed)
    }

    /// Asks within one snapshot.
    fn ask<T>(&self, question: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut db = match idle {
            Some(db) => db,
            None => open::reader(&self.0.path)?,
        };
        let snapshot = db.transaction()?;
        let answer = question(&snapshot)?;
        snapshot.finish()?;
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(db);
        }
        Ok(answer)
    }
}

/// All fail only if the database cannot be read.
impl Reader {
    pub fn run(&self, run: &RunRef) -> Result<Option<Run>, StoreError> {
        self.ask(|db| runs::one(db, run))
    }

    /// Newest first, in the order of recording (which a stepped clock cannot disturb).
    pub fn runs(&self, filter: &RunFilter) -> Result<Vec<Run>, StoreError> {
        self.ask(|db| runs::filtered(db, filter))
    }

    /// The place of a run in the order of recording, for [`RunFilter::before_seq`].
    pub fn seq(&self, run: &RunRef) -> Result<Option<u64>, StoreError> {
        self.ask(|db| runs::seq(db, run))
    }

    pub fn attempts(&self, run: &RunRef) -> Result<Vec<Attempt>, StoreError> {
        self.ask(|db| runs::attempts(db, run))
    }

    pub fn steps(&self, run: &RunRef, attempt: u32) -> Result<Vec<StepReport>, StoreError> {
        self.ask(|db| runs::steps(db, run, attempt))
    }

    pub fn request(&self, id: u64) -> Result<Option<Request>, StoreError> {
        self.ask(|db| requests::one(db, id))
    }

    pub fn request_of_slot(&self, slot: &str) -> Result<Option<Request>, StoreError> {
        self.ask(|db| requests::of_slot(db, slot))
    }

    /// Oldest first.
    pub fn requests_of(&self, run: &RunRef) -> Result<Vec<Request>, StoreError> {
        self.ask(|db| requests::of_run(db, run))
    }

    /// Newest first.
    pub fn recent_requests(&self, limit: usize) -> Result<Vec<Request>, StoreError> {
        self.ask(|db| requests::recent(db, limit))
    }

    pub fn letter(&self, id: u64) -> Result<Option<Letter>, StoreError> {
        self.ask(|db| letters::one(db, id))
    }

    /// Letters that wait after an error, and those given up after a try within the last seven days.
    pub fn undelivered(&self, now: Timestamp) -> Result<Vec<Letter>, StoreError> {
        self.ask(|db| letters::undelivered(db, now))
    }

    /// Newest first.
    pub fn journal(&self, subject: Option<&str>, limit: usize) -> Result<Vec<JournalLine>, StoreError> {
        self.ask(|db| journal::lines(db, subject, limit))
    }

    /// Lines whose subject begins with `start`, newest first.
    pub fn journal_beginning(&self, start: &str, limit: usize) -> Result<Vec<JournalLine>, StoreError> {
        self.ask(|db| journal::beginning(db, start, limit))
    }

    pub fn standings(&self, pipeline: &PipelineName, commits: &[CommitId]) -> Result<Vec<Standing>, StoreError> {
        self.ask(|db| sources::standings(db, pipeline, commits))
    }

    /// Newest first.
    pub fn ledger(&self, job: &JobKey, limit: usize) -> Result<Vec<LedgerRow>, StoreError> {
        self.ask(|db| schedules::ledger(db, job, limit))
    }

    /// Rows of the ledger that touch the stretch from the first instant to before the second, newest first.
    pub fn ledger_of(
        &self,
        job: &JobKey,
        stretch: (Timestamp, Timestamp),
        limit: usize,
    ) -> Result<Vec<LedgerRow>, StoreError> {
        self.ask(|db| schedules::touching(db, job, stretch, limit))
    }

    /// What is paused now.
    pub fn pauses(&self) -> Result<Vec<Pause>, StoreError> {
        self.ask(schedules::pauses)
    }

    /// Runs that due times from `from` to `to` have had, oldest due time first.
    pub fn due_runs(&self, job: &JobKey, from: Timestamp, to: Timestamp) -> Result<Vec<DueRun>, StoreError> {
        self.ask(|db| runs::of_dues(db, job, from, to))
    }

    /// What is known of a commit that was once the head of a branch or tag.
    pub fn commit(&self, pipeline: &PipelineName, id: &CommitId) -> Result<Option<CommitInfo>, StoreError> {
        self.ask(|db| sources::commit(db, pipeline, id))
    }

    /// Whether a web hook's message was taken before.
    pub fn delivery_known(&self, pipeline: &PipelineName, forge: Forge, id: &str) -> Result<bool, StoreError> {
        self.ask(|db| deliveries::known(db, pipeline, forge, id))
    }

    /// How pushes of a pipeline came to be known in the last two weeks.
    pub fn hook_count(&self, pipeline: &PipelineName, now: Timestamp) -> Result<HookCount, StoreError> {
        self.ask(|db| deliveries::counted(db, pipeline, now))
    }

    /// The same for every pipeline for which a hook spoke in the last two weeks.
    pub fn hook_counts(&self, now: Timestamp) -> Result<BTreeMap<PipelineName, HookCount>, StoreError> {
        self.ask(|db| deliveries::all_counted(db, now))
    }

    /// Newest first.
    pub fn sightings(&self, pipeline: &PipelineName, limit: usize) -> Result<Vec<Sighting>, StoreError> {
        self.ask(|db| sources::sightings(db, pipeline, limit))
    }

    /// Finished runs of which something has outlived its time, in the order of recording, at most `max` of
    /// those recorded after `after`, and what else the history says of what must stay.
    pub fn past(
        &self,
        retention: &Retention,
        now: Timestamp,
        after: Option<u64>,
        max: usize,
    ) -> Result<Past, StoreError> {
        self.ask(|db| removals::past(db, retention, now, after, max))
    }

    /// What went of a run by `[retention]`, or is about to.
    pub fn removals(&self, run: &RunRef) -> Result<Vec<Removal>, StoreError> {
        self.ask(|db| removals::of_run(db, run))
    }

    /// What was removed since then.
    pub fn removed_since(&self, at: Timestamp) -> Result<Tally, StoreError> {
        self.ask(|db| removals::since(db, at))
    }

    /// Median duration of the last 20 successes.
    pub fn usual(&self, job: &JobKey) -> Result<Option<Seconds>, StoreError> {
        self.ask(|db| runs::usual(db, job))
    }

    /// What the last 20 successes before this run used.
    pub fn usual_usage(&self, run: &RunRef) -> Result<Option<UsualUsage>, StoreError> {
        self.ask(|db| runs::usual_usage(db, run))
    }

    /// The commit of the job's newest success on this branch or tag before this run.
    pub fn last_success_on(&self, run: &RunRef, git_ref: Option<&RefName>) -> Result<Option<CommitId>, StoreError> {
        self.ask(|db| runs::last_success_on(db, run, git_ref))
    }

    /// The newest success of the job with a lower number.
    pub fn last_success_before(&self, job: &JobKey, run: u64) -> Result<Option<Run>, StoreError> {
        self.ask(|db| runs::last_success_before(db, job, run))
    }
}
