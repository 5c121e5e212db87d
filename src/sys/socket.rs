//! Sockets of this host: who is at the other end, and a listener that systemd holds for us. Who may ask
//! what is decided by the caller.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

/// The first descriptor that systemd hands over.
const FIRST: i32 = 3;

/// The user at the other end, as the kernel has it.
///
/// # Errors
/// If the kernel does not say.
pub fn peer_uid(stream: &UnixStream) -> io::Result<u32> {
    Ok(getsockopt(stream, PeerCredentials)?.uid())
}

/// The listener that this process was started with, if it was started for one. To be asked once.
#[must_use]
pub fn inherited_listener() -> Option<UnixListener> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID") != Some(std::process::id()) || number("LISTEN_FDS") != Some(1) {
        return None;
    }
    // SAFETY: systemd says by these variables that the descriptor is ours, and nobody else took it.
    let listener = unsafe { OwnedFd::from_raw_fd(FIRST) };
    fcntl(&listener, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
    Some(UnixListener::from(listener))
}
