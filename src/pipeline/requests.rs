//! Requests: what is approved, who may vote, what the votes come to. When a request is made or given
//! up is decided by `gate` and `asking`.

use std::collections::BTreeSet;

use crate::model::commit::CommitInfo;
use crate::model::event::{Ballot, Change, Refusal, Reply};
use crate::model::job::{Approval, Definition, EnvironmentPolicy, Factor};
use crate::model::letter::LetterKind;
use crate::model::name::{PersonName, RunRef};
use crate::model::request::{BREAK_GLASS, ROOT, Request, RequestState, Tuple, Verdict, Vote};
use crate::model::run::{Run, RunState};
use crate::model::statement::GLASS_FOR;
use crate::model::time::Timestamp;
use crate::model::window;
use crate::pipeline::asking;
use crate::pipeline::draft::Draft;
use crate::pipeline::gate::{Gate, gate};
use crate::pipeline::world::World;

/// What would be approved now.
#[must_use]
pub fn tuple(
    world: &World,
    run: &Run,
    definition: &Definition,
    policy: &EnvironmentPolicy,
    takes_back: &[CommitInfo],
) -> Tuple {
    use crate::model::environment::EnvironmentState;
    let environment = world.environment(&run.run.job.pipeline, &policy.name);
    let after = environment.and_then(|environment| match &environment.state {
        EnvironmentState::Unclear { attempted, .. } => Some(attempted.run.clone()),
        EnvironmentState::Empty | EnvironmentState::Clean => None,
    });
    Tuple {
        v: 1,
        repository: definition.repo.as_ref().map(|repo| repo.url.clone()),
        commit: run.commit.clone(),
        definition: definition.hash(),
        params: run.params.clone(),
        upstream: run.upstream.clone(),
        takes_back: takes_back.iter().map(|info| info.id.clone()).collect(),
        environment: policy.name.clone(),
        policy: policy.policy_hash(),
        after,
    }
}

/// Which part of the tuple is another one now, in words.
#[must_use]
pub fn difference(asked: &Tuple, now: &Tuple) -> Option<String> {
    if asked == now {
        return None;
    }
    let parts: [(bool, &str); 9] = [
        (asked.repository == now.repository, "the repository is another one"),
        (asked.commit == now.commit, "the commit is another one"),
        (asked.policy == now.policy, "the approval rule changed"),
        (asked.definition == now.definition, "the job file changed"),
        (asked.params == now.params, "the parameters changed"),
        (asked.upstream == now.upstream, "what it is built from changed"),
        (asked.takes_back == now.takes_back, "what it takes back changed: something else was deployed"),
        (asked.environment == now.environment, "the environment is another one"),
        (asked.after == now.after, "a deployment in between left the environment unclear"),
    ];
    let first = parts.iter().find(|(same, _)| !same).map_or("what was asked for changed", |(_, why)| why);
    Some(first.to_owned())
}

/// People of one `by` list, now.
#[must_use]
pub fn people_of(world: &World, list: &[String]) -> BTreeSet<PersonName> {
    list.iter().flat_map(|entry| world.scratch.catalog.people_of(entry)).collect()
}

/// Everybody whom the policy names.
#[must_use]
pub fn named(world: &World, approval: &Approval) -> BTreeSet<PersonName> {
    approval.by.iter().flat_map(|list| people_of(world, list)).collect()
}

/// Why a person may not vote on this, if so.
#[must_use]
pub fn excluded(
    world: &World,
    approval: &Approval,
    adds: &[CommitInfo],
    commit: Option<&CommitInfo>,
    name: &PersonName,
) -> Option<String> {
    let Some(person) = world.scratch.catalog.people.get(name) else {
        return Some("is no longer in shipbell.toml".into());
    };
    let own = adds.iter().chain(commit).find(|commit| approval.forbid_author && person.wrote(&commit.author_mail));
    match own {
        Some(own) => Some(format!("wrote {} in it", own.id.short())),
        None => match approval.factor {
            Factor::Sshsig if person.ssh_keys.is_empty() => Some("has no ssh-key in shipbell.toml".into()),
            Factor::Totp if person.totp.is_none() => Some("has no totp in shipbell.toml".into()),
            Factor::Word | Factor::Totp | Factor::Sshsig => None,
        },
    }
}

/// What each yes to it has to come with.
#[must_use]
pub fn factor(world: &World, request: &Request) -> Factor {
    let policy = world.job(&request.run.job).and_then(|job| job.definition.environment.as_ref());
    policy.and_then(|policy| policy.approval.as_ref()).map_or(Factor::Word, |approval| approval.factor)
}

/// Whether a vote is one by the factor that is asked for: a signature counts while its key is the person's.
fn by_factor(world: &World, approval: &Approval, vote: &Vote) -> bool {
    let keys = |name: &PersonName| world.scratch.catalog.people.get(name).map(|person| person.ssh_keys.as_slice());
    match (approval.factor, &vote.signed) {
        (Factor::Word, _) => true,
        // Whether its seed is still theirs the executor knows, which judges it once more.
        (Factor::Totp, _) => vote.coded,
        (Factor::Sshsig, None) => false,
        (Factor::Sshsig, Some(signed)) => {
            vote.by.parse().ok().as_ref().and_then(keys).is_some_and(|keys| keys.contains(&signed.key))
        }
    }
}

/// How root lets a deployment go without votes. Neither its window nor a freeze holds it then; all else does.
pub fn break_glass(draft: &mut Draft<'_>, run: &RunRef, reason: &str) -> Reply {
    let Some(run) = draft.world.run(run).filter(|run| run.is_queued()).cloned() else {
        return refuse(format!("{run} does not wait: shipbell run {} queues one", run.job));
    };
    let Some(mut request) = draft.world.request_of(&run.run).filter(|request| request.is_live()).cloned() else {
        return refuse(format!("{} does not wait for approval: shipbell show {}", run.run, run.run));
    };
    if reason.trim().is_empty() {
        return refuse("say why: everybody who was asked reads it".into());
    }
    if request.broken_glass().is_none() {
        request.votes.push(Vote {
            by: ROOT.into(),
            verdict: Verdict::Approve,
            at: draft.now,
            reason: reason.trim().chars().take(1000).collect(),
            via: BREAK_GLASS.into(),
            signed: None,
            coded: false,
        });
    }
    request.state = RequestState::Approved { at: draft.now, until: GLASS_FOR.after(draft.now) };
    draft.put(Change::RequestPut(Box::new(request.clone())));
    let detail = format!("request r-{}, without approval: {}", request.id, reason.trim());
    draft.note_by(ROOT, "broke the glass", &run.run, detail);
    asking::tell_decided(draft, &request);
    let text = match gate(draft.world, &run, draft.now) {
        Gate::Ready => "it starts now, without approval".to_owned(),
        Gate::Wait { reason, .. } => format!("it starts without approval; until then it waits ({reason})"),
        _ => "it may start without approval".to_owned(),
    };
    Reply::Vote { state: "approved".into(), text }
}

/// Whether the approving votes satisfy the policy at this moment: by people who hold it now.
#[must_use]
pub fn quorum(world: &World, request: &Request, policy: &EnvironmentPolicy) -> bool {
    let Some(approval) = &policy.approval else { return true };
    if request.votes.iter().any(|vote| vote.verdict == Verdict::Reject) {
        return false;
    }
    if request.broken_glass().is_some() {
        return true;
    }
    let counts = |name: &PersonName| {
        excluded(world, approval, &request.brief.adds, request.brief.commit.as_ref(), name).is_none()
            && request.approvals().any(|vote| vote.by == name.as_str() && by_factor(world, approval, vote))
    };
    let needed = approval.votes as usize;
    approval.by.iter().all(|list| people_of(world, list).iter().filter(|name| counts(name)).count() >= needed)
}

/// A person votes, by link or over the socket.
pub fn voted(draft: &mut Draft<'_>, ballot: &Ballot) -> Reply {
    let Some(run) = draft.world.run(&ballot.run).cloned() else {
        return refuse(format!("{} does not wait for anybody", ballot.run));
    };
    let request = match ballot.request {
        Some(id) => draft.world.request(id).filter(|request| request.run == ballot.run).cloned(),
        None => draft.world.request_of(&ballot.run).cloned(),
    };
    let Some(request) = request else {
        return match ballot.request {
            Some(id) => refuse(format!("request r-{id} is no longer open")),
            None => confirm(draft, &run, ballot),
        };
    };
    if !run.is_queued() {
        return refuse(format!("{} has started already", ballot.run));
    }
    match may_vote(draft.world, draft.now, &request, ballot) {
        Err(reply) => reply,
        Ok(()) => count(draft, &run, request, ballot),
    }
}

/// What a ballot would be answered that is not counted, before anything is spent on it.
#[must_use]
pub fn objection(world: &World, now: Timestamp, ballot: &Ballot) -> Option<Reply> {
    let request = world.request_of(&ballot.run).filter(|request| ballot.request.is_none_or(|id| id == request.id));
    match (request, world.run(&ballot.run)) {
        (Some(request), Some(run)) if run.is_queued() => may_vote(world, now, request, ballot).err(),
        _ => Some(refuse(format!("{} does not wait for approval any more", ballot.run))),
    }
}

/// A person's vote rests, as too many wrong answers were given as theirs: they hear of it.
pub fn rests(draft: &mut Draft<'_>, id: u64, person: &PersonName, until: Timestamp) {
    let Some(request) = draft.world.request(id).cloned() else { return };
    let theirs = request.slots.iter().filter(|slot| slot.person == *person);
    let addresses: Vec<String> = theirs.map(|slot| slot.email.clone()).collect();
    draft.write_to(&addresses, &LetterKind::Rests { request: id, until });
    draft.note("wrong answers", &request.run, format!("request r-{id}: {person}'s vote rests until {until}"));
}

fn refuse(why: String) -> Reply {
    Reply::Refused(Refusal::Conflict(why))
}

fn not_allowed(why: String) -> Reply {
    Reply::Refused(Refusal::NotAllowed(why))
}

fn may_vote(world: &World, now: Timestamp, request: &Request, ballot: &Ballot) -> Result<(), Reply> {
    let environment = &request.tuple.environment;
    let Some(name) = &ballot.person else {
        return Err(not_allowed(format!(
            "root has no vote on {environment}: give your [person] in shipbell.toml a login, and be among its approvers"
        )));
    };
    let policy = world.job(&request.run.job).and_then(|job| job.definition.environment.clone());
    let Some(approval) = policy.and_then(|policy| policy.approval) else {
        return Err(refuse(format!("{environment} wants no approval any more")));
    };
    if !named(world, &approval).contains(name) {
        return Err(not_allowed(format!("{name} is not among the approvers of {environment}")));
    }
    let (adds, commit) = (&request.brief.adds, request.brief.commit.as_ref());
    if let Some(why) = excluded(world, &approval, adds, commit, name) {
        return Err(not_allowed(format!("{name} may not vote on this: {name} {why}")));
    }
    if request.is_open() && now >= request.expires_at {
        return Err(refuse(format!("the time to answer ended {}", request.expires_at)));
    }
    if let Some(old) = request.votes.iter().find(|vote| vote.by == name.as_str()) {
        let text = format!("{name} has voted already: {} at {}", old.verdict, old.at);
        return Err(if old.verdict == ballot.verdict {
            Reply::Vote { state: request.state.word().into(), text }
        } else {
            refuse(text)
        });
    }
    if let RequestState::Approved { at, .. } = &request.state
        && ballot.verdict == Verdict::Approve
    {
        let text = format!("it was approved already, at {at}; no further vote is needed");
        return Err(Reply::Vote { state: "approved".into(), text });
    }
    // To say no a word is enough: what does not start harms nobody.
    if ballot.verdict == Verdict::Approve && approval.factor > Factor::Word && ballot.factor() != approval.factor {
        let (what, sign) = match approval.factor {
            Factor::Totp => ("takes a code of your phone with each yes", ""),
            Factor::Word | Factor::Sshsig => ("takes signed votes", " --sign"),
        };
        let how = format!("shipbell approve {}{sign}, or as your link says", request.run);
        return Err(refuse(format!("{environment} {what}: {how}")));
    }
    if ballot.verdict == Verdict::Reject && ballot.reason.trim().is_empty() {
        return Err(refuse("a rejection needs a reason: it is what the others read".into()));
    }
    Ok(())
}

fn count(draft: &mut Draft<'_>, run: &Run, mut request: Request, ballot: &Ballot) -> Reply {
    let by = ballot.person.as_ref().map_or_else(|| "root".to_owned(), ToString::to_string);
    request.votes.push(Vote {
        by: by.clone(),
        verdict: ballot.verdict,
        at: draft.now,
        reason: ballot.reason.trim().chars().take(1000).collect(),
        via: ballot.via.clone(),
        signed: ballot.signed.clone(),
        coded: ballot.coded,
    });
    let verb = if ballot.verdict == Verdict::Approve { "approved" } else { "rejected" };
    draft.note_by(&by, verb, &run.run, format!("request r-{}, {}, {}", request.id, ballot.via, ballot.reason.trim()));
    if ballot.verdict == Verdict::Reject {
        let reason = ballot.reason.trim().to_owned();
        let text = format!("rejected by {by}: {reason}");
        asking::end(draft, request, RequestState::Rejected { at: draft.now, by, reason }, &text, true);
        return Reply::Vote { state: "rejected".into(), text: format!("{} will not go. {text}", run.run) };
    }
    let policy = draft.world.job(&run.run.job).and_then(|job| job.definition.environment.clone());
    let Some(policy) = policy else { return refuse("the job has no environment any more".into()) };
    let enough = quorum(draft.world, &request, &policy);
    if enough {
        let until = window::approved_until(&policy, draft.now);
        request.state = RequestState::Approved { at: draft.now, until };
    }
    let (votes, needed) = (request.approvals().count(), request.votes_needed);
    draft.put(Change::RequestPut(Box::new(request.clone())));
    if !enough {
        let text = format!("recorded: {votes} of {needed} votes; it waits for more");
        return Reply::Vote { state: "open".into(), text };
    }
    asking::tell_decided(draft, &request);
    let text = match gate(draft.world, run, draft.now) {
        Gate::Ready => "approved: it starts now".to_owned(),
        Gate::Wait { reason, .. } => format!("approved: it starts by itself; until then it waits ({reason})"),
        _ => "approved".to_owned(),
    };
    Reply::Vote { state: "approved".into(), text }
}

/// Where no approval is wanted, a person lets a run go that takes commits back.
fn confirm(draft: &mut Draft<'_>, run: &Run, ballot: &Ballot) -> Reply {
    let by = ballot.person.as_ref().map_or_else(|| "root".to_owned(), ToString::to_string);
    let waits = match gate(draft.world, run, draft.now) {
        Gate::Wait { reason, .. } => reason,
        _ => String::new(),
    };
    if !waits.starts_with("a person") {
        return refuse(format!("{} does not wait for anybody", run.run));
    }
    if ballot.verdict == Verdict::Reject {
        let reason = format!("rejected by {by}: {}", ballot.reason.trim());
        crate::pipeline::life::skip(draft, &run.run, &reason);
        return Reply::Vote { state: "rejected".into(), text: format!("{} will not go", run.run) };
    }
    let mut run = run.clone();
    let name = run.run.clone();
    if let RunState::Queued { confirmed_by, .. } = &mut run.state {
        *confirmed_by = Some(by.clone());
    }
    draft.put_run(run);
    draft.note_by(&by, "confirmed", &name, format!("it waited ({waits})"));
    Reply::Vote { state: "approved".into(), text: format!("{name} may go") }
}
