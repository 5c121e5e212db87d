//! Trying one repository by hand: every step on the way to an answer, which of them failed, and what to do.
//! The asking is the poller's own; here its errors are laid over the steps.

use std::time::Duration;

use super::clean;
use super::error::SourceError;
use super::origin::{self, Way};
use super::poll;
use super::remote::Remote;
use super::remotes::Remotes;
use super::scope::Scope;
use crate::model::catalog::Address;
use crate::model::commit::RefName;
use crate::model::view::{TrialState, TrialStep};

/// The words of [`SourceError::kind`] that come before an answer, in their order.
fn steps(at: &Address) -> Vec<&'static str> {
    let mut steps = vec!["url"];
    steps.extend(at.credential.as_ref().map(|_| "credential"));
    match origin::parse(&at.url).map(|origin| origin.way) {
        Ok(Way::Https) => steps.extend(["name", "connection", "TLS", "login"]),
        Ok(Way::Http) => steps.extend(["name", "connection", "login"]),
        Ok(Way::Ssh) => steps.extend(["name", "connection", "host key", "login"]),
        Ok(Way::Git) => steps.extend(["name", "connection"]),
        Ok(Way::File) | Err(_) => {}
    }
    steps.push("repository");
    steps
}

impl Remotes {
    /// Asks once and tells every step.
    pub async fn trial(&self, at: &Address, branch: Option<&str>, deadline: Duration) -> Vec<TrialStep> {
        // What is tried is the way there, all of it.
        let asked = self.without_links().ask(at, &Scope::default(), deadline).await;
        lay_out(at, branch, asked.as_ref().map(|(remote, _)| remote))
    }
}

fn lay_out(at: &Address, branch: Option<&str>, asked: Result<&Remote, &SourceError>) -> Vec<TrialStep> {
    let mut names = steps(at);
    names.extend(branch.map(|_| "branch"));
    let (failed, why) = match asked {
        Err(error) => (place_of(error, &names), error.to_string()),
        Ok(remote) => match branch.map(|name| find(remote, name)) {
            Some(Err(why)) => ("branch", why),
            _ => ("", String::new()),
        },
    };
    let mut reached = true;
    let step = |name: &'static str| {
        let (state, text) = match (reached, name == failed) {
            (true, true) => (TrialState::Failed, why.clone()),
            (true, false) => {
                (TrialState::Ok, asked.map_or_else(|_| String::new(), |remote| found(name, remote, branch)))
            }
            (false, _) => (TrialState::NotReached, String::new()),
        };
        reached &= state == TrialState::Ok;
        TrialStep { name: name.to_owned(), state, text }
    };
    names.into_iter().map(step).collect()
}

/// The step at which an error stands; what has none of its own is the repository's.
fn place_of<'a>(error: &SourceError, names: &[&'a str]) -> &'a str {
    let kind = match error {
        SourceError::TimedOut { what: "agreeing on TLS with", .. } => "TLS",
        // ssh does not say how far it came.
        SourceError::TimedOut { what, .. } if *what == "connecting to" || names.contains(&"host key") => "connection",
        other => other.kind(),
    };
    let place = names.iter().find(|name| **name == kind);
    place.or_else(|| names.iter().find(|name| **name == "repository")).copied().unwrap_or("url")
}

fn find(remote: &Remote, branch: &str) -> Result<(), String> {
    let there = RefName::branch(branch).is_ok_and(|name| remote.refs.contains_key(&name));
    if there {
        Ok(())
    } else {
        Err(format!("there is no branch `{}`; {}", poll::shown(branch), poll::has_of(remote, branch)))
    }
}

fn found(name: &str, remote: &Remote, branch: Option<&str>) -> String {
    match name {
        "repository" => {
            let tags = remote.refs.keys().filter(|name| name.is_tag()).count();
            let branches = remote.refs.len() - tags;
            let head = remote.head.as_ref().map_or_else(
                || "HEAD points to no branch".to_owned(),
                |head| format!("HEAD is {}", clean::line(head.short().as_bytes(), 80)),
            );
            format!("{branches} branches, {tags} tags; {head}")
        }
        "branch" => {
            let name = branch.and_then(|name| RefName::branch(name).ok());
            let tip = name.and_then(|name| remote.refs.get(&name));
            tip.map_or_else(String::new, |tip| format!("stands at {}", tip.short()))
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(url: &str, credential: Option<&str>, branch: Option<&str>, asked: Result<&Remote, &SourceError>) -> String {
        let at = Address { url: url.into(), credential: credential.map(Into::into) };
        let one = |step: TrialStep| format!("{} {}", step.name, step.state);
        lay_out(&at, branch, asked).into_iter().map(one).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn an_error_stands_at_its_step_and_what_follows_was_not_reached() {
        let host = || "h".to_owned();
        let name = SourceError::NoSuchHost { url: host(), host: host() };
        let tls = SourceError::Certificate { url: host(), host: host(), said: host() };
        let key = SourceError::HostKey { url: host(), host: host(), said: host() };
        let odd = SourceError::Nonsense { url: host(), line: host() };
        for (url, error, expected) in [
            (
                "https://h/x",
                &name,
                "url ok, name failed, connection not-reached, TLS not-reached, login not-reached, repository not-reached",
            ),
            (
                "https://h/x",
                &tls,
                "url ok, name ok, connection ok, TLS failed, login not-reached, repository not-reached",
            ),
            (
                "git@h:x",
                &key,
                "url ok, name ok, connection ok, host key failed, login not-reached, repository not-reached",
            ),
            ("http://h/x", &odd, "url ok, name ok, connection ok, login ok, repository failed"),
            ("/srv/x", &odd, "url ok, repository failed"),
        ] {
            assert_eq!(told(url, None, None, Err(error)), expected);
        }
        let bad = SourceError::BadUrl { url: host(), why: host() };
        assert_eq!(
            told("ext::x", Some("a"), None, Err(&bad)),
            "url failed, credential not-reached, repository not-reached"
        );
    }

    #[test]
    fn a_branch_is_looked_for_among_what_is_there() {
        let mut remote = Remote::default();
        let main = RefName::branch("main").unwrap();
        remote.refs.insert(main, crate::model::commit::CommitId::new(&"a".repeat(40)).unwrap());
        assert!(told("/srv/x", None, Some("main"), Ok(&remote)).ends_with("branch ok"));
        assert!(told("/srv/x", None, Some("mian"), Ok(&remote)).ends_with("repository ok, branch failed"));
        let at = Address::open("/srv/x");
        let steps = lay_out(&at, Some("mian"), Ok(&remote));
        assert_eq!(steps[2].text, "there is no branch `mian`; it has: main");
    }
}
