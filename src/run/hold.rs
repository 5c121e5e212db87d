//! What holds a run together: the control group that all of its programs are started in, with the job's
//! limits on it, and what that group tells in the end. Where the host gives none the run is held by its
//! being ours, and what is not limited is said loudly in its log.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::model::job::Limits;
use crate::model::run::Usage;
use crate::run::user::Doer;
use crate::sys::cgroup::{self, Cage, Limit, Site};
use crate::sys::lock::Lock;
use crate::sys::process::{Ceilings, children_usage};

/// Where the supervisor sits in a unit of its own; the steps are beside it.
const SUPERVISOR: &str = "supervisor";
const STEPS: &str = "steps";
/// Between two looks at what the group uses.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long an emptied group may take until it can be removed.
const REMOVE_PATIENCE: Duration = Duration::from_millis(500);

/// The group of a run.
#[derive(Debug)]
pub struct Hold {
    pub cage: Cage,
    pub ceilings: Ceilings,
    /// What the log must say loudly.
    pub warnings: Vec<String>,
    /// The most that was seen in use at once.
    peak: u64,
    /// Ends for want of memory that were told already.
    told: u64,
    looked: Instant,
}

impl Hold {
    /// Makes the group; `id` names the attempt. It is written down in the lock's file: the launcher ends what
    /// is in it should we be killed.
    ///
    /// # Errors
    /// If it cannot be written down.
    pub fn begin(lock: &Lock, id: &str, limits: &Limits, doer: &Doer) -> io::Result<Self> {
        let site = Site::find();
        let wanted = cgroup::Limits {
            memory: limits.memory,
            cpus: limits.cpus,
            tasks: limits.tasks,
            tasks_else: Some(limits.tasks_or_default()),
        };
        // A unit of our own; elsewhere the daemon or other runs share our group.
        let alone = site.is_mine_alone() && site.settle(SUPERVISOR).is_ok();
        let name = if alone { STEPS.to_owned() } else { format!("shipbell-{id}-{}", std::process::id()) };
        let cage = site.make(&name, &wanted);
        if cage.holds() {
            let mut text = Vec::new();
            for dir in cage.dirs() {
                text.extend_from_slice(dir.as_os_str().as_encoded_bytes());
                text.push(b'\n');
            }
            lock.file().write_all(&text)?;
        }
        let root = doer.identity.as_ref().map_or_else(crate::sys::host::effective_uid, |identity| identity.uid) == 0;
        let uncounted = cage.unmet.contains(&Limit::Tasks);
        let ceilings = Ceilings {
            files: limits.files.map(u64::from),
            // Counted for the user on the whole host, and never for root: better than nothing.
            processes: (uncounted && !root).then(|| u64::from(limits.tasks_or_default())),
        };
        let warnings = warnings(&cage, limits);
        Ok(Self { cage, ceilings, warnings, peak: 0, told: 0, looked: Instant::now() })
    }

    /// Looks at what is in use, not too often; whether it did.
    pub fn look(&mut self) -> bool {
        let due = self.looked.elapsed() >= LOOK_EVERY;
        if due {
            self.looked = Instant::now();
            self.peak = self.peak.max(self.cage.memory().unwrap_or(0));
        }
        due
    }

    /// Whether something was ended for want of memory since this was asked last.
    pub fn ran_out_of_memory(&mut self) -> bool {
        let kills = self.cage.oom_kills();
        let more = kills > self.told;
        self.told = kills.max(self.told);
        more
    }

    /// What was used in all.
    #[must_use]
    pub fn usage(&self, limits: &Limits, log_bytes: u64) -> Usage {
        let used = children_usage();
        let cpu = self.cage.cpu_time().unwrap_or(used.cpu).max(used.cpu);
        let oom_kills = self.cage.oom_kills();
        // Who was ended at the limit had reached it.
        let limit = limits.memory.filter(|_| oom_kills > 0).unwrap_or(0);
        Usage {
            cpu_ms: u64::try_from(cpu.as_millis()).unwrap_or(u64::MAX),
            memory_peak: self.peak.max(used.largest).max(limit),
            log_bytes,
            written: used.written,
            oom_kills,
            ..Usage::default()
        }
    }

    /// The group goes; it is empty.
    pub fn end(&self) {
        let until = Instant::now() + REMOVE_PATIENCE;
        while self.cage.remove().is_err() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn warnings(cage: &Cage, limits: &Limits) -> Vec<String> {
    let wanted = |limit: &&Limit| match limit {
        Limit::Memory => limits.memory.is_some(),
        Limit::Cpus => limits.cpus.is_some(),
        Limit::Tasks => limits.tasks.is_some(),
    };
    let name = |limit: &Limit| match limit {
        Limit::Memory => "memory",
        Limit::Cpus => "cpus",
        Limit::Tasks => "tasks",
    };
    let unmet: Vec<&str> = cage.unmet.iter().filter(wanted).map(name).collect();
    let text = format!("nothing on this host holds the limit of {} (shipbell doctor says why)", unmet.join(" and "));
    if unmet.is_empty() { Vec::new() } else { vec![text] }
}

/// The groups that a supervisor wrote down in the file of its lock, as far as they still stand; `None` where
/// it had none.
#[must_use]
pub fn written_down(text: &str) -> Option<Cage> {
    let dirs: Vec<PathBuf> = text.lines().filter(|line| line.starts_with('/')).map(PathBuf::from).collect();
    (!dirs.is_empty()).then(|| Cage::found(dirs.iter().map(PathBuf::as_path)))
}
