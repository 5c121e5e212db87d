//! A run's life: started, told about, ended, retried, stopped. Missing evidence is never success.

use crate::model::event::Change;
use crate::model::job::{Definition, OnInterrupted};
use crate::model::letter::LetterKind;
use crate::model::name::RunRef;
use crate::model::request::Vote;
use crate::model::run::{Attempt, Finished, Outcome, Run, RunState, StepReport, Usage};
use crate::model::ticket::{Evidence, Fact, FactLine};
use crate::model::time::{Seconds, to_millisecond};
use crate::pipeline::draft::{Draft, failing_after, listeners};
use crate::pipeline::{asking, due, promote, pulse, telling, trigger};

/// Launches that fail before this many tries of one run are tried again.
const LAUNCHES_MAX: u32 = 5;
/// The longest wait before the next of them: a second more after each.
pub const LAUNCH_DELAY: Seconds = Seconds(LAUNCHES_MAX as u64);
/// Interruptions of one run after which it is no longer begun anew by itself.
const ATTEMPTS_MAX: u32 = 20;

/// New lines of an attempt's events. They may come again from the beginning after a restart.
pub fn progress(draft: &mut Draft<'_>, name: &RunRef, attempt: u32, lines: &[FactLine]) {
    let Some(old) = draft.world.run(name).filter(|run| run.attempt == attempt && run.is_running()) else { return };
    let mut run = old.clone();
    for line in lines {
        fact(draft, &mut run, attempt, line);
    }
    if draft.world.run(name) != Some(&run) {
        draft.put_run(run);
    }
}

fn fact(draft: &mut Draft<'_>, run: &mut Run, attempt: u32, line: &FactLine) {
    let RunState::Running { started_at, step, touched, launched_at, .. } = &mut run.state else { return };
    // A supervisor's clock may be finer than what the database keeps.
    let at = to_millisecond(line.at);
    match &line.fact {
        Fact::Started { .. } => {
            *started_at = Some(at);
            draft.put(Change::AttemptPut(Attempt {
                run: run.run.clone(),
                attempt,
                launched_at: *launched_at,
                started_at: Some(at),
                finished_at: None,
                outcome: None,
                reason: String::new(),
                usage: None,
            }));
        }
        Fact::Step { index, name, always, log } => {
            *step = Some((*index, name.clone()));
            *touched |= *index > 0;
            let report = StepReport {
                run: run.run.clone(),
                attempt,
                index: *index,
                name: name.clone(),
                always: *always,
                started_at: at,
                finished_at: None,
                ended: None,
                log_from: *log,
                log_to: None,
            };
            let key = (run.run.clone(), attempt, *index);
            draft.world.scratch.steps.insert(key, report.clone());
            draft.put(Change::StepPut(report));
        }
        Fact::StepEnded { index, end, log } => {
            let key = (run.run.clone(), attempt, *index);
            if let Some(mut report) = draft.world.scratch.steps.remove(&key) {
                report.finished_at = Some(at);
                report.ended = Some(end.clone());
                report.log_to = Some(*log);
                draft.put(Change::StepPut(report));
            }
        }
        Fact::Value { key, value } => {
            run.outputs.insert(key.clone(), value.clone());
        }
        Fact::Artifact { artifact } => {
            run.artifacts.retain(|old| old.path != artifact.path);
            run.artifacts.push(artifact.clone());
        }
        Fact::Finished { .. } | Fact::Empty => {}
    }
}

/// What is known at the end of an attempt.
struct End {
    outcome: Outcome,
    reason: String,
    step: Option<(u32, String)>,
    touched: bool,
    usage: Option<Usage>,
}

/// An attempt is over.
pub fn ended(draft: &mut Draft<'_>, name: &RunRef, attempt: u32, evidence: &Evidence) {
    let Some(run) = draft.world.run(name).filter(|run| run.attempt == attempt && run.is_running()).cloned() else {
        return;
    };
    draft.world.scratch.known.remove(&(name.clone(), attempt));
    draft.world.scratch.stopping.remove(&(name.clone(), attempt));
    while let Some(step) = draft.world.scratch.steps.range((name.clone(), 0, 0)..).next().map(|(key, _)| key.clone()) {
        if step.0 != *name {
            break;
        }
        draft.world.scratch.steps.remove(&step);
    }
    let definition = draft.world.job(&name.job).map(|job| job.definition.clone());
    let touched_before = matches!(run.state, RunState::Running { touched: true, .. });
    if let Evidence::NeverStarted { why } = evidence {
        return never_started(draft, run, why);
    }
    let deploys = run.holds.environment.is_some();
    let end = judge(evidence, touched_before, deploys);
    let retried = definition.as_ref().is_some_and(|definition| again(draft, &run, definition, &end));
    if !retried {
        finish(draft, run, end);
    }
}

/// Where the events and the facts disagree the worse holds.
fn judge(evidence: &Evidence, touched_before: bool, deploys: bool) -> End {
    match evidence {
        Evidence::Finished { outcome, reason, step, usage, empty } => {
            let touched =
                touched_before || step.as_ref().is_some_and(|(index, _)| *index > 0) || *outcome == Outcome::Succeeded;
            let (outcome, reason) = match (empty, deploys && touched) {
                // Cut off by the host in its own time: what it did to its environment nobody knows.
                (true, true) if *outcome == Outcome::Interrupted => (Outcome::Unknown, reason.clone()),
                (true, _) => (*outcome, reason.clone()),
                (false, true) => (Outcome::Unknown, "its supervisor was killed before everything had ended".to_owned()),
                (false, false) => {
                    (Outcome::Interrupted, "its supervisor was killed before everything had ended".to_owned())
                }
            };
            End { outcome, reason, step: step.clone(), touched, usage: Some(*usage) }
        }
        Evidence::Lost { touched, rebooted, why } => {
            let touched = touched_before || *touched;
            let outcome = if deploys && touched { Outcome::Unknown } else { Outcome::Interrupted };
            let what = if *rebooted { "the host went down" } else { "its supervisor was killed" };
            End {
                outcome,
                reason: why.clone().unwrap_or_else(|| format!("{what} while it ran; no result was left")),
                step: None,
                touched,
                usage: None,
            }
        }
        Evidence::NeverStarted { why } => {
            End { outcome: Outcome::Interrupted, reason: why.clone(), step: None, touched: false, usage: None }
        }
    }
}

/// It did not begin and never will: safe to begin again, whatever it is.
fn never_started(draft: &mut Draft<'_>, mut run: Run, why: &str) {
    attempt_over(draft, &run, Outcome::Interrupted, &format!("never started: {why}"), None);
    let stopping = match &run.state {
        RunState::Running { stopping, .. } => stopping.clone(),
        RunState::Queued { .. } | RunState::Finished(_) => None,
    };
    run.tries = run.tries.saturating_sub(1);
    let launches = run.attempt.saturating_sub(run.tries);
    let end = |outcome, reason| End { outcome, reason, step: None, touched: false, usage: None };
    if let Some(by) = stopping {
        return finish(draft, run, end(Outcome::Cancelled, by));
    }
    if launches >= LAUNCHES_MAX {
        return finish(draft, run, end(Outcome::Failed, format!("it could not be started {launches} times: {why}")));
    }
    let not_before = Some(Seconds(u64::from(launches)).after(draft.now));
    run.state = RunState::Queued { not_before, confirmed_by: None };
    draft.note("requeued", &run.run, format!("never started: {why}"));
    draft.put_run(run);
}

/// `retry` and `on-interrupted`: further attempts of the same run. A deployment that was approved, or
/// that was cut off after it touched its environment, is never begun anew by itself.
fn again(draft: &mut Draft<'_>, run: &Run, definition: &Definition, end: &End) -> bool {
    let approved = draft.world.request_of(&run.run).is_some();
    let stopped = matches!(run.state, RunState::Running { stopping: Some(_), .. });
    if stopped
        || (end.touched && (approved || (run.holds.environment.is_some() && end.outcome == Outcome::Interrupted)))
    {
        return false;
    }
    let delay = match end.outcome {
        Outcome::Failed | Outcome::TimedOut if run.tries < definition.retry.attempts => definition.retry.delay,
        Outcome::Interrupted if definition.on_interrupted == OnInterrupted::Retry && run.attempt < ATTEMPTS_MAX => {
            Seconds(0)
        }
        _ => return false,
    };
    attempt_over(draft, run, end.outcome, &end.reason, end.usage);
    if end.touched {
        promote::deployed(draft, run, end.outcome, true, Vec::new());
    }
    let mut run = run.clone();
    if end.outcome == Outcome::Interrupted {
        run.tries = run.tries.saturating_sub(1);
    }
    run.state = RunState::Queued { not_before: Some(delay.after(draft.now)), confirmed_by: None };
    run.outputs.clear();
    run.artifacts.clear();
    draft.note("retried", &run.run, format!("attempt {} {}: {}", run.attempt, end.outcome, end.reason));
    draft.put_run(run);
    true
}

fn attempt_over(draft: &mut Draft<'_>, run: &Run, outcome: Outcome, reason: &str, usage: Option<Usage>) {
    let (launched_at, started_at) = match &run.state {
        RunState::Running { launched_at, started_at, .. } => (*launched_at, *started_at),
        RunState::Queued { .. } | RunState::Finished(_) => return,
    };
    draft.put(Change::AttemptPut(Attempt {
        run: run.run.clone(),
        attempt: run.attempt,
        launched_at,
        started_at,
        finished_at: Some(draft.now),
        outcome: Some(outcome),
        reason: reason.to_owned(),
        usage,
    }));
}

fn finish(draft: &mut Draft<'_>, mut run: Run, end: End) {
    attempt_over(draft, &run, end.outcome, &end.reason, end.usage);
    let (started_at, step) = match &run.state {
        RunState::Running { started_at, step, .. } => (*started_at, step.clone()),
        RunState::Queued { .. } | RunState::Finished(_) => (None, None),
    };
    let step = if end.outcome == Outcome::Succeeded { None } else { end.step.or(step) };
    run.state = RunState::Finished(Finished {
        outcome: end.outcome,
        started_at,
        at: draft.now,
        reason: end.reason.clone(),
        step,
    });
    let name = run.run.clone();
    let approvers: Vec<String> = draft
        .world
        .request_of(&name)
        .map(|request| request.approvals().map(Vote::by_whom).collect())
        .unwrap_or_default();
    draft.put_run(run.clone());
    draft.note(
        "finished",
        &name,
        if end.reason.is_empty() { end.outcome.to_string() } else { format!("{}: {}", end.outcome, end.reason) },
    );
    trigger::stand(draft, &run, trigger::latest_of(&run, draft.now));
    if end.outcome != Outcome::Skipped {
        promote::deployed(draft, &run, end.outcome, end.touched, approvers);
        tell_end(draft, &run, end.outcome);
    }
    asking::close(draft, &name, run.attempt > 0, &end.reason);
    due::ended(draft, &run);
    pulse::ended(draft, &run, end.outcome);
    telling::ended(draft, &run, end.outcome);
}

/// Failure and recovery, each said once per change for the better, every time for the worse.
fn tell_end(draft: &mut Draft<'_>, run: &Run, outcome: Outcome) {
    let bad = match outcome {
        Outcome::Failed | Outcome::TimedOut | Outcome::Unknown | Outcome::Interrupted => true,
        Outcome::Succeeded => false,
        Outcome::Cancelled | Outcome::Skipped => return,
    };
    // Whoever opens pull requests must not be able to fill mailboxes: the host is told, people are not.
    if run.is_pull() {
        return;
    }
    let key = (run.run.job.job.clone(), run.git_ref.clone());
    let old = draft.live(&run.run.job.pipeline).and_then(|live| live.failing.get(&key));
    let Some(failing) = failing_after(old, &run.run, run, bad, draft.now) else { return };
    // So many in a row as it now is, or was until now.
    let row = if bad { failing.count } else { old.map_or(0, |old| old.count) };
    draft.put(Change::FailingPut(failing));
    let notify = draft.world.job(&run.run.job).map(|job| job.notify.clone()).unwrap_or_default();
    let to = listeners(draft.world, &run.run.job);
    let run = run.run.clone();
    let kind = match (outcome, bad) {
        (Outcome::Unknown, _) => LetterKind::Unknown { run },
        (_, true) if notify.on_failure && row >= notify.after_failures => LetterKind::Failure { run },
        (_, false) if notify.on_recovery && row >= notify.after_failures => LetterKind::Recovery { run },
        _ => return,
    };
    draft.write_to(&to, &kind);
}

/// Ends a queued run without running it.
pub fn skip(draft: &mut Draft<'_>, name: &RunRef, reason: &str) {
    end_queued(draft, name, Outcome::Skipped, reason);
}

/// Ends a queued run. One of which an attempt has already failed keeps the worse word.
pub fn end_queued(draft: &mut Draft<'_>, name: &RunRef, outcome: Outcome, reason: &str) {
    let Some(run) = draft.world.run(name).filter(|run| run.is_queued()).cloned() else { return };
    let outcome = if run.tries > 0 && outcome == Outcome::Skipped { Outcome::Failed } else { outcome };
    finish(draft, run, End { outcome, reason: reason.to_owned(), step: None, touched: false, usage: None });
}

/// Someone wants a run to end.
pub fn cancel(draft: &mut Draft<'_>, name: &RunRef, by: &str) -> Result<(), String> {
    let Some(mut run) = draft.world.run(name).cloned() else {
        return Err(format!("{name} is not queued and not running"));
    };
    let reason = format!("cancelled by {by}");
    match &mut run.state {
        RunState::Queued { .. } => {
            draft.note_by(by, "cancelled", name, "it had not started");
            end_queued(draft, name, Outcome::Cancelled, &reason);
        }
        RunState::Running { stopping, .. } => {
            if stopping.is_none() {
                *stopping = Some(reason);
                draft.put_run(run);
                draft.note_by(by, "cancelled", name, "it is being stopped");
            }
        }
        RunState::Finished(_) => {}
    }
    Ok(())
}
