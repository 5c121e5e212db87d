//! What a run may use, held by the kernel, and what it used, as it is kept.

use std::time::{Duration, Instant};

use shipbell::model::run::Outcome;
use shipbell::sys::cgroup::{Guarantees, Site};

use crate::place::{Place, job, outcome};

fn host() -> Guarantees {
    Site::find().guarantees()
}

/// Fault 10. The supervisor is outside of what it limits.
#[test]
fn fault_10_out_of_memory_is_a_failure_with_that_reason() {
    if !host().memory {
        println!("nothing limits memory on this host");
        return;
    }
    let place = Place::new();
    let mut job = job(&["echo on; head -c 400000000 /dev/zero | tail | wc -c; echo never", "echo cleaned"]);
    job.steps[1].always = true;
    job.limits.memory = Some(48 << 20);
    let begin = Instant::now();
    let end = place.run(&job);
    let reason = "out of memory in step 1 \"step-1\" (limits.memory is 48 MiB)";
    assert_eq!(outcome(&end), (Outcome::Failed, reason.into()), "{}", end.log);
    assert!(end.log.contains("\ncleaned\n") && end.is_empty(), "{}", end.log);
    assert!(end.log.contains("=== step 1 \"step-1\" ended: out of memory\n"), "{}", end.log);
    assert!(begin.elapsed() < Duration::from_secs(10));
    let usage = end.usage();
    assert!(usage.oom_kills > 0 && usage.memory_peak >= 48 << 20, "{usage:?}");
}

/// What is ended while the step itself goes on is not overlooked.
#[test]
fn a_step_that_goes_on_after_out_of_memory_fails_all_the_same() {
    if !host().memory {
        println!("nothing limits memory on this host");
        return;
    }
    let mut job = job(&["head -c 400000000 /dev/zero | tail | wc -c || true; sleep 60"]);
    job.limits.memory = Some(48 << 20);
    let begin = Instant::now();
    let end = Place::new().run(&job);
    assert!(outcome(&end).1.starts_with("out of memory in step 1"), "{}", end.log);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

#[test]
fn processors_are_limited() {
    if !host().cpus {
        println!("nothing limits processors on this host");
        return;
    }
    let mut job = job(&["timeout 1.5 sh -c 'while :; do :; done' & timeout 1.5 sh -c 'while :; do :; done' & wait"]);
    job.limits.cpus = Some(250);
    let end = Place::new().run(&job);
    let cpu = end.usage().cpu_ms;
    assert!((150..900).contains(&cpu), "{cpu} ms of processor in 1.5 s at a quarter");
}

#[test]
fn every_process_starts_bare() {
    let place = Place::new();
    let mut job = job(&["ls -l /proc/self/fd | grep -v /proc/ | awk '/->/ { print $9 $10 $11 }'
        ulimit -n; ulimit -Hn; ulimit -c
        grep -E 'NoNewPrivs|SigBlk|SigIgn|CapEff|CapInh|CapAmb' /proc/self/status
        cat /proc/self/oom_score_adj; umask; ps -o sid= -p $$ | tr -d ' ' | grep -qx $$ && echo own session"]);
    job.limits.files = Some(77);
    if shipbell::sys::host::effective_uid() == 0 {
        job.user = Some("games".into());
    }
    let end = place.run(&job);
    assert_eq!(end.finished().0, Outcome::Succeeded, "{}", end.log);
    let lines: Vec<String> = end.log.lines().filter(|line| !line.starts_with("===")).map(str::to_owned).collect();
    let fds: Vec<&String> = lines.iter().filter(|line| line.contains("->")).collect();
    assert_eq!(fds.len(), 3, "{fds:?}");
    assert!(fds[0].starts_with("0->/dev/null") && fds[1].contains("pipe:"), "{fds:?}");
    for expected in [
        "77",
        "0",
        "NoNewPrivs:\t1",
        "SigBlk:\t0000000000000000",
        "CapInh:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "200",
        "0022",
        "own session",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected}: {}", end.log);
    }
    // Two numbers that the C library keeps to itself may be ignored from further up.
    let ignored = lines.iter().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & !(3 << 31), 0, "{ignored}");
    assert_eq!(lines.iter().filter(|line| *line == "77").count(), 2, "{}", end.log);
}

/// Fault 33: a job's user without home or shell is none of its business.
#[test]
fn a_user_without_home_and_shell_runs_jobs() {
    if shipbell::sys::host::effective_uid() != 0 {
        println!("only root runs jobs as another user");
        return;
    }
    let place = Place::new();
    let mut job = job(&[
        "echo $HOME; touch $HOME/x && echo kept; id -un; sudo -n true 2>&1 || su -c true 2>&1 || echo no way up",
    ]);
    job.user = Some("nobody".into());
    let end = place.run(&job);
    assert_eq!(end.finished().0, Outcome::Succeeded, "{}", end.log);
    for line in ["kept", "nobody", "no way up"] {
        assert!(end.log.lines().any(|found| found == line), "{line}: {}", end.log);
    }
    assert!(!end.log.contains("nonexistent"), "{}", end.log);
}

#[test]
fn what_was_used_is_told() {
    let place = Place::new();
    let burn = "timeout 0.4 sh -c 'while :; do :; done' || true";
    let end = place.run(&job(&[&format!(
        "{burn}; head -c 3000000 /dev/zero > file; sync file; head -c 30000000 /dev/zero | tail | wc -c"
    )]));
    let usage = end.usage();
    assert!((50..2000).contains(&usage.cpu_ms), "{usage:?}");
    assert!(usage.memory_peak > 20_000_000, "{usage:?}");
    assert!((3_000_000..20_000_000).contains(&usage.written), "{usage:?}");
    assert_eq!(usage.oom_kills, 0);
}

/// The peak is that of all processes together where a group counts it.
#[test]
fn memory_is_that_of_all_processes_together() {
    if !host().memory {
        println!("nothing counts memory on this host");
        return;
    }
    let hold = "sh -c 'x=$(head -c 30000000 /dev/zero | tr \"\\0\" x); sleep 2'";
    let mut job = job(&[&format!("{hold} & {hold} & {hold} & wait")]);
    job.limits.memory = Some(1 << 30);
    let usage = Place::new().run(&job).usage();
    assert!(usage.memory_peak > 80_000_000, "{usage:?}");
}
