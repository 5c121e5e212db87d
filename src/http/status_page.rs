//! The first page: what needs a person, how every pipeline's jobs stand for its commits, what runs, waits and
//! comes next. The same picture as `shipbell status`, from the same builder.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use crate::http::show::{self, Badge, Times, Trouble, cell, commit, page};
use crate::http::{Web, views};
use crate::model::view::{CellView, CommitRow, FileState, PipelineView, StatusView};
use crate::report::when;

/// Seconds until the page is fetched anew while something goes on, and else.
const BUSY: u32 = 5;
const QUIET: u32 = 60;

#[derive(Template)]
#[template(path = "status.html")]
struct StatusPage {
    host: String,
    refresh: u32,
    times: Times,
    view: StatusView,
}

pub async fn show(State(web): State<Web>) -> Result<Response, Trouble> {
    let view = views::status(&web.app).await?;
    let zone = web.app.inbox.look(|world, _| world.scratch.catalog.settings.timezone.clone());
    let zone = zone.await.ok_or(Trouble::Stopping)?;
    let refresh = if view.running.is_empty() && view.waiting.is_empty() { QUIET } else { BUSY };
    let times = Times { zone: when::zone(&zone), now: view.now };
    Ok(page(StatusCode::OK, &StatusPage { host: web.app.site.host.clone(), refresh, times, view }))
}

impl StatusPage {
    fn up(&self) -> String {
        when::span(self.view.site.started_at, self.view.now).to_string()
    }

    fn disk(&self) -> String {
        self.view.disk_free.map(|free| format!("{:.1} GB free", to_gb(free))).unwrap_or_default()
    }

    fn broken(&self, pipeline: &PipelineView) -> Option<String> {
        let problem = cell(pipeline.problem.as_deref().unwrap_or_default());
        match pipeline.state {
            FileState::Ok => None,
            FileState::LastGood => Some(format!("The last good version tests on, deployments are held: {problem}")),
            FileState::Off => Some(format!("Off, nothing starts: {problem}")),
        }
    }

    fn commit_text(&self, row: &CommitRow) -> String {
        row.commit.as_ref().map(commit).unwrap_or_default()
    }

    /// Beside the badge: when it ended and how long it took, or what it waits for.
    fn cell_text(&self, view: &CellView) -> String {
        let mut parts = Vec::new();
        let text = cell(&view.text);
        if !text.is_empty() && text != Badge::of_cell(&view.state).word {
            parts.push(text);
        }
        parts.extend(view.at.iter().map(|at| self.times.near(at)));
        parts.extend(view.took.iter().map(ToString::to_string));
        parts.join(" · ")
    }
}

/// For people: a tenth is enough.
fn to_gb(bytes: u64) -> f64 {
    let tenths = u32::try_from(bytes / 100_000_000).unwrap_or(u32::MAX);
    f64::from(tenths) / 10.0
}
