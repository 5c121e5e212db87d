//! What is answered while the database is damaged: to every question the same, on the pages and to the
//! commands. Nothing is read, decided or taken.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use tokio::net::{TcpListener, UnixListener};

use crate::model::view::{ErrorView, SCHEMA};

use super::{Caller, guard, patience, serve};

/// People read it as it is.
async fn page(State(why): State<String>) -> Response {
    let text = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (StatusCode::SERVICE_UNAVAILABLE, text, format!("Shipbell starts nothing.\n\n{why}\n")).into_response()
}

/// Commands say it in their way.
async fn answer(State(why): State<String>) -> Response {
    let view = ErrorView { schema: SCHEMA, kind: "internal".into(), error: why };
    (StatusCode::SERVICE_UNAVAILABLE, axum::Json(view)).into_response()
}

/// Serves the pages until `stop` comes. Where this host keeps its files is not for everybody.
pub async fn serve_damaged_pages(listener: TcpListener, stop: impl Future<Output = ()> + Send + 'static) {
    let why = "Its database is damaged. On the host: shipbell status".to_owned();
    let router = Router::new().fallback(page).with_state(why).layer(from_fn(guard::headers));
    serve::serve(listener, router, stop).await;
}

/// Serves the commands until `stop` comes.
///
/// # Errors
/// If the listener cannot be used.
pub async fn serve_damaged_control(
    listener: UnixListener,
    why: String,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let (stop, late) = patience(stop);
    let router = Router::new().fallback(answer).with_state(why);
    let service = router.into_make_service_with_connect_info::<Caller>();
    let serve = axum::serve(listener, service).with_graceful_shutdown(stop);
    tokio::select! {
        ended = serve => ended,
        () = late => Ok(()),
    }
}
