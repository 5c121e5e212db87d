//! What all pages share: rendering, the style sheet, pages that say what went wrong, and how facts are
//! written for a reader.

use askama::Template;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use jiff::tz::TimeZone;

use crate::http::views::ViewError;
use crate::model::commit::CommitInfo;
use crate::model::name::RunRef;
use crate::model::run::{Cause, Outcome, Run, RunState};
use crate::model::time::{Seconds, Timestamp};
use crate::model::view::CellState;
use crate::report::{display, when};
use crate::store::StoreError;

/// The one style sheet.
const STYLE: &str = include_str!("../../templates/style.css");

pub async fn style() -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600")];
    (headers, STYLE)
}

/// A page that only says something.
#[derive(Template)]
#[template(path = "say.html")]
struct Say {
    host: String,
    refresh: u32,
    title: String,
    lines: Vec<String>,
}

/// Renders a page.
pub fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "this page could not be made\n").into_response(),
    }
}

/// A page of a heading and some sentences.
pub fn say(status: StatusCode, title: &str, lines: &[&str]) -> Response {
    let lines = lines.iter().map(|line| display::line(line, 500)).collect();
    page(status, &Say { host: String::new(), refresh: 0, title: title.into(), lines })
}

/// The same for everything that is not there: nobody learns which part was wrong.
pub async fn nothing_here() -> Response {
    not_found()
}

pub fn not_found() -> Response {
    say(
        StatusCode::NOT_FOUND,
        "Nothing here",
        &["There is no such page, or the link is not whole. If it came by mail, copy the whole line."],
    )
}

/// Why a page cannot be shown now.
#[derive(Debug)]
pub enum Trouble {
    NotFound,
    /// It was there; what became of it.
    Gone(String),
    Stopping,
    Store(String),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

impl From<ViewError> for Trouble {
    fn from(error: ViewError) -> Self {
        match error {
            ViewError::NotFound(_) => Self::NotFound,
            ViewError::Stopping => Self::Stopping,
            ViewError::Store(error) => error.into(),
            ViewError::Other(why) => Self::Store(why),
        }
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        match self {
            Self::NotFound => not_found(),
            Self::Gone(what) => say(StatusCode::GONE, "Removed", &[&what]),
            Self::Stopping => say(
                StatusCode::SERVICE_UNAVAILABLE,
                "Shipbell is stopping",
                &["Nothing was changed. Try again in a moment."],
            ),
            Self::Store(why) => {
                say(StatusCode::INTERNAL_SERVER_ERROR, "The database cannot be read", &[&why, "Nothing was changed."])
            }
        }
    }
}

/// Reads of the store block; they have threads of their own.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Trouble> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Trouble::from),
        Err(_) => Err(Trouble::Store("reading was cut off".into())),
    }
}

/// How times are written on one page.
#[derive(Debug, Clone)]
pub struct Times {
    pub zone: TimeZone,
    pub now: Timestamp,
}

impl Times {
    #[must_use]
    pub fn near(&self, at: &Timestamp) -> String {
        when::near(*at, &self.zone, self.now)
    }

    #[must_use]
    pub fn exact(&self, at: &Timestamp) -> String {
        when::exact(*at, &self.zone)
    }

    #[must_use]
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().filter(|name| *name != "Etc/UTC").unwrap_or("UTC")
    }

    /// `in 4m`, or nothing for what is past.
    #[must_use]
    pub fn left(&self, at: &Timestamp) -> String {
        if *at > self.now { format!("in {}", when::span(self.now, *at)) } else { "now".into() }
    }
}

/// A span, or a dash.
#[must_use]
pub fn span(seconds: Option<&Seconds>) -> String {
    seconds.map_or_else(|| "–".into(), ToString::to_string)
}

/// The page of a run.
#[must_use]
pub fn href(run: &RunRef) -> String {
    format!("/{}/{}/{}", run.job.pipeline, run.job.job, run.number)
}

/// The run that a run came from.
#[must_use]
pub fn cause_run(run: &Run) -> Option<&RunRef> {
    match &run.cause {
        Cause::Needs { run } | Cause::Retry { of: run, .. } | Cause::Rollback { deployment: run, .. } => Some(run),
        Cause::Schedule { .. } | Cause::Commit { .. } | Cause::Manual { .. } | Cause::Backfill { .. } => None,
    }
}

/// A stranger's text in a cell.
#[must_use]
pub fn cell(text: &str) -> String {
    display::line(text, 120)
}

/// `7848d7c fix: … (chen)`.
#[must_use]
pub fn commit(info: &CommitInfo) -> String {
    crate::report::message::commit_line(info)
}

/// A state as a reader sees it: class for the colour, a sign and a word, so that neither is needed alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Badge {
    pub class: &'static str,
    pub sign: &'static str,
    pub word: &'static str,
}

const fn badge(class: &'static str, sign: &'static str, word: &'static str) -> Badge {
    Badge { class, sign, word }
}

impl Badge {
    #[must_use]
    pub fn good() -> Self {
        badge("ok", "✓", "ok")
    }

    #[must_use]
    pub fn runs() -> Self {
        badge("runs", "▸", "runs")
    }

    #[must_use]
    pub fn bad(word: &'static str) -> Self {
        badge("bad", "✗", word)
    }

    #[must_use]
    pub fn quiet(sign: &'static str, word: &'static str) -> Self {
        badge("quiet", sign, word)
    }

    #[must_use]
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    pub fn of_outcome(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Succeeded => badge("ok", "✓", "ok"),
            Outcome::Failed => badge("bad", "✗", "FAILED"),
            Outcome::TimedOut => badge("bad", "✗", "TIMED OUT"),
            Outcome::Interrupted => badge("bad", "✗", "INTERRUPTED"),
            Outcome::Unknown => badge("bad", "?", "UNKNOWN"),
            Outcome::Cancelled => badge("quiet", "–", "cancelled"),
            Outcome::Skipped => badge("quiet", "–", "skipped"),
        }
    }

    #[must_use]
    pub fn of_run(run: &Run) -> Self {
        match &run.state {
            RunState::Queued { .. } => badge("waits", "…", "waits"),
            RunState::Running { .. } => badge("runs", "▸", "runs"),
            RunState::Finished(finished) => Self::of_outcome(&finished.outcome),
        }
    }

    #[must_use]
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    pub fn of_cell(state: &CellState) -> Self {
        match state {
            CellState::Ok => badge("ok", "✓", "ok"),
            CellState::Failed => badge("bad", "✗", "FAILED"),
            CellState::Running => badge("runs", "▸", "runs"),
            CellState::Waits => badge("waits", "…", "waits"),
            CellState::Live => badge("live", "●", "LIVE"),
            CellState::Ended => badge("quiet", "–", "ended"),
            CellState::Unknown => badge("bad", "?", "UNKNOWN"),
            CellState::Blocked => badge("quiet", "·", "blocked"),
            CellState::Never => badge("quiet", "–", "not yet"),
        }
    }
}
