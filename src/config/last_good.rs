//! The last good version of every pipeline, kept as resolved, so that a file that breaks while the
//! daemon is down still has one; and of shipbell.toml, kept as text. All pipelines are one file of lines,
//! to which only what changed is added: the last line of a name holds. What cannot be read is as if it
//! were not there: then there is no last good version, which is the safe answer.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::model::catalog::{Catalog, Pipeline, PipelineState};
use crate::model::name::PipelineName;

/// The first line: another one means another format.
const HEAD: &str = "shipbell last good 1\n";
/// In place of a pipeline that is gone.
const GONE: &str = "-";
const PIPELINES: &str = "pipelines";
const SETTINGS: &str = "shipbell.toml";
/// Lines that hold no more, beside as many as there are pipelines, before the file is written anew.
const OLD_LINES: usize = 100;

/// What was kept, by name.
#[derive(Debug, Default)]
pub struct LastGood {
    /// What was read, and where each pipeline stands in it: parsed only when it is asked for.
    text: String,
    places: BTreeMap<PipelineName, Range<usize>>,
    /// What was taken in since.
    held: BTreeMap<PipelineName, Arc<Pipeline>>,
    lines: usize,
    /// How long the file is, if it is as this says; else it is written anew.
    length: Option<u64>,
}

/// Reads what was kept.
#[must_use]
pub fn read(dir: &Path) -> LastGood {
    let mut found = LastGood::default();
    let bytes = fs::read(dir.join(PIPELINES)).unwrap_or_default();
    // A line that was cut short by a crash was never kept.
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    found.length = (whole == bytes.len()).then_some(bytes.len() as u64);
    let Some(text) = bytes.get(..whole).and_then(|bytes| std::str::from_utf8(bytes).ok()) else { return found };
    let Some(body) = text.strip_prefix(HEAD) else {
        return LastGood::default();
    };
    let mut start = HEAD.len();
    for line in body.split_inclusive('\n') {
        let end = start + line.len();
        found.lines += 1;
        if let Some((name, json)) = line.trim_end().split_once(' ')
            && let Ok(name) = name.parse::<PipelineName>()
        {
            if json == GONE {
                found.places.remove(&name);
            } else {
                found.places.insert(name, end - 1 - json.len()..end - 1);
            }
        }
        start = end;
    }
    found.text = text.to_owned();
    found
}

impl LastGood {
    #[must_use]
    pub fn get(&self, name: &PipelineName) -> Option<Arc<Pipeline>> {
        if let Some(held) = self.held.get(name) {
            return Some(Arc::clone(held));
        }
        let found: Pipeline = serde_json::from_str(self.json(name)?).ok()?;
        (found.name == *name).then(|| Arc::new(found))
    }

    pub fn names(&self) -> impl Iterator<Item = &PipelineName> {
        self.places.keys().chain(self.held.keys().filter(|name| !self.places.contains_key(*name)))
    }

    fn json(&self, name: &PipelineName) -> Option<&str> {
        self.text.get(self.places.get(name)?.clone())
    }

    /// Keeps what is good now and forgets what is gone; what is broken or unsafe keeps its older version.
    ///
    /// # Errors
    /// If it cannot be written; what is good is remembered all the same and written the next time.
    pub fn keep(&mut self, dir: &Path, catalog: &Catalog) -> io::Result<()> {
        let added = self.take(catalog)?;
        self.write(&dir.join(PIPELINES), &added)
    }

    /// The same, for whoever may not write it: somebody else keeps it.
    pub fn hold(&mut self, catalog: &Catalog) {
        // It fails where a pipeline is no JSON, and then it was not kept either.
        let _ = self.take(catalog);
    }

    fn take(&mut self, catalog: &Catalog) -> io::Result<String> {
        let mut added = String::new();
        for (name, pipeline) in &catalog.pipelines {
            if pipeline.state != PipelineState::Ok {
                continue;
            }
            let same = self.held.get(name).is_some_and(|held| Arc::ptr_eq(held, pipeline));
            if !same {
                let json = serde_json::to_string(pipeline.as_ref()).map_err(io::Error::other)?;
                if self.json(name) != Some(&json) {
                    add(&mut added, name, &json);
                }
                self.held.insert(name.clone(), Arc::clone(pipeline));
            }
        }
        // Gone means: no file stands there any more, neither broken nor unsafe.
        let stands = |pipeline: &Pipeline| pipeline.state == PipelineState::Ok || pipeline.file.is_file();
        let gone = |name: &&PipelineName| !catalog.pipelines.get(*name).is_some_and(|found| stands(found));
        let gone: Vec<PipelineName> = self.names().filter(gone).cloned().collect();
        for name in gone {
            add(&mut added, &name, GONE);
            self.held.remove(&name);
            self.places.remove(&name);
        }
        // From here on the text is not needed: what it alone had is held.
        let only_there: Vec<PipelineName> = self.places.keys().cloned().collect();
        for name in only_there {
            if let Some(pipeline) = self.get(&name) {
                self.held.insert(name, pipeline);
            }
        }
        (self.text, self.places) = (String::new(), BTreeMap::new());
        Ok(added)
    }

    fn write(&mut self, path: &Path, added: &str) -> io::Result<()> {
        let lines = self.lines + added.matches('\n').count();
        let as_known = self.length.take().filter(|length| fs::metadata(path).is_ok_and(|data| data.len() == *length));
        match as_known.filter(|length| *length > 0 && lines <= 2 * self.held.len() + OLD_LINES) {
            Some(length) => {
                if !added.is_empty() {
                    let mut file = fs::File::options().append(true).open(path)?;
                    file.write_all(added.as_bytes())?;
                    file.sync_data()?;
                }
                self.lines = lines;
                self.length = Some(length + added.len() as u64);
            }
            None => {
                let mut text = HEAD.to_owned();
                for (name, pipeline) in &self.held {
                    add(&mut text, name, &serde_json::to_string(pipeline.as_ref()).map_err(io::Error::other)?);
                }
                replace(path, text.as_bytes())?;
                self.lines = self.held.len();
                self.length = Some(text.len() as u64);
            }
        }
        Ok(())
    }
}

/// JSON as it is written here has no line breaks.
fn add(text: &mut String, name: &PipelineName, json: &str) {
    for part in [name.as_str(), " ", json, "\n"] {
        text.push_str(part);
    }
}

/// Reads, keeps what is good now, and forgets again.
///
/// # Errors
/// If it cannot be written.
pub fn write(dir: &Path, catalog: &Catalog) -> io::Result<()> {
    read(dir).keep(dir, catalog)
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
