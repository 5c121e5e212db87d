//! A run and all that is recorded of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::commit::{CommitId, RefName};
use crate::model::job::Hash;
use crate::model::name::{EnvironmentName, JobName, RunRef};
use crate::model::time::Timestamp;

crate::words! {
    /// How a run ended.
    pub enum Outcome {
        Succeeded => "succeeded",
        Failed => "failed",
        TimedOut => "timed-out",
        Cancelled => "cancelled",
        /// It was cut off from outside (reboot, supervisor killed); it changed no environment.
        Interrupted => "interrupted",
        Skipped => "skipped",
        /// A deployment of which no evidence is left; never success, never retried by itself.
        Unknown => "unknown",
    }
}

/// Why this run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// `previous`: the due time of the run before it; what lies between is this run's to do.
    Schedule {
        due: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<Timestamp>,
    },
    Commit {
        sighting: u64,
    },
    Needs {
        run: RunRef,
    },
    Manual {
        by: String,
    },
    Retry {
        of: RunRef,
        by: String,
    },
    Rollback {
        deployment: RunRef,
        by: String,
    },
    /// `previous`: the due time before it by the schedule.
    Backfill {
        due: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<Timestamp>,
        by: String,
    },
}

impl Cause {
    /// The word for it, as in DESIGN.md.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Schedule { .. } => "schedule",
            Self::Commit { .. } => "commit",
            Self::Needs { .. } => "needs",
            Self::Manual { .. } => "manual",
            Self::Retry { .. } => "retry",
            Self::Rollback { .. } => "rollback",
            Self::Backfill { .. } => "backfill",
        }
    }

    /// The due time that it stands for, and the one before it.
    #[must_use]
    pub fn due(&self) -> Option<(Timestamp, Option<Timestamp>)> {
        match self {
            Self::Schedule { due, previous } | Self::Backfill { due, previous, .. } => Some((*due, *previous)),
            _ => None,
        }
    }

    /// Who started it, where a person did.
    #[must_use]
    pub fn person(&self) -> Option<&str> {
        match self {
            Self::Manual { by } | Self::Retry { by, .. } | Self::Rollback { by, .. } | Self::Backfill { by, .. } => {
                Some(by)
            }
            Self::Schedule { .. } | Self::Commit { .. } | Self::Needs { .. } => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schedule { .. } => f.pad("schedule"),
            Self::Commit { .. } => f.pad("commit"),
            Self::Needs { run } => f.pad(&format!("needs {}#{}", run.job.job, run.number)),
            Self::Manual { by } => f.pad(&format!("manual, {by}")),
            Self::Retry { of, by } => f.pad(&format!("retry of #{}, {by}", of.number)),
            Self::Rollback { deployment, by } => f.pad(&format!("rollback to #{}, {by}", deployment.number)),
            Self::Backfill { by, .. } => f.pad(&format!("backfill, {by}")),
        }
    }
}

/// A run of an upstream job on which another run stands; frozen when that one is queued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    pub job: JobName,
    pub run: RunRef,
    pub definition: Hash,
    pub outputs: BTreeMap<String, String>,
    pub artifacts: Vec<Artifact>,
}

/// A file that a run left, by its path below `artifacts/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    pub path: String,
    pub sha256: Hash,
    pub size: u64,
}

/// A run, live or finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub run: RunRef,
    pub commit: Option<CommitId>,
    pub git_ref: Option<RefName>,
    /// Number of the sighting it belongs to (0: none); higher = newer on the same ref.
    pub sighting: u64,
    pub cause: Cause,
    pub definition: Hash,
    pub params: BTreeMap<String, String>,
    pub upstream: Vec<Upstream>,
    pub queued_at: Timestamp,
    /// Number of the last attempt's directory; 0 = none was begun.
    pub attempt: u32,
    /// Attempts that count against `retry`.
    pub tries: u32,
    /// As it was last started: the configuration may say otherwise meanwhile, or not know the job any more.
    pub holds: Holds,
    pub state: RunState,
    pub outputs: BTreeMap<String, String>,
    pub artifacts: Vec<Artifact>,
}

impl Run {
    /// Since when it wants to run: among runs that are ready the oldest goes first. A due time that was
    /// missed goes by when it should have run; a backfill waits from when it was asked for.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        match &self.cause {
            Cause::Schedule { due, .. } => self.queued_at.min(*due),
            _ => self.queued_at,
        }
    }

    /// Whether it runs what a pull request brings: sandboxed, and counting for nothing else.
    #[must_use]
    pub fn is_pull(&self) -> bool {
        self.git_ref.as_ref().is_some_and(RefName::is_pull)
    }

    #[must_use]
    pub fn finished(&self) -> Option<&Finished> {
        match &self.state {
            RunState::Finished(finished) => Some(finished),
            RunState::Queued { .. } | RunState::Running { .. } => None,
        }
    }

    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.finished().map(|finished| finished.outcome)
    }

    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.state, RunState::Running { .. })
    }

    #[must_use]
    pub fn is_queued(&self) -> bool {
        matches!(self.state, RunState::Queued { .. })
    }
}

/// What an attempt takes up while it runs. Empty before the first one starts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Holds {
    /// The environment that it changes.
    pub environment: Option<EnvironmentName>,
    pub pools: Vec<String>,
}

/// `waiting(reason)` is not stored: it is a view of a queued run, judged by `pipeline`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    Queued {
        /// A retry waits until then.
        not_before: Option<Timestamp>,
        /// A person confirmed that it may go although it takes commits back.
        confirmed_by: Option<String>,
    },
    Running {
        launched_at: Timestamp,
        /// When the supervisor said that it began.
        started_at: Option<Timestamp>,
        /// The step that is going on.
        step: Option<(u32, String)>,
        /// A step after `init` has begun: from then on an environment is touched.
        touched: bool,
        /// Someone wants it to end.
        stopping: Option<String>,
    },
    Finished(Finished),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    pub outcome: Outcome,
    /// When its first attempt began; `None` if none did.
    pub started_at: Option<Timestamp>,
    pub at: Timestamp,
    /// For people: `exit 2 in step 2 "unit"`, `newer head 7848d7c`. Never empty for other ends than success.
    pub reason: String,
    /// The step it ended in.
    pub step: Option<(u32, String)>,
}

/// One attempt, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub run: RunRef,
    pub attempt: u32,
    pub launched_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub outcome: Option<Outcome>,
    pub reason: String,
    pub usage: Option<Usage>,
}

/// One step of an attempt, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    pub run: RunRef,
    pub attempt: u32,
    pub index: u32,
    pub name: String,
    pub always: bool,
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub ended: Option<StepEnd>,
    /// Offsets in the attempt's log where its output begins and ends.
    pub log_from: u64,
    pub log_to: Option<u64>,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepEnd {
    Exit(i32),
    Signal(i32),
    /// The kernel ended something of it: the limit of memory was reached, or the host's end of it.
    OutOfMemory,
    TimedOut,
    Cancelled,
    /// It could not be started or its conditions failed; text for people, several lines allowed.
    Refused(String),
}

impl StepEnd {
    #[must_use]
    pub fn good(&self) -> bool {
        *self == Self::Exit(0)
    }
}

impl fmt::Display for StepEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::OutOfMemory => f.write_str("out of memory"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

/// What the last successes of a job used: medians.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UsualUsage {
    /// Of how many.
    pub runs: u32,
    pub cpu_ms: u64,
    pub memory_peak: u64,
    pub written: u64,
}

/// What an attempt used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    pub cpu_ms: u64,
    pub memory_peak: u64,
    /// Bytes that the steps printed, kept or not.
    pub log_bytes: u64,
    /// Bytes that were to be written to a disk.
    #[serde(default)]
    pub written: u64,
    /// How many processes were ended for want of memory.
    #[serde(default)]
    pub oom_kills: u64,
    /// How often a secret was taken out of what they printed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub masked: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}
