//! Files that a run leaves for people and for what comes after it: found by a child that has become the
//! job's user (`collect`), stored by us under the hash of their content, and put into the workspace of the
//! runs downstream. What is copied is what is hashed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd as _;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::model::job::{Hash, hex};
use crate::model::run::{Artifact, Upstream};
use crate::model::ticket::{ARTIFACTS, Fact};
use crate::run::collect::{COLLECT, Frame};
use crate::run::process::{Bench, Task};
use crate::sys::files;
use crate::sys::process::{self, Ended};

const COUNT_MAX: usize = 1000;
const TOTAL_MAX: u64 = 2 << 30;
const NAME_MAX: usize = 1024;
/// The child has this long for all of it, and for each word of it.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// Where a file is while it comes in: no hash has this name.
const COMING: &str = "coming";

/// Whether it is worth a process to look: most runs leave nothing.
#[must_use]
pub fn may_be_there(bench: &Bench) -> bool {
    let left = std::fs::symlink_metadata(&bench.places.artifacts).is_ok_and(|found| {
        !found.is_dir() || std::fs::read_dir(&bench.places.artifacts).map_or(true, |mut files| files.next().is_some())
    });
    left || (!bench.ticket.definition.artifacts.is_empty() && bench.places.work.exists())
}

/// Keeps what the job's globs match in the workspace and all that lies in `$SHIPBELL_ARTIFACTS`,
/// stating each file.
///
/// # Errors
/// A text for people; what was stated before stays.
pub fn collect(bench: &mut Bench) -> Result<(), String> {
    let made = |error: io::Error| format!("artifacts/ cannot be made: {error}");
    let target = bench.dir.join(ARTIFACTS);
    files::own_dir(&target, 0o750, None).map_err(made)?;
    let target = files::open_dir(&target).map_err(made)?;
    let failed = |error: io::Error| format!("the artifacts could not be collected: {error}");
    let pipe = start(bench).map_err(failed)?;
    let mut words = Words { pipe, until: Instant::now() + PATIENCE };
    let mut store = Store { target, taken: Vec::new(), total: 0 };
    let result = store.take_all(bench, &mut words);
    // It has told everything, or is not believed any more.
    if result.is_err() {
        bench.end_tree(Duration::ZERO);
    }
    while matches!(bench.awaited, Some((_, None))) && Instant::now() < words.until {
        bench.turn(Duration::from_secs(1));
    }
    match (result, bench.awaited.take()) {
        (Err(why), _) => Err(why),
        (Ok(()), Some((_, Some(Ended::Exit(0))))) => Ok(()),
        (Ok(()), end) => Err(failed(io::Error::other(format!("its child ended badly ({end:?})")))),
    }
}

/// The child, and the reading end of what it prints.
fn start(bench: &mut Bench) -> io::Result<io::PipeReader> {
    let (reader, writer) = io::pipe()?;
    let mut argv: Vec<OsString> = ["/proc/self/exe", "supervise", COLLECT].map(OsString::from).to_vec();
    argv.extend([&bench.places.work, &bench.places.artifacts].map(|path| path.as_os_str().to_owned()));
    argv.extend(bench.ticket.definition.artifacts.iter().map(OsString::from));
    let task = Task { argv, env: BTreeMap::new(), dir: PathBuf::from("/") };
    bench.awaited = Some((bench.start_to(task, writer.into())?, None));
    Ok(reader)
}

/// What the child prints, waited for with patience.
struct Words {
    pipe: io::PipeReader,
    until: Instant,
}

impl Read for Words {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        process::wait_readable(&[self.pipe.as_fd()], left)?;
        if Instant::now() >= self.until {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long"));
        }
        self.pipe.read(buffer)
    }
}

/// What was kept so far.
struct Store {
    target: File,
    taken: Vec<Artifact>,
    total: u64,
}

impl Store {
    fn take_all(&mut self, bench: &mut Bench, words: &mut Words) -> Result<(), String> {
        let unheard = |error: io::Error| format!("the artifacts could not be collected: {error}");
        loop {
            match Frame::read(words).map_err(unheard)? {
                Frame::Begin(name) => {
                    self.judge(bench, &name)?;
                    let artifact = self.take(&name, words)?;
                    bench.events.state(Fact::Artifact { artifact: artifact.clone() }, false);
                    self.taken.push(artifact);
                }
                Frame::Note(text) => bench.log.note(&format!("=== {}", text.replace(char::is_control, " "))),
                Frame::Failed(why) => return Err(bench.log.clean(&why.replace(char::is_control, " ")).0),
                Frame::Done => return Ok(()),
                Frame::Data(_) | Frame::End => {
                    return Err("the artifacts could not be collected: data of no file".into());
                }
            }
        }
    }

    /// Names come from the job: they are stored, shown, and become paths in other workspaces.
    fn judge(&self, bench: &Bench, name: &str) -> Result<(), String> {
        let shown: String = name.escape_debug().take(200).collect();
        let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        if name.is_empty() || name.len() > NAME_MAX || !plain || name.chars().any(char::is_control) {
            return Err(format!("artifact {shown}: its name is no plain text"));
        }
        if bench.log.clean(name).1 {
            return Err("an artifact has a secret in its name: names are stored and shown".into());
        }
        if self.taken.len() >= COUNT_MAX {
            return Err(format!("more than {COUNT_MAX} artifacts: pack them, or choose fewer in `artifacts`"));
        }
        if self.taken.iter().any(|artifact| artifact.path == name) {
            return Err(format!("artifact {name}: it lies in the workspace and in $SHIPBELL_ARTIFACTS"));
        }
        Ok(())
    }

    /// One file, hashed as it comes in; its name is then its hash.
    fn take(&mut self, name: &str, words: &mut Words) -> Result<Artifact, String> {
        let failed = |error: io::Error| format!("artifact {name}: {error}");
        let mut file = files::create_beneath(&self.target, COMING.as_ref(), 0o640, None).map_err(failed)?;
        let (mut hash, mut size) = (Sha256::new(), 0_u64);
        loop {
            match Frame::read(words).map_err(failed)? {
                Frame::Data(bytes) => {
                    size += bytes.len() as u64;
                    if self.total + size > TOTAL_MAX {
                        return Err(format!("artifact {name}: the artifacts of a run have at most 2 GiB in all"));
                    }
                    hash.update(&bytes);
                    file.write_all(&bytes).map_err(failed)?;
                }
                Frame::End => break,
                Frame::Failed(why) => return Err(why.replace(char::is_control, " ")),
                Frame::Begin(_) | Frame::Note(_) | Frame::Done => {
                    return Err(format!("artifact {name}: it has no end"));
                }
            }
        }
        file.sync_data().map_err(failed)?;
        self.total += size;
        let sha256 = Hash(hex(&hash.finalize()).into());
        files::rename_beneath(&self.target, COMING.as_ref(), sha256.as_str().as_ref()).map_err(failed)?;
        Ok(Artifact { path: name.to_owned(), sha256, size })
    }
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
    let base = runs.join(upstream.run.id());
    let attempts = std::fs::read_dir(&base).map_err(failed)?.flatten();
    // Whichever attempt left it: its name is its content.
    let dirs = attempts.map(|entry| entry.path().join(ARTIFACTS));
    let open = |dir: PathBuf| {
        let dir = files::open_dir(&dir)?;
        files::open_beneath(&dir, artifact.sha256.as_str().as_ref(), false)
    };
    let source = dirs.filter_map(|dir| open(dir).ok()).next();
    let source = source.ok_or_else(|| format!("{name} is no longer there; start {} again", upstream.run.job))?;
    let work = files::open_dir(&bench.places.work).map_err(failed)?;
    let path = Path::new(&artifact.path);
    let file = files::create_beneath(&work, path, 0o640, bench.doer.owner()).map_err(failed)?;
    let (sha256, _) = pour(source, &file).map_err(failed)?;
    if sha256 != artifact.sha256 {
        return Err(format!("{name} is not what that run left: its content changed since"));
    }
    Ok(())
}
