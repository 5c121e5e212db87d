//! GitHub, GitLab, Gitea: where a pipeline's repository lives there, and what such a host told us. Whether
//! a message from it may be believed, and what it is told in return, is decided elsewhere.

use std::collections::BTreeMap;

use crate::model::commit::{CommitId, RefName};
use crate::model::name::PipelineName;
use crate::model::time::Timestamp;

crate::words! {
    /// A host of repositories, by the program it runs. Forgejo speaks as Gitea does.
    pub enum Forge { Github => "github", Gitlab => "gitlab", Gitea => "gitea" }
}

/// `[github]`, `[gitlab]`, `[gitea]` of shipbell.toml.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForgeSettings {
    /// Where people see it, without a trailing slash: `https://github.com`.
    pub url: String,
    /// Name of a file in credentials/ with the token by which it is told how runs went.
    pub credential: Option<String>,
    /// Name of a file in credentials/ with the secret of its web hooks; a second line is the next one.
    pub webhook_credential: Option<String>,
}

/// All of them that shipbell.toml names.
pub type Forges = BTreeMap<Forge, ForgeSettings>;

impl Forge {
    /// The public one, where there is one.
    #[must_use]
    pub fn usual_url(self) -> Option<&'static str> {
        match self {
            Self::Github => Some("https://github.com"),
            Self::Gitlab => Some("https://gitlab.com"),
            Self::Gitea => None,
        }
    }

    /// The name of its own, for people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Github => "GitHub",
            Self::Gitlab => "GitLab",
            Self::Gitea => "Gitea",
        }
    }
}

/// A repository on one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    pub forge: Forge,
    /// `owner/name`; on GitLab also `group/subgroup/name`.
    pub path: String,
}

/// The host that a repository's URL leads to, by its name: git and the web often have different ports.
#[must_use]
pub fn project_of(forges: &Forges, url: &str) -> Option<Project> {
    let (host, path) = split(url)?;
    forges.iter().find_map(|(forge, settings)| {
        let (own_host, prefix) = split(&settings.url).unwrap_or_else(|| (bare_host(&settings.url), ""));
        if !own_host.eq_ignore_ascii_case(host) {
            return None;
        }
        // Below a prefix on the web, not so over ssh.
        let path = path.strip_prefix(prefix).filter(|_| !prefix.is_empty()).unwrap_or(path);
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let parts: Vec<&str> = path.split('/').collect();
        let plain = |part: &&str| {
            let legal = |c: u8| c.is_ascii_alphanumeric() || b"._-~".contains(&c);
            !part.is_empty() && **part != *"." && **part != *".." && part.bytes().all(legal)
        };
        let deep = *forge == Forge::Gitlab;
        let fits = parts.iter().all(plain) && (parts.len() == 2 || (deep && parts.len() > 2));
        fits.then(|| Project { forge: *forge, path: path.to_owned() })
    })
}

/// Host and path of `https://HOST[:PORT]/PATH`, `ssh://[USER@]HOST[:PORT]/PATH` and `[USER@]HOST:PATH`.
fn split(url: &str) -> Option<(&str, &str)> {
    if let Some((scheme, rest)) = url.split_once("://") {
        let (authority, path) = rest.split_once('/')?;
        return ["https", "http", "ssh"].contains(&scheme).then(|| (host_of(authority), path));
    }
    let (login, path) = url.split_once(':')?;
    (!url.starts_with('/') && !login.contains('/')).then(|| (host_of(login), path))
}

fn bare_host(url: &str) -> &str {
    url.split_once("://").map_or("", |(_, authority)| host_of(authority))
}

fn host_of(authority: &str) -> &str {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or_default(),
    }
}

/// A web hook's message that was proved to come from a holder of the secret: a hint that something moved.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Delivery {
    pub pipeline: PipelineName,
    pub forge: Forge,
    /// What the host calls this message; the same when it is sent again.
    pub id: String,
    /// `push`, `pull_request`, … in the host's own word.
    pub event: String,
    pub at: Timestamp,
    /// What it says has moved, and where to. Used for counting only: what there is, git is asked.
    pub git_ref: Option<RefName>,
    pub commit: Option<CommitId>,
}

/// How pushes of a pipeline came to be known since its web hook first spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct HookCount {
    /// Heads that moved.
    pub pushes: u64,
    /// Of these, those that no web hook announced.
    pub only_by_polling: u64,
    pub last_delivery: Option<Timestamp>,
}

impl HookCount {
    /// `3 of 40 pushes came only by polling`; nothing where no hook ever spoke or none was missed.
    #[must_use]
    pub fn told(&self) -> Option<String> {
        self.last_delivery?;
        let (missed, all) = (self.only_by_polling, self.pushes);
        let word = if all == 1 { "push" } else { "pushes" };
        (missed > 0).then(|| format!("{missed} of {all} {word} came only by polling"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forges() -> Forges {
        let at = |url: &str| ForgeSettings { url: url.into(), ..ForgeSettings::default() };
        [
            (Forge::Github, at("https://github.com")),
            (Forge::Gitlab, at("https://gitlab.example.org:8443")),
            (Forge::Gitea, at("http://git.example.org/forge")),
        ]
        .into()
    }

    #[test]
    fn a_url_leads_to_a_project_by_its_host() {
        for (url, forge, path) in [
            ("https://github.com/openimsdk/open-im-server.git", Forge::Github, "openimsdk/open-im-server"),
            ("https://GitHub.com/a/b", Forge::Github, "a/b"),
            ("git@github.com:a/b.git", Forge::Github, "a/b"),
            ("ssh://git@github.com:443/a/b.git", Forge::Github, "a/b"),
            ("https://gitlab.example.org/group/sub/name.git", Forge::Gitlab, "group/sub/name"),
            ("ssh://git@git.example.org:2222/a/b.git", Forge::Gitea, "a/b"),
            ("http://git.example.org/forge/a/b.git", Forge::Gitea, "a/b"),
        ] {
            let found = project_of(&forges(), url);
            assert_eq!(found, Some(Project { forge, path: path.into() }), "{url}");
        }
    }

    #[test]
    fn other_urls_lead_nowhere() {
        for url in [
            "/srv/git/a/b.git",
            "file:///github.com/a/b",
            "https://github.com.evil.example/a/b",
            "https://evil.example/github.com/b",
            "https://github.com/a",
            "https://github.com/a/b/c",
            "https://github.com/a/..",
            "https://github.com/a/b?x=y",
            "git@github.com:../b",
            "",
        ] {
            assert_eq!(project_of(&forges(), url), None, "{url}");
        }
    }

    #[test]
    fn what_was_missed_is_told_only_where_a_hook_speaks() {
        let at = Some(Timestamp::UNIX_EPOCH);
        let count = |pushes, only_by_polling, last_delivery| HookCount { pushes, only_by_polling, last_delivery };
        assert_eq!(count(40, 3, at).told().as_deref(), Some("3 of 40 pushes came only by polling"));
        assert_eq!(count(1, 1, at).told().as_deref(), Some("1 of 1 push came only by polling"));
        assert_eq!(count(40, 0, at).told(), None);
        assert_eq!(count(40, 40, None).told(), None);
    }
}
