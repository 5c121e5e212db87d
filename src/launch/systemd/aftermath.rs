//! Units of runs whose result is recorded and whose supervisor said all: they go by themselves, and systemd
//! is not asked. Only those that are still there a little later (the supervisor was killed as it went, or an
//! earlier release asked its unit to stay) are looked at, all at once, and let go. Nothing is remembered over
//! a restart: the daemon then has everything looked at that systemd still knows.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::warn;

use super::bus::Bus;
use super::{dismiss, lives, unit};

/// systemd keeps the file of a transient unit as long as it knows the unit.
const TRANSIENT: &str = "/run/systemd/transient";
const PAUSE: Duration = Duration::from_secs(1);
const STACK: usize = 256 << 10;

/// Names that are to be looked at. A thread does it as long as there are any.
#[derive(Debug, Default)]
pub(super) struct Aftermath {
    names: Mutex<BTreeSet<String>>,
}

impl Aftermath {
    pub(super) fn expect_gone(self: &Arc<Self>, bus: &Arc<Bus>, name: String) {
        let mut names = self.names();
        let sleeps = names.is_empty();
        names.insert(name);
        if !sleeps {
            return;
        }
        let (this, bus) = (Arc::clone(self), Arc::clone(bus));
        let thread = std::thread::Builder::new().name("aftermath".into()).stack_size(STACK);
        if let Err(error) = thread.spawn(move || while this.look(&bus) {}) {
            names.clear();
            warn!("units of runs that are over are not looked at: {error}");
        }
    }

    fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // A set of names is whole after a panic as well.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether some are left.
    fn look(&self, bus: &Bus) -> bool {
        std::thread::sleep(PAUSE);
        let is_there = |name: &String| Path::new(TRANSIENT).join(name).exists();
        let there: BTreeSet<String> = self.names().iter().filter(|name| is_there(name)).cloned().collect();
        if !there.is_empty() {
            let_go(bus, &there).unwrap_or_else(|error| warn!("units of runs that are over are still there: {error}"));
        }
        let mut names = self.names();
        names.retain(is_there);
        !names.is_empty()
    }
}

fn let_go(bus: &Bus, names: &BTreeSet<String>) -> io::Result<()> {
    let known = bus.list(&format!("{}*.service", unit::PREFIX))?;
    let mut over = known.iter().filter(|state| names.contains(&state.name) && !lives(state));
    over.try_for_each(|state| dismiss(bus, state))
}
