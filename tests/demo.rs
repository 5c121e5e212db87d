//! The demo is the first end-to-end test: `shipbell demo --yes` plays the whole story on real parts, in
//! less than twenty seconds, tells what happened, and leaves nothing behind.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

fn demo(temp: &std::path::Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shipbell"));
    command.arg("demo").args(arguments).env("TMPDIR", temp).env("NO_COLOR", "1");
    command.output().expect("shipbell can be started")
}

/// The texts stand in the output in this order.
fn in_order(out: &str, texts: &[&str]) {
    let mut rest = out;
    for text in texts {
        let found = rest.split_once(text).map(|(_, after)| after);
        rest = found.unwrap_or_else(|| panic!("{text:?} is not there, or not in its place:\n{out}"));
    }
}

#[test]
fn the_whole_story_comes_true() {
    let temp = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let output = demo(temp.path(), &["--yes"]);
    let took = began.elapsed();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    in_order(
        &out,
        &[
            "an empty repository",
            "shipbell daemon",
            "push ",
            "\"Open the shop\" to main",
            "sees ",
            "shop/test#1 ",
            "ok: init, ",
            "shop/staging#1 ",
            "staging/index.html: <h1>The corner shop</h1>",
            "shop/production#1 ",
            "a mail asks you@example.org",
            "| Subject: Approve? shop ",
            "| http://127.0.0.1:",
            "approved it, by the link in the mail",
            "shop/production#1 ",
            "production/index.html: <h1>The corner shop</h1>",
            "\"Cheaper bread\" to main",
            "shop/test#2 ",
            "FAILED",
            "1:bread 1,99",
            "to you@example.org: ",
            "staging and production still have ",
            "AT ",
            "WHERE TO LOOK",
            "the directory removed",
        ],
    );
    assert!(out.lines().all(|line| line.starts_with("  |") || line.chars().count() <= 80), "{out}");
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0, "something was left behind");
    // The promise is less than twenty; a machine that is busy with other tests gets twice that.
    assert!(took < Duration::from_secs(40), "it took {took:?}");
}

#[test]
fn a_directory_that_was_named_is_left_for_the_reader() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("shop");
    let output = demo(temp.path(), &["--yes", "--root", root.to_str().unwrap()]);
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{out}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(out.contains("everything is still in"), "{out}");
    for left in
        ["shop.git/HEAD", "etc/shipbell/jobs.d/shop.toml", "var/lib/shipbell/db/shipbell.db", "production/index.html"]
    {
        assert!(root.join(left).exists(), "{left}");
    }
    let check = Command::new(env!("CARGO_BIN_EXE_shipbell")).arg("--root").arg(&root).arg("check").output().unwrap();
    assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stderr));
}
