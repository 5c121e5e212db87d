//! What is shown of Shipbell (by the commands, by the pages and as JSON, from the same values) and what
//! is asked of it over the control socket.
//! Times are UTC, RFC 3339; zones and relative words are the printer's. Texts of commits and jobs
//! are as strangers wrote them: make them safe at the edge. Builders are in `pipeline::view`.

mod doctor;
mod log_times;
mod prune;
mod repos;
mod times;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::commit::{CommitId, CommitInfo};
use crate::model::job::Hash;
use crate::model::name::{EnvironmentName, JobKey, JobName, PipelineName, RunRef};
use crate::model::run::{Artifact, Attempt, Cause, Outcome, StepEnd, UsualUsage};
use crate::model::time::{Seconds, Timestamp};

pub use doctor::{CheckView, DoctorView, Standing};
pub use log_times::{LogTimesView, StepSpan, came};
pub use prune::{GoesRow, MirrorRow, PruneOrder, PruneView, RemovedView, StaysRow};
pub use repos::{HookRow, RepoRow, RepoTestOrder, RepoTestView, ReposView, TrialState, TrialStep};
pub use times::{
    BackfillOrder, BackfillView, CollisionView, DayView, DueState, DueView, FactView, ForecastJob, ForecastView,
    FreezeView, MissingView, PauseOrder, PauseView, ResumeOrder, SimulateView, SimulatedRow, WhyView,
};

/// The number of these shapes: within it, fields are only added.
pub const SCHEMA: u32 = 1;

/// What the daemon says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteView {
    pub host: String,
    pub version: String,
    pub started_at: Timestamp,
    /// What links begin with, without a trailing slash.
    pub public_url: String,
}

/// `shipbell status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusView {
    pub schema: u32,
    pub now: Timestamp,
    pub site: SiteView,
    pub files_ok: usize,
    pub files_broken: usize,
    /// Files of jobs.d that are no job files, and why.
    pub skipped: Vec<(String, String)>,
    /// Mails that could not be delivered so far.
    pub undelivered: usize,
    pub disk_free: Option<u64>,
    /// What needs a person; empty = exit status 0.
    pub attention: Vec<AttentionView>,
    /// What is paused, with or without an end.
    #[serde(default)]
    pub paused: Vec<PauseView>,
    pub pipelines: Vec<PipelineView>,
    pub running: Vec<RunRow>,
    /// Queued runs, each with what it waits for.
    pub waiting: Vec<RunRow>,
    pub next: Vec<NextRow>,
}

crate::words! {
    /// Why something needs a person.
    pub enum AttentionKind {
        /// A pause without an end.
        Paused => "paused",
        /// Someone is asked for a vote.
        Request => "request",
        /// A run waits for a person in another way.
        Held => "held",
        Failing => "failing",
        /// A broken job file, or a pipeline that is off.
        File => "file",
        /// A repository or branch that cannot be reached.
        Source => "source",
        /// A deployment of which nobody can say what came of it.
        Unknown => "unknown",
        Mail => "mail",
        Disk => "disk",
    }
}

/// One thing that needs a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttentionView {
    pub kind: AttentionKind,
    /// A run, job, pipeline, environment or address.
    pub subject: String,
    /// What is the matter, one line.
    pub text: String,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Further lines.
    pub more: Vec<String>,
    /// The next command to type.
    pub command: Option<String>,
    /// The run to look at.
    pub run: Option<RunRef>,
}

crate::words! { pub enum FileState { Ok => "ok", LastGood => "last-good", Off => "off" } }

/// One pipeline: its jobs in order of needs, and how they stand for its commits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineView {
    pub name: PipelineName,
    pub description: Option<String>,
    pub file: String,
    pub state: FileState,
    /// Why it is not ok.
    pub problem: Option<String>,
    pub repo: Option<String>,
    pub jobs: Vec<JobName>,
    /// The newest head first; then the commit that is live, where it is another one.
    pub rows: Vec<CommitRow>,
}

/// How the jobs of a pipeline stand for one commit (or for none).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRow {
    pub commit: Option<CommitInfo>,
    /// Branch or tag by its short name.
    pub branch: Option<String>,
    pub seen_at: Option<Timestamp>,
    /// Not the newest head: what is live now.
    pub was: bool,
    /// One per job of the pipeline, in its order.
    pub cells: Vec<CellView>,
}

crate::words! {
    /// How a job stands for a commit, in one word for people.
    pub enum CellState {
        Ok => "ok",
        Failed => "FAILED",
        Running => "runs",
        Waits => "waits",
        Live => "LIVE",
        /// It ended otherwise: skipped, cancelled.
        Ended => "ended",
        Unknown => "UNKNOWN",
        /// A needed job is not green.
        Blocked => ".",
        /// It has not run.
        Never => "-",
    }
}

/// How one job stands for one commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellView {
    pub state: CellState,
    /// What it waits for, the step that runs, how it ended.
    pub text: String,
    pub run: Option<RunRef>,
    /// When it ended; of what is live, since when.
    pub at: Option<Timestamp>,
    pub took: Option<Seconds>,
    pub environment: Option<EnvironmentName>,
}

/// A run, in one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRow {
    pub run: RunRef,
    /// `queued`, `waiting`, `running` or the outcome.
    pub state: String,
    pub outcome: Option<Outcome>,
    pub commit: Option<CommitId>,
    /// Branch or tag by its short name.
    pub branch: Option<String>,
    pub environment: Option<EnvironmentName>,
    pub cause: Cause,
    pub queued_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub took: Option<Seconds>,
    /// Of a queued run: what it waits for.
    pub waits: Option<String>,
    /// Of a finished one: how it ended.
    pub reason: String,
    /// The step it is in, or ended in.
    pub step: Option<(u32, String)>,
    /// How many steps it has, with `init`; 0 = not known.
    pub steps: u32,
    pub attempt: u32,
    pub tries: u32,
    pub approved_by: Vec<String>,
    /// What it usually takes.
    pub usual: Option<Seconds>,
}

/// `shipbell history`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryView {
    pub schema: u32,
    pub now: Timestamp,
    /// Newest first.
    pub runs: Vec<RunRow>,
    /// There are older ones.
    pub more: bool,
}

/// `shipbell show`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunView {
    pub schema: u32,
    pub now: Timestamp,
    pub row: RunRow,
    /// `open-im.test.42`.
    pub id: String,
    pub page: String,
    pub commit: Option<CommitInfo>,
    pub definition: Hash,
    pub params: BTreeMap<String, String>,
    pub upstream: Vec<RunRef>,
    pub outputs: BTreeMap<String, String>,
    pub artifacts: Vec<Artifact>,
    pub attempts: Vec<Attempt>,
    /// What the successes before it used.
    #[serde(default)]
    pub usual_usage: Option<UsualUsage>,
    /// Of the last attempt.
    pub steps: Vec<StepView>,
    /// Of an environment's run: what was or is asked.
    pub request: Option<ApprovalRow>,
    /// What came of it in the jobs that need it.
    pub then: Vec<String>,
    /// Of a failed run: the last success before it.
    pub last_good: Option<RunRow>,
    /// Of a failed run: the last lines of its log, safe to print.
    pub tail: Vec<String>,
    /// What went of it by `[retention]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<RemovedView>,
    pub journal: Vec<JournalView>,
}

/// One step of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    pub index: u32,
    pub name: String,
    pub always: bool,
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub took: Option<Seconds>,
    pub ended: Option<StepEnd>,
    pub log_from: u64,
    pub log_to: Option<u64>,
}

/// A decision, as a person would tell it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalView {
    pub at: Timestamp,
    pub actor: String,
    pub verb: String,
    pub subject: String,
    pub detail: String,
}

/// `shipbell next`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextView {
    pub schema: u32,
    pub now: Timestamp,
    /// Soonest first.
    pub rows: Vec<NextRow>,
    /// How many there are, shown or not.
    pub total: usize,
}

/// Something that comes by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextRow {
    pub at: Timestamp,
    pub job: JobKey,
    /// A run that is held until then.
    pub run: Option<RunRef>,
    /// The last due time before it, and what came of that.
    pub last: Option<Timestamp>,
    pub result: String,
    /// The schedule's own zone.
    pub zone: Option<String>,
    /// `schedule "0 2 * * *"`, `every 6h`, or what holds the run.
    pub rule: String,
}

/// `shipbell approvals`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalsView {
    pub schema: u32,
    pub now: Timestamp,
    /// Open and approved requests.
    pub open: Vec<ApprovalRow>,
    /// Decided lately, newest first.
    pub decided: Vec<ApprovalRow>,
}

/// A request for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRow {
    pub request: u64,
    pub run: RunRef,
    pub environment: EnvironmentName,
    pub commit: Option<CommitInfo>,
    pub branch: Option<String>,
    pub asked_at: Timestamp,
    /// Until then votes are taken.
    pub expires_at: Timestamp,
    /// `open`, `approved`, `rejected` …
    pub state: String,
    /// When it came into that state.
    pub decided_at: Option<Timestamp>,
    /// Why, where a reason was given.
    pub reason: String,
    pub votes: Vec<VoteView>,
    pub votes_needed: u32,
    /// Votes on it are signed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub signed: bool,
    /// Each yes wants a code of the person's phone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub coded: bool,
    /// People who were asked and have not voted.
    pub who_can: Vec<String>,
    /// People who may not, and why.
    pub excluded: Vec<(String, String)>,
    pub live: Option<(CommitId, Timestamp)>,
    pub adds: Vec<CommitInfo>,
    pub adds_total: u64,
    pub takes_back: Vec<CommitInfo>,
    pub mind: Vec<String>,
    /// What its run waits for besides the votes.
    pub waits: Option<String>,
}

/// A vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteView {
    pub by: String,
    pub verdict: String,
    pub at: Timestamp,
    pub reason: String,
    pub via: String,
}

/// A piece of a run's log: bytes `from..next`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogChunk {
    pub schema: u32,
    pub run: RunRef,
    /// 0: no attempt has begun.
    pub attempt: u32,
    /// The run's last attempt so far.
    pub last_attempt: u32,
    pub from: u64,
    pub next: u64,
    /// The bytes, base64: a log need not be UTF-8.
    pub data: String,
    /// Nothing will be added to this attempt's log.
    pub over: bool,
    /// How the whole run ended, once it has.
    pub outcome: Option<Outcome>,
    /// What a queued run waits for.
    pub waits: Option<String>,
    /// When it was removed by `[retention]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Timestamp>,
}

/// The answer to something that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerView {
    pub schema: u32,
    pub run: Option<RunRef>,
    /// For people; may be empty.
    pub text: String,
}

/// Why something that was asked for is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorView {
    pub schema: u32,
    /// `not-found`, `not-allowed`, `conflict`, `not-recorded`, `bad-request`, `internal`.
    pub kind: String,
    pub error: String,
}

/// `POST run`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunOrder {
    pub job: JobKey,
    /// Branch or tag by its short name.
    #[serde(default)]
    pub git_ref: Option<String>,
    #[serde(default)]
    pub params: BTreeMap<String, String>,
}

/// `POST cancel`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelOrder {
    pub run: RunRef,
}

/// `POST retry`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryOrder {
    pub run: RunRef,
}

/// `POST approve` and `POST reject`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoteOrder {
    pub run: RunRef,
    #[serde(default)]
    pub reason: String,
    /// Of the run's statement, armored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// What the person's phone shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// What the one who asks would sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementView {
    pub schema: u32,
    pub run: RunRef,
    pub request: u64,
    pub environment: EnvironmentName,
    /// `word`, `totp` or `sshsig`.
    pub factor: String,
    /// For `ssh-keygen -Y sign -n`.
    pub namespace: String,
    pub text: String,
    pub sha256: Hash,
    /// Their keys, as shipbell.toml has them.
    pub keys: Vec<String>,
}

/// `POST break-glass`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakGlassOrder {
    pub run: RunRef,
    pub reason: String,
}

/// `POST resolve`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolveOrder {
    pub pipeline: PipelineName,
    pub environment: EnvironmentName,
    /// The deployment is live; false: it is not.
    pub deployed: bool,
}

/// `POST poll`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PollOrder {
    pub pipeline: PipelineName,
}

/// The answer to `POST reload`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReloadView {
    pub schema: u32,
    pub files_ok: usize,
    pub files_broken: usize,
    /// The messages of `shipbell check`.
    pub problems: Vec<String>,
}
