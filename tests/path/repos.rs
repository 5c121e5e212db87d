//! What a person learns of repositories from the real program: how each is asked, what fails on the way to
//! one, and a head that nobody who may has signed.

use super::settings;
use super::support::origin::Origin;
use super::support::robot::Robot;

#[test]
fn repositories_are_shown_tried_and_asked_now() {
    let mut robot = Robot::new(&settings());
    let mut origin = Origin::new(&robot.path("fine.git"));
    origin.commit("main", "first", &[("a", "b")]);
    let (fine, gone) = (origin.url().to_owned(), robot.path("gone.git").display().to_string());
    let job = |url: &str, more: &str| {
        format!("[repo]\nurl = \"{url}\"\nbranches = \"main\"\n{more}\n[job.test]\nsteps = \"true\"\n")
    };
    robot.write(
        "etc/shipbell/signers",
        "anna@example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEvenNobodyHasThisKeyOfAnnaAtAllxxxxxxxxxx\n",
    );
    let signers = robot.path("etc/shipbell/signers").display().to_string();
    robot.job_file("fine", &job(&fine, ""));
    robot.job_file("also", &job(&fine, ""));
    robot.job_file("gone", &job(&gone, ""));
    robot.job_file(
        "signed",
        &job(&origin.url().replace("fine.git", "./fine.git"), &format!("signed-by = \"{signers}\"")),
    );
    robot.start();
    robot.wait_until(&["repos"], "FAILED");
    let shown = robot.wait_until(&["repos"], ": also, fine");
    assert!(
        shown.contains(&format!("shipbell repos test {gone}")) && shown.contains("3 repositories asked"),
        "{shown}"
    );
    let said = robot.run(&["repos"]);
    assert_eq!(said.code, 1, "one of them needs a person");
    let rows = robot.json(&["repos"]);
    let rows = rows["rows"].as_array().unwrap();
    let row = |url: &str| rows.iter().find(|row| row["url"] == url).unwrap_or_else(|| panic!("{url}: {rows:?}"));
    assert_eq!((row(&fine)["head"].as_str(), row(&fine)["pipelines"].as_array().unwrap().len()), (Some("main"), 2));
    assert!(row(&gone)["error"].as_str().unwrap().contains("is not there"));

    let good = robot.must(&["repos", "test", &fine, "--branch", "main"]);
    assert!(good.contains("1 branches, 0 tags; HEAD is main") && good.contains("stands at"), "{good}");
    let bad = robot.run(&["repos", "test", &fine, "--branch", "mian"]);
    assert!(bad.code == 1 && bad.out.contains("it has: main"), "{bad:?}");
    let bad = robot.run(&["repos", "test", "https://no-such-host.invalid/x.git", "--credential", "none"]);
    assert!(bad.code == 1 && bad.out.contains("credential  FAILED") && bad.out.contains("name        -"), "{bad:?}");

    bad_inputs(&robot);

    // Every interval is a minute away; a word makes it now.
    robot.wait_until(&["status"], "it is not signed");
    assert!(!robot.json(&["history"]).to_string().contains("signed/test"), "nothing ran for it");
    robot.wait_until(&["history"], "fine/test#1");
    origin.commit("main", "second", &[("a", "c")]);
    robot.must(&["poll", "fine"]);
    robot.wait_until(&["history"], "fine/test#2");
}

/// What a person mistypes is told, in eighty columns, and no password is repeated.
fn bad_inputs(robot: &Robot) {
    // What may be a password is nobody's to see, also where somebody typed it.
    for url in ["https://me:s3cret@git.example.org/x.git", "https://s3cret@git.example.org/x.git", "me:s3cret@host:x"] {
        for said in [robot.run(&["repos", "test", url]), robot.run(&["repos", "test", url, "--json"])] {
            assert!(said.code == 1 && said.out.contains("url"), "{said:?}");
            assert!(!said.out.contains("s3cret") && !said.err.contains("s3cret"), "{said:?}");
        }
    }
    assert!(!robot.said_by_daemon().contains("s3cret"));
    let unknown = robot.run(&["poll", "fime"]);
    assert!(unknown.code == 4 && unknown.err.contains("there is no pipeline fime"), "{unknown:?}");
    robot.job_file("timed", "[job.tick]\nmanual = true\nsteps = \"true\"\n");
    robot.must(&["reload"]);
    let bare = robot.run(&["poll", "timed"]);
    assert!(bare.code != 0 && bare.err.contains("timed has no repository"), "{bare:?}");
    std::fs::remove_file(robot.path("etc/shipbell/jobs.d/also.toml")).unwrap();
    robot.must(&["reload"]);
    let off = robot.run(&["poll", "also"]);
    assert!(off.code != 0 && off.err.contains("also is off, so its repository is not asked"), "{off:?}");
    for text in [robot.run(&["repos"]).out, unknown.err, off.err] {
        assert!(text.lines().all(|line| line.chars().count() <= 80 || line.contains("/tmp/")), "{text}");
    }
}
