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
