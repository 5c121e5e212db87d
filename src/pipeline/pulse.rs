//! The dead-man's switch: a job that has not succeeded for as long as `stale-after` says is told once,
//! and once more when it succeeds again. And a run that takes far longer than any before it.

use crate::model::event::Change;
use crate::model::letter::{COMMITTERS, LetterKind};
use crate::model::name::{JobKey, RunRef};
use crate::model::pulse::{Pulse, TIMES_MAX};
use crate::model::run::{Outcome, Run};
use crate::model::time::{Seconds, Timestamp, seconds_between};
use crate::pipeline::draft::{Draft, minders};
use crate::pipeline::pause;

/// A run is slow when it has taken more than this many times what 95 of 100 successes took …
const SLOW_TIMES: u64 = 3;
/// … and longer than this.
const SLOW_LEAST: Seconds = Seconds(300);

/// A run ended.
pub fn ended(draft: &mut Draft<'_>, run: &Run, outcome: Outcome) {
    // A pull request that passes does not show that the job goes well where it counts.
    if outcome != Outcome::Succeeded || run.is_pull() {
        return;
    }
    let key = &run.run.job;
    let mut pulse = draft.world.pulses.get(key).cloned().unwrap_or_else(|| Pulse::new(key.clone(), draft.now));
    let started = run.finished().and_then(|end| end.started_at);
    if let Some(from) = started {
        pulse.took.push(seconds_between(from, draft.now));
        let surplus = pulse.took.len().saturating_sub(TIMES_MAX);
        pulse.took.drain(..surplus);
    }
    let stale = pulse.stale_told.take();
    (pulse.since, pulse.last_success) = (draft.now, Some(draft.now));
    draft.put(Change::PulsePut(pulse));
    if stale.is_some() {
        draft.note("fresh", key, format!("{} succeeded", run.run));
        let to = minders(draft.world, key);
        draft.write_to(&to, &LetterKind::Fresh { run: run.run.clone() });
    }
}

/// A running run is looked at for the first time: when it will have taken far too long.
pub fn watch(draft: &mut Draft<'_>, run: &RunRef, launched_at: Timestamp) {
    let Some(pulse) = draft.world.pulses.get(&run.job) else { return };
    let Some(usual) = pulse.p95().filter(|_| pulse.long_told.as_ref() != Some(run)) else { return };
    let limit = Seconds(usual.0.saturating_mul(SLOW_TIMES)).max(SLOW_LEAST);
    draft.world.scratch.slow.set(run, limit.after(launched_at));
}

/// Tells what has become too long by now.
pub fn plan(draft: &mut Draft<'_>) {
    for run in draft.world.scratch.slow.take_due(draft.now) {
        slow(draft, &run);
    }
    loop {
        let mut jobs = std::mem::take(&mut draft.world.scratch.unheard);
        jobs.extend(draft.world.scratch.silence.take_due(draft.now));
        if jobs.is_empty() {
            return;
        }
        for key in jobs {
            listen(draft, &key);
        }
    }
}

fn slow(draft: &mut Draft<'_>, run: &RunRef) {
    if !draft.world.run(run).is_some_and(Run::is_running) {
        return;
    }
    let Some(pulse) = draft.world.pulses.get(&run.job).cloned() else { return };
    let usual = pulse.p95().map_or_else(String::new, |usual| format!("; 95 of 100 take no more than {usual}"));
    draft.put(Change::PulsePut(Pulse { long_told: Some(run.clone()), ..pulse }));
    draft.note("slow", run, format!("it takes far longer than the runs before it{usual}"));
    let own = draft.world.job(&run.job).map(|job| job.notify.email.clone()).unwrap_or_default();
    let to: Vec<String> = own.into_iter().filter(|to| to != COMMITTERS).collect();
    draft.write_to(&to, &LetterKind::Long { run: run.clone() });
}

fn listen(draft: &mut Draft<'_>, key: &JobKey) {
    draft.world.scratch.silence.remove(key);
    let Some(limit) = draft.world.job(key).and_then(|job| job.notify.stale_after) else { return };
    let Some(pulse) = draft.world.pulses.get(key).cloned() else {
        // From here on its silence counts.
        return draft.put(Change::PulsePut(Pulse::new(key.clone(), draft.now)));
    };
    if pulse.stale_told.is_some() {
        return;
    }
    if pulse.since > draft.now {
        // The clock was put back: silence counts from now on.
        draft.put(Change::PulsePut(Pulse { since: draft.now, ..pulse.clone() }));
    }
    let since = pulse.since.min(draft.now);
    let at = limit.after(since);
    if at > draft.now {
        return draft.world.scratch.silence.set(key, at);
    }
    // A paused job is silent because somebody wanted it so; it is judged again when the pause ends.
    if pause::of(draft.world, key, draft.now).is_some() {
        return;
    }
    let since = pulse.last_success;
    draft.put(Change::PulsePut(Pulse { stale_told: Some(draft.now), ..pulse }));
    let detail = match since {
        Some(at) => format!("no success since {at}: more than {limit}"),
        None => format!("no success within {limit}"),
    };
    draft.note("stale", key, detail);
    let to = minders(draft.world, key);
    draft.write_to(&to, &LetterKind::Stale { job: key.clone() });
}
