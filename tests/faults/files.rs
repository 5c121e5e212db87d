//! Fault 31: a job file is replaced while it is read, by another in its place and by writing over it. What is
//! read is one version or the other, never a mix, and what runs is what the definition's hash says.

use std::fs;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use shipbell::config::{self, Layout, Trust};

use super::{Robot, wait_for_outcome};
use crate::support::wait_for;

/// Long enough for many pages; each of its steps says which version it is of.
fn version(letter: char, witness: &str) -> String {
    let mut text = "[job.test]\nmanual = true\nsteps = [\n".to_owned();
    for n in 0..400 {
        text += &format!("  {{ name = \"s{n:03}\", run = 'echo {letter} >> {witness}{:200}' }},\n", "");
    }
    text + "]\n"
}

/// How the writer fares.
#[derive(Default)]
struct Churn {
    stop: AtomicBool,
    times: AtomicUsize,
    /// Writes over the file that a busy machine stretched: what stood still in their midst that long is, for
    /// all that anybody can tell, what somebody wanted to write.
    slow: AtomicUsize,
}

/// Writes the two versions in turn, as fast as it can, until it is told to stop.
fn churn(path: &std::path::Path, versions: &[String; 2], churn: &Churn) {
    let beside = path.with_extension("new");
    while !churn.stop.load(Ordering::Relaxed) {
        let n = churn.times.fetch_add(1, Ordering::Relaxed);
        let text = &versions[n % 2];
        let begin = Instant::now();
        match n % 6 {
            // In two halves, as an editor over a slow line.
            0 => {
                let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
                let (head, tail) = text.as_bytes().split_at(text.len() / 2);
                file.write_all(head).unwrap();
                std::thread::sleep(Duration::from_micros(50));
                file.write_all(tail).unwrap();
            }
            1 => fs::write(path, text).unwrap(),
            2 => {
                fs::OpenOptions::new().write(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
            }
            _ => {
                fs::write(&beside, text).unwrap();
                fs::rename(&beside, path).unwrap();
            }
        }
        if begin.elapsed() > Duration::from_millis(10) {
            churn.slow.fetch_add(1, Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}

#[test]
fn fault_31_a_job_file_that_changes_while_it_is_read_is_never_a_mix() {
    let mut robot = Robot::new("");
    let witness = robot.path("witness").to_str().unwrap().to_owned();
    let versions = ['A', 'B'].map(|letter| version(letter, &witness));
    robot.job_file("app", &versions[0]);
    let layout = Layout::new(Some(&robot.path("")));
    let trust = Trust::root_and_self();
    let load = || config::load(&layout, &trust, &config::last_good::LastGood::default());
    let path = robot.path("etc/shipbell/jobs.d/app.toml");
    let hash = |catalog: &shipbell::model::catalog::Catalog| {
        let pipeline = catalog.pipelines.values().next().expect("the pipeline");
        pipeline.jobs.values().next().map(|job| job.hash.clone())
    };
    let known: Vec<_> = versions
        .iter()
        .map(|text| {
            fs::write(&path, text).unwrap();
            hash(&load().catalog).expect("a good file")
        })
        .collect();
    robot.start();
    let state = Arc::new(Churn::default());
    let begin = Instant::now();
    let writer = std::thread::spawn({
        let (versions, state) = (versions.clone(), Arc::clone(&state));
        move || churn(&path, &versions, &state)
    });
    let slow = || state.slow.load(Ordering::Relaxed);
    let (mut read, mut refused, mut stretched) = (0, 0, 0);
    while begin.elapsed() < Duration::from_secs(4) {
        let before = slow();
        let loaded = load();
        let why = loaded.problems.first().map(|problem| problem.text.clone()).unwrap_or_default();
        let moved = why.contains("changes while it is read") || why.contains("is not there");
        match hash(&loaded.catalog) {
            Some(hash) if known.contains(&hash) => read += 1,
            None if moved => refused += 1,
            other => {
                // The write that it hit may go on still.
                std::thread::sleep(Duration::from_millis(500));
                assert!(slow() > before, "a version that nobody wrote: {other:?} {why}");
                stretched += 1;
            }
        }
        robot.run(&["reload"]);
    }
    state.stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    let rate = state.times.load(Ordering::Relaxed) / usize::try_from(begin.elapsed().as_secs().max(1)).unwrap();
    println!("replaced {rate} times a second: read {read} times, refused {refused}, {stretched} in a stretched write");
    assert!(rate > 100 && read > 0, "{rate} times a second, read {read} times");
    // What runs is what the hash says.
    robot.must(&["reload"]);
    robot.must(&["run", "app/test"]);
    wait_for_outcome(&robot, "app/test#1", "succeeded");
    let definition = robot.json(&["show", "app/test#1"])["definition"].as_str().unwrap().to_owned();
    let letter = if definition == known[0].as_str() { "A" } else { "B" };
    assert!(known.iter().any(|hash| hash.as_str() == definition));
    let all = || (super::count(&robot, "witness", letter) == 400).then_some(());
    wait_for("all steps of one version", all, || robot.said_by_daemon());
    assert_eq!(fs::read_to_string(&witness).unwrap().lines().count(), 400);
}
