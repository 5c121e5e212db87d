//! From directories of files to a catalog. Loading never fails: what is wrong with one file is a
//! problem of one pipeline, which goes on with its last good version or is off.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::last_good::LastGood;
use crate::config::layout::Layout;
use crate::config::loader::{Found, Loader};
use crate::config::message::{Findings, Problem, Source};
use crate::config::safe::{self, Refusal};
use crate::config::settings::{self, Shared};
use crate::config::{Loaded, Trust, file, last_good};
use crate::model::catalog::{Catalog, Pipeline, PipelineState};
use crate::model::name::PipelineName;
use crate::model::time::Timestamp;

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

/// What job files are read against.
pub(super) enum Basis {
    Good(Shared),
    /// shipbell.toml is broken and no earlier version is left: nobody can say who must approve what, so
    /// every pipeline is off. What could be read of it serves to tell the job files' mistakes with its own.
    Broken {
        why: String,
        partly: Option<Shared>,
    },
}

/// Loads everything.
#[must_use]
pub fn load(layout: &Layout, trust: &Trust, last_good: &LastGood) -> Loaded {
    Loader::default().load(layout, trust, last_good, None, Timestamp::MIN).0
}

/// Loads everything and keeps what is good for the next time.
///
/// # Errors
/// If it could not be kept; the configuration itself is loaded all the same.
pub fn reload(layout: &Layout, trust: &Trust) -> (Loaded, io::Result<()>) {
    Loader::default().reload(layout, trust, Timestamp::MIN)
}

/// Reads just these files, wherever they lie, against the shipbell.toml among them or else the host's.
#[must_use]
pub fn check_files(layout: &Layout, trust: &Trust, files: &[PathBuf]) -> Loaded {
    let findings = Findings::default();
    let (settings, jobs): (Vec<&PathBuf>, Vec<&PathBuf>) =
        files.iter().partition(|path| path.file_name() == layout.shipbell_toml().file_name());
    // A copy that is being written need not be root's yet.
    let jobs_dirs = layout.jobs_dirs();
    let installed = |path: &Path| {
        *path == layout.shipbell_toml() || path.parent().is_some_and(|parent| jobs_dirs.iter().any(|dir| dir == parent))
    };
    let basis = match settings.as_slice() {
        [] => basis(layout, &layout.shipbell_toml(), Some(trust), &findings),
        [path, ..] => basis(layout, path, installed(path).then_some(trust), &findings),
    };
    let mut catalog = Catalog::default();
    let mut problems = findings.into_problems();
    if let [_, others @ ..] = settings.as_slice() {
        let told = |path: &&PathBuf| Problem::of_file(path, "", "a second shipbell.toml: check it by itself", &[]);
        problems.extend(others.iter().map(told));
    }
    for path in jobs {
        match name_of(path, path.is_dir()) {
            Ok(name) => {
                let judged = installed(path).then_some(trust);
                let (pipeline, told) = one(&name, path, (judged, trust), &basis, || None);
                catalog.pipelines.insert(name, Arc::new(pipeline));
                problems.extend(told);
            }
            Err(why) => problems.push(Problem::of_file(path, "", &format!("no job file: {why}"), &[])),
        }
    }
    if let Basis::Good(shared) = basis {
        (catalog.settings, catalog.people) = (shared.settings, shared.people);
    }
    Loaded { catalog, problems }
}

/// What the host's job files are read against, and what is wrong with its shipbell.toml.
pub(super) fn basis_of_host(layout: &Layout, trust: &Trust) -> (Basis, Vec<Problem>) {
    let findings = Findings::default();
    let basis = basis(layout, &layout.shipbell_toml(), Some(trust), &findings);
    (basis, findings.into_problems())
}

/// Reads a job file that is not written yet, against the host's shipbell.toml. `path` only names it.
#[must_use]
pub fn check_text(layout: &Layout, trust: &Trust, path: &Path, text: &str) -> Loaded {
    let (basis, mut problems) = basis_of_host(layout, trust);
    let mut catalog = Catalog::default();
    match name_of(path, false) {
        Ok(name) => match read_text(&name, path, text.to_owned(), trust, &basis) {
            Ok(pipeline) => {
                catalog.pipelines.insert(name, Arc::new(pipeline));
            }
            Err((_, told)) => problems.extend(told),
        },
        Err(why) => problems.push(Problem::of_file(path, "", &format!("no job file: {why}"), &[])),
    }
    Loaded { catalog, problems }
}

/// shipbell.toml, or its last good version where it is broken.
fn basis(layout: &Layout, path: &Path, trust: Option<&Trust>, findings: &Findings) -> Basis {
    let host_own = path == layout.shipbell_toml();
    let told = Findings::default();
    let mut partly = None;
    match safe::read(path, trust) {
        Ok(text) => {
            let shared = settings::read(&Arc::new(Source { path: path.to_owned(), text }), &told);
            if told.is_empty() {
                return Basis::Good(shared);
            }
            partly = Some(shared);
        }
        Err(Refusal::Gone) if host_own => return Basis::Good(Shared::without_file(path)),
        Err(refusal) => told.push(refused(path, &refusal, None)),
    }
    told.into_problems().into_iter().for_each(|problem| findings.push(problem));
    let again = Findings::default();
    let older = last_good::settings(&layout.last_good()).filter(|_| host_own);
    let older = older.map(|text| settings::read(&Arc::new(Source { path: path.to_owned(), text }), &again));
    match older {
        Some(shared) if again.is_empty() => Basis::Good(shared),
        _ => {
            let why = format!("{} is broken, and there is no earlier version of it", path.display());
            Basis::Broken { why, partly }
        }
    }
}

/// How a pipeline goes on whose file cannot be followed.
enum Fallback {
    LastGood(String),
    Off(String),
}

/// One pipeline, and what is wrong with its file.
pub(super) fn one(
    name: &PipelineName,
    path: &Path,
    trust: (Option<&Trust>, &Trust),
    basis: &Basis,
    last_good: impl FnOnce() -> Option<Arc<Pipeline>>,
) -> (Pipeline, Vec<Problem>) {
    let (fallback, problems) = match read_one(name, path, trust, basis) {
        Ok(pipeline) => return (pipeline, Vec::new()),
        Err(failed) => failed,
    };
    let problems = problems.into_iter().map(|problem| Problem { pipeline: Some(name.clone()), ..problem }).collect();
    let last_good = last_good();
    let state = match (fallback, &last_good) {
        (Fallback::LastGood(problem), Some(_)) => PipelineState::LastGood { problem },
        (Fallback::LastGood(why), None) | (Fallback::Off(why), _) => PipelineState::Off { why, gone: false },
    };
    let pipeline = match last_good {
        Some(older) => Pipeline { file: path.to_owned(), state, ..older.as_ref().clone() },
        None => Pipeline {
            name: name.clone(),
            file: path.to_owned(),
            state,
            description: None,
            repo: None,
            jobs: BTreeMap::new(),
            order: Vec::new(),
            environments: BTreeMap::new(),
        },
    };
    (pipeline, problems)
}

/// `judged`: whose this file must be, where that matters; `trust`: whose the files that it names must be.
fn read_one(
    name: &PipelineName,
    path: &Path,
    (judged, trust): (Option<&Trust>, &Trust),
    basis: &Basis,
) -> Result<Pipeline, (Fallback, Vec<Problem>)> {
    let text = safe::read(path, judged).map_err(|refusal| {
        let problem = refused(path, &refusal, Some(name));
        let fallback = if refusal.is_unsafe() { Fallback::Off } else { Fallback::LastGood };
        (fallback(problem.short()), vec![problem])
    })?;
    read_text(name, path, text, trust, basis)
}

fn read_text(
    name: &PipelineName,
    path: &Path,
    text: String,
    trust: &Trust,
    basis: &Basis,
) -> Result<Pipeline, (Fallback, Vec<Problem>)> {
    let findings = Findings::default();
    let source = Arc::new(Source { path: path.to_owned(), text });
    let read = match basis {
        Basis::Good(shared) => file::read(name, &source, shared, trust, &findings),
        Basis::Broken { why, partly } => {
            if let Some(shared) = partly {
                file::read(name, &source, shared, trust, &findings);
            }
            return Err((Fallback::Off(why.clone()), findings.into_problems()));
        }
    };
    let problems = findings.into_problems();
    match (read, problems.as_slice()) {
        (Some(pipeline), []) => Ok(pipeline),
        (_, []) => Err((Fallback::LastGood("the file could not be read".into()), problems)),
        (_, [first]) => Err((Fallback::LastGood(first.short()), problems)),
        (_, [first, rest @ ..]) => {
            let problem = format!("{} (and {} more)", first.short(), rest.len());
            Err((Fallback::LastGood(problem), problems))
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
pub(super) fn discover(
    layout: &Layout,
    trust: &Trust,
    skipped: &mut Vec<(PathBuf, String)>,
) -> BTreeMap<PipelineName, Found> {
    let mut found: BTreeMap<PipelineName, Found> = BTreeMap::new();
    let mut masks: BTreeMap<PipelineName, PathBuf> = BTreeMap::new();
    for dir in layout.jobs_dirs() {
        let kind = |entry: fs::DirEntry| Some(Found { path: entry.path(), kind: entry.file_type().ok()? });
        let mut files: Vec<Found> = match fs::read_dir(&dir) {
            Ok(entries) => entries.flatten().filter_map(kind).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                skipped.push((dir, format!("the directory cannot be read: {error}")));
                continue;
            }
        };
        files.sort_by(|one, other| one.path.cmp(&other.path));
        for file in files {
            let is_dir = file.kind.is_dir() || (file.kind.is_symlink() && file.path.is_dir());
            let name = match name_of(&file.path, is_dir) {
                Ok(name) => name,
                Err(why) => {
                    skipped.push((file.path, why));
                    continue;
                }
            };
            if let Some(mask) = masks.get(&name) {
                skipped.push((file.path, format!("masked by {}", mask.display())));
            } else if let Some(over) = found.get(&name) {
                skipped.push((file.path, format!("{} takes its place", over.path.display())));
            } else if file.kind.is_symlink() && is_mask(&file.path, trust) {
                skipped.push((file.path.clone(), "a mask (linked to /dev/null)".into()));
                masks.insert(name, file.path);
            } else {
                found.insert(name, file);
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
fn name_of(path: &Path, is_dir: bool) -> Result<PipelineName, String> {
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if is_dir {
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
