//! One request to a host and what its answer means: taken, wrong for good, or to be tried again, and
//! then when. Tokens are read when they are used and stand in no message.

use std::time::Duration;

use serde_json::Value;

use crate::model::forge::{Forge, ForgeSettings};
use crate::model::letter::PingAt;
use crate::model::name::RunRef;
use crate::model::time::{Seconds, Timestamp};
use crate::report::forge::calls::Call;
use crate::report::{DeliverContext, Undelivered, display};
use crate::store::RunFilter;
use crate::web::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};

const WITHIN: Duration = Duration::from_secs(30);
/// A list of a hundred deployments is long.
const ANSWER_MAX: usize = 4 << 20;
/// Nobody is left alone for longer, whatever they say.
const HOLD_MAX: Seconds = Seconds(6 * 3600);
/// GitHub's word for "too many": this long where it does not say.
const HOLD_USUAL: Seconds = Seconds(60);

/// A host, and what is needed to speak with it.
pub struct Host {
    forge: Forge,
    pub settings: ForgeSettings,
    headers: HeaderMap,
    ca: Option<Vec<u8>>,
    context: DeliverContext,
    now: Timestamp,
}

impl Host {
    /// # Errors
    /// If there is no token for it that can be used.
    pub async fn new(
        forge: Forge,
        settings: ForgeSettings,
        context: DeliverContext,
        now: Timestamp,
    ) -> Result<Self, Undelivered> {
        let credentials = context.credentials.clone();
        let name = settings.credential.clone().unwrap_or_default();
        let read = tokio::task::spawn_blocking(move || {
            Ok((credentials.read(&name)?, credentials.read_public(&format!("{name}.ca"))?))
        });
        let read: Result<_, crate::credentials::BadCredential> =
            read.await.map_err(|error| Undelivered::later(error.to_string()))?;
        let (token, ca) = read.map_err(|error| Undelivered::later(error.to_string()))?;
        let token = token.text().unwrap_or_default().trim();
        let (name, value) = match forge {
            Forge::Github => ("authorization", format!("Bearer {token}")),
            Forge::Gitlab => ("private-token", token.to_owned()),
            Forge::Gitea => ("authorization", format!("token {token}")),
        };
        let mut secret = HeaderValue::from_str(&value)
            .map_err(|_| Undelivered::later(format!("the token of [{forge}] has characters that no token has")))?;
        secret.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(name), secret);
        headers.insert("user-agent", HeaderValue::from_static(concat!("shipbell/", env!("CARGO_PKG_VERSION"))));
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.insert("accept", HeaderValue::from_static("application/json"));
        if forge == Forge::Github {
            headers.insert("accept", HeaderValue::from_static("application/vnd.github+json"));
            headers.insert("x-github-api-version", HeaderValue::from_static("2022-11-28"));
        }
        Ok(Self { forge, settings, headers, ca, context, now })
    }

    /// # Errors
    /// If the host did not take it.
    pub async fn send(&self, call: &Call) -> Result<Value, Undelivered> {
        let request = Request {
            method: Method::from_bytes(call.method.as_bytes()).unwrap_or_default(),
            url: &call.url,
            headers: self.headers.clone(),
            body: call.body.as_ref().map(|body| body.to_string().into_bytes()).unwrap_or_default(),
            ca: self.ca.as_deref(),
            repeatable: call.method == "GET",
            deadline: WITHIN,
            body_max: ANSWER_MAX,
        };
        let answer = self.context.web.send(request).await.map_err(|error| Undelivered::later(error.to_string()))?;
        if answer.status.is_success() || is_known_already(self.forge, &answer) {
            return Ok(serde_json::from_slice(&answer.body).unwrap_or_default());
        }
        Err(refusal(self.forge.title(), &answer, self.now))
    }
}

/// GitLab refuses to hear the same twice.
fn is_known_already(forge: Forge, answer: &Response) -> bool {
    forge == Forge::Gitlab && answer.status.as_u16() == 400 && said(answer).contains("Cannot transition status")
}

/// What an answer that is no success means.
fn refusal(title: &str, answer: &Response, now: Timestamp) -> Undelivered {
    let code = answer.status.as_u16();
    let what = format!("{title} answered {code}: {}", said(answer));
    let again = again(answer, now);
    let advice = match code {
        401 => "; is the token in credentials/ still good?",
        403 if again.is_none() => "; may the token write commit statuses and deployments?",
        404 => "; the token must be allowed to write to this repository",
        _ => "",
    };
    match code {
        // What it wants to read is something else than this: it will not be right later either.
        400 | 409 | 422 => Undelivered::for_good(what),
        _ => Undelivered { again, ..Undelivered::later(format!("{what}{advice}")) },
    }
}

/// The host's own words, as one short line.
fn said(answer: &Response) -> String {
    let body = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
    let text = match body.get("message") {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => answer.status.canonical_reason().unwrap_or("no reason given").to_owned(),
    };
    display::line(&text, 200)
}

/// When the host wants to be asked again: after so many seconds, or when its count begins anew.
fn again(answer: &Response, now: Timestamp) -> Option<Timestamp> {
    if !matches!(answer.status.as_u16(), 403 | 429 | 500..=599) {
        return None;
    }
    let number = |name: &str| answer.header(name).and_then(|text| text.trim().parse::<i64>().ok());
    let after = number("retry-after").and_then(|seconds| u64::try_from(seconds).ok()).map(|s| Seconds(s).after(now));
    let spent = number("x-ratelimit-remaining").or(number("ratelimit-remaining")) == Some(0);
    let reset = number("x-ratelimit-reset").or(number("ratelimit-reset")).filter(|_| spent);
    let reset = reset.and_then(|second| Timestamp::from_second(second).ok());
    let usual = (answer.status.as_u16() == 429).then(|| HOLD_USUAL.after(now));
    let at = after.or(reset).or(usual)?;
    Some(at.clamp(Seconds(1).after(now), HOLD_MAX.after(now)))
}

/// Pings the address that a job has for this.
///
/// # Errors
/// If it did not answer with success.
pub async fn ping(run: &RunRef, at: PingAt, context: &DeliverContext, now: Timestamp) -> Result<(), Undelivered> {
    let job = context.sources.catalog.job(&run.job);
    let Some(url) = job.and_then(|job| job.pings.get(&at)).cloned() else { return Ok(()) };
    let (reader, of) = (context.sources.reader.clone(), run.clone());
    let overtaken = tokio::task::spawn_blocking(move || {
        let filter = RunFilter { job: Some(of.job.clone()), limit: 1, finished_only: true, ..RunFilter::default() };
        reader.runs(&filter).map(|runs| runs.first().is_some_and(|newest| newest.run.number > of.number))
    });
    // A later run has said how things are; this one's word would be news of yesterday.
    if overtaken.await.map_err(|error| Undelivered::later(error.to_string()))?? {
        return Ok(());
    }
    let mut headers = HeaderMap::new();
    headers.insert("user-agent", HeaderValue::from_static(concat!("shipbell/", env!("CARGO_PKG_VERSION"))));
    let request = Request {
        method: Method::POST,
        url: &url,
        headers,
        body: Vec::new(),
        ca: None,
        repeatable: true,
        deadline: WITHIN,
        body_max: 64 << 10,
    };
    let answer = context.web.send(request).await.map_err(|error| Undelivered::later(error.to_string()))?;
    match answer.status.is_success() {
        true => Ok(()),
        false => Err(refusal("the address", &answer, now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, headers: &[(&'static str, &str)], body: &str) -> Response {
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(name, value)| {
            map.insert(*name, value.parse().unwrap());
        });
        Response { status: code.try_into().unwrap(), headers: map, body: body.to_owned().into() }
    }

    #[test]
    fn what_a_refusal_means() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let at = |seconds| Some(Seconds(seconds).after(now));
        for (code, headers, for_good, again) in [
            (422, vec![], true, None),
            (401, vec![], false, None),
            (404, vec![], false, None),
            (502, vec![], false, None),
            (403, vec![], false, None),
            (403, vec![("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1800000300")], false, at(300)),
            (403, vec![("x-ratelimit-remaining", "7"), ("x-ratelimit-reset", "1800000300")], false, None),
            (403, vec![("retry-after", "60")], false, at(60)),
            (429, vec![], false, at(60)),
            (429, vec![("ratelimit-remaining", "0"), ("ratelimit-reset", "1800000120")], false, at(120)),
            (503, vec![("retry-after", "5")], false, at(5)),
            (503, vec![("retry-after", "99999999")], false, at(6 * 3600)),
            (503, vec![("retry-after", "-5")], false, None),
            (429, vec![("retry-after", "0")], false, at(1)),
        ] {
            let refused = refusal("GitHub", &answer(code, &headers, r#"{"message":"No.\u001b[31m\nNo"}"#), now);
            assert_eq!((refused.for_good, refused.again), (for_good, again), "{code} {headers:?}");
            assert!(!refused.why.chars().any(char::is_control), "{refused:?}");
        }
        let twice = answer(400, &[], r#"{"message":"Cannot transition status via :run from :running"}"#);
        assert!(is_known_already(Forge::Gitlab, &twice) && !is_known_already(Forge::Github, &twice));
    }
}
