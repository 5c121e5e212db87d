//! The environment of a step, in the order in which later words win: the host's few, Shipbell's,
//! Prow's names, what the needed runs gave, the job's `env`, the step's `env`, the params.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::model::commit::RefName;
use crate::model::job::StepDef;
use crate::model::secret::EnvValue;
use crate::model::ticket::{OUT, Ticket, WORK};
use crate::run::secrets::Secrets;

/// Paths within an attempt's directory, as a step sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    pub work: PathBuf,
    pub out: PathBuf,
    pub artifacts: PathBuf,
    pub output: PathBuf,
    pub temporary: PathBuf,
}

impl Places {
    #[must_use]
    pub fn of(dir: &Path) -> Self {
        let out = dir.join(OUT);
        Self {
            work: dir.join(WORK),
            artifacts: out.join("artifacts"),
            output: out.join("output"),
            temporary: out.join("tmp"),
            out,
        }
    }
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What every step of the run sees; `user` is the name of who carries it out.
#[must_use]
pub fn of_run(ticket: &Ticket, places: &Places, user: &str) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    host_words(&mut env, ticket, places, user);
    shipbell_words(&mut env, ticket, places);
    prow_words(&mut env, ticket, places);
    for upstream in &ticket.order.needs {
        for (key, value) in &upstream.outputs {
            env.insert(format!("NEEDS_{}_{}", variable(upstream.job.as_str()), variable(key)), value.clone());
        }
    }
    if let Some(init) = &ticket.definition.init {
        env.insert("INIT_CONFIG".into(), text(&places.work.join(&init.config)));
    }
    for (name, value) in &ticket.definition.env {
        // Secrets come when `init` is over.
        if let EnvValue::Plain(text) = value {
            env.insert(name.clone(), text.clone());
        }
    }
    env
}

/// What one step sees.
///
/// # Errors
/// A text for people: a secret that no variable can hold.
pub fn of_step(
    run: &BTreeMap<String, String>,
    step: &StepDef,
    secrets: &Secrets,
    ticket: &Ticket,
) -> Result<BTreeMap<String, String>, String> {
    let mut env = run.clone();
    secrets.add_to(&mut env, &step.env)?;
    Ok(with_params(env, ticket))
}

/// The params win over everything: they are what a person asked for and approved.
#[must_use]
pub fn with_params(mut env: BTreeMap<String, String>, ticket: &Ticket) -> BTreeMap<String, String> {
    env.extend(ticket.order.params.clone());
    env
}

/// `set-up` to `SET_UP`.
fn variable(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn host_words(env: &mut BTreeMap<String, String>, ticket: &Ticket, places: &Places, user: &str) {
    for (name, value) in [
        ("PATH", PATH.to_owned()),
        ("HOME", text(&ticket.home)),
        ("USER", user.to_owned()),
        ("LOGNAME", user.to_owned()),
        ("SHELL", "/bin/sh".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("TMPDIR", text(&places.temporary)),
        ("CI", "true".to_owned()),
    ] {
        env.insert(name.to_owned(), value);
    }
}

/// All of them are always there, empty where they have no value: `set -u` is our default.
fn shipbell_words(env: &mut BTreeMap<String, String>, ticket: &Ticket, places: &Places) {
    let order = &ticket.order;
    let job = &order.run.job;
    let commit = |id: &Option<crate::model::commit::CommitId>| id.as_ref().map(ToString::to_string);
    let named = order.git_ref.as_ref();
    let short =
        |tag: bool| named.filter(|name| name.is_tag() == tag && !name.is_pull()).map(|name| name.short().to_owned());
    let pull = named.and_then(RefName::pull).map(|number| number.to_string());
    let environment = ticket.definition.environment.as_ref().map(|environment| environment.name.to_string());
    let due = order.cause.due();
    for (name, value) in [
        ("PIPELINE", Some(job.pipeline.to_string())),
        ("JOB", Some(job.job.to_string())),
        ("RUN", Some(order.run.to_string())),
        ("RUN_ID", Some(order.run.id())),
        ("RUN_URL", Some(format!("{}/{}/{}/{}", order.public_url, job.pipeline, job.job, order.run.number))),
        ("CAUSE", Some(order.cause.word().to_owned())),
        ("DUE", due.map(|(due, _)| due.to_string())),
        ("DUE_PREVIOUS", due.and_then(|(_, previous)| previous).map(|at| at.to_string())),
        ("LATE", order.late.map(|late| late.to_string())),
        ("COMMIT", commit(&order.commit)),
        ("BRANCH", short(false)),
        ("TAG", short(true)),
        ("PULL", pull),
        ("ENVIRONMENT", environment),
        ("DEPLOYED", commit(&order.deployed)),
        ("WORKSPACE", Some(text(&places.work))),
        ("ARTIFACTS", Some(text(&places.artifacts))),
        ("OUTPUT", Some(text(&places.output))),
    ] {
        env.insert(format!("SHIPBELL_{name}"), value.unwrap_or_default());
    }
}

/// Names that scripts written for Prow read.
fn prow_words(env: &mut BTreeMap<String, String>, ticket: &Ticket, places: &Places) {
    let order = &ticket.order;
    let job_name = format!("{}.{}", order.run.job.pipeline, order.run.job.job);
    let pull = order.git_ref.as_ref().and_then(RefName::pull);
    let kind = match pull {
        Some(_) => "presubmit",
        None if ticket.definition.timed() || order.commit.is_none() => "periodic",
        None => "postsubmit",
    };
    let number = order.run.number.to_string();
    let mut spec = serde_json::json!({ "type": kind, "job": job_name, "buildid": number, "prowjobid": order.run.id() });
    if let (Some(commit), Some(repo)) = (&order.commit, &ticket.definition.repo) {
        let (owner, name) = owner_and_name(&repo.url);
        // Into which branch a pull request is to go git does not say.
        let branch = order.git_ref.as_ref().filter(|name| !name.is_pull());
        let base = branch.map(|name| name.short().to_owned()).unwrap_or_default();
        if let Some(number) = pull {
            env.insert("PULL_NUMBER".into(), number.to_string());
            env.insert("PULL_PULL_SHA".into(), commit.to_string());
        }
        let refs = serde_json::json!({
            "org": owner, "repo": name, "repo_link": repo.url, "base_ref": base, "base_sha": commit,
        });
        if let Some(spec) = spec.as_object_mut() {
            spec.insert("refs".into(), refs);
        }
        env.insert("REPO_OWNER".into(), owner);
        env.insert("REPO_NAME".into(), name);
        env.insert("PULL_BASE_REF".into(), base);
        env.insert("PULL_BASE_SHA".into(), commit.to_string());
    }
    env.insert("JOB_NAME".into(), job_name);
    env.insert("JOB_TYPE".into(), kind.into());
    env.insert("BUILD_ID".into(), number);
    env.insert("ARTIFACTS".into(), text(&places.artifacts));
    env.insert("JOB_SPEC".into(), spec.to_string());
}

/// The last two parts of a repository's address: `openimsdk` and `open-im-server`.
fn owner_and_name(url: &str) -> (String, String) {
    let path = url.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let mut parts = path.rsplit(['/', ':']).filter(|part| !part.is_empty());
    let name = parts.next().unwrap_or_default().to_owned();
    (parts.next().unwrap_or_default().to_owned(), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_and_names_of_repositories() {
        for (url, owner, name) in [
            ("https://github.com/openimsdk/open-im-server.git", "openimsdk", "open-im-server"),
            ("git@example.org:team/app.git", "team", "app"),
            ("ssh://git@example.org:22/team/app", "team", "app"),
            ("file:///srv/git/app.git/", "git", "app"),
        ] {
            assert_eq!(owner_and_name(url), (owner.to_owned(), name.to_owned()), "{url}");
        }
    }
}
