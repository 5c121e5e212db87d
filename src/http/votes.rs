//! Votes by a key or with a code: what is to be signed, whether a signature is a person's, and codes on their
//! way to the executor, which alone can judge them. And root's word that a deployment may go without votes.
//! What comes of any of them is the core's to decide.

use std::io;
use std::sync::Arc;

use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::tz::TimeZone;

use crate::executor::Taken;
use crate::model::event::{Ballot, Event, Refusal, Reply};
use crate::model::job::{Factor, Hash};
use crate::model::name::{PersonName, RunRef};
use crate::model::request::{ROOT, Request, Signed};
use crate::model::statement::{self, NAMESPACE, Statement};
use crate::model::view::{AnswerView, BreakGlassOrder, SCHEMA, StatementView};
use crate::pipeline::requests;
use crate::report::message::Signing;
use crate::report::{facts, when};
use crate::signature;

use super::api::{self, Answer, Body, No};
use super::views::look;
use super::{App, Peer};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/runs/{id}/statement", get(show)).route("/break-glass", post(break_glass))
}

/// Hands a code to the executor: the person, and what it is a yes to.
pub type TakeCode = Arc<dyn Fn(&Statement, &PersonName, &str) -> io::Result<Taken> + Send + Sync>;

/// What a vote is worth should the daemon be taken over; `apart`: the executor is out of its reach.
pub(super) fn guards(factor: Factor, apart: bool) -> &'static str {
    match (factor, apart) {
        (Factor::Word, _) => {
            "programs that follow links; not a Shipbell that was taken over: the factor is a typed word"
        }
        (Factor::Totp, true) => {
            "who reads your mail; of a Shipbell that was taken over, all but that it spends a code you type on another \
             request: a process out of its reach checks the codes"
        }
        (Factor::Totp, false) => "who reads your mail; here the process that checks the codes faces the network",
        (Factor::Sshsig, true) => "a Shipbell that was taken over: a process out of its reach verifies the signatures",
        (Factor::Sshsig, false) => "who reads your mail; here the process that verifies signatures faces the network",
    }
}

/// The proof of a person that they say yes to this text.
///
/// # Errors
/// Why it is none.
pub(super) async fn signed(signing: Signing, given: &str) -> Result<Signed, String> {
    let signature = statement::armored(given)?;
    if signing.keys.is_empty() {
        return Err("you have no ssh-key in shipbell.toml".into());
    }
    let checked = tokio::task::spawn_blocking(move || {
        let key = signature::key_of(&signing.keys, NAMESPACE, signing.text.as_bytes(), signature.as_bytes())?;
        Ok::<_, io::Error>(key.map(|key| Signed { key: key.to_owned(), signature }))
    });
    match checked.await {
        Ok(Ok(Some(signed))) => Ok(signed),
        Ok(Ok(None)) => Err("this is no signature of exactly that text by a key of yours".into()),
        Ok(Err(error)) => Err(format!("the signature could not be checked: {error}")),
        Err(error) => Err(error.to_string()),
    }
}

/// Why a code makes no vote.
pub(super) enum NotCoded {
    /// What the core says to it before a code is looked at.
    Answered(Reply),
    Said(StatusCode, String),
}

/// A ballot whose code the executor has taken. A code is spent by that, so the core is asked first whether the
/// vote would count.
pub(super) async fn coded(app: &App, ballot: Ballot, code: &str) -> Result<Ballot, NotCoded> {
    let stopping = || NotCoded::Said(StatusCode::SERVICE_UNAVAILABLE, "this Shipbell is stopping".into());
    let ballot = Ballot { coded: true, ..ballot };
    let (asked, host) = (ballot.clone(), app.site.host.clone());
    let found = app.inbox.look(move |world, now| {
        if let Some(reply) = requests::objection(world, now, &asked) {
            return Err(reply);
        }
        let request = world.request_of(&asked.run);
        let git_ref = world.run(&asked.run).and_then(|run| run.git_ref.clone());
        let put = request.map(|request| {
            let catalog = &world.scratch.catalog;
            let policy = facts::policy(catalog, &request.run.job, &request.tuple.environment);
            (request.id, Statement::of(request, git_ref.as_ref()), facts::frame(catalog, policy, &host, now).zone)
        });
        put.ok_or(Reply::Refused(Refusal::Conflict(format!("{} does not wait for approval", asked.run))))
    });
    let (id, statement, zone) = found.await.ok_or_else(stopping)?.map_err(NotCoded::Answered)?;
    let Some(person) = ballot.person.clone() else { return Ok(ballot) };
    let (take, who, code) = (Arc::clone(&app.take_code), person.clone(), code.to_owned());
    let taken = tokio::task::spawn_blocking(move || take(&statement, &who, &code)).await;
    let taken = match taken {
        Ok(Ok(taken)) => taken,
        Ok(Err(error)) => return Err(NotCoded::Said(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
        Err(error) => return Err(NotCoded::Said(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    };
    if let Taken::Rests { until, now: true } = &taken {
        app.inbox.tell(Event::VoteRests { request: id, person, until: *until }).await;
    }
    match told(&taken, &zone) {
        None => Ok(Ballot { request: Some(id), ..ballot }),
        Some((status, why)) => Err(NotCoded::Said(status, why)),
    }
}

/// In words, why a code was not taken.
fn told(taken: &Taken, zone: &TimeZone) -> Option<(StatusCode, String)> {
    let wrong = StatusCode::UNPROCESSABLE_ENTITY;
    Some(match taken {
        Taken::Good => return None,
        Taken::Refused { why } => (wrong, why.clone()),
        Taken::Wrong { at, late, left } => {
            let clock = at.to_zoned(zone.clone()).strftime("%H:%M:%S %Z").to_string();
            let why = match late {
                Some(late) => format!("that was your code {late} ago. Type the one that your phone shows now"),
                None => "that is not the code which your phone should show now".to_owned(),
            };
            let tries = if *left == 1 { "one more try".to_owned() } else { format!("{left} more tries") };
            let text =
                format!("{why}. It is {clock} here: compare your phone's clock, to the half minute. You have {tries}");
            (wrong, text)
        }
        Taken::Rests { until, .. } => {
            let text = format!("too many wrong codes: none of yours is taken until {}", when::exact(*until, zone));
            (StatusCode::TOO_MANY_REQUESTS, text)
        }
    })
}

/// The live request of a run, its statement, what is asked for, and the keys of a person.
struct Put {
    request: Request,
    statement: Statement,
    factor: Factor,
    keys: Vec<String>,
}

async fn put(app: &App, run: &RunRef, person: Option<PersonName>) -> Result<Put, No> {
    let wanted = run.clone();
    let found = look(app, move |world, _| {
        let request = world.request_of(&wanted)?.clone();
        let git_ref = world.run(&wanted).and_then(|run| run.git_ref.clone());
        let policy = world.job(&wanted.job).and_then(|job| job.definition.environment.as_ref());
        let factor =
            policy.and_then(|policy| policy.approval.as_ref()).map_or(Factor::Word, |approval| approval.factor);
        let person = person.and_then(|name| world.scratch.catalog.people.get(&name));
        let keys = person.map(|person| person.ssh_keys.clone()).unwrap_or_default();
        Some(Put { statement: Statement::of(&request, git_ref.as_ref()), request, factor, keys })
    });
    found.await?.ok_or_else(|| No::not_found(format!("nobody is asked about {run}: shipbell show {run}")))
}

/// What a person who asks over the socket would sign.
async fn show(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
) -> Answer<StatementView> {
    let run = api::run_of(&id)?;
    let who = api::who(&app, peer).await?;
    let Put { request, statement, factor, keys } = put(&app, &run, who.person).await?;
    let text = statement.text(&app.site.host);
    Ok(Json(StatementView {
        schema: SCHEMA,
        run,
        request: request.id,
        environment: request.tuple.environment,
        factor: factor.word().into(),
        namespace: NAMESPACE.into(),
        sha256: Hash::of(text.as_bytes()),
        text,
        keys,
    }))
}

/// The request that a signature from the socket is for, and its proof.
pub(super) async fn prove(
    app: &App,
    run: &RunRef,
    person: Option<PersonName>,
    given: &str,
) -> Result<(u64, Signed), No> {
    let put = put(app, run, person).await?;
    let signing = Signing { text: put.statement.text(&app.site.host), keys: put.keys };
    let signed = signed(signing, given).await.map_err(No::conflict)?;
    Ok((put.request.id, signed))
}

async fn break_glass(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    order: Body<BreakGlassOrder>,
) -> Answer<AnswerView> {
    let Json(BreakGlassOrder { run, reason }) = order?;
    if peer.uid != 0 {
        let text = format!("only {ROOT} of this host may let a deployment go without votes");
        return Err(No::new(StatusCode::FORBIDDEN, "not-allowed", text));
    }
    tracing::warn!("BREAK-GLASS: root lets {run} go without votes: {}", reason.escape_debug());
    api::ask(&app, Event::GlassBroken { run, reason }).await
}
