//! Control groups of our own: a group holds all that descends from what was started in it, limits and
//! measures it, and is ended as a whole. What a run may use and when it ends is decided in `run`. A host
//! may offer version 2, version 1, both or none; a `Cage` that holds nothing is a valid answer.

mod site;
mod standing;

use std::cell::Cell;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use site::{DAEMON, Ending, Guarantees, Site};
pub use standing::Controller;

use super::files::read_kernel;
use super::process::{Blow, Handle};

/// How long a group of version 1 is given to freeze.
const FREEZE_PATIENCE: Duration = Duration::from_millis(500);
/// What may stand before a name that [`Cage::found`] takes for one of ours.
const OURS: &[&str] = &["shipbell-", "steps"];

/// What a group may use at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes.
    pub memory: Option<u64>,
    /// Thousandths of one processor.
    pub cpus: Option<u32>,
    /// Processes and threads.
    pub tasks: Option<u32>,
    /// The same, where nothing is wanted and counting them costs nothing.
    pub tasks_else: Option<u32>,
}

/// The name of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Memory,
    Cpus,
    Tasks,
}

/// What it takes to start something in a group; see [`Cage::entrance`].
#[derive(Debug, Default)]
pub struct Entrance {
    /// The directory of the group of version 2: a child can be born into it, which costs nothing.
    pub birthplace: Option<File>,
    /// Where a process writes `0` that could not be born there. Changing the group of a process makes the
    /// kernel wait for all processors, 10 ms and more.
    pub unified: Option<File>,
    pub legacy: Vec<File>,
}

/// A group, in every hierarchy in which one was wanted and could be made.
#[derive(Debug, Default)]
pub struct Cage {
    unified: Option<PathBuf>,
    legacy: Vec<(Controller, PathBuf)>,
    /// Limits that nothing holds here.
    pub unmet: Vec<Limit>,
    /// Some kernels (6.18 is one) end whatever is born into a group of which anything was ever ended.
    was_killed: Cell<bool>,
}

impl Cage {
    /// The group that these directories are, as far as they are groups of ours that still stand.
    #[must_use]
    pub fn found<'a>(dirs: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut cage = Self::default();
        for dir in dirs {
            let name = dir.file_name().unwrap_or_default().to_string_lossy();
            let has = |file: &str| dir.join(file).exists();
            if !OURS.iter().any(|start| name.starts_with(start)) || !dir.is_absolute() || !has("cgroup.procs") {
                continue;
            }
            if has("cgroup.events") {
                cage.unified = Some(dir.to_owned());
            } else if has("freezer.state") {
                cage.legacy.push((Controller::Freezer, dir.to_owned()));
            } else if has("pids.max") {
                cage.legacy.push((Controller::Pids, dir.to_owned()));
            } else if has("memory.limit_in_bytes") {
                cage.legacy.push((Controller::Memory, dir.to_owned()));
            } else {
                cage.legacy.push((Controller::Cpu, dir.to_owned()));
            }
        }
        cage
    }

    /// Its directories: what [`Cage::found`] finds it by.
    pub fn dirs(&self) -> impl Iterator<Item = &Path> {
        self.unified.iter().chain(self.legacy.iter().map(|(_, dir)| dir)).map(PathBuf::as_path)
    }

    /// Whether there is a group at all: only then its emptiness proves that nothing is left.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.dirs().next().is_some()
    }

    /// The ways in: a process is born into a group of version 2, and enters one of version 1.
    ///
    /// # Errors
    /// If the group is gone.
    pub fn entrance(&self) -> io::Result<Entrance> {
        let unified = self.unified.as_deref();
        let door = |dir: &Path| File::options().write(true).open(dir.join("cgroup.procs"));
        Ok(Entrance {
            birthplace: unified.filter(|_| !self.was_killed.get()).map(super::files::open_dir).transpose()?,
            unified: unified.map(door).transpose()?,
            legacy: self.legacy.iter().map(|(_, dir)| door(dir)).collect::<io::Result<_>>()?,
        })
    }

    /// How it is ended.
    #[must_use]
    pub fn ending(&self) -> Ending {
        if self.unified.as_ref().is_some_and(|dir| dir.join("cgroup.kill").exists()) {
            Ending::Kill
        } else if self.legacy.iter().any(|(controller, _)| *controller == Controller::Freezer) {
            Ending::Freeze
        } else {
            Ending::Search
        }
    }

    /// Sends KILL to all of it. What is born meanwhile is met as well, but for a host that has no more than
    /// a list of members: call it until [`Cage::is_empty`].
    pub fn kill(&self) {
        if let Some(dir) = &self.unified
            && fs::write(dir.join("cgroup.kill"), "1").is_ok()
        {
            self.was_killed.set(true);
            return;
        }
        let freezer = self.legacy.iter().find(|(controller, _)| *controller == Controller::Freezer);
        let state = freezer.map(|(_, dir)| dir.join("freezer.state"));
        if let Some(state) = &state {
            let until = Instant::now() + FREEZE_PATIENCE;
            let _ = fs::write(state, "FROZEN");
            while read_kernel(state).is_ok_and(|text| text.trim() != "FROZEN") && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.kill_members();
        if let Some(state) = &state {
            let _ = fs::write(state, "THAWED");
        }
    }

    /// A number may be another process's by the time that we hold it; then it is no member any more.
    fn kill_members(&self) {
        let handles: Vec<(i32, Handle)> =
            self.members().into_iter().filter_map(|pid| Some((pid, Handle::open(pid).ok()?))).collect();
        let still = self.members();
        for (pid, handle) in handles {
            if still.contains(&pid) {
                let _ = handle.send(Blow::Kill);
            }
        }
    }

    /// Processes in it, also in groups that were made below it.
    #[must_use]
    pub fn members(&self) -> Vec<i32> {
        let mut pids: Vec<i32> = Vec::new();
        for dir in self.dirs().flat_map(tree) {
            let text = read_kernel(&dir.join("cgroup.procs")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Whether nothing in it is alive. A group that is gone had to be empty for that.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let unified = self.unified.as_ref().and_then(|dir| read_kernel(&dir.join("cgroup.events")).ok());
        let populated = unified.is_some_and(|text| number(&text, "populated") != Some(0));
        let in_legacy = |dir: PathBuf| read_kernel(&dir.join("cgroup.procs")).is_ok_and(|text| !text.is_empty());
        !populated && !self.legacy.iter().flat_map(|(_, dir)| tree(dir)).any(in_legacy)
    }

    /// Removes it, with all that was made below it.
    ///
    /// # Errors
    /// If something in it is alive.
    pub fn remove(&self) -> io::Result<()> {
        let mut last = Ok(());
        for dir in self.dirs() {
            match fs::remove_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => last = last.and(remove_tree(dir)),
                _ => {}
            }
        }
        last
    }

    /// Processor time that was used in it so far; `None` where nobody counts it.
    #[must_use]
    pub fn cpu_time(&self) -> Option<Duration> {
        let text = fs::read_to_string(self.unified.as_ref()?.join("cpu.stat")).ok()?;
        number(&text, "usage_usec").map(Duration::from_micros)
    }

    /// Memory that its processes have for themselves or share, without what is only cached for them.
    #[must_use]
    pub fn memory(&self) -> Option<u64> {
        let (unified, dir) = self.group(Controller::Memory)?;
        let text = read_kernel(&dir.join("memory.stat")).ok()?;
        let words = if unified { ["anon", "shmem"] } else { ["total_rss", "total_shmem"] };
        Some(words.iter().filter_map(|word| number(&text, word)).sum())
    }

    /// How many of its processes the kernel has ended for want of memory.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        let Some((unified, dir)) = self.group(Controller::Memory) else { return 0 };
        let file = if unified { "memory.events" } else { "memory.oom_control" };
        let text = read_kernel(&dir.join(file)).unwrap_or_default();
        number(&text, "oom_kill").unwrap_or(0)
    }

    /// The group with this controller, and whether it is of version 2.
    fn group(&self, controller: Controller) -> Option<(bool, &Path)> {
        let file = match controller {
            Controller::Memory => "memory.max",
            Controller::Pids => "pids.max",
            Controller::Cpu => "cpu.max",
            Controller::Freezer => "cgroup.freeze",
        };
        if let Some(dir) = self.unified.as_deref().filter(|dir| dir.join(file).exists()) {
            return Some((true, dir));
        }
        self.legacy.iter().find(|(one, _)| *one == controller).map(|(_, dir)| (false, dir.as_path()))
    }

    /// Writes to the file of this name in the group of either version.
    fn write(&self, controller: Controller, unified: &str, legacy: &str, text: &str) -> bool {
        let Some((is_unified, dir)) = self.group(controller) else { return false };
        let file = if is_unified { unified } else { legacy };
        !file.is_empty() && fs::write(dir.join(file), text).is_ok()
    }
}

/// A group with those that a job made below it.
fn remove_tree(dir: &Path) -> io::Result<()> {
    tree(dir).into_iter().try_for_each(|dir| match fs::remove_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    })
}

/// A directory and all below it, the deepest first.
fn tree(dir: &Path) -> Vec<PathBuf> {
    let below = fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut found: Vec<PathBuf> = dirs.flat_map(|entry| tree(&entry.path())).collect();
    found.push(dir.to_owned());
    found
}

/// The number behind a word at the beginning of a line.
fn number(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' ')?.trim().parse().ok())
}
