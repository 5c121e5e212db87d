//! Why a repository could not be asked, fetched or read, told to the sysadmin: what, where, why and
//! what to do. What git prints is sorted here into these kinds by its (unlocalised) words; what no
//! pattern knows is shown as git said it, cleaned.

use std::time::Duration;

use super::clean;
use super::origin::{Origin, Way};

/// See the file's header. URLs in it are as they may be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("the repository URL `{url}` is not asked: {why}")]
    BadUrl { url: String, why: String },
    #[error("{why}")]
    Credential { why: String },
    #[error("the repository {url} is not there (or may not be read): {said}. Check `url` in [repo]")]
    Gone { url: String, said: String },
    #[error("the host name `{host}` of {url} was not resolved. Check `url` in [repo] and this host's DNS")]
    NoSuchHost { url: String, host: String },
    #[error("{host} does not answer for {url}: {said}. Check the network, firewall and port")]
    Unreachable { url: String, host: String, said: String },
    #[error("{url} wants a login that was not given or not accepted: {said}. {advice}")]
    Refused { url: String, said: String, advice: String },
    #[error(
        "the ssh host key of {host} is unknown or has changed, so {url} was not asked: {said}. Compare it with the \
         server's own, then add it to ~/.ssh/known_hosts of shipbell's user (ssh-keyscan {host})"
    )]
    HostKey { url: String, host: String, said: String },
    #[error(
        "the TLS certificate of {host} is not trusted, so {url} was not asked: {said}. Put its CA (PEM) beside the \
         credential as NAME.ca, or install it on this host"
    )]
    Certificate { url: String, host: String, said: String },
    #[error("{url} answers with a redirect{}, which is not followed. Write the new URL as `url` in [repo]",
        .to.as_ref().map(|to| format!(" to {to}")).unwrap_or_default())]
    Redirected { url: String, to: Option<String> },
    #[error("{what} {url} timed out after {seconds} s and was ended. The server accepts but does not answer in time")]
    TimedOut { what: &'static str, url: String, seconds: u64 },
    #[error("{name} is no longer in {url}: it went away between asking and fetching. The next poll looks again")]
    RefGone { url: String, name: String },
    #[error("{url} lists more than {megabytes} MB of refs, which is more than is read")]
    TooMuch { url: String, megabytes: usize },
    #[error(
        "{url} has more than {megabytes} MB to fetch at once, which is more than is taken. Follow fewer branches, or \
         move the large files out of its history"
    )]
    TooLarge { url: String, megabytes: u64 },
    #[error("what {url} answers is not the answer of a git server: {line}. Check `url` in [repo]")]
    Nonsense { url: String, line: String },
    #[error(
        "{url} says that it has no branch and no tag any more. That is taken for a fault of the server, and nothing is \
         taken off; the next poll looks again"
    )]
    Emptied { url: String },
    #[error("{url} is a SHA-256 repository; only SHA-1 repositories can be read in this version")]
    Sha256 { url: String },
    #[error("the disk is full, so {url} could not be fetched: {said}. Free space where the mirrors are")]
    DiskFull { url: String, said: String },
    #[error("the mirror of {url} is damaged: {said}. The next poll mends it or fetches it anew")]
    Damaged { url: String, said: String, by_git: bool },
    #[error("the mirror of {url} is locked: {said}. If it stays so, no other git may work in the mirrors' directory")]
    Locked { url: String, said: String },
    #[error("git {what} {url} failed: {said}")]
    Git { what: &'static str, url: String, said: String },
    #[error("the program `git` was not found in {path}. Install it (apt-get install git)")]
    NoGit { path: &'static str },
    #[error("git could not be started: {0}")]
    Start(String),
    #[error("the commit {commit} is not in the mirror of this repository")]
    NoCommit { commit: String },
    #[error("what {name} stands at ({commit}) was fetched, but is malformed and cannot be read. Push a commit over it")]
    Unreadable { name: String, commit: String },
    #[error("the mirror {path}: {why}")]
    Mirror { path: String, why: String },
}

impl SourceError {
    /// Whether the mirror itself is the trouble.
    pub(super) fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    /// What failed, in one word.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::BadUrl { .. } => "url",
            Self::Credential { .. } => "credential",
            Self::Gone { .. } => "repository",
            Self::NoSuchHost { .. } => "name",
            Self::Unreachable { .. } => "connection",
            Self::Refused { .. } => "login",
            Self::HostKey { .. } => "host key",
            Self::Certificate { .. } => "TLS",
            Self::Redirected { .. } => "redirect",
            Self::TimedOut { .. } => "time",
            Self::RefGone { .. } | Self::NoCommit { .. } | Self::Unreadable { .. } => "branch",
            Self::TooMuch { .. } | Self::TooLarge { .. } => "size",
            Self::Nonsense { .. } | Self::Emptied { .. } => "answer",
            Self::Sha256 { .. } => "format",
            Self::DiskFull { .. } => "disk",
            Self::Damaged { .. } | Self::Locked { .. } | Self::Mirror { .. } => "mirror",
            Self::Git { .. } | Self::NoGit { .. } | Self::Start(_) => "git",
        }
    }

    /// How long a child may take, for its message.
    pub(super) fn timed_out(what: &'static str, origin: &Origin, deadline: Duration) -> Self {
        Self::TimedOut {
            what,
            url: shown(origin),
            seconds: deadline.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX),
        }
    }
}

fn shown(origin: &Origin) -> String {
    super::origin::shown(&origin.url)
}

const HOST_KEY: &[&str] =
    &["Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED", "host key is known"];
const NO_HOST: &[&str] =
    &["Could not resolve host", "Name or service not known", "Temporary failure in name resolution"];
const CERTIFICATE: &[&str] = &["certificate", "SSL peer", "unable to get local issuer"];
const REFUSED: &[&str] = &[
    "could not read Username",
    "could not read Password",
    "Authentication failed",
    "Permission denied (",
    "error: 401",
    "error: 403",
    "Too many authentication failures",
];
const UNREACHABLE: &[&str] = &[
    "unable to connect to",
    "Connection refused",
    "Connection timed out",
    "Failed to connect",
    "Couldn't connect",
    "No route to host",
    "Network is unreachable",
    "Connection reset",
    "Connection closed",
    "Empty reply from server",
    "Operation too slow",
    "error: 5",
];
const GONE: &[&str] = &[
    "does not appear to be a git repository",
    "repository not found",
    "Repository not found",
    "not found",
    "does not exist",
    "error: 404",
    "error: 410",
    "no such path",
    "repository not exported",
    "not a git repository",
];
const REDIRECTED: &[&str] = &["error: 301", "error: 302", "error: 303", "error: 307", "error: 308", "redirect"];
const FULL: &[&str] = &["No space left on device", "Disk quota exceeded"];
/// SIGXFSZ, or what a program says that ignores it.
const OVERGROWN: &[&str] = &["died of signal 25", "File too large"];
const LOCKED: &[&str] = &[".lock': File exists", "cannot lock ref", "Unable to create '"];
const DAMAGED: &[&str] = &[
    "is corrupt",
    "object file",
    "bad object",
    "invalid object",
    "bad packed object",
    "pack signature mismatch",
    "does not match index",
    "missing blob",
    "missing tree",
    "missing commit",
    "bad config",
    "invalid sha1 pointer",
];

/// What git was called for.
pub(super) struct Told<'a> {
    pub(super) what: &'static str,
    pub(super) origin: &'a Origin,
    /// The path of the mirror that it worked in.
    pub(super) mirror: Option<&'a str>,
    pub(super) credential: Option<&'a str>,
    pub(super) file_max: u64,
}

/// What git's words mean.
pub(super) fn sort(call: &Told<'_>, stderr: &[u8]) -> SourceError {
    let Told { what, origin, mirror, credential, file_max } = *call;
    let raw = String::from_utf8_lossy(stderr);
    let has = |words: &[&str]| words.iter().any(|word| raw.contains(word));
    let (url, host, said) =
        (shown(origin), clean::line(origin.place.as_bytes(), clean::TEXT_MAX), clean::stderr(stderr));
    // Words about the mirror, not the remote, name its path.
    let local = mirror.is_some_and(|path| raw.contains(path));
    if let Some(name) = raw.lines().find_map(|line| line.split_once("couldn't find remote ref ")).map(|(_, name)| name)
    {
        return SourceError::RefGone { url, name: clean::line(name.as_bytes(), clean::TEXT_MAX) };
    }
    if has(OVERGROWN) {
        return SourceError::TooLarge { url, megabytes: file_max >> 20 };
    }
    if has(FULL) {
        SourceError::DiskFull { url, said }
    } else if local && has(&["not a git repository"]) {
        SourceError::Damaged { url, said, by_git: true }
    } else if has(&["mismatched algorithms"]) {
        SourceError::Sha256 { url }
    } else if mirror.is_some() && has(LOCKED) {
        SourceError::Locked { url, said }
    } else if mirror.is_some() && has(DAMAGED) && !raw.contains("remote: ") && !raw.contains("remote error") {
        SourceError::Damaged { url, said, by_git: true }
    } else if has(HOST_KEY) {
        SourceError::HostKey { url, host, said }
    } else if has(NO_HOST) {
        SourceError::NoSuchHost { url, host }
    } else if origin.way == Way::Https && has(CERTIFICATE) {
        SourceError::Certificate { url, host, said }
    } else if has(REFUSED) {
        SourceError::Refused { url, said, advice: advice(origin.way, credential) }
    } else if has(REDIRECTED) {
        SourceError::Redirected { url, to: None }
    } else if has(UNREACHABLE) {
        SourceError::Unreachable { url, host, said }
    } else if has(GONE) {
        SourceError::Gone { url, said }
    } else {
        SourceError::Git { what, url, said }
    }
}

/// What to do about a login that was refused.
pub(super) fn advice(way: Way, credential: Option<&str>) -> String {
    match (way, credential) {
        (Way::Git, _) => "git:// takes no login: write https:// or ssh://, with credential = \"NAME\" in [repo]".into(),
        (Way::File, _) => "Let shipbell's user read that directory".into(),
        (_, Some(name)) => {
            format!("Look at the credential {name}: is it still valid, and may it read this repository?")
        }
        (Way::Ssh, None) => "Give shipbell's user a key (~/.ssh) that the server accepts for reading, or name one: \
                             credential = \"NAME\" in [repo]"
            .into(),
        (Way::Http | Way::Https, None) => "If it exists, give it a login: credential = \"NAME\" in [repo]".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::origin;
    use super::*;

    #[test]
    fn gits_words_are_sorted() {
        let https = origin::parse("https://git.example.org/a.git").unwrap();
        let ssh = origin::parse("git@git.example.org:a.git").unwrap();
        let file = origin::parse("/srv/a.git").unwrap();
        let kind = |origin: &Origin, mirror, text: &str| {
            sort(&Told { what: "fetch", origin, mirror, credential: None, file_max: 1 << 30 }, text.as_bytes()).kind()
        };
        let mirror = Some("/m/x.git");
        for (origin, mirror, text, expected) in [
            (
                &https,
                None,
                "fatal: unable to access 'https://git.example.org/a.git/': Could not resolve host: git",
                "name",
            ),
            (&https, None, "fatal: repository 'https://git.example.org/a.git/' not found", "repository"),
            (
                &https,
                None,
                "fatal: could not read Username for 'https://git.example.org': terminal prompts disabled",
                "login",
            ),
            (&https, None, "fatal: unable to access 'x': server certificate verification failed. CAfile: none", "TLS"),
            (&https, None, "fatal: unable to access 'x': The requested URL returned error: 301", "redirect"),
            (&https, None, "fatal: unable to access 'x': The requested URL returned error: 503", "connection"),
            (
                &https,
                None,
                "fatal: unable to access 'x': Failed to connect to h port 1: Connection refused",
                "connection",
            ),
            (&ssh, None, "No ED25519 host key is known for h and you have requested strict checking.", "host key"),
            (&ssh, None, "git@h: Permission denied (publickey).", "login"),
            (&ssh, None, "ssh: Could not resolve hostname h: Name or service not known", "name"),
            (&file, None, "fatal: '/srv/a.git' does not appear to be a git repository", "repository"),
            (&file, mirror, "fatal: couldn't find remote ref refs/heads/x", "branch"),
            (&file, mirror, "fatal: not a git repository: '/m/x.git'", "mirror"),
            (&file, mirror, "error: object file /m/x.git/objects/aa/b is empty", "mirror"),
            (
                &file,
                mirror,
                "error: cannot lock ref 'refs/shipbell/heads/a': Unable to create '/m/x.git/a.lock': File exists.",
                "mirror",
            ),
            (&file, mirror, "fatal: write error: No space left on device", "disk"),
            (&file, mirror, "fatal: mismatched algorithms: client sha1; server sha256", "format"),
            (&file, mirror, "fatal: something new", "git"),
        ] {
            assert_eq!(kind(origin, mirror, text), expected, "{text}");
        }
    }

    #[test]
    fn a_message_says_what_where_why_and_what_to_do() {
        let ssh = origin::parse("git@git.example.org:a.git").unwrap();
        let told = Told { what: "asking", origin: &ssh, mirror: None, credential: None, file_max: 1 << 30 };
        let error = sort(&told, b"x\x1b[31m\ngit@git.example.org: Permission denied (publickey).\n");
        assert_eq!(
            error.to_string(),
            "git@git.example.org:a.git wants a login that was not given or not accepted: x\u{fffd}[31m; \
             git@git.example.org: Permission denied (publickey).. Give shipbell's user a key (~/.ssh) that the server \
             accepts for reading, or name one: credential = \"NAME\" in [repo]"
        );
    }
}
