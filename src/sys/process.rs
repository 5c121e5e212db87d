//! Processes: waiting for what ends, and ending a whole tree; `start.rs` starts one. What is decided
//! about them (deadlines, grace, order) stands in `run::process`.

mod copy;
mod loan;
mod start;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid};

pub use copy::{Title, copy};
pub use start::{Ceilings, Identity, Program, start};

/// Processes that are held on to at one time; each costs a descriptor.
const HANDLES_MAX: usize = 256;

/// Makes this process a supervisor: a session of its own, and the parent of every descendant that is
/// orphaned. A hang-up or a closed pipe does not end it.
///
/// # Errors
/// If the kernel refuses.
pub fn become_supervisor() -> io::Result<()> {
    leave_session();
    nix::sys::prctl::set_child_subreaper(true)?;
    for ignored in [Signal::SIGHUP, Signal::SIGPIPE] {
        // SAFETY: ignoring a signal installs no handler.
        unsafe { signal(ignored, SigHandler::SigIgn) }?;
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o027));
    Ok(())
}

/// What root makes from here on is of this directory's group, whose members are to read it.
pub fn take_group_of(dir: &Path) {
    use std::os::unix::fs::MetadataExt as _;
    let gid = dir.metadata().map(|found| Gid::from_raw(found.gid()));
    if let Ok(gid) = gid
        && Uid::effective().is_root()
        && Gid::effective() != gid
    {
        // Where it is not allowed the files stay our own group's.
        let _ = nix::unistd::setresgid(gid, gid, gid);
    }
}

/// What a terminal tells its foreground is not for this process.
pub fn leave_session() {
    // It fails only for one that leads a session or group already.
    let _ = nix::unistd::setsid();
}

/// What this process makes is readable to all who get as far as it.
pub fn make_readable_files() {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
}

/// What woke a supervisor up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Woken {
    pub child: bool,
    pub stop: bool,
}

/// Signals as something to read: from its making on TERM and INT end nothing by themselves.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// # Errors
    /// If the kernel refuses.
    pub fn block() -> io::Result<Self> {
        let mut mask = SigSet::empty();
        for wanted in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD] {
            mask.add(wanted);
        }
        mask.thread_block()?;
        Ok(Self(SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// All that has come since the last look.
    #[must_use]
    pub fn take(&self) -> Woken {
        let mut woken = Woken::default();
        while let Ok(Some(info)) = self.0.read_signal() {
            match i32::try_from(info.ssi_signo) {
                Ok(libc::SIGCHLD) => woken.child = true,
                _ => woken.stop = true,
            }
        }
        woken
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until one of them can be read, or the time is over.
///
/// # Errors
/// If the kernel refuses; an interruption is none.
pub fn wait_readable(fds: &[BorrowedFd<'_>], longest: Duration) -> io::Result<bool> {
    let mut fds: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    // Rounded up: waking a moment early would make the caller spin.
    let millis = i32::try_from(longest.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
    match nix::poll::poll(&mut fds, PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    Exit(i32),
    Signal(i32),
}

/// What [`reap`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reaped {
    pub ended: Vec<(i32, Ended)>,
    /// No child is left, alive or not.
    pub childless: bool,
}

/// Takes the ends of all children that have ended; never waits.
#[must_use]
pub fn reap() -> Reaped {
    let mut reaped = Reaped::default();
    loop {
        match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => reaped.ended.push((pid.as_raw(), Ended::Exit(code))),
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                reaped.ended.push((pid.as_raw(), Ended::Signal(signal as i32)));
            }
            Ok(WaitStatus::StillAlive) => return reaped,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => {
                reaped.childless = true;
                return reaped;
            }
        }
    }
}

/// What all reaped descendants used, added up; of memory the peak of the largest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    pub cpu: Duration,
    /// Bytes.
    pub largest: u64,
    /// Bytes that were to be written to a disk.
    pub written: u64,
}

/// Of all descendants that were waited for, by us or by each other.
#[must_use]
pub fn children_usage() -> Used {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Used::default() };
    let time = |time: nix::sys::time::TimeVal| {
        let micros = u64::try_from(time.tv_usec()).unwrap_or_default();
        Duration::from_secs(u64::try_from(time.tv_sec()).unwrap_or_default()) + Duration::from_micros(micros)
    };
    let times = |number: std::ffi::c_long, unit| u64::try_from(number).unwrap_or_default().saturating_mul(unit);
    Used {
        cpu: time(usage.user_time()) + time(usage.system_time()),
        largest: times(usage.max_rss(), 1024),
        written: times(usage.block_writes(), 512),
    }
}

/// What [`signal_descendants`] and [`Handle::send`] can send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// TERM, and CONT so that a stopped process hears it.
    Term,
    Kill,
}

/// Sends it to every descendant that can be found. Processes that are born meanwhile are missed:
/// call it until [`reap`] says `childless`. As the subreaper we inherit every orphan, so each round
/// reaches deeper.
pub fn signal_descendants(blow: Blow) {
    let mut open: Vec<(i32, i32)> = children_of(std::process::id().cast_signed());
    // A child of ours is reaped by us alone, so its number cannot become somebody else's meanwhile.
    let mut own: Vec<i32> = open.iter().map(|(_, child)| *child).collect();
    let mut deeper: Vec<Handle> = Vec::new();
    // Parents first, or they would go on with what comes after a child that died.
    let mut send_all = |deeper: &mut Vec<Handle>| {
        own.drain(..).for_each(|child| send(child, blow));
        for handle in deeper.drain(..) {
            let _ = handle.send(blow);
        }
    };
    // All are found before any is sent to: whoever dies hands its children over to us, out of this
    // round's sight.
    while let Some((_, parent)) = open.pop() {
        for (parent, child) in children_of(parent) {
            // Bound to this process before it is looked at again: a reused number is seen.
            if let Ok(handle) = Handle::open(child)
                && parent_of(child) == Some(parent)
            {
                deeper.push(handle);
                open.push((parent, child));
            }
        }
        if deeper.len() >= HANDLES_MAX {
            send_all(&mut deeper);
        }
    }
    send_all(&mut deeper);
}

fn send(pid: i32, blow: Blow) {
    let pid = Pid::from_raw(pid);
    match blow {
        Blow::Term => {
            let _ = nix::sys::signal::kill(pid, Signal::SIGTERM);
            let _ = nix::sys::signal::kill(pid, Signal::SIGCONT);
        }
        Blow::Kill => {
            let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
        }
    }
}

/// `(parent, child)` of all children of all its threads.
fn children_of(parent: i32) -> Vec<(i32, i32)> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{parent}/task")) else { return Vec::new() };
    let lists = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let mut found = Vec::new();
    for list in lists {
        found.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).map(|pid| (parent, pid)));
    }
    found
}

fn parent_of(pid: i32) -> Option<i32> {
    stat_of(pid, PARENT)
}

/// Places in /proc/PID/stat behind the name, which may hold anything and ends with `)`.
const PARENT: usize = 1;
const SESSION: usize = 3;
const START: usize = 19;

fn stat_of<T: std::str::FromStr>(pid: i32, place: usize) -> Option<T> {
    let stat = super::files::read_kernel(Path::new(&format!("/proc/{pid}/stat"))).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(place)?.parse().ok()
}

/// When a process began, in the kernel's ticks since boot: with its number it is never another one's.
#[must_use]
pub fn started(pid: i32) -> Option<u64> {
    stat_of(pid, START)
}

/// A process that cannot be mistaken for a later one with its number.
#[derive(Debug)]
pub struct Handle(OwnedFd);

impl Handle {
    /// # Errors
    /// If there is no such process.
    pub fn open(pid: i32) -> io::Result<Self> {
        use std::os::fd::FromRawFd as _;
        // SAFETY: plain system call; the result is checked before it is taken for a descriptor.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let fd = i32::try_from(Errno::result(fd)?).map_err(io::Error::other)?;
        // SAFETY: the kernel has just given us this descriptor.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// # Errors
    /// If the process is gone or not ours to signal.
    pub fn send(&self, blow: Blow) -> io::Result<()> {
        match blow {
            Blow::Term => {
                self.send_one(libc::SIGTERM)?;
                self.send_one(libc::SIGCONT)
            }
            Blow::Kill => self.send_one(libc::SIGKILL),
        }
    }

    fn send_one(&self, signal: libc::c_int) -> io::Result<()> {
        use std::os::fd::AsRawFd as _;
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: a null siginfo is what pidfd_send_signal takes for "as kill does it".
        let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), signal, no_info, 0) };
        Errno::result(sent)?;
        Ok(())
    }
}

/// Ends every process of this host whose environment has exactly this entry (`NAME=VALUE`), as far as
/// this user may look. How many were sent a KILL. Used for what a killed supervisor left behind: whoever
/// changed its environment is not found, so this never proves that nothing is left.
#[must_use]
pub fn kill_marked(entry: &[u8]) -> usize {
    let look = || {
        kill_where(|process, _| {
            let marked = |env: Vec<u8>| env.split(|byte| *byte == 0).any(|found| found == entry);
            environment_of(process).is_ok_and(marked)
        })
    };
    // A thread of its own, as it changes with whose rights it reads.
    std::thread::scope(|scope| {
        let looking = std::thread::Builder::new().spawn_scoped(scope, look);
        looking.ok().and_then(|thread| thread.join().ok()).unwrap_or(0)
    })
}

/// Root without CAP_SYS_PTRACE, as the unit has it, may read the environment of nobody else: it is read
/// with the rights of the process's own user. Changes this thread.
fn environment_of(process: &Path) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::MetadataExt as _;
    if Uid::effective().is_root() {
        let of = std::fs::metadata(process)?;
        nix::unistd::setfsgid(Gid::from_raw(of.gid()));
        nix::unistd::setfsuid(Uid::from_raw(of.uid()));
    }
    std::fs::read(process.join("environ"))
}

/// Ends what is left of a session that `leader` began at `start`, as far as it belongs to `uid`. This
/// finds the processes of other users too, whose environment only their own user may read.
#[must_use]
pub fn kill_session(leader: i32, start: u64, uid: u32) -> usize {
    use std::os::unix::fs::MetadataExt as _;
    // The number leads another session by now.
    if started(leader).is_some_and(|now| now != start) {
        return 0;
    }
    kill_where(|process, pid| {
        let of_user = std::fs::metadata(process).is_ok_and(|data| data.uid() == uid);
        of_user && stat_of(pid, SESSION) == Some(leader) && started(pid).is_some_and(|began| began >= start)
    })
}

fn kill_where(wanted: impl Fn(&Path, i32) -> bool) -> usize {
    let Ok(processes) = std::fs::read_dir("/proc") else { return 0 };
    let own = std::process::id().cast_signed();
    let pids = processes.flatten().filter_map(|process| process.file_name().to_str()?.parse::<i32>().ok());
    let mut sent = 0;
    for pid in pids.filter(|pid| *pid != own) {
        // The handle first: what is looked at and what is sent to is then the same process.
        let Ok(handle) = Handle::open(pid) else { continue };
        if wanted(&Path::new("/proc").join(pid.to_string()), pid) && handle.send(Blow::Kill).is_ok() {
            sent += 1;
        }
    }
    sent
}

/// A pipe whose reading end never blocks.
///
/// # Errors
/// If there are too many open files.
pub fn log_pipe() -> io::Result<(io::PipeReader, io::PipeWriter)> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let (reader, writer) = io::pipe()?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    // A larger pipe means fewer wake-ups under a flood; refused, the default does as well.
    let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
    Ok((reader, writer))
}

/// Asked for by [`log_pipe`]: what can be in it at one moment.
pub const PIPE_BYTES: i32 = 1 << 18;
