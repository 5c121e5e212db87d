//! Mails about a job's clock: it has not succeeded for too long, it is fine again, a run takes far
//! longer than any before it.

use crate::model::name::{JobKey, RunRef};
use crate::model::run::Run;
use crate::model::time::{Seconds, Timestamp};
use crate::report::message::{Doc, Frame, Mail, outcome_word};
use crate::report::when;

/// A job that is silent, and what is known of it.
#[derive(Debug, Clone)]
pub struct StaleFacts {
    pub job: JobKey,
    /// `stale-after` as it is set now.
    pub limit: Seconds,
    pub last_good: Option<Run>,
    /// Its newest run, whatever became of it.
    pub newest: Option<Run>,
    /// What came of its last due time, where that made no run.
    pub last_due: Option<(Timestamp, String)>,
    /// Who paused it and why, where it is paused.
    pub paused: Option<String>,
}

/// It did not succeed for as long as `stale-after` says.
#[must_use]
pub fn stale(facts: &StaleFacts, frame: &Frame) -> Mail {
    let job = &facts.job;
    let near = |at| when::near(at, &frame.zone, frame.now);
    let good = facts.last_good.as_ref().and_then(|run| Some((run, run.finished()?.at)));
    let (lead, subject) = match &good {
        Some((run, at)) => {
            let silent = when::span(*at, frame.now);
            (format!("{job} has not succeeded for {silent}: the last time was {}, #{}.", near(*at), run.run.number), {
                format!("STALE {job}: no success for {silent}")
            })
        }
        None => (
            format!("{job} has not succeeded once within its stale-after of {}.", facts.limit),
            format!("STALE {job}: no success yet"),
        ),
    };
    let doc = Doc::default().lead(lead).facts(vec![("stale-after", facts.limit.to_string())]);
    let doc = facts.paused.iter().fold(doc, |doc, why| doc.para(format!("It is {why}.")));
    let doc = facts
        .last_due
        .iter()
        .fold(doc, |doc, (at, why)| doc.para(format!("Its last due time, {}, made no run: {why}.", near(*at))));
    let doc = match &facts.newest {
        Some(run) => doc.para(newest(run, frame)).link("Its page:", &frame.page(&run.run)),
        None => doc.para("It has never run."),
    };
    let doc = doc.command(format!("What happened to it, on {}:", frame.host), format!("shipbell why {job}"));
    mail(job, facts.newest.as_ref().map(|run| run.run.clone()), subject, &doc)
}

fn newest(run: &Run, frame: &Frame) -> String {
    let near = |at| when::near(at, &frame.zone, frame.now);
    match run.finished() {
        Some(end) if end.reason.is_empty() => {
            format!("Its newest run, #{}, {} {}.", run.run.number, outcome_word(end.outcome), near(end.at))
        }
        Some(end) => {
            let word = outcome_word(end.outcome);
            format!("Its newest run, #{}, {word} {}: {}.", run.run.number, near(end.at), end.reason)
        }
        None if run.is_running() => format!("#{} runs now.", run.run.number),
        None => format!("#{} has waited since {}.", run.run.number, near(run.queued_at)),
    }
}

/// A stale job succeeded again.
#[must_use]
pub fn fresh(run: &Run, frame: &Frame) -> Mail {
    let job = &run.run.job;
    let at = run.finished().map_or(frame.now, |end| end.at);
    let doc = Doc::default()
        .lead(format!("{job} succeeded again with {}, {}.", run.run, when::near(at, &frame.zone, frame.now)))
        .para("It had been silent for longer than its stale-after. Nothing to do.")
        .link("The run:", &frame.page(&run.run));
    mail(job, Some(run.run.clone()), format!("no longer stale: {job}"), &doc)
}

/// A run takes far longer than its history.
#[must_use]
pub fn long(run: &Run, usual: Option<Seconds>, frame: &Frame) -> Mail {
    let job = &run.run.job;
    let so_far = match &run.state {
        crate::model::run::RunState::Running { launched_at, .. } => Some(when::span(*launched_at, frame.now)),
        _ => run.finished().and_then(|end| Some(when::span(end.started_at?, end.at))),
    };
    let took = so_far.map_or_else(|| "far longer than usual".to_owned(), |span| span.to_string());
    let lead = match (run.is_running(), usual) {
        (true, Some(usual)) => format!("{} has been running for {took}; it usually takes {usual}.", run.run),
        (false, Some(usual)) => format!("{} took {took}; it usually takes {usual}.", run.run),
        (_, None) => format!("{} takes far longer than any run before it: {took}.", run.run),
    };
    let log = format!("{}/log", frame.page(&run.run));
    let doc = Doc::default().lead(lead);
    // It may have ended since this mail was asked for.
    let (doc, so_far) = match run.finished() {
        Some(end) => (doc.para(format!("It has ended: {}.", outcome_word(end.outcome))).link("Its log:", &log), ""),
        None => {
            let doc = doc.para("It goes on; its timeout ends it at the latest.").link("Its log:", &log);
            let end = format!("shipbell cancel {}", run.run);
            (doc.command(format!("To end it, on {}:", frame.host), end), " so far")
        }
    };
    mail(job, Some(run.run.clone()), format!("SLOW {}: {took}{so_far}", run.run), &doc)
}

fn mail(job: &JobKey, run: Option<RunRef>, subject: String, doc: &Doc) -> Mail {
    let doc = doc.clone().footer(run.as_ref().map_or_else(|| job.to_string(), ToString::to_string));
    Mail {
        text: doc.text(),
        html: doc.html(&subject),
        subject,
        thread: format!("clock.{}.{}", job.pipeline, job.job),
        job: job.clone(),
        run,
        environment: None,
        request: None,
    }
}
