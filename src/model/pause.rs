//! Pauses: a person says that nothing of a job, a pipeline or all starts for a while. What that does
//! to due times, heads and queued runs is decided in `pipeline`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::name::{BadName, JobKey, PipelineName};
use crate::model::time::Timestamp;

/// What is paused. Written `*` (all), `open-im` or `open-im/test`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scope {
    All,
    Pipeline(PipelineName),
    Job(JobKey),
}

impl Scope {
    #[must_use]
    pub fn covers(&self, job: &JobKey) -> bool {
        match self {
            Self::All => true,
            Self::Pipeline(pipeline) => *pipeline == job.pipeline,
            Self::Job(key) => key == job,
        }
    }

    /// The scopes that cover a job, the widest first.
    #[must_use]
    pub fn of(job: &JobKey) -> [Self; 3] {
        [Self::All, Self::Pipeline(job.pipeline.clone()), Self::Job(job.clone())]
    }

    /// For people: `everything`, `open-im`, `open-im/test`.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::All => "everything".into(),
            Self::Pipeline(pipeline) => pipeline.to_string(),
            Self::Job(job) => job.to_string(),
        }
    }

    /// The command that ends such a pause.
    #[must_use]
    pub fn resume(&self) -> String {
        match self {
            Self::All => "shipbell resume --all".into(),
            Self::Pipeline(pipeline) => format!("shipbell resume {pipeline}"),
            Self::Job(job) => format!("shipbell resume {job}"),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.pad("*"),
            Self::Pipeline(pipeline) => fmt::Display::fmt(pipeline, f),
            Self::Job(job) => fmt::Display::fmt(job, f),
        }
    }
}

impl FromStr for Scope {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        match text {
            "*" => Ok(Self::All),
            job if job.contains('/') => job.parse().map(Self::Job),
            pipeline => pipeline.parse().map(Self::Pipeline),
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = BadName;
    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

/// Nothing of `scope` starts from `at` on; what runs goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    pub scope: Scope,
    pub at: Timestamp,
    /// It ends by itself then. `None`: when somebody resumes.
    pub until: Option<Timestamp>,
    /// Why; may be empty.
    pub note: String,
    pub by: String,
}

impl Pause {
    /// Whether it holds at an instant. Not before `at` alone: the clock may have been set back since.
    #[must_use]
    pub fn holds(&self, at: Timestamp) -> bool {
        self.until.is_none_or(|until| at < until)
    }

    /// `paused: the disk is being replaced`, or who paused it where nobody said why.
    #[must_use]
    pub fn told(&self) -> String {
        if self.note.is_empty() { format!("paused by {}", self.by) } else { format!("paused: {}", self.note) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_they_are_written() {
        for text in ["*", "open-im", "open-im/test"] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        assert!("open-im/".parse::<Scope>().is_err() && "".parse::<Scope>().is_err());
        let job: JobKey = "open-im/test".parse().unwrap();
        for (scope, covers) in [("*", true), ("open-im", true), ("open", false), ("open-im/test", true), ("a/b", false)]
        {
            assert_eq!(scope.parse::<Scope>().unwrap().covers(&job), covers, "{scope}");
        }
        assert!(Scope::of(&job).iter().all(|scope| scope.covers(&job)));
    }
}
