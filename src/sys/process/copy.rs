//! A process that goes on as a copy of another one: what costs most in starting a program, to load it, was
//! done once for all of them.

use std::io;
use std::os::fd::OwnedFd;

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{ForkResult, fork};

/// Places in /proc/self/stat behind the name.
const ARGUMENTS: [usize; 2] = [45, 46];
/// The end of a copy that could not even begin, or panicked.
const FAILED: u8 = 101;

/// Makes a child that runs `body` and ends with what that returns: its process id. `stdin` becomes the
/// child's standard input; but for the three standard ones nothing is open. Only for a process of one
/// thread.
///
/// # Errors
/// If there can be no more processes.
pub fn copy(stdin: Option<OwnedFd>, body: impl FnOnce() -> u8) -> io::Result<i32> {
    // SAFETY: this process has one thread, so the copy may do whatever it may do.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child.as_raw()),
        ForkResult::Child => {
            let ready = prepare(stdin).is_ok();
            // What it was in the middle of is the original's; it must not come back there.
            let body = std::panic::AssertUnwindSafe(body);
            let code = if ready { std::panic::catch_unwind(body).unwrap_or(FAILED) } else { FAILED };
            // SAFETY: ends this copy without running what is registered for the end of the original.
            unsafe { libc::_exit(i32::from(code)) }
        }
    }
}

fn prepare(stdin: Option<OwnedFd>) -> io::Result<()> {
    if let Some(stdin) = stdin {
        nix::unistd::dup2_stdin(stdin)?;
    }
    // SAFETY: closes descriptors whose owners in this copy are never dropped nor used again.
    nix::errno::Errno::result(unsafe { libc::close_range(3, libc::c_uint::MAX, 0) })?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    Ok(())
}

/// The room that the first arguments of this process took, which `ps` shows; a copy of it has it too.
#[derive(Debug, Clone, Copy)]
pub struct Title {
    at: usize,
    room: usize,
}

impl Title {
    /// Asks the kernel; `None` where it does not say.
    #[must_use]
    pub fn find() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let (_, behind) = stat.rsplit_once(')')?;
        let words: Vec<&str> = behind.split_ascii_whitespace().collect();
        let [at, to] = ARGUMENTS.map(|place| words.get(place).and_then(|word| word.parse::<usize>().ok()).unwrap_or(0));
        let room = to.checked_sub(at).filter(|room| at > 0 && *room > 0)?;
        Some(Self { at, room })
    }

    /// What `ps` shows as this process's arguments from now on, as far as the room lasts. Whoever asks the
    /// library for the arguments afterwards reads this.
    pub fn show(self, arguments: &[&[u8]]) {
        let mut text = arguments.join(&0);
        // The last byte stays zero, or the kernel reads on into the environment.
        text.resize(self.room.saturating_sub(1), 0);
        text.push(0);
        let to = std::ptr::with_exposed_provenance_mut(self.at);
        // SAFETY: the kernel said that our own first arguments stand there; they are writable memory of this
        // process on its stack, nobody holds a reference to them, and `text` is as long as they are.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), to, self.room) };
    }
}
