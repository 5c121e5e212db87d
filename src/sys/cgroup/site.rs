//! Where this process may make groups of its own, and making them. Groups of version 2 are made where
//! the host handed a part of the hierarchy over to us: a systemd is never interfered with. What cannot
//! be had is left out; the group that is made says what it holds and what it does not.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::libc;

use super::standing::{self, Controller};
use super::{Cage, Limit, Limits};
use crate::sys::files::read_kernel;
use crate::sys::host::is_run_by_systemd;

/// The leaf that a daemon moves into; see [`Site::settle`].
pub const DAEMON: &str = "shipbell-daemon";
/// Names are tried until one is free.
const NAMES_MAX: u32 = 100;
/// The period of a processor limit, in microseconds.
const CPU_PERIOD: u64 = 100_000;

/// Where groups of our own are made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Site {
    /// The group of version 2 that this process was in when it asked.
    own: Option<PathBuf>,
    pub(super) unified: Option<PathBuf>,
    pub(super) legacy: BTreeMap<Controller, PathBuf>,
    /// Groups made there have all controllers that they can have.
    is_ready: bool,
}

static REMEMBERED: OnceLock<Site> = OnceLock::new();

/// How a run's processes are ended, from the best way down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The kernel ends a group of version 2 as a whole.
    Kill,
    /// A group of version 1 is frozen, so that nothing is born, and each of it is ended.
    Freeze,
    /// No group: descendants are looked for until none is left.
    Search,
}

/// What a site can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guarantees {
    pub ending: Ending,
    pub memory: bool,
    pub tasks: bool,
    pub cpus: bool,
}

impl Site {
    /// What [`Site::remember`] found in this process or the one that it is a copy of; else asks the host.
    /// Nothing is made.
    #[must_use]
    pub fn find() -> Self {
        REMEMBERED.get().cloned().unwrap_or_else(Self::ask)
    }

    /// Asks the host now, for this process and its copies: only for a process that stays in its group.
    /// Controllers are switched on there, so that nobody has to look whether they are.
    pub fn remember() {
        let mut site = Self::ask();
        if let Some(base) = &site.unified {
            switch_on(base);
            site.is_ready = missing(base).is_empty();
        }
        let _ = REMEMBERED.set(site);
    }

    fn ask() -> Self {
        let standing = standing::now();
        let own = standing.unified;
        let unified = own.as_ref().and_then(|own| base_of(own, is_run_by_systemd())).filter(|dir| is_ours(dir));
        let legacy = standing.legacy.into_iter().filter(|(_, dir)| is_ours(dir)).collect();
        Self { own, unified, legacy, is_ready: false }
    }

    /// The part that may make no group: a run is then ended as far as its descendants can be found.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether no other process shares our group, and it is one in which groups may be made: a unit that
    /// was made for this process.
    #[must_use]
    pub fn is_mine_alone(&self) -> bool {
        let Some(base) = self.unified.as_ref().filter(|base| base.join("cgroup.type").exists()) else { return false };
        let members = read_kernel(&base.join("cgroup.procs")).unwrap_or_default();
        self.own.as_ref() == Some(base) && members.trim() == std::process::id().to_string()
    }

    /// Whether our group is that of a service, which systemd must be able to start again in it.
    #[must_use]
    pub fn is_service(&self) -> bool {
        let name = self.unified.as_ref().and_then(|base| base.file_name()).unwrap_or_default();
        is_run_by_systemd() && name.to_string_lossy().ends_with(".service")
    }

    /// Moves this process out of its group into a leaf below it, as version 2 wants it before limits can
    /// be handed on to groups beside the leaf. Does nothing where nothing is to be won, and nothing that
    /// would keep systemd from starting a service again.
    ///
    /// # Errors
    /// If the leaf cannot be made or entered; everything is as it was then.
    pub fn settle(&self, leaf: &str) -> io::Result<()> {
        let Some(base) = &self.unified else { return Ok(()) };
        // The root of the hierarchy may have both processes and limits.
        let stands_there = self.own.as_ref() == Some(base) && base.join("cgroup.type").exists();
        if !stands_there || missing(base).is_empty() {
            return Ok(());
        }
        let leaf = base.join(leaf);
        make_dir(&leaf)?;
        fs::write(leaf.join("cgroup.procs"), "0")?;
        switch_on(base);
        Ok(())
    }

    /// Makes a group beside the leaves that are there. `name` gets a number where it is taken. What the
    /// site cannot hold of the limits stands in [`Cage::unmet`].
    #[must_use]
    pub fn make(&self, name: &str, limits: &Limits) -> Cage {
        let mut cage = Cage::default();
        if let Some(base) = &self.unified {
            if !self.is_ready {
                switch_on(base);
            }
            cage.unified = make_group(base, name).ok().filter(|dir| may_be_entered(dir));
        }
        let has_v2 = |cage: &Cage, file: &str| cage.unified.as_ref().is_some_and(|dir| dir.join(file).exists());
        let mut wanted = Vec::new();
        // Groups of version 1 are entered one by one, which is slow: only those that are asked for.
        if limits.memory.is_some() && !has_v2(&cage, "memory.max") {
            wanted.push(Controller::Memory);
        }
        if limits.tasks.is_some() && !has_v2(&cage, "pids.max") {
            wanted.push(Controller::Pids);
        }
        if limits.cpus.is_some() && !has_v2(&cage, "cpu.max") {
            wanted.push(Controller::Cpu);
        }
        if !has_v2(&cage, "cgroup.kill") {
            wanted.push(Controller::Freezer);
        }
        for controller in wanted {
            let Some(base) = self.legacy.get(&controller) else { continue };
            if let Ok(dir) = make_group(base, name) {
                cage.legacy.push((controller, dir));
            }
        }
        cage.unmet = apply(&cage, limits);
        cage
    }

    /// In words.
    #[must_use]
    pub fn version(&self) -> &'static str {
        match (&self.unified, self.legacy.is_empty()) {
            (Some(_), true) => "version 2",
            (Some(_), false) => "version 2, with limits of version 1",
            (None, false) => "version 1",
            (None, true) => "none",
        }
    }

    /// What a unit of systemd with `Delegate=yes` will hold: what the host has at all.
    #[must_use]
    pub fn of_units() -> Guarantees {
        let standing = standing::now();
        let own = standing.unified.as_deref().into_iter().flat_map(Path::ancestors);
        let tops: Vec<String> = own.map_while(|dir| read_kernel(&dir.join("cgroup.controllers")).ok()).collect();
        let top = tops.last().map(String::as_str).unwrap_or_default();
        let has = |controller: Controller| {
            top.split_ascii_whitespace().any(|word| word == controller.word())
                || standing.legacy.get(&controller).is_some_and(|dir| is_ours(dir))
        };
        Guarantees {
            ending: if tops.is_empty() { Ending::Freeze } else { Ending::Kill },
            memory: has(Controller::Memory),
            tasks: has(Controller::Pids),
            cpus: has(Controller::Cpu),
        }
    }

    /// What a group made here would hold. It is tried, with a group that is removed again.
    #[must_use]
    pub fn guarantees(&self) -> Guarantees {
        let limits = Limits { memory: Some(1 << 30), cpus: Some(1000), tasks: Some(1000), tasks_else: None };
        let cage = self.make(&format!("shipbell-probe-{}", std::process::id()), &limits);
        let holds = |limit: Limit| !cage.unmet.contains(&limit);
        let guarantees = Guarantees {
            ending: cage.ending(),
            memory: holds(Limit::Memory),
            tasks: holds(Limit::Tasks),
            cpus: holds(Limit::Cpus),
        };
        let _ = cage.remove();
        guarantees
    }
}

/// The group below which we may make others. Under systemd only what it delegated: our own group, or
/// the one above a leaf that is no unit. Otherwise our own; a leaf of ours stands below it.
fn base_of(own: &Path, booted: bool) -> Option<PathBuf> {
    let above = own.parent()?;
    let name = own.file_name().unwrap_or_default().to_string_lossy();
    if !booted {
        return Some(if name == DAEMON { above.to_owned() } else { own.to_owned() });
    }
    let is_unit = [".slice", ".scope", ".service"].iter().any(|end| name.ends_with(end));
    if is_delegated(own) {
        return Some(own.to_owned());
    }
    (!is_unit && is_delegated(above)).then(|| above.to_owned())
}

/// systemd marks what it has handed over.
fn is_delegated(dir: &Path) -> bool {
    let Ok(path) = std::ffi::CString::new(dir.as_os_str().as_encoded_bytes()) else { return false };
    [c"trusted.delegate", c"user.delegate"].iter().any(|name| {
        let mut value = [0_u8; 8];
        // SAFETY: the kernel writes at most as many bytes as the buffer that we name has.
        let length = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
        length == 1 && value.first() == Some(&b'1')
    })
}

/// We may make groups there and move processes between them.
fn is_ours(dir: &Path) -> bool {
    use nix::unistd::{AccessFlags, eaccess};
    eaccess(dir, AccessFlags::W_OK).is_ok() && eaccess(&dir.join("cgroup.procs"), AccessFlags::W_OK).is_ok()
}

/// Controllers of version 2 that groups below `base` could have and do not.
fn missing(base: &Path) -> Vec<&'static str> {
    let words = |name: &str| read_kernel(&base.join(name)).unwrap_or_default();
    let (there, on) = (words("cgroup.controllers"), words("cgroup.subtree_control"));
    let has = |list: &str, wanted: &str| list.split_ascii_whitespace().any(|word| word == wanted);
    ["memory", "pids", "cpu"].into_iter().filter(|word| has(&there, word) && !has(&on, word)).collect()
}

/// One by one, as one that is refused would take the others along. Not while a process is in `base`: the
/// kernel would refuse memory, but take cpu and pids and then let nobody into groups below it.
fn switch_on(base: &Path) {
    let is_root = !base.join("cgroup.type").exists();
    if !is_root && read_kernel(&base.join("cgroup.procs")).is_ok_and(|text| !text.is_empty()) {
        return;
    }
    for word in missing(base) {
        let _ = fs::write(base.join("cgroup.subtree_control"), format!("+{word}"));
    }
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Below a group of threads a group holds no processes; then it goes again.
fn may_be_entered(dir: &Path) -> bool {
    let kind = read_kernel(&dir.join("cgroup.type")).unwrap_or_default();
    let good = matches!(kind.trim(), "domain" | "domain threaded");
    if !good {
        let _ = fs::remove_dir(dir);
    }
    good
}

/// A new group, so surely an empty one.
fn make_group(base: &Path, name: &str) -> io::Result<PathBuf> {
    for number in 0..NAMES_MAX {
        let dir = base.join(if number == 0 { name.to_owned() } else { format!("{name}-{number}") });
        match fs::create_dir(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Sets the limits; those that could not be set.
fn apply(cage: &Cage, limits: &Limits) -> Vec<Limit> {
    let mut unmet = Vec::new();
    let mut set = |limit: Limit, met: Option<bool>| {
        if met == Some(false) {
            unmet.push(limit);
        }
    };
    set(Limit::Memory, limits.memory.map(|bytes| limit_memory(cage, bytes)));
    let limit_tasks = |tasks: u32| cage.write(Controller::Pids, "pids.max", "pids.max", &tasks.to_string());
    let else_held = limits.tasks_else.is_some_and(|tasks| limits.tasks.is_none() && limit_tasks(tasks));
    set(Limit::Tasks, limits.tasks.map(limit_tasks).or(limits.tasks_else.map(|_| else_held)));
    set(Limit::Cpus, limits.cpus.map(|thousandths| limit_cpus(cage, thousandths)));
    unmet
}

fn limit_memory(cage: &Cage, bytes: u64) -> bool {
    let text = bytes.to_string();
    if !cage.write(Controller::Memory, "memory.max", "memory.limit_in_bytes", &text) {
        return false;
    }
    // Where there is swap it would only put the end off; and one that is ended takes the rest along.
    // Both are missing on some hosts, where nothing is lost.
    let _ = cage.write(Controller::Memory, "memory.swap.max", "", "0");
    let _ = cage.write(Controller::Memory, "memory.oom.group", "", "1");
    let _ = cage.write(Controller::Memory, "", "memory.memsw.limit_in_bytes", &text);
    true
}

fn limit_cpus(cage: &Cage, thousandths: u32) -> bool {
    let quota = (u64::from(thousandths) * CPU_PERIOD / 1000).max(1000);
    let both = format!("{quota} {CPU_PERIOD}");
    match cage.group(Controller::Cpu) {
        Some((true, dir)) => fs::write(dir.join("cpu.max"), both).is_ok(),
        Some((false, dir)) => {
            fs::write(dir.join("cpu.cfs_period_us"), CPU_PERIOD.to_string()).is_ok()
                && fs::write(dir.join("cpu.cfs_quota_us"), quota.to_string()).is_ok()
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_systemd_our_own_group_is_the_place_and_the_daemons_leaf_is_below_it() {
        let group = |path: &str| base_of(Path::new(path), false).map(|dir| dir.display().to_string());
        assert_eq!(group("/sys/fs/cgroup/a"), Some("/sys/fs/cgroup/a".into()));
        assert_eq!(group("/sys/fs/cgroup/a/shipbell-daemon"), Some("/sys/fs/cgroup/a".into()));
    }

    #[test]
    fn under_systemd_nothing_is_ours_that_was_not_handed_over() {
        // No group there carries the mark.
        for path in ["/sys/fs/cgroup/system.slice/x.service", "/sys/fs/cgroup/user.slice/x.service/leaf"] {
            assert_eq!(base_of(Path::new(path), true), None, "{path}");
        }
    }

    #[test]
    fn nowhere_nothing_is_held() {
        let guarantees = Site::none().guarantees();
        assert_eq!(guarantees, Guarantees { ending: Ending::Search, memory: false, tasks: false, cpus: false });
    }
}
