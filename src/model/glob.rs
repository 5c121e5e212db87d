//! Glob lists of branches, tags and paths: `*` stays within a path segment, `**` does not, `!` excludes.

use std::cell::RefCell;
use std::collections::HashMap;

use globset::{GlobBuilder, GlobMatcher};

/// Why a text is no glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a glob: {0}")]
pub struct BadGlob(pub String);

fn compile(glob: &str) -> Result<GlobMatcher, BadGlob> {
    GlobBuilder::new(glob)
        .literal_separator(true)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|error| BadGlob(error.kind().to_string()))
}

/// Globs kept compiled per thread; past that the memory begins anew.
const KEPT: usize = 1000;

thread_local! {
    static COMPILED: RefCell<HashMap<String, Option<GlobMatcher>>> = RefCell::default();
}

/// Compiling takes a thousand times as long as matching, and `paths` match thousands of files.
fn glob_matches(glob: &str, text: &str) -> bool {
    COMPILED.with_borrow_mut(|compiled| {
        if compiled.len() >= KEPT {
            compiled.clear();
        }
        if let Some(matcher) = compiled.get(glob) {
            return matcher.as_ref().is_some_and(|matcher| matcher.is_match(text));
        }
        let matcher = compile(glob).ok();
        let matches = matcher.as_ref().is_some_and(|matcher| matcher.is_match(text));
        compiled.insert(glob.to_owned(), matcher);
        matches
    })
}

/// # Errors
/// If it is no glob. A leading `!` is allowed.
pub fn check(glob: &str) -> Result<(), BadGlob> {
    compile(glob.strip_prefix('!').unwrap_or(glob)).map(|_| ())
}

/// Whether `text` is matched by one of the globs and excluded by none. A list of exclusions alone
/// begins from everything.
#[must_use]
pub fn list_matches(globs: &[String], text: &str) -> bool {
    let matches = |glob: &str| glob == text || glob_matches(glob, text);
    let mut wanted = globs.iter().filter(|glob| !glob.starts_with('!')).peekable();
    let begins = wanted.peek().is_none() || wanted.any(|glob| matches(glob));
    begins && !globs.iter().filter_map(|glob| glob.strip_prefix('!')).any(matches)
}

/// Whether a plain name, so that it can be only one.
#[must_use]
pub fn is_plain(glob: &str) -> bool {
    !glob.starts_with('!') && !glob.contains(['*', '?', '[', '{', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_match_as_documented() {
        let list = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        for (globs, text, expected) in [
            ("main feature/*", "main", true),
            ("main feature/*", "feature/a", true),
            ("main feature/*", "feature/a/b", false),
            ("feature/**", "feature/a/b", true),
            ("* !wip", "wip", false),
            ("!docs/**", "src/a.rs", true),
            ("!docs/**", "docs/a.md", false),
            ("a[b", "a[b", true),
            ("{api,web}/**", "web/a", true),
            ("src", "src/a.rs", false),
        ] {
            assert_eq!(list_matches(&list(globs), text), expected, "{globs} on {text}");
        }
    }
}
