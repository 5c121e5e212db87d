//! The end of a run, on every kind of host: nothing is alive one second after it, whatever its processes
//! did to stay. The kinds are made of this host by hiding its control groups from a supervisor.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use shipbell::executor::Status;
use shipbell::model::run::Outcome;
use shipbell::model::ticket::Evidence;
use shipbell::model::time::Seconds;
use shipbell::sys::cgroup::{Ending, Site};

use crate::place::{self, BINARY, End, Place, job, outcome};

/// Children that left session and parent and do not hear TERM; each says that it lives.
const STUBBORN: &str = "trap : TERM HUP INT; echo alive >> alive; while :; do sleep 0.1; done";

fn stubborn(many: u32) -> String {
    format!(
        "for n in $(seq {many}); do (env -i PATH=$PATH setsid sh -c 'sh -c \"{STUBBORN}\" & ' &); done
        while [ $(wc -l < alive 2>/dev/null || echo 0) -lt {many} ]; do sleep 0.05; done; echo on"
    )
}

/// What a supervisor is shown of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    AsItIs,
    /// Version 1 only.
    Legacy,
    NoGroups,
}

impl Host {
    /// Starts the supervisor of a prepared attempt in such a host.
    fn supervise(self, dir: &Path) -> std::process::Child {
        let hide = match self {
            Self::AsItIs => "",
            Self::Legacy => "mount -t tmpfs none /sys/fs/cgroup/unified && ",
            Self::NoGroups => "mount -t tmpfs none /sys/fs/cgroup && ",
        };
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            &format!("{hide}exec \"$0\" supervise \"$1\""),
        ]);
        command.arg(BINARY).arg(dir).stdin(Stdio::null()).spawn().expect("unshare(1)")
    }

    /// Whether this host can play it.
    fn is_there(self) -> bool {
        let hybrid = Path::new("/sys/fs/cgroup/unified").is_dir() && Path::new("/sys/fs/cgroup/freezer").is_dir();
        shipbell::sys::host::effective_uid() == 0 && (self != Self::Legacy || hybrid)
    }
}

/// Runs the job on such a host, and checks that nothing of it lives a second after its time was over.
fn ends(host: Host, definition: &shipbell::model::job::Definition) -> Option<End> {
    if !host.is_there() {
        println!("{host:?}: not on this host");
        return None;
    }
    let place = Place::new();
    let order = place.order(definition);
    let dir = place.prepare(&order);
    let begin = Instant::now();
    assert!(host.supervise(&dir).wait().unwrap().success());
    let took = begin.elapsed();
    assert_eq!(place::alive_in(&dir), Vec::<u32>::new(), "{host:?}");
    let end = place.wait(&order.run);
    let most = Duration::from_secs(definition.steps[0].timeout.unwrap().0 + definition.grace.0 + 1);
    assert!(took < most, "{host:?}: {took:?} of {most:?}");
    assert!(end.is_empty(), "{host:?}: {}", end.log);
    Some(end)
}

const HOSTS: [Host; 3] = [Host::AsItIs, Host::Legacy, Host::NoGroups];

/// Fault 8.
#[test]
fn fault_8_double_forked_children_that_ignore_term_are_gone_a_second_after_the_timeout() {
    for host in HOSTS {
        let mut job = job(&[&format!("{}; sleep 60", stubborn(30)), "echo cleaned"]);
        (job.steps[0].timeout, job.steps[1].always) = (Some(Seconds(2)), true);
        let Some(end) = ends(host, &job) else { continue };
        assert_eq!(outcome(&end), (Outcome::TimedOut, "the time of step 1 \"step-1\" was over".into()), "{host:?}");
        assert!(end.log.contains("\non\n") && end.log.contains("\ncleaned\n"), "{host:?}: {}", end.log);
    }
}

/// Fault 9.
#[test]
fn fault_9_a_fork_bomb_is_bounded_ended_and_holds_up_nobody() {
    for host in HOSTS {
        let mut bomb = job(&["bomb() { bomb | bomb & }; bomb; sleep 60", "echo cleaned"]);
        bomb.shell = ["bash", "-c"].map(String::from).into();
        (bomb.steps[0].timeout, bomb.steps[1].always) = (Some(Seconds(2)), true);
        bomb.limits.tasks = Some(80);
        // Where nothing counts the tasks of a group, those of the user are counted; root's never are.
        bomb.user = (host == Host::NoGroups).then(|| "games".into());
        if !host.is_there() {
            continue;
        }
        let other = Place::new();
        let run = other.start(&job(&["for n in $(seq 20); do sleep 0.1; done; echo through"]));
        let end = ends(host, &bomb).unwrap();
        assert_eq!(outcome(&end).0, Outcome::TimedOut, "{host:?}: {}", end.log);
        let tail: String = end.log.lines().filter(|line| line.starts_with("===")).collect();
        assert!(end.log.contains("\ncleaned\n"), "{host:?}: {tail}");
        assert!(end.log.contains("Resource temporarily unavailable"), "{host:?}: nothing bounded it: {}", end.log);
        let begin = Instant::now();
        assert!(matches!(other.executor.status(&run, 1, &other.boot_id), Ok(Status::Running | Status::Over(_))));
        assert!(begin.elapsed() < Duration::from_secs(1));
        assert!(other.wait(&run).log.contains("\nthrough\n"));
    }
}

/// Fault 13.
#[test]
fn fault_13_a_closed_output_does_not_end_a_step_and_a_held_one_does_not_keep_it() {
    let place = Place::new();
    let end = place.run(&job(&["exec >/dev/null 2>&1; sleep 0.5; exit 3"]));
    assert_eq!(outcome(&end), (Outcome::Failed, "exit 3 in step 1 \"step-1\"".into()));
    let begin = Instant::now();
    let end = place.run(&job(&[&format!("{}; exit 4", stubborn(1))]));
    assert_eq!(outcome(&end), (Outcome::Failed, "exit 4 in step 1 \"step-1\"".into()));
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    assert_eq!(place::alive_in(&end.dir), Vec::<u32>::new());
}

/// As in a unit: nobody else is in the supervisor's group, so the steps have their own leaf in it.
#[test]
fn a_supervisor_alone_in_its_group_keeps_the_steps_beside_itself() {
    let v2 = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
    let Some(top) = v2.into_iter().find(|dir| dir.join("cgroup.controllers").exists()) else { return };
    if shipbell::sys::host::effective_uid() != 0 || Path::new("/run/systemd/system").exists() {
        println!("groups at the top are not ours here");
        return;
    }
    let place = Place::new();
    let mut job = job(&["echo on; sleep 100"]);
    job.limits.memory = Some(64 << 20);
    let order = place.order(&job);
    let dir = place.prepare(&order);
    let group = top.join(format!("test-{}", std::process::id()));
    std::fs::create_dir(&group).unwrap();
    let script = "echo $$ > \"$2/cgroup.procs\"; exec \"$0\" supervise \"$1\"";
    let mut child = Command::new("sh").args(["-c", script, BINARY]).arg(&dir).arg(&group).spawn().unwrap();
    place.wait_for(&order.run, "on");
    let members = |leaf: &str| std::fs::read_to_string(group.join(leaf)).unwrap_or_default().lines().count();
    assert!(members("steps/cgroup.procs") > 0, "the step is in its leaf");
    assert_eq!(members("cgroup.procs") + members("supervisor/cgroup.procs"), 1, "and their supervisor beside them");
    let controllers = std::fs::read_to_string(group.join("cgroup.controllers")).unwrap();
    if controllers.split_whitespace().any(|word| word == "memory") {
        assert_eq!(std::fs::read_to_string(group.join("steps/memory.max")).unwrap().trim(), "67108864");
        assert_eq!(members("supervisor/cgroup.procs"), 1, "it is outside of what it limits");
    }
    place::signal(child.id(), "TERM");
    assert!(child.wait().unwrap().success());
    assert!(!group.join("steps").exists(), "it goes with the run");
    let _ = std::fs::remove_dir(group.join("supervisor"));
    std::fs::remove_dir(&group).unwrap();
}

/// What hides from a look through /proc does not hide from its group.
#[test]
fn a_killed_supervisors_group_ends_what_hides() {
    if Site::find().guarantees().ending == Ending::Search {
        println!("no control groups on this host");
        return;
    }
    let place = Place::new();
    let run = place.start(&job(&[&format!("{}; sleep 100", stubborn(5))]));
    place.wait_for(&run, "on");
    let dir = place.executor.dir(&run, 1);
    let group = place::group_of(&dir).unwrap();
    let members = std::fs::read_to_string(group.join("cgroup.procs")).unwrap();
    assert!(members.lines().count() > 5, "{members}");
    place::signal(place.supervisor(&run), "KILL");
    let begin = Instant::now();
    let end = place.wait(&run);
    assert_eq!(end.evidence, Evidence::Lost { touched: true, rebooted: false, why: None });
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    let alive = |pid: &&str| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|text| !text.is_empty());
    assert_eq!(members.lines().filter(alive).count(), 0, "it is over, so nothing lives");
    assert!(!group.exists(), "and its group is gone");
}

/// The kernel's word stands in for the one that its supervisor did not live to write.
#[test]
fn finished_is_enough_where_the_group_proves_that_nothing_is_left() {
    let place = Place::new();
    let end = place.run(&job(&["echo on"]));
    let events = end.dir.join("events.jsonl");
    let text = std::fs::read_to_string(&events).unwrap();
    let (without, _) = text.trim_end().rsplit_once('\n').unwrap();
    std::fs::write(&events, format!("{without}\n")).unwrap();
    let is_empty = || match place.executor.status(&end.run, 1, &place.boot_id).unwrap() {
        Status::Over(Evidence::Finished { empty, .. }) => empty,
        other => panic!("{other:?}"),
    };
    assert_eq!(is_empty(), place::group_of(&end.dir).is_some());
    place::forget_group(&end.dir);
    assert!(!is_empty(), "nobody can tell");
}

/// Fault 39: in a namespace with few numbers a stranger soon has the number of something that was ended.
#[test]
fn fault_39_a_reused_number_is_never_signalled() {
    if shipbell::sys::host::effective_uid() != 0 {
        println!("only root makes such a namespace");
        return;
    }
    let place = Place::new();
    let mut job = job(&["for n in 1 2 3; do (setsid sh -c 'sleep 0.3' &); done
        (for n in $(seq 600); do /bin/true; done) & sleep 100"]);
    job.steps[0].timeout = Some(Seconds(1));
    let order = place.order(&job);
    let dir = place.prepare(&order);
    // Strangers come and go all the while; one that is ended by a signal says so.
    let script = "echo 330 > /proc/sys/kernel/pid_max || exit 99
        strangers() { while :; do sh -c 'sleep 0.02' || echo shot >> \"$1/../shot\"; done; }
        for n in 1 2 3 4; do strangers \"$1\" & done
        \"$0\" supervise \"$1\"; code=$?; cat /proc/sys/kernel/pid_max; exit $code";
    let status = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script, BINARY])
        .arg(&dir)
        .process_group(0)
        .output()
        .unwrap();
    if status.status.code() == Some(99) {
        println!("this kernel has one range of numbers for all");
        return;
    }
    assert_eq!(String::from_utf8_lossy(&status.stdout).trim(), "330", "{status:?}");
    assert!(status.status.success(), "{status:?}");
    assert!(!dir.parent().unwrap().join("shot").exists(), "a stranger was ended");
    assert_eq!(place.wait(&order.run).finished().0, Outcome::TimedOut);
}

/// The executor was killed while it made the run's directory, or a fence made it: what the umask had taken
/// away kept every later attempt's user out.
#[test]
fn a_directory_that_was_left_half_made_is_passed_through() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let mut job = job(&["id -un"]);
    if shipbell::sys::host::effective_uid() == 0 {
        job.user = Some("nobody".into());
    }
    let order = place.order(&job);
    let dir = place.executor.dir(&order.run, 1).parent().unwrap().to_owned();
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o750)).unwrap();
    place.executor.start(&order).unwrap();
    assert_eq!(outcome(&place.wait(&order.run)), (Outcome::Succeeded, String::new()));
    assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o7777, 0o751);
}

/// A shell that dies of TERM hands its child over at that moment; the child has TERM all the same, and its
/// grace is not waited for.
#[test]
fn a_child_whose_parent_dies_first_hears_term_as_well() {
    let place = Place::new();
    let text = "trap 'echo parent >> told; exit 1' TERM; (trap 'echo child >> told; exit 1' TERM; echo on; sleep 600 & wait) & wait";
    for _ in 0..6 {
        let mut job = job(&[text, "cat told"]);
        job.steps[1].always = true;
        job.grace = Seconds(20);
        let run = place.start(&job);
        place.wait_for(&run, "on");
        let begin = Instant::now();
        place.executor.stop(&run, 1, "cancelled by anna").unwrap();
        let end = place.wait(&run);
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        assert!(end.log.contains("\nchild\n"), "{}", end.log);
    }
}
