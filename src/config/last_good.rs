//! The last good version of every pipeline, kept as resolved, so that a file that breaks while the
//! daemon is down still has one; and of shipbell.toml, kept as text. What cannot be read is as if it
//! were not there: then there is no last good version, which is the safe answer.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::model::catalog::{Catalog, Pipeline, PipelineState};
use crate::model::name::PipelineName;

const VERSION: u32 = 1;
const SETTINGS: &str = "shipbell.toml";

#[derive(Serialize)]
struct Kept<'a> {
    v: u32,
    pipeline: &'a Pipeline,
}

#[derive(Deserialize)]
struct Found {
    v: u32,
    pipeline: Pipeline,
}

/// What was kept, by name.
#[must_use]
pub fn read(dir: &Path) -> BTreeMap<PipelineName, Pipeline> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let pipeline = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let name: PipelineName = name.to_str()?.strip_suffix(".json")?.parse().ok()?;
        let found: Found = serde_json::from_slice(&fs::read(entry.path()).ok()?).ok()?;
        (found.v == VERSION && found.pipeline.name == name).then_some((name, found.pipeline))
    };
    entries.filter_map(pipeline).collect()
}

/// Keeps what is good now and forgets what is gone; what is broken or unsafe keeps its older version.
///
/// # Errors
/// If a file cannot be written or removed.
pub fn write(dir: &Path, catalog: &Catalog) -> io::Result<()> {
    for (name, pipeline) in &catalog.pipelines {
        if pipeline.state == PipelineState::Ok {
            let text = serde_json::to_vec(&Kept { v: VERSION, pipeline }).map_err(io::Error::other)?;
            replace(&dir.join(format!("{name}.json")), &text)?;
        }
    }
    for entry in fs::read_dir(dir)?.flatten() {
        let file_name = entry.file_name();
        let Some(name) = file_name.to_str().and_then(|name| name.strip_suffix(".json")) else { continue };
        let kept = name.parse::<PipelineName>().ok().and_then(|name| catalog.pipelines.get(&name));
        // Gone means: no file stands there any more, neither broken nor unsafe.
        if kept.is_none_or(|pipeline| !pipeline.file.is_file()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The text of the last good shipbell.toml.
#[must_use]
pub fn settings(dir: &Path) -> Option<String> {
    fs::read_to_string(dir.join(SETTINGS)).ok()
}

/// Keeps the text of a shipbell.toml that is good; `None`: there is none.
///
/// # Errors
/// If it cannot be written.
pub fn keep_settings(dir: &Path, text: Option<&str>) -> io::Result<()> {
    let path = dir.join(SETTINGS);
    match text {
        Some(text) => replace(&path, text.as_bytes()),
        None => match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    }
}

/// Puts a file in place whole or not at all; what is the same is left alone.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let new = path.with_extension("new");
    let mut file = fs::File::create(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    if let Some(dir) = path.parent() {
        fs::File::open(dir)?.sync_all()?;
    }
    Ok(())
}
