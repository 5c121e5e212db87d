//! What became of a request, and whether anything is left to do: the second, short mail of its thread, and
//! the sentences of its page. And the warning that wrong answers were given as somebody's vote.

use crate::model::request::{Request, RequestState, Verdict};
use crate::model::time::Timestamp;
use crate::model::window::Opening;
use crate::report::message::approval::mail;
use crate::report::message::{Doc, Frame, Mail, listed, what};
use crate::report::when;

/// What became of a request, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// `Approved`, `Rejected` …
    pub word: &'static str,
    /// Who did it, and when.
    pub lead: String,
    pub more: Vec<String>,
    /// The words before it, and what to type to have it after all.
    pub command: Option<(String, String)>,
}

/// The mail on what became of a request. `opening`: whether its environment's window is open now.
#[must_use]
pub fn decided(request: &Request, opening: &Opening, frame: &Frame) -> Mail {
    let environment = &request.tuple.environment;
    let what = what(&request.run.job, request.tuple.commit.as_ref());
    let told = told(request, opening, frame);
    let doc = told.more.into_iter().fold(Doc::default().lead(told.lead), Doc::para);
    let doc = told.command.into_iter().fold(doc, |doc, (before, text)| doc.command(before, text));
    let doc = match &request.state {
        RequestState::Superseded { by, .. } => doc.link("The newer one:", &frame.page(by)),
        _ => doc.link("The run:", &frame.page(&request.run)),
    };
    let doc = doc.footer(format!("{}  request r-{}", request.run, request.id));
    mail(request, format!("{}: {what} to {environment}", told.word), &doc)
}

/// To a person: answers were given as theirs, and were wrong too often.
#[must_use]
pub fn rests(request: &Request, until: Timestamp, frame: &Frame) -> Mail {
    let environment = &request.tuple.environment;
    let what = what(&request.run.job, request.tuple.commit.as_ref());
    let until = when::exact(until, &frame.zone);
    let doc = Doc::default()
        .lead(format!("Too many wrong answers were given as your vote on {what} to {environment}. None was counted."))
        .para(format!("Your vote rests until {until}. Others can vote."))
        .para("If that was you: wait. Where codes are asked for, look whether your phone's clock is right.")
        .para(
            "If it was not you, somebody has your link, or acts in your name on the host. They lacked the word, the              code or the key. Tell whoever runs Shipbell.",
        )
        .link("The run:", &frame.page(&request.run))
        .footer(format!("{}  request r-{}", request.run, request.id));
    mail(request, format!("Wrong answers as your vote: {what} to {environment}"), &doc)
}

/// The sentences, also for the page.
#[must_use]
pub fn told(request: &Request, opening: &Opening, frame: &Frame) -> Told {
    let near = |at| when::near(at, &frame.zone, frame.now);
    let environment = &request.tuple.environment;
    let say = |word, lead: String, more: Vec<String>| Told { word, lead, more, command: None };
    let nothing = || vec!["Nothing to do.".to_owned()];
    if let (Some(vote), true) = (request.broken_glass(), request.was_let_go()) {
        let lead = format!("ROOT lets it go to {environment} WITHOUT APPROVAL, since {}.", near(vote.at));
        let asked = "It was not approved. Neither votes nor the window hold it.".to_owned();
        return say("Started by root without approval", lead, vec![format!("Reason: {}", vote.reason), asked]);
    }
    match &request.state {
        RequestState::Open => {
            say("Open", format!("It is not decided yet; votes are taken until {}.", near(request.expires_at)), vec![])
        }
        RequestState::Approved { at, until } => {
            let more = vec![starts(opening, &near(*until), frame), "Nothing to do.".into()];
            say("Approved", format!("{} approved it {}.", voters(request, Verdict::Approve), near(*at)), more)
        }
        RequestState::Used { at } => {
            let who = voters(request, Verdict::Approve);
            say("Approved", format!("{who} approved it; it started {}.", near(*at)), nothing())
        }
        RequestState::Rejected { at, by, reason } => {
            let never = format!("It does not go to {environment}, and is not offered again by itself.");
            say("Rejected", format!("{by} rejected it {}.", near(*at)), vec![format!("Reason: {reason}"), never])
        }
        RequestState::Expired { at } => Told {
            word: "Expired",
            lead: format!("It was not decided in time; it expired {}.", near(*at)),
            more: vec![format!("It does not go to {environment}. A newer commit is asked for by itself.")],
            command: Some((format!("To ask again, on {}:", frame.host), format!("shipbell run {}", request.run.job))),
        },
        RequestState::Superseded { at, by } => {
            say("Superseded", format!("A newer one took its place {}: {by}.", near(*at)), nothing())
        }
        RequestState::Voided { at, why } => say(
            "Void",
            format!("It no longer holds since {}: {why}.", near(*at)),
            vec!["If what it needs holds again, you are asked anew.".into()],
        ),
        RequestState::Closed { at, why } => say("Closed", format!("It was closed {}: {why}.", near(*at)), nothing()),
    }
}

fn starts(opening: &Opening, until: &str, frame: &Frame) -> String {
    match opening {
        Opening::Open => format!("It starts as soon as nothing is in its way; the approval holds until {until}."),
        Opening::Closed { opens: Some(opens) } => {
            format!("It starts by itself {}, when the window opens.", when::day(*opens, &frame.zone))
        }
        Opening::Closed { opens: None } => "It waits for the window.".to_owned(),
    }
}

/// Who voted so.
#[must_use]
pub fn voters(request: &Request, verdict: Verdict) -> String {
    let names: Vec<String> =
        request.votes.iter().filter(|vote| vote.verdict == verdict).map(|vote| vote.by.clone()).collect();
    if names.is_empty() { "Nobody".into() } else { listed(&names) }
}
