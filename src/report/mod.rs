//! What people, hosts of repositories and pinged addresses are told. A letter says only what it is about; its text and its link are made here at the
//! moment it is sent, from what holds then. When to try again is decided by the core, not here.

pub mod display;
pub mod facts;
pub mod forge;
pub mod mail;
pub mod message;
pub mod token;
pub mod used;
pub mod when;

use std::path::PathBuf;

use crate::credentials::Credentials;
use crate::model::letter::{Letter, LetterKind};
use crate::model::time::Timestamp;
use crate::web::Client;

/// A letter that did not go out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Undelivered {
    /// For people.
    pub why: String,
    /// Trying again would not help.
    pub for_good: bool,
    /// When it is to be tried again, where the receiver said so.
    pub again: Option<Timestamp>,
}

impl Undelivered {
    #[must_use]
    pub fn later(why: impl Into<String>) -> Self {
        Self { why: display::line(&why.into(), 300), for_good: false, again: None }
    }

    #[must_use]
    pub fn for_good(why: impl Into<String>) -> Self {
        Self { for_good: true, ..Self::later(why) }
    }
}

/// What it takes to send a letter.
#[derive(Clone)]
pub struct DeliverContext {
    pub sources: facts::Sources,
    /// Files with passwords and tokens; read when used.
    pub credentials: Credentials,
    /// The way out to hosts.
    pub web: Client,
    /// Where `transport = "file"` puts mail, unless `[mail] dir` says otherwise.
    pub mail_dir: PathBuf,
}

/// Renders a letter and sends it.
///
/// # Errors
/// If it did not go out: then the text says why, and whether trying again may help.
pub async fn deliver(letter: &Letter, context: &DeliverContext, now: Timestamp) -> Result<(), Undelivered> {
    match &letter.kind {
        LetterKind::Mark { run } => return forge::tell(run, context, now).await,
        LetterKind::Carried { commit, run } => return forge::tell_carried(commit, run, context, now).await,
        LetterKind::Ping { run, at } => return forge::ping(run, *at, context, now).await,
        _ => {}
    }
    let (sources, of) = (context.sources.clone(), letter.clone());
    let rendered = tokio::task::spawn_blocking(move || sources.mail(&of, now)).await;
    let mail = rendered.map_err(|error| Undelivered::later(format!("the mail could not be written: {error}")))??;
    mail::send(&mail, letter, context, now).await
}
