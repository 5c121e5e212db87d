//! A turn in the making: each change is taken in by the World as it is decided, so that the next rule
//! sees it. Nothing is decided here.

use crate::model::commit::CommitId;
use crate::model::event::{Action, Change, Failing, JournalLine, Latest, Standing};
use crate::model::job::Definition;
use crate::model::letter::{COMMITTERS, Letter, LetterKind, LetterState};
use crate::model::name::{JobKey, JobName, PipelineName, RunRef};
use crate::model::run::{Artifact, Run, Upstream};
use crate::model::time::Timestamp;
use crate::pipeline::world::{Live, World};

/// The World, what time it is, and what has been decided so far.
pub struct Draft<'w> {
    pub world: &'w mut World,
    pub now: Timestamp,
    pub changes: Vec<Change>,
    pub actions: Vec<Action>,
}

impl<'w> Draft<'w> {
    pub fn new(world: &'w mut World, now: Timestamp) -> Self {
        Self { world, now, changes: Vec::new(), actions: Vec::new() }
    }

    pub fn put(&mut self, change: Change) {
        self.world.absorb(&change);
        self.changes.push(change);
    }

    pub fn put_run(&mut self, run: Run) {
        self.put(Change::RunPut(Box::new(run)));
    }

    /// A line of the journal by Shipbell itself.
    pub fn note(&mut self, verb: &str, subject: &dyn std::fmt::Display, detail: impl Into<String>) {
        self.note_by("shipbell", verb, subject, detail);
    }

    pub fn note_by(&mut self, actor: &str, verb: &str, subject: &dyn std::fmt::Display, detail: impl Into<String>) {
        self.put(Change::Journal(JournalLine {
            at: self.now,
            actor: actor.to_owned(),
            verb: verb.to_owned(),
            subject: subject.to_string(),
            detail: detail.into(),
        }));
    }

    /// Puts a letter to each address into the outbox.
    pub fn write_to(&mut self, addresses: &[String], kind: &LetterKind) {
        self.write_because(addresses, kind, None);
    }

    /// The same, with a word on why these readers get it.
    pub fn write_because(&mut self, addresses: &[String], kind: &LetterKind, note: Option<&str>) {
        for to in addresses {
            let letter = Letter {
                id: self.world.last_letter + 1,
                kind: kind.clone(),
                to: to.clone(),
                note: note.map(str::to_owned),
                created_at: self.now,
                state: LetterState::Waiting { not_before: self.now, last_error: None },
                attempts: 0,
            };
            self.put(Change::LetterPut(letter));
        }
    }

    #[must_use]
    pub fn live(&self, pipeline: &PipelineName) -> Option<&Live> {
        self.world.live.get(pipeline)
    }

    /// The pipeline wants to be looked at again at `at`.
    pub fn wake(&mut self, pipeline: &PipelineName, at: Timestamp) {
        self.world.scratch.wakes.earlier(pipeline, at);
    }

    /// The standing of a job for a commit, or a new one.
    #[must_use]
    pub fn standing(&self, job: &JobKey, commit: &CommitId) -> Standing {
        self.world.standing(job, commit).cloned().unwrap_or_else(|| Standing {
            job: job.clone(),
            commit: commit.clone(),
            fired: false,
            carries: None,
            latest: None,
        })
    }
}

/// What a finished run gives to those downstream.
#[must_use]
pub fn as_upstream(run: &Run) -> Upstream {
    Upstream {
        job: run.run.job.job.clone(),
        run: run.run.clone(),
        definition: run.definition.clone(),
        outputs: run.outputs.clone(),
        artifacts: run.artifacts.clone(),
    }
}

/// Everything that a job stands on for a commit, at any depth, as it is now; `Err` names a job that
/// is not green.
pub fn upstream(world: &World, key: &JobKey, commit: Option<&CommitId>) -> Result<Vec<Upstream>, JobName> {
    let Some(pipeline) = world.pipeline(&key.pipeline) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for job in pipeline.upstream_of(&key.job) {
        let need = JobKey { pipeline: key.pipeline.clone(), job: job.clone() };
        let latest = commit.and_then(|commit| world.standing(&need, commit)).and_then(|s| s.latest.as_ref());
        match latest {
            Some(latest) if green(latest) => found.push(latest.upstream.clone()),
            _ => return Err(job),
        }
    }
    Ok(found)
}

#[must_use]
pub fn green(latest: &Latest) -> bool {
    latest.outcome == crate::model::run::Outcome::Succeeded
}

/// Whether two lists of upstream runs give the same digests and outputs, whichever runs made them.
#[must_use]
pub fn same_goods(one: &[Upstream], other: &[Upstream]) -> bool {
    type Goods<'a> = Vec<(&'a JobName, &'a std::collections::BTreeMap<String, String>, &'a [Artifact])>;
    fn goods(list: &[Upstream]) -> Goods<'_> {
        let mut goods: Goods<'_> = list.iter().map(|u| (&u.job, &u.outputs, u.artifacts.as_slice())).collect();
        goods.sort_by_key(|(job, _, _)| *job);
        goods
    }
    goods(one) == goods(other)
}

/// Addresses that hear of this job's ends; whoever wrote the commits may be among them.
#[must_use]
pub fn listeners(world: &World, key: &JobKey) -> Vec<String> {
    let own = world.job(key).map(|job| job.notify.email.clone()).unwrap_or_default();
    if own.is_empty() { world.scratch.catalog.settings.mail.to.clone() } else { own }
}

/// Addresses that hear of this job's silence, which is nobody's commit.
#[must_use]
pub fn minders(world: &World, key: &JobKey) -> Vec<String> {
    let own: Vec<String> = listeners(world, key).into_iter().filter(|to| to != COMMITTERS).collect();
    if own.is_empty() { world.scratch.catalog.settings.mail.to.clone() } else { own }
}

/// The failing record of a job after one more end.
#[must_use]
pub fn failing_after(old: Option<&Failing>, run: &RunRef, of: &Run, bad: bool, now: Timestamp) -> Option<Failing> {
    let key =
        |count, since| Failing { job: run.job.clone(), git_ref: of.git_ref.clone(), count, since, run: run.clone() };
    match (old, bad) {
        (Some(old), true) => Some(key(old.count + 1, old.since)),
        (None, true) => Some(key(1, now)),
        (Some(_), false) => Some(key(0, now)),
        (None, false) => None,
    }
}

/// Whether a run of this definition for this commit belongs to an environment.
#[must_use]
pub fn environment_of(definition: &Definition) -> Option<&crate::model::name::EnvironmentName> {
    definition.environment.as_ref().map(|policy| &policy.name)
}
