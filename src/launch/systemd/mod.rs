//! The launcher of hosts that systemd runs: every attempt is a transient unit with a control group and a
//! sandbox of its own. Whether an attempt began is read from its directory, as everywhere; that nothing
//! of it is left is what systemd adds. It never gives way to another launcher.

/// Units that go by themselves, or do not.
mod aftermath;
/// Talking to systemd.
mod bus;
/// What the unit of an attempt is.
pub mod unit;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::launch::{Status, evidence, local};
use crate::model::name::RunRef;
use crate::model::ticket::{CLAIMED, Evidence, LOCK, OUT, StartOrder, Ticket, WORK};
use crate::sys::host;
use crate::sys::lock::Lock;

pub use unit::Places;

use aftermath::Aftermath;
use bus::{Bus, State};

/// How long a unit may take until its supervisor has claimed, before systemd is asked what became of it.
const BEGINNING: Duration = Duration::from_secs(2);

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Systemd {
    binary: PathBuf,
    places: Arc<Places>,
    bus: Arc<Bus>,
    aftermath: Arc<Aftermath>,
    /// Units that systemd took from us, and when.
    begun: Arc<Mutex<BTreeMap<String, Instant>>>,
}

impl Systemd {
    /// # Errors
    /// If the thread that talks to systemd cannot be made.
    pub fn new(binary: &Path, places: Places) -> io::Result<Self> {
        let (places, bus) = (Arc::new(places), Arc::new(Bus::new()?));
        Ok(Self { binary: binary.to_owned(), places, bus, aftermath: Arc::default(), begun: Arc::default() })
    }

    fn begun(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        // A map is whole after a panic as well.
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
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
        let started = self.bus.start(&name, &properties, secrets.map(AsFd::as_fd));
        if started.is_ok() {
            let mut begun = self.begun();
            begun.retain(|_, since| since.elapsed() < BEGINNING);
            begun.insert(name.clone(), Instant::now());
        }
        match started {
            // A question that was asked twice, as the connection broke over the answer.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && lives(&self.bus.state(&name)?) => Ok(()),
            other => other,
        }
    }

    /// Whether systemd took its unit from us so lately that it is not asked yet what became of it.
    #[must_use]
    pub fn is_beginning(&self, run: &RunRef, attempt: u32) -> bool {
        self.begun().get(&unit::name(run, attempt)).is_some_and(|since| since.elapsed() < BEGINNING)
    }

    /// What can be said of the attempt now. One that nobody claimed and whose unit is not about to do so
    /// is fenced. One whose supervisor was killed is over when systemd has ended what was left.
    ///
    /// # Errors
    /// If the files cannot be read or systemd does not answer; then nothing is concluded.
    pub fn status(&self, dir: &Path, run: &RunRef, attempt: u32, boot_id: &str) -> io::Result<Status> {
        let name = unit::name(run, attempt);
        if !dir.join(CLAIMED).try_exists()? {
            if self.is_beginning(run, attempt) {
                return Ok(Status::Running);
            }
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

    /// The result is recorded. A supervisor that said all of it, and has removed what its steps had, leaves a
    /// unit that goes by itself: only if it is still there in a second is systemd asked.
    ///
    /// # Errors
    /// If systemd does not answer.
    pub fn ack(&self, dir: &Path, run: &RunRef, attempt: u32) -> io::Result<()> {
        let boot_id = host::boot_id()?;
        let name = unit::name(run, attempt);
        if !matches!(evidence::of(dir, &boot_id), Ok(Evidence::Finished { empty: true, .. })) {
            return self.let_go(dir, run, attempt);
        }
        // It may just be removing them.
        if has_leftovers(dir)? && !lives(&self.bus.state(&name)?) {
            return self.let_go(dir, run, attempt);
        }
        self.aftermath.expect_gone(&self.bus, name);
        Ok(())
    }

    /// The unit is forgotten. What the steps had was removed by the supervisor as it went; where it did not
    /// live to, another unit does.
    ///
    /// # Errors
    /// If systemd does not answer.
    pub fn let_go(&self, dir: &Path, run: &RunRef, attempt: u32) -> io::Result<()> {
        let state = self.bus.state(&unit::name(run, attempt))?;
        dismiss(&self.bus, &state)?;
        if !lives(&state) && has_leftovers(dir)? {
            let (name, properties) = unit::of_sweep(run, attempt, dir, &self.binary);
            return match self.bus.start(&name, &properties, None) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                other => other,
            };
        }
        Ok(())
    }
}

/// Ends what lives of it; forgets how it failed.
fn dismiss(bus: &Bus, state: &State) -> io::Result<()> {
    match state.active.as_str() {
        "failed" => bus.forget(&state.name),
        _ if is_loaded(state) => bus.stop(&state.name),
        _ => Ok(()),
    }
}

/// Whether something is left of what the steps had.
fn has_leftovers(dir: &Path) -> io::Result<bool> {
    Ok(dir.join(WORK).try_exists()? || dir.join(OUT).try_exists()?)
}

fn is_loaded(state: &State) -> bool {
    state.load == "loaded"
}

/// Whether a supervisor lives in the unit, is about to, or is being ended.
fn lives(state: &State) -> bool {
    let over = matches!((state.active.as_str(), state.sub.as_str()), ("inactive" | "failed", _) | ("active", "exited"));
    is_loaded(state) && (state.queued || !over)
}
