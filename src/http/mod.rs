//! Shipbell over HTTP: pages for people on TCP, and the control socket for the commands. Handlers read
//! the store, look at the World and ask the inbox; they decide nothing. What is safe to answer at all (host,
//! size, headers) is `guard`'s; the one page that changes something is `approve`.

pub mod api;
mod approve;
mod approve_page;
mod damaged;
pub mod doctor;
mod guard;
pub mod hooks;
mod log_page;
mod log_times;
mod prune;
mod removed;
mod repos;
mod rows;
mod run_page;
mod serve;
mod show;
mod status_page;
mod times;
pub mod views;
/// Signed votes, and root's word without any.
mod votes;

pub use damaged::{serve_damaged_control, serve_damaged_pages};
pub use votes::TakeCode;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use tokio::net::{TcpListener, UnixListener};

use crate::credentials::Credentials;
use crate::inbox::Inbox;
use crate::model::name::RunRef;
use crate::model::time::Timestamp;
use crate::model::view::SiteView;
use crate::report::facts::ReadLog;
use crate::report::token::Keys;
use crate::source::Sites;
use crate::store::Reader;

/// More than any form of ours needs.
const BODY_MAX: usize = 16 << 10;

/// How long a stop waits for those who are still being answered.
const PATIENCE: Duration = Duration::from_secs(5);

/// Offsets in a run's log, and when the byte there came, in milliseconds since 1970.
pub type LogTimes = Arc<dyn Fn(&RunRef, u32) -> io::Result<Vec<(u64, i64)>> + Send + Sync>;

/// What the handlers work with.
#[derive(Clone)]
pub struct App {
    pub inbox: Inbox,
    pub reader: Reader,
    /// Reads of runs' logs; blocking.
    pub read_log: ReadLog,
    /// Reads which byte of a log came when; blocking.
    pub log_times: LogTimes,
    pub keys: Arc<Keys>,
    /// Hands a person's code to the executor; blocking.
    pub take_code: TakeCode,
    /// What the daemon itself logs in with, and the secrets of web hooks.
    pub credentials: Credentials,
    pub site: Arc<Site>,
    /// How repositories are asked.
    pub sites: Sites,
}

/// What this Shipbell is called from outside.
#[derive(Debug, Clone)]
pub struct Site {
    /// What links begin with, without a trailing slash. From the configuration, never from a request.
    pub public_url: String,
    pub host: String,
    pub version: String,
    pub started_at: Timestamp,
    /// Values of `Host` that are answered.
    pub allowed_hosts: Vec<String>,
    /// Every run is a unit of systemd.
    pub units: bool,
    /// What starts runs is a process that the network does not reach.
    pub executor_apart: bool,
}

impl Site {
    /// `listen` is the address that pages are served on.
    #[must_use]
    pub fn new(public_url: &str, listen: &str, host: &str, started_at: Timestamp) -> Self {
        Self {
            public_url: public_url.trim_end_matches('/').to_owned(),
            host: host.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at,
            allowed_hosts: guard::hosts(public_url, listen),
            units: false,
            executor_apart: false,
        }
    }

    /// The same, as it is shown.
    #[must_use]
    pub fn view(&self) -> SiteView {
        SiteView {
            host: self.host.clone(),
            version: self.version.clone(),
            started_at: self.started_at,
            public_url: self.public_url.clone(),
        }
    }
}

/// Who is at the other end of the control socket, as the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub uid: u32,
}

/// What the pages share beside the [`App`].
#[derive(Clone)]
struct Web {
    app: App,
    locks: Arc<approve::Locks>,
    hooks: Arc<hooks::Hooks>,
}

/// The pages.
pub fn pages(app: App) -> Router {
    let site = app.site.clone();
    let web = Web { app, locks: Arc::default(), hooks: Arc::default() };
    Router::new()
        .route("/", get(status_page::show))
        .route("/a/{token}", get(approve::show).post(approve::vote))
        .route("/hooks/{forge}/{pipeline}", post(hooks::take))
        .route("/{pipeline}/{job}/{number}", get(run_page::show))
        .route("/{pipeline}/{job}/{number}/log", get(log_page::show))
        .route("/style.css", get(show::style))
        .route("/healthz", get(health))
        .fallback(show::nothing_here)
        .with_state(web)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn(serve::in_time))
        .layer(from_fn_with_state(site, guard::host))
        .layer(from_fn(guard::headers))
}

/// For whoever watches this host: without a word of what runs here.
async fn health(State(web): State<Web>) -> (StatusCode, &'static str) {
    match web.app.reader.is_recording() {
        true => (StatusCode::OK, "ok\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "degraded: the disk takes no records, and nothing new starts\n"),
    }
}

/// What the commands ask over the control socket.
pub fn control(app: App) -> Router {
    api::routes().with_state(app).layer(from_fn(guard::peer))
}

/// Serves the pages until `stop` comes; requests under way are answered.
pub async fn serve_pages(listener: TcpListener, app: App, stop: impl Future<Output = ()> + Send + 'static) {
    let (stop, late) = patience(stop);
    tokio::select! {
        () = serve::serve(listener, pages(app), stop) => {}
        () = late => {}
    }
}

/// Serves the commands until `stop` comes; each request carries its [`Peer`].
///
/// # Errors
/// If the listener cannot be used.
pub async fn serve_control(
    listener: UnixListener,
    app: App,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stop, late) = patience(stop);
    let service = control(app).into_make_service_with_connect_info::<Caller>();
    let serve = axum::serve(listener, service).with_graceful_shutdown(stop);
    tokio::select! {
        ended = serve => ended,
        () = late => Ok(()),
    }
}

/// `stop`, and the moment at which whoever still holds a connection open is left behind.
fn patience(
    stop: impl Future<Output = ()> + Send + 'static,
) -> (impl Future<Output = ()> + Send + 'static, impl Future<Output = ()>) {
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    let stop = async move {
        stop.await;
        drop(sender);
    };
    let late = async move {
        let _ = receiver.await;
        tokio::time::sleep(PATIENCE).await;
    };
    (stop, late)
}

/// The peer's user, where the kernel tells; without it nothing is answered.
#[derive(Debug, Clone, Copy)]
struct Caller(Option<u32>);

impl Connected<IncomingStream<'_, UnixListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().ok().map(|credentials| credentials.uid()))
    }
}

/// The extension under which axum keeps the caller.
type CallerInfo = ConnectInfo<Caller>;
