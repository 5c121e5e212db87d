//! What an importer comes to: job files as text, what is to be said of every line that did not come over
//! whole, and the old fire times. How TOML is written stands here; what is written is decided by the importers.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::model::name::{JobKey, JobName, PipelineName};

use super::times::Old;

/// Everything that came of the files that were read.
#[derive(Debug, Default)]
pub struct Import {
    pub files: Vec<JobFile>,
    pub said: Vec<Said>,
    pub timed: Vec<Timed>,
}

/// A job file that is not written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFile {
    pub name: PipelineName,
    pub text: String,
}

/// One thing about one line of the old files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub file: String,
    pub line: usize,
    /// It does not carry over. Else it does, and is worth knowing.
    pub lost: bool,
    /// The field, or what is meant.
    pub what: String,
    /// What to do, or what is different.
    pub text: String,
}

/// A job whose fire times can be told from the old files.
#[derive(Debug, Clone)]
pub struct Timed {
    pub job: JobKey,
    pub old: Old,
}

/// What this version's job files can say: asked of the loader, so that an importer never writes what
/// `check` refuses.
#[derive(Debug, Clone, Default)]
pub struct Abilities {
    pub reboot: bool,
    pub after_failures: bool,
    pub stale_after: bool,
    pub overlap_allow: bool,
}

/// What importers know besides the text.
#[derive(Debug, Clone)]
pub struct Host {
    /// The zone that the old crond ran in.
    pub zone: String,
    /// The zone of a job here that names none.
    pub default_zone: String,
    pub can: Abilities,
}

/// A job file as it is put together.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    /// Comment lines at the top.
    pub head: Vec<String>,
    pub description: Option<String>,
    pub repo: Vec<(&'static str, String)>,
    pub jobs: Vec<JobSheet>,
    /// Comment lines at the end: what could not become a job.
    pub tail: Vec<String>,
}

/// A job's table: keys with their TOML values, and variables.
#[derive(Debug, Default)]
pub(super) struct JobSheet {
    pub name: String,
    pub comments: Vec<String>,
    pub keys: Vec<(&'static str, String)>,
    pub env: BTreeMap<String, String>,
}

impl JobSheet {
    pub fn set(&mut self, key: &'static str, value: impl Into<String>) {
        self.keys.push((key, value.into()));
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.keys.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str())
    }
}

/// Keys that say what one job is; all others may be shared.
const OWN: &[&str] = &["description", "schedule", "every", "steps", "manual"];

impl Sheet {
    /// The text of the file. What all jobs say alike stands in `[defaults]`.
    pub fn render(&self) -> String {
        let mut text = String::new();
        for line in &self.head {
            let _ = writeln!(text, "{}", comment(line));
        }
        if let Some(description) = &self.description {
            let _ = writeln!(text, "description = {}", quoted(description));
        }
        if !self.repo.is_empty() {
            text.push_str("\n[repo]\n");
            for (key, value) in &self.repo {
                let _ = writeln!(text, "{key} = {value}");
            }
        }
        let shared = self.shared();
        let env = self.shared_env();
        if !shared.is_empty() || !env.is_empty() {
            text.push_str("\n[defaults]\n");
            for (key, value) in &shared {
                let _ = writeln!(text, "{key} = {value}");
            }
        }
        if !env.is_empty() {
            table_of_env(&mut text, "defaults.env", &env);
        }
        for job in &self.jobs {
            text.push('\n');
            for line in &job.comments {
                let _ = writeln!(text, "{}", comment(line));
            }
            let _ = writeln!(text, "[job.{}]", job.name);
            for (key, value) in job.keys.iter().filter(|pair| !shared.contains(pair)) {
                let _ = writeln!(text, "{key} = {value}");
            }
            let own: BTreeMap<String, String> = job
                .env
                .iter()
                .filter(|(name, _)| !env.contains_key(*name))
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect();
            if !own.is_empty() {
                table_of_env(&mut text, &format!("job.{}.env", job.name), &own);
            }
        }
        for (index, line) in self.tail.iter().enumerate() {
            let gap = if index == 0 { "\n" } else { "" };
            let _ = writeln!(text, "{gap}{}", comment(line));
        }
        text
    }

    fn shared(&self) -> Vec<(&'static str, String)> {
        let [first, rest @ ..] = self.jobs.as_slice() else { return Vec::new() };
        let alike = |(key, value): &&(&'static str, String)| {
            !OWN.contains(key) && !rest.is_empty() && rest.iter().all(|job| job.value(key) == Some(value))
        };
        first.keys.iter().filter(alike).cloned().collect()
    }

    fn shared_env(&self) -> BTreeMap<String, String> {
        let [first, rest @ ..] = self.jobs.as_slice() else { return BTreeMap::new() };
        let alike = |(name, value): &(&String, &String)| {
            !rest.is_empty() && rest.iter().all(|job| job.env.get(*name) == Some(*value))
        };
        first.env.iter().filter(alike).map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// Variables of a table: in one line where they fit, else in a table of their own, which must come last.
fn table_of_env(text: &mut String, title: &str, env: &BTreeMap<String, String>) {
    let each: Vec<String> = env.iter().map(|(name, value)| format!("{name} = {}", quoted(value))).collect();
    let line = each.join(", ");
    if line.len() <= 90 && !line.contains('\n') {
        let _ = writeln!(text, "env = {{ {line} }}");
        return;
    }
    let _ = writeln!(text, "\n[{title}]\n{}", each.join("\n"));
}

/// A line of comment; TOML allows no control characters there.
fn comment(line: &str) -> String {
    let plain: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("# {plain}").trim_end().to_owned()
}

/// A TOML string, in the form that is read best.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| !c.is_control();
    let lines = |c: char| !c.is_control() || c == '\n' || c == '\t';
    if text.chars().all(plain) && !text.contains(['"', '\\']) {
        return format!("\"{text}\"");
    }
    if text.chars().all(plain) && !text.contains('\'') {
        return format!("'{text}'");
    }
    if text.contains('\n') && text.chars().all(lines) && !text.contains("'''") && !text.ends_with('\'') {
        return format!("'''\n{text}'''");
    }
    let mut escaped = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => escaped.extend(['\\', c]),
            '\n' => escaped.push_str("\\n"),
            '\t' => escaped.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(escaped, "\\u{:04X}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped + "\""
}

/// One text, or a list of them.
pub(super) fn one_or_list(texts: &[String]) -> String {
    match texts {
        [one] => quoted(one),
        _ => format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ")),
    }
}

/// Names made from texts, each once.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: std::collections::BTreeSet<String>,
}

impl Names {
    /// `text` as a name; a number follows where it is taken.
    pub fn name(&mut self, text: &str) -> String {
        let plain = name_of(text);
        let mut name = plain.clone();
        let mut number = 2;
        while !self.taken.insert(name.clone()) {
            name = format!("{}-{number}", cut(&plain, 58));
            number += 1;
        }
        name
    }
}

/// `Ci_Kubernetes.E2E` to `ci-kubernetes-e2e`. Never empty.
pub(super) fn name_of(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = cut(name.trim_matches('-'), 63);
    if name.is_empty() { "job".into() } else { name }
}

fn cut(name: &str, most: usize) -> String {
    name.get(..most).unwrap_or(name).trim_end_matches('-').to_owned()
}

/// The name of a job file, from any text.
pub(super) fn pipeline_name(text: &str) -> Option<PipelineName> {
    PipelineName::new(&name_of(text)).ok()
}

/// `PIPELINE/JOB` of a job that was named by [`Names`].
pub(super) fn job_key(pipeline: &PipelineName, job: &str) -> Option<JobKey> {
    Some(JobKey { pipeline: pipeline.clone(), job: JobName::new(job).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_back_from_toml() {
        for text in [
            "plain",
            "a \"b\"",
            "it's",
            "it's \"both\" \\ and",
            "two\nlines",
            "'''\n\\x",
            "ends with '\n'",
            "\u{1b}[31m\t\r\n",
            "\nfirst",
            "",
            "'",
        ] {
            let file = format!("x = {}\n", quoted(text));
            let read: toml::Table = file.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
            assert_eq!(read["x"].as_str(), Some(text), "{file}");
        }
    }

    #[test]
    fn names_are_legal_and_each_is_given_once() {
        let mut names = Names::default();
        for (text, name) in [
            ("Ci_Kubernetes.E2E", "ci-kubernetes-e2e"),
            ("ci kubernetes e2e", "ci-kubernetes-e2e-2"),
            ("--", "job"),
            ("é", "job-2"),
        ] {
            assert_eq!(names.name(text), name);
        }
        let long = "x".repeat(99);
        for _ in 0..3 {
            assert!(JobName::new(&names.name(&long)).is_ok());
        }
    }
}
