//! One `git` child: its environment is empty but for what stands here, its options shut every door by
//! which a configuration, a URL or a server could have it run something, its output is bounded, and
//! at its deadline its whole process group ends. Which git command it is, is the caller's.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep, timeout};

use super::access::{Access, Told};
use super::error::{self, SourceError};
use super::origin::{Origin, Way};
use crate::signature::{PATH, program};
use crate::sys::group;

/// After SIGTERM git removes its lock and temporary files; longer than this it is not given.
const GRACE: Duration = Duration::from_secs(1);
const STDERR_MAX: usize = 16 << 10;

/// What is to be called.
pub(super) struct Call<'a> {
    /// For messages: `asking`, `fetching`.
    pub(super) what: &'static str,
    pub(super) origin: &'a Origin,
    pub(super) access: &'a Access,
    /// Of ssh: the socket of a kept connection.
    pub(super) link: Option<&'a Path>,
    /// The mirror it works in.
    pub(super) git_dir: Option<&'a Path>,
    pub(super) args: Vec<OsString>,
    pub(super) input: Vec<u8>,
    /// A transfer slower than 1 kB/s for so long is given up, in seconds.
    pub(super) patience: u32,
    pub(super) stdout_max: usize,
    /// Longest file that it may write: a pack is one file.
    pub(super) file_max: u64,
    /// Whether the packets of the protocol are written to stderr.
    pub(super) trace: bool,
    pub(super) deadline: Duration,
}

/// What it printed.
pub(super) struct Said {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// A call that asks nobody: it works in a mirror.
pub(super) struct Local<'a> {
    pub(super) mirror: &'a Path,
    pub(super) args: Vec<OsString>,
    pub(super) input: Vec<u8>,
    pub(super) deadline: Duration,
}

/// What such a call prints at most: a name, a line.
const LOCAL_MAX: usize = 1 << 20;

/// Why there is nothing that it printed.
enum Trouble {
    Start(String),
    TooMuch,
    Late,
    /// What it said on stderr.
    Failed(Vec<u8>),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Start(error.to_string())
    }
}

/// Runs it and gives what it printed.
///
/// # Errors
/// If it cannot be started, fails, prints too much or is not over at the deadline.
pub(super) async fn run(call: Call<'_>) -> Result<Said, SourceError> {
    let until = Instant::now() + call.deadline;
    // Kept until the child is over: it reads what this names.
    let told = call.access.for_git(call.origin, call.link)?;
    let command = command(&call, &told)?;
    carry_out(command, &call.input, call.stdout_max, Some(call.file_max), until).await.map_err(
        |trouble| match trouble {
            Trouble::Start(why) => SourceError::Start(why),
            Trouble::TooMuch => {
                SourceError::TooMuch { url: super::origin::shown(&call.origin.url), megabytes: call.stdout_max >> 20 }
            }
            Trouble::Late => SourceError::timed_out(call.what, call.origin, call.deadline),
            Trouble::Failed(stderr) => {
                let mirror = call.git_dir.map(Path::to_string_lossy);
                let told = error::Told {
                    what: call.what,
                    origin: call.origin,
                    mirror: mirror.as_deref(),
                    credential: call.access.name(),
                    file_max: call.file_max,
                };
                error::sort(&told, &stderr)
            }
        },
    )
}

/// Runs it and gives the line that it printed.
///
/// # Errors
/// As [`run`].
pub(super) async fn local(call: Local<'_>) -> io::Result<String> {
    let until = Instant::now() + call.deadline;
    let what = call.args.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    let mut command = bare(Some(call.mirror)).map_err(io::Error::other)?;
    // It is not in a hurry, and jobs are.
    command.args(["-c", "pack.threads=1"]).args(&call.args);
    match carry_out(command, &call.input, LOCAL_MAX, None, until).await {
        Ok(said) => Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned()),
        Err(trouble) => Err(io::Error::other(match trouble {
            Trouble::Start(why) => format!("git could not be started: {why}"),
            Trouble::TooMuch => format!("git {what} printed more than it has to say"),
            Trouble::Late => format!("git {what} was not over after {} s and was ended", call.deadline.as_secs()),
            Trouble::Failed(stderr) => format!("git {what}: {}", String::from_utf8_lossy(&stderr).trim()),
        })),
    }
}

async fn carry_out(
    mut command: Command,
    input: &[u8],
    stdout_max: usize,
    file_max: Option<u64>,
    until: Instant,
) -> Result<Said, Trouble> {
    let mut group = Group::new(command.spawn()?)?;
    if let Some(max) = file_max {
        // Long before the first byte of a pack: what writes it is a child of this child.
        group::limit_files(group.leader, max)?;
    }
    match tokio::time::timeout_at(until, group.talk(input, stdout_max)).await {
        Ok(Ok((stdout, stderr, status))) if status.success() => Ok(Said { stdout, stderr }),
        Ok(Ok((_, stderr, _))) => Err(Trouble::Failed(stderr)),
        Ok(Err(error)) => {
            group.end().await;
            Err(if error.kind() == io::ErrorKind::FileTooLarge { Trouble::TooMuch } else { error.into() })
        }
        Err(_) => {
            group.end().await;
            Err(Trouble::Late)
        }
    }
}

/// A child and the process group that it leads. Dropped, the group ends.
struct Group {
    child: Child,
    leader: u32,
    over: bool,
}

impl Group {
    fn new(child: Child) -> io::Result<Self> {
        let leader = child.id().ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { child, leader, over: false })
    }

    /// Feeds and hears it to its end. The pipes may be held by a descendant; the deadline is the caller's.
    async fn talk(&mut self, input: &[u8], max: usize) -> io::Result<(Vec<u8>, Vec<u8>, ExitStatus)> {
        let (stdin, stdout, stderr) = (self.child.stdin.take(), self.child.stdout.take(), self.child.stderr.take());
        let (Some(stdout), Some(stderr)) = (stdout, stderr) else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let (_, stdout, stderr) = tokio::try_join!(feed(stdin, input), whole(stdout, max), tail(stderr))?;
        self.leader_ended().await?;
        // The leader is not reaped yet, so the group's number is still its own.
        group::tell(self.leader, group::Word::EndNow)?;
        let status = self.child.wait().await?;
        self.over = true;
        Ok((stdout, stderr, status))
    }

    async fn leader_ended(&self) -> io::Result<()> {
        let mut pause = Duration::from_micros(200);
        while !group::has_ended(self.leader)? {
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        Ok(())
    }

    /// TERM, a short grace, KILL, all of the group; then it is gone, so that the next one finds the
    /// mirror to itself.
    async fn end(mut self) {
        if group::tell(self.leader, group::Word::End).is_ok() {
            let _ = timeout(GRACE, self.leader_ended()).await;
        }
        let _ = group::tell(self.leader, group::Word::EndNow);
        self.over = self.child.wait().await.is_ok();
        let _ = timeout(GRACE, self.group_gone()).await;
    }

    /// What was killed ends when the kernel comes to it, on a busy host not at once.
    async fn group_gone(&self) {
        while self.over && !group::is_empty(self.leader) {
            sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Not reaped as long as it is not over (tokio reaps in the background only after this drop).
        if !self.over {
            let _ = group::tell(self.leader, group::Word::EndNow);
        }
    }
}

/// A child that does not read its input to the end tells why on stderr.
async fn feed(stdin: Option<ChildStdin>, input: &[u8]) -> io::Result<()> {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(input).await;
    }
    Ok(())
}

async fn whole(reader: impl AsyncRead + Unpin, max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(limit).read_to_end(&mut bytes).await?;
    if bytes.len() > max { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// The last [`STDERR_MAX`] bytes: the reason stands at the end, and a server can say a lot before.
async fn tail(mut reader: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    while reader.read_buf(&mut kept).await? > 0 {
        if kept.len() > 2 * STDERR_MAX {
            kept.drain(..kept.len() - STDERR_MAX);
        }
    }
    kept.drain(..kept.len().saturating_sub(STDERR_MAX));
    Ok(kept)
}

/// An absolute path lets the standard library use posix_spawn, which does not cost more when the
/// daemon has grown.
fn git() -> Result<&'static Path, SourceError> {
    static GIT: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = GIT.get() {
        return Ok(path);
    }
    let found = program("git").ok_or(SourceError::NoGit { path: PATH })?;
    Ok(GIT.get_or_init(|| found))
}

fn command(call: &Call<'_>, told: &Told) -> Result<Command, SourceError> {
    let mut command = bare(call.git_dir)?;
    command.env("GIT_ALLOW_PROTOCOL", call.origin.way.word()).env("GIT_SSH_COMMAND", &told.ssh);
    if call.trace {
        command.env("GIT_TRACE_PACKET", "1");
    }
    for option in &told.options {
        command.args(["-c", option]);
    }
    command.arg("-c").arg(format!("http.lowSpeedTime={}", call.patience));
    let mut args = call.args.iter();
    command.args(args.next());
    if call.origin.way == Way::File {
        // The local half refuses repositories of other users; this one is named by root's job file.
        command.arg("--upload-pack=git -c safe.directory=* upload-pack");
    }
    command.args(args);
    Ok(command)
}

/// Git with nothing to do yet, which reaches nobody.
fn bare(git_dir: Option<&Path>) -> Result<Command, SourceError> {
    let mut command = Command::new(git()?);
    command
        .env_clear()
        .envs([
            ("PATH", PATH),
            ("LC_ALL", "C"),
            // Neither ~/.netrc nor ~/.gitconfig of whoever started the daemon; ssh does not ask HOME.
            ("HOME", "/nonexistent"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_PROTOCOL_FROM_USER", "0"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ASKPASS", "/bin/false"),
            ("GIT_NO_LAZY_FETCH", "1"),
            ("GIT_ALLOW_PROTOCOL", ""),
        ])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    // Without a repository git would look for one around the current directory and read its config.
    command.env("GIT_DIR", git_dir.map_or(OsStr::new("/dev/null"), Path::as_os_str));
    for option in OPTIONS {
        command.args(["-c", option]);
    }
    Ok(command)
}

const OPTIONS: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.askPass=/bin/false",
    "credential.helper=",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "protocol.version=2",
    "safe.bareRepository=explicit",
    "http.lowSpeedLimit=1000",
    // A server must not send us elsewhere, least of all inside the own network.
    "http.followRedirects=false",
    "gc.auto=0",
    "maintenance.auto=false",
    // A mirror that is whole after a power cut need not be fetched anew.
    "core.fsync=committed",
    "core.fsyncMethod=batch",
    "transfer.fsckObjects=true",
    // Slips of old tools that many an honest history has; none of them can lead git astray.
    "fetch.fsck.zeroPaddedFilemode=warn",
    "fetch.fsck.badTimezone=warn",
    "fetch.fsck.missingSpaceBeforeDate=warn",
    "fetch.fsck.missingNameBeforeEmail=warn",
    "fetch.fsck.missingSpaceBeforeEmail=warn",
    "fetch.fsck.badEmail=warn",
    "fetch.fsck.missingEmail=warn",
];
