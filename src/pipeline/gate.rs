//! The one judgement of a queued run: may it start now, and if not, why. Asked when it is shown, when it
//! is planned, and again in the turn that starts it. It changes nothing.

use crate::model::catalog::PipelineState;
use crate::model::commit::{CommitId, CommitInfo};
use crate::model::environment::EnvironmentState;
use crate::model::job::{Definition, EnvironmentPolicy, Overlap};
use crate::model::request::{Request, RequestState};
use crate::model::run::{Cause, Run, RunState};
use crate::model::time::{Timestamp, is_ahead};
use crate::model::window::{Opening, Windows};
use crate::pipeline::draft::{same_goods, upstream};
use crate::pipeline::life::LAUNCH_DELAY;
use crate::pipeline::promote::{self, Landing};
use crate::pipeline::world::World;
use crate::pipeline::{due, pause, requests};

/// What a queued run may do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// Only a pool, a slot or the disk may still hold it.
    Ready,
    /// `until`: when looking again makes sense even if nothing happens.
    Wait {
        reason: String,
        until: Option<Timestamp>,
    },
    Skip {
        reason: String,
    },
    /// Git must be asked about these two first.
    Ask {
        base: CommitId,
        head: CommitId,
    },
    /// A request must be made.
    Request {
        takes_back: Vec<CommitInfo>,
    },
    /// Its live request no longer stands for what would be done.
    Void {
        why: String,
    },
    /// The approval was not used in time.
    Expired {
        at: Timestamp,
    },
    /// It was queued under an older definition or older upstream runs: take the present ones.
    Refresh,
}

fn wait(reason: impl Into<String>) -> Gate {
    Gate::Wait { reason: reason.into(), until: None }
}

/// Judges a queued run. While it is paused nothing starts and nobody is asked; what ends it otherwise does.
#[must_use]
pub fn gate(world: &World, run: &Run, now: Timestamp) -> Gate {
    let gate = judge(world, run, now);
    match (pause::of(world, &run.run.job, now), &gate) {
        (Some(pause), Gate::Ready | Gate::Request { .. } | Gate::Ask { .. }) => {
            Gate::Wait { reason: pause.told(), until: pause.until }
        }
        (Some(pause), Gate::Wait { until, .. }) if run.is_queued() => {
            Gate::Wait { reason: pause.told(), until: [*until, pause.until].into_iter().flatten().min() }
        }
        _ => gate,
    }
}

/// Until when a further attempt waits.
#[must_use]
pub fn delayed(not_before: Option<Timestamp>, definition: &Definition, now: Timestamp) -> Option<Timestamp> {
    not_before.filter(|at| is_ahead(*at, definition.retry.delay.max(LAUNCH_DELAY), now))
}

fn judge(world: &World, run: &Run, now: Timestamp) -> Gate {
    let RunState::Queued { not_before, confirmed_by } = &run.state else { return wait("it is not queued") };
    let key = &run.run.job;
    let Some(pipeline) = world.pipeline(&key.pipeline) else { return wait("pipeline off: its file is gone") };
    if let PipelineState::Off { why, .. } = &pipeline.state {
        return wait(format!("pipeline off: {why}"));
    }
    let Some(job) = pipeline.jobs.get(&key.job) else {
        return Gate::Skip { reason: "the job is no longer in its file".into() };
    };
    let definition = &job.definition;
    if run.is_pull() && !definition.pulls {
        return Gate::Skip { reason: "its file takes no pull requests for this job any more".into() };
    }
    let request = world.request_of(&run.run);
    if run.definition != job.hash {
        return request.map_or(Gate::Refresh, |_| Gate::Void { why: "the job file changed".into() });
    }
    if let Some(gate) = signature(world, run, definition) {
        return gate;
    }
    if let (PipelineState::LastGood { problem }, true) = (&pipeline.state, definition.deploys()) {
        return wait(format!("deployments held: {problem}"));
    }
    if let Some(at) = delayed(*not_before, definition, now) {
        return Gate::Wait { reason: "the delay before the next attempt".into(), until: Some(at) };
    }
    if let Some(gate) = needs(world, run, request) {
        return gate;
    }
    if let Some(after) = overlap(world, run, definition) {
        return match due::patience(world, run) {
            Some(until) if until <= now => {
                Gate::Skip { reason: format!("waited for #{after} until its catch-up-window was over") }
            }
            until => Gate::Wait { reason: format!("after #{after}"), until },
        };
    }
    match &definition.environment {
        None => Gate::Ready,
        Some(policy) => environment(world, run, definition, policy, request, confirmed_by.as_deref(), now),
    }
}

/// Where commits must be signed: by the list that holds now, and nothing runs by an older one's word.
fn signature(world: &World, run: &Run, definition: &Definition) -> Option<Gate> {
    let signers = definition.repo.as_ref()?.signed_by.as_ref()?;
    let (git_ref, pipeline) = (run.git_ref.as_ref()?, &run.run.job.pipeline);
    if world.scratch.judged.get(pipeline) != Some(signers) {
        return Some(wait("its signature has not yet been checked by the list that holds now"));
    }
    let row = world.live.get(pipeline)?.sightings.get(git_ref)?;
    let sighting = row.iter().find(|sighting| sighting.number == run.sighting)?;
    Some(Gate::Skip { reason: sighting.refused.clone()? })
}

/// Every upstream job, at any depth, must be green for the commit.
fn needs(world: &World, run: &Run, request: Option<&Request>) -> Option<Gate> {
    match upstream(world, &run.run.job, run.commit.as_ref()) {
        Err(job) => {
            let why = format!("needs {job}, which is not green for it");
            Some(request.map_or_else(|| wait(why.clone()), |_| Gate::Void { why: why.clone() }))
        }
        // A later green run changes nothing for an approval; without one the newest goods are taken.
        Ok(now) if request.is_none() && run.attempt == 0 && now != run.upstream => Some(Gate::Refresh),
        Ok(_) => None,
    }
}

/// One at a time per job and branch; those that wait for a person or the window do not count.
/// A backfill lets others go before it.
fn overlap(world: &World, run: &Run, definition: &Definition) -> Option<u64> {
    if definition.overlap == Overlap::Allow {
        return None;
    }
    let same = |other: &&Run| other.git_ref == run.git_ref && other.run != run.run;
    let turn = |run: &Run| (matches!(run.cause, Cause::Backfill { .. }), run.queued_at, run.run.number);
    let before = |other: &Run| {
        turn(other) < turn(run)
            && other.is_queued()
            && !waits_for_people(world, other, definition)
            && !stuck(world, other)
    };
    let mut others = world.runs_of(&run.run.job).filter(same);
    others.find(|other| other.is_running() || before(other)).map(|other| other.run.number)
}

/// Whether what it needs failed meanwhile: nobody knows when it goes on, so nobody waits behind it.
fn stuck(world: &World, run: &Run) -> bool {
    upstream(world, &run.run.job, run.commit.as_ref()).is_err()
}

/// Whether it stands at a request, or at a step that only a person or the window can clear.
fn waits_for_people(world: &World, run: &Run, definition: &Definition) -> bool {
    let wants = definition
        .environment
        .as_ref()
        .is_some_and(|policy| policy.approval.is_some() || !policy.windows.is_empty() || !policy.freezes.is_empty());
    wants || world.request_of(&run.run).is_some() || needs_person(world, run, definition)
}

/// Whether ancestry alone makes it wait for a person.
fn needs_person(world: &World, run: &Run, definition: &Definition) -> bool {
    let Some(policy) = &definition.environment else { return false };
    let environment = promote::environment(world, &run.run.job.pipeline, policy);
    matches!(
        promote::landing(world, &run.run.job.pipeline, &environment, run.commit.as_ref()),
        Landing::Diverged { .. } | Landing::Older { .. } | Landing::Incomparable { .. }
    )
}

fn environment(
    world: &World,
    run: &Run,
    definition: &Definition,
    policy: &EnvironmentPolicy,
    request: Option<&Request>,
    confirmed_by: Option<&str>,
    now: Timestamp,
) -> Gate {
    let pipeline = &run.run.job.pipeline;
    let environment = promote::environment(world, pipeline, policy);
    if let EnvironmentState::Unclear { unknown: true, attempted } = &environment.state {
        return wait(format!(
            "{} left {} unknown: shipbell resolve {pipeline} {}",
            attempted.run, policy.name, policy.name
        ));
    }
    if let Some(other) = promote::deploying_now(world, pipeline, policy).filter(|other| *other != run.run) {
        return wait(format!("{} is being deployed by {other}", policy.name));
    }
    let by_itself = run.cause.person().is_none();
    if by_itself && run.attempt == 0 && is_same_as_live(&environment, run) {
        return Gate::Skip { reason: format!("unchanged: {} has exactly this", policy.name) };
    }
    let takes_back = match promote::landing(world, pipeline, &environment, run.commit.as_ref()) {
        Landing::Forward => Vec::new(),
        Landing::Unknown { base } => match &run.commit {
            Some(head) => return Gate::Ask { base, head: head.clone() },
            None => Vec::new(),
        },
        Landing::Incomparable { why } => return wait(format!("git cannot compare it with what is live: {why}")),
        Landing::Older { than, .. } if by_itself => {
            return Gate::Skip { reason: format!("older: {} has {} already", policy.name, than.short()) };
        }
        Landing::Older { takes_back, .. } | Landing::Diverged { takes_back } => takes_back,
    };
    if policy.approval.is_none() {
        if !takes_back.is_empty() && confirmed_by.is_none() {
            let n = takes_back.len();
            let commits = if n == 1 { "commit" } else { "commits" };
            return wait(format!("a person: takes back {n} {commits}; shipbell approve {}", run.run));
        }
    } else if let Some(gate) = approval(world, run, definition, policy, request, takes_back, now) {
        return gate;
    }
    if request.is_some_and(|request| request.broken_glass().is_some()) {
        return Gate::Ready;
    }
    window(policy, now)
}

/// The same commit, definition, digests and outputs, landed by another run meanwhile.
fn is_same_as_live(environment: &crate::model::environment::Environment, run: &Run) -> bool {
    environment.live.as_ref().is_some_and(|live| {
        environment.state == EnvironmentState::Clean
            && run.commit.is_some()
            && live.commit == run.commit
            && live.definition == run.definition
            && live.run != run.run
            && live.run.job == run.run.job
            && same_goods(&live.upstream, &run.upstream)
    })
}

fn approval(
    world: &World,
    run: &Run,
    definition: &Definition,
    policy: &EnvironmentPolicy,
    request: Option<&Request>,
    takes_back: Vec<CommitInfo>,
    now: Timestamp,
) -> Option<Gate> {
    let tuple = requests::tuple(world, run, definition, policy, &takes_back);
    let Some(request) = request else {
        let rejected = run.commit.is_some()
            && run.cause.person().is_none()
            && world.live.get(&run.run.job.pipeline).is_some_and(|live| live.rejected.contains(&tuple.hash()));
        return Some(if rejected {
            Gate::Skip { reason: "exactly this was rejected before".into() }
        } else {
            Gate::Request { takes_back }
        });
    };
    if let Some(why) = requests::difference(&request.tuple, &tuple) {
        return Some(Gate::Void { why });
    }
    match &request.state {
        RequestState::Open if now >= request.expires_at => Some(Gate::Expired { at: request.expires_at }),
        RequestState::Open => {
            let votes = request.approvals().count();
            let reason = format!("approval, {votes} of {}", request.votes_needed);
            Some(Gate::Wait { reason, until: Some(request.expires_at) })
        }
        RequestState::Approved { until, .. } if now >= *until => Some(Gate::Expired { at: *until }),
        RequestState::Approved { .. } if !requests::quorum(world, request, policy) => {
            Some(Gate::Void { why: "who approved it may not approve it any more".into() })
        }
        RequestState::Approved { .. } => None,
        _ => Some(wait("its request is closed")),
    }
}

fn window(policy: &EnvironmentPolicy, now: Timestamp) -> Gate {
    match Windows::parse(&policy.windows, &policy.freezes).map(|windows| windows.at(now)) {
        Ok(Opening::Open) => Gate::Ready,
        Ok(Opening::Closed { opens: Some(at) }) => {
            let zone = policy
                .windows
                .first()
                .map(|w| w.zone.clone())
                .or_else(|| policy.freezes.first().map(|f| f.zone.clone()));
            let tz = zone.and_then(|zone| jiff::tz::TimeZone::get(&zone).ok()).unwrap_or(jiff::tz::TimeZone::UTC);
            let local = at.to_zoned(tz).strftime("%a %-d %b %H:%M %Z").to_string();
            Gate::Wait { reason: format!("window, opens {local}"), until: Some(at) }
        }
        Ok(Opening::Closed { opens: None }) => wait("window: it opens nowhere in the next two years"),
        // The loader refuses such a text; a definition kept from an older release may still have one.
        Err(error) => wait(format!("window: {error}")),
    }
}
