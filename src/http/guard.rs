//! What is answered at all: requests for a host of ours, in the size of our forms, with headers on every
//! answer that keep a page to itself. On the control socket: who asks.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::http::{CallerInfo, Peer, Site};

/// No script, nothing from elsewhere, no frame around it; forms go to ourselves only.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

const HEADERS: &[(&str, &str)] = &[
    ("content-security-policy", POLICY),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("x-robots-tag", "noindex, nofollow"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Puts the headers on an answer.
pub async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let answer = response.headers_mut();
    for (name, value) in HEADERS {
        answer.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if !answer.contains_key(header::CACHE_CONTROL) {
        answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Refuses requests for other hosts: a page that was reached under a stranger's name gives it our links.
pub async fn host(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let named = host_of(request.headers()).unwrap_or_default();
    let known = site.allowed_hosts.iter().any(|host| host.eq_ignore_ascii_case(named));
    if known || request.uri().path() == "/healthz" {
        return next.run(request).await;
    }
    let text = format!(
        "This Shipbell is {}.\nTo reach it under another name, set public-url in shipbell.toml.\n",
        site.public_url
    );
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

/// The one `Host` of a request.
pub fn host_of(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::HOST).iter();
    let only = all.next().filter(|_| all.next().is_none())?;
    only.to_str().ok()
}

/// Whether a form was sent by a page of ours, as far as the browser says. It also carries a proof.
pub fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = text(HeaderName::from_static("sec-fetch-site"));
    if site.is_some_and(|site| site != "same-origin") {
        return false;
    }
    match text(header::ORIGIN) {
        // Browsers write `null` on forms of pages that send no referrer, as ours do.
        None | Some("null") => true,
        Some(origin) => {
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            host.is_some() && host == host_of(headers)
        }
    }
}

/// Names under which requests may come: the public one, the address we listen on, and this host's own.
pub fn hosts(public_url: &str, listen: &str) -> Vec<String> {
    let (scheme, rest) = public_url.split_once("://").unwrap_or(("http", public_url));
    let public = rest.split('/').next().unwrap_or_default().to_owned();
    let default_port = if scheme == "https" { "443" } else { "80" };
    let mut hosts = vec![listen.to_owned()];
    if let Some((_, port)) = listen.rsplit_once(':') {
        hosts.extend(["127.0.0.1", "localhost", "[::1]"].map(|name| format!("{name}:{port}")));
    }
    if !public.is_empty() {
        hosts.push(format!("{public}:{default_port}"));
        hosts.push(public);
    }
    hosts
}

/// Puts the [`Peer`] into a request of the control socket.
pub async fn peer(mut request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<CallerInfo>().and_then(|info| info.0.0);
    let Some(uid) = caller else {
        return (StatusCode::FORBIDDEN, "the kernel does not say who you are\n").into_response();
    };
    request.extensions_mut().insert(Peer { uid });
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_the_public_one_and_our_own() {
        let hosts = hosts("https://ci.example.org", "127.0.0.1:8787");
        for good in ["ci.example.org", "ci.example.org:443", "127.0.0.1:8787", "localhost:8787", "[::1]:8787"] {
            assert!(hosts.iter().any(|host| host == good), "{good}");
        }
        for bad in ["ci.example.org:80", "127.0.0.1", "evil.example", ""] {
            assert!(!hosts.iter().any(|host| host == bad), "{bad}");
        }
    }

    #[test]
    fn forms_come_from_our_own_pages() {
        for (origin, site, same) in [
            (None, None, true),
            (Some("https://ci.example.org"), Some("same-origin"), true),
            (Some("null"), Some("same-origin"), true),
            (Some("null"), Some("cross-site"), false),
            (Some("https://ci.example.org"), Some("same-site"), false),
            (Some("https://evil.example"), None, false),
            (Some("https://ci.example.org.evil.example"), None, false),
            (Some("ci.example.org"), None, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("ci.example.org"));
            origin.map(|origin| headers.insert(header::ORIGIN, HeaderValue::from_static(origin)));
            site.map(|site| headers.insert("sec-fetch-site", HeaderValue::from_static(site)));
            assert_eq!(same_origin(&headers), same, "{origin:?} {site:?}");
        }
    }
}
