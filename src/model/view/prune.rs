//! What `[retention]` takes away, or would.

use serde::{Deserialize, Serialize};

use crate::model::name::RunRef;
use crate::model::retention::{Part, Tally};
use crate::model::time::Timestamp;

/// `shipbell prune`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneView {
    pub schema: u32,
    pub now: Timestamp,
    /// Nothing was removed.
    pub dry_run: bool,
    /// What went, or would.
    pub tally: Tally,
    /// What would go, oldest first; at most a thousand.
    pub goes: Vec<GoesRow>,
    /// What stays although its time is over; at most a thousand.
    pub stays: Vec<StaysRow>,
    /// Mirrors of repositories that no job file names.
    pub mirrors: Vec<MirrorRow>,
}

/// A part of a run that would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoesRow {
    pub run: RunRef,
    /// When it ended.
    pub at: Timestamp,
    pub part: Part,
    /// What the disk would get back; `None`: it could not be measured.
    pub bytes: Option<u64>,
}

/// A run that stays although its time is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaysRow {
    pub run: RunRef,
    pub at: Timestamp,
    pub why: String,
}

/// A part of a run that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedView {
    pub part: Part,
    pub at: Timestamp,
}

/// A mirror that no job file names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorRow {
    pub name: String,
    /// Since when that is known; `None`: it is seen for the first time.
    pub since: Option<Timestamp>,
    pub goes: bool,
    /// A run that goes on borrows its objects.
    pub borrowed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneOrder {
    pub dry_run: bool,
}
