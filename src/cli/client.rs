//! HTTP over the control socket: one request, one answer, and every way in which that can fail told
//! with what to do. What is asked for is decided by the commands.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::config::layout::Layout;
use crate::model::view::ErrorView;

use super::exit::{FAILED, Failure, NOT_ALLOWED, NOT_FOUND, TRY_LATER, UNAVAILABLE, USAGE};

/// Answers are awaited so long; the daemon answers from memory and one database.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest answer that is read.
const ANSWER_MAX: usize = 64 << 20;

/// The daemon, seen from a command.
#[derive(Debug, Clone)]
pub(super) struct Client {
    socket: PathBuf,
    /// What `--root` named.
    root: Option<PathBuf>,
}

impl Client {
    pub fn new(layout: &Layout) -> Self {
        Self { socket: layout.control_socket(), root: layout.root.clone() }
    }

    /// Reads something.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let text = self.get_text(path).await?;
        read(&text)
    }

    /// The same as it came, for `--json`.
    pub async fn get_text(&self, path: &str) -> Result<String, Failure> {
        self.call(Method::GET, path, String::new()).await
    }

    /// Asks for something to be done.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let body = serde_json::to_string(body).map_err(|error| Failure::other(error.to_string()))?;
        let text = self.call(Method::POST, path, body).await?;
        read(&text)
    }

    /// The same for what takes its time.
    pub async fn post_patiently<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        patience: Duration,
    ) -> Result<T, Failure> {
        let body = serde_json::to_string(body).map_err(|error| Failure::other(error.to_string()))?;
        let text = self.call_within(patience, Method::POST, path, body).await?;
        read(&text)
    }

    async fn call(&self, method: Method, path: &str, body: String) -> Result<String, Failure> {
        self.call_within(PATIENCE, method, path, body).await
    }

    async fn call_within(
        &self,
        patience: Duration,
        method: Method,
        path: &str,
        body: String,
    ) -> Result<String, Failure> {
        match tokio::time::timeout(patience, self.exchange(method, path, body)).await {
            Ok(answer) => answer,
            Err(_) => {
                let text = format!("the daemon took the question and gave no answer in {} s", patience.as_secs());
                Err(Failure::new(TRY_LATER, format!("{text}\n  what it does: journalctl -u shipbell -n 20")))
            }
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: String) -> Result<String, Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(&error))?;
        let broken = |error: hyper::Error| {
            Failure::new(UNAVAILABLE, format!("the daemon broke off: {error}\n  is it stopping? shipbell status"))
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "shipbell")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failure::usage(format!("cannot ask for {path}: {error}")))?;
        let answer = sender.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        let bytes = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
        let bytes = bytes.map_err(|error| Failure::new(UNAVAILABLE, format!("the daemon broke off: {error}")))?;
        connection.abort();
        let text = String::from_utf8_lossy(&bytes.to_bytes()).into_owned();
        if status.is_success() { Ok(text) } else { Err(refused(status, &text)) }
    }

    fn advice(&self) -> String {
        match &self.root {
            Some(root) => format!("  start it:  shipbell --root {} daemon", root.display()),
            None => "  start it:        systemctl start shipbell\n  its last words:  journalctl -u shipbell -n 20\n  \
                     another place:   shipbell --root DIR ..."
                .into(),
        }
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let socket = self.socket.display();
        match error.kind() {
            io::ErrorKind::PermissionDenied => Failure::new(
                NOT_ALLOWED,
                format!(
                    "you may not speak to the daemon: {socket} is for root and its group\n  be root, or of that group: ls -l {socket}"
                ),
            ),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                Failure::new(UNAVAILABLE, format!("no daemon answers at {socket}\n{}", self.advice()))
            }
            _ => Failure::new(UNAVAILABLE, format!("cannot reach the daemon at {socket}: {error}")),
        }
    }
}

/// A text as a value in a query.
pub(super) fn query(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

/// A view as it came.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| {
        let what = "the daemon's answer cannot be read: it is of another version than this command";
        Failure::new(
            UNAVAILABLE,
            format!("{what}\n  compare: shipbell --version; systemctl restart shipbell\n  ({error})"),
        )
    })
}

/// An answer that says no.
fn refused(status: StatusCode, text: &str) -> Failure {
    let said = serde_json::from_str::<ErrorView>(text).map_or_else(|_| text.trim().to_owned(), |view| view.error);
    let code = match status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::METHOD_NOT_ALLOWED => USAGE,
        StatusCode::NOT_FOUND => NOT_FOUND,
        StatusCode::FORBIDDEN => NOT_ALLOWED,
        StatusCode::SERVICE_UNAVAILABLE => TRY_LATER,
        _ => FAILED,
    };
    let text = if said.is_empty() { format!("the daemon answered {status}") } else { said };
    Failure::new(code, super::paint::safe(&text))
}
