//! Shipbell under a real systemd: the unit as it is shipped, the binary as it was built, in a container
//! that `systemd-boot.sh` boots. What happens inside is in `systemd/*.sh`; here is what is put where.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// `make test` sets it for users who are not root, and says so.
const LEFT_OUT: &str = "SHIPBELL_NO_SYSTEMD_TEST";

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
    let binds = [
        (PathBuf::from(env!("CARGO_BIN_EXE_shipbell")), "/usr/bin/shipbell"),
        (project("systemd/shipbell.service"), "/usr/lib/systemd/system/shipbell.service"),
        (project("systemd/shipbell-jobs.slice"), "/usr/lib/systemd/system/shipbell-jobs.slice"),
        (project("packaging/sysusers.d/shipbell.conf"), "/usr/lib/sysusers.d/shipbell.conf"),
        (project("packaging/tmpfiles.d/shipbell.conf"), "/usr/lib/tmpfiles.d/shipbell.conf"),
        (project("tests/systemd"), "/usr/lib/shipbell-test"),
    ];
    for (from, to) in binds {
        boot.arg("--bind").arg(format!("{}:{to}", from.display()));
    }
    boot.arg("--journal")
        .arg(&journal)
        .args(["--timeout", "180", "--packages", "git make"])
        .arg(target().join("systemd-root"));
    boot.args(["--", "bash", &format!("/usr/lib/shipbell-test/{name}.sh")]);
    let output = boot.output().expect("tests/systemd-boot.sh can be started");
    let failed = format!("{name}: {}, journal in {}\n{}", output.status, journal.display(), said(&output));
    assert!(output.status.success(), "{failed}");
}

#[test]
fn systemd_accepts_the_unit() {
    let unit = std::fs::read_to_string(project("systemd/shipbell.service")).expect("systemd/shipbell.service");
    assert!(unit.contains("\nExecStart=/usr/bin/shipbell daemon\n"), "the unit starts the packaged binary");
    let temp = tempfile::tempdir().expect("a temporary directory");
    let copy = temp.path().join("shipbell.service");
    // verify wants the program to be there; what it is called is no matter.
    std::fs::write(&copy, unit.replace("/usr/bin/shipbell", env!("CARGO_BIN_EXE_shipbell"))).expect("the copy");
    let verify = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output();
    let verify = verify.expect("systemd-analyze is there (tests/needs.txt)");
    assert!(verify.status.success() && verify.stderr.is_empty(), "systemd-analyze verify: {}", said(&verify));
}

#[test]
fn users_and_directories_are_made_as_the_unit_needs_them() {
    scenario("install");
}

#[test]
fn a_run_goes_on_while_the_daemon_is_restarted_killed_and_stopped() {
    scenario("restart");
}

#[test]
fn systemd_hears_of_readiness_reloads_hangs_and_hopeless_starts() {
    scenario("reload");
}

#[test]
fn steps_are_users_of_their_own_who_reach_what_is_theirs() {
    scenario("runs");
}

#[test]
fn every_run_is_a_unit_and_nothing_of_it_is_left() {
    scenario("units");
}
