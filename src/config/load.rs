//! From directories of files to a catalog. Loading never fails: what is wrong with one file is a
//! problem of one pipeline, which goes on with its last good version or is off.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::layout::Layout;
use crate::config::message::{Findings, Problem, Source};
use crate::config::safe::{self, Refusal};
use crate::config::settings::{self, Shared};
use crate::config::{Loaded, Trust, file, last_good};
use crate::model::catalog::{Catalog, Pipeline, PipelineState};
use crate::model::name::PipelineName;

/// Moves what was found about one file on, less what follows from a line that did not even parse.
pub(crate) fn take_over(told: Findings, broken_lines: &[usize], findings: &Findings) {
    let mut said = BTreeSet::new();
    for problem in told.into_problems() {
        // The first about such a line is the one about its syntax.
        if !broken_lines.contains(&problem.line) || said.insert(problem.line) {
            findings.push(problem);
        }
    }
}

/// Loads everything.
#[must_use]
pub fn load(layout: &Layout, trust: &Trust, last_good: &BTreeMap<PipelineName, Pipeline>) -> Loaded {
    let findings = Findings::default();
    let settings = settings_of(layout, trust, &findings);
    let mut catalog = Catalog::default();
    let mut problems = findings.into_problems();
    let found = discover(layout, trust, &mut catalog.skipped);
    for (name, path) in &found {
        let (pipeline, told) = one(name, path, (Some(trust), trust), &settings, last_good.get(name));
        catalog.pipelines.insert(name.clone(), pipeline);
        problems.extend(told);
    }
    for (name, old) in last_good.iter().filter(|(name, _)| !found.contains_key(name)) {
        let why = format!("its file {} is gone", old.file.display());
        catalog.pipelines.insert(name.clone(), Pipeline { state: PipelineState::Off { why }, ..old.clone() });
    }
    if let Ok(shared) = settings {
        (catalog.settings, catalog.people) = (shared.settings, shared.people);
    }
    Loaded { catalog, problems }
}

/// Loads everything and keeps what is good for the next time.
///
/// # Errors
/// If it could not be kept; the configuration itself is loaded all the same.
pub fn reload(layout: &Layout, trust: &Trust) -> (Loaded, io::Result<()>) {
    let dir = layout.last_good();
    let loaded = load(layout, trust, &last_good::read(&dir));
    let of_settings = loaded.problems.iter().any(|problem| problem.file == layout.shipbell_toml());
    let text = safe::read(&layout.shipbell_toml(), Some(trust)).ok();
    let kept = if of_settings { Ok(()) } else { last_good::keep_settings(&dir, text.as_deref()) };
    let kept = kept.and_then(|()| last_good::write(&dir, &loaded.catalog));
    (loaded, kept)
}

/// Reads just these files, wherever they lie, against the host's shipbell.toml.
#[must_use]
pub fn check_files(layout: &Layout, trust: &Trust, files: &[PathBuf]) -> Loaded {
    let findings = Findings::default();
    let settings = settings_of(layout, trust, &findings);
    let mut catalog = Catalog::default();
    let mut problems = findings.into_problems();
    let jobs_dirs = layout.jobs_dirs();
    for path in files {
        if path.file_name() == layout.shipbell_toml().file_name() {
            problems.extend(check_settings(layout, path));
            continue;
        }
        match name_of(path) {
            Ok(name) => {
                // A copy that is being written need not be root's yet.
                let installed = path.parent().is_some_and(|parent| jobs_dirs.iter().any(|dir| dir == parent));
                let judged = installed.then_some(trust);
                let (pipeline, told) = one(&name, path, (judged, trust), &settings, None);
                catalog.pipelines.insert(name, pipeline);
                problems.extend(told);
            }
            Err(why) => problems.push(Problem::of_file(path, "", &format!("no job file: {why}"), &[])),
        }
    }
    if let Ok(shared) = settings {
        (catalog.settings, catalog.people) = (shared.settings, shared.people);
    }
    Loaded { catalog, problems }
}

/// A shipbell.toml that is not the host's own (that one has been read already).
fn check_settings(layout: &Layout, path: &Path) -> Vec<Problem> {
    let findings = Findings::default();
    if path != layout.shipbell_toml() {
        match safe::read(path, None) {
            Ok(text) => {
                settings::read(&Arc::new(Source { path: path.to_owned(), text }), &findings);
            }
            Err(refusal) => findings.push(refused(path, &refusal, None)),
        }
    }
    findings.into_problems()
}

/// shipbell.toml, its last good version where it is broken, or why neither can be had.
fn settings_of(layout: &Layout, trust: &Trust, findings: &Findings) -> Result<Shared, String> {
    let path = layout.shipbell_toml();
    let told = Findings::default();
    match safe::read(&path, Some(trust)) {
        Ok(text) => {
            let shared = settings::read(&Arc::new(Source { path: path.clone(), text }), &told);
            if told.is_empty() {
                return Ok(shared);
            }
        }
        Err(Refusal::Gone) => return Ok(Shared::without_file(&path)),
        Err(refusal) => told.push(refused(&path, &refusal, None)),
    }
    told.into_problems().into_iter().for_each(|problem| findings.push(problem));
    let older = last_good::settings(&layout.last_good());
    let again = Findings::default();
    let older = older.map(|text| settings::read(&Arc::new(Source { path: path.clone(), text }), &again));
    match older {
        Some(shared) if again.is_empty() => Ok(shared),
        // Without it nobody can say who must approve what, so nothing is guessed.
        _ => Err(format!("{} is broken, and there is no earlier version of it", path.display())),
    }
}

fn one(
    name: &PipelineName,
    path: &Path,
    (judged, trust): (Option<&Trust>, &Trust),
    settings: &Result<Shared, String>,
    last_good: Option<&Pipeline>,
) -> (Pipeline, Vec<Problem>) {
    let empty = || Pipeline {
        name: name.clone(),
        file: path.to_owned(),
        state: PipelineState::Ok,
        description: None,
        repo: None,
        jobs: BTreeMap::new(),
        order: Vec::new(),
        environments: BTreeMap::new(),
    };
    let older = || last_good.cloned().map(|older| Pipeline { file: path.to_owned(), ..older });
    let off = |why: String| Pipeline { state: PipelineState::Off { why }, ..older().unwrap_or_else(empty) };
    let of_pipeline = |problems: Vec<Problem>| -> Vec<Problem> {
        problems.into_iter().map(|problem| Problem { pipeline: Some(name.clone()), ..problem }).collect()
    };
    let text = match safe::read(path, judged) {
        Ok(text) => text,
        Err(refusal) => {
            let problem = refused(path, &refusal, Some(name));
            let short = problem.short();
            let pipeline = match older() {
                Some(older) if !refusal.is_unsafe() => {
                    Pipeline { state: PipelineState::LastGood { problem: short }, ..older }
                }
                _ => off(short),
            };
            return (pipeline, of_pipeline(vec![problem]));
        }
    };
    // With no settings the file is still read, so that its own mistakes are told at once with theirs.
    let shared = match settings {
        Ok(shared) => shared,
        Err(why) => return (off(why.clone()), Vec::new()),
    };
    let findings = Findings::default();
    let source = Arc::new(Source { path: path.to_owned(), text });
    let read = file::read(name, &source, shared, trust, &findings);
    let problems = of_pipeline(findings.into_problems());
    match (read, problems.first()) {
        (Some(pipeline), None) => (pipeline, problems),
        (_, first) => {
            let more = problems.len().saturating_sub(1);
            let mut problem = first.map(Problem::short).unwrap_or_default();
            if more > 0 {
                problem.push_str(&format!(" (and {more} more)"));
            }
            let pipeline = match older() {
                Some(older) => Pipeline { state: PipelineState::LastGood { problem }, ..older },
                None => off(problem),
            };
            (pipeline, problems)
        }
    }
}

fn refused(path: &Path, refusal: &Refusal, pipeline: Option<&PipelineName>) -> Problem {
    let mut notes = refusal.notes(path);
    if let Some(name) = pipeline.filter(|_| refusal.is_unsafe()) {
        notes.push(format!("pipeline `{name}` is OFF until then; runs going on continue, history stays"));
    }
    Problem::of_file(path, &refusal.fact(), &refusal.headline("this file"), &notes)
}

/// Every job file by its pipeline's name. What is none is named in `skipped` with the reason.
fn discover(layout: &Layout, trust: &Trust, skipped: &mut Vec<(PathBuf, String)>) -> BTreeMap<PipelineName, PathBuf> {
    let mut found: BTreeMap<PipelineName, PathBuf> = BTreeMap::new();
    let mut masks: BTreeMap<PipelineName, PathBuf> = BTreeMap::new();
    for dir in layout.jobs_dirs() {
        let mut paths: Vec<PathBuf> = match fs::read_dir(&dir) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                skipped.push((dir, format!("the directory cannot be read: {error}")));
                continue;
            }
        };
        paths.sort();
        for path in paths {
            let name = match name_of(&path) {
                Ok(name) => name,
                Err(why) => {
                    skipped.push((path, why));
                    continue;
                }
            };
            if let Some(mask) = masks.get(&name) {
                skipped.push((path, format!("masked by {}", mask.display())));
            } else if let Some(over) = found.get(&name) {
                skipped.push((path, format!("{} takes its place", over.display())));
            } else if is_mask(&path, trust) {
                skipped.push((path.clone(), "a mask (linked to /dev/null)".into()));
                masks.insert(name, path);
            } else {
                found.insert(name, path);
            }
        }
    }
    found
}

/// Linked to /dev/null by somebody who may write job files.
fn is_mask(path: &Path, trust: &Trust) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let owner = fs::symlink_metadata(path).map(|link| link.uid());
    fs::read_link(path).is_ok_and(|target| target == Path::new("/dev/null"))
        && owner.is_ok_and(|owner| trust.owners.contains(&owner))
}

/// The pipeline that a file is the job file of, or why it is none.
fn name_of(path: &Path) -> Result<PipelineName, String> {
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if path.is_dir() {
        return Err("a directory: job files lie in jobs.d itself".into());
    }
    let Some(stem) = file.strip_suffix(".toml") else {
        return Err("job files end with .toml".into());
    };
    stem.parse::<PipelineName>().map_err(|_| {
        let lower = stem.to_lowercase();
        let better: String = lower.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        match better.trim_matches('-').parse::<PipelineName>() {
            Ok(better) => format!("names are a-z 0-9 and \"-\": rename it to {better}.toml"),
            Err(_) => "names are a-z 0-9 and \"-\", at most 63".into(),
        }
    })
}
