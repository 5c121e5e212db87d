//! Files in directories that somebody else may write: opened below a directory, never through a link,
//! never blocking on what is no plain file. The kernel checks this (openat2), not a look beforehand.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FallocateFlags, OFlag, OpenHow, ResolveFlag, fallocate, openat, openat2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags};

/// Longer ones are read in more pieces.
const KERNEL_TEXT: usize = 16 << 10;

fn how(flags: OFlag, resolve: ResolveFlag) -> OpenHow {
    OpenHow::new().flags(flags | OFlag::O_CLOEXEC | OFlag::O_NOCTTY).resolve(ResolveFlag::RESOLVE_BENEATH | resolve)
}

/// A text of /proc or of a control group, which the kernel makes as it is read: it has no length that could
/// be asked for, and each read of a part makes all of it anew.
///
/// # Errors
/// If it is not there, or no text.
pub fn read_kernel(path: &Path) -> io::Result<String> {
    use std::io::Read as _;
    let mut text = Vec::with_capacity(KERNEL_TEXT);
    File::open(path)?.take(u64::MAX).read_to_end(&mut text)?;
    String::from_utf8(text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// A directory itself.
///
/// # Errors
/// If it is none or is a link.
pub fn open_dir(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = (OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits();
    std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// A directory below `dir`, through no link.
///
/// # Errors
/// If it is none, or lies outside, or behind a link.
pub fn open_dir_beneath(dir: &File, path: &Path) -> io::Result<File> {
    through_no_link(dir, path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW)
}

/// systemd's RestrictSUIDSGID= takes openat2 away, as it cannot look at its arguments. Then the way is
/// gone step by step, which is the same where no link is followed.
fn through_no_link(dir: &File, path: &Path, flags: OFlag) -> io::Result<File> {
    match openat2(dir, path, how(flags, ResolveFlag::RESOLVE_NO_SYMLINKS)) {
        Err(Errno::ENOSYS) => step_by_step(dir, path, flags),
        other => Ok(File::from(other?)),
    }
}

fn step_by_step(dir: &File, path: &Path, flags: OFlag) -> io::Result<File> {
    let own = OFlag::O_CLOEXEC | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW;
    let mut at = dir.try_clone()?;
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        let (Component::Normal(name), last) = (part, parts.peek().is_none()) else {
            if part == Component::CurDir {
                continue;
            }
            return Err(Errno::EXDEV.into());
        };
        let wanted = if last { flags } else { OFlag::O_RDONLY | OFlag::O_DIRECTORY };
        at = File::from(openat(&at, name, wanted | own, Mode::empty())?);
    }
    Ok(at)
}

/// A plain file below `dir`, for reading. `links`: links that stay below `dir` are followed.
///
/// # Errors
/// If it is missing, no plain file, or lies outside.
pub fn open_beneath(dir: &File, path: &Path, links: bool) -> io::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK;
    let file = match links {
        true => File::from(openat2(dir, path, how(flags, ResolveFlag::RESOLVE_NO_MAGICLINKS))?),
        false => through_no_link(dir, path, flags)?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file"));
    }
    Ok(file)
}

/// Puts an empty file below `dir` in the place of whatever stands there, making the directories above
/// it; all of it belongs to `owner` (user, group) where one is given.
///
/// # Errors
/// If a directory on the way is a link or no directory.
pub fn create_beneath(dir: &File, path: &Path, mode: u32, owner: Option<(u32, u32)>) -> io::Result<File> {
    let mut at = dir.try_clone()?;
    let name = path.file_name().ok_or(Errno::EINVAL)?;
    for part in path.parent().into_iter().flat_map(Path::components) {
        let part = Path::new(part.as_os_str());
        match mkdirat(&at, part, Mode::from_bits_truncate(0o755)) {
            Ok(()) => {
                at = open_dir_beneath(&at, part)?;
                give(&at, owner)?;
            }
            Err(Errno::EEXIST) => at = open_dir_beneath(&at, part)?,
            Err(error) => return Err(error.into()),
        }
    }
    match nix::unistd::unlinkat(&at, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
    let how = how(flags, ResolveFlag::RESOLVE_NO_SYMLINKS).mode(Mode::from_bits_truncate(mode));
    let file = File::from(openat2(&at, Path::new(name), how)?);
    give(&file, owner)?;
    Ok(file)
}

/// Tells the file system that what lies below this directory has nothing to do with each other (`chattr +T`):
/// ext4 then does not put one beside the other. Where runs make and remove thousands of files in one
/// place, an ext4 without journal looks at every file removed there in the last minutes for each new one:
/// 2,000 files took 3 s. Says whether it was heard; other file systems have no such flag.
pub fn keep_apart(dir: &Path) -> bool {
    let set = || -> io::Result<()> {
        let dir = open_dir(dir)?;
        let mut flags: nix::libc::c_int = 0;
        // SAFETY: both take the address of an int, which lives through the calls.
        unsafe {
            Errno::result(nix::libc::ioctl(dir.as_raw_fd(), nix::libc::FS_IOC_GETFLAGS, &raw mut flags))?;
            if flags & TOPDIR == 0 {
                flags |= TOPDIR;
                Errno::result(nix::libc::ioctl(dir.as_raw_fd(), nix::libc::FS_IOC_SETFLAGS, &raw const flags))?;
            }
        }
        Ok(())
    };
    set().is_ok()
}

/// `FS_TOPDIR_FL` of linux/fs.h.
const TOPDIR: nix::libc::c_int = 0x0002_0000;

/// Gives a file directly below `dir` another name there; one that has that name gives way.
///
/// # Errors
/// If it cannot be renamed.
pub fn rename_beneath(dir: &File, from: &Path, to: &Path) -> io::Result<()> {
    Ok(nix::fcntl::renameat(dir, from, dir, to)?)
}

fn give(file: &File, owner: Option<(u32, u32)>) -> io::Result<()> {
    let Some((uid, gid)) = owner else { return Ok(()) };
    Ok(nix::unistd::fchown(file.as_fd(), Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?)
}

/// Makes a directory, or finds it there, and gives it to `owner`. One that has less than `mode` was left so
/// by somebody who was killed while making it.
///
/// # Errors
/// If it cannot be made, or is a link or no directory.
pub fn own_dir(path: &Path, mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {
            let dir = open_dir(path)?;
            // The umask took its share away.
            dir.set_permissions(std::fs::Permissions::from_mode(mode))?;
            give(&dir, owner)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let dir = open_dir(path)?;
            let found = dir.metadata()?.permissions().mode() & 0o7777;
            if found != mode && found & !mode == 0 {
                // Its owner may have wanted it so; then it is not ours to alter.
                let _ = dir.set_permissions(std::fs::Permissions::from_mode(mode));
            }
            match owner {
                Some((uid, _)) if dir.metadata()?.uid() != uid => give(&dir, owner),
                _ => Ok(()),
            }
        }
        Err(error) => Err(error),
    }
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Below the directory that the walk began in.
    pub path: PathBuf,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Dir,
    /// Links, sockets, pipes, devices.
    Other,
}

/// What lies in the directory `at`, a path below `dir` (empty: `dir` itself), in the order of names.
///
/// # Errors
/// If it cannot be read or lies behind a link.
pub fn entries(dir: &File, at: &Path) -> io::Result<Vec<Entry>> {
    let here = if at.as_os_str().is_empty() { Path::new(".") } else { at };
    let open = open_dir_beneath(dir, here)?;
    let mut listing = nix::dir::Dir::from_fd(open.into())?;
    let mut found = Vec::new();
    for entry in listing.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let path = at.join(std::ffi::OsStr::from_bytes(name));
        let kind = match entry.file_type() {
            Some(nix::dir::Type::File) => Kind::File,
            Some(nix::dir::Type::Directory) => Kind::Dir,
            Some(_) => Kind::Other,
            None => kind_of(dir, &path)?,
        };
        found.push(Entry { path, kind });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// For file systems whose listings do not say what an entry is.
fn kind_of(dir: &File, path: &Path) -> io::Result<Kind> {
    let stat = nix::sys::stat::fstatat(dir, path, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    Ok(match stat.st_mode & nix::libc::S_IFMT {
        nix::libc::S_IFREG => Kind::File,
        nix::libc::S_IFDIR => Kind::Dir,
        _ => Kind::Other,
    })
}

/// Makes the name of a new file last through a power cut.
///
/// # Errors
/// If the disk does not take it.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Sets room aside behind `from` for what will be written there, without making the file longer: it is then
/// written though the disk is full. [`File::set_len`] gives back what was not needed.
///
/// # Errors
/// If there is no such room; [`io::ErrorKind::Unsupported`] where this kind of disk cannot do it.
pub fn set_room_aside(file: &File, from: u64, bytes: u64) -> io::Result<()> {
    let (from, bytes) = (i64::try_from(from), i64::try_from(bytes));
    let (Ok(from), Ok(bytes)) = (from, bytes) else { return Err(io::ErrorKind::FileTooLarge.into()) };
    Ok(fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, from, bytes)?)
}

/// Writes a file whole or not at all, and lastingly.
///
/// # Errors
/// If the disk does not take it.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    put_whole(path, bytes, mode, true)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Writes a file whole or not at all for whoever looks now; after a power cut it may be gone or empty.
///
/// # Errors
/// If the disk does not take it.
pub fn write_for_now(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    put_whole(path, bytes, mode, false)
}

fn put_whole(path: &Path, bytes: &[u8], mode: u32, lasting: bool) -> io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let temporary = PathBuf::from(name);
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
    file.write_all(bytes)?;
    if lasting {
        file.sync_all()?;
    }
    std::fs::rename(&temporary, path)
}

/// Removes a directory and all in it, also what its owner made unreadable. A missing one is no error.
///
/// # Errors
/// If something stays.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path);
            std::fs::remove_dir_all(path)
        }
        other => other,
    }
}

/// Tools such as go's module cache make directories that their own owner cannot empty.
fn make_writable(top: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mut open = vec![top.to_owned()];
    while let Some(dir) = open.pop() {
        let _ = std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700));
        let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
        open.extend(entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()));
    }
}

/// How long ago a file was changed or its inode touched, by the very clock that the kernel stamps files
/// with; nothing for a stamp from the future.
#[must_use]
pub fn changed_ago(of: &std::fs::Metadata) -> Duration {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(now) = nix::time::clock_gettime(nix::time::ClockId::CLOCK_REALTIME_COARSE) else { return Duration::ZERO };
    let changed = Duration::new(of.ctime().unsigned_abs(), u32::try_from(of.ctime_nsec()).unwrap_or_default());
    Duration::from(now).saturating_sub(changed)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn nothing_outside_is_opened() {
        let temp = tempfile::tempdir().unwrap();
        let inside = temp.path().join("in");
        std::fs::create_dir_all(inside.join("a")).unwrap();
        std::fs::write(temp.path().join("secret"), "s").unwrap();
        std::fs::write(inside.join("a/plain"), "p").unwrap();
        std::os::unix::fs::symlink("../secret", inside.join("out")).unwrap();
        std::os::unix::fs::symlink("a/plain", inside.join("near")).unwrap();
        std::os::unix::fs::symlink("..", inside.join("up")).unwrap();
        let dir = open_dir(&inside).unwrap();
        for (path, links, good) in [
            ("a/plain", false, true),
            ("near", false, false),
            ("near", true, true),
            ("out", true, false),
            ("../secret", true, false),
            ("up/secret", true, false),
            ("a", false, false),
            ("/etc/passwd", true, false),
        ] {
            assert_eq!(open_beneath(&dir, Path::new(path), links).is_ok(), good, "{path}");
            if !links && path != "a" {
                assert_eq!(step_by_step(&dir, Path::new(path), OFlag::O_RDONLY).is_ok(), good, "{path}, step by step");
            }
        }
        for path in ["../secret", "up/secret", "out", "/etc/passwd", "a/../../secret", "up"] {
            assert!(step_by_step(&dir, Path::new(path), OFlag::O_RDONLY).is_err(), "{path}, step by step");
        }
        assert!(create_beneath(&dir, Path::new("up/x"), 0o644, None).is_err());
        assert!(!temp.path().join("x").exists());
        // A link in the file's own place is replaced, not followed.
        drop(create_beneath(&dir, Path::new("out"), 0o644, None).unwrap());
        assert_eq!(std::fs::read_to_string(temp.path().join("secret")).unwrap(), "s");
        drop(create_beneath(&dir, Path::new("b/c/d"), 0o644, None).unwrap());
        let mut text = String::new();
        open_beneath(&dir, Path::new("b/c/d"), false).unwrap().read_to_string(&mut text).unwrap();
        let names: Vec<_> = entries(&dir, Path::new("")).unwrap().into_iter().map(|e| (e.path, e.kind)).collect();
        let expected =
            [("a", Kind::Dir), ("b", Kind::Dir), ("near", Kind::Other), ("out", Kind::File), ("up", Kind::Other)];
        assert_eq!(names, expected.map(|(name, kind)| (PathBuf::from(name), kind)));
    }
}
