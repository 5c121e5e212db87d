//! Which pull requests are looked at. Hosts keep the ref of every one that there ever was, so those that
//! stood there at first sight are only taken note of, in a file beside the mirror's refs; what changes
//! from then on is followed, the latest hundred. Whether anything runs for them is the core's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::error::SourceError;
use super::remote::Remote;
use crate::model::commit::{CommitId, RefName};

/// The file in the mirror.
const FILE: &str = "shipbell-pulls";
/// Followed at one time; the one that changed longest ago gives way.
const FOLLOWED_MAX: usize = 100;

/// What was seen of them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Known {
    noted: BTreeMap<RefName, CommitId>,
    /// In the order in which they changed.
    followed: Vec<(RefName, CommitId)>,
}

/// Leaves those in the answer that are followed, and remembers the others.
pub(super) fn narrow(mirror: &Path, remote: &mut Remote) -> Result<(), SourceError> {
    let trouble = |error: std::io::Error| SourceError::Mirror {
        path: mirror.display().to_string(),
        why: format!("{FILE}: {error}"),
    };
    let is_pull = |(name, _): &(&RefName, &CommitId)| name.is_pull();
    let now: BTreeMap<RefName, CommitId> =
        remote.refs.iter().filter(is_pull).map(|(name, id)| (name.clone(), id.clone())).collect();
    let path = mirror.join(FILE);
    let before = match fs::read_to_string(&path) {
        Ok(text) => Some(parse(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(trouble(error)),
    };
    let known = turned(before.as_ref(), &now);
    if before.as_ref() != Some(&known) {
        let half = mirror.join(format!("{FILE}.new"));
        fs::write(&half, text(&known)).and_then(|()| fs::rename(&half, &path)).map_err(trouble)?;
    }
    let followed = |name: &RefName| known.followed.iter().any(|(other, _)| other == name);
    remote.refs.retain(|name, _| !name.is_pull() || followed(name));
    Ok(())
}

/// What is known after this answer. `None`: it is the first.
fn turned(before: Option<&Known>, now: &BTreeMap<RefName, CommitId>) -> Known {
    let Some(before) = before else { return Known { noted: now.clone(), followed: Vec::new() } };
    let there = |(name, id): &&(RefName, CommitId)| now.get(name) == Some(id);
    let mut followed: Vec<(RefName, CommitId)> = before.followed.iter().filter(there).cloned().collect();
    let same = |name: &RefName, id: &CommitId| {
        before.noted.get(name) == Some(id) || before.followed.iter().any(|(n, i)| n == name && i == id)
    };
    // New ones that came together are in the order of their numbers.
    let mut changed: Vec<_> = now.iter().filter(|(name, id)| !same(name, id)).collect();
    changed.sort_by_key(|(name, _)| name.pull());
    followed.extend(changed.into_iter().map(|(name, id)| (name.clone(), id.clone())));
    let surplus = followed.len().saturating_sub(FOLLOWED_MAX);
    followed.drain(..surplus);
    let is_noted = |name: &RefName| !followed.iter().any(|(other, _)| other == name);
    let noted = now.iter().filter(|(name, _)| is_noted(name)).map(|(name, id)| (name.clone(), id.clone())).collect();
    Known { noted, followed }
}

fn parse(text: &str) -> Known {
    let mut known = Known::default();
    for line in text.lines() {
        let mut words = line.split(' ');
        let (word, id, name) = (words.next(), words.next(), words.next());
        let (Some(Ok(id)), Some(Ok(name))) = (id.map(CommitId::new), name.map(RefName::new)) else { continue };
        match word {
            Some("noted") => drop(known.noted.insert(name, id)),
            Some("followed") => known.followed.push((name, id)),
            _ => {}
        }
    }
    known
}

fn text(known: &Known) -> String {
    let noted = known.noted.iter().map(|(name, id)| ("noted", name, id));
    let followed = known.followed.iter().map(|(name, id)| ("followed", name, id));
    noted.chain(followed).fold(String::new(), |mut text, (word, name, id)| {
        let _ = writeln!(text, "{word} {id} {name}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> CommitId {
        CommitId::new(&digit.to_string().repeat(40)).unwrap()
    }

    fn remote(pulls: &[(u64, char)]) -> Remote {
        let name = |number: &u64| RefName::new(&format!("refs/pull/{number}/head")).unwrap();
        let mut refs: BTreeMap<_, _> = pulls.iter().map(|(number, digit)| (name(number), id(*digit))).collect();
        refs.insert(RefName::branch("main").unwrap(), id('0'));
        Remote { head: None, refs }
    }

    #[test]
    fn what_stood_there_is_noted_and_what_changes_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let narrowed = |pulls: &[(u64, char)]| -> Vec<u64> {
            let mut remote = remote(pulls);
            narrow(dir.path(), &mut remote).unwrap();
            assert!(remote.refs.contains_key(&RefName::branch("main").unwrap()), "branches stay");
            remote.refs.keys().filter_map(RefName::pull).collect()
        };
        assert_eq!(narrowed(&[(1, 'a'), (2, 'b')]), [0; 0], "they were there before");
        assert_eq!(narrowed(&[(1, 'a'), (2, 'b'), (3, 'c')]), [3], "opened");
        assert_eq!(narrowed(&[(1, 'd'), (2, 'b'), (3, 'c')]), [1, 3], "one of the old ones moved");
        assert_eq!(narrowed(&[(1, 'd'), (2, 'b'), (3, 'c')]), [1, 3], "and again, also after a restart");
        assert_eq!(narrowed(&[(1, 'd'), (2, 'b')]), [1], "gone");
        fs::write(dir.path().join(FILE), "nonsense\nfollowed x y\nnoted\n").unwrap();
        assert_eq!(narrowed(&[(9, 'a')]), [9], "a file that somebody broke");
    }

    #[test]
    fn no_more_than_a_hundred_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        narrow(dir.path(), &mut remote(&[])).unwrap();
        let many: Vec<(u64, char)> = (1..=150).map(|number| (number, 'a')).collect();
        let mut answer = remote(&many);
        narrow(dir.path(), &mut answer).unwrap();
        let followed: Vec<u64> = answer.refs.keys().filter_map(RefName::pull).collect();
        assert_eq!((followed.len(), followed.iter().min()), (100, Some(&51)), "those of the highest numbers");
        let mut moved = many.clone();
        moved[0].1 = 'b';
        let mut answer = remote(&moved);
        narrow(dir.path(), &mut answer).unwrap();
        let followed: std::collections::BTreeSet<u64> = answer.refs.keys().filter_map(RefName::pull).collect();
        assert!(followed.len() == 100 && followed.contains(&1) && !followed.contains(&51), "the oldest gave way");
    }
}
