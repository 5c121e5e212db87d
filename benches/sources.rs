//! What looking at repositories costs: one unchanged poll over http at 10 and at 50,000 refs beside git,
//! libgit2 and what Buildbot calls; 1,000 repositories every minute; from a push to the first step. All in
//! one run (`make bench-sources`). Names of parts may be given: poll, many, push. Figures: docs/performance.md.

mod common;
#[path = "common/host.rs"]
mod host;
#[path = "sources/server.rs"]
mod server;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::{Times, Usage, head, machine, mib, millis, row, timed, wall};
use host::Host;
use server::{Origin, Server, counted};
use shipbell::credentials::Credentials;
use shipbell::model::catalog::Address;
use shipbell::source::{Remotes, Scope};
use shipbell::web::Client;

const LONG: Duration = Duration::from_secs(60);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if cfg!(debug_assertions) {
        println!("this is not a release build: its figures mean nothing");
    }
    machine();
    let parts: [(&str, fn()); 3] = [("poll", poll), ("many", many), ("push", push)];
    for (name, part) in parts {
        if arguments.is_empty() || arguments.iter().any(|word| word == name) {
            part();
        }
    }
}

/// What one way of asking costs: bytes both ways, and processor time of the client.
struct Cost {
    bytes: u64,
    cpu_ms: f64,
    took: Times,
}

/// `ask` is given the repository's URL. In-process work is measured by this process, children by theirs.
fn cost(port: u16, times: usize, ask: &dyn Fn(&str)) -> Cost {
    let (through, count) = counted(port);
    ask(&server::url(through));
    std::thread::sleep(Duration::from_millis(100));
    let before = count.load(Ordering::SeqCst);
    ask(&server::url(through));
    std::thread::sleep(Duration::from_millis(300));
    let bytes = count.load(Ordering::SeqCst) - before;
    let url = server::url(port);
    let cpu = || Usage::of(std::process::id()).cpu_ms() + common::children_cpu() as f64 * 10.0;
    let before = cpu();
    let took = timed(times, || ask(&url));
    Cost { bytes, cpu_ms: (cpu() - before) / times as f64, took }
}

fn git(arguments: &[&str]) {
    let mut command = Command::new("git");
    command.args(["-c", "protocol.version=2"]).args(arguments).env("GIT_CONFIG_GLOBAL", "/dev/null");
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.expect("git").success(), "git {arguments:?}");
}

/// Nothing has changed: at 10 refs and at 50,000.
fn poll() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let remotes = Remotes::new(Client::new(), Credentials::new(Path::new("/nonexistent")));
    let scope = server::scope_of_main();
    println!("\nThe goals of one poll: 2 KB on the wire and 1 ms of CPU, at 10 and at 50,000 refs alike.");
    head("one unchanged poll over http | refs | bytes on the wire | CPU of the client | time");
    for refs in [10, 50_000] {
        let dir = tempfile::tempdir().expect("a directory");
        let origin = Origin::new(dir.path(), refs);
        let server = Server::start(dir.path());
        let clone = dir.path().join("clone.git");
        git(&["clone", "-q", "--bare", &server::url(server.port), &clone.display().to_string()]);
        let clone = clone.display().to_string();
        let ours = |url: &str| {
            let asked = runtime.block_on(remotes.ask(&Address::open(url), &scope, LONG));
            assert_eq!(asked.expect("an answer").0.refs.len(), 1);
        };
        let everything = |url: &str| {
            let asked = runtime.block_on(remotes.ask(&Address::open(url), &Scope::default(), LONG));
            assert!(asked.expect("an answer").0.refs.len() >= refs);
        };
        let libgit2 = |url: &str| {
            let mut remote = git2::Remote::create_detached(url).expect("a remote");
            remote.connect(git2::Direction::Fetch).expect("an answer");
            assert!(remote.list().expect("a list").len() >= refs);
        };
        let times = if refs > 1000 { 20 } else { 200 };
        let costs = [
            ("shipbell, main", cost(server.port, 200, &ours)),
            ("shipbell, all branches and tags", cost(server.port, times, &everything)),
            ("git ls-remote", cost(server.port, 20, &|url| git(&["ls-remote", url]))),
            // What Buildbot's GitPoller calls at each poll.
            (
                "git ls-remote --refs URL main (Buildbot)",
                cost(server.port, 20, &|url| git(&["ls-remote", "--refs", url, "refs/heads/main"])),
            ),
            (
                "git fetch --no-tags URL main",
                cost(server.port, 20, &|url| {
                    git(&["--git-dir", &clone, "fetch", "-q", "--no-tags", url, "refs/heads/main"]);
                }),
            ),
            ("libgit2", cost(server.port, times.min(50), &libgit2)),
        ];
        let (first, cpu) = (costs[0].1.bytes as f64, costs[0].1.cpu_ms);
        for (name, cost) in &costs {
            row(&[
                name,
                &refs.to_string(),
                &format!("{} ({:.0}x)", cost.bytes, cost.bytes as f64 / first),
                &format!("{:.2} ms ({:.0}x)", cost.cpu_ms, cost.cpu_ms / cpu),
                &cost.took.told(),
            ]);
        }
        drop(origin);
    }
}

/// A daemon with 1,000 repositories of its own, each asked every minute.
fn many() {
    const COUNT: usize = 1_000;
    let dir = tempfile::tempdir().expect("a directory");
    let origin = Origin::new(dir.path(), 10);
    let server = Server::start(dir.path());
    let base = format!("http://127.0.0.1:{}/git", server.port);
    for number in 0..COUNT {
        std::os::unix::fs::symlink("shop.git", dir.path().join(format!("r{number}.git"))).expect("a link");
    }
    let mut host = Host::new(0, |_, _| String::new());
    for number in 0..COUNT {
        let text = format!(
            "[repo]\nurl = \"{base}/r{number}.git\"\nbranches = \"main\"\n[job.j]\nmanual = true\nsteps = \"true\"\n"
        );
        std::fs::write(host.path(&format!("etc/shipbell/jobs.d/p{number}.toml")), text).expect("a job file");
    }
    host.start();
    // The first looks fetch; then a minute of nothing but asking.
    let until = Instant::now() + Duration::from_secs(600);
    while asked(&host) < COUNT {
        assert!(Instant::now() < until, "{} of {COUNT} were asked", asked(&host));
        std::thread::sleep(Duration::from_secs(1));
    }
    std::thread::sleep(Duration::from_secs(30));
    let before = Usage::of(host.pid());
    std::thread::sleep(Duration::from_secs(120));
    let after = Usage::of(host.pid());
    let spent = after.since(before);
    let sockets = std::fs::read_dir(format!("/proc/{}/fd", host.pid())).into_iter().flatten().flatten();
    let sockets = sockets.filter(|entry| {
        std::fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    });
    head("1,000 repositories every minute | measured");
    row(&["CPU of one core (goal: 2 %)", &format!("{:.2} %", spent.cpu_ms() / 120_000.0 * 100.0)]);
    row(&["CPU a poll", &format!("{:.2} ms", spent.cpu_ms() / (COUNT as f64 * 2.0))]);
    row(&["resident, proportional (goal: 64 MiB)", &format!("{}, {}", mib(after.rss_kib), mib(after.pss_kib))]);
    row(&["open sockets (goal: 64 of them for repositories)", &sockets.count().to_string()]);
    row(&["wake-ups a second", &format!("{:.0}", spent.wakes as f64 / 120.0)]);
    drop(origin);
}

/// Repositories that were asked without trouble.
fn asked(host: &Host) -> usize {
    let root = host.path("");
    let output = Command::new(host::BINARY).arg("--root").arg(&root).args(["repos", "--json"]).output();
    let text = String::from_utf8_lossy(&output.expect("shipbell repos").stdout).into_owned();
    let view: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let rows = view["rows"].as_array().cloned().unwrap_or_default();
    rows.iter().filter(|row| !row["last"].is_null() && row["error"].is_null()).count()
}

/// A repository of 5,000 commits and 2,000 files: from `shipbell poll`, which is all that a hook is, to the
/// first command of the step, beside the bare fetch of the same commit.
fn push() {
    const TIMES: usize = 30;
    let dir = tempfile::tempdir().expect("a directory");
    let origin = Origin::large(dir.path(), 5_000, 2_000);
    let server = Server::start(dir.path());
    let url = server::url(server.port);
    let mut host = Host::new(0, |_, _| String::new());
    let out = host.path("out/p0");
    let text = format!(
        "[repo]\nurl = \"{url}\"\nbranches = \"main\"\npoll = \"1h\"\n[job.j]\nsteps = 'date +%s%N >> {}'\n",
        out.display()
    );
    std::fs::write(host.path("etc/shipbell/jobs.d/p0.toml"), text).expect("a job file");
    host.start();
    let stamps = |wanted: usize| {
        let until = Instant::now() + Duration::from_secs(120);
        loop {
            let stamps = host.stamps().remove(&0).unwrap_or_default();
            if stamps.len() >= wanted {
                return stamps[wanted - 1];
            }
            assert!(Instant::now() < until, "no step ran: {}", host.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    stamps(1);
    shipbell::sys::files::keep_apart(dir.path());
    let clone = dir.path().join("clone.git").display().to_string();
    git(&["clone", "-q", "--bare", &url, &clone]);
    // The floor: fetched and checked out by git itself, into a directory of its own.
    let (mut all, mut fetches, mut checkouts) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..TIMES {
        std::thread::sleep(Duration::from_millis(1200));
        origin.commit(number);
        let began = wall();
        host.run(&["poll", "p0"]);
        all.push(millis(began, stamps(number + 2)));
        let began = wall();
        git(&["--git-dir", &clone, "fetch", "-q", "--no-tags", &url, "+refs/heads/main:refs/heads/main"]);
        fetches.push(millis(began, wall()));
        let work = dir.path().join(format!("work{number}"));
        let began = wall();
        git(&["clone", "-q", "--shared", &clone, &work.display().to_string()]);
        checkouts.push(millis(began, wall()));
        std::fs::remove_dir_all(&work).expect("it goes");
    }
    let (all, fetches, checkouts) = (Times::new(all), Times::new(fetches), Times::new(checkouts));
    head("from the hint to the step's first command | time");
    row(&["shipbell poll to the step", &all.told()]);
    row(&["git fetch of the same commit", &fetches.told()]);
    row(&["git clone --shared of it, 2,000 files checked out", &checkouts.told()]);
    row(&["more than the fetch, p50 (goal: 150 ms)", &format!("{:.1} ms", all.p50() - fetches.p50())]);
}
