//! What a run left goes, when the daemon asks: only of runs of which every attempt is over and let go, and
//! the ticket of a deployment never, by which nothing of it can be begun a second time. Everything here
//! may be asked twice.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;

use super::Here;
use crate::launch::{Status, evidence};
use crate::model::name::RunRef;
use crate::model::retention::Part;
use crate::model::ticket::{ARTIFACTS, CLAIMED, LOCK, LOG, SUPERVISOR_LOG, TICKET, Ticket};
use crate::sys::lock::Lock;
use crate::sys::{files, host, removal};

/// Removes a part of what a run left; gives the bytes that the disk gets back.
///
/// # Errors
/// `ResourceBusy` where an attempt is not over; `PermissionDenied` where it stays for good.
pub fn remove(here: &Here, run: &RunRef, part: Part) -> io::Result<u64> {
    let runs = files::open_dir(here.runs())?;
    let doomed = OsString::from(format!(".gone-{}", run.id()));
    let left = if part == Part::Run { removal::remove(&runs, &doomed)? } else { 0 };
    let Some(of_run) = below(&runs, Path::new(&run.id()))? else { return Ok(left) };
    let attempts = attempts(&of_run)?;
    for attempt in &attempts {
        is_over(here, run, *attempt)?;
    }
    if part == Part::Run {
        for attempt in &attempts {
            may_be_forgotten(&here.runs().join(run.id()).join(attempt.to_string()), run)?;
        }
        // From here on it is no run's directory any more, whatever comes between.
        files::rename_beneath(&runs, run.id().as_ref(), doomed.as_ref())?;
        return Ok(left + removal::remove(&runs, &doomed)?);
    }
    let mut bytes = 0;
    for attempt in attempts {
        let Some(dir) = below(&of_run, Path::new(&attempt.to_string()))? else { continue };
        for name in names(&dir, part)? {
            bytes += removal::remove(&dir, &name)?;
        }
    }
    Ok(bytes)
}

/// What removing a part would give back, as far as this process may see it.
///
/// # Errors
/// If it cannot be read.
pub fn measure(runs: &Path, run: &RunRef, part: Part) -> io::Result<u64> {
    let runs = files::open_dir(runs)?;
    if part == Part::Run {
        return removal::measure(&runs, run.id().as_ref());
    }
    let Some(of_run) = below(&runs, Path::new(&run.id()))? else { return Ok(0) };
    let mut bytes = 0;
    for attempt in attempts(&of_run)? {
        let Some(dir) = below(&of_run, Path::new(&attempt.to_string()))? else { continue };
        for name in names(&dir, part)? {
            bytes += removal::measure(&dir, &name)?;
        }
    }
    Ok(bytes)
}

fn below(dir: &File, name: &Path) -> io::Result<Option<File>> {
    match files::open_dir_beneath(dir, name) {
        Ok(dir) => Ok(Some(dir)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Its attempts. What lies in the place of one and is no directory is nobody's work: it is looked into, and
/// not through it.
fn attempts(of_run: &File) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in files::entries(of_run, Path::new(""))? {
        let Some(attempt) = entry.path.to_str().and_then(|name| name.parse().ok()) else { continue };
        if entry.kind != files::Kind::Dir {
            let text = format!("attempt {attempt} is no directory: somebody put something in its place");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        found.push(attempt);
    }
    Ok(found)
}

/// The names of this part in the directory of an attempt.
fn names(dir: &File, part: Part) -> io::Result<Vec<OsString>> {
    let is_log = |name: &str| {
        name == LOG || name == SUPERVISOR_LOG || name.strip_prefix(LOG).is_some_and(|rest| rest.starts_with('.'))
    };
    let wanted = |name: &str| match part {
        Part::Artifacts => name == ARTIFACTS,
        Part::Log => is_log(name),
        Part::Run => true,
    };
    let entries = files::entries(dir, Path::new(""))?;
    Ok(entries.into_iter().filter(|one| one.path.to_str().is_some_and(wanted)).map(|one| one.path.into()).collect())
}

/// Over, and nothing is left of it but what lies in its directory.
fn is_over(here: &Here, run: &RunRef, attempt: u32) -> io::Result<()> {
    let busy =
        |what: &str| Err(io::Error::new(io::ErrorKind::ResourceBusy, format!("{run}, attempt {attempt}, {what}")));
    let dir = here.runs().join(run.id()).join(attempt.to_string());
    if Lock::is_held(&dir.join(LOCK))? {
        return busy("still runs");
    }
    if !dir.join(CLAIMED).try_exists()? && here.status(run, attempt, &host::boot_id()?)? == Status::Running {
        return busy("is about to begin");
    }
    if !here.is_let_go(run, attempt)? {
        // Where the daemon ended before it could say that the result is recorded.
        here.let_go(run, attempt)?;
        if !here.is_let_go(run, attempt)? {
            return busy("is being swept");
        }
    }
    Ok(())
}

/// The ticket of a deployment says what was let go, and keeps it from being let go again.
fn may_be_forgotten(dir: &Path, run: &RunRef) -> io::Result<()> {
    if !dir.join(TICKET).try_exists()? {
        return Ok(());
    }
    let text = evidence::read_small(dir, TICKET, super::here::TICKET_MAX)?;
    match serde_json::from_str::<Ticket>(&text) {
        Ok(ticket) if !ticket.definition.deploys() => Ok(()),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{run} changed an environment: its ticket stays"),
        )),
        Err(error) => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{} cannot be read, and may be of a deployment: {error}", dir.join(TICKET).display()),
        )),
    }
}
