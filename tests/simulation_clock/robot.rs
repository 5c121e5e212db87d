//! The real core with a made-up clock: what the wall shows and what time has really passed are two things.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use shipbell::config::{self, Trust, layout::Layout};
use shipbell::model::event::{Action, Change, Event};
use shipbell::model::ledger::{DueVerdict, LedgerRow};
use shipbell::model::name::JobKey;
use shipbell::model::pause::Scope;
use shipbell::model::run::{Cause, Outcome, Usage};
use shipbell::model::ticket::Evidence;
use shipbell::model::time::{Seconds, Timestamp};
use shipbell::pipeline::{self, world::World};
use shipbell::sys::host;

use crate::model::Rule;
use crate::random::Random;

const WINDOW: Seconds = Seconds(86_400);

/// A text of a schedule, from its load to its end.
struct Era {
    rule: Rule,
    since: Timestamp,
    from: Timestamp,
    /// Up to here every due time was decided before another text came.
    to: Option<Timestamp>,
}

pub struct Robot {
    dir: tempfile::TempDir,
    world: World,
    now: Timestamp,
    /// The latest instant that the wall has shown to a turn.
    high: Timestamp,
    wake_at: Option<Timestamp>,
    boots: u32,
    rules: Vec<Rule>,
    eras: Vec<Vec<Era>>,
    ledger: BTreeMap<JobKey, BTreeMap<Timestamp, LedgerRow>>,
    runs: BTreeMap<JobKey, BTreeSet<Timestamp>>,
    /// Ends of runs that are on their way.
    ends: Vec<Event>,
    paused: Vec<(Timestamp, Option<Timestamp>)>,
    turns: u64,
    seen: BTreeMap<&'static str, u64>,
    total: u64,
}

fn job(at: usize) -> JobKey {
    format!("app/j{at}").parse().unwrap()
}

impl Robot {
    pub fn new(random: &mut Random, jobs: usize) -> Self {
        let start: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let mut robot = Self {
            dir: tempfile::tempdir().unwrap(),
            world: World { nonce: "nonce".into(), ..World::default() },
            now: start,
            high: start,
            wake_at: None,
            boots: 0,
            rules: (0..jobs).map(|_| Rule::random(random)).collect(),
            eras: Vec::new(),
            ledger: BTreeMap::new(),
            runs: BTreeMap::new(),
            ends: Vec::new(),
            paused: Vec::new(),
            turns: 0,
            seen: BTreeMap::new(),
            total: 0,
        };
        robot.boot();
        let era = |rule: &Rule| vec![Era { rule: rule.clone(), since: start, from: start, to: None }];
        robot.eras = robot.rules.iter().map(era).collect();
        robot
    }

    pub fn due_times(&self) -> u64 {
        self.total
    }

    fn seen(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn catalog(&self) -> Event {
        let layout = Layout::new(Some(self.dir.path()));
        layout.create().unwrap();
        let dir = layout.jobs_dirs().into_iter().next().unwrap();
        std::fs::create_dir_all(&dir).unwrap();
        let one = |(at, rule): (usize, &Rule)| format!("[job.j{at}]\n{}\nsteps = \"true\"\n", rule.text());
        let jobs: Vec<String> = self.rules.iter().enumerate().map(one).collect();
        let settings = "[limits]\nslots = 200\n".to_owned();
        for (path, text) in [(layout.shipbell_toml(), settings), (dir.join("app.toml"), jobs.join("\n"))] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        }
        let trust = Trust { owners: vec![0, host::effective_uid()] };
        let loaded = config::load(&layout, &trust, &config::last_good::LastGood::default());
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems.iter().map(|p| &p.text).collect::<Vec<_>>());
        Event::Reloaded { catalog: Arc::new(loaded.catalog) }
    }

    /// A new process: nothing but what is stored is left of the old one.
    fn boot(&mut self) {
        let world = std::mem::take(&mut self.world);
        self.world = World { scratch: pipeline::scratch::Scratch::default(), ..world };
        let events = vec![self.catalog(), Event::Booted { boot_id: format!("boot {}", self.boots) }];
        self.turn(&events);
    }

    /// One turn, and those that its own doings bring about.
    fn turn(&mut self, events: &[Event]) {
        let mut events = events.to_vec();
        loop {
            self.high = self.high.max(self.now);
            self.turns += 1;
            let turn = pipeline::turn(&mut self.world, &events, self.now);
            self.record(&turn.changes);
            self.wake_at = turn.wake_at;
            assert!(turn.wake_at.is_none_or(|at| at > self.now), "wake_at {:?} at {}", turn.wake_at, self.now);
            for action in turn.actions {
                let evidence = Evidence::Finished {
                    outcome: Outcome::Succeeded,
                    reason: String::new(),
                    step: None,
                    usage: Usage::default(),
                    empty: true,
                };
                match action {
                    Action::Start(order) => {
                        self.ends.push(Event::Ended { run: order.run, attempt: order.attempt, evidence });
                    }
                    Action::Examine { run, attempt } => self.ends.push(Event::Ended { run, attempt, evidence }),
                    _ => {}
                }
            }
            if self.turns.is_multiple_of(997) {
                self.nothing_left();
            }
            if self.ends.is_empty() {
                return;
            }
            events = std::mem::take(&mut self.ends);
        }
    }

    /// What a look at everything would find was found without it.
    fn nothing_left(&self) {
        let mut world = self.world.clone();
        world.look_at_everything();
        let turn = pipeline::turn(&mut world, &[Event::Tick], self.now);
        assert!(turn.changes.is_empty(), "at {}: {:?}", self.now, turn.changes);
        assert_eq!(turn.wake_at, self.wake_at, "at {}", self.now);
    }

    fn record(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::LedgerPut(row) => {
                    let what = match &row.verdict {
                        DueVerdict::Run(_) => "run",
                        DueVerdict::Coalesced(_) => "coalesced",
                        DueVerdict::Skipped(why) if why.starts_with("missed") => {
                            assert!(WINDOW.after(row.last) < self.now, "{row:?} at {}", self.now);
                            "missed"
                        }
                        DueVerdict::Skipped(why) if why.starts_with("paused") => "paused",
                        DueVerdict::Skipped(why) => panic!("{why}: {row:?}"),
                    };
                    self.seen(what);
                    self.ledger.entry(row.job.clone()).or_default().insert(row.first, row.clone());
                }
                Change::RunPut(run) if run.is_queued() && run.attempt == 0 => {
                    let Cause::Schedule { due, previous } = run.cause else { panic!("{run:?}") };
                    assert!(
                        due <= self.now && previous.is_none_or(|previous| previous < due),
                        "{run:?} at {}",
                        self.now
                    );
                    let fresh = self.runs.entry(run.run.job.clone()).or_default().insert(due);
                    assert!(fresh, "a second run for {due}: {run:?}");
                }
                _ => {}
            }
        }
    }

    /// Lives through the years, from one thing that happens to the next.
    pub fn live(&mut self, random: &mut Random, years: u64) {
        let end = Seconds(years * 365 * 86_400 + years / 4 * 86_400).after(self.now);
        while self.now < end {
            let quiet = Seconds(random.below(6 * 86_400) + 60);
            self.wait(quiet);
            match random.below(12) {
                0 => {
                    self.seen("crash");
                    self.sleep(random.below(3600));
                    self.boot();
                }
                1 => {
                    self.seen("reboot");
                    self.boots += 1;
                    self.sleep(random.below(7200));
                    self.boot();
                }
                2 => {
                    self.seen("downtime");
                    self.sleep(random.below(4 * 86_400));
                    self.boot();
                }
                3 => {
                    self.seen("suspend");
                    self.sleep(random.below(86_400));
                    self.turn(&[Event::Tick]);
                }
                4 => {
                    self.seen("clock ahead");
                    self.sleep(random.below(5 * 3600));
                    self.turn(&[Event::ClockSet]);
                }
                5 => {
                    self.seen("clock back");
                    self.now = Seconds(random.below(5 * 3600)).before(self.now);
                    self.turn(&[Event::ClockSet]);
                }
                6 => self.edit(random, false),
                7 => self.edit(random, true),
                8 => self.pause(random),
                _ => self.resume(),
            }
        }
    }

    /// The daemon is awake: it is woken when it asked for it.
    fn wait(&mut self, span: Seconds) {
        let until = span.after(self.now);
        while let Some(at) = self.wake_at.filter(|at| *at <= until) {
            self.now = at;
            self.turn(&[Event::Tick]);
        }
        self.now = until;
    }

    fn sleep(&mut self, seconds: u64) {
        self.now = Seconds(seconds).after(self.now);
    }

    /// Some schedules are edited, in a reload or while the daemon is down.
    fn edit(&mut self, random: &mut Random, down: bool) {
        self.seen(if down { "edit while down" } else { "edit" });
        let known = self.high;
        if down {
            self.sleep(random.below(86_400));
        }
        let mut changed = Vec::new();
        for _ in 0..=random.below(3) {
            let at = usize::try_from(random.below(self.rules.len() as u64)).unwrap();
            let rule = Rule::random(random);
            if rule != self.rules[at] && !changed.contains(&at) {
                self.rules[at] = rule;
                changed.push(at);
            }
        }
        if down {
            self.boot();
        } else {
            let event = self.catalog();
            self.turn(&[event]);
        }
        let to = if down { known } else { self.high };
        for at in changed {
            let rule = self.rules[at].clone();
            let era = self.eras[at].last_mut().unwrap();
            era.to = Some(to);
            let decided = era.rule.due(era.since, era.from, to).last().copied().unwrap_or(era.from);
            let from = decided.max(self.now);
            self.eras[at].push(Era { rule, since: self.now, from, to: None });
        }
    }

    fn pause(&mut self, random: &mut Random) {
        if self.paused.last().is_some_and(|(_, end)| end.is_none_or(|end| end > self.now)) {
            return;
        }
        self.seen("pause");
        let until = random.one_in(2).then(|| Seconds(random.below(200_000) + 1).after(self.now));
        let (scope, note, by) = (Scope::All, "the disk".to_owned(), "ann".to_owned());
        self.turn(&[Event::Paused { scope, until, note, by }]);
        self.paused.push((self.now, until));
    }

    fn resume(&mut self) {
        let Some((_, end)) = self.paused.last_mut().filter(|(_, end)| end.is_none_or(|end| end > self.now)) else {
            return;
        };
        *end = Some(self.now);
        self.turn(&[Event::Resumed { scope: Scope::All, by: "ann".into() }]);
    }

    /// Holds the ledger against the enumeration.
    pub fn check(&mut self) -> String {
        self.turn(&[Event::Tick]);
        for at in 0..self.rules.len() {
            let key = job(at);
            let mut due: Vec<Timestamp> = Vec::new();
            for era in &self.eras[at] {
                due.extend(era.rule.due(era.since, era.from, era.to.unwrap_or(self.high)));
            }
            self.total += due.len() as u64;
            let rows: Vec<&LedgerRow> = self.ledger.get(&key).into_iter().flat_map(BTreeMap::values).collect();
            let mut left = due.iter().copied().peekable();
            for row in &rows {
                let mut count = 0;
                while let Some(at) = left.next_if(|at| *at <= row.last) {
                    assert!(at >= row.first, "{at} has no row before {row:?}");
                    count += 1;
                }
                assert_eq!(count, row.count, "{row:?}");
            }
            assert_eq!(left.next(), None, "{key}: no row");
            let due: BTreeSet<Timestamp> = due.into_iter().collect();
            let ran = self.runs.get(&key).cloned().unwrap_or_default();
            let made = rows.iter().filter(|row| matches!(row.verdict, DueVerdict::Run(_))).count();
            assert!(ran.is_subset(&due), "{key} ran at {:?}", ran.difference(&due).next());
            assert_eq!(ran.len(), made, "{key}");
        }
        let rows: usize = self.ledger.values().map(BTreeMap::len).sum();
        format!("{} due times, {} rows, {} turns: {:?}", self.total, rows, self.turns, self.seen)
    }
}
