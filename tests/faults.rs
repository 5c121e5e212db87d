//! Faults of the fault table that strike the whole of a Shipbell, by their numbers: kills at every commit,
//! a disk that fails, a database that is damaged or cut off, a reboot, files that change while they are
//! read, signals. Each is really done to the built binary; what must hold is read from outside.

mod support;

#[path = "faults/commits.rs"]
mod commits;
#[path = "faults/database.rs"]
mod database;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/files.rs"]
mod files;
#[path = "faults/reboot.rs"]
mod reboot;
#[path = "faults/signals.rs"]
mod signals;

use support::robot::Robot;

/// The outcome of a run, as a word; `none` while it has none, and while nobody answers.
fn outcome(robot: &Robot, run: &str) -> String {
    let shown = robot.run(&["show", run, "--json"]).out;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap_or_default();
    shown["row"]["outcome"].as_str().unwrap_or("none").to_owned()
}

/// Waits until a run has ended so.
fn wait_for_outcome(robot: &Robot, run: &str, wanted: &str) {
    let reached = || (outcome(robot, run) == wanted).then_some(());
    support::wait_for(&format!("{run} {wanted}"), reached, || {
        format!("{}{}", robot.run(&["show", run]).out, robot.said_by_daemon())
    });
}

/// How often a file has this line.
fn count(robot: &Robot, file: &str, line: &str) -> usize {
    std::fs::read_to_string(robot.path(file)).unwrap_or_default().lines().filter(|found| *found == line).count()
}
