//! What is shown of the clock: why a job ran or did not, what comes in the next weeks, what a rule's due
//! times are, what is paused. The rules of `model::view` hold: UTC, fields are only added.

use serde::{Deserialize, Serialize};

use crate::model::commit::CommitId;
use crate::model::name::{EnvironmentName, JobKey, PipelineName, RunRef};
use crate::model::time::{Seconds, Timestamp};

use super::RunRow;

crate::words! {
    /// What became of a due time.
    pub enum DueState {
        Run => "run",
        Coalesced => "coalesced",
        Skipped => "skipped",
        /// It has come and is not decided: git has not answered yet.
        Pending => "pending",
        /// It lies ahead.
        Coming => "coming",
    }
}

/// `shipbell why`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyView {
    pub schema: u32,
    pub now: Timestamp,
    pub job: JobKey,
    /// The schedule's zone; `None` for jobs without one.
    pub zone: Option<String>,
    /// The stretch that was asked for; its end does not belong to it.
    pub asked: Option<(Timestamp, Timestamp)>,
    pub due: Option<DueView>,
    /// The commit it is about, where no due time is.
    pub commit: Option<CommitId>,
    /// In one line: what became of it.
    pub headline: String,
    /// What it came from, one fact a row.
    pub facts: Vec<FactView>,
    /// Where the stretch has no due time: the nearest ones.
    pub nearest: Vec<Timestamp>,
    /// Further due times of the stretch.
    pub others: u64,
    pub next_due: Option<Timestamp>,
    /// The run that it led to.
    pub run: Option<RunRow>,
    /// The next command to type.
    pub command: Option<String>,
}

/// A due time and its row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueView {
    pub at: Timestamp,
    pub state: DueState,
    /// The run that it made, or that stands for it.
    pub run: Option<RunRef>,
    /// Why it was skipped.
    pub reason: String,
    /// The row of the ledger: equal neighbours share one. `None` while there is none.
    pub row: Option<(Timestamp, Timestamp, u64)>,
}

/// A fact: `deployed  3f9d0aa  on staging since Wed 14:20 by im-nightly/staging#87`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FactView {
    pub label: String,
    /// What it is about, most often a commit or run.
    pub subject: String,
    pub text: String,
    /// Stands after the text.
    pub at: Option<Timestamp>,
    /// Stands after the instant.
    pub more: String,
    /// It holds now, and nothing is recorded of how it was at the due time.
    pub now: bool,
}

/// `shipbell forecast`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForecastView {
    pub schema: u32,
    pub now: Timestamp,
    pub to: Timestamp,
    /// The zone of the days.
    pub zone: String,
    pub slots: u32,
    pub days: Vec<DayView>,
    /// Timed jobs, the busiest first.
    pub jobs: Vec<ForecastJob>,
    pub collisions: Vec<CollisionView>,
    pub freezes: Vec<FreezeView>,
    pub paused: Vec<PauseView>,
    /// Days that schedules name and that do not exist.
    #[serde(default)]
    pub missing: Vec<MissingView>,
}

/// A local day that its zone leaves out; the schedule's times of that day are skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingView {
    /// The last second before the clock is put past it.
    pub at: Timestamp,
    /// `2011-12-30`.
    pub day: String,
    pub zone: String,
    pub job: JobKey,
}

/// A day of the forecast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayView {
    /// `2026-11-23`.
    pub date: String,
    pub from: Timestamp,
    pub to: Timestamp,
    /// Due times by the hour of the wall clock, 24 of them.
    pub hours: Vec<u64>,
    pub due: u64,
    /// Due times that a window or freeze holds.
    pub held: u64,
    /// What they take together, as far as past runs tell.
    pub load: Seconds,
    /// The clock's change: `+1h at 02:00` when it is put forward.
    pub clock_change: Option<String>,
    /// Environments that are frozen on it.
    pub frozen: Vec<EnvironmentName>,
}

/// A timed job's part of the forecast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForecastJob {
    pub job: JobKey,
    pub rule: String,
    pub zone: Option<String>,
    pub due: u64,
    /// There are more: this job was counted up to here only.
    pub more: bool,
    pub held: u64,
    pub first: Option<Timestamp>,
    /// Median of past successes.
    pub usual: Option<Seconds>,
    /// The shortest time between two due times.
    pub interval: Option<Seconds>,
    /// It usually takes longer than that.
    pub overruns: bool,
}

/// More jobs due at one time of day than there are places for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollisionView {
    /// The first time.
    pub at: Timestamp,
    pub jobs: Vec<JobKey>,
    /// On so many days.
    pub days: u64,
    /// The pool that all of them want; none: the slots.
    #[serde(default)]
    pub pool: Option<String>,
    #[serde(default)]
    pub places: u32,
}

/// A stretch in which an environment takes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreezeView {
    pub pipeline: PipelineName,
    pub environment: EnvironmentName,
    pub from: Timestamp,
    pub to: Timestamp,
    pub rule: String,
}

/// What is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseView {
    /// `*`, a pipeline, or a job.
    pub scope: String,
    pub by: String,
    pub note: String,
    pub since: Timestamp,
    pub until: Option<Timestamp>,
}

/// `shipbell simulate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimulateView {
    pub schema: u32,
    pub from: Timestamp,
    pub to: Timestamp,
    /// Oldest first.
    pub rows: Vec<SimulatedRow>,
    /// There are more; these are the first.
    pub more: bool,
    /// Jobs whose `every` was counted from `from`: no daemon was asked when it really began.
    pub assumed: Vec<JobKey>,
    /// Jobs without a clock.
    pub untimed: Vec<JobKey>,
    /// Days that schedules name and that do not exist.
    #[serde(default)]
    pub missing: Vec<MissingView>,
}

/// A due time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimulatedRow {
    pub at: Timestamp,
    /// In the job's zone: `2026-03-29T03:00:00+02:00`.
    pub local: String,
    pub zone: String,
    pub job: JobKey,
    /// The offset is another one than at the due time before.
    pub clock_changed: bool,
}

/// `POST pause`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PauseOrder {
    /// `*`, a pipeline, or a job.
    pub scope: String,
    #[serde(default)]
    pub until: Option<Timestamp>,
    #[serde(default)]
    pub note: String,
}

/// `POST resume`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeOrder {
    pub scope: String,
}

/// `POST backfill`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackfillOrder {
    pub job: JobKey,
    pub from: Timestamp,
    pub to: Timestamp,
    /// `missing`, `failed` or `all`.
    #[serde(default)]
    pub only: Option<String>,
    #[serde(default)]
    pub dry_run: bool,
}

/// The answer to `POST backfill`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillView {
    pub schema: u32,
    pub now: Timestamp,
    pub job: JobKey,
    pub zone: Option<String>,
    pub dry_run: bool,
    /// Due times and the runs made for them, oldest first.
    pub rows: Vec<(Timestamp, Option<RunRef>)>,
    pub left_out: u64,
}
