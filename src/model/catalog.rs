//! What the configuration comes to: every pipeline with its jobs and its state, and the settings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::commit::RefName;
use crate::model::forge::Forges;
use crate::model::job::{Definition, EnvironmentPolicy, Hash, RefFilter};
use crate::model::letter::PingAt;
use crate::model::name::{EnvironmentName, JobKey, JobName, PersonName, PipelineName};
use crate::model::retention::Retention;
use crate::model::secret::SecretName;
use crate::model::time::Seconds;

/// All that the configuration says now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalog {
    pub settings: Settings,
    pub people: BTreeMap<PersonName, Person>,
    pub pipelines: BTreeMap<PipelineName, Arc<Pipeline>>,
    /// Files of jobs.d that are no job files, and why: never skipped in silence.
    pub skipped: Vec<(PathBuf, String)>,
}

impl Catalog {
    #[must_use]
    pub fn job(&self, key: &JobKey) -> Option<&Job> {
        self.pipelines.get(&key.pipeline)?.jobs.get(&key.job).map(AsRef::as_ref)
    }

    /// People who hold an entry of a `by` list: a name, or `@role`.
    #[must_use]
    pub fn people_of(&self, entry: &str) -> BTreeSet<PersonName> {
        let holds = |(name, person): (&PersonName, &Person)| match entry.strip_prefix('@') {
            Some(role) => person.roles.iter().any(|held| held == role),
            None => name.as_str() == entry,
        };
        self.people.iter().filter(|&(n, p)| holds((n, p))).map(|(name, _)| name.clone()).collect()
    }
}

/// One pipeline as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pipeline {
    pub name: PipelineName,
    pub file: PathBuf,
    pub state: PipelineState,
    pub description: Option<String>,
    pub repo: Option<Box<Repo>>,
    /// Each by itself: a map keeps room for eleven of what it holds, and most files have one job.
    pub jobs: BTreeMap<JobName, Arc<Job>>,
    /// Jobs in order of needs, then of the file.
    pub order: Vec<JobName>,
    pub environments: BTreeMap<EnvironmentName, EnvironmentPolicy>,
}

impl Pipeline {
    /// Whether any job (or `[repo]` itself) follows this ref.
    #[must_use]
    pub fn watches(&self, git_ref: &RefName, head: Option<&RefName>) -> bool {
        if git_ref.is_pull() {
            return self.takes_pulls();
        }
        self.filters().any(|filter| filter.matches(git_ref, head))
    }

    /// Whether pull requests are looked at.
    #[must_use]
    pub fn signers(&self) -> Option<Hash> {
        let list = self.repo.as_ref()?.signed_by.as_ref()?;
        Some(Hash::of(list.as_bytes()))
    }

    #[must_use]
    pub fn takes_pulls(&self) -> bool {
        self.repo.as_ref().is_some_and(|repo| repo.pulls == Pulls::Sandboxed)
    }

    /// Whether some filter names it plainly.
    #[must_use]
    pub fn names_plainly(&self, git_ref: &RefName, head: Option<&RefName>) -> bool {
        self.filters().any(|filter| filter.names_plainly(git_ref, head))
    }

    /// What is followed, by the file and by each job.
    pub fn filters(&self) -> impl Iterator<Item = &RefFilter> {
        self.repo.iter().map(|repo| &repo.refs).chain(self.jobs.values().map(|job| &job.definition.refs))
    }

    /// Everything that `job` stands on, at any depth.
    #[must_use]
    pub fn upstream_of(&self, job: &JobName) -> BTreeSet<JobName> {
        let mut found = BTreeSet::new();
        let mut open = vec![job.clone()];
        while let Some(next) = open.pop() {
            for need in self.jobs.get(&next).map(|j| j.definition.needs.as_slice()).unwrap_or_default() {
                if found.insert(need.clone()) {
                    open.push(need.clone());
                }
            }
        }
        found
    }
}

/// Whether a pipeline's file can be followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PipelineState {
    Ok,
    /// The file no longer parses: its last good version goes on testing, its deployments are held.
    LastGood {
        problem: String,
    },
    /// Owner or mode unsafe, file gone, or broken with no good version: nothing starts.
    Off {
        why: String,
        /// Its file was taken away: somebody's wish, not a mistake to be mended.
        gone: bool,
    },
}

impl PipelineState {
    /// The file is there and is not followed.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        !matches!(self, Self::Ok | Self::Off { gone: true, .. })
    }
}

/// Where a repository is, and what it is logged in with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    pub url: String,
    /// The name of a file in credentials/.
    pub credential: Option<String>,
}

impl Address {
    /// A repository that is asked without a credential of its own.
    #[must_use]
    pub fn open(url: &str) -> Self {
        Self { url: url.to_owned(), credential: None }
    }

    /// What its mirror is known by: whoever logs in otherwise may see something else.
    #[must_use]
    pub fn key(&self) -> String {
        match &self.credential {
            Some(credential) => format!("{}\0{credential}", self.url),
            None => self.url.clone(),
        }
    }
}

/// The repository of a pipeline, as the poller needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repo {
    pub url: String,
    #[serde(default)]
    pub credential: Option<String>,
    /// The text of the allowed-signers file, where commits must be signed.
    #[serde(default)]
    pub signed_by: Option<Arc<str>>,
    pub refs: RefFilter,
    pub poll: Seconds,
    pub quiet: Seconds,
    #[serde(default)]
    pub pulls: Pulls,
}

crate::words! {
    /// Whether pull requests are run, whoever opened them.
    #[derive(Default)]
    pub enum Pulls { #[default] None => "none", Sandboxed => "sandboxed" }
}

impl Repo {
    #[must_use]
    pub fn address(&self) -> Address {
        Address { url: self.url.clone(), credential: self.credential.clone() }
    }
}

/// A job: its definition and what is told about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub definition: Arc<Definition>,
    pub hash: Hash,
    pub description: Option<String>,
    pub notify: Notify,
    #[serde(default)]
    pub marks: Marks,
    /// `ping-url`.
    #[serde(default)]
    pub pings: BTreeMap<PingAt, String>,
    /// Line of `[job.NAME]` in the file.
    pub line: usize,
}

/// `commit-status`: whether commits are marked at their host, and under which name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Marks {
    /// `shipbell/PIPELINE/JOB`.
    #[default]
    Usual,
    Named(String),
    None,
}

/// Who hears of a job's failures.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Notify {
    /// Empty: `[mail] to`.
    pub email: Vec<String>,
    pub on_failure: bool,
    pub on_recovery: bool,
    /// So many failures in a row before it is told; 0 and 1: each.
    #[serde(default)]
    pub after_failures: u32,
    /// After so long without a success it is told.
    #[serde(default)]
    pub stale_after: Option<Seconds>,
}

impl Notify {
    /// What holds where nothing is written.
    #[must_use]
    pub fn usual() -> Self {
        Self { on_failure: true, on_recovery: true, ..Self::default() }
    }
}

/// A person of shipbell.toml.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    pub email: String,
    /// Further addresses under which they write commits.
    pub git: Vec<String>,
    /// Login on this host, for votes over the control socket.
    pub login: Option<String>,
    pub roles: Vec<String>,
    /// Public keys that their votes are signed with: kind and base64.
    #[serde(default)]
    pub ssh_keys: Vec<String>,
    /// The secret that their phone's codes are made of. The executor reads it and nobody else.
    #[serde(default)]
    pub totp: Option<SecretName>,
}

impl Person {
    #[must_use]
    pub fn wrote(&self, author_mail: &str) -> bool {
        let same = |mail: &String| mail.eq_ignore_ascii_case(author_mail);
        same(&self.email) || self.git.iter().any(same)
    }
}

/// shipbell.toml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Links in mails begin with it; no trailing slash. `None`: made from `listen`.
    pub public_url: Option<String>,
    pub listen: String,
    pub timezone: String,
    pub mail: Mail,
    /// `[github]`, `[gitlab]`, `[gitea]`.
    pub forges: Forges,
    /// Runs at one time.
    pub slots: u32,
    /// Below this many free bytes new runs wait (disk).
    pub disk_floor: u64,
    /// Whether a job file may name a user who is root.
    pub allow_root: bool,
    /// Places of declared pools; an undeclared one has one.
    pub pools: BTreeMap<String, u32>,
    pub retention: Retention,
}

impl Settings {
    /// What the links in mails begin with, without a trailing slash.
    #[must_use]
    pub fn public_url(&self) -> String {
        self.public_url.clone().unwrap_or_else(|| format!("http://{}", self.listen))
    }

    #[must_use]
    pub fn places(&self, pool: &str) -> u32 {
        self.pools.get(pool).copied().unwrap_or(1)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            public_url: None,
            listen: "127.0.0.1:8787".into(),
            timezone: "UTC".into(),
            mail: Mail::default(),
            forges: Forges::new(),
            slots: 4,
            disk_floor: 256 << 20,
            allow_root: false,
            pools: BTreeMap::new(),
            retention: Retention::default(),
        }
    }
}

crate::words! { pub enum Transport { Smtp => "smtp", Sendmail => "sendmail", File => "file" } }
crate::words! { pub enum MailTls { None => "none", Starttls => "starttls", Tls => "tls" } }

/// `[mail]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    pub from: String,
    /// Who hears of failures of jobs without `notify`.
    pub to: Vec<String>,
    pub transport: Transport,
    pub host: String,
    /// 0: by `tls` (25, 587, 465).
    pub port: u16,
    pub tls: MailTls,
    pub username: Option<String>,
    /// Name of a file in credentials/ that holds the password.
    pub credential: Option<String>,
    /// Where `transport = "file"` puts its .eml files; `None`: the state directory's `mail/`.
    pub dir: Option<PathBuf>,
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            from: "Shipbell <shipbell@localhost>".into(),
            to: Vec::new(),
            transport: Transport::File,
            host: "localhost".into(),
            port: 0,
            tls: MailTls::Starttls,
            username: None,
            credential: None,
            dir: None,
        }
    }
}
