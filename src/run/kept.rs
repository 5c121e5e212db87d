//! A workspace that is kept from run to run (`workspace = "keep"`): where it is, that one run at a time
//! has it, and which commits' files may stand in it. Its `.git` is made anew for each run; what is checked
//! out how stands in `workspace`.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::model::commit::CommitId;
use crate::model::job::Workspace;
use crate::model::run::StepEnd;
use crate::model::ticket::Ticket;
use crate::run::process::Bench;
use crate::sys::files;
use crate::sys::lock::Lock;

/// Between two looks whether the other run is over.
const PAUSE: Duration = Duration::from_millis(200);
/// A record is not larger.
const RECORD_MAX: u64 = 4096;

/// The kept workspace of a job and user, beside the HOME that is kept for them: in a directory of ours,
/// where nobody else can put a link in its place. `None`: each run has a fresh one.
#[must_use]
pub fn place(ticket: &Ticket) -> Option<PathBuf> {
    if ticket.definition.workspace == Workspace::Fresh {
        return None;
    }
    let mut name = OsString::from(format!("kept.{}.", ticket.order.run.job.job));
    name.push(ticket.home.file_name()?);
    Some(ticket.home.with_file_name(name))
}

fn beside(ticket: &Ticket, ending: &str) -> Option<PathBuf> {
    let mut path = place(ticket)?.into_os_string();
    path.push(ending);
    Some(path.into())
}

/// Waits until no other run has it.
///
/// # Errors
/// The end of a step 0 that could not begin.
pub fn take(bench: &mut Bench) -> Result<Option<Lock>, StepEnd> {
    let Some(path) = beside(&bench.ticket, ".lock") else { return Ok(None) };
    let mut told = false;
    loop {
        match Lock::take(&path) {
            Ok(Some(lock)) => return Ok(Some(lock)),
            Ok(None) => {}
            Err(error) => return Err(StepEnd::Refused(format!("{} cannot be locked: {error}", path.display()))),
        }
        if !std::mem::replace(&mut told, true) {
            bench.log.note("=== waits for the kept workspace, which another run of this job has");
        }
        let next = Instant::now() + PAUSE;
        while Instant::now() < next {
            bench.turn(next.saturating_duration_since(Instant::now()));
        }
        if bench.stop.is_some() {
            return Err(StepEnd::Cancelled);
        }
        if Instant::now() >= bench.deadline {
            return Err(StepEnd::TimedOut);
        }
    }
}

/// The commits whose files may stand in it, oldest first.
#[must_use]
pub fn commits(ticket: &Ticket) -> Vec<CommitId> {
    let Some(path) = beside(ticket, ".commits") else { return Vec::new() };
    let Some((dir, name)) = path.parent().zip(path.file_name()) else { return Vec::new() };
    let mut text = String::new();
    let read = files::open_dir(dir)
        .and_then(|dir| files::open_beneath(&dir, name.as_ref(), false))
        .and_then(|file| file.take(RECORD_MAX).read_to_string(&mut text));
    if read.is_err() {
        return Vec::new();
    }
    text.lines().filter_map(|line| CommitId::new(line).ok()).collect()
}

/// Records it before and after files of a commit are put there: a checkout that is cut off leaves those
/// of both.
///
/// # Errors
/// If the disk does not take it.
pub fn record(ticket: &Ticket, commits: &[CommitId]) -> std::io::Result<()> {
    let Some(path) = beside(ticket, ".commits") else { return Ok(()) };
    let text: String = commits.iter().map(|commit| format!("{commit}\n")).collect();
    files::write_for_now(&path, text.as_bytes(), 0o640)
}

/// The run is over: a secret that was put there for `init` does not stay.
pub fn leave(bench: &Bench) {
    let Some(init) = bench.ticket.definition.init.as_ref().filter(|init| init.secret.is_some()) else { return };
    if let Some(path) = place(&bench.ticket)
        && let Ok(dir) = files::open_dir(&path)
    {
        // An empty file in its place is none of a secret.
        drop(files::create_beneath(&dir, init.config.as_ref(), 0o600, bench.doer.owner()));
    }
}
