//! When repositories are looked at: one task per URL and credential however many pipelines use it, so that
//! a server which hangs delays nobody else. Failing ones are asked ever less often, a poke asks now. What was
//! said once is not said again; what the pipeline does not seem to have heard is, after a while.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, sleep_until};

use super::poll::{Deadlines, Look, Said, Target, Tools, look};
use super::sites::Sites;
use crate::model::catalog::{Address, Pipeline};
use crate::model::commit::{CommitId, RefName};
use crate::model::event::Event;
use crate::model::job::Hash;
use crate::model::name::PipelineName;

const DEADLINES: Deadlines = Deadlines { ask: Duration::from_secs(60), fetch: Duration::from_secs(600) };
/// No URL is asked more often, whoever pokes.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
const BACK_OFF_MAX: Duration = Duration::from_secs(600);
/// Something said but, by what the pipeline knows, not heard, is said again after so long.
const SAY_AGAIN: Duration = Duration::from_secs(60);
/// How often the mirror is looked at although the remote says nothing new.
const LOOK_AGAIN: Duration = Duration::from_secs(600);
/// Up to so many new repositories are asked at once; more are spread out.
const AT_ONCE: usize = 8;

type Targets = watch::Receiver<Arc<Vec<Target>>>;

/// Looks at all repositories at their intervals.
pub struct Poller<T> {
    known: Sites,
    targets: Targets,
    tell: T,
    sites: BTreeMap<Address, Asked>,
}

/// The task of one repository; dropped, it ends, and its children with it.
struct Asked {
    poke: Arc<Notify>,
    task: AbortHandle,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Pokes the poller; dropped, it stops.
pub struct PollerHandle {
    known: Sites,
    pokes: mpsc::UnboundedSender<PipelineName>,
    task: JoinHandle<()>,
}

impl PollerHandle {
    /// What is known of how repositories are asked.
    #[must_use]
    pub fn sites(&self) -> &Sites {
        &self.known
    }

    /// Looks at the repository of this pipeline now.
    pub fn poke(&self, pipeline: &PipelineName) {
        let _ = self.pokes.send(pipeline.clone());
    }
}

impl Drop for PollerHandle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<T: Fn(Event) + Send + Sync + Clone + 'static> Poller<T> {
    /// Starts looking at the `targets`, which may change at any time; `tell` hears what is seen. Needs
    /// a tokio runtime around it.
    pub fn start(tools: Tools, targets: Targets, tell: T) -> PollerHandle {
        let (pokes, poked) = mpsc::unbounded_channel();
        let known = Sites::new(tools);
        let poller = Self { known: known.clone(), targets, tell, sites: BTreeMap::new() };
        PollerHandle { known, pokes, task: tokio::spawn(poller.run(poked)) }
    }

    async fn run(mut self, mut poked: mpsc::UnboundedReceiver<PipelineName>) {
        loop {
            let now = self.targets.borrow_and_update().clone();
            self.follow(&now);
            tokio::select! {
                changed = self.targets.changed() => if changed.is_err() { return },
                pipeline = poked.recv() => match pipeline {
                    Some(pipeline) => self.poke(&now, &pipeline),
                    None => return,
                },
            }
        }
    }

    /// One task for each repository that is wanted, none for others.
    fn follow(&mut self, targets: &[Target]) {
        let wanted: BTreeSet<&Address> = targets.iter().map(|target| &target.at).collect();
        self.sites.retain(|at, _| wanted.contains(at));
        self.known.keep(|at| wanted.contains(at));
        let new: Vec<&Address> = wanted.into_iter().filter(|at| !self.sites.contains_key(at)).collect();
        for at in &new {
            let poke = Arc::new(Notify::new());
            let site = Site {
                at: (*at).clone(),
                known: self.known.clone(),
                targets: self.targets.clone(),
                poke: poke.clone(),
                tell: self.tell.clone(),
                seen: BTreeMap::new(),
                told: BTreeMap::new(),
                last: None,
                looked: Instant::now(),
                failures: 0,
            };
            let task = tokio::spawn(site.run(first_wait(at, new.len()))).abort_handle();
            self.sites.insert((*at).clone(), Asked { poke, task });
        }
    }

    fn poke(&self, targets: &[Target], pipeline: &PipelineName) {
        let its = targets.iter().filter(|target| target.pipeline.name == *pipeline).map(|target| &target.at);
        its.filter_map(|at| self.sites.get(at)).for_each(|site| site.poke.notify_one());
    }
}

/// At once where there are few; else up to five seconds, by the URL, so the same after each start.
fn first_wait(at: &Address, new: usize) -> Duration {
    if new <= AT_ONCE {
        return Duration::ZERO;
    }
    let spread = u64::try_from(new).unwrap_or(u64::MAX).saturating_mul(25).min(5000);
    let hash = Sha256::digest(at.key()).iter().take(7).fold(0_u64, |sum, &byte| (sum << 8) | u64::from(byte));
    Duration::from_millis(hash % spread)
}

/// What was last said of a pipeline.
struct Told {
    head: Option<RefName>,
    tips: BTreeMap<RefName, CommitId>,
    /// By which list of signers they were judged.
    signers: Option<Hash>,
    answered: bool,
    trouble: Option<String>,
    at: Instant,
}

/// One repository.
struct Site<T> {
    at: Address,
    known: Sites,
    targets: Targets,
    poke: Arc<Notify>,
    tell: T,
    /// The pipelines as they were at the last look: a changed one is looked at now.
    seen: BTreeMap<PipelineName, Arc<Pipeline>>,
    told: BTreeMap<PipelineName, Told>,
    last: Option<Arc<Said>>,
    /// When the mirror itself was last looked at.
    looked: Instant,
    failures: u32,
}

impl<T: Fn(Event) + Send + Sync + Clone + 'static> Site<T> {
    async fn run(mut self, first: Duration) {
        let mut due = Instant::now() + first;
        loop {
            self.known.due(&self.at, due);
            tokio::select! {
                () = sleep_until(due) => {}
                () = self.poke.notified() => {
                    self.failures = 0;
                }
                changed = self.targets.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // While the first look is due there is nothing to hurry.
                    if self.seen.is_empty() || !self.is_changed() {
                        due = due.min(Instant::now() + self.wait());
                        continue;
                    }
                }
            }
            let began = Instant::now();
            self.look().await;
            due = began + self.wait();
            self.known.due(&self.at, due);
            sleep_until(began + INTERVAL_MIN).await;
        }
    }

    /// Mine of all targets, as they are now.
    fn mine(&mut self) -> Vec<Target> {
        let all = self.targets.borrow_and_update().clone();
        all.iter().filter(|target| target.at == self.at).cloned().collect()
    }

    /// Whether a pipeline came or its file changed since the last look.
    fn is_changed(&mut self) -> bool {
        let mine = self.mine();
        mine.iter().any(|target| self.seen.get(&target.pipeline.name) != Some(&target.pipeline))
    }

    /// Until the next look: the smallest interval; after failures longer, with jitter.
    fn wait(&mut self) -> Duration {
        let every = self.mine().iter().map(|target| target.every).min().unwrap_or(BACK_OFF_MAX).max(INTERVAL_MIN);
        if self.failures == 0 {
            return every;
        }
        let most = BACK_OFF_MAX.min(every.saturating_mul(10)).max(every);
        let longer = every.saturating_mul(1 << self.failures.min(10)).min(most);
        let jitter = f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX);
        longer.mul_f64(0.8 + 0.4 * jitter)
    }

    async fn look(&mut self) {
        let (mine, began) = (self.mine(), Instant::now());
        self.known.begins(&self.at);
        // Now and then all is looked at, whatever the remote says: somebody may have emptied the cache.
        if self.looked.elapsed() >= LOOK_AGAIN || self.is_changed() {
            (self.last, self.looked) = (None, began);
        }
        let looked = look(&self.known.tools, &self.at, &mine, DEADLINES, self.last.as_ref()).await;
        self.failures = if looked.remote.is_ok() { 0 } else { self.failures.saturating_add(1) };
        let said = looked.remote.as_ref().map(|said| &said.remote).map_err(Clone::clone);
        self.known.ended(&self.at, began, said, self.failures);
        // Who got no answer is told everything the next time.
        self.last = looked.remote.ok().filter(|_| looked.looks.iter().all(|look| look.answer.is_some()));
        self.seen = mine.into_iter().map(|target| (target.pipeline.name.clone(), target.pipeline)).collect();
        self.told.retain(|pipeline, _| self.seen.contains_key(pipeline));
        for look in looked.looks {
            if self.is_worth_telling(&look) {
                look.events().for_each(|event| (self.tell)(event));
            }
        }
    }

    /// The first look, every change, and news that the pipeline seems not to have heard.
    fn is_worth_telling(&mut self, look: &Look) -> bool {
        let heads = look.answer.iter().flat_map(|answer| &answer.heads);
        let now = Told {
            head: look.answer.as_ref().and_then(|answer| answer.head.clone()),
            tips: heads.map(|head| (head.git_ref.clone(), head.commit.id.clone())).collect(),
            signers: look.answer.as_ref().and_then(|answer| answer.signers.clone()),
            answered: look.answer.is_some(),
            trouble: look.trouble.clone(),
            at: Instant::now(),
        };
        let same = |told: &&Told| {
            told.head == now.head
                && told.tips == now.tips
                && told.signers == now.signers
                && told.answered == now.answered
                && told.trouble == now.trouble
                && (!look.news || told.at + SAY_AGAIN > now.at)
        };
        if self.told.get(&look.pipeline).filter(same).is_some() {
            return false;
        }
        self.told.insert(look.pipeline.clone(), now);
        true
    }
}
