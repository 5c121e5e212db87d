//! A real daemon, asked by its commands.

use crate::support::robot::Robot;

const HOST: &str = "\
[job.often]
every = \"1s\"
steps = \"true\"
[job.nightly]
schedule = \"30 2 * * *\"
timezone = \"Europe/Berlin\"
steps = \"true\"
[job.slip]
schedule = \"* 3 * * *\"
timezone = \"UTC\"
steps = \"true\"
";

fn narrow(text: &str) {
    let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "wider than 80 columns: {wide:?}");
}

#[test]
fn a_daemon_says_why_what_comes_and_what_is_paused() {
    let mut robot = Robot::new("timezone = \"UTC\"\n");
    robot.job_file("host", HOST);
    robot.start();

    let why = robot.wait_until(&["why", "host/often"], "RAN as host/often#");
    narrow(&why);
    assert!(why.contains("rule       every 1s") && why.contains("jobs.d/host.toml:1"), "{why}");
    assert!(why.contains("look       shipbell show host/often#"), "{why}");
    let nightly = robot.must(&["why", "host/nightly", "2026-01-01"]);
    narrow(&nightly);
    assert!(nightly.contains("nothing is recorded of that time") && nightly.contains("02:30"), "{nightly}");
    assert!(nightly.contains("run now    shipbell run host/nightly"), "{nightly}");
    let json = robot.json(&["why", "host/often"]);
    assert_eq!((&json["schema"], &json["due"]["state"]), (&1.into(), &"run".into()), "{json}");
    assert_eq!(robot.run(&["why", "host/nix"]).code, 4);
    let bad = robot.run(&["why", "host/often", "noon"]);
    assert!(bad.code == 2 && bad.err.contains("`noon` is no time"), "{bad:?}");

    let forecast = robot.must(&["forecast", "3d"]);
    narrow(&forecast);
    assert!(forecast.starts_with("DAY ") && forecast.contains("host/often"), "{forecast}");
    assert_eq!(robot.run(&["forecast", "400d"]).code, 2);
    narrow(&robot.must(&["next"]));
    pauses(&robot);
}

fn pauses(robot: &Robot) {
    let said = robot.must(&["pause", "host/often", "-m", "new disks"]);
    assert!(said.contains("host/often is paused") && said.contains("shipbell resume host/often"), "{said}");
    let status = robot.run(&["status"]);
    let first = status.out.lines().skip_while(|line| *line != "NEEDS A PERSON").nth(1).unwrap_or_default();
    assert!(status.code == 1 && first.contains("new disks") && first.contains("host/often"), "{}", status.out);
    assert!(robot.must(&["why", "host/often"]).contains("as it stands now:"));
    assert!(robot.must(&["next"]).contains("paused"));
    robot.must(&["resume", "host/often"]);
    assert_eq!(robot.run(&["status"]).code, 0);
    assert_eq!(robot.run(&["resume", "host/often"]).code, 1, "it is not paused");

    robot.must(&["pause", "--all", "--until", "2h"]);
    let status = robot.run(&["status"]);
    assert!(status.code == 0 && status.out.contains("PAUSED  everything until "), "{status:?}");
    robot.must(&["resume", "--all"]);
    assert_eq!(robot.run(&["pause", "host"]).code, 0);
    assert_eq!(robot.run(&["pause", "nix"]).code, 4);
    assert_eq!(robot.run(&["pause"]).code, 2, "what is to be paused is said");
}

#[test]
fn a_backfill_is_listed_first_and_queued_then() {
    let mut robot = Robot::new("timezone = \"UTC\"\n");
    robot.job_file("host", "[job.hourly]\nschedule = \"0 * * * *\"\ntimezone = \"UTC\"\nsteps = \"true\"\n");
    robot.start();
    let range = ["backfill", "host/hourly", "--from", "2026-01-05T01:00:00Z", "--to", "2026-01-05T03:00:00Z"];
    let listed = robot.must(&[&range[..], &["--dry-run"]].concat());
    narrow(&listed);
    assert!(listed.contains("3 due times would be queued; nothing was"), "{listed}");
    assert!(robot.must(&["history"]).starts_with("No run"), "a list queues nothing");
    let queued = robot.must(&range);
    assert!(queued.contains("3 due times queued") && queued.contains("host/hourly#3"), "{queued}");
    robot.wait_until(&["show", "host/hourly#3"], "ok");
    let again = robot.must(&[&range[..], &["--only", "missing"]].concat());
    assert!(again.contains("0 due times queued, 3 left out"), "{again}");
    assert_eq!(robot.run(&["backfill", "host/nix", "--from", "yesterday", "--to", "now"]).code, 4);
    assert_eq!(robot.run(&["backfill", "host/hourly", "--from", "now", "--to", "yesterday"]).code, 2);
}

#[test]
fn a_simulation_needs_no_daemon_and_check_warns_without_failing() {
    let robot = Robot::new("timezone = \"UTC\"\n");
    robot.job_file("host", HOST);
    let range = ["--from", "2027-03-27T12:00:00Z", "--to", "2027-03-29T12:00:00Z"];
    let said = robot.must(&[&["simulate"][..], &range, &["host/nightly"]].concat());
    narrow(&said);
    assert!(said.contains("2027-03-28 01:00:00   Sun 2027-03-28 03:00:00+02:00*  host/nightly"), "{said}");
    assert!(said.contains("Nothing was run.\n") && !robot.path("var/lib/shipbell/db/shipbell.db").exists(), "{said}");
    robot.write("elsewhere/copy.toml", HOST);
    let file = robot.path("elsewhere/copy.toml").display().to_string();
    let of_file = robot.json(&[&["simulate"][..], &range, &[&file]].concat());
    assert_eq!(
        of_file["more"],
        true,
        "every second for two days is cut: {}",
        of_file["rows"].as_array().map_or(0, Vec::len)
    );
    assert_eq!(robot.run(&["simulate", "host/nix"]).code, 4);
    assert_eq!(robot.run(&["simulate", "--from", "tomorrow", "--to", "today"]).code, 2);

    let check = robot.run(&["check"]);
    assert_eq!(check.code, 0, "{}", check.err);
    assert!(check.out.starts_with("2 files: ok, ") && check.err.starts_with("warning: "), "{check:?}");
    for told in [
        "does not exist in Europe/Berlin",
        "comes twice in Europe/Berlin",
        "it runs every minute from 3:00 to 3:59",
        "once in the hour is \"0 3 * * *\"",
    ] {
        assert!(check.err.contains(told), "{told}\n{}", check.err);
    }
    let json = robot.json(&["check"]);
    assert_eq!((&json["ok"], json["warnings"].as_array().map(Vec::len)), (&true.into(), Some(3)), "{json}");
}
