//! Taking away a file or a whole tree below a directory: by descriptors, so that no link is followed
//! whatever is put in whose place meanwhile, and counting what the disk gets back.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

/// A tree is not deeper: each level holds a descriptor.
const DEPTH_MAX: usize = 200;
/// What `st_blocks` counts in.
const BLOCK: u64 = 512;

/// Removes what has this name directly below `dir`, a file or a tree; gives the bytes that the disk gets
/// back. What is not there is no error.
///
/// # Errors
/// If something stays.
pub fn remove(dir: &File, name: &OsStr) -> io::Result<u64> {
    walk(dir, name, true, 0)
}

/// What removing it would give back.
///
/// # Errors
/// If it cannot be read.
pub fn measure(dir: &File, name: &OsStr) -> io::Result<u64> {
    walk(dir, name, false, 0)
}

fn walk(dir: &File, name: &OsStr, take: bool, depth: usize) -> io::Result<u64> {
    let found = match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(0),
        other => other?,
    };
    if found.st_mode & nix::libc::S_IFMT != nix::libc::S_IFDIR {
        if take {
            gone(unlinkat(dir, name, UnlinkatFlags::NoRemoveDir))?;
        }
        // Another name still holds it.
        return Ok(if found.st_nlink > 1 { 0 } else { size(&found) });
    }
    if depth >= DEPTH_MAX {
        return Err(Errno::ELOOP.into());
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let inner = match openat(dir, name, flags, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(0),
        other => File::from(other?),
    };
    let mut bytes = size(&found);
    for entry in names(&inner)? {
        bytes += walk(&inner, OsStr::from_bytes(&entry), take, depth + 1)?;
    }
    if take {
        gone(unlinkat(dir, name, UnlinkatFlags::RemoveDir))?;
    }
    Ok(bytes)
}

fn names(dir: &File) -> io::Result<Vec<Vec<u8>>> {
    let mut listing = nix::dir::Dir::from_fd(dir.try_clone()?.into())?;
    let mut found = Vec::new();
    for entry in listing.iter() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            found.push(name);
        }
    }
    Ok(found)
}

/// Somebody else was quicker.
fn gone(result: nix::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn size(found: &FileStat) -> u64 {
    u64::try_from(found.st_blocks).unwrap_or(0) * BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::files::open_dir;

    #[test]
    fn a_tree_goes_and_what_its_links_point_to_stays() {
        let temp = tempfile::tempdir().unwrap();
        let at = |path: &str| temp.path().join(path);
        std::fs::create_dir_all(at("in/doomed/a/b")).unwrap();
        std::fs::create_dir_all(at("out/deep")).unwrap();
        std::fs::write(at("out/deep/kept"), vec![1; 10_000]).unwrap();
        std::fs::write(at("in/doomed/a/b/file"), vec![1; 100_000]).unwrap();
        std::fs::write(at("in/twice"), vec![1; 100_000]).unwrap();
        std::fs::hard_link(at("in/twice"), at("in/doomed/twice")).unwrap();
        std::os::unix::fs::symlink(at("out"), at("in/doomed/link")).unwrap();
        std::os::unix::fs::symlink(at("out"), at("in/whole")).unwrap();
        let dir = open_dir(&at("in")).unwrap();
        let measured = measure(&dir, "doomed".as_ref()).unwrap();
        assert!((100_000..160_000).contains(&measured), "{measured}");
        assert_eq!(remove(&dir, "doomed".as_ref()).unwrap(), measured);
        assert_eq!(remove(&dir, "doomed".as_ref()).unwrap(), 0, "twice is once");
        remove(&dir, "whole".as_ref()).unwrap();
        assert!(!at("in/doomed").exists() && !at("in/whole").exists());
        assert!(at("out/deep/kept").exists(), "behind a link");
        assert!(remove(&dir, "twice".as_ref()).unwrap() >= 100_000, "its last name");
    }

    #[test]
    fn a_tree_without_end_is_an_error_and_no_overflow() {
        let temp = tempfile::tempdir().unwrap();
        let mut deep = temp.path().join("top");
        for _ in 0..DEPTH_MAX + 5 {
            deep.push("d");
        }
        std::fs::create_dir_all(&deep).unwrap();
        let dir = open_dir(temp.path()).unwrap();
        assert!(remove(&dir, "top".as_ref()).is_err());
    }
}
