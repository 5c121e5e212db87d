//! Secrets that a job or a person names and that are not there, said by `check` as warnings: the file is good,
//! and the run would fail, or no code would count. Whoever may not look into the directory of secrets is told nothing of them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::config::lint::{entry, parsed};
use crate::config::message::{Findings, Mistake, Problem};
use crate::config::tree::Table;
use crate::model::catalog::{Catalog, Job, Pipeline, PipelineState};
use crate::model::secret::SecretName;

/// One warning for each secret that a job would not find in `dir`.
#[must_use]
pub fn missing(catalog: &Catalog, dir: &Path) -> Vec<Problem> {
    let good = catalog.pipelines.values().filter(|pipeline| pipeline.state == PipelineState::Ok);
    good.flat_map(|pipeline| of_pipeline(pipeline, dir)).collect()
}

/// One warning for each person whose seed is not in `dir`.
#[must_use]
pub fn seeds(catalog: &Catalog, dir: &Path, settings: &Path) -> Vec<Problem> {
    let gone = |name: &SecretName| {
        dir.join(name.as_str()).symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
    };
    let named = catalog.people.iter().filter_map(|(name, person)| Some((name, person.totp.as_ref()?)));
    let missing: Vec<_> = named.filter(|(_, seed)| gone(seed)).collect();
    let (findings, silent) = (Findings::default(), Findings::default());
    let Some(file) = parsed(settings).filter(|_| !missing.is_empty()) else { return Vec::new() };
    let table = |within: Option<&Table>, key: &str| within?.get(key)?.table("", &silent).cloned();
    for (name, seed) in missing {
        let person = table(table(Some(&file), "person").as_ref(), name.as_str());
        let Some(at) = person.as_ref().and_then(|person| person.get("totp")) else { continue };
        let mistake =
            Mistake::new(&at.spot, format!("there is no seed for the codes of `{name}`: none of them counts"));
        let mistake = mistake.label(format!("looked for {}", dir.join(seed.as_str()).display())).warning();
        findings.add(&mistake.note(format!("as root: shipbell totp {name}")));
    }
    findings.into_problems()
}

fn of_pipeline(pipeline: &Pipeline, dir: &Path) -> Vec<Problem> {
    let wanting =
        |job: &&std::sync::Arc<Job>| job.definition.secret_names().iter().any(|name| is_missing(dir, job, name));
    let wanting: Vec<_> = pipeline.jobs.values().filter(wanting).collect();
    if wanting.is_empty() {
        return Vec::new();
    }
    let Some(file) = parsed(&pipeline.file) else { return Vec::new() };
    let findings = Findings::default();
    for job in wanting {
        for name in job.definition.secret_names().iter().filter(|name| is_missing(dir, job, name)) {
            tell(&file, job, name, dir, &findings);
        }
    }
    let name = |problem: Problem| Problem { pipeline: Some(pipeline.name.clone()), ..problem };
    findings.into_problems().into_iter().map(name).collect()
}

/// The places in which it is looked for, the best one first.
fn places(dir: &Path, job: &Job, name: &SecretName) -> Vec<PathBuf> {
    let of_environment = job.definition.environment.as_ref().map(|e| dir.join(e.name.as_str()).join(name.as_str()));
    of_environment.into_iter().chain([dir.join(name.as_str())]).collect()
}

fn is_missing(dir: &Path, job: &Job, name: &SecretName) -> bool {
    let gone = |path: &PathBuf| path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound);
    places(dir, job, name).iter().all(gone)
}

fn tell(file: &Table, job: &Job, name: &SecretName, dir: &Path, findings: &Findings) {
    let definition = &job.definition;
    let of_init = definition.init.as_ref().and_then(|init| init.secret.as_ref()) == Some(name);
    let listed = definition.secrets.contains(name).then(|| entry(file, definition, "secrets")).flatten();
    let in_init = || file.get("init").filter(|_| of_init);
    let Some(at) =
        listed.or_else(in_init).or_else(|| entry(file, definition, "env")).or_else(|| entry(file, definition, "steps"))
    else {
        return;
    };
    let looked: Vec<String> = places(dir, job, name).iter().map(|path| path.display().to_string()).collect();
    let first = looked.first().map(String::as_str).unwrap_or_default();
    let mistake =
        Mistake::new(&at.spot, format!("there is no secret `{name}`: job `{}` cannot start", definition.key.job));
    let mistake = mistake.label(format!("looked for {}", looked.join(", then "))).warning();
    findings.add(&mistake.note(format!("as root: install -m 600 /dev/stdin {first}")));
}
