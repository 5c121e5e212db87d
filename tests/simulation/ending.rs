//! How runs end: promise 11, missing evidence is never success; and what an end makes of an environment.

use shipbell::model::environment::EnvironmentState;
use shipbell::model::event::Event;
use shipbell::model::run::{Finished, Outcome, Run, RunState};
use shipbell::model::ticket::Evidence;

use crate::checks::{Checks, Fault, Transition, fault, must};

fn evidence<'a>(all: &Transition<'a>, run: &Run) -> Option<&'a Evidence> {
    all.events.iter().find_map(|event| match event {
        Event::Ended { run: of, attempt, evidence } if *of == run.run && *attempt == run.attempt => Some(evidence),
        _ => None,
    })
}

/// Whether nobody can say what the attempt came to: also one that the host cut off in its own time.
fn unclear(evidence: &Evidence) -> bool {
    match evidence {
        Evidence::Lost { .. } => true,
        Evidence::Finished { empty, outcome, .. } => !empty || *outcome == Outcome::Interrupted,
        Evidence::NeverStarted { .. } => false,
    }
}

/// Whether a step after `init` had begun, by all that was ever said of it.
fn touched(all: &Transition<'_>, run: &Run, evidence: &Evidence) -> bool {
    let said = match evidence {
        Evidence::Lost { touched, .. } => *touched,
        Evidence::Finished { step, outcome, .. } => {
            *outcome == Outcome::Succeeded || step.as_ref().is_some_and(|(index, _)| *index > 0)
        }
        Evidence::NeverStarted { .. } => false,
    };
    let heard = all.events.iter().any(|event| match event {
        Event::Progress { run: of, lines, .. } if *of == run.run => {
            lines.iter().any(|line| matches!(line.fact, shipbell::model::ticket::Fact::Step { index, .. } if index > 0))
        }
        _ => false,
    });
    said || heard || matches!(run.state, RunState::Running { touched: true, .. })
}

/// A running run finished.
pub fn ended(checks: &mut Checks, all: &Transition<'_>, old: &Run, end: &Finished) -> Result<(), Fault> {
    let Some(evidence) = evidence(all, old) else { return Err(fault("an end has evidence", (old, end))) };
    let whole = matches!(evidence, Evidence::Finished { outcome: Outcome::Succeeded, empty: true, .. });
    must(end.outcome != Outcome::Succeeded || whole, "promise 11: success has evidence", (old, end, evidence))?;
    must(end.outcome == Outcome::Succeeded || !end.reason.is_empty(), "other ends have a reason", end)?;
    let deploys = checks.held.get(&old.run).and_then(|held| held.environment.clone());
    let Some((pipeline, environment)) = deploys else {
        must(end.outcome != Outcome::Unknown, "only deployments end unknown", (old, end))?;
        checks.seen(end.outcome.word());
        return Ok(());
    };
    let touched = touched(all, old, evidence);
    let unclear_end = unclear(evidence);
    must(
        (end.outcome == Outcome::Unknown) == (touched && unclear_end),
        "promise 11: a deployment without evidence is unknown",
        (old, end, evidence),
    )?;
    checks.seen(match end.outcome {
        Outcome::Succeeded if environment.as_str() == "production" => "production succeeded",
        Outcome::Succeeded => "deployment succeeded",
        Outcome::Unknown => "deployment unknown",
        _ => "deployment not good",
    });
    if all.events.iter().any(|event| matches!(event, Event::Resolved { .. })) {
        return Ok(());
    }
    let Some(now) = all.after.environment(&pipeline, &environment) else {
        return must(!touched, "a deployment that touched is known of", (old, end));
    };
    let live_is_it = now.live.as_ref().is_some_and(|live| live.run == old.run);
    match &now.state {
        _ if end.outcome == Outcome::Succeeded => {
            must(live_is_it && now.state == EnvironmentState::Clean, "a good deployment is what is live", (old, now))
        }
        EnvironmentState::Unclear { attempted, unknown } if touched => {
            let as_ended = attempted.run == old.run && *unknown == (end.outcome == Outcome::Unknown);
            must(as_ended, "a deployment that did not end well leaves it unclear", (old, end, now))
        }
        _ => must(!touched && !live_is_it, "a deployment that did not end well leaves it unclear", (old, end, now)),
    }
}

/// A running run was queued again.
pub fn again(checks: &mut Checks, all: &Transition<'_>, old: &Run) -> Result<(), Fault> {
    let Some(evidence) = evidence(all, old) else { return Err(fault("an end has evidence", old)) };
    let succeeded = matches!(evidence, Evidence::Finished { outcome: Outcome::Succeeded, empty: true, .. });
    must(!succeeded, "what succeeded is not tried again", old)?;
    let counts =
        matches!(evidence, Evidence::Finished { outcome: Outcome::Failed | Outcome::TimedOut, empty: true, .. });
    let most = all.after.job(&old.run.job).map_or(1, |job| job.definition.retry.attempts);
    must(!counts || old.tries < most, "no more tries than `retry` allows", (old, most))?;
    let deploys = checks.held.get(&old.run).is_some_and(|held| held.environment.is_some());
    let unknown = deploys && unclear(evidence) && touched(all, old, evidence);
    must(!unknown, "an unknown deployment is never retried by itself", (old, evidence))?;
    checks.seen(if matches!(evidence, Evidence::NeverStarted { .. }) { "launched again" } else { "tried again" });
    Ok(())
}
