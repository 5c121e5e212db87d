//! Routes of the repositories: how each is asked, and a trial of one. The trial runs here, in the daemon,
//! with its user, its network and its credentials: that is what a poll will have.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};

use crate::model::catalog::Address;
use crate::model::forge::HookCount;
use crate::model::name::PipelineName;
use crate::model::time::{Seconds, Timestamp};
use crate::model::view::{HookRow, RepoRow, RepoTestOrder, RepoTestView, ReposView, SCHEMA, TrialState};
use crate::source::{SiteState, repeated_url};

use super::App;
use super::api::{Answer, Body};
use super::views::{look, read};

/// A trial gives up before the command that waits for it.
const TRIAL_MAX: Duration = Duration::from_secs(20);

pub(super) fn routes() -> Router<App> {
    Router::new().route("/repos", get(repos)).route("/repos/test", post(test))
}

/// Who uses a repository, and how often it is to be asked.
type Users = BTreeMap<Address, (Vec<PipelineName>, Seconds)>;

async fn repos(State(app): State<App>) -> Answer<ReposView> {
    let users = look(&app, |world, now| {
        let mut users = Users::new();
        for (name, pipeline) in &world.scratch.catalog.pipelines {
            let Some(repo) = &pipeline.repo else { continue };
            let (names, every) = users.entry(repo.address()).or_insert_with(|| (Vec::new(), repo.poll));
            names.push(name.clone());
            *every = (*every).min(repo.poll);
        }
        (users, now)
    });
    let (users, now) = users.await?;
    let states = app.sites.all();
    let hooks = read(&app, move |reader| reader.hook_counts(now)).await?;
    let rows = users.into_iter().map(|(at, users)| row(&at, users, states.get(&at), &hooks, now)).collect();
    Ok(Json(ReposView { schema: SCHEMA, now, rows }))
}

fn row(
    at: &Address,
    (pipelines, every): (Vec<PipelineName>, Seconds),
    state: Option<&SiteState>,
    hooks: &BTreeMap<PipelineName, HookCount>,
    now: Timestamp,
) -> RepoRow {
    let last = state.and_then(SiteState::last);
    let whole = |took: Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let hook = |name: &PipelineName| hooks.get(name).map(|count| HookRow { pipeline: name.clone(), count: *count });
    RepoRow {
        hooks: pipelines.iter().filter_map(hook).collect(),
        url: at.url.clone(),
        credential: at.credential.clone(),
        pipelines,
        every,
        head: state.and_then(|state| state.head.as_ref()).map(|head| head.short().to_owned()),
        commit: state.and_then(|state| state.commit.clone()),
        last: last.map(|(ago, _)| now.checked_sub(ago).unwrap_or(now)),
        took_ms: last.map(|(_, took)| whole(took)),
        next: state.and_then(SiteState::next).map(|left| now.checked_add(left).unwrap_or(now)),
        asking: state.is_some_and(|state| state.asking),
        failures: state.map_or(0, |state| state.failures),
        error: state.and_then(|state| state.error.clone()),
    }
}

async fn test(State(app): State<App>, order: Body<RepoTestOrder>) -> Answer<RepoTestView> {
    let Json(order) = order?;
    let began = tokio::time::Instant::now();
    let at = Address { url: order.url.clone(), credential: order.credential };
    let steps = app.sites.tools.remotes.trial(&at, order.branch.as_deref(), TRIAL_MAX).await;
    let ok = steps.iter().all(|step| step.state == TrialState::Ok);
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Json(RepoTestView { schema: SCHEMA, url: repeated_url(&order.url), ok, took_ms, steps }))
}
