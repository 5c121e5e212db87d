//! What of finished runs may go by `[retention]`, and what must stay although its time is over: whatever
//! something that is live, deployed, waits or could be gone back to stands on. It is written down before
//! anything is removed, so that a crash leaves nothing half; removing is the executor's.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::commit::CommitId;
use crate::model::environment::{Deployment, EnvironmentState};
use crate::model::event::{Action, Change};
use crate::model::name::{EnvironmentName, JobName, PipelineName, RunRef};
use crate::model::retention::{Deployed, MirrorFate, MirrorSeen, Old, Part, Past, Removal, Removed, Retention, Tally};
use crate::model::run::{Cause, Run, Upstream};
use crate::model::time::Timestamp;
use crate::pipeline::draft::{Draft, green};
use crate::pipeline::world::{Live, World};

/// Deployments before the live one, each of another commit, that an environment could go back to.
const BACK: usize = 3;

/// Why runs stay.
type Holds = BTreeMap<RunRef, String>;

/// What becomes of an old run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub run: RunRef,
    pub at: Timestamp,
    /// What goes now.
    pub goes: Vec<Part>,
    /// Why the rest stays; of a run of which nothing more could go, `None`.
    pub stays: Option<String>,
}

/// Judges each of the old runs.
#[must_use]
pub fn judge(world: &World, past: &Past, now: Timestamp) -> Vec<Verdict> {
    let retention = &world.scratch.catalog.settings.retention;
    let holds = holds(world, past, retention);
    past.old.iter().map(|old| verdict(old, retention, &holds, now)).collect()
}

fn verdict(old: &Old, retention: &Retention, holds: &Holds, now: Timestamp) -> Verdict {
    let over = |part: Part| retention.before(part, now).is_some_and(|before| old.at < before);
    let left = |part: &Part| !old.gone.contains(part) && !old.gone.contains(&Part::Run);
    let is_there = |part: &Part| match part {
        Part::Artifacts => old.artifacts,
        Part::Log => old.begun,
        Part::Run => !old.decided,
    };
    let due: Vec<Part> = Part::ALL.iter().copied().filter(|part| over(*part) && left(part) && is_there(part)).collect();
    let stays = holds.get(&old.run).filter(|_| !due.is_empty()).cloned();
    let mut goes = if stays.is_some() { Vec::new() } else { due };
    if goes.contains(&Part::Run) {
        // With all that is left of it.
        goes = vec![Part::Run];
    }
    Verdict { run: old.run.clone(), at: old.at, goes, stays }
}

/// Everything that must not go, with the reason for people. Where there are several, the first one counts.
fn holds(world: &World, past: &Past, retention: &Retention) -> Holds {
    let mut holds = Holds::new();
    for run in world.runs() {
        hold_run(&mut holds, run);
    }
    for (pipeline, live) in &world.live {
        for environment in live.environments.values() {
            let name = &environment.name;
            if let Some(deployment) = &environment.live {
                hold_deployment(&mut holds, deployment, &format!("is deployed: {name}"));
            }
            if let EnvironmentState::Unclear { attempted, .. } = &environment.state {
                hold_deployment(&mut holds, attempted, &format!("was attempted last: {name}"));
            }
        }
        hold_requests(&mut holds, live);
        hold_heads(&mut holds, world, pipeline, live, retention);
        for failing in live.failing.values() {
            hold(&mut holds, &failing.run, || "its job fails since".into());
        }
        for last in live.last_ran.values().filter(|last| live.sightings.contains_key(&last.git_ref)) {
            hold(&mut holds, &last.run, || format!("is the last of its job on {}", last.git_ref.short()));
        }
    }
    for run in world.letters.values().filter_map(|letter| letter.kind.run()) {
        hold(&mut holds, run, || "a letter about it is on its way".into());
    }
    hold_back(&mut holds, world, &past.deployed);
    for run in &past.successes {
        hold(&mut holds, run, || "is the last success of its job".into());
    }
    for run in &past.newest {
        hold(&mut holds, run, || format!("is one of the newest {} of its job", retention.keep));
    }
    holds
}

fn hold(holds: &mut Holds, run: &RunRef, why: impl FnOnce() -> String) {
    holds.entry(run.clone()).or_insert_with(why);
}

fn hold_upstream(holds: &mut Holds, upstream: &[Upstream], of: &str) {
    for upstream in upstream {
        hold(holds, &upstream.run, || format!("{of} stands on it"));
    }
}

fn hold_run(holds: &mut Holds, run: &Run) {
    let word = if run.is_running() { "runs" } else { "waits" };
    hold(holds, &run.run, || word.into());
    hold_upstream(holds, &run.upstream, &format!("{}, which {word},", run.run));
    if let Cause::Retry { of: from, .. } | Cause::Needs { run: from } | Cause::Rollback { deployment: from, .. } =
        &run.cause
    {
        hold(holds, from, || format!("{}, which {word}, came of it", run.run));
    }
}

fn hold_deployment(holds: &mut Holds, deployment: &Deployment, why: &str) {
    hold(holds, &deployment.run, || why.to_owned());
    hold_upstream(holds, &deployment.upstream, &format!("{}, which {why},", deployment.run));
}

fn hold_requests(holds: &mut Holds, live: &Live) {
    for request in live.requests.values() {
        hold_upstream(
            holds,
            &request.tuple.upstream,
            &format!("{}, which waits for approval or its window,", request.run),
        );
        if let Some(run) = &request.tuple.after {
            hold(holds, run, || format!("{} is to follow it", request.run));
        }
    }
}

/// What a due time, a person or the next outcome could start from: of each job, the newest commit for which
/// all that it needs is green, and what is green of the heads since; and all of commits that runs go on for.
fn hold_heads(holds: &mut Holds, world: &World, name: &PipelineName, live: &Live, retention: &Retention) {
    let latest = |job: &JobName, commit: &CommitId| {
        let standing = live.standings.get(&(job.clone(), commit.clone()))?;
        standing.latest.as_ref().filter(|latest| green(latest)).map(|latest| &latest.upstream.run)
    };
    let going_on: BTreeSet<&CommitId> = live.runs.values().filter_map(|run| run.commit.as_ref()).collect();
    for ((_, commit), standing) in &live.standings {
        let run = standing.latest.as_ref().map(|latest| &latest.upstream.run).filter(|_| going_on.contains(commit));
        for run in run.into_iter().chain(standing.carries.as_ref().filter(|_| going_on.contains(commit))) {
            hold(holds, run, || format!("runs for {} go on", commit.short()));
        }
    }
    let Some(pipeline) = world.pipeline(name) else { return };
    let head = live.seen.as_ref().and_then(|seen| seen.head.as_ref());
    for job in pipeline.jobs.values().filter(|job| !job.definition.needs.is_empty()) {
        let needs = pipeline.upstream_of(&job.definition.key.job);
        for (git_ref, row) in live.sightings.iter().filter(|(git_ref, _)| job.definition.refs.matches(git_ref, head)) {
            for (place, sighting) in (0_u32..).zip(row.iter().rev()) {
                let found: Vec<&RunRef> = needs.iter().filter_map(|need| latest(need, &sighting.commit.id)).collect();
                let all = found.len() == needs.len();
                if all || place < retention.keep {
                    let why = || format!("{} can start from it on {}", job.definition.key, git_ref.short());
                    found.into_iter().for_each(|run| hold(holds, run, why));
                }
                if all {
                    break;
                }
            }
        }
    }
}

/// The deployments that an environment could go back to, with what they stand on.
fn hold_back(holds: &mut Holds, world: &World, deployed: &[Deployed]) {
    let mut places: BTreeMap<(&PipelineName, &EnvironmentName), Back<'_>> = BTreeMap::new();
    for past in deployed {
        let live = world.environment(&past.pipeline, &past.environment).and_then(|known| known.live.as_ref());
        let back = places.entry((&past.pipeline, &past.environment)).or_insert_with(|| {
            // The live one is no place to go back to.
            Back { commits: live.and_then(|live| live.commit.as_ref()).into_iter().collect(), runs: 0 }
        });
        let is_live = live.is_some_and(|live| live.run == past.run);
        let again = past.commit.as_ref().is_some_and(|commit| !back.commits.insert(commit));
        if is_live || again || back.runs == BACK {
            continue;
        }
        back.runs += 1;
        hold(holds, &past.run, || format!("{} could go back to it", past.environment));
        for upstream in &past.upstream {
            hold(holds, upstream, || {
                format!("{}, to which {} could go back, stands on it", past.run, past.environment)
            });
        }
    }
}

/// What was found of an environment so far.
struct Back<'a> {
    commits: BTreeSet<&'a CommitId>,
    runs: usize,
}

/// Old runs were looked up: what may go is written down. What could not be removed before is tried again.
pub fn aged(draft: &mut Draft<'_>, past: &Past) {
    if past.after.is_none() {
        draft.world.scratch.unremovable.clear();
    }
    let now = draft.now;
    for verdict in judge(draft.world, past, now) {
        for part in verdict.goes {
            let key = (verdict.run.clone(), part);
            if !draft.world.removals.contains_key(&key) {
                draft.put(Change::RemovalPut(Removal { run: key.0, part, decided_at: now, done: None }));
            }
        }
    }
}

/// What the executor said.
pub fn removed(draft: &mut Draft<'_>, gone: &[(RunRef, Part, Result<u64, String>)]) {
    for (run, part, result) in gone {
        let key = (run.clone(), *part);
        let Some(removal) = draft.world.removals.get(&key).cloned() else { continue };
        draft.world.scratch.removing.remove(&key);
        let Ok(bytes) = result else {
            draft.world.scratch.unremovable.insert(key);
            continue;
        };
        if *part == Part::Run {
            draft.put(Change::RunGone { run: run.clone() });
        }
        let done = Some(Removed { at: draft.now, bytes: *bytes });
        draft.put(Change::RemovalPut(Removal { done, ..removal }));
    }
}

/// The end of a pass, for people.
pub fn pruned(draft: &mut Draft<'_>, tally: &Tally, by: &str) {
    if *tally != Tally::default() {
        draft.note_by(by, "pruned", &"[retention]", told(tally));
    }
}

/// One line.
#[must_use]
pub fn told(tally: &Tally) -> String {
    let count = |n: u64, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    let failed = match tally.failed {
        0 => String::new(),
        n => format!("; {} could not be removed", count(n, "thing", "things")),
    };
    format!(
        "{}, {} of artifacts, {}, {}; {} bytes are free again{failed}",
        count(tally.logs, "log", "logs"),
        count(tally.artifacts, "set", "sets"),
        count(tally.runs, "run", "runs"),
        count(tally.mirrors, "mirror", "mirrors"),
        tally.bytes
    )
}

/// What is written down and not under way is removed: now, and after a restart.
pub fn plan(draft: &mut Draft<'_>) {
    let scratch = &draft.world.scratch;
    let at_rest = |key: &&(RunRef, Part)| !scratch.removing.contains(*key) && !scratch.unremovable.contains(*key);
    let open = draft.world.removals.keys().filter(at_rest);
    let parts: Vec<(RunRef, Part)> = open.cloned().collect();
    if !parts.is_empty() {
        draft.world.scratch.removing.extend(parts.iter().cloned());
        draft.actions.push(Action::Remove { parts });
    }
}

/// What becomes of a mirror.
#[must_use]
pub fn fate_of(mirror: &MirrorSeen, retention: &Retention, now: Timestamp) -> MirrorFate {
    match (mirror.named, mirror.unnamed_since) {
        (true, Some(_)) => MirrorFate::Forget,
        (true, None) => MirrorFate::Stays,
        (false, None) => MirrorFate::Mark,
        // A mark from the future is of a clock that was put back since: it begins anew.
        (false, Some(since)) if since > now => MirrorFate::Mark,
        (false, Some(since)) => {
            let over = retention.mirrors.is_some_and(|span| span.after(since) < now);
            if over && !mirror.borrowed { MirrorFate::Goes } else { MirrorFate::Stays }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::Seconds;

    fn at(day: u64) -> Timestamp {
        Seconds::days(day).after(Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn each_part_has_its_time_and_goes_with_its_run_at_the_latest() {
        let old = |begun, artifacts, decided, gone: &[Part]| Old {
            run: "a/b#1".parse().unwrap(),
            at: at(0),
            begun,
            artifacts,
            decided,
            gone: gone.to_vec(),
        };
        let usual = Retention::default();
        let forever = Retention { runs: None, ..Retention::default() };
        use Part::{Artifacts, Log, Run};
        for (retention, old, day, goes) in [
            (&usual, old(true, true, false, &[]), 30, &[][..]),
            (&usual, old(true, true, false, &[]), 31, &[Artifacts]),
            (&usual, old(true, false, false, &[]), 31, &[]),
            (&usual, old(true, true, false, &[]), 91, &[Artifacts, Log]),
            (&usual, old(true, true, false, &[Artifacts]), 91, &[Log]),
            (&usual, old(true, true, false, &[Artifacts, Log]), 91, &[]),
            (&usual, old(false, false, false, &[]), 91, &[]),
            (&usual, old(true, true, false, &[Artifacts, Log]), 181, &[Run]),
            (&usual, old(true, true, false, &[]), 181, &[Run]),
            (&usual, old(false, false, false, &[]), 181, &[Run]),
            (&usual, old(true, true, true, &[]), 181, &[Artifacts, Log]),
            (&usual, old(true, true, false, &[Run]), 181, &[]),
            (&forever, old(true, true, false, &[]), 5000, &[Artifacts, Log]),
        ] {
            let found = verdict(&old, retention, &Holds::new(), at(day));
            assert_eq!(found.goes, goes, "{old:?} on day {day}");
            let held = Holds::from([(old.run.clone(), "why".to_owned())]);
            let found = verdict(&old, retention, &held, at(day));
            assert_eq!((found.goes.len(), found.stays.is_some()), (0, !goes.is_empty()), "{old:?} on day {day}");
        }
    }

    #[test]
    fn a_mirror_goes_when_it_was_unnamed_long_enough_and_nobody_borrows_from_it() {
        use MirrorFate::{Forget, Goes, Mark, Stays};
        for (named, borrowed, since, now, fate) in [
            (true, false, None, 100, Stays),
            (true, true, Some(1), 100, Forget),
            (false, false, None, 100, Mark),
            (false, false, Some(70), 100, Stays),
            (false, false, Some(69), 100, Goes),
            (false, true, Some(1), 100, Stays),
            // A clock that was put back.
            (false, false, Some(200), 100, Mark),
        ] {
            let seen = MirrorSeen { name: "m".into(), named, borrowed, unnamed_since: since.map(at) };
            assert_eq!(fate_of(&seen, &Retention::default(), at(now)), fate, "{seen:?}");
        }
        let forever = Retention { mirrors: None, ..Retention::default() };
        let seen = MirrorSeen { name: "m".into(), named: false, borrowed: false, unnamed_since: Some(at(1)) };
        assert_eq!(fate_of(&seen, &forever, at(5000)), Stays);
    }
}
