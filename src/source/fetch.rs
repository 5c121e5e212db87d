//! Getting refs into a mirror: one `git fetch` child, at most one at a time per mirror. Every refspec
//! is forced, nothing is pruned, no garbage is collected: what runs borrow stays. Which refs, and
//! what is done where it fails, is the poller's.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;

use super::access::Access;
use super::child::{self, Call};
use super::error::SourceError;
use super::mirror;
use super::origin::Origin;
use crate::model::commit::RefName;

/// What one fetch may bring, in bytes.
pub(super) const PACK_MAX: u64 = 8 << 30;

/// What is to be fetched.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) refs: &'a [RefName],
    /// Also the tags that point into their history.
    pub(super) tags: bool,
}

/// Fetches what is wanted. Waits for a fetch into the same mirror that
/// is going on.
///
/// # Errors
/// If the remote does not give them in time.
pub(super) async fn fetch(
    mirror: &Path,
    origin: &Origin,
    access: &Access,
    link: Option<&Path>,
    wanted: Wanted<'_>,
    (file_max, deadline): (u64, Duration),
) -> Result<(), SourceError> {
    if wanted.refs.is_empty() {
        return Ok(());
    }
    let turn = turn_of(mirror);
    let Ok(_held) = tokio::time::timeout(deadline, turn.lock()).await else {
        return Err(SourceError::timed_out("waiting to fetch", origin, deadline));
    };
    // What stands in the mirror's config is ours to the byte, whoever wrote to it.
    mirror::restore_config(mirror)?;
    let tags = if wanted.tags { None } else { Some("--no-tags") };
    let call = Call {
        what: "fetching",
        origin,
        access,
        link,
        git_dir: Some(mirror),
        args: ["fetch"].into_iter().chain(tags).chain(ARGS).chain([origin.url.as_str()]).map(Into::into).collect(),
        input: refspecs(wanted.refs).into_bytes(),
        patience: 120,
        stdout_max: 1 << 20,
        file_max,
        trace: false,
        deadline,
    };
    child::run(call).await.map(|_| ())
}

const ARGS: [&str; 10] = [
    "--quiet",
    "--force",
    "--no-write-fetch-head",
    "--no-auto-maintenance",
    "--no-prune",
    "--no-recurse-submodules",
    "--no-show-forced-updates",
    "--refmap=",
    "--stdin",
    "--",
];

fn refspecs(refs: &[RefName]) -> String {
    refs.iter().fold(String::new(), |mut text, name| {
        let _ = writeln!(text, "+{name}:{}", mirror::local_name(name));
        text
    })
}

/// One lock per mirror, as long as somebody has it.
fn turn_of(mirror: &Path) -> Arc<AsyncMutex<()>> {
    static TURNS: LazyLock<Mutex<HashMap<PathBuf, Weak<AsyncMutex<()>>>>> = LazyLock::new(Mutex::default);
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    turns.retain(|_, turn| turn.strong_count() > 0);
    if let Some(turn) = turns.get(mirror).and_then(Weak::upgrade) {
        return turn;
    }
    let turn = Arc::default();
    turns.insert(mirror.to_owned(), Arc::downgrade(&turn));
    turn
}
