//! A pass of `[retention]`: asks the history for what is old, page by page, has the core judge it, and
//! waits until what was decided is removed. Mirrors that no job file names go with it. A dry run asks
//! the same judge and touches nothing.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::daemon::turns::Daemon;
use crate::executor::Executor;
use crate::inbox::Inbox;
use crate::model::catalog::PipelineState;
use crate::model::event::{Event, Reply};
use crate::model::name::RunRef;
use crate::model::retention::{MirrorFate, MirrorSeen, Part, Past, Retention, Tally};
use crate::model::time::Timestamp;
use crate::model::view::{GoesRow, MirrorRow, PruneView, SCHEMA, StaysRow};
use crate::pipeline::retention::{self, Verdict};
use crate::pipeline::world::World;
use crate::source::Mirrors;
use crate::store::Reader;

/// Old runs that are judged at once.
const PAGE: usize = 500;
/// Rows of an answer.
const SHOWN: usize = 1000;
/// Results that are told at once.
const TOLD: usize = 50;
/// Between two looks whether all is removed.
const PAUSE: Duration = Duration::from_millis(50);

type Answer = oneshot::Sender<Result<PruneView, String>>;

impl Daemon {
    /// Begins a pass; who asked hears how it went.
    pub(super) fn prune(&self, by: String, dry_run: bool, answer: Option<Answer>) {
        let pass = Pass {
            inbox: self.inbox.clone(),
            reader: self.reader.clone(),
            executor: self.executor.clone(),
            mirrors: self.mirrors.clone(),
        };
        let pruning = self.pruning.clone();
        tokio::spawn(async move {
            let result = match (dry_run, pruning.try_lock()) {
                (true, _) => pass.dry().await,
                (false, Ok(_one_at_a_time)) => pass.carry_out(&by).await,
                (false, Err(_)) => Err("a pass of [retention] is going on already".to_owned()),
            };
            match answer {
                Some(answer) => drop(answer.send(result)),
                None => match result {
                    Ok(view) => info!("[retention]: {}", retention::told(&view.tally)),
                    Err(why) => error!("[retention]: {why}"),
                },
            }
        });
    }

    /// Takes away what is written down as going.
    pub(super) fn remove(&self, parts: Vec<(RunRef, Part)>) {
        let (executor, inbox) = (self.executor.clone(), self.inbox.clone());
        tokio::task::spawn_blocking(move || {
            for some in parts.chunks(TOLD) {
                let one = |(run, part): &(RunRef, Part)| {
                    let result = executor.remove(run, *part).map_err(|error| {
                        warn!("{part} of {run} could not be removed: {error}");
                        error.to_string()
                    });
                    (run.clone(), *part, result)
                };
                inbox.tell_blocking(Event::Removed { gone: some.iter().map(one).collect() });
            }
        });
    }
}

/// What a pass works with.
struct Pass {
    inbox: Inbox,
    reader: Reader,
    executor: Executor,
    mirrors: Mirrors,
}

fn stopping() -> String {
    "shipbell is stopping".to_owned()
}

/// Away from the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
}

impl Pass {
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&World, Timestamp) -> T + Send + 'static,
    ) -> Result<T, String> {
        self.inbox.look(look).await.ok_or_else(stopping)
    }

    async fn settings(&self) -> Result<(Retention, Timestamp), String> {
        self.look(|world, now| (world.scratch.catalog.settings.retention.clone(), now)).await
    }

    async fn past(&self, retention: &Retention, now: Timestamp, after: Option<u64>) -> Result<Past, String> {
        let (reader, retention) = (self.reader.clone(), retention.clone());
        let past = blocking(move || reader.past(&retention, now, after, PAGE)).await?;
        past.map_err(|error| error.to_string())
    }

    async fn carry_out(&self, by: &str) -> Result<PruneView, String> {
        let (_, began) = self.settings().await?;
        let mut after = None;
        loop {
            let (retention, now) = self.settings().await?;
            let past = self.past(&retention, now, after).await?;
            let next = past.next;
            if let Reply::Refused(refusal) = self.inbox.ask(Event::Aged(Box::new(past))).await {
                return Err(refusal.to_string());
            }
            while !self.look(|world, _| world.scratch.removing.is_empty()).await? {
                tokio::time::sleep(PAUSE).await;
            }
            match next {
                Some(_) => after = next,
                None => break,
            }
        }
        let reader = self.reader.clone();
        let tally = blocking(move || reader.removed_since(began)).await?.map_err(|error| error.to_string())?;
        let failed = self.look(|world, _| world.scratch.unremovable.len() as u64).await?;
        let mut tally = Tally { failed, ..tally };
        self.prune_mirrors(&mut tally).await?;
        self.inbox.tell(Event::Pruned { tally, by: by.to_owned() }).await;
        let (_, now) = self.settings().await?;
        let (goes, stays, mirrors) = (Vec::new(), Vec::new(), Vec::new());
        Ok(PruneView { schema: SCHEMA, now, dry_run: false, tally, goes, stays, mirrors })
    }

    async fn dry(&self) -> Result<PruneView, String> {
        let (retention, now) = self.settings().await?;
        let (mut tally, mut goes, mut stays, mut after) = (Tally::default(), Vec::new(), Vec::new(), None);
        loop {
            let past = self.past(&retention, now, after).await?;
            let next = past.next;
            let verdicts = self.look(move |world, now| retention::judge(world, &past, now)).await?;
            let executor = self.executor.clone();
            let rows = blocking(move || measured(&executor, verdicts)).await?;
            for (verdict, parts) in rows {
                for (part, bytes) in parts {
                    count(&mut tally, part, bytes.unwrap_or(0));
                    goes.push(GoesRow { run: verdict.run.clone(), at: verdict.at, part, bytes });
                }
                if let Some(why) = verdict.stays {
                    stays.push(StaysRow { run: verdict.run, at: verdict.at, why });
                }
            }
            goes.truncate(SHOWN);
            stays.truncate(SHOWN);
            match next {
                Some(_) => after = next,
                None => break,
            }
        }
        let mut mirrors = Vec::new();
        for (seen, fate) in self.fates().await?.into_iter().filter(|(seen, _)| !seen.named) {
            let goes = fate == MirrorFate::Goes;
            tally.mirrors += u64::from(goes);
            mirrors.push(MirrorRow { name: seen.name, since: seen.unnamed_since, goes, borrowed: seen.borrowed });
        }
        Ok(PruneView { schema: SCHEMA, now, dry_run: true, tally, goes, stays, mirrors })
    }

    /// Every mirror with what becomes of it.
    async fn fates(&self) -> Result<Vec<(MirrorSeen, MirrorFate)>, String> {
        let (retention, now) = self.settings().await?;
        let taken = self.look(|world, _| {
            // A file that is broken or unsafe names its repository all the same.
            let gone = |state: &PipelineState| matches!(state, PipelineState::Off { gone: true, .. });
            let pipelines = world.scratch.catalog.pipelines.values().filter(|pipeline| !gone(&pipeline.state));
            let repos = pipelines.filter_map(|pipeline| pipeline.repo.as_ref());
            let running = world.runs().filter(|run| run.is_running() && run.commit.is_some());
            let running: Vec<(RunRef, u32)> = running.map(|run| (run.run.clone(), run.attempt)).collect();
            (repos.map(|repo| repo.address()).collect::<Vec<_>>(), running)
        });
        let (repos, running) = taken.await?;
        let (mirrors, executor) = (self.mirrors.clone(), self.executor.clone());
        blocking(move || {
            let named: BTreeSet<PathBuf> = repos.iter().map(|at| mirrors.path(at)).collect();
            let borrowed = borrowed(&executor, &running);
            let found = mirrors.found(&named, borrowed.as_ref()).map_err(|error| format!("mirrors: {error}"))?;
            let judged = |seen: MirrorSeen| {
                let fate = retention::fate_of(&seen, &retention, now);
                (seen, fate)
            };
            Ok(found.into_iter().map(judged).collect())
        })
        .await?
    }

    async fn prune_mirrors(&self, tally: &mut Tally) -> Result<(), String> {
        let (fates, (_, now)) = (self.fates().await?, self.settings().await?);
        let mirrors = self.mirrors.clone();
        tally.bytes += blocking(move || mirrors.sweep_doomed().unwrap_or(0)).await?;
        for (seen, fate) in fates {
            match self.tidy(&seen, fate, now).await? {
                Ok(freed) => {
                    tally.mirrors += u64::from(fate == MirrorFate::Goes);
                    tally.bytes += freed;
                }
                Err(error) => {
                    warn!("mirror {} could not be tidied: {error}", seen.name);
                    tally.failed += 1;
                }
            }
        }
        Ok(())
    }

    /// Gives the bytes that are free again.
    async fn tidy(&self, seen: &MirrorSeen, fate: MirrorFate, now: Timestamp) -> Result<io::Result<u64>, String> {
        let (mirrors, name) = (self.mirrors.clone(), seen.name.clone());
        let settled = blocking(move || mirrors.settle(&name, fate, now)).await?;
        Ok(match (settled, fate) {
            (Err(error), _) => Err(error),
            (Ok(freed), MirrorFate::Goes) => Ok(freed),
            (Ok(freed), _) => self.mirrors.tend(&seen.name, seen.borrowed, now).await.map(|more| freed + more),
        })
    }
}

/// Mirrors that attempts borrow from which go on, by the database or by the host; `None`: nobody can say.
fn borrowed(executor: &Executor, running: &[(RunRef, u32)]) -> Option<BTreeSet<PathBuf>> {
    let kept = executor.kept().ok()?;
    let mut found = BTreeSet::new();
    for (run, attempt) in running.iter().chain(&kept) {
        found.extend(executor.mirror_of(run, *attempt).ok()?);
    }
    Some(found)
}

type Measured = (Verdict, Vec<(Part, Option<u64>)>);

fn measured(executor: &Executor, verdicts: Vec<Verdict>) -> Vec<Measured> {
    let one = |verdict: Verdict| {
        let measure = |part: &Part| (*part, executor.measure(&verdict.run, *part).ok());
        let parts = verdict.goes.iter().map(measure).collect();
        (verdict, parts)
    };
    verdicts.into_iter().map(one).collect()
}

fn count(tally: &mut Tally, part: Part, bytes: u64) {
    match part {
        Part::Artifacts => tally.artifacts += 1,
        Part::Log => tally.logs += 1,
        Part::Run => tally.runs += 1,
    }
    tally.bytes += bytes;
}
