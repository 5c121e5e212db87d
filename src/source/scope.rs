//! Which refs of a repository anybody here wants to know: beginnings of their names, as a server takes
//! them. A server may say more; what it does not say of a wanted name is not there.

use std::collections::BTreeSet;

use crate::model::catalog::Pipeline;
use crate::model::commit::RefName;
use crate::model::job::RefFilter;

const HEADS: &str = "refs/heads/";
const TAGS: &str = "refs/tags/";
/// Pull requests, as GitHub and Gitea have them, and merge requests of GitLab.
const PULLS: [&str; 2] = ["refs/pull/", "refs/merge-requests/"];

/// More beginnings than this are asked as one.
const PREFIXES_MAX: usize = 64;

/// See the file's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Beginnings of full names, none of them the beginning of another.
    prefixes: BTreeSet<String>,
}

impl Default for Scope {
    /// All branches and tags.
    fn default() -> Self {
        Self { prefixes: [HEADS.to_owned(), TAGS.to_owned()].into() }
    }
}

impl Scope {
    /// What these pipelines follow.
    #[must_use]
    pub fn of<'a>(pipelines: impl IntoIterator<Item = &'a Pipeline>) -> Self {
        let (mut prefixes, mut pulls) = (BTreeSet::new(), false);
        for pipeline in pipelines {
            prefixes.extend(pipeline.filters().flat_map(of_filter));
            pulls |= pipeline.takes_pulls();
        }
        if pulls {
            prefixes.extend(PULLS.map(str::to_owned));
        }
        Self::reduced(prefixes)
    }

    /// What these filters let in.
    pub fn of_filters<'a>(filters: impl IntoIterator<Item = &'a RefFilter>) -> Self {
        Self::reduced(filters.into_iter().flat_map(of_filter).collect())
    }

    fn reduced(prefixes: BTreeSet<String>) -> Self {
        let mut scope = Self { prefixes };
        scope.reduce();
        scope
    }

    /// The same, and all branches: to say what there is where a name is missing.
    #[must_use]
    pub fn with_all_branches(&self) -> Self {
        self.with(HEADS)
    }

    /// The same, and all tags: a fetch takes those of its history along.
    #[must_use]
    pub fn with_all_tags(&self) -> Self {
        self.with(TAGS)
    }

    fn with(&self, prefix: &str) -> Self {
        let mut scope = self.clone();
        scope.prefixes.insert(prefix.to_owned());
        scope.reduce();
        scope
    }

    fn reduce(&mut self) {
        let all = self.prefixes.clone();
        self.prefixes.retain(|prefix| !all.iter().any(|other| other != prefix && prefix.starts_with(other.as_str())));
        if self.prefixes.len() > PREFIXES_MAX {
            let pulls = all.into_iter().filter(|prefix| PULLS.contains(&prefix.as_str()));
            self.prefixes = Self::default().prefixes.into_iter().chain(pulls).collect();
        }
    }

    /// As a server is asked: HEAD always, which says what it points to.
    pub fn prefixes(&self) -> impl Iterator<Item = &str> {
        ["HEAD"].into_iter().chain(self.prefixes.iter().map(String::as_str))
    }

    /// Whether the absence of this ref from an answer means that it is not there.
    #[must_use]
    pub fn covers(&self, name: &RefName) -> bool {
        self.prefixes.iter().any(|prefix| name.as_str().starts_with(prefix.as_str()))
    }

    #[must_use]
    pub fn has_pulls(&self) -> bool {
        PULLS.iter().any(|pulls| self.prefixes.contains(*pulls))
    }

    #[must_use]
    pub fn has_all_branches(&self) -> bool {
        self.prefixes.contains(HEADS)
    }

    #[must_use]
    pub fn has_all_tags(&self) -> bool {
        self.prefixes.contains(TAGS)
    }
}

fn of_filter(filter: &RefFilter) -> impl Iterator<Item = String> + '_ {
    let branches = filter.branches.iter().flatten();
    let wanted = |globs: &mut dyn Iterator<Item = &String>, root: &str| -> Vec<String> {
        let all: Vec<&String> = globs.collect();
        let wanted: Vec<&&String> = all.iter().filter(|glob| !glob.starts_with('!')).collect();
        match (all.is_empty(), wanted.is_empty()) {
            (true, _) => Vec::new(),
            // Exclusions alone begin from everything.
            (false, true) => vec![root.to_owned()],
            (false, false) => wanted.iter().map(|glob| format!("{root}{}", beginning(glob))).collect(),
        }
    };
    let branches = wanted(&mut branches.into_iter(), HEADS);
    branches.into_iter().chain(wanted(&mut filter.tags.iter(), TAGS))
}

/// A glob up to its first sign that is not meant literally.
fn beginning(glob: &str) -> &str {
    glob.find(['*', '?', '[', '{', '\\']).and_then(|at| glob.get(..at)).unwrap_or(glob)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(branches: Option<&[&str]>, tags: &[&str]) -> Vec<String> {
        let list = |globs: &[&str]| globs.iter().map(ToString::to_string).collect::<Vec<_>>();
        let filter = RefFilter { branches: branches.map(list), tags: list(tags) };
        let mut scope = Scope { prefixes: of_filter(&filter).collect() };
        scope.reduce();
        scope.prefixes.into_iter().collect()
    }

    #[test]
    fn globs_are_asked_by_their_beginnings() {
        assert_eq!(scope(None, &[]), [""; 0]);
        assert_eq!(
            scope(Some(&["main", "feature/*", "!feature/x"]), &["v*"]),
            ["refs/heads/feature/", "refs/heads/main", "refs/tags/v"]
        );
        assert_eq!(scope(Some(&["**", "main"]), &[]), ["refs/heads/"]);
        assert_eq!(scope(Some(&["!wip"]), &[]), ["refs/heads/"]);
        assert_eq!(
            scope(Some(&["rel-[0-9]", "a{b,c}", "d?"]), &[]),
            ["refs/heads/a", "refs/heads/d", "refs/heads/rel-"]
        );
        let many: Vec<String> = (0..100).map(|n| format!("b{n:03}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(scope(Some(&many), &[]), ["refs/heads/", "refs/tags/"]);
    }

    #[test]
    fn what_was_not_asked_says_nothing() {
        let scope = Scope { prefixes: ["refs/heads/main".to_owned()].into() };
        let name = |text: &str| RefName::new(text).unwrap();
        assert!(scope.covers(&name("refs/heads/main")) && !scope.covers(&name("refs/heads/dev")));
        assert!(!scope.covers(&name("refs/tags/main")) && scope.with_all_tags().covers(&name("refs/tags/main")));
        let asked: Vec<String> = scope.with_all_branches().prefixes().map(String::from).collect();
        assert_eq!(asked, ["HEAD", "refs/heads/"]);
    }
}
