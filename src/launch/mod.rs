//! Starts supervisors and says what became of them. What an attempt means is not decided here: the
//! launcher reads what stands on disk, and the worse of two readings holds.

/// What stands in `events.jsonl`, and what it proves.
pub mod evidence;
/// The launcher that needs neither systemd nor root.
pub mod local;
/// Hints that an attempt has something new.
pub mod watch;

use crate::model::ticket::Evidence;

/// What can be said of an attempt now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Its supervisor lives, or is about to begin.
    Running,
    Over(Evidence),
}
