//! What a web hook's message is about, in the words of the host that sent it. It is read after its sender
//! proved to know the secret, and even then nothing that is run hangs on it: a message that cannot be
//! read is still a reason to look.

use axum::http::HeaderMap;
use serde::Deserialize;

use crate::model::commit::{CommitId, RefName};
use crate::model::forge::Forge;

/// Longest body whose content is looked at.
pub const READ_MAX: usize = 1 << 20;

/// What a message is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// The hook was set up.
    Ping,
    /// Something may have moved in the repository; what exactly, where it says so.
    Moved { git_ref: Option<RefName>, commit: Option<CommitId> },
    /// Nothing that concerns a poll.
    Other,
}

const NOTHING_SAID: Meaning = Meaning::Moved { git_ref: None, commit: None };

/// The event's name, in the host's words.
#[must_use]
pub fn event(forge: Forge, headers: &HeaderMap) -> String {
    let names: &[&str] = match forge {
        Forge::Github => &["x-github-event"],
        Forge::Gitlab => &["x-gitlab-event"],
        Forge::Gitea => &["x-gitea-event", "x-forgejo-event", "x-github-event"],
    };
    text(headers, names, |c| c.is_ascii_alphanumeric() || b" _-".contains(&c)).unwrap_or_default()
}

/// What the host calls this message: the same when it is sent again. `None`: it does not say.
#[must_use]
pub fn delivery_id(forge: Forge, headers: &HeaderMap) -> Option<String> {
    let names: &[&str] = match forge {
        Forge::Github => &["x-github-delivery"],
        Forge::Gitlab => &["webhook-id", "idempotency-key", "x-gitlab-event-uuid"],
        Forge::Gitea => &["x-gitea-delivery", "x-forgejo-delivery", "x-github-delivery"],
    };
    text(headers, names, |c| c.is_ascii_alphanumeric() || b"._-".contains(&c))
}

/// The first of these headers that has a short plain value.
fn text(headers: &HeaderMap, names: &[&str], legal: impl Fn(u8) -> bool) -> Option<String> {
    let value = names.iter().find_map(|name| headers.get(*name))?.as_bytes();
    let plain = !value.is_empty() && value.len() <= 100 && value.iter().copied().all(legal);
    plain.then(|| String::from_utf8_lossy(value).into_owned())
}

/// Reads a message. `body`: `None` where it was too long to be looked at.
#[must_use]
pub fn read(forge: Forge, event: &str, headers: &HeaderMap, body: Option<&[u8]>) -> Meaning {
    let kind = match (forge, event) {
        (Forge::Github, "ping") => return Meaning::Ping,
        (Forge::Github | Forge::Gitea, "push") | (Forge::Gitlab, "Push Hook" | "Tag Push Hook") => Kind::Push,
        (Forge::Github | Forge::Gitea, "create" | "delete") => return NOTHING_SAID,
        (Forge::Github, "pull_request") => Kind::Pull,
        // Gitea has a name of its own for every kind of change to one.
        (Forge::Gitea, name) if name.starts_with("pull_request") => Kind::Pull,
        (Forge::Gitlab, "Merge Request Hook") => Kind::Pull,
        // Sent for all projects of an installation; its pushes are like those of a project.
        (Forge::Gitlab, "System Hook") => Kind::Push,
        _ => return Meaning::Other,
    };
    let decoded;
    let is_form = headers.get("content-type").is_some_and(|value| value.as_bytes().starts_with(FORM));
    let json = match body {
        Some(body) if is_form => {
            decoded = payload_of_form(body);
            decoded.as_slice()
        }
        Some(body) => body,
        None => return NOTHING_SAID,
    };
    match kind {
        Kind::Push => serde_json::from_slice::<Push>(json).map_or(NOTHING_SAID, Push::meaning),
        Kind::Pull => serde_json::from_slice::<Pull>(json).map_or(NOTHING_SAID, |pull| pull.meaning(forge)),
    }
}

enum Kind {
    Push,
    Pull,
}

const FORM: &[u8] = b"application/x-www-form-urlencoded";

#[derive(Deserialize)]
struct Push {
    #[serde(rename = "ref")]
    git_ref: Option<String>,
    after: Option<String>,
    /// GitLab's commit, where `after` may be a tag.
    checkout_sha: Option<String>,
    /// The same of the others.
    head_commit: Option<Commit>,
}

#[derive(Deserialize)]
struct Commit {
    id: String,
}

impl Push {
    fn meaning(self) -> Meaning {
        let commit = self.head_commit.map(|commit| commit.id).or(self.checkout_sha).or(self.after);
        moved(self.git_ref.as_deref(), commit.as_deref())
    }
}

#[derive(Deserialize)]
struct Pull {
    number: Option<u64>,
    pull_request: Option<PullRequest>,
    object_attributes: Option<MergeRequest>,
}

#[derive(Deserialize)]
struct PullRequest {
    number: Option<u64>,
    head: PullHead,
}

#[derive(Deserialize)]
struct PullHead {
    sha: String,
}

#[derive(Deserialize)]
struct MergeRequest {
    iid: u64,
    last_commit: Commit,
}

impl Pull {
    fn meaning(self, forge: Forge) -> Meaning {
        match (forge, self.pull_request, self.object_attributes) {
            (Forge::Gitlab, _, Some(merge)) => {
                moved(Some(&format!("refs/merge-requests/{}/head", merge.iid)), Some(&merge.last_commit.id))
            }
            (Forge::Github | Forge::Gitea, Some(pull), _) => {
                let number = self.number.or(pull.number);
                moved(number.map(|number| format!("refs/pull/{number}/head")).as_deref(), Some(&pull.head.sha))
            }
            _ => NOTHING_SAID,
        }
    }
}

fn moved(git_ref: Option<&str>, commit: Option<&str>) -> Meaning {
    // Zeros say that there is none any more.
    let there = |commit: &&str| commit.bytes().any(|c| c != b'0');
    Meaning::Moved {
        git_ref: git_ref.and_then(|name| RefName::new(name).ok()),
        commit: commit.filter(there).and_then(|commit| CommitId::new(commit).ok()),
    }
}

/// The `payload` of a form, as GitHub sends it where nobody chose application/json.
fn payload_of_form(body: &[u8]) -> Vec<u8> {
    let fields = body.split(|&c| c == b'&');
    let value = fields.filter_map(|field| field.strip_prefix(b"payload=")).next().unwrap_or_default();
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value.iter();
    while let Some(&byte) = rest.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |c: Option<&u8>| c.and_then(|c| char::from(*c).to_digit(16));
                let (high, low) = (digit(rest.next()), digit(rest.next()));
                let (Some(high), Some(low)) = (high, low) else { return Vec::new() };
                u8::try_from(high * 16 + low).unwrap_or_default()
            }
            other => other,
        });
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(forge: Forge, event: &str, body: &str) -> Meaning {
        read(forge, event, &HeaderMap::new(), Some(body.as_bytes()))
    }

    fn moved_to(git_ref: &str, commit: &str) -> Meaning {
        Meaning::Moved { git_ref: Some(RefName::new(git_ref).unwrap()), commit: CommitId::new(commit).ok() }
    }

    #[test]
    fn pushes_and_pulls_of_each_host() {
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let push = format!(r#"{{"ref":"refs/heads/main","after":"{a}"}}"#);
        assert_eq!(meaning(Forge::Github, "push", &push), moved_to("refs/heads/main", &a));
        assert_eq!(meaning(Forge::Gitea, "push", &push), moved_to("refs/heads/main", &a));
        assert_eq!(meaning(Forge::Gitlab, "Push Hook", &push), moved_to("refs/heads/main", &a));
        let tag = format!(r#"{{"ref":"refs/tags/v1","after":"{a}","checkout_sha":"{b}"}}"#);
        assert_eq!(meaning(Forge::Gitlab, "Tag Push Hook", &tag), moved_to("refs/tags/v1", &b), "of an annotated tag");
        let pull = format!(r#"{{"action":"synchronize","number":7,"pull_request":{{"head":{{"sha":"{a}"}}}}}}"#);
        assert_eq!(meaning(Forge::Github, "pull_request", &pull), moved_to("refs/pull/7/head", &a));
        assert_eq!(meaning(Forge::Gitea, "pull_request_sync", &pull), moved_to("refs/pull/7/head", &a));
        let merge = format!(r#"{{"object_attributes":{{"iid":9,"last_commit":{{"id":"{b}"}}}}}}"#);
        assert_eq!(meaning(Forge::Gitlab, "Merge Request Hook", &merge), moved_to("refs/merge-requests/9/head", &b));
    }

    #[test]
    fn a_message_that_cannot_be_read_is_a_reason_to_look_all_the_same() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let beside = format!(r#"{{"x":{deep},"ref":"refs/heads/main"}}"#);
        let main = Meaning::Moved { git_ref: RefName::branch("main").ok(), commit: None };
        assert_eq!(meaning(Forge::Github, "push", &beside), main, "what is deep and not needed is passed over");
        let zeros = format!(r#"{{"ref":"refs/heads/a..b","after":"{}"}}"#, "0".repeat(40));
        for body in ["", "{", "null", "[]", r#"{"ref":7}"#, &deep, &zeros] {
            assert_eq!(
                meaning(Forge::Github, "push", body),
                NOTHING_SAID,
                "{}",
                body.chars().take(60).collect::<String>()
            );
        }
        assert_eq!(read(Forge::Github, "push", &HeaderMap::new(), None), NOTHING_SAID);
        assert_eq!(meaning(Forge::Github, "ping", "{"), Meaning::Ping);
        for (forge, event) in
            [(Forge::Github, "issues"), (Forge::Gitlab, "Note Hook"), (Forge::Gitea, "release"), (Forge::Github, "")]
        {
            assert_eq!(meaning(forge, event, "{}"), Meaning::Other, "{event}");
        }
    }

    #[test]
    fn a_form_is_read_too() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        let commit = "c".repeat(40);
        let form =
            format!("x=1&payload=%7B%22ref%22%3A+%22refs%2Fheads%2Fmain%22%2C%22after%22%3A%22{commit}%22%7D&y=2");
        assert_eq!(read(Forge::Github, "push", &headers, Some(form.as_bytes())), moved_to("refs/heads/main", &commit));
        for bad in ["", "payload", "payload=%", "payload=%7", "payload=%zz", "pay=1"] {
            assert_eq!(read(Forge::Github, "push", &headers, Some(bad.as_bytes())), NOTHING_SAID, "{bad}");
        }
    }

    #[test]
    fn names_in_headers_are_short_and_plain() {
        let mut headers = HeaderMap::new();
        headers.insert("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958".parse().unwrap());
        headers.insert("x-github-event", "push".parse().unwrap());
        assert_eq!(delivery_id(Forge::Github, &headers).as_deref(), Some("72d3162e-cc78-11e3-81ab-4c9367dc0958"));
        assert_eq!(event(Forge::Github, &headers), "push");
        assert_eq!(event(Forge::Gitlab, &headers), "");
        for bad in ["", "a b", "x'; DROP", &"a".repeat(101), "\u{e9}"] {
            headers.insert("x-github-delivery", axum::http::HeaderValue::from_bytes(bad.as_bytes()).unwrap());
            assert_eq!(delivery_id(Forge::Github, &headers), None, "{bad}");
        }
    }
}
