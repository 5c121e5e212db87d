//! The daemon's own chores, done when `upkeep` says that they are due.

use std::path::{Path, PathBuf};

use tracing::{error, info, warn};

use crate::daemon::turns::Daemon;
use crate::inbox::Chore;
use crate::model::event::Event;
use crate::store::{OpenError, Store};
use crate::sys::host;

/// Nightly copies that are kept.
const BACKUPS: usize = 7;

impl Daemon {
    pub(super) fn chore(&mut self, chore: Chore) {
        match chore {
            // The turn that follows is the chore.
            Chore::Heartbeat => {}
            Chore::Disk => self.look_at_disk(),
            Chore::Backup => self.backup(),
            Chore::Check => self.check(),
            Chore::Prune => self.prune("shipbell".into(), false, None),
        }
    }

    pub(super) fn look_at_disk(&mut self) {
        let layout = &self.options.layout;
        // They may be file systems of their own; the fullest one counts.
        let places = [layout.state_dir.clone(), layout.runs_dir.clone(), layout.mirrors(), layout.homes()];
        let mut least = None;
        for place in &places {
            match host::free_bytes(place) {
                Ok(free) => least = Some(least.map_or(free, |least: u64| least.min(free))),
                Err(error) => warn!("the free space of {} is not known: {error}", place.display()),
            }
        }
        self.backlog.extend(least.map(|free| Event::DiskSeen { free }));
    }

    fn backup(&self) {
        let (database, dir) = (self.options.layout.database(), self.state_dir().join("backup"));
        let day = crate::clock::now().strftime("%Y-%m-%d").to_string();
        tokio::task::spawn_blocking(move || {
            let to = dir.join(format!("shipbell-{day}.db"));
            match backup(&database, &dir, &to) {
                Ok(()) => info!("database copied to {}", to.display()),
                Err(why) => error!("database not copied to {}: {why}", to.display()),
            }
        });
    }

    fn check(&self) {
        let (database, inbox) = (self.options.layout.database(), self.inbox.clone());
        // Opening it checks it.
        tokio::task::spawn_blocking(move || match Store::open(&database) {
            Ok(_) => info!("database checked: good"),
            Err(OpenError::Damaged { why, .. }) => inbox.damaged_blocking(why),
            Err(other) => error!("the database could not be checked: {other}"),
        });
    }
}

fn backup(database: &Path, dir: &Path, to: &Path) -> Result<(), String> {
    std::fs::create_dir_all(dir).map_err(|error| error.to_string())?;
    let store = Store::open(database).map_err(|error| error.to_string())?;
    store.backup(to).map_err(|error| error.to_string())?;
    let mut copies: Vec<PathBuf> = std::fs::read_dir(dir)
        .map_err(|error| error.to_string())?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "db"))
        .collect();
    copies.sort();
    let old = copies.len().saturating_sub(BACKUPS);
    for path in copies.into_iter().take(old) {
        std::fs::remove_file(&path).map_err(|error| error.to_string())?;
    }
    Ok(())
}
