//! The loop: drain the inbox, decide, commit, perform. One transaction a turn; if it cannot be written
//! nothing is performed, who asked is told so, and what happened is kept for the next turn.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{oneshot, watch};
use tracing::{debug, error, info, warn};

use crate::clock::{self, Alarm};
use crate::config::Loader;
use crate::daemon::{Failure, Options, reload};
use crate::executor::Executor;
use crate::inbox::{Inbox, Look, Message, Messages};
use crate::model::commit::CommitId;
use crate::model::event::{Change, Event, Refusal, Reply};
use crate::model::name::RunRef;
use crate::model::time::{Seconds, Timestamp};
use crate::pipeline::world::{Scratch, World};
use crate::pipeline::{self, Turn};
use crate::report::token::Keys;
use crate::source::{Mirrors, PollerHandle, Target};
use crate::store::{Reader, Store, StoreError};
use crate::sys::lock::Lock;
use crate::sys::{host, memory};
use crate::web::Client;

/// Events decided in one transaction at the most.
const BATCH: usize = 512;
/// How long a failed commit waits before it is tried again.
const COMMIT_AGAIN: Seconds = Seconds(1);
/// Between two changes of what `systemctl status` shows.
const STATUS_PAUSE: Seconds = Seconds(1);
/// Bytes that a disk must have left to count as one that takes records again.
const ROOM: u64 = 256 << 10;
/// Sightings per ref that the poller compares with.
const KNOWN: usize = 50;

type Asker = Option<oneshot::Sender<Reply>>;

pub(super) struct Daemon {
    pub options: Options,
    pub store: Store,
    pub reader: Reader,
    pub world: World,
    pub executor: Executor,
    pub loader: Arc<Mutex<Loader>>,
    pub mirrors: Mirrors,
    pub keys: Arc<Keys>,
    pub web: Client,
    pub inbox: Inbox,
    pub messages: Messages,
    pub poller: PollerHandle,
    pub targets: watch::Sender<Arc<Vec<Target>>>,
    pub running: UnboundedSender<(RunRef, u32)>,
    pub boot_id: String,
    /// Job files that are not followed.
    pub broken: usize,
    /// Where the pages are.
    pub address: String,
    pub stop: watch::Sender<bool>,
    /// Held by a pass of `[retention]`.
    pub pruning: Arc<tokio::sync::Mutex<()>>,
    /// What was said of our state last, and when the next may be said.
    pub told: (String, Timestamp),
    /// Events whose turn could not be written.
    pub backlog: Vec<Event>,
    pub _lock: Lock,
    pub _chores: Option<crate::upkeep::Chores>,
}

impl Daemon {
    pub(super) async fn turns(&mut self) -> Result<(), Failure> {
        let alarm = Alarm::new().map_err(Failure::io("cannot make a timer"))?;
        let watchdog = sd_notify::watchdog_enabled().map_or(Duration::from_secs(3600), |limit| limit / 2);
        let mut beat = tokio::time::interval(watchdog);
        self.look_at_disk();
        let catalog = self.world.scratch.catalog.clone();
        let first = vec![Event::Reloaded { catalog }, Event::Booted { boot_id: self.boot_id.clone() }];
        let mut wake_at = self.turn(first.into_iter().map(|event| (event, None)).collect())?;
        self.publish_targets();
        self.let_go_of_the_rest();
        self.tell_systemd(&[NotifyState::Ready]);
        memory::give_back();
        info!("ready: {} pipelines, {} broken files", self.world.scratch.catalog.pipelines.len(), self.broken);
        loop {
            while alarm.set(wake_at).map_err(Failure::io("cannot set the timer"))? {
                wake_at = self.turn(vec![(Event::ClockSet, None)])?;
            }
            let message = tokio::select! {
                message = self.messages.next() => message,
                rang = alarm.rang() => {
                    let set = rang.map_err(Failure::io("the timer failed"))?;
                    let event = if set { Event::ClockSet } else { Event::Tick };
                    Some(Message::Event(Box::new(event), None))
                }
                _ = beat.tick() => {
                    self.tell_systemd(&[NotifyState::Watchdog]);
                    continue;
                }
            };
            let Some(message) = message else { return Ok(()) };
            match self.take(message).await? {
                Some(next) => wake_at = next,
                None => return Ok(()),
            }
        }
    }

    /// Takes one message and all that wait behind it; `None`: stop.
    async fn take(&mut self, first: Message) -> Result<Option<Option<Timestamp>>, Failure> {
        let mut events: Vec<(Event, Asker)> = self.backlog.drain(..).map(|event| (event, None)).collect();
        let mut looks: Vec<Look> = Vec::new();
        let mut reloads = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Event(event, asker) => events.push((*event, asker)),
                Message::Events(told) => events.extend(told.into_iter().map(|event| (event, None))),
                Message::Look(look) => looks.push(look),
                Message::Reload(reply) => {
                    let (event, report) = self.reload().await;
                    events.extend(event.map(|event| (event, None)));
                    reloads.push((reply, report));
                }
                Message::Poll(pipeline) => self.poller.poke(&pipeline),
                Message::Chore(chore) => {
                    self.chore(chore);
                    events.push((Event::Tick, None));
                }
                Message::Prune { by, dry_run, reply } => self.prune(by, dry_run, Some(reply)),
                Message::Damaged(why) => return Err(Failure::Lost(format!("the database is damaged: {why}"))),
                Message::Stop => return Ok(None),
            }
            next = if events.len() < BATCH { self.messages.ready() } else { None };
        }
        let wake_at = self.turn(events)?;
        if !reloads.is_empty() {
            memory::give_back();
        }
        for (reply, report) in reloads {
            let _ = reply.send(report);
        }
        let now = clock::now();
        for look in looks {
            look(&self.world, now);
        }
        Ok(Some(wake_at))
    }

    /// Decides on the events, commits, performs.
    fn turn(&mut self, mut asked: Vec<(Event, Asker)>) -> Result<Option<Timestamp>, Failure> {
        self.recall(&mut asked);
        let now = clock::now();
        let (events, askers): (Vec<Event>, Vec<Asker>) = asked.into_iter().unzip();
        let before = self.world.scratch.before_turn();
        let Turn { changes, actions, replies, wake_at } = pipeline::turn(&mut self.world, &events, now);
        if !changes.is_empty() {
            let written = tokio::task::block_in_place(|| self.store.commit(&changes));
            if let Err(error) = written {
                return self.not_recorded(events, askers, before, &error, now).map(Some);
            }
        }
        let again = (!self.records(now)).then(|| COMMIT_AGAIN.after(now));
        for (asker, reply) in askers.into_iter().zip(replies) {
            if let Some(asker) = asker {
                let _ = asker.send(reply);
            }
        }
        debug!("turn: {} events, {} changes, {} actions", events.len(), changes.len(), actions.len());
        self.log(&changes);
        self.perform(actions);
        self.acknowledge(&changes);
        if changes.iter().any(alters_targets) || events.iter().any(|event| matches!(event, Event::Reloaded { .. })) {
            self.publish_targets();
        }
        Ok(wake_at.into_iter().chain(again).chain(self.status(now)).min())
    }

    /// Whether the disk takes records, tried anew after it took none.
    fn records(&mut self, now: Timestamp) -> bool {
        // Its journal may have room inside while the disk has none.
        let room = || host::free_bytes(&self.options.layout.database()).is_ok_and(|free| free >= ROOM);
        self.store.is_recording() || (room() && self.store.try_recording(now))
    }

    /// The database did not take it: nothing is performed, the World is what the database says, who
    /// asked hears it, and facts are kept for the next try.
    fn not_recorded(
        &mut self,
        events: Vec<Event>,
        askers: Vec<Asker>,
        before: Scratch,
        why: &StoreError,
        now: Timestamp,
    ) -> Result<Timestamp, Failure> {
        error!("not recorded, nothing was done: {why}");
        for (event, asker) in events.into_iter().zip(askers) {
            match asker {
                Some(asker) => {
                    let _ = asker.send(Reply::Refused(Refusal::NotRecorded(why.to_string())));
                }
                None if matches!(
                    event,
                    Event::Tick | Event::ClockSet | Event::Booted { .. } | Event::Reloaded { .. }
                ) => {}
                None => self.backlog.push(event),
            }
        }
        if let StoreError::Lost(_) = why {
            return Err(Failure::Lost(why.to_string()));
        }
        let loaded = self.store.load();
        let loaded =
            loaded.map_err(|error| Failure::Other(format!("the database cannot be read any more: {error}")))?;
        self.world.undo(loaded, before);
        Ok(COMMIT_AGAIN.after(now))
    }

    /// What the store knows of commits that come (back) into view.
    fn recall(&mut self, asked: &mut [(Event, Asker)]) {
        for (event, _) in asked {
            if let Event::BackfillRequested(request) = event {
                match tokio::task::block_in_place(|| self.reader.due_runs(&request.job, request.from, request.to)) {
                    Ok(known) => request.known = known,
                    Err(error) => error!("the runs of {} could not be read: {error}", request.job),
                }
            }
            let (pipeline, commits): (_, Vec<CommitId>) = match event {
                Event::Polled { pipeline, poll } => {
                    let seen = poll.heads.iter().flat_map(|head| head.between.iter().chain([&head.commit]));
                    (&*pipeline, seen.map(|info| info.id.clone()).collect())
                }
                Event::RetryRequested { old, .. } => (&old.run.job.pipeline, old.commit.iter().cloned().collect()),
                _ => continue,
            };
            match tokio::task::block_in_place(|| self.reader.standings(pipeline, &commits)) {
                Ok(standings) => self.world.recall(&standings),
                Err(error) => error!("the standings of {pipeline} could not be read: {error}"),
            }
            if let Event::RetryRequested { old, gone, .. } = event {
                for run in pipeline::manual::stands_on(&self.world, old) {
                    match tokio::task::block_in_place(|| self.reader.removals(&run)) {
                        Ok(removals) => gone.extend(removals),
                        Err(error) => error!("what was removed of {run} could not be read: {error}"),
                    }
                }
            }
        }
    }

    async fn reload(&mut self) -> (Option<Event>, crate::inbox::ReloadReport) {
        self.tell_systemd(&[NotifyState::Reloading, NotifyState::monotonic_usec_now().unwrap_or(NotifyState::Ready)]);
        let (options, executor, loader) = (self.options.clone(), self.executor.clone(), Arc::clone(&self.loader));
        let loaded = tokio::task::spawn_blocking(move || reload::load(&options, &executor, &loader)).await;
        self.tell_systemd(&[NotifyState::Ready]);
        let error = match loaded {
            Ok(mut loaded) => {
                reload::name_address(&mut loaded.catalog, &self.address);
                let (old, new) = (&self.world.scratch.catalog.settings, &loaded.catalog.settings);
                if (&old.listen, &old.public_url) != (&new.listen, &new.public_url) {
                    warn!("`listen` and `public-url` take effect at the next start: systemctl restart shipbell");
                }
                let report = reload::report(&loaded);
                self.broken = report.files_broken;
                info!("reloaded: {} files ok, {} broken", report.files_ok, report.files_broken);
                return (Some(Event::Reloaded { catalog: Arc::new(loaded.catalog) }), report);
            }
            Err(panicked) => panicked.to_string(),
        };
        let text = format!("not reloaded, the configuration of before stays: {error}");
        error!("{text}");
        (None, reload::failed(&self.world.scratch.catalog, text))
    }

    /// Tells the poller what to ask and what is known.
    fn publish_targets(&self) {
        let targets: Vec<Target> = self
            .world
            .scratch
            .catalog
            .pipelines
            .values()
            .filter(|pipeline| !matches!(pipeline.state, crate::model::catalog::PipelineState::Off { .. }))
            .filter_map(|pipeline| {
                let repo = pipeline.repo.as_ref()?;
                let live = self.world.live.get(&pipeline.name);
                let seen = live.and_then(|live| live.seen.as_ref()).filter(|seen| seen.url == repo.url);
                let rows = live.filter(|_| seen.is_some()).map(|live| &live.sightings);
                let newest = |row: &Vec<crate::model::commit::Sighting>| {
                    row.iter()
                        .skip(row.len().saturating_sub(KNOWN))
                        .map(|sighting| sighting.commit.id.clone())
                        .collect()
                };
                Some(Target {
                    pipeline: Arc::clone(pipeline),
                    at: repo.address(),
                    every: repo.poll.duration(),
                    known: rows.into_iter().flatten().map(|(git_ref, row)| (git_ref.clone(), newest(row))).collect(),
                    head: seen.and_then(|seen| seen.head.clone()),
                })
            })
            .collect();
        self.targets.send_replace(Arc::new(targets));
    }

    fn log(&self, changes: &[Change]) {
        for change in changes {
            if let Change::Journal(line) = change {
                info!("{} {}: {} ({})", line.verb, line.subject, line.detail, line.actor);
            }
        }
    }

    pub(super) fn state_dir(&self) -> &Path {
        &self.options.layout.state_dir
    }

    /// `systemctl status` shows it. Each change is work for PID 1 and for all who listen to it: so not at each
    /// turn while much goes on; then the time to say it.
    fn status(&mut self, now: Timestamp) -> Option<Timestamp> {
        let open = self.world.live.values().map(|live| live.requests.len()).sum::<usize>();
        let text = format!(
            "{} pipelines, {} running, {} waiting for approval{}",
            self.world.scratch.catalog.pipelines.len(),
            self.world.scratch.running.len(),
            open,
            if self.broken > 0 { format!(", {} broken files", self.broken) } else { String::new() },
        );
        let (told, next) = &self.told;
        if *told == text {
            return None;
        }
        // A clock that was set back does not make it wait for long.
        if now < *next && *next <= STATUS_PAUSE.after(now) {
            return Some(*next);
        }
        self.tell_systemd(&[NotifyState::Status(&text)]);
        self.told = (text, STATUS_PAUSE.after(now));
        None
    }

    fn tell_systemd(&self, states: &[NotifyState<'_>]) {
        // Without systemd there is no socket and nothing to tell.
        if let Err(error) = sd_notify::notify(states) {
            debug!("systemd was not told: {error}");
        }
    }

    pub(super) fn farewell(&self) {
        self.tell_systemd(&[NotifyState::Stopping]);
        let running = self.world.scratch.running.len();
        info!("stopping; {running} running jobs go on and are taken up again at the next start");
        self.stop.send_replace(true);
    }
}

fn alters_targets(change: &Change) -> bool {
    matches!(change, Change::SightingPut(_) | Change::PipelineSeen { .. } | Change::RefGone { .. })
}
