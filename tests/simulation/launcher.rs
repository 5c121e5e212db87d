//! What really becomes of attempts: run directories on a disk that outlives the daemon, supervisors
//! that begin late, work, are killed, and leave their facts. What the daemon is told lags behind.

use std::collections::{BTreeMap, BTreeSet};

use shipbell::model::event::Event;
use shipbell::model::job::Hash;
use shipbell::model::name::RunRef;
use shipbell::model::run::{Artifact, Outcome, StepEnd, Usage};
use shipbell::model::ticket::{Evidence, Fact, FactLine, StartOrder, VERSION};
use shipbell::model::time::Timestamp;

use crate::random::Random;

pub type Key = (RunRef, u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its supervisor was spawned and has not yet claimed the directory.
    Spawned,
    Running,
    /// The lock is free and the evidence stands.
    Over,
}

/// An attempt's directory.
#[derive(Debug)]
struct Dir {
    phase: Phase,
    facts: Vec<FactLine>,
    step: u32,
    stop: bool,
    evidence: Option<Evidence>,
}

/// The launcher and all directories.
#[derive(Debug, Default)]
pub struct Launcher {
    dirs: BTreeMap<Key, Dir>,
    /// Of which this daemon is told, and how many facts it has had.
    watched: BTreeMap<Key, usize>,
    /// Attempts whose end the daemon was told.
    told: BTreeSet<Key>,
    /// Attempts for which a start was ordered.
    pub ordered: BTreeSet<Key>,
}

impl Launcher {
    /// # Errors
    /// If this attempt was ordered before.
    pub fn start(&mut self, order: &StartOrder) -> Result<(), String> {
        let key = (order.run.clone(), order.attempt);
        if !self.ordered.insert(key.clone()) {
            return Err(format!("attempt {} of {} is started a second time", key.1, key.0));
        }
        self.watched.insert(key.clone(), 0);
        // A fence may stand already (an order that was long on its way): then it never starts.
        self.dirs.entry(key).or_insert_with(|| Dir::new(Phase::Spawned));
        Ok(())
    }

    /// Looks at an attempt of an earlier daemon. One that did not begin is fenced: it never will.
    pub fn examine(&mut self, key: &Key) {
        self.watched.insert(key.clone(), 0);
        let dir = self.dirs.entry(key.clone()).or_insert_with(|| Dir::new(Phase::Spawned));
        if dir.phase == Phase::Spawned {
            dir.over(Evidence::NeverStarted { why: "its supervisor did not come".into() });
        }
    }

    pub fn stop(&mut self, key: &Key) {
        if let Some(dir) = self.dirs.get_mut(key) {
            dir.stop = true;
        }
    }

    pub fn is_watched(&self, key: &Key) -> bool {
        self.watched.contains_key(key)
    }

    /// The daemon died: nobody is told anything until it asks again.
    pub fn daemon_died(&mut self) {
        self.watched.clear();
        self.told.clear();
    }

    /// The host went down: nothing runs any more. In its own time, so that supervisors could say so, or
    /// not.
    pub fn reboot(&mut self, random: &mut Random, now: Timestamp) {
        for dir in self.dirs.values_mut().filter(|dir| dir.phase != Phase::Over) {
            if dir.phase == Phase::Running && random.one_in(2) {
                dir.finish(now, Outcome::Interrupted, true);
                continue;
            }
            let evidence = match dir.phase {
                Phase::Spawned => Evidence::NeverStarted { why: "the host went down".into() },
                Phase::Running | Phase::Over => Evidence::Lost { touched: dir.step > 1, rebooted: true, why: None },
            };
            dir.over(evidence);
        }
    }

    fn at_work(&self) -> Vec<Key> {
        self.dirs.iter().filter(|(_, dir)| dir.phase != Phase::Over).map(|(key, _)| key.clone()).collect()
    }

    /// Something happens to one attempt; `calm`: nothing goes wrong.
    pub fn work(&mut self, random: &mut Random, now: Timestamp, calm: bool) -> Option<String> {
        let key = random.pick(&self.at_work())?.clone();
        let dir = self.dirs.get_mut(&key)?;
        let luck = if calm { 99 } else { random.below(100) };
        let what = match (dir.phase, luck) {
            (Phase::Spawned, 0..=9) => {
                dir.over(Evidence::NeverStarted { why: "fork: no memory".into() });
                "cannot be started"
            }
            (Phase::Spawned, _) => {
                dir.begin(now);
                "begins"
            }
            (_, 0..=3) => {
                dir.over(Evidence::Lost { touched: dir.step > 1, rebooted: false, why: None });
                "is lost: its supervisor was killed with a step alive"
            }
            (_, 4..=6) => {
                let outcome = if random.one_in(2) { Outcome::Succeeded } else { Outcome::Failed };
                dir.finish(now, outcome, false);
                "finishes, and nobody can say whether all of it ended"
            }
            (_, 7..=20) => {
                let outcome = if random.one_in(3) { Outcome::TimedOut } else { Outcome::Failed };
                dir.finish(now, outcome, true);
                "fails"
            }
            _ if dir.stop && (calm || random.one_in(2)) => {
                dir.finish(now, Outcome::Cancelled, true);
                "is stopped"
            }
            _ if dir.step < 3 => {
                dir.next_step(now);
                "goes on"
            }
            _ => {
                dir.succeed(now, random);
                "succeeds"
            }
        };
        Some(format!("{} attempt {} {what}", key.0, key.1))
    }

    /// What the daemon hears next of one attempt.
    pub fn hear(&mut self, random: &mut Random) -> Vec<Event> {
        let news: Vec<Key> =
            self.watched.iter().filter(|(key, had)| self.has_news(key, **had)).map(|(k, _)| k.clone()).collect();
        let Some((run, attempt)) = random.pick(&news).cloned() else { return Vec::new() };
        let key = (run.clone(), attempt);
        let (Some(dir), Some(had)) = (self.dirs.get(&key), self.watched.get_mut(&key)) else { return Vec::new() };
        let mut events = Vec::new();
        let left = dir.facts.len() - *had;
        let now = if random.one_in(3) { left } else { usize::try_from(random.below(left as u64 + 1)).unwrap() };
        if now > 0 {
            let lines = dir.facts[*had..*had + now].to_vec();
            events.push(Event::Progress { run: run.clone(), attempt, lines });
            *had += now;
        }
        if let Some(evidence) = dir.evidence.clone().filter(|_| *had == dir.facts.len() || random.one_in(4)) {
            self.told.insert(key);
            let ended = Event::Ended { run, attempt, evidence };
            // Told twice now and then: what is known already alters nothing.
            let times = if random.one_in(8) { 2 } else { 1 };
            events.extend(vec![ended; times]);
        }
        events
    }

    fn has_news(&self, key: &Key, had: usize) -> bool {
        let dir = self.dirs.get(key);
        !self.told.contains(key) && dir.is_some_and(|dir| dir.facts.len() > had || dir.phase == Phase::Over)
    }

    /// Whether nothing runs and all was told.
    pub fn is_quiet(&self) -> bool {
        self.at_work().is_empty() && !self.watched.iter().any(|(key, had)| self.has_news(key, *had))
    }
}

impl Dir {
    fn new(phase: Phase) -> Self {
        Self { phase, facts: Vec::new(), step: 0, stop: false, evidence: None }
    }

    fn say(&mut self, at: Timestamp, fact: Fact) {
        // A supervisor's clock is finer than what is kept.
        let at = Timestamp::from_nanosecond(at.as_nanosecond() + 123_456).unwrap();
        self.facts.push(FactLine { v: VERSION, at, fact });
    }

    fn begin(&mut self, now: Timestamp) {
        self.phase = Phase::Running;
        self.say(now, Fact::Started { boot_id: "boot".into(), pid: 7 });
        self.step(now);
    }

    fn step(&mut self, now: Timestamp) {
        let (index, log) = (self.step, u64::from(self.step) * 10);
        self.say(now, Fact::Step { index, name: format!("step {index}"), always: false, log });
        self.step += 1;
    }

    fn next_step(&mut self, now: Timestamp) {
        let (index, log) = (self.step - 1, u64::from(self.step) * 10);
        self.say(now, Fact::StepEnded { index, end: StepEnd::Exit(0), log });
        self.step(now);
    }

    fn over(&mut self, evidence: Evidence) {
        self.phase = Phase::Over;
        self.evidence = Some(evidence);
    }

    fn succeed(&mut self, now: Timestamp, random: &mut Random) {
        let value = random.below(3).to_string();
        self.say(now, Fact::Value { key: "image".into(), value: value.clone() });
        let artifact = Artifact { path: "a".into(), sha256: Hash::of(value.as_bytes()), size: 1 };
        self.say(now, Fact::Artifact { artifact });
        self.finish(now, Outcome::Succeeded, true);
    }

    fn finish(&mut self, now: Timestamp, outcome: Outcome, empty: bool) {
        let usage = Usage { cpu_ms: 1, memory_peak: 2, log_bytes: 3, ..Usage::default() };
        let at_step = self.step - 1;
        let step = (outcome != Outcome::Succeeded).then(|| (at_step, format!("step {at_step}")));
        let reason = if step.is_some() { "exit 1".to_owned() } else { String::new() };
        self.say(now, Fact::Finished { outcome, reason: reason.clone(), step: step.clone(), usage });
        if empty {
            self.say(now, Fact::Empty);
        }
        self.over(Evidence::Finished { outcome, reason, step, usage, empty });
    }
}
