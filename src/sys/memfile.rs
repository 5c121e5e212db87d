//! A file that lies in memory and in no directory: what a child must read from a path but nobody may find
//! on a disk, in an argument list or in an environment.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use nix::sys::memfd::{MFdFlags, memfd_create};

/// Gone when it is dropped, as far as nobody has it open.
#[derive(Debug)]
pub struct MemFile(File);

impl MemFile {
    /// # Errors
    /// If the kernel has no room.
    pub fn new(bytes: &[u8]) -> io::Result<Self> {
        // Not inherited by any child: those who may read it open its path.
        let mut file = File::from(memfd_create("shipbell", MFdFlags::MFD_CLOEXEC)?);
        // ssh takes no key that others can read.
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(bytes)?;
        Ok(Self(file))
    }

    /// By which a process of the same user opens it, from the beginning each time.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_child_reads_it_by_its_path_as_often_as_it_likes() {
        let file = MemFile::new(b"s3cret").unwrap();
        let output = std::process::Command::new("cat").arg(file.path()).arg(file.path()).output().unwrap();
        assert_eq!(output.stdout, b"s3crets3cret");
        let path = file.path();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // Not read: its number may be another test's pipe by then, on which that would wait.
        let which = |path: &PathBuf| std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
        let before = which(&path);
        drop(file);
        assert_ne!(which(&path), before);
    }
}
