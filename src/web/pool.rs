//! Connections that are kept for the next question to the same host. There are few of them however many
//! hosts are asked: the one that was idle longest makes room.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::{Place, WebError, chain};

/// Kept connections, over all hosts.
pub(super) const KEPT_MAX: usize = 64;
/// Most servers close theirs before.
const IDLE_MAX: Duration = Duration::from_secs(150);

/// A connection serves only questions with the same trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) ca: Option<[u8; 32]>,
}

/// A connection in nobody else's hands.
pub(super) struct Held {
    pub(super) sender: SendRequest<Full<Bytes>>,
}

impl Held {
    pub(super) async fn new<S>(stream: S, host: &str) -> Result<Self, WebError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broken = |error: hyper::Error| WebError::Broken { host: host.to_owned(), why: chain(&error) };
        // The smallest buffer that hyper takes: thousands of answers are short.
        let made = http1::Builder::new().max_buf_size(64 << 10).handshake(TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(broken)?;
        // It ends when the server closes it or the sender is dropped.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
        Ok(Self { sender })
    }
}

#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<(Key, Instant, Held)>>);

impl Pool {
    /// A kept connection to there, the one used last.
    pub(super) fn take(&self, key: &Key) -> Option<Held> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(_, since, held)| !held.sender.is_closed() && since.elapsed() < IDLE_MAX);
        let at = kept.iter().rposition(|(other, ..)| other == key)?;
        Some(kept.remove(at).2)
    }

    /// Keeps a connection whose answer was read to its end.
    pub(super) fn put(&self, key: Key, held: Held) {
        if held.sender.is_closed() {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(_, since, held)| !held.sender.is_closed() && since.elapsed() < IDLE_MAX);
        if kept.len() >= KEPT_MAX {
            // The oldest stands first.
            kept.remove(0);
        }
        kept.push((key, Instant::now(), held));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}
