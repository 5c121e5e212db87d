//! Prow's YAML to job files: one for each repository, one for the periodics that check nothing out. Pure. Which
//! files there are and what stands in none of our keys is decided here; a job's own fields in `prow_job.rs`.

use std::collections::BTreeMap;

use super::draft::{Host, Import, JobFile, Names, Said, Sheet, Timed, job_key, pipeline_name, quoted};
use super::prow_job::{self, Kind, Known, Made};
use super::yaml::{self, Node, Pair};

/// A file of a Prow configuration.
#[derive(Debug, Clone)]
pub struct Source {
    /// How it is named in what is said.
    pub name: String,
    pub text: String,
}

/// Reads a whole configuration.
#[must_use]
pub fn translate(sources: &[Source], host: &Host) -> Import {
    let mut reader = Reader { host, import: Import::default(), sheets: BTreeMap::new() };
    let mut documents = Vec::new();
    for source in sources {
        match yaml::parse(&source.text) {
            Ok(found) => documents.extend(found.into_iter().map(|node| (source.name.as_str(), node))),
            Err(bad) => {
                reader.say(&source.name, bad.line, true, "the whole file", format!("it is no YAML: {}", bad.why));
            }
        }
    }
    let known = known(&documents);
    for (file, document) in &documents {
        for pair in document.pairs() {
            reader.section(file, pair, &known);
        }
    }
    reader.finish()
}

/// Presets and pools of all files.
fn known<'a>(documents: &'a [(&str, Node)]) -> Known<'a> {
    let mut known = Known::default();
    for (_, document) in documents {
        known.presets.extend(document.get("presets").map(Node::items).unwrap_or_default());
        let plank = document.get("plank");
        let capacities = plank.and_then(|plank| plank.get("job_queue_capacities")).map(Node::pairs).unwrap_or_default();
        for pair in capacities {
            known.pools.insert(pair.key.clone(), pair.node.text().unwrap_or_default().to_owned());
        }
    }
    known
}

struct Reader<'a> {
    host: &'a Host,
    import: Import,
    /// By address; the empty one is of jobs without a repository.
    sheets: BTreeMap<String, (Sheet, Names, Vec<Made>)>,
}

impl Reader<'_> {
    fn say(&mut self, file: &str, line: usize, lost: bool, what: &str, text: impl Into<String>) {
        self.import.said.push(Said { file: file.to_owned(), line, lost, what: what.to_owned(), text: text.into() });
    }

    fn section(&mut self, file: &str, pair: &Pair, known: &Known<'_>) {
        match pair.key.as_str() {
            "periodics" => {
                for job in pair.node.items() {
                    self.job(file, job, Kind::Periodic, known);
                }
            }
            "postsubmits" => {
                for repo in pair.node.pairs() {
                    for job in repo.node.items() {
                        self.job(file, job, Kind::Postsubmit(&repo.key), known);
                    }
                }
            }
            "presubmits" => {
                for job in pair.node.pairs().iter().flat_map(|repo| repo.node.items()) {
                    let name = job.get("name").and_then(Node::text).unwrap_or("a job without a name");
                    self.say(file, job.line, true, name, "a presubmit: pull requests are not run yet");
                }
            }
            "presets" => {}
            other => {
                let text = "Prow's own setting: for Shipbell see shipbell.toml(5)";
                self.say(file, pair.line, false, other, text);
            }
        }
    }

    fn job(&mut self, file: &str, job: &Node, kind: Kind<'_>, known: &Known<'_>) {
        let mut made = prow_job::translate(file, job, kind, known, self.host);
        self.import.said.append(&mut made.said);
        if made.job.is_some() {
            let (sheet, names, jobs) = self.sheets.entry(made.url.clone()).or_default();
            if let Some(job) = &mut made.job {
                job.name = names.name(&job.name);
            }
            if !made.url.is_empty() {
                sheet.repo = vec![("url", quoted(&made.url))];
            }
            jobs.push(made);
        }
    }

    fn finish(mut self) -> Import {
        let mut names = Names::default();
        for (url, (mut sheet, _, jobs)) in std::mem::take(&mut self.sheets) {
            let called = names.name(&file_name(&url));
            let Some(pipeline) = pipeline_name(&called) else { continue };
            sheet.head = vec![
                "From Prow, by `shipbell import prow`. The commands ran in images there; here their programs must be"
                    .into(),
                "installed, or a step calls podman. Prow's times are UTC.".into(),
            ];
            for mut made in jobs {
                let Some(job) = made.job.take() else { continue };
                if let (Some(old), Some(key)) = (made.old.take(), job_key(&pipeline, &job.name)) {
                    self.import.timed.push(Timed { job: key, old });
                }
                sheet.jobs.push(job);
            }
            self.import.files.push(JobFile { text: sheet.render(), name: pipeline });
        }
        self.import.said.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        self.import
    }
}

/// `kubernetes-test-infra` of an address.
fn file_name(url: &str) -> String {
    if url.is_empty() {
        return "periodics".into();
    }
    let path = url.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let mut parts: Vec<&str> = path.rsplit(['/', ':']).filter(|part| !part.is_empty()).take(2).collect();
    parts.reverse();
    parts.join("-")
}
