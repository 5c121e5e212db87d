//! The URL of a repository as whoever asks it needs it: which ones pass is `model::url`'s, here a refusal
//! becomes an error of a source, and a URL is made fit to be shown.

use super::SourceError;
use super::clean;
pub(super) use crate::model::url::{RepoUrl as Origin, Way};

/// Whether a URL is asked at all.
///
/// # Errors
/// What is wrong with it and what is allowed.
pub fn check(url: &str) -> Result<(), SourceError> {
    parse(url).map(drop)
}

/// # Errors
/// [`SourceError::BadUrl`]: what is wrong and what is allowed.
pub(super) fn parse(url: &str) -> Result<Origin, SourceError> {
    Origin::parse(url).map_err(|bad| SourceError::BadUrl {
        url: if bad.secret { HIDDEN.to_owned() } else { shown(url) },
        why: format!("{}; {}", clean::line(bad.headline.as_bytes(), clean::TEXT_MAX), bad.label),
    })
}

/// In place of a URL in which a password may be.
const HIDDEN: &str = "(not shown)";

/// What somebody typed as a URL, as it may be repeated.
#[must_use]
pub fn repeated(url: &str) -> String {
    match Origin::parse(url) {
        Err(bad) if bad.secret => HIDDEN.to_owned(),
        _ => shown(url),
    }
}

/// A URL as it may be shown.
pub(super) fn shown(url: &str) -> String {
    clean::line(clean::without_passwords(url).as_bytes(), clean::TEXT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_why_and_repeats_no_password() {
        let told = |url: &str| parse(url).unwrap_err().to_string();
        assert_eq!(
            told("https://h/x\u{1b}"),
            "the repository URL `https://h/x\u{fffd}` is not asked: a blank or control character in an address; \
             write %20 for a blank"
        );
        for url in ["https://me:s3cret@host/x", "https://s3cret@host/x", "me:s3cret@host:x"] {
            assert!(!told(url).contains("s3cret"), "{}", told(url));
            assert!(!repeated(url).contains("s3cret"), "{}", repeated(url));
        }
        assert!(check("https://host/x").is_ok());
        assert_eq!(repeated("git@host:x"), "git@host:x");
    }
}
