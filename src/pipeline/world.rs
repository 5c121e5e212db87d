//! The World: all that is live, and how each Change alters it. History is the store's; what is
//! here must equal what `store::load` would give (a simulation asserts it), except `Scratch`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::catalog::{Catalog, Job, Pipeline};
use crate::model::commit::{CommitId, RefName, Sighting};
use crate::model::environment::{Environment, EnvironmentState};
use crate::model::event::{Change, Failing, LastRan, Standing};
use crate::model::job::Hash;
use crate::model::ledger::{Cursor, LedgerRow};
use crate::model::letter::{Letter, LetterState};
use crate::model::name::{EnvironmentName, JobKey, JobName, PipelineName, RunRef};
use crate::model::pause::{Pause, Scope};
use crate::model::pulse::Pulse;
use crate::model::request::{Request, RequestState};
use crate::model::retention::{Part, Removal};
use crate::model::run::Run;
use crate::model::time::Timestamp;

pub use crate::pipeline::scratch::Scratch;

/// Sightings kept live per ref; older ones are history.
pub const SIGHTINGS_MAX: usize = 200;

/// All that is live.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Random text of this installation, made with the database: slot ids come from it.
    pub nonce: String,
    pub live: BTreeMap<PipelineName, Live>,
    /// Letters that still wait.
    pub letters: BTreeMap<u64, Letter>,
    /// The last number given per job; numbers are never reused.
    pub numbers: BTreeMap<JobKey, u64>,
    pub last_request: u64,
    pub last_letter: u64,
    /// The newest ledger row per job.
    pub ledger: BTreeMap<JobKey, LedgerRow>,
    pub cursors: BTreeMap<JobKey, Cursor>,
    /// How jobs have been going.
    pub pulses: BTreeMap<JobKey, Pulse>,
    /// What is paused; a pause whose end has come may still be among them.
    pub pauses: BTreeMap<Scope, Pause>,
    /// What is about to be removed.
    pub removals: BTreeMap<(RunRef, Part), Removal>,
    pub scratch: Scratch,
}

/// What is live of one pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    pub seen: Option<Seen>,
    pub problem: Option<(Timestamp, String)>,
    /// By ref, oldest first.
    pub sightings: BTreeMap<RefName, Vec<Sighting>>,
    pub standings: BTreeMap<(JobName, CommitId), Standing>,
    pub last_ran: BTreeMap<(JobName, RefName), LastRan>,
    /// By job and pull request: the newest sighting that it was started for.
    pub pulled: BTreeMap<(JobName, RefName), u64>,
    /// Jobs that fail now.
    pub failing: BTreeMap<(JobName, Option<RefName>), Failing>,
    /// The highest number that a sighting of this pipeline has had.
    pub last_sighting: u64,
    /// Runs that are not finished.
    pub runs: BTreeMap<RunRef, Run>,
    /// Open and approved requests.
    pub requests: BTreeMap<u64, Request>,
    /// Tuples that were rejected: not offered again by themselves.
    pub rejected: BTreeSet<Hash>,
    pub environments: BTreeMap<EnvironmentName, Environment>,
}

/// That a repository was seen at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub url: String,
    pub head: Option<RefName>,
    pub at: Timestamp,
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        self.nonce == other.nonce
            && self.live == other.live
            && self.letters == other.letters
            && self.numbers == other.numbers
            && self.last_request == other.last_request
            && self.last_letter == other.last_letter
            && self.ledger == other.ledger
            && self.cursors == other.cursors
            && self.pulses == other.pulses
            && self.pauses == other.pauses
            && self.removals == other.removals
    }
}

impl World {
    #[must_use]
    pub fn pipeline(&self, name: &PipelineName) -> Option<&Pipeline> {
        self.scratch.catalog.pipelines.get(name).map(AsRef::as_ref)
    }

    #[must_use]
    pub fn job(&self, key: &JobKey) -> Option<&Job> {
        self.scratch.catalog.job(key)
    }

    #[must_use]
    pub fn run(&self, run: &RunRef) -> Option<&Run> {
        self.live.get(&run.job.pipeline)?.runs.get(run)
    }

    #[must_use]
    pub fn request(&self, id: u64) -> Option<&Request> {
        self.live.values().find_map(|live| live.requests.get(&id))
    }

    /// The live request of a run.
    #[must_use]
    pub fn request_of(&self, run: &RunRef) -> Option<&Request> {
        self.live.get(&run.job.pipeline)?.requests.values().find(|request| request.run == *run)
    }

    /// Running runs of one pipeline.
    pub fn running_of(&self, pipeline: &PipelineName) -> impl Iterator<Item = &RunRef> {
        // No name comes before this one.
        let first =
            JobName::new("0").ok().map(|job| RunRef { job: JobKey { pipeline: pipeline.clone(), job }, number: 0 });
        let running = first.into_iter().flat_map(|first| self.scratch.running.range(first..));
        running.take_while(move |run| run.job.pipeline == *pipeline)
    }

    /// Live runs of one job.
    pub fn runs_of(&self, job: &JobKey) -> impl DoubleEndedIterator<Item = &Run> {
        self.live.get(&job.pipeline).into_iter().flat_map(|live| live.runs_of(job))
    }

    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.live.values().flat_map(|live| live.runs.values())
    }

    #[must_use]
    pub fn standing(&self, key: &JobKey, commit: &CommitId) -> Option<&Standing> {
        self.live.get(&key.pipeline)?.standings.get(&(key.job.clone(), commit.clone()))
    }

    #[must_use]
    pub fn environment(&self, pipeline: &PipelineName, name: &EnvironmentName) -> Option<&Environment> {
        self.live.get(pipeline)?.environments.get(name)
    }

    /// Marks everything as changed and rebuilds the indexes: after a load, a reload or a clock step.
    pub fn look_at_everything(&mut self) {
        let names = self.scratch.catalog.pipelines.keys().chain(self.live.keys()).cloned().collect();
        self.scratch.dirty = names;
        self.scratch.wakes.clear();
        self.scratch.dues.clear();
        self.scratch.silence.clear();
        self.scratch.ready.clear();
        self.scratch.patience.clear();
        self.scratch.index_catalog();
        self.scratch.running = self.runs().filter(|run| run.is_running()).map(|run| run.run.clone()).collect();
        self.scratch.unwatched = self.scratch.running.clone();
        let in_view = |(name, live): (&PipelineName, &Live)| (name.clone(), live.commits_in_view());
        self.scratch.hot = self.live.iter().map(in_view).filter(|(_, commits)| !commits.is_empty()).collect();
    }

    /// Another configuration: what it says anew is looked at again, which is all where it is settings or people.
    pub fn follow(&mut self, catalog: Arc<Catalog>) {
        let old = std::mem::replace(&mut self.scratch.catalog, catalog);
        let new = &self.scratch.catalog;
        if (&old.settings, &old.people) != (&new.settings, &new.people) {
            return self.look_at_everything();
        }
        let altered = |(name, pipeline): &(&PipelineName, &Arc<Pipeline>)| {
            old.pipelines.get(*name).is_none_or(|old| !Arc::ptr_eq(old, pipeline) && old != *pipeline)
        };
        let gone = old.pipelines.keys().filter(|name| !new.pipelines.contains_key(*name));
        let altered: Vec<PipelineName> =
            new.pipelines.iter().filter(altered).map(|(name, _)| name).chain(gone).cloned().collect();
        for name in altered {
            self.scratch.wakes.remove(&name);
            self.scratch.index_pipeline(&name, old.pipelines.get(&name));
            for commit in self.live.get(&name).map(Live::commits_in_view).unwrap_or_default() {
                self.scratch.heat(&name, &commit);
            }
            self.scratch.dirty.insert(name);
        }
    }

    /// A turn could not be written: `self` becomes what the store `loaded`. What is under way stays so: a
    /// letter on its way is not sent twice, an attempt that was just begun is not fenced. The
    /// configuration is as it was read.
    pub fn undo(&mut self, mut loaded: Self, before: Scratch) {
        let now = std::mem::take(&mut self.scratch);
        let (catalog, boot_id, disk_free) = (now.catalog, now.boot_id, now.disk_free);
        loaded.scratch = Scratch { catalog, boot_id, disk_free, comparisons: now.comparisons, ..before };
        *self = loaded;
        self.look_at_everything();
    }

    /// Puts what the store knows of commits that come back into view.
    pub fn recall(&mut self, standings: &[Standing]) {
        for standing in standings {
            self.scratch.untrimmed.insert(standing.job.pipeline.clone());
            let live = self.live.entry(standing.job.pipeline.clone()).or_default();
            let key = (standing.job.job.clone(), standing.commit.clone());
            live.standings.entry(key).or_insert_with(|| standing.clone());
        }
    }

    /// Takes a change in. The only way in which live facts alter.
    pub fn absorb(&mut self, change: &Change) {
        let pipeline = pipeline_of(change);
        if let Some(name) = pipeline
            && narrows(change)
        {
            self.scratch.untrimmed.insert(name.clone());
        }
        let before = match change {
            Change::RunPut(run) => self.live.get(&run.run.job.pipeline).and_then(|live| live.runs.get(&run.run)),
            _ => None,
        };
        self.scratch.mark(change, before);
        match change {
            Change::LetterPut(letter) => self.absorb_letter(letter),
            Change::LedgerPut(row) => {
                self.ledger.insert(row.job.clone(), row.clone());
            }
            Change::CursorPut(cursor) => {
                self.cursors.insert(cursor.job.clone(), cursor.clone());
            }
            Change::PulsePut(pulse) => {
                self.pulses.insert(pulse.job.clone(), pulse.clone());
            }
            Change::PausePut(pause) => {
                self.pauses.insert(pause.scope.clone(), pause.clone());
            }
            Change::PauseOver { scope } => {
                self.pauses.remove(scope);
            }
            Change::RemovalPut(removal) => {
                let key = (removal.run.clone(), removal.part);
                match removal.done {
                    None => drop(self.removals.insert(key, removal.clone())),
                    Some(_) => drop(self.removals.remove(&key)),
                }
            }
            Change::RunPut(run) => {
                let last = self.numbers.entry(run.run.job.clone()).or_default();
                *last = (*last).max(run.run.number);
                self.live_of(&run.run.job.pipeline).absorb_run(run);
            }
            Change::RequestPut(request) => {
                self.last_request = self.last_request.max(request.id);
                self.live_of(&request.run.job.pipeline).absorb_request(request);
            }
            Change::AttemptPut(_)
            | Change::StepPut(_)
            | Change::DeliveryPut(_)
            | Change::RunGone { .. }
            | Change::Journal(_) => {}
            Change::PipelineSeen { .. }
            | Change::PollProblem { .. }
            | Change::SightingPut(_)
            | Change::RefGone { .. }
            | Change::StandingPut(_)
            | Change::LastRanPut(_)
            | Change::PulledPut(_)
            | Change::FailingPut(_)
            | Change::EnvironmentPut(_) => {
                if let Some(name) = pipeline {
                    self.live_of(name).absorb_source(change);
                }
            }
        }
    }

    /// At the end of a turn: drops standings of commits that went out of view; the store keeps them.
    /// Not before, because a later change of the same turn may need them (a run ends, then its standing
    /// is written; then its environment brings its commit back into view).
    pub fn settle(&mut self) {
        for name in std::mem::take(&mut self.scratch.untrimmed) {
            if let Some(live) = self.live.get_mut(&name) {
                live.trim();
            }
        }
    }

    fn live_of(&mut self, pipeline: &PipelineName) -> &mut Live {
        self.live.entry(pipeline.clone()).or_default()
    }

    fn absorb_letter(&mut self, letter: &Letter) {
        self.last_letter = self.last_letter.max(letter.id);
        self.scratch.sending.remove(&letter.id);
        match letter.state {
            LetterState::Waiting { .. } => {
                self.letters.insert(letter.id, letter.clone());
            }
            LetterState::Sent { .. } | LetterState::Dead { .. } => {
                self.letters.remove(&letter.id);
            }
        }
    }
}

/// Whether a commit may be out of view after it.
fn narrows(change: &Change) -> bool {
    match change {
        Change::RunPut(run) => run.finished().is_some(),
        Change::RefGone { .. } | Change::EnvironmentPut(_) | Change::SightingPut(_) => true,
        _ => false,
    }
}

/// The pipeline that a change belongs to.
fn pipeline_of(change: &Change) -> Option<&PipelineName> {
    match change {
        Change::PipelineSeen { pipeline, .. }
        | Change::PollProblem { pipeline, .. }
        | Change::RefGone { pipeline, .. } => Some(pipeline),
        Change::SightingPut(sighting) => Some(&sighting.pipeline),
        Change::StandingPut(standing) => Some(&standing.job.pipeline),
        Change::LastRanPut(last) => Some(&last.pipeline),
        Change::PulledPut(pulled) => Some(&pulled.pipeline),
        Change::FailingPut(failing) => Some(&failing.job.pipeline),
        Change::RunPut(run) => Some(&run.run.job.pipeline),
        Change::EnvironmentPut(environment) => Some(&environment.pipeline),
        Change::RequestPut(request) => Some(&request.run.job.pipeline),
        Change::LedgerPut(row) => Some(&row.job.pipeline),
        Change::CursorPut(cursor) => Some(&cursor.job.pipeline),
        Change::PulsePut(_)
        | Change::PausePut(_)
        | Change::PauseOver { .. }
        | Change::AttemptPut(_)
        | Change::StepPut(_)
        | Change::DeliveryPut(_)
        | Change::LetterPut(_)
        | Change::RemovalPut(_)
        | Change::RunGone { .. }
        | Change::Journal(_) => None,
    }
}

impl Live {
    fn absorb_source(&mut self, change: &Change) {
        match change {
            Change::PipelineSeen { url, head, at, .. } => {
                self.seen = Some(Seen { url: url.clone(), head: head.clone(), at: *at });
            }
            Change::PollProblem { problem, .. } => self.problem.clone_from(problem),
            Change::SightingPut(sighting) => self.absorb_sighting(sighting),
            Change::RefGone { git_ref, .. } => {
                self.sightings.remove(git_ref);
                self.pulled.retain(|(_, name), _| name != git_ref);
            }
            Change::StandingPut(standing) => {
                self.standings.insert((standing.job.job.clone(), standing.commit.clone()), standing.clone());
            }
            Change::LastRanPut(last) => {
                self.last_ran.insert((last.job.clone(), last.git_ref.clone()), last.clone());
            }
            Change::PulledPut(pulled) => {
                self.pulled.insert((pulled.job.clone(), pulled.git_ref.clone()), pulled.sighting);
            }
            Change::FailingPut(failing) => {
                let key = (failing.job.job.clone(), failing.git_ref.clone());
                if failing.count == 0 {
                    self.failing.remove(&key);
                } else {
                    self.failing.insert(key, failing.clone());
                }
            }
            Change::EnvironmentPut(environment) => {
                self.environments.insert(environment.name.clone(), environment.clone());
            }
            _ => {}
        }
    }

    fn absorb_sighting(&mut self, sighting: &Sighting) {
        self.last_sighting = self.last_sighting.max(sighting.number);
        let row = self.sightings.entry(sighting.git_ref.clone()).or_default();
        match row.iter_mut().find(|old| old.number == sighting.number) {
            Some(old) => *old = sighting.clone(),
            None => row.push(sighting.clone()),
        }
        if row.len() > SIGHTINGS_MAX {
            row.drain(..row.len() - SIGHTINGS_MAX);
        }
    }

    fn absorb_run(&mut self, run: &Run) {
        if run.finished().is_some() {
            self.runs.remove(&run.run);
        } else {
            self.runs.insert(run.run.clone(), run.clone());
        }
    }

    fn absorb_request(&mut self, request: &Request) {
        if request.is_live() {
            self.requests.insert(request.id, request.clone());
        } else {
            self.requests.remove(&request.id);
        }
        if matches!(request.state, RequestState::Rejected { .. }) {
            self.rejected.insert(request.tuple_hash.clone());
        }
    }

    /// The commits of which standings are kept live: sighted, deployed, or of a live run.
    #[must_use]
    pub fn commits_in_view(&self) -> BTreeSet<CommitId> {
        let sighted = self.sightings.values().flatten().map(|sighting| sighting.commit.id.clone());
        let running = self.runs.values().filter_map(|run| run.commit.clone());
        let deployed = self.environments.values().flat_map(|environment| {
            let attempted = match &environment.state {
                EnvironmentState::Unclear { attempted, .. } => attempted.commit.clone(),
                EnvironmentState::Empty | EnvironmentState::Clean => None,
            };
            environment.live.as_ref().and_then(|live| live.commit.clone()).into_iter().chain(attempted)
        });
        sighted.chain(running).chain(deployed).collect()
    }

    /// Drops standings of commits that are out of view; the store keeps them.
    pub fn trim(&mut self) {
        let in_view = self.commits_in_view();
        self.standings.retain(|(_, commit), _| in_view.contains(commit));
    }

    /// Live runs of one job.
    pub fn runs_of(&self, job: &JobKey) -> impl DoubleEndedIterator<Item = &Run> {
        let number = |number| RunRef { job: job.clone(), number };
        self.runs.range(number(0)..=number(u64::MAX)).map(|(_, run)| run)
    }

    /// The newest sighting of a ref.
    #[must_use]
    pub fn tip(&self, git_ref: &RefName) -> Option<&Sighting> {
        self.sightings.get(git_ref)?.last()
    }
}
