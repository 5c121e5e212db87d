//! Any headers and any body as a web hook of each host: nobody gets in without the secret, and what is read
//! never makes it panic.

#![no_main]

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use shipbell::credentials::Secret;
use shipbell::http::hooks::payload;
use shipbell::http::hooks::proof::Proof;
use shipbell::model::forge::Forge;
use shipbell::model::time::Timestamp;

const NAMES: [&str; 11] = [
    "x-hub-signature-256",
    "x-gitea-signature",
    "x-gitlab-token",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "x-github-event",
    "x-gitlab-event",
    "x-gitea-event",
    "x-github-delivery",
    "content-type",
];

fuzz_target!(|input: (Vec<(u8, Vec<u8>)>, u8, &[u8])| {
    let (lines, event, body) = input;
    let mut headers = HeaderMap::new();
    for (name, value) in &lines {
        let name = NAMES[usize::from(*name) % NAMES.len()];
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    // Nobody finds this by trying.
    let text = Secret::new(&b"9f2b1c7e5d3a48f6b0c1d2e3f4a5b6c7"[..]);
    let secrets = [text, Secret::new(&b"whsec_nyscflOjSPawwdLj9KW2x58rHH5dOkj2"[..])];
    let now = Timestamp::UNIX_EPOCH;
    for forge in Forge::ALL {
        if let Ok(mut proof) = Proof::begin(*forge, &headers, &secrets, now) {
            proof.feed(body);
            assert!(!proof.holds());
        }
        let _ = payload::delivery_id(*forge, &headers);
        let named = payload::event(*forge, &headers);
        let _ = payload::read(*forge, &named, &headers, Some(body));
        let usual = ["push", "pull_request", "Push Hook", "Merge Request Hook"];
        let _ = payload::read(*forge, usual[usize::from(event) % usual.len()], &headers, Some(body));
    }
});
