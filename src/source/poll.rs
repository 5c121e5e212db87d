//! One look at one repository, for all pipelines that use it: ask, fetch what is new, and say for
//! each pipeline what its refs stand at. A ref is told of as it stands in the mirror, so a commit that
//! is told of is there. When to look, and whether to say the same thing again, is the poller's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::clean;
use super::error::SourceError;
use super::fetch::Wanted;
use super::mirror::{Mirror, Mirrors};
use super::origin;
use super::pulls;
use super::remote::Remote;
use super::remotes::Remotes;
use super::scope::Scope;
use super::signature;
use crate::model::catalog::{Address, Pipeline};
use crate::model::commit::{CommitId, RefName};
use crate::model::event::{Event, HeadSeen, PollAnswer};
use crate::model::glob;
use crate::model::name::PipelineName;

/// A pipeline that is to be told of its repository.
#[derive(Debug, Clone)]
pub struct Target {
    pub pipeline: Arc<Pipeline>,
    pub at: Address,
    pub every: Duration,
    /// Commits of the last sightings of each ref, newest last: the last one is the current tip.
    pub known: BTreeMap<RefName, Vec<CommitId>>,
    /// What HEAD pointed to when it was last seen.
    pub head: Option<RefName>,
}

/// With what, and how long asking and fetching may take.
#[derive(Clone)]
pub struct Tools {
    pub mirrors: Mirrors,
    pub remotes: Remotes,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    pub(super) ask: Duration,
    pub(super) fetch: Duration,
}

/// What one look gave.
pub(super) struct Looked {
    pub(super) looks: Vec<Look>,
    /// What the remote said, or why it, or its fetch, failed.
    pub(super) remote: Result<Arc<Said>, String>,
}

/// What a remote said, and what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) remote: Remote,
    pub(super) scope: Scope,
    /// All its branches, where a name that is wanted is not among those that were asked for.
    others: Vec<RefName>,
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
pub async fn poll_once(tools: &Tools, at: &Address, targets: &[Target], deadline: Duration) -> Vec<Event> {
    let deadlines = Deadlines { ask: deadline, fetch: deadline.saturating_mul(10) };
    let looked = look(tools, at, targets, deadlines, None).await;
    let told = looked.looks.into_iter().filter(|look| look.news || look.trouble.is_some());
    told.flat_map(Look::events).collect()
}

/// `last`: what the remote said the time before, where its tags need not be looked at again, and nothing
/// where that and the pipelines agree.
pub(super) async fn look(
    tools: &Tools,
    at: &Address,
    targets: &[Target],
    deadlines: Deadlines,
    last: Option<&Arc<Said>>,
) -> Looked {
    let targets: Arc<[Target]> = targets.iter().filter(|target| target.at == *at).cloned().collect();
    let all_failed = |error: &SourceError| {
        let failed = |target: &Target| Look {
            pipeline: target.pipeline.name.clone(),
            answer: None,
            trouble: Some(error.to_string()),
            news: true,
        };
        Looked { looks: targets.iter().map(failed).collect(), remote: Err(error.to_string()) }
    };
    let mut tries = 0;
    loop {
        tries += 1;
        let said = match in_place(tools, ASK_USUAL, ask(tools, at, &targets, deadlines.ask, last)).await {
            Ok(said) => said,
            Err(error) => return all_failed(&error),
        };
        let is_last = last.is_some_and(|last| Arc::ptr_eq(last, &said));
        if is_last && targets.iter().all(|target| knows(target, &said)) {
            return Looked { looks: Vec::new(), remote: Ok(said) };
        }
        let all_tags = !is_last;
        let problem = get(tools, at, &targets, &said, deadlines, all_tags).await.err();
        let again = match &problem {
            Some(error) => mended(&tools.mirrors, at, error, deadlines.fetch).await,
            None => false,
        };
        if again && tries < TRIES {
            continue;
        }
        let (of, place, targets, asked) = (tools.mirrors.clone(), at.clone(), targets.clone(), said.clone());
        let trouble = problem.as_ref().map(ToString::to_string);
        let anew = last.is_none();
        match blocking(move || report(&of, &place, &targets, &asked, problem.as_ref(), anew)).await {
            Ok(looks) => return Looked { looks, remote: trouble.map_or(Ok(said), Err) },
            Err(error) if tries < TRIES && mended(&tools.mirrors, at, &error, deadlines.fetch).await => {}
            Err(error) => return all_failed(&error),
        }
    }
}

/// Asks what the targets follow; only where a branch is missing, what there is in its place.
async fn ask(
    tools: &Tools,
    at: &Address,
    targets: &[Target],
    deadline: Duration,
    last: Option<&Arc<Said>>,
) -> Result<Arc<Said>, SourceError> {
    let scope = Scope::of(targets.iter().map(|target| target.pipeline.as_ref()));
    let pulls = scope.has_pulls();
    let (mut remote, scope) = tools.remotes.ask(at, &scope, deadline).await?;
    if pulls {
        remote = narrowed(tools, at, remote).await?;
    }
    if let Some(last) = last.filter(|last| last.scope == scope && last.remote == remote) {
        return Ok(last.clone());
    }
    let missing = |target: &Target| !missing_names(&target.pipeline, &remote).is_empty() || lost_head(target, &remote);
    let mut others = Vec::new();
    if !scope.has_all_branches() && targets.iter().any(missing) {
        let (all, _) = tools.remotes.ask(at, &scope.with_all_branches(), deadline).await?;
        others = all.refs.into_keys().filter(|name| !name.is_tag() && !name.is_pull()).collect();
    }
    Ok(Arc::new(Said { remote, scope, others }))
}

/// Whether a pipeline has nothing to hear: what it follows stands where it knows it, and all of it is there.
fn knows(target: &Target, said: &Said) -> bool {
    let (pipeline, remote) = (&target.pipeline, &said.remote);
    let watches = |name: &RefName| pipeline.watches(name, remote.head.as_ref());
    let mut there = remote.refs.iter().filter(|(name, _)| watches(name));
    target.head == remote.head
        && there.all(|(name, id)| target.known.get(name).and_then(|row| row.last()) == Some(id))
        && target.known.keys().all(|name| !watches(name) || remote.refs.contains_key(name))
        && missing_names(pipeline, remote).is_empty()
        && !lost_head(target, remote)
        && !remote.refs.is_empty()
}

/// The answer with those pull requests that are followed.
async fn narrowed(tools: &Tools, at: &Address, mut remote: Remote) -> Result<Remote, SourceError> {
    let (mirrors, at) = (tools.mirrors.clone(), at.clone());
    blocking(move || {
        pulls::narrow(mirrors.open(&at)?.path(), &mut remote)?;
        Ok(remote)
    })
    .await
}

fn lost_head(target: &Target, remote: &Remote) -> bool {
    remote.head.is_none() && follows_head(&target.pipeline)
}

const TRIES: u32 = 3;

/// Does what can be done about an error; true: it is worth looking again, now.
async fn mended(mirrors: &Mirrors, at: &Address, error: &SourceError, deadline: Duration) -> bool {
    let (mirrors, at, error) = (mirrors.clone(), at.clone(), error.clone());
    let done = blocking(move || match error {
        // It went away between asking and fetching.
        SourceError::RefGone { .. } => Ok(true),
        SourceError::Locked { .. } => mirrors.open(&at).map(|mirror| mirror.sweep(deadline)).map(|()| false),
        SourceError::Damaged { by_git, .. } if !mirrors.mend(&at)? => {
            // Only git's own word is enough to fetch everything anew: libgit2 also stumbles over commits
            // that git can read.
            if by_git {
                mirrors.renew(&at)?;
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

const ASK_USUAL: Duration = Duration::from_secs(5);
const FETCH_USUAL: Duration = Duration::from_secs(30);

/// Works in one of the places. Whoever takes longer than `usual` most likely waits for a server that
/// does not answer: that costs nothing but memory, so the place is given back and nobody else waits.
async fn in_place<T>(tools: &Tools, usual: Duration, work: impl Future<Output = T>) -> T {
    let place = tools.remotes.places().acquire().await;
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
    tools: &Tools,
    at: &Address,
    targets: &Arc<[Target]>,
    said: &Arc<Said>,
    deadlines: Deadlines,
    all_tags: bool,
) -> Result<(), SourceError> {
    let (mirrors, watching, asked, place) = (tools.mirrors.clone(), targets.clone(), said.clone(), at.clone());
    if said.remote.refs.is_empty() {
        return Ok(());
    }
    let wanted = blocking(move || survey(&mirrors.open(&place)?, &watching, &asked, all_tags)).await?;
    if wanted.is_empty() {
        return Ok(());
    }
    let within = deadlines.fetch;
    if said.scope.has_all_tags() {
        return fetch(tools, at, Wanted { refs: &wanted, tags: true }, within).await;
    }
    // Something is new: now the tags of its history are worth their list, which is asked for meanwhile.
    let heads = Wanted { refs: &wanted, tags: false };
    let (fetched, tagged) = tokio::join!(fetch(tools, at, heads, within), with_tags(tools, at, said, deadlines.ask));
    fetched?;
    let (tagged, mirrors, watching, place) = (tagged?, tools.mirrors.clone(), targets.clone(), at.clone());
    let rest = blocking(move || survey(&mirrors.open(&place)?, &watching, &tagged, true)).await?;
    if rest.is_empty() { Ok(()) } else { fetch(tools, at, Wanted { refs: &rest, tags: true }, within).await }
}

async fn fetch(tools: &Tools, at: &Address, wanted: Wanted<'_>, within: Duration) -> Result<(), SourceError> {
    let mirror = tools.mirrors.path(at);
    in_place(tools, FETCH_USUAL, tools.remotes.fetch_wanted(at, &mirror, wanted, within)).await
}

/// The same question with all tags.
async fn with_tags(tools: &Tools, at: &Address, said: &Said, deadline: Duration) -> Result<Said, SourceError> {
    let scope = said.scope.with_all_tags();
    let pulls = scope.has_pulls();
    let (mut remote, scope) = in_place(tools, ASK_USUAL, tools.remotes.ask(at, &scope, deadline)).await?;
    if pulls {
        remote = narrowed(tools, at, remote).await?;
    }
    Ok(Said { remote, scope, others: Vec::new() })
}

/// What is to be fetched.
fn survey(mirror: &Mirror, targets: &[Target], said: &Said, all_tags: bool) -> Result<Vec<RefName>, SourceError> {
    let remote = &said.remote;
    let missing = |(name, id): &(&RefName, &CommitId)| mirror.tip(name).as_ref() != Some(*id);
    let watched = |name: &RefName| targets.iter().any(|target| target.pipeline.watches(name, remote.head.as_ref()));
    let heads = remote.refs.iter().filter(|(name, _)| watched(name)).filter(missing).map(|(name, _)| name.clone());
    let mut wanted: BTreeSet<RefName> = heads.collect();
    if all_tags || !wanted.is_empty() {
        mirror.tidy(remote, &said.scope)?;
        wanted.extend(mirror.missing_tags(remote));
    }
    Ok(wanted.into_iter().collect())
}

/// # Errors
/// If the mirror is damaged; all other trouble is part of what is told.
fn report(
    mirrors: &Mirrors,
    at: &Address,
    targets: &[Target],
    said: &Said,
    problem: Option<&SourceError>,
    anew: bool,
) -> Result<Vec<Look>, SourceError> {
    let (remote, url) = (&said.remote, at.url.as_str());
    // Thousands of empty repositories need no mirrors.
    let mirror = if remote.refs.is_empty() { None } else { Some(mirrors.open(at)?) };
    let one = |target: &Target| {
        let pipeline = target.pipeline.name.clone();
        let emptied = remote.refs.is_empty() && said.others.is_empty() && !target.known.is_empty();
        let seen = if emptied {
            Err(SourceError::Emptied { url: origin::shown(url) })
        } else {
            heads(mirror.as_ref(), target, remote, problem, anew)
        };
        match seen {
            Ok((heads, news)) => {
                let trouble = missing_branches(&target.pipeline, url, said);
                let signers = target.pipeline.signers();
                let answer = Some(PollAnswer { head: remote.head.clone(), heads, signers, standings: Vec::new() });
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
    mirror: Option<&Mirror>,
    target: &Target,
    remote: &Remote,
    problem: Option<&SourceError>,
    anew: bool,
) -> Result<(Vec<HeadSeen>, bool), SourceError> {
    let watches = |name: &RefName| target.pipeline.watches(name, remote.head.as_ref());
    let mut heads = Vec::new();
    let mut news = target.head != remote.head || (target.known.is_empty() && target.head.is_none());
    for (name, id) in remote.refs.iter().filter(|(name, _)| watches(name)) {
        let Some(mirror) = mirror else { break };
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
        let seen =
            HeadSeen { git_ref: name.clone(), commit: mirror.commit(&tip)?, between, gone, refused: BTreeMap::new() };
        heads.push(judged(mirror, target, seen, if anew { known } else { &[] }));
    }
    let told = |name: &RefName| heads.iter().any(|head| head.git_ref == *name);
    news |= target.known.keys().any(|name| watches(name) && !told(name));
    Ok((heads, news))
}

const BETWEEN_MAX: usize = 200;

/// Which of its commits, and of those known before, nobody who may has signed.
fn judged(mirror: &Mirror, target: &Target, mut seen: HeadSeen, known: &[CommitId]) -> HeadSeen {
    if let Some(signers) = target.pipeline.repo.as_ref().and_then(|repo| repo.signed_by.as_deref()) {
        let new = seen.between.iter().chain([&seen.commit]).map(|commit| &commit.id);
        let commits: BTreeSet<&CommitId> = new.chain(known.iter().filter(|id| mirror.has(id))).collect();
        let refused = commits.into_iter().filter_map(|commit| {
            let why = signature::refused(mirror, &seen.git_ref, commit, signers)?;
            Some((commit.clone(), why))
        });
        seen.refused = refused.collect();
    }
    seen
}

/// What the job file names plainly and the remote does not have.
fn missing_names<'a>(pipeline: &'a Pipeline, remote: &Remote) -> BTreeSet<&'a str> {
    let named = pipeline.filters().filter_map(|filter| filter.branches.as_ref()).flatten();
    let there = |name: &str| RefName::branch(name).is_ok_and(|name| remote.refs.contains_key(&name));
    named.map(String::as_str).filter(|name| glob::is_plain(name) && !there(name)).collect()
}

fn follows_head(pipeline: &Pipeline) -> bool {
    pipeline.filters().any(|filter| filter.branches.is_none() && filter.tags.is_empty())
}

fn missing_branches(pipeline: &Pipeline, url: &str, said: &Said) -> Option<String> {
    let (url, remote) = (origin::shown(url), &said.remote);
    let all: BTreeSet<&RefName> = remote.refs.keys().filter(|name| !name.is_tag()).chain(said.others.iter()).collect();
    let branches = || all.iter().copied();
    let missing = missing_names(pipeline, remote);
    let Some(first) = missing.first() else {
        let lost = follows_head(pipeline) && remote.head.is_none() && !all.is_empty();
        let has = has(branches(), "main");
        return lost.then(|| format!("HEAD of {url} points to no branch: name `branches` in [repo]; {has}"));
    };
    let names: Vec<String> = missing.iter().map(|name| format!("`{}`", shown(name))).collect();
    let (word, verb) = if names.len() == 1 { ("branch", "does") } else { ("branches", "do") };
    let has = has(branches(), first);
    Some(format!("{word} {} {verb} not exist in {url}; {has}", names.join(", ")))
}

pub(super) fn shown(name: &str) -> String {
    clean::line(name.as_bytes(), 80)
}

/// What it has instead of a branch that is not there.
pub(super) fn has_of(remote: &Remote, wanted: &str) -> String {
    has(remote.refs.keys().filter(|name| !name.is_tag()), wanted)
}

/// The same, the closest names first.
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
