//! The nursery: one small process whose copies are the supervisors of a host without units. To load this
//! program costs more than all that a supervisor of a short job does, so it is loaded once. It decides
//! nothing: it is told a directory, and tells when the supervisor of that directory has ended. It ends
//! with whoever started it; supervisors live on.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use crate::run::user;
use crate::sys::cgroup::Site;
use crate::sys::host;
use crate::sys::process::{self, Signals, Title};
use crate::sys::socket::Packets;

/// The word in argv behind `supervise` that makes a process the nursery.
pub const NURSERY: &str = "--nursery";
/// Room in argv for what `ps` is to show of a copy.
const ROOM: usize = 400;
/// Nothing has to be done at any time.
const LONG: Duration = Duration::from_secs(3600);

/// The arguments of the program that make a process the nursery.
#[must_use]
pub fn arguments() -> [OsString; 3] {
    ["supervise".into(), NURSERY.into(), "-".repeat(ROOM).into()]
}

/// Serves until nobody is at the other end of its standard input.
///
/// # Errors
/// If that is no socket, or the kernel refuses.
pub fn serve() -> io::Result<()> {
    let orders = Packets::from_stdin()?;
    let signals = Signals::block()?;
    process::leave_session();
    let title = Title::find();
    if let Some(title) = title {
        title.show(&[b"shipbell", b"supervise", NURSERY.as_bytes()]);
    }
    know();
    let mut supervisors: BTreeMap<i32, Vec<u8>> = BTreeMap::new();
    loop {
        process::wait_readable(&[orders.as_fd(), signals.as_fd()], LONG)?;
        // TERM and INT are for whoever started us: with it we end.
        if signals.take().child {
            for (pid, _) in process::reap().ended {
                if let Some(dir) = supervisors.remove(&pid) {
                    orders.send(&dir, None)?;
                }
            }
        }
        let (dir, secrets) = match orders.receive_now() {
            Ok(Some(order)) => order,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        match process::copy(secrets, || supervise(&dir, title)) {
            Ok(pid) => {
                supervisors.insert(pid, dir);
            }
            // It ended before it began.
            Err(_) => orders.send(&dir, None)?,
        }
    }
}

/// What is the same for all copies, and would be asked for by each.
fn know() {
    // What looks users up is loaded by the first question; each copy asks anew.
    let _ = host::account_named(user::OF_JOBS);
    let _ = host::boot_id();
    Site::remember();
}

fn supervise(dir: &[u8], title: Option<Title>) -> u8 {
    if let Some(title) = title {
        title.show(&[b"shipbell", b"supervise", dir]);
    }
    let dir = Path::new(OsStr::from_bytes(dir));
    super::say_in(dir);
    super::supervise(dir)
}
