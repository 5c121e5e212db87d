//! What goes by `[retention]`: the step, and that nothing goes on which something stands that is live.
//! Written from the promise: what is deployed, waits, runs, was asked for or was attempted stays, with
//! everything upstream of it.

use std::collections::BTreeSet;

use shipbell::model::environment::EnvironmentState;
use shipbell::model::event::{Change, Event};
use shipbell::model::name::RunRef;
use shipbell::model::retention::{Part, Retention};
use shipbell::model::run::{Cause, Upstream};
use shipbell::model::time::Seconds;
use shipbell::pipeline::world::World;

use crate::checks::{Checks, Fault, Transition, must};
use crate::random::Random;
use crate::robot::Robot;

/// The simulated days are few.
pub fn retention() -> Retention {
    let short = |seconds| Some(Seconds(seconds));
    Retention { runs: short(3600), logs: short(1800), artifacts: short(600), mirrors: None, keep: 1 }
}

/// Old runs are looked up, mostly from the beginning.
pub fn prune(robot: &mut Robot, random: &mut Random) -> String {
    let after = random.one_in(4).then(|| random.below(40));
    let past = robot.reader.past(&retention(), robot.now, after, 1 + usize::try_from(random.below(50)).unwrap());
    let past = past.unwrap();
    let what = format!("{} old runs are judged", past.old.len());
    robot.inbox.push(Event::Aged(Box::new(past)));
    what
}

/// Of what is being removed, some is: or cannot be.
pub fn hear(robot: &mut Robot, random: &mut Random) {
    let gone: Vec<(RunRef, Part)> = robot.removing.iter().filter(|_| random.one_in(2)).cloned().collect();
    if gone.is_empty() {
        return;
    }
    let result = |random: &mut Random| if random.one_in(8) { Err("busy".to_owned()) } else { Ok(random.below(9000)) };
    let gone = gone.into_iter().map(|(run, part)| {
        robot.removing.remove(&(run.clone(), part));
        (run, part, result(random))
    });
    let gone = gone.collect();
    robot.inbox.push(Event::Removed { gone });
}

/// Everything that must not go.
fn live(world: &World) -> BTreeSet<RunRef> {
    let mut found = BTreeSet::new();
    let mut stand = |run: &RunRef, upstream: &[Upstream]| {
        found.insert(run.clone());
        found.extend(upstream.iter().map(|upstream| upstream.run.clone()));
    };
    for live in world.live.values() {
        for run in live.runs.values() {
            stand(&run.run, &run.upstream);
            if let Cause::Retry { of, .. } = &run.cause {
                stand(of, &[]);
            }
        }
        for request in live.requests.values() {
            stand(&request.run, &request.tuple.upstream);
        }
        for environment in live.environments.values() {
            if let Some(live) = &environment.live {
                stand(&live.run, &live.upstream);
            }
            if let EnvironmentState::Unclear { attempted, .. } = &environment.state {
                stand(&attempted.run, &attempted.upstream);
            }
        }
        // What each branch's newest commit is green by.
        for row in live.sightings.values() {
            let Some(tip) = row.last() else { continue };
            for standing in live.standings.values().filter(|standing| standing.commit == tip.commit.id) {
                let needed = world.scratch.needed.contains(&standing.job);
                let green = standing.latest.as_ref().filter(|latest| needed && latest.outcome.word() == "succeeded");
                if let Some(latest) = green.filter(|_| tip.git_ref.short() == "main") {
                    stand(&latest.upstream.run, &[]);
                }
            }
        }
    }
    found
}

pub fn what_goes(checks: &mut Checks, all: &Transition<'_>) -> Result<(), Fault> {
    for change in &all.done.changes {
        match change {
            Change::RemovalPut(removal) if removal.done.is_none() => {
                must(!live(all.before).contains(&removal.run), "what something stands on does not go", removal)?;
                checks.seen("decided to go");
            }
            Change::RunGone { run } => {
                let key = (run.clone(), Part::Run);
                must(all.before.removals.contains_key(&key), "what goes was written down before", run)?;
                must(
                    all.after.numbers == all.before.numbers || all.after.numbers[&run.job] >= run.number,
                    "numbers stay",
                    run,
                )?;
                checks.seen("a run is gone");
            }
            _ => {}
        }
    }
    Ok(())
}
