//! Starting a program: in a session of its own, as another user for good, in a control group, with
//! ceilings on what one process may have, and with nothing of ours left open. What it may have is
//! decided by the caller.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::libc;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use nix::unistd::{Gid, Pid, Uid};

use super::loan;
use crate::sys::cgroup::Entrance;

/// Added to how readily the kernel ends a process when memory is short everywhere: a step goes before
/// the supervisor that has to tell of it.
const GOES_FIRST: &[u8] = b"200";

/// Another user, for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

impl Identity {
    /// This user with all the groups that the host gives them.
    ///
    /// # Errors
    /// If the host's group list cannot be read.
    pub fn of(account: &crate::sys::host::Account) -> io::Result<Self> {
        let name = CString::new(account.name.as_str())?;
        let groups = nix::unistd::getgrouplist(&name, Gid::from_raw(account.gid))?;
        Ok(Self { uid: account.uid, gid: account.gid, groups: groups.into_iter().map(Gid::as_raw).collect() })
    }
}

/// A program to start.
#[derive(Debug)]
pub struct Program {
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// All of its environment.
    pub env: Vec<(OsString, OsString)>,
    pub dir: PathBuf,
    /// Standard output and standard error; standard input is empty.
    pub output: OwnedFd,
    /// `None`: this process's own user.
    pub identity: Option<Identity>,
    /// The way into its control group.
    pub entrance: Entrance,
    /// Whether a setuid program may get more rights.
    pub may_rise: bool,
    pub ceilings: Ceilings,
}

/// What each process may have at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ceilings {
    /// Open files.
    pub files: Option<u64>,
    /// Processes of its user on the whole host: for hosts that cannot count those of a group.
    pub processes: Option<u64>,
}

/// Starts it as the head of its own session, with no open file but these three, no signal blocked or
/// ignored and, unless it may rise, no way to more rights. Its process id is returned at once;
/// [`super::reap`] tells its end. Only for a process of one thread.
///
/// # Errors
/// If it cannot be started, or the change of user could be taken back.
pub fn start(program: &Program) -> io::Result<i32> {
    let image = Image::of(program)?;
    let nothing = File::open("/dev/null")?;
    if let Some(group) = &program.entrance.birthplace {
        let birth = loan::lend(group, || number_of(&become_it(program, &image, &nothing, true)));
        match birth {
            Some(Ok(pid)) => return Ok(pid),
            Some(Err(number)) => return Err(io::Error::from_raw_os_error(number)),
            None => {}
        }
    }
    copied(program, &image, &nothing)
}

fn number_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EINVAL)
}

/// As a copy of us, which enters the group by itself: on a kernel before 5.7, under a filter of system calls,
/// or without any group.
fn copied(program: &Program, image: &Image, nothing: &File) -> io::Result<i32> {
    let (mut told, tell) = io::pipe()?;
    // SAFETY: a process of one thread; the child makes system calls only until it calls exec.
    let pid = match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => child.as_raw(),
        nix::unistd::ForkResult::Child => 0,
    };
    if pid == 0 {
        // From here to exec only system calls: nothing that allocates, locks or unwinds.
        let error = become_it(program, image, nothing, false);
        let _ = nix::unistd::write(&tell, &number_of(&error).to_ne_bytes());
        // SAFETY: ends this copy of us without running what is registered for our own end.
        unsafe { libc::_exit(127) };
    }
    drop(tell);
    let mut number = [0; 4];
    match told.read_exact(&mut number) {
        Ok(()) => {
            let _ = nix::sys::wait::waitpid(Pid::from_raw(pid), None);
            Err(io::Error::from_raw_os_error(i32::from_ne_bytes(number)))
        }
        // Closed without a word by exec.
        Err(_) => Ok(pid),
    }
}

/// A program as the kernel wants it, made before the fork.
struct Image {
    /// The paths to try, in the order of the `PATH` that the program will have.
    paths: Vec<CString>,
    argv: CStrings,
    env: CStrings,
    dir: CString,
    groups: Vec<Gid>,
}

impl Image {
    fn of(program: &Program) -> io::Result<Self> {
        let name = program.argv.first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program"))?;
        let path = program.env.iter().find(|(key, _)| key == "PATH").map(|(_, value)| value.clone());
        let paths = if name.as_encoded_bytes().contains(&b'/') {
            vec![c_string(name)?]
        } else {
            let path = path.unwrap_or_else(|| "/usr/bin:/bin".into());
            let dirs = std::env::split_paths(&path);
            dirs.map(|dir| c_string(dir.join(name).as_os_str())).collect::<io::Result<_>>()?
        };
        let pair = |(key, value): &(OsString, OsString)| {
            let mut entry = key.clone();
            entry.push("=");
            entry.push(value);
            entry
        };
        Ok(Self {
            paths,
            argv: CStrings::of(program.argv.iter().cloned())?,
            env: CStrings::of(program.env.iter().map(pair))?,
            dir: c_string(program.dir.as_os_str())?,
            groups: program.identity.iter().flat_map(|one| one.groups.iter().copied()).map(Gid::from_raw).collect(),
        })
    }
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    Ok(CString::new(text.as_encoded_bytes())?)
}

/// Texts, and the list of where they are that ends with a null.
struct CStrings {
    list: Vec<*const libc::c_char>,
    /// What the list points to; never read, and not to be changed.
    _texts: Vec<CString>,
}

impl CStrings {
    fn of(texts: impl Iterator<Item = OsString>) -> io::Result<Self> {
        let texts: Vec<CString> = texts.map(|text| c_string(&text)).collect::<io::Result<_>>()?;
        let ends = [std::ptr::null()];
        Ok(Self { list: texts.iter().map(|text| text.as_ptr()).chain(ends).collect(), _texts: texts })
    }
}

/// In the child: everything that makes it another process than us, then exec. Returns only what failed.
fn become_it(program: &Program, image: &Image, nothing: &File, inside: bool) -> io::Error {
    if let Err(error) = prepare(program, image, nothing, inside) {
        return error;
    }
    let mut worst = io::Error::from_raw_os_error(libc::ENOENT);
    for path in &image.paths {
        // SAFETY: both lists end with a null and point to texts that outlive this call.
        unsafe { libc::execve(path.as_ptr(), image.argv.list.as_ptr(), image.env.list.as_ptr()) };
        let error = io::Error::last_os_error();
        // As a shell does it: one that may not be run is worth telling, one that is not there is not.
        if !matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) {
            worst = error;
        }
    }
    worst
}

fn prepare(program: &Program, image: &Image, nothing: &File, inside: bool) -> io::Result<()> {
    nix::unistd::setsid()?;
    // First of all: whatever this becomes, it is held.
    let unified = program.entrance.unified.iter().filter(|_| !inside);
    unified.chain(&program.entrance.legacy).try_for_each(|door| enter(door.as_fd()))?;
    nix::unistd::dup2_stdin(nothing)?;
    nix::unistd::dup2_stdout(&program.output)?;
    nix::unistd::dup2_stderr(&program.output)?;
    fresh_signals()?;
    let _ = go_first();
    set_ceilings(&program.ceilings)?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    // SAFETY: marks descriptors to be closed at exec; nothing of this process is touched.
    unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC.cast_signed()) };
    if let Some(identity) = &program.identity {
        change_user(identity, &image.groups)?;
    }
    if !program.may_rise {
        nix::sys::prctl::set_no_new_privs()?;
    }
    // Only now: the directory must be one that the new user may enter.
    nix::unistd::chdir(image.dir.as_c_str())?;
    Ok(())
}

fn enter(door: BorrowedFd<'_>) -> io::Result<()> {
    nix::unistd::write(door, b"0")?;
    Ok(())
}

fn go_first() -> nix::Result<()> {
    use nix::fcntl::{OFlag, open};
    let file = open(c"/proc/self/oom_score_adj", OFlag::O_WRONLY | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())?;
    nix::unistd::write(&file, GOES_FIRST).map(|_| ())
}

fn set_ceilings(ceilings: &Ceilings) -> io::Result<()> {
    // A core of a job's process may hold its secrets and fills the disk.
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    for (resource, most) in [(Resource::RLIMIT_NOFILE, ceilings.files), (Resource::RLIMIT_NPROC, ceilings.processes)] {
        let Some(most) = most else { continue };
        let hard = nix::sys::resource::getrlimit(resource)?.1;
        setrlimit(resource, most.min(hard), most.min(hard))?;
    }
    Ok(())
}

fn fresh_signals() -> io::Result<()> {
    for changed in [Signal::SIGHUP, Signal::SIGPIPE] {
        // SAFETY: the default action is no handler.
        unsafe { signal(changed, SigHandler::SigDfl) }?;
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    Ok(())
}

/// Groups first, the user last; then it is tried whether there is a way back.
fn change_user(identity: &Identity, groups: &[Gid]) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    nix::unistd::setgroups(groups)?;
    nix::unistd::setresgid(gid, gid, gid)?;
    nix::unistd::setresuid(uid, uid, uid)?;
    if !uid.is_root() && (nix::unistd::setuid(Uid::from_raw(0)).is_ok() || Uid::effective() != uid) {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    Ok(())
}
