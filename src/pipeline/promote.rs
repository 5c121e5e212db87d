//! What may land on an environment: unchanged, newer and older, after an unclear end. Who must agree
//! to it is decided in `requests`.

use std::collections::BTreeMap;

use crate::model::commit::{CommitId, CommitInfo, Relation};
use crate::model::environment::{Deployment, Environment, EnvironmentState};
use crate::model::event::Change;
use crate::model::job::EnvironmentPolicy;
use crate::model::name::{EnvironmentName, JobKey, PipelineName, RunRef};
use crate::model::run::{Outcome, Run};
use crate::pipeline::compare;
use crate::pipeline::draft::{Draft, same_goods, upstream};
use crate::pipeline::world::World;

/// What a commit would do to an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landing {
    /// It goes forward (or there is nothing to compare with).
    Forward,
    /// Git has not answered yet about these.
    Unknown { base: CommitId },
    /// Git cannot tell.
    Incomparable { why: String },
    /// Everything in it is live already, and more.
    Older { than: CommitId, takes_back: Vec<CommitInfo> },
    /// A rewritten branch, or a hotfix from another one.
    Diverged { takes_back: Vec<CommitInfo> },
}

/// The environment, or an empty one.
#[must_use]
pub fn environment(world: &World, pipeline: &PipelineName, policy: &EnvironmentPolicy) -> Environment {
    named(world, pipeline, &policy.name)
}

fn named(world: &World, pipeline: &PipelineName, name: &EnvironmentName) -> Environment {
    world.environment(pipeline, name).cloned().unwrap_or_else(|| Environment {
        pipeline: pipeline.clone(),
        name: name.clone(),
        state: EnvironmentState::Empty,
        live: None,
    })
}

/// Unchanged = clean, same commit, definition, needed digests and outputs.
#[must_use]
pub fn is_unchanged(
    world: &World,
    key: &JobKey,
    definition: &crate::model::job::Definition,
    commit: Option<&CommitId>,
) -> bool {
    let Some(policy) = &definition.environment else { return false };
    let Some(environment) = world.environment(&key.pipeline, &policy.name) else { return false };
    let Some(live) = &environment.live else { return false };
    let Ok(goods) = upstream(world, key, commit) else { return false };
    environment.state == EnvironmentState::Clean
        && commit.is_some()
        && live.commit.as_ref() == commit
        && live.run.job == *key
        && live.definition == definition.hash()
        && same_goods(&live.upstream, &goods)
}

/// Judges ancestry against the last good and, over an unclear end, the attempted commit.
#[must_use]
pub fn landing(
    world: &World,
    pipeline: &PipelineName,
    environment: &Environment,
    commit: Option<&CommitId>,
) -> Landing {
    let Some(commit) = commit else { return Landing::Forward };
    let attempted = match &environment.state {
        EnvironmentState::Unclear { attempted, .. } => attempted.commit.as_ref(),
        EnvironmentState::Empty | EnvironmentState::Clean => None,
    };
    let live = environment.live.as_ref().and_then(|live| live.commit.as_ref());
    let mut taken: BTreeMap<CommitId, CommitInfo> = BTreeMap::new();
    let (mut older, mut diverged) = (None, false);
    for base in live.into_iter().chain(attempted) {
        match compare::known(world, pipeline, base, commit) {
            None => return Landing::Unknown { base: base.clone() },
            Some(Err(why)) => return Landing::Incomparable { why },
            Some(Ok(comparison)) => {
                match comparison.relation {
                    Relation::Same | Relation::Newer => continue,
                    Relation::Older => older = Some(base.clone()),
                    Relation::Diverged => diverged = true,
                }
                taken.extend(comparison.takes_back.iter().map(|info| (info.id.clone(), info.clone())));
            }
        }
    }
    let takes_back: Vec<_> = taken.into_values().collect();
    match older {
        Some(than) => Landing::Older { than, takes_back },
        None if diverged => Landing::Diverged { takes_back },
        None => Landing::Forward,
    }
}

/// The run that is changing the environment now.
#[must_use]
pub fn deploying_now(world: &World, pipeline: &PipelineName, policy: &EnvironmentPolicy) -> Option<RunRef> {
    let holds = |run: &&RunRef| world.run(run).and_then(|run| run.holds.environment.as_ref()) == Some(&policy.name);
    world.running_of(pipeline).find(holds).cloned()
}

/// What the end of a run makes of the environment that it was started to change, if any.
pub fn deployed(draft: &mut Draft<'_>, run: &Run, outcome: Outcome, touched: bool, approved_by: Vec<String>) {
    let Some(name) = &run.holds.environment else { return };
    let mut environment = named(draft.world, &run.run.job.pipeline, name);
    let deployment = Deployment {
        run: run.run.clone(),
        commit: run.commit.clone(),
        git_ref: run.git_ref.clone(),
        definition: run.definition.clone(),
        upstream: run.upstream.clone(),
        at: draft.now,
        approved_by,
    };
    if outcome == Outcome::Succeeded {
        environment.state = EnvironmentState::Clean;
        environment.live = Some(deployment);
    } else if touched || outcome == Outcome::Unknown {
        let unknown = outcome == Outcome::Unknown;
        environment.state = EnvironmentState::Unclear { attempted: deployment, unknown };
    } else {
        return;
    }
    let subject = format!("{}/{}", environment.pipeline, environment.name);
    let state = match &environment.state {
        EnvironmentState::Clean => format!("clean, {}", run.run),
        _ => format!("unclear after {} ({outcome})", run.run),
    };
    draft.put(Change::EnvironmentPut(environment));
    draft.note("environment", &subject, state);
}

/// A person says what became of an unclear environment.
///
/// # Errors
/// If there is nothing unclear about it.
pub fn resolve(
    draft: &mut Draft<'_>,
    pipeline: &PipelineName,
    name: &EnvironmentName,
    as_deployed: bool,
    by: &str,
) -> Result<(), String> {
    let Some(mut environment) = draft.world.environment(pipeline, name).cloned() else {
        return Err(format!("nothing was ever deployed to {pipeline}'s {name}"));
    };
    let EnvironmentState::Unclear { attempted, unknown } = environment.state else {
        return Err(format!("{pipeline}'s {name} is not unclear: there is nothing to resolve"));
    };
    let detail = if as_deployed {
        environment.state = EnvironmentState::Clean;
        environment.live = Some(attempted.clone());
        format!("{} is what is live now", attempted.run)
    } else {
        environment.state = EnvironmentState::Unclear { attempted: attempted.clone(), unknown: false };
        format!("{} did not land whole; the next deployment may go", attempted.run)
    };
    draft.put(Change::EnvironmentPut(environment));
    let was = if unknown { "unknown" } else { "unclear" };
    draft.note_by(by, "resolved", &format!("{pipeline}/{name}"), format!("{was}: {detail}"));
    Ok(())
}
