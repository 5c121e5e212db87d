//! Makes up changes: any kind at any time, but each as the core may write it (numbers count up, finished is
//! final, votes are added).

#[path = "letters.rs"]
mod letters;

use std::collections::{BTreeMap, BTreeSet};

use crate::random::Random;
use shipbell::model::commit::{CommitId, CommitInfo, RefName, Sighting};
use shipbell::model::environment::{Deployment, Environment, EnvironmentState};
use shipbell::model::event::{Change, Failing, JournalLine, LastRan, Latest, Pulled, Standing};
use shipbell::model::forge::{Delivery, Forge};
use shipbell::model::job::Hash;
use shipbell::model::letter::Letter;
use shipbell::model::name::{JobKey, PipelineName, RunRef};
use shipbell::model::request::{Brief, Request, RequestState, Signed, Slot, Tuple, Verdict, Vote};
use shipbell::model::run::{
    Artifact, Attempt, Cause, Finished, Holds, Outcome, Run, RunState, StepEnd, StepReport, Upstream, Usage,
};
use shipbell::model::time::{Seconds, Timestamp};
use shipbell::pipeline::world::World;

/// A text that tempts whoever forgets to quote.
pub const TEXT: &str = "it's \"so\"; DROP TABLE runs; -- \u{202e}ä\n\0🔔";

pub fn time(second: u64) -> Timestamp {
    Seconds(second).after(Timestamp::from_second(1_800_000_000).unwrap())
}

pub fn run(name: &str) -> Run {
    Run {
        run: name.parse().unwrap(),
        commit: None,
        git_ref: None,
        sighting: 0,
        cause: Cause::Manual { by: "ann".into() },
        definition: Hash::of(b"definition"),
        params: BTreeMap::new(),
        upstream: Vec::new(),
        queued_at: time(0),
        attempt: 0,
        tries: 0,
        holds: Holds::default(),
        state: RunState::Queued { not_before: None, confirmed_by: None },
        outputs: BTreeMap::new(),
        artifacts: Vec::new(),
    }
}

pub fn finished(outcome: Outcome, at: Timestamp) -> RunState {
    let (started_at, step) = (Some(time(1)), Some((2, TEXT.to_owned())));
    RunState::Finished(Finished { outcome, started_at, at, reason: TEXT.into(), step })
}

pub fn vote(by: &str) -> Vote {
    let (signed, reason) = ((by != "ann").then(|| Signed { key: TEXT.into(), signature: TEXT.into() }), TEXT.into());
    let coded = signed.is_none();
    Vote { by: by.into(), verdict: Verdict::Approve, at: time(5), reason, via: TEXT.into(), signed, coded }
}

pub fn request(id: u64, run: &Run) -> Request {
    let tuple = Tuple {
        v: 1,
        repository: Some(TEXT.into()),
        commit: run.commit.clone(),
        definition: run.definition.clone(),
        params: run.params.clone(),
        upstream: run.upstream.clone(),
        takes_back: Vec::new(),
        environment: "production".parse().unwrap(),
        policy: Hash::of(id.to_string().as_bytes()),
        after: None,
    };
    let slot = |n: u64| Slot {
        person: "ann".parse().unwrap(),
        email: format!("{n}@example.org"),
        id: format!("{id:031x}{n}"),
    };
    let brief = Brief {
        commit: None,
        branch: Some(TEXT.into()),
        live: None,
        adds: Vec::new(),
        adds_total: id,
        takes_back: Vec::new(),
        files: 3,
        insertions: 4,
        deletions: 5,
        mind: vec![TEXT.into()],
        excluded: vec![("bob".parse().unwrap(), "wrote it".into())],
    };
    Request {
        id,
        run: run.run.clone(),
        tuple_hash: tuple.hash(),
        tuple,
        asked_at: time(1),
        expires_at: time(99),
        state: RequestState::Open,
        votes: Vec::new(),
        slots: (0..2).map(slot).collect(),
        brief,
        votes_needed: 2,
    }
}

/// Commits that a change brings into view.
pub fn commits_of(changes: &[Change]) -> Vec<(PipelineName, CommitId)> {
    let mut found = Vec::new();
    for change in changes {
        match change {
            Change::SightingPut(sighting) => found.push((sighting.pipeline.clone(), sighting.commit.id.clone())),
            Change::RunPut(run) => found.extend(run.commit.clone().map(|id| (run.run.job.pipeline.clone(), id))),
            Change::EnvironmentPut(environment) => {
                let attempted = match &environment.state {
                    EnvironmentState::Unclear { attempted, .. } => attempted.commit.clone(),
                    EnvironmentState::Empty | EnvironmentState::Clean => None,
                };
                let live = environment.live.as_ref().and_then(|live| live.commit.clone());
                found.extend(attempted.into_iter().chain(live).map(|id| (environment.pipeline.clone(), id)));
            }
            _ => {}
        }
    }
    found
}

/// Makes up changes.
pub struct Writer {
    pub(crate) random: Random,
    pub second: u64,
    letters: BTreeMap<u64, Letter>,
}

impl Writer {
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), second: 0, letters: BTreeMap::new() }
    }

    /// One transaction's worth; at most one about a run or request.
    pub fn changes(&mut self, world: &World) -> Vec<Change> {
        self.second += self.random.below(400);
        let mut changes = vec![self.change(world)];
        if let Change::RunPut(run) = &changes[0] {
            let run = run.run.clone();
            changes.extend(self.attempt(&run));
        }
        for _ in 0..self.random.below(3) {
            changes.push(self.small(world));
        }
        changes
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(time(self.second).as_millisecond() + 123).unwrap()
    }

    fn one_of(&mut self, words: &[&'static str]) -> &'static str {
        self.random.pick(words).copied().unwrap()
    }

    pub fn pipeline(&mut self) -> PipelineName {
        self.one_of(&["app", "tools"]).parse().unwrap()
    }

    pub fn job(&mut self) -> JobKey {
        JobKey { pipeline: self.pipeline(), job: self.one_of(&["test", "staging", "production"]).parse().unwrap() }
    }

    fn git_ref(&mut self) -> RefName {
        self.one_of(&["refs/heads/main", "refs/heads/feature/x", "refs/tags/v1"]).parse().unwrap()
    }

    fn commit(&mut self) -> CommitId {
        CommitId::new(&format!("{:040x}", self.random.below(12))).unwrap()
    }

    pub fn old_run(&mut self) -> RunRef {
        RunRef { job: self.job(), number: 1 + self.random.below(9) }
    }

    fn upstream(&mut self) -> Upstream {
        let run = self.old_run();
        let artifact = Artifact { path: "a/b.tar".into(), sha256: Hash::of(b"a"), size: 1 << 40 };
        Upstream {
            job: run.job.job.clone(),
            run,
            definition: Hash::of(b"d"),
            outputs: BTreeMap::from([("image".into(), TEXT.into())]),
            artifacts: vec![artifact],
        }
    }

    fn deployment(&mut self) -> Deployment {
        Deployment {
            run: self.old_run(),
            commit: (!self.random.one_in(5)).then(|| self.commit()),
            git_ref: (!self.random.one_in(5)).then(|| self.git_ref()),
            definition: Hash::of(b"d"),
            upstream: vec![self.upstream()],
            at: self.now(),
            approved_by: vec!["ann".into(), TEXT.into()],
        }
    }

    fn outcome(&mut self) -> Outcome {
        self.random.pick(Outcome::ALL).copied().unwrap()
    }

    /// Anything at all.
    fn change(&mut self, world: &World) -> Change {
        match self.random.below(8) {
            0..=1 => self.sighting(world),
            2..=4 => self.run(world),
            5 => self.request(world),
            6 => self.environment(),
            _ => self.small(world),
        }
    }

    fn sighting(&mut self, world: &World) -> Change {
        let (pipeline, git_ref) = (self.pipeline(), self.git_ref());
        if self.random.one_in(12) {
            return Change::RefGone { pipeline, git_ref };
        }
        let live = world.live.get(&pipeline);
        let row = live.and_then(|live| live.sightings.get(&git_ref)).map_or(&[][..], Vec::as_slice);
        if let Some(old) = self.random.pick(row).filter(|_| self.second.is_multiple_of(3)) {
            let mut sighting = old.clone();
            (sighting.begun, sighting.on_branch) = (true, false);
            return Change::SightingPut(sighting);
        }
        let id = self.commit();
        let commit = CommitInfo {
            id,
            subject: TEXT.into(),
            author: TEXT.into(),
            author_mail: "a@example.org".into(),
            authored_at: time(0),
        };
        Change::SightingPut(Sighting {
            pipeline,
            git_ref,
            number: live.map_or(0, |live| live.last_sighting) + 1,
            commit,
            seen_at: self.now(),
            runs: true,
            begun: false,
            passed_over: self.random.one_in(2),
            on_branch: true,
            refused: self.random.one_in(4).then(|| "it is not signed".to_owned()),
        })
    }

    fn run(&mut self, world: &World) -> Change {
        let running: Vec<&Run> = world.runs().collect();
        if let Some(run) = self.random.pick(&running).filter(|_| !self.second.is_multiple_of(4)) {
            let mut run = (*run).clone();
            run.state = self.next_state(&run.state);
            run.attempt += u32::from(run.is_running());
            // An environment runs one deployment at a time: each has one of its own here.
            let environment = Some(format!("{}-{}", run.run.job.job, run.run.number).parse().unwrap());
            run.holds = Holds { environment, pools: vec![TEXT.into()] };
            run.outputs.insert("key".into(), TEXT.into());
            return Change::RunPut(Box::new(run));
        }
        let job = self.job();
        let number = world.numbers.get(&job).copied().unwrap_or(0) + 1 + self.random.below(2);
        let mut new = run("a/b#1");
        new.run = RunRef { job, number };
        new.commit = (!self.random.one_in(4)).then(|| self.commit());
        new.git_ref = (!self.random.one_in(4)).then(|| self.git_ref());
        new.sighting = self.random.below(50);
        new.cause = self.cause();
        new.params = BTreeMap::from([("TENANT".into(), TEXT.into())]);
        new.upstream = vec![self.upstream()];
        new.queued_at = self.now();
        Change::RunPut(Box::new(new))
    }

    fn cause(&mut self) -> Cause {
        let by = TEXT.to_owned();
        // Due times of the past, each but once.
        self.second += 1;
        match self.random.below(7) {
            0 => Cause::Schedule {
                due: time(self.second),
                previous: self.second.is_multiple_of(2).then(|| time(self.second / 2)),
            },
            1 => Cause::Commit { sighting: self.random.below(50) },
            2 => Cause::Needs { run: self.old_run() },
            3 => Cause::Manual { by },
            4 => Cause::Retry { of: self.old_run(), by },
            5 => Cause::Rollback { deployment: self.old_run(), by },
            _ => Cause::Backfill { due: time(self.second), previous: None, by },
        }
    }

    fn next_state(&mut self, old: &RunState) -> RunState {
        match (old, self.random.below(3)) {
            (RunState::Queued { .. }, 0) => {
                RunState::Queued { not_before: Some(self.now()), confirmed_by: Some(TEXT.into()) }
            }
            (RunState::Queued { .. } | RunState::Running { .. }, 1) => RunState::Running {
                launched_at: self.now(),
                started_at: self.random.one_in(2).then(|| self.now()),
                step: self.random.one_in(2).then(|| (3, TEXT.into())),
                touched: self.random.one_in(2),
                stopping: self.random.one_in(2).then(|| TEXT.into()),
            },
            _ => finished(self.outcome(), self.now()),
        }
    }

    fn attempt(&mut self, run: &RunRef) -> Vec<Change> {
        let attempt = u32::try_from(self.random.below(3)).unwrap() + 1;
        let ended = match self.random.below(7) {
            0 => StepEnd::Exit(-1),
            1 => StepEnd::Signal(9),
            6 => StepEnd::OutOfMemory,
            2 => StepEnd::TimedOut,
            3 => StepEnd::Cancelled,
            _ => StepEnd::Refused(TEXT.into()),
        };
        let ended = (!self.random.one_in(4)).then_some(ended);
        let usage = Usage { cpu_ms: 1, memory_peak: 1 << 50, log_bytes: 3, written: 1 << 40, oom_kills: 4, masked: 4 };
        vec![
            Change::StepPut(StepReport {
                run: run.clone(),
                attempt,
                index: 2,
                name: TEXT.into(),
                always: true,
                started_at: self.now(),
                finished_at: self.random.one_in(2).then(|| self.now()),
                ended,
                log_from: 7,
                log_to: self.random.one_in(2).then_some(1 << 33),
            }),
            Change::AttemptPut(Attempt {
                run: run.clone(),
                attempt,
                launched_at: self.now(),
                started_at: self.random.one_in(2).then(|| self.now()),
                finished_at: self.random.one_in(2).then(|| self.now()),
                outcome: self.random.one_in(2).then(|| self.outcome()),
                reason: TEXT.into(),
                usage: self.random.one_in(2).then_some(usage),
            }),
        ]
    }

    fn request(&mut self, world: &World) -> Change {
        let open: Vec<&Request> = world.live.values().flat_map(|live| live.requests.values()).collect();
        if let Some(old) = self.random.pick(&open).filter(|_| !self.second.is_multiple_of(3)) {
            let mut request = (*old).clone();
            if request.votes.len() < 3 && request.is_open() {
                request.votes.push(vote(["ann", "bob", "root"][request.votes.len()]));
            }
            request.state = self.request_state(request.is_open());
            return Change::RequestPut(Box::new(request));
        }
        let asked: BTreeSet<&RunRef> = open.iter().map(|request| &request.run).collect();
        let waiting: Vec<&Run> = world.runs().filter(|run| !asked.contains(&run.run)).collect();
        match self.random.pick(&waiting) {
            Some(run) => Change::RequestPut(Box::new(request(world.last_request + 1, run))),
            None => self.environment(),
        }
    }

    fn request_state(&mut self, open: bool) -> RequestState {
        let (at, why) = (self.now(), TEXT.to_owned());
        match self.random.below(9) {
            0..=1 if open => RequestState::Open,
            0..=2 => RequestState::Approved { at, until: at },
            3 => RequestState::Rejected { at, by: "ann".into(), reason: why },
            4 => RequestState::Expired { at },
            5 => RequestState::Superseded { at, by: self.old_run() },
            6 => RequestState::Voided { at, why },
            7 => RequestState::Used { at },
            _ => RequestState::Closed { at, why },
        }
    }

    fn environment(&mut self) -> Change {
        let state = match self.random.below(3) {
            0 => EnvironmentState::Empty,
            1 => EnvironmentState::Clean,
            _ => EnvironmentState::Unclear { attempted: self.deployment(), unknown: self.random.one_in(2) },
        };
        let live = (!self.random.one_in(4)).then(|| self.deployment());
        let name = self.one_of(&["staging", "production"]).parse().unwrap();
        Change::EnvironmentPut(Environment { pipeline: self.pipeline(), name, state, live })
    }

    /// What stands by itself.
    fn small(&mut self, world: &World) -> Change {
        match self.random.below(14) {
            0 => Change::PipelineSeen {
                pipeline: self.pipeline(),
                url: TEXT.into(),
                head: self.random.one_in(2).then(|| self.git_ref()),
                at: self.now(),
            },
            1 => Change::PollProblem {
                pipeline: self.pipeline(),
                problem: self.random.one_in(2).then(|| (self.now(), TEXT.into())),
            },
            2 => self.standing(),
            3 => Change::LastRanPut(LastRan {
                pipeline: self.pipeline(),
                job: "test".parse().unwrap(),
                git_ref: self.git_ref(),
                commit: self.commit(),
                run: self.old_run(),
            }),
            4 => Change::FailingPut(Failing {
                job: self.job(),
                git_ref: self.random.one_in(2).then(|| self.git_ref()),
                count: u32::try_from(self.random.below(3)).unwrap(),
                since: self.now(),
                run: self.old_run(),
            }),
            5 => self.ledger(world),
            6 => self.cursor(),
            7 => self.letter(world),
            8 => self.pulse(),
            9 => self.pause(),
            10 => Change::PauseOver { scope: self.scope() },
            12 => Change::PulledPut(Pulled {
                pipeline: self.pipeline(),
                job: "test".parse().unwrap(),
                git_ref: self.git_ref(),
                sighting: self.random.below(9),
            }),
            11 => Change::DeliveryPut(Delivery {
                pipeline: self.pipeline(),
                forge: Forge::Gitea,
                id: format!("{TEXT}{}", self.random.below(5)),
                event: TEXT.into(),
                at: self.now(),
                git_ref: self.random.one_in(2).then(|| self.git_ref()),
                commit: self.random.one_in(2).then(|| self.commit()),
            }),
            _ => Change::Journal(JournalLine {
                at: self.now(),
                actor: "root".into(),
                verb: "queued".into(),
                subject: format!("{TEXT}{}", self.random.next()),
                detail: TEXT.into(),
            }),
        }
    }

    fn standing(&mut self) -> Change {
        let latest = Latest { outcome: self.outcome(), upstream: self.upstream(), at: self.now(), tries: 2 };
        Change::StandingPut(Standing {
            job: self.job(),
            commit: self.commit(),
            fired: self.random.one_in(2),
            carries: self.random.one_in(2).then(|| self.old_run()),
            latest: self.random.one_in(2).then_some(latest),
        })
    }
}
