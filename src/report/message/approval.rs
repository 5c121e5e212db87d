//! The mail that asks for a vote. On the first screen of a phone stand what, whether anything has to happen
//! now, the link, until when and who else. Below it: what is in it, what to mind, what was checked.

use crate::model::commit::{CommitId, CommitInfo};
use crate::model::job::Hash;
use crate::model::name::{EnvironmentName, RunRef};
use crate::model::request::{Brief, Request, Slot, Verdict};
use crate::model::statement;
use crate::model::time::Timestamp;
use crate::model::window::Opening;
use crate::report::message::{Doc, Frame, Mail, commit_line, counted, listed, what};
use crate::report::when;

/// Commits named one by one.
const COMMITS_MAX: usize = 10;
const CODE: &str = "Each yes needs the code that your phone shows at that moment. Type it behind this link or after \
                    `shipbell approve`, and nowhere else: within that minute whoever has it can say yes as you.";

/// What is asked, of whom, and what is known of it.
#[derive(Debug, Clone)]
pub struct Asked {
    pub request: Request,
    pub slot: Slot,
    /// Their own link.
    pub link: String,
    pub opening: Opening,
    /// Who may vote, list by list, where there are several lists and each needs its votes.
    pub lists: Vec<Vec<String>>,
    pub checked: Vec<Checked>,
    /// Whether they can also vote on the host.
    pub login: bool,
    /// Where votes are signed.
    pub signing: Option<Signing>,
    /// Each yes wants a code of their phone.
    pub coded: bool,
}

/// What is signed, and with which keys.
#[derive(Debug, Clone)]
pub struct Signing {
    /// As it stands, to the last newline.
    pub text: String,
    /// Of the person who is asked.
    pub keys: Vec<String>,
}

/// A run that this one stands on.
#[derive(Debug, Clone)]
pub struct Checked {
    pub run: RunRef,
    pub at: Option<Timestamp>,
    pub tries: u32,
    /// Its job did not apply to this commit: the outcome is that of another one.
    pub carried_from: Option<CommitId>,
    /// Where it deploys to, and what can be looked at there.
    pub environment: Option<EnvironmentName>,
    pub url: Option<String>,
    pub outputs: Vec<(String, String)>,
}

/// May it go?
#[must_use]
pub fn ask(asked: &Asked, frame: &Frame) -> Mail {
    let request = &asked.request;
    let environment = &request.tuple.environment;
    let what = what(&request.run.job, request.tuple.commit.as_ref());
    let subject = format!("Approve? {what} to {environment}");
    let until = format!("{subject} (answer by {})", when::near(request.expires_at, &frame.zone, frame.now));
    let subject = if until.chars().count() <= 78 { until } else { subject };
    let doc = Doc::default()
        .lead(format!("{what} {}. May it go to {environment}?", passed(&asked.checked)))
        .para(timing(asked, frame))
        .link("Look and decide (opening it decides nothing):", &asked.link)
        .para(who(asked))
        .when(asked.coded, |doc| doc.para(CODE));
    let doc = contents(doc, request, frame);
    let doc = mind(doc, request, frame);
    let doc = checked(doc, asked, frame);
    let doc = back(doc, asked, frame);
    let doc = sign(doc, asked, frame);
    let doc = request.tuple.commit.iter().fold(doc, |doc, commit| doc.footer(commit.as_str()));
    let doc = doc.footer(format!(
        "{}  definition {}  request r-{}",
        request.run,
        request.tuple.definition.short(),
        request.id
    ));
    mail(request, subject, &doc)
}

/// Nobody, or too few, can approve it.
#[must_use]
pub fn unsatisfiable(request: &Request, frame: &Frame) -> Mail {
    let environment = &request.tuple.environment;
    let what = what(&request.run.job, request.tuple.commit.as_ref());
    let excluded = request.brief.excluded.iter().map(|(person, why)| format!("{person}: {why}")).collect::<Vec<_>>();
    let asked: Vec<String> = request.slots.iter().map(|slot| slot.person.to_string()).collect();
    let can = match asked.as_slice() {
        [] => "nobody may give one".into(),
        some => format!("only {} may", listed(some)),
    };
    let needed = counted(u64::from(request.votes_needed), "vote", "votes");
    let doc = Doc::default()
        .lead(format!("{what} cannot go to {environment}: it needs {needed}, and {can}."))
        .when(!excluded.is_empty(), |doc| doc.head("WHO MAY NOT").items(excluded))
        .para(format!(
            "Give one more person the right, in shipbell.toml or in `by` of [environment.{environment}], \
             then: systemctl reload shipbell"
        ))
        .link("The run:", &frame.page(&request.run))
        .footer(format!("{}  request r-{}", request.run, request.id));
    mail(request, format!("Nobody can approve {what} to {environment}"), &doc)
}

/// A mail in the thread of a request.
pub fn mail(request: &Request, subject: String, doc: &Doc) -> Mail {
    Mail {
        text: doc.text(),
        html: doc.html(&subject),
        subject,
        thread: format!("request.{}", request.id),
        job: request.run.job.clone(),
        run: Some(request.run.clone()),
        environment: Some(request.tuple.environment.clone()),
        request: Some(request.id),
    }
}

/// `passed test and image and went to staging`.
#[must_use]
pub fn passed(checked: &[Checked]) -> String {
    let environments: Vec<String> =
        checked.iter().filter_map(|run| run.environment.as_ref()).map(ToString::to_string).collect();
    let jobs: Vec<String> =
        checked.iter().filter(|run| run.environment.is_none()).map(|run| run.run.job.job.to_string()).collect();
    match (jobs.as_slice(), environments.as_slice()) {
        ([], []) => "is ready".into(),
        (jobs, []) => format!("passed {}", listed(jobs)),
        ([], there) => format!("went to {}", listed(there)),
        (jobs, there) => format!("passed {} and went to {}", listed(jobs), listed(there)),
    }
}

/// "Do I have to do anything now?"
#[must_use]
pub fn timing(asked: &Asked, frame: &Frame) -> String {
    let until = when::exact(asked.request.expires_at, &frame.zone);
    let last = match asked.request.votes_needed {
        0 | 1 if asked.lists.len() < 2 => "Approved now",
        _ => "Once approved",
    };
    match asked.opening {
        Opening::Open => format!("{last}, it starts as soon as a place is free. Answer until {until}."),
        Opening::Closed { opens: Some(opens) } => {
            let tonight = when::hour(frame.now, &frame.zone) >= 16 && !when::same_day(frame.now, opens, &frame.zone);
            let word = if tonight { "NOT TONIGHT" } else { "NOT NOW" };
            let opens = when::day(opens, &frame.zone);
            format!(
                "{word}: the window is closed. {last}, it starts by itself {opens}. Answer when you like until {until}."
            )
        }
        Opening::Closed { opens: None } => {
            format!("NOT NOW: the window is closed, and no opening is in sight. Answer until {until}.")
        }
    }
}

/// Whose votes it takes, and what they have been so far.
#[must_use]
pub fn who(asked: &Asked) -> String {
    let request = &asked.request;
    let voted = |person: &str| request.votes.iter().any(|vote| vote.by == person);
    let name = |person: &str| if person == asked.slot.person.as_str() { "you".to_owned() } else { person.to_owned() };
    let mut open: Vec<String> =
        request.slots.iter().map(|slot| slot.person.as_str()).filter(|person| !voted(person)).map(name).collect();
    open.sort_by_key(|person| person != "you");
    let needed = match request.votes_needed {
        0 | 1 => "One vote".to_owned(),
        2 => "Two votes".to_owned(),
        more => format!("{more} votes"),
    };
    let mut sentences = match (asked.lists.as_slice(), open.as_slice()) {
        ([_, _, ..], _) => {
            let lists =
                asked.lists.iter().map(|list| list.iter().map(|person| name(person)).collect::<Vec<_>>().join(", "));
            vec![format!("{needed} from each of these lists: {}.", lists.collect::<Vec<_>>().join("; "))]
        }
        (_, [_]) if request.votes.is_empty() => vec!["You are the only one who can.".into()],
        (_, open) => vec![format!("{needed} of: {}.", open.join(", "))],
    };
    for vote in &request.votes {
        let verdict = if vote.verdict == Verdict::Approve { "approved it" } else { "rejected it" };
        sentences.push(format!("{} {verdict}.", vote.by));
    }
    let excluded: Vec<String> =
        request.brief.excluded.iter().map(|(person, why)| format!("{person} cannot: {why}")).collect();
    if !excluded.is_empty() {
        sentences.push(format!("({}.)", excluded.join("; ")));
    }
    sentences.join(" ")
}

fn commits(commits: &[CommitInfo], total: u64) -> Vec<String> {
    let mut items: Vec<String> = commits.iter().take(COMMITS_MAX).map(commit_line).collect();
    let rest = total.saturating_sub(items.len() as u64);
    if rest > 0 {
        items.push(format!("and {rest} more"));
    }
    items
}

/// Every commit that comes with it, not only the newest.
fn contents(doc: Doc, request: &Request, frame: &Frame) -> Doc {
    let brief = &request.brief;
    let environment = &request.tuple.environment;
    let params: Vec<String> = request.tuple.params.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let doc = doc.when(!params.is_empty(), |doc| doc.head("WITH").items(params));
    let doc = match (&brief.live, &brief.commit) {
        (Some((live, since)), Some(_)) if brief.adds_total > 0 => doc
            .head(format!(
                "{} since {environment}'s {} (live since {})",
                counted(brief.adds_total, "COMMIT", "COMMITS"),
                live.short(),
                when::since(*since, &frame.zone, frame.now)
            ))
            .items(commits(&brief.adds, brief.adds_total)),
        (Some((live, since)), Some(commit)) if *live == commit.id => doc
            .head(format!("NO NEW COMMIT: {} is live already", live.short()))
            .para(format!("since {}.", when::since(*since, &frame.zone, frame.now))),
        (_, Some(commit)) => doc.head("THE COMMIT").items(vec![commit_line(commit)]),
        (_, None) => doc,
    };
    doc.when(brief.files > 0 || !brief.takes_back.is_empty(), |doc| sizes(doc, brief))
}

fn sizes(doc: Doc, brief: &Brief) -> Doc {
    let back = brief.takes_back.len() as u64;
    let files = counted(brief.files, "file", "files");
    let none = if back == 0 && brief.live.is_some() { " No commit is taken back." } else { "" };
    let doc = doc
        .when(brief.files > 0, |doc| doc.note(format!("{files}, +{} -{}.{none}", brief.insertions, brief.deletions)));
    doc.when(back > 0, |doc| {
        let taken = |commit: &CommitInfo| format!("{} {}", commit.id.short(), commit_line(commit));
        let mut items: Vec<String> = brief.takes_back.iter().take(COMMITS_MAX).map(taken).collect();
        let rest = back.saturating_sub(items.len() as u64);
        if rest > 0 {
            items.push(format!("and {rest} more"));
        }
        doc.head(format!("TAKES BACK {}, live now", counted(back, "COMMIT", "COMMITS"))).warnings(items)
    })
}

fn mind(doc: Doc, request: &Request, frame: &Frame) -> Doc {
    let mut items = request.brief.mind.clone();
    if let Some(after) = &request.tuple.after {
        items.push(format!("{after} did not end well: {}", frame.page(after)));
    }
    doc.when(!items.is_empty(), |doc| doc.head("MIND").warnings(items))
}

fn checked(doc: Doc, asked: &Asked, frame: &Frame) -> Doc {
    if asked.checked.is_empty() {
        return doc;
    }
    let one = |run: &Checked| {
        let mut text = format!("{} ok", run.run.job.job);
        if let Some(at) = run.at {
            text.push_str(&format!(" {}", when::near(at, &frame.zone, frame.now)));
        }
        if run.tries > 1 {
            text.push_str(&format!(" on try {}", run.tries));
        }
        if let Some(commit) = &run.carried_from {
            text.push_str(&format!(" (carried over from {})", commit.short()));
        }
        text
    };
    let all: Vec<String> = asked.checked.iter().map(one).collect();
    let doc = doc.head("CHECKED").para(all.join(", "));
    let outputs = asked.checked.iter().flat_map(|run| &run.outputs);
    let outputs: Vec<String> = outputs.map(|(key, value)| format!("{key}={}", middle(value))).take(6).collect();
    let doc = outputs.into_iter().fold(doc, Doc::note);
    let urls = asked.checked.iter().filter_map(|run| run.url.as_ref().map(|url| (run, url)));
    urls.fold(doc, |doc, (run, url)| {
        let there = run.environment.as_ref().map_or_else(|| "it".to_owned(), ToString::to_string);
        doc.also(&format!("Try {there}:"), url)
    })
}

/// A value with its middle left out: the ends tell images and digests apart.
#[must_use]
pub fn middle(value: &str) -> String {
    let chars: Vec<char> = value.chars().collect();
    match (chars.get(..24), chars.len().checked_sub(12).and_then(|from| chars.get(from..))) {
        (Some(first), Some(last)) if chars.len() > 44 => {
            format!("{}...{}", first.iter().collect::<String>(), last.iter().collect::<String>())
        }
        _ => value.to_owned(),
    }
}

/// Lines of a text beyond which it is shown behind the link only.
const SIGN_LINES_MAX: usize = 60;

fn sign(doc: Doc, asked: &Asked, frame: &Frame) -> Doc {
    let Some(signing) = &asked.signing else { return doc };
    let doc = doc.head("SIGNED VOTES").para(
        "Your yes is your signature of this text. Sign it where your key is, and paste what comes out behind the link.",
    );
    let doc = doc.note(format!("SHA-256 of the text: {}", Hash::of(signing.text.as_bytes())));
    let doc = if signing.text.lines().count() > SIGN_LINES_MAX {
        doc.para("It is too long for a mail: the link shows it.")
    } else {
        doc.paste("In a shell:", statement::command(&signing.text))
    };
    let run = &asked.request.run;
    doc.when(asked.login, |doc| {
        doc.command(
            format!("Or on {}, with your agent forwarded:", frame.host),
            format!("shipbell approve {run} --sign"),
        )
    })
}

fn back(doc: Doc, asked: &Asked, frame: &Frame) -> Doc {
    let request = &asked.request;
    let doc = doc.head("IF IT GOES WRONG");
    let doc = match (&request.brief.live, &request.tuple.commit) {
        (Some((live, _)), Some(commit)) if live != commit => doc.para(format!(
            "Nothing goes back by itself. {} is live until it starts; a commit that reverts comes here like any other.",
            live.short()
        )),
        _ => doc.para("Nothing goes back by itself: you get a mail, and look."),
    };
    let doc = doc.para("A newer commit does not undo your approval; a newer approval does.");
    doc.when(asked.login && asked.signing.is_none(), |doc| {
        doc.command(format!("Without the link, on {}:", frame.host), format!("shipbell approve {}", request.run))
    })
}
