//! The packs of a mirror, rolled into one now and then: each fetch leaves one, and whoever looks for an
//! object looks into them one after the other. What is in a pack that was rolled is in a younger one as
//! well, and the younger is looked into first; the old ones are taken away only later, when nobody borrows
//! from the mirror who might have begun before there was the new one. No object is ever left out.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::child::{self, Local};
use super::mirror::Mirrors;
use crate::model::time::{Seconds, Timestamp};
use crate::sys::files;

/// Fewer than these are left alone.
const MANY: usize = 50;
/// Within a mirror: the new pack, since when it is there, and what was rolled into it.
const NOTE: &str = "rolled.shipbell";
const NOTE_MAX: u64 = 1 << 20;
/// How long old packs stay at least: whoever asked for the list of packs just before has long gone on.
const STAY: Seconds = Seconds(3600);
/// Git gets no longer for it: a pack of the size that is fetched at once takes minutes.
const LONG: Duration = Duration::from_secs(3600);
/// What belongs to a pack, the index first: without it nobody looks into the rest.
const PARTS: [&str; 5] = ["idx", "rev", "bitmap", "mtimes", "pack"];

impl Mirrors {
    /// Rolls the packs of a mirror, or takes away what was rolled before; gives the bytes that the disk gets
    /// back.
    ///
    /// # Errors
    /// If git fails or the disk refuses; the mirror is whole in any case.
    pub async fn tend(&self, name: &str, borrowed: bool, now: Timestamp) -> io::Result<u64> {
        let mirror = self.dir().join(name);
        let place = mirror.clone();
        // The disk may take its time to free what was large.
        let looked = tokio::task::spawn_blocking(move || look(&place, borrowed, now)).await;
        match looked.map_err(io::Error::other)?? {
            Next::Nothing { freed } => Ok(freed),
            Next::Roll(old) => roll(&mirror, old, now).await.map(|()| 0),
        }
    }
}

/// What is left to do after a look.
enum Next {
    Nothing { freed: u64 },
    Roll(Vec<String>),
}

fn look(mirror: &Path, borrowed: bool, now: Timestamp) -> io::Result<Next> {
    sweep(&packs_of(mirror));
    let freed = match Note::read(mirror)? {
        // From the future: of a clock that was put back since.
        Some(note) if note.at > now => Note { at: now, ..note }.write(mirror).map(|()| 0)?,
        Some(note) if !borrowed && STAY.after(note.at) <= now => note.take_away(mirror)?,
        Some(_) => 0,
        None => return Ok(Next::Roll(worth_rolling(&packs(&packs_of(mirror))?))),
    };
    Ok(Next::Nothing { freed })
}

/// Half a pack, which a git that was ended at its deadline leaves.
fn sweep(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let left = entry.file_name().to_string_lossy().starts_with("tmp_");
        if left && entry.metadata().is_ok_and(|data| files::changed_ago(&data) > 2 * LONG) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Note {
    at: Timestamp,
    new: String,
    old: Vec<String>,
}

impl Note {
    fn read(mirror: &Path) -> io::Result<Option<Self>> {
        let mut text = String::new();
        match fs::File::open(mirror.join(NOTE)) {
            Ok(file) => file.take(NOTE_MAX).read_to_string(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut lines = text.lines();
        let at = lines.next().and_then(|line| line.parse().ok());
        let mut names = lines.filter(|line| is_stem(line)).map(str::to_owned);
        Ok(at.zip(names.next()).map(|(at, new)| Self { at, new, old: names.collect() }))
    }

    fn write(&self, mirror: &Path) -> io::Result<()> {
        let names = std::iter::once(&self.new).chain(&self.old);
        let text: String = names.fold(format!("{}\n", self.at), |text, name| format!("{text}{name}\n"));
        files::write_whole(&mirror.join(NOTE), text.as_bytes(), 0o640)
    }

    fn take_away(self, mirror: &Path) -> io::Result<u64> {
        let packs = packs_of(mirror);
        let mut bytes = 0;
        // Without it the old ones are all there is.
        if packs.join(format!("{}.idx", self.new)).exists() && packs.join(format!("{}.pack", self.new)).exists() {
            for path in self.old.iter().flat_map(|old| PARTS.map(|part| packs.join(format!("{old}.{part}")))) {
                let length = fs::metadata(&path).map_or(0, |data| data.len());
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => bytes += length,
                }
            }
        }
        fs::remove_file(mirror.join(NOTE))?;
        Ok(bytes)
    }
}

fn packs_of(mirror: &Path) -> PathBuf {
    mirror.join("objects").join("pack")
}

fn is_stem(name: &str) -> bool {
    name.strip_prefix("pack-").is_some_and(|hash| hash.len() >= 40 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whole packs and their sizes, the smallest first.
fn packs(dir: &Path) -> io::Result<Vec<(u64, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let (entry, path) = entry.map(|entry| (entry.metadata(), entry.path()))?;
        let stem = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| is_stem(stem));
        let whole = path.extension().is_some_and(|part| part == "pack") && path.with_extension("idx").exists();
        if let (Some(stem), true) = (stem, whole) {
            found.push((entry?.len(), stem.to_owned()));
        }
    }
    found.sort();
    Ok(found)
}

/// Those worth rolling: all but the large ones, of which each is more than twice what is below it.
fn worth_rolling(packs: &[(u64, String)]) -> Vec<String> {
    let mut below: u64 = packs.iter().map(|(size, _)| size).sum();
    let mut count = packs.len();
    for (size, _) in packs.iter().rev() {
        below = below.saturating_sub(*size);
        if *size <= below.saturating_mul(2) {
            break;
        }
        count -= 1;
    }
    if count < MANY { Vec::new() } else { packs.iter().take(count).map(|(_, stem)| stem.clone()).collect() }
}

async fn roll(mirror: &Path, mut old: Vec<String>, now: Timestamp) -> io::Result<()> {
    if old.is_empty() {
        return Ok(());
    }
    let dir = packs_of(mirror);
    let list: String = old.iter().fold(String::new(), |list, stem| format!("{list}{stem}.pack\n"));
    let words = ["pack-objects", "--stdin-packs", "--delta-base-offset", "--quiet"].map(OsString::from);
    let args = words.into_iter().chain([dir.join("pack").into()]).collect();
    let said = child::local(Local { mirror, args, input: list.into(), deadline: LONG }).await?;
    let new = format!("pack-{said}");
    // The same objects in the same order: it is one of them already.
    old.retain(|stem| *stem != new);
    if !is_stem(&new) || !dir.join(format!("{new}.idx")).exists() {
        return Err(io::Error::other("git pack-objects made no pack"));
    }
    Note { at: now, new, old }.write(mirror)?;
    // The commits that were seen are refs as well, one a file.
    let args = ["pack-refs", "--all"].map(OsString::from).into();
    child::local(Local { mirror, args, input: Vec::new(), deadline: LONG }).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::catalog::Address;

    fn sizes(sizes: &[u64]) -> usize {
        let packs: Vec<(u64, String)> = sizes.iter().map(|size| (*size, format!("{size}"))).collect();
        worth_rolling(&packs).len()
    }

    #[test]
    fn the_large_ones_stay_as_they_are() {
        assert_eq!(sizes(&[]), 0);
        assert_eq!(sizes(&[1; 49]), 0);
        assert_eq!(sizes(&[1; 50]), 50);
        let mut packs = [1; 60].to_vec();
        packs.push(1000);
        assert_eq!(sizes(&packs), 60);
        packs.push(100_000);
        assert_eq!(sizes(&packs), 60);
        packs.pop();
        packs.push(1500);
        assert_eq!(sizes(&packs), 62, "two alike are one");
    }

    #[tokio::test]
    async fn a_reader_of_before_finds_everything_until_nobody_is_left() {
        let temp = tempfile::tempdir().unwrap();
        let mirrors = Mirrors::new(temp.path(), b"key").unwrap();
        let path = mirrors.open(&Address::open("https://example.org/a.git")).unwrap().path().to_owned();
        let name = path.file_name().unwrap().to_str().unwrap();
        let repo = git2::Repository::open_bare(&path).unwrap();
        let mut blobs = Vec::new();
        for n in 0..60 {
            let blob = repo.blob(format!("{n} {}", "x".repeat(200)).as_bytes()).unwrap();
            let mut builder = repo.packbuilder().unwrap();
            builder.insert_object(blob, None).unwrap();
            builder.write(&packs_of(&path), 0).unwrap();
            fs::remove_dir_all(path.join("objects").join(blob.to_string().split_at(2).0)).unwrap();
            blobs.push(blob);
        }
        let count = || packs(&packs_of(&path)).unwrap().len();
        assert_eq!(count(), 60);
        // Has the list of packs, and none of them open.
        let before = git2::Repository::open_bare(&path).unwrap();
        assert!(before.find_blob(blobs[0]).is_ok());
        let at: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        assert_eq!(mirrors.tend(name, true, at).await.unwrap(), 0);
        assert_eq!(count(), 61);
        let later = Seconds(7200).after(at);
        let after = git2::Repository::open_bare(&path).unwrap();
        assert!(after.find_blob(blobs[0]).is_ok());
        // Somebody borrows; then it is too early; then the old ones go, once.
        assert_eq!(mirrors.tend(name, true, later).await.unwrap(), 0);
        assert_eq!(mirrors.tend(name, false, Seconds(60).after(at)).await.unwrap(), 0);
        assert!(blobs.iter().all(|blob| before.find_blob(*blob).is_ok()));
        assert!(mirrors.tend(name, false, later).await.unwrap() > 1000);
        assert_eq!(count(), 1);
        assert!(blobs.iter().all(|blob| after.find_blob(*blob).is_ok()), "who began between the two");
        let fresh = git2::Repository::open_bare(&path).unwrap();
        assert!(blobs.iter().all(|blob| fresh.find_blob(*blob).is_ok()));
        assert_eq!(mirrors.tend(name, false, later).await.unwrap(), 0, "one is not many");
        assert!(Note::read(&path).unwrap().is_none());
    }

    #[tokio::test]
    async fn a_git_that_does_not_end_is_ended() {
        let temp = tempfile::tempdir().unwrap();
        git2::Repository::init_bare(temp.path()).unwrap();
        let alias = "alias.wait=!sleep 600";
        let args: Vec<OsString> = ["-c", alias, "wait"].map(OsString::from).into();
        let begin = std::time::Instant::now();
        let call = Local { mirror: temp.path(), args, input: Vec::new(), deadline: Duration::from_millis(300) };
        let said = child::local(call).await.unwrap_err().to_string();
        assert!(said.contains("was not over after"), "{said}");
        assert!(begin.elapsed() < Duration::from_secs(10), "and what it had started");
    }
}
