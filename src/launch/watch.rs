//! Hints for the daemon that an attempt has something new: a fact was stated, or the supervisor let its
//! lock go. A hint may be missing or wrong; so everything watched is looked at every two seconds too,
//! and nothing at all happens while nothing is watched.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::model::name::RunRef;
use crate::model::ticket::{EVENTS, LOCK};
use crate::sys::inotify::{Notices, Watch};

/// Between two looks at everything.
const LOOK: Duration = Duration::from_secs(2);

/// One consumer asks it for the next hint; anybody may add and remove.
#[derive(Debug)]
pub struct Watcher {
    notices: AsyncFd<Notices>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    /// `None`: the host gave no watch; the regular look has to do.
    watched: BTreeMap<(RunRef, u32), Option<Watch>>,
    ready: VecDeque<(RunRef, u32)>,
    next_look: Instant,
}

impl State {
    fn hint(&mut self, attempt: (RunRef, u32)) {
        if !self.ready.contains(&attempt) {
            self.ready.push_back(attempt);
        }
    }
}

impl Watcher {
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    /// If the host gives no inotify instance.
    pub fn new() -> io::Result<Self> {
        // Its successor is unsafe to call; what it asks for holds: `Notices` owns its one descriptor.
        #[expect(deprecated, reason = "unsafe stays in sys/, which knows no tokio")]
        let notices = AsyncFd::new(Notices::new()?)?;
        let state = State { watched: BTreeMap::new(), ready: VecDeque::new(), next_look: Instant::now() };
        Ok(Self { notices, state: Mutex::new(state), changed: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A map and a queue are whole after a panic as well.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to watch; the first hint comes at once, for what was stated before.
    pub fn add(&self, run: &RunRef, attempt: u32, dir: &Path) {
        let watch = self.notices.get_ref().watch(dir).ok();
        let mut state = self.state();
        if state.watched.is_empty() {
            state.next_look = Instant::now() + LOOK;
        }
        state.watched.insert((run.clone(), attempt), watch);
        state.hint((run.clone(), attempt));
        drop(state);
        self.changed.notify_one();
    }

    /// Ends watching: the attempt is over.
    pub fn remove(&self, run: &RunRef, attempt: u32) {
        let key = (run.clone(), attempt);
        let mut state = self.state();
        state.ready.retain(|ready| *ready != key);
        if let Some(Some(watch)) = state.watched.remove(&key) {
            self.notices.get_ref().unwatch(watch);
        }
    }

    /// The next attempt to look at. Cancel safe.
    pub async fn next(&self) -> (RunRef, u32) {
        loop {
            let look = {
                let mut state = self.state();
                if let Some(ready) = state.ready.pop_front() {
                    return ready;
                }
                (!state.watched.is_empty()).then_some(state.next_look)
            };
            let pause = async {
                match look {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = pause => self.look_at_all(),
                ready = self.notices.readable() => match ready {
                    Ok(mut guard) => {
                        if let Ok(Ok(found)) = guard.try_io(|notices| notices.get_ref().take(&[EVENTS, LOCK])) {
                            self.found(&found);
                        }
                    }
                    Err(_) => tokio::time::sleep(LOOK).await,
                },
            }
        }
    }

    fn look_at_all(&self) {
        let mut state = self.state();
        state.next_look = Instant::now() + LOOK;
        let all: Vec<_> = state.watched.keys().cloned().collect();
        all.into_iter().for_each(|attempt| state.hint(attempt));
    }

    fn found(&self, found: &[Watch]) {
        let mut state = self.state();
        let is_found = |watch: &Option<Watch>| watch.is_some_and(|watch| found.contains(&watch));
        let hinted: Vec<_> = state.watched.iter().filter(|(_, w)| is_found(w)).map(|(key, _)| key.clone()).collect();
        hinted.into_iter().for_each(|attempt| state.hint(attempt));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_told_soon_and_everything_is_looked_at_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let run: RunRef = "a/b#1".parse().unwrap();
        let watcher = Watcher::new().unwrap();
        let silent = tokio::time::timeout(Duration::from_millis(50), watcher.next()).await;
        assert!(silent.is_err(), "nothing is watched");
        watcher.add(&run, 1, dir.path());
        assert_eq!(watcher.next().await, (run.clone(), 1), "at once");
        let silent = tokio::time::timeout(Duration::from_millis(50), watcher.next()).await;
        assert!(silent.is_err(), "nothing happened");
        let begin = Instant::now();
        std::fs::write(dir.path().join("log"), "x").unwrap();
        std::fs::write(dir.path().join(EVENTS), "x").unwrap();
        assert_eq!(watcher.next().await, (run.clone(), 1));
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        assert_eq!(watcher.next().await, (run.clone(), 1), "the regular look");
        watcher.remove(&run, 1);
        let silent = tokio::time::timeout(Duration::from_millis(50), watcher.next()).await;
        assert!(silent.is_err(), "no longer watched");
    }
}
