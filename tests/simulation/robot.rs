//! The daemon's loop as the simulation runs it: the real core and the real store, with a clock, a git
//! and a launcher that were made up. It can die at any point of a turn.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use shipbell::model::catalog::Catalog;
use shipbell::model::commit::Question;
use shipbell::model::event::{Action, Event};
use shipbell::model::letter::Letter;
use shipbell::model::name::{PipelineName, RunRef};
use shipbell::model::retention::Part;
use shipbell::model::time::{Seconds, Timestamp};
use shipbell::pipeline::world::World;
use shipbell::pipeline::{Turn, turn};
use shipbell::store::{Reader, Store};

use crate::checks::{self, Checks, Fault, fault};
use crate::git::Git;
use crate::launcher::Launcher;
use crate::plans::Plan;
use crate::random::Random;

/// Where in its next turn the daemon dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    BeforeCommit,
    /// It lives: the disk is full, the turn is undone and told again.
    DiskFull,
    /// After so many actions.
    AfterActions(u64),
}

/// Everything of one seed.
pub struct Robot {
    _dir: tempfile::TempDir,
    path: PathBuf,
    store: Option<Store>,
    pub reader: Reader,
    pub world: World,
    pub now: Timestamp,
    pub wake_at: Option<Timestamp>,
    pub plan: Plan,
    pub catalog: Arc<Catalog>,
    pub gits: BTreeMap<PipelineName, Git>,
    pub launcher: Launcher,
    pub inbox: Vec<Event>,
    /// Under way in the daemon: gone when it dies.
    pub asked: BTreeSet<Question>,
    pub sending: BTreeSet<u64>,
    pub removing: BTreeSet<(RunRef, Part)>,
    /// Runs of which their host heard, and whether that they have ended.
    pub heard: BTreeMap<RunRef, bool>,
    pub death: Option<Death>,
    boots: u32,
    pub checks: Checks,
}

fn memory_dir() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let builder = tempfile::Builder::new();
    // In memory where there is such a directory: thousands of commits are written.
    builder.tempdir_in(memory).or_else(|_| builder.tempdir()).unwrap()
}

impl Robot {
    pub fn new(random: &mut Random) -> Result<Self, Fault> {
        let plan = Plan::new(random);
        Self::with(plan, random)
    }

    pub fn with(plan: Plan, random: &mut Random) -> Result<Self, Fault> {
        let dir = memory_dir();
        let path = dir.path().join("shipbell.db");
        let store = Store::open(&path).unwrap();
        let gits = ["app", "lib"].map(|name| (name.parse().unwrap(), Git::new(random)));
        let mut robot = Self {
            _dir: dir,
            path,
            reader: store.reader().unwrap(),
            world: store.load().unwrap(),
            store: Some(store),
            now: Timestamp::from_second(1_800_000_000).unwrap(),
            wake_at: None,
            catalog: plan.catalog(),
            plan,
            gits: gits.into(),
            launcher: Launcher::default(),
            inbox: Vec::new(),
            asked: BTreeSet::new(),
            sending: BTreeSet::new(),
            removing: BTreeSet::new(),
            heard: BTreeMap::new(),
            death: None,
            boots: 0,
            checks: Checks::default(),
        };
        robot.boot()?;
        Ok(robot)
    }

    pub fn advance(&mut self, by: Seconds) {
        self.now = by.after(self.now);
    }

    /// The daemon dies; the next one loads what the database has.
    pub fn crash(&mut self) -> Result<(), Fault> {
        self.store = None;
        let store = Store::open(&self.path).map_err(|error| fault("the database opens", error))?;
        self.world = store.load().map_err(|error| fault("the database loads", error))?;
        self.reader = store.reader().unwrap();
        self.store = Some(store);
        self.inbox.clear();
        self.asked.clear();
        self.sending.clear();
        self.removing.clear();
        self.death = None;
        self.launcher.daemon_died();
        self.checks.seen("crash");
        self.boot()
    }

    pub fn reboot(&mut self, random: &mut Random) -> Result<(), Fault> {
        self.boots += 1;
        self.launcher.reboot(random, self.now);
        self.checks.seen("reboot");
        self.crash()
    }

    fn boot(&mut self) -> Result<(), Fault> {
        self.inbox.push(Event::Booted { boot_id: format!("boot {}", self.boots) });
        self.inbox.push(Event::Reloaded { catalog: self.catalog.clone() });
        self.turn()
    }

    pub fn reload(&mut self) {
        self.catalog = self.plan.catalog();
        self.inbox.push(Event::Reloaded { catalog: self.catalog.clone() });
    }

    /// One turn of the loop: drain, decide, commit, perform.
    pub fn turn(&mut self) -> Result<(), Fault> {
        let mut events = std::mem::take(&mut self.inbox);
        if events.is_empty() {
            events.push(Event::Tick);
        }
        self.look_up(&mut events);
        let (before, scratch) = (self.world.clone(), self.world.scratch.before_turn());
        let done = turn(&mut self.world, &events, self.now);
        if done.replies.len() != events.len() {
            return Err(fault("every event has its reply", format!("{events:?}: {:?}", done.replies)));
        }
        // What the checks remember of a turn that is never written is forgotten with it.
        let mut checks = self.checks.clone();
        checks.transition(&before, &events, &done, &self.world, &self.gits, self.now)?;
        if self.death == Some(Death::BeforeCommit) {
            return self.crash();
        }
        let store = self.store.as_mut().unwrap();
        if self.death == Some(Death::DiskFull) {
            self.death = None;
            let loaded = store.load().map_err(|error| fault("the database loads", error))?;
            self.world.undo(loaded, scratch);
            let told = |event: &Event| !matches!(event, Event::Tick | Event::Booted { .. } | Event::Reloaded { .. });
            self.inbox = events.into_iter().filter(told).collect();
            self.checks.seen("disk full");
            return Ok(());
        }
        store
            .commit(&done.changes)
            .map_err(|error| fault("changes can be written", format!("{error}: {:?}", done.changes)))?;
        self.checks = checks;
        let loaded = store.load().map_err(|error| fault("the database loads", error))?;
        checks::recorded(&self.world, &loaded, &done)?;
        self.wake_at = done.wake_at;
        self.perform(&done)
    }

    /// What the daemon's loop asks the store before it decides.
    fn look_up(&mut self, events: &mut [Event]) {
        for event in events {
            match event {
                Event::Polled { pipeline, poll } => {
                    let infos = poll.heads.iter().flat_map(|seen| seen.between.iter().chain([&seen.commit]));
                    let commits: Vec<_> = infos.map(|info| info.id.clone()).collect();
                    poll.standings = self.reader.standings(pipeline, &commits).unwrap();
                }
                Event::RetryRequested { run, old, gone, .. } => {
                    // It may have gone since it was asked for: then it is known from before.
                    if let Some(known) = self.reader.run(run).unwrap() {
                        **old = known;
                    }
                    let commits: Vec<_> = old.commit.iter().cloned().collect();
                    self.world.recall(&self.reader.standings(&run.job.pipeline, &commits).unwrap());
                    for run in shipbell::pipeline::manual::stands_on(&self.world, old) {
                        gone.extend(self.reader.removals(&run).unwrap());
                    }
                }
                _ => {}
            }
        }
    }

    fn perform(&mut self, done: &Turn) -> Result<(), Fault> {
        let death = self.death.take();
        for (place, action) in (0..).zip(&done.actions) {
            if death.is_some_and(|death| matches!(death, Death::AfterActions(n) if n <= place)) {
                return self.crash();
            }
            match action {
                Action::Start(order) => {
                    self.checks.starts(&self.reader, order)?;
                    self.launcher.start(order).map_err(|why| fault("an attempt is started at most once", why))?;
                }
                Action::Stop { run, attempt, .. } => self.launcher.stop(&(run.clone(), *attempt)),
                Action::Examine { run, attempt } => self.launcher.examine(&(run.clone(), *attempt)),
                Action::Ask(question) => {
                    self.asked.insert(question.clone());
                }
                Action::FindAuthors { letter } => {
                    if !self.sending.insert(*letter) {
                        return Err(fault("authors are asked for once at a time", letter));
                    }
                }
                // Votes here are words, of which the executor judges none.
                Action::Withdraw { .. } => {}
                Action::Remove { parts } => {
                    self.removing.extend(parts.iter().cloned());
                }
                Action::Send { letter } => {
                    if !self.sending.insert(*letter) {
                        return Err(fault("a letter is sent once at a time", letter));
                    }
                    if self.world.letters.get(letter).is_some_and(Letter::is_to_committers) {
                        return Err(fault("a letter leaves for people, not for whoever it may be", letter));
                    }
                    let to = |id: &u64| self.world.letters.get(id).filter(|of| !of.kind.is_mail()).map(|of| &of.to);
                    let beside = self.sending.iter().any(|id| id != letter && to(id).is_some() && to(id) == to(letter));
                    if beside {
                        return Err(fault("a host hears one thing at a time", letter));
                    }
                }
            }
        }
        if death.is_some() {
            return self.crash();
        }
        self.nothing_is_forgotten()
    }

    /// What the World waits for is under way.
    fn nothing_is_forgotten(&mut self) -> Result<(), Fault> {
        // Where a file is gone nobody knows any more who is to be told.
        let catalog = &self.world.scratch.catalog;
        self.heard.retain(|run, _| catalog.pipelines.contains_key(&run.job.pipeline));
        for run in self.world.runs().filter(|run| run.is_running()) {
            if !self.launcher.is_watched(&(run.run.clone(), run.attempt)) {
                return Err(fault("a running attempt is watched", &run.run));
            }
        }
        if self.world.scratch.asked != self.asked {
            return Err(fault(
                "what was asked is under way",
                format!("{:?} {:?}", self.world.scratch.asked, self.asked),
            ));
        }
        if self.world.scratch.sending != self.sending {
            return Err(fault("what is being sent is under way", format!("{:?}", self.world.scratch.sending)));
        }
        if self.world.scratch.removing != self.removing {
            return Err(fault("what is being removed is under way", format!("{:?}", self.world.scratch.removing)));
        }
        Ok(())
    }
}
