//! One `[job.NAME]` table as it is written: every value read and checked by itself. What depends on
//! other tables (needs, environment, branches) is decided in `resolve.rs`.

use std::collections::BTreeMap;

use crate::config::keys::{self, Place};
use crate::config::message::{Findings, Mistake, Spot};
use crate::config::telling::{self, Telling};
use crate::config::tree::{Data, Entry, Table};
use crate::config::{limits, steps};
use crate::model::commit::RefName;
use crate::model::glob;
use crate::model::job::{
    CatchUp, Every, EveryFrom, OnInterrupted, Overlap, Param, Retry, Sandbox, ScheduleDef, StepDef, Unchanged,
    VerifyDef, Workspace,
};
use crate::model::name::{EnvironmentName, JobKey, JobName};
use crate::model::schedule;
use crate::model::secret::{EnvValue, OnLeak, SecretName};
use crate::model::time::Seconds;

/// A job before it is resolved. `None`: the key is not there (or was wrong, which has been told).
#[derive(Debug)]
pub struct Draft {
    pub key: JobKey,
    pub header: Spot,
    pub description: Option<String>,
    pub schedule: Vec<ScheduleDef>,
    pub every: Option<Every>,
    /// Where the job's times are said, for messages.
    pub timed_at: Option<Spot>,
    pub catch_up: Option<CatchUp>,
    pub catch_up_window: Option<Seconds>,
    pub overlap: Option<Overlap>,
    pub unchanged: Option<Unchanged>,
    pub branches: Option<(Vec<String>, Spot)>,
    pub tags: Option<(Vec<String>, Spot)>,
    pub paths: Option<(Vec<String>, Spot)>,
    pub needs: Vec<(JobName, Spot)>,
    pub manual: bool,
    pub params: BTreeMap<String, Param>,
    pub pools: Vec<String>,
    pub steps: Vec<StepDef>,
    pub dir: Option<String>,
    pub shell: Option<Vec<String>>,
    pub env: BTreeMap<String, EnvValue>,
    pub secrets: Vec<SecretName>,
    pub on_leak: Option<OnLeak>,
    pub workspace: Option<Workspace>,
    pub user: Option<(String, Spot)>,
    pub timeout: Option<Seconds>,
    pub grace: Option<Seconds>,
    pub retry: Option<Retry>,
    pub sandbox: Option<Sandbox>,
    pub limits: limits::Written,
    pub artifacts: Vec<String>,
    pub init: Option<(bool, Spot)>,
    pub environment: Option<(EnvironmentName, Spot)>,
    pub verify: Option<VerifyDef>,
    pub on_interrupted: Option<OnInterrupted>,
    pub telling: Telling,
}

/// Reads a job's table, whose keys have been checked. `zone` is the one that holds where the job names none.
pub fn read(key: JobKey, table: &Table, zone: &str, findings: &Findings) -> Draft {
    let f = findings;
    let get = |name: &str| table.get(name);
    let job_zone = get("timezone").and_then(|entry| self::zone(entry, f));
    let schedule = schedules(table, &key, job_zone.as_deref().unwrap_or(zone), f);
    let every = get("every").and_then(|entry| every(entry, f));
    if let (Some(one), Some(_)) = (get("every"), get("schedule")) {
        f.add(&Mistake::new(&one.key_spot, "a job has a `schedule` or `every`, not both").label("remove one of them"));
    }
    let timed = get("schedule").or(get("every"));
    let manual = get("manual").and_then(|entry| entry.flag(f)).unwrap_or(false);
    if let (true, Some(timed)) = (manual, timed) {
        let mistake = Mistake::new(&timed.key_spot, format!("a manual job has no `{}`", timed.key));
        f.add(&mistake.label("remove it, or manual = true"));
    }
    Draft {
        header: table.spot.clone(),
        description: get("description").and_then(|entry| entry.text(f)),
        schedule,
        every,
        timed_at: timed.map(|entry| entry.key_spot.clone()),
        catch_up: get("catch-up").and_then(|entry| entry.word(f)),
        catch_up_window: get("catch-up-window").and_then(|entry| entry.span(f)),
        overlap: get("overlap").and_then(|entry| overlap(entry, f)),
        unchanged: get("unchanged").and_then(|entry| entry.word(f)),
        branches: get("branches").and_then(|entry| globs(entry, f)),
        tags: get("tags").and_then(|entry| globs(entry, f)),
        paths: get("paths").and_then(|entry| globs(entry, f)),
        needs: get("needs").map(|entry| needs(entry, f)).unwrap_or_default(),
        manual,
        params: get("params").map(|entry| params(entry, f)).unwrap_or_default(),
        pools: get("pool").map(|entry| pools(entry, f)).unwrap_or_default(),
        steps: steps::read(table, f),
        dir: get("dir").and_then(|entry| steps::dir(entry, f)),
        shell: get("shell").and_then(|entry| shell(entry, f)),
        env: get("env").map(|entry| steps::env(entry, true, f)).unwrap_or_default(),
        secrets: get("secrets").map(|entry| secrets(entry, f)).unwrap_or_default(),
        on_leak: get("on-leak").and_then(|entry| entry.word(f)),
        workspace: get("workspace").and_then(|entry| entry.word(f)),
        user: get("user").and_then(|entry| user(entry, f)),
        timeout: get("timeout").and_then(|entry| above_zero(entry, f)),
        grace: get("grace").and_then(|entry| entry.span(f)),
        retry: get("retry").and_then(|entry| retry(entry, f)),
        sandbox: get("sandbox").and_then(|entry| entry.word(f)),
        limits: get("limits").and_then(|entry| limits::read(entry, f)).unwrap_or_default(),
        artifacts: get("artifacts").map(|entry| artifacts(entry, f)).unwrap_or_default(),
        init: get("init").and_then(|entry| init(entry, f)),
        environment: get("environment").and_then(|entry| environment(entry, f)),
        verify: get("verify").and_then(|entry| verify(entry, f)),
        on_interrupted: get("on-interrupted").and_then(|entry| entry.word(f)),
        telling: telling::read(table, f),
        key,
    }
}

/// A time zone that this host knows.
pub fn zone(entry: &Entry, findings: &Findings) -> Option<String> {
    let name = entry.text(findings)?;
    if jiff::tz::TimeZone::get(&name).is_ok() {
        return Some(name);
    }
    let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    let headline = format!("no time zone `{name}` in this host's tzdata");
    let label = match crate::config::message::closest(&name, known.iter().map(String::as_str)) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => "write it like \"Europe/Berlin\"".into(),
    };
    entry.refuse(headline, label, findings);
    None
}

fn schedules(table: &Table, key: &JobKey, zone: &str, findings: &Findings) -> Vec<ScheduleDef> {
    let Some(entry) = table.get("schedule") else { return Vec::new() };
    let mut read = Vec::new();
    for (index, (text, item)) in entry.texts(findings).unwrap_or_default().into_iter().enumerate() {
        match schedule::define(&text, zone, key, index) {
            Ok(def) => read.push(def),
            Err(error) => {
                let (headline, label) = error.told();
                item.refuse(headline, label, findings);
            }
        }
    }
    read
}

/// A span of time that is not zero.
pub fn above_zero(entry: &Entry, findings: &Findings) -> Option<Seconds> {
    let span = entry.span(findings)?;
    if span.0 == 0 {
        entry.refuse(format!("`{}` is zero", entry.key), "write how long, like \"20m\"", findings);
        return None;
    }
    Some(span)
}

fn every(entry: &Entry, findings: &Findings) -> Option<Every> {
    let Data::Text(text) = &entry.data else {
        entry.span(findings);
        return None;
    };
    let (period, from) = match text.trim().strip_suffix("after end") {
        Some(period) => (period.trim_end(), EveryFrom::End),
        None => (text.trim(), EveryFrom::Start),
    };
    let bare = Entry { data: Data::Text(period.to_owned()), ..entry.clone() };
    above_zero(&bare, findings).map(|period| Every { period, from })
}

fn overlap(entry: &Entry, findings: &Findings) -> Option<Overlap> {
    let word = entry.word::<Overlap>(findings)?;
    if matches!(word, Overlap::Replace | Overlap::Allow) {
        entry.refuse(
            format!("overlap = \"{word}\" does not work yet in this version"),
            "\"queue\" (one waits) or \"skip\" do",
            findings,
        );
        return None;
    }
    Some(word)
}

/// Globs of branches, tags or paths.
pub fn globs(entry: &Entry, findings: &Findings) -> Option<(Vec<String>, Spot)> {
    let texts = entry.texts(findings)?;
    if texts.is_empty() {
        entry.refuse(format!("`{}` is an empty list", entry.key), "nothing would match: remove the key", findings);
        return None;
    }
    let sound: Vec<bool> = texts.iter().map(|(text, item)| sound_glob(text, item, findings)).collect();
    let globs = texts.into_iter().map(|(text, _)| text).collect();
    sound.iter().all(|sound| *sound).then(|| (globs, entry.spot.clone()))
}

/// Whether it is a glob that can match; tells why not.
fn sound_glob(text: &str, item: &Entry, findings: &Findings) -> bool {
    let (body, of_paths) = (text.strip_prefix('!').unwrap_or(text), item.key == "paths");
    let (headline, label) = match glob::check(text) {
        Err(error) => (format!("`{text}` is no glob"), error.0),
        Ok(()) if !of_paths && glob::is_plain(body) && RefName::branch(body).is_err() => {
            let what = if item.key == "tags" { "tag" } else { "branch" };
            (format!("`{text}` is no name of a {what}"), "git would not have one of that name".into())
        }
        Ok(()) if of_paths && ["/", "./", "../"].iter().any(|start| body.starts_with(start)) => {
            let label = "paths begin at the repository's top: \"src/**\"";
            (format!("`{text}` is no path within the repository"), label.into())
        }
        Ok(()) if of_paths && body.ends_with('/') => {
            let headline = format!("`{text}` matches nothing: git has files, no directories");
            (headline, format!("did you mean \"{text}**\"?"))
        }
        Ok(()) => return true,
    };
    item.refuse(headline, label, findings);
    false
}

fn needs(entry: &Entry, findings: &Findings) -> Vec<(JobName, Spot)> {
    let mut needs: Vec<(JobName, Spot)> = Vec::new();
    for item in entry.items() {
        let name = match item.text(findings) {
            Some(text) if text.contains('/') => {
                let headline = "`needs` names jobs of this file";
                item.refuse(headline, "jobs of other files cannot be needed yet (follows is reserved)", findings);
                continue;
            }
            Some(_) => item.parsed::<JobName>(findings),
            None => None,
        };
        if let Some(name) = name
            && needs.iter().all(|(known, _)| *known != name)
        {
            needs.push((name, item.spot));
        }
    }
    needs
}

/// Names of pools.
pub fn pools(entry: &Entry, findings: &Findings) -> Vec<String> {
    let name = |item: Entry| item.parsed::<JobName>(findings).map(|name| name.to_string());
    entry.items().into_iter().filter_map(name).collect()
}

fn params(entry: &Entry, findings: &Findings) -> BTreeMap<String, Param> {
    let like = "params = { TENANT = { match = \"[a-z]+\" }, LEVEL = \"info\" }";
    let mut params = BTreeMap::new();
    for param in entry.table(like, findings).map(|table| table.entries.as_slice()).unwrap_or_default() {
        if !steps::variable(param, findings) {
            continue;
        }
        let read = match &param.data {
            Data::Table(table) => {
                keys::check(table, Place::Param, None, findings);
                let pattern = table.get("match").and_then(|entry| pattern(entry, findings));
                Param { default: table.get("default").and_then(|entry| literal(entry, findings)), pattern }
            }
            _ => Param { default: literal(param, findings), pattern: None },
        };
        if let Some(default) = &read.default
            && let Err(why) = read.accepts(default)
        {
            param.refuse(format!("the default of `{}` is not what it accepts", param.key), why, findings);
        }
        params.insert(param.key.clone(), read);
    }
    params
}

fn literal(entry: &Entry, findings: &Findings) -> Option<String> {
    let text = entry.text(findings)?;
    if ["today", "yesterday", "tomorrow"].contains(&text.as_str()) {
        let headline = format!("the default \"{text}\" does not work yet in this version");
        entry.refuse(headline, "let the step say: ${DATE:-$(date -d yesterday +%F)}", findings);
        return None;
    }
    Some(text)
}

fn pattern(entry: &Entry, findings: &Findings) -> Option<String> {
    let text = entry.text(findings)?;
    if let Err(why) = (Param { default: None, pattern: Some(text.clone()) }).check() {
        entry.refuse(format!("`{text}` is no regular expression"), why, findings);
        return None;
    }
    Some(text)
}

fn shell(entry: &Entry, findings: &Findings) -> Option<Vec<String>> {
    let words: Vec<String> = entry.texts(findings)?.into_iter().map(|(text, _)| text).collect();
    let like = "write the program and its options: [\"bash\", \"-euo\", \"pipefail\", \"-c\"]";
    if words.len() < 2 || words.first().is_some_and(|word| word.contains(' ')) {
        entry.refuse("`shell` is what stands before a step's text", like, findings);
        return None;
    }
    Some(words)
}

fn user(entry: &Entry, findings: &Findings) -> Option<(String, Spot)> {
    let name = entry.text(findings)?;
    let first = |c: char| c.is_ascii_lowercase() || c == '_';
    let legal =
        name.len() <= 32 && name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit() || c == '-');
    if !legal {
        entry.refuse(format!("`{name}` is no user name"), "names are a-z 0-9 - and _, as in /etc/passwd", findings);
        return None;
    }
    Some((name, entry.spot.clone()))
}

fn secrets(entry: &Entry, findings: &Findings) -> Vec<SecretName> {
    let mut names: Vec<SecretName> = entry.items().iter().filter_map(|item| steps::secret(item, findings)).collect();
    names.sort();
    names.dedup();
    names
}

fn retry(entry: &Entry, findings: &Findings) -> Option<Retry> {
    let table = entry.table("retry = { attempts = 2, delay = \"30s\" }", findings)?;
    keys::check(table, Place::Retry, None, findings);
    let attempts = table.get("attempts").map_or(Some(1), |entry| entry.count(1..=20, findings));
    let delay = table.get("delay").map_or(Some(Seconds(0)), |entry| entry.span(findings));
    if table.get("attempts").is_none() {
        entry.refuse("`retry` says how often", "retry = { attempts = 2 } tries once more", findings);
    }
    Some(Retry { attempts: attempts?, delay: delay? })
}

fn artifacts(entry: &Entry, findings: &Findings) -> Vec<String> {
    let mut read = Vec::new();
    for (text, item) in entry.texts(findings).unwrap_or_default() {
        let body = text.strip_prefix('!').unwrap_or(&text);
        if let Err(error) = glob::check(&text) {
            item.refuse(format!("`{text}` is no glob"), error.0, findings);
        } else if body.starts_with('/') || body.split('/').any(|part| part == "..") {
            let headline = "artifacts are files of the workspace";
            item.refuse(headline, "write the path from the repository's top, without ..", findings);
        } else {
            read.push(text);
        }
    }
    read
}

fn init(entry: &Entry, findings: &Findings) -> Option<(bool, Spot)> {
    if let Data::Table(table) = &entry.data {
        let headline = "`init` of a job is true or false";
        let mistake = Mistake::new(&table.spot, headline);
        findings.add(&mistake.label("what it runs stands in [init] of the file, for all jobs"));
        return None;
    }
    entry.flag(findings).map(|flag| (flag, entry.key_spot.clone()))
}

fn environment(entry: &Entry, findings: &Findings) -> Option<(EnvironmentName, Spot)> {
    if let Data::Table(table) = &entry.data {
        let mut mistake = Mistake::new(&table.spot, "`environment` takes the name of a deploy target, found a table");
        mistake = match table.has_header() {
            true => mistake.label("declare the target in [environment.NAME], name it here: environment = \"NAME\""),
            false => mistake.label(format!("variables go in `env = {}`", table.spot.text())),
        };
        findings.add(&mistake);
        return None;
    }
    if let Data::List(_) = entry.data {
        let headline = "`environment` takes one name, found a list";
        entry.refuse(headline, "one job, one target: write a job for each", findings);
        return None;
    }
    entry.parsed(findings).map(|name| (name, entry.spot.clone()))
}

fn verify(entry: &Entry, findings: &Findings) -> Option<VerifyDef> {
    let table = entry.table("verify = { run = \"curl -fsS URL\", within = \"2m\" }", findings)?;
    keys::check(table, Place::Verify, None, findings);
    let within = table.get("within").map_or(Some(Seconds::minutes(2)), |entry| above_zero(entry, findings));
    let Some(run) = table.get("run") else {
        entry.refuse("`verify` has no `run`", "name the command whose exit 0 means good", findings);
        return None;
    };
    Some(VerifyDef { run: run.text(findings)?, within: within? })
}
