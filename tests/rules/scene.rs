//! A scene: job files as text, a small made-up git, and the real core with a clock that the test sets.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use shipbell::config::{self, Trust, layout::Layout};
use shipbell::model::catalog::Catalog;
use shipbell::model::commit::{Authors, CommitId, CommitInfo, Comparison, Question, RefName, Relation};
use shipbell::model::event::{Action, Ballot, Change, Event, HeadSeen, PollAnswer, Reply, RunRequest};
use shipbell::model::ledger::LedgerRow;
use shipbell::model::letter::{Letter, LetterKind};
use shipbell::model::name::{PipelineName, RunRef};
use shipbell::model::request::{Request, Verdict};
use shipbell::model::retention::Part;
use shipbell::model::run::{Outcome, Run, RunState, Usage};
use shipbell::model::ticket::{Evidence, Fact, FactLine, StartOrder};
use shipbell::model::time::Timestamp;
use shipbell::pipeline::{self, world::World};
use shipbell::sys::host;

pub const PEOPLE: &str = r#"
[person.anna]
email = "anna@example.org"
roles = ["release"]
[person.ben]
email = "ben@example.org"
roles = ["release"]
[person.chen]
email = "chen@example.org"
"#;

pub struct Scene {
    dir: tempfile::TempDir,
    /// Beside the people in shipbell.toml; `load` takes it in.
    pub settings: String,
    pub world: World,
    pub now: Timestamp,
    pub runs: BTreeMap<RunRef, Run>,
    pub requests: BTreeMap<u64, Request>,
    pub letters: BTreeMap<u64, Letter>,
    pub ledger: BTreeMap<(String, Timestamp), LedgerRow>,
    pub started: Vec<RunRef>,
    pub orders: Vec<StartOrder>,
    /// Requests of which the executor was told that they are over, and why.
    pub withdrawn: Vec<(u64, String)>,
    /// What went by `[retention]`, in order.
    pub removed: Vec<(RunRef, Part)>,
    parents: BTreeMap<CommitId, Option<CommitId>>,
    files: BTreeMap<CommitId, Vec<String>>,
    authors: BTreeMap<CommitId, String>,
    tips: BTreeMap<RefName, CommitId>,
    /// What nobody who may has signed, and why it must not run.
    pub refused: BTreeMap<CommitId, String>,
    /// Git cannot say who wrote what.
    pub no_git: bool,
}

impl Scene {
    /// Monday 23 November 2026, 10:00 UTC, with this text as jobs.d/app.toml.
    pub fn of(text: &str) -> Self {
        Self::with_settings("", text)
    }

    /// The same, with this beside the people in shipbell.toml.
    pub fn with_settings(settings: &str, text: &str) -> Self {
        let mut scene = Self {
            settings: settings.to_owned(),
            dir: tempfile::tempdir().unwrap(),
            world: World { nonce: "nonce".into(), ..World::default() },
            now: "2026-11-23T10:00:00Z".parse().unwrap(),
            runs: BTreeMap::new(),
            requests: BTreeMap::new(),
            letters: BTreeMap::new(),
            ledger: BTreeMap::new(),
            started: Vec::new(),
            orders: Vec::new(),
            withdrawn: Vec::new(),
            removed: Vec::new(),
            parents: BTreeMap::new(),
            files: BTreeMap::new(),
            authors: BTreeMap::new(),
            tips: BTreeMap::new(),
            refused: BTreeMap::new(),
            no_git: false,
        };
        scene.load(text);
        scene
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    pub fn load(&mut self, text: &str) {
        let catalog = self.catalog(text);
        self.turn(vec![Event::Reloaded { catalog: Arc::new(catalog) }]);
    }

    pub fn catalog(&self, text: &str) -> Catalog {
        let layout = Layout::new(Some(self.dir.path()));
        layout.create().unwrap();
        let jobs = layout.jobs_dirs().into_iter().next().unwrap();
        std::fs::create_dir_all(&jobs).unwrap();
        let head = "[repo]\nurl = \"https://git.example.org/app.git\"\n";
        let text = if text.contains("[repo]") || text.contains("# no repo") {
            text.to_owned()
        } else {
            format!("{head}{text}")
        };
        for (path, text) in
            [(layout.shipbell_toml(), format!("{PEOPLE}{}", self.settings)), (jobs.join("app.toml"), text.clone())]
        {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        }
        let last_good = config::last_good::read(&layout.last_good());
        let loaded = config::load(&layout, &Trust { owners: vec![0, host::effective_uid()] }, &last_good);
        config::last_good::write(&layout.last_good(), &loaded.catalog).unwrap();
        let expected = usize::from(text.contains("unknown-key"));
        let problems: Vec<_> = loaded.problems.iter().map(|problem| &problem.text).collect();
        assert_eq!(problems.len(), expected, "{problems:#?}");
        assert!(
            loaded.catalog.pipelines.contains_key(&app()),
            "{:?}",
            loaded.problems.iter().map(|p| &p.text).collect::<Vec<_>>()
        );
        loaded.catalog
    }

    /// One turn, with git answering at once and every letter delivered.
    #[allow(clippy::needless_pass_by_value, reason = "a scene reads better with its events made in place")]
    pub fn turn(&mut self, events: Vec<Event>) -> Vec<Reply> {
        let turn = pipeline::turn(&mut self.world, &events, self.now);
        for change in &turn.changes {
            match change {
                Change::RunPut(run) => drop(self.runs.insert(run.run.clone(), (**run).clone())),
                Change::RequestPut(request) => drop(self.requests.insert(request.id, (**request).clone())),
                Change::LetterPut(letter) => drop(self.letters.insert(letter.id, letter.clone())),
                Change::RemovalPut(removal) if removal.done.is_some() => {
                    self.removed.push((removal.run.clone(), removal.part));
                }
                Change::RunGone { run } => drop(self.runs.remove(run)),
                Change::LedgerPut(row) => drop(self.ledger.insert((row.job.to_string(), row.first), row.clone())),
                _ => {}
            }
        }
        let mut next = Vec::new();
        for action in turn.actions {
            match action {
                Action::Ask(question) => {
                    let answer = Ok(Arc::new(self.compare(&question)));
                    next.push(Event::Answered { question, answer });
                }
                Action::Send { letter } => next.push(Event::LetterSent { letter }),
                Action::FindAuthors { letter } => {
                    let authors = self.authors_of(letter);
                    next.push(Event::AuthorsFound { letter, authors });
                }
                Action::Start(order) => {
                    self.started.push(order.run.clone());
                    self.orders.push((*order).clone());
                    let lines = vec![
                        line(self.now, Fact::Started { boot_id: "b".into(), pid: 1 }),
                        line(self.now, Fact::Step { index: 1, name: "work".into(), always: false, log: 0 }),
                    ];
                    next.push(Event::Progress { run: order.run, attempt: order.attempt, lines });
                }
                Action::Remove { parts } => {
                    let gone = parts.into_iter().map(|(run, part)| (run, part, Ok(1)));
                    next.push(Event::Removed { gone: gone.collect() });
                }
                Action::Withdraw { statement, why } => self.withdrawn.push((statement.request, why)),
                Action::Stop { .. } | Action::Examine { .. } => {}
            }
        }
        if !next.is_empty() {
            self.turn(next);
        }
        turn.replies
    }

    pub fn tick(&mut self) {
        self.turn(vec![Event::Tick]);
    }

    pub fn at(&mut self, time: &str) {
        self.now = time.parse().unwrap();
        self.tick();
    }

    /// A new commit on a branch, by chen, on top of what is there; polled at once.
    pub fn push(&mut self, branch: &str) -> CommitId {
        self.push_as(branch, "chen@example.org", &["src/main.c"])
    }

    pub fn push_as(&mut self, branch: &str, author: &str, files: &[&str]) -> CommitId {
        let git_ref = RefName::branch(branch).unwrap();
        let parent = self.tips.get(&git_ref).or_else(|| self.tips.get(&RefName::branch("main").unwrap())).cloned();
        let commit = self.commit(parent, author, files);
        self.point(branch, &commit);
        commit
    }

    pub fn commit(&mut self, parent: Option<CommitId>, author: &str, files: &[&str]) -> CommitId {
        let id = CommitId::new(&format!("{:07x}{:033x}", 0xa00_0001 + self.parents.len(), 7)).unwrap();
        self.parents.insert(id.clone(), parent);
        self.files.insert(id.clone(), files.iter().map(|file| (*file).to_owned()).collect());
        self.authors.insert(id.clone(), author.to_owned());
        id
    }

    /// A branch that stands there before the first poll.
    pub fn prepare(&mut self, branch: &str, commit: &CommitId) {
        self.tips.insert(RefName::branch(branch).unwrap(), commit.clone());
    }

    /// Moves a branch, anywhere, and polls.
    pub fn point(&mut self, branch: &str, commit: &CommitId) {
        self.tips.insert(RefName::branch(branch).unwrap(), commit.clone());
        self.poll();
    }

    pub fn tip(&self, branch: &str) -> CommitId {
        self.tips[&RefName::branch(branch).unwrap()].clone()
    }

    /// A new head of a pull request, on top of the last one or of main.
    pub fn open(&mut self, pull: &RefName, files: &[&str]) -> CommitId {
        let main = RefName::branch("main").unwrap();
        let parent = self.tips.get(pull).or_else(|| self.tips.get(&main)).cloned();
        let commit = self.commit(parent, "stranger@example.net", files);
        self.show(pull, &commit);
        commit
    }

    pub fn show(&mut self, git_ref: &RefName, commit: &CommitId) {
        self.prepare_ref(git_ref, commit);
        self.poll();
    }

    pub fn hide(&mut self, git_ref: &RefName) {
        self.tips.remove(git_ref);
        self.poll();
    }

    /// Any ref that stands there before the first poll.
    pub fn prepare_ref(&mut self, git_ref: &RefName, commit: &CommitId) {
        self.tips.insert(git_ref.clone(), commit.clone());
    }

    pub fn tag(&mut self, tag: &str, commit: &CommitId) {
        self.tips.insert(RefName::new(&format!("refs/tags/{tag}")).unwrap(), commit.clone());
        self.poll();
    }

    pub fn delete(&mut self, branch: &str) {
        self.tips.remove(&RefName::branch(branch).unwrap());
        self.poll();
    }

    pub fn poll(&mut self) {
        let head = Some(RefName::branch("main").unwrap());
        let pipeline = self.world.pipeline(&app()).unwrap().clone();
        let known = |git_ref: &RefName| {
            self.world.live.get(&app()).and_then(|live| live.sightings.get(git_ref)).cloned().unwrap_or_default()
        };
        let watched = self.tips.iter().filter(|(git_ref, _)| pipeline.watches(git_ref, head.as_ref()));
        let heads = watched.map(|(git_ref, commit)| {
            let line = self.ancestors(commit);
            let before = known(git_ref);
            let tip = before.last().map(|sighting| sighting.commit.id.clone());
            let since = tip.and_then(|tip| line.iter().position(|id| *id == tip));
            let between = since.map(|at| line[1.min(at)..at].iter().rev().map(|id| self.info(id)).collect());
            let gone = before.iter().map(|s| s.commit.id.clone()).filter(|id| !line.contains(id)).collect();
            HeadSeen {
                git_ref: git_ref.clone(),
                commit: self.info(commit),
                between: between.unwrap_or_default(),
                gone,
                refused: self.refused.clone(),
            }
        });
        let poll = PollAnswer {
            head: head.clone(),
            heads: heads.collect(),
            signers: pipeline.signers(),
            standings: Vec::new(),
        };
        self.turn(vec![Event::Polled { pipeline: app(), poll }]);
    }

    fn info(&self, id: &CommitId) -> CommitInfo {
        let author_mail = self.authors[id].clone();
        let author = author_mail.split('@').next().unwrap().to_owned();
        CommitInfo {
            id: id.clone(),
            subject: format!("change {}", id.short()),
            author,
            author_mail,
            authored_at: self.now,
        }
    }

    /// The commit and its parents, newest first.
    fn ancestors(&self, id: &CommitId) -> Vec<CommitId> {
        std::iter::successors(Some(id.clone()), |id| self.parents[id].clone()).collect()
    }

    fn compare(&self, question: &Question) -> Comparison {
        let (base, head) = (self.ancestors(&question.base), self.ancestors(&question.head));
        let adds: Vec<_> = head.iter().filter(|id| !base.contains(id)).cloned().collect();
        let back: Vec<_> = base.iter().filter(|id| !head.contains(id)).cloned().collect();
        let files: BTreeSet<String> = adds.iter().chain(&back).flat_map(|id| self.files[id].clone()).collect();
        Comparison {
            relation: match (adds.is_empty(), back.is_empty()) {
                (true, true) => Relation::Same,
                (false, true) => Relation::Newer,
                (true, false) => Relation::Older,
                (false, false) => Relation::Diverged,
            },
            adds_total: adds.len() as u64,
            adds: adds.iter().map(|id| self.info(id)).collect(),
            takes_back_total: back.len() as u64,
            takes_back: back.iter().map(|id| self.info(id)).collect(),
            files: Some(files.into_iter().collect()),
            insertions: 1,
            deletions: 1,
        }
    }

    /// Who wrote what a run has and the last success on its branch had not, newest first.
    fn authors_of(&self, letter: u64) -> Result<Authors, String> {
        if self.no_git {
            return Err("the mirror is damaged".into());
        }
        let run = &self.runs[self.letters[&letter].kind.run().unwrap()];
        let Some(head) = &run.commit else { return Ok(Authors::default()) };
        let before =
            |old: &&Run| old.run.job == run.run.job && old.git_ref == run.git_ref && old.run.number < run.run.number;
        let good = |old: &&Run| old.outcome() == Some(Outcome::Succeeded);
        let base = self.runs.values().filter(before).filter(good).max_by_key(|old| old.run.number);
        let base = base.and_then(|old| old.commit.clone()).map(|base| self.ancestors(&base));
        let new: Vec<_> = match base {
            Some(base) => self.ancestors(head).into_iter().filter(|id| !base.contains(id)).collect(),
            None => vec![head.clone()],
        };
        let mut mails: Vec<String> = Vec::new();
        for mail in new.iter().map(|id| self.authors[id].clone()) {
            if !mails.contains(&mail) {
                mails.push(mail);
            }
        }
        Ok(Authors { mails, more: false })
    }

    /// The run of this short name, `test#1`.
    pub fn run(&self, name: &str) -> &Run {
        let run = format!("app/{name}").parse().unwrap();
        self.runs.get(&run).unwrap_or_else(|| panic!("no {name}; there are {:?}", self.states()))
    }

    pub fn has(&self, name: &str) -> bool {
        self.runs.contains_key(&format!("app/{name}").parse().unwrap())
    }

    pub fn states(&self) -> Vec<String> {
        self.runs
            .keys()
            .map(|run| {
                let short = format!("{}#{}", run.job.job, run.number);
                format!("{short} {}", self.state(&short))
            })
            .collect()
    }

    /// `running`, `waits (…)`, or the outcome with its reason.
    pub fn state(&self, name: &str) -> String {
        let run = self.run(name);
        match &run.state {
            RunState::Running { .. } => "running".into(),
            RunState::Queued { .. } => format!("waits ({})", pipeline::waits(&self.world, run, self.now).unwrap()),
            RunState::Finished(end) if end.reason.is_empty() => end.outcome.to_string(),
            RunState::Finished(end) => format!("{} ({})", end.outcome, end.reason),
        }
    }

    /// Ends a running run.
    pub fn end(&mut self, name: &str, outcome: Outcome) {
        let run = self.run(name).clone();
        assert!(run.is_running(), "{name} is {}", self.state(name));
        let reason = if outcome == Outcome::Succeeded { "" } else { "exit 1" }.to_owned();
        let evidence = Evidence::Finished {
            outcome,
            reason,
            step: Some((1, "work".into())),
            usage: Usage::default(),
            empty: true,
        };
        self.turn(vec![Event::Ended { run: run.run, attempt: run.attempt, evidence }]);
    }

    pub fn ok(&mut self, name: &str) {
        self.end(name, Outcome::Succeeded);
    }

    pub fn lose(&mut self, name: &str) {
        let run = self.run(name).clone();
        let evidence = Evidence::Lost { touched: true, rebooted: false, why: None };
        self.turn(vec![Event::Ended { run: run.run, attempt: run.attempt, evidence }]);
    }

    pub fn vote(&mut self, person: &str, name: &str, verdict: Verdict) -> Reply {
        let run = self.run(name).run.clone();
        let request = self.world.request_of(&run).map(|request| request.id);
        let person = (person != "root").then(|| person.parse().unwrap());
        let reason = if verdict == Verdict::Reject { "not on a Monday" } else { "" }.to_owned();
        let via = "mail".into();
        self.turn(vec![Event::Voted(Ballot { run, request, person, verdict, reason, via, signed: None, coded: false })])
            .remove(0)
    }

    pub fn approve(&mut self, person: &str, name: &str) -> Reply {
        self.vote(person, name, Verdict::Approve)
    }

    pub fn start(&mut self, job: &str) -> Reply {
        let job = format!("app/{job}").parse().unwrap();
        let request = RunRequest { job, git_ref: None, params: BTreeMap::new(), by: "anna".into() };
        self.turn(vec![Event::RunRequested(request)]).remove(0)
    }

    /// Letters of a kind, `(address, number of them)`.
    pub fn mails(&self, kind: impl Fn(&LetterKind) -> bool) -> Vec<String> {
        self.letters.values().filter(|letter| kind(&letter.kind)).map(|letter| letter.to.clone()).collect()
    }
}

pub fn app() -> PipelineName {
    "app".parse().unwrap()
}

fn line(at: Timestamp, fact: Fact) -> FactLine {
    FactLine { v: 1, at, fact }
}
