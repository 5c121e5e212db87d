//! Decisions, pure: what happened and what time it is go in, what is recorded and what is done come out.
//! Nothing here reads a clock, a file or a socket.

pub mod admit;
pub mod agenda;
pub mod asking;
pub mod backfill;
pub mod committers;
pub mod compare;
pub mod draft;
pub mod due;
pub mod gate;
pub mod life;
pub mod manual;
pub mod outbox;
pub mod pause;
pub mod promote;
pub mod pulse;
pub mod requests;
pub mod retention;
pub mod scratch;
pub mod sight;
pub mod telling;
pub mod trigger;
pub mod view;
pub mod world;

use crate::model::event::{Action, Change, Event, Refusal, Reply};
use crate::model::name::PipelineName;
use crate::model::run::Run;
use crate::model::time::{Timestamp, seconds_between};
use draft::Draft;
use gate::{Gate, gate};
use world::World;

/// What one turn of the daemon's loop comes to.
#[derive(Debug, Default)]
pub struct Turn {
    /// Written in one transaction before anything is done.
    pub changes: Vec<Change>,
    pub actions: Vec<Action>,
    /// One per event, in order.
    pub replies: Vec<Reply>,
    /// When to look again if nothing happens.
    pub wake_at: Option<Timestamp>,
}

/// Rounds of planning in one turn. A turn needs a handful; the bound is against a rule that undoes another.
const ROUNDS_MAX: usize = 1000;

/// One turn: decides on every event, then plans until nothing is left to do. The World takes the
/// changes in at once; if they cannot be written, the caller throws it away and loads it anew.
#[must_use]
pub fn turn(world: &mut World, events: &[Event], now: Timestamp) -> Turn {
    let mut draft = Draft::new(world, now);
    let replies = events.iter().map(|event| decide(&mut draft, event)).collect();
    let wake_at = plan(&mut draft);
    draft.world.settle();
    Turn { changes: draft.changes, actions: draft.actions, replies, wake_at }
}

/// Records what happened.
pub fn decide(draft: &mut Draft<'_>, event: &Event) -> Reply {
    match event {
        Event::Booted { boot_id } => {
            draft.world.scratch.boot_id.clone_from(boot_id);
            draft.world.look_at_everything();
        }
        Event::Tick => {}
        Event::ClockSet => draft.world.look_at_everything(),
        Event::Reloaded { catalog } => {
            // What came due so far is judged by the text that it came from.
            due::plan(draft);
            draft.world.follow(catalog.clone());
        }
        Event::Polled { pipeline, poll } => {
            compare::forget_failures(draft, pipeline);
            sight::polled(draft, pipeline, poll);
        }
        Event::Announced(delivery) => draft.put(Change::DeliveryPut(delivery.clone())),
        Event::PollFailed { pipeline, why } => poll_failed(draft, pipeline, why),
        Event::Answered { question, answer } => compare::answered(draft, question, answer),
        Event::RunRequested(request) => return manual::run(draft, request),
        Event::CancelRequested { run, by } => return or_conflict(life::cancel(draft, run, by)),
        Event::RetryRequested { by, old, gone, .. } => return manual::retry(draft, old, by, gone),
        Event::Paused { scope, until, note, by } => return pause::pause(draft, scope, *until, note, by),
        Event::Resumed { scope, by } => return pause::resume(draft, scope, by),
        Event::BackfillRequested(request) => return backfill::backfill(draft, request),
        Event::Voted(ballot) => return requests::voted(draft, ballot),
        Event::VoteRests { request, person, until } => requests::rests(draft, *request, person, *until),
        Event::GlassBroken { run, reason } => return requests::break_glass(draft, run, reason),
        Event::Resolved { pipeline, environment, as_deployed, by } => {
            return or_conflict(promote::resolve(draft, pipeline, environment, *as_deployed, by));
        }
        Event::Progress { run, attempt, lines } => life::progress(draft, run, *attempt, lines),
        Event::Ended { run, attempt, evidence } => life::ended(draft, run, *attempt, evidence),
        Event::LetterSent { letter } => outbox::sent(draft, *letter),
        Event::LetterFailed { letter, why, for_good, again } => outbox::failed(draft, *letter, why, *for_good, *again),
        Event::AuthorsFound { letter, authors } => committers::found(draft, *letter, authors),
        Event::Aged(past) => retention::aged(draft, past),
        Event::Removed { gone } => retention::removed(draft, gone),
        Event::Pruned { tally, by } => retention::pruned(draft, tally, by),
        Event::DiskSeen { free } => draft.world.scratch.disk_free = Some(*free),
    }
    Reply::Done
}

fn or_conflict(result: Result<(), String>) -> Reply {
    result.map_or_else(|why| Reply::Refused(Refusal::Conflict(why)), |()| Reply::Done)
}

fn poll_failed(draft: &mut Draft<'_>, pipeline: &PipelineName, why: &str) {
    let old = draft.live(pipeline).and_then(|live| live.problem.clone());
    if old.as_ref().is_some_and(|(_, text)| text == why) {
        return;
    }
    let since = old.map_or(draft.now, |(since, _)| since);
    draft.put(Change::PollProblem { pipeline: pipeline.clone(), problem: Some((since, why.to_owned())) });
    draft.note("poll failed", pipeline, why);
}

/// Derives what to do now, until nothing is left; gives the next instant to look again.
pub fn plan(draft: &mut Draft<'_>) -> Option<Timestamp> {
    for _ in 0..ROUNDS_MAX {
        let mut names = std::mem::take(&mut draft.world.scratch.dirty);
        names.extend(draft.world.scratch.wakes.take_due(draft.now));
        due::again(draft, &names);
        due::plan(draft);
        pause::plan(draft);
        for name in &names {
            draft.world.scratch.wakes.remove(name);
            trigger::plan(draft, name);
            asking::plan(draft, name);
            admit::plan(draft, name);
        }
        for job in std::mem::take(&mut draft.world.scratch.touched) {
            admit::plan_job(draft, &job);
        }
        admit::admit(draft);
        let scratch = &draft.world.scratch;
        if scratch.dirty.is_empty() && scratch.touched.is_empty() && scratch.retime.is_empty() {
            break;
        }
    }
    admit::watch_running(draft);
    pulse::plan(draft);
    let letters = outbox::plan(draft);
    retention::plan(draft);
    let scratch = &draft.world.scratch;
    let agendas = [
        scratch.wakes.first(),
        scratch.dues.first(),
        scratch.silence.first(),
        scratch.slow.first(),
        scratch.patience.first(),
        pause::next_end(draft.world),
        letters,
    ];
    agendas.into_iter().flatten().min()
}

/// What a queued run waits for, in one phrase (`approval, 0 of 1`, `window, opens Mon …`).
/// `None` for a run that is not queued.
#[must_use]
pub fn waits(world: &World, run: &Run, now: Timestamp) -> Option<String> {
    if !run.is_queued() {
        return None;
    }
    Some(match gate(world, run, now) {
        Gate::Wait { reason, until: Some(at) } if reason.starts_with("the delay") => {
            format!("{reason}, {}", seconds_between(now, at))
        }
        Gate::Wait { reason, .. } => reason,
        Gate::Ready => admit::held(world, &run.run).unwrap_or_else(|| "its turn".to_owned()),
        Gate::Ask { .. } => "git, which compares it with what is live".to_owned(),
        Gate::Request { .. } => "approval".to_owned(),
        Gate::Skip { reason } | Gate::Void { why: reason } => reason,
        Gate::Expired { .. } => "the end of its request".to_owned(),
        Gate::Refresh => "its turn".to_owned(),
    })
}
