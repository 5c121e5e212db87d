//! Supervisors are copies of one small process, which may be killed and which ends with its founder.

use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use shipbell::model::run::Outcome;
use shipbell::model::ticket::SUPERVISOR_LOG;
use shipbell::run::nursery;
use shipbell::sys::socket::Packets;

use super::place::{self, Place, job, step};

fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What `ps` shows of it.
fn title(pid: u32) -> Vec<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    text.trim_end_matches('\0').split('\0').map(str::to_owned).collect()
}

/// Gone, or a zombie that its parent has not looked at yet.
fn is_over(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

#[test]
fn runs_go_on_when_their_nursery_is_killed_and_the_next_has_a_new_one() {
    let place = Place::new();
    let [one, other] =
        [(); 2].map(|()| place.start(&step("echo on; while ! test -e ../go; do sleep 0.05; done; echo off")));
    place.wait_for(&one, "on");
    place.wait_for(&other, "on");
    let nursery = parent(place.supervisor(&one));
    assert_eq!(nursery, parent(place.supervisor(&other)));
    assert_eq!(title(nursery), ["shipbell", "supervise", "--nursery"]);
    let dir = place.executor.dir(&one, 1).canonicalize().unwrap();
    assert_eq!(title(place.supervisor(&one)), ["shipbell", "supervise", dir.to_str().unwrap()]);
    place::signal(nursery, "KILL");
    place::until("its end is seen", || is_over(nursery));
    let next = place.run(&step("true"));
    assert_eq!(next.finished().0, Outcome::Succeeded, "{}", next.log);
    for run in [&one, &other] {
        std::fs::write(place.executor.dir(run, 1).join("go"), "").unwrap();
        let end = place.wait(run);
        assert_eq!(end.finished().0, Outcome::Succeeded, "{}", end.log);
        assert!(end.log.contains("\noff\n") && end.is_empty(), "{}", end.log);
        assert!(!end.dir.join(SUPERVISOR_LOG).exists());
    }
}

#[test]
fn a_supervisor_that_cannot_begin_says_why_in_its_directory() {
    let place = Place::new();
    let dir = place.prepare(&place.order(&job(&["true"])));
    // Its claim cannot be made.
    std::fs::create_dir(dir.join("events.jsonl")).unwrap();
    let (orders, theirs) = Packets::pair().unwrap();
    let mut command = Command::new(place::BINARY);
    let mut nursery = command.args(nursery::arguments()).stdin(theirs).stdout(Stdio::null()).spawn().unwrap();
    drop(command);
    let missing = PathBuf::from("/nowhere/1");
    for dir in [&missing, &dir] {
        orders.send(dir.as_os_str().as_encoded_bytes(), None).unwrap();
        let (over, _) = orders.receive().unwrap().unwrap();
        assert_eq!(over, dir.as_os_str().as_encoded_bytes());
    }
    let said = std::fs::read_to_string(dir.join(SUPERVISOR_LOG)).unwrap();
    assert!(said.contains("File exists"), "{said}");
    // TERM is for its founder; it ends with that one's end of the pair.
    place::signal(nursery.id(), "TERM");
    orders.send(missing.as_os_str().as_encoded_bytes(), Some(std::io::stdin().as_fd())).unwrap();
    assert!(orders.receive().unwrap().is_some());
    drop(orders);
    assert!(nursery.wait().unwrap().success());
}
