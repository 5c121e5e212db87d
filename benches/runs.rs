//! What runs cost (`make bench-runs`): durable runs a second at 1, 4 and 16 slots beside bare spawns, the same as
//! units of systemd beside `systemd-run --wait`, launch to the first step's exec, the same from a process with
//! 200 MiB of its own, a workspace of 2,000 files, capture of a flood, and what 16 busy runs cost the daemon.
//! Each stands beside a floor of the same run.

mod common;
#[path = "common/host.rs"]
mod host;
#[allow(dead_code, reason = "shared with tests/runs.rs, which asks for the rest")]
#[path = "../tests/runs/place.rs"]
mod place;
#[path = "sources/server.rs"]
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Times, Usage, head, machine, millis, row, wall};
use host::{Host, time_of};
use place::Place;
use shipbell::model::run::Outcome;

/// Runs of one measurement of the rate.
const RUNS: usize = 400;
const TIMES: usize = 40;
const FLOOD: u64 = 512 << 20;

/// All of them where none is named.
const PARTS: &[(&str, fn())] = &[
    ("rates", rates),
    ("units", units),
    ("launches", launches),
    ("workspaces", workspaces),
    ("flood", flood),
    ("busy", busy),
];

fn main() {
    if cfg!(debug_assertions) {
        println!("this is not a release build: its figures mean nothing");
    }
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    machine();
    for (name, part) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            part();
        }
    }
}

/// `sh -c true` started and waited for, by so many at a time: a second.
fn floor(at_once: usize) -> f64 {
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                for _ in 0..RUNS / at_once {
                    let status = Command::new("sh").args(["-c", "true"]).stdin(Stdio::null()).status();
                    assert!(status.expect("sh").success());
                }
            });
        }
    });
    RUNS as f64 / begin.elapsed().as_secs_f64()
}

/// All jobs are due at one instant; every end is a transaction that is on disk. The same program is started by
/// both, and beside them the job's default shell by us.
fn rates() {
    head(
        "slots | durable runs/s of `true`, shell sh | bare spawn + reap of `sh -c true`/s | share of the floor \
         | runs/s with the default shell, bash",
    );
    // Where ext4 has no journal it looks, for each new file, at those removed there in the last minutes: what
    // one measurement leaves is not to slow the next one down.
    let mut hosts = Vec::new();
    for slots in [1, 4, 16] {
        let mut rate = |shell: &str| {
            let (rate, host) = rate_of(slots, shell);
            hosts.push(host);
            rate
        };
        let (rate, default, bare) = (rate("shell = [\"sh\", \"-c\"]"), rate(""), floor(slots));
        let [share, slots] = [format!("{:.2}", rate / bare), slots.to_string()];
        row(&[&slots, &format!("{rate:.0}"), &format!("{bare:.0}"), &share, &format!("{default:.0}")]);
    }
}

fn rate_of(slots: usize, shell: &str) -> (f64, Host) {
    let mut host = Host::new(RUNS, |_, _| format!("every = \"1h\"\nsteps = \"true\"\n{shell}"));
    host.change_settings(&format!("slots = {slots}"));
    let due = wall() + 3_000_000_000;
    host.make_due(Duration::from_secs(3600), |_| due);
    host.start();
    let all = host.wait_for("all runs over", |log| {
        let ends: Vec<i128> = log.lines().filter(|line| line.contains(" finished p")).filter_map(time_of).collect();
        let first = log.lines().find(|line| line.contains(" starts, attempt 1")).and_then(time_of)?;
        (ends.len() >= RUNS).then(|| millis(first, ends.into_iter().max().unwrap_or(first)))
    });
    host.stop();
    (RUNS as f64 * 1000.0 / all, host)
}

/// The same with a unit each, with and without a sandbox, in a container with systemd as the tests boot it.
fn units() {
    head("sandbox | slots | durable runs/s of `true`, a unit each | `systemd-run --wait true`/s | share of the peer");
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut boot = Command::new(project.join("tests/systemd-boot.sh"));
    let binds = [
        (host::BINARY.to_owned(), "/usr/bin/shipbell"),
        (project.join("packaging/sysusers.d/shipbell.conf").display().to_string(), "/usr/lib/sysusers.d/shipbell.conf"),
        (project.join("packaging/tmpfiles.d/shipbell.conf").display().to_string(), "/usr/lib/tmpfiles.d/shipbell.conf"),
        (project.join("tests/systemd").display().to_string(), "/usr/lib/shipbell-test"),
        (project.join("benches/runs").display().to_string(), "/usr/lib/shipbell-bench"),
    ];
    for (from, to) in binds {
        boot.arg("--bind").arg(format!("{from}:{to}"));
    }
    for unit in ["shipbell.service", "shipbell-executor.service", "shipbell-executor.socket", "shipbell-jobs.slice"] {
        let from = project.join("systemd").join(unit);
        boot.arg("--bind").arg(format!("{}:/usr/lib/systemd/system/{unit}", from.display()));
    }
    boot.args(["--timeout", "600", "--packages", "git make openssh-client"]).arg(project.join("target/systemd-root"));
    let output = boot.args(["--", "bash", "/usr/lib/shipbell-bench/units.sh"]).output().expect("the script");
    if !output.status.success() {
        return println!("no container with systemd here: {}", String::from_utf8_lossy(&output.stderr));
    }
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [sandbox, slots, ours, peer] = words[..] else { continue };
        let share = ours.parse::<f64>().unwrap_or(0.0) / peer.parse::<f64>().unwrap_or(f64::NAN);
        row(&[sandbox, slots, ours, peer, &format!("{share:.2}")]);
    }
}

/// From the executor's start of an attempt without repository to the first step's exec.
fn launches() {
    head("launch requested to the first step's `date` | ");
    let place = Place::new();
    row(&["as it is", &launch_times(&place).told()]);
    let ballast: Vec<u8> = (0..=u8::MAX).cycle().take(200 << 20).collect();
    row(&["from a process with 200 MiB", &launch_times(&place).told()]);
    assert!(!std::hint::black_box(ballast).is_empty());
    let mut limited = place::job(&["date +%s%N"]);
    limited.limits.memory = Some(1 << 30);
    row(&["with limits.memory", &times_of(&place, &limited).told()]);
    let date = common::timed(TIMES, || {
        let output = Command::new("date").arg("+%s%N").stdin(Stdio::null()).output();
        assert!(output.is_ok_and(|output| output.status.success()));
    });
    row(&["`date` itself, start to end", &date.told()]);
}

fn launch_times(place: &Place) -> Times {
    times_of(place, &place::job(&["date +%s%N"]))
}

fn times_of(place: &Place, job: &shipbell::model::job::Definition) -> Times {
    let one = |_| {
        let asked = wall();
        let run = place.start(job);
        let end = place.wait(&run);
        assert_eq!(end.finished().0, Outcome::Succeeded, "{}", end.log);
        let said = end.log.lines().find_map(|line| line.parse::<i128>().ok()).expect("a time");
        millis(asked, said)
    };
    Times::new((0..TIMES).map(one).collect())
}

/// The child that checks a commit of 2,000 files out, whole, beside `git checkout` of the same, in turn. The
/// goals: 0.25 s fresh, 0.05 s kept.
fn workspaces() {
    const FILES: usize = 2_000;
    const TURNS: usize = 20;
    head("a workspace of 2,000 files (goals: fresh 250 ms, kept 50 ms) | ");
    let temp = tempfile::tempdir().expect("a directory");
    shipbell::sys::files::keep_apart(temp.path());
    let origin = server::Origin::large(temp.path(), 5_000, FILES);
    let mirror = temp.path().join("shop.git");
    let old = origin.tip();
    origin.commit(0);
    let new = origin.tip();
    let check_out = |work: &Path, history: &str, commits: &[&str]| {
        std::fs::create_dir_all(work).expect("a directory");
        let mut command = Command::new(host::BINARY);
        command.args(["supervise", "--checkout"]).arg(work).arg(&mirror).arg(history).args(commits);
        time_of_child(command.env("HOME", temp.path().join("home")))
    };
    let (mut fresh, mut short, mut same, mut other, mut git) = (vec![], vec![], vec![], vec![], vec![]);
    for turn in 0..TURNS {
        let place = |what: &str| -> PathBuf { temp.path().join(format!("{what}{turn}")) };
        fresh.push(check_out(&place("fresh"), "all", &[&new]));
        same.push(check_out(&place("fresh"), "all", &[&new, &new]));
        other.push(check_out(&place("fresh"), "all", &[&old, &new]));
        short.push(check_out(&place("short"), "commit", &[&new]));
        let clone = place("git");
        let cloned = Command::new("git").args(["clone", "-q", "-n", "-s"]).arg(&mirror).arg(&clone).status();
        assert!(cloned.is_ok_and(|status| status.success()));
        git.push(time_of_child(Command::new("git").arg("-C").arg(&clone).args(["checkout", "-q", "--detach", &new])));
        for what in ["fresh", "short", "git"] {
            std::fs::remove_dir_all(place(what)).expect("it goes");
        }
    }
    for (name, times) in [
        ("fresh", fresh),
        ("fresh, history = false", short),
        ("kept, the same commit", same),
        ("kept, another commit", other),
        ("`git checkout`, fresh", git),
    ] {
        row(&[name, &Times::new(times).told()]);
    }
}

fn time_of_child(command: &mut Command) -> f64 {
    let begin = Instant::now();
    let status = command.stdin(Stdio::null()).status().expect("it starts");
    assert!(status.success(), "{command:?}");
    begin.elapsed().as_secs_f64() * 1000.0
}

fn flood() {
    head("512 MiB printed | MiB/s | most memory of who reads");
    let place = Place::new();
    let begin = Instant::now();
    let run = place.start(&place::job(&[&format!("head -c {FLOOD} /dev/zero")]));
    let peak = place.peak_memory_until_over(&run);
    let captured = FLOOD as f64 / f64::from(1 << 20) / begin.elapsed().as_secs_f64();
    let temp = tempfile::tempdir().expect("a directory");
    let begin = Instant::now();
    let text = format!("head -c {FLOOD} /dev/zero | cat > {}", temp.path().join("file").display());
    assert!(Command::new("sh").args(["-c", &text]).status().is_ok_and(|status| status.success()));
    let bare = FLOOD as f64 / f64::from(1 << 20) / begin.elapsed().as_secs_f64();
    row(&["by a supervisor, 64 MiB kept", &format!("{captured:.0}"), &common::mib(peak)]);
    row(&["`cat > file`", &format!("{bare:.0}"), "-"]);
    row(&["share of the floor", &format!("{:.2}", captured / bare), "-"]);
}

/// Sixteen runs that print ten lines a second, looked at from beside.
fn busy() {
    const SPAN: Duration = Duration::from_secs(10);
    head("16 busy runs | of a core | wake-ups/s");
    let step = "steps = \"for n in $(seq 200); do echo line $n; sleep 0.1; done\"";
    let mut host = Host::new(16, |_, _: &Path| format!("every = \"1h\"\n{step}"));
    let due = wall() + 2_000_000_000;
    host.make_due(Duration::from_secs(3600), |_| due);
    host.start();
    host.wait_for("all to run", |log| (log.matches(" starts, attempt 1").count() >= 16).then_some(()));
    std::thread::sleep(Duration::from_secs(2));
    let before = Usage::of(host.pid());
    std::thread::sleep(SPAN);
    let spent = Usage::of(host.pid()).since(before);
    let share = spent.cpu.as_secs_f64() / SPAN.as_secs_f64() * 100.0;
    row(&["the daemon", &format!("{share:.2} %"), &format!("{:.0}", spent.wakes as f64 / SPAN.as_secs_f64())]);
    for number in 0..16 {
        host.run(&["cancel", &format!("p{number}/j")]);
    }
    host.wait_for("their ends", |log| (log.matches(" finished p").count() >= 16).then_some(()));
}
