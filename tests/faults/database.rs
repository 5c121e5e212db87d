//! Faults 16, 17 and 18: the disk loses a write, a page of the database is damaged, its journal is cut off.
//! What was promised is there or was never promised; what is damaged stays as it is.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Command;

use shipbell::model::event::{Change, JournalLine};
use shipbell::model::time::Timestamp;
use shipbell::store::Store;

use super::{Robot, count, wait_for_outcome};
use crate::support::wait_for;

const DATABASE: &str = "var/lib/shipbell/db/shipbell.db";

fn robot() -> Robot {
    let robot = Robot::new("");
    let witness = robot.path("witness");
    robot.job_file("app", &format!("[job.test]\nmanual = true\nsteps = 'echo ran >> {}'\n", witness.display()));
    robot
}

#[test]
fn fault_16_a_sync_that_fails_ends_the_daemon_and_starts_nothing() {
    let mut robot = robot();
    robot.start();
    robot.must(&["run", "app/test"]);
    wait_for_outcome(&robot, "app/test#1", "succeeded");
    // From now on the disk loses what is written.
    let pid = robot.pid().to_string();
    let inject = ["-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:error=EIO"];
    let mut strace = Command::new("strace")
        .args(["-qq", "-o"])
        .arg(robot.path("strace.log"))
        .args(inject)
        .args(["-p", &pid])
        .spawn()
        .unwrap();
    let attached = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0")).then_some(())
    };
    wait_for("strace(1) traces it", attached, || "strace(1) is needed".into());
    let said = robot.run(&["run", "app/test"]);
    assert_ne!(said.code, 0, "{}{}", said.out, said.err);
    assert!(said.err.contains("disk failed"), "{}", said.err);
    let status = wait_for("its end", || robot.ended(), || "it goes on".into());
    assert_eq!(status.code(), Some(74), "{}", robot.said_by_daemon());
    strace.wait().unwrap();
    assert_eq!(count(&robot, "witness", "ran"), 1, "nothing was started");
    // The disk is well again. What was refused may have been written all the same: then it runs, once.
    robot.start();
    robot.must(&["run", "app/test"]);
    wait_for_outcome(&robot, "app/test#2", "succeeded");
    let runs = robot.json(&["history", "app"])["runs"].as_array().unwrap().len();
    wait_for("each ran once", || (count(&robot, "witness", "ran") == runs).then_some(()), || robot.said_by_daemon());
}

/// What a database has to lose.
fn run_three_times(robot: &mut Robot) {
    robot.start();
    for n in 1..=3 {
        robot.must(&["run", "app/test"]);
        wait_for_outcome(robot, &format!("app/test#{n}"), "succeeded");
    }
    robot.stop();
}

/// Everything of the database, byte by byte; the index of the journal is no part of it.
fn bytes(robot: &Robot) -> Vec<(String, Vec<u8>)> {
    let of = |name: &str| (name.to_owned(), fs::read(robot.path(&format!("{DATABASE}{name}"))).unwrap_or_default());
    ["", "-wal"].map(of).to_vec()
}

/// A page in the middle of each kind of table: whichever it hits, the check finds it.
fn damage(robot: &Robot) {
    let mut file = fs::OpenOptions::new().write(true).open(robot.path(DATABASE)).unwrap();
    let pages = file.metadata().unwrap().len() / 4096;
    for page in [pages / 3, pages / 2, 2 * pages / 3] {
        file.seek(SeekFrom::Start(page * 4096)).unwrap();
        file.write_all(&[0xa5; 4096]).unwrap();
    }
}

#[test]
fn fault_17_a_damaged_database_is_left_as_it_is_and_nothing_starts() {
    let mut robot = robot();
    run_three_times(&mut robot);
    let backup = robot.path("var/lib/shipbell/db/backup/shipbell-2026-11-21.db");
    fs::create_dir_all(backup.parent().unwrap()).unwrap();
    Store::open(&robot.path(DATABASE)).unwrap().backup(&backup).unwrap();
    damage(&robot);
    let before = bytes(&robot);
    let daemon = robot.daemon();
    robot.start_as(daemon);
    let says = || Some(robot.run(&["status"])).filter(|said| said.err.contains("the database is damaged"));
    let said = wait_for("it says so", says, || robot.said_by_daemon());
    assert_eq!(said.code, 75, "{}", said.err);
    for words in ["systemctl stop shipbell", "shipbell-2026-11-21.db", "nothing is started"] {
        assert!(said.err.contains(words), "{words}: {}", said.err);
    }
    let refused = robot.run(&["run", "app/test"]);
    assert!(refused.code != 0 && refused.err.contains("damaged"), "{}", refused.err);
    let (status, page) = robot.get("/");
    assert!(status == 503 && page.contains("damaged") && !page.contains("/var/"), "{status} {page}");
    assert_eq!(robot.get("/healthz").0, 503);
    assert_eq!(robot.run(&["daemon"]).code, 75, "a second one does not disturb it");
    assert_eq!(robot.stop().code(), Some(0));
    assert!(bytes(&robot) == before, "not a byte of it was altered");
    assert_eq!(count(&robot, "witness", "ran"), 3);
    // As it says.
    for name in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(robot.path(&format!("{DATABASE}{name}")));
    }
    fs::copy(backup, robot.path(DATABASE)).unwrap();
    robot.start();
    robot.must(&["run", "app/test"]);
    wait_for_outcome(&robot, "app/test#4", "succeeded");
}

#[test]
fn fault_17_a_page_damaged_under_a_running_daemon_ends_it_in_the_night() {
    let mut robot = robot();
    run_three_times(&mut robot);
    // What stands in the journal is not looked for in the pages: whoever closes it last brings it there.
    drop(Store::open(&robot.path(DATABASE)).unwrap());
    robot.start_at(0, "03:53:05");
    damage(&robot);
    let status = wait_for("its end", || robot.ended(), || "it goes on".into());
    assert_eq!(status.code(), Some(74), "{}", robot.said_by_daemon());
    let said = robot.said_by_daemon();
    assert!(said.contains("the database is damaged: ") && said.contains("nothing more is started"), "{said}");
    // What systemd starts again says what to do, and starts nothing.
    let daemon = robot.daemon();
    robot.start_as(daemon);
    let says = || Some(robot.run(&["status"])).filter(|said| said.err.contains("nothing is started"));
    assert_eq!(wait_for("it says so", says, || robot.said_by_daemon()).code, 75);
    assert_eq!(count(&robot, "witness", "ran"), 3);
}

fn line(n: usize, half: &str) -> Change {
    let (actor, verb, subject) = ("shipbell".into(), "counted".into(), format!("{n}"));
    let detail = format!("{half} {}", "x".repeat(n * 37 % 900));
    Change::Journal(JournalLine { at: Timestamp::UNIX_EPOCH, actor, verb, subject, detail })
}

/// How many commits a copy has whose journal ends there: all of them whole, none after a missing one.
fn commits_in(database: &Path, wal: &[u8]) -> usize {
    let temp = tempfile::tempdir().unwrap();
    let copy = temp.path().join("shipbell.db");
    fs::copy(database, &copy).unwrap();
    fs::write(temp.path().join("shipbell.db-wal"), wal).unwrap();
    let store = Store::open(&copy).expect("what was cut off is opened");
    store.quick_check().expect("a sound database");
    store.load().expect("a world");
    let mut lines = store.reader().unwrap().journal(None, usize::MAX).unwrap();
    lines.retain(|line| line.verb == "counted");
    lines.sort_by_key(|line| (line.subject.parse::<usize>().unwrap(), line.detail.starts_with("second")));
    for (at, line) in lines.iter().enumerate() {
        assert_eq!(line.subject, (at / 2).to_string(), "a prefix of what was committed");
    }
    assert_eq!(lines.len() % 2, 0, "half of a commit");
    lines.len() / 2
}

#[test]
fn fault_18_a_journal_cut_off_anywhere_is_a_prefix_of_the_commits() {
    let temp = tempfile::tempdir().unwrap();
    let database = temp.path().join("shipbell.db");
    let mut store = Store::open(&database).unwrap();
    let wal = |database: &Path| fs::read(database.with_file_name("shipbell.db-wal")).unwrap();
    // Where each commit ends in the journal.
    let mut ends = Vec::new();
    for n in 0..40 {
        store.commit(&[line(n, "first"), line(n, "second")]).unwrap();
        ends.push(wal(&database).len());
    }
    let whole = wal(&database);
    let mut random = 18_u64;
    let mut below = |most: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % most
    };
    let anywhere: Vec<usize> = (0..60).map(|_| below(whole.len())).collect();
    let edges = ends.iter().flat_map(|end| [end - 1, *end]).step_by(3);
    for cut in anywhere.into_iter().chain(edges) {
        let kept = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(commits_in(&database, &whole[..cut]), kept, "cut off after {cut} of {} bytes", whole.len());
        // Or the rest was never written, and something else stands there.
        let mut torn = whole[..cut].to_vec();
        torn.extend(std::iter::repeat_n([0x5a, 0xc3, 0x00], whole.len() - cut).flatten().take(whole.len() - cut));
        assert_eq!(commits_in(&database, &torn), kept, "torn after {cut} of {} bytes", whole.len());
    }
}
