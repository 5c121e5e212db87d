//! Fault 32, its second half: hundreds of runs that wait at once. How many may run is kept, whoever has waited
//! longest goes first, and nobody is forgotten. (Thousands of repositories due at once: tests/sources/faults.)

use std::collections::{BTreeMap, BTreeSet};

use shipbell::model::name::RunRef;
use shipbell::model::run::Outcome;
use shipbell::model::time::Seconds;

use crate::scene::Scene;

const JOBS: usize = 50;
const EACH: usize = 10;
const SLOTS: usize = 4;

/// Every fifth job wants a place in a pool that has one.
fn jobs() -> String {
    let pool = |n: usize| if n.is_multiple_of(5) { "pool = \"docker\"\n" } else { "" };
    let job = |n: usize| format!("[job.j{n:02}]\nmanual = true\nsteps = \"true\"\n{}", pool(n));
    format!("# no repo\n{}", (0..JOBS).map(job).collect::<String>())
}

fn short(run: &RunRef) -> String {
    format!("{}#{}", run.job.job, run.number)
}

#[test]
fn fault_32_of_five_hundred_runs_the_oldest_go_first_and_none_is_starved() {
    let mut scene = Scene::with_settings(&format!("[limits]\nslots = {SLOTS}\n"), &jobs());
    // One job asks for all of its runs first; the others wait behind it and must not wait for all of them.
    for job in 0..JOBS {
        for _ in 0..EACH {
            scene.now = Seconds(1).after(scene.now);
            scene.start(&format!("j{job:02}"));
        }
    }
    assert_eq!(scene.runs.len(), JOBS * EACH);
    let pooled = |run: &RunRef| run.job.job.as_str()[1..].parse::<usize>().unwrap().is_multiple_of(5);
    let (mut seen, mut last): (usize, BTreeMap<String, u64>) = (0, BTreeMap::new());
    let mut over: BTreeSet<RunRef> = BTreeSet::new();
    while over.len() < JOBS * EACH {
        // What started since the last look: in the order of its job, and nobody older could have gone instead.
        for run in &scene.started[seen..] {
            let before = last.insert(run.job.job.to_string(), run.number);
            assert!(before.is_none_or(|before| before + 1 == run.number), "{run} after #{before:?}");
        }
        seen = scene.started.len();
        let running: Vec<RunRef> =
            scene.runs.values().filter(|run| run.is_running()).map(|run| run.run.clone()).collect();
        assert!(running.len() <= SLOTS && running.iter().filter(|run| pooled(run)).count() <= 1, "{running:?}");
        let busy: BTreeSet<_> = running.iter().map(|run| run.job.clone()).collect();
        let pool_taken = running.iter().any(pooled);
        let newest = running.iter().map(|run| scene.runs[run].queued_at).max().unwrap();
        for run in scene.runs.values().filter(|run| run.is_queued() && run.queued_at < newest) {
            let held = busy.contains(&run.run.job) || (pooled(&run.run) && pool_taken);
            assert!(held, "{} waits while younger ones run: {running:?}", run.run);
        }
        // The one that ends is now this, now that.
        let ended = running[over.len() * 7 % running.len()].clone();
        scene.now = Seconds(1).after(scene.now);
        scene.end(&short(&ended), if over.len().is_multiple_of(9) { Outcome::Failed } else { Outcome::Succeeded });
        over.insert(ended);
    }
    assert_eq!(scene.started.len(), JOBS * EACH, "each started once");
}
