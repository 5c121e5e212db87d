//! Fault 14: the disk of the database is full when somebody votes. The vote is said not to be recorded,
//! nothing is deployed, and once there is room the same vote is good, with the same daemon.

use std::process::Command;

use super::{Robot, commits, count, wait_for_outcome};
use crate::support::wait_for;

/// The daemon with a disk of its own for the database; where that is seen from outside.
fn start(robot: &mut Robot) -> std::path::PathBuf {
    let database = robot.path("var/lib/shipbell/db");
    std::fs::create_dir_all(&database).unwrap();
    let daemon = robot.daemon();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    command.arg("mount -t tmpfs -o size=6m tmpfs \"$0\" && exec \"$@\"").arg(&database);
    command.arg(daemon.get_program()).args(daemon.get_args());
    command.envs(daemon.get_envs().filter_map(|(name, value)| Some((name, value?))));
    robot.start_as(command);
    let answers = || (robot.run(&["status"]).code < 2).then_some(());
    wait_for("the daemon answers (it needs unshare(1) and user namespaces)", answers, || robot.said_by_daemon());
    let seen = format!("/proc/{}/root{}", robot.pid(), database.display());
    std::path::PathBuf::from(seen)
}

#[test]
fn fault_14_a_vote_on_a_full_disk_is_none_and_the_same_daemon_takes_it_later() {
    let mut robot = commits::place();
    let disk = start(&mut robot);
    robot.wait_until(&["status"], "waits (approval)");
    // Each minute at this second the daemon measures its disks, and below the floor nothing starts until the
    // next: a promise of its own (tests/holds.rs), and not what is looked at here.
    let second = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() % 60;
    wait_for("another second", || (!(30..39).contains(&second())).then_some(()), String::new);
    let filler = disk.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    let full = loop {
        if let Err(error) = std::io::Write::write_all(&mut file, &[7; 4096]) {
            break error;
        }
    };
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    // The journal may have room left inside; so often it has none.
    let vote = || robot.run(&["approve", "app/production", "-m", &"looks well ".repeat(300)]);
    let said = vote();
    assert!(said.code != 0 && said.err.contains("full"), "{}{}\n{}", said.out, said.err, robot.said_by_daemon());
    assert_eq!(count(&robot, "witness", "production"), 0);
    let (status, body) = robot.get("/healthz");
    assert!(status == 503 && body.starts_with("degraded: the disk takes no records"), "{status} {body}");
    let status = robot.run(&["status"]).out;
    assert!(status.contains("it takes no records: nothing new starts"), "{status}");
    assert!(robot.must(&["approvals"]).contains("0 of 1"), "no half of it is there");
    drop(file);
    std::fs::remove_file(filler).unwrap();
    // Without a word from anybody.
    wait_for("the disk's recovery", || (robot.get("/healthz").0 == 200).then_some(()), || robot.said_by_daemon());
    let taken = || (vote().code == 0).then_some(());
    wait_for("the same vote", taken, || robot.said_by_daemon());
    wait_for_outcome(&robot, "app/production#1", "succeeded");
    assert_eq!(count(&robot, "witness", "production"), 1);
}
