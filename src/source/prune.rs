//! Mirrors that no job file names any more: found, marked with the time since when that is known, and
//! taken away when they are told to. Which may go is decided by `pipeline::retention`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::mirror::Mirrors;
use crate::model::retention::{MirrorFate, MirrorSeen};
use crate::model::time::Timestamp;
use crate::sys::{files, removal};

/// Within a mirror: since when it is known that no job file names it.
const MARK: &str = "unnamed.shipbell";
/// What has this beginning is being removed.
const DOOMED: &str = ".gone-";
const ENDING: &str = ".git";

impl Mirrors {
    /// Every mirror there is. `borrowed`: those that runs borrow from; `None`: all of them might be.
    ///
    /// # Errors
    /// If their directory cannot be read.
    pub fn found(
        &self,
        named: &BTreeSet<PathBuf>,
        borrowed: Option<&BTreeSet<PathBuf>>,
    ) -> io::Result<Vec<MirrorSeen>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.dir())? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !is_mirror(&name) || !entry.file_type()?.is_dir() {
                continue;
            }
            let path = entry.path();
            found.push(MirrorSeen {
                named: named.contains(&path),
                borrowed: borrowed.is_none_or(|borrowed| borrowed.contains(&path)),
                unnamed_since: mark_of(&path),
                name,
            });
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Does to a mirror what was decided; gives the bytes that the disk gets back.
    ///
    /// # Errors
    /// If it cannot be done.
    pub fn settle(&self, name: &str, fate: MirrorFate, now: Timestamp) -> io::Result<u64> {
        if !is_mirror(name) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no name of a mirror"));
        }
        let path = self.dir().join(name);
        match fate {
            MirrorFate::Stays => Ok(0),
            MirrorFate::Mark => files::write_whole(&path.join(MARK), now.to_string().as_bytes(), 0o644).map(|()| 0),
            MirrorFate::Forget => match fs::remove_file(path.join(MARK)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(0),
            },
            MirrorFate::Goes => {
                // Under this name nobody finds it, whatever comes between; a broken one beside it goes along.
                let dir = files::open_dir(self.dir())?;
                let doomed = format!("{DOOMED}{name}");
                let broken = removal::remove(&dir, format!("{name}.broken").as_ref())?;
                files::rename_beneath(&dir, name.as_ref(), doomed.as_ref())?;
                Ok(broken + removal::remove(&dir, doomed.as_ref())?)
            }
        }
    }

    /// Takes away what an earlier removal left that was cut off.
    ///
    /// # Errors
    /// If something stays.
    pub fn sweep_doomed(&self) -> io::Result<u64> {
        let dir = files::open_dir(self.dir())?;
        let mut bytes = 0;
        for entry in files::entries(&dir, Path::new(""))? {
            if entry.path.to_str().is_some_and(|name| name.starts_with(DOOMED)) {
                bytes += removal::remove(&dir, entry.path.as_os_str())?;
            }
        }
        Ok(bytes)
    }
}

fn is_mirror(name: &str) -> bool {
    let hex = |stem: &str| stem.len() == 32 && stem.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.strip_suffix(ENDING).is_some_and(hex)
}

fn mark_of(mirror: &Path) -> Option<Timestamp> {
    let mut text = String::new();
    fs::File::open(mirror.join(MARK)).ok()?.take(64).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::catalog::Address;
    use crate::model::time::Seconds;
    use crate::source::Mirrors;

    #[test]
    fn a_mirror_is_marked_then_goes_and_others_stay() {
        let temp = tempfile::tempdir().unwrap();
        let mirrors = Mirrors::new(temp.path(), b"key").unwrap();
        let (one, other) = (Address::open("https://example.org/a.git"), Address::open("https://example.org/b.git"));
        let paths: Vec<PathBuf> = [&one, &other].map(|at| mirrors.open(at).unwrap().path().to_owned()).to_vec();
        let named = BTreeSet::from([mirrors.path(&other)]);
        fs::create_dir(temp.path().join("lost+found")).unwrap();
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let of_one = |borrowed| {
            let found = mirrors.found(&named, borrowed).unwrap();
            assert_eq!(found.len(), 2);
            found.into_iter().find(|seen| !seen.named).unwrap()
        };
        let none = BTreeSet::new();
        let seen = of_one(Some(&none));
        assert_eq!((seen.borrowed, seen.unnamed_since), (false, None));
        assert!(of_one(None).borrowed, "nobody can say");
        let one = BTreeSet::from([mirrors.path(&one)]);
        assert!(of_one(Some(&one)).borrowed);
        mirrors.settle(&seen.name, MirrorFate::Mark, now).unwrap();
        assert_eq!(of_one(Some(&none)).unnamed_since, Some(now));
        mirrors.settle(&seen.name, MirrorFate::Forget, now).unwrap();
        assert_eq!(of_one(Some(&none)).unnamed_since, None);
        assert!(mirrors.settle("../../etc", MirrorFate::Goes, now).is_err());
        assert!(mirrors.settle(&seen.name, MirrorFate::Goes, Seconds(1).after(now)).unwrap() > 10_000);
        assert!(mirrors.found(&named, None).unwrap().iter().all(|seen| seen.named));
        assert!(paths.iter().filter(|path| path.exists()).eq(named.iter()));
        // A removal that was cut off after its first half.
        fs::rename(mirrors.path(&other), temp.path().join(".gone-x")).unwrap();
        assert!(mirrors.sweep_doomed().unwrap() > 10_000);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1, "lost+found is nobody's");
    }
}
