//! The files that an earlier run left standing in a kept workspace, put in order for another commit: what is not
//! exactly as the commit has it goes, and what is gets a place in the index, so that the checkout writes only
//! the rest. Each file is read and hashed; no index, stamp or attribute that a job could write is believed.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use git2::{Index, IndexEntry, IndexTime, ObjectType, Oid, Repository};

use crate::sys::files;
use crate::sys::places::{self, Found, Places, Stamp};

/// More threads than this only wait for each other.
const THREADS_MAX: usize = 4;
/// For fewer files a thread is not worth its start.
const FILES_PER_THREAD: usize = 200;
/// A larger file is hashed as it is read, and only if its size is right.
const AT_ONCE: u64 = 1 << 20;

/// Whether files stand there at all.
///
/// # Errors
/// If it cannot be read.
pub fn any(work: &Path) -> io::Result<bool> {
    Ok(std::fs::read_dir(work)?.any(|entry| !entry.is_ok_and(|entry| entry.file_name() == ".git")))
}

/// Puts them in order. `wanted`: all that the commit has; `former`: paths of earlier commits that it has not.
/// Says whether anything is still to be written.
///
/// # Errors
/// If something cannot be taken away, or the index not be written.
pub fn settle(
    repository: &Repository,
    work: &Path,
    mut wanted: Vec<IndexEntry>,
    former: &[Vec<u8>],
) -> Result<bool, super::Failure> {
    if wanted.iter().any(|entry| is_gits(&entry.path)) {
        // The checkout refuses such a commit.
        return Ok(true);
    }
    let root = files::open_dir(work)?;
    for path in former.iter().filter(|path| !is_gits(path)) {
        places::take_away(&root, path)?;
    }
    let odb = repository.odb()?;
    let mut seen = look(&root, &wanted);
    for (entry, seen) in wanted.iter_mut().zip(&mut seen) {
        if let Seen::Large(stamp) = *seen {
            let right =
                odb.read_header(entry.id)?.0 as u64 == stamp.size && large(&root, &entry.path) == Some(entry.id);
            *seen = if right { Seen::Same(stamp) } else { Seen::Other };
        }
        match seen {
            Seen::Same(stamp) => sign(entry, stamp),
            _ => places::make_room(&root, &entry.path)?,
        }
    }
    let mut index = Index::open(&repository.path().join("index"))?;
    let mut missing = false;
    for (entry, seen) in wanted.iter().zip(&seen) {
        match seen {
            Seen::Same(_) => index.add(entry)?,
            _ => missing = true,
        }
    }
    index.write()?;
    Ok(missing)
}

/// A path into the repository itself, which a commit made by hand can have.
fn is_gits(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|part| part.eq_ignore_ascii_case(b".git"))
}

/// What a look at one path of the commit came to.
#[derive(Debug, Clone, Copy)]
enum Seen {
    /// It is as the commit has it.
    Same(Stamp),
    /// So large that its size comes first.
    Large(Stamp),
    Other,
}

/// Of each of them, in their order, by several threads.
fn look(root: &File, wanted: &[IndexEntry]) -> Vec<Seen> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = processors.min(THREADS_MAX).min(wanted.len() / FILES_PER_THREAD).max(1);
    let mut shares = wanted.chunks(wanted.len().div_ceil(threads).max(1));
    let own = shares.next().unwrap_or_default();
    std::thread::scope(|scope| {
        let others: Vec<_> = shares
            .map(|share| (share, std::thread::Builder::new().spawn_scoped(scope, move || look_at(root, share))))
            .collect();
        let mut seen = look_at(root, own);
        for (share, thread) in others {
            // Where the job's limit of tasks allows no thread it takes longer.
            let theirs = thread.ok().and_then(|thread| thread.join().ok());
            seen.extend(theirs.unwrap_or_else(|| look_at(root, share)));
        }
        seen
    })
}

fn look_at(root: &File, wanted: &[IndexEntry]) -> Vec<Seen> {
    let (mut places, mut buffer) = (Places::below(root), Vec::new());
    wanted.iter().map(|entry| one(&mut places, entry, &mut buffer).unwrap_or(Seen::Other)).collect()
}

fn one(places: &mut Places<'_>, entry: &IndexEntry, buffer: &mut Vec<u8>) -> io::Result<Seen> {
    let (found, stamp) = match places.look(&entry.path)? {
        Found::File(mut file, stamp) if entry.mode == as_git_has(stamp.mode) && stamp.names == 1 => {
            if stamp.size > AT_ONCE {
                return Ok(Seen::Large(stamp));
            }
            buffer.resize(usize::try_from(stamp.size).unwrap_or_default(), 0);
            file.read_exact(buffer)?;
            (Oid::hash_object(ObjectType::Blob, buffer), stamp)
        }
        Found::Link(leads, stamp) if entry.mode == u32::from(git2::FileMode::Link) => {
            (Oid::hash_object(ObjectType::Blob, &leads), stamp)
        }
        _ => return Ok(Seen::Other),
    };
    Ok(if found.is_ok_and(|id| id == entry.id) { Seen::Same(stamp) } else { Seen::Other })
}

/// How git has a plain file of this mode; nothing that git has where its owner may not read and write it, or where
/// it runs as somebody else.
fn as_git_has(mode: u32) -> u32 {
    match mode & 0o7700 {
        0o600 => git2::FileMode::Blob.into(),
        0o700 => git2::FileMode::BlobExecutable.into(),
        _ => 0,
    }
}

/// The hash of a large file.
fn large(root: &File, path: &[u8]) -> Option<Oid> {
    use std::os::fd::AsRawFd as _;
    let Ok(Found::File(file, _)) = Places::below(root).look(path) else { return None };
    // libgit2 reads it piece by piece and takes only a path.
    Oid::hash_file(ObjectType::Blob, format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}

/// Writes into the entry what git looks at to know the file again.
fn sign(entry: &mut IndexEntry, stamp: &Stamp) {
    // The format keeps the lower half of each.
    let half = |whole: u64| u32::try_from(whole & u64::from(u32::MAX)).unwrap_or_default();
    let time = |(seconds, nanoseconds): (i64, i64)| {
        let low = half(seconds.cast_unsigned()).cast_signed();
        IndexTime::new(low, u32::try_from(nanoseconds).unwrap_or_default())
    };
    entry.ctime = time(stamp.changed);
    entry.mtime = time(stamp.modified);
    entry.dev = half(stamp.device);
    entry.ino = half(stamp.inode);
    (entry.uid, entry.gid) = stamp.owner;
    entry.file_size = half(stamp.size);
}
