//! What is known of how each repository is asked: when it was, when it will be, what came of it. Told by
//! the poller as it goes, read by whoever looks; nothing of it is stored.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::poll::Tools;
use super::remote::Remote;
use crate::model::catalog::Address;
use crate::model::commit::{CommitId, RefName};

/// All repositories that are asked, and the means to ask another; clones share everything.
#[derive(Clone)]
pub struct Sites {
    pub tools: Tools,
    states: Arc<Mutex<BTreeMap<Address, SiteState>>>,
}

/// How one repository is asked.
#[derive(Debug, Clone, Default)]
pub struct SiteState {
    /// The end of the last poll, and what it took.
    last: Option<(Instant, Duration)>,
    next: Option<Instant>,
    pub asking: bool,
    pub failures: u32,
    pub error: Option<String>,
    pub head: Option<RefName>,
    pub commit: Option<CommitId>,
}

impl SiteState {
    /// How long ago the last poll ended, and how long it took.
    #[must_use]
    pub fn last(&self) -> Option<(Duration, Duration)> {
        self.last.map(|(at, took)| (at.elapsed(), took))
    }

    /// How long until the next one.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        self.next.map(|at| at.saturating_duration_since(Instant::now()))
    }
}

impl Sites {
    #[must_use]
    pub fn new(tools: Tools) -> Self {
        Self { tools, states: Arc::default() }
    }

    /// All of them as they are now.
    #[must_use]
    pub fn all(&self) -> BTreeMap<Address, SiteState> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, at: &Address, change: impl FnOnce(&mut SiteState)) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        change(states.entry(at.clone()).or_default());
    }

    pub(super) fn keep(&self, wanted: impl Fn(&Address) -> bool) {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).retain(|at, _| wanted(at));
    }

    pub(super) fn due(&self, at: &Address, next: Instant) {
        self.change(at, |state| state.next = Some(next));
    }

    pub(super) fn begins(&self, at: &Address) {
        self.change(at, |state| (state.asking, state.next) = (true, None));
    }

    pub(super) fn ended(&self, at: &Address, began: Instant, remote: Result<&Remote, String>, failures: u32) {
        self.change(at, |state| {
            state.asking = false;
            state.failures = failures;
            state.last = Some((Instant::now(), began.elapsed()));
            match remote {
                Ok(remote) => {
                    state.error = None;
                    state.head.clone_from(&remote.head);
                    state.commit = remote.head.as_ref().and_then(|head| remote.refs.get(head)).cloned();
                }
                Err(error) => state.error = Some(error),
            }
        });
    }
}
