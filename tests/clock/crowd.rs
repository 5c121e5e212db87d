//! Ten thousand jobs due in one second: each runs once, with the real store, and a turn costs by what
//! happened in it. Launches are made up.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shipbell::config::{self, Trust, layout::Layout};
use shipbell::model::catalog::Catalog;
use shipbell::model::event::{Action, Event};
use shipbell::model::name::RunRef;
use shipbell::model::run::{Outcome, Usage};
use shipbell::model::ticket::Evidence;
use shipbell::pipeline;
use shipbell::store::Store;
use shipbell::sys::host;

use crate::at;

/// So many files of so many jobs each, all due at noon, and as many places for runs.
fn catalog(files: usize, jobs: usize, slots: usize) -> Catalog {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(Some(dir.path()));
    layout.create().unwrap();
    let jobs_dir = layout.jobs_dirs().into_iter().next().unwrap();
    std::fs::create_dir_all(&jobs_dir).unwrap();
    let write = |path: &std::path::Path, text: String| {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    };
    write(&layout.shipbell_toml(), format!("[limits]\nslots = {slots}\n"));
    for file in 0..files {
        let one = |job| format!("[job.j{job}]\nschedule = \"0 12 * * *\"\nsteps = \"true\"\n");
        write(&jobs_dir.join(format!("p{file}.toml")), (0..jobs).map(one).collect());
    }
    let trust = Trust { owners: vec![0, host::effective_uid()] };
    let loaded = config::load(&layout, &trust, &config::last_good::LastGood::default());
    assert!(loaded.problems.is_empty());
    loaded.catalog
}

/// Lets noon come and all of it run, one event a turn where `single`; how long that took.
fn noon(files: usize, jobs: usize, slots: usize, batch: usize) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&dir.path().join("shipbell.db")).unwrap();
    let mut world = store.load().unwrap();
    let catalog = Arc::new(catalog(files, jobs, slots));
    let mut now = at("2026-11-23T11:59:00Z");
    let mut events = vec![Event::Reloaded { catalog }];
    let mut waiting: Vec<Event> = Vec::new();
    let mut started: BTreeMap<RunRef, u32> = BTreeMap::new();
    let begin = Instant::now();
    loop {
        let turn = pipeline::turn(&mut world, &events, now);
        store.commit(&turn.changes).unwrap();
        for action in turn.actions {
            let Action::Start(order) = action else { continue };
            *started.entry(order.run.clone()).or_default() += 1;
            let (outcome, usage) = (Outcome::Succeeded, Usage::default());
            let evidence = Evidence::Finished { outcome, reason: String::new(), step: None, usage, empty: true };
            waiting.push(Event::Ended { run: order.run, attempt: order.attempt, evidence });
        }
        now = now.max(at("2026-11-23T12:00:00Z"));
        events = waiting.drain(..waiting.len().min(batch)).collect();
        if events.is_empty() {
            if !started.is_empty() {
                break;
            }
            events = vec![Event::Tick];
        }
    }
    let took = begin.elapsed();
    println!("{files} files of {jobs} jobs, {slots} slots, {batch} a turn: {took:?}");
    assert_eq!(started.len(), files * jobs);
    assert!(started.values().all(|times| *times == 1), "one start each");
    assert_eq!(world.runs().count(), 0);
    let jobs: BTreeSet<_> = started.into_keys().map(|run| run.job).collect();
    let sample = jobs.iter().next().unwrap();
    assert_eq!(store.reader().unwrap().ledger(sample, 9).unwrap().len(), 1);
    assert_eq!(store.load().unwrap(), world);
    took
}

#[test]
fn ten_thousand_jobs_due_in_one_second_all_run_once() {
    noon(10_000, 1, 10_000, 512);
}

#[test]
fn they_run_through_few_slots_as_well() {
    noon(2_000, 1, 8, 512);
}

#[test]
fn a_file_of_two_thousand_jobs_costs_no_more_than_two_thousand_files() {
    let files = noon(2_000, 1, 2_000, 1);
    let one = noon(1, 2_000, 2_000, 1);
    // Ends come one a turn: were each to look at all jobs of its file, this would be a hundredfold.
    assert!(one < files * 4, "{one:?} against {files:?}");
}
