//! `shipbell import`: from Prow's YAML or a crontab to job files. Files are read and written here; what
//! becomes of their text is decided in `import/`, which does no I/O. Nothing that exists is overwritten.

mod command_name;
pub mod compare;
pub mod crontab;
mod crontab_line;
pub mod draft;
mod fields;
pub mod prow;
mod prow_job;
mod prow_match;
mod prow_spec;
mod report;
mod shell;
pub mod times;
mod yaml;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{self, Layout, Trust};
use crate::model::catalog::Catalog;

use super::args::{CrontabArgs, ImportFrom};
use super::exit::{FAILED, Failure};
use super::paint::Screen;
use crontab::Form;
use draft::{Abilities, Host, Import, JobFile};
use report::Told;

/// Longest file that is read.
const BYTES_MAX: u64 = 8 << 20;

pub(super) fn import(layout: &Layout, from: &ImportFrom, json: bool) -> Result<ExitCode, Failure> {
    let loader = Loader { layout, trust: Trust::root_and_self() };
    let host = loader.host();
    let (import, how, old) = match from {
        ImportFrom::Prow(args) => (prow::translate(&read_prow(&args.path)?, &host), &args.how, "Prow"),
        ImportFrom::Crontab(args) => (read_crontab(args, &host)?, &args.how, "cron"),
    };
    if import.files.is_empty() && import.said.is_empty() {
        return Err(Failure::other("there is no job in what was read: nothing to bring over"));
    }
    let (catalog, problems) = loader.load(&import.files);
    let now = how.from.unwrap_or_else(crate::clock::now);
    let compared = compare::compare(&import.timed, &catalog, now);
    let written = match &how.out {
        Some(dir) => write_all(dir, &import.files)?,
        None => Vec::new(),
    };
    let told = Told { import: &import, compared: &compared, problems: &problems, written: &written, from: now, old };
    let screen = Screen::stdout();
    if json {
        screen.print(&format!("{:#}\n", told.json()))?;
    } else if how.out.is_some() {
        screen.print(&told.text(&screen))?;
    } else {
        screen.print(&all_texts(&import.files))?;
        // The files alone on standard output, so that they can be sent into one.
        let screen = Screen { colour: false, ..screen };
        let _ = std::io::stderr().lock().write_all(told.text(&screen).as_bytes());
    }
    Ok(if told.whole() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// The loader of job files, asked about texts that are not files yet.
struct Loader<'a> {
    layout: &'a Layout,
    trust: Trust,
}

impl Loader<'_> {
    fn load(&self, files: &[JobFile]) -> (Catalog, Vec<String>) {
        let (mut catalog, mut problems) = (Catalog::default(), Vec::new());
        for file in files {
            let path = PathBuf::from(format!("{}.toml", file.name));
            let loaded = config::check_text(self.layout, &self.trust, &path, &file.text);
            catalog.pipelines.extend(loaded.catalog.pipelines);
            problems.extend(loaded.problems.into_iter().map(|problem| problem.text));
        }
        problems.dedup();
        (catalog, problems)
    }

    /// Whether a job may have this line.
    fn takes(&self, line: &str) -> bool {
        let text = format!("[job.probe]\nsteps = \"true\"\n{line}\n");
        config::check_text(self.layout, &self.trust, Path::new("probe.toml"), &text).problems.is_empty()
    }

    fn host(&self) -> Host {
        let text = "[job.probe]\nsteps = \"true\"\nschedule = \"0 0 * * *\"\n";
        let probe = config::check_text(self.layout, &self.trust, Path::new("probe.toml"), text);
        let system = jiff::tz::TimeZone::system();
        let zone = system.iana_name().unwrap_or("UTC").to_owned();
        let mut jobs = probe.catalog.pipelines.values().flat_map(|pipeline| pipeline.jobs.values());
        let default_zone = jobs.find_map(|job| job.definition.schedule.first().map(|schedule| schedule.zone.clone()));
        let can = Abilities {
            reboot: self.takes("schedule = \"@reboot\""),
            after_failures: self.takes("notify = { after-failures = 3 }"),
            stale_after: self.takes("notify = { stale-after = \"12h\" }"),
            overlap_allow: self.takes("overlap = \"allow\""),
        };
        Host { default_zone: default_zone.unwrap_or_else(|| zone.clone()), zone, can }
    }
}

fn read_crontab(args: &CrontabArgs, host: &Host) -> Result<Import, Failure> {
    let shown = args.file.display().to_string();
    let text = read(&args.file)?;
    let parent = args.file.parent().map(Path::to_path_buf).unwrap_or_default();
    let base = args.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let spool = parent.ends_with("cron/crontabs") || parent.ends_with("spool/cron");
    let form = match (&args.user, args.system) {
        (Some(user), _) => Form::User(Some(user.clone())),
        (None, true) => Form::System,
        (None, false) if parent.ends_with("cron.d") || args.file.ends_with("etc/crontab") => Form::System,
        // The spool names each crontab after its owner.
        (None, false) => Form::User(spool.then(|| base.clone())),
    };
    let called = match &form {
        Form::User(Some(user)) => format!("cron-{user}"),
        _ if base == "-" => "crontab".into(),
        _ => base,
    };
    let name = draft::pipeline_name(&called).ok_or_else(|| Failure::other(format!("{shown}: no name for a file")))?;
    Ok(crontab::translate(&shown, &name, &text, &form, host))
}

/// A file, or all YAML below a directory.
fn read_prow(path: &Path) -> Result<Vec<prow::Source>, Failure> {
    let mut paths = Vec::new();
    yaml_below(path, 0, &mut paths)
        .map_err(|error| Failure::other(format!("cannot read {}: {error}", path.display())))?;
    paths.sort();
    if paths.is_empty() {
        return Err(Failure::other(format!("there is no .yaml or .yml below {}", path.display())));
    }
    let source = |path: &PathBuf| Ok(prow::Source { name: path.display().to_string(), text: read(path)? });
    paths.iter().map(source).collect()
}

fn yaml_below(path: &Path, depth: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if path != Path::new("-") && fs::metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // Links are not followed below: they could lead round in a circle.
            if entry.file_type()?.is_dir() && depth < 32 {
                yaml_below(&entry.path(), depth + 1, found)?;
            } else if entry.path().extension().is_some_and(|ending| ending == "yaml" || ending == "yml") {
                found.push(entry.path());
            }
        }
    } else {
        found.push(path.to_owned());
    }
    Ok(())
}

/// A file's text; `-` is standard input.
fn read(path: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::other(format!("cannot read {}: {error}", path.display()));
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let file = fs::File::open(path).map_err(failed)?;
        file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    if bytes.len() as u64 > BYTES_MAX {
        return Err(Failure::other(format!("{} is longer than 8 MiB: this is no configuration", path.display())));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::other(format!("{} is no UTF-8 text (byte {at}): convert it with iconv", path.display()))
    })
}

/// Every file, or none: what exists is not overwritten.
fn write_all(dir: &Path, files: &[JobFile]) -> Result<Vec<PathBuf>, Failure> {
    let paths: BTreeMap<PathBuf, &str> =
        files.iter().map(|file| (dir.join(format!("{}.toml", file.name)), file.text.as_str())).collect();
    if let Some(path) = paths.keys().find(|path| path.symlink_metadata().is_ok()) {
        let text = format!("{} is there already, nothing was written: move it, or give another --out", path.display());
        return Err(Failure::other(text));
    }
    let failed =
        |path: &Path, error: &std::io::Error| Failure::other(format!("cannot write {}: {error}", path.display()));
    fs::create_dir_all(dir).map_err(|error| failed(dir, &error))?;
    for (path, text) in &paths {
        let opened = fs::OpenOptions::new().write(true).create_new(true).open(path);
        opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| failed(path, &error))?;
    }
    Ok(paths.into_keys().collect())
}

/// All files one after the other, each under its name where there are several.
fn all_texts(files: &[JobFile]) -> String {
    match files {
        [one] => one.text.clone(),
        _ => {
            let each = files.iter().map(|file| format!("# ---- jobs.d/{}.toml ----\n{}", file.name, file.text));
            each.collect::<Vec<_>>().join("\n")
        }
    }
}
