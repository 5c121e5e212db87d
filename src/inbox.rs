//! The one way in to the daemon's loop: tell it what happened, ask it for something, look at the World.
//! The queue is bounded: who brings more than the loop can take waits.

use tokio::sync::{mpsc, oneshot};

use crate::model::event::{Event, Refusal, Reply};
use crate::model::name::PipelineName;
use crate::model::time::Timestamp;
use crate::model::view::PruneView;
use crate::pipeline::world::World;

/// Messages that may wait.
const CAPACITY: usize = 4096;

/// Looks at the World between two turns; must be quick.
pub type Look = Box<dyn FnOnce(&World, Timestamp) + Send>;

/// What the loop takes.
pub enum Message {
    Event(Box<Event>, Option<oneshot::Sender<Reply>>),
    /// What belongs together: decided in one turn, recorded in one transaction.
    Events(Vec<Event>),
    Look(Look),
    /// Read the configuration again; the answer is what it said.
    Reload(oneshot::Sender<ReloadReport>),
    /// Ask a repository now.
    Poll(PipelineName),
    /// A chore of the daemon's own is due.
    Chore(Chore),
    /// Take away what has outlived its time, or only say what would go.
    Prune {
        by: String,
        dry_run: bool,
        reply: oneshot::Sender<Result<PruneView, String>>,
    },
    /// The database is, by its own check.
    Damaged(String),
    Stop,
}

/// The daemon's own chores; `upkeep` says when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chore {
    /// Look at the clock again: a suspended machine does not ring every alarm.
    Heartbeat,
    /// Measure the free space.
    Disk,
    /// Copy the database beside itself.
    Backup,
    /// Let SQLite check the database.
    Check,
    /// Take away what has outlived its time by `[retention]`.
    Prune,
}

/// What a reload came to.
#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct ReloadReport {
    pub files_ok: usize,
    pub files_broken: usize,
    /// The messages of `shipbell check`.
    pub problems: Vec<String>,
}

/// The loop's end.
pub struct Messages(mpsc::Receiver<Message>);

/// Everybody else's end.
#[derive(Clone)]
pub struct Inbox(mpsc::Sender<Message>);

/// A new inbox.
#[must_use]
pub fn inbox() -> (Inbox, Messages) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    (Inbox(sender), Messages(receiver))
}

impl Messages {
    /// Waits for a message. `None` when nobody can send one any more.
    pub async fn next(&mut self) -> Option<Message> {
        self.0.recv().await
    }

    /// A message that is there already.
    pub fn ready(&mut self) -> Option<Message> {
        self.0.try_recv().ok()
    }
}

impl Inbox {
    /// Something happened. Waits while the queue is full; nothing is lost.
    pub async fn tell(&self, event: Event) {
        // The loop is gone only when the daemon ends; then there is nobody to tell.
        let _ = self.0.send(Message::Event(Box::new(event), None)).await;
    }

    /// Several things happened, in this order.
    pub async fn tell_all(&self, events: Vec<Event>) {
        let _ = self.0.send(Message::Events(events)).await;
    }

    /// One thing, from a thread that is not async.
    pub fn tell_blocking(&self, event: Event) {
        let _ = self.0.blocking_send(Message::Event(Box::new(event), None));
    }

    /// Asks for something; the answer comes when it is on disk.
    pub async fn ask(&self, event: Event) -> Reply {
        let (sender, receiver) = oneshot::channel();
        let _ = self.0.send(Message::Event(Box::new(event), Some(sender))).await;
        receiver.await.unwrap_or_else(|_| Reply::Refused(Refusal::NotRecorded("shipbell is stopping".into())))
    }

    /// Looks at the World; `None` when the daemon is stopping.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&World, Timestamp) -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        let look: Look = Box::new(move |world, now| {
            let _ = sender.send(look(world, now));
        });
        self.0.send(Message::Look(look)).await.ok()?;
        receiver.await.ok()
    }

    /// Reads the configuration again.
    pub async fn reload(&self) -> Option<ReloadReport> {
        let (sender, receiver) = oneshot::channel();
        self.0.send(Message::Reload(sender)).await.ok()?;
        receiver.await.ok()
    }

    /// Asks a repository now.
    pub async fn poll(&self, pipeline: PipelineName) {
        let _ = self.0.send(Message::Poll(pipeline)).await;
    }

    /// A chore is due.
    pub async fn chore(&self, chore: Chore) {
        let _ = self.0.send(Message::Chore(chore)).await;
    }

    /// A pass of `[retention]`, or what it would do; `None` when the daemon is stopping.
    pub async fn prune(&self, by: String, dry_run: bool) -> Option<Result<PruneView, String>> {
        let (reply, receiver) = oneshot::channel();
        self.0.send(Message::Prune { by, dry_run, reply }).await.ok()?;
        receiver.await.ok()
    }

    /// From a thread that is not async: nothing can be decided any more.
    pub fn damaged_blocking(&self, why: String) {
        let _ = self.0.blocking_send(Message::Damaged(why));
    }

    pub async fn stop(&self) {
        let _ = self.0.send(Message::Stop).await;
    }
}
