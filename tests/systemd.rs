//! Shipbell under a real systemd: the unit as it is shipped, the binary as it was built, in a container
//! that `systemd-boot.sh` boots. What happens inside is in `systemd/*.sh`; here is what is put where.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// `make test` sets it for users who are not root, and says so.
const LEFT_OUT: &str = "SHIPBELL_NO_SYSTEMD_TEST";

const UNITS: [&str; 4] =
    ["shipbell.service", "shipbell-executor.service", "shipbell-executor.socket", "shipbell-jobs.slice"];

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The folder that cargo builds into.
fn target() -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_shipbell"));
    binary.ancestors().nth(2).expect("the binary is in target/PROFILE").to_owned()
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id can be started");
    id.stdout == b"0\n"
}

fn said(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("--- standard output\n{out}--- standard error\n{err}")
}

/// Boots, runs `systemd/NAME.sh` inside, and wants it to succeed.
fn scenario(name: &str) {
    if std::env::var_os(LEFT_OUT).is_some() {
        println!("LEFT OUT, as {LEFT_OUT} is set: {name}");
        return;
    }
    assert!(is_root(), "booting a systemd needs root; {LEFT_OUT}=1 leaves these tests out");
    let journal = target().join(format!("systemd-{name}.journal"));
    let mut boot = Command::new(project("tests/systemd-boot.sh"));
    let mut binds = vec![
        (PathBuf::from(env!("CARGO_BIN_EXE_shipbell")), "/usr/bin/shipbell".to_owned()),
        (project("packaging/sysusers.d/shipbell.conf"), "/usr/lib/sysusers.d/shipbell.conf".to_owned()),
        (project("packaging/tmpfiles.d/shipbell.conf"), "/usr/lib/tmpfiles.d/shipbell.conf".to_owned()),
        (project("tests/systemd"), "/usr/lib/shipbell-test".to_owned()),
    ];
    binds.extend(UNITS.map(|unit| (project("systemd").join(unit), format!("/usr/lib/systemd/system/{unit}"))));
    for (from, to) in binds {
        boot.arg("--bind").arg(format!("{}:{to}", from.display()));
    }
    for name in ["SHIPBELL_STORM", "SHIPBELL_SEED"] {
        // Each second a kill, and then some to settle.
        if let Ok(value) = std::env::var(name) {
            boot.arg("--setenv").arg(format!("{name}={value}"));
        }
    }
    let kills = std::env::var("SHIPBELL_STORM").ok().and_then(|kills| kills.parse().ok()).unwrap_or(0_u64);
    boot.arg("--journal")
        .arg(&journal)
        .args(["--timeout", &(180 + 4 * kills).to_string(), "--packages", "git make openssh-client"])
        .arg(target().join("systemd-root"));
    boot.args(["--", "bash", &format!("/usr/lib/shipbell-test/{name}.sh")]);
    let output = boot.output().expect("tests/systemd-boot.sh can be started");
    let failed = format!("{name}: {}, journal in {}\n{}", output.status, journal.display(), said(&output));
    assert!(output.status.success(), "{failed}");
    // Seen with --nocapture.
    println!("{}", String::from_utf8_lossy(&output.stdout));
}

/// Copies of the units that start this binary.
fn units() -> tempfile::TempDir {
    let temp = tempfile::tempdir().expect("a temporary directory");
    for unit in UNITS {
        let text = std::fs::read_to_string(project("systemd").join(unit)).expect(unit);
        // verify wants the program to be there; what it is called is no matter.
        let text = text.replace("/usr/bin/shipbell", env!("CARGO_BIN_EXE_shipbell"));
        std::fs::write(temp.path().join(unit), text).expect("the copy");
    }
    temp
}

#[test]
fn systemd_accepts_the_units() {
    let text = |unit: &str| std::fs::read_to_string(project("systemd").join(unit)).expect("a unit");
    assert!(text("shipbell.service").contains("\nExecStart=/usr/bin/shipbell daemon\n"), "the packaged binary");
    assert!(text("shipbell-executor.service").contains("\nExecStart=/usr/bin/shipbell executor\n"), "the same");
    let temp = units();
    let mut verify = Command::new("systemd-analyze");
    let verify = verify.args(["verify", "--man=no"]).args(UNITS.map(|unit| temp.path().join(unit))).output();
    let verify = verify.expect("systemd-analyze is there (tests/needs.txt)");
    assert!(verify.status.success() && verify.stderr.is_empty(), "systemd-analyze verify: {}", said(&verify));
}

#[test]
fn the_daemon_and_its_executor_are_exposed_to_little() {
    let temp = units();
    // In tenths; 96 is a unit that says nothing.
    for (unit, most) in [("shipbell.service", "13"), ("shipbell-executor.service", "8")] {
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["security", "--no-pager", "--offline=yes", &format!("--threshold={most}")]);
        let analyze = analyze.arg(temp.path().join(unit)).output().expect("systemd-analyze is there");
        assert!(analyze.status.success(), "{unit} is exposed to more than {most} tenths: {}", said(&analyze));
    }
}

#[test]
fn users_and_directories_are_made_as_the_unit_needs_them() {
    scenario("install");
}

/// Fault 1 (the daemon is killed while a job runs) and fault 37 in part (stopped while one runs).
#[test]
fn fault_1_a_run_goes_on_while_the_daemon_is_restarted_killed_and_stopped() {
    scenario("restart");
}

/// Promise 5: the program is replaced and both services restarted while a run goes on.
#[test]
fn a_run_goes_on_while_the_package_is_upgraded() {
    scenario("upgrade");
}

#[test]
fn systemd_hears_of_readiness_reloads_hangs_and_hopeless_starts() {
    scenario("reload");
}

#[test]
fn steps_are_users_of_their_own_who_reach_what_is_theirs() {
    scenario("runs");
}

/// Faults 7 (a unit stopped by hand) and 8 (what hides and ignores TERM), with what systemd adds.
#[test]
fn fault_7_every_run_is_a_unit_and_nothing_of_it_is_left() {
    scenario("units");
}

/// Faults 2 (the executor is killed), 5 (a start whose answer is lost) and 34 (who asks, and what).
#[test]
fn fault_2_the_executor_has_no_capability_believes_nobody_and_may_be_killed() {
    scenario("executor");
}

/// Fault 35 (a daemon that was taken over), with the executor in its own unit.
#[test]
fn votes_are_verified_by_the_executor_and_root_alone_goes_without() {
    scenario("votes");
}

/// Faults 1, 2, 4 and 5 at instants that nobody chose.
#[test]
fn fault_4_and_5_a_storm_of_kills_under_systemd_loses_nothing_and_doubles_nothing() {
    scenario("storm");
}

/// Fault 6, with a host that really goes down: once in its own time, once at once.
#[test]
fn fault_6_a_reboot_is_told_from_a_stop_by_hand_and_from_a_killed_supervisor() {
    scenario("reboot");
}

#[test]
fn a_pull_request_has_no_secret_no_network_and_no_home_that_is_kept() {
    scenario("pulls");
}
