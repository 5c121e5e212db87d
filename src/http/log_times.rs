//! The route that tells when which byte of a log came: what the supervisor wrote down by the second, and
//! the beginnings and ends of steps, which are exact.

use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;

use crate::model::name::RunRef;
use crate::model::time::Timestamp;
use crate::model::view::{LogTimesView, SCHEMA, StepSpan};

use super::App;
use super::api::{Answer, Asked, No, run_of};
use super::views::{self, ViewError};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TimesQuery {
    attempt: Option<u32>,
}

pub(super) fn routes() -> Router<App> {
    Router::new().route("/runs/{id}/times", get(times))
}

async fn times(State(app): State<App>, Path(id): Path<String>, query: Asked<TimesQuery>) -> Answer<LogTimesView> {
    let (name, Query(query)) = (run_of(&id)?, query?);
    let run = views::stored_run(&app, &name).await?;
    let attempt = query.attempt.unwrap_or(run.attempt);
    let view = tokio::task::spawn_blocking(move || known(&app, &name, attempt)).await;
    Ok(Json(view.map_err(|error| No::internal(error.to_string()))??))
}

/// What is known of an attempt; it reads files and the database.
pub(super) fn known(app: &App, run: &RunRef, attempt: u32) -> Result<LogTimesView, ViewError> {
    let (attempts, steps) = (app.reader.attempts(run)?, app.reader.steps(run, attempt)?);
    let written = (app.log_times)(run, attempt);
    let written = written.map_err(|error| ViewError::Other(format!("its times cannot be read: {error}")))?;
    let begun = attempts.iter().find(|one| one.attempt == attempt);
    let mut times: Vec<(u64, Timestamp)> =
        begun.map(|one| (0, one.started_at.unwrap_or(one.launched_at))).into_iter().collect();
    times.extend(written.into_iter().filter_map(|(at, ms)| Some((at, Timestamp::from_millisecond(ms).ok()?))));
    times.extend(steps.iter().map(|step| (step.log_from, step.started_at)));
    times.extend(steps.iter().filter_map(|step| step.log_to.zip(step.finished_at)));
    times.sort_by_key(|(offset, _)| *offset);
    let span = |step: &crate::model::run::StepReport| StepSpan {
        index: step.index,
        name: step.name.clone(),
        from: step.log_from,
        to: step.log_to,
    };
    Ok(LogTimesView { schema: SCHEMA, attempt, times, steps: steps.iter().map(span).collect() })
}
