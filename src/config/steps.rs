//! The steps of a job, their names, directories and variables.

use std::collections::BTreeMap;

use crate::config::keys::{self, Place};
use crate::config::message::{Findings, Mistake};
use crate::config::tree::{Data, Entry, Table};
use crate::model::job::StepDef;
use crate::model::secret::{EnvValue, SecretName};

const NAME_MAX: usize = 40;

/// The steps of a job's table.
pub fn read(job: &Table, findings: &Findings) -> Vec<StepDef> {
    let Some(entry) = job.get("steps") else {
        let mistake = Mistake::new(&job.spot, format!("{} has no steps", job.title));
        findings.add(&mistake.label("say what it does: steps = [\"make test\"]"));
        return Vec::new();
    };
    let items = entry.items();
    if items.is_empty() {
        entry.refuse("`steps` is an empty list", "say what the job does: steps = [\"make test\"]", findings);
    }
    let mut steps: Vec<StepDef> = Vec::new();
    for item in &items {
        let Some((given, mut step)) = step(item, findings) else { continue };
        let taken = |name: &str| name == "init" || steps.iter().any(|other| other.name == name);
        match given {
            Some(name) if taken(&step.name) => {
                let headline = format!("two steps are called `{}`", step.name);
                let label = if step.name == "init" { "step 0 has this name" } else { "give each its own name" };
                name.refuse(headline, label, findings);
            }
            Some(_) => {}
            None => {
                let plain = step.name.clone();
                let mut number = 2;
                while taken(&step.name) {
                    step.name = format!("{plain} ({number})");
                    number += 1;
                }
            }
        }
        steps.push(step);
    }
    steps
}

/// A step, and its `name` where it has one.
fn step<'a>(item: &'a Entry, findings: &Findings) -> Option<(Option<&'a Entry>, StepDef)> {
    let plain = |name: String, run: String| StepDef {
        name,
        run,
        timeout: None,
        always: false,
        env: BTreeMap::new(),
        dir: None,
    };
    let Data::Table(table) = &item.data else {
        let run = command(item, findings)?;
        return Some((None, plain(name_of(&run), run)));
    };
    keys::check(table, Place::Step, None, findings);
    let Some(run) = table.get("run") else {
        let mistake = Mistake::new(&table.spot, "a step has no `run`");
        findings.add(&mistake.label("write { name = \"unit\", run = \"make test\" }"));
        return None;
    };
    let run = command(run, findings);
    let name = table.get("name");
    let given = match name {
        Some(entry) => step_name(entry, findings)?,
        None => name_of(run.as_deref().unwrap_or_default()),
    };
    let timeout = table.get("timeout").and_then(|entry| entry.span(findings));
    let always = table.get("always").and_then(|entry| entry.flag(findings)).unwrap_or(false);
    let env = table.get("env").map(|entry| env(entry, false, findings)).unwrap_or_default();
    let dir = table.get("dir").and_then(|entry| dir(entry, findings));
    Some((name, StepDef { timeout, always, env, dir, ..plain(given, run?) }))
}

fn command(entry: &Entry, findings: &Findings) -> Option<String> {
    let text = entry.text(findings)?;
    if text.trim().is_empty() {
        entry.refuse("an empty step", "write the command that it runs", findings);
        return None;
    }
    Some(text)
}

fn step_name(entry: &Entry, findings: &Findings) -> Option<String> {
    let name = entry.text(findings)?;
    let trimmed = name.trim();
    if trimmed.is_empty() || trimmed.chars().count() > NAME_MAX || trimmed.chars().any(char::is_control) {
        entry.refuse("this cannot be the name of a step", format!("one line of 1 to {NAME_MAX} characters"), findings);
        return None;
    }
    Some(trimmed.to_owned())
}

/// The first words of a command up to what is only understood by the shell: `make lint`,
/// `kubectl set image`.
fn name_of(run: &str) -> String {
    let line = run.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or("step");
    let word =
        |word: &&str| !word.starts_with('-') && word.chars().all(|c| c.is_alphanumeric() || "._-/:+@%".contains(c));
    let words: Vec<&str> = line.split_whitespace().take_while(word).take(3).collect();
    let name = if words.is_empty() { line.to_owned() } else { words.join(" ") };
    let name: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match name.chars().count() {
        0..=NAME_MAX => name,
        _ => format!("{}...", name.chars().take(NAME_MAX - 3).collect::<String>().trim_end()),
    }
}

/// A directory within the workspace.
pub fn dir(entry: &Entry, findings: &Findings) -> Option<String> {
    let text = entry.text(findings)?;
    if text.is_empty() || text.starts_with('/') || text.split('/').any(|part| part == "..") {
        entry.refuse(
            "`dir` is a directory of the workspace",
            "write it from the repository's top, without ..; elsewhere: cd in the step",
            findings,
        );
        return None;
    }
    Some(text)
}

/// Whether a table's key can be a variable for steps.
pub fn variable(entry: &Entry, findings: &Findings) -> bool {
    let name = &entry.key;
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !name.starts_with(first) || !name.chars().all(|c| first(c) || c.is_ascii_digit()) {
        let mistake = Mistake::new(&entry.key_spot, format!("`{name}` is no name of a variable"));
        findings.add(&mistake.label("names are A-Z a-z 0-9 and _, and begin with no digit"));
        return false;
    }
    if name.starts_with("SHIPBELL_") {
        let mistake = Mistake::new(&entry.key_spot, format!("`{name}` is set by Shipbell itself"));
        findings.add(&mistake.label("choose a name without SHIPBELL_"));
        return false;
    }
    true
}

/// Variables. `of_job`: below `[job.NAME.env]`, where a key of the job is easily written by mistake.
pub fn env(entry: &Entry, of_job: bool, findings: &Findings) -> BTreeMap<String, EnvValue> {
    let mut variables = BTreeMap::new();
    let Some(table) = entry.table("env = { LEVEL = \"info\" }", findings) else { return variables };
    for variable in &table.entries {
        if of_job && keys::is_job_key(&variable.key) {
            findings.add(&job_key(table, variable));
            continue;
        }
        if !self::variable(variable, findings) {
            continue;
        }
        match &variable.data {
            Data::Text(_) => {
                if let Some(value) = variable.text(findings) {
                    variables.insert(variable.key.clone(), EnvValue::Plain(value));
                }
            }
            Data::Table(table) => {
                if let Some(value) = from_secret(variable, table, findings) {
                    variables.insert(variable.key.clone(), value);
                }
            }
            _ => {
                let label = format!("write \"{}\" (in quotes)", variable.spot.text());
                variable.refuse("the value of a variable is a text", label, findings);
            }
        }
    }
    variables
}

/// `{ secret = "x" }`: its content. `{ file = "x" }`: the path of its file.
fn from_secret(variable: &Entry, table: &Table, findings: &Findings) -> Option<EnvValue> {
    match table.entries.as_slice() {
        [one] if one.key == "secret" => secret(one, findings).map(|secret| EnvValue::Secret { secret }),
        [one] if one.key == "file" => secret(one, findings).map(|file| EnvValue::File { file }),
        _ => {
            let headline = format!("`{}` takes a text, {{ secret = \"NAME\" }} or {{ file = \"NAME\" }}", variable.key);
            let label = "secret: the variable holds its content; file: the path of a file that holds it";
            variable.refuse(headline, label, findings);
            None
        }
    }
}

/// The name of a secret.
pub fn secret(entry: &Entry, findings: &Findings) -> Option<SecretName> {
    entry.parsed(findings)
}

fn job_key(table: &Table, variable: &Entry) -> Mistake {
    let name = &variable.key;
    let headline = format!("`{name}` here is a variable of {}, not the job's {name}", table.title);
    let mut mistake = Mistake::new(&variable.key_spot, headline);
    if table.has_header() {
        let label = format!("belongs above line {}, {}", table.spot.line(), table.title);
        mistake = mistake.label(label).note("in TOML everything below a [table] line is part of that table");
    } else {
        mistake = mistake.label("take it out of env; a variable may not be named like a key of the job");
    }
    match name.as_str() {
        "environment" => mistake.note("without this error the job would deploy with no approval"),
        _ => mistake,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_named_by_their_first_words() {
        for (run, name) in [
            ("make lint", "make lint"),
            ("kubectl rollout status deployment/im --timeout 5m", "kubectl rollout status"),
            ("sed -i 's/x/y/' z", "sed"),
            ("\n# a comment\n  go test ./...\n", "go test ./..."),
            ("\"$HOME\"/bin/x", "\"$HOME\"/bin/x"),
            ("restic backup /srv", "restic backup /srv"),
        ] {
            assert_eq!(name_of(run), name, "{run}");
        }
        assert_eq!(name_of(&"x".repeat(99)).chars().count(), NAME_MAX);
        assert!(!name_of("\u{1b}[31m'").contains('\u{1b}'));
    }
}
