//! A job file as a whole: `[repo]`, `[init]`, its jobs with the defaults under them, its environments.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::environment;
use crate::config::job;
use crate::config::keys::{self, Place};
use crate::config::message::{Findings, Mistake, Problem, Source, Spot};
use crate::config::settings::{self, Shared, first_header};
use crate::config::tree::{self, Data, Entry, Table};
use crate::config::{Trust, load, resolve, safe, steps};
use crate::model::catalog::{Pipeline, Pulls, Repo};
use crate::model::job::{Commits, Hash, InitDef, RefFilter, RepoDef};
use crate::model::name::{JobKey, JobName, PipelineName};
use crate::model::time::Seconds;
use crate::model::url::{RepoUrl, Way};

/// `[repo]` as it is written.
#[derive(Debug)]
pub struct RepoDraft {
    pub repo: Repo,
    pub definition: RepoDef,
    pub paths: Vec<String>,
    /// Where `branches` stands.
    pub branches_at: Option<Spot>,
    /// Where a `git://` stands that nothing proves: neither the way nor a signature.
    pub unproven_at: Option<Spot>,
}

/// A job file as it is written.
#[derive(Debug)]
pub struct Draft {
    pub name: PipelineName,
    pub path: PathBuf,
    pub description: Option<String>,
    pub repo: Option<RepoDraft>,
    pub init: Option<InitDef>,
    /// Whether these two tables are there, also where they could not be read.
    pub has_repo: bool,
    pub has_init: bool,
    pub jobs: Vec<job::Draft>,
    /// Tables below `[job]`, also those that could not be read: nothing is said of needing these.
    pub job_names: Vec<String>,
    pub environments: Vec<environment::Draft>,
}

/// Reads a job file. `None`: something is wrong with it, and all of it is in `findings`.
pub fn read(
    name: &PipelineName,
    source: &Arc<Source>,
    shared: &Shared,
    trust: &Trust,
    findings: &Findings,
) -> Option<Pipeline> {
    let told = Findings::default();
    let Some((table, broken_lines)) = tree::parse(source, &told) else {
        told.into_problems().into_iter().for_each(|problem| findings.push(problem));
        return None;
    };
    let draft = read_table(name, &table, shared, trust, &told);
    let pipeline = resolve::pipeline(draft, shared, &told);
    let sound = told.is_empty();
    load::take_over(told, &broken_lines, findings);
    pipeline.filter(|_| sound)
}

fn read_table(name: &PipelineName, file: &Table, shared: &Shared, trust: &Trust, f: &Findings) -> Draft {
    let header = first_header(file);
    keys::check(file, Place::File, header, f);
    let get = |name: &str| file.get(name);
    let repo = get("repo").and_then(|entry| entry.table("[repo]", f)).and_then(|table| repo(table, header, trust, f));
    let init = get("init").and_then(|entry| entry.table("[init]", f)).and_then(|table| init(table, header, trust, f));
    let own_defaults = get("defaults").and_then(|entry| entry.table("[defaults]", f));
    if let Some(defaults) = own_defaults {
        settings::check_defaults(defaults, &shared.settings.timezone, f);
    }
    let defaults = match own_defaults {
        Some(own) => Some(own.over(shared.defaults.as_ref())),
        None => shared.defaults.clone(),
    };
    let mut jobs = Vec::new();
    // Defaults have been checked by themselves: what is wrong there is not told again for every job.
    let inherited = |problem: &Problem| {
        problem.file != file.spot.source.path || own_defaults.is_some_and(|table| table.lines().contains(&problem.line))
    };
    let table = get("job").and_then(|entry| entry.table("[job.test]", f));
    let entries = table.map(|table| table.entries.as_slice()).unwrap_or_default();
    for entry in entries {
        let Data::Table(table) = &entry.data else {
            let mistake = Mistake::new(&entry.key_spot, format!("`{}` is no job's table", entry.key));
            f.add(&mistake.label("write [job.NAME], and the job's keys below that line"));
            continue;
        };
        match entry.key.parse::<JobName>() {
            Ok(job) => {
                let key = JobKey { pipeline: name.clone(), job };
                keys::check(table, Place::Job, header, f);
                let told = Findings::default();
                jobs.push(job::read(key, &table.over(defaults.as_ref()), &shared.settings.timezone, &told));
                told.into_problems().into_iter().filter(|one| !inherited(one)).for_each(|one| f.push(one));
            }
            Err(error) => {
                let mistake = Mistake::new(&entry.key_spot, format!("`{}` is no name of a job", entry.key));
                f.add(&mistake.label(error.to_string()));
            }
        }
    }
    if entries.is_empty() && file.get("job").is_none() {
        let whole = Spot { span: 0..0, ..file.spot.clone() };
        let mistake = Mistake::new(&whole, "there is no job in this file");
        f.add(&mistake.note("add [job.NAME] with steps = [\"...\"]"));
    }
    Draft {
        name: name.clone(),
        path: file.spot.source.path.clone(),
        description: get("description").and_then(|entry| entry.text(f)),
        repo,
        init,
        has_repo: get("repo").is_some(),
        has_init: get("init").is_some(),
        jobs,
        job_names: entries.iter().map(|entry| entry.key.clone()).collect(),
        environments: environment::read_all(get("environment"), &shared.settings.timezone, f),
    }
}

fn repo(table: &Table, header: Option<&Table>, trust: &Trust, f: &Findings) -> Option<RepoDraft> {
    keys::check(table, Place::Repo, header, f);
    let get = |name: &str| table.get(name);
    let url = match get("url") {
        None => {
            f.add(&Mistake::new(&table.spot, "[repo] has no `url`").label("add url = \"https://HOST/PATH\""));
            None
        }
        Some(entry) => entry.text(f).and_then(|url| match RepoUrl::parse(&url) {
            Ok(url) => Some((url, entry.spot.clone())),
            Err(bad) => {
                let mistake = Mistake::new(&entry.spot, bad.headline).label(bad.label);
                f.add(&if bad.secret { mistake.concealed() } else { mistake });
                None
            }
        }),
    };
    let credential = get("credential").and_then(|entry| settings::credential(entry, f));
    let branches = get("branches").and_then(|entry| job::globs(entry, f));
    let poll = get("poll").map_or(Some(Seconds::minutes(1)), |entry| entry.span(f));
    let quiet = get("quiet").map_or(Some(Seconds(0)), |entry| entry.span(f));
    if let (Some(Seconds(0)), Some(entry)) = (poll, get("poll")) {
        entry.refuse("`poll` is zero", "write how often to ask, like \"1m\"", f);
    }
    let commits = get("commits").map_or(Some(Commits::Latest), |entry| entry.word(f));
    let pulls = get("pulls").map_or(Some(Pulls::None), |entry| entry.word(f));
    let history = get("history").map_or(Some(true), |entry| entry.flag(f));
    let paths = get("paths").and_then(|entry| job::globs(entry, f)).map(|(paths, _)| paths).unwrap_or_default();
    let signed_by = get("signed-by").map(|entry| signers(entry, trust, f));
    let signed_by = match signed_by {
        Some(None) => return None,
        Some(read) => read,
        None => None,
    };
    let signers = signed_by.as_ref().map(|text| Hash::of(text.as_bytes()));
    let (url, url_at) = url?;
    let unproven = url.way == Way::Git && url.is_open_to_change() && signed_by.is_none();
    let url = url.url;
    let (names, branches_at) = branches.unzip();
    Some(RepoDraft {
        repo: Repo {
            url: url.clone(),
            credential,
            signed_by: signed_by.map(Into::into),
            refs: RefFilter { branches: names, tags: Vec::new() },
            poll: poll?,
            quiet: quiet?,
            pulls: pulls?,
        },
        definition: RepoDef { url, commits: commits?, history: history?, signed_by: signers },
        paths,
        branches_at,
        unproven_at: unproven.then_some(url_at),
    })
}

/// The text of a file that a job file names.
fn named_file(entry: &Entry, path: &Path, trust: &Trust, f: &Findings) -> Option<String> {
    match safe::read(path, Some(trust)) {
        Ok(text) => Some(text),
        Err(refusal) => {
            let notes = refusal.notes(path);
            let mistake = Mistake::new(&entry.spot, refusal.headline("this file")).label(refusal.fact());
            f.add(&notes.into_iter().fold(mistake, Mistake::note));
            None
        }
    }
}

/// The text of an allowed-signers file.
fn signers(entry: &Entry, trust: &Trust, f: &Findings) -> Option<String> {
    let path = PathBuf::from(entry.text(f)?);
    if !path.is_absolute() {
        entry.refuse("`signed-by` is an absolute path", "a file of allowed signers, see ssh-keygen(1)", f);
        return None;
    }
    let text = named_file(entry, &path, trust, f)?;
    if text.lines().all(|line| line.trim().is_empty() || line.starts_with('#')) {
        entry.refuse("the file names nobody", "a line for each: MAIL namespaces=\"git\" ssh-ed25519 KEY", f);
        return None;
    }
    Some(text)
}

fn init(table: &Table, header: Option<&Table>, trust: &Trust, f: &Findings) -> Option<InitDef> {
    keys::check(table, Place::Init, header, f);
    let get = |name: &str| table.get(name);
    let run = get("run").map_or(Some("make init".to_owned()), |entry| {
        let text = entry.text(f)?;
        if text.trim().is_empty() {
            entry.refuse("`run` is empty", "name the command, or remove [init]", f);
        }
        Some(text)
    });
    let config = get("config").map_or(Some("init_config.json".to_owned()), |entry| steps::dir(entry, f));
    let source = get("source").and_then(|entry| {
        let path = PathBuf::from(entry.text(f)?);
        if !path.is_absolute() {
            entry.refuse("`source` is an absolute path", "a file of the repository is named by `config`", f);
            return None;
        }
        let text = named_file(entry, &path, trust, f)?;
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&text) {
            let place = format!("line {}, column {}", error.line(), error.column());
            entry.refuse("the file is no valid JSON", format!("{place}: {error}"), f);
            return None;
        }
        Some((path, Hash::of(text.as_bytes())))
    });
    let secret = get("secret").and_then(|entry| steps::secret(entry, f));
    if let (Some(_), Some(entry)) = (get("source"), get("secret")) {
        let mistake = Mistake::new(&entry.key_spot, "[init] has a `source` or a `secret`, not both");
        f.add(&mistake.label("both are put in the place of the config: remove one of them"));
    }
    Some(InitDef { run: run?, config: config?, source, secret })
}
