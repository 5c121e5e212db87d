//! What the approval page shows: who is asked, what would go, what was checked, how the votes stand, and the
//! form, where a vote can still be given. The sentences are those of the mail.

use askama::Template;

use crate::http::show::{self, Times};
use crate::http::{Site, votes};
use crate::model::commit::CommitInfo;
use crate::model::job::{Factor, Hash};
use crate::model::request::{Request, RequestState, Slot};
use crate::model::statement;
use crate::report::message::approval::{middle, passed, timing, who};
use crate::report::message::{Asked, Checked, Frame, counted, told, what};
use crate::report::token::Claim;
use crate::report::{display, when};

/// Commits shown one by one.
const COMMITS_MAX: usize = 100;

/// A request that a link opened, as it stands now.
pub struct Opened {
    pub claim: Claim,
    pub request: Request,
    pub slot: Slot,
    pub asked: Asked,
    pub frame: Frame,
    /// What its run waits for.
    pub waits: Option<String>,
}

/// What came of a form, and what was typed into it.
#[derive(Debug, Clone, Default)]
pub struct FormState {
    /// What the core said.
    pub message: String,
    pub error: String,
    pub reason: String,
}

#[derive(Template)]
#[template(path = "approve.html")]
pub struct ApprovePage {
    host: String,
    refresh: u32,
    title: String,
    lead: String,
    person: String,
    email: String,
    environment: String,
    /// The sentences on how it stands: timing and who while it is open, what became of it after that.
    standing: Vec<String>,
    command: Option<(String, String)>,
    good: bool,
    message: String,
    error: String,
    newer: Option<Link>,
    form: Option<FormView>,
    what: What,
    checked: Vec<CheckedRow>,
    mind: Vec<String>,
    votes: Vec<String>,
    run: Link,
    bound: Vec<(&'static str, String)>,
}

/// A link within these pages, or to what the configuration names.
struct Link {
    href: String,
    text: String,
}

struct FormView {
    proof: String,
    reason: String,
    /// Someone approved it already: only a rejection is left to give.
    reject_only: bool,
    /// What to type where the key is, where votes are signed.
    sign: Option<String>,
    /// To approve, a code of their phone is typed.
    code: bool,
    /// Of the text that is signed.
    sha256: String,
}

struct What {
    heading: String,
    commits: Vec<CommitRow>,
    more: u64,
    size: String,
    takes_back: Vec<CommitRow>,
    params: Vec<String>,
}

struct CommitRow {
    short: String,
    subject: String,
    author: String,
    at: String,
}

struct CheckedRow {
    run: Link,
    result: String,
    outputs: Vec<String>,
    url: Option<Link>,
}

/// The page of an opened request.
pub fn build(opened: &Opened, site: &Site, proof: String, state: &FormState) -> ApprovePage {
    let (request, frame) = (&opened.request, &opened.frame);
    let times = Times { zone: frame.zone.clone(), now: frame.now };
    let environment = request.tuple.environment.to_string();
    let what_goes = what(&request.run.job, request.tuple.commit.as_ref());
    let voted = request.votes.iter().any(|vote| vote.by == opened.slot.person.as_str());
    let may = !voted && request.is_live();
    let told = told(request, &opened.asked.opening, frame);
    let (title, lead) = if request.is_open() {
        (format!("May {what_goes} go to {environment}?"), format!("{what_goes} {}.", passed(&opened.asked.checked)))
    } else {
        (format!("{}: {what_goes} to {environment}", told.word), told.lead.clone())
    };
    let standing = if request.is_open() { vec![timing(&opened.asked, frame), who(&opened.asked)] } else { told.more };
    ApprovePage {
        host: site.host.clone(),
        refresh: 0,
        title,
        lead,
        person: opened.slot.person.to_string(),
        email: display::line(&opened.slot.email, 120),
        standing: standing.iter().map(|line| display::line(line, 1200)).collect(),
        command: told.command,
        good: matches!(request.state, RequestState::Approved { .. } | RequestState::Used { .. }),
        message: display::line(&state.message, 500),
        error: state.error.clone(),
        newer: newer(request),
        form: may.then(|| form(opened, proof, state)),
        what: contents(request, &environment, &times),
        checked: opened.asked.checked.iter().map(|run| checked(run, &times)).collect(),
        mind: mind(request),
        votes: votes(request, &times),
        run: run_link(&request.run),
        bound: bound(opened, site),
        environment,
    }
}

fn run_link(run: &crate::model::name::RunRef) -> Link {
    Link { href: show::href(run), text: run.to_string() }
}

fn form(opened: &Opened, proof: String, state: &FormState) -> FormView {
    let reject_only = !opened.request.is_open();
    let signing = opened.asked.signing.as_ref().filter(|_| !reject_only);
    FormView {
        proof,
        reason: display::plain(&state.reason),
        reject_only,
        code: opened.asked.coded && !reject_only,
        sign: signing.map(|signing| statement::command(&signing.text)),
        sha256: signing.map(|signing| Hash::of(signing.text.as_bytes()).to_string()).unwrap_or_default(),
    }
}

fn newer(request: &Request) -> Option<Link> {
    match &request.state {
        RequestState::Superseded { by, .. } => Some(run_link(by)),
        _ => None,
    }
}

fn contents(request: &Request, environment: &str, times: &Times) -> What {
    let brief = &request.brief;
    let (heading, shown) = match (&brief.live, &brief.commit) {
        (Some((live, since)), _) if brief.adds_total > 0 => {
            let since = when::since(*since, &times.zone, times.now);
            let count = counted(brief.adds_total, "commit", "commits");
            (format!("{count} since {environment}'s {} (live since {since})", live.short()), brief.adds.as_slice())
        }
        (Some((live, _)), Some(commit)) if *live == commit.id => {
            (format!("No new commit: {} is live already", live.short()), std::slice::from_ref(commit))
        }
        (_, Some(commit)) => ("The commit".to_owned(), std::slice::from_ref(commit)),
        (_, None) => ("Without a commit".to_owned(), [].as_slice()),
    };
    let row = |info: &CommitInfo| CommitRow {
        short: info.id.short().to_owned(),
        subject: display::line(&info.subject, 200),
        author: display::line(&info.author, 80),
        at: times.near(&info.authored_at),
    };
    let commits: Vec<CommitRow> = shown.iter().take(COMMITS_MAX).map(row).collect();
    let files = counted(brief.files, "file", "files");
    What {
        heading,
        more: brief.adds_total.saturating_sub(commits.len() as u64),
        commits,
        size: if brief.files > 0 {
            format!("{files}, +{} −{}", brief.insertions, brief.deletions)
        } else {
            String::new()
        },
        takes_back: brief.takes_back.iter().take(COMMITS_MAX).map(row).collect(),
        params: request.tuple.params.iter().map(|(key, value)| show::cell(&format!("{key}={value}"))).collect(),
    }
}

fn checked(run: &Checked, times: &Times) -> CheckedRow {
    let mut result = "✓ ok".to_owned();
    if let Some(at) = &run.at {
        result.push_str(&format!(", {}", times.near(at)));
    }
    if run.tries > 1 {
        result.push_str(&format!(", on try {}", run.tries));
    }
    if let Some(commit) = &run.carried_from {
        result.push_str(&format!(", carried over from {}", commit.short()));
    }
    let url = run.url.as_ref().filter(|url| url.starts_with("https://") || url.starts_with("http://"));
    let outputs = run.outputs.iter().map(|(key, value)| show::cell(&format!("{key}={}", middle(value)))).collect();
    CheckedRow {
        run: run_link(&run.run),
        result,
        outputs,
        url: url.map(|url| Link {
            href: url.clone(),
            text: run.environment.as_ref().map_or_else(|| "look at it".to_owned(), |name| format!("look at {name}")),
        }),
    }
}

fn mind(request: &Request) -> Vec<String> {
    let mut mind: Vec<String> = request.brief.mind.iter().map(|text| display::line(text, 300)).collect();
    mind.extend(request.tuple.after.iter().map(|run| format!("{run} did not end well")));
    mind
}

fn votes(request: &Request, times: &Times) -> Vec<String> {
    let mut lines = Vec::new();
    // The first sentence has told of a vote that decided alone.
    let told = !request.is_open() && request.votes.len() == 1;
    for vote in request.votes.iter().filter(|_| !told) {
        let reason = display::line(&vote.reason, 400);
        let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
        lines.push(format!(
            "{} {} {} by {}{reason}",
            display::line(&vote.by, 80),
            vote.did(),
            times.near(&vote.at),
            vote.via
        ));
    }
    let excluded = request.brief.excluded.iter();
    lines.extend(excluded.map(|(person, why)| format!("{person} cannot vote: {}", display::line(why, 200))));
    lines
}

/// Everything that the link is bound to, in full.
fn bound(opened: &Opened, site: &Site) -> Vec<(&'static str, String)> {
    let request = &opened.request;
    let tuple = &request.tuple;
    let mut rows = Vec::new();
    rows.extend(tuple.commit.iter().map(|commit| ("commit", commit.to_string())));
    rows.extend(tuple.repository.iter().map(|url| ("repository", show::cell(url))));
    rows.extend(request.brief.branch.iter().map(|branch| ("branch", show::cell(branch))));
    rows.push(("definition", tuple.definition.to_string()));
    rows.push(("all of it", request.tuple_hash.to_string()));
    rows.push(("asked", when::exact(request.asked_at, &opened.frame.zone)));
    rows.push(("answer until", when::exact(request.expires_at, &opened.frame.zone)));
    rows.extend(opened.waits.iter().map(|waits| ("the run waits for", show::cell(waits))));
    rows.push(("request", format!("r-{}", request.id)));
    let factor = match &opened.asked.signing {
        Some(_) => Factor::Sshsig,
        None if opened.asked.coded => Factor::Totp,
        None => Factor::Word,
    };
    rows.push(("what a vote guards against", votes::guards(factor, site.executor_apart).to_owned()));
    rows
}
