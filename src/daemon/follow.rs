//! Follows running attempts: new lines of their events, and their end. What it is told by inotify is
//! a hint to look; truth is read from the attempt's directory.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tracing::warn;

use crate::executor::Executor;
use crate::inbox::Inbox;
use crate::launch::Status;
use crate::launch::watch::{Hint, Watcher};
use crate::model::event::Event;
use crate::model::name::RunRef;
use crate::model::ticket::{Evidence, FactLine};

/// How long a look that failed (no descriptors, no memory) waits before the next.
const AGAIN: Duration = Duration::from_secs(2);

type Key = (RunRef, u32);

pub(super) async fn follow(executor: Executor, inbox: Inbox, boot_id: String, mut added: UnboundedReceiver<Key>) {
    let watcher = match Watcher::new() {
        Ok(watcher) => watcher,
        Err(error) => {
            warn!("cannot watch run directories: {error}; they are looked at every two seconds");
            return poll(executor, inbox, boot_id, added).await;
        }
    };
    let mut offsets: BTreeMap<Key, u64> = BTreeMap::new();
    loop {
        let hint = tokio::select! {
            added = added.recv() => {
                let Some(key) = added else { return };
                watcher.add(&key.0, key.1, &executor.dir(&key.0, key.1));
                offsets.entry(key).or_insert(0);
                continue;
            }
            hint = watcher.next() => hint,
        };
        let (key, news) = match hint {
            Hint::End(run, attempt) => ((run, attempt), false),
            Hint::News(run, attempt) => ((run, attempt), true),
        };
        let Some(from) = offsets.get(&key).copied() else { continue };
        match look(&executor, &inbox, &boot_id, &key, from, news).await {
            Some(next) => {
                offsets.insert(key, next);
            }
            None => {
                offsets.remove(&key);
                watcher.remove(&key.0, key.1);
            }
        }
    }
}

/// Without inotify: all that runs, every two seconds.
async fn poll(executor: Executor, inbox: Inbox, boot_id: String, mut added: UnboundedReceiver<Key>) {
    let mut offsets: BTreeMap<Key, u64> = BTreeMap::new();
    loop {
        match tokio::time::timeout(AGAIN, added.recv()).await {
            Ok(Some(key)) => {
                offsets.insert(key, 0);
            }
            Ok(None) => return,
            Err(_elapsed) => {}
        }
        for (key, from) in offsets.clone() {
            match look(&executor, &inbox, &boot_id, &key, from, true).await {
                Some(next) => offsets.insert(key, next),
                None => offsets.remove(&key),
            };
        }
    }
}

/// Tells what is new, without `news` only if it is over; gives the offset to go on from, `None` once the
/// attempt is over and told.
async fn look(executor: &Executor, inbox: &Inbox, boot_id: &str, key: &Key, from: u64, news: bool) -> Option<u64> {
    let (asked, boot_id, of) = (executor.clone(), boot_id.to_owned(), key.clone());
    let seen = tokio::task::spawn_blocking(move || see(&asked, &boot_id, &of, from, news)).await;
    let (lines, next, over) = match seen {
        Ok(Ok(seen)) => seen,
        Ok(Err(error)) => {
            warn!("cannot look at {} attempt {}: {error}", key.0, key.1);
            return Some(from);
        }
        Err(_panicked) => return Some(from),
    };
    let mut told = Vec::new();
    if !lines.is_empty() {
        told.push(Event::Progress { run: key.0.clone(), attempt: key.1, lines });
    }
    let is_over = over.is_some();
    told.extend(over.map(|evidence| Event::Ended { run: key.0.clone(), attempt: key.1, evidence }));
    if !told.is_empty() {
        inbox.tell_all(told).await;
    }
    (!is_over).then_some(next)
}

type Seen = (Vec<FactLine>, u64, Option<Evidence>);

/// The status is read before the lines: whatever stood when it was over is among them.
fn see(executor: &Executor, boot_id: &str, key: &Key, from: u64, news: bool) -> std::io::Result<Seen> {
    let over = match executor.status(&key.0, key.1, boot_id)? {
        Status::Running if !news => return Ok((Vec::new(), from, None)),
        Status::Running => None,
        Status::Over(evidence) => Some(evidence),
    };
    let (mut lines, mut next) = (Vec::new(), from);
    loop {
        let (more, after) = executor.facts(&key.0, key.1, next)?;
        let is_all = after == next;
        lines.extend(more);
        next = after;
        if is_all {
            return Ok((lines, next, over));
        }
    }
}
