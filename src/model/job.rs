//! What a job file says of one job once it is resolved: the definition, its canonical text and its hash.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::commit::RefName;
use crate::model::name::{EnvironmentName, JobKey, JobName};
use crate::model::secret::{EnvValue, OnLeak, SecretName};
use crate::model::time::Seconds;

/// The number of the definition's format; it is part of what is hashed.
pub const DEFINITION_FORMAT: u32 = 1;

/// A SHA-256, lower-case hex.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hash(pub std::sync::Arc<str>);

impl Hash {
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex(&Sha256::digest(bytes)).into())
    }

    /// Of a value's canonical JSON: fields in the order of the type, maps sorted, no white space.
    #[must_use]
    pub fn of_json<T: Serialize>(value: &T) -> Self {
        Self::of(serde_json::to_string(value).unwrap_or_default().as_bytes())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Twelve digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.short())
    }
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A job as resolved: drop-ins, defaults, environment policy and the content hashes of files it
/// names are in it; secrets, `description`, `notify`, `ping-url` and `commit-status` are not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// [`DEFINITION_FORMAT`].
    pub v: u32,
    pub key: JobKey,
    pub repo: Option<RepoDef>,
    pub refs: RefFilter,
    /// Whether it runs for pull requests: then without secrets, network and all that is kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pulls: bool,
    pub schedule: Vec<ScheduleDef>,
    pub every: Option<Every>,
    pub catch_up: CatchUp,
    pub catch_up_window: Seconds,
    pub overlap: Overlap,
    pub unchanged: Unchanged,
    pub needs: Vec<JobName>,
    pub manual: bool,
    pub params: BTreeMap<String, Param>,
    /// Globs of the file's `[repo] paths` and of the job's `paths`: both must match. Empty = no filter.
    pub repo_paths: Vec<String>,
    pub paths: Vec<String>,
    /// Pools of the job and of its environment, sorted.
    pub pools: Vec<String>,
    pub init: Option<Box<InitDef>>,
    pub steps: Vec<StepDef>,
    pub dir: Option<String>,
    /// argv before the step's text, `["bash", "-euo", "pipefail", "-c"]` where the file names none.
    pub shell: std::sync::Arc<[String]>,
    pub env: BTreeMap<String, EnvValue>,
    /// `None`: the user of the launcher's default.
    pub user: Option<String>,
    pub timeout: Seconds,
    pub grace: Seconds,
    pub retry: Retry,
    pub artifacts: Vec<String>,
    pub environment: Option<Box<EnvironmentPolicy>>,
    pub verify: Option<VerifyDef>,
    pub on_interrupted: OnInterrupted,
    /// Bytes of log kept.
    pub log_limit: u64,
    /// Left out of the text, and so of the hash, where it is the default.
    #[serde(default, skip_serializing_if = "Sandbox::is_standard")]
    pub sandbox: Sandbox,
    /// Given as files. What stands in `env` is not repeated here; see [`Definition::secret_names`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretName>,
    #[serde(default, skip_serializing_if = "OnLeak::is_report")]
    pub on_leak: OnLeak,
    #[serde(default, skip_serializing_if = "Workspace::is_fresh")]
    pub workspace: Workspace,
    #[serde(default, skip_serializing_if = "Limits::is_unset")]
    pub limits: Limits,
}

impl Definition {
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of_json(self)
    }

    /// Whether a run of it changes an environment.
    #[must_use]
    pub fn deploys(&self) -> bool {
        self.environment.is_some()
    }

    /// Whether what a run of it states must be on the disk at once, for a power cut to leave its evidence:
    /// what may not be begun anew by itself. Any other run would be begun anew in any case, and its evidence
    /// is only asked for while the host is up.
    #[must_use]
    pub fn outlasts_a_power_cut(&self) -> bool {
        self.deploys() || self.on_interrupted == OnInterrupted::Report
    }

    /// Whether due times start it.
    #[must_use]
    pub fn timed(&self) -> bool {
        !self.schedule.is_empty() || self.every.is_some()
    }

    /// Row 1 of the trigger rule: new commits start it.
    #[must_use]
    pub fn follows_commits(&self) -> bool {
        self.repo.is_some() && !self.timed() && self.needs.is_empty() && !self.manual
    }

    /// Whether a new head of this ref starts it, where new heads start it at all.
    #[must_use]
    pub fn follows(&self, git_ref: &RefName, head: Option<&RefName>) -> bool {
        if git_ref.is_pull() { self.pulls } else { self.refs.matches(git_ref, head) }
    }

    /// Row 2 of the trigger rule: the success of the needed jobs starts it.
    #[must_use]
    pub fn follows_needs(&self) -> bool {
        !self.timed() && !self.needs.is_empty() && !self.manual
    }
}

/// The repository as far as it is part of what a job does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoDef {
    pub url: String,
    pub commits: Commits,
    pub history: bool,
    /// Of the allowed signers, where commits must be signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<Hash>,
}

/// Which branches and tags a job follows. A list of globs, `!` excludes; see [`crate::model::glob`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefFilter {
    /// `None`: the remote's HEAD branch (or none, where `tags` are given).
    pub branches: Option<Vec<String>>,
    pub tags: Vec<String>,
}

impl RefFilter {
    /// Whether `git_ref` is among them; `head` is what the remote's HEAD points to.
    #[must_use]
    pub fn matches(&self, git_ref: &RefName, head: Option<&RefName>) -> bool {
        use crate::model::glob::list_matches;
        // Anyone may open a pull request: no branch's name lets one in.
        if git_ref.is_pull() {
            return false;
        }
        if git_ref.is_tag() {
            return !self.tags.is_empty() && list_matches(&self.tags, git_ref.short());
        }
        match &self.branches {
            Some(globs) => list_matches(globs, git_ref.short()),
            None => self.tags.is_empty() && head == Some(git_ref),
        }
    }

    /// Whether it is named plainly (or is HEAD), so that it runs at the first sight of the repository.
    #[must_use]
    pub fn names_plainly(&self, git_ref: &RefName, head: Option<&RefName>) -> bool {
        match &self.branches {
            _ if git_ref.is_tag() || git_ref.is_pull() => false,
            Some(names) => names.iter().any(|name| name == git_ref.short()),
            None => self.tags.is_empty() && head == Some(git_ref),
        }
    }
}

crate::words! {
    /// `latest`: a head that was not begun gives way to a newer one. `every`: each first-parent commit.
    pub enum Commits { Latest => "latest", Every => "every" }
}
crate::words! { pub enum CatchUp { Once => "once", Skip => "skip" } }
crate::words! {
    /// What a due time or head does while a run of this job and branch is going on.
    pub enum Overlap { Queue => "queue", Skip => "skip", Replace => "replace", Allow => "allow" }
}
crate::words! { pub enum Unchanged { Skip => "skip", Run => "run" } }
crate::words! { pub enum OnInterrupted { Retry => "retry", Report => "report" } }
crate::words! {
    /// What a run sees and may write besides its own. `offline`: and no network. `off`: what its user may.
    #[derive(Default)]
    pub enum Sandbox { #[default] Standard => "standard", Offline => "offline", Off => "off" }
}

impl Sandbox {
    #[must_use]
    pub fn is_standard(&self) -> bool {
        *self == Self::Standard
    }
}

crate::words! {
    /// `keep`: what a run leaves in its workspace is there for the next one.
    #[derive(Default)]
    pub enum Workspace { #[default] Fresh => "fresh", Keep => "keep" }
}
crate::words! { pub enum EveryFrom { Start => "start", End => "end" } }
crate::words! { pub enum Factor { Word => "word", Totp => "totp", Sshsig => "sshsig" } }

/// One schedule of a job: a text in a zone. [`crate::model::schedule::Schedule::of`] reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleDef {
    /// As it is written: `H 3 * * *`, `@daily`, `@reboot`. It is what people are shown, and its hour
    /// field decides what happens when the clock is put forward or back.
    pub text: String,
    /// The five fields that `text` comes to, where it has an `H`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<String>,
    /// IANA name; resolved from the job, shipbell.toml or the host.
    pub zone: String,
}

impl Workspace {
    /// The default is not written down: definitions from before it was known keep their hash.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        *self == Self::Fresh
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Every {
    pub period: Seconds,
    pub from: EveryFrom,
}

/// A variable that a person may set when starting the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Param {
    pub default: Option<String>,
    /// A regular expression that the whole value must match.
    pub pattern: Option<String>,
}

impl Param {
    /// # Errors
    /// Why the pattern is no regular expression.
    pub fn check(&self) -> Result<(), String> {
        self.matcher().map(|_| ())
    }

    /// # Errors
    /// Why a run may not be given this value.
    pub fn accepts(&self, value: &str) -> Result<(), String> {
        if value.chars().any(|c| c == '\0') || value.len() > 32 * 1024 {
            return Err("a value has at most 32 KiB and no NUL character".into());
        }
        match (self.matcher()?, &self.pattern) {
            (Some(matcher), Some(pattern)) if !matcher.is_match(value) => Err(format!("it does not match {pattern}")),
            _ => Ok(()),
        }
    }

    fn matcher(&self) -> Result<Option<regex_lite::Regex>, String> {
        // Anchored, or `[a-z]+` would let `x; rm -rf /` pass.
        let whole = |pattern: &String| regex_lite::Regex::new(&format!("^(?:{pattern})$"));
        self.pattern.as_ref().map(whole).transpose().map_err(|error| error.to_string())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitDef {
    pub run: String,
    /// Path of the config within the repository.
    pub config: String,
    /// A root-owned file put in its place, and the hash of its content.
    pub source: Option<(PathBuf, Hash)>,
    /// A secret put in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretName>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepDef {
    pub name: String,
    pub run: String,
    pub timeout: Option<Seconds>,
    pub always: bool,
    pub env: BTreeMap<String, EnvValue>,
    pub dir: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts in all; 1 = no retry.
    pub attempts: u32,
    pub delay: Seconds,
}

/// What a run may use at most, besides its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes, of all its processes together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Thousandths of one processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u32>,
    /// Open files of each process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u32>,
}

/// Enough for any build, and far from what a host can bear.
const TASKS: u32 = 4096;

impl Limits {
    #[must_use]
    pub fn is_unset(&self) -> bool {
        *self == Self::default()
    }

    /// There always is one: a fork bomb needs no permission.
    #[must_use]
    pub fn tasks_or_default(&self) -> u32 {
        self.tasks.unwrap_or(TASKS)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyDef {
    pub run: String,
    pub within: Seconds,
}

/// An environment's policy after shipbell.toml and the job file were combined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvironmentPolicy {
    pub name: EnvironmentName,
    /// `None` is the written word "none".
    pub approval: Option<Approval>,
    pub windows: Vec<WindowDef>,
    pub freezes: Vec<FreezeDef>,
    pub url: Option<String>,
}

impl EnvironmentPolicy {
    /// The policy hash: who must approve and how; not the window.
    #[must_use]
    pub fn policy_hash(&self) -> Hash {
        Hash::of_json(&(&self.name, &self.approval))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Each list must be satisfied: `votes` of its people. (One of the job file, one of shipbell.toml.)
    /// Entries are names of people or `@role`.
    pub by: Vec<Vec<String>>,
    pub votes: u32,
    /// How long votes are taken.
    pub expires: Seconds,
    /// `author`: who wrote one of the commits may not vote.
    pub forbid_author: bool,
    pub factor: Factor,
}

/// `Mon-Thu 09:00-17:00` in a zone. Several lists (job file and shipbell.toml) must all be open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowDef {
    /// Any of these opens it.
    pub any_of: Vec<String>,
    pub zone: String,
}

/// `2026-12-20..2027-01-03` or a weekly stretch, in a zone: nothing starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreezeDef {
    pub text: String,
    pub zone: String,
}
