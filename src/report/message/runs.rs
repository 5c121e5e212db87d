//! Mails about runs: one that failed, one that is good again, and a deployment of which nobody can say
//! what came of it.

use crate::model::commit::CommitInfo;
use crate::model::name::{EnvironmentName, RunRef};
use crate::model::run::{Finished, Outcome, Run};
use crate::model::time::Timestamp;
use crate::report::message::{Doc, Frame, Mail, commit_line};
use crate::report::when;

/// Lines of the log that a mail shows.
pub const TAIL_LINES: usize = 20;

/// A finished run and what is known around it.
#[derive(Debug, Clone)]
pub struct RunFacts {
    pub run: Run,
    pub finished: Finished,
    pub commit: Option<CommitInfo>,
    pub environment: Option<EnvironmentName>,
    /// The newest success before it.
    pub last_good: Option<Run>,
    /// The first failure after that success, and how many there were up to this run.
    pub first_bad: Option<(RunRef, Timestamp)>,
    pub bad_count: u64,
    /// Whether all earlier runs were looked at to find them.
    pub looked_at_all: bool,
    /// The end of the log, as it is; `None`: this reader is not shown it.
    pub tail: Option<String>,
    /// Why this reader gets the mail, where `notify` does not name them.
    pub note: Option<String>,
}

/// It failed: what, where, the end of the log, what to do next.
#[must_use]
pub fn failure(facts: &RunFacts, frame: &Frame) -> Mail {
    let run = &facts.run.run;
    let word = outcome_word(facts.finished.outcome);
    let commit = facts.run.commit.as_ref().map(|commit| format!(" {}", commit.short())).unwrap_or_default();
    let step = facts.finished.step.as_ref().map(|(_, name)| format!(" in {name}")).unwrap_or_default();
    let subject = format!("{word} {run}{commit}{step}");
    let doc = Doc::default()
        .lead(format!("{run} {word}: {}", reason(&facts.finished)))
        .facts(facts_of(facts, frame))
        .para(streak(facts, frame));
    let doc = touched(doc, facts);
    let doc = tail(doc, facts)
        .link("The whole log:", &format!("{}/log", frame.page(run)))
        .command(format!("The same again, on {}:", frame.host), format!("shipbell retry {run}"));
    mail(facts, subject, run, &doc)
}

/// It is good again.
#[must_use]
pub fn recovery(facts: &RunFacts, frame: &Frame) -> Mail {
    let run = &facts.run.run;
    let commit = facts.run.commit.as_ref().map(|commit| format!(" {}", commit.short())).unwrap_or_default();
    let since = facts.first_bad.as_ref().map(|(first, at)| {
        let times = if facts.bad_count == 1 { "once".to_owned() } else { format!("{} times", facts.bad_count) };
        format!("It had failed {times} since {}, first in {first}.", when::near(*at, &frame.zone, frame.now))
    });
    let doc = Doc::default().lead(format!("{} is ok again with {run}.", run.job));
    let doc = since.into_iter().fold(doc, Doc::para);
    let doc = doc.facts(facts_of(facts, frame)).para("Nothing to do.").link("The run:", &frame.page(run));
    let root = facts.first_bad.as_ref().map_or(run, |(first, _)| first);
    mail(facts, format!("ok again: {run}{commit}"), root, &doc)
}

/// A deployment of which no evidence is left.
#[must_use]
pub fn unknown(facts: &RunFacts, frame: &Frame) -> Mail {
    let run = &facts.run.run;
    let place = facts.environment.as_ref().map_or_else(|| run.job.to_string(), ToString::to_string);
    let doc = Doc::default()
        .lead(format!("Nobody can say what came of {run}: {place} may be changed, half changed or unchanged."))
        .facts(facts_of(facts, frame))
        .para(format!("Why: {}", reason(&facts.finished)))
        .para(format!("Nothing more goes to {place} by itself until a person has looked and said so."));
    let doc = tail(doc, facts).link("The run:", &frame.page(run));
    let doc = match &facts.environment {
        Some(environment) => doc.commands(
            format!("When you know, on {}, one of:", frame.host),
            vec![
                format!("shipbell resolve {} {environment} --as deployed", run.job.pipeline),
                format!("shipbell resolve {} {environment} --as failed", run.job.pipeline),
            ],
        ),
        None => doc,
    };
    mail(facts, format!("LOOK: what came of {run} on {place} is unknown"), run, &doc)
}

fn mail(facts: &RunFacts, subject: String, root: &RunRef, doc: &Doc) -> Mail {
    let doc = facts.note.iter().fold(doc.clone(), |doc, note| doc.para(note.clone()));
    let doc = facts.run.commit.iter().fold(doc, |doc, commit| doc.footer(commit.as_str()));
    let doc = doc.footer(format!("{}  definition {}", facts.run.run, facts.run.definition.short()));
    Mail {
        text: doc.text(),
        html: doc.html(&subject),
        subject,
        thread: format!("run.{}", root.id()),
        job: facts.run.run.job.clone(),
        run: Some(facts.run.run.clone()),
        environment: facts.environment.clone(),
        request: None,
    }
}

/// For people: `FAILED`, `TIMED OUT`.
#[must_use]
pub fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "ok",
        Outcome::Failed => "FAILED",
        Outcome::TimedOut => "TIMED OUT",
        Outcome::Cancelled => "was cancelled",
        Outcome::Interrupted => "was INTERRUPTED",
        Outcome::Skipped => "was skipped",
        Outcome::Unknown => "is UNKNOWN",
    }
}

fn reason(finished: &Finished) -> &str {
    if finished.reason.is_empty() { "no reason was recorded" } else { &finished.reason }
}

fn facts_of(facts: &RunFacts, frame: &Frame) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    if let Some(commit) = &facts.commit {
        rows.push(("commit", format!("{} {}", commit.id.short(), commit_line(commit))));
    } else if let Some(commit) = &facts.run.commit {
        rows.push(("commit", commit.short().to_owned()));
    }
    if let Some(git_ref) = &facts.run.git_ref {
        let kind = if git_ref.is_tag() { "tag" } else { "branch" };
        rows.push((kind, git_ref.short().to_owned()));
    }
    rows.push(("cause", facts.run.cause.to_string()));
    let end = when::near(facts.finished.at, &frame.zone, frame.now);
    rows.push(match facts.finished.started_at {
        Some(start) => ("time", format!("{end}, after {}", when::span(start, facts.finished.at))),
        None => ("time", format!("{end}, it never started")),
    });
    if facts.run.tries > 1 {
        rows.push(("tries", facts.run.tries.to_string()));
    }
    rows
}

fn streak(facts: &RunFacts, frame: &Frame) -> String {
    let near = |at| when::near(at, &frame.zone, frame.now);
    let good = facts.last_good.as_ref().and_then(|run| Some((run, run.finished()?.at)));
    let last = match good {
        Some((run, at)) => {
            let commit = run.commit.as_ref().map(|commit| format!(", {}", commit.short())).unwrap_or_default();
            format!("Last ok: #{}{commit}, {}.", run.run.number, near(at))
        }
        None if facts.looked_at_all => "It has never been ok here.".into(),
        None => "It was not ok for long.".into(),
    };
    match &facts.first_bad {
        Some((first, at)) if facts.bad_count > 1 => {
            format!("{} failures in a row since {} (#{}). {last}", facts.bad_count, near(*at), first.number)
        }
        _ => format!("First failure. {last}"),
    }
}

/// What a failed deployment may have left.
fn touched(doc: Doc, facts: &RunFacts) -> Doc {
    let begun = facts.finished.step.as_ref().is_some_and(|(index, _)| *index > 0);
    match &facts.environment {
        Some(environment) if begun => doc.head(format!("{environment} IS UNCLEAR")).para(format!(
            "A step of it had begun, so {environment} may be half changed. Nothing went back by itself."
        )),
        Some(environment) => doc.para(format!("It had not begun to change {environment}.")),
        None => doc,
    }
}

fn tail(doc: Doc, facts: &RunFacts) -> Doc {
    let Some(tail) = &facts.tail else {
        return doc.para("The end of its log is mailed only to people whom this Shipbell knows.");
    };
    let cleaned = crate::report::display::plain(tail);
    let lines: Vec<&str> = cleaned.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    let last: Vec<String> = lines.iter().skip(from).map(|line| (*line).to_owned()).collect();
    doc.when(!last.is_empty(), |doc| doc.head("THE END OF ITS LOG").log(last))
}
