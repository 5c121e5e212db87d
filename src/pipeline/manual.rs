//! What a person starts: a run under the same conditions as any other, or a run once more.

use std::collections::BTreeMap;

use crate::model::catalog::PipelineState;
use crate::model::commit::Sighting;
use crate::model::event::{Change, Refusal, Reply, RunRequest};
use crate::model::job::Definition;
use crate::model::name::JobKey;
use crate::model::run::{Cause, Holds, Run, RunState};
use crate::pipeline::draft::{Draft, upstream};
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
pub fn retry(draft: &mut Draft<'_>, old: &Run, by: &str) -> Reply {
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
    let number = draft.world.numbers.get(key).copied().unwrap_or_default() + 1;
    let run = crate::model::name::RunRef { job: key.clone(), number };
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
