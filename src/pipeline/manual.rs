//! What a person starts: a run under the same conditions as any other, or a run once more.

use std::collections::BTreeMap;

use crate::model::catalog::PipelineState;
use crate::model::commit::Sighting;
use crate::model::event::{Change, Refusal, Reply, RunRequest};
use crate::model::job::Definition;
use crate::model::name::{JobKey, RunRef};
use crate::model::retention::{Part, Removal};
use crate::model::run::{Cause, Holds, Run, RunState, Upstream};
use crate::pipeline::draft::{Draft, upstream};
use crate::pipeline::world::World;
use crate::pipeline::{due, pause, trigger};

fn not_found(why: String) -> Reply {
    Reply::Refused(Refusal::NotFound(why))
}

fn conflict(why: String) -> Reply {
    Reply::Refused(Refusal::Conflict(why))
}

/// `shipbell run JOB`.
pub fn run(draft: &mut Draft<'_>, request: &RunRequest) -> Reply {
    let key = &request.job;
    let Some(pipeline) = draft.world.pipeline(&key.pipeline) else {
        return not_found(format!("there is no pipeline `{}`: shipbell status lists them", key.pipeline));
    };
    if let PipelineState::Off { why, .. } = &pipeline.state {
        return conflict(format!("pipeline {} is off: {why}", key.pipeline));
    }
    let Some(job) = pipeline.jobs.get(&key.job) else {
        let jobs: Vec<&str> = pipeline.order.iter().map(crate::model::name::JobName::as_str).collect();
        return not_found(format!("{} has no job `{}`; it has {}", key.pipeline, key.job, jobs.join(", ")));
    };
    let definition = job.definition.clone();
    if let Some(refused) = pause::refuses(draft, key) {
        return refused;
    }
    if let Err(why) = check_params(&definition, &request.params) {
        return conflict(why);
    }
    let sighting = match choose(draft, key, &definition, request.git_ref.as_deref()) {
        Ok(sighting) => sighting,
        Err(why) => return conflict(why),
    };
    let cause = Cause::Manual { by: request.by.clone() };
    let queued = trigger::queue(draft, key, sighting.as_ref(), cause, request.params.clone());
    queued.map_or_else(|| not_found(format!("there is no job {key}")), Reply::Run)
}

/// The commit it runs for: the named branch's or tag's, else the newest of its own whose needs are green.
fn choose(
    draft: &Draft<'_>,
    key: &JobKey,
    definition: &Definition,
    git_ref: Option<&str>,
) -> Result<Option<Sighting>, String> {
    if definition.repo.is_none() {
        return match git_ref {
            None => Ok(None),
            Some(_) => Err(format!("{} has no [repo]: there is no branch to choose", key.pipeline)),
        };
    }
    let Some(wanted) = git_ref else { return due::newest(draft.world, key, definition).map(Some) };
    let live = draft.live(&key.pipeline);
    let rows = live.map(|live| &live.sightings).into_iter().flatten();
    let found = rows.filter(|(name, _)| name.short() == wanted).filter_map(|(_, row)| row.last()).next_back().cloned();
    let head = live.and_then(|live| live.seen.as_ref()).and_then(|seen| seen.head.as_ref());
    match found {
        None => Err(format!("{} has seen no branch or tag `{wanted}`", key.pipeline)),
        Some(sighting) if sighting.git_ref.is_pull() && !definition.pulls => {
            Err(format!("`{wanted}` is a pull request, and {key} runs for none"))
        }
        Some(sighting) if definition.deploys() && !definition.refs.matches(&sighting.git_ref, head) => {
            Err(format!("{key} deploys, and `{wanted}` is not among its branches"))
        }
        Some(Sighting { refused: Some(why), commit, .. }) => {
            Err(format!("nothing runs for {} of `{wanted}`: {why}", commit.id.short()))
        }
        Some(sighting) => match upstream(draft.world, key, Some(&sighting.commit.id)) {
            Ok(_) => Ok(Some(sighting)),
            Err(job) => Err(format!("{} needs {job}, which is not green for {}", key, sighting.commit.id.short())),
        },
    }
}

fn check_params(definition: &Definition, params: &BTreeMap<String, String>) -> Result<(), String> {
    let names = || definition.params.keys().cloned().collect::<Vec<_>>().join(", ");
    for (name, value) in params {
        let Some(param) = definition.params.get(name) else {
            let has = if definition.params.is_empty() { "none".to_owned() } else { names() };
            return Err(format!("{} has no parameter `{name}`; it has {has}", definition.key));
        };
        if let Err(why) = param.accepts(value) {
            return Err(format!("`{name}` cannot be `{value}`: {why}"));
        }
    }
    let missing =
        |(name, param): &(&String, &crate::model::job::Param)| param.default.is_none() && !params.contains_key(*name);
    match definition.params.iter().find(missing) {
        Some((name, _)) => Err(format!("{} needs the parameter {name}=VALUE", definition.key)),
        None => Ok(()),
    }
}

/// `shipbell retry RUN`: a new run for the same commit, ref and parameters.
pub fn retry(draft: &mut Draft<'_>, old: &Run, by: &str, gone: &[Removal]) -> Reply {
    if old.finished().is_none() {
        return conflict(format!("{} is not finished: there is nothing to retry", old.run));
    }
    let key = &old.run.job;
    let Some(job) = draft.world.job(key).cloned() else {
        return not_found(format!("{key} is no longer in its file"));
    };
    if old.is_pull() && !job.definition.pulls {
        return conflict(format!("{} is of a pull request, and {key} runs for none any more", old.run));
    }
    if let Some(refused) = pause::refuses(draft, key) {
        return refused;
    }
    let sightings = draft.live(&key.pipeline).into_iter().flat_map(|live| live.sightings.values().flatten());
    let mut of_it =
        sightings.filter(|s| Some(&s.commit.id) == old.commit.as_ref() && Some(&s.git_ref) == old.git_ref.as_ref());
    if let Some(why) = of_it.find_map(|sighting| sighting.refused.as_ref()) {
        return conflict(format!("nothing runs for the commit of {} any more: {why}", old.run));
    }
    let upstream = match upstream(draft.world, key, old.commit.as_ref()) {
        Ok(upstream) => upstream,
        Err(need) => {
            return conflict(format!("{key} needs {need}, which is not green for this commit: retry that first"));
        }
    };
    if let Some(why) = without(draft.world, key, &upstream, gone) {
        return conflict(why);
    }
    let number = draft.world.numbers.get(key).copied().unwrap_or_default() + 1;
    let run = RunRef { job: key.clone(), number };
    draft.put(Change::RunPut(Box::new(Run {
        run: run.clone(),
        cause: Cause::Retry { of: old.run.clone(), by: by.to_owned() },
        definition: job.hash,
        upstream,
        queued_at: draft.now,
        attempt: 0,
        tries: 0,
        holds: Holds::default(),
        state: RunState::Queued { not_before: None, confirmed_by: None },
        outputs: BTreeMap::new(),
        artifacts: Vec::new(),
        ..old.clone()
    })));
    draft.note_by(by, "retried", &run, format!("once more for {}", old.run));
    Reply::Run(run)
}

/// The runs whose artifacts a retry of this one would be given.
#[must_use]
pub fn stands_on(world: &World, old: &Run) -> Vec<RunRef> {
    let upstream = upstream(world, &old.run.job, old.commit.as_ref()).unwrap_or_default();
    upstream.into_iter().filter(|upstream| !upstream.artifacts.is_empty()).map(|upstream| upstream.run).collect()
}

/// Why it could not find what it stands on: `[retention]` took that away. Its green stays, so it would be started
/// and fail.
fn without(world: &World, key: &JobKey, upstream: &[Upstream], gone: &[Removal]) -> Option<String> {
    let of = |upstream: &Upstream| {
        let parts = [Part::Run, Part::Artifacts].map(|part| (upstream.run.clone(), part));
        let decided = parts.iter().filter_map(|part| world.removals.get(part));
        let known = gone.iter().filter(|removal| removal.run == upstream.run && removal.part != Part::Log);
        decided.chain(known).min_by_key(|removal| removal.part != Part::Run).cloned()
    };
    let missing: Vec<Removal> =
        upstream.iter().filter(|upstream| !upstream.artifacts.is_empty()).filter_map(of).collect();
    if missing.is_empty() {
        return None;
    }
    let said = |removal: &Removal| {
        let day = removal.done.map_or(removal.decided_at, |done| done.at).strftime("%Y-%m-%d").to_string();
        format!("those of {} were removed on {day} by [retention] ({})", removal.run, removal.part.key())
    };
    let list: Vec<String> = missing.iter().map(said).collect();
    let advice = match missing.iter().find(|removal| removal.part == Part::Run) {
        Some(lost) => format!("{} went with them: this commit cannot be retried, take a newer one", lost.run),
        None => {
            let retries: Vec<String> =
                missing.iter().map(|removal| format!("shipbell retry {}", removal.run)).collect();
            format!("make them again first: {}", retries.join(", "))
        }
    };
    Some(format!("{key} is given artifacts that are no longer there: {}\n  {advice}", list.join("; ")))
}
