//! Backfill: a person asks for a run for each due time of a past stretch. Which due times these are is
//! decided in `pipeline::due`; nothing is caught up by itself through here.

use serde::{Deserialize, Serialize};

use crate::model::name::{JobKey, RunRef};
use crate::model::run::Outcome;
use crate::model::time::Timestamp;

/// Due times that one call may queue.
pub const BACKFILL_MAX: usize = 1000;

crate::words! {
    /// Which due times of the stretch are wanted.
    pub enum BackfillOnly {
        /// Those without a run of their own that succeeded, is queued or runs.
        Missing => "missing",
        /// Those whose own runs all ended otherwise than with success.
        Failed => "failed",
        /// All but those of which a run is queued or runs.
        All => "all",
    }
}

/// `shipbell backfill JOB --from --to`. Both ends belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackfillRequest {
    pub job: JobKey,
    pub from: Timestamp,
    pub to: Timestamp,
    pub only: BackfillOnly,
    /// Only list what would be queued.
    pub dry_run: bool,
    pub by: String,
    /// What the store knows of runs for due times in the stretch; the daemon's loop puts it in.
    pub known: Vec<DueRun>,
}

/// A run that a due time has had (cause `schedule` or `backfill`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueRun {
    pub due: Timestamp,
    pub run: RunRef,
    /// `None`: it is queued or runs.
    pub outcome: Option<Outcome>,
}

/// A due time that a backfill takes; `run` is `None` in a dry run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillRow {
    pub due: Timestamp,
    pub run: Option<RunRef>,
}
