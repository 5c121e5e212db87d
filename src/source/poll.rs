//! One look at one repository, for all pipelines that use it: ask, fetch what is new, and say for
//! each pipeline what its refs stand at. A ref is told of as it stands in the mirror, so a commit that
//! is told of is there. When to look, and whether to say the same thing again, is the poller's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::clean;
use super::error::SourceError;
use super::fetch::fetch;
use super::mirror::{Mirror, Mirrors};
use super::origin;
use super::remote::{Remote, ask};
use crate::model::catalog::Pipeline;
use crate::model::commit::{CommitId, RefName};
use crate::model::event::{Event, HeadSeen, PollAnswer};
use crate::model::glob;
use crate::model::job::RefFilter;
use crate::model::name::PipelineName;

/// A pipeline that is to be told of its repository.
#[derive(Debug, Clone)]
pub struct Target {
    pub pipeline: Arc<Pipeline>,
    pub url: String,
    pub every: Duration,
    /// Commits of the last sightings of each ref, newest last: the last one is the current tip.
    pub known: BTreeMap<RefName, Vec<CommitId>>,
    /// What HEAD pointed to when it was last seen.
    pub head: Option<RefName>,
}

/// How long the two children may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    pub(super) ask: Duration,
    pub(super) fetch: Duration,
}

/// What one look gave.
pub(super) struct Looked {
    pub(super) looks: Vec<Look>,
    /// What the remote said; `None` where it, or its fetch, failed.
    pub(super) remote: Option<Arc<Remote>>,
}

/// What it gave for one pipeline.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) pipeline: PipelineName,
    pub(super) answer: Option<PollAnswer>,
    /// What is wrong, for people; beside an answer: a branch that the job file names is missing.
    pub(super) trouble: Option<String>,
    /// The answer is not what the pipeline knows.
    pub(super) news: bool,
}

impl Look {
    pub(super) fn events(self) -> impl Iterator<Item = Event> {
        let pipeline = self.pipeline.clone();
        let polled = self.answer.map(|poll| Event::Polled { pipeline, poll });
        let failed = self.trouble.map(|why| Event::PollFailed { pipeline: self.pipeline, why });
        polled.into_iter().chain(failed)
    }
}

/// Looks once and says what is new. Fetching may take ten times `deadline`.
pub async fn poll_once(mirrors: &Mirrors, url: &str, targets: &[Target], deadline: Duration) -> Vec<Event> {
    let deadlines = Deadlines { ask: deadline, fetch: deadline.saturating_mul(10) };
    let looked = look(mirrors, url, targets, deadlines, None).await;
    let told = looked.looks.into_iter().filter(|look| look.news || look.trouble.is_some());
    told.flat_map(Look::events).collect()
}

/// `last`: what the remote said the time before, where its tags need not be looked at again.
pub(super) async fn look(
    mirrors: &Mirrors,
    url: &str,
    targets: &[Target],
    deadlines: Deadlines,
    last: Option<&Remote>,
) -> Looked {
    let targets: Arc<[Target]> = targets.iter().filter(|target| target.url == url).cloned().collect();
    let all_failed = |error: &SourceError| {
        let failed = |target: &Target| Look {
            pipeline: target.pipeline.name.clone(),
            answer: None,
            trouble: Some(error.to_string()),
            news: true,
        };
        Looked { looks: targets.iter().map(failed).collect(), remote: None }
    };
    let mut tries = 0;
    loop {
        tries += 1;
        let remote = match in_place(ASK_USUAL, ask(url, deadlines.ask)).await {
            Ok(remote) => Arc::new(remote),
            Err(error) => return all_failed(&error),
        };
        let all_tags = last.is_none_or(|last| *last != *remote);
        let problem = get(mirrors, url, &targets, &remote, deadlines.fetch, all_tags).await.err();
        let again = match &problem {
            Some(error) => mended(mirrors, url, error, deadlines.fetch).await,
            None => false,
        };
        if again && tries < TRIES {
            continue;
        }
        let (of, at, targets, asked) = (mirrors.clone(), url.to_owned(), targets.clone(), remote.clone());
        let failed = problem.is_some();
        match blocking(move || report(&of.open(&at)?, &at, &targets, &asked, problem.as_ref())).await {
            Ok(looks) => return Looked { looks, remote: (!failed).then_some(remote) },
            Err(error) if tries < TRIES && mended(mirrors, url, &error, deadlines.fetch).await => {}
            Err(error) => return all_failed(&error),
        }
    }
}

const TRIES: u32 = 3;

/// Does what can be done about an error; true: it is worth looking again, now.
async fn mended(mirrors: &Mirrors, url: &str, error: &SourceError, deadline: Duration) -> bool {
    let (mirrors, url, error) = (mirrors.clone(), url.to_owned(), error.clone());
    let done = blocking(move || match error {
        // It went away between asking and fetching.
        SourceError::RefGone { .. } => Ok(true),
        SourceError::Locked { .. } => mirrors.open(&url).map(|mirror| mirror.sweep(deadline)).map(|()| false),
        SourceError::Damaged { by_git, .. } if !mirrors.mend(&url)? => {
            // Only git's own word is enough to fetch everything anew: libgit2 also stumbles over commits
            // that git can read.
            if by_git {
                mirrors.renew(&url)?;
            }
            Ok(by_git)
        }
        SourceError::Damaged { .. } => Ok(true),
        _ => Ok(false),
    });
    done.await.unwrap_or_else(|error| {
        tracing::warn!(%error, "a mirror could not be mended");
        false
    })
}

/// Children at one time, over all repositories: a hundred of them at once would only slow each other.
static PLACES: Semaphore = Semaphore::const_new(8);

const ASK_USUAL: Duration = Duration::from_secs(5);
const FETCH_USUAL: Duration = Duration::from_secs(30);

/// Works in one of the places. Whoever takes longer than `usual` most likely waits for a server that
/// does not answer: that costs nothing but memory, so the place is given back and nobody else waits.
async fn in_place<T>(usual: Duration, work: impl Future<Output = T>) -> T {
    let place = PLACES.acquire().await;
    let mut work = std::pin::pin!(work);
    tokio::select! {
        done = &mut work => done,
        () = tokio::time::sleep(usual) => {
            drop(place);
            work.await
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(SourceError::Start(error.to_string())))
}

/// Brings into the mirror what the targets watch and it does not have.
async fn get(
    mirrors: &Mirrors,
    url: &str,
    targets: &Arc<[Target]>,
    remote: &Arc<Remote>,
    deadline: Duration,
    all_tags: bool,
) -> Result<(), SourceError> {
    let (for_survey, targets, asked, at) = (mirrors.clone(), targets.clone(), remote.clone(), url.to_owned());
    let wanted = blocking(move || survey(&for_survey.open(&at)?, &targets, &asked, all_tags)).await?;
    if wanted.is_empty() {
        return Ok(());
    }
    in_place(FETCH_USUAL, fetch(&mirrors.path(url), url, &wanted, deadline)).await
}

/// What is to be fetched.
fn survey(mirror: &Mirror, targets: &[Target], remote: &Remote, all_tags: bool) -> Result<Vec<RefName>, SourceError> {
    let missing = |(name, id): &(&RefName, &CommitId)| mirror.tip(name).as_ref() != Some(*id);
    let watched = |name: &RefName| targets.iter().any(|target| target.pipeline.watches(name, remote.head.as_ref()));
    let heads = remote.refs.iter().filter(|(name, _)| watched(name)).filter(missing).map(|(name, _)| name.clone());
    let mut wanted: BTreeSet<RefName> = heads.collect();
    if (all_tags || !wanted.is_empty()) && !remote.refs.is_empty() {
        mirror.tidy(remote)?;
        wanted.extend(mirror.missing_tags(remote));
    }
    Ok(wanted.into_iter().collect())
}

/// # Errors
/// If the mirror is damaged; all other trouble is part of what is told.
fn report(
    mirror: &Mirror,
    url: &str,
    targets: &[Target],
    remote: &Remote,
    problem: Option<&SourceError>,
) -> Result<Vec<Look>, SourceError> {
    let one = |target: &Target| {
        let pipeline = target.pipeline.name.clone();
        let emptied = remote.refs.is_empty() && !target.known.is_empty();
        let seen = if emptied {
            Err(SourceError::Emptied { url: origin::shown(url) })
        } else {
            heads(mirror, target, remote, problem)
        };
        match seen {
            Ok((heads, news)) => {
                let trouble = missing_branches(&target.pipeline, url, remote);
                let answer = Some(PollAnswer { head: remote.head.clone(), heads, standings: Vec::new() });
                Ok(Look { pipeline, answer, trouble, news })
            }
            Err(error) if error.is_damage() && problem.is_none() => Err(error),
            Err(error) => Ok(Look { pipeline, answer: None, trouble: Some(error.to_string()), news: true }),
        }
    };
    targets.iter().map(one).collect()
}

/// What the watched refs stand at, and whether that is news.
fn heads(
    mirror: &Mirror,
    target: &Target,
    remote: &Remote,
    problem: Option<&SourceError>,
) -> Result<(Vec<HeadSeen>, bool), SourceError> {
    let watches = |name: &RefName| target.pipeline.watches(name, remote.head.as_ref());
    let mut heads = Vec::new();
    let mut news = target.head != remote.head || (target.known.is_empty() && target.head.is_none());
    for (name, id) in remote.refs.iter().filter(|(name, _)| watches(name)) {
        // After a fetch the mirror may be ahead of what was asked before it: what it has is told.
        let tip = match (mirror.tip(name), problem) {
            (Some(tip), None) => tip,
            (Some(tip), Some(_)) if tip == *id => tip,
            (_, Some(problem)) => return Err(problem.clone()),
            (None, None) => {
                return Err(SourceError::Unreadable { name: shown(name.as_str()), commit: id.to_string() });
            }
        };
        if !mirror.has(&tip) {
            // A tag may name a tree or a file: nothing that could be run.
            continue;
        }
        let known = target.known.get(name).map(Vec::as_slice).unwrap_or_default();
        let (mut between, mut gone) = (Vec::new(), Vec::new());
        if known.last() != Some(&tip) {
            news = true;
            mirror.keep(&tip)?;
            gone = mirror.not_on(&tip, known)?;
            if let Some(last) = known.last().filter(|last| mirror.has(last)) {
                between = mirror.first_parents(last, &tip, BETWEEN_MAX)?;
            }
        }
        heads.push(HeadSeen { git_ref: name.clone(), commit: mirror.commit(&tip)?, between, gone });
    }
    let told = |name: &RefName| heads.iter().any(|head| head.git_ref == *name);
    news |= target.known.keys().any(|name| watches(name) && !told(name));
    Ok((heads, news))
}

const BETWEEN_MAX: usize = 200;

/// What the job file names plainly and the remote does not have.
fn missing_branches(pipeline: &Pipeline, url: &str, remote: &Remote) -> Option<String> {
    let url = origin::shown(url);
    let branches = || remote.refs.keys().filter(|name| !name.is_tag());
    let repo = pipeline.repo.iter().map(|repo| &repo.refs);
    let filters: Vec<&RefFilter> = repo.chain(pipeline.jobs.values().map(|job| &job.definition.refs)).collect();
    let named = filters.iter().filter_map(|filter| filter.branches.as_ref()).flatten();
    let there = |name: &str| RefName::branch(name).is_ok_and(|name| remote.refs.contains_key(&name));
    let missing: BTreeSet<&str> =
        named.map(String::as_str).filter(|name| glob::is_plain(name) && !there(name)).collect();
    let Some(first) = missing.first() else {
        let follows_head = filters.iter().any(|filter| filter.branches.is_none() && filter.tags.is_empty());
        let lost = follows_head && remote.head.is_none() && branches().next().is_some();
        let has = has(branches(), "main");
        return lost.then(|| format!("HEAD of {url} points to no branch: name `branches` in [repo]; {has}"));
    };
    let names: Vec<String> = missing.iter().map(|name| format!("`{}`", shown(name))).collect();
    let (word, verb) = if names.len() == 1 { ("branch", "does") } else { ("branches", "do") };
    let has = has(branches(), first);
    Some(format!("{word} {} {verb} not exist in {url}; {has}", names.join(", ")))
}

fn shown(name: &str) -> String {
    clean::line(name.as_bytes(), 80)
}

/// What it has instead, the closest names first.
fn has<'a>(branches: impl Iterator<Item = &'a RefName>, wanted: &str) -> String {
    const SHOWN: usize = 8;
    let mut names: Vec<&str> = branches.map(RefName::short).collect();
    let closeness = |name: &str| strsim::jaro_winkler(wanted, name);
    names.sort_by(|a, b| closeness(b).total_cmp(&closeness(a)).then(a.cmp(b)));
    let listed: Vec<String> = names.iter().take(SHOWN).map(|name| shown(name)).collect();
    match names.len() {
        0 => "it is empty".to_owned(),
        n if n > SHOWN => format!("it has: {} and {} more", listed.join(", "), n - SHOWN),
        _ => format!("it has: {}", listed.join(", ")),
    }
}
