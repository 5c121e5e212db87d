//! A repository made from nothing, for `shipbell demo`: commits with given files on a branch of a bare
//! repository, as if somebody had pushed them. No git identity and no configuration of the host is used.

use std::path::Path;

use git2::{Repository, RepositoryInitOptions, Signature, Time};

use super::error::SourceError;
use super::mirror::trouble_of_git;
use crate::model::commit::{CommitId, RefName};
use crate::model::time::Timestamp;

/// Who commits.
#[derive(Debug, Clone, Copy)]
pub struct Author<'a> {
    pub name: &'a str,
    pub mail: &'a str,
}

/// A bare repository that is written to.
pub struct Seed {
    repo: Repository,
}

impl Seed {
    /// A new, empty repository whose HEAD is `main`.
    ///
    /// # Errors
    /// If it cannot be made there.
    pub fn new(dir: &Path) -> Result<Self, SourceError> {
        let mut options = RepositoryInitOptions::new();
        options.bare(true).initial_head("main").external_template(false).mkpath(true).no_reinit(true);
        let repo = Repository::init_opts(dir, &options).map_err(|error| trouble_of_git(dir, &error))?;
        Ok(Self { repo })
    }

    /// A commit on top of `branch` that has exactly these files (path and text, at the top level).
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn commit(
        &self,
        branch: &RefName,
        message: &str,
        author: Author<'_>,
        at: Timestamp,
        files: &[(&str, &str)],
    ) -> Result<CommitId, SourceError> {
        let id = self.write(branch, message, author, at, files);
        let id = id.map_err(|error| trouble_of_git(self.repo.path(), &error))?;
        CommitId::new(&id.to_string()).map_err(|error| SourceError::Start(error.to_string()))
    }

    fn write(
        &self,
        branch: &RefName,
        message: &str,
        author: Author<'_>,
        at: Timestamp,
        files: &[(&str, &str)],
    ) -> Result<git2::Oid, git2::Error> {
        let mut tree = self.repo.treebuilder(None)?;
        for (path, text) in files {
            tree.insert(path, self.repo.blob(text.as_bytes())?, 0o100_644)?;
        }
        let tree = self.repo.find_tree(tree.write()?)?;
        let who = Signature::new(author.name, author.mail, &Time::new(at.as_second(), 0))?;
        let tip = self.repo.refname_to_id(branch.as_str()).ok();
        let parent = tip.map(|tip| self.repo.find_commit(tip)).transpose()?;
        let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
        self.repo.commit(Some(branch.as_str()), &who, &who, message, &tree, &parents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_stand_on_each_other_and_have_exactly_their_files() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("shop.git");
        let seed = Seed::new(&dir).unwrap();
        let main = RefName::branch("main").unwrap();
        let ann = Author { name: "Ann", mail: "ann@example.org" };
        let at = "2026-11-22T10:00:00Z".parse().unwrap();
        let first = seed.commit(&main, "first", ann, at, &[("a", "1"), ("b", "2")]).unwrap();
        let second = seed.commit(&main, "second", ann, at, &[("a", "3")]).unwrap();
        let repo = Repository::open_bare(&dir).unwrap();
        assert_eq!(repo.head().unwrap().name().unwrap(), main.as_str());
        let head = repo.head().unwrap().peel_to_commit().unwrap();
        assert_eq!(
            (head.id().to_string(), head.parent_id(0).unwrap().to_string()),
            (second.to_string(), first.to_string())
        );
        assert_eq!(head.tree().unwrap().len(), 1);
        assert!(Seed::new(&dir).is_err(), "what is there is left alone");
    }
}
