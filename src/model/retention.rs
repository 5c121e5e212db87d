//! `[retention]`: how long what finished runs left is kept, and what has gone by it. What may go is judged
//! by `pipeline::retention`; who removes it is the executor.

use serde::{Deserialize, Serialize};

use crate::model::commit::CommitId;
use crate::model::name::{EnvironmentName, PipelineName, RunRef};
use crate::model::time::{Seconds, Timestamp};

/// The table of shipbell.toml. `None`: for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Runs with all that is left of them, their rows of the history included.
    pub runs: Option<Seconds>,
    pub logs: Option<Seconds>,
    pub artifacts: Option<Seconds>,
    /// Mirrors of repositories that no job file names any more.
    pub mirrors: Option<Seconds>,
    /// Of each job so many of the newest finished runs stay whole.
    pub keep: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            runs: Some(Seconds::days(180)),
            logs: Some(Seconds::days(90)),
            artifacts: Some(Seconds::days(30)),
            mirrors: Some(Seconds::days(30)),
            keep: 20,
        }
    }
}

impl Retention {
    #[must_use]
    pub fn of(&self, part: Part) -> Option<Seconds> {
        match part {
            Part::Artifacts => self.artifacts,
            Part::Log => self.logs,
            Part::Run => self.runs,
        }
    }

    /// What ended before it has outlived the time of this part.
    #[must_use]
    pub fn before(&self, part: Part, now: Timestamp) -> Option<Timestamp> {
        self.of(part).map(|span| span.before(now))
    }
}

crate::words! {
    /// What goes by itself.
    pub enum Part {
        Artifacts => "artifacts",
        /// What the steps printed, of every attempt.
        Log => "log",
        /// The directory with all that is left in it, and the row of the history.
        Run => "run",
    }
}

impl Part {
    /// The key of `[retention]` by which it goes.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Artifacts => "artifacts",
            Self::Log => "logs",
            Self::Run => "runs",
        }
    }
}

/// What goes, or has gone. Written down before anything is removed, and kept for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    pub run: RunRef,
    pub part: Part,
    pub decided_at: Timestamp,
    pub done: Option<Removed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    pub at: Timestamp,
    /// What the disk got back.
    pub bytes: u64,
}

/// A finished run, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Old {
    pub run: RunRef,
    pub at: Timestamp,
    /// An attempt was begun: there is a directory.
    pub begun: bool,
    pub artifacts: bool,
    /// It changed an environment or was to be approved: its row says who let what go, and stays.
    pub decided: bool,
    /// What was removed, or is about to be.
    pub gone: Vec<Part>,
}

/// A deployment of the past.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    pub pipeline: PipelineName,
    pub environment: EnvironmentName,
    pub run: RunRef,
    pub commit: Option<CommitId>,
    pub upstream: Vec<RunRef>,
}

/// What the history says: finished runs of which something has outlived its time, oldest first, and what
/// the judgement hangs on besides the World.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Past {
    pub old: Vec<Old>,
    /// Where this page began; `None`: a pass begins.
    pub after: Option<u64>,
    /// Where the next one begins; `None`: that was the last.
    pub next: Option<u64>,
    /// Of each job the newest finished runs.
    pub newest: Vec<RunRef>,
    /// Of each job the last success.
    pub successes: Vec<RunRef>,
    /// Successful deployments, newest first.
    pub deployed: Vec<Deployed>,
}

/// What a pass came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    pub artifacts: u64,
    pub logs: u64,
    pub runs: u64,
    pub mirrors: u64,
    /// What the disks got back.
    pub bytes: u64,
    /// What could not be removed, and is tried again.
    pub failed: u64,
}

/// A mirror as it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorSeen {
    pub name: String,
    /// A job file names its repository.
    pub named: bool,
    /// A run that goes on borrows its objects, or nobody can say.
    pub borrowed: bool,
    /// Since when it is known that no file names it.
    pub unnamed_since: Option<Timestamp>,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorFate {
    Stays,
    /// It is named again: the mark of before goes.
    Forget,
    /// From now on it is known that no file names it.
    Mark,
    Goes,
}
