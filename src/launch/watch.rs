//! Hints for the daemon that an attempt has something new: its supervisor let the lock go, which is told at
//! once, or facts were stated, which may wait a little: a short run is then told as a whole, in one
//! transaction. A hint may be missing or wrong; so everything watched is looked at every two seconds too,
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
use crate::sys::inotify::{Notice, Notices, Watch};
use crate::sys::lock::Lock;

/// Between two looks at everything.
const LOOK: Duration = Duration::from_secs(2);
/// How long facts wait for those that follow them at once.
const PAUSE: Duration = Duration::from_millis(50);

/// One consumer asks it for the next hint; anybody may add and remove.
#[derive(Debug)]
pub struct Watcher {
    notices: AsyncFd<Notices>,
    state: Mutex<State>,
    changed: Notify,
}

/// What is worth a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// Whether it is over.
    End(RunRef, u32),
    /// That, and the facts.
    News(RunRef, u32),
}

type Key = (RunRef, u32);

#[derive(Debug)]
struct State {
    watched: BTreeMap<Key, Watched>,
    ended: VecDeque<Key>,
    /// And when to look.
    news: BTreeMap<Key, Instant>,
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
    fn end(&mut self, attempt: &Key) {
        if !self.ended.contains(attempt) {
            self.ended.push_back(attempt.clone());
        }
    }

    fn news(&mut self, attempt: &Key, at: Instant) {
        self.news.entry(attempt.clone()).or_insert(at);
    }

    /// The next instant at which there is something to do, if nothing happens before.
    fn due(&self) -> Option<Instant> {
        let look = (!self.watched.is_empty()).then_some(self.next_look);
        look.into_iter().chain(self.news.values().copied()).min()
    }

    /// Whose directory or file it is.
    fn of(&self, watch: Watch) -> Option<Key> {
        let of = |watched: &Watched| [watched.dir_watch, watched.facts_watch].contains(&Some(watch));
        self.watched.iter().find(|(_, watched)| of(watched)).map(|(attempt, _)| attempt.clone())
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
        let (watched, ended, news) = (BTreeMap::new(), VecDeque::new(), BTreeMap::new());
        let state = State { watched, ended, news, next_look: Instant::now() };
        Ok(Self { notices, state: Mutex::new(state), changed: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A map and a queue are whole after a panic as well.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to watch. That it ended before is told at once, what it stated before soon.
    pub fn add(&self, run: &RunRef, attempt: u32, dir: &Path) {
        let dir_watch = self.notices.get_ref().watch_dir(dir).ok();
        let watched = Watched { dir: dir.to_owned(), dir_watch, facts_watch: None };
        let (key, now) = ((run.clone(), attempt), Instant::now());
        let mut state = self.state();
        if state.watched.is_empty() {
            state.next_look = now + LOOK;
        }
        // Its lock was let go before the watch; one that is not there yet will be.
        let lock = dir.join(LOCK);
        let is_over = lock.exists() && !Lock::is_held(&lock).unwrap_or(false);
        if is_over || watched.dir_watch.is_none() {
            state.end(&key);
        }
        state.watched.insert(key.clone(), watched);
        state.news(&key, now + PAUSE);
        drop(state);
        self.changed.notify_one();
    }

    /// Ends watching: the attempt is over.
    pub fn remove(&self, run: &RunRef, attempt: u32) {
        let key = (run.clone(), attempt);
        let mut state = self.state();
        state.ended.retain(|ended| *ended != key);
        state.news.remove(&key);
        let Some(watched) = state.watched.remove(&key) else { return };
        for watch in [watched.dir_watch, watched.facts_watch].into_iter().flatten() {
            self.notices.get_ref().unwatch(watch);
        }
    }

    /// The next attempt to look at. Cancel safe.
    pub async fn next(&self) -> Hint {
        loop {
            let due = {
                let mut state = self.state();
                if let Some((run, attempt)) = state.ended.pop_front() {
                    return Hint::End(run, attempt);
                }
                if let Some((run, attempt)) = self.due_news(&mut state, Instant::now()) {
                    return Hint::News(run, attempt);
                }
                state.due()
            };
            let pause = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = pause => {}
                ready = self.notices.readable() => match ready {
                    Ok(mut guard) => {
                        if let Ok(Ok(found)) = guard.try_io(|notices| notices.get_ref().take()) {
                            self.found(&found);
                        }
                    }
                    Err(_) => tokio::time::sleep(LOOK).await,
                },
            }
        }
    }

    /// The watch is set before the hint is given: what is written after the look that the hint causes is
    /// told of again. The file is made by the supervisor, so it may not have been there before.
    fn due_news(&self, state: &mut State, now: Instant) -> Option<Key> {
        if now >= state.next_look {
            state.next_look = now + LOOK;
            let all: Vec<Key> = state.watched.keys().cloned().collect();
            all.iter().for_each(|attempt| state.news(attempt, now));
        }
        let key =
            state.news.iter().filter(|(_, at)| **at <= now).min_by_key(|(_, at)| **at).map(|(key, _)| key.clone())?;
        state.news.remove(&key);
        if let Some(watched) = state.watched.get_mut(&key).filter(|watched| watched.facts_watch.is_none()) {
            watched.facts_watch = self.notices.get_ref().watch_file(&watched.dir.join(EVENTS)).ok();
        }
        Some(key)
    }

    fn found(&self, found: &[Notice]) {
        let soon = Instant::now() + PAUSE;
        let mut state = self.state();
        for notice in found {
            let Some(attempt) = state.of(notice.watch) else { continue };
            match &notice.name {
                Some(name) if name == LOCK && notice.closed => state.end(&attempt),
                Some(name) if name == EVENTS => state.news(&attempt, soon),
                None => state.news(&attempt, soon),
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[tokio::test]
    async fn an_end_is_told_at_once_news_soon_and_everything_is_looked_at_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let run: RunRef = "a/b#1".parse().unwrap();
        let (end, news) = (Hint::End(run.clone(), 1), Hint::News(run.clone(), 1));
        let watcher = Watcher::new().unwrap();
        let silent = tokio::time::timeout(Duration::from_millis(50), watcher.next()).await;
        assert!(silent.is_err(), "nothing is watched");
        watcher.add(&run, 1, dir.path());
        assert_eq!(watcher.next().await, news, "it may have stated something");
        let silent = tokio::time::timeout(Duration::from_millis(100), watcher.next()).await;
        assert!(silent.is_err(), "nothing happened");
        let begin = Instant::now();
        std::fs::write(dir.path().join("log"), "x").unwrap();
        let mut facts = std::fs::File::create(dir.path().join(EVENTS)).unwrap();
        for _ in 0..3 {
            assert_eq!(watcher.next().await, news);
            facts.write_all(b"x").unwrap();
            facts.write_all(b"y").unwrap();
        }
        assert_eq!(watcher.next().await, news, "the last write");
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        assert_eq!(watcher.next().await, news, "the regular look");
        facts.write_all(b"z").unwrap();
        let lock = Lock::take(&dir.path().join(LOCK)).unwrap();
        drop(lock);
        assert_eq!(watcher.next().await, end, "the lock was let go: that is told first");
        assert_eq!(watcher.next().await, news);
        watcher.remove(&run, 1);
        let silent = tokio::time::timeout(Duration::from_millis(100), watcher.next()).await;
        assert!(silent.is_err(), "no longer watched");
        watcher.add(&run, 1, dir.path());
        assert_eq!(watcher.next().await, end, "it ended before it was watched");
    }
}
