//! The route of `shipbell prune`: the daemon's loop carries it out.

use axum::extract::{Extension, State};
use axum::routing::post;
use axum::{Json, Router};

use crate::model::view::{PruneOrder, PruneView};

use super::api::{Answer, Body, No, who};
use super::views::ViewError;
use super::{App, Peer};

pub(super) fn routes() -> Router<App> {
    Router::new().route("/prune", post(prune))
}

async fn prune(State(app): State<App>, Extension(peer): Extension<Peer>, order: Body<PruneOrder>) -> Answer<PruneView> {
    let Json(order) = order?;
    let by = who(&app, peer).await?.name();
    let view = app.inbox.prune(by, order.dry_run).await.ok_or(ViewError::Stopping)?;
    view.map(Json).map_err(No::internal)
}
