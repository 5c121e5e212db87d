//! What people are told, as pure text: facts go in, a mail comes out. Nothing here reads a clock, a file or
//! the database, and nothing is sent. What is not known is left out; every sentence is true when it is sent.

pub mod approval;
mod clock;
mod decided;
mod doc;
mod runs;

use jiff::tz::TimeZone;

pub use approval::{Asked, Checked, Signing, ask, unsatisfiable};
pub use clock::{StaleFacts, fresh, long, stale};
pub use decided::{Told, decided, rests, told, voters};
pub use doc::Doc;
pub use runs::{RunFacts, failure, outcome_word, recovery, unknown};

use crate::model::commit::{CommitId, CommitInfo};
use crate::model::name::{EnvironmentName, JobKey, RunRef};
use crate::model::time::Timestamp;
use crate::report::display;

/// A mail, ready but for addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    pub subject: String,
    pub text: String,
    pub html: String,
    /// What it is about; mails with the same root stand in one thread.
    pub thread: String,
    pub job: JobKey,
    /// `None`: it is about a job that has not run.
    pub run: Option<RunRef>,
    pub environment: Option<EnvironmentName>,
    pub request: Option<u64>,
}

/// What all mails need to know.
#[derive(Debug, Clone)]
pub struct Frame {
    pub host: String,
    /// What links begin with, without a trailing slash.
    pub public_url: String,
    /// Of the environment, or of this Shipbell.
    pub zone: TimeZone,
    pub now: Timestamp,
}

impl Frame {
    #[must_use]
    pub fn page(&self, run: &RunRef) -> String {
        format!("{}/{}/{}/{}", self.public_url, run.job.pipeline, run.job.job, run.number)
    }
}

/// `open-im 7848d7c`, or the job where nothing is checked out.
#[must_use]
pub fn what(job: &JobKey, commit: Option<&CommitId>) -> String {
    match commit {
        Some(commit) => format!("{} {}", job.pipeline, commit.short()),
        None => job.to_string(),
    }
}

/// `fix: get online users  (chen)`.
#[must_use]
pub fn commit_line(commit: &CommitInfo) -> String {
    let subject = display::line(&commit.subject, 100);
    let subject = if subject.is_empty() { commit.id.short().to_owned() } else { subject };
    match display::line(&commit.author, 40) {
        author if author.is_empty() => subject,
        author => format!("{subject} ({author})"),
    }
}

/// `3 commits`, `1 commit`.
#[must_use]
pub fn counted(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

/// `anna`, `anna and ben`, `anna, ben and chen`.
#[must_use]
pub fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [some @ .., last] => format!("{} and {last}", some.join(", ")),
    }
}
