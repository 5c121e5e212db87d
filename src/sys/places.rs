//! What stands at each of many paths below a directory that somebody else may write. Asked in the order of paths,
//! each directory is opened once; no link is followed, and nothing that could block is waited for. What the
//! answers mean, and what is taken away because of them, the caller decides.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::sys::removal;

/// What was found.
#[derive(Debug)]
pub enum Found {
    /// A plain file, open for reading.
    File(File, Stamp),
    /// Where the link leads, as its bytes stand.
    Link(Vec<u8>, Stamp),
    /// A directory, a device, what may not be read, or nothing.
    Other,
}

/// What the kernel says about a file or a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub mode: u32,
    pub size: u64,
    /// How many names it has.
    pub names: u64,
    pub owner: (u32, u32),
    /// Seconds and nanoseconds.
    pub changed: (i64, i64),
    pub modified: (i64, i64),
    pub device: u64,
    pub inode: u64,
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let of = file.metadata()?;
        Ok(Self {
            mode: of.mode(),
            size: of.size(),
            names: of.nlink(),
            owner: (of.uid(), of.gid()),
            changed: (of.ctime(), of.ctime_nsec()),
            modified: (of.mtime(), of.mtime_nsec()),
            device: of.dev(),
            inode: of.ino(),
        })
    }

    fn of_link(of: &FileStat) -> Self {
        Self {
            mode: of.st_mode,
            size: of.st_size.unsigned_abs(),
            names: of.st_nlink,
            owner: (of.st_uid, of.st_gid),
            changed: (of.st_ctime, of.st_ctime_nsec),
            modified: (of.st_mtime, of.st_mtime_nsec),
            device: of.st_dev,
            inode: of.st_ino,
        }
    }
}

/// Looks at one path after the other.
#[derive(Debug)]
pub struct Places<'a> {
    root: &'a File,
    /// The directories on the way to the last path, from `root` on.
    way: Vec<(Vec<u8>, File)>,
}

impl<'a> Places<'a> {
    #[must_use]
    pub fn below(root: &'a File) -> Self {
        Self { root, way: Vec::new() }
    }

    /// What stands at this path, its parts divided by `/`.
    ///
    /// # Errors
    /// If the path is none of a file below, or the way to it cannot be gone.
    pub fn look(&mut self, path: &[u8]) -> io::Result<Found> {
        let (dirs, name) = parts(path)?;
        if !self.enter(&dirs)? {
            return Ok(Found::Other);
        }
        let dir = self.way.last().map_or(self.root, |(_, dir)| dir);
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        match openat(dir, name, flags, Mode::empty()) {
            Ok(file) => {
                let file = File::from(file);
                let stamp = Stamp::of(&file)?;
                let plain = stamp.mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits();
                Ok(if plain { Found::File(file, stamp) } else { Found::Other })
            }
            Err(Errno::ELOOP) => {
                let leads = readlinkat(dir, name)?.as_bytes().to_vec();
                Ok(Found::Link(leads, Stamp::of_link(&fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)?)))
            }
            // What may not be read, or is no file at all, is not what was looked for.
            Err(Errno::ENOENT | Errno::EACCES | Errno::EPERM | Errno::ENXIO | Errno::ENOTDIR) => Ok(Found::Other),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the way there leads through directories only.
    fn enter(&mut self, dirs: &[&[u8]]) -> io::Result<bool> {
        let same = self.way.iter().zip(dirs).take_while(|((have, _), want)| have == *want).count();
        self.way.truncate(same);
        for name in dirs.iter().skip(same) {
            let above = self.way.last().map_or(self.root, |(_, dir)| dir);
            let Some(dir) = step(above, name)? else { return Ok(false) };
            self.way.push((name.to_vec(), dir));
        }
        Ok(true)
    }
}

/// Makes room for a file at this path: whatever stands there goes, a whole tree too, and so does what stands in the
/// place of a directory on the way. What a link led to stays.
///
/// # Errors
/// If the path is none of a file below, or something stays.
pub fn make_room(root: &File, path: &[u8]) -> io::Result<()> {
    let (dirs, name) = parts(path)?;
    let mut at = root.try_clone()?;
    for part in dirs {
        match step(&at, part)? {
            Some(dir) => at = dir,
            None => return removal::remove(&at, OsStr::from_bytes(part)).map(drop),
        }
    }
    removal::remove(&at, name).map(drop)
}

/// Takes away the file or link at this path, and the directories that are empty without it. A directory that
/// stands there stays, and so does what is reached through a link only.
///
/// # Errors
/// If the path is none of a file below, or it stays.
pub fn take_away(root: &File, path: &[u8]) -> io::Result<()> {
    let (dirs, name) = parts(path)?;
    let mut way = vec![(root.try_clone()?, name)];
    for part in dirs {
        let Some((above, last)) = way.last_mut() else { break };
        let Some(dir) = step(above, part)? else { return Ok(()) };
        *last = OsStr::from_bytes(part);
        way.push((dir, name));
    }
    let Some((dir, _)) = way.pop() else { return Ok(()) };
    match unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(Errno::EISDIR) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    while let Some((above, name)) = way.pop() {
        // Something else is in it.
        if unlinkat(&above, name, UnlinkatFlags::RemoveDir).is_err() {
            break;
        }
    }
    Ok(())
}

/// A directory directly in another; nothing where there is none of this name.
fn step(dir: impl AsFd, name: &[u8]) -> io::Result<Option<File>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(dir, OsStr::from_bytes(name), flags, Mode::empty()) {
        Ok(dir) => Ok(Some(File::from(dir))),
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The directories on the way, and the name in the last of them.
fn parts(path: &[u8]) -> io::Result<(Vec<&[u8]>, &OsStr)> {
    let mut parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let no_name = |part: &&[u8]| part.is_empty() || *part == b"." || *part == b".." || part.contains(&0);
    match parts.pop() {
        Some(name) if !no_name(&name) && !parts.iter().any(no_name) => Ok((parts, OsStr::from_bytes(name))),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "its path is none of a file below a directory")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::sys::files::open_dir;

    /// `in` with `a/b/file`, `a/near` (a link) and `up`, a link to `out`, in which there is a file too.
    fn place() -> (tempfile::TempDir, File) {
        let temp = tempfile::tempdir().unwrap();
        let at = |path: &str| temp.path().join(path);
        std::fs::create_dir_all(at("in/a/b")).unwrap();
        std::fs::create_dir_all(at("out/b")).unwrap();
        std::fs::write(at("in/a/b/file"), "inside").unwrap();
        std::fs::write(at("out/b/file"), "outside").unwrap();
        symlink("b/file", at("in/a/near")).unwrap();
        symlink("../out", at("in/up")).unwrap();
        let root = open_dir(&at("in")).unwrap();
        (temp, root)
    }

    fn seen(places: &mut Places<'_>, path: &str) -> String {
        match places.look(path.as_bytes()) {
            Ok(Found::File(mut file, stamp)) => {
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                assert_eq!((stamp.size, stamp.names), (text.len() as u64, 1));
                text
            }
            Ok(Found::Link(leads, _)) => format!("-> {}", String::from_utf8(leads).unwrap()),
            Ok(Found::Other) => "other".into(),
            Err(error) => error.kind().to_string(),
        }
    }

    #[test]
    fn each_path_is_looked_at_and_no_link_followed() {
        let (temp, root) = place();
        assert!(std::process::Command::new("mkfifo").arg(temp.path().join("in/pipe")).status().unwrap().success());
        let mut places = Places::below(&root);
        for (path, expected) in [
            ("a/b/file", "inside"),
            ("a/b", "other"),
            ("a/near", "-> b/file"),
            ("a/b/file/deeper", "other"),
            ("pipe", "other"),
            ("up", "-> ../out"),
            ("up/b/file", "other"),
            ("none/at/all", "other"),
            ("a/b/file", "inside"),
            ("../out/b/file", "invalid input parameter"),
            ("a/../../out/b/file", "invalid input parameter"),
            ("/etc/passwd", "invalid input parameter"),
            ("a//near", "invalid input parameter"),
            ("", "invalid input parameter"),
        ] {
            assert_eq!(seen(&mut places, path), expected, "{path}");
        }
    }

    #[test]
    fn room_is_made_and_what_a_link_leads_to_stays() {
        let (temp, root) = place();
        let at = |path: &str| temp.path().join(path);
        for path in ["up/b/file", "a/near", "none", "none/file"] {
            make_room(&root, path.as_bytes()).unwrap();
        }
        assert!(!at("in/up").exists() && at("out/b/file").exists());
        assert!(at("in/a/near").symlink_metadata().is_err() && at("in/a/b/file").exists());
        make_room(&root, b"a/b/file/deeper").unwrap();
        assert!(at("in/a/b").exists() && !at("in/a/b/file").exists(), "the file was in the way");
        make_room(&root, b"a").unwrap();
        assert!(!at("in/a").exists(), "a whole tree was");
        assert!(make_room(&root, b"../out").is_err() && at("out/b/file").exists());
    }

    #[test]
    fn what_is_taken_away_takes_its_empty_directories_along() {
        let (temp, root) = place();
        let at = |path: &str| temp.path().join(path);
        for path in ["up/b/file", "a/b", "none/file"] {
            take_away(&root, path.as_bytes()).unwrap();
        }
        assert!(at("out/b/file").exists() && at("in/up").exists() && at("in/a/b/file").exists());
        take_away(&root, b"a/b/file").unwrap();
        assert!(!at("in/a/b").exists() && at("in/a").exists(), "a link is still in it");
        take_away(&root, b"a/near").unwrap();
        assert!(!at("in/a").exists() && at("in/up").exists());
        take_away(&root, b"up").unwrap();
        assert!(at("in").exists() && at("out/b/file").exists());
        assert!(take_away(&root, b"../out/b/file").is_err() && at("out/b/file").exists());
    }
}
