//! The two texts that pass between the executor, a supervisor and the daemon: `ticket.json` (what an
//! attempt is to do) and `events.jsonl` (what came of it). Both carry `v`; v and v-1 are read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::commit::{CommitId, RefName};
use crate::model::job::{Definition, Hash};
use crate::model::name::RunRef;
use crate::model::run::{Artifact, Cause, Outcome, StepEnd, Upstream, Usage};
use crate::model::statement::Receipts;
use crate::model::time::Timestamp;

/// The version that is written; the one before it is still read.
pub const VERSION: u32 = 1;

/// Whether a ticket or a fact of this version is understood here.
#[must_use]
pub fn is_spoken(v: u32) -> bool {
    v == VERSION || Some(v) == VERSION.checked_sub(1)
}

/// Files of an attempt's directory `runs/ID/ATTEMPT/`.
pub const TICKET: &str = "ticket.json";
/// Held by the supervisor. Its lines: the supervisor's process id; the directories of the run's control group,
/// where it has one; of each program its session, when that began in the kernel's ticks, and its user.
pub const LOCK: &str = "lock";
pub const CLAIMED: &str = "claimed";
pub const EVENTS: &str = "events.jsonl";
pub const LOG: &str = "log";
pub const ARTIFACTS: &str = "artifacts";
pub const WORK: &str = "work";
pub const OUT: &str = "out";
/// What a supervisor says that cannot even begin.
pub const SUPERVISOR_LOG: &str = "supervisor.log";
/// Made by the launcher to ask a supervisor to end; its text is the reason.
pub const STOP: &str = "stop";

/// The words of the daemon to the executor's `start`. Only validated values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartOrder {
    pub run: RunRef,
    pub attempt: u32,
    pub commit: Option<CommitId>,
    pub git_ref: Option<RefName>,
    /// The bare mirror that has the commit.
    pub mirror: Option<PathBuf>,
    /// Tags of the repository at the commit's history, for `git describe`: full ref and object.
    pub deployed: Option<CommitId>,
    pub definition: Hash,
    pub params: BTreeMap<String, String>,
    pub cause: Cause,
    pub needs: Vec<Upstream>,
    /// Base of links to this Shipbell, without a trailing slash.
    pub public_url: String,
    /// How many seconds after its due time it starts; `None` where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<u64>,
    /// Of a deployment that wants approval: what people said to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipts: Option<Box<Receipts>>,
    /// Root let it go without votes, for this reason; the executor has it from root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_glass: Option<String>,
}

/// `ticket.json`: written by the executor from a [`StartOrder`] and a definition that it knows itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    pub v: u32,
    pub order: StartOrder,
    pub definition: Definition,
    /// Kept HOME of this pipeline and user.
    pub home: PathBuf,
    /// Text of `[init] source`, read by the executor.
    pub init_config: Option<String>,
    /// The unit that the attempt is carried out in; `None` where there are no units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// As whom the steps run, where the executor knows that and it is not the supervisor's own user: to ask
    /// the host for each run costs more than the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs_as: Option<RunsAs>,
}

/// A user of this host with all groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunsAs {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// One line of `events.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactLine {
    pub v: u32,
    pub at: Timestamp,
    #[serde(flatten)]
    pub fact: Fact,
}

/// What a supervisor states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "kebab-case")]
pub enum Fact {
    Started {
        boot_id: String,
        pid: u32,
    },
    /// A step began. Step 0 is `init`.
    Step {
        index: u32,
        name: String,
        always: bool,
        log: u64,
    },
    StepEnded {
        index: u32,
        end: StepEnd,
        log: u64,
    },
    /// A line of `$SHIPBELL_OUTPUT`.
    Value {
        key: String,
        value: String,
    },
    Artifact {
        artifact: Artifact,
    },
    Finished {
        outcome: Outcome,
        reason: String,
        step: Option<(u32, String)>,
        usage: Usage,
    },
    /// Nothing of the run is alive: always the last line.
    Empty,
}

/// What the launcher can say of an attempt once its lock is free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// The launcher took both `lock` and `claimed`: this attempt never started and never will.
    NeverStarted { why: String },
    /// `finished` was stated; `empty` says whether emptiness was confirmed as well.
    Finished { outcome: Outcome, reason: String, step: Option<(u32, String)>, usage: Usage, empty: bool },
    /// It was claimed and its supervisor is gone without a `finished`.
    /// `touched`: a step after `init` may have begun. `why`: what it left cannot be read.
    Lost {
        touched: bool,
        rebooted: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
}
