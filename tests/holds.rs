//! What a whole Shipbell holds: it says which promises hold here, keeps the disk from filling up, is not
//! held up by what a run does, counts what runs use, and begins failed ones anew.

mod support;

use std::time::{Duration, Instant};

use support::robot::Robot;

const TOPICS: [&str; 9] =
    ["launcher", "privilege", "identity", "ending", "limits", "approval", "mail", "time zone", "disk"];

fn standing(doctor: &serde_json::Value, topic: &str) -> String {
    let checks = doctor["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["topic"] == topic).unwrap();
    check["standing"].as_str().unwrap().to_owned()
}

#[test]
fn doctor_says_what_holds_with_a_daemon_and_without() {
    let mut robot = Robot::new("timezone = \"Asia/Shanghai\"\n");
    let alone = robot.json(&["doctor"]);
    assert_eq!(alone["daemon"], false);
    robot.start();
    let doctor = robot.json(&["doctor"]);
    assert_eq!(doctor["daemon"], true);
    for view in [&alone, &doctor] {
        let topics: Vec<&str> =
            view["checks"].as_array().unwrap().iter().map(|check| check["topic"].as_str().unwrap()).collect();
        assert_eq!(topics, TOPICS);
    }
    let said = robot.run(&["doctor"]);
    assert!(said.out.contains("time zone   Asia/Shanghai where nothing else is said"), "{}", said.out);
    // Below a --root runs are never units.
    assert_eq!(standing(&doctor, "launcher"), "weaker");
    assert_eq!(standing(&doctor, "disk"), "holds");
    let wrong = doctor["checks"].as_array().unwrap().iter().any(|check| check["standing"] == "WRONG");
    assert_eq!(said.code, i32::from(wrong), "{}", said.out);
    assert_eq!(robot.run(&["doctor", "--strict"]).code, 1, "something is always weaker here");
    let holding = shipbell::sys::cgroup::Site::find().guarantees();
    let held = holding.memory && holding.tasks && holding.cpus;
    assert_eq!(standing(&doctor, "limits"), if held { "holds" } else { "weaker" });
}

#[test]
fn below_the_floor_of_the_disk_runs_wait() {
    let mut robot = Robot::new("[limits]\ndisk-floor = \"4000T\"\n");
    robot.job_file("shop", "[job.test]\nmanual = true\nsteps = \"echo through\"\n");
    robot.start();
    robot.must(&["run", "shop/test"]);
    let status = robot.wait_until(&["status"], "disk");
    assert!(status.contains("disk: less than"), "{status}");
    assert_eq!(standing(&robot.json(&["doctor"]), "disk"), "WRONG");
    let settings = std::fs::read_to_string(robot.path("etc/shipbell/shipbell.toml")).unwrap();
    robot.write("etc/shipbell/shipbell.toml", &settings.replace("4000T", "1M"));
    robot.must(&["reload"]);
    robot.wait_until(&["logs", "shop/test"], "through");
}

/// Fault 9, seen from outside.
#[test]
fn fault_9_a_fork_bomb_does_not_keep_the_daemon_from_answering() {
    let mut robot = Robot::new("");
    let bomb = "steps = \"bomb() { bomb | bomb & }; bomb; sleep 60\"\nshell = [\"bash\", \"-c\"]\n";
    let limits = "limits = { tasks = 100 }\ntimeout = \"2s\"\ngrace = \"1s\"\n";
    robot.job_file("shop", &format!("[job.bomb]\nmanual = true\n{bomb}{limits}"));
    robot.start();
    robot.must(&["run", "shop/bomb"]);
    robot.wait_until(&["logs", "shop/bomb"], "Resource temporarily unavailable");
    for _ in 0..5 {
        let begin = Instant::now();
        assert_eq!(robot.get("/").0, 200);
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    }
    robot.wait_until(&["show", "shop/bomb"], "TIMED-OUT");
}

#[test]
fn what_runs_use_is_shown_and_compared_with_those_before() {
    let mut robot = Robot::new("");
    let step = "head -c ${MORE}000000 /dev/zero > file; head -c ${MORE}0000000 /dev/zero | tail | wc -c";
    robot.job_file("shop", &format!("[job.test]\nmanual = true\nparams = {{ MORE = \"1\" }}\nsteps = '{step}'\n"));
    robot.start();
    for _ in 0..5 {
        robot.must(&["run", "shop/test", "--follow"]);
    }
    let usual = robot.wait_until(&["show", "shop/test"], "   ok");
    assert!(usual.contains("used      cpu 0.") && !usual.contains("written +"), "{usual}");
    robot.must(&["run", "shop/test", "MORE=5", "--follow"]);
    let more = robot.wait_until(&["show", "shop/test"], "   ok");
    // A block more or less is the file system's.
    let line = more.lines().find(|line| line.ends_with("against the last 5")).unwrap_or_default();
    let all = robot.json(&["show", "shop/test"]);
    assert!(line.contains("memory +") && line.contains("written +"), "{more}{all:#}");
    let page = robot.get("/shop/test/6").1;
    assert!(page.contains("% against the last 5)"), "{page}");
    let attempt = &robot.json(&["show", "shop/test"])["attempts"][0]["usage"];
    assert!(attempt["written"].as_u64().unwrap() >= 5_000_000, "{attempt}");
}

#[test]
fn a_failed_run_is_begun_anew_after_its_delay_as_often_as_it_says() {
    let mut robot = Robot::new("");
    let step = "n=$(cat $HOME/n 2>/dev/null || echo 0); echo $((n + 1)) > $HOME/n; echo try=$n >> $SHIPBELL_OUTPUT; test $n -ge 2";
    robot.job_file(
        "shop",
        &format!("[job.test]\nmanual = true\nretry = {{ attempts = 3, delay = \"1s\" }}\nsteps = '{step}'\n"),
    );
    robot.start();
    let begin = Instant::now();
    robot.must(&["run", "shop/test"]);
    robot.wait_until(&["show", "shop/test"], "#1   ok");
    assert!(begin.elapsed() >= Duration::from_secs(2), "two delays");
    let run = robot.json(&["show", "shop/test"]);
    let ends: Vec<&str> = run["attempts"].as_array().unwrap().iter().map(|a| a["outcome"].as_str().unwrap()).collect();
    assert_eq!(ends, ["failed", "failed", "succeeded"]);
    assert_eq!(run["outputs"]["try"], "2", "what a failed attempt gave is forgotten");
    assert!(run["attempts"].as_array().unwrap().iter().all(|attempt| attempt["usage"]["cpu_ms"].is_u64()));
    // It is used up: the next one fails for good after as many.
    std::fs::write(
        robot.path("etc/shipbell/jobs.d/shop.toml"),
        format!("[job.test]\nmanual = true\nretry = {{ attempts = 2 }}\nsteps = '{}'\n", "exit 4"),
    )
    .unwrap();
    robot.must(&["reload"]);
    robot.must(&["run", "shop/test"]);
    robot.wait_until(&["show", "shop/test"], "#2   FAILED: exit 4");
    assert_eq!(robot.json(&["show", "shop/test"])["attempts"].as_array().unwrap().len(), 2);
}
