//! The launcher that needs neither systemd nor root: supervisors are children of a child of this process
//! and live on when both end. Whether one lives is read from its lock, never from a process id. What a killed one
//! left is ended by its control group; where it had none, as far as it can be found, and then nobody can
//! prove that nothing is left.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::launch::nursery::Nursery;
use crate::launch::{Status, evidence};
use crate::model::ticket::{CLAIMED, Evidence, LOCK, STOP, SUPERVISOR_LOG};
use crate::run;
use crate::run::env::Places;
use crate::sys::cgroup::Cage;
use crate::sys::files;
use crate::sys::lock::Lock;
use crate::sys::process::{self, Blow, Handle};

/// What a supervisor writes down in the file of its lock is not longer.
const MARKS_MAX: u64 = 1 << 20;
/// How long a group that is ended is waited for; the next question goes on.
const END_PATIENCE: Duration = Duration::from_millis(500);
/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Local {
    binary: PathBuf,
    /// Started with the first attempt.
    nursery: Arc<Mutex<Option<Nursery>>>,
}

impl Local {
    #[must_use]
    pub fn new(binary: &Path) -> Self {
        Self { binary: binary.to_owned(), nursery: Arc::default() }
    }

    fn nursery(&self) -> MutexGuard<'_, Option<Nursery>> {
        // It is there or not after a panic as well.
        self.nursery.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the supervisor of an attempt started whose ticket is written. `secrets` is what it finds on its
    /// standard input.
    ///
    /// # Errors
    /// If the program cannot be started; then nothing began and nothing will.
    pub fn launch(&self, dir: &Path, secrets: Option<&File>) -> io::Result<()> {
        let mut nursery = self.nursery();
        if nursery.as_ref().is_some_and(|nursery| nursery.launch(dir, secrets).is_ok()) {
            return Ok(());
        }
        let new = Nursery::start(&self.binary)?;
        new.launch(dir, secrets)?;
        *nursery = Some(new);
        Ok(())
    }

    /// What can be said of the attempt now. An attempt that nobody claimed and that nobody is about to
    /// claim is fenced: from then on it is certain that it never begins.
    ///
    /// # Errors
    /// If the files cannot be read; then nothing is concluded.
    pub fn status(&self, dir: &Path, boot_id: &str) -> io::Result<Status> {
        if !dir.join(CLAIMED).try_exists()? {
            if self.nursery().as_ref().is_some_and(|nursery| nursery.has(dir)) {
                return Ok(Status::Running);
            }
            if let Some(why) = fence(dir, || "its supervisor never began".into())? {
                return Ok(Status::Over(Evidence::NeverStarted { why }));
            }
        }
        if Lock::is_held(&dir.join(LOCK))? {
            return Ok(Status::Running);
        }
        let mut evidence = evidence::of(dir, boot_id)?;
        if let Evidence::Lost { rebooted: false, .. } | Evidence::Finished { empty: false, .. } = evidence {
            match end_leftovers(dir) {
                Left::Something => return Ok(Status::Running),
                Left::Nothing => {
                    // The kernel says now what its supervisor did not live to say.
                    if let Evidence::Finished { empty, .. } = &mut evidence {
                        *empty = true;
                    }
                }
                Left::Unknown => {}
            }
            run::secrets::remove_left(dir);
        }
        Ok(Status::Over(evidence))
    }
}

/// Asks the supervisor to end the run. It does so in its own time: TERM, grace, KILL, `always` steps.
///
/// # Errors
/// If the wish cannot be written.
pub fn stop(dir: &Path, reason: &str) -> io::Result<()> {
    files::write_whole(&dir.join(STOP), reason.as_bytes(), 0o640)?;
    let lock = dir.join(LOCK);
    if !Lock::is_held(&lock)? {
        // Over, or about to begin: then it looks for the wish once it has claimed.
        return Ok(());
    }
    let holder = evidence::read_small(dir, LOCK, 32)?;
    let Some(pid) = holder.lines().next().and_then(|pid| pid.parse::<i32>().ok()) else { return Ok(()) };
    let Ok(handle) = Handle::open(pid) else { return Ok(()) };
    // Still held after the handle was taken: so the number was its holder's then.
    if Lock::is_held(&lock)? {
        handle.send(Blow::Term)?;
    }
    Ok(())
}

/// Takes `lock` and `claimed` as a supervisor would. `Some(why)`: nothing ever began here, and nothing
/// will. `None`: somebody was here before.
///
/// # Errors
/// If the files cannot be made; then nothing is certain.
pub fn fence(dir: &Path, otherwise: impl FnOnce() -> String) -> io::Result<Option<String>> {
    fs::create_dir_all(dir)?;
    let Some(lock) = Lock::take(&dir.join(LOCK))? else { return Ok(None) };
    let said = evidence::read_small(dir, SUPERVISOR_LOG, 1000)?;
    let said: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let said: String = said.chars().filter(|c| !c.is_control()).take(300).collect();
    let why = if said.is_empty() { otherwise() } else { said };
    let fenced = run::claim(dir, &format!("{}: {why}\n", evidence::FENCED), true)?;
    drop(lock);
    Ok(fenced.then_some(why))
}

/// What is left of a run whose supervisor was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    Nothing,
    /// It is being ended; ask again.
    Something,
    /// There is no group that would tell.
    Unknown,
}

/// Ends what a killed supervisor left alive: all of its group, and, for a host without one, what still
/// carries the name of the run and the sessions of the programs that the supervisor wrote down.
pub fn end_leftovers(dir: &Path) -> Left {
    let Ok(dir) = dir.canonicalize() else { return Left::Unknown };
    let marks = evidence::read_small(&dir, LOCK, MARKS_MAX).unwrap_or_default();
    let group = run::hold::written_down(&marks);
    let until = Instant::now() + END_PATIENCE;
    while group.as_ref().is_some_and(|group| !group.is_empty()) && Instant::now() < until {
        group.iter().for_each(Cage::kill);
        std::thread::sleep(Duration::from_millis(5));
    }
    // Root may leave a group; and without one this is all there is.
    end_marked(&dir, &marks);
    match group {
        None => Left::Unknown,
        Some(group) if !group.is_empty() => Left::Something,
        Some(group) => {
            let _ = group.remove();
            Left::Nothing
        }
    }
}

fn end_marked(dir: &Path, marks: &str) {
    let output = Places::of(dir).output;
    let mut mark = b"SHIPBELL_OUTPUT=".to_vec();
    mark.extend_from_slice(output.as_os_str().as_encoded_bytes());
    // Twice: what was born during the first look.
    if process::kill_marked(&mark) > 0 {
        let _ = process::kill_marked(&mark);
    }
    for line in marks.lines().skip(1) {
        let mut words = line.split(' ');
        let (leader, start, uid) = (words.next(), words.next(), words.next());
        let leader = leader.and_then(|word| word.parse().ok()).filter(|leader| *leader > 1);
        let (start, uid) = (start.and_then(|word| word.parse().ok()), uid.and_then(|word| word.parse().ok()));
        if let (Some(leader), Some(start), Some(uid)) = (leader, start, uid) {
            let _ = process::kill_session(leader, start, uid);
        }
    }
}
