//! Hints for the daemon that an attempt has something new: a fact was stated, or the supervisor let its
//! lock go. A hint may be missing or wrong; so everything watched is looked at every two seconds too,
//! and nothing at all happens while nothing is watched.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
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
    watched: BTreeMap<(RunRef, u32), Watched>,
    ready: VecDeque<(RunRef, u32)>,
    next_look: Instant,
}

/// Where the host gave no watch, the regular look has to do.
#[derive(Debug)]
struct Watched {
    dir: PathBuf,
    dir_watch: Option<Watch>,
    /// Of the facts alone: a step that prints much must not wake us up for each piece of its log.
    facts_watch: Option<Watch>,
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
        let dir_watch = self.notices.get_ref().watch_dir(dir).ok();
        let mut watched = Watched { dir: dir.to_owned(), dir_watch, facts_watch: None };
        self.watch_facts(&mut watched);
        let mut state = self.state();
        if state.watched.is_empty() {
            state.next_look = Instant::now() + LOOK;
        }
        state.watched.insert((run.clone(), attempt), watched);
        state.hint((run.clone(), attempt));
        drop(state);
        self.changed.notify_one();
    }

    /// Ends watching: the attempt is over.
    pub fn remove(&self, run: &RunRef, attempt: u32) {
        let key = (run.clone(), attempt);
        let mut state = self.state();
        state.ready.retain(|ready| *ready != key);
        let Some(watched) = state.watched.remove(&key) else { return };
        for watch in [watched.dir_watch, watched.facts_watch].into_iter().flatten() {
            self.notices.get_ref().unwatch(watch);
        }
    }

    /// The file is made by the supervisor, so it may not be there yet.
    fn watch_facts(&self, watched: &mut Watched) {
        if watched.facts_watch.is_none() {
            watched.facts_watch = self.notices.get_ref().watch_file(&watched.dir.join(EVENTS)).ok();
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
        self.hint_where(&mut state, |_| true);
    }

    fn found(&self, found: &[Watch]) {
        let is_found = |watch: &Option<Watch>| watch.is_some_and(|watch| found.contains(&watch));
        let mut state = self.state();
        self.hint_where(&mut state, |watched| is_found(&watched.dir_watch) || is_found(&watched.facts_watch));
    }

    /// The watch is set before the hint is given: what is written after the look that the hint causes
    /// is told of again.
    fn hint_where(&self, state: &mut State, wanted: impl Fn(&Watched) -> bool) {
        let mut hinted = Vec::new();
        for (attempt, watched) in state.watched.iter_mut().filter(|(_, watched)| wanted(watched)) {
            self.watch_facts(watched);
            hinted.push(attempt.clone());
        }
        hinted.into_iter().for_each(|attempt| state.hint(attempt));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

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
        let mut facts = std::fs::File::create(dir.path().join(EVENTS)).unwrap();
        for _ in 0..3 {
            assert_eq!(watcher.next().await, (run.clone(), 1));
            facts.write_all(b"x").unwrap();
        }
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        assert_eq!(watcher.next().await, (run.clone(), 1), "the last write");
        assert_eq!(watcher.next().await, (run.clone(), 1), "the regular look");
        drop(crate::sys::lock::Lock::take(&dir.path().join(LOCK)).unwrap());
        assert_eq!(watcher.next().await, (run.clone(), 1), "the lock was let go");
        watcher.remove(&run, 1);
        let silent = tokio::time::timeout(Duration::from_millis(50), watcher.next()).await;
        assert!(silent.is_err(), "no longer watched");
    }
}
