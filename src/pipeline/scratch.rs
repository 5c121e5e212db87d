//! What is not stored: the configuration, answers of git, what is under way, and what is to be looked at
//! again. A change marks no more than what it can alter, so that a turn costs by what happened; after
//! `World::look_at_everything` a plan must find nothing that it would not have found without.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::catalog::{Catalog, Pipeline};
use crate::model::commit::{CommitId, Comparison, Question};
use crate::model::event::Change;
use crate::model::job::Hash;
use crate::model::name::{JobKey, JobName, PipelineName, RunRef};
use crate::model::pause::Scope;
use crate::model::retention::Part;
use crate::model::run::{Run, StepReport};
use crate::model::time::Timestamp;
use crate::pipeline::agenda::Agenda;
use crate::pipeline::due::Rules;

#[derive(Debug, Clone, Default)]
pub struct Scratch {
    pub catalog: Arc<Catalog>,
    pub boot_id: String,
    pub comparisons: BTreeMap<Question, Result<Arc<Comparison>, String>>,
    /// Asked for and not yet answered; forgotten by a restart, then asked anew.
    pub asked: BTreeSet<Question>,
    pub sending: BTreeSet<u64>,
    pub stopping: BTreeSet<(RunRef, u32)>,
    /// Attempts that this daemon has started or examined itself.
    pub known: BTreeSet<(RunRef, u32)>,
    /// What is being removed.
    pub removing: BTreeSet<(RunRef, Part)>,
    /// What could not be removed; tried again with the next pass of `[retention]`.
    pub unremovable: BTreeSet<(RunRef, Part)>,
    pub disk_free: Option<u64>,
    /// By which list of allowed signers the heads of a pipeline were judged; a restart has them judged anew.
    pub judged: BTreeMap<PipelineName, Hash>,
    /// Steps of running attempts as their facts told them; told again after a restart.
    pub steps: BTreeMap<(RunRef, u32, u32), StepReport>,
    /// Runs that are running, of all pipelines.
    pub running: BTreeSet<RunRef>,
    /// Running runs that were not looked at since they started or since someone wants them to end.
    pub unwatched: BTreeSet<RunRef>,
    /// Commits of which a standing or sighting changed since they were last planned.
    pub hot: BTreeMap<PipelineName, BTreeSet<CommitId>>,
    /// Pipelines of which something changed since they were last planned.
    pub dirty: BTreeSet<PipelineName>,
    /// Jobs of which only runs changed: their queued runs are judged anew, nothing else.
    pub touched: BTreeSet<JobKey>,
    /// Jobs whose next due time is to be found anew.
    pub retime: BTreeSet<JobKey>,
    /// Jobs of which a due time waits for an answer of git.
    pub undecided: BTreeSet<JobKey>,
    /// Jobs of which it is to be judged anew when their silence becomes too long.
    pub unheard: BTreeSet<JobKey>,
    /// When a pipeline wants to be looked at again.
    pub wakes: Agenda<PipelineName>,
    /// When a timed job is due next.
    pub dues: Agenda<JobKey>,
    /// When the silence of a job becomes too long.
    pub silence: Agenda<JobKey>,
    /// When a running run has taken far longer than any before it.
    pub slow: Agenda<RunRef>,
    /// When a run that waits for its turn is given up.
    pub patience: Agenda<RunRef>,
    /// Pipelines of which a commit may have gone out of view.
    pub untrimmed: BTreeSet<PipelineName>,
    /// Runs that only wait for a pool or slot, oldest first.
    pub ready: BTreeSet<(Timestamp, RunRef)>,
    /// When timed jobs are due, parsed.
    pub schedules: BTreeMap<JobKey, Rules>,
    /// Jobs that another job needs.
    pub needed: BTreeSet<JobKey>,
}

impl Scratch {
    /// What is under way: what a turn that could not be written is undone with. The rest is found anew.
    #[must_use]
    pub fn before_turn(&self) -> Self {
        Self {
            asked: self.asked.clone(),
            sending: self.sending.clone(),
            removing: self.removing.clone(),
            unremovable: self.unremovable.clone(),
            stopping: self.stopping.clone(),
            known: self.known.clone(),
            steps: self.steps.clone(),
            judged: self.judged.clone(),
            ..Self::default()
        }
    }

    /// What the catalog alone decides.
    pub(super) fn index_catalog(&mut self) {
        self.schedules.clear();
        self.needed.clear();
        let catalog = self.catalog.clone();
        for pipeline in catalog.pipelines.values() {
            self.index_pipeline(&pipeline.name, None);
        }
    }

    /// The same for one pipeline; `old` is what it was.
    pub(super) fn index_pipeline(&mut self, name: &PipelineName, old: Option<&Arc<Pipeline>>) {
        for job in old.into_iter().flat_map(|old| old.jobs.values()) {
            let key = &job.definition.key;
            self.schedules.remove(key);
            self.needed.remove(key);
            self.unheard.insert(key.clone());
            self.retime.insert(key.clone());
        }
        let Some(new) = self.catalog.pipelines.get(name).cloned() else { return };
        for job in new.jobs.values() {
            let key = |need: &JobName| JobKey { pipeline: name.clone(), job: need.clone() };
            self.needed.extend(job.definition.needs.iter().map(key));
            if job.notify.stale_after.is_some() {
                self.unheard.insert(job.definition.key.clone());
            }
            if job.definition.timed() {
                self.retime.insert(job.definition.key.clone());
            }
        }
    }

    pub fn heat(&mut self, pipeline: &PipelineName, commit: &CommitId) {
        self.hot.entry(pipeline.clone()).or_default().insert(commit.clone());
    }

    /// Marks what a change can alter; `before` is the run as it was.
    pub(super) fn mark(&mut self, change: &Change, before: Option<&Run>) {
        match change {
            Change::RunPut(run) => self.mark_run(run, before),
            Change::SightingPut(sighting) => {
                self.heat(&sighting.pipeline, &sighting.commit.id);
                self.dirty.insert(sighting.pipeline.clone());
            }
            Change::StandingPut(standing) => {
                self.heat(&standing.job.pipeline, &standing.commit);
                if self.needed.contains(&standing.job) {
                    self.dirty.insert(standing.job.pipeline.clone());
                }
            }
            Change::LastRanPut(last) => {
                let job = JobKey { pipeline: last.pipeline.clone(), job: last.job.clone() };
                let paths = |job: &crate::model::catalog::Job| {
                    !job.definition.paths.is_empty() || !job.definition.repo_paths.is_empty()
                };
                if self.catalog.job(&job).is_none_or(paths) {
                    self.dirty.insert(last.pipeline.clone());
                }
            }
            Change::PipelineSeen { pipeline, .. } | Change::RefGone { pipeline, .. } => {
                self.dirty.insert(pipeline.clone());
            }
            Change::EnvironmentPut(environment) => {
                self.dirty.insert(environment.pipeline.clone());
            }
            Change::RequestPut(request) => {
                self.dirty.insert(request.run.job.pipeline.clone());
            }
            Change::CursorPut(cursor) => {
                self.retime.insert(cursor.job.clone());
            }
            Change::PulsePut(pulse) => {
                self.unheard.insert(pulse.job.clone());
            }
            Change::PausePut(pause) => self.mark_scope(&pause.scope),
            Change::PauseOver { scope } => self.mark_scope(scope),
            Change::PollProblem { .. }
            | Change::FailingPut(_)
            | Change::PulledPut(_)
            | Change::LedgerPut(_)
            | Change::AttemptPut(_)
            | Change::StepPut(_)
            | Change::DeliveryPut(_)
            | Change::LetterPut(_)
            | Change::RemovalPut(_)
            | Change::RunGone { .. }
            | Change::Journal(_) => {}
        }
    }

    /// A run can let go or hold up runs of its own job; one that deploys, those of its environment.
    fn mark_run(&mut self, run: &Run, before: Option<&Run>) {
        if run.is_running() {
            self.unwatched.insert(run.run.clone());
            self.running.insert(run.run.clone());
        } else {
            self.unwatched.remove(&run.run);
            self.running.remove(&run.run);
            self.slow.remove(&run.run);
        }
        if !run.is_queued() {
            self.ready.remove(&(run.since(), run.run.clone()));
            self.patience.remove(&run.run);
        }
        if run.is_running() && before.is_some_and(Run::is_running) {
            return;
        }
        let key = &run.run.job;
        let job = self.catalog.job(key);
        let deploys = job.is_none_or(|job| job.definition.deploys()) || run.holds.environment.is_some();
        if job.is_some_and(|job| job.definition.every.is_some()) {
            self.retime.insert(key.clone());
        }
        if deploys {
            self.dirty.insert(key.pipeline.clone());
        } else {
            self.touched.insert(key.clone());
        }
    }

    fn mark_scope(&mut self, scope: &Scope) {
        let catalog = self.catalog.clone();
        let covered = catalog.pipelines.values().filter(|pipeline| match scope {
            Scope::All => true,
            Scope::Pipeline(name) => *name == pipeline.name,
            Scope::Job(job) => job.pipeline == pipeline.name,
        });
        for pipeline in covered {
            self.dirty.insert(pipeline.name.clone());
            let keys = pipeline.jobs.values().map(|job| job.definition.key.clone());
            self.unheard.extend(keys.filter(|key| scope.covers(key)));
        }
    }
}
