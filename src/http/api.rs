//! JSON over the control socket, schema 1. Whoever may open the socket may read and start things; a vote
//! is a person's, known by the caller's login (SO_PEERCRED). What comes of it is decided by the core.

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use crate::model::catalog::PipelineState;
use crate::model::event::{Ballot, Event, Refusal, Reply, RunRequest};
use crate::model::name::{JobKey, PersonName, PipelineName, RunRef};
use crate::model::request::Verdict;
use crate::model::view::{
    AnswerView, ApprovalsView, CancelOrder, ErrorView, HistoryView, LogChunk, NextView, PollOrder, ReloadView,
    ResolveOrder, RetryOrder, RunOrder, RunView, SCHEMA, StatusView, VoteOrder,
};

use super::views::{self, Scope, ViewError};
use super::votes::NotCoded;
use super::{App, Peer};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HistoryQuery {
    pipeline: Option<PipelineName>,
    job: Option<JobKey>,
    failed: bool,
    n: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NextQuery {
    job: Option<JobKey>,
    n: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LogQuery {
    attempt: Option<u32>,
    from: u64,
    max: Option<u64>,
}

/// All routes of the control socket.
pub fn routes() -> Router<App> {
    let api = Router::new()
        .route("/status", get(status))
        .route("/history", get(history))
        .route("/runs/{id}", get(run))
        .route("/runs/{id}/log", get(log))
        .route("/next", get(next))
        .route("/approvals", get(approvals))
        .route("/run", post(start))
        .route("/cancel", post(cancel))
        .route("/retry", post(retry))
        .route("/approve", post(approve))
        .route("/reject", post(reject))
        .route("/resolve", post(resolve))
        .route("/reload", post(reload))
        .route("/poll", post(poll))
        .merge(super::times::routes())
        .merge(super::repos::routes())
        .merge(super::votes::routes())
        .merge(super::prune::routes())
        .merge(super::log_times::routes())
        .merge(super::doctor::routes());
    Router::new().nest("/api/v1", api).fallback(nothing_here)
}

/// A request that is answered with no.
#[derive(Debug)]
pub(super) struct No {
    status: StatusCode,
    kind: &'static str,
    text: String,
}

impl No {
    pub(super) fn new(status: StatusCode, kind: &'static str, text: impl Into<String>) -> Self {
        Self { status, kind, text: text.into() }
    }

    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", text)
    }

    pub(super) fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", text)
    }

    pub(super) fn conflict(text: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", text)
    }

    pub(super) fn internal(text: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", text)
    }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let body = ErrorView { schema: SCHEMA, kind: self.kind.into(), error: self.text };
        (self.status, Json(body)).into_response()
    }
}

impl From<ViewError> for No {
    fn from(error: ViewError) -> Self {
        let text = error.to_string();
        match error {
            ViewError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "not-found", text),
            ViewError::Stopping => Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-recorded", text),
            ViewError::Store(_) | ViewError::Other(_) => Self::internal(text),
        }
    }
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        match refusal {
            Refusal::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "not-found", text),
            Refusal::NotAllowed(_) => Self::new(StatusCode::FORBIDDEN, "not-allowed", text),
            Refusal::Conflict(_) => Self::new(StatusCode::CONFLICT, "conflict", text),
            Refusal::NotRecorded(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-recorded", text),
        }
    }
}

impl From<JsonRejection> for No {
    fn from(error: JsonRejection) -> Self {
        Self::bad(error.body_text())
    }
}

impl From<QueryRejection> for No {
    fn from(error: QueryRejection) -> Self {
        Self::bad(error.body_text())
    }
}

pub(super) type Answer<T> = Result<Json<T>, No>;
pub(super) type Body<T> = Result<Json<T>, JsonRejection>;
pub(super) type Asked<T> = Result<Query<T>, QueryRejection>;

async fn nothing_here() -> No {
    No::new(StatusCode::NOT_FOUND, "not-found", "there is no such route; everything lies below /api/v1")
}

async fn status(State(app): State<App>) -> Answer<StatusView> {
    Ok(Json(views::status(&app).await?))
}

async fn history(State(app): State<App>, query: Asked<HistoryQuery>) -> Answer<HistoryView> {
    let Query(query) = query?;
    let scope = Scope { pipeline: query.pipeline, job: query.job, failed: query.failed, n: query.n.unwrap_or(20) };
    Ok(Json(views::history(&app, scope).await?))
}

pub(super) fn run_of(id: &str) -> Result<RunRef, No> {
    RunRef::from_id(id)
        .map_err(|_| No::bad(format!("`{}` is no run's id; one is written pipeline.job.42", id.escape_debug())))
}

async fn run(State(app): State<App>, Path(id): Path<String>) -> Answer<RunView> {
    Ok(Json(views::run(&app, &run_of(&id)?).await?))
}

async fn log(State(app): State<App>, Path(id): Path<String>, query: Asked<LogQuery>) -> Answer<LogChunk> {
    let Query(query) = query?;
    let max = query.max.unwrap_or(256 << 10);
    Ok(Json(views::log(&app, &run_of(&id)?, query.attempt, query.from, max).await?))
}

async fn next(State(app): State<App>, query: Asked<NextQuery>) -> Answer<NextView> {
    let Query(query) = query?;
    Ok(Json(views::next(&app, query.job, query.n.unwrap_or(10)).await?))
}

async fn approvals(State(app): State<App>) -> Answer<ApprovalsView> {
    Ok(Json(views::approvals(&app).await?))
}

/// A caller: the name that is recorded, and the person of shipbell.toml, if it is one.
#[derive(Debug, Clone)]
pub(super) struct Who {
    uid: u32,
    login: String,
    pub(super) person: Option<PersonName>,
}

impl Who {
    pub(super) fn name(&self) -> String {
        self.person.as_ref().map_or_else(|| self.login.clone(), ToString::to_string)
    }
}

pub(super) async fn who(app: &App, peer: Peer) -> Result<Who, No> {
    // The host may ask a directory server for the name.
    let login = tokio::task::spawn_blocking(move || crate::sys::host::user_name_of(peer.uid)).await;
    let login = login.map_err(|error| No::internal(error.to_string()))?;
    let wanted = login.clone();
    let person = app.inbox.look(move |world, _| {
        let mut people = world.scratch.catalog.people.iter();
        people.find(|(_, person)| person.login.as_deref() == Some(&wanted)).map(|(name, _)| name.clone())
    });
    let person = person.await.ok_or(ViewError::Stopping)?;
    Ok(Who { uid: peer.uid, login, person })
}

pub(super) async fn ask(app: &App, event: Event) -> Answer<AnswerView> {
    answer(app.inbox.ask(event).await)
}

fn answer(reply: Reply) -> Answer<AnswerView> {
    let (run, text) = match reply {
        Reply::Done => (None, String::new()),
        Reply::Run(run) => (Some(run), String::new()),
        Reply::Vote { text, .. } | Reply::Told(text) => (None, text),
        // Asked for through a route of its own.
        Reply::Backfill { rows, .. } => (None, format!("{} due times", rows.len())),
        Reply::Refused(refusal) => return Err(refusal.into()),
    };
    Ok(Json(AnswerView { schema: SCHEMA, run, text }))
}

async fn start(State(app): State<App>, Extension(peer): Extension<Peer>, order: Body<RunOrder>) -> Answer<AnswerView> {
    let Json(order) = order?;
    let by = who(&app, peer).await?.name();
    let request = RunRequest { job: order.job, git_ref: order.git_ref, params: order.params, by };
    ask(&app, Event::RunRequested(request)).await
}

async fn cancel(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    order: Body<CancelOrder>,
) -> Answer<AnswerView> {
    let Json(order) = order?;
    let run = views::stored_run(&app, &order.run).await?;
    if let Some(outcome) = run.outcome() {
        let text = format!("{} is over: {outcome}", run.run);
        return Err(No::new(StatusCode::CONFLICT, "conflict", text));
    }
    let by = who(&app, peer).await?.name();
    ask(&app, Event::CancelRequested { run: order.run, by }).await
}

async fn retry(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    order: Body<RetryOrder>,
) -> Answer<AnswerView> {
    let Json(order) = order?;
    let old = Box::new(views::stored_run(&app, &order.run).await?);
    let by = who(&app, peer).await?.name();
    ask(&app, Event::RetryRequested { run: order.run, by, old, gone: Vec::new() }).await
}

async fn approve(State(app): State<App>, peer: Extension<Peer>, order: Body<VoteOrder>) -> Answer<AnswerView> {
    vote(&app, peer.0, order?.0, Verdict::Approve).await
}

async fn reject(State(app): State<App>, peer: Extension<Peer>, order: Body<VoteOrder>) -> Answer<AnswerView> {
    vote(&app, peer.0, order?.0, Verdict::Reject).await
}

async fn vote(app: &App, peer: Peer, order: VoteOrder, verdict: Verdict) -> Answer<AnswerView> {
    views::stored_run(app, &order.run).await?;
    let who = who(app, peer).await?;
    if who.person.is_none() && who.uid != 0 {
        let text = format!(
            "you are {}, and no [person] of shipbell.toml has login = \"{}\"\n  vote by the link in your mail, or have it added",
            who.login, who.login
        );
        return Err(No::new(StatusCode::FORBIDDEN, "not-allowed", text));
    }
    let (request, signed) = match &order.signature {
        Some(given) => super::votes::prove(app, &order.run, who.person.clone(), given)
            .await
            .map(|(id, signed)| (Some(id), Some(signed)))?,
        None => (None, None),
    };
    let ballot = Ballot {
        run: order.run,
        request,
        person: who.person,
        verdict,
        reason: order.reason,
        via: "socket".into(),
        signed,
        coded: false,
    };
    let ballot = match &order.code {
        Some(code) => match super::votes::coded(app, ballot, code).await {
            Ok(ballot) => ballot,
            Err(NotCoded::Answered(reply)) => return answer(reply),
            Err(NotCoded::Said(status, why)) if status.is_server_error() => {
                return Err(No::new(status, "not-recorded", why));
            }
            Err(NotCoded::Said(_, why)) => return Err(No::conflict(why)),
        },
        None => ballot,
    };
    ask(app, Event::Voted(ballot)).await
}

async fn resolve(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    order: Body<ResolveOrder>,
) -> Answer<AnswerView> {
    let Json(order) = order?;
    let by = who(&app, peer).await?.name();
    let ResolveOrder { pipeline, environment, deployed: as_deployed } = order;
    ask(&app, Event::Resolved { pipeline, environment, as_deployed, by }).await
}

async fn reload(State(app): State<App>) -> Answer<ReloadView> {
    let report = app.inbox.reload().await.ok_or(ViewError::Stopping)?;
    let (files_ok, files_broken, problems) = (report.files_ok, report.files_broken, report.problems);
    Ok(Json(ReloadView { schema: SCHEMA, files_ok, files_broken, problems }))
}

async fn poll(State(app): State<App>, order: Body<PollOrder>) -> Answer<AnswerView> {
    let Json(order) = order?;
    let name = order.pipeline.clone();
    let found = app.inbox.look(move |world, _| {
        let off = |state: &PipelineState| match state {
            PipelineState::Off { why, .. } => Some(why.clone()),
            PipelineState::Ok | PipelineState::LastGood { .. } => None,
        };
        world.pipeline(&name).map(|pipeline| (pipeline.repo.is_some(), off(&pipeline.state)))
    });
    match found.await.ok_or(ViewError::Stopping)? {
        None => {
            let text = format!("there is no pipeline {}\n  all pipelines: shipbell status", order.pipeline);
            return Err(No::new(StatusCode::NOT_FOUND, "not-found", text));
        }
        Some((_, Some(why))) => {
            let text = format!("{} is off, so its repository is not asked: {why}\n  shipbell check", order.pipeline);
            return Err(No::new(StatusCode::CONFLICT, "conflict", text));
        }
        Some((false, None)) => return Err(No::bad(format!("{} has no repository to ask", order.pipeline))),
        Some((true, None)) => app.inbox.poll(order.pipeline).await,
    }
    Ok(Json(AnswerView { schema: SCHEMA, run: None, text: String::new() }))
}
