//! Nothing is lost and nothing is done twice when the daemon or a supervisor is killed. Judged from what
//! the commands say and from what the jobs themselves wrote.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use support::origin::Origin;
use support::robot::{Robot, signal};
use support::wait_for;

/// Each step leaves a line outside of everything that Shipbell owns.
const WITNESS: &str =
    r#"echo "$SHIPBELL_RUN_ID begins" >> "$WITNESS"; sleep 0.3; echo "$SHIPBELL_RUN_ID ends" >> "$WITNESS""#;

fn robot(origin: &Origin, jobs: &str) -> Robot {
    let robot = Robot::new("[mail]\nto = \"you@example.org\"\n");
    let witness = robot.path("witness");
    let head = format!(
        "[repo]\nurl = \"{}\"\npoll = \"1s\"\n[defaults]\nenv = {{ WITNESS = \"{}\" }}\n",
        origin.url(),
        witness.display()
    );
    robot.job_file("app", &format!("{head}{jobs}"));
    robot
}

/// Lines that the steps wrote, by line.
fn witnessed(robot: &Robot) -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(robot.path("witness")).unwrap_or_default();
    let mut lines = BTreeMap::new();
    for line in text.lines() {
        *lines.entry(line.to_owned()).or_default() += 1;
    }
    lines
}

fn outcome(robot: &Robot, run: &str) -> String {
    robot.json(&["show", run])["row"]["outcome"].as_str().unwrap_or("none").to_owned()
}

fn wait_for_outcome(robot: &Robot, run: &str, wanted: &str) {
    let reached = || (robot.run(&["show", run]).code != 4 && outcome(robot, run) == wanted).then_some(());
    wait_for(&format!("{run} {wanted}"), reached, || robot.run(&["show", run]).out);
}

#[test]
fn a_run_goes_on_while_the_daemon_is_dead_and_is_whole_afterwards() {
    let temp = tempfile::tempdir().unwrap();
    let mut origin = Origin::new(&temp.path().join("app.git"));
    let mut robot = robot(&origin, "[job.long]\nsteps = \"for i in $(seq 1 30); do echo line $i; sleep 0.1; done\"\n");
    robot.start();
    origin.commit("main", "first", &[("a", "1")]);
    robot.wait_until(&["logs", "app/long#1"], "line 3");
    robot.kill();
    std::thread::sleep(Duration::from_millis(700));
    robot.start();
    wait_for_outcome(&robot, "app/long#1", "succeeded");
    let log = robot.must(&["logs", "app/long#1"]);
    let lines: Vec<&str> = log.lines().filter(|line| line.starts_with("line ")).collect();
    let expected: Vec<String> = (1..=30).map(|n| format!("line {n}")).collect();
    assert_eq!(lines, expected, "no gap and no double");
}

#[test]
fn kills_at_random_instants_lose_nothing_and_double_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let mut origin = Origin::new(&temp.path().join("app.git"));
    let jobs = format!(
        "[job.test]\nsteps = '''{WITNESS}'''\n[job.staging]\nneeds = \"test\"\nenvironment = \"staging\"\nsteps = '''{WITNESS}'''\n\
         [environment.staging]\napproval = \"none\"\n"
    );
    let mut robot = robot(&origin, &jobs);
    let seed = std::env::var("SHIPBELL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7_u64);
    println!("SHIPBELL_SEED={seed}");
    let mut random = seed;
    robot.start();
    let mut last = String::new();
    for n in 0..8 {
        last = origin.commit("main", &format!("commit {n}"), &[("a", &n.to_string())]);
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis(200 + (random >> 33) % 1500));
        robot.kill();
        robot.start();
    }
    let arrived = || {
        let runs = robot.json(&["history", "app/staging", "-n", "1"]);
        let run = &runs["runs"][0];
        (run["commit"].as_str() == Some(&last) && run["outcome"] == "succeeded").then_some(())
    };
    wait_for("the last commit on staging", arrived, || robot.run(&["history"]).out);
    for (line, times) in witnessed(&robot) {
        assert_eq!(times, 1, "{line}: a step started twice in one attempt, or ended twice");
    }
    let begun = witnessed(&robot).keys().filter(|line| line.ends_with("begins")).count();
    let ended = witnessed(&robot).keys().filter(|line| line.ends_with("ends")).count();
    assert_eq!(begun, ended, "every step that began also ended");
    for run in robot.json(&["history", "-n", "100"])["runs"].as_array().unwrap() {
        assert!(["succeeded", "skipped"].contains(&run["outcome"].as_str().unwrap_or("none")), "{run}");
    }
}

/// The pid that the supervisor of a run stated.
fn supervisor(robot: &Robot, id: &str) -> u32 {
    let events = std::fs::read_to_string(robot.path(&format!("var/lib/shipbell/runs/{id}/1/events.jsonl"))).unwrap();
    let first: serde_json::Value = serde_json::from_str(events.lines().next().unwrap()).unwrap();
    u32::try_from(first["pid"].as_u64().unwrap()).unwrap()
}

#[test]
fn a_deployment_whose_supervisor_was_killed_is_unknown_until_a_person_resolves_it() {
    let temp = tempfile::tempdir().unwrap();
    let mut origin = Origin::new(&temp.path().join("app.git"));
    let jobs =
        "[job.staging]\nenvironment = \"staging\"\nsteps = \"sleep 60\"\n[environment.staging]\napproval = \"none\"\n";
    let mut robot = robot(&origin, jobs);
    robot.start();
    origin.commit("main", "first", &[("a", "1")]);
    robot.wait_until(&["show", "app/staging#1"], "sleep");
    signal("KILL", supervisor(&robot, "app.staging.1"));
    wait_for_outcome(&robot, "app/staging#1", "unknown");
    origin.commit("main", "second", &[("a", "2")]);
    robot.wait_until(&["show", "app/staging#2"], "shipbell resolve app staging");
    assert!(robot.run(&["status"]).out.contains("app/staging"));
    robot.must(&["resolve", "app", "staging", "--as", "failed"]);
    robot.wait_until(&["show", "app/staging#2"], "RUNS");
    robot.must(&["cancel", "app/staging#2"]);
    wait_for_outcome(&robot, "app/staging#2", "cancelled");
}

#[test]
fn a_test_whose_supervisor_was_killed_is_begun_anew() {
    let temp = tempfile::tempdir().unwrap();
    let mut origin = Origin::new(&temp.path().join("app.git"));
    let jobs = "[job.test]\nsteps = \"if test -e $WITNESS; then exit 0; fi; touch $WITNESS; sleep 60\"\n";
    let mut robot = robot(&origin, jobs);
    robot.start();
    origin.commit("main", "first", &[("a", "1")]);
    wait_for("the step began", || robot.path("witness").exists().then_some(()), String::new);
    signal("KILL", supervisor(&robot, "app.test.1"));
    wait_for_outcome(&robot, "app/test#1", "succeeded");
    assert!(robot.json(&["show", "app/test#1"])["attempts"].as_array().is_some_and(|attempts| attempts.len() == 2));
}

#[test]
fn an_older_database_put_back_gives_no_number_twice() {
    let temp = tempfile::tempdir().unwrap();
    let mut origin = Origin::new(&temp.path().join("app.git"));
    let mut robot = robot(&origin, "[job.test]\nsteps = \"true\"\n");
    robot.start();
    robot.stop();
    let (database, copy) = (robot.path("var/lib/shipbell/db/shipbell.db"), temp.path().join("copy.db"));
    std::fs::copy(&database, &copy).unwrap();
    robot.start();
    origin.commit("main", "first", &[("a", "1")]);
    wait_for_outcome(&robot, "app/test#1", "succeeded");
    robot.stop();
    for ending in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(robot.path(&format!("var/lib/shipbell/db/shipbell.db{ending}")));
    }
    std::fs::copy(&copy, &database).unwrap();
    robot.start();
    wait_for_outcome(&robot, "app/test#2", "succeeded");
    assert_eq!(robot.run(&["show", "app/test#1"]).code, 4, "the database does not know it");
}
