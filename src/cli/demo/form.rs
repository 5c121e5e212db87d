//! The approver's browser, as far as the demo needs one: gets a page over HTTP, keeps its cookie, and
//! sends the page's own form back.

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, COOKIE, HOST, ORIGIN, SET_COOKIE};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::report::display::url_segment;

use super::super::exit::Failure;

/// Longest page that is read.
const PAGE_MAX: usize = 1 << 20;

/// A page as it came.
pub(super) struct Page {
    link: Link,
    pub status: u16,
    pub text: String,
    cookies: String,
}

/// `http://HOST/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    host: String,
    path: String,
}

impl Link {
    fn parse(text: &str) -> Option<Self> {
        let (host, path) = text.strip_prefix("http://")?.split_once('/')?;
        Some(Self { host: host.to_owned(), path: format!("/{path}") })
    }
}

/// Opens a link.
pub(super) async fn open(link: &str) -> Result<Page, Failure> {
    let link = Link::parse(link).ok_or_else(|| Failure::other(format!("`{link}` is no http link")))?;
    send(link, Method::GET, String::new(), String::new()).await
}

impl Page {
    /// Fills in the form of this page and sends it. What the page hid in it goes along.
    pub async fn fill_in(&self, fields: &[(&str, &str)]) -> Result<Page, Failure> {
        let hidden = hidden_fields(&self.text);
        if hidden.is_empty() {
            return Err(Failure::other(format!("{} has no form to send", self.link.path)));
        }
        let hidden = hidden.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let pair = |(name, value): (&str, &str)| format!("{}={}", url_segment(name), url_segment(value));
        let body: Vec<String> = hidden.chain(fields.iter().copied()).map(pair).collect();
        send(self.link.clone(), Method::POST, self.cookies.clone(), body.join("&")).await
    }
}

async fn send(link: Link, method: Method, cookies: String, body: String) -> Result<Page, Failure> {
    let broken = |what: &str| Failure::other(format!("http://{}{}: {what}", link.host, link.path));
    let stream = TcpStream::connect(&link.host).await.map_err(|error| broken(&error.to_string()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error.to_string()))?;
    let connection = tokio::spawn(connection);
    let mut request = Request::builder().method(method.clone()).uri(&link.path).header(HOST, &link.host);
    if method == Method::POST {
        request = request
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ORIGIN, format!("http://{}", link.host))
            .header("sec-fetch-site", "same-origin");
    }
    if !cookies.is_empty() {
        request = request.header(COOKIE, &cookies);
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| broken(&error.to_string()))?;
    let answer = sender.send_request(request).await.map_err(|error| broken(&error.to_string()))?;
    let (status, cookies) = (answer.status().as_u16(), cookies_of(&answer));
    let bytes =
        Limited::new(answer.into_body(), PAGE_MAX).collect().await.map_err(|error| broken(&error.to_string()))?;
    connection.abort();
    let text = String::from_utf8_lossy(&bytes.to_bytes()).into_owned();
    Ok(Page { link, status, text, cookies })
}

fn cookies_of<T>(answer: &Response<T>) -> String {
    let all = answer.headers().get_all(SET_COOKIE).iter();
    let pairs = all.filter_map(|value| value.to_str().ok()?.split(';').next());
    pairs.collect::<Vec<_>>().join("; ")
}

/// Names and values of `<input type="hidden">`.
fn hidden_fields(page: &str) -> Vec<(String, String)> {
    let tags = page.split("<input").skip(1).filter_map(|rest| rest.split('>').next());
    let hidden = tags.filter(|tag| attribute(tag, "type").as_deref() == Some("hidden"));
    hidden.filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value")?))).collect()
}

/// A double-quoted attribute of a tag; what our own pages write.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    let (value, _) = rest.split_once('"')?;
    let plain = [("&quot;", "\""), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    Some(plain.iter().fold(value.to_owned(), |text, (from, to)| text.replace(from, to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_gives_what_it_hides() {
        let page = r#"<form method="post"><input type="hidden" name="csrf" value="a&amp;b&#39;">
            <input name="word" autocomplete="off"><input  type="hidden" value="2" name="n"></form>"#;
        let hidden = hidden_fields(page);
        assert_eq!(hidden, [("csrf".into(), "a&b'".into()), ("n".to_owned(), "2".to_owned())]);
        let link = Link::parse("http://127.0.0.1:80/a/x").unwrap();
        assert_eq!((link.host.as_str(), link.path.as_str()), ("127.0.0.1:80", "/a/x"));
        assert_eq!(Link::parse("https://a/b"), None);
    }
}
