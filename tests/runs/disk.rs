//! A disk that is full or fails under a supervisor: facts wait in its memory, nothing is claimed that is not
//! on disk, and no step begins of which nobody would know.

use std::process::Command;

use shipbell::model::job::{EnvironmentPolicy, OnInterrupted};
use shipbell::model::run::Outcome;
use shipbell::model::ticket::Evidence;
use shipbell::model::time::Seconds;

use crate::place::{self, Place, job, outcome};

/// Fault 40. The step fills the disk to its last byte; its outputs, its end and the result have no room.
#[test]
fn fault_40_a_full_disk_delays_the_result_and_loses_no_fact() {
    let place = Place::new();
    let job = job(&["printf 'A=%s\\n' $(head -c 30000 /dev/zero | tr '\\0' x) >> $SHIPBELL_OUTPUT
        head -c 9000000 /dev/zero > fill || true
        echo filled"]);
    let beside = "while ! test -e work/fill; do sleep 0.1; done; sleep 2; cp events.jsonl \"$2/early\"; rm work/fill";
    let saved = place.on_a_small_disk(&job, "", beside);
    let read = |name: &str| std::fs::read_to_string(saved.path().join(name)).unwrap();
    assert!(!read("early").contains("\"finished\""), "the disk was not full: {}", read("early"));
    let words: Vec<String> = read("events.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["fact"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(words, ["started", "step", "value", "step-ended", "finished", "empty"]);
    assert!(read("events.jsonl").contains("\"succeeded\""), "{}", read("log"));
}

/// Fault 40, of a run that is not done anew after a power cut: there is room for its end from the beginning, so it is
/// on disk while that is full, and waits for nobody.
#[test]
fn fault_40_what_must_outlast_a_power_cut_is_recorded_on_a_full_disk() {
    let place = Place::new();
    for (on_interrupted, recorded) in [(OnInterrupted::Report, true), (OnInterrupted::Retry, false)] {
        // More than the page that its first facts are in.
        let mut job = job(&["printf 'A=%s\\n' $(head -c 6000 /dev/zero | tr '\\0' x) >> $SHIPBELL_OUTPUT
            head -c 9000000 /dev/zero > fill || true"]);
        job.on_interrupted = on_interrupted;
        let beside = "i=0; while ! grep -q '\"finished\"' events.jsonl 2>/dev/null && [ $i -lt 15 ]; do
            sleep 0.1; i=$((i+1)); done
            head -c 9000 /dev/zero 2>\"$2/full\" >probe || true; cp events.jsonl \"$2/early\"; rm work/fill";
        let saved = place.on_a_small_disk(&job, "", beside);
        let read = |name: &str| std::fs::read_to_string(saved.path().join(name)).unwrap();
        assert!(read("full").contains("No space left"), "the disk was not full: {}", read("full"));
        assert_eq!(read("early").contains("\"succeeded\""), recorded, "{on_interrupted:?}: {}", read("early"));
        assert!(read("events.jsonl").contains("\"empty\""), "{}", read("log"));
    }
}

#[test]
fn room_that_was_set_aside_is_given_back_when_a_run_is_let_go() {
    use std::os::unix::fs::MetadataExt as _;
    let place = Place::new();
    let mut job = job(&["echo on"]);
    job.on_interrupted = OnInterrupted::Report;
    let run = place.start(&job);
    assert_eq!(outcome(&place.wait(&run)), (Outcome::Succeeded, String::new()));
    let events = place.executor.dir(&run, 1).join("events.jsonl");
    let text = std::fs::read_to_string(&events).unwrap();
    place.executor.ack(&run, 1).unwrap();
    assert!(std::fs::metadata(&events).unwrap().blocks() * 512 < 16 << 10);
    assert_eq!(std::fs::read_to_string(&events).unwrap(), text);
}

/// A supervisor under strace(1), which does this to its syncs.
fn traced(dir: &std::path::Path, inject: &str) -> std::process::Child {
    let mut command = Command::new("strace");
    command.args(["-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", &format!("inject={inject}"), "--"]);
    command.arg(place::BINARY).arg("supervise").arg(dir).stdin(std::process::Stdio::null());
    command.spawn().expect("this test needs strace(1)")
}

/// Fault 16, in the supervisor: where the claim is not on disk, or the word that a deployment begins, no step
/// begins.
#[test]
fn fault_16_a_sync_that_fails_begins_no_step_and_states_no_success() {
    let place = Place::new();
    let mut job = job(&["touch ../../began"]);
    job.timeout = Seconds(1);
    job.environment = Some(Box::new(EnvironmentPolicy {
        name: "live".parse().unwrap(),
        approval: None,
        windows: vec![],
        freezes: vec![],
        url: None,
    }));
    for (inject, number) in [("fsync,fdatasync:error=EIO", 1), ("fdatasync:error=EIO", 2)] {
        let order = place.order_number(&job, number);
        let dir = place.prepare(&order);
        let mut supervisor = traced(&dir, inject);
        let events = || std::fs::read_to_string(dir.join("events.jsonl")).unwrap_or_default();
        if number == 1 {
            assert!(!supervisor.wait().unwrap().success(), "a claim that is not on disk is none");
        } else {
            // It keeps what it has to say, and tries again; nobody waits for that here.
            place::until("it gives up the step", || place.log(&order.run).contains("it could not be recorded"));
            place::signal(place.supervisor(&order.run), "KILL");
            let _ = supervisor.wait();
        }
        assert!(!dir.join("../began").exists(), "a step began of which nobody would know");
        assert!(!events().contains("succeeded"), "{}", events());
        let end = place.wait(&order.run);
        assert!(matches!(end.evidence, Evidence::Lost { .. }), "{:?}", end.evidence);
    }
}

/// A disk that comes back in time costs nothing.
#[test]
fn fault_16_a_sync_that_fails_once_is_made_up_for() {
    let place = Place::new();
    let order = place.order(&job(&["echo on"]));
    let dir = place.prepare(&order);
    traced(&dir, "fdatasync:error=EIO:when=1..2").wait().unwrap();
    assert_eq!(outcome(&place.wait(&order.run)), (Outcome::Succeeded, String::new()));
}

/// What a power cut would repeat in any case waits for no disk; what it must not repeat does.
#[test]
fn only_what_a_power_cut_must_not_repeat_waits_for_the_disk() {
    let place = Place::new();
    for (on_interrupted, waits) in [(OnInterrupted::Retry, false), (OnInterrupted::Report, true)] {
        let mut job = job(&["echo on"]);
        job.on_interrupted = on_interrupted;
        let order = place.order(&job);
        let dir = place.prepare(&order);
        // The first sync that it asks for fails.
        traced(&dir, "fsync,fdatasync:error=EIO:when=1").wait().unwrap();
        let begun = dir.join("log").exists();
        assert_eq!(begun, !waits, "{on_interrupted:?}");
        if begun {
            assert_eq!(outcome(&place.wait(&order.run)), (Outcome::Succeeded, String::new()));
        }
    }
}
