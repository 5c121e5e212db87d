//! Questions about what is stored, each answered from one snapshot. Blocking: callers in async code
//! use `spawn_blocking`.

use crate::model::commit::{CommitId, CommitInfo, Sighting};
use crate::model::event::{JournalLine, Standing};
use crate::model::ledger::LedgerRow;
use crate::model::letter::Letter;
use crate::model::name::{JobKey, PipelineName, RunRef};
use crate::model::request::Request;
use crate::model::run::{Attempt, Run, StepReport};
use crate::model::time::{Seconds, Timestamp};
use crate::store::StoreError;

/// Reads beside the writer; cheap to clone.
#[derive(Debug, Clone)]
pub struct Reader {}

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

/// All fail only if the database cannot be read.
#[allow(clippy::missing_errors_doc)]
impl Reader {
    pub fn run(&self, _run: &RunRef) -> Result<Option<Run>, StoreError> {
        Ok(None)
    }

    /// Newest first, in the order of recording (which a stepped clock cannot disturb).
    pub fn runs(&self, _filter: &RunFilter) -> Result<Vec<Run>, StoreError> {
        Ok(Vec::new())
    }

    /// The place of a run in the order of recording, for [`RunFilter::before_seq`].
    pub fn seq(&self, _run: &RunRef) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    pub fn attempts(&self, _run: &RunRef) -> Result<Vec<Attempt>, StoreError> {
        Ok(Vec::new())
    }

    pub fn steps(&self, _run: &RunRef, _attempt: u32) -> Result<Vec<StepReport>, StoreError> {
        Ok(Vec::new())
    }

    pub fn request(&self, _id: u64) -> Result<Option<Request>, StoreError> {
        Ok(None)
    }

    pub fn request_of_slot(&self, _slot: &str) -> Result<Option<Request>, StoreError> {
        Ok(None)
    }

    /// Oldest first.
    pub fn requests_of(&self, _run: &RunRef) -> Result<Vec<Request>, StoreError> {
        Ok(Vec::new())
    }

    /// Newest first.
    pub fn recent_requests(&self, _limit: usize) -> Result<Vec<Request>, StoreError> {
        Ok(Vec::new())
    }

    pub fn letter(&self, _id: u64) -> Result<Option<Letter>, StoreError> {
        Ok(None)
    }

    /// Letters that wait after an error, and those given up after a try within the last seven days.
    pub fn undelivered(&self, _now: Timestamp) -> Result<Vec<Letter>, StoreError> {
        Ok(Vec::new())
    }

    /// Newest first.
    pub fn journal(&self, _subject: Option<&str>, _limit: usize) -> Result<Vec<JournalLine>, StoreError> {
        Ok(Vec::new())
    }

    pub fn standings(&self, _pipeline: &PipelineName, _commits: &[CommitId]) -> Result<Vec<Standing>, StoreError> {
        Ok(Vec::new())
    }

    /// Newest first.
    pub fn ledger(&self, _job: &JobKey, _limit: usize) -> Result<Vec<LedgerRow>, StoreError> {
        Ok(Vec::new())
    }

    /// What is known of a commit that was once the head of a branch or tag.
    pub fn commit(&self, _pipeline: &PipelineName, _id: &CommitId) -> Result<Option<CommitInfo>, StoreError> {
        Ok(None)
    }

    /// Newest first.
    pub fn sightings(&self, _pipeline: &PipelineName, _limit: usize) -> Result<Vec<Sighting>, StoreError> {
        Ok(Vec::new())
    }

    /// Median duration of the last 20 successes.
    pub fn usual(&self, _job: &JobKey) -> Result<Option<Seconds>, StoreError> {
        Ok(None)
    }

    /// The newest success of the job with a lower number.
    pub fn last_success_before(&self, _job: &JobKey, _run: u64) -> Result<Option<Run>, StoreError> {
        Ok(None)
    }
}
