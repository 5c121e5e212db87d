//! What people are told. A letter says only what it is about; its text and its link are made here at the
//! moment it is sent, from what holds then. When to try again is decided by the core, not here.

pub mod display;
pub mod facts;
pub mod mail;
pub mod message;
pub mod token;
pub mod used;
pub mod when;

use std::path::PathBuf;

use crate::model::letter::Letter;
use crate::model::time::Timestamp;

/// A letter that did not go out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Undelivered {
    /// For people.
    pub why: String,
    /// Trying again would not help.
    pub for_good: bool,
}

impl Undelivered {
    #[must_use]
    pub fn later(why: impl Into<String>) -> Self {
        Self { why: display::line(&why.into(), 300), for_good: false }
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
    /// Files with passwords; read when used.
    pub credentials: PathBuf,
    /// Where `transport = "file"` puts mail, unless `[mail] dir` says otherwise.
    pub mail_dir: PathBuf,
}

/// Renders a letter and sends it.
///
/// # Errors
/// If it did not go out: then the text says why, and whether trying again may help.
pub async fn deliver(letter: &Letter, context: &DeliverContext, now: Timestamp) -> Result<(), Undelivered> {
    let (sources, of) = (context.sources.clone(), letter.clone());
    let rendered = tokio::task::spawn_blocking(move || sources.mail(&of, now)).await;
    let mail = rendered.map_err(|error| Undelivered::later(format!("the mail could not be written: {error}")))??;
    mail::send(&mail, letter, context, now).await
}
