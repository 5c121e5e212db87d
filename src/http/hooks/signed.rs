//! Messages signed in the manner of Standard Webhooks, as GitLab does with a signing token: an HMAC over
//! id, time and body, so that what was overheard is worth nothing a few minutes later. What the headers and
//! the secret must look like is decided here; the comparison is `proof`'s.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::proof::only;
use crate::credentials::Secret;
use crate::model::time::{Seconds, Timestamp, seconds_between};

/// What a signing token begins with; other secrets are no keys of signatures.
const TOKEN: &[u8] = b"whsec_";
/// So many bytes a key may have.
const KEY: std::ops::RangeInclusive<usize> = 24..=64;
/// How far the sender's clock and ours may be apart, with the time that the message was on its way.
pub const TOLERANCE: Seconds = Seconds(300);
/// A message may be signed with some keys, while its sender changes them.
const SIGNATURES_MAX: usize = 5;

const ID: &str = "webhook-id";
const TIME: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";

/// What a message claims of itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Claim {
    /// What is signed before the body.
    pub before: Vec<u8>,
    /// Any of these may be the right one.
    pub signatures: Vec<[u8; 32]>,
}

/// Whether a secret is a signing token, good or not.
#[must_use]
pub fn is_token(secret: &Secret) -> bool {
    secret.bytes().starts_with(TOKEN)
}

/// The key that a signing token holds; `None`: it is none, or was not copied whole.
#[must_use]
pub fn key(secret: &Secret) -> Option<Secret> {
    let key = STANDARD.decode(secret.bytes().strip_prefix(TOKEN)?).ok()?;
    KEY.contains(&key.len()).then(|| Secret::new(key))
}

/// Whether a message says that it is signed.
#[must_use]
pub fn claims(headers: &HeaderMap) -> bool {
    headers.contains_key(SIGNATURE)
}

/// What is to be verified.
///
/// # Errors
/// Why nothing can be.
pub fn claim(headers: &HeaderMap, now: Timestamp) -> Result<Claim, String> {
    let text = |name: &str| only(headers, name).and_then(|value| value.to_str().ok());
    // The parts are joined by dots, so none may be in them.
    let plain = |id: &&str| {
        let legal = |c: u8| c.is_ascii_alphanumeric() || b"_-".contains(&c);
        (1..=100).contains(&id.len()) && id.bytes().all(legal)
    };
    let id = text(ID).filter(plain).ok_or("it is signed, but its webhook-id is none")?;
    let digits = |time: &&str| (1..=12).contains(&time.len()) && time.bytes().all(|c| c.is_ascii_digit());
    let time = text(TIME).filter(digits);
    let sent = time.and_then(|time| Timestamp::from_second(time.parse().ok()?).ok());
    let (Some(time), Some(sent)) = (time, sent) else {
        return Err("it is signed, but its webhook-timestamp is none".into());
    };
    let apart = if sent < now { seconds_between(sent, now) } else { seconds_between(now, sent) };
    if apart > TOLERANCE {
        let side = if sent < now { "old" } else { "ahead" };
        return Err(format!(
            "its time is {apart} {side}, more than {TOLERANCE}: a copy, or one of the two clocks is wrong"
        ));
    }
    let one = |text: &str| STANDARD.decode(text.strip_prefix("v1,")?).ok()?.try_into().ok();
    let signatures: Vec<[u8; 32]> =
        text(SIGNATURE).unwrap_or_default().split(' ').take(SIGNATURES_MAX).filter_map(one).collect();
    if signatures.is_empty() {
        return Err("its webhook-signature is none of the kind v1 (HMAC-SHA-256)".into());
    }
    Ok(Claim { before: format!("{id}.{time}.").into_bytes(), signatures })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_a_key_or_was_not_copied_whole() {
        let token = |text: &str| key(&Secret::new(text.as_bytes()));
        let key_of = |length: usize| format!("whsec_{}", STANDARD.encode(vec![7_u8; length]));
        for length in [24, 32, 64] {
            assert_eq!(token(&key_of(length)), Some(Secret::new(vec![7_u8; length])), "{length}");
        }
        let good = key_of(32);
        let (bare, short) = (good.trim_start_matches("whsec_"), good.trim_end_matches('='));
        for bad in ["whsec_", "whsec_!", &key_of(23), &key_of(65), bare, short] {
            assert_eq!(token(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_what_is_fresh_and_plain_is_verified() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let signature = format!("v1,{}", STANDARD.encode([7; 32]));
        let read = |id: &str, time: &str, signature: &str| {
            let mut headers = HeaderMap::new();
            for (name, value) in [(ID, id), (TIME, time), (SIGNATURE, signature)] {
                headers.insert(name, value.parse().unwrap());
            }
            claim(&headers, now)
        };
        let good = Claim { before: b"a-1.1800000000.".to_vec(), signatures: vec![[7; 32]] };
        assert_eq!(read("a-1", "1800000000", &signature).unwrap(), good);
        let several = format!("v2,AAAA v1a,x {signature} v1,short");
        assert_eq!(read("a-1", "1800000000", &several).unwrap(), good, "of others no more is known");
        for (time, fresh) in
            [("1799999700", true), ("1800000300", true), ("1799999699", false), ("1800000301", false), ("0", false)]
        {
            assert_eq!(read("a-1", time, &signature).is_ok(), fresh, "{time}");
        }
        let why = read("a-1", "1799999000", &signature).unwrap_err();
        assert!(why.starts_with("its time is 16m 40s old"), "{why}");
        for (id, time, signature) in [
            ("", "1800000000", signature.as_str()),
            ("a.1", "1800000000", &signature),
            ("a 1", "1800000000", &signature),
            (&"a".repeat(101), "1800000000", &signature),
            ("a", "", &signature),
            ("a", "+1800000000", &signature),
            ("a", "1800000000.5", &signature),
            ("a", "9999999999999", &signature),
            ("a", "1800000000", ""),
            ("a", "1800000000", "v1,"),
            ("a", "1800000000", signature.trim_start_matches("v1,")),
            ("a", "1800000000", "v1,AAAA"),
            ("a", "1800000000", &format!("{}{signature}", "v1,x ".repeat(5))),
        ] {
            assert!(read(id, time, signature).is_err(), "{id} {time} {signature}");
        }
    }
}
