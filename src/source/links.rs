//! Connections over ssh that are kept from one question to the next (ssh's ControlMaster): one per login on a
//! server, in a directory of our own, ended when they are old, in trouble, or with the daemon. ssh itself
//! ends one that nobody used for a while, also when we were killed. Whose turn it is, is `remotes`'.

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use super::access::Access;
use super::origin::Origin;
use crate::model::job::hex;
use crate::signature::program;
use crate::sys::host;

/// Unused for so long, ssh ends it by itself: a little more than the usual interval of polls.
pub(super) const PERSIST: Duration = Duration::from_secs(90);
/// Then the login and the server's key are proved anew, whatever is asked meanwhile.
const AGE_MAX: Duration = Duration::from_secs(600);
/// One that lives greets at once.
const GREETING: Duration = Duration::from_secs(1);
/// Room in the address of a socket, without its end, for what ssh appends while it makes one.
const PATH_MAX: usize = 107 - 17;

/// All that are kept.
pub(super) struct Links {
    dir: PathBuf,
    /// Since when.
    kept: Mutex<HashMap<PathBuf, Instant>>,
}

/// One, as a question is to use it.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) socket: PathBuf,
    /// It stood before this question: what goes wrong may be its own fault.
    pub(super) stood: bool,
}

impl Links {
    /// In `dir`, which is made where it is missing and must be nobody else's. What an earlier daemon left there
    /// is not used: ssh ends it.
    ///
    /// # Errors
    /// If it is not ours alone, or its path too long for sockets.
    pub(super) fn new(dir: &Path) -> io::Result<Self> {
        let bad = |why: &str| io::Error::other(format!("{}: {why}", dir.display()));
        if dir.as_os_str().len() + 1 + NAME_LENGTH > PATH_MAX {
            return Err(bad("the path is too long for sockets"));
        }
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let meta = dir.symlink_metadata()?;
        if !meta.is_dir() || meta.uid() != host::effective_uid() || meta.mode() & 0o077 != 0 {
            return Err(bad("it is no directory that only this user may look into"));
        }
        for left in std::fs::read_dir(dir)?.flatten() {
            std::fs::remove_file(left.path())?;
        }
        Ok(Self { dir: dir.to_owned(), kept: Mutex::default() })
    }

    /// The one for this login on this server. What is too old or does not answer is ended first.
    pub(super) async fn of(&self, origin: &Origin, access: &Access) -> Link {
        let socket = self.dir.join(name(origin, access));
        let since = self.kept().get(&socket).copied();
        let stands = socket.symlink_metadata().is_ok();
        let fit = since.is_some_and(|since| since.elapsed() < AGE_MAX);
        let link = Link { socket, stood: stands && fit && greets(&self.dir.join(name(origin, access))).await };
        if !link.stood {
            if stands {
                self.end(&link).await;
            }
            self.kept().insert(link.socket.clone(), Instant::now());
        }
        link
    }

    /// Ends one. It is not waited for long: without its socket nobody uses it any more.
    pub(super) async fn end(&self, link: &Link) {
        end(&link.socket).await;
        self.kept().remove(&link.socket);
    }

    /// Ends all.
    pub(super) async fn end_all(&self) {
        let all: Vec<PathBuf> = self.kept().drain().map(|(socket, _)| socket).collect();
        let ends: Vec<_> = all
            .into_iter()
            .filter(|socket| socket.symlink_metadata().is_ok())
            .map(|socket| tokio::spawn(async move { end(&socket).await }))
            .collect();
        for one in ends {
            let _ = one.await;
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, Instant>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const NAME_LENGTH: usize = 24;

/// Another login, another key of the same name, other known hosts: another connection.
fn name(origin: &Origin, access: &Access) -> String {
    let print = Sha256::new().chain_update(origin.login_at()).chain_update([0]).chain_update(access.print());
    let mut name = hex(&print.finalize());
    name.truncate(NAME_LENGTH);
    name
}

/// Whether a process is behind the socket that does its work: it speaks first.
async fn greets(socket: &Path) -> bool {
    let greeting = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.read_u32().await
    };
    matches!(timeout(GREETING, greeting).await, Ok(Ok(_)))
}

async fn end(socket: &Path) {
    if let Some(ssh) = program("ssh") {
        let mut path = std::ffi::OsString::from("-oControlPath=");
        path.push(socket);
        let mut command = Command::new(ssh);
        // The name of the host is not looked at.
        command.env_clear().args(["-F", "/dev/null", "-O", "exit"]).arg(path).arg("none").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Ok(mut asked) = command.spawn() {
            let _ = timeout(GREETING, asked.wait()).await;
        }
    }
    let _ = std::fs::remove_file(socket);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::origin;
    use super::*;

    #[test]
    fn only_a_directory_of_our_own_is_used() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("ssh");
        assert!(Links::new(&dir).is_ok() && Links::new(&dir).is_ok());
        assert_eq!(std::fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        std::fs::write(dir.join("stale"), "").unwrap();
        assert!(Links::new(&dir).is_ok() && !dir.join("stale").exists(), "what was left is not used");
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o750)).unwrap();
        assert!(Links::new(&dir).is_err());
        let link = temp.path().join("link");
        std::os::unix::fs::symlink(temp.path(), &link).unwrap();
        assert!(Links::new(&link).is_err());
        assert!(Links::new(&temp.path().join("x".repeat(100))).is_err(), "no socket fits there");
    }

    #[test]
    fn each_login_on_each_server_has_its_own() {
        let open = Access::default();
        let of = |url: &str| name(&origin::parse(url).unwrap(), &open);
        assert_eq!(of("git@h:a"), of("git@h:b"));
        assert_eq!(of("ssh://git@h:22/a"), of("ssh://git@h:22/b/c"));
        for other in ["me@h:a", "git@i:a", "ssh://git@h:2222/a", "ssh://h/a"] {
            assert_ne!(of("git@h:a"), of(other));
        }
        assert_eq!(of("git@h:a").len(), NAME_LENGTH);
    }
}
