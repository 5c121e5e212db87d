//! What may happen next: each step is a kind and a die, so that a trace can be shortened and replayed.

use std::sync::Arc;

use shipbell::model::backfill::{BackfillOnly, BackfillRequest};
use shipbell::model::commit::Authors;
use shipbell::model::event::{Ballot, Event, RunRequest};
use shipbell::model::letter::{Letter, LetterKind};
use shipbell::model::name::{JobKey, RunRef};
use shipbell::model::pause::Scope;
use shipbell::model::request::{Request, Verdict};
use shipbell::model::run::Run;
use shipbell::model::time::Seconds;
use shipbell::store::RunFilter;

use crate::checks::{Fault, must};
use crate::git::MAILS;
use crate::random::Random;
use crate::robot::{Death, Robot};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Push,
    Poll,
    Answer,
    Work,
    Hear,
    /// A good while in which everything goes its way.
    Flow,
    Cancel,
    Retry,
    Start,
    Vote,
    Reload,
    /// A pause begins or ends.
    Pause,
    Backfill,
    Letter,
    Resolve,
    Disk,
    /// What is old goes.
    Prune,
    Soon,
    Wake,
    Later,
    ClockStep,
    Crash,
    Reboot,
}

/// How often each happens, of the sum.
const WEIGHTS: &[(Kind, u64)] = &[
    (Kind::Push, 8),
    (Kind::Poll, 10),
    (Kind::Answer, 14),
    (Kind::Work, 40),
    (Kind::Hear, 34),
    (Kind::Flow, 5),
    (Kind::Cancel, 1),
    (Kind::Retry, 2),
    (Kind::Start, 3),
    (Kind::Vote, 9),
    (Kind::Reload, 2),
    (Kind::Pause, 2),
    (Kind::Backfill, 1),
    (Kind::Letter, 8),
    (Kind::Resolve, 3),
    (Kind::Disk, 1),
    (Kind::Prune, 3),
    (Kind::Soon, 10),
    (Kind::Wake, 12),
    (Kind::Later, 3),
    (Kind::ClockStep, 1),
    (Kind::Crash, 4),
    (Kind::Reboot, 1),
];

#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub kind: Kind,
    pub die: u64,
}

impl Step {
    /// A history of so many. Each seed has a taste of its own: some kinds come often, some never.
    pub fn history(random: &mut Random, length: usize) -> Vec<Self> {
        let mut often = WEIGHTS.to_vec();
        for (kind, weight) in &mut often {
            let needed = matches!(kind, Kind::Push | Kind::Poll | Kind::Work | Kind::Hear | Kind::Answer | Kind::Wake);
            match random.below(8) {
                0 if !needed => *weight = 0,
                1..=2 => *weight *= 4,
                _ => {}
            }
        }
        (0..length).map(|_| Self { kind: one_of(&often, random), die: random.next() }).collect()
    }

    /// Does it, and then mostly a turn; says what happened.
    pub fn take(self, robot: &mut Robot) -> Result<String, Fault> {
        let mut random = Random::new(self.die);
        let what = self.happen(robot, &mut random)?;
        if !random.one_in(4) {
            robot.turn()?;
        }
        Ok(what)
    }

    fn happen(self, robot: &mut Robot, random: &mut Random) -> Result<String, Fault> {
        Ok(match self.kind {
            Kind::Push => push(robot, random),
            Kind::Poll => poll(robot, random),
            Kind::Answer => answer(robot, random, false),
            Kind::Work => {
                let what = robot.launcher.work(random, robot.now, false);
                what.unwrap_or_else(|| "nothing runs".into())
            }
            Kind::Hear => hear(robot, random),
            Kind::Flow => flow(robot, random)?,
            Kind::Cancel => cancel(robot, random),
            Kind::Retry => retry(robot, random),
            Kind::Start => start(robot, random),
            Kind::Vote => vote(robot, random),
            Kind::Reload => {
                let what = robot.plan.change(random);
                robot.reload();
                format!("reload: {what}")
            }
            Kind::Pause => pause(robot, random),
            Kind::Backfill => backfill(robot, random),
            Kind::Letter => letter(robot, random, false),
            Kind::Resolve => resolve(robot, random),
            Kind::Disk => {
                let free = if random.one_in(3) { 1000 } else { 1 << 40 };
                robot.inbox.push(Event::DiskSeen { free });
                format!("{free} bytes are free")
            }
            Kind::Prune => crate::pruning::prune(robot, random),
            Kind::Soon | Kind::Wake | Kind::Later | Kind::ClockStep => time(self.kind, robot, random),
            Kind::Crash => match random.below(4) {
                0 => {
                    robot.crash()?;
                    "the daemon dies between turns".into()
                }
                1 => die(robot, if random.one_in(2) { Death::BeforeCommit } else { Death::DiskFull }),
                _ => die(robot, Death::AfterActions(random.below(3))),
            },
            Kind::Reboot => {
                robot.reboot(random)?;
                "the host goes down and comes up".into()
            }
        })
    }
}

fn one_of(often: &[(Kind, u64)], random: &mut Random) -> Kind {
    let mut at = random.below(often.iter().map(|(_, weight)| weight).sum());
    for (kind, weight) in often {
        if at < *weight {
            return *kind;
        }
        at -= weight;
    }
    Kind::Wake
}

fn die(robot: &mut Robot, death: Death) -> String {
    robot.death = Some(death);
    format!("the daemon will die in its next turn: {death:?}")
}

fn push(robot: &mut Robot, random: &mut Random) -> String {
    let names: Vec<_> = robot.gits.keys().cloned().collect();
    let name = random.pick(&names).unwrap();
    let what = robot.gits.get_mut(name).unwrap().change(random);
    format!("{name} {what}")
}

pub fn poll(robot: &mut Robot, random: &mut Random) -> String {
    let names: Vec<_> = robot.gits.keys().cloned().collect();
    let name = random.pick(&names).unwrap().clone();
    let Some(pipeline) = robot.catalog.pipelines.get(&name) else { return format!("{name} is gone") };
    let under_way = |event: &Event| matches!(event, Event::Polled { pipeline, .. } if *pipeline == name);
    if robot.inbox.iter().any(under_way) {
        return format!("{name} is being polled");
    }
    if random.one_in(12) {
        robot.inbox.push(Event::PollFailed { pipeline: name.clone(), why: "timed out".into() });
        return format!("{name} cannot be polled");
    }
    let poll = robot.gits[&name].poll(pipeline, &robot.world);
    robot.inbox.push(Event::Polled { pipeline: name.clone(), poll });
    format!("{name} is polled")
}

pub fn answer(robot: &mut Robot, random: &mut Random, calm: bool) -> String {
    let all: Vec<_> = robot.asked.iter().cloned().collect();
    let Some(question) = random.pick(&all).cloned() else { return "nothing was asked".into() };
    robot.asked.remove(&question);
    let answer = if !calm && random.one_in(15) {
        Err("git died".to_owned())
    } else {
        Ok(Arc::new(robot.gits[&question.pipeline].compare(&question.base, &question.head)))
    };
    let what = format!("git answers {question:?}: {:?}", answer.as_ref().map(|answer| answer.relation));
    robot.inbox.push(Event::Answered { question, answer });
    what
}

pub fn hear(robot: &mut Robot, random: &mut Random) -> String {
    let events = robot.launcher.hear(random);
    crate::pruning::hear(robot, random);
    let what = if events.is_empty() { "nothing to hear".into() } else { format!("{events:?}") };
    robot.inbox.extend(events);
    what
}

/// A commit, seen, and some of its way to production; everybody says yes.
fn flow(robot: &mut Robot, random: &mut Random) -> Result<String, Fault> {
    let what = if random.one_in(3) { "nothing new".into() } else { push(robot, random) };
    poll(robot, random);
    poll(robot, random);
    let willing = random.one_in(2);
    for _ in 0..random.below(70) {
        robot.launcher.work(random, robot.now, true);
        hear(robot, random);
        answer(robot, random, true);
        if willing && random.one_in(6) {
            agree(robot);
        }
        robot.turn()?;
    }
    Ok(format!("a good while, with {what}"))
}

fn agree(robot: &mut Robot) {
    let open = robot.world.live.values().flat_map(|live| live.requests.values()).filter(|request| request.is_open());
    let ballot = |request: &Request, by: &str| {
        let (run, request, person) = (request.run.clone(), Some(request.id), Some(by.parse().unwrap()));
        let (verdict, reason, via) = (Verdict::Approve, String::new(), "mail".into());
        Event::Voted(Ballot { run, request, person, verdict, reason, via, signed: None, coded: false })
    };
    let ballots: Vec<Event> = open.flat_map(|request| ["ann", "bob", "joe"].map(|by| ballot(request, by))).collect();
    robot.inbox.extend(ballots);
}

fn some_run(robot: &Robot, random: &mut Random) -> Option<Run> {
    let runs: Vec<&Run> = robot.world.runs().collect();
    random.pick(&runs).map(|run| (*run).clone())
}

fn cancel(robot: &mut Robot, random: &mut Random) -> String {
    let Some(run) = some_run(robot, random) else { return "nothing to cancel".into() };
    robot.inbox.push(Event::CancelRequested { run: run.run.clone(), by: "ann".into() });
    format!("ann cancels {}", run.run)
}

fn retry(robot: &mut Robot, random: &mut Random) -> String {
    let filter = RunFilter { finished_only: true, limit: 30, ..RunFilter::default() };
    let runs = robot.reader.runs(&filter).unwrap();
    let Some(old) = random.pick(&runs).cloned() else { return "nothing to retry".into() };
    let run = old.run.clone();
    robot.inbox.push(Event::RetryRequested { run: run.clone(), by: "bob".into(), old: Box::new(old), gone: vec![] });
    format!("bob retries {run}")
}

fn some_job(robot: &Robot, random: &mut Random) -> Option<JobKey> {
    let jobs = robot.catalog.pipelines.values().flat_map(|pipeline| pipeline.jobs.values());
    let keys: Vec<_> = jobs.map(|job| job.definition.key.clone()).collect();
    random.pick(&keys).cloned()
}

fn pause(robot: &mut Robot, random: &mut Random) -> String {
    let there: Vec<Scope> = robot.world.pauses.keys().cloned().collect();
    if let Some(scope) = random.pick(&there).filter(|_| !random.one_in(4)) {
        robot.inbox.push(Event::Resumed { scope: scope.clone(), by: "bob".into() });
        return format!("bob resumes {scope}");
    }
    let Some(job) = some_job(robot, random) else { return "no job to pause".into() };
    let scope = match random.below(4) {
        0 => Scope::All,
        1 => Scope::Pipeline(job.pipeline),
        _ => Scope::Job(job),
    };
    let until = random.one_in(2).then(|| Seconds(random.below(20_000) + 1).after(robot.now));
    let what = format!("ann pauses {scope} until {until:?}");
    robot.checks.seen("pause");
    robot.inbox.push(Event::Paused { scope, until, note: "the disk".into(), by: "ann".into() });
    what
}

/// Due times of the last hours once more, as the command asks for them.
fn backfill(robot: &mut Robot, random: &mut Random) -> String {
    let Some(job) = some_job(robot, random) else { return "no job to backfill".into() };
    let (from, to) = (Seconds(random.below(6 * 3600)).before(robot.now), robot.now);
    let only = *random.pick(&[BackfillOnly::Missing, BackfillOnly::Failed, BackfillOnly::All]).unwrap();
    let known = robot.reader.due_runs(&job, from, to).unwrap();
    let what = format!("joe backfills {job} from {from}: {only:?}");
    let request = BackfillRequest { job, from, to, only, dry_run: random.one_in(5), by: "joe".into(), known };
    robot.inbox.push(Event::BackfillRequested(request));
    what
}

fn start(robot: &mut Robot, random: &mut Random) -> String {
    let Some(job) = some_job(robot, random) else { return "no job to start".into() };
    let git_ref = random.pick(&[None, None, Some("main"), Some("feature/a"), Some("v1")]).copied().flatten();
    let request = RunRequest {
        job,
        git_ref: git_ref.map(String::from),
        params: std::collections::BTreeMap::new(),
        by: "joe".into(),
    };
    let what = format!("joe starts {} {git_ref:?}", request.job);
    robot.inbox.push(Event::RunRequested(request));
    what
}

fn vote(robot: &mut Robot, random: &mut Random) -> String {
    let requests: Vec<_> = robot.world.live.values().flat_map(|live| live.requests.values()).cloned().collect();
    let (run, request): (RunRef, Option<u64>) = match random.pick(&requests) {
        // The link of an old mail: of this or another request of the run.
        Some(request) if random.one_in(6) => (request.run.clone(), Some(request.id.saturating_sub(1))),
        Some(request) => (request.run.clone(), Some(request.id).filter(|_| !random.one_in(3))),
        None => match some_run(robot, random) {
            Some(run) => (run.run, None),
            None => return "nothing to vote on".into(),
        },
    };
    let person = random.pick(&["ann", "bob", "joe", "joe", "eve", "nobody"]).copied().unwrap();
    let person = if random.one_in(20) { None } else { Some(person.parse().unwrap()) };
    let verdict = if random.one_in(6) { Verdict::Reject } else { Verdict::Approve };
    let ballot = Ballot {
        run,
        request,
        person,
        verdict,
        reason: "because".into(),
        via: "mail".into(),
        signed: None,
        coded: false,
    };
    let what = format!("{ballot:?}");
    robot.inbox.push(Event::Voted(ballot));
    what
}

pub fn letter(robot: &mut Robot, random: &mut Random, calm: bool) -> String {
    let all: Vec<u64> = robot.sending.iter().copied().collect();
    let Some(letter) = random.pick(&all).copied() else { return "no letter is on its way".into() };
    robot.sending.remove(&letter);
    let luck = if calm { 9 } else { random.below(10) };
    if let Some(LetterKind::Mark { run }) = robot.world.letters.get(&letter).map(|letter| letter.kind.clone()) {
        // What leaves says what holds now; what is refused for good is nobody's fault.
        let ended = robot.world.run(&run).is_none();
        if luck == 0 || luck > 3 {
            robot.heard.insert(run, ended || luck == 0);
        }
    }
    if robot.world.letters.get(&letter).is_some_and(Letter::is_to_committers) {
        let mails = MAILS.iter().filter(|_| luck % 2 == 1).map(|&mail| mail.to_owned()).collect();
        let found = Authors { mails, more: luck == 7 };
        let authors = if luck < 3 { Err("the mirror is damaged".into()) } else { Ok(found) };
        robot.inbox.push(Event::AuthorsFound { letter, authors });
        return format!("the authors of letter {letter} are known or not ({luck})");
    }
    let again = Some(Seconds(90).after(robot.now));
    robot.inbox.push(match luck {
        0 => Event::LetterFailed { letter, why: "no such user".into(), for_good: true, again: None },
        1..=2 => Event::LetterFailed { letter, why: "connection refused".into(), for_good: false, again: None },
        3 => Event::LetterFailed { letter, why: "too many requests".into(), for_good: false, again },
        _ => Event::LetterSent { letter },
    });
    format!("letter {letter} is delivered or not ({luck})")
}

fn resolve(robot: &mut Robot, random: &mut Random) -> String {
    let all: Vec<_> = robot
        .world
        .live
        .iter()
        .flat_map(|(name, live)| live.environments.keys().map(|environment| (name.clone(), environment.clone())))
        .collect();
    let Some((pipeline, environment)) = random.pick(&all).cloned() else { return "nothing to resolve".into() };
    let as_deployed = random.one_in(2);
    let what = format!("ann resolves {pipeline} {environment}, as deployed: {as_deployed}");
    robot.inbox.push(Event::Resolved { pipeline, environment, as_deployed, by: "ann".into() });
    what
}

fn time(kind: Kind, robot: &mut Robot, random: &mut Random) -> String {
    match kind {
        Kind::Soon => robot.advance(Seconds(random.below(120))),
        Kind::Wake => match robot.wake_at.filter(|at| *at > robot.now) {
            Some(at) => robot.now = at,
            None => robot.advance(Seconds(1)),
        },
        Kind::Later => {
            let most = if random.one_in(8) { 9 * 86_400 } else { 10 * 3600 };
            robot.advance(Seconds(random.below(most)));
        }
        _ => {
            let back = random.one_in(2);
            let by = Seconds(random.below(3 * 3600));
            robot.now = if back { by.before(robot.now) } else { by.after(robot.now) };
            robot.checks.clock_stepped(back);
            // The alarm of the wall clock is cancelled by every step of it.
            robot.inbox.push(Event::ClockSet);
        }
    }
    format!("it is {}", robot.now)
}

/// Faults stop, everything is answered: every queued run ends or says what it waits for, nothing loops,
/// and no commit was forgotten.
pub fn calm_down(robot: &mut Robot, random: &mut Random) -> Result<(), Fault> {
    robot.death = None;
    robot.inbox.push(Event::DiskSeen { free: 1 << 40 });
    // A pause that was just asked for is known after it.
    robot.turn()?;
    let paused: Vec<Scope> = robot.world.pauses.keys().cloned().collect();
    robot.inbox.extend(paused.into_iter().map(|scope| Event::Resumed { scope, by: "ann".into() }));
    robot.turn()?;
    come_to_rest(robot, random)?;
    let polls = robot.catalog.pipelines.values().filter_map(|pipeline| {
        let poll = robot.gits.get(&pipeline.name)?.poll(pipeline, &robot.world);
        Some(Event::Polled { pipeline: pipeline.name.clone(), poll })
    });
    robot.inbox = polls.collect();
    robot.turn()?;
    // Longer than any `quiet`.
    robot.advance(Seconds(120));
    robot.turn()?;
    come_to_rest(robot, random)?;
    crate::checks::nothing_was_forgotten(&robot.world)?;
    let reason = |run| shipbell::pipeline::waits(&robot.world, run, robot.now);
    let unchecked = robot.world.runs().find(|run| reason(run).is_some_and(|reason| reason.contains(UNCHECKED)));
    must(unchecked.is_none(), "a poll checks every signature", unchecked)?;
    let open = robot.world.last_request;
    // Longer than any voting or approval lives.
    robot.advance(Seconds::days(15));
    robot.turn()?;
    come_to_rest(robot, random)?;
    let mut left = robot.world.live.values().flat_map(|live| live.requests.values());
    must(left.all(|request| request.id > open), "every request comes to an end", &robot.world.live)
}

pub fn come_to_rest(robot: &mut Robot, random: &mut Random) -> Result<(), Fault> {
    let mut rounds = 0;
    loop {
        rounds += 1;
        must(rounds < 3000, "everything comes to rest", robot.world.runs().collect::<Vec<_>>())?;
        if !robot.asked.is_empty() {
            answer(robot, random, true);
        } else if robot.launcher.work(random, robot.now, true).is_none() {
            if !robot.sending.is_empty() {
                letter(robot, random, true);
            } else if robot.launcher.is_quiet() {
                break;
            }
        }
        hear(robot, random);
        robot.turn()?;
    }
    for run in robot.world.runs() {
        must(run.is_queued(), "what runs ends when it may", run)?;
        let reason = shipbell::pipeline::waits(&robot.world, run, robot.now);
        let good = reason.as_ref().is_some_and(|reason| LASTING.iter().any(|word| reason.contains(word)));
        must(good, "what waits says for what", (run, &reason))?;
        // Whoever stands behind another waits for one that a person can move, not for a dead end.
        let behind = reason.iter().find_map(|reason| reason.strip_prefix("after #")?.parse().ok());
        let other = behind.and_then(|number| robot.world.run(&RunRef { job: run.run.job.clone(), number }));
        let others = other.and_then(|other| shipbell::pipeline::waits(&robot.world, other, robot.now));
        let dead_end = others.is_some_and(|reason| reason.starts_with("needs"));
        must(!dead_end, "nobody waits behind one whose needs failed", (run, other))?;
    }
    for (run, _) in robot.heard.iter().filter(|(_, ended)| !**ended) {
        let kind = LetterKind::Mark { run: run.clone() };
        let on_its_way = robot.world.letters.values().any(|letter| letter.kind == kind);
        must(on_its_way || robot.world.run(run).is_some(), "a host that heard of a run hears its end", run)?;
    }
    Ok(())
}

/// What a run may wait for when nothing is under way.
const LASTING: &[&str] = &[
    "approval",
    "a person",
    "resolve",
    "off",
    "held",
    "needs",
    "window",
    "the delay",
    "after #",
    "cannot compare",
    UNCHECKED,
];
/// Until the next poll.
const UNCHECKED: &str = "not yet been checked";
