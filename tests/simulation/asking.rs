//! Requests and votes, as they come and go.

use std::collections::{BTreeMap, BTreeSet};

use shipbell::model::event::Change;
use shipbell::model::request::{Request, RequestState, Vote};
use shipbell::model::run::Run;
use shipbell::pipeline::world::World;

use crate::checks::{Checks, Fault, Transition, fault, must};

pub fn requests(checks: &mut Checks, all: &Transition<'_>) -> Result<(), Fault> {
    let live = |world: &'_ World| -> BTreeMap<u64, Request> {
        world.live.values().flat_map(|live| live.requests.clone()).collect()
    };
    let mut known = live(all.before);
    let mut ended: BTreeSet<u64> = BTreeSet::new();
    for change in &all.done.changes {
        let Change::RequestPut(request) = change else { continue };
        must(!ended.contains(&request.id), "a decided request is final", request)?;
        match known.insert(request.id, (**request).clone()) {
            None => asked(checks, all, request)?,
            Some(old) => altered(checks, all, &old, request)?,
        }
        if !request.is_live() {
            ended.insert(request.id);
        }
    }
    let mut runs = BTreeSet::new();
    for request in live(all.after).values() {
        must(runs.insert(request.run.clone()), "a run has one request at a time", request)?;
        let run = all.after.run(&request.run);
        let fits = run.is_some_and(|run| run.is_queued() || (run.is_running() && !request.is_open()));
        must(fits, "only a waiting run asks", (request, run))?;
    }
    Ok(())
}

fn run_of<'a>(all: &'a Transition<'_>, request: &Request) -> Option<&'a Run> {
    let put = all.done.changes.iter().find_map(|change| match change {
        Change::RunPut(run) if run.run == request.run => Some(&**run),
        _ => None,
    });
    put.or_else(|| all.before.run(&request.run))
}

fn asked(checks: &mut Checks, all: &Transition<'_>, request: &Request) -> Result<(), Fault> {
    must(request.id > all.before.last_request, "requests count up", request)?;
    must(request.votes.is_empty() && request.is_open(), "a new request is open", request)?;
    let Some(run) = run_of(all, request) else { return Err(fault("a request is a run's", request)) };
    let rejected = all.before.live.get(&run.run.job.pipeline).map(|live| &live.rejected);
    let again = rejected.is_some_and(|rejected| rejected.contains(&request.tuple_hash));
    let by_itself = run.cause.person().is_none() && run.commit.is_some();
    must(!(again && by_itself), "what was rejected is not offered again by itself", request)?;
    checks.seen("asked");
    Ok(())
}

fn altered(checks: &mut Checks, all: &Transition<'_>, old: &Request, new: &Request) -> Result<(), Fault> {
    must(old.tuple == new.tuple && old.run == new.run, "what a request asks never changes", (old, new))?;
    let kept = new.votes.iter().zip(&old.votes).all(|(new, old)| new == old) && new.votes.len() >= old.votes.len();
    must(kept, "votes are never thrown away", (old, new))?;
    for vote in &new.votes[old.votes.len()..] {
        voted(all, old, vote)?;
        checks.seen("vote");
    }
    checks.seen(new.state.word());
    match &new.state {
        RequestState::Superseded { by, .. } => {
            let open_with_votes = old.is_open() && !old.votes.is_empty();
            must(!open_with_votes, "a request with a vote does not give way to one without", (old, new))?;
            must(by.job == new.run.job && by.number != new.run.number, "it gives way to another of its job", new)
        }
        RequestState::Approved { at, until } => {
            must(until > at && *at < old.expires_at, "an approval lives, and came in time", new)
        }
        RequestState::Expired { at } => {
            let over = match &old.state {
                RequestState::Approved { until, .. } => at >= until,
                _ => *at >= old.expires_at,
            };
            must(over, "a request expires when its time is over", (old, new))
        }
        RequestState::Used { .. } => {
            let approved = matches!(old.state, RequestState::Approved { .. });
            must(approved, "only an approval is used", (old, new))
        }
        _ => Ok(()),
    }
}

fn voted(all: &Transition<'_>, request: &Request, vote: &Vote) -> Result<(), Fault> {
    must(vote.at == all.now && all.now < request.expires_at || !request.is_open(), "votes come in time", vote)?;
    must(request.votes.iter().all(|old| old.by != vote.by), "a person votes once", (request, vote))?;
    // The configuration that judged it is that of the turn's beginning or one reloaded within it.
    let catalogs = [&all.before.scratch.catalog, &all.after.scratch.catalog];
    let holds = catalogs.iter().any(|catalog| {
        let person = catalog.people.iter().find(|(name, _)| name.as_str() == vote.by).map(|(_, person)| person);
        person.is_some_and(|person| person.roles.iter().any(|role| role == "release"))
    });
    must(holds, "only who holds the role votes", (request, vote))
}
