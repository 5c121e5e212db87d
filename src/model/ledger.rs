//! Due times and what was decided of each.

use serde::{Deserialize, Serialize};

use crate::model::job::Hash;
use crate::model::name::{JobKey, RunRef};
use crate::model::time::Timestamp;

/// What came of a due time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DueVerdict {
    Run(RunRef),
    /// An earlier run stands for it.
    Coalesced(RunRef),
    Skipped(String),
}

/// Equal neighbours share a row: only `last` and `count` grow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    pub job: JobKey,
    pub first: Timestamp,
    pub last: Timestamp,
    pub count: u64,
    pub verdict: DueVerdict,
}

/// How far a job's due times are decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    pub job: JobKey,
    /// Hash of the schedule's text and zone: another text begins anew.
    pub schedule: Hash,
    /// First load of this text; due times before it do not exist. Anchor of `every`.
    pub since: Timestamp,
    /// Every due time up to and including this instant has its row.
    pub decided: Timestamp,
    /// The newest due time of which the schedule made a run that was not given up before it began.
    pub ran: Option<Timestamp>,
    /// The boot for which `@reboot` has been decided.
    pub boot: Option<String>,
    /// The clock stood more than a day ahead and was put right: up to here due times were decided while
    /// it did. They have their rows, so they run when they come, and are not caught up.
    pub ahead: Option<Timestamp>,
}
