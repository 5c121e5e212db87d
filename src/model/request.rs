//! A request for approval, the votes on it, and the tuple that is approved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::commit::{CommitId, CommitInfo};
use crate::model::job::{Factor, Hash};
use crate::model::name::{EnvironmentName, PersonName, RunRef};
use crate::model::run::Upstream;
use crate::model::time::Timestamp;

/// What is approved. Any difference at the start voids the approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuple {
    pub v: u32,
    pub repository: Option<String>,
    pub commit: Option<CommitId>,
    pub definition: Hash,
    pub params: BTreeMap<String, String>,
    /// Runs, definition hashes, outputs and artifact digests of everything upstream.
    pub upstream: Vec<Upstream>,
    pub takes_back: Vec<CommitId>,
    pub environment: EnvironmentName,
    pub policy: Hash,
    /// After an attempt that left the environment unclear, earlier votes are void: the attempted run.
    pub after: Option<RunRef>,
}

impl Tuple {
    /// Hash of the canonical text.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of_json(self)
    }
}

/// A request. Its number is unique in the installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub id: u64,
    pub run: RunRef,
    pub tuple: Tuple,
    pub tuple_hash: Hash,
    pub asked_at: Timestamp,
    /// Until then votes are taken.
    pub expires_at: Timestamp,
    pub state: RequestState,
    pub votes: Vec<Vote>,
    /// One per person who was asked.
    pub slots: Vec<Slot>,
    /// What the mail and the page show.
    pub brief: Brief,
    /// Each list must be satisfied by `votes_needed` of its people; frozen for display only.
    pub votes_needed: u32,
}

impl Request {
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == RequestState::Open
    }

    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.state, RequestState::Open | RequestState::Approved { .. })
    }

    /// Root's words, if root let it go without votes.
    #[must_use]
    pub fn broken_glass(&self) -> Option<&Vote> {
        self.votes.iter().find(|vote| vote.broke_glass())
    }

    /// Approved, and perhaps started.
    #[must_use]
    pub fn was_let_go(&self) -> bool {
        matches!(self.state, RequestState::Approved { .. } | RequestState::Used { .. })
    }

    pub fn approvals(&self) -> impl Iterator<Item = &Vote> {
        self.votes.iter().filter(|vote| vote.verdict == Verdict::Approve)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestState {
    Open,
    /// `until`: the end of the first stretch of window that begins after the approval.
    Approved {
        at: Timestamp,
        until: Timestamp,
    },
    Rejected {
        at: Timestamp,
        by: String,
        reason: String,
    },
    Expired {
        at: Timestamp,
    },
    Superseded {
        at: Timestamp,
        by: RunRef,
    },
    Voided {
        at: Timestamp,
        why: String,
    },
    /// Its run started.
    Used {
        at: Timestamp,
    },
    /// Its run ended otherwise (cancelled).
    Closed {
        at: Timestamp,
        why: String,
    },
}

impl RequestState {
    /// One word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Approved { .. } => "approved",
            Self::Rejected { .. } => "rejected",
            Self::Expired { .. } => "expired",
            Self::Superseded { .. } => "superseded",
            Self::Voided { .. } => "voided",
            Self::Used { .. } => "used",
            Self::Closed { .. } => "closed",
        }
    }
}

crate::words! { pub enum Verdict { Approve => "approve", Reject => "reject" } }

/// One person's decision; at most one per request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// A person of shipbell.toml, or `root`.
    pub by: String,
    pub verdict: Verdict,
    pub at: Timestamp,
    pub reason: String,
    /// `mail`, `socket`, or [`BREAK_GLASS`].
    pub via: String,
    /// Where it was given with a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
    /// With a code that the executor took for exactly this.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub coded: bool,
}

/// How root starts a deployment without anybody's vote.
pub const BREAK_GLASS: &str = "break-glass";
/// Who does that, as votes and the journal have it.
pub const ROOT: &str = "root";

impl Vote {
    /// It is no vote: root let the deployment go without any.
    #[must_use]
    pub fn broke_glass(&self) -> bool {
        self.via == BREAK_GLASS && self.by == ROOT && self.verdict == Verdict::Approve
    }

    /// Who, as it is told of a deployment.
    #[must_use]
    pub fn by_whom(&self) -> String {
        if self.broke_glass() { format!("{} without approval", self.by) } else { self.by.clone() }
    }

    /// What came of it, in words: `anna approved it, signed,`.
    #[must_use]
    pub fn did(&self) -> &'static str {
        match (self.verdict, self.factor()) {
            _ if self.broke_glass() => "let it go without approval,",
            (Verdict::Approve, Factor::Sshsig) => "approved it, signed,",
            (Verdict::Approve, Factor::Totp) => "approved it with a code",
            (Verdict::Approve, Factor::Word) => "approved it",
            (Verdict::Reject, _) => "rejected it",
        }
    }

    /// What it was given by.
    #[must_use]
    pub fn factor(&self) -> Factor {
        given_by(self.signed.as_ref(), self.coded)
    }
}

/// The factor of a vote with these proofs.
#[must_use]
pub fn given_by(signed: Option<&Signed>, coded: bool) -> Factor {
    match (signed, coded) {
        (Some(_), _) => Factor::Sshsig,
        (None, true) => Factor::Totp,
        (None, false) => Factor::Word,
    }
}

/// A signature of the request's statement, and the key that it is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// Kind and base64, as the person's `ssh-key` has it.
    pub key: String,
    /// Armored.
    pub signature: String,
}

/// A person's place in a request: the random part of their link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    pub person: PersonName,
    pub email: String,
    /// 32 hex digits.
    pub id: String,
}

/// What is shown to those who decide, as it was known when the request was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brief {
    pub commit: Option<CommitInfo>,
    pub branch: Option<String>,
    /// What is live in the environment now, and since when.
    pub live: Option<(CommitId, Timestamp)>,
    pub adds: Vec<CommitInfo>,
    pub adds_total: u64,
    pub takes_back: Vec<CommitInfo>,
    pub files: u64,
    pub insertions: u64,
    pub deletions: u64,
    /// First deployment, changed job file, a needed job green only on a later try, takes back.
    pub mind: Vec<String>,
    /// People who cannot vote, and why.
    pub excluded: Vec<(PersonName, String)>,
}
