//! The life of requests between the votes: made, superseded, voided, expired, used. Votes are never
//! thrown away: a request with one gives way only to a newer approved one.

use sha2::{Digest, Sha256};

use crate::model::catalog::Job;
use crate::model::commit::CommitInfo;
use crate::model::event::{Action, Change};
use crate::model::job::{Approval, Factor, hex};
use crate::model::letter::LetterKind;
use crate::model::name::{PersonName, PipelineName, RunRef};
use crate::model::request::{Brief, Request, RequestState, Slot};
use crate::model::run::Run;
use crate::model::statement::Statement;
use crate::pipeline::compare;
use crate::pipeline::draft::{Draft, listeners};
use crate::pipeline::{life, requests};

/// Ends what is over by time, and what gave way to something newer.
pub fn plan(draft: &mut Draft<'_>, name: &PipelineName) {
    let Some(live) = draft.live(name) else { return };
    let requests: Vec<Request> = live.requests.values().cloned().collect();
    for request in &requests {
        if !draft.world.run(&request.run).is_some_and(Run::is_queued) {
            continue;
        }
        match &request.state {
            RequestState::Open if draft.now >= request.expires_at => expire(draft, request.clone()),
            RequestState::Approved { until, .. } if draft.now >= *until => expire(draft, request.clone()),
            RequestState::Open => draft.wake(name, request.expires_at),
            RequestState::Approved { until, .. } => draft.wake(name, *until),
            _ => {}
        }
    }
    supersede(draft, name);
}

/// The voting time or the approval's life is over.
pub fn expire(draft: &mut Draft<'_>, request: Request) {
    let text = match &request.state {
        RequestState::Approved { .. } => "expired: approved, but it could not start in time",
        _ => "expired: nobody decided in time",
    };
    end(draft, request, RequestState::Expired { at: draft.now }, text, true);
}

/// Within one job and branch: without any vote it gives way to a newer one; approved, to a newer approved one.
fn supersede(draft: &mut Draft<'_>, name: &PipelineName) {
    let Some(live) = draft.live(name) else { return };
    let mut open: Vec<(Request, Run)> = Vec::new();
    for request in live.requests.values() {
        if let Some(run) = live.runs.get(&request.run).filter(|run| run.is_queued()) {
            open.push((request.clone(), run.clone()));
        }
    }
    let age = |run: &Run| (run.sighting, run.run.number);
    for (request, run) in &open {
        let approved = matches!(request.state, RequestState::Approved { .. });
        let gives_way = |(other, other_run): &&(Request, Run)| {
            let newer =
                other_run.run.job == run.run.job && other_run.git_ref == run.git_ref && age(other_run) > age(run);
            newer && (request.votes.is_empty() || (approved && matches!(other.state, RequestState::Approved { .. })))
        };
        if let Some((_, newer)) = open.iter().filter(gives_way).max_by_key(|(_, other)| age(other)) {
            let by = newer.run.clone();
            let text = format!("superseded by {by}");
            end(draft, request.clone(), RequestState::Superseded { at: draft.now, by }, &text, false);
        }
    }
}

/// Ends a request and, as skipped, its run.
pub fn end(draft: &mut Draft<'_>, mut request: Request, state: RequestState, text: &str, tell: bool) {
    withdraw(draft, &request, text);
    request.state = state;
    let run = request.run.clone();
    draft.put(Change::RequestPut(Box::new(request.clone())));
    if tell {
        tell_decided(draft, &request);
    }
    life::skip(draft, &run, text);
}

/// The request does not stand any more; its run waits and asks anew when it can.
pub fn void(draft: &mut Draft<'_>, mut request: Request, why: &str) {
    withdraw(draft, &request, why);
    request.state = RequestState::Voided { at: draft.now, why: why.to_owned() };
    draft.put(Change::RequestPut(Box::new(request.clone())));
    draft.note("voided", &request.run, format!("request r-{}: {why}", request.id));
    if !request.votes.is_empty() {
        tell_decided(draft, &request);
    }
}

/// The run ended: its request is used, or closed with it.
pub fn close(draft: &mut Draft<'_>, run: &RunRef, used: bool, why: &str) {
    let Some(mut request) = draft.world.request_of(run).cloned() else { return };
    if !used {
        withdraw(draft, &request, why);
    }
    request.state = if used {
        RequestState::Used { at: draft.now }
    } else {
        RequestState::Closed { at: draft.now, why: why.to_owned() }
    };
    draft.put(Change::RequestPut(Box::new(request)));
}

/// Votes that the executor judges for itself it counts no more, also should this process be taken over later.
fn withdraw(draft: &mut Draft<'_>, request: &Request, why: &str) {
    if requests::factor(draft.world, request) > Factor::Word {
        let git_ref = draft.world.run(&request.run).and_then(|run| run.git_ref.as_ref());
        let statement = Box::new(Statement::of(request, git_ref));
        draft.actions.push(Action::Withdraw { statement, why: why.to_owned() });
    }
}

/// A short mail to everybody who was asked.
pub fn tell_decided(draft: &mut Draft<'_>, request: &Request) {
    let addresses: Vec<String> = request.slots.iter().map(|slot| slot.email.clone()).collect();
    draft.write_to(&addresses, &LetterKind::Decided { request: request.id });
}

/// Makes the request of a run.
pub fn open(draft: &mut Draft<'_>, run: &Run, takes_back: &[CommitInfo]) {
    let Some(job) = draft.world.job(&run.run.job).cloned() else { return };
    let Some(policy) = &job.definition.environment else { return };
    let Some(approval) = &policy.approval else { return };
    let tuple = requests::tuple(draft.world, run, &job.definition, policy, takes_back);
    let id = draft.world.last_request + 1;
    let mut brief = brief(draft, run, &job, takes_back);
    let mut slots = Vec::new();
    for name in requests::named(draft.world, approval) {
        match requests::excluded(draft.world, approval, &brief.adds, brief.commit.as_ref(), &name) {
            Some(why) => brief.excluded.push((name, why)),
            None => slots.extend(slot(draft, id, &name)),
        }
    }
    let request = Request {
        id,
        run: run.run.clone(),
        tuple_hash: tuple.hash(),
        tuple,
        asked_at: draft.now,
        expires_at: approval.expires.after(draft.now),
        state: RequestState::Open,
        votes: Vec::new(),
        votes_needed: approval.votes,
        slots,
        brief,
    };
    draft.put(Change::RequestPut(Box::new(request.clone())));
    let asked: Vec<String> = request.slots.iter().map(|slot| slot.person.to_string()).collect();
    draft.note("asked", &run.run, format!("request r-{id} to {}: {}", policy.name, asked.join(", ")));
    for slot in &request.slots {
        let kind = LetterKind::Approval { request: id, slot: slot.id.clone() };
        draft.write_to(std::slice::from_ref(&slot.email), &kind);
    }
    if !satisfiable(draft, approval, &request) {
        let to = listeners(draft.world, &run.run.job);
        draft.write_to(&to, &LetterKind::Unsatisfiable { request: id });
        draft.note("unsatisfiable", &run.run, format!("request r-{id}: too few people may vote on it"));
    }
}

/// Whether enough of those who were asked are on every list.
#[must_use]
pub fn satisfiable(draft: &Draft<'_>, approval: &Approval, request: &Request) -> bool {
    let can = |name: &PersonName| request.slots.iter().any(|slot| slot.person == *name);
    let enough = |list: &Vec<String>| {
        requests::people_of(draft.world, list).iter().filter(|name| can(name)).count() >= approval.votes as usize
    };
    approval.by.iter().all(enough)
}

/// The random part of a person's link: unguessable because the installation's nonce is; the link
/// itself is guarded by its MAC.
fn slot(draft: &Draft<'_>, request: u64, name: &PersonName) -> Option<Slot> {
    let person = draft.world.scratch.catalog.people.get(name)?;
    let digest = Sha256::digest(format!("shipbell/slot/v1\n{}\n{request}\n{name}\n{}", draft.world.nonce, draft.now));
    let id = hex(digest.get(..16)?);
    Some(Slot { person: name.clone(), email: person.email.clone(), id })
}

/// What those who decide are shown.
fn brief(draft: &Draft<'_>, run: &Run, job: &Job, takes_back: &[CommitInfo]) -> Brief {
    let pipeline = &run.run.job.pipeline;
    let policy = job.definition.environment.as_ref();
    let live = policy
        .and_then(|policy| draft.world.environment(pipeline, &policy.name))
        .and_then(|environment| environment.live.clone());
    let base = live.as_ref().and_then(|live| live.commit.clone());
    let comparison = match (&base, &run.commit) {
        (Some(base), Some(head)) => compare::known(draft.world, pipeline, base, head).and_then(Result::ok),
        _ => None,
    };
    let sightings = draft.live(pipeline).map(|live| &live.sightings);
    let sighted = sightings.into_iter().flat_map(|rows| rows.values().flatten());
    let commit = sighted.map(|sighting| &sighting.commit).find(|info| Some(&info.id) == run.commit.as_ref()).cloned();
    let mut mind = Vec::new();
    match &live {
        None => mind.push("this is the first deployment".to_owned()),
        Some(live) if live.definition != run.definition && live.run.job == run.run.job => {
            mind.push("the job file changed since the last deployment".to_owned());
        }
        Some(_) => {}
    }
    for upstream in &run.upstream {
        let key = crate::model::name::JobKey { pipeline: pipeline.clone(), job: upstream.job.clone() };
        let standing = run.commit.as_ref().and_then(|commit| draft.world.standing(&key, commit));
        if let Some(latest) = standing.and_then(|s| s.latest.as_ref()).filter(|latest| latest.tries > 1) {
            mind.push(format!("{} passed only on try {}", upstream.job, latest.tries));
        }
    }
    Brief {
        commit,
        branch: run.git_ref.as_ref().map(|git_ref| git_ref.short().to_owned()),
        live: live.and_then(|live| live.commit.map(|commit| (commit, live.at))),
        adds: comparison.as_ref().map(|c| c.adds.clone()).unwrap_or_default(),
        adds_total: comparison.as_ref().map_or(0, |c| c.adds_total),
        takes_back: takes_back.to_vec(),
        files: comparison.as_ref().and_then(|c| c.files.as_ref()).map_or(0, |files| files.len() as u64),
        insertions: comparison.as_ref().map_or(0, |c| c.insertions),
        deletions: comparison.as_ref().map_or(0, |c| c.deletions),
        mind,
        excluded: Vec::new(),
    }
}
