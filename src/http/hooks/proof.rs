//! Whether a web hook's message comes from a holder of its secret: an HMAC over the body as it was sent
//! (GitHub, Gitea, GitLab with a signing token), or the secret itself (GitLab's older way). Nothing of the message is looked at before; every
//! comparison takes the same time whatever is compared.

use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::signed;
use crate::credentials::{BadCredential, Credentials, Secret};
use crate::model::forge::Forge;
use crate::model::name::PipelineName;
use crate::model::time::Timestamp;

/// Shorter ones can be guessed.
const SECRET_MIN: usize = 16;
/// The present one and the next, or the last.
const SECRETS_MAX: usize = 2;

/// Headers that carry the HMAC of a body, and what stands before its digits. SHA-1 is not taken.
const SIGNED_BY: &[(Forge, &str, &str)] = &[
    (Forge::Github, "x-hub-signature-256", "sha256="),
    (Forge::Gitea, "x-gitea-signature", ""),
    (Forge::Gitea, "x-forgejo-signature", ""),
    (Forge::Gitea, "x-hub-signature-256", "sha256="),
];
const TOKEN: &str = "x-gitlab-token";
const NO_PROOF: &str = "its headers have no proof (a signature by SHA-256, or the right token)";

/// Reads the secrets of a pipeline's hook: the file `NAME.PIPELINE` where there is one, else `NAME`.
///
/// # Errors
/// If there is none, or none that is good for anything.
pub fn secrets(
    credentials: &Credentials,
    name: &str,
    pipeline: &PipelineName,
    forge: Forge,
) -> Result<Vec<Secret>, BadCredential> {
    let own = format!("{name}.{pipeline}");
    let name = if credentials.path(&own).exists() { own.as_str() } else { name };
    let file = credentials.read(name)?;
    let lines = file.text().unwrap_or_default().lines().map(str::trim).filter(|line| !line.is_empty());
    let found: Vec<Secret> = lines.take(SECRETS_MAX).map(|line| Secret::new(line.as_bytes())).collect();
    let bad =
        |why: String| Err(BadCredential { name: name.into(), path: credentials.path(name).display().to_string(), why });
    if found.is_empty() || found.iter().any(|secret| secret.bytes().len() < SECRET_MIN) {
        let why = format!("has a line of fewer than {SECRET_MIN} characters. Make a secret with: openssl rand -hex 32");
        return bad(why);
    }
    let broken = |secret: &Secret| signed::is_token(secret) && signed::key(secret).is_none();
    if forge == Forge::Gitlab && found.iter().any(broken) {
        return bad("has a signing token (whsec_...) that is not whole. Copy it from GitLab once more".into());
    }
    Ok(found)
}

/// A claim that is being checked while the body comes in.
pub struct Proof {
    /// Any of these says that it was signed with one of the secrets.
    claims: Vec<[u8; 32]>,
    macs: Vec<Hmac<Sha256>>,
    /// The host's token was right; then the body needs no signature.
    by_token: bool,
}

impl Proof {
    /// # Errors
    /// The headers claim nothing that could be checked, and the body need not be read: why, for the log.
    pub fn begin(forge: Forge, headers: &HeaderMap, secrets: &[Secret], now: Timestamp) -> Result<Self, String> {
        if forge == Forge::Gitlab {
            return Self::of_gitlab(headers, secrets, now);
        }
        let signed = SIGNED_BY.iter().filter(|(of, ..)| *of == forge);
        let claims: Vec<_> =
            signed.filter_map(|(_, name, before)| claim(only(headers, name)?.to_str().ok()?, before)).collect();
        // HMAC takes a key of any length, so none is left out.
        let macs = secrets.iter().filter_map(|secret| Hmac::<Sha256>::new_from_slice(secret.bytes()).ok()).collect();
        if claims.is_empty() { Err(NO_PROOF.into()) } else { Ok(Self { claims, macs, by_token: false }) }
    }

    /// Each secret proves in its own way: a signing token by signatures, never as the text that it is.
    fn of_gitlab(headers: &HeaderMap, secrets: &[Secret], now: Timestamp) -> Result<Self, String> {
        let keys: Vec<Secret> = secrets.iter().filter_map(signed::key).collect();
        let token = only(headers, TOKEN).map(axum::http::HeaderValue::as_bytes).unwrap_or_default();
        // Every secret is compared, so that the time does not tell which one was met.
        let texts = secrets.iter().filter(|secret| !signed::is_token(secret));
        let by_token = texts.fold(false, |met, secret| met | same(token, secret.bytes()));
        if by_token {
            return Ok(Self { claims: Vec::new(), macs: Vec::new(), by_token });
        }
        match (signed::claims(headers), keys.is_empty()) {
            (false, _) => return Err(NO_PROOF.into()),
            (true, true) => return Err("it is signed, and credentials/ has no signing token (whsec_...)".into()),
            (true, false) => {}
        }
        let claim = signed::claim(headers, now)?;
        let mac = |key: &Secret| Hmac::<Sha256>::new_from_slice(key.bytes()).ok();
        let macs = keys.iter().filter_map(mac).map(|mac| mac.chain_update(&claim.before)).collect();
        Ok(Self { claims: claim.signatures, macs, by_token: false })
    }

    /// The next bytes of the body.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.macs.iter_mut().for_each(|mac| mac.update(bytes));
    }

    /// Whether it was a holder of the secret, now that the body is here.
    #[must_use]
    pub fn holds(self) -> bool {
        let claims = &self.claims;
        let met =
            |mac: Hmac<Sha256>| claims.iter().fold(false, |met, claim| met | mac.clone().verify_slice(claim).is_ok());
        self.by_token | self.macs.into_iter().fold(false, |any, mac| any | met(mac))
    }
}

/// The one value of a header; two of them are nobody's.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a axum::http::HeaderValue> {
    let mut all = headers.get_all(name).iter();
    all.next().filter(|_| all.next().is_none())
}

/// Sixty-four hex digits.
fn claim(text: &str, before: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix(before)?;
    let mut bytes = [0_u8; 32];
    if digits.len() != 64 || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Compares by their HMACs under a key made for this: neither length nor content shows in the time.
fn same(one: &[u8], other: &[u8]) -> bool {
    let mut key = [0_u8; 32];
    if getrandom::fill(&mut key).is_err() {
        return false;
    }
    let mac = |text: &[u8]| Hmac::<Sha256>::new_from_slice(&key).ok().map(|mac| mac.chain_update(text));
    match (mac(one), mac(other)) {
        (Some(one), Some(other)) => one.verify_slice(&other.finalize().into_bytes()).is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::job::hex;

    const OLD: &str = "the-old-secret-of-this-hook";
    const NEW: &str = "the-new-secret-of-this-hook";
    /// When the example of Standard Webhooks was sent.
    const NOW: &str = "2021-02-25T15:02:10Z";

    fn secrets() -> Vec<Secret> {
        [OLD, NEW].map(|text| Secret::new(text.as_bytes())).to_vec()
    }

    fn sign(secret: &str, body: &[u8]) -> String {
        hex(&Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(body).finalize().into_bytes())
    }

    fn holds(forge: Forge, headers: &[(&'static str, &str)], body: &[u8]) -> bool {
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(name, value)| {
            map.append(*name, value.parse().unwrap());
        });
        let Ok(mut proof) = Proof::begin(forge, &map, &secrets(), NOW.parse().unwrap()) else { return false };
        body.chunks(3).for_each(|chunk| proof.feed(chunk));
        proof.holds()
    }

    #[test]
    fn both_live_secrets_are_taken_and_no_other() {
        let body = b"{\"ref\":\"refs/heads/main\"}";
        for (secret, good) in [(OLD, true), (NEW, true), ("another-secret-of-some-hook", false), ("", false)] {
            let signature = sign(secret, body);
            assert_eq!(holds(Forge::Github, &[("x-hub-signature-256", &format!("sha256={signature}"))], body), good);
            assert_eq!(holds(Forge::Gitea, &[("x-gitea-signature", &signature)], body), good);
            assert_eq!(holds(Forge::Gitea, &[("x-forgejo-signature", &signature)], body), good);
            if !secret.is_empty() {
                assert_eq!(holds(Forge::Gitlab, &[("x-gitlab-token", secret)], body), good);
            }
        }
    }

    #[test]
    fn the_example_of_github_s_documentation_is_verified() {
        let mut headers = HeaderMap::new();
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        headers.insert("x-hub-signature-256", signature.parse().unwrap());
        let secret = [Secret::new(&b"It's a Secret to Everybody"[..])];
        let mut proof = Proof::begin(Forge::Github, &headers, &secret, NOW.parse().unwrap()).unwrap();
        proof.feed(b"Hello, World!");
        assert!(proof.holds());
    }

    /// The example of the specification of Standard Webhooks, whose manner GitLab's signing tokens follow.
    #[test]
    fn a_signing_token_verifies_id_time_and_body() {
        let token = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let good = [
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ];
        let body = b"{\"test\": 2432232314}";
        let judged = |secrets: &[&str], lines: &[(&'static str, &str)], body: &[u8], now: &str| {
            let secrets: Vec<Secret> = secrets.iter().map(|text| Secret::new(text.as_bytes())).collect();
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, value.parse().unwrap());
            }
            let mut proof = Proof::begin(Forge::Gitlab, &headers, &secrets, now.parse().unwrap())?;
            body.chunks(3).for_each(|chunk| proof.feed(chunk));
            Ok::<bool, String>(proof.holds())
        };
        assert_eq!(judged(&[token], &good, body, NOW), Ok(true));
        let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        assert_eq!(judged(&[other, token], &good, body, NOW), Ok(true), "two live secrets");
        assert_eq!(judged(&[OLD, token], &good, body, NOW), Ok(true), "while it takes the place of a token");
        assert_eq!(judged(&[OLD, token], &[("x-gitlab-token", OLD)], body, NOW), Ok(true));
        assert_eq!(judged(&[other], &good, body, NOW), Ok(false), "another key");
        assert_eq!(judged(&[token], &good, b"{}", NOW), Ok(false), "another body");
        let altered = |at: usize, value| {
            let mut lines = good;
            lines[at].1 = value;
            judged(&[token], &lines, body, NOW)
        };
        assert_eq!(altered(0, "msg_another"), Ok(false), "another id");
        assert_eq!(altered(1, "1614265331"), Ok(false), "another time");
        assert!(judged(&[token], &good, body, "2021-02-25T15:07:11Z").unwrap_err().contains("old, more than 5m"));
        assert!(judged(&[OLD], &good, body, NOW).unwrap_err().contains("no signing token"));
        assert!(judged(&[token], &good[..2], body, NOW).unwrap_err().contains("no proof"));
        // The token itself proves nothing: whoever once saw it as text could send it.
        assert!(judged(&[token], &[("x-gitlab-token", token)], body, NOW).is_err());
        let twice = [&good[..], &good[..1]].concat();
        assert!(judged(&[token], &twice, body, NOW).unwrap_err().contains("webhook-id"));
    }

    #[test]
    fn a_signature_stands_for_these_bytes_in_this_header_of_this_host() {
        let body = b"{}";
        let good = sign(OLD, body);
        let hub = format!("sha256={good}");
        assert!(!holds(Forge::Github, &[("x-hub-signature-256", &hub)], b"{} "), "another body");
        assert!(!holds(Forge::Github, &[("x-hub-signature-256", &good)], body), "without its sha256=");
        assert!(!holds(Forge::Github, &[("x-gitea-signature", &good)], body), "another host's header");
        assert!(!holds(Forge::Github, &[("x-hub-signature", &hub)], body), "the header of SHA-1");
        assert!(!holds(Forge::Gitlab, &[("x-hub-signature-256", &hub)], body), "GitLab has a token");
        assert!(!holds(Forge::Github, &[("x-hub-signature-256", &hub), ("x-hub-signature-256", &hub)], body), "twice");
        assert!(!holds(Forge::Gitlab, &[("x-gitlab-token", OLD), ("x-gitlab-token", NEW)], body), "twice");
        for bad in [
            "",
            "sha256=",
            "sha256=zz",
            hub.strip_suffix(|_: char| true).unwrap(),
            &format!("{hub}0"),
            &hub.replace("sha256", "sha1"),
        ] {
            assert!(!holds(Forge::Github, &[("x-hub-signature-256", bad)], body), "{bad}");
        }
        assert!(holds(Forge::Github, &[("x-hub-signature-256", &format!("sha256={}", good.to_uppercase()))], body));
    }

    #[test]
    fn a_file_holds_two_secrets_and_a_pipeline_may_have_its_own() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).unwrap();
            std::fs::set_permissions(dir.path().join(name), std::fs::Permissions::from_mode(0o640)).unwrap();
        };
        let credentials = Credentials::new(dir.path());
        let read = |pipeline: &str| secrets_of(&credentials, pipeline);
        put("hook", &format!("{OLD}\n\n {NEW} \nthe-third-one-does-not-count\n"));
        assert_eq!(read("shop").unwrap(), [OLD, NEW]);
        put("hook.shop", "the-secret-of-this-pipeline");
        assert_eq!(read("shop").unwrap(), ["the-secret-of-this-pipeline"]);
        assert_eq!(read("other").unwrap(), [OLD, NEW]);
        put("hook.shop", "short\n");
        assert!(read("shop").unwrap_err().contains("fewer than 16"));
        put("hook.shop", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
        assert!(read("shop").is_ok());
        put("hook.shop", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa\n");
        assert!(read("shop").unwrap_err().contains("not whole"));
    }

    fn secrets_of(credentials: &Credentials, pipeline: &str) -> Result<Vec<String>, String> {
        let found = super::secrets(credentials, "hook", &pipeline.parse().unwrap(), Forge::Gitlab)
            .map_err(|error| error.to_string())?;
        Ok(found.iter().map(|secret| secret.text().unwrap().to_owned()).collect())
    }

    proptest::proptest! {
        #[test]
        fn nobody_gets_in_by_chance(name in 0..6_usize, value: Vec<u8>, body: Vec<u8>, event: String) {
            let name = ["x-hub-signature-256", "x-gitea-signature", "x-gitlab-token", "x-github-event", "content-type", "webhook-signature"][name];
            let mut headers = HeaderMap::new();
            if let Ok(value) = axum::http::HeaderValue::from_bytes(&value) {
                headers.insert(name, value);
            }
            for forge in Forge::ALL {
                if let Ok(mut proof) = Proof::begin(*forge, &headers, &secrets(), NOW.parse().unwrap()) {
                    proof.feed(&body);
                    proptest::prop_assert!(!proof.holds());
                }
                for event in [event.as_str(), "push", "pull_request", "Push Hook", "Merge Request Hook"] {
                    let _ = crate::http::hooks::payload::read(*forge, event, &headers, Some(&body));
                }
            }
        }
    }
}
