//! Fault 3: the daemon is killed at each of its commits on the way of one commit to production, one at a
//! time. Whichever it was, the same comes of it, and the command for production ran once.

use std::process::Command;

use super::{Robot, count, outcome, wait_for_outcome};
use crate::support::origin::Origin;
use crate::support::wait_for;

/// How many boundaries apart in the suite; SHIPBELL_STORM makes it each of them.
const STRIDE: usize = 5;
/// More than there are.
const MOST: usize = 200;

fn settings() -> String {
    let output = Command::new("id").arg("-un").output().expect("id");
    let login = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    format!(
        "[limits]\ndisk-floor = \"1M\"\n[mail]\nto = \"ops@example.org\"\n[person.anna]\nemail = \"anna@example.org\"\nlogin = \"{login}\"\n"
    )
}

pub fn place() -> Robot {
    let robot = Robot::new(&settings());
    let mut origin = Origin::new(&robot.path("app.git"));
    origin.commit("main", "first", &[("a", "1")]);
    let step = |name: &str| format!("steps = 'echo {name} >> {}'\n", robot.path("witness").display());
    let text = format!(
        "[repo]\nurl = \"{}\"\nbranches = \"main\"\npoll = \"1s\"\n[job.test]\n{}[job.production]\nneeds = \"test\"\n\
         environment = \"production\"\n{}[environment.production]\napproval = {{ by = \"anna\" }}\n",
        origin.url(),
        step("test"),
        step("production")
    );
    robot.job_file("app", &text);
    robot
}

/// Drives the commit to production; starts the daemon again wherever it is dead.
fn to_production(robot: &mut Robot) {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        if robot.ended().is_some() {
            robot.start();
        }
        match outcome(robot, "app/production#1").as_str() {
            "succeeded" => return,
            "none" => {}
            other => panic!("it ended {other}: {}", robot.run(&["show", "app/production#1"]).out),
        }
        // Whoever is not sure that a vote was taken votes again.
        robot.run(&["approve", "app/production", "-m", "looks well"]);
        assert!(std::time::Instant::now() < until, "{}{}", robot.run(&["status"]).out, robot.said_by_daemon());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// What is there in the end, whatever happened on the way.
fn check(robot: &Robot, n: usize) {
    let said = || format!("killed at {n}: {}", robot.said_by_daemon());
    assert_eq!(count(robot, "witness", "production"), 1, "{}", said());
    assert_eq!(count(robot, "witness", "test"), 1, "{}", said());
    let runs = robot.json(&["history", "app", "-n", "50"]);
    let row = |run: &serde_json::Value| format!("{} {}", run["run"].as_str().unwrap(), run["state"].as_str().unwrap());
    let rows: Vec<String> = runs["runs"].as_array().unwrap().iter().map(row).collect();
    assert_eq!(rows, ["app/production#1 succeeded", "app/test#1 succeeded"], "{}", said());
    assert_eq!(runs["runs"][0]["approved_by"], serde_json::json!(["anna"]), "{}", said());
    let live = || robot.run(&["status"]).out.contains("LIVE").then_some(());
    wait_for("production is clean", live, said);
}

/// Whether there was an N-th sync to die of.
fn killed_at(n: usize) -> bool {
    let mut robot = place();
    // The first two make the database; what is not there yet can lose nothing.
    let traced = robot.traced(&format!("fdatasync,fsync:signal=KILL:when={n}"));
    robot.start_as(traced);
    let before = robot.pid();
    to_production(&mut robot);
    wait_for_outcome(&robot, "app/test#1", "succeeded");
    check(&robot, n);
    let killed = robot.pid() != before;
    robot.stop();
    killed
}

#[test]
fn fault_3_a_kill_at_any_commit_on_the_way_to_production_deploys_once() {
    let stride = if std::env::var_os("SHIPBELL_STORM").is_some() { 1 } else { STRIDE };
    let mut reached = 0;
    for n in (1..MOST).step_by(stride) {
        if !killed_at(n) {
            break;
        }
        reached = n;
    }
    println!("the daemon was killed at syncs 1 to {reached}, every {stride}");
    assert!(reached > 10, "there are more boundaries than {reached}");
}
