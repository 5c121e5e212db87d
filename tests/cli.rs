//! The command line where no daemon is: what is refused, with which exit status, and that every help
//! text fits a terminal. What the commands print of a daemon's answers is tested beside the code.

use std::process::{Command, Output};

fn shipbell(root: &std::path::Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shipbell"));
    command.arg("--root").arg(root).args(arguments).env("NO_COLOR", "1");
    command.output().expect("shipbell can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_wrong_command_line_is_exit_2_and_says_how_it_is_written() {
    let temp = tempfile::tempdir().unwrap();
    for (arguments, said) in [
        (&[][..], "Usage: shipbell"),
        (&["stauts"], "status"),
        (&["show", "open-im"], "PIPELINE/JOB#NUMBER"),
        (&["show", "open-im/test#0"], "PIPELINE/JOB#NUMBER"),
        (&["run", "open-im"], "PIPELINE/JOB"),
        (&["run", "open-im/test", "TENANT"], "NAME=VALUE"),
        (&["reject", "open-im/production#3"], "-m <REASON>"),
        (&["reject", "open-im/production#3", "-m", " "], "say why"),
        (&["resolve", "open-im", "production", "--as", "maybe"], "deployed, failed"),
        (&["history", "Open-IM"], "a-z 0-9"),
        (&["next", "-n", "many"], "invalid value"),
    ] {
        let output = shipbell(temp.path(), arguments);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {err}");
        assert!(err.contains(said), "{arguments:?} says nothing of {said:?}:\n{err}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn without_a_daemon_it_is_exit_69_and_says_what_to_do() {
    let temp = tempfile::tempdir().unwrap();
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["history"],
        &["logs", "-f", "a/b#1"],
        &["approve", "a/b#1", "-m", "yes"],
        &["reload"],
    ] {
        let output = shipbell(temp.path(), arguments);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(69), "{arguments:?}: {err}");
        assert!(err.contains("run/shipbell/control.sock"), "{err}");
        assert!(err.contains("start it:  shipbell --root ") && err.contains(" daemon"), "{err}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn what_is_there_and_not_a_daemon_is_told_as_well() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("run/shipbell");
    std::fs::create_dir_all(&dir).unwrap();
    // The socket of a daemon that was killed: nobody listens.
    drop(std::os::unix::net::UnixListener::bind(dir.join("control.sock")).unwrap());
    let output = shipbell(temp.path(), &["status"]);
    assert_eq!(output.status.code(), Some(69), "{}", text(&output.stderr));
}

#[test]
fn an_answer_of_another_kind_is_no_crash() {
    use std::io::{Read as _, Write as _};
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("run/shipbell");
    std::fs::create_dir_all(&dir).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(dir.join("control.sock")).unwrap();
    let answers = [
        ("200 OK", "{\"schema\":7}", 69, "another version"),
        ("200 OK", "not json", 69, "another version"),
        ("404 Not Found", "{\"schema\":1,\"kind\":\"not-found\",\"error\":\"no \\u001b[31mjob\"}", 4, "no job"),
        ("403 Forbidden", "{\"schema\":1,\"kind\":\"not-allowed\",\"error\":\"not you\"}", 77, "not you"),
        ("409 Conflict", "{\"schema\":1,\"kind\":\"conflict\",\"error\":\"too late\"}", 1, "too late"),
        ("503 Service Unavailable", "", 75, "503"),
    ];
    let served = std::thread::spawn(move || {
        for (status, body, ..) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0_u8; 4096];
            let _ = stream.read(&mut request).unwrap();
            let length = body.len();
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").unwrap();
        }
    });
    for (status, _, code, said) in answers {
        let output = shipbell(temp.path(), &["status"]);
        let err = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{status}: {err}");
        assert!(err.contains(said) && !err.contains('\u{1b}'), "{status}: {err:?}");
    }
    served.join().unwrap();
}

#[test]
fn help_fits_a_terminal_and_goes_to_standard_output() {
    let temp = tempfile::tempdir().unwrap();
    let all = text(&shipbell(temp.path(), &["--help"]).stdout);
    let list = all.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let mut commands: Vec<&str> = list.filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    commands.retain(|name| !name.is_empty());
    assert!(commands.len() >= 17, "{all}");
    for command in commands {
        let output = shipbell(temp.path(), &[command, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{command}");
        let help = text(&output.stdout);
        assert!(help.contains(&format!("Usage: shipbell {command}")), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    }
    let version = text(&shipbell(temp.path(), &["--version"]).stdout);
    assert_eq!(version.trim(), concat!("shipbell ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_demo_touches_nothing_that_is_there() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("mine"), "mine").unwrap();
    let output = shipbell(temp.path(), &["demo", "--yes"]);
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert!(err.contains("is not empty"), "{err}");
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
}
