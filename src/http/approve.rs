//! The page behind the link in an approval mail. Opening it changes nothing, however often and by whom it is
//! fetched; a vote wants a form of this page, in this visitor's hands, with the environment's name typed.
//! Whether the vote counts is the core's to decide.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::rejection::{FormRejection, PathRejection};
use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;

use crate::http::approve_page::{self, FormState, Opened};
use crate::http::guard;
use crate::http::show::{Trouble, blocking, page, say};
use crate::http::votes::NotCoded;
use crate::http::{Site, Web, votes};
use crate::model::event::{Ballot, Event, Refusal, Reply};
use crate::model::job::hex;
use crate::model::request::{Request, RequestState, Verdict};
use crate::model::time::Seconds;
use crate::report::facts::Sources;
use crate::report::token::Claim;

/// Wrong words in a row until a link rests.
const MISSES_MAX: u32 = 5;
/// How long it rests.
const REST: Duration = Duration::from_secs(15 * 60);
/// Longest reason that is taken.
const REASON_MAX: usize = 1000;

/// Wrong words typed, by slot. Only slots of real links come here, so it stays small; a restart forgets it.
#[derive(Debug, Default)]
pub struct Locks(Mutex<BTreeMap<String, (u32, Instant)>>);

impl Locks {
    fn rests(&self, slot: &str) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (_, last)| last.elapsed() < REST);
        all.get(slot).is_some_and(|(misses, _)| *misses >= MISSES_MAX)
    }

    /// Whether that was the one by which it comes to a rest.
    fn miss(&self, slot: &str) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = all.entry(slot.to_owned()).or_insert((0, Instant::now()));
        *entry = (entry.0.saturating_add(1), Instant::now());
        entry.0 == MISSES_MAX
    }

    fn forget(&self, slot: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(slot);
    }
}

/// A random value in the visitor's cookie: forms are bound to it.
struct Visitor {
    value: String,
    /// To be set, where the browser has none yet.
    set: Option<HeaderValue>,
}

impl Visitor {
    fn of(headers: &HeaderMap, site: &Site) -> Result<Self, Trouble> {
        let public = site.public_url.strip_prefix("https://").and_then(|rest| rest.split('/').next());
        let secure = public.is_some() && public == guard::host_of(headers);
        let (name, more) = if secure { ("__Host-shipbell", "; Secure") } else { ("shipbell", "") };
        let sent = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = sent.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let is_ours = |value: &str| value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
        if let Some((_, value)) = pairs.find(|(key, value)| *key == name && is_ours(value)) {
            return Ok(Self { value: value.to_owned(), set: None });
        }
        let mut random = [0_u8; 32];
        getrandom::fill(&mut random).map_err(|error| Trouble::Store(error.to_string()))?;
        let value = hex(&random);
        let line = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{more}");
        Ok(Self { value, set: HeaderValue::from_str(&line).ok() })
    }

    fn with(self, mut response: Response) -> Response {
        if let Some(line) = self.set {
            response.headers_mut().append(header::SET_COOKIE, line);
        }
        response
    }
}

/// GET: shows, and changes nothing.
pub async fn show(
    State(web): State<Web>,
    token: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Trouble> {
    let opened = open(&web, token).await?;
    let visitor = Visitor::of(&headers, &web.app.site)?;
    let state = FormState::default();
    Ok(answer(&web, &opened, visitor, StatusCode::OK, &state))
}

/// What a form of the page sends.
#[derive(Debug, Deserialize)]
pub struct VoteForm {
    #[serde(default)]
    word: String,
    #[serde(default)]
    verdict: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    signature: String,
    #[serde(default)]
    code: String,
    #[serde(default)]
    csrf: String,
}

/// POST: votes.
pub async fn vote(
    State(web): State<Web>,
    token: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    form: Result<Form<VoteForm>, FormRejection>,
) -> Result<Response, Trouble> {
    let opened = open(&web, token).await?;
    let form = match form {
        Ok(Form(form)) => form,
        Err(refused) => {
            let why = "The form did not arrive whole. Nothing was recorded; open the link again.";
            return Ok(say(refused.status(), "Not recorded", &[why]));
        }
    };
    if !guard::same_origin(&headers) {
        let why = "This form was sent by another site. Nothing was recorded; open the link from your mail.";
        return Ok(say(StatusCode::FORBIDDEN, "Not recorded", &[why]));
    }
    let visitor = Visitor::of(&headers, &web.app.site)?;
    let (verdict, state) = match judge(&web, &opened, &visitor, &form) {
        Ok(wanted) => wanted,
        Err((status, state, missing)) => {
            if missing {
                missed(&web, &opened).await;
            }
            return Ok(answer(&web, &opened, visitor, status, &state));
        }
    };
    let reply = match put(&web, &opened, verdict, &state.reason, &form).await {
        Ok(reply) => reply,
        Err((status, why)) => {
            let state = FormState { error: format!("Not recorded: {why}."), ..state };
            return Ok(answer(&web, &opened, visitor, status, &state));
        }
    };
    let (status, message) = match reply {
        Reply::Vote { text, .. } => (StatusCode::OK, text),
        Reply::Done | Reply::Run(_) | Reply::Told(_) | Reply::Backfill { .. } => {
            (StatusCode::OK, "It is recorded.".to_owned())
        }
        Reply::Refused(refusal) => refused(&refusal),
    };
    // What is shown is what is on disk now, not what was on it before.
    let claim = opened.claim.clone();
    let opened = look(&web, claim).await?;
    Ok(answer(&web, &opened, visitor, status, &FormState { message, ..state }))
}

/// Puts a vote to the core, with the proof that each yes needs there. `Err`: the proof is none.
async fn put(
    web: &Web,
    opened: &Opened,
    verdict: Verdict,
    reason: &str,
    form: &VoteForm,
) -> Result<Reply, (StatusCode, String)> {
    let signed = match (verdict, &opened.asked.signing) {
        (Verdict::Approve, Some(signing)) => match votes::signed(signing.clone(), &form.signature).await {
            Ok(signed) => Some(signed),
            Err(why) => {
                missed(web, opened).await;
                return Err((StatusCode::UNPROCESSABLE_ENTITY, why));
            }
        },
        _ => None,
    };
    web.locks.forget(&opened.slot.id);
    let ballot = Ballot {
        run: opened.request.run.clone(),
        request: Some(opened.request.id),
        person: Some(opened.slot.person.clone()),
        verdict,
        reason: reason.to_owned(),
        via: "mail".into(),
        signed,
        coded: false,
    };
    let ballot = match opened.asked.coded && verdict == Verdict::Approve {
        false => ballot,
        true => match votes::coded(&web.app, ballot, &form.code).await {
            Ok(ballot) => ballot,
            Err(NotCoded::Answered(reply)) => return Ok(reply),
            Err(NotCoded::Said(status, why)) => return Err((status, why)),
        },
    };
    Ok(web.app.inbox.ask(Event::Voted(ballot)).await)
}

fn refused(refusal: &Refusal) -> (StatusCode, String) {
    let status = match refusal {
        Refusal::NotFound(_) => StatusCode::NOT_FOUND,
        Refusal::NotAllowed(_) => StatusCode::FORBIDDEN,
        Refusal::Conflict(_) => StatusCode::CONFLICT,
        Refusal::NotRecorded(_) => StatusCode::INSUFFICIENT_STORAGE,
    };
    (status, format!("Not recorded: {refusal}."))
}

/// A wrong word or signature; the person hears of it when there were too many.
async fn missed(web: &Web, opened: &Opened) {
    if web.locks.miss(&opened.slot.id) {
        let until = Seconds(REST.as_secs()).after(opened.frame.now);
        let (request, person) = (opened.request.id, opened.slot.person.clone());
        web.app.inbox.tell(Event::VoteRests { request, person, until }).await;
    }
}

/// Whether a form may be put to the core. `Err`: the status, what the page then says, and whether that was a try.
fn judge(
    web: &Web,
    opened: &Opened,
    visitor: &Visitor,
    form: &VoteForm,
) -> Result<(Verdict, FormState), (StatusCode, FormState, bool)> {
    let slot = &opened.slot.id;
    let reason: String = form.reason.trim().chars().take(REASON_MAX).collect();
    let state = |error: &str| FormState { error: error.to_owned(), reason: reason.clone(), ..FormState::default() };
    if !web.app.keys.form_holds(&form.csrf, &visitor.value, slot) {
        let why =
            "Nothing was recorded: the form was from another visit. Here it is anew; please fill it in once more.";
        return Err((StatusCode::FORBIDDEN, state(why), false));
    }
    if let Some(old) = opened.request.votes.iter().find(|vote| vote.by == opened.slot.person.as_str()) {
        let same = form.verdict == old.verdict.word();
        let status = if same { StatusCode::OK } else { StatusCode::CONFLICT };
        let error = if same { "" } else { "You have voted already; the first vote holds." };
        return Err((status, state(error), false));
    }
    if !opened.request.is_live() {
        return Err((StatusCode::CONFLICT, state("Not recorded: it is decided already."), false));
    }
    if web.locks.rests(slot) {
        let why = "Not recorded: too many wrong answers. This link rests for 15 minutes.";
        return Err((StatusCode::TOO_MANY_REQUESTS, state(why), false));
    }
    let environment = &opened.request.tuple.environment;
    let otherwise = opened.asked.signing.is_some() || opened.asked.coded;
    let by_word = !otherwise || form.verdict != Verdict::Approve.word();
    if by_word && form.word.trim() != environment.as_str() {
        let to = if otherwise { "to reject" } else { "to vote" };
        let why = format!("Not recorded: {to}, type the word {environment}.");
        return Err((StatusCode::UNPROCESSABLE_ENTITY, state(&why), true));
    }
    let Ok(verdict) = form.verdict.parse::<Verdict>() else {
        return Err((StatusCode::UNPROCESSABLE_ENTITY, state("Not recorded: use one of the two buttons."), false));
    };
    if verdict == Verdict::Reject && reason.is_empty() {
        let why = "Not recorded: a rejection needs a reason. The others read it.";
        return Err((StatusCode::UNPROCESSABLE_ENTITY, state(why), false));
    }
    Ok((verdict, state("")))
}

fn answer(web: &Web, opened: &Opened, visitor: Visitor, status: StatusCode, state: &FormState) -> Response {
    let proof = web.app.keys.form_proof(&visitor.value, &opened.slot.id);
    visitor.with(page(status, &approve_page::build(opened, &web.app.site, proof, state)))
}

/// The request that a token opens, as it stands now. Every failure is the same page.
async fn open(web: &Web, token: Result<Path<String>, PathRejection>) -> Result<Opened, Trouble> {
    let claim = token.ok().and_then(|Path(token)| Claim::read(&token)).ok_or(Trouble::NotFound)?;
    look(web, claim).await
}

async fn look(web: &Web, claim: Claim) -> Result<Opened, Trouble> {
    let (reader, keys) = (web.app.reader.clone(), web.app.keys.clone());
    let wanted = claim.slot();
    let found = blocking(move || reader.request_of_slot(&wanted)).await?;
    let request = found.ok_or(Trouble::NotFound)?;
    let slot = keys.verify(&claim, &request).cloned().ok_or(Trouble::NotFound)?;
    let run = request.run.clone();
    let seen = web.app.inbox.look(move |world, now| {
        let waits = world.run(&run).and_then(|run| crate::pipeline::waits(world, run, now));
        (world.scratch.catalog.clone(), waits, now)
    });
    let (catalog, waits, now) = seen.await.ok_or(Trouble::Stopping)?;
    let sources = Sources {
        reader: web.app.reader.clone(),
        keys,
        catalog,
        host: web.app.site.host.clone(),
        read_log: web.app.read_log.clone(),
    };
    let request = as_of(request, now);
    blocking(move || {
        let (asked, frame) = sources.asked_now(request.clone(), slot.clone(), now)?;
        Ok(Opened { claim, request, slot, asked, frame, waits })
    })
    .await
}

/// Its time may be over before the core has looked.
fn as_of(request: Request, now: crate::model::time::Timestamp) -> Request {
    if request.is_open() && request.expires_at <= now {
        return Request { state: RequestState::Expired { at: request.expires_at }, ..request };
    }
    request
}
