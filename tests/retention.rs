//! `[retention]` with everything real: a daemon, a repository, files, and a history that is older than it
//! is. What goes, what stays, and what is said of what is gone.

mod support;

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use support::origin::Origin;
use support::robot::Robot;
use support::wait_for;

const SHOP: &str = r#"
[job.test]
steps = "echo tested; echo binary > bin"
artifacts = "bin"
[job.ship]
needs = "test"
environment = "live"
steps = "echo live; cat bin"
[environment.live]
approval = "none"
"#;

const HOST: &str = "[job.work]\nmanual = true\nsteps = \"echo working\"\n";

/// The daemon is stopped, and what happened becomes so many days older.
fn age(robot: &mut Robot, days: u64) {
    robot.stop();
    let db = Connection::open(robot.path("var/lib/shipbell/db/shipbell.db")).unwrap();
    let trigger: String = db
        .query_row("SELECT sql FROM sqlite_schema WHERE name = 'runs_finished_is_final'", [], |row| row.get(0))
        .unwrap();
    let by = days * 86_400_000;
    db.execute_batch(&format!(
        "DROP TRIGGER runs_finished_is_final; \
         UPDATE runs SET finished_at = finished_at - {by}, queued_at = queued_at - {by}; {trigger}"
    ))
    .unwrap();
    drop(db);
    robot.start();
}

fn ends(robot: &Robot, run: &str) {
    let ended = || robot.run(&["show", run]).out.contains(&format!("{run}   ok")).then_some(());
    wait_for(&format!("{run} ends"), ended, || robot.run(&["show", run]).out);
    // Its result is recorded, and then its workspace goes.
    let work = dir(robot, run).join("1/work");
    wait_for("its workspace goes", || (!work.exists()).then_some(()), || robot.said_by_daemon());
}

fn dir(robot: &Robot, run: &str) -> PathBuf {
    robot.path(&format!("var/lib/shipbell/runs/{}", run.replace(['/', '#'], ".")))
}

#[test]
fn what_is_old_goes_and_what_is_deployed_stays_with_all_it_stands_on() {
    let temp = tempfile::tempdir().unwrap();
    let mut origin = Origin::new(&temp.path().join("shop.git"));
    let mut robot = Robot::new("[retention]\nkeep = 1\n");
    let repo = format!("[repo]\nurl = \"{}\"\npoll = \"1s\"\n", origin.url());
    robot.job_file("shop", &format!("{repo}{SHOP}"));
    robot.job_file("host", HOST);
    robot.start();
    origin.commit("main", "first", &[("a", "1")]);
    ends(&robot, "shop/ship#1");
    for n in 1..=3 {
        robot.must(&["run", "host/work"]);
        ends(&robot, &format!("host/work#{n}"));
    }
    let said = robot.must(&["prune"]);
    assert_eq!(said, "nothing removed, 0 B freed\n");
    age(&mut robot, 200);

    // A dry run tells and touches nothing.
    let said = robot.must(&["prune", "--dry-run"]);
    for text in ["host/work#1", "host/work#2", "2 runs would go", "STAYS, although", "is deployed: live"] {
        assert!(said.contains(text), "{text} is not in:\n{said}");
    }
    assert!(
        said.contains("shop/ship#1, which is deployed: live, stands on it") || said.contains("shop/test#1"),
        "{said}"
    );
    assert!(dir(&robot, "host/work#1").exists());
    let said = robot.must(&["prune"]);
    assert!(said.starts_with("2 runs removed, ") && !said.contains(" 0 B"), "{said}");
    for (run, there) in [("host/work#1", false), ("host/work#2", false), ("host/work#3", true), ("shop/ship#1", true)] {
        assert_eq!(dir(&robot, run).exists(), there, "{run}");
    }
    assert!(dir(&robot, "shop/test#1").join("1/artifacts").exists());
    assert_eq!(robot.must(&["prune"]), "nothing removed, 0 B freed\n");

    // What is gone is told, and its number is not given again.
    assert!(robot.must(&["logs", "host/work#1"]).contains("=== the log of host/work#1 was removed on "));
    let show = robot.run(&["show", "host/work#1"]);
    assert_eq!(show.code, 4);
    assert!(show.err.contains("host/work#1 was removed on ") && show.err.contains("[retention]"), "{}", show.err);
    for page in ["/host/work/1", "/host/work/1/log"] {
        let (status, text) = robot.get(page);
        assert!(status == 410 && text.contains("was removed on") && text.contains("[retention]"), "{page}: {text}");
    }
    assert_eq!(robot.get("/host/work/9").0, 404);
    robot.must(&["run", "host/work"]);
    ends(&robot, "host/work#4");
    assert!(robot.said_by_daemon().contains("pruned [retention]: 0 logs, 0 sets of artifacts, 2 runs, 0 mirrors;"));
}

#[test]
fn a_log_that_is_gone_is_told_and_its_run_stays() {
    let mut robot = Robot::new("[retention]\nruns = \"forever\"\nkeep = 1\n");
    robot.job_file("host", HOST);
    robot.start();
    for n in 1..=2 {
        robot.must(&["run", "host/work"]);
        ends(&robot, &format!("host/work#{n}"));
    }
    age(&mut robot, 100);
    assert!(robot.must(&["prune"]).starts_with("1 log removed, "), "{}", robot.said_by_daemon());
    for options in [&["logs", "host/work#1"][..], &["logs", "-f", "host/work#1"], &["logs", "--raw", "host/work#1"]] {
        let said = robot.must(options);
        assert!(said.starts_with("=== the log of host/work#1 was removed on ") && said.lines().count() == 1, "{said}");
    }
    assert!(robot.must(&["logs", "host/work#2"]).contains("\nworking\n"));
    assert!(robot.must(&["show", "host/work#1"]).contains("log, "), "{}", robot.must(&["show", "host/work#1"]));
    let (status, text) = robot.get("/host/work/1/log");
    assert!(status == 200 && text.contains("the log of host/work#1 was removed on"), "{text}");
    assert_eq!(robot.get("/host/work/1/log?raw=1").0, 410);
    let (status, text) = robot.get("/host/work/1");
    assert!(status == 200 && text.contains("Its log: removed"), "{text}");
}

/// Fault: killed after it was written down and before all of it was removed.
#[test]
fn what_was_written_down_before_a_crash_is_removed_after_it() {
    let mut robot = Robot::new("[retention]\nkeep = 1\n");
    robot.job_file("host", HOST);
    robot.start();
    for n in 1..=3 {
        robot.must(&["run", "host/work"]);
        ends(&robot, &format!("host/work#{n}"));
    }
    robot.kill();
    let path = robot.path("var/lib/shipbell/db/shipbell.db");
    let db = Connection::open(&path).unwrap();
    for number in 1..=2 {
        db.execute(
            "INSERT INTO removals (pipeline, job, number, part, decided_at) VALUES ('host', 'work', ?, 'run', 0)",
            [number],
        )
        .unwrap();
    }
    drop(db);
    // Of the second one half was removed.
    let second = dir(&robot, "host/work#2");
    std::fs::rename(&second, second.with_file_name(".gone-host.work.2")).unwrap();
    robot.start();
    let gone = || {
        (robot.run(&["show", "host/work#1"]).code == 4 && robot.run(&["show", "host/work#2"]).code == 4).then_some(())
    };
    wait_for("both are gone", gone, || robot.said_by_daemon());
    let left: Vec<_> = std::fs::read_dir(robot.path("var/lib/shipbell/runs")).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(robot.must(&["logs", "host/work#3"]).contains("\nworking\n"));
    let db = Connection::open(&path).unwrap();
    let open: u32 = db.query_row("SELECT count(*) FROM removals WHERE done_at IS NULL", [], |row| row.get(0)).unwrap();
    let rows: u32 = db.query_row("SELECT count(*) FROM attempts", [], |row| row.get(0)).unwrap();
    assert_eq!((open, rows), (0, 1));
}

/// Fault: a mirror goes while a workspace borrows its objects.
#[test]
fn a_mirror_that_no_file_names_goes_when_nobody_borrows_from_it() {
    let temp = tempfile::tempdir().unwrap();
    let mut origin = Origin::new(&temp.path().join("shop.git"));
    let mut robot = Robot::new("");
    let job = "[job.test]\nsteps = \"until [ -e $GO ]; do sleep 0.1; done; git log --format=%s\"\n";
    let go = robot.path("go");
    let head = format!(
        "[repo]\nurl = \"{}\"\npoll = \"1s\"\n[defaults]\nenv = {{ GO = \"{}\" }}\n",
        origin.url(),
        go.display()
    );
    robot.job_file("shop", &format!("{head}{job}"));
    robot.start();
    origin.commit("main", "first", &[("a", "1")]);
    robot.wait_until(&["logs", "shop/test#1"], "=== step 1");
    let mirrors = robot.path("var/cache/shipbell/mirrors");
    let of_it = || std::fs::read_dir(&mirrors).unwrap().flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    let [mirror] = &of_it()[..] else { panic!("{:?}", of_it()) };
    robot.must(&["prune"]);
    assert!(!mirror.join("unnamed.shipbell").exists(), "its file names it");

    std::fs::remove_file(robot.path("etc/shipbell/jobs.d/shop.toml")).unwrap();
    robot.must(&["reload"]);
    robot.must(&["prune"]);
    let mark = mirror.join("unnamed.shipbell");
    assert!(mark.exists());
    std::fs::write(&mark, "2020-01-01T00:00:00Z").unwrap();
    let said = robot.must(&["prune", "--dry-run"]);
    assert!(said.contains("stays: a run borrows its objects"), "{said}");
    assert_eq!(robot.must(&["prune"]), "nothing removed, 0 B freed\n");
    assert!(mirror.exists());
    std::fs::write(&go, "").unwrap();
    robot.wait_until(&["show", "shop/test#1"], "shop/test#1   ok");
    assert!(robot.must(&["logs", "shop/test#1"]).contains("\nfirst\n"));
    assert!(robot.must(&["prune"]).starts_with("1 mirror removed, "));
    assert_eq!(of_it(), Vec::<PathBuf>::new());
}

/// As many fetches leave them: each with a file of its own.
fn leave_packs(mirror: &Path, count: usize) {
    let repo = git2::Repository::open_bare(mirror).unwrap();
    for n in 0..count {
        let blob = repo.blob(format!("{n} {}", "x".repeat(500)).as_bytes()).unwrap();
        let mut builder = repo.packbuilder().unwrap();
        builder.insert_object(blob, None).unwrap();
        builder.write(&mirror.join("objects/pack"), 0).unwrap();
        std::fs::remove_dir_all(mirror.join("objects").join(blob.to_string().split_at(2).0)).unwrap();
    }
}

#[test]
fn packs_of_a_mirror_are_rolled_at_night_and_the_old_ones_go_when_nobody_borrows() {
    let temp = tempfile::tempdir().unwrap();
    let mut origin = Origin::new(&temp.path().join("shop.git"));
    let mut robot = Robot::new("");
    let go = robot.path("go");
    let job = format!("[job.test]\nsteps = 'until [ -e {} ]; do sleep 0.1; done; git fsck'\n", go.display());
    robot.job_file("shop", &format!("[repo]\nurl = \"{}\"\npoll = \"1s\"\n{job}", origin.url()));
    robot.start();
    origin.commit("main", "first", &[("a", "1")]);
    robot.wait_until(&["logs", "shop/test#1"], "=== step 1");
    robot.stop();
    let mirrors = std::fs::read_dir(robot.path("var/cache/shipbell/mirrors")).unwrap();
    let mirror = mirrors.flatten().next().expect("a mirror").path();
    leave_packs(&mirror, 60);
    let packs = || {
        let entries = std::fs::read_dir(mirror.join("objects/pack")).unwrap().flatten();
        entries.filter(|entry| entry.path().extension().is_some_and(|part| part == "pack")).count()
    };
    let passes = |robot: &Robot| robot.said_by_daemon().matches("[retention]: ").count();
    let before = packs();
    robot.start_at(0, "04:13:06");
    wait_for("the first night", || (passes(&robot) == 1).then_some(()), || robot.said_by_daemon());
    assert_eq!(packs(), before + 1, "{}", robot.said_by_daemon());
    robot.stop();
    robot.start_at(1, "04:13:06");
    wait_for("the second night", || (passes(&robot) == 2).then_some(()), || robot.said_by_daemon());
    assert_eq!(packs(), before + 1, "the run borrows them: {}", robot.said_by_daemon());
    std::fs::write(&go, "").unwrap();
    ends(&robot, "shop/test#1");
    let said = robot.must(&["prune"]);
    assert!(said.contains("nothing removed, ") && !said.contains(" 0 B"), "{said}");
    assert_eq!(packs(), 1, "{}", robot.said_by_daemon());
    origin.commit("main", "second", &[("a", "2")]);
    ends(&robot, "shop/test#2");
}

#[test]
fn a_run_whose_artifacts_are_gone_is_made_again_before_what_stands_on_it() {
    let temp = tempfile::tempdir().unwrap();
    let mut origin = Origin::new(&temp.path().join("shop.git"));
    let mut robot = Robot::new("[retention]\nkeep = 1\n");
    let jobs = "[job.build]\nsteps = \"echo binary > bin\"\nartifacts = \"bin\"\n\
                [job.try]\nneeds = \"build\"\nsteps = \"cat bin\"\n";
    robot.job_file("shop", &format!("[repo]\nurl = \"{}\"\npoll = \"1s\"\n{jobs}", origin.url()));
    robot.start();
    for n in 1..=2 {
        origin.commit("main", "more", &[("a", &n.to_string())]);
        ends(&robot, &format!("shop/try#{n}"));
    }
    age(&mut robot, 40);
    assert!(robot.must(&["prune"]).starts_with("1 set of artifacts removed, "), "{}", robot.said_by_daemon());
    let refused = robot.run(&["retry", "shop/try#1"]);
    assert_ne!(refused.code, 0, "{}", refused.out);
    for words in ["those of shop/build#1 were removed on 20", "[retention] (artifacts)", "shipbell retry shop/build#1"]
    {
        assert!(refused.err.contains(words), "{words}: {}", refused.err);
    }
    robot.must(&["retry", "shop/build#1"]);
    ends(&robot, "shop/build#3");
    let said = robot.must(&["retry", "shop/try#1"]);
    let run = said.split_whitespace().find(|word| word.starts_with("shop/try#")).expect("its name").to_owned();
    ends(&robot, run.trim_end_matches([',', ':', '.']));
}
