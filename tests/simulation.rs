//! The simulation: the real core and the real store through random histories with a made-up clock, git
//! and launcher, crashes included. After every turn states and transitions are checked against the
//! promises. `SHIPBELL_SEEDS=N` runs N seeds, `SHIPBELL_SEED=n` that one; a failure is shortened and told.

#[path = "simulation/asking.rs"]
mod asking;
#[path = "simulation/checks.rs"]
mod checks;
#[path = "simulation/dues.rs"]
mod dues;
#[path = "simulation/ending.rs"]
mod ending;
#[path = "simulation/git.rs"]
mod git;
#[path = "simulation/launcher.rs"]
mod launcher;
#[path = "simulation/plans.rs"]
mod plans;
#[path = "simulation/pruning.rs"]
mod pruning;
#[path = "simulation/random.rs"]
mod random;
#[path = "simulation/robot.rs"]
mod robot;
#[path = "simulation/sabotage.rs"]
mod sabotage;
#[path = "simulation/starting.rs"]
mod starting;
#[path = "simulation/steps.rs"]
mod steps;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use checks::Fault;
use random::Random;
use robot::Robot;
use steps::Step;

const SEEDS: u64 = 24;
const STEPS: usize = 200;

/// How a history went: what it reached, what happened step by step, and the rule that was broken.
struct Outcome {
    reached: BTreeMap<&'static str, u64>,
    told: Vec<String>,
    fault: Option<Fault>,
}

fn play(seed: u64, trace: &[Step]) -> Outcome {
    let mut told = Vec::new();
    let mut reached = BTreeMap::new();
    let played = catch_unwind(AssertUnwindSafe(|| {
        let mut robot = Robot::new(&mut Random::new(seed))?;
        for step in trace {
            told.push(format!("{:?}", step.kind));
            let what = step.take(&mut robot);
            reached.clone_from(&robot.checks.reached);
            let what = what?;
            if let Some(last) = told.last_mut() {
                *last = format!("{} {what}", robot.now);
            }
        }
        let calm = steps::calm_down(&mut robot, &mut Random::new(seed));
        reached.clone_from(&robot.checks.reached);
        calm
    }));
    let fault = match played {
        Ok(Ok(())) => None,
        Ok(Err(fault)) => Some(fault),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(Fault { rule: "the core does not panic", detail: text.unwrap_or_default() })
        }
    };
    Outcome { reached, told, fault }
}

fn trace_of(seed: u64) -> Vec<Step> {
    Step::history(&mut Random::new(seed ^ 0x5eed), STEPS)
}

/// Leaves out steps as long as the same rule is broken.
fn shorten(seed: u64, mut trace: Vec<Step>, rule: &'static str) -> Vec<Step> {
    let mut length = trace.len() / 2;
    while length > 0 {
        let mut at = 0;
        while at < trace.len() {
            let mut shorter = trace.clone();
            shorter.drain(at..(at + length).min(trace.len()));
            if play(seed, &shorter).fault.is_some_and(|fault| fault.rule == rule) {
                trace = shorter;
            } else {
                at += length;
            }
        }
        length /= 2;
    }
    trace
}

/// One rule, broken in the shortest way that was found.
fn tell(rule: &'static str, seeds: &[u64]) -> String {
    let seed = seeds[0];
    let short = play(seed, &shorten(seed, trace_of(seed), rule));
    let detail = short.fault.map(|fault| fault.detail).unwrap_or_default();
    let told = short.told.join("\n  ");
    format!("\n{rule}: broken by {} seeds, SHIPBELL_SEED={seed}:\n  {told}\n{detail}\n", seeds.len())
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

#[test]
fn random_histories_keep_the_promises() {
    let seeds: Vec<u64> = match number("SHIPBELL_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SHIPBELL_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let mut reached: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut broken: BTreeMap<&'static str, Vec<u64>> = BTreeMap::new();
    for seed in &seeds {
        let outcome = play(*seed, &trace_of(*seed));
        if let Some(fault) = outcome.fault {
            broken.entry(fault.rule).or_default().push(*seed);
        }
        for (what, count) in outcome.reached {
            *reached.entry(what).or_default() += count;
        }
    }
    let told: Vec<String> = broken.iter().map(|(rule, seeds)| tell(rule, seeds)).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
    println!("{} seeds: {reached:?}", seeds.len());
    let lists = [(SEEDS, OFTEN), (10 * SEEDS, SELDOM)];
    for (_, list) in lists.iter().filter(|(least, _)| seeds.len() as u64 >= *least) {
        for what in *list {
            assert!(reached.contains_key(what), "no history reached `{what}`");
        }
    }
}

/// What the histories must come to, or they prove nothing.
const OFTEN: &[&str] = &[
    "approved start",
    "production succeeded",
    "deployment succeeded",
    "deployment not good",
    "superseded",
    "expired",
    "used",
    "vote",
    "schedule",
    "commit",
    "needs",
    "manual",
    "retry",
    "due: run",
    "due: coalesced",
    "due: skipped",
    "launched again",
    "tried again",
    "cancelled",
    "interrupted",
    "skipped",
    "crash",
    "reboot",
    "pause",
    "backfill",
];

/// The same, of many histories.
const SELDOM: &[&str] =
    &["deployment unknown", "start that takes back", "start over unclear", "rejected", "voided", "closed", "timed-out"];
