//! All that can happen ([`Event`]), all that is recorded ([`Change`]), all that is done ([`Action`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::backfill::{BackfillRequest, BackfillRow};
use crate::model::catalog::Catalog;
use crate::model::commit::{Authors, CommitId, CommitInfo, Comparison, Question, RefName, Sighting};
use crate::model::environment::Environment;
use crate::model::forge::Delivery;
use crate::model::job::{Factor, Hash};
use crate::model::ledger::{Cursor, LedgerRow};
use crate::model::letter::Letter;
use crate::model::name::{EnvironmentName, JobKey, JobName, PersonName, PipelineName, RunRef};
use crate::model::pause::{Pause, Scope};
use crate::model::pulse::Pulse;
use crate::model::request::{Request, Signed, Verdict, given_by};
use crate::model::retention::{Part, Past, Removal, Tally};
use crate::model::run::{Attempt, Outcome, Run, StepReport, Upstream};
use crate::model::statement::Statement;
use crate::model::ticket::{Evidence, FactLine, StartOrder};
use crate::model::time::Timestamp;

/// What happened. Facts come as they are; the core judges.
#[derive(Debug, Clone)]
pub enum Event {
    /// The daemon stands: running attempts are asked for their evidence.
    Booted {
        boot_id: String,
    },
    /// Time has passed.
    Tick,
    /// Somebody set the clock: everything that waits for an instant is judged anew.
    ClockSet,
    Reloaded {
        catalog: Arc<Catalog>,
    },
    /// A repository was asked, and what it has is in the mirror.
    Polled {
        pipeline: PipelineName,
        poll: PollAnswer,
    },
    PollFailed {
        pipeline: PipelineName,
        why: String,
    },
    /// A genuine web hook's message: taken note of; the poll that it asks for is the shell's.
    Announced(Delivery),
    Answered {
        question: Question,
        answer: Result<Arc<Comparison>, String>,
    },
    RunRequested(RunRequest),
    CancelRequested {
        run: RunRef,
        by: String,
    },
    /// Nothing of `scope` is to start until then, or until somebody resumes it.
    Paused {
        scope: Scope,
        until: Option<Timestamp>,
        note: String,
        by: String,
    },
    Resumed {
        scope: Scope,
        by: String,
    },
    BackfillRequested(BackfillRequest),
    RetryRequested {
        run: RunRef,
        by: String,
        old: Box<Run>,
        /// What went, by the store, of those that [`crate::pipeline::manual::stands_on`] names.
        gone: Vec<Removal>,
    },
    Voted(Ballot),
    /// Wrong words, codes or signatures were given as somebody's vote until none is taken for a while.
    VoteRests {
        request: u64,
        person: PersonName,
        until: Timestamp,
    },
    /// Root lets a run go without votes. That it is root the shell knows.
    GlassBroken {
        run: RunRef,
        reason: String,
    },
    /// A person says what became of an environment whose last deployment is unclear.
    Resolved {
        pipeline: PipelineName,
        environment: EnvironmentName,
        as_deployed: bool,
        by: String,
    },
    /// New lines of an attempt's `events.jsonl`.
    Progress {
        run: RunRef,
        attempt: u32,
        lines: Vec<FactLine>,
    },
    /// An attempt is over.
    Ended {
        run: RunRef,
        attempt: u32,
        evidence: Evidence,
    },
    LetterSent {
        letter: u64,
    },
    LetterFailed {
        letter: u64,
        why: String,
        for_good: bool,
        /// Its receiver said when to come again.
        again: Option<Timestamp>,
    },
    /// Who wrote the commits since the last success before the run of this letter; or why that is not known.
    AuthorsFound {
        letter: u64,
        authors: Result<Authors, String>,
    },
    /// What the history has of old runs: what of it may go is judged.
    Aged(Box<Past>),
    /// What became of what was to go.
    Removed {
        gone: Vec<(RunRef, Part, Result<u64, String>)>,
    },
    /// A pass of `[retention]` is over.
    Pruned {
        tally: Tally,
        by: String,
    },
    /// Free bytes of the state directory.
    DiskSeen {
        free: u64,
    },
}

/// What a poll found: every watched ref, with its commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollAnswer {
    /// What the remote's HEAD points to.
    pub head: Option<RefName>,
    pub heads: Vec<HeadSeen>,
    /// The list of allowed signers by which they, and what was known before them, were judged.
    pub signers: Option<Hash>,
    /// What the store knows of these commits from earlier; the daemon's loop puts it in.
    pub standings: Vec<Standing>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadSeen {
    pub git_ref: RefName,
    pub commit: CommitInfo,
    /// First-parent commits between the last sighting's commit and this one, oldest first, without
    /// either (at most 200); empty where the old one is no first-parent ancestor.
    pub between: Vec<CommitInfo>,
    /// Commits of earlier sightings of this ref that are no longer on it.
    pub gone: Vec<CommitId>,
    /// Of these commits, those that must not run, and why.
    pub refused: BTreeMap<CommitId, String>,
}

/// A person starts a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRequest {
    pub job: JobKey,
    /// Branch or tag by its short name; default: the job's own.
    pub git_ref: Option<String>,
    pub params: BTreeMap<String, String>,
    pub by: String,
}

/// A person votes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ballot {
    pub run: RunRef,
    /// `Some`: the link of this request; it decides about no other.
    pub request: Option<u64>,
    /// `None`: root of this host without an entry in shipbell.toml.
    pub person: Option<PersonName>,
    pub verdict: Verdict,
    pub reason: String,
    pub via: String,
    /// A signature of the request's statement by a key of this person: the shell has checked it.
    pub signed: Option<Signed>,
    /// The executor has taken a code of this person for the request's statement.
    pub coded: bool,
}

impl Ballot {
    /// What it is given by.
    #[must_use]
    pub fn factor(&self) -> Factor {
        given_by(self.signed.as_ref(), self.coded)
    }
}

/// What is recorded: one typed row each, written whole. Absorbed by the World and by the store alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// The repository of this pipeline was seen (again); `head` is what HEAD points to.
    PipelineSeen {
        pipeline: PipelineName,
        url: String,
        head: Option<RefName>,
        at: Timestamp,
    },
    PollProblem {
        pipeline: PipelineName,
        problem: Option<(Timestamp, String)>,
    },
    DeliveryPut(Delivery),
    SightingPut(Sighting),
    RefGone {
        pipeline: PipelineName,
        git_ref: RefName,
    },
    StandingPut(Standing),
    LastRanPut(LastRan),
    PulledPut(Pulled),
    FailingPut(Failing),
    RunPut(Box<Run>),
    AttemptPut(Attempt),
    StepPut(StepReport),
    EnvironmentPut(Environment),
    RequestPut(Box<Request>),
    LedgerPut(LedgerRow),
    CursorPut(Cursor),
    PulsePut(Pulse),
    PausePut(Pause),
    PauseOver {
        scope: Scope,
    },
    LetterPut(Letter),
    RemovalPut(Removal),
    /// The row of a finished run, with its attempts and steps, leaves the history.
    RunGone {
        run: RunRef,
    },
    /// A line of the journal: who did what to what, and why.
    Journal(JournalLine),
}

/// Every decision as a person would tell it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalLine {
    pub at: Timestamp,
    /// `shipbell`, a person, `root`.
    pub actor: String,
    /// `queued`, `started`, `skipped`, `asked`, `approved`, …
    pub verb: String,
    /// A run, request, environment or pipeline.
    pub subject: String,
    pub detail: String,
}

/// How a job stands for a commit: whether it was triggered for it, and its latest finished run
/// (`skipped` does not count). Needs are judged by this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub job: JobKey,
    pub commit: CommitId,
    /// `needs` fires once per job and commit, a commit job once per commit.
    pub fired: bool,
    /// The run whose outcome is carried over, where the job did not apply to the commit.
    pub carries: Option<RunRef>,
    pub latest: Option<Latest>,
}

/// The latest finished run of a job for a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latest {
    pub outcome: Outcome,
    pub upstream: Upstream,
    pub at: Timestamp,
    /// Attempts it took.
    pub tries: u32,
}

/// For which commit a job last ran on a branch: the base of `paths`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRan {
    pub pipeline: PipelineName,
    pub job: JobName,
    pub git_ref: RefName,
    pub commit: CommitId,
    pub run: RunRef,
}

/// The newest head of a pull request that a job was started for. Standings know nothing of pull requests:
/// what anyone may have written proves nothing for the same commit elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulled {
    pub pipeline: PipelineName,
    pub job: JobName,
    pub git_ref: RefName,
    /// Number of the sighting.
    pub sighting: u64,
}

/// How long a job has been failing on a branch; `count` 0 = it does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    pub job: JobKey,
    pub git_ref: Option<RefName>,
    pub count: u32,
    /// End of the first failure.
    pub since: Timestamp,
    /// The newest failed run.
    pub run: RunRef,
}

/// What is done, after the changes are on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Start(Box<StartOrder>),
    /// Ask a running attempt to end; may be said again.
    Stop {
        run: RunRef,
        attempt: u32,
        reason: String,
    },
    /// Look at an attempt of which an earlier daemon left no end.
    Examine {
        run: RunRef,
        attempt: u32,
    },
    /// Compare two commits.
    Ask(Question),
    /// Send a letter.
    Send {
        letter: u64,
    },
    /// Find out who wrote the commits since the last success before the run of this letter.
    FindAuthors {
        letter: u64,
    },
    /// The executor is to know that nothing starts by a request's votes any more.
    Withdraw {
        statement: Box<Statement>,
        why: String,
    },
    /// Take away what runs left.
    Remove {
        parts: Vec<(RunRef, Part)>,
    },
}

/// The answer to who asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    Done,
    /// The run that was made or touched.
    Run(RunRef),
    /// A vote was recorded (or had been); text for people.
    Vote {
        state: String,
        text: String,
    },
    /// It is done; what came of it, for people.
    Told(String),
    /// What a backfill queued, or would; oldest due time first.
    Backfill {
        dry_run: bool,
        rows: Vec<BackfillRow>,
        /// Due times of the stretch that were left out, as `only` says.
        left_out: u64,
    },
    /// No: what, why, what to do.
    Refused(Refusal),
}

/// Why something that was asked for is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    NotAllowed(String),
    #[error("{0}")]
    Conflict(String),
    /// The change could not be written (disk full): nothing was done.
    #[error("not recorded, nothing was done: {0}")]
    NotRecorded(String),
}

/// A stored definition, by its hash.
pub type DefinitionHash = Hash;
