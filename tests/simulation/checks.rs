//! What must hold, of states and of transitions: before, after, now. Written from the promises, not from
//! the core's code; the parts are in `starting`, `ending`, `asking` and `dues`.

use std::collections::BTreeMap;
use std::fmt::Debug;

use shipbell::model::catalog::PipelineState;
use shipbell::model::event::{Change, Event};
use shipbell::model::job::Overlap;
use shipbell::model::name::{EnvironmentName, JobName, PipelineName, RunRef};
use shipbell::model::run::{Outcome, Run, RunState};
use shipbell::model::ticket::StartOrder;
use shipbell::model::time::{Seconds, Timestamp};
use shipbell::pipeline::world::{Live, World};
use shipbell::pipeline::{Turn, turn};
use shipbell::store::Reader;

use crate::git::Git;
use crate::{asking, dues, ending, pruning, starting};

/// A rule that was broken, and how.
#[derive(Debug, Clone)]
pub struct Fault {
    pub rule: &'static str,
    pub detail: String,
}

pub fn fault(rule: &'static str, detail: impl Debug) -> Fault {
    Fault { rule, detail: format!("{detail:?}") }
}

/// `Err` unless it holds.
pub fn must(holds: bool, rule: &'static str, detail: impl Debug) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(fault(rule, detail)) }
}

/// What a running attempt was started as, whatever the configuration says later.
#[derive(Debug, Clone)]
pub struct Held {
    pub environment: Option<(PipelineName, EnvironmentName)>,
    pub pools: Vec<String>,
    pub alone: bool,
}

/// One transition with all that is around it.
pub struct Transition<'a> {
    pub before: &'a World,
    pub events: &'a [Event],
    pub done: &'a Turn,
    pub after: &'a World,
    pub gits: &'a BTreeMap<PipelineName, Git>,
    pub now: Timestamp,
}

/// What is remembered from turn to turn.
#[derive(Debug, Default, Clone)]
pub struct Checks {
    finished: BTreeMap<RunRef, Outcome>,
    pub held: BTreeMap<RunRef, Held>,
    /// How often things were reached: a simulation that never deploys proves nothing.
    pub reached: BTreeMap<&'static str, u64>,
}

impl Checks {
    pub fn seen(&mut self, what: &'static str) {
        *self.reached.entry(what).or_default() += 1;
    }

    pub fn clock_stepped(&mut self, back: bool) {
        self.seen(if back { "clock back" } else { "clock ahead" });
    }

    /// Everything about one turn, before it is written.
    pub fn transition(
        &mut self,
        before: &World,
        events: &[Event],
        done: &Turn,
        after: &World,
        gits: &BTreeMap<PipelineName, Git>,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let all = Transition { before, events, done, after, gits, now };
        let mut runs: BTreeMap<&RunRef, &Run> = before.runs().map(|run| (&run.run, run)).collect();
        let mut started = Vec::new();
        for change in &done.changes {
            if let Change::RunPut(run) = change {
                let old = runs.insert(&run.run, run);
                self.run_put(&all, old, run, &mut started)?;
            }
        }
        self.started_enough(&all, &started)?;
        self.state(after)?;
        asking::requests(self, &all)?;
        dues::due_times(self, &all)?;
        pruning::what_goes(self, &all)?;
        still(&all)
    }

    fn run_put<'a>(
        &mut self,
        all: &Transition<'a>,
        old: Option<&Run>,
        run: &'a Run,
        started: &mut Vec<&'a Run>,
    ) -> Result<(), Fault> {
        if let Some(outcome) = self.finished.get(&run.run) {
            return Err(fault("finished is final", (outcome, run)));
        }
        let Some(old) = old else {
            let last = all.before.numbers.get(&run.run.job).copied().unwrap_or(0);
            must(run.run.number > last && run.is_queued() && run.attempt == 0, "a new run is queued", run)?;
            self.seen(run.cause.word());
            return Ok(());
        };
        must(old.commit == run.commit && old.cause == run.cause, "a run keeps its commit and cause", (old, run))?;
        let attempt = old.attempt + u32::from(old.is_queued() && run.is_running());
        must(run.attempt == attempt, "attempts count up when they start", (old, run))?;
        match (&old.state, &run.state) {
            (RunState::Queued { .. }, RunState::Running { .. }) => {
                self.held.insert(run.run.clone(), starting::held(all, run)?);
                starting::may_start(self, all, old, run)?;
                started.push(run);
            }
            (RunState::Queued { .. }, RunState::Finished(end)) => {
                let outcomes = [Outcome::Skipped, Outcome::Cancelled, Outcome::Failed];
                must(outcomes.contains(&end.outcome), "what did not run did not succeed", run)?;
                self.finished.insert(run.run.clone(), end.outcome);
                self.seen(end.outcome.word());
            }
            (RunState::Running { .. }, RunState::Queued { .. }) => {
                ending::again(self, all, old)?;
                self.held.remove(&run.run);
            }
            (RunState::Running { .. }, RunState::Finished(end)) => {
                ending::ended(self, all, old, end)?;
                self.finished.insert(run.run.clone(), end.outcome);
                self.held.remove(&run.run);
            }
            (RunState::Queued { .. }, RunState::Queued { .. })
            | (RunState::Running { .. }, RunState::Running { .. }) => {}
            (RunState::Finished(_), _) => return Err(fault("finished is final", run)),
        }
        Ok(())
    }

    /// Slots, pools and disk, judged whenever something started.
    fn started_enough(&self, all: &Transition<'_>, started: &[&Run]) -> Result<(), Fault> {
        if started.is_empty() {
            return Ok(());
        }
        let settings = &all.after.scratch.catalog.settings;
        let running = all.after.runs().filter(|run| run.is_running()).count();
        must(running <= settings.slots as usize, "slots are never exceeded", started)?;
        let full = all.after.scratch.disk_free.is_some_and(|free| free < settings.disk_floor);
        must(!full, "nothing starts on a full disk", started)?;
        for pool in started.iter().filter_map(|run| self.held.get(&run.run)).flat_map(|held| &held.pools) {
            let users = self.held.values().filter(|held| held.pools.contains(pool)).count();
            must(users <= settings.places(pool) as usize, "pools are never exceeded", (pool, started))?;
        }
        Ok(())
    }

    fn state(&mut self, after: &World) -> Result<(), Fault> {
        let mut running: Vec<&RunRef> = after.runs().filter(|run| run.is_running()).map(|run| &run.run).collect();
        running.sort();
        let indexed: Vec<&RunRef> = after.scratch.running.iter().collect();
        must(running == indexed, "the index of running runs is right", (&running, &indexed))?;
        let held: Vec<&RunRef> = self.held.keys().collect();
        must(running == held, "what runs was started", (&running, &held))?;
        let mut deploying: BTreeMap<_, &RunRef> = BTreeMap::new();
        let mut alone: BTreeMap<_, &RunRef> = BTreeMap::new();
        for (name, held) in &self.held {
            if let Some(environment) = &held.environment {
                let other = deploying.insert(environment, name);
                must(other.is_none(), "an environment runs one deployment at a time", (other, name))?;
            }
            let git_ref = after.run(name).and_then(|run| run.git_ref.clone());
            if held.alone {
                let other = alone.insert((&name.job, git_ref), name);
                must(other.is_none(), "one at a time per job and branch", (other, name))?;
            }
        }
        Ok(())
    }

    /// Before it is performed: a start is on disk.
    pub fn starts(&mut self, reader: &Reader, order: &StartOrder) -> Result<(), Fault> {
        let run = reader.run(&order.run).unwrap();
        let recorded = run.as_ref().is_some_and(|run| {
            run.is_running()
                && run.attempt == order.attempt
                && run.commit == order.commit
                && run.definition == order.definition
                && run.upstream == order.needs
                && run.params == order.params
        });
        self.seen("start");
        must(recorded, "recorded before it is started", (&order, &run))?;
        let is_pull = |run: &Option<Run>| run.as_ref().is_some_and(Run::is_pull);
        let alone = order.needs.is_empty() && run.as_ref().is_some_and(|run| run.holds.environment.is_none());
        must(!is_pull(&run) || alone, "a pull request stands on nothing and changes nothing", order)?;
        let needs = order.needs.iter().map(|need| reader.run(&need.run).unwrap());
        must(!needs.into_iter().any(|need| is_pull(&need)), "nothing stands on a pull request", order)
    }

    pub fn alone(overlap: Overlap) -> bool {
        overlap != Overlap::Allow
    }
}

/// After the commit: what the database has is what the World has.
pub fn recorded(world: &World, loaded: &World, done: &Turn) -> Result<(), Fault> {
    const RULE: &str = "store.load() == world";
    if loaded == world {
        return Ok(());
    }
    for (name, live) in &world.live {
        let other = loaded.live.get(name).cloned().unwrap_or_default();
        must(live.standings == other.standings, RULE, differing(&live.standings, &other.standings))?;
        must(live.sightings == other.sightings, RULE, differing(&live.sightings, &other.sightings))?;
        must(live.runs == other.runs, RULE, differing(&live.runs, &other.runs))?;
        must(live.requests == other.requests, RULE, differing(&live.requests, &other.requests))?;
        must(*live == other, RULE, (live, other))?;
    }
    Err(fault(RULE, &done.changes))
}

fn differing<K: Ord + Debug + Clone, V: PartialEq + Debug>(world: &BTreeMap<K, V>, loaded: &BTreeMap<K, V>) -> String {
    let keys: std::collections::BTreeSet<&K> = world.keys().chain(loaded.keys()).collect();
    let differ = keys.into_iter().filter(|key| world.get(key) != loaded.get(key));
    differ.map(|key| format!("{key:?}\n world {:?}\n store {:?}\n", world.get(key), loaded.get(key))).collect()
}

/// A turn leaves nothing undone: looked at again at once, or at any time before `wake_at`, nothing is to
/// do, also where everything is looked at and not only what is known to have changed.
fn still(all: &Transition<'_>) -> Result<(), Fault> {
    let wake_at = all.done.wake_at;
    must(wake_at.is_none_or(|at| at > all.now), "wake_at is not in the past", (wake_at, all.now))?;
    let nothing = |at: Timestamp, everything: bool, rule: &'static str| {
        let mut world = all.after.clone();
        if everything {
            world.look_at_everything();
        }
        let again = turn(&mut world, &[Event::Tick], at);
        let done = again.changes.is_empty() && again.actions.is_empty();
        must(done, rule, (at, &again.changes, &again.actions))
    };
    nothing(all.now, false, "a second look finds nothing to do")?;
    nothing(all.now, true, "a look at everything finds nothing to do")?;
    let most = wake_at.unwrap_or_else(|| Seconds::days(2).after(all.now));
    let span = most.as_millisecond() - all.now.as_millisecond() - 1;
    if span > 0 && span % 3 == 0 {
        let later = Timestamp::from_millisecond(all.now.as_millisecond() + span).unwrap();
        nothing(later, true, "nothing is to do before wake_at")?;
    }
    Ok(())
}

/// The pipeline's live part, or an empty one.
pub fn live_of(world: &World, name: &PipelineName) -> Live {
    world.live.get(name).cloned().unwrap_or_default()
}

/// Liveness: every head had its turn, and what has its needs green was triggered.
pub fn nothing_was_forgotten(world: &World) -> Result<(), Fault> {
    for pipeline in world.scratch.catalog.pipelines.values() {
        let live = live_of(world, &pipeline.name);
        let head = live.seen.as_ref().and_then(|seen| seen.head.as_ref());
        if matches!(pipeline.state, PipelineState::Off { .. }) {
            continue;
        }
        for job in pipeline.jobs.values() {
            let definition = &job.definition;
            for (git_ref, row) in live.sightings.iter().filter(|(name, _)| definition.refs.matches(name, head)) {
                let Some(tip) = row.last().filter(|tip| tip.runs) else { continue };
                let standing = |job: &JobName| live.standings.get(&(job.clone(), tip.commit.id.clone()));
                let own = standing(&definition.key.job);
                let had = own.is_some_and(|standing| standing.fired || standing.latest.is_some());
                let needs = &definition.needs;
                let green = |need: &JobName| {
                    let latest = standing(need).and_then(|standing| standing.latest.as_ref());
                    latest.is_some_and(|latest| latest.outcome == Outcome::Succeeded)
                };
                let wanted = definition.follows_commits() || (definition.follows_needs() && needs.iter().all(green));
                must(had || !wanted, "no head is forgotten", (&definition.key, git_ref, tip, own))?;
            }
        }
    }
    Ok(())
}
