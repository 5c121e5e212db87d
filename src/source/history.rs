//! What a mirror knows of its commits: what people are shown of one, and how two stand to each other.
//! All are immutable facts of git; what follows from them is the core's.

use std::collections::{BTreeSet, VecDeque};

use git2::{DiffOptions, Oid, Patch, Sort};

use super::clean;
use super::error::SourceError;
use super::mirror::{Mirror, Mirrors};
use crate::model::catalog::Address;
use crate::model::commit::{Authors, CommitId, CommitInfo, Comparison, Question, Relation};
use crate::model::time::Timestamp;

/// Larger files count as binary: their lines are not counted.
const FILE_MAX: i64 = 1 << 20;
/// Beyond so many bytes of changed files the lines of a comparison are not counted at all.
const COUNTED_MAX: u64 = 64 << 20;

/// The commits of `take` that `leave` does not reach, newest first, and how many there are.
type Side = (Vec<CommitInfo>, u64);

impl Mirror {
    /// What people are shown of a commit.
    ///
    /// # Errors
    /// If it is not here.
    pub fn commit(&self, id: &CommitId) -> Result<CommitInfo, SourceError> {
        Ok(info(id.clone(), &self.find(id)?))
    }

    /// Whether `old` is `new` or one of its ancestors.
    ///
    /// # Errors
    /// If one of them is not here.
    pub fn is_ancestor(&self, old: &CommitId, new: &CommitId) -> Result<bool, SourceError> {
        let (old, new) = (self.find(old)?.id(), self.find(new)?.id());
        Ok(old == new || self.repo.graph_descendant_of(new, old).map_err(|error| self.told(&error))?)
    }

    /// How `head` stands to `base`.
    ///
    /// # Errors
    /// If one of them is not here or the mirror is damaged.
    pub fn compare(&self, base: &CommitId, head: &CommitId) -> Result<Comparison, SourceError> {
        let (old, new) = (self.find(base)?, self.find(head)?);
        let (adds, adds_total) = self.side(new.id(), old.id())?;
        let (takes_back, takes_back_total) = self.side(old.id(), new.id())?;
        let relation = match (base == head, adds_total, takes_back_total) {
            (true, _, _) => Relation::Same,
            (false, _, 0) => Relation::Newer,
            (false, 0, _) => Relation::Older,
            (false, _, _) => Relation::Diverged,
        };
        let (files, insertions, deletions) = self.changed(&old, &new).map_err(|error| self.told(&error))?;
        Ok(Comparison { relation, adds, adds_total, takes_back, takes_back_total, files, insertions, deletions })
    }

    fn side(&self, take: Oid, leave: Oid) -> Result<Side, SourceError> {
        let told = |error: git2::Error| self.told(&error);
        let mut walk = self.repo.revwalk().map_err(told)?;
        walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME).map_err(told)?;
        walk.push(take).map_err(told)?;
        walk.hide(leave).map_err(told)?;
        let (mut shown, mut total) = (Vec::new(), 0);
        for id in walk {
            let id = id.map_err(told)?;
            if shown.len() < Comparison::COMMITS_MAX {
                shown.push(self.info_of(id)?);
            }
            total += 1;
        }
        Ok((shown, total))
    }

    /// Paths and lines that differ. Rename detection is off: of a renamed file both paths differ.
    fn changed(&self, old: &git2::Commit<'_>, new: &git2::Commit<'_>) -> Result<Changed, git2::Error> {
        let mut options = DiffOptions::new();
        options.max_size(FILE_MAX).context_lines(0).include_typechange(true);
        let diff = self.repo.diff_tree_to_tree(Some(&old.tree()?), Some(&new.tree()?), Some(&mut options))?;
        if diff.deltas().len() > Comparison::FILES_MAX {
            return Ok((None, 0, 0));
        }
        let mut files = BTreeSet::new();
        for delta in diff.deltas() {
            for side in [delta.old_file(), delta.new_file()] {
                files.extend(side.path_bytes().map(|path| String::from_utf8_lossy(path).into_owned()));
            }
        }
        let (insertions, deletions) = self.lines(&diff)?.unwrap_or_default();
        Ok((Some(files.into_iter().collect()), insertions, deletions))
    }

    /// Lines added and removed; `None` where counting would read too much.
    fn lines(&self, diff: &git2::Diff<'_>) -> Result<Option<(u64, u64)>, git2::Error> {
        let odb = self.repo.odb()?;
        let size = |id: Oid| odb.read_header(id).map_or(0, |(size, _)| size as u64);
        let (mut read, mut added, mut removed) = (0_u64, 0_u64, 0_u64);
        for (index, delta) in diff.deltas().enumerate() {
            let sizes = size(delta.old_file().id()).saturating_add(size(delta.new_file().id()));
            read = read.saturating_add(sizes.min(2 << 20));
            if read > COUNTED_MAX {
                return Ok(None);
            }
            if let Some(patch) = Patch::from_diff(diff, index)? {
                let (_, plus, minus) = patch.line_stats()?;
                added += plus as u64;
                removed += minus as u64;
            }
        }
        Ok(Some((added, removed)))
    }

    /// First-parent commits between the two, oldest first, without either; where there are more than
    /// `max`, the newest of them. Empty where `base` is no first-parent ancestor of `head`.
    ///
    /// # Errors
    /// If one of them is not here.
    pub fn first_parents(&self, base: &CommitId, head: &CommitId, max: usize) -> Result<Vec<CommitInfo>, SourceError> {
        if !self.is_ancestor(base, head)? {
            return Ok(Vec::new());
        }
        let (base, mut at) = (self.find(base)?.id(), self.find(head)?);
        let mut between = VecDeque::new();
        while at.id() != base {
            let Ok(parent) = at.parent(0) else { return Ok(Vec::new()) };
            if parent.id() != base && between.len() < max {
                between.push_front(parent.id());
            }
            at = parent;
        }
        between.into_iter().map(|id| self.info_of(id)).collect()
    }

    /// Those of `commits` that are not `tip` or its ancestors, one walk for all.
    pub(super) fn not_on(&self, tip: &CommitId, commits: &[CommitId]) -> Result<Vec<CommitId>, SourceError> {
        let told = |error: git2::Error| self.told(&error);
        let mut open: BTreeSet<Oid> = commits.iter().filter_map(|id| Oid::from_str(id.as_str()).ok()).collect();
        let mut walk = self.repo.revwalk().map_err(told)?;
        walk.push(self.find(tip)?.id()).map_err(told)?;
        while !open.is_empty() {
            match walk.next() {
                Some(id) => open.remove(&id.map_err(told)?),
                None => break,
            };
        }
        let gone = |id: &&CommitId| Oid::from_str(id.as_str()).map_or(true, |id| open.contains(&id));
        let mut told_of = BTreeSet::new();
        Ok(commits.iter().filter(gone).filter(|id| told_of.insert(*id)).cloned().collect())
    }

    /// Who wrote `head` and its ancestors that `base` is not and does not reach, newest first; of `head`
    /// alone where there is no `base`, or it is not here any more.
    ///
    /// # Errors
    /// If `head` is not here or the mirror is damaged.
    pub fn authors(&self, base: Option<&CommitId>, head: &CommitId) -> Result<Authors, SourceError> {
        let told = |error: git2::Error| self.told(&error);
        let head = self.find(head)?;
        let base = base.map(|base| self.find(base)).transpose().or_else(|error| match error {
            SourceError::NoCommit { .. } => Ok(None),
            other => Err(other),
        })?;
        let mut authors = Authors::default();
        let Some(base) = base else {
            authors.mails.push(mail_of(&head));
            return Ok(authors);
        };
        let mut walk = self.repo.revwalk().map_err(told)?;
        walk.set_sorting(Sort::TIME).map_err(told)?;
        walk.push(head.id()).map_err(told)?;
        walk.hide(base.id()).map_err(told)?;
        let mut seen = BTreeSet::new();
        for (looked_at, id) in walk.enumerate() {
            if looked_at >= Authors::COMMITS_MAX || authors.mails.len() >= Authors::MAILS_MAX {
                authors.more = true;
                break;
            }
            let mail = mail_of(&self.repo.find_commit(id.map_err(told)?).map_err(told)?);
            if seen.insert(mail.to_ascii_lowercase()) {
                authors.mails.push(mail);
            }
        }
        Ok(authors)
    }

    fn info_of(&self, id: Oid) -> Result<CommitInfo, SourceError> {
        let commit = self.repo.find_commit(id).map_err(|error| self.told(&error))?;
        let text = id.to_string();
        let id = CommitId::new(&text).map_err(|_| SourceError::NoCommit { commit: text })?;
        Ok(info(id, &commit))
    }
}

/// Paths (`None`: too many), lines added, lines removed.
type Changed = (Option<Vec<String>>, u64, u64);

/// The author's address; what cannot be one is left as it can be shown.
fn mail_of(commit: &git2::Commit<'_>) -> String {
    clean::line(commit.author().email_bytes(), clean::TEXT_MAX)
}

fn info(id: CommitId, commit: &git2::Commit<'_>) -> CommitInfo {
    let author = commit.author();
    CommitInfo {
        id,
        subject: clean::subject(commit.message_bytes()),
        author: clean::line(author.name_bytes(), clean::TEXT_MAX),
        author_mail: mail_of(commit),
        authored_at: Timestamp::from_second(author.when().seconds()).unwrap_or(Timestamp::UNIX_EPOCH),
    }
}

/// Answers a question of the core. Blocks.
///
/// # Errors
/// The reason, for people.
pub fn answer(mirrors: &Mirrors, at: &Address, question: &Question) -> Result<Comparison, String> {
    let told = |error: SourceError| error.to_string();
    mirrors.open(at).map_err(told)?.compare(&question.base, &question.head).map_err(told)
}

/// Who wrote the commits of `head` that `base` has not. Blocks.
///
/// # Errors
/// The reason, for people.
pub fn authors(mirrors: &Mirrors, at: &Address, base: Option<&CommitId>, head: &CommitId) -> Result<Authors, String> {
    let told = |error: SourceError| error.to_string();
    mirrors.open(at).map_err(told)?.authors(base, head).map_err(told)
}
