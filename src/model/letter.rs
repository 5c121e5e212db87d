//! Mails, and what hosts and pinged addresses are told, on their way. A letter holds no secret: its text
//! and links are made anew whenever it is sent.

use serde::{Deserialize, Serialize};

use crate::model::name::{JobKey, RunRef};
use crate::model::time::Timestamp;

/// One mail to one address, or one message to a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Unique in the installation; part of the Message-ID.
    pub id: u64,
    pub kind: LetterKind,
    /// A mail address; for a message that is no mail, a name of who hears it.
    pub to: String,
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
        !matches!(self, Self::Mark { .. } | Self::Ping { .. })
    }
}

impl Letter {
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
