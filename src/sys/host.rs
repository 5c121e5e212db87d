//! What the host says of itself: its boot, its name, its users, its disks.

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use nix::unistd::{Uid, User};

use crate::sys::process::wait_readable;

/// There while systemd runs this host.
const BOOTED: &str = "/run/systemd/system";
/// systemd answers at once; a host that goes down has no time to lose.
const PATIENCE: Duration = Duration::from_secs(3);

/// Changes with every boot: what ran under another boot id is over. A unit that sees a /proc of its own
/// is told by systemd: in a container the kernel's is not the one that the units of runs see.
///
/// # Errors
/// If neither systemd nor the kernel says it.
pub fn boot_id() -> io::Result<String> {
    static KNOWN: OnceLock<String> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return Ok(known.clone());
    }
    let said = ask_boot_id()?;
    // A process does not outlive its boot; nor does a copy of it.
    Ok(KNOWN.get_or_init(|| said).clone())
}

fn ask_boot_id() -> io::Result<String> {
    if let Some(told) = std::env::var("SHIPBELL_BOOT_ID").ok().and_then(|text| as_uuid(&text)) {
        return Ok(told);
    }
    let text = super::files::read_kernel(Path::new("/proc/sys/kernel/random/boot_id"))?;
    Ok(text.trim().to_owned())
}

/// The kernel's form of what systemd writes without dashes.
fn as_uuid(hex: &str) -> Option<String> {
    let whole = hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parts = [hex.get(..8)?, hex.get(8..12)?, hex.get(12..16)?, hex.get(16..20)?, hex.get(20..)?];
    whole.then(|| parts.join("-"))
}

/// Whether systemd runs this host.
#[must_use]
pub fn is_run_by_systemd() -> bool {
    Path::new(BOOTED).is_dir()
}

/// Whether systemd is taking this host down. False also where that is not known: without systemd, or
/// if it does not answer soon.
#[must_use]
pub fn is_going_down() -> bool {
    // PID 1 itself is asked, over its own socket: the message bus goes down with everything else.
    let mut command = Command::new("systemctl");
    command.arg("is-system-running").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    if !is_run_by_systemd() {
        return false;
    }
    let Ok(mut child) = command.spawn() else { return false };
    let mut said = [0; 16];
    let mut length = 0;
    // Read only once something is there, or it has ended: this host may be too busy dying to answer.
    if let Some(mut pipe) = child.stdout.take()
        && wait_readable(&[pipe.as_fd()], PATIENCE).is_ok_and(|readable| readable)
    {
        length = pipe.read(&mut said).unwrap_or(0);
    }
    let _ = child.kill();
    let _ = child.wait();
    said.get(..length).is_some_and(|said| said.starts_with(b"stopping"))
}

/// Bytes that this user may still write on the file system of `path`.
///
/// # Errors
/// If the path is not there.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let at = nix::sys::statvfs::statvfs(path)?;
    Ok(at.blocks_available().saturating_mul(at.fragment_size()))
}

/// The user as whom this process acts.
#[must_use]
pub fn effective_uid() -> u32 {
    Uid::effective().as_raw()
}

/// The name of a user; its number where the host knows no name.
#[must_use]
pub fn user_name_of(uid: u32) -> String {
    account_of(uid).map_or_else(|| uid.to_string(), |account| account.name)
}

/// The host's name as the kernel has it.
#[must_use]
pub fn hostname() -> String {
    nix::sys::utsname::uname()
        .map(|name| name.nodename().to_string_lossy().into_owned())
        .unwrap_or_else(|_| "localhost".into())
}

/// A user of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: PathBuf,
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw(), home: user.dir }
    }
}

/// The user of this name, if the host has one.
#[must_use]
pub fn account_named(name: &str) -> Option<Account> {
    User::from_name(name).ok().flatten().map(Account::from)
}

/// The user of this number, if the host has one.
#[must_use]
pub fn account_of(uid: u32) -> Option<Account> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(Account::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_answers() {
        let boot = boot_id().unwrap();
        assert_eq!(as_uuid(&boot.replace('-', "")), Some(boot));
        assert_eq!(as_uuid("not an id"), None);
        assert!(free_bytes(Path::new("/")).unwrap() > 0);
        assert!(free_bytes(Path::new("/no-such-directory")).is_err());
        assert_eq!(user_name_of(0), "root");
        assert_eq!(user_name_of(4_000_000_123), "4000000123");
        assert_eq!(account_named("root").map(|account| account.uid), Some(0));
        assert!(account_named("no-such-user").is_none());
        assert!(!hostname().is_empty());
    }
}
