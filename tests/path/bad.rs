//! What goes wrong on a real host, and that it is shown where people look: with a reason, with what to
//! do, and without harm to the other pipelines.

use super::support::origin::Origin;
use super::support::robot::Robot;
use super::support::wait_for;
use super::{product, settings};

fn tested(url: &str, branch: &str) -> String {
    format!(
        "[repo]\nurl = \"{url}\"\nbranches = \"{branch}\"\npoll = \"1s\"\n[init]\n[job.test]\nsteps = \"make test\"\n"
    )
}

const FINE: &str = "init:\n\ttrue\ntest:\n\ttrue\n";

/// A repository of one commit with these files.
fn origin(robot: &Robot, name: &str, files: &[(&str, &str)]) -> String {
    let mut origin = Origin::new(&robot.path(&format!("{name}.git")));
    origin.commit("main", "first", files);
    origin.url().to_owned()
}

#[test]
fn repositories_and_init_configs_that_do_not_fit_are_told() {
    let mut robot = Robot::new(&settings());
    let fine = origin(&robot, "fine", &[("Makefile", FINE), ("init_config.json", "{}")]);
    let gone = robot.path("gone.git");
    let cases = [
        ("noconfig", origin(&robot, "noconfig", &[("Makefile", FINE)])),
        ("badconfig", origin(&robot, "badconfig", &[("Makefile", FINE), ("init_config.json", "{\n  \"a\": oops\n}")])),
        ("notarget", origin(&robot, "notarget", &[("Makefile", "test:\n\ttrue\n"), ("init_config.json", "{}")])),
        ("nomakefile", origin(&robot, "nomakefile", &[("README", "hi"), ("init_config.json", "{}")])),
    ];
    robot.job_file("fine", &tested(&fine, "main"));
    robot.job_file("gone", &tested(gone.to_str().unwrap(), "main"));
    robot.job_file("branch", &tested(&fine, "mian"));
    for (name, url) in &cases {
        robot.job_file(name, &tested(url, "main"));
    }
    robot.job_file("broken", "[repo]\nurl = 1\n[job.test]\nsteps = \"true\"\n");
    robot.start();

    let find = |subject: &str, text: &str| {
        let seen = || {
            let status = robot.json(&["status"]);
            let mut items = status["attention"].as_array().into_iter().flatten();
            items.any(|item| item["subject"] == subject && item.to_string().contains(text)).then_some(())
        };
        wait_for(&format!("{subject}: {text}"), seen, || robot.run(&["status"]).out);
    };
    find("gone", "is not there");
    find("branch", "mian");
    find("broken", "url");
    for (name, text, hint) in [
        ("noconfig", "has no init_config.json", "[init] source"),
        ("badconfig", "init_config.json:2:8", "make init"),
        ("notarget", "init", "Makefile"),
        ("nomakefile", "Makefile", "init"),
    ] {
        robot.wait_until(&["history", name], "FAILED init");
        let show = robot.must(&["show", &format!("{name}/test")]);
        let log = robot.run(&["logs", &format!("{name}/test")]).out;
        let all = format!("{show}\n{log}");
        assert!(all.contains(text) && all.contains(hint), "{name}: {text:?}, {hint:?}:\n{all}");
    }
    robot.wait_until(&["history", "fine"], "ok");
    let status = robot.run(&["status"]);
    assert_eq!(status.code, 1);
    assert!(status.out.contains("1 broken"), "{}", status.out);

    // What was wrong is mended, and nothing has to be restarted.
    let mut origin = Origin::new(&gone);
    origin.commit("main", "here it is", &[("Makefile", FINE), ("init_config.json", "{}")]);
    robot.must(&["poll", "gone"]);
    robot.wait_until(&["history", "gone"], "ok");
    robot.job_file("broken", &tested(&fine, "main"));
    robot.must(&["reload"]);
    robot.wait_until(&["history", "broken"], "ok");
}

#[test]
fn one_daemon_at_a_time_and_none_on_a_database_that_cannot_be_read() {
    let mut robot = Robot::new(&settings());
    robot.start();
    let second = robot.run(&["daemon"]);
    assert_eq!(second.code, 75, "{}", second.err);
    assert!(second.err.contains("another shipbell daemon"), "{}", second.err);
    assert!(robot.stop().success());
    let database = robot.path("var/lib/shipbell/db/shipbell.db");
    for file in ["shipbell.db-wal", "shipbell.db-shm"] {
        let _ = std::fs::remove_file(database.with_file_name(file));
    }
    std::fs::write(&database, "this is no database, and long enough to be taken for a page of one".repeat(100))
        .unwrap();
    let garbage = robot.run(&["daemon"]);
    assert_eq!(garbage.code, 78, "{}", garbage.err);
    assert!(garbage.err.contains("shipbell.db") && garbage.err.contains("backup"), "{}", garbage.err);
}

#[test]
fn a_mail_that_cannot_be_written_stays_and_is_shown() {
    let mut robot = Robot::new(&settings());
    let mut origin = product(&robot, 2);
    origin.commit("main", "red", &[("Makefile", "init:\n\ttrue\ntest:\n\tfalse\n"), ("init_config.json", "{}")]);
    robot.job_file("product", &tested(origin.url(), "main"));
    // A file where the directory should be: not even root can write mails into it.
    robot.write("var/lib/shipbell/db/mail", "");
    robot.start();
    let status = robot.wait_until(&["status"], "1 mail undelivered");
    assert!(status.contains("ops@example.org") && status.contains("shipbell/db/mail"), "{status}");
    let view = robot.json(&["status"]);
    assert_eq!(view["undelivered"], 1, "{view:#}");
    let told = view["attention"].to_string();
    assert!(told.contains("undelivered after ") && told.contains("is tried again"), "{told}");
}
