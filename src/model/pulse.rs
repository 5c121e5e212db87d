//! How a job has been going: when it last succeeded and how long it usually takes. The dead-man's
//! switch (`notify.stale-after`) and the warning about a run that takes far too long read it.

use serde::{Deserialize, Serialize};

use crate::model::name::{JobKey, RunRef};
use crate::model::time::{Seconds, Timestamp};

/// Successes of which the time is remembered.
pub const TIMES_MAX: usize = 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulse {
    pub job: JobKey,
    /// From here on silence counts: its first load, later the end of its last success.
    pub since: Timestamp,
    /// End of its last success.
    pub last_success: Option<Timestamp>,
    /// When its silence was told; `None`: it is not stale.
    pub stale_told: Option<Timestamp>,
    /// The run of which it was told that it takes too long.
    pub long_told: Option<RunRef>,
    /// What its last successes took, oldest first, at most [`TIMES_MAX`].
    pub took: Vec<Seconds>,
}

impl Pulse {
    #[must_use]
    pub fn new(job: JobKey, since: Timestamp) -> Self {
        Self { job, since, last_success: None, stale_told: None, long_told: None, took: Vec::new() }
    }

    /// What 95 of 100 successes did not exceed; `None` while fewer than five are known.
    #[must_use]
    pub fn p95(&self) -> Option<Seconds> {
        if self.took.len() < 5 {
            return None;
        }
        let mut sorted = self.took.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * 95).div_ceil(100).saturating_sub(1);
        sorted.get(at).copied()
    }
}
