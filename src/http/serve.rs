//! How connections to the pages are held: so many at one time, each with so long for its headers, so that
//! whoever sends them drop by drop keeps nobody else out. What is answered is the router's.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Open connections; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 768;
/// For the headers of a request, and for the next request on a kept connection.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// From the headers to the beginning of the answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// After a failed accept: the host is out of something (file descriptors), and asking at once helps nobody.
const REST: Duration = Duration::from_millis(100);

/// Serves until `stop` comes; requests under way are answered.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()> + Send) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (ending, ended) = watch::channel(false);
    let mut stop = pin!(stop);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            () = &mut stop => break,
            (place, accepted) = next => match (place, accepted) {
                (Ok(place), Ok((stream, _))) => {
                    tokio::spawn(connection(stream, router.clone(), ended.clone(), place));
                }
                (_, Err(error)) => {
                    tracing::warn!("a connection could not be taken: {error}");
                    tokio::time::sleep(REST).await;
                }
                (Err(_), _) => break,
            },
        }
    }
    drop(listener);
    ending.send_replace(true);
    // All places are free again when the last connection has ended.
    let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
    let _ = places.acquire_many(all).await;
}

async fn connection(stream: TcpStream, router: Router, mut ended: watch::Receiver<bool>, _place: OwnedSemaphorePermit) {
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN).max_buf_size(64 << 10);
    let serving = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut serving = pin!(serving);
    let served = tokio::select! {
        served = &mut serving => Some(served),
        // Said once, or its sender is gone: both mean the end.
        _ = ended.changed() => None,
    };
    let served = match served {
        Some(served) => served,
        None => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("a connection ended: {error}");
    }
}

/// Gives up a request whose answer does not begin in time, as when its body does not come.
pub async fn in_time(request: Request, next: Next) -> Response {
    let late = |_| (StatusCode::REQUEST_TIMEOUT, "not within 30 seconds\n").into_response();
    tokio::time::timeout(ANSWER_WITHIN, next.run(request)).await.unwrap_or_else(late)
}
