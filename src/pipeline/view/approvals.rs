//! Requests for approval: who can decide what until when, and what was decided lately.

use crate::model::job::Factor;
use crate::model::request::{BREAK_GLASS, Request, RequestState};
use crate::model::time::Timestamp;
use crate::model::view::{ApprovalRow, ApprovalsView, SCHEMA, VoteView};

use super::World;
use crate::pipeline::requests;

/// Open and approved requests of the World, and those among `recent` that are over.
#[must_use]
pub fn approvals(world: &World, recent: &[Request], now: Timestamp) -> ApprovalsView {
    let mut open: Vec<&Request> = world.live.values().flat_map(|live| live.requests.values()).collect();
    open.sort_by_key(|request| (!request.is_open(), request.expires_at));
    let is_live = |request: &Request| open.iter().any(|live| live.id == request.id);
    let decided = recent.iter().filter(|request| !request.is_live() && !is_live(request));
    ApprovalsView {
        schema: SCHEMA,
        now,
        open: open.iter().map(|request| approval_row(world, request, now)).collect(),
        decided: decided.map(|request| approval_row(world, request, now)).collect(),
    }
}

/// A request in one row.
#[must_use]
pub fn approval_row(world: &World, request: &Request, now: Timestamp) -> ApprovalRow {
    let (decided_at, reason) = decided(&request.state);
    let vote = |vote: &crate::model::request::Vote| VoteView {
        by: vote.by.clone(),
        verdict: if vote.broke_glass() { BREAK_GLASS.into() } else { vote.verdict.word().into() },
        at: vote.at,
        reason: vote.reason.clone(),
        via: vote.via.clone(),
    };
    let brief = &request.brief;
    ApprovalRow {
        request: request.id,
        run: request.run.clone(),
        environment: request.tuple.environment.clone(),
        commit: brief.commit.clone(),
        branch: brief.branch.clone(),
        asked_at: request.asked_at,
        expires_at: request.expires_at,
        state: request.state.word().into(),
        decided_at,
        reason,
        votes: request.votes.iter().map(vote).collect(),
        votes_needed: request.votes_needed,
        signed: requests::factor(world, request) == Factor::Sshsig,
        coded: requests::factor(world, request) == Factor::Totp,
        who_can: if request.is_open() { who_can(request) } else { Vec::new() },
        excluded: brief.excluded.iter().map(|(person, why)| (person.to_string(), why.clone())).collect(),
        live: brief.live.clone(),
        adds: brief.adds.clone(),
        adds_total: brief.adds_total,
        takes_back: brief.takes_back.clone(),
        mind: brief.mind.clone(),
        waits: world.run(&request.run).and_then(|run| crate::pipeline::waits(world, run, now)),
    }
}

/// People who were asked and have not voted.
#[must_use]
pub fn who_can(request: &Request) -> Vec<String> {
    let voted = |person: &str| request.votes.iter().any(|vote| vote.by == person);
    let asked = request.slots.iter().map(|slot| slot.person.as_str());
    let excluded = |person: &str| request.brief.excluded.iter().any(|(name, _)| name.as_str() == person);
    asked.filter(|person| !voted(person) && !excluded(person)).map(str::to_owned).collect()
}

fn decided(state: &RequestState) -> (Option<Timestamp>, String) {
    match state {
        RequestState::Open => (None, String::new()),
        RequestState::Approved { at, .. } | RequestState::Expired { at } | RequestState::Used { at } => {
            (Some(*at), String::new())
        }
        RequestState::Rejected { at, by, reason } => (Some(*at), format!("{by}: {reason}")),
        RequestState::Superseded { at, by } => (Some(*at), format!("by {by}")),
        RequestState::Voided { at, why } | RequestState::Closed { at, why } => (Some(*at), why.clone()),
    }
}
