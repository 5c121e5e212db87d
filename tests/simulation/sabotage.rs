//! The checks themselves: rules are broken on purpose, and each must be caught by the check that is for
//! it. A check that lets everything pass would prove nothing.

use std::sync::Arc;

use shipbell::model::event::{Change, Event};
use shipbell::model::job::Hash;
use shipbell::model::ledger::Cursor;
use shipbell::model::pause::{Pause, Scope};
use shipbell::model::request::{Request, RequestState, Verdict};
use shipbell::model::run::{Finished, Outcome, Run, RunState, Usage};
use shipbell::model::ticket::Evidence;
use shipbell::model::time::{Seconds, Timestamp};
use shipbell::pipeline::Turn;
use shipbell::pipeline::world::World;

use crate::plans::Plan;
use crate::random::Random;
use crate::robot::Robot;
use crate::steps;

/// A robot whose production run waits for approval, by a plan without chance.
fn at_the_bell() -> (Robot, Run, Request) {
    let mut random = Random::new(1);
    let plan = Plan { votes: 1, ..Plan::plain() };
    let mut robot = Robot::with(plan, &mut random).unwrap();
    for _ in 0..400 {
        steps::poll(&mut robot, &mut random);
        robot.launcher.work(&mut random, robot.now, true);
        steps::hear(&mut robot, &mut random);
        steps::answer(&mut robot, &mut random, true);
        robot.turn().unwrap();
        let open = robot.world.live.values().flat_map(|live| live.requests.values()).next().cloned();
        if let Some(request) = open {
            let run = robot.world.run(&request.run).unwrap().clone();
            steps::come_to_rest(&mut robot, &mut random).unwrap();
            return (robot, run, request);
        }
    }
    panic!("no request was made");
}

/// The rule that a turn with these changes breaks; "" for none.
fn broken(robot: &Robot, events: &[Event], changes: &[Change], alter: impl FnOnce(&mut World)) -> &'static str {
    let mut after = robot.world.clone();
    alter(&mut after);
    changes.iter().for_each(|change| after.absorb(change));
    let done = Turn { changes: changes.to_vec(), ..Turn::default() };
    let mut checks = robot.checks.clone();
    let found = checks.transition(&robot.world, events, &done, &after, &robot.gits, robot.now);
    found.err().map_or("", |fault| fault.rule)
}

fn running(run: &Run, robot: &Robot) -> Change {
    let state =
        RunState::Running { launched_at: robot.now, started_at: None, step: None, touched: false, stopping: None };
    let mut run = Run { attempt: run.attempt + 1, tries: run.tries + 1, state, ..run.clone() };
    let definition = &robot.world.job(&run.run.job).unwrap().definition;
    run.holds.environment = definition.environment.as_ref().map(|policy| policy.name.clone());
    Change::RunPut(Box::new(run))
}

fn approved(request: &Request, robot: &Robot, by: &str) -> Request {
    let (at, until) = (robot.now, Seconds::days(7).after(robot.now));
    let vote = shipbell::model::request::Vote {
        by: by.into(),
        verdict: Verdict::Approve,
        at,
        reason: String::new(),
        via: "mail".into(),
        signed: None,
        coded: false,
    };
    Request { state: RequestState::Approved { at, until }, votes: vec![vote], ..request.clone() }
}

fn put(request: Request) -> Change {
    Change::RequestPut(Box::new(request))
}

#[test]
fn a_start_without_a_valid_quorum_is_caught() {
    let (robot, run, request) = at_the_bell();
    let start = running(&run, &robot);
    let good = approved(&request, &robot, "ann");
    let rule = |request: Request| broken(&robot, &[], &[put(request), start.clone()], |_| {});

    // The approved one breaks nothing of the start; what is left undone is another rule's.
    assert_eq!(rule(good.clone()), "a second look finds nothing to do");
    assert_eq!(broken(&robot, &[], std::slice::from_ref(&start), |_| {}), "promise 1: it is approved");

    let over = RequestState::Approved { at: robot.now, until: robot.now };
    assert_eq!(rule(Request { state: over, ..good.clone() }), "promise 1: the approval still lives");
    assert_eq!(rule(Request { votes: Vec::new(), ..good.clone() }), "promise 1: a quorum that is valid now");
    assert_eq!(rule(approved(&request, &robot, "eve")), "promise 1: a quorum that is valid now");
    let mut no = good.clone();
    no.votes[0].verdict = Verdict::Reject;
    assert_eq!(rule(no), "promise 1: nobody rejected it");
    let mut late = good.clone();
    late.votes[0].at = request.expires_at;
    assert_eq!(rule(late), "promise 1: votes in time");

    let mut other = good.clone();
    other.tuple.definition = Hash::of(b"another");
    assert_eq!(rule(other.clone()), "promise 1: the hash is the tuple's");
    other.tuple_hash = other.tuple.hash();
    assert_eq!(rule(other), "promise 1: it is what was approved");

    let changed = Plan { steps: 1, votes: 1, ..Plan::plain() }.catalog();
    let changes = [put(good), start];
    let rule = broken(&robot, &[], &changes, |world| world.scratch.catalog = changed);
    assert_eq!(rule, "a run starts with the present definition");
}

#[test]
fn votes_and_requests_that_go_wrong_are_caught() {
    let (robot, _, request) = at_the_bell();
    let rule = |request: Request| broken(&robot, &[], &[put(request)], |_| {});
    assert_eq!(rule(approved(&request, &robot, "eve")), "only who holds the role votes");
    let mut twice = approved(&request, &robot, "ann");
    twice.votes.push(twice.votes[0].clone());
    assert_eq!(
        broken(&robot, &[], &[put(approved(&request, &robot, "ann")), put(twice)], |_| {}),
        "a person votes once"
    );
    let early = RequestState::Expired { at: robot.now };
    assert_eq!(rule(Request { state: early, ..request.clone() }), "a request expires when its time is over");
    let used = RequestState::Used { at: robot.now };
    assert_eq!(rule(Request { state: used, ..request.clone() }), "only an approval is used");
    let mut other = request.clone();
    other.tuple.v = 9;
    assert_eq!(rule(other), "what a request asks never changes");

    let rejected = Request { id: request.id + 1, ..request.clone() };
    let (tuple, pipeline) = (request.tuple_hash.clone(), request.run.job.pipeline.clone());
    let mut again = Robot::with(Plan::plain(), &mut Random::new(1)).unwrap();
    again.world = robot.world.clone();
    again.world.live.get_mut(&pipeline).unwrap().rejected.insert(tuple);
    again.checks = robot.checks.clone();
    let rule = broken(&again, &[], &[put(rejected)], |_| {});
    assert_eq!(rule, "what was rejected is not offered again by itself");
}

fn finished(run: &Run, outcome: Outcome, at: Timestamp) -> Change {
    let end = Finished { outcome, started_at: None, at, reason: "x".into(), step: None };
    Change::RunPut(Box::new(Run { state: RunState::Finished(end), ..run.clone() }))
}

#[test]
fn ends_without_evidence_are_caught() {
    let (mut robot, run, request) = at_the_bell();
    robot.world.absorb(&put(approved(&request, &robot, "ann")));
    let start = running(&run, &robot);
    let Change::RunPut(run) = &start else { unreachable!() };
    // It started in an earlier turn.
    let mut started = robot.world.clone();
    started.absorb(&start);
    let mut checks = robot.checks.clone();
    let done = Turn { changes: vec![start.clone()], ..Turn::default() };
    let _ = checks.transition(&robot.world, &[], &done, &started, &robot.gits, robot.now);
    (robot.world, robot.checks) = (started, checks);

    let success = finished(run, Outcome::Succeeded, robot.now);
    let ended = |evidence: Evidence| Event::Ended { run: run.run.clone(), attempt: run.attempt, evidence };
    let rule = |events: &[Event], change: &Change| broken(&robot, events, std::slice::from_ref(change), |_| {});
    assert_eq!(rule(&[], &success), "an end has evidence");
    let lost = ended(Evidence::Lost { touched: true, rebooted: false, why: None });
    assert_eq!(rule(std::slice::from_ref(&lost), &success), "promise 11: success has evidence");
    let (usage, reason) = (Usage::default(), String::new());
    let outcome = Outcome::Succeeded;
    let unsure = ended(Evidence::Finished { outcome, reason, step: None, usage, empty: false });
    assert_eq!(rule(&[unsure], &success), "promise 11: success has evidence");
    let failed = finished(run, Outcome::Failed, robot.now);
    let unknown = "promise 11: a deployment without evidence is unknown";
    assert_eq!(rule(std::slice::from_ref(&lost), &failed), unknown);
    let as_unknown = finished(run, Outcome::Unknown, robot.now);
    let unclear = "a deployment that did not end well leaves it unclear";
    let found = rule(std::slice::from_ref(&lost), &as_unknown);
    assert!(found == unclear || found == "a deployment that touched is known of", "{found}");
    let again = RunState::Queued { not_before: None, confirmed_by: None };
    let again = Change::RunPut(Box::new(Run { state: again, ..(**run).clone() }));
    assert_eq!(rule(&[lost], &again), "an unknown deployment is never retried by itself");

    let mut second = (**run).clone();
    second.run.number += 1;
    second.state = RunState::Queued { not_before: None, confirmed_by: None };
    second.attempt = 0;
    let queued = Change::RunPut(Box::new(second.clone()));
    let beside = running(&second, &robot);
    let asked = Request { id: request.id + 1, run: second.run.clone(), ..approved(&request, &robot, "ann") };
    let found = broken(&robot, &[], &[queued, put(asked), beside], |_| {});
    assert_eq!(found, "an environment runs one deployment at a time");
}

#[test]
fn a_start_of_what_is_paused_is_caught() {
    let (robot, run, _) = at_the_bell();
    let start = running(&run, &robot);
    for scope in [Scope::All, Scope::Pipeline(run.run.job.pipeline.clone()), Scope::Job(run.run.job.clone())] {
        let pause = Pause { scope, at: robot.now, until: None, note: String::new(), by: "ann".into() };
        let put = Change::PausePut(pause);
        assert_eq!(broken(&robot, &[], &[put, start.clone()], |_| {}), "nothing that is paused starts");
    }
}

#[test]
fn what_is_finished_due_or_due_no_more_is_caught() {
    let (robot, _, _) = at_the_bell();
    let over = robot.reader.runs(&shipbell::store::RunFilter::default()).unwrap();
    let over = over.into_iter().find(|run| run.outcome() == Some(Outcome::Succeeded)).unwrap();
    assert_eq!(broken(&robot, &[], &[finished(&over, Outcome::Failed, robot.now)], |_| {}), "finished is final");

    let cursor = robot.world.cursors.values().find(|cursor| cursor.job.to_string() == "tools/backup").unwrap();
    let decided = Seconds::days(3).after(cursor.decided);
    let passed = Change::CursorPut(Cursor { decided, ..cursor.clone() });
    assert_eq!(broken(&robot, &[], &[passed], |_| {}), "every due time has its row");
    let back = Change::CursorPut(Cursor { decided: Seconds(60).before(cursor.decided), ..cursor.clone() });
    assert_eq!(broken(&robot, &[], &[back], |_| {}), "decided due times stay decided");
    let done = Turn { wake_at: Some(robot.now), ..Turn::default() };
    let found = robot.checks.clone().transition(&robot.world, &[], &done, &robot.world, &robot.gits, robot.now);
    assert_eq!(found.unwrap_err().rule, "wake_at is not in the past");

    let mut forgotten = robot.world.clone();
    forgotten.scratch.dirty.clear();
    Arc::make_mut(&mut forgotten.scratch.catalog).settings.slots = 4;
    let done = Turn::default();
    let mut later = robot.checks.clone();
    let far = Seconds::days(40).after(robot.now);
    let found = later.transition(&robot.world, &[], &done, &forgotten, &robot.gits, far).unwrap_err().rule;
    assert_eq!(found, "no due time is passed over");
}
