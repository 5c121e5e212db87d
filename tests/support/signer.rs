//! Keys of people and what they sign with them, by the real `ssh-keygen`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A new key in `dir`: its file, and its public line.
pub fn key(dir: &Path, name: &str) -> (PathBuf, String) {
    let path = dir.join(name);
    let mut keygen = Command::new("ssh-keygen");
    let made = keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&path).status();
    assert!(made.expect("ssh-keygen is there (tests/needs.txt)").success());
    let public = std::fs::read_to_string(path.with_extension("pub")).expect("its public half");
    (path, public.trim().to_owned())
}

/// The armored signature of a text, for approving.
pub fn sign(key: &Path, text: &str) -> String {
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-Y", "sign", "-n", "shipbell-approve", "-f"]).arg(key);
    let child = keygen.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = child.expect("ssh-keygen is there (tests/needs.txt)");
    child.stdin.take().expect("its input").write_all(text.as_bytes()).expect("the text");
    let output = child.wait_with_output().expect("its answer");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("a signature is ASCII")
}
