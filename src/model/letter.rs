//! Mails, and what hosts and pinged addresses are told, on their way. A letter holds no secret: its text
//! and links are made anew whenever it is sent.

use serde::{Deserialize, Serialize};

use crate::model::commit::CommitId;
use crate::model::name::{JobKey, RunRef};
use crate::model::time::Timestamp;

/// Among the addresses of `notify`: whoever wrote the commits since the last success.
pub const COMMITTERS: &str = "@committers";

/// One mail to one address, or one message to a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Unique in the installation; part of the Message-ID.
    pub id: u64,
    pub kind: LetterKind,
    /// A mail address, or [`COMMITTERS`] until it is known who they are; for a message that is no mail, a
    /// name of who hears it.
    pub to: String,
    /// Why this reader gets it, where `notify` does not name them.
    pub note: Option<String>,
    pub created_at: Timestamp,
    pub state: LetterState,
    /// Sendings tried.
    pub attempts: u32,
}

/// What it tells; the facts are read when it is rendered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LetterKind {
    /// May it go? With the person's own link (slot of the request).
    Approval {
        request: u64,
        slot: String,
    },
    /// What became of a request, to everyone who was asked.
    Decided {
        request: u64,
    },
    Failure {
        run: RunRef,
    },
    Recovery {
        run: RunRef,
    },
    /// A deployment of which nobody can say what came.
    Unknown {
        run: RunRef,
    },
    /// Nobody can approve it: too few people are eligible.
    Unsatisfiable {
        request: u64,
    },
    /// To a person who was asked: too many wrong words, codes or signatures were given as theirs.
    Rests {
        request: u64,
        /// When one is taken again.
        until: Timestamp,
    },
    /// A job has not succeeded for as long as `stale-after` says.
    Stale {
        job: JobKey,
    },
    /// A stale job succeeded again.
    Fresh {
        run: RunRef,
    },
    /// A run takes far longer than any before it.
    Long {
        run: RunRef,
    },
    /// To the host of the repository: how the run stands when this leaves.
    Mark {
        run: RunRef,
    },
    /// To the host of the repository: the job need not run for this commit, the outcome of a run stands for it.
    Carried {
        commit: CommitId,
        run: RunRef,
    },
    /// To an address that the job names.
    Ping {
        run: RunRef,
        at: PingAt,
    },
}

crate::words! {
    /// When an address is pinged.
    pub enum PingAt { Start => "start", Success => "success", Failure => "failure" }
}

impl LetterKind {
    /// Whether a person gets it as a mail.
    #[must_use]
    pub fn is_mail(&self) -> bool {
        !matches!(self, Self::Mark { .. } | Self::Carried { .. } | Self::Ping { .. })
    }

    /// The run that it tells of; requests and silences are of none.
    #[must_use]
    pub fn run(&self) -> Option<&RunRef> {
        match self {
            Self::Failure { run }
            | Self::Recovery { run }
            | Self::Unknown { run }
            | Self::Fresh { run }
            | Self::Long { run }
            | Self::Mark { run }
            | Self::Carried { run, .. }
            | Self::Ping { run, .. } => Some(run),
            Self::Approval { .. }
            | Self::Decided { .. }
            | Self::Unsatisfiable { .. }
            | Self::Rests { .. }
            | Self::Stale { .. } => None,
        }
    }
}

impl Letter {
    /// Its readers are not known yet: git has to say who they are.
    #[must_use]
    pub fn is_to_committers(&self) -> bool {
        self.to == COMMITTERS
    }

    /// Puts it off until then; false where it waits as long already, or no more.
    pub fn hold(&mut self, until: Timestamp) -> bool {
        match &mut self.state {
            LetterState::Waiting { not_before, .. } if *not_before < until => {
                *not_before = until;
                true
            }
            _ => false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LetterState {
    Waiting {
        not_before: Timestamp,
        last_error: Option<String>,
    },
    Sent {
        at: Timestamp,
    },
    /// Given up: the server refused it for good, or what it asks is over.
    Dead {
        at: Timestamp,
        why: String,
    },
}
