//! Starts supervisors and says what became of them. What an attempt means is not decided here: the
//! launcher reads what stands on disk, and the worse of two readings holds.

/// What stands in `events.jsonl`, and what it proves.
pub mod evidence;
/// The launcher that needs neither systemd nor root.
pub mod local;
/// The process that its supervisors are copies of.
mod nursery;
/// The launcher of hosts that systemd runs.
pub mod systemd;
/// Hints that an attempt has something new.
pub mod watch;

use std::fs::File;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::model::job::{Definition, Sandbox};
use crate::model::name::RunRef;
use crate::model::ticket::{Evidence, OUT, StartOrder, Ticket, WORK};
use crate::run;

use local::Local;
use systemd::Systemd;

/// What can be said of an attempt now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Its supervisor lives, or is about to begin.
    Running,
    Over(Evidence),
}

/// One of them, chosen once for a process by what is there. A run that the chosen one cannot start does
/// not start: nothing falls back to less protection in silence.
#[derive(Debug, Clone)]
pub enum Launcher {
    Local(Local),
    Systemd(Systemd),
}

impl Launcher {
    /// The unit that an attempt is carried out in, where there are units.
    #[must_use]
    pub fn unit(&self, run: &RunRef, attempt: u32) -> Option<String> {
        match self {
            Self::Local(_) => None,
            Self::Systemd(_) => Some(systemd::unit::name(run, attempt)),
        }
    }

    /// Whether it can give a job the protection that its file asks for, and may show it its mirror.
    ///
    /// # Errors
    /// A text for people: what is missing.
    pub fn accepts(&self, definition: &Definition, order: &StartOrder) -> Result<(), String> {
        match (self, definition.sandbox) {
            (Self::Systemd(systemd), _) => systemd.accepts(order),
            (Self::Local(_), Sandbox::Offline) => Err(format!(
                "{}: sandbox = \"offline\" needs systemd, and a Shipbell that systemd runs as root; \
                 without it steps have the host's network",
                definition.key
            )),
            (Self::Local(_), _) => Ok(()),
        }
    }

    /// `secrets` is what the supervisor finds on its standard input.
    ///
    /// # Errors
    /// If the supervisor cannot be started; then nothing began and nothing will.
    pub fn launch(&self, dir: &Path, ticket: &Ticket, secrets: Option<&File>) -> io::Result<()> {
        match self {
            Self::Local(local) => local.launch(dir, secrets),
            Self::Systemd(systemd) => systemd.launch(dir, ticket, secrets),
        }
    }

    /// # Errors
    /// If it cannot be found out; then nothing is concluded.
    pub fn status(&self, dir: &Path, run: &RunRef, attempt: u32, boot_id: &str) -> io::Result<Status> {
        match self {
            Self::Local(local) => local.status(dir, boot_id),
            Self::Systemd(systemd) => systemd.status(dir, run, attempt, boot_id),
        }
    }

    /// Whether it was launched so lately that its supervisor need not have claimed yet.
    #[must_use]
    pub fn is_beginning(&self, run: &RunRef, attempt: u32) -> bool {
        match self {
            Self::Local(_) => false,
            Self::Systemd(systemd) => systemd.is_beginning(run, attempt),
        }
    }

    /// Asks the supervisor of an attempt to end it, whoever started it.
    ///
    /// # Errors
    /// If the wish cannot be written.
    pub fn stop(&self, dir: &Path, reason: &str) -> io::Result<()> {
        local::stop(dir, reason)
    }

    /// The result of an attempt is recorded: what its steps had goes.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn ack(&self, dir: &Path, run: &RunRef, attempt: u32) -> io::Result<()> {
        match self {
            Self::Local(_) => run::sweep(dir),
            Self::Systemd(systemd) => systemd.ack(dir, run, attempt),
        }
    }

    /// The same, and nothing of it is left to go by itself.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn let_go(&self, dir: &Path, run: &RunRef, attempt: u32) -> io::Result<()> {
        match self {
            Self::Local(_) => run::sweep(dir),
            Self::Systemd(systemd) => systemd.let_go(dir, run, attempt),
        }
    }

    /// Whether nothing is left of an attempt that is over but its directory, and there nothing of its steps.
    ///
    /// # Errors
    /// If it cannot be found out.
    pub fn is_let_go(&self, dir: &Path, run: &RunRef, attempt: u32) -> io::Result<bool> {
        if dir.join(WORK).try_exists()? || dir.join(OUT).try_exists()? {
            return Ok(false);
        }
        match self {
            Self::Local(_) => Ok(true),
            Self::Systemd(systemd) => systemd.is_forgotten(run, attempt),
        }
    }

    /// Attempts that something is left of besides their directories.
    ///
    /// # Errors
    /// If it cannot be found out.
    pub fn kept(&self) -> io::Result<Vec<(RunRef, u32)>> {
        match self {
            Self::Local(_) => Ok(Vec::new()),
            Self::Systemd(systemd) => systemd.list(),
        }
    }
}
