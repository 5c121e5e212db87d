//! What the host says of itself: its boot, its name, its users, its disks.

use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

/// Changes with every boot: what ran under another boot id is over.
///
/// # Errors
/// If /proc is not there.
pub fn boot_id() -> io::Result<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(text.trim().to_owned())
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
        assert_eq!(boot_id().unwrap().len(), 36);
        assert!(free_bytes(Path::new("/")).unwrap() > 0);
        assert!(free_bytes(Path::new("/no-such-directory")).is_err());
        assert_eq!(user_name_of(0), "root");
        assert_eq!(user_name_of(4_000_000_123), "4000000123");
        assert_eq!(account_named("root").map(|account| account.uid), Some(0));
        assert!(account_named("no-such-user").is_none());
        assert!(!hostname().is_empty());
    }
}
