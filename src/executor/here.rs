//! The privileged half itself: it knows definitions by hash, writes tickets from them, and has the
//! launcher start, stop and judge attempts. What the daemon says enters only as validated values: no
//! argv, no user, no environment.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::{info, warn};

use super::codes::{Codes, Taken, Yes};
use super::spent::{self, Glass};
use super::{StartError, Status, order, removal, secrets, votes};
use crate::clock;
use crate::launch::local::Local;
use crate::launch::systemd::{Places, Systemd};
use crate::launch::{Launcher, evidence};
use crate::model::catalog::{Catalog, Person};
use crate::model::commit::RefName;
use crate::model::job::{Definition, Hash};
use crate::model::name::{PersonName, RunRef};
use crate::model::retention::Part;
use crate::model::statement::Statement;
use crate::model::ticket::{CLAIMED, Evidence, LOCK, OUT, StartOrder, TICKET, Ticket, VERSION};
use crate::run::user::{Doer, Users};
use crate::run::{events, logfile};
use crate::sys::lock::Lock;
use crate::sys::{files, host};

/// A ticket is not larger.
pub(super) const TICKET_MAX: u64 = 16 << 20;

/// Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Here {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dirs: Dirs,
    launcher: Launcher,
    known: Mutex<Known>,
    users: Users,
    /// One start at a time: looking whether an attempt is there and making it are two steps.
    starting: Mutex<()>,
    /// One code at a time: looking whether it is spent and spending it are two steps.
    coding: Mutex<()>,
}

/// Where it works.
#[derive(Debug, Clone)]
pub struct Dirs {
    pub runs: PathBuf,
    /// Nobody else writes there.
    pub own: PathBuf,
    pub homes: PathBuf,
    /// May be missing.
    pub secrets: PathBuf,
    /// This program itself, which supervisors are as well.
    pub binary: PathBuf,
}

/// What runs are not to see, besides the runs and homes of others.
#[derive(Debug)]
pub struct Bounds {
    /// But for their own.
    pub mirrors: PathBuf,
    /// The daemon's own directory.
    pub state: PathBuf,
    /// Not even there for them.
    pub hidden: Vec<PathBuf>,
}

/// Definitions by their hashes, and the people of shipbell.toml.
#[derive(Debug, Default)]
struct Known {
    people: Arc<Catalog>,
    now: BTreeMap<Hash, Arc<Definition>>,
    before: BTreeMap<Hash, Arc<Definition>>,
}

impl Here {
    /// With supervisors that are copies of a child of this process.
    ///
    /// # Errors
    /// If its directories cannot be made.
    pub fn new(dirs: Dirs) -> io::Result<Self> {
        Self::with(dirs, |dirs| Ok(Launcher::Local(Local::new(&dirs.binary))))
    }

    /// With a unit of systemd for each attempt.
    ///
    /// # Errors
    /// If its directories cannot be made.
    pub fn with_units(dirs: Dirs, bounds: Bounds) -> io::Result<Self> {
        Self::with(dirs, |dirs| {
            let own = [dirs.runs.clone(), dirs.homes.clone(), dirs.own.canonicalize()?];
            let Bounds { mirrors, state, hidden } = bounds;
            let covered = own.into_iter().chain([mirrors.clone(), state]).collect();
            let places = Places { runs: dirs.runs.clone(), mirrors, covered, hidden };
            Ok(Launcher::Systemd(Systemd::new(&dirs.binary, places)?))
        })
    }

    fn with(mut dirs: Dirs, launcher: impl FnOnce(&Dirs) -> io::Result<Launcher>) -> io::Result<Self> {
        // A job's user passes through to its own directories and lists nothing.
        for (dir, mode) in [(&dirs.runs, 0o711), (&dirs.own, 0o700), (&dirs.homes, 0o711)] {
            make_dir(dir, mode)?;
        }
        files::keep_apart(&dirs.runs);
        (dirs.runs, dirs.homes) = (dirs.runs.canonicalize()?, dirs.homes.canonicalize()?);
        let launcher = launcher(&dirs)?;
        let (known, users) = (Mutex::default(), Users::default());
        let (starting, coding) = (Mutex::default(), Mutex::default());
        Ok(Self { inner: Arc::new(Inner { dirs, launcher, known, users, starting, coding }) })
    }

    /// These definitions hold now. Each process learns them anew, from the job files or their last good
    /// versions; those that held before stay known, for an order that is on its way.
    pub fn learn(&self, definitions: impl IntoIterator<Item = (Hash, Arc<Definition>)>) {
        let mut known = self.known();
        known.before = std::mem::take(&mut known.now);
        known.now = definitions.into_iter().collect();
    }

    /// Whose votes count from now on.
    pub fn know(&self, people: BTreeMap<PersonName, Person>) {
        self.known().people = Arc::new(Catalog { people, ..Catalog::default() });
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Two maps are whole after a panic as well.
        self.inner.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A definition that was learned.
    #[must_use]
    pub fn definition(&self, hash: &Hash) -> Option<Arc<Definition>> {
        let known = self.known();
        known.now.get(hash).or_else(|| known.before.get(hash)).cloned()
    }

    #[must_use]
    pub fn runs(&self) -> &Path {
        &self.inner.dirs.runs
    }

    fn dir(&self, run: &RunRef, attempt: u32) -> PathBuf {
        super::dir_of(&self.inner.dirs.runs, run, attempt)
    }

    /// Starts an attempt. An attempt that was started before is not started again, and that is no error:
    /// its status tells.
    ///
    /// # Errors
    /// [`StartError::Refused`] where the order does not fit what this executor knows.
    pub fn start(&self, order: &StartOrder) -> Result<(), StartError> {
        let definition = self.definition(&order.definition).ok_or_else(|| {
            let text = format!("definition {} is not known here: shipbell reload", order.definition.short());
            StartError::Refused(text)
        })?;
        order::check(order, &definition).map_err(StartError::Refused)?;
        if self.is_started(order)? {
            return Ok(());
        }
        self.judge(order, &definition)?;
        let wants_votes = votes::wanted(&definition).is_some();
        let definition = order::as_carried_out(order, &definition).map_err(StartError::Refused)?;
        self.inner.launcher.accepts(&definition, order).map_err(StartError::Refused)?;
        let init_config = order::init_config(&definition).map_err(StartError::Refused)?;
        let secrets = secrets::read(&self.inner.dirs.secrets, &definition).map_err(StartError::Refused)?;
        let doer = self.inner.users.choose(&definition).ok();
        let ticket = Ticket {
            v: VERSION,
            order: order.clone(),
            home: self.home_for(order, &definition, doer.as_ref())?,
            runs_as: doer.as_ref().and_then(Doer::runs_as),
            definition,
            init_config,
            unit: self.inner.launcher.unit(&order.run, order.attempt),
        };
        let text = serde_json::to_vec(&ticket).map_err(io::Error::from)?;
        let _one_at_a_time = self.inner.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_started(order)? {
            return Ok(());
        }
        if wants_votes {
            self.is_unspent(order)?;
        }
        let dir = self.make_attempt(&order.run, order.attempt)?;
        if wants_votes {
            spent::add(&self.inner.dirs.own, &order.run, order.attempt)?;
        }
        if dir.join(LOCK).try_exists()? {
            return Ok(());
        }
        // Nobody asks for it after a power cut: what must last is `claimed`, and the supervisor sees to that.
        files::write_for_now(&dir.join(TICKET), &text, 0o640)?;
        Ok(self.inner.launcher.launch(&dir, &ticket, secrets::hand_over(&secrets)?.as_ref())?)
    }

    /// Whether there is a ticket of this order. One of another run is refused.
    fn is_started(&self, order: &StartOrder) -> Result<bool, StartError> {
        let dir = self.dir(&order.run, order.attempt);
        match dir.join(TICKET).try_exists()? {
            false => Ok(false),
            true if is_for(&dir, order) => Ok(true),
            true => Err(StartError::Refused(another_run(&dir))),
        }
    }

    /// Whether people let it go, as far as this side can know, or root.
    fn judge(&self, order: &StartOrder, definition: &Definition) -> Result<(), StartError> {
        let (holds_now, people) = {
            let known = self.known();
            (known.now.contains_key(&order.definition), Arc::clone(&known.people))
        };
        // A rule that root has made stricter is not to be gone round by the one before it.
        if definition.deploys() && !holds_now {
            let text =
                format!("{}: its definition holds no longer, and what deploys goes by the one that does", order.run);
            return Err(StartError::Refused(text));
        }
        if votes::wanted(definition).is_none() {
            return Ok(());
        }
        let now = clock::now();
        if let Some(glass) = spent::glass_for(&self.inner.dirs.own, order, now)? {
            warn!("BREAK-GLASS: {} starts without votes, by root: {}", order.run, glass.reason);
            return Ok(());
        }
        let host = host::hostname();
        if let Some(receipts) = &order.receipts
            && let Some(why) = spent::withdrawn(&self.inner.dirs.own, &order.run, &receipts.statement.hash(&host))?
        {
            return Err(StartError::Refused(format!("{}: its approval was taken back: {why}", order.run)));
        }
        votes::judge(order, definition, &people, &self.codes(), &host, now).map_err(StartError::Refused)
    }

    fn codes(&self) -> Codes<'_> {
        Codes { own: &self.inner.dirs.own, secrets: &self.inner.dirs.secrets }
    }

    /// An approval is good for one attempt that touches the environment.
    fn is_unspent(&self, order: &StartOrder) -> Result<(), StartError> {
        for attempt in spent::attempts(&self.inner.dirs.own, &order.run)? {
            if self.may_have_touched(&order.run, attempt)? {
                let text = format!("{}: its approval was used for attempt {attempt}, and is for one", order.run);
                return Err(StartError::Refused(text));
            }
        }
        Ok(())
    }

    /// Unless its own files prove that no step after `init` began. One of which nothing is left proves nothing;
    /// one without a ticket was never launched.
    fn may_have_touched(&self, run: &RunRef, attempt: u32) -> io::Result<bool> {
        let dir = self.dir(run, attempt);
        if !dir.join(TICKET).try_exists()? {
            return Ok(!dir.try_exists()?);
        }
        match self.inner.launcher.status(&dir, run, attempt, &host::boot_id()?)? {
            Status::Running => Ok(true),
            Status::Over(Evidence::NeverStarted { .. }) => Ok(false),
            Status::Over(Evidence::Lost { touched, .. }) => Ok(touched),
            Status::Over(Evidence::Finished { .. }) => evidence::touched(&dir),
        }
    }

    /// Root lets a run go without votes. Who asks is known to be root by the caller.
    ///
    /// # Errors
    /// If it cannot be written down.
    pub fn break_glass(&self, glass: &Glass) -> io::Result<()> {
        let Glass { run, definition, reason, .. } = glass;
        warn!("BREAK-GLASS: root lets {run} go without votes (definition {}): {reason}", definition.short());
        spent::break_glass(&self.inner.dirs.own, glass, clock::now())
    }

    /// What a pull request leaves in its home nobody else is to find.
    fn home_for(&self, order: &StartOrder, definition: &Definition, doer: Option<&Doer>) -> io::Result<PathBuf> {
        match order.git_ref.as_ref().is_some_and(RefName::is_pull) {
            true => Ok(self.dir(&order.run, order.attempt).join(OUT).join("pull").join("home")),
            false => self.home(definition, doer),
        }
    }

    fn make_attempt(&self, run: &RunRef, attempt: u32) -> io::Result<PathBuf> {
        make_dir(&self.inner.dirs.runs.join(run.id()), 0o751)?;
        let dir = self.dir(run, attempt);
        make_dir(&dir, 0o751)?;
        Ok(dir)
    }

    /// Kept per pipeline and user, so that one user's tools never read what another one wrote. The
    /// supervisor makes it, in a directory that is there.
    fn home(&self, definition: &Definition, doer: Option<&Doer>) -> io::Result<PathBuf> {
        let user = doer.map_or("unknown", |doer| doer.name.as_str());
        let of_pipeline = self.inner.dirs.homes.join(definition.key.pipeline.as_str());
        // Each user passes through to its own home and lists nothing.
        make_dir(&of_pipeline, 0o711)?;
        Ok(of_pipeline.join(user))
    }

    /// Asks an attempt to end; one that is about to be started ends before its first step.
    ///
    /// # Errors
    /// If the wish cannot be written.
    pub fn stop(&self, run: &RunRef, attempt: u32, reason: &str) -> io::Result<()> {
        let _one_at_a_time = self.inner.starting.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = self.make_attempt(run, attempt)?;
        self.inner.launcher.stop(&dir, reason)
    }

    /// What can be said of an attempt; one that did not begin and that nobody is starting never will.
    ///
    /// # Errors
    /// If its files cannot be read; nothing is concluded then.
    pub fn status(&self, run: &RunRef, attempt: u32, boot_id: &str) -> io::Result<Status> {
        let dir = self.dir(run, attempt);
        // What has claimed, or is just beginning, is not fenced: it need not wait for those that are started.
        let claimed = dir.join(CLAIMED).try_exists()?;
        if !claimed && self.inner.launcher.is_beginning(run, attempt) {
            return Ok(Status::Running);
        }
        let _one_at_a_time = (!claimed).then(|| self.inner.starting.lock().unwrap_or_else(PoisonError::into_inner));
        self.inner.launcher.status(&dir, run, attempt, boot_id)
    }

    /// All attempts that have a directory.
    ///
    /// # Errors
    /// If the directory of runs cannot be read.
    pub fn list(&self) -> io::Result<Vec<(RunRef, u32)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.inner.dirs.runs)?.flatten() {
            let Some(run) = entry.file_name().to_str().and_then(|name| RunRef::from_id(name).ok()) else { continue };
            for attempt in fs::read_dir(entry.path()).into_iter().flatten().flatten() {
                if let Some(attempt) = attempt.file_name().to_str().and_then(|name| name.parse().ok()) {
                    found.push((run.clone(), attempt));
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Attempts that are over or run and whose result was not acknowledged, as far as the host knows.
    ///
    /// # Errors
    /// If the host does not say.
    pub fn kept(&self) -> io::Result<Vec<(RunRef, u32)>> {
        self.inner.launcher.kept()
    }

    /// The result is recorded: the workspace goes; log, events and artifacts stay.
    ///
    /// # Errors
    /// If the attempt still runs, or something cannot be removed.
    pub fn ack(&self, run: &RunRef, attempt: u32) -> io::Result<()> {
        let dir = self.dir(run, attempt);
        if Lock::is_held(&dir.join(LOCK))? {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, format!("{run}, attempt {attempt}, still runs")));
        }
        self.inner.launcher.ack(&dir, run, attempt)?;
        events::give_back(&dir)?;
        logfile::compress(&dir)
    }

    /// Nothing is to be left of an attempt that is over but its directory.
    pub(super) fn let_go(&self, run: &RunRef, attempt: u32) -> io::Result<()> {
        self.ack(run, attempt)?;
        self.inner.launcher.let_go(&self.dir(run, attempt), run, attempt)
    }
}

impl Here {
    /// A person says yes to this, with a code. Nobody is told of a code before what came of it is on disk.
    ///
    /// # Errors
    /// If it cannot be written down.
    pub fn code(&self, statement: &Statement, name: &PersonName, code: &str) -> io::Result<Taken> {
        let (run, tuple) = (&statement.run, &statement.tuple);
        let (definition, people) = {
            let known = self.known();
            (known.now.get(&tuple.definition).cloned(), Arc::clone(&known.people))
        };
        let refused = |why: String| Ok(Taken::Refused { why });
        let Some(definition) = definition else {
            return refused(format!("definition {} is not known here: shipbell reload", tuple.definition.short()));
        };
        let Some(person) = people.people.get(name) else {
            return refused(format!("{name} is nobody in shipbell.toml"));
        };
        let _one_at_a_time = self.inner.coding.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::now();
        let until = match votes::may_be_coded(statement, &definition, &people, name, now) {
            Ok(until) => until,
            Err(why) => return refused(why),
        };
        let hash = statement.hash(&host::hostname());
        if let Some(why) = spent::withdrawn(&self.inner.dirs.own, run, &hash)? {
            return refused(format!("{run} is not asked for any more: {why}"));
        }
        let taken = self.codes().take((name, person), &Yes { statement: hash, run, until }, code, now)?;
        let commit = tuple.commit.as_ref().map_or("no commit", |commit| commit.as_str());
        match &taken {
            Taken::Good => info!("{name} says yes to {run} ({commit} to {}), with a code", tuple.environment),
            Taken::Refused { why } => warn!("a code of {name} for {run} was not taken: {why}"),
            Taken::Wrong { left, .. } => warn!("a wrong code of {name} for {run}; {left} more are taken"),
            Taken::Rests { until, .. } => {
                warn!("too many wrong codes of {name}, for {run}: none is taken until {until}");
            }
        }
        Ok(taken)
    }

    /// Nothing starts by these votes any more.
    ///
    /// # Errors
    /// If it cannot be written down.
    pub fn withdraw(&self, statement: &Statement, why: &str) -> io::Result<()> {
        let _one_at_a_time = self.inner.starting.lock().unwrap_or_else(PoisonError::into_inner);
        spent::withdraw(&self.inner.dirs.own, &statement.run, &statement.hash(&host::hostname()), why)
    }

    /// Takes a part of what a finished run left away.
    ///
    /// # Errors
    /// If the run is not over, or something cannot be removed.
    pub fn remove(&self, run: &RunRef, part: Part) -> io::Result<u64> {
        removal::remove(self, run, part)
    }

    /// Nothing is left of an attempt but its directory.
    pub(super) fn is_let_go(&self, run: &RunRef, attempt: u32) -> io::Result<bool> {
        self.inner.launcher.is_let_go(&self.dir(run, attempt), run, attempt)
    }
}

/// Whether the ticket in an attempt's directory is of this order, and its evidence therefore too.
fn is_for(dir: &Path, order: &StartOrder) -> bool {
    let there = evidence::read_small(dir, TICKET, TICKET_MAX).unwrap_or_default();
    let Ok(Ticket { order: there, .. }) = serde_json::from_str(&there) else { return false };
    (&there.run, there.attempt, &there.cause) == (&order.run, order.attempt, &order.cause)
        && (&there.commit, &there.definition) == (&order.commit, &order.definition)
        && (&there.params, &there.needs) == (&order.params, &order.needs)
}

/// After a restored backup numbers are given again: results that lie there are not this run's.
fn another_run(dir: &Path) -> String {
    format!("{} is of another run with this number (a restored database?): move it away, and retry", dir.display())
}

/// Makes it and what is above it; an existing one keeps its mode.
fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    if let Some(above) = path.parent() {
        fs::create_dir_all(above)?;
    }
    files::own_dir(path, mode, None)
}
