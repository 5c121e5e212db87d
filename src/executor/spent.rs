//! What an approval, or root's word, was used for, and which requests were taken back: one small file for each
//! run of an environment that wants more than a word, in the executor's own directory. It outlives the run's own
//! files, so that an old order starts nothing a second time, and a no stays one.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::commit::CommitId;
use crate::model::job::Hash;
use crate::model::name::RunRef;
use crate::model::statement::GLASS_FOR;
use crate::model::ticket::StartOrder;
use crate::model::time::{Timestamp, is_ahead};
use crate::sys::files;

/// Below the executor's directory.
const SPENT: &str = "spent";
const GLASS: &str = "broken-glass";
const WITHDRAWN: &str = "withdrawn";
/// No file of ours is larger.
const FILE_MAX: u64 = 1 << 20;
/// Requests of one run that ended without a start; more are not asked.
const ENDED_MAX: usize = 1000;

/// Attempts that were started by it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Spent {
    v: u32,
    attempts: Vec<u32>,
}

/// Root's word that a run may go without votes. It stays where it is as the record of that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Glass {
    pub run: RunRef,
    /// What root was shown: no other goes by it.
    pub commit: Option<CommitId>,
    pub definition: Hash,
    pub reason: String,
}

impl Glass {
    #[must_use]
    pub fn of(order: &StartOrder, reason: &str) -> Self {
        Self {
            run: order.run.clone(),
            commit: order.commit.clone(),
            definition: order.definition.clone(),
            reason: reason.to_owned(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    v: u32,
    at: Timestamp,
    glass: Glass,
}

/// The attempts of a run that were started so far.
///
/// # Errors
/// If the file is there and cannot be read: then nothing may start.
pub fn attempts(dir: &Path, run: &RunRef) -> io::Result<Vec<u32>> {
    Ok(read::<Spent>(&file(dir, SPENT, run))?.unwrap_or_default().attempts)
}

/// Written down before the attempt is begun, lastingly.
///
/// # Errors
/// If the disk does not take it: then nothing may start.
pub fn add(dir: &Path, run: &RunRef, attempt: u32) -> io::Result<()> {
    let mut attempts = attempts(dir, run)?;
    if !attempts.contains(&attempt) {
        attempts.push(attempt);
        write(&file(dir, SPENT, run), &Spent { v: 1, attempts })?;
    }
    Ok(())
}

/// Takes root's word.
///
/// # Errors
/// If the disk does not take it.
pub fn break_glass(dir: &Path, glass: &Glass, now: Timestamp) -> io::Result<()> {
    write(&file(dir, GLASS, &glass.run), &Kept { v: 1, at: now, glass: glass.clone() })
}

/// Root's word for exactly this order, if it was given within the hour.
///
/// # Errors
/// If the file is there and cannot be read.
pub fn glass_for(dir: &Path, order: &StartOrder, now: Timestamp) -> io::Result<Option<Glass>> {
    let kept = read::<Kept>(&file(dir, GLASS, &order.run))?;
    let fits = |kept: &Kept| {
        let same = (&kept.glass.commit, &kept.glass.definition) == (&order.commit, &order.definition);
        same && kept.glass.run == order.run && is_ahead(GLASS_FOR.after(kept.at), GLASS_FOR, now)
    };
    Ok(kept.filter(fits).map(|kept| kept.glass))
}

/// Requests of a run by which nothing starts any more.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Withdrawn {
    v: u32,
    /// By the hash of what people were asked, oldest first.
    ended: Vec<(Hash, String)>,
}

/// Nothing starts by this statement's votes from now on.
///
/// # Errors
/// If the disk does not take it.
pub fn withdraw(dir: &Path, run: &RunRef, statement: &Hash, why: &str) -> io::Result<()> {
    let path = file(dir, WITHDRAWN, run);
    let mut ended = read::<Withdrawn>(&path)?.unwrap_or_default().ended;
    if ended.iter().any(|(known, _)| known == statement) {
        return Ok(());
    }
    ended.push((statement.clone(), why.to_owned()));
    ended.drain(..ended.len().saturating_sub(ENDED_MAX));
    write(&path, &Withdrawn { v: 1, ended })
}

/// Why nothing starts by it, if so.
///
/// # Errors
/// If the file is there and cannot be read: then nothing may start.
pub fn withdrawn(dir: &Path, run: &RunRef, statement: &Hash) -> io::Result<Option<String>> {
    let ended = read::<Withdrawn>(&file(dir, WITHDRAWN, run))?.unwrap_or_default().ended;
    Ok(ended.into_iter().find(|(known, _)| known == statement).map(|(_, why)| why))
}

fn file(dir: &Path, kind: &str, run: &RunRef) -> PathBuf {
    dir.join(kind).join(format!("{}.json", run.id()))
}

pub(super) fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> io::Result<Option<T>> {
    use io::Read as _;
    let mut text = Vec::new();
    match std::fs::File::open(path) {
        Ok(file) => file.take(FILE_MAX).read_to_end(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let read = serde_json::from_slice(&text);
    read.map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display())))
}

pub(super) fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(value).map_err(io::Error::from)?;
    if let Some(dir) = path.parent() {
        files::own_dir(dir, 0o700, None)?;
    }
    files::write_whole(path, &text, 0o600)
}
