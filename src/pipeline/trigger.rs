//! Rows 1 and 2 of the trigger rule: which jobs a head starts, and which the success of their needs
//! starts; path filters and carry-over. Due times are decided in `due`.

use crate::model::catalog::PipelineState;
use crate::model::commit::{CommitId, RefName, Sighting};
use crate::model::event::{Change, Latest, Pulled, Standing};
use crate::model::glob::list_matches;
use crate::model::job::{Definition, Unchanged};
use crate::model::name::{JobKey, JobName, PipelineName, RunRef};
use crate::model::run::{Cause, Holds, Run, RunState};
use crate::model::time::{Seconds, is_ahead};
use crate::pipeline::draft::{Draft, as_upstream, green, upstream};
use crate::pipeline::{compare, pause, promote, telling};

/// Decides for every head and hot commit of a pipeline.
pub fn plan(draft: &mut Draft<'_>, name: &PipelineName) {
    let Some(pipeline) = draft.world.pipeline(name) else { return };
    if matches!(pipeline.state, PipelineState::Off { .. }) {
        return;
    }
    let jobs: Vec<(JobKey, std::sync::Arc<Definition>)> = pipeline
        .order
        .iter()
        .filter_map(|job| pipeline.jobs.get(job))
        .map(|job| (job.definition.key.clone(), job.definition.clone()))
        .collect();
    let hot = take_hot(draft, name);
    for (key, definition) in &jobs {
        if pause::of(draft.world, key, draft.now).is_some() {
            continue;
        }
        if definition.follows_commits() {
            heads(draft, key, definition);
        } else if definition.follows_needs() {
            for commit in &hot {
                needs(draft, key, definition, commit);
            }
        }
    }
}

fn take_hot(draft: &mut Draft<'_>, name: &PipelineName) -> Vec<CommitId> {
    draft.world.scratch.hot.remove(name).unwrap_or_default().into_iter().collect()
}

/// Row 1: the tip of every matching ref, and with `commits = "every"` those not yet begun.
fn heads(draft: &mut Draft<'_>, key: &JobKey, definition: &Definition) {
    let Some(live) = draft.live(&key.pipeline) else { return };
    let head = live.seen.as_ref().and_then(|seen| seen.head.clone());
    let mut candidates: Vec<Sighting> = Vec::new();
    for (git_ref, row) in &live.sightings {
        if !definition.follows(git_ref, head.as_ref()) {
            continue;
        }
        let last = row.len().saturating_sub(1);
        let due = |(at, sighting): &(usize, &Sighting)| {
            sighting.runs && !sighting.passed_over && sighting.on_branch && (*at == last || !sighting.begun)
        };
        candidates.extend(row.iter().enumerate().filter(due).map(|(_, sighting)| sighting.clone()));
    }
    for sighting in candidates {
        if has_had(draft, key, &sighting) || !is_still(draft, key, &sighting) {
            continue;
        }
        if let Some(applies) = applies(draft, key, definition, &sighting.git_ref, &sighting.commit.id) {
            fire(draft, key, definition, &sighting, Cause::Commit { sighting: sighting.number }, applies);
        }
    }
}

/// Whether the job was started for this head before. A branch or tag counts by its commit; a pull request
/// only for itself.
fn has_had(draft: &Draft<'_>, key: &JobKey, sighting: &Sighting) -> bool {
    if sighting.git_ref.is_pull() {
        let place = (key.job.clone(), sighting.git_ref.clone());
        let had = draft.live(&key.pipeline).and_then(|live| live.pulled.get(&place));
        return had.is_some_and(|number| *number >= sighting.number);
    }
    let standing = draft.standing(key, &sighting.commit.id);
    standing.fired || standing.latest.is_some()
}

/// `quiet`: the branch must have been still for so long.
fn is_still(draft: &mut Draft<'_>, key: &JobKey, sighting: &Sighting) -> bool {
    let repo = draft.world.pipeline(&key.pipeline).and_then(|pipeline| pipeline.repo.as_ref());
    let quiet = repo.map_or(Seconds(0), |repo| repo.quiet);
    let at = quiet.after(sighting.seen_at);
    let wait = is_ahead(at, quiet, draft.now);
    if wait {
        draft.wake(&key.pipeline, at);
    }
    !wait
}

/// Row 2: once per job and commit, as soon as every needed job is green for it.
fn needs(draft: &mut Draft<'_>, key: &JobKey, definition: &Definition, commit: &CommitId) {
    if draft.standing(key, commit).fired {
        return;
    }
    let Some(sighting) = sighting_for(draft, key, definition, commit) else { return };
    let latest = |job: &JobName| {
        let need = JobKey { pipeline: key.pipeline.clone(), job: job.clone() };
        draft.world.standing(&need, commit).and_then(|standing| standing.latest.clone())
    };
    let needed: Option<Vec<Latest>> = definition.needs.iter().map(|job| latest(job).filter(green)).collect();
    let Some(last) = needed.and_then(|list| list.into_iter().max_by_key(|latest| latest.at)) else { return };
    let cause = Cause::Needs { run: last.upstream.run.clone() };
    if let Some(applies) = applies(draft, key, definition, &sighting.git_ref, commit) {
        fire(draft, key, definition, &sighting, cause, applies);
    }
}

/// The newest sighting of the commit on a ref that the job follows.
fn sighting_for(draft: &Draft<'_>, key: &JobKey, definition: &Definition, commit: &CommitId) -> Option<Sighting> {
    let live = draft.live(&key.pipeline)?;
    let head = live.seen.as_ref().and_then(|seen| seen.head.as_ref());
    let follows = |(git_ref, _): &(&RefName, &Vec<Sighting>)| definition.refs.matches(git_ref, head);
    let rows = live.sightings.iter().filter(follows).flat_map(|(_, row)| row);
    let of_it = |s: &&Sighting| s.commit.id == *commit && s.runs && !s.passed_over;
    rows.filter(of_it).max_by_key(|sighting| sighting.number).cloned()
}

/// Whether the job applies to a commit by its paths; `None` while git has not answered.
/// `Err` carries over from this run.
type Applies = Result<(), Option<RunRef>>;

fn applies(
    draft: &mut Draft<'_>,
    key: &JobKey,
    definition: &Definition,
    git_ref: &RefName,
    commit: &CommitId,
) -> Option<Applies> {
    if definition.paths.is_empty() && definition.repo_paths.is_empty() {
        return Some(Ok(()));
    }
    let Some((base, run)) = base_of(draft, key, definition, git_ref) else { return Some(Ok(())) };
    match compare::ask(draft, &key.pipeline, &base, commit) {
        None => None,
        // Git cannot tell (the old commit is gone): running once too often is the safe side.
        Some(Err(_)) => Some(Ok(())),
        Some(Ok(comparison)) => {
            let hit = |globs: &[String]| match &comparison.files {
                None => true,
                Some(files) => globs.is_empty() || files.iter().any(|file| list_matches(globs, file)),
            };
            Some(if hit(&definition.paths) && hit(&definition.repo_paths) { Ok(()) } else { Err(run) })
        }
    }
}

/// The commit with which `paths` compares: the one that this job last ran for on the branch; for a
/// deploying job the live one.
#[must_use]
pub fn base_of(
    draft: &Draft<'_>,
    key: &JobKey,
    definition: &Definition,
    git_ref: &RefName,
) -> Option<(CommitId, Option<RunRef>)> {
    if let Some(policy) = &definition.environment {
        let live = draft.world.environment(&key.pipeline, &policy.name)?.live.as_ref()?;
        return live.commit.clone().map(|commit| (commit, Some(live.run.clone())));
    }
    let last = draft.live(&key.pipeline)?.last_ran.get(&(key.job.clone(), git_ref.clone()))?;
    Some((last.commit.clone(), Some(last.run.clone())))
}

/// Whether `commit` touches the job's paths, for due times: `None` while git has not answered.
#[must_use]
pub fn touches_paths(
    draft: &mut Draft<'_>,
    key: &JobKey,
    definition: &Definition,
    git_ref: &RefName,
    commit: &CommitId,
) -> Option<bool> {
    applies(draft, key, definition, git_ref, commit).map(|applies| applies.is_ok())
}

fn fire(
    draft: &mut Draft<'_>,
    key: &JobKey,
    definition: &Definition,
    sighting: &Sighting,
    cause: Cause,
    applies: Applies,
) {
    if sighting.git_ref.is_pull() {
        return pulled(draft, key, sighting, cause, applies);
    }
    let mut standing = draft.standing(key, &sighting.commit.id);
    standing.fired = true;
    match applies {
        Err(run) => {
            standing.latest = run.as_ref().and_then(|run| finished_as(draft, key, run));
            let from = run.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
            standing.carries.clone_from(&run);
            draft.put(Change::StandingPut(standing));
            let detail = format!("no path of it changed: carries over from {from}");
            draft.note("carried", &format!("{key} {}", sighting.commit.id.short()), detail);
            if let Some(run) = run {
                telling::carried(draft, &sighting.commit.id, &run);
            }
        }
        Ok(()) => {
            let unchanged = definition.unchanged == Unchanged::Skip
                && promote::is_unchanged(draft.world, key, definition, Some(&sighting.commit.id));
            draft.put(Change::StandingPut(standing));
            if unchanged {
                let subject = format!("{key} {}", sighting.commit.id.short());
                draft.note("skipped", &subject, "unchanged: the environment has exactly this");
            } else {
                queue(draft, key, Some(sighting), cause, std::collections::BTreeMap::new());
            }
        }
    }
}

/// The head of a pull request: it has no standing, and nothing is carried over by it but what its host is told.
fn pulled(draft: &mut Draft<'_>, key: &JobKey, sighting: &Sighting, cause: Cause, applies: Applies) {
    draft.put(Change::PulledPut(Pulled {
        pipeline: key.pipeline.clone(),
        job: key.job.clone(),
        git_ref: sighting.git_ref.clone(),
        sighting: sighting.number,
    }));
    match applies {
        Ok(()) => drop(queue(draft, key, Some(sighting), cause, std::collections::BTreeMap::new())),
        Err(run) => {
            draft.note("skipped", &format!("{key} {}", sighting.commit.id.short()), "no path of it changed");
            if let Some(run) = run {
                telling::carried(draft, &sighting.commit.id, &run);
            }
        }
    }
}

/// The latest outcome of a run that is carried over, where it is finished.
fn finished_as(draft: &Draft<'_>, key: &JobKey, run: &RunRef) -> Option<Latest> {
    let live = draft.live(&key.pipeline)?;
    let is_it = |latest: &&Latest| latest.upstream.run == *run;
    let of_job = live.standings.values().filter(|standing| standing.job == *key);
    of_job.filter_map(|standing| standing.latest.as_ref()).find(is_it).cloned()
}

/// Queues a run, with everything upstream as it is now.
pub fn queue(
    draft: &mut Draft<'_>,
    key: &JobKey,
    sighting: Option<&Sighting>,
    cause: Cause,
    params: std::collections::BTreeMap<String, String>,
) -> Option<RunRef> {
    let job = draft.world.job(key)?;
    let (hash, defaults) = (job.hash.clone(), job.definition.params.clone());
    let commit = sighting.map(|sighting| sighting.commit.id.clone());
    let mut all: std::collections::BTreeMap<String, String> =
        defaults.into_iter().filter_map(|(name, param)| param.default.map(|value| (name, value))).collect();
    all.extend(params);
    let number = draft.world.numbers.get(key).copied().unwrap_or_default() + 1;
    let run = RunRef { job: key.clone(), number };
    let detail = match &commit {
        Some(commit) => format!("{}, {cause}", commit.short()),
        None => cause.to_string(),
    };
    draft.put_run(Run {
        run: run.clone(),
        upstream: upstream(draft.world, key, commit.as_ref()).unwrap_or_default(),
        commit,
        git_ref: sighting.map(|sighting| sighting.git_ref.clone()),
        sighting: sighting.map_or(0, |sighting| sighting.number),
        cause,
        definition: hash,
        params: all,
        queued_at: draft.now,
        attempt: 0,
        tries: 0,
        holds: Holds::default(),
        state: RunState::Queued { not_before: None, confirmed_by: None },
        outputs: std::collections::BTreeMap::new(),
        artifacts: Vec::new(),
    });
    draft.note("queued", &run, detail);
    Some(run)
}

/// After a run ended: its standing, and the standings that carry its outcome over.
pub fn stand(draft: &mut Draft<'_>, run: &Run, latest: Option<Latest>) {
    // What a pull request showed says nothing of the commit elsewhere.
    let Some(commit) = run.commit.as_ref().filter(|_| !run.is_pull()) else { return };
    let mut standing = draft.standing(&run.run.job, commit);
    let before = standing.latest.as_ref().map(|latest| latest.upstream.run.clone());
    let Some(latest) = latest else { return };
    standing.latest = Some(latest.clone());
    draft.put(Change::StandingPut(standing));
    let carried = |carries: &RunRef| *carries == run.run || Some(carries) == before.as_ref();
    let Some(live) = draft.live(&run.run.job.pipeline) else { return };
    let of_it = |s: &&Standing| s.job == run.run.job && s.commit != *commit && s.carries.as_ref().is_some_and(carried);
    let carrying: Vec<_> = live.standings.values().filter(of_it).cloned().collect();
    for mut standing in carrying {
        standing.carries = Some(run.run.clone());
        standing.latest = Some(latest.clone());
        let commit = standing.commit.clone();
        draft.put(Change::StandingPut(standing));
        telling::carried(draft, &commit, &run.run);
    }
}

/// How a finished run stands.
#[must_use]
pub fn latest_of(run: &Run, now: crate::model::time::Timestamp) -> Option<Latest> {
    let outcome = run.outcome()?;
    let skipped = outcome == crate::model::run::Outcome::Skipped;
    (!skipped).then(|| Latest { outcome, upstream: as_upstream(run), at: now, tries: run.tries })
}
