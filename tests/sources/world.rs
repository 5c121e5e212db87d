//! A repository that the tests write with git2, the mirrors of a host, and pipelines that follow it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use git2::{Oid, Repository, Signature};
use shipbell::credentials::Credentials;
use shipbell::model::catalog::{Address, Pipeline, PipelineState, Repo};
use shipbell::model::commit::{CommitId, RefName};
use shipbell::model::event::{Event, HeadSeen, PollAnswer};
use shipbell::model::job::RefFilter;
use shipbell::model::name::PipelineName;
use shipbell::model::time::Seconds;
use shipbell::source::{Mirror, Mirrors, Remote, Remotes, Scope, SourceError, Target, Tools, poll_once};
use shipbell::web::Client;

pub const LONG: Duration = Duration::from_secs(30);

/// Remotes that are asked with the credentials of a directory.
pub fn remotes(credentials: &Path) -> Remotes {
    Remotes::new(Client::new(), Credentials::new(credentials))
}

/// Asks what there is, without a credential.
pub async fn ask(url: &str, deadline: Duration) -> Result<Remote, SourceError> {
    remotes(Path::new("/nonexistent"))
        .ask(&Address::open(url), &Scope::default(), deadline)
        .await
        .map(|(remote, _)| remote)
}

/// Fetches without a credential.
pub async fn fetch(mirror: &Path, url: &str, refs: &[RefName], deadline: Duration) -> Result<(), SourceError> {
    remotes(Path::new("/nonexistent")).fetch(&Address::open(url), mirror, refs, deadline).await
}

pub fn head(branch: &str) -> RefName {
    RefName::branch(branch).unwrap()
}

pub fn tag(name: &str) -> RefName {
    RefName::new(&format!("refs/tags/{name}")).unwrap()
}

pub fn id(oid: Oid) -> CommitId {
    CommitId::new(&oid.to_string()).unwrap()
}

/// The remote: a bare repository.
pub struct Origin {
    pub dir: PathBuf,
    pub repo: Repository,
    time: std::cell::Cell<i64>,
}

impl Origin {
    pub fn new(dir: &Path) -> Self {
        let mut options = git2::RepositoryInitOptions::new();
        options.bare(true).initial_head("main").external_template(false);
        let repo = Repository::init_opts(dir, &options).unwrap();
        Self { dir: dir.to_owned(), repo, time: std::cell::Cell::new(1_700_000_000) }
    }

    pub fn url(&self) -> String {
        self.dir.to_str().unwrap().to_owned()
    }

    pub fn tree(&self, files: &[(&str, &str)]) -> Oid {
        let mut index = git2::Index::new().unwrap();
        for (path, text) in files {
            let blob = self.repo.blob(text.as_bytes()).unwrap();
            index.add(&entry(path.as_bytes(), blob)).unwrap();
        }
        index.write_tree_to(&self.repo).unwrap()
    }

    /// A commit that no ref names yet.
    pub fn loose(&self, parents: &[Oid], message: &str, files: &[(&str, &str)]) -> Oid {
        self.time.set(self.time.get() + 60);
        let who = Signature::new("Ann", "ann@example.org", &git2::Time::new(self.time.get(), 0)).unwrap();
        let tree = self.repo.find_tree(self.tree(files)).unwrap();
        let parents: Vec<_> = parents.iter().map(|&id| self.repo.find_commit(id).unwrap()).collect();
        self.repo.commit(None, &who, &who, message, &tree, &parents.iter().collect::<Vec<_>>()).unwrap()
    }

    /// A commit on top of a branch.
    pub fn commit(&self, branch: &str, message: &str) -> Oid {
        let name = format!("refs/heads/{branch}");
        let parents: Vec<Oid> = self.repo.refname_to_id(&name).into_iter().collect();
        let id = self.loose(&parents, message, &[("file", message)]);
        self.point(&name, id);
        id
    }

    pub fn point(&self, name: &str, id: Oid) {
        self.repo.reference(name, id, true, "").unwrap();
    }

    pub fn delete(&self, name: &str) {
        self.repo.find_reference(name).unwrap().delete().unwrap();
    }

    pub fn annotated(&self, name: &str, id: Oid) {
        let who = Signature::new("Ann", "ann@example.org", &git2::Time::new(1, 0)).unwrap();
        let object = self.repo.find_object(id, None).unwrap();
        self.repo.tag(name, &object, &who, "a tag", true).unwrap();
    }
}

pub fn entry(path: &[u8], blob: Oid) -> git2::IndexEntry {
    let zero = git2::IndexTime::new(0, 0);
    git2::IndexEntry {
        ctime: zero,
        mtime: zero,
        dev: 0,
        ino: 0,
        mode: 0o100_644,
        uid: 0,
        gid: 0,
        file_size: 0,
        id: blob,
        flags: 0,
        flags_extended: 0,
        path: path.to_vec(),
    }
}

/// A pipeline without jobs: only what it watches.
pub fn pipeline(name: &str, url: &str, branches: &[&str], tags: &[&str]) -> Arc<Pipeline> {
    let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let branches = if branches == ["HEAD"] { None } else { Some(list(branches)) };
    Arc::new(Pipeline {
        name: PipelineName::new(name).unwrap(),
        file: PathBuf::from(format!("/etc/shipbell/jobs.d/{name}.toml")),
        state: PipelineState::Ok,
        description: None,
        repo: Some(Box::new(Repo {
            url: url.to_owned(),
            credential: None,
            signed_by: None,
            refs: RefFilter { branches, tags: list(tags) },
            poll: Seconds(60),
            pulls: shipbell::model::catalog::Pulls::None,
            quiet: Seconds(0),
        })),
        jobs: BTreeMap::new(),
        order: Vec::new(),
        environments: BTreeMap::new(),
    })
}

pub fn target(name: &str, url: &str, branches: &[&str], tags: &[&str]) -> Target {
    Target {
        pipeline: pipeline(name, url, branches, tags),
        at: Address::open(url),
        every: Duration::from_secs(1),
        known: BTreeMap::new(),
        head: None,
    }
}

/// Takes over what a poll said, as the core does.
pub fn learn(target: &mut Target, answer: &PollAnswer) {
    target.head.clone_from(&answer.head);
    target.known.retain(|name, _| answer.heads.iter().any(|head| head.git_ref == *name));
    for head in &answer.heads {
        let known = target.known.entry(head.git_ref.clone()).or_default();
        if known.last() != Some(&head.commit.id) {
            known.push(head.commit.id.clone());
        }
    }
}

/// A remote, a host's mirrors, and one pipeline that learns.
pub struct World {
    pub dir: tempfile::TempDir,
    pub origin: Origin,
    pub tools: Tools,
    pub target: Target,
}

impl World {
    pub fn new(branches: &[&str], tags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let origin = Origin::new(&dir.path().join("origin.git"));
        let mirrors = Mirrors::new(&dir.path().join("mirrors"), b"a key").unwrap();
        let tools = Tools { mirrors, remotes: remotes(&dir.path().join("credentials")) };
        let target = target("shop", &origin.url(), branches, tags);
        Self { dir, origin, tools, target }
    }

    pub fn mirror(&self) -> Mirror {
        self.tools.mirrors.open(&self.target.at).unwrap()
    }

    pub async fn events(&self) -> Vec<Event> {
        poll_once(&self.tools, &self.target.at, std::slice::from_ref(&self.target), LONG).await
    }

    /// Polls and learns: the answer, if there was one, and what was wrong.
    pub async fn poll(&mut self) -> (Option<PollAnswer>, Option<String>) {
        let (mut answer, mut problem) = (None, None);
        for event in self.events().await {
            match event {
                Event::Polled { poll, .. } => answer = Some(poll),
                Event::PollFailed { why, .. } => problem = Some(why),
                other => panic!("{other:?}"),
            }
        }
        if let Some(answer) = &answer {
            learn(&mut self.target, answer);
        }
        (answer, problem)
    }

    /// Polls; there must be news and no trouble.
    pub async fn news(&mut self) -> PollAnswer {
        match self.poll().await {
            (Some(answer), None) => answer,
            other => panic!("no news: {other:?}"),
        }
    }

    /// Polls; there must be nothing to say.
    pub async fn nothing(&mut self) {
        let said = self.poll().await;
        assert_eq!(said, (None, None));
    }
}

pub fn on<'a>(answer: &'a PollAnswer, name: &RefName) -> &'a HeadSeen {
    answer.heads.iter().find(|head| head.git_ref == *name).unwrap_or_else(|| panic!("{name} is not in {answer:?}"))
}

pub fn ids(commits: &[shipbell::model::commit::CommitInfo]) -> Vec<CommitId> {
    commits.iter().map(|commit| commit.id.clone()).collect()
}
