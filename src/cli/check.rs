//! `shipbell check [FILE…]`: are these files good? It needs neither root nor a daemon. Problems go to
//! standard error as a compiler's do; the last line says how many files are good.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use crate::config::message::plain;
use crate::config::{self, Layout, Loaded, Problem, Trust};
use crate::model::catalog::PipelineState;

/// Checks the whole configuration, or just `files`. 0: all good, 1: something is wrong.
#[must_use]
pub fn run(layout: &Layout, files: &[PathBuf], json: bool) -> ExitCode {
    let trust = Trust::root_and_self();
    let loaded = match files {
        [] => config::load(layout, &trust, &config::last_good::read(&layout.last_good())),
        _ => config::check_files(layout, &trust, files),
    };
    let tally = tally(layout, files, &loaded);
    let mut warnings = config::lint::warnings(&loaded.catalog, crate::clock::now());
    warnings.extend(config::lint_sources::unproven(&loaded.catalog));
    warnings.extend(config::lint_secrets::missing(&loaded.catalog, &layout.secrets()));
    warnings.extend(config::lint_secrets::seeds(&loaded.catalog, &layout.secrets(), &layout.shipbell_toml()));
    let written = if json {
        write_json(&mut io::stdout().lock(), &loaded, &warnings, &tally)
    } else {
        write_text(&mut io::stderr().lock(), &mut io::stdout().lock(), &loaded, &warnings, &tally)
    };
    match written {
        Ok(()) if tally.broken.is_empty() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Which files were looked at, and which are broken.
struct Tally {
    files: BTreeSet<PathBuf>,
    broken: BTreeSet<PathBuf>,
}

fn tally(layout: &Layout, asked: &[PathBuf], loaded: &Loaded) -> Tally {
    let mut files: BTreeSet<PathBuf> = asked.iter().cloned().collect();
    if asked.is_empty() {
        let there = |path: &Path| path.symlink_metadata().is_ok();
        files
            .extend(loaded.catalog.pipelines.values().map(|pipeline| pipeline.file.clone()).filter(|path| there(path)));
        files.extend(Some(layout.shipbell_toml()).filter(|path| there(path)));
    }
    let mut broken: BTreeSet<PathBuf> = loaded.problems.iter().map(|problem| problem.file.clone()).collect();
    // Without shipbell.toml's settings a job file cannot be judged: it is not called good then.
    let off = loaded.catalog.pipelines.values().filter(|p| matches!(p.state, PipelineState::Off { .. }));
    broken.extend(off.map(|pipeline| pipeline.file.clone()).filter(|file| files.contains(file)));
    files.extend(broken.iter().cloned());
    Tally { files, broken }
}

fn write_text(
    errors: &mut impl Write,
    out: &mut impl Write,
    loaded: &Loaded,
    warnings: &[Problem],
    tally: &Tally,
) -> io::Result<()> {
    for problem in loaded.problems.iter().chain(warnings) {
        writeln!(errors, "{}", problem.text)?;
    }
    for (path, why) in &loaded.catalog.skipped {
        writeln!(errors, "{}: skipped, {}", plain(&path.display().to_string()), plain(why))?;
    }
    errors.flush()?;
    let (all, broken) = (tally.files.len(), tally.broken.len());
    let noun = if all == 1 { "file" } else { "files" };
    let warned = match warnings.len() {
        0 => String::new(),
        1 => ", 1 warning".to_owned(),
        n => format!(", {n} warnings"),
    };
    match broken {
        0 => writeln!(out, "{all} {noun}: ok{warned}"),
        _ => writeln!(out, "{all} {noun}: {} ok, {broken} broken{warned}", all - broken),
    }
}

fn write_json(out: &mut impl Write, loaded: &Loaded, warnings: &[Problem], tally: &Tally) -> io::Result<()> {
    let told = |problem: &Problem| {
        json!({
            "file": problem.file, "line": problem.line, "column": problem.column,
            "pipeline": problem.pipeline, "message": problem.headline, "text": problem.text,
        })
    };
    let skipped = loaded.catalog.skipped.iter().map(|(path, why)| json!({ "file": path, "why": why }));
    let files = tally.files.iter().map(|file| json!({ "file": file, "ok": !tally.broken.contains(file) }));
    let whole = json!({
        "schema": 1,
        "ok": tally.broken.is_empty(),
        "files": files.collect::<Vec<_>>(),
        "problems": loaded.problems.iter().map(told).collect::<Vec<_>>(),
        "warnings": warnings.iter().map(told).collect::<Vec<_>>(),
        "skipped": skipped.collect::<Vec<_>>(),
    });
    writeln!(out, "{whole:#}")
}
