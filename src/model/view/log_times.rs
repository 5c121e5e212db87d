//! When the bytes of a log came, and which of them are which step's.

use serde::{Deserialize, Serialize};

use crate::model::time::Timestamp;

/// When which byte of an attempt's log came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogTimesView {
    pub schema: u32,
    pub attempt: u32,
    /// Offset and instant: from there on it came then or later, to about a second. In order.
    pub times: Vec<(u64, Timestamp)>,
    pub steps: Vec<StepSpan>,
}

/// Where the output of a step lies in its attempt's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepSpan {
    pub index: u32,
    pub name: String,
    pub from: u64,
    /// `None`: it goes on.
    pub to: Option<u64>,
}

/// When the byte at this offset came, by such a list; `None` before its first entry.
#[must_use]
pub fn came(times: &[(u64, Timestamp)], at: u64) -> Option<Timestamp> {
    let known = times.partition_point(|(offset, _)| *offset <= at);
    known.checked_sub(1).and_then(|place| times.get(place)).map(|(_, came)| *came)
}
