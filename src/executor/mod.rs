//! The privileged half, as the daemon sees it: in this process, or in one of its own behind a socket
//! (`wire`). Either way it takes orders for definitions that it knows itself. What attempts wrote is
//! read here, by the daemon, from their directories. Calls block; async callers use a blocking thread.

/// Codes that people typed.
mod codes;
/// It itself.
mod here;
/// Whether an order fits a definition.
mod order;
/// It in a process of its own, asked over a socket.
mod remote;
/// What runs left, taken away.
mod removal;
/// What runs need and nobody else may read.
mod secrets;
/// That process: who may ask, and how much at once.
pub mod server;
/// What approvals were used for.
mod spent;
/// Whether people let a deployment go.
mod votes;
/// What is said over the socket.
pub mod wire;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::launch::evidence;
use crate::model::catalog::Person;
use crate::model::job::{Definition, Hash};
use crate::model::name::{PersonName, RunRef};
use crate::model::retention::Part;
use crate::model::statement::Statement;
use crate::model::ticket::{CLAIMED, FactLine, LOCK, StartOrder, TICKET, Ticket};
use crate::run::logfile;
use crate::sys::lock::Lock;

pub use crate::launch::Status;
pub use codes::Taken;
pub use here::{Bounds, Dirs, Here};
pub use spent::Glass;

use remote::Remote;

/// Why an attempt did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It will never be accepted like this.
    #[error("{0}")]
    Refused(String),
    /// This host stood in the way; it may go better later.
    #[error("the attempt could not be started: {0}")]
    Failed(#[from] io::Error),
    /// Nobody answered: it may have started. Only its status tells.
    #[error("it is not known whether the attempt started: {0}")]
    Unclear(io::Error),
}

/// Cheap to clone; all clones are the same executor.
#[derive(Debug, Clone)]
pub struct Executor {
    runs: PathBuf,
    side: Side,
}

#[derive(Debug, Clone)]
enum Side {
    Here(Here),
    Apart(Remote),
}

impl From<Here> for Executor {
    fn from(here: Here) -> Self {
        Self { runs: here.runs().to_owned(), side: Side::Here(here) }
    }
}

fn dir_of(runs: &Path, run: &RunRef, attempt: u32) -> PathBuf {
    runs.join(run.id()).join(attempt.to_string())
}

/// Only ever a reason to look again later; every end is the executor's to judge.
fn is_under_way(dir: &Path) -> bool {
    dir.join(CLAIMED).exists() && Lock::is_held(&dir.join(LOCK)).unwrap_or(false)
}

impl Executor {
    /// In this process, without units (see [`Here::new`]).
    ///
    /// # Errors
    /// If its directories cannot be made.
    pub fn new(dirs: Dirs) -> io::Result<Self> {
        Here::new(dirs).map(Self::from)
    }

    /// The one that listens on this socket. This process needs no rights over runs then.
    #[must_use]
    pub fn apart(runs_dir: &Path, socket: &Path) -> Self {
        Self { runs: runs_dir.to_owned(), side: Side::Apart(Remote::new(socket)) }
    }

    /// Whether it is a process of its own, which reads the job files itself.
    #[must_use]
    pub fn is_apart(&self) -> bool {
        matches!(self.side, Side::Apart(_))
    }

    /// These definitions hold now. One that is apart learns them by [`Executor::reload`].
    pub fn learn(&self, definitions: impl IntoIterator<Item = (Hash, Arc<Definition>)>) {
        if let Side::Here(here) = &self.side {
            here.learn(definitions);
        }
    }

    /// Whose votes count from now on. One that is apart learns them by [`Executor::reload`].
    pub fn know(&self, people: &BTreeMap<PersonName, Person>) {
        if let Side::Here(here) = &self.side {
            here.know(people.clone());
        }
    }

    /// Root lets a run go without votes: said by root to an executor that is apart, before the daemon asks
    /// it to start. One in this process takes it with the order.
    ///
    /// # Errors
    /// If it does not answer, does not know the caller for root, or cannot write it down.
    pub fn break_glass(&self, glass: &Glass) -> io::Result<()> {
        match &self.side {
            Side::Here(here) => here.break_glass(glass),
            Side::Apart(remote) => remote.break_glass(glass),
        }
    }

    /// A person says yes to this with a code. What is told of it is its keeper's word alone.
    ///
    /// # Errors
    /// If it does not answer, or could not write down what came of it.
    pub fn code(&self, statement: &Statement, person: &PersonName, code: &str) -> io::Result<Taken> {
        match &self.side {
            Side::Here(here) => here.code(statement, person, code),
            Side::Apart(remote) => remote.code(statement, person, code),
        }
    }

    /// Nothing starts by these votes any more, whatever is asked later.
    ///
    /// # Errors
    /// If it does not answer, or cannot write it down.
    pub fn withdraw(&self, statement: &Statement, why: &str) -> io::Result<()> {
        match &self.side {
            Side::Here(here) => here.withdraw(statement, why),
            Side::Apart(remote) => remote.withdraw(statement, why),
        }
    }

    /// One that is apart reads the job files anew.
    ///
    /// # Errors
    /// If it does not answer, or could not keep what it read.
    pub fn reload(&self) -> io::Result<()> {
        match &self.side {
            Side::Here(_) => Ok(()),
            Side::Apart(remote) => remote.reload(),
        }
    }

    /// A definition that was learned, where it is in this process.
    #[must_use]
    pub fn definition(&self, hash: &Hash) -> Option<Arc<Definition>> {
        match &self.side {
            Side::Here(here) => here.definition(hash),
            Side::Apart(_) => None,
        }
    }

    /// The directory of an attempt.
    #[must_use]
    pub fn dir(&self, run: &RunRef, attempt: u32) -> PathBuf {
        dir_of(&self.runs, run, attempt)
    }

    /// Starts an attempt. An attempt that was started before is not started again, and that is no error:
    /// its status tells.
    ///
    /// # Errors
    /// [`StartError::Refused`] where the order does not fit what the executor knows.
    pub fn start(&self, order: &StartOrder) -> Result<(), StartError> {
        match &self.side {
            Side::Here(here) => {
                if let Some(reason) = &order.broken_glass {
                    here.break_glass(&Glass::of(order, reason))?;
                }
                here.start(order)
            }
            Side::Apart(remote) => remote.start(order),
        }
    }

    /// Asks an attempt to end; one that is about to be started ends before its first step.
    ///
    /// # Errors
    /// If the wish cannot be written.
    pub fn stop(&self, run: &RunRef, attempt: u32, reason: &str) -> io::Result<()> {
        match &self.side {
            Side::Here(here) => here.stop(run, attempt, reason),
            Side::Apart(remote) => remote.stop(run, attempt, reason),
        }
    }

    /// What can be said of an attempt; one that did not begin and that nobody is starting never will.
    ///
    /// # Errors
    /// If its files cannot be read or nobody answers; nothing is concluded then.
    pub fn status(&self, run: &RunRef, attempt: u32, boot_id: &str) -> io::Result<Status> {
        match &self.side {
            Side::Here(here) => here.status(run, attempt, boot_id),
            // What anybody sees needs no question: whose supervisor holds its lock is not over.
            Side::Apart(_) if is_under_way(&self.dir(run, attempt)) => Ok(Status::Running),
            Side::Apart(remote) => remote.status(run, attempt),
        }
    }

    /// All attempts that have a directory.
    ///
    /// # Errors
    /// If the directory of runs cannot be read.
    pub fn list(&self) -> io::Result<Vec<(RunRef, u32)>> {
        match &self.side {
            Side::Here(here) => here.list(),
            Side::Apart(remote) => remote.list(),
        }
    }

    /// Attempts that are over or run and whose result was not acknowledged, as far as the host knows.
    ///
    /// # Errors
    /// If the host does not say.
    pub fn kept(&self) -> io::Result<Vec<(RunRef, u32)>> {
        match &self.side {
            Side::Here(here) => here.kept(),
            Side::Apart(remote) => remote.kept(),
        }
    }

    /// The result is recorded: the workspace goes; log, events and artifacts stay.
    ///
    /// # Errors
    /// If the attempt still runs, or something cannot be removed.
    pub fn ack(&self, run: &RunRef, attempt: u32) -> io::Result<()> {
        match &self.side {
            Side::Here(here) => here.ack(run, attempt),
            Side::Apart(remote) => remote.ack(run, attempt),
        }
    }

    /// Takes a part of what a finished run left away; gives the bytes that the disk gets back.
    ///
    /// # Errors
    /// If the run is not over, or something cannot be removed.
    pub fn remove(&self, run: &RunRef, part: Part) -> io::Result<u64> {
        match &self.side {
            Side::Here(here) => here.remove(run, part),
            Side::Apart(remote) => remote.remove(run, part),
        }
    }

    /// The mirror that an attempt borrows objects of, by its ticket.
    ///
    /// # Errors
    /// If that cannot be read.
    pub fn mirror_of(&self, run: &RunRef, attempt: u32) -> io::Result<Option<PathBuf>> {
        let text = evidence::read_small(&self.dir(run, attempt), TICKET, here::TICKET_MAX)?;
        let ticket: Ticket = serde_json::from_str(&text)?;
        Ok(ticket.order.mirror)
    }

    /// What taking it away would give back.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn measure(&self, run: &RunRef, part: Part) -> io::Result<u64> {
        removal::measure(&self.runs, run, part)
    }

    /// Facts from an offset of `events.jsonl` on, and the offset to go on from. Complete lines only, a
    /// bounded number of them: ask again until the offset stands still.
    ///
    /// # Errors
    /// If the file is there and cannot be read.
    pub fn facts(&self, run: &RunRef, attempt: u32, from: u64) -> io::Result<(Vec<FactLine>, u64)> {
        let part = evidence::read_part(&self.dir(run, attempt), from)?;
        Ok((part.lines, part.next))
    }

    /// Which byte of the log came when: offset and milliseconds since 1970.
    ///
    /// # Errors
    /// If that is there and cannot be read.
    pub fn log_times(&self, run: &RunRef, attempt: u32) -> io::Result<Vec<(u64, i64)>> {
        logfile::times(&self.dir(run, attempt))
    }

    /// At most `max` bytes of the log from an offset on, and the offset to go on from: behind what is
    /// missing, where the log was longer than its limit.
    ///
    /// # Errors
    /// If the log is there and cannot be read.
    pub fn read_log(&self, run: &RunRef, attempt: u32, from: u64, max: usize) -> io::Result<(Vec<u8>, u64)> {
        logfile::read(&self.dir(run, attempt), from, max)
    }
}
