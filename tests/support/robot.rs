//! A Shipbell of its own: the built binary below a temporary directory, driven by its commands and its
//! pages only. Whatever it started ends with the test.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use super::wait_for;

pub struct Robot {
    root: tempfile::TempDir,
    address: String,
    daemon: Option<Child>,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A mail as it was written, and its text part.
pub struct Mail {
    pub to: String,
    pub subject: String,
    pub text: String,
    pub raw: String,
}

impl Robot {
    /// With a free port, mail to files, and `settings` added to shipbell.toml.
    pub fn new(settings: &str) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let robot = Self { root, address: free.expect("a free port").to_string(), daemon: None };
        robot.write("etc/shipbell/shipbell.toml", &format!("listen = \"{}\"\n{settings}", robot.address));
        robot
    }

    pub fn path(&self, inner: &str) -> PathBuf {
        self.root.path().join(inner)
    }

    /// A file below the root, with its directories, writable by its owner only.
    pub fn write(&self, inner: &str, text: &str) {
        let path = self.path(inner);
        fs::create_dir_all(path.parent().expect("a file has a directory")).expect("its directory");
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("its mode");
    }

    pub fn job_file(&self, name: &str, text: &str) {
        self.write(&format!("etc/shipbell/jobs.d/{name}.toml"), text);
    }

    fn shipbell(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shipbell"));
        command.arg("--root").arg(self.root.path()).args(arguments).env("NO_COLOR", "1").env("COLUMNS", "80");
        command
    }

    /// Starts the daemon and waits until it answers. What it says goes to `daemon.log`.
    pub fn start(&mut self) {
        self.start_as(self.shipbell(&["daemon"]));
        let answers = || (self.run(&["status"]).code < 2).then_some(());
        wait_for("the daemon answers", answers, || self.said_by_daemon());
    }

    /// Starts it with a clock that says this time of the day (UTC, `hh:mm:ss`), so many days ahead at least; all
    /// that it starts has this clock. Waits until it answers.
    pub fn start_at(&mut self, days: u64, time: &str) {
        let entries = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        let mut places = entries.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
        let library = places.find(|path| path.exists()).expect("libfaketime is needed: apt-get install faketime");
        let of_day = time.split(':').fold(0, |sum, part| 60 * sum + part.parse::<u64>().expect("hh:mm:ss"));
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs();
        let ahead = (of_day + 86_400 - now % 86_400) % 86_400 + days * 86_400;
        let mut command = self.daemon();
        command.env("LD_PRELOAD", library).env("FAKETIME", format!("+{ahead}"));
        // How long something takes is real, and so are the times of files.
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1");
        self.start_as(command);
        let answers = || (self.run(&["status"]).code < 2).then_some(());
        wait_for("the daemon answers", answers, || self.said_by_daemon());
    }

    /// The command that starts it, to be altered.
    pub fn daemon(&self) -> Command {
        self.shipbell(&["daemon"])
    }

    /// Starts the daemon by this command and waits for nothing.
    pub fn start_as(&mut self, mut command: Command) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("daemon.log")).expect("daemon.log");
        self.daemon = Some(command.stderr(log).spawn().expect("the daemon can be started"));
    }

    /// The daemon under strace(1), which does to its system calls what `inject` says (`-e inject=`): only to
    /// those of its first thread, which alone writes to the database.
    pub fn traced(&self, inject: &str) -> Command {
        let daemon = self.daemon();
        let calls = inject.split(':').next().expect("system calls");
        let mut command = Command::new("strace");
        // -D: the daemon itself is our child.
        command.args(["-D", "-qq", "-o"]).arg(self.path("strace.log"));
        command.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={inject}"), "--"]);
        command.arg(daemon.get_program()).args(daemon.get_args());
        command.envs(daemon.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    /// How the daemon ended, if it has by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.daemon.as_mut().expect("a daemon was started").try_wait().expect("it can be waited for");
        status.inspect(|_| self.daemon = None)
    }

    pub fn said_by_daemon(&self) -> String {
        fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }

    /// Where the pages are.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("the daemon runs").id()
    }

    /// `kill -9`: the daemon has no say in it.
    pub fn kill(&mut self) {
        let mut daemon = self.daemon.take().expect("the daemon runs");
        daemon.kill().expect("it is ours to kill");
        daemon.wait().expect("it ends");
    }

    /// TERM, and how the daemon then ended.
    pub fn stop(&mut self) -> ExitStatus {
        signal("TERM", self.pid());
        self.daemon.take().expect("the daemon runs").wait().expect("it ends")
    }

    pub fn run(&self, arguments: &[&str]) -> Said {
        let output = self.shipbell(arguments).output().expect("shipbell can be started");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// A command that reads these lines.
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Said {
        use std::process::Stdio;
        let mut command = self.shipbell(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("shipbell can be started");
        // One that asks for nothing may have gone.
        let _ = child.stdin.take().expect("its input").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("it ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// A command that must succeed; what it printed.
    pub fn must(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, 0, "shipbell {arguments:?}\n{}{}\n{}", said.out, said.err, self.said_by_daemon());
        said.out
    }

    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let said = self.run(&[arguments, &["--json"]].concat());
        let parsed = serde_json::from_str(&said.out);
        parsed.unwrap_or_else(|error| panic!("shipbell {arguments:?} --json: {error}\n{}{}", said.out, said.err))
    }

    /// Waits until a command's output has a text in it.
    pub fn wait_until(&self, arguments: &[&str], text: &str) -> String {
        let seen = || Some(self.run(arguments).out).filter(|out| out.contains(text));
        wait_for(&format!("{text:?} in shipbell {arguments:?}"), seen, || {
            format!("{:?}\n{}", self.run(arguments), self.said_by_daemon())
        })
    }

    /// Mails of the transport "file", oldest first.
    pub fn mails(&self) -> Vec<Mail> {
        let entries = fs::read_dir(self.path("var/lib/shipbell/db/mail")).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "eml"));
        files.sort();
        files.iter().map(|path| parsed(&fs::read_to_string(path).expect("a mail"))).collect()
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        self.http(&format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.address))
    }

    /// A form as a browser sends it from the page of the same address.
    pub fn post(&self, path: &str, form: &str) -> (u16, String) {
        let address = &self.address;
        let length = form.len();
        self.http(&format!(
            "POST {path} HTTP/1.0\r\nHost: {address}\r\nOrigin: http://{address}\r\nContent-Length: {length}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n{form}"
        ))
    }

    fn http(&self, request: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("the pages are served");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        stream.write_all(request.as_bytes()).expect("the request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the answer");
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        (status, answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned())
    }
}

fn parsed(raw: &str) -> Mail {
    let mail = mail_parser::MessageParser::new().parse(raw.as_bytes()).expect("a mail");
    let to = mail.to().and_then(|to| to.first()).and_then(|to| to.address()).unwrap_or_default().to_owned();
    let text = mail.body_text(0).unwrap_or_default().into_owned();
    Mail { to, subject: mail.subject().unwrap_or_default().to_owned(), text, raw: raw.to_owned() }
}

pub fn signal(name: &str, pid: u32) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill -{name} {pid}");
}

/// Processes whose command line names this directory: what a Robot started, and nobody else's.
fn processes_below(root: &Path) -> Vec<u32> {
    let root = root.as_os_str().as_encoded_bytes();
    let of_root = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.windows(root.len()).any(|window| window == root)
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != std::process::id()).filter(of_root).collect()
}

impl Drop for Robot {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        // Runs outlive their daemon, by design. A supervisor that gets TERM ends its run.
        for pid in processes_below(self.root.path()) {
            let _ = Command::new("kill").args(["-TERM", &pid.to_string()]).status();
        }
        if std::thread::panicking() {
            eprintln!("--- daemon.log\n{}", self.said_by_daemon());
        }
    }
}
