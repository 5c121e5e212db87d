//! When a run may become running: promise 1, and everything that is judged once more at the start.

use std::collections::BTreeSet;

use shipbell::model::catalog::PipelineState;
use shipbell::model::commit::{CommitId, Relation};
use shipbell::model::environment::EnvironmentState;
use shipbell::model::job::{Approval, Definition, EnvironmentPolicy, Hash};
use shipbell::model::name::JobKey;
use shipbell::model::pause::Pause;
use shipbell::model::request::{Request, RequestState, Verdict};
use shipbell::model::run::{Outcome, Run, RunState};
use shipbell::model::time::Seconds;
use shipbell::model::window::{Opening, Windows};
use shipbell::pipeline::world::World;

use crate::checks::{Checks, Fault, Held, Transition, fault, live_of, must};

/// What it holds while it runs.
pub fn held(all: &Transition<'_>, run: &Run) -> Result<Held, Fault> {
    let Some(job) = all.after.job(&run.run.job) else { return Err(fault("only jobs that there are start", run)) };
    let policy = job.definition.environment.as_ref();
    Ok(Held {
        environment: policy.map(|policy| (run.run.job.pipeline.clone(), policy.name.clone())),
        pools: job.definition.pools.clone(),
        alone: Checks::alone(job.definition.overlap),
    })
}

pub fn may_start(checks: &mut Checks, all: &Transition<'_>, old: &Run, run: &Run) -> Result<(), Fault> {
    let (Some(pipeline), Some(job)) = (all.after.pipeline(&run.run.job.pipeline), all.after.job(&run.run.job)) else {
        return Err(fault("only jobs that there are start", run));
    };
    let definition = &job.definition;
    must(!matches!(pipeline.state, PipelineState::Off { .. }), "nothing starts in a pipeline that is off", run)?;
    let covers = |pause: &&Pause| pause.scope.covers(&run.run.job) && pause.until.is_none_or(|until| all.now < until);
    let paused = all.after.pauses.values().find(covers);
    must(paused.is_none(), "nothing that is paused starts", (run, paused))?;
    must(run.definition == job.hash, "a run starts with the present definition", run)?;
    let RunState::Queued { not_before, confirmed_by } = &old.state else { return Err(fault("queued before", old)) };
    // Further ahead than any delay: the clock was put back since.
    let longest = definition.retry.delay.max(Seconds(5)).after(all.now);
    must(not_before.is_none_or(|at| at <= all.now || at > longest), "a retry waits for its delay", run)?;
    needs(all.after, &run.run.job, definition, run.commit.as_ref())?;
    if let (Some(commit), true) = (&run.commit, pipeline.signers().is_some()) {
        must(all.gits[&run.run.job.pipeline].is_signed(commit), "only what is signed starts", run)?;
        checks.seen("signed start");
    }
    let Some(policy) = &definition.environment else { return Ok(()) };
    must(pipeline.state == PipelineState::Ok, "deployments are held while the file is broken", run)?;
    let windows = Windows::parse(&policy.windows, &policy.freezes).unwrap();
    must(windows.at(all.now) == Opening::Open, "deployments start within the window", run)?;
    let takes_back = landing(checks, all, run, policy)?;
    match &policy.approval {
        None => {
            let confirmed = takes_back.is_empty() || confirmed_by.is_some();
            must(confirmed, "what takes commits back waits for a person", (run, takes_back))
        }
        Some(approval) => {
            let request = live_of(all.after, &run.run.job.pipeline);
            let request = request.requests.values().find(|request| request.run == run.run).cloned();
            let Some(request) = request else { return Err(fault("promise 1: a request", run)) };
            approved(all, run, definition, policy, &request, &takes_back)?;
            quorum(all, approval, &request)?;
            checks.seen("approved start");
            Ok(())
        }
    }
}

fn needs(world: &World, key: &JobKey, definition: &Definition, commit: Option<&CommitId>) -> Result<(), Fault> {
    for need in &definition.needs {
        let need = JobKey { pipeline: key.pipeline.clone(), job: need.clone() };
        let latest = commit.and_then(|commit| world.standing(&need, commit)).and_then(|s| s.latest.as_ref());
        let green = latest.is_some_and(|latest| latest.outcome == Outcome::Succeeded);
        must(green, "every needed job is green at the start", (key, &need, commit))?;
        if let Some(job) = world.job(&need) {
            needs(world, &need, &job.definition, commit)?;
        }
    }
    Ok(())
}

/// Judged by the true ancestry; gives what it takes back.
fn landing(
    checks: &mut Checks,
    all: &Transition<'_>,
    run: &Run,
    policy: &EnvironmentPolicy,
) -> Result<BTreeSet<CommitId>, Fault> {
    let by_itself = run.cause.person().is_none();
    let mut takes_back = BTreeSet::new();
    let Some(environment) = all.after.environment(&run.run.job.pipeline, &policy.name) else { return Ok(takes_back) };
    let attempted = match &environment.state {
        EnvironmentState::Unclear { unknown, attempted } => {
            must(!unknown, "nothing goes while nobody knows what is there", run)?;
            checks.seen("start over unclear");
            Some(attempted)
        }
        EnvironmentState::Empty | EnvironmentState::Clean => None,
    };
    for base in environment.live.iter().chain(attempted) {
        let (Some(base), Some(head)) = (&base.commit, &run.commit) else { continue };
        let truth = all.gits[&run.run.job.pipeline].compare(base, head);
        let older = truth.relation == Relation::Older;
        must(!(older && by_itself), "an older commit never goes over a newer one by itself", (run, base))?;
        takes_back.extend(truth.takes_back.into_iter().map(|info| info.id));
    }
    if !takes_back.is_empty() {
        checks.seen("start that takes back");
    }
    Ok(takes_back)
}

/// Promise 1: approved, in time, for that very tuple.
fn approved(
    all: &Transition<'_>,
    run: &Run,
    definition: &Definition,
    policy: &EnvironmentPolicy,
    request: &Request,
    takes_back: &BTreeSet<CommitId>,
) -> Result<(), Fault> {
    let RequestState::Approved { until, .. } = &request.state else {
        return Err(fault("promise 1: it is approved", request));
    };
    must(all.now < *until, "promise 1: the approval still lives", request)?;
    let tuple = &request.tuple;
    must(request.tuple_hash == Hash::of_json(tuple), "promise 1: the hash is the tuple's", request)?;
    let after = match all.after.environment(&run.run.job.pipeline, &policy.name).map(|e| &e.state) {
        Some(EnvironmentState::Unclear { attempted, .. }) => Some(attempted.run.clone()),
        _ => None,
    };
    let same = tuple.commit == run.commit
        && tuple.definition == definition.hash()
        && tuple.params == run.params
        && tuple.upstream == run.upstream
        && tuple.environment == policy.name
        && tuple.policy == policy.policy_hash()
        && tuple.repository == definition.repo.as_ref().map(|repo| repo.url.clone())
        && tuple.takes_back.iter().cloned().collect::<BTreeSet<_>>() == *takes_back
        && tuple.after == after;
    must(same, "promise 1: it is what was approved", (run, request, takes_back))
}

/// Promise 1: by enough people who hold the role now, and against nobody's no.
fn quorum(all: &Transition<'_>, approval: &Approval, request: &Request) -> Result<(), Fault> {
    let people = &all.after.scratch.catalog.people;
    must(request.votes.iter().all(|vote| vote.verdict == Verdict::Approve), "promise 1: nobody rejected it", request)?;
    for list in &approval.by {
        let holds = |by: &str| {
            let person = people.iter().find(|(name, _)| name.as_str() == by).map(|(_, person)| person);
            person.is_some_and(|person| {
                let listed = list.iter().any(|entry| match entry.strip_prefix('@') {
                    Some(role) => person.roles.iter().any(|held| held == role),
                    None => entry == by,
                });
                let wrote = request.brief.adds.iter().any(|commit| person.wrote(&commit.author_mail));
                listed && !(approval.forbid_author && wrote)
            })
        };
        let voters: BTreeSet<&str> = request.votes.iter().map(|vote| vote.by.as_str()).filter(|by| holds(by)).collect();
        must(voters.len() >= approval.votes as usize, "promise 1: a quorum that is valid now", request)?;
    }
    let in_time = request.votes.iter().all(|vote| vote.at < request.expires_at);
    must(in_time, "promise 1: votes in time", request)
}
