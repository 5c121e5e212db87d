//! Process groups of our own children: whether the leader has ended (without reaping it, so that its
//! number cannot pass to a stranger) and signals to all of the group. Who is ended, when and how
//! politely is decided by the caller.

use std::io;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

/// What is said to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// SIGTERM: clean up and end.
    End,
    /// SIGKILL: end.
    EndNow,
}

/// Sends to every process of the group that `leader`, a child not yet reaped, was started with. An
/// empty group is no error.
///
/// # Errors
/// If the kernel refuses.
pub fn tell(leader: u32, word: Word) -> io::Result<()> {
    let signal = match word {
        Word::End => Signal::SIGTERM,
        Word::EndNow => Signal::SIGKILL,
    };
    match killpg(pid(leader)?, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether a child has ended. It stays to be reaped.
///
/// # Errors
/// If `child` is no number of a process.
pub fn has_ended(child: u32) -> io::Result<bool> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    match waitid(Id::Pid(pid(child)?), flags) {
        Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => Ok(false),
        // ECHILD: somebody else reaped it.
        Ok(_) | Err(Errno::ECHILD) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Whether nothing of a group is left, not even a process that nobody has reaped. For a group whose
/// leader was reaped: as long as it has members its number is nobody else's.
#[must_use]
pub fn is_empty(leader: u32) -> bool {
    pid(leader).is_ok_and(|leader| killpg(leader, None) == Err(Errno::ESRCH))
}

/// Lets a child, and all that it starts from now on, write no file longer than so.
///
/// # Errors
/// If the kernel refuses.
pub fn limit_files(child: u32, bytes: u64) -> io::Result<()> {
    let limit = nix::libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: the limit is a valid struct that lives through the call, and no old one is asked for.
    let done = unsafe {
        nix::libc::prlimit(pid(child)?.as_raw(), nix::libc::RLIMIT_FSIZE, &raw const limit, std::ptr::null_mut())
    };
    Errno::result(done)?;
    Ok(())
}

/// 0 would be our own group and 1 everybody: neither is ever a child.
fn pid(number: u32) -> io::Result<Pid> {
    let raw = i32::try_from(number).ok().filter(|&raw| raw > 1).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(Pid::from_raw(raw))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    #[test]
    fn the_whole_group_ends_and_the_leader_stays_to_be_reaped() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "sleep 600 & echo $!; wait"]).process_group(0).stdout(Stdio::piped());
        let mut leader = command.spawn().unwrap();
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(leader.stdout.take().unwrap()), &mut line).unwrap();
        let sleeper = std::path::PathBuf::from(format!("/proc/{}/cmdline", line.trim()));
        assert!(!has_ended(leader.id()).unwrap());
        tell(leader.id(), Word::EndNow).unwrap();
        let began = Instant::now();
        while !has_ended(leader.id()).unwrap() || std::fs::read(&sleeper).is_ok_and(|text| !text.is_empty()) {
            assert!(began.elapsed() < Duration::from_secs(10), "the group is still there");
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(has_ended(leader.id()).unwrap(), "asking twice reaps nothing");
        assert!(!leader.wait().unwrap().success());
        while !is_empty(leader.id()) {
            assert!(began.elapsed() < Duration::from_secs(10), "the group is not empty");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn numbers_that_are_no_child_are_refused() {
        for number in [0, 1, u32::MAX] {
            assert!(tell(number, Word::EndNow).is_err(), "{number}");
        }
    }
}
