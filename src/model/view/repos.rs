//! What is shown of repositories: how each is asked, and what a trial of one gave. The rules of
//! `model::view` hold: UTC, fields are only added.

use serde::{Deserialize, Serialize};

use crate::model::commit::CommitId;
use crate::model::forge::HookCount;
use crate::model::name::PipelineName;
use crate::model::time::{Seconds, Timestamp};

/// `shipbell repos`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReposView {
    pub schema: u32,
    pub now: Timestamp,
    pub rows: Vec<RepoRow>,
}

/// One repository with one credential, however many pipelines use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoRow {
    pub url: String,
    pub credential: Option<String>,
    pub pipelines: Vec<PipelineName>,
    pub every: Seconds,
    /// What HEAD points to, and where that stands.
    pub head: Option<String>,
    pub commit: Option<CommitId>,
    /// The end of the last poll, and how long it took.
    pub last: Option<Timestamp>,
    pub took_ms: Option<u64>,
    pub next: Option<Timestamp>,
    /// It is being asked now.
    pub asking: bool,
    /// Polls that failed one after the other.
    pub failures: u32,
    pub error: Option<String>,
    /// Of its pipelines, those that a web hook spoke for in the last two weeks.
    #[serde(default)]
    pub hooks: Vec<HookRow>,
}

/// How pushes of a pipeline came to be known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookRow {
    pub pipeline: PipelineName,
    #[serde(flatten)]
    pub count: HookCount,
}

/// A trial of one repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoTestOrder {
    pub url: String,
    pub credential: Option<String>,
    pub branch: Option<String>,
}

crate::words! {
    /// What became of a step of a trial.
    pub enum TrialState {
        Ok => "ok",
        Failed => "failed",
        /// An earlier one failed.
        NotReached => "not-reached",
    }
}

/// `shipbell repos test`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoTestView {
    pub schema: u32,
    pub url: String,
    pub ok: bool,
    pub took_ms: u64,
    /// In the order in which they are taken.
    pub steps: Vec<TrialStep>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialStep {
    /// `url`, `credential`, `name`, `connection`, `TLS`, `host key`, `login`, `repository`, `branch`.
    pub name: String,
    pub state: TrialState,
    /// What was found, or why it failed and what to do.
    pub text: String,
}
