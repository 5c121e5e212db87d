//! Fault 6: the host went down while a deployment and a test ran. Of what ran nothing is left but its
//! directories; the next daemon is started under another boot id.

use super::{Robot, outcome, wait_for_outcome};
use crate::support::robot::signal;
use crate::support::wait_for;

#[test]
fn fault_6_after_a_reboot_a_deployment_is_unknown_and_a_test_begins_anew() {
    let mut robot = Robot::new("[mail]\nto = \"ops@example.org\"\n");
    let step = |name: &str| format!("steps = 'echo {name} >> {}; sleep 600'\n", robot.path("witness").display());
    let text = format!(
        "[defaults]\nmanual = true\n[job.test]\n{}[job.live]\nenvironment = \"live\"\n{}[environment.live]\napproval = \"none\"\n",
        step("test"),
        step("live")
    );
    robot.job_file("app", &text);
    robot.start();
    robot.must(&["run", "app/test"]);
    robot.must(&["run", "app/live"]);
    for name in ["test", "live"] {
        wait_for(name, || (super::count(&robot, "witness", name) == 1).then_some(()), || robot.said_by_daemon());
    }
    // Everything dies at one time, as it does.
    robot.kill();
    for run in ["app.test.1", "app.live.1"] {
        let holder = std::fs::read_to_string(robot.path(&format!("var/lib/shipbell/runs/{run}/1/lock"))).unwrap();
        let programs = holder.lines().skip(1).filter_map(|line| line.split(' ').next());
        for pid in holder.lines().take(1).chain(programs.filter(|pid| std::fs::exists(format!("/proc/{pid}")).unwrap()))
        {
            signal("KILL", pid.parse().unwrap());
        }
    }
    let mut command = robot.daemon();
    command.env("SHIPBELL_BOOT_ID", "0123456789abcdef0123456789abcdef");
    robot.start_as(command);
    wait_for_outcome(&robot, "app/live#1", "unknown");
    let told = robot.must(&["show", "app/live#1"]);
    assert!(told.contains("the host went down while it ran"), "{told}");
    let mail = || robot.mails().into_iter().find(|mail| mail.text.contains("shipbell resolve app live"));
    let mail = wait_for("a mail", mail, || robot.said_by_daemon());
    assert!(mail.subject.contains("app/live#1"), "{}", mail.subject);
    robot.must(&["run", "app/live"]);
    robot.wait_until(&["status"], "shipbell resolve app live");
    assert_eq!(outcome(&robot, "app/live#2"), "none", "nothing follows until a person has looked");
    wait_for("test again", || (super::count(&robot, "witness", "test") == 2).then_some(()), || robot.said_by_daemon());
    assert_eq!(super::count(&robot, "witness", "live"), 1);
    robot.must(&["resolve", "app", "live", "--as", "failed"]);
    wait_for("live again", || (super::count(&robot, "witness", "live") == 2).then_some(()), || robot.said_by_daemon());
}
