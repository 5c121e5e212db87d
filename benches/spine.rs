//! What the way of a commit costs: an empty supervisor, commit to first step, click to production's
//! first step, and memory at rest; each beside a floor measured in the same run (`make bench`).
//! Steps write the time of their first command themselves. Figures and machine: docs/performance.md.

#[allow(dead_code, reason = "shared with tests/path.rs, which asks for the rest")]
#[path = "../tests/path/browser.rs"]
mod browser;
mod common;
#[allow(dead_code, reason = "shared with tests/runs.rs, which asks for the rest")]
#[path = "../tests/runs/place.rs"]
mod place;
#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use browser::Browser;
use common::{Times, Usage, bare_spawn, head, machine, mib, millis, output, row, wall};
use support::origin::Origin;
use support::robot::Robot;
use support::wait_for;

/// How often each way is gone.
const TIMES: usize = 20;

fn main() {
    if cfg!(debug_assertions) {
        println!("this is not a release build: its figures mean nothing");
    }
    machine();
    let floor = bare_spawn(200);
    head("what | measured | to the floor");
    let ratio = |times: &Times| format!("{:.1} x", times.p50() / floor.p50());
    row(&["posix_spawn of /bin/true until reaped: the floor", &floor.told(), "1 x"]);
    for (what, times) in [
        ("`shipbell --version`, start to exit: the binary alone", version()),
        ("empty `shipbell supervise`, start to exit", empty_supervise()),
    ] {
        row(&[what, &times.told(), &ratio(&times)]);
    }
    for (what, times) in the_way() {
        row(&[what, &times.told(), &ratio(&times)]);
    }
    at_rest();
    the_build();
}

fn version() -> Times {
    common::timed(TIMES * 2, || {
        let status = Command::new(place::BINARY).arg("--version").stdout(Stdio::null()).status();
        assert!(status.expect("the binary").success());
    })
}

/// A ticket without steps: lock, claim, facts, the emptiness of its processes, and out.
fn empty_supervise() -> Times {
    let place = place::Place::new();
    let order = || place.prepare(&place.order(&place::job(&[])));
    let mut dirs: Vec<_> = (0..TIMES * 2).map(|_| order()).collect();
    common::timed(TIMES * 2, || {
        let dir = dirs.pop().expect("one for each");
        let status = Command::new(place::BINARY).arg("supervise").arg(&dir).stdin(Stdio::null()).status();
        assert!(status.expect("the binary").success());
    })
}

const SETTINGS: &str = "[mail]\nto = \"ops@example.org\"\n[person.anna]\nemail = \"anna@example.org\"\n";

fn job_file(url: &str, root: &Path) -> String {
    let root = root.display();
    format!(
        "[repo]\nurl = \"{url}\"\nbranches = \"main\"\npoll = \"1h\"\n[job.test]\n\
         steps = 'date +%s%N > {root}/test.new && mv {root}/test.new {root}/test-$SHIPBELL_COMMIT'\n[job.production]\n\
         needs = \"test\"\nenvironment = \"production\"\n\
         steps = 'date +%s%N > {root}/prod.new && mv {root}/prod.new {root}/prod-$SHIPBELL_COMMIT'\n\
         [environment.production]\napproval = {{ by = \"anna\" }}\n"
    )
}

/// A commit pushed, polled, tested, approved and deployed, again and again.
fn the_way() -> Vec<(&'static str, Times)> {
    let mut robot = Robot::new(SETTINGS);
    let mut origin = Origin::new(&robot.path("shop.git"));
    origin.commit("main", "first", &[("a", "0")]);
    let work = robot.path("work");
    git(Path::new("/"), &["clone", "--quiet", origin.url(), &work.to_string_lossy()]);
    robot.job_file("shop", &job_file(origin.url(), &robot.path("")));
    robot.start();
    robot.wait_until(&["status"], "waits (approval)");
    let (mut tests, mut productions, mut polls) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=TIMES {
        // No repository is asked more often than once a second: that wait is none of ours.
        std::thread::sleep(Duration::from_millis(1_200));
        let mails = robot.mails().len();
        git(&work, &["commit", "--quiet", "--allow-empty", "-m", &format!("number {number}")]);
        git(&work, &["push", "--quiet", "origin", "main"]);
        let commit = git(&work, &["rev-parse", "HEAD"]);
        let pushed = wall();
        robot.must(&["poll", "shop"]);
        polls.push(millis(pushed, wall()));
        tests.push(millis(pushed, stamp(&robot, &format!("test-{commit}"))));
        let link = link(&robot, mails);
        let mut browser = Browser::new();
        let form = browser.form(&link, &[("word", "production"), ("verdict", "approve"), ("reason", "bench")]);
        let posted = wall();
        assert_eq!(browser.post(&link, &form).status, 200);
        productions.push(millis(posted, stamp(&robot, &format!("prod-{commit}"))));
        robot.wait_until(&["history", "shop/production", "-n", "1"], "ok, by anna");
    }
    vec![
        ("`shipbell poll` itself, part of the next row", Times::new(polls)),
        ("commit pushed, `shipbell poll`, to its first step's `date`", Times::new(tests)),
        ("POST of the approval form to production's first step's `date`", Times::new(productions)),
    ]
}

/// What a step wrote of its time.
fn stamp(robot: &Robot, name: &str) -> i128 {
    let path = robot.path(name);
    let written = || std::fs::read_to_string(&path).ok()?.trim().parse().ok();
    wait_for(name, written, || robot.said_by_daemon())
}

/// The link of the mail that asks about the newest commit.
fn link(robot: &Robot, mails: usize) -> String {
    let newest = || {
        let mut all = robot.mails();
        let mail = (all.len() > mails).then(|| all.pop()).flatten()?;
        mail.text.split_whitespace().find(|word| word.contains("/a/")).map(str::to_owned)
    };
    wait_for("a mail that asks", newest, || robot.said_by_daemon())
}

fn git(dir: &Path, arguments: &[&str]) -> String {
    let who = ["-c", "user.name=Ann Author", "-c", "user.email=ann@example.org"];
    let output = Command::new("git").args(who).args(arguments).current_dir(dir).output().expect("git");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A daemon that has nothing to do.
fn at_rest() {
    head("at rest | RSS | PSS");
    for pipelines in [1, 100] {
        let mut robot = Robot::new(SETTINGS);
        let mut origin = Origin::new(&robot.path("shop.git"));
        origin.commit("main", "first", &[("a", "0")]);
        for number in 0..pipelines {
            robot.job_file(
                &format!("shop-{number}"),
                &format!(
                    "[repo]\nurl = \"{}\"\npoll = \"1h\"\n[job.test]\nschedule = \"0 3 1 1 *\"\nsteps = \"make test\"\n",
                    origin.url()
                ),
            );
        }
        robot.start();
        std::thread::sleep(Duration::from_secs(3));
        let usage = Usage::of(robot.pid());
        row(&[&format!("daemon with {pipelines} pipelines"), &mib(usage.rss_kib), &mib(usage.pss_kib)]);
    }
}

fn the_build() {
    head("build | ");
    let size = std::fs::metadata(place::BINARY).map_or(0, |data| data.len());
    row(&["binary of this profile, stripped in release", &mib(size / 1024)]);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let tree = |edges: &str| {
        let args = ["tree", "--offline", "--locked", "--prefix", "none", "--edges", edges, "--format", "{p}"];
        let mut crates: Vec<String> = output(&cargo, &args).unwrap_or_default().lines().map(unmarked).collect();
        crates.sort();
        crates.dedup();
        crates.len().saturating_sub(1)
    };
    row(&["crates in the binary (`cargo tree -e normal`)", &tree("normal").to_string()]);
    row(&["with what only builds it (`-e normal,build`)", &tree("normal,build").to_string()]);
}

/// Without the mark of one that was listed before.
fn unmarked(line: &str) -> String {
    line.trim_end_matches(" (*)").to_owned()
}
