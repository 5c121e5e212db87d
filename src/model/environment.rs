//! What an environment is in.

use serde::{Deserialize, Serialize};

use crate::model::commit::{CommitId, RefName};
use crate::model::job::Hash;
use crate::model::name::{EnvironmentName, PipelineName, RunRef};
use crate::model::run::Upstream;
use crate::model::time::Timestamp;

/// One environment of one pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    pub pipeline: PipelineName,
    pub name: EnvironmentName,
    pub state: EnvironmentState,
    /// The last good deployment, also while `state` is unclear.
    pub live: Option<Deployment>,
}

/// `empty`, `clean(commit)` or `unclear(attempted, last good)`; the commit and last good are in `live`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnvironmentState {
    Empty,
    Clean,
    Unclear {
        attempted: Deployment,
        /// Nobody can say what came of it: nothing goes until `shipbell resolve`.
        unknown: bool,
    },
}

/// A run that changed an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    pub run: RunRef,
    /// `None`: a job without a repository.
    pub commit: Option<CommitId>,
    pub git_ref: Option<RefName>,
    pub definition: Hash,
    pub upstream: Vec<Upstream>,
    pub at: Timestamp,
    /// Who approved it.
    pub approved_by: Vec<String>,
}
