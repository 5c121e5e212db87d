//! The one way out over http and https: a small client over a pool of kept connections, in which every
//! step (name, connection, TLS, answer) fails by its own name, at a deadline, and within a size. No
//! redirect is followed and no proxy or cookie known. What is asked, and what an answer means, is the caller's.

mod pool;
mod tls;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
pub use hyper::header::{HeaderMap, HeaderName, HeaderValue};
pub use hyper::{Method, StatusCode};
use hyper::{Request as HttpRequest, Uri};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use pool::{Held, Key, Pool};

/// One address of a host that does not answer for so long is passed over for the next.
const CONNECTING_MAX: Duration = Duration::from_secs(5);

/// The client; clones share their connections.
#[derive(Clone, Default)]
pub struct Client {
    pool: Arc<Pool>,
    roots: Arc<tls::Roots>,
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    pub method: Method,
    /// `http://HOST[:PORT]/PATH` or `https://…`, without a login.
    pub url: &'a str,
    /// `host` and `content-length` are set by the client.
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// PEM of the authorities that are trusted in place of the host's own.
    pub ca: Option<&'a [u8]>,
    /// Whether it does no harm to ask twice, where a kept connection breaks under the question.
    pub repeatable: bool,
    pub deadline: Duration,
    /// Longest body that is read.
    pub body_max: usize,
}

/// What was answered, whatever its status.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Response {
    /// A header's value, where it is plain text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    #[error("{0} is no address of a web server")]
    BadUrl(String),
    #[error("the host name {host} was not resolved: {why}")]
    Name { host: String, why: String },
    #[error("{host} does not answer: {why}")]
    Connect { host: String, why: String },
    /// The connection stands and is not trusted.
    #[error("the TLS certificate of {host} is not trusted: {why}")]
    Certificate { host: String, why: String },
    #[error("no TLS with {host}: {why}")]
    Tls { host: String, why: String },
    #[error("{0}")]
    Trust(String),
    #[error("{host} gave no whole answer in {seconds} s ({step})")]
    TimedOut { host: String, step: &'static str, seconds: u64 },
    #[error("{host} answers with more than {max} bytes")]
    TooMuch { host: String, max: usize },
    #[error("{host} broke off: {why}")]
    Broken { host: String, why: String },
}

/// Where a URL leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    tls: bool,
    host: String,
    port: u16,
}

impl Place {
    /// # Errors
    /// If it is no http(s) URL, or has a login in it.
    fn of(url: &str) -> Result<(Self, Uri), WebError> {
        let bad = || WebError::BadUrl(url.chars().take(200).filter(|c| !c.is_control()).collect());
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad()),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(bad)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(bad());
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok((Self { tls, host, port }, uri))
    }
}

impl Client {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks and reads the whole answer.
    ///
    /// # Errors
    /// If there is none in time, or it is too long.
    pub async fn send(&self, request: Request<'_>) -> Result<Response, WebError> {
        let until = Instant::now() + request.deadline;
        let (place, uri) = Place::of(request.url)?;
        let key = Key { place: place.clone(), ca: request.ca.map(tls::fingerprint) };
        let message = message(&uri, &request)?;
        if let Some(kept) = self.pool.take(&key) {
            match self.exchange(kept, message.clone(), &key, &request, until).await {
                Err(Failed { error, untouched }) if !(untouched || request.repeatable && is_broken(&error)) => {
                    return Err(error);
                }
                Err(_) => {}
                Ok(response) => return Ok(response),
            }
        }
        let fresh = self.connect(&place, request.ca, until, request.deadline).await?;
        self.exchange(fresh, message, &key, &request, until).await.map_err(|failed| failed.error)
    }

    async fn exchange(
        &self,
        mut held: Held,
        message: HttpRequest<Full<Bytes>>,
        key: &Key,
        request: &Request<'_>,
        until: Instant,
    ) -> Result<Response, Failed> {
        let host = || key.place.host.clone();
        let late = |_| Failed::touched(timed_out(host(), "waiting for the answer", request.deadline));
        let broken = |error: &hyper::Error| WebError::Broken { host: host(), why: chain(error) };
        let sent = timeout_at(until, held.sender.try_send_request(message)).await.map_err(late)?;
        let answer = sent.map_err(|mut failed| {
            let untouched = failed.take_message().is_some();
            Failed { error: broken(failed.error()), untouched }
        })?;
        let (head, body) = answer.into_parts();
        let body = timeout_at(until, Limited::new(body, request.body_max).collect()).await.map_err(late)?;
        let body = body.map_err(|error| {
            Failed::touched(match error.downcast_ref::<hyper::Error>() {
                Some(error) => broken(error),
                None => WebError::TooMuch { host: host(), max: request.body_max },
            })
        })?;
        self.pool.put(key.clone(), held);
        Ok(Response { status: head.status, headers: head.headers, body: body.to_bytes() })
    }

    async fn connect(
        &self,
        place: &Place,
        ca: Option<&[u8]>,
        until: Instant,
        deadline: Duration,
    ) -> Result<Held, WebError> {
        let late = |step| move |_| timed_out(place.host.clone(), step, deadline);
        let stream = timeout_at(until, reach(place)).await.map_err(late("connecting"))??;
        if !place.tls {
            return timeout_at(until, Held::new(stream, &place.host)).await.map_err(late("connecting"))?;
        }
        let config = self.roots.config(ca).await?;
        let stream = timeout_at(until, tls::secure(config, &place.host, stream)).await.map_err(late("TLS"))??;
        timeout_at(until, Held::new(stream, &place.host)).await.map_err(late("TLS"))?
    }
}

/// A failed exchange; `untouched`: nothing of the question was sent.
struct Failed {
    error: WebError,
    untouched: bool,
}

impl Failed {
    fn touched(error: WebError) -> Self {
        Self { error, untouched: false }
    }
}

fn is_broken(error: &WebError) -> bool {
    matches!(error, WebError::Broken { .. })
}

fn timed_out(host: String, step: &'static str, deadline: Duration) -> WebError {
    WebError::TimedOut { host, step, seconds: deadline.as_secs().max(1) }
}

fn message(uri: &Uri, request: &Request<'_>) -> Result<HttpRequest<Full<Bytes>>, WebError> {
    let bad = || WebError::BadUrl(request.url.chars().take(200).filter(|c| !c.is_control()).collect());
    let authority = uri.authority().ok_or_else(bad)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut message = HttpRequest::builder().method(request.method.clone()).uri(path);
    if let Some(headers) = message.headers_mut() {
        headers.insert("host", HeaderValue::from_str(authority.as_str()).map_err(|_| bad())?);
        headers.extend(request.headers.clone());
    }
    message.body(Full::new(Bytes::from(request.body.clone()))).map_err(|_| bad())
}

/// The first address of the host that answers.
async fn reach(place: &Place) -> Result<TcpStream, WebError> {
    let host = || place.host.clone();
    let name = |why: io::Error| WebError::Name { host: host(), why: why.to_string() };
    let addresses: Vec<_> = tokio::net::lookup_host((place.host.as_str(), place.port)).await.map_err(name)?.collect();
    let mut why = "it has no address".to_owned();
    for address in addresses {
        match timeout(CONNECTING_MAX, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => why = format!("{address}: {error}"),
            Err(_) => why = format!("{address}: no answer in {} s", CONNECTING_MAX.as_secs()),
        }
    }
    Err(WebError::Connect { host: host(), why })
}

/// An error with its causes, which is where the reason stands.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
