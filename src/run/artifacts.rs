//! Files that a run leaves for people and for what comes after it: collected into `artifacts/` when
//! nothing of the run is alive, and put into the workspace of the runs downstream. Both directions open
//! files below a directory and through no link, and what is copied is what is hashed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::model::glob;
use crate::model::job::{Hash, hex};
use crate::model::run::{Artifact, Upstream};
use crate::model::ticket::{ARTIFACTS, Fact};
use crate::run::process::Bench;
use crate::sys::files::{self, Kind};

const COUNT_MAX: usize = 1000;
const TOTAL_MAX: u64 = 2 << 30;
/// Entries of the workspace that are looked at; more means that the globs are too wide.
const LOOK_MAX: usize = 2_000_000;

/// Copies what the job's globs match in the workspace and all that lies in `$SHIPBELL_ARTIFACTS`,
/// stating each file.
///
/// # Errors
/// A text for people; what was stated before stays.
pub fn collect(bench: &mut Bench) -> Result<(), String> {
    let target = bench.dir.join(ARTIFACTS);
    files::own_dir(&target, 0o750, None).map_err(|error| format!("artifacts/ cannot be made: {error}"))?;
    let globs = bench.ticket.definition.artifacts.clone();
    let mut total = 0_u64;
    let mut taken: Vec<Artifact> = Vec::new();
    let work = bench.places.work.clone();
    let from_globs = if globs.is_empty() { Vec::new() } else { found_below(&work, &|path| matches(&globs, path))? };
    for glob in globs.iter().filter(|glob| !glob.starts_with('!')) {
        let alone = [glob.clone()];
        if !from_globs.iter().any(|path| matches(&alone, path)) {
            bench.log.note(&format!("=== artifacts: nothing matches \"{glob}\""));
        }
    }
    let from_dir = found_below(&bench.places.artifacts, &|_| true)?;
    let sources = from_globs.iter().map(|path| (&work, path));
    let artifacts = bench.places.artifacts.clone();
    for (base, path) in sources.chain(from_dir.iter().map(|path| (&artifacts, path))) {
        if taken.len() >= COUNT_MAX {
            return Err(format!("more than {COUNT_MAX} artifacts: pack them, or choose fewer in `artifacts`"));
        }
        let name = path.to_str().filter(|name| !name.chars().any(char::is_control));
        let name = name.ok_or_else(|| format!("artifact {path:?}: its name is no plain text"))?;
        if bench.log.clean(name).1 {
            return Err("an artifact has a secret in its name: names are stored and shown".into());
        }
        if taken.iter().any(|artifact| artifact.path == name) {
            return Err(format!("artifact {name}: it lies in the workspace and in $SHIPBELL_ARTIFACTS"));
        }
        let artifact = copy(bench, base, path, name, &target, TOTAL_MAX - total)?;
        total += artifact.size;
        bench.events.state(Fact::Artifact { artifact: artifact.clone() }, false);
        taken.push(artifact);
    }
    Ok(())
}

fn matches(globs: &[String], path: &Path) -> bool {
    path.to_str().is_some_and(|path| glob::list_matches(globs, path))
}

/// Plain files below `base` whose path is wanted; `.git` and what links point to are not looked at.
fn found_below(base: &Path, wanted: &dyn Fn(&Path) -> bool) -> Result<Vec<PathBuf>, String> {
    let unread = |error: io::Error| format!("artifacts cannot be looked for: {error}");
    let dir = files::open_dir(base).map_err(unread)?;
    let (mut found, mut open, mut looked) = (Vec::new(), vec![PathBuf::new()], 0_usize);
    while let Some(at) = open.pop() {
        for entry in files::entries(&dir, &at).map_err(unread)? {
            looked += 1;
            if looked > LOOK_MAX {
                return Err(format!("artifacts: the workspace has more than {LOOK_MAX} files; give plain paths"));
            }
            match entry.kind {
                Kind::Dir if entry.path == Path::new(".git") => {}
                Kind::Dir => open.push(entry.path),
                Kind::File if wanted(&entry.path) => found.push(entry.path),
                Kind::File | Kind::Other => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

fn copy(bench: &Bench, base: &Path, path: &Path, name: &str, target: &Path, room: u64) -> Result<Artifact, String> {
    let failed = |error: io::Error| format!("artifact {name}: {error}");
    let dir = files::open_dir(base).map_err(failed)?;
    let source = files::open_beneath(&dir, path, false).map_err(failed)?;
    // A hard link to somebody else's file would be read with our rights, not with the job's.
    if let Some((uid, _)) = bench.doer.owner()
        && files::owner_of(&source).map_err(failed)? != uid
    {
        return Err(format!("artifact {name}: it does not belong to {}, the user of the job", bench.doer.name));
    }
    let target = files::open_dir(target).map_err(failed)?;
    let file = files::create_beneath(&target, path, 0o640, None).map_err(failed)?;
    let (sha256, size) = pour(source.take(room.saturating_add(1)), &file).map_err(failed)?;
    if size > room {
        return Err(format!("artifact {name}: the artifacts of a run have at most 2 GiB in all"));
    }
    file.sync_data().map_err(failed)?;
    Ok(Artifact { path: name.to_owned(), sha256, size })
}

/// Copies and hashes in one go.
fn pour(mut from: impl Read, mut to: &File) -> io::Result<(Hash, u64)> {
    let (mut hash, mut size, mut buffer) = (Sha256::new(), 0_u64, vec![0; 128 << 10]);
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok((Hash(hex(&hash.finalize()).into()), size)),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let bytes = buffer.get(..read).unwrap_or_default();
        hash.update(bytes);
        to.write_all(bytes)?;
        size += bytes.len() as u64;
    }
}

/// Puts the artifacts of everything upstream into the workspace, each at its path.
///
/// # Errors
/// A text for people: one is gone or is not what was approved.
pub fn restore(bench: &mut Bench) -> Result<(), String> {
    let runs = bench.dir.parent().and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
    let needs = bench.ticket.order.needs.clone();
    for upstream in &needs {
        for artifact in &upstream.artifacts {
            restore_one(bench, &runs, upstream, artifact)?;
        }
    }
    Ok(())
}

fn restore_one(bench: &Bench, runs: &Path, upstream: &Upstream, artifact: &Artifact) -> Result<(), String> {
    let name = format!("artifact {} of {}", artifact.path, upstream.run);
    let failed = |error: io::Error| format!("{name} cannot be put into the workspace: {error}");
    let path = Path::new(&artifact.path);
    let base = runs.join(upstream.run.id());
    let mut attempts: Vec<u32> = std::fs::read_dir(&base)
        .map_err(failed)?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    attempts.sort_unstable();
    let mut found = None;
    for attempt in attempts.into_iter().rev() {
        let dir = base.join(attempt.to_string()).join(ARTIFACTS);
        if let Ok(file) = files::open_dir(&dir).and_then(|dir| files::open_beneath(&dir, path, false)) {
            found = Some(file);
            break;
        }
    }
    let source = found.ok_or_else(|| format!("{name} is no longer there; start {} again", upstream.run.job))?;
    let work = files::open_dir(&bench.places.work).map_err(failed)?;
    let file = files::create_beneath(&work, path, 0o640, bench.doer.owner()).map_err(failed)?;
    let (sha256, _) = pour(source, &file).map_err(failed)?;
    if sha256 != artifact.sha256 {
        return Err(format!("{name} is not what that run left: its content changed since"));
    }
    Ok(())
}
