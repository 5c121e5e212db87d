//! Fault 37: the daemon is told to stop while twenty jobs run, told to reload a hundred times, and started
//! a second time beside itself. The jobs go on, nothing is done twice.

use std::time::{Duration, Instant};

use super::{Robot, count, wait_for_outcome};
use crate::support::robot::signal;
use crate::support::wait_for;

const JOBS: usize = 20;

#[test]
fn fault_37_signals_and_a_second_daemon_cost_twenty_jobs_nothing() {
    let mut robot = Robot::new(&format!("[limits]\nslots = {JOBS}\n"));
    let (witness, go) = (robot.path("witness"), robot.path("go"));
    let step = format!(
        "steps = 'echo begins >> {w}; while ! test -e {go}; do sleep 0.1; done; echo ends >> {w}'\n",
        w = witness.display(),
        go = go.display()
    );
    let jobs: String = (0..JOBS).map(|n| format!("[job.j{n}]\n")).collect();
    robot.job_file("many", &format!("[defaults]\nmanual = true\n{step}{jobs}"));
    robot.start();
    for n in 0..JOBS {
        robot.must(&["run", &format!("many/j{n}")]);
    }
    let running = |robot: &Robot| (count(robot, "witness", "begins") == JOBS).then_some(());
    wait_for("all run", || running(&robot), || robot.said_by_daemon());

    // A second one beside it goes away, and says why.
    let second = robot.run(&["daemon"]);
    assert!(second.code == 75 && second.err.contains("another shipbell daemon"), "{}{}", second.code, second.err);

    // A hundred wishes to reload: it answers meanwhile and takes in what the file says in the end.
    for n in 0..100 {
        if n == 99 {
            robot.job_file("late", "[job.there]\nmanual = true\nsteps = \"true\"\n");
        }
        signal("HUP", robot.pid());
    }
    let begin = Instant::now();
    assert!(robot.run(&["status"]).code < 2);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    robot.wait_until(&["status"], "late");

    // It is told to stop while they run: at once, and they go on.
    let begin = Instant::now();
    assert_eq!(robot.stop().code(), Some(0), "{}", robot.said_by_daemon());
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert!(robot.said_by_daemon().contains(&format!("stopping; {JOBS} running jobs go on")));
    assert_eq!(count(&robot, "witness", "ends"), 0);
    robot.start();
    std::fs::write(&go, "").unwrap();
    for n in 0..JOBS {
        wait_for_outcome(&robot, &format!("many/j{n}#1"), "succeeded");
    }
    assert_eq!((count(&robot, "witness", "begins"), count(&robot, "witness", "ends")), (JOBS, JOBS), "each once");
}
