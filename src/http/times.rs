//! Routes of the clock: why, forecast, pause, resume, backfill. What is long to calculate is done away
//! from the daemon's loop, on what was taken from the World.

use std::collections::BTreeSet;

use axum::extract::{Extension, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::model::backfill::{BackfillOnly, BackfillRequest};
use crate::model::event::{Event, Reply};
use crate::model::ledger::DueVerdict;
use crate::model::moment::{Stretch, Toward, stretch};
use crate::model::name::{JobKey, RunRef};
use crate::model::pause::Scope;
use crate::model::run::Outcome;
use crate::model::time::Timestamp;
use crate::model::view::{
    AnswerView, BackfillOrder, BackfillView, ForecastView, PauseOrder, ResumeOrder, SCHEMA, WhyView,
};
use crate::pipeline::view::{self, Basis, WhyRows};
use crate::pipeline::world::World;
use crate::store::{Reader, RunFilter, StoreError};

use super::api::{Answer, Asked, Body, No, ask, who};
use super::views::{ViewError, job_is_known, look, read};
use super::{App, Peer};

/// Rows of the ledger and lines of the journal that one answer is made of.
const ROWS_MAX: usize = 200;

/// A forecast is for at most a year and a leap day.
const DAYS_MAX: u32 = 366;

#[derive(Debug, Deserialize)]
struct WhyQuery {
    job: JobKey,
    /// As it was typed.
    time: Option<String>,
    /// The caller's zone: that of jobs without a schedule.
    zone: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ForecastQuery {
    days: Option<u32>,
    zone: Option<String>,
}

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/why", get(why))
        .route("/forecast", get(forecast))
        .route("/pause", post(pause))
        .route("/resume", post(resume))
        .route("/backfill", post(backfill))
}

fn zone(name: Option<&str>) -> Result<TimeZone, No> {
    match name {
        None => Ok(TimeZone::UTC),
        Some(name) => {
            TimeZone::get(name).map_err(|_| No::bad(format!("there is no time zone `{}`", name.escape_debug())))
        }
    }
}

async fn why(State(app): State<App>, query: Asked<WhyQuery>) -> Answer<WhyView> {
    let Query(query) = query?;
    job_is_known(&app, query.job.clone()).await?;
    let key = query.job.clone();
    let taken = look(&app, move |world, now| (job_zone(world, &key), wanted(world, &key), now)).await?;
    let (of_job, mut runs, now) = taken;
    let zone = zone(of_job.as_deref().or(query.zone.as_deref()))?;
    let asked = match &query.time {
        None => None,
        Some(text) => Some(stretch(text, now, &zone, Toward::Past).map_err(|error| No::bad(error.to_string()))?),
    };
    let key = query.job.clone();
    let rows = read(&app, move |reader| why_rows(reader, &key, asked, &mut runs)).await?;
    let key = query.job.clone();
    let view = look(&app, move |world, now| view::why(world, &key, asked, &rows, now)).await?;
    view.map(Json).ok_or_else(|| ViewError::NotFound(format!("there is no job {}", query.job)).into())
}

fn job_zone(world: &World, key: &JobKey) -> Option<String> {
    world.job(key)?.definition.schedule.first().map(|rule| rule.zone.clone())
}

/// Runs that the standings of the job's pipeline name: how its needs ended.
fn wanted(world: &World, key: &JobKey) -> BTreeSet<RunRef> {
    let standings = world.live.get(&key.pipeline).into_iter().flat_map(|live| live.standings.values());
    let told = standings.filter_map(|standing| Some((&standing.job, standing.latest.as_ref()?)));
    let tells = told.filter(|(job, latest)| *job == key || latest.outcome != Outcome::Succeeded);
    tells.map(|(_, latest)| latest.upstream.run.clone()).collect()
}

fn why_rows(
    reader: &Reader,
    key: &JobKey,
    asked: Option<Stretch>,
    wanted: &mut BTreeSet<RunRef>,
) -> Result<WhyRows, StoreError> {
    let mut rows = WhyRows {
        ledger: match asked {
            Some(stretch) => reader.ledger_of(key, stretch, ROWS_MAX)?,
            None => reader.ledger(key, 1)?,
        },
        ..WhyRows::default()
    };
    wanted.extend(rows.ledger.iter().filter_map(|row| match &row.verdict {
        DueVerdict::Run(run) | DueVerdict::Coalesced(run) => Some(run.clone()),
        DueVerdict::Skipped(_) => None,
    }));
    for run in wanted.iter() {
        rows.runs.extend(reader.run(run)?.map(|found| (run.clone(), found)));
    }
    let last = RunFilter { job: Some(key.clone()), finished_only: true, limit: 1, ..RunFilter::default() };
    rows.runs.extend(reader.runs(&last)?.into_iter().map(|run| (run.run.clone(), run)));
    rows.journal = reader.journal_beginning(&format!("{key} "), ROWS_MAX)?;
    Ok(rows)
}

async fn forecast(State(app): State<App>, query: Asked<ForecastQuery>) -> Answer<ForecastView> {
    let Query(query) = query?;
    let zone = zone(query.zone.as_deref())?;
    let days = query.days.unwrap_or(30);
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(No::bad(format!("a forecast is for 1 to {DAYS_MAX} days")));
    }
    let (mut basis, now) = look(&app, |world, now| (Basis::of(world), now)).await?;
    let view = read(&app, move |reader| {
        for definition in basis.timed() {
            let key = &definition.key;
            basis.usual.extend(reader.usual(key)?.map(|usual| (key.clone(), usual)));
            if definition.every.is_some() {
                let last = RunFilter { job: Some(key.clone()), finished_only: true, limit: 1, ..RunFilter::default() };
                let ended = reader.runs(&last)?.first().and_then(|run| Some(run.finished()?.at));
                basis.anchors.entry(key.clone()).or_default().ended = ended;
            }
        }
        Ok(view::forecast(&basis, &zone, now, days))
    });
    Ok(Json(view.await?))
}

fn scope(text: &str) -> Result<Scope, No> {
    text.parse().map_err(|_| No::bad(format!("`{}` is no pipeline and no job", text.escape_debug())))
}

async fn pause(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    order: Body<PauseOrder>,
) -> Answer<AnswerView> {
    let Json(order) = order?;
    let by = who(&app, peer).await?.name();
    ask(&app, Event::Paused { scope: scope(&order.scope)?, until: order.until, note: order.note, by }).await
}

async fn resume(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    order: Body<ResumeOrder>,
) -> Answer<AnswerView> {
    let Json(order) = order?;
    let by = who(&app, peer).await?.name();
    ask(&app, Event::Resumed { scope: scope(&order.scope)?, by }).await
}

async fn backfill(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    order: Body<BackfillOrder>,
) -> Answer<BackfillView> {
    let Json(order) = order?;
    job_is_known(&app, order.job.clone()).await?;
    let only = match order.only.as_deref() {
        None => BackfillOnly::Missing,
        Some(word) => word.parse().map_err(|_| No::bad("`only` is missing, failed or all"))?,
    };
    let by = who(&app, peer).await?.name();
    let (job, from, to) = (order.job, order.from, order.to);
    let known = Vec::new();
    let request = BackfillRequest { job: job.clone(), from, to, only, dry_run: order.dry_run, by, known };
    let (dry_run, rows, left_out) = match app.inbox.ask(Event::BackfillRequested(request)).await {
        Reply::Backfill { dry_run, rows, left_out } => (dry_run, rows, left_out),
        Reply::Refused(refusal) => return Err(refusal.into()),
        _ => return Err(No::internal("the answer is none of a backfill")),
    };
    let rows: Vec<(Timestamp, Option<RunRef>)> = rows.into_iter().map(|row| (row.due, row.run)).collect();
    let key = job.clone();
    let (zone, now) = look(&app, move |world, now| (job_zone(world, &key), now)).await?;
    Ok(Json(BackfillView { schema: SCHEMA, now, job, zone, dry_run, rows, left_out }))
}
