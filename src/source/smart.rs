//! Asking over http and https: one `ls-refs` question where the server understands it, else its greeting,
//! else `None`, and the git binary asks. What a failure means for people is said here; logins are
//! `access`'s, bytes are `wire`'s.

use std::time::Duration;

use super::access::Access;
use super::clean;
use super::error::{self, SourceError};
use super::origin::{self, Origin};
use super::remote::{ANSWER_MAX, Remote};
use super::scope::Scope;
use super::wire::{self, Bad, Greeting};
use crate::web::{Client, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, WebError};

/// How this server is to be asked the next time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// One question, one answer.
    LsRefs,
    /// It lists everything when greeted.
    Greeting,
    /// It speaks neither: the git binary knows older ways still.
    Git,
}

/// One question to one server.
pub(super) struct Asking<'a> {
    pub(super) client: &'a Client,
    pub(super) origin: &'a Origin,
    pub(super) access: &'a Access,
    pub(super) scope: &'a Scope,
    pub(super) deadline: Duration,
}

impl Asking<'_> {
    /// What it has, and how it was asked; no answer with [`Manner::Git`].
    pub(super) async fn ask(&self, manner: Manner) -> Result<(Manner, Option<Remote>), SourceError> {
        self.access.check(self.origin)?;
        let mut asked = None;
        if manner == Manner::LsRefs {
            match self.ls_refs().await? {
                Outcome::Remote(remote) => return Ok((Manner::LsRefs, Some(remote))),
                // Some servers answer no question that was not preceded by a greeting, and some say what is
                // wrong only there.
                Outcome::Try(said) => asked = Some(said),
            }
        }
        match self.greeting().await? {
            Outcome::Remote(remote) => Ok((Manner::Greeting, Some(remote))),
            Outcome::Try(Said::NotGit(status)) if status >= 400 => {
                Err(self.status(status, None, &asked.map_or_else(String::new, Said::text)))
            }
            Outcome::Try(_) => match asked {
                Some(Said::Bad(Bad::Said(said))) => Err(SourceError::Gone { url: self.shown(), said }),
                _ => Ok((Manner::Git, None)),
            },
        }
    }

    async fn ls_refs(&self) -> Result<Outcome, SourceError> {
        let mut headers = self.headers("application/x-git-upload-pack-result");
        headers.insert("content-type", HeaderValue::from_static("application/x-git-upload-pack-request"));
        let url = format!("{}/git-upload-pack", self.origin.url.trim_end_matches('/'));
        let answer = self.send(Method::POST, &url, headers, wire::question(self.scope)).await?;
        let status = answer.status.as_u16();
        if status != 200 || answer.header("content-type") != Some("application/x-git-upload-pack-result") {
            self.final_word(&answer)?;
            return Ok(Outcome::Try(Said::NotGit(status)));
        }
        match wire::answer(&answer.body) {
            Ok(remote) => Ok(Outcome::Remote(remote)),
            Err(bad) => Ok(Outcome::Try(Said::Bad(bad))),
        }
    }

    async fn greeting(&self) -> Result<Outcome, SourceError> {
        let url = format!("{}/info/refs?service=git-upload-pack", self.origin.url.trim_end_matches('/'));
        let answer = self.send(Method::GET, &url, self.headers("*/*"), Vec::new()).await?;
        let status = answer.status.as_u16();
        if status != 200 {
            self.final_word(&answer)?;
            return Ok(Outcome::Try(Said::NotGit(status)));
        }
        if answer.header("content-type") != Some("application/x-git-upload-pack-advertisement") {
            // A plain web server may still be one of git's oldest kind; a page for people is none.
            let line = answer.body.split(|&c| c == b'\n').next().unwrap_or_default();
            let is_page = answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
            return if is_page { Err(self.nonsense(line)) } else { Ok(Outcome::Try(Said::NotGit(status))) };
        }
        match wire::greeting(&answer.body) {
            Ok(Greeting::Older(remote)) => Ok(Outcome::Remote(remote)),
            Ok(Greeting::Two { sha256: true }) => Err(SourceError::Sha256 { url: self.shown() }),
            Ok(Greeting::Two { sha256: false }) => Ok(Outcome::Try(Said::NotGit(status))),
            Err(Bad::Said(said)) => Err(SourceError::Gone { url: self.shown(), said }),
            Err(Bad::Nonsense(line)) => Err(SourceError::Nonsense { url: self.shown(), line }),
        }
    }

    fn headers(&self, accept: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", HeaderValue::from_static(wire::agent()));
        headers.insert("accept", HeaderValue::from_static(accept));
        headers.insert(HeaderName::from_static("git-protocol"), HeaderValue::from_static("version=2"));
        if let Some(mut login) = self.access.authorization().and_then(|text| HeaderValue::try_from(text).ok()) {
            login.set_sensitive(true);
            headers.insert("authorization", login);
        }
        headers
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Response, SourceError> {
        let request = Request {
            method,
            url,
            headers,
            body,
            ca: self.access.ca(),
            repeatable: true,
            deadline: self.deadline,
            body_max: ANSWER_MAX,
        };
        self.client.send(request).await.map_err(|error| self.told(error))
    }

    /// Answers after which there is no point in asking otherwise.
    fn final_word(&self, answer: &Response) -> Result<(), SourceError> {
        match answer.status.as_u16() {
            status @ (401 | 403 | 429) => Err(self.status(status, answer.header("retry-after"), "")),
            300..=399 => Err(SourceError::Redirected {
                url: self.shown(),
                to: answer.header("location").map(|to| {
                    let to = to.trim_end_matches("/info/refs?service=git-upload-pack");
                    origin::shown(to.trim_end_matches("/git-upload-pack"))
                }),
            }),
            _ => Ok(()),
        }
    }

    fn status(&self, status: u16, retry_after: Option<&str>, said: &str) -> SourceError {
        let (url, host) = (self.shown(), self.origin.place.clone());
        let again = retry_after.map(|text| format!(", again after {}", clean::line(text.as_bytes(), 40)));
        let said = format!("status {status}{}{said}", again.unwrap_or_default());
        match status {
            401 | 403 => SourceError::Refused { url, said, advice: error::advice(self.origin.way, self.access.name()) },
            404 | 410 => SourceError::Gone { url, said },
            429 | 500.. => SourceError::Unreachable { url, host, said },
            _ => SourceError::Nonsense { url, line: said },
        }
    }

    fn shown(&self) -> String {
        origin::shown(&self.origin.url)
    }

    fn nonsense(&self, line: &[u8]) -> SourceError {
        let line = clean::line(line.get(..400).unwrap_or(line), 120);
        let line = if line.is_empty() { "it is no git server".into() } else { format!("it is no git server ({line})") };
        SourceError::Nonsense { url: self.shown(), line }
    }

    fn told(&self, error: WebError) -> SourceError {
        let (url, said) = (self.shown(), clean::line(error.to_string().as_bytes(), clean::TEXT_MAX));
        match error {
            WebError::BadUrl(_) => SourceError::BadUrl { url, why: said },
            WebError::Name { host, .. } => SourceError::NoSuchHost { url, host },
            WebError::Connect { host, why } | WebError::Broken { host, why } => {
                SourceError::Unreachable { url, host, said: clean::line(why.as_bytes(), clean::TEXT_MAX) }
            }
            WebError::Certificate { host, why } | WebError::Tls { host, why } => {
                SourceError::Certificate { url, host, said: clean::line(why.as_bytes(), clean::TEXT_MAX) }
            }
            WebError::Trust(why) => SourceError::Certificate {
                url,
                host: self.origin.place.clone(),
                said: clean::line(why.as_bytes(), 300),
            },
            WebError::TimedOut { step, .. } => {
                let what = match step {
                    "connecting" => "connecting to",
                    "TLS" => "agreeing on TLS with",
                    _ => "asking",
                };
                SourceError::timed_out(what, self.origin, self.deadline)
            }
            WebError::TooMuch { max, .. } => SourceError::TooMuch { url, megabytes: max >> 20 },
        }
    }
}

enum Outcome {
    Remote(Remote),
    /// It may understand another question.
    Try(Said),
}

enum Said {
    /// Not git's kind of answer, by its status.
    NotGit(u16),
    Bad(Bad),
}

impl Said {
    fn text(self) -> String {
        match self {
            Self::NotGit(_) => String::new(),
            Self::Bad(Bad::Said(said) | Bad::Nonsense(said)) => format!(": {said}"),
        }
    }
}
