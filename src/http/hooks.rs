//! Web hooks: `POST /hooks/HOST/PIPELINE`. A message is a hint to poll now and nothing else: what there is,
//! git is asked. The path says which secret it must prove to know; it is answered at once, within a size,
//! a time and a number at a time, and however many come, polls stay rare.

pub mod payload;
pub mod proof;
mod rate;
mod signed;

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use crate::http::Web;
use crate::http::show::{blocking, not_found};
use crate::model::event::Event;
use crate::model::forge::{Delivery, Forge};
use crate::model::job::hex;
use crate::model::name::PipelineName;
use crate::model::time::Timestamp;
use payload::Meaning;
use proof::Proof;
use rate::{Buckets, Take};

/// Hosts send no more than this.
const BODY_MAX: usize = 25 << 20;
/// A body that takes longer is given up.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Messages taken in at one time.
const AT_ONCE: usize = 32;
/// Ids of messages that are remembered here; older ones are in the database.
const RECENT_MAX: usize = 4096;
/// How often it is said that a hook's messages are refused.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// What the web hooks of this process share.
pub struct Hooks {
    places: Semaphore,
    buckets: Buckets,
    recent: Mutex<Recent>,
    said: Mutex<std::collections::BTreeMap<String, Instant>>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            places: Semaphore::new(AT_ONCE),
            buckets: Buckets::default(),
            recent: Mutex::default(),
            said: Mutex::default(),
        }
    }
}

type Id = (Forge, PipelineName, String);

#[derive(Default)]
struct Recent {
    known: BTreeSet<Id>,
    order: VecDeque<Id>,
}

impl Hooks {
    /// Whether this message is new to this process; from now on it is not.
    fn is_new(&self, id: &Id) -> bool {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if !recent.known.insert(id.clone()) {
            return false;
        }
        recent.order.push_back(id.clone());
        if recent.order.len() > RECENT_MAX
            && let Some(oldest) = recent.order.pop_front()
        {
            recent.known.remove(&oldest);
        }
        true
    }

    /// Says why messages are refused: to the daemon's log, and not for each of them.
    fn refused(&self, forge: Forge, pipeline: &PipelineName, why: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|_, at| at.elapsed() < SAY_AGAIN);
        // Whoever makes names up fills neither this nor the log.
        if said.len() < 100 && said.insert(format!("{forge}/{pipeline}"), Instant::now()).is_none() {
            warn!("web hook {forge}/{pipeline}: refused, {why}");
        }
    }
}

/// What the configuration says of a hook.
struct Wanted {
    credential: Option<String>,
    /// Whether there is a repository that can be looked at.
    polled: bool,
    now: Timestamp,
}

/// POST: looks at the repository, if the message is genuine.
pub(super) async fn take(
    State(web): State<Web>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Ok(Path((forge, pipeline))) = path else { return not_found() };
    let (Ok(forge), Ok(pipeline)) = (forge.parse::<Forge>(), pipeline.parse::<PipelineName>()) else {
        return not_found();
    };
    let Ok(_place) = web.hooks.places.try_acquire() else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "10")], "too many at once; try again\n")
            .into_response();
    };
    let Some(wanted) = wanted(&web, forge, &pipeline).await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "shipbell is stopping\n").into_response();
    };
    let refused = |why: &str| {
        web.hooks.refused(forge, &pipeline, why);
        // The same to everybody: who does not know the secret learns nothing of what there is here.
        (StatusCode::UNAUTHORIZED, "not recognised\n").into_response()
    };
    let Some(credential) = wanted.credential.clone() else {
        return refused(&format!("shipbell.toml has no webhook-credential in [{forge}]"));
    };
    let (credentials, of) = (web.app.credentials.clone(), pipeline.clone());
    let secrets = tokio::task::spawn_blocking(move || proof::secrets(&credentials, &credential, &of, forge)).await;
    let secrets = match secrets {
        Ok(Ok(secrets)) => secrets,
        Ok(Err(error)) => return refused(&error.to_string()),
        Err(error) => return refused(&error.to_string()),
    };
    let proof = match Proof::begin(forge, &headers, &secrets, wanted.now) {
        Ok(proof) => proof,
        Err(why) => return refused(&why),
    };
    match receive(body, &headers, proof).await {
        Ok((true, content)) => genuine(&web, forge, pipeline, &headers, content.as_deref(), &wanted).await,
        Ok((false, _)) => refused("it is signed with another secret than the one in credentials/"),
        Err(unfit) => unfit.into_response(),
    }
}

/// `None`: the daemon is stopping.
async fn wanted(web: &Web, forge: Forge, pipeline: &PipelineName) -> Option<Wanted> {
    let pipeline = pipeline.clone();
    let look = move |world: &crate::pipeline::world::World, now| Wanted {
        credential: world.scratch.catalog.settings.forges.get(&forge).and_then(|of| of.webhook_credential.clone()),
        polled: world.pipeline(&pipeline).is_some_and(|pipeline| pipeline.repo.is_some()),
        now,
    };
    web.app.inbox.look(look).await
}

/// A body that is not taken.
enum Unfit {
    TooLong,
    TooSlow,
    BrokenOff,
}

impl IntoResponse for Unfit {
    fn into_response(self) -> Response {
        match self {
            Self::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, "longer than 25 MiB\n").into_response(),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "not within 10 seconds\n").into_response(),
            Self::BrokenOff => (StatusCode::BAD_REQUEST, "broken off\n").into_response(),
        }
    }
}

/// Takes the body in piece by piece: the proof needs no more than that, and of a long one no more is kept.
/// Whether the proof holds, and the body where it is short enough to be looked at.
async fn receive(mut body: Body, headers: &HeaderMap, mut proof: Proof) -> Result<(bool, Option<Vec<u8>>), Unfit> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > BODY_MAX) {
        return Err(Unfit::TooLong);
    }
    let reading = async {
        let (mut length, mut kept) = (0_usize, Some(Vec::new()));
        while let Some(frame) = body.frame().await {
            let Ok(bytes) = frame.map_err(|_| Unfit::BrokenOff)?.into_data() else { continue };
            length = length.saturating_add(bytes.len());
            if length > BODY_MAX {
                return Err(Unfit::TooLong);
            }
            proof.feed(&bytes);
            kept = kept.filter(|_| length <= payload::READ_MAX).map(|mut kept| {
                kept.extend_from_slice(&bytes);
                kept
            });
        }
        Ok((proof.holds(), kept))
    };
    tokio::time::timeout(BODY_WITHIN, reading).await.unwrap_or(Err(Unfit::TooSlow))
}

/// A holder of the secret sent it.
async fn genuine(
    web: &Web,
    forge: Forge,
    pipeline: PipelineName,
    headers: &HeaderMap,
    content: Option<&[u8]>,
    wanted: &Wanted,
) -> Response {
    if !wanted.polled {
        let text = format!("there is no pipeline {pipeline} with a repository here\n");
        return (StatusCode::NOT_FOUND, text).into_response();
    }
    let event = payload::event(forge, headers);
    let (git_ref, commit) = match payload::read(forge, &event, headers, content) {
        Meaning::Ping => return (StatusCode::OK, "pong\n").into_response(),
        Meaning::Other => return (StatusCode::OK, "nothing to do for this event\n").into_response(),
        Meaning::Moved { git_ref, commit } => (git_ref, commit),
    };
    let id = payload::delivery_id(forge, headers).unwrap_or_else(made_up_id);
    let (reader, of, known) = (web.app.reader.clone(), pipeline.clone(), id.clone());
    // A database that cannot be read is no reason to miss a push.
    let seen = blocking(move || reader.delivery_known(&of, forge, &known)).await.unwrap_or(false);
    if seen || !web.hooks.is_new(&(forge, pipeline.clone(), id.clone())) {
        return (StatusCode::OK, "seen\n").into_response();
    }
    debug!("web hook {forge}/{pipeline}: {event} {id}");
    let delivery = Delivery { pipeline: pipeline.clone(), forge, id, event, at: wanted.now, git_ref, commit };
    let inbox = web.app.inbox.clone();
    let (hooks, of) = (Arc::clone(&web.hooks), pipeline.clone());
    // Answered at once: the sender waits for nothing that the daemon does with it.
    tokio::spawn(async move {
        let wait = hooks.buckets.take(&of, Instant::now());
        inbox.tell(Event::Announced(delivery)).await;
        match wait {
            Take::Now => inbox.poll(of).await,
            Take::In(wait) => {
                tokio::time::sleep(wait).await;
                hooks.buckets.paid(&of, Instant::now());
                inbox.poll(of).await;
            }
            Take::Covered => {}
        }
    });
    (StatusCode::ACCEPTED, format!("polling {pipeline}\n")).into_response()
}

/// For a host that does not name its messages.
fn made_up_id() -> String {
    let mut random = [0_u8; 16];
    // Without random bytes two such messages pass for one; polling finds what the second one meant.
    let _ = getrandom::fill(&mut random);
    format!("unnamed-{}", hex(&random))
}
