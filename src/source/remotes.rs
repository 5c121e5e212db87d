//! All servers that are asked and fetched from: the one web client, what is known of how each server
//! likes to be asked, and the turns of those that are asked over ssh. When one is asked is the poller's.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, Semaphore};
use tokio::time::Instant;

use super::access::Access;
use super::error::SourceError;
use super::fetch::{self, Wanted};
use super::links::{Link, Links};
use super::origin::{self, Origin, Way};
use super::remote::{self, Remote};
use super::scope::Scope;
use super::smart::{Asking, Manner};
use crate::credentials::Credentials;
use crate::model::catalog::Address;
use crate::model::commit::RefName;
use crate::web::Client;

/// After so long a server that did not speak version 2 is tried again: it may have been upgraded.
const MANNER_KEPT: Duration = Duration::from_secs(3600);
/// At one time, over all repositories: a hundred children at once would only slow each other.
const PLACES: usize = 8;
const MANNERS_MAX: usize = 10_000;

/// See the file's header; clones share everything.
#[derive(Clone)]
pub struct Remotes {
    inner: Arc<Inner>,
    links: Option<Arc<Links>>,
    pack_max: u64,
}

struct Inner {
    client: Client,
    credentials: Credentials,
    manners: Mutex<HashMap<String, (Manner, Instant)>>,
    /// One connection at a time per ssh host: servers take many for an attack.
    turns: Mutex<HashMap<String, Weak<AsyncMutex<()>>>>,
    places: Semaphore,
}

impl Remotes {
    #[must_use]
    pub fn new(client: Client, credentials: Credentials) -> Self {
        let inner = Inner {
            client,
            credentials,
            manners: Mutex::default(),
            turns: Mutex::default(),
            places: Semaphore::new(PLACES),
        };
        Self { inner: Arc::new(inner), links: None, pack_max: fetch::PACK_MAX }
    }

    /// Where questions and fetches take their turn, over all repositories.
    pub(super) fn places(&self) -> &Semaphore {
        &self.inner.places
    }

    /// The same with another limit of what one fetch may bring.
    #[must_use]
    pub fn with_pack_max(&self, bytes: u64) -> Self {
        Self { pack_max: bytes, ..self.clone() }
    }

    /// The same, keeping its connections over ssh in `dir`, from one question to the next.
    ///
    /// # Errors
    /// If nothing can be kept there.
    pub fn with_links(&self, dir: &Path) -> std::io::Result<Self> {
        Ok(Self { links: Some(Arc::new(Links::new(dir)?)), ..self.clone() })
    }

    pub(super) fn without_links(&self) -> Self {
        Self { links: None, ..self.clone() }
    }

    /// Ends the connections that are kept over ssh.
    pub async fn end_links(&self) {
        if let Some(links) = &self.links {
            links.end_all().await;
        }
    }

    /// Asks what a repository has in `scope`, and gives what the answer covers: servers that are asked
    /// otherwise than by `ls-refs` list everything. An empty repository is a good answer.
    ///
    /// # Errors
    /// If there is no answer in time.
    pub async fn ask(&self, at: &Address, scope: &Scope, deadline: Duration) -> Result<(Remote, Scope), SourceError> {
        let (mut remote, covered) = self.ask_all(at, scope, deadline).await?;
        // Who lists everything lists every pull request that there ever was.
        if !scope.has_pulls() {
            remote.refs.retain(|name, _| !name.is_pull());
        }
        Ok((remote, covered))
    }

    async fn ask_all(&self, at: &Address, scope: &Scope, deadline: Duration) -> Result<(Remote, Scope), SourceError> {
        let until = Instant::now() + deadline;
        let origin = origin::parse(&at.url)?;
        let access = self.access(at).await?;
        if matches!(origin.way, Way::Http | Way::Https) {
            let asking = Asking { client: &self.inner.client, origin: &origin, access: &access, scope, deadline };
            let known = self.manner(&at.url);
            if known != Manner::Git {
                let asked = tokio::time::timeout_at(until, asking.ask(known)).await;
                let (manner, remote) = asked.map_err(|_| SourceError::timed_out("asking", &origin, deadline))??;
                self.learn(&at.url, manner);
                if let Some(remote) = remote {
                    let covered = if manner == Manner::LsRefs { scope.clone() } else { Scope::default() };
                    return Ok((remote, covered));
                }
            }
        }
        let _turn = self.turn(&origin, until, deadline).await?;
        let left = || until.saturating_duration_since(Instant::now());
        let mut link = self.link(&origin, &access).await;
        let mut answer = remote::list(&origin, &access, socket(link.as_ref()), left()).await;
        while self.is_to_be_asked_again(&mut link, &origin, &access, answer.as_ref().err()).await {
            answer = remote::list(&origin, &access, socket(link.as_ref()), left()).await;
        }
        let remote = answer?;
        Ok((remote, Scope::default()))
    }

    /// Fetches `refs` into a mirror, and the tags that point into their history.
    ///
    /// # Errors
    /// If the remote does not give them in time.
    pub async fn fetch(
        &self,
        at: &Address,
        mirror: &Path,
        refs: &[RefName],
        deadline: Duration,
    ) -> Result<(), SourceError> {
        self.fetch_wanted(at, mirror, Wanted { refs, tags: true }, deadline).await
    }

    pub(super) async fn fetch_wanted(
        &self,
        at: &Address,
        mirror: &Path,
        wanted: Wanted<'_>,
        deadline: Duration,
    ) -> Result<(), SourceError> {
        let until = Instant::now() + deadline;
        let origin = origin::parse(&at.url)?;
        let access = self.access(at).await?;
        let _turn = self.turn(&origin, until, deadline).await?;
        let limits = || (self.pack_max, until.saturating_duration_since(Instant::now()));
        let mut link = self.link(&origin, &access).await;
        let mut done = fetch::fetch(mirror, &origin, &access, socket(link.as_ref()), wanted, limits()).await;
        while self.is_to_be_asked_again(&mut link, &origin, &access, done.as_ref().err()).await {
            done = fetch::fetch(mirror, &origin, &access, socket(link.as_ref()), wanted, limits()).await;
        }
        done
    }

    /// The connection over ssh that is kept for this, or will be.
    async fn link(&self, origin: &Origin, access: &Access) -> Option<Link> {
        let links = self.links.as_ref().filter(|_| origin.way == Way::Ssh)?;
        Some(links.of(origin, access).await)
    }

    /// A kept connection in trouble is ended, and what was asked over it is asked once more, over a new one, in
    /// what is left of the time. A new one that fails has said how things are.
    async fn is_to_be_asked_again(
        &self,
        link: &mut Option<Link>,
        origin: &Origin,
        access: &Access,
        error: Option<&SourceError>,
    ) -> bool {
        let (Some(links), Some(used)) = (&self.links, &*link) else { return false };
        match error {
            Some(SourceError::Unreachable { .. } | SourceError::TimedOut { .. } | SourceError::Git { .. }) => {}
            _ => return false,
        }
        let stood = used.stood;
        links.end(used).await;
        if stood {
            *link = Some(links.of(origin, access).await);
        }
        stood
    }

    /// Read anew each time: who replaces a credential need not tell anybody.
    async fn access(&self, at: &Address) -> Result<Access, SourceError> {
        let Some(name) = at.credential.clone() else { return Ok(Access::default()) };
        let credentials = self.inner.credentials.clone();
        let read = tokio::task::spawn_blocking(move || Access::read(&credentials, &name)).await;
        let read = read.map_err(|error| SourceError::Start(error.to_string()))?;
        read.map_err(|bad| SourceError::Credential { why: bad.to_string() })
    }

    fn manner(&self, url: &str) -> Manner {
        let manners = self.inner.manners.lock().unwrap_or_else(PoisonError::into_inner);
        manners
            .get(url)
            .filter(|(_, since)| since.elapsed() < MANNER_KEPT)
            .map_or(Manner::LsRefs, |(manner, _)| *manner)
    }

    fn learn(&self, url: &str, manner: Manner) {
        let mut manners = self.inner.manners.lock().unwrap_or_else(PoisonError::into_inner);
        if manner == Manner::LsRefs {
            manners.remove(url);
            return;
        }
        if manners.len() >= MANNERS_MAX {
            manners.clear();
        }
        manners.entry(url.to_owned()).or_insert_with(|| (manner, Instant::now())).0 = manner;
    }

    async fn turn(
        &self,
        origin: &Origin,
        until: Instant,
        deadline: Duration,
    ) -> Result<Option<OwnedMutexGuard<()>>, SourceError> {
        if origin.way != Way::Ssh {
            return Ok(None);
        }
        let turn = {
            let mut turns = self.inner.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            let known = turns.get(&origin.place).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let turn = Arc::default();
                turns.insert(origin.place.clone(), Arc::downgrade(&turn));
                turn
            })
        };
        let held = tokio::time::timeout_at(until, turn.lock_owned()).await;
        held.map(Some).map_err(|_| SourceError::timed_out("waiting to ask", origin, deadline))
    }
}

fn socket(link: Option<&Link>) -> Option<&Path> {
    link.map(|link| link.socket.as_path())
}
