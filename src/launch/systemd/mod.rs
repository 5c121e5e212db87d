//! The launcher of hosts that systemd runs: every attempt is a transient unit with a control group and a
//! sandbox of its own. Whether an attempt began is read from its directory, as everywhere; that nothing
//! of it is left is what systemd adds. It never gives way to another launcher.

/// Talking to systemd.
mod bus;
/// What the unit of an attempt is.
pub mod unit;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::launch::{Status, evidence, local};
use crate::model::name::RunRef;
use crate::model::ticket::{CLAIMED, Evidence, LOCK, OUT, StartOrder, Ticket, WORK};
use crate::sys::lock::Lock;

pub use unit::Places;

use bus::{Bus, State};

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Systemd {
    binary: PathBuf,
    places: Arc<Places>,
    bus: Arc<Bus>,
}

impl Systemd {
    /// # Errors
    /// If the thread that talks to systemd cannot be made.
    pub fn new(binary: &Path, places: Places) -> io::Result<Self> {
        Ok(Self { binary: binary.to_owned(), places: Arc::new(places), bus: Arc::new(Bus::new()?) })
    }

    /// A mirror is shown to the run: so it must be one.
    ///
    /// # Errors
    /// A text for people.
    pub fn accepts(&self, order: &StartOrder) -> Result<(), String> {
        let is_mirror = |path: &PathBuf| path.parent() == Some(&self.places.mirrors) && path.file_name().is_some();
        match order.mirror.as_ref().filter(|path| !is_mirror(path)) {
            Some(path) => Err(format!("{}: {} is no mirror of this Shipbell", order.run, path.display())),
            None => Ok(()),
        }
    }

    /// Starts the unit of an attempt whose ticket is written.
    ///
    /// # Errors
    /// If systemd does not take it; then nothing began and nothing will.
    pub fn launch(&self, dir: &Path, ticket: &Ticket, secrets: Option<&File>) -> io::Result<()> {
        let name = unit::name(&ticket.order.run, ticket.order.attempt);
        let properties = unit::of_attempt(ticket, dir, &self.binary, &self.places);
        match self.bus.start(&name, &properties, secrets.map(AsFd::as_fd)) {
            // A question that was asked twice, as the connection broke over the answer.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && lives(&self.bus.state(&name)?) => Ok(()),
            other => other,
        }
    }

    /// What can be said of the attempt now. One that nobody claimed and whose unit is not about to do so
    /// is fenced. One whose supervisor was killed is over when systemd has ended what was left.
    ///
    /// # Errors
    /// If the files cannot be read or systemd does not answer; then nothing is concluded.
    pub fn status(&self, dir: &Path, run: &RunRef, attempt: u32, boot_id: &str) -> io::Result<Status> {
        let name = unit::name(run, attempt);
        if !dir.join(CLAIMED).try_exists()? {
            let state = self.bus.state(&name)?;
            if lives(&state) {
                return Ok(Status::Running);
            }
            // What began between the two questions has claimed by now, and the fence sees that.
            let why = || self.why_it_never_began(&name, &state);
            if let Some(why) = local::fence(dir, why)? {
                return Ok(Status::Over(Evidence::NeverStarted { why }));
            }
        }
        if Lock::is_held(&dir.join(LOCK))? {
            return Ok(Status::Running);
        }
        let evidence = evidence::of(dir, boot_id)?;
        match evidence {
            Evidence::Lost { rebooted: false, .. } => {
                Ok(if self.is_empty(dir, &name)? { Status::Over(evidence) } else { Status::Running })
            }
            Evidence::Finished { outcome, reason, step, usage, empty: false } => {
                if !self.is_empty(dir, &name)? {
                    return Ok(Status::Running);
                }
                // It said how it ended, and now it is known that nothing of it is left.
                Ok(Status::Over(Evidence::Finished { outcome, reason, step, usage, empty: self.knows(&name)? }))
            }
            evidence => Ok(Status::Over(evidence)),
        }
    }

    /// Whether systemd has ended all of a unit whose supervisor is gone.
    fn is_empty(&self, dir: &Path, name: &str) -> io::Result<bool> {
        let state = self.bus.state(name)?;
        if lives(&state) {
            return Ok(false);
        }
        if is_loaded(&state) && state.active == "active" {
            // Its supervisor ended well by its own account and did not say so: what is left must go.
            self.bus.stop(name)?;
            return Ok(false);
        }
        if !is_loaded(&state) {
            // Started by another launcher, or removed by hand.
            return Ok(local::end_leftovers(dir) != local::Left::Something);
        }
        Ok(true)
    }

    /// Whether the unit is still there to speak for the attempt.
    fn knows(&self, name: &str) -> io::Result<bool> {
        Ok(is_loaded(&self.bus.state(name)?))
    }

    fn why_it_never_began(&self, name: &str, state: &State) -> String {
        if !is_loaded(state) {
            return format!("the unit {name} is not there");
        }
        match self.bus.ending(name) {
            Ok(ending) => format!("the unit {name} ended with {} ({})", ending.result, ending.status),
            Err(error) => error.to_string(),
        }
    }

    /// All attempts that systemd has a unit of.
    ///
    /// # Errors
    /// If systemd does not answer.
    pub fn list(&self) -> io::Result<Vec<(RunRef, u32)>> {
        let units = self.bus.list(&format!("{}*.service", unit::PREFIX))?;
        Ok(units.iter().filter(|state| is_loaded(state)).filter_map(|state| unit::attempt_of(&state.name)).collect())
    }

    /// Whether systemd has no unit of it any more.
    ///
    /// # Errors
    /// If systemd does not answer.
    pub fn is_forgotten(&self, run: &RunRef, attempt: u32) -> io::Result<bool> {
        Ok(!is_loaded(&self.bus.state(&unit::name(run, attempt))?))
    }

    /// The result is recorded: the unit is forgotten. What the steps had was removed by the supervisor as it
    /// went; where it did not live to, another unit does.
    ///
    /// # Errors
    /// If systemd does not answer.
    pub fn ack(&self, dir: &Path, run: &RunRef, attempt: u32) -> io::Result<()> {
        let name = unit::name(run, attempt);
        let state = self.bus.state(&name)?;
        if state.active == "failed" {
            self.bus.forget(&name)?;
        } else if is_loaded(&state) {
            self.bus.stop(&name)?;
        }
        if lives(&state) {
            return Ok(());
        }
        let left = |part: &str| dir.join(part).try_exists();
        if left(WORK)? || left(OUT)? {
            let (name, properties) = unit::of_sweep(run, attempt, dir, &self.binary);
            return match self.bus.start(&name, &properties, None) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                other => other,
            };
        }
        Ok(())
    }
}

fn is_loaded(state: &State) -> bool {
    state.load == "loaded"
}

/// Whether a supervisor lives in the unit, is about to, or is being ended.
fn lives(state: &State) -> bool {
    let over = matches!((state.active.as_str(), state.sub.as_str()), ("inactive" | "failed", _) | ("active", "exited"));
    is_loaded(state) && (state.queued || !over)
}
