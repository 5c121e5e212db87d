//! Commits, refs and what is known of them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::name::PipelineName;
use crate::model::time::Timestamp;

/// Why a text is no commit or ref.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCommit {
    #[error("a commit is 40 or 64 lower-case hex digits")]
    Commit,
    #[error("a ref is refs/heads/NAME, refs/tags/NAME by the rules of git check-ref-format, or refs/pull/N/head")]
    Ref,
}

/// A full commit hash (SHA-1 or SHA-256), lower-case hex.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(Arc<str>);

impl CommitId {
    /// # Errors
    /// If the text is not 40 or 64 lower-case hex digits.
    pub fn new(text: &str) -> Result<Self, BadCommit> {
        let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        if (text.len() == 40 || text.len() == 64) && text.bytes().all(hex) {
            Ok(Self(text.into()))
        } else {
            Err(BadCommit::Commit)
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Seven digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..7).unwrap_or(&self.0)
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.short())
    }
}

/// A branch, tag or pull request by its full name: `refs/heads/main`, `refs/tags/v1`, `refs/pull/7/head`
/// (`refs/merge-requests/7/head` on GitLab).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RefName(Arc<str>);

impl RefName {
    /// # Errors
    /// If the text is not a branch or tag that git itself would accept, or a pull request.
    pub fn new(text: &str) -> Result<Self, BadCommit> {
        if pull_number(text).is_some() {
            return Ok(Self(text.into()));
        }
        let short =
            text.strip_prefix("refs/heads/").or_else(|| text.strip_prefix("refs/tags/")).ok_or(BadCommit::Ref)?;
        let bad_byte = |c: u8| c <= b' ' || c == 0x7f || b"~^:?*[\\".contains(&c);
        let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
        let bad = text.len() > 1024
            || short.starts_with('-')
            || short.ends_with('.')
            || short.contains("..")
            || short.contains("@{")
            || short.bytes().any(bad_byte)
            || short.split('/').any(bad_part);
        if bad { Err(BadCommit::Ref) } else { Ok(Self(text.into())) }
    }

    /// # Errors
    /// If `name` cannot be a branch.
    pub fn branch(name: &str) -> Result<Self, BadCommit> {
        Self::new(&format!("refs/heads/{name}"))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn is_tag(&self) -> bool {
        self.0.starts_with("refs/tags/")
    }

    /// What somebody else asks to be taken in: anyone may have written it.
    #[must_use]
    pub fn is_pull(&self) -> bool {
        pull_number(&self.0).is_some()
    }

    /// The number of a pull request.
    #[must_use]
    pub fn pull(&self) -> Option<u64> {
        pull_number(&self.0)
    }

    /// `main` or `v1`; of a pull request `pull/7/head`.
    #[must_use]
    pub fn short(&self) -> &str {
        let starts = ["refs/heads/", "refs/tags/", "refs/"];
        starts.iter().find_map(|start| self.0.strip_prefix(start)).unwrap_or(&self.0)
    }
}

/// The number in `refs/pull/N/head` and `refs/merge-requests/N/head`, as hosts write it.
fn pull_number(text: &str) -> Option<u64> {
    let rest = text.strip_prefix("refs/pull/").or_else(|| text.strip_prefix("refs/merge-requests/"))?;
    let digits = rest.strip_suffix("/head")?;
    let plain = digits.len() <= 15 && !digits.starts_with('0') && digits.bytes().all(|c| c.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

macro_rules! by_text {
    ($name:ident) => {
        impl FromStr for $name {
            type Err = BadCommit;
            fn from_str(text: &str) -> Result<Self, BadCommit> {
                Self::new(text)
            }
        }
        impl TryFrom<String> for $name {
            type Error = BadCommit;
            fn try_from(text: String) -> Result<Self, BadCommit> {
                Self::new(&text)
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0.to_string()
            }
        }
    };
}
by_text!(CommitId);
by_text!(RefName);

/// What people are shown of a commit. Texts come from strangers: escape them at the edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitInfo {
    pub id: CommitId,
    /// First line of the message; invalid UTF-8 replaced; at most 200 characters.
    pub subject: String,
    pub author: String,
    /// The author's mail address as git has it; compared with `[person] git`.
    pub author_mail: String,
    pub authored_at: Timestamp,
}

/// A (branch or tag, number, commit): a new one whenever the head moves, also back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    pub pipeline: PipelineName,
    pub git_ref: RefName,
    /// Counts up per pipeline, from 1: a higher number was seen later, on whatever ref.
    pub number: u64,
    pub commit: CommitInfo,
    pub seen_at: Timestamp,
    /// False for what was only taken note of: glob-matched branches and tags that stood there when
    /// the pipeline first saw its repository.
    pub runs: bool,
    /// A job of this head has started: it is no longer coalesced into a newer one.
    pub begun: bool,
    /// A newer head took its place before any of its jobs started.
    pub passed_over: bool,
    /// Whether the commit is still on the branch (false after a force-push took it off).
    pub on_branch: bool,
    /// Why nothing runs for it: nobody who may has signed it.
    #[serde(default)]
    pub refused: Option<String>,
}

/// How `head` stands to `base`, as git says, and what lies between: immutable facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    pub relation: Relation,
    /// Commits in `head` that are not in `base`, newest first, at most [`Comparison::COMMITS_MAX`].
    pub adds: Vec<CommitInfo>,
    pub adds_total: u64,
    /// Commits in `base` that are not in `head`: what a deployment of `head` takes back.
    pub takes_back: Vec<CommitInfo>,
    pub takes_back_total: u64,
    /// Paths that differ between the two trees; `None` where there are more than
    /// [`Comparison::FILES_MAX`] (then every path filter applies).
    pub files: Option<Vec<String>>,
    pub insertions: u64,
    pub deletions: u64,
}

impl Comparison {
    pub const COMMITS_MAX: usize = 200;
    pub const FILES_MAX: usize = 10_000;
}

crate::words! {
    /// `head` seen from `base`.
    pub enum Relation {
        Same => "same",
        /// `base` is an ancestor of `head`: going there is going forward.
        Newer => "newer",
        /// `head` is an ancestor of `base`.
        Older => "older",
        /// Neither: a rewritten branch or a hotfix from another one.
        Diverged => "diverged",
    }
}

/// Who wrote the commits that one commit has and another has not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Authors {
    /// Mail addresses as git has them, of the newest commit first, each once.
    pub mails: Vec<String>,
    /// There are more, which were not looked at.
    pub more: bool,
}

impl Authors {
    /// Commits looked at.
    pub const COMMITS_MAX: usize = 10_000;
    /// Addresses told of.
    pub const MAILS_MAX: usize = 1_000;
}

/// A question about two commits of a pipeline's repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Question {
    pub pipeline: PipelineName,
    pub base: CommitId,
    pub head: CommitId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_follow_git_check_ref_format() {
        for good in ["refs/heads/main", "refs/heads/feature/a", "refs/tags/v1.0"] {
            assert!(RefName::new(good).is_ok(), "{good}");
        }
        for (name, number, short) in [
            ("refs/pull/7/head", Some(7), "pull/7/head"),
            ("refs/merge-requests/120/head", Some(120), "merge-requests/120/head"),
            ("refs/heads/pull/7/head", None, "pull/7/head"),
        ] {
            let name = RefName::new(name).unwrap();
            assert_eq!(
                (name.pull(), name.is_pull(), name.is_tag(), name.short()),
                (number, number.is_some(), false, short)
            );
        }
        for bad in [
            "main",
            "refs/heads/",
            "refs/heads/-x",
            "refs/heads/a..b",
            "refs/heads/a b",
            "refs/heads/a.lock",
            "refs/heads/a//b",
            "refs/heads/.a",
            "refs/heads/a.",
            "refs/heads/a@{1}",
            "refs/remotes/x",
            "refs/heads/a\u{7f}",
            "refs/heads/a:b",
            "refs/heads/a\nb",
            "refs/pull/7/merge",
            "refs/pull/07/head",
            "refs/pull/+7/head",
            "refs/pull//head",
            "refs/pull/7/head/x",
            "refs/pull/7/../../heads/main/head",
            "refs/merge-requests/x/head",
        ] {
            assert!(RefName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_commit_is_full_and_lower_case() {
        assert!(CommitId::new(&"a".repeat(40)).is_ok());
        assert!(CommitId::new(&"a".repeat(64)).is_ok());
        for bad in ["", "abc", &"A".repeat(40), &"g".repeat(40), &"a".repeat(41)] {
            assert!(CommitId::new(bad).is_err(), "{bad}");
        }
    }
}
