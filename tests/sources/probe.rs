//! What holds for any bytes of a server and any text of a job file: the properties that the fuzz targets
//! (fuzz/targets) look for at length and the suite for a moment.

use shipbell::config;
use shipbell::model::commit::RefName;
use shipbell::model::url::RepoUrl;
use shipbell::source::{self, wire};

/// An answer to `ls-refs`, or a greeting: read or refused, and nothing of it is kept that git would not take.
pub fn answer(bytes: &[u8]) {
    let mut kept = Vec::new();
    kept.extend(wire::answer(bytes).ok());
    if let Ok(wire::Greeting::Older(remote)) = wire::greeting(bytes) {
        kept.push(remote);
    }
    for remote in kept {
        for (name, id) in &remote.refs {
            ref_name(name.as_str());
            assert!(id.as_str().bytes().any(|c| c != b'0'), "{name} stands at nothing");
        }
        assert!(remote.head.is_none_or(|head| !head.is_tag() && remote.refs.contains_key(&head)));
    }
}

/// The same bytes as one packet after another, so that the lines themselves are reached.
pub fn lines(bytes: &[u8]) {
    let mut framed = Vec::new();
    for line in bytes.split(|&c| c == b'\n').filter(|line| !line.is_empty() && line.len() < 60_000) {
        framed.extend_from_slice(format!("{:04x}", line.len() + 4).as_bytes());
        framed.extend_from_slice(line);
    }
    framed.extend_from_slice(b"0000");
    answer(&framed);
}

/// An address: refused, or nothing that git, ssh or a shell could take for anything else.
pub fn url(text: &str) {
    // Whoever reads job files and whoever asks have one grammar.
    let read = RepoUrl::parse(text);
    assert_eq!((config::is_address(text), source::check_url(text).is_ok()), (read.is_ok(), read.is_ok()), "{text:?}");
    let Ok(read) = read else { return };
    assert!(!read.place.is_empty() && text.contains(&read.place) && !read.place.starts_with('-'), "{text:?}: {read:?}");
    assert!(!text.starts_with('-') && !text.chars().any(|c| c.is_control() || c.is_whitespace()), "{text:?}");
    if let Some((scheme, rest)) = text.split_once("://").filter(|_| !text.starts_with('/')) {
        assert!(["http", "https", "ssh", "file", "git"].contains(&scheme), "{text:?}");
        let authority = rest.split('/').next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        assert!(!authority.starts_with('-') && !host.starts_with('-'), "{text:?}");
        assert!(scheme == "file" || !host.is_empty(), "{text:?}");
        assert!(scheme == "ssh" || !authority.contains('@'), "{text:?}");
    } else if !text.starts_with('/') {
        let (login, path) = text.split_once(':').expect("USER@HOST:PATH");
        assert!(!login.contains('/') && !path.starts_with(':') && !path.is_empty(), "{text:?}");
        assert!(!login.rsplit('@').next().unwrap_or_default().starts_with('-'), "{text:?}");
    }
}

/// A ref: refused, or a plain path below branches or tags, or a pull or merge request's, that no command
/// reads as anything else.
pub fn ref_name(text: &str) {
    let Ok(name) = RefName::new(text) else { return };
    let short = name.short();
    let is_known = text.starts_with("refs/heads/") || text.starts_with("refs/tags/") || name.is_pull();
    assert!(is_known, "{text:?}");
    assert!(!short.is_empty() && !short.starts_with(['-', '/', '.']) && !short.ends_with('/'), "{text:?}");
    assert!(!text.contains("..") && !text.contains("//") && !text.contains("@{"), "{text:?}");
    assert!(!text.bytes().any(|c| c <= b' ' || c == 0x7f || b"~^:?*[\\".contains(&c)), "{text:?}");
    assert_eq!(RefName::new(name.as_str()).as_ref(), Ok(&name));
}
