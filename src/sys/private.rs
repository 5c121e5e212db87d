//! What one process alone is to see: bytes handed to a child by descriptor, files that never reach a
//! disk. What is in them and who gets them is decided in `run::secrets`.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};
use nix::unistd::{Gid, Uid};

use super::files;

/// `ramfs` is no part of nix's list.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// A file in memory that has no name anywhere, ready to be read from its beginning.
///
/// # Errors
/// If there is no memory for it.
pub fn memory_file(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"shipbell", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// All of standard input, at most `max` bytes of it. After that standard input is empty for good.
///
/// # Errors
/// If it cannot be read or replaced.
pub fn take_stdin(max: u64) -> io::Result<Vec<u8>> {
    // Not through the standard library's own handle, whose buffer would keep what it read.
    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut bytes = Vec::new();
    input.take(max).read_to_end(&mut bytes)?;
    nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
    Ok(bytes)
}

/// No core dump of this process, and no other process of its user may look into its memory.
///
/// # Errors
/// If the kernel refuses.
pub fn hide_memory() -> io::Result<()> {
    Ok(nix::sys::prctl::set_dumpable(false)?)
}

/// Whether what is written there stays in memory (it may still be swapped).
#[must_use]
pub fn is_in_memory(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| matches!(found.filesystem_type(), TMPFS_MAGIC | RAMFS_MAGIC))
}

/// A new directory below `base`, ours alone, with a name that nobody can guess.
///
/// # Errors
/// If it cannot be made.
pub fn make_dir(base: &Path, prefix: &str, random: [u8; 16]) -> io::Result<PathBuf> {
    let name = random.iter().fold(prefix.to_owned(), |name, byte| format!("{name}{byte:02x}"));
    let path = base.join(name);
    DirBuilder::new().mode(0o700).create(&path)?;
    Ok(path)
}

/// A new file that only `owner` may read.
///
/// # Errors
/// If it cannot be made, or is there.
pub fn write_file(path: &Path, bytes: &[u8], owner: Option<(u32, u32)>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
    file.write_all(bytes)?;
    let Some((uid, gid)) = owner else { return Ok(()) };
    Ok(nix::unistd::fchown(file.as_fd(), Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?)
}

/// Lets this group list a directory of ours and pass through it.
///
/// # Errors
/// If it is none or is not ours.
pub fn open_to_group(path: &Path, gid: u32) -> io::Result<()> {
    let dir = files::open_dir(path)?;
    nix::unistd::fchown(dir.as_fd(), None, Some(Gid::from_raw(gid)))?;
    dir.set_permissions(Permissions::from_mode(0o750))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_file_is_read_from_its_beginning_and_has_no_name() {
        let mut file = memory_file(b"hidden").unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hidden");
        use std::os::fd::AsRawFd as _;
        let link = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        assert!(link.to_string_lossy().starts_with("/memfd:"), "{}", link.display());
    }

    #[test]
    fn private_files_belong_to_nobody_else() {
        use std::os::unix::fs::MetadataExt as _;
        let temp = tempfile::tempdir().unwrap();
        let dir = make_dir(temp.path(), "x-", [0xab; 16]).unwrap();
        assert!(dir.ends_with(format!("x-{}", "ab".repeat(16))));
        assert!(make_dir(temp.path(), "x-", [0xab; 16]).is_err(), "never another's");
        write_file(&dir.join("a"), b"s", None).unwrap();
        assert!(write_file(&dir.join("a"), b"s", None).is_err());
        assert_eq!(std::fs::metadata(dir.join("a")).unwrap().mode() & 0o7777, 0o400);
        assert_eq!(std::fs::metadata(&dir).unwrap().mode() & 0o7777, 0o700);
        open_to_group(&dir, nix::unistd::getegid().as_raw()).unwrap();
        assert_eq!(std::fs::metadata(&dir).unwrap().mode() & 0o7777, 0o750);
    }
}
