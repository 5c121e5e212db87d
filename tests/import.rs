//! `shipbell import` as a sysadmin sees it: real files in, job files that `shipbell check` takes out, and
//! everything that did not come over told. The old fire times against the new ones are in `import/dialects.rs`.

#[path = "import/dialects.rs"]
mod dialects;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import").join(name)
}

fn shipbell(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shipbell"));
    command.arg("--root").arg(dir.join("root")).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.env("NO_COLOR", "1").env("TZ", "Europe/Berlin").output().expect("shipbell can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Set `SHIPBELL_BLESS=1` to write what is printed now; then read the difference.
fn same_as(name: &str, found: &str) {
    if std::env::var_os("SHIPBELL_BLESS").is_some() {
        std::fs::write(data(name), found).unwrap();
    }
    let expected = std::fs::read_to_string(data(name)).unwrap_or_default();
    assert!(found == expected, "{name} is no longer what is printed:\n{found}");
}

const FROM: &str = "2027-02-01T00:00:00Z";

/// Imports a file of `tests/data/import`, compares with its samples and has `check` read what came.
fn import(kind: &str, name: &str, more: &[&str], code: i32) -> String {
    let temp = tempfile::tempdir().unwrap();
    // A crontab of the system is root's, mostly.
    let settings = temp.path().join("root/etc/shipbell/shipbell.toml");
    std::fs::create_dir_all(settings.parent().unwrap()).unwrap();
    std::fs::write(settings, "[limits]\nallow-root = true\n").unwrap();
    let path = format!("tests/data/import/{name}");
    let output = shipbell(temp.path(), &[&["import", kind, &path, "--from", FROM], more].concat());
    let (files, told) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{told}");
    same_as(&format!("{name}.files"), &files);
    same_as(&format!("{name}.told"), &told);
    let wide: Vec<&str> = told.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "wider than 80 columns: {wide:?}");
    // The same into a directory: there `check` reads it, and a second time nothing is overwritten.
    let out = temp.path().join("out");
    let into = [&["import", kind, &path, "--from", FROM, "--out", out.to_str().unwrap()], more].concat();
    assert_eq!(shipbell(temp.path(), &into).status.code(), Some(code));
    let written: Vec<PathBuf> = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!written.is_empty());
    let paths: Vec<&str> = written.iter().map(|path| path.to_str().unwrap()).collect();
    let checked = shipbell(temp.path(), &[&["check"], paths.as_slice()].concat());
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    let before: Vec<String> = written.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let again = shipbell(temp.path(), &into);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("is there already"), "{}", text(&again.stderr));
    let after: Vec<String> = written.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    assert_eq!(before, after);
    told
}

#[test]
fn debians_own_crontab_comes_over_whole() {
    let told = import("crontab", "crontab-debian", &["--system"], 0);
    assert!(told.contains("90 days: 2,266 of 2,266 fire times equal\n"), "{told}");
    let told = import("crontab", "e2scrub_all", &["--system"], 0);
    assert!(told.contains("fire times equal\n"), "{told}");
}

#[test]
fn a_crontab_of_a_user_with_all_its_tricks() {
    let told = import("crontab", "crontab-tricky", &["--user", "shop"], 1);
    for line in [":2 ", ":16 ", ":21 ", ":24 ", ":25 "] {
        assert!(told.contains(&format!("crontab-tricky{line}")), "{line} is not told of:\n{told}");
    }
}

#[test]
fn twenty_periodics_of_prow() {
    let told = import("prow", "prow.yaml", &[], 1);
    assert!(told.contains("only in Prow"), "{told}");
}

#[test]
fn all_of_it_is_there_as_json() {
    let temp = tempfile::tempdir().unwrap();
    let output =
        shipbell(temp.path(), &["--json", "import", "crontab", "tests/data/import/crontab-tricky", "--from", FROM]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    assert_eq!((&json["schema"], &json["ok"]), (&1.into(), &false.into()));
    assert_eq!(json["files"][0]["name"], "crontab-tricky.toml");
    assert!(
        json["notes"].as_array().unwrap().iter().any(|note| note["what"] == "user" && note["carries_over"] == false)
    );
    assert_eq!(json["fire_times"]["days"], 90);
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[test]
fn a_nul_character_comes_over_nowhere() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("crontab");
    std::fs::write(&path, b"@midnight cat %a\0b\n0 3 * * * true\0\n0 4 * * * true\n").unwrap();
    let output = shipbell(temp.path(), &["--json", "import", "crontab", path.to_str().unwrap()]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON and nothing else");
    let written = json["files"][0]["text"].as_str().unwrap();
    assert!(!written.contains("u0000") && written.matches("[job.").count() == 1, "{written}");
    let told = json["notes"].to_string();
    assert_eq!(told.matches("NUL character").count(), 2, "{told}");
}

#[test]
fn what_cannot_be_read_is_told() {
    let temp = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = temp.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (empty, latin, bad) =
        (write("empty", b"\n"), write("latin", b"* * * * * echo \xe4\n"), write("bad.yaml", b"a: [\n"));
    let hostile = write("hostile", b"* * * * * echo \x1b[31m\x00 \n\x1b]0;x\x07\n# \x1b[2J\n@daily x\x1b[1m\n");
    for (arguments, said) in [
        (["crontab", "/nonexistent"], "cannot read /nonexistent"),
        (["crontab", empty.as_str()], "no job"),
        (["crontab", latin.as_str()], "no UTF-8"),
        (["prow", temp.path().join("root").to_str().unwrap()], "cannot read"),
        (["prow", bad.as_str()], "it is no YAML"),
        (["crontab", hostile.as_str()], "NOT CARRY OVER"),
    ] {
        let output = shipbell(temp.path(), &[&["import"], arguments.as_slice()].concat());
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {err}");
        assert!(err.contains(said), "{arguments:?} does not say {said:?}:\n{err}");
        assert!(!err.contains('\u{1b}') && !text(&output.stdout).contains('\u{1b}'), "{arguments:?}");
    }
}

/// What the steps of a crontab do is what cron would have done: run as they are, in its shell.
#[test]
fn steps_run_as_cron_ran_them() {
    let temp = tempfile::tempdir().unwrap();
    let crontab = temp.path().join("crontab");
    std::fs::write(
        &crontab,
        "HOME=/tmp\nGREETING='hello  you'\n* * * * * printf '%%s' x\n\
         0 0 * * * echo \"$GREETING\"; pwd; false; echo $unset.\n0 1 * * * cat%a%b\\%%\n0 2 * * * echo '${{x}}' \\% '\\%'\n",
    )
    .unwrap();
    let out = temp.path().join("out");
    shipbell(temp.path(), &["import", "crontab", crontab.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    let file: toml::Table = std::fs::read_to_string(out.join("crontab.toml")).unwrap().parse().unwrap();
    let run = |name: &str| {
        let job = &file["job"][name];
        let get = |key: &str| job.get(key).unwrap_or_else(|| &file["defaults"][key]).clone();
        let shell = get("shell");
        let words: Vec<&str> = shell.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(job["steps"].as_str().unwrap()).env_clear();
        for (name, value) in get("env").as_table().unwrap() {
            command.env(name, value.as_str().unwrap());
        }
        text(&command.output().unwrap().stdout)
    };
    assert_eq!(run("pwd"), "hello  you\n/tmp\n.\n");
    assert_eq!(run("cat"), "a\nb%\n");
    assert_eq!(run("echo"), "${{x}} % %\n");
}
