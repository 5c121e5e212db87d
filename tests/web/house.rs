//! The real pages on a real socket, above the real core and the real database; only git, the runs' processes
//! and the clock are played. Whoever pushes a commit sees it go through every job at once.

#![allow(dead_code, reason = "each test file uses its own part of the house")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use shipbell::config::{self, Trust, layout::Layout};
use shipbell::credentials::Credentials;
use shipbell::http::{App, Site};
use shipbell::inbox::{Inbox, Message, Messages, inbox};
use shipbell::model::commit::{CommitId, CommitInfo, Comparison, Question, RefName, Relation};
use shipbell::model::event::{Action, Change, Event, HeadSeen, PollAnswer, Refusal, Reply};
use shipbell::model::name::{PipelineName, RunRef};
use shipbell::model::request::Request;
use shipbell::model::run::{Outcome, StepEnd, Usage};
use shipbell::model::ticket::{Evidence, Fact, FactLine, StartOrder};
use shipbell::model::time::Timestamp;
use shipbell::pipeline::{self, world::World};
use shipbell::report::facts::{ReadLog, Sources};
use shipbell::report::token::Keys;
use shipbell::source::{Mirrors, Remotes, Sites, Tools};
use shipbell::store::{Reader, Store};
use shipbell::sys::host;
use shipbell::web::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

pub const JOBS: &str = r#"
description = "OpenIM server: every commit tested, production on approval"
[repo]
url = "https://git.example.org/open-im.git"
branches = "main"
[init]
[job.test]
steps = ["make test"]
[job.image]
needs = "test"
init = false
steps = ["make push"]
[job.staging]
needs = "image"
init = false
environment = "staging"
steps = ["make deploy"]
[job.production]
needs = "staging"
init = false
environment = "production"
steps = ["make deploy"]
[environment.staging]
approval = "none"
url = "https://staging.example.org"
[environment.production]
approval = { by = "@release" }
window = "Mon-Thu 09:00-17:00"
timezone = "Europe/Berlin"
"#;

pub const PEOPLE: &str = r#"
timezone = "Europe/Berlin"
[mail]
from = "Shipbell <shipbell@example.org>"
to = ["ops@example.org"]
[person.anna]
email = "anna@example.org"
login = "anna"
roles = ["release"]
[person.ben]
email = "ben@example.org"
roles = ["release"]
"#;

/// What is played, and what was seen.
pub struct Stage {
    pub now: Timestamp,
    pub started: Vec<RunRef>,
    pub logs: BTreeMap<RunRef, Vec<u8>>,
    /// When which byte of a log came, of every run.
    pub times: Vec<(u64, i64)>,
    /// Jobs whose runs print this, and end so.
    pub plays: BTreeMap<String, (Vec<u8>, Outcome)>,
    /// Runs of this job do not end by themselves.
    pub endless: Option<String>,
    pub commits: Vec<CommitInfo>,
    /// The disk is full: nothing can be written.
    pub full: bool,
}

pub struct House {
    pub dir: tempfile::TempDir,
    pub stage: Arc<Mutex<Stage>>,
    pub app: App,
    /// Where the pages are served.
    pub address: String,
    pub layout: Layout,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &str| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)).is_some();
        self.head.lines().find(|line| named(line)).and_then(|line| line.split_once(": ")).map(|(_, value)| value)
    }

    /// The cookie it sets, as a request sends it.
    pub fn cookie(&self) -> Option<&str> {
        self.header("set-cookie").and_then(|line| line.split(';').next())
    }

    /// The value of a hidden field.
    pub fn field(&self, name: &str) -> String {
        let mark = format!("name=\"{name}\" value=\"");
        let rest = self.body.split(&mark).nth(1).unwrap_or_else(|| panic!("no field {name} in {}", self.body));
        rest.split('"').next().unwrap().to_owned()
    }
}

impl House {
    pub async fn new(jobs: &str, now: &str) -> Self {
        Self::with_people(PEOPLE, jobs, now).await
    }

    /// The same, with this in shipbell.toml.
    pub async fn with_people(people: &str, jobs: &str, now: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(Some(dir.path()));
        layout.create().unwrap();
        let write = |path: PathBuf, text: String| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        };
        write(layout.shipbell_toml(), format!("public-url = \"http://{address}\"\nlisten = \"{address}\"\n{people}"));
        write(layout.config_dir.join("jobs.d/open-im.toml"), jobs.to_owned());
        let owners = Trust { owners: vec![0, host::effective_uid()] };
        let loaded = config::load(&layout, &owners, &config::last_good::read(&layout.last_good()));
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems.iter().map(|p| &p.text).collect::<Vec<_>>());
        let stage = Stage {
            now: now.parse().unwrap(),
            started: Vec::new(),
            logs: BTreeMap::new(),
            times: Vec::new(),
            plays: BTreeMap::new(),
            endless: None,
            commits: Vec::new(),
            full: false,
        };
        let stage = Arc::new(Mutex::new(stage));
        let store = Store::open(&layout.database()).unwrap();
        let reader = store.reader().unwrap();
        let (inbox, messages) = inbox();
        let world = store.load().unwrap();
        tokio::spawn(Loop { world, store, stage: stage.clone(), messages }.run());
        let logs = stage.clone();
        let read_log: ReadLog = Arc::new(move |run, _, from, max| {
            let stage = logs.lock().unwrap();
            let log = stage.logs.get(run).map(Vec::as_slice).unwrap_or_default();
            let from = usize::try_from(from).unwrap_or(usize::MAX).min(log.len());
            let bytes = log[from..(from.saturating_add(max)).min(log.len())].to_vec();
            let next = (from + bytes.len()) as u64;
            Ok((bytes, next))
        });
        let keys = Arc::new(Keys::load_or_create(&layout.credentials(), &layout.state_dir).unwrap());
        let site = Site::new(&format!("http://{address}"), &address, "ci1", now.parse().unwrap());
        let mirrors = Mirrors::new(&layout.mirrors(), b"key").unwrap();
        let credentials = Credentials::new(&layout.credentials());
        let sites = Sites::new(Tools { mirrors, remotes: Remotes::new(Client::new(), credentials.clone()) });
        let timed = stage.clone();
        let log_times: shipbell::http::LogTimes = Arc::new(move |_, _| Ok(timed.lock().unwrap().times.clone()));
        // Codes are judged by the real clock: tests/votes/page.rs has a whole Shipbell for them.
        let take_code: shipbell::http::TakeCode = Arc::new(|_, _, _| Err(std::io::Error::other("no executor")));
        let (inbox, site) = (inbox.clone(), Arc::new(site));
        let app = App { inbox: inbox.clone(), reader, read_log, log_times, keys, take_code, credentials, site, sites };
        tokio::spawn(shipbell::http::serve_pages(listener, app.clone(), std::future::pending()));
        inbox.ask(Event::Reloaded { catalog: Arc::new(loaded.catalog) }).await;
        Self { dir, stage, app, address, layout }
    }

    pub fn inbox(&self) -> &Inbox {
        &self.app.inbox
    }

    pub fn reader(&self) -> &Reader {
        &self.app.reader
    }

    /// The clock stands there from now on; the core looks.
    pub async fn at(&self, time: &str) {
        self.stage.lock().unwrap().now = time.parse().unwrap();
        self.inbox().ask(Event::Tick).await;
    }

    /// A new head of main.
    pub async fn push(&self, commit: CommitInfo) {
        self.stage.lock().unwrap().commits.push(commit.clone());
        let main = RefName::branch("main").unwrap();
        let head = HeadSeen {
            git_ref: main.clone(),
            commit,
            between: Vec::new(),
            gone: Vec::new(),
            refused: BTreeMap::default(),
        };
        let poll = PollAnswer { head: Some(main), heads: vec![head], signers: None, standings: Vec::new() };
        self.inbox().ask(Event::Polled { pipeline: PipelineName::new("open-im").unwrap(), poll }).await;
    }

    pub fn request(&self, id: u64) -> Request {
        self.reader().request(id).unwrap().unwrap_or_else(|| panic!("no request {id}"))
    }

    /// The link of a person, without the host.
    pub fn link(&self, request: u64, person: &str) -> String {
        let request = self.request(request);
        let slot = request.slots.iter().find(|slot| slot.person.as_str() == person).expect("they are asked");
        format!("/a/{}", self.app.keys.token(&request, slot))
    }

    pub async fn sources(&self) -> Sources {
        let catalog = self.inbox().look(|world, _| world.scratch.catalog.clone()).await.unwrap();
        Sources {
            reader: self.reader().clone(),
            keys: self.app.keys.clone(),
            catalog,
            host: "ci1".into(),
            read_log: self.app.read_log.clone(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            text.push_str(&format!("Host: {}\r\n", self.address));
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if method == "POST" {
            let kind = "application/x-www-form-urlencoded";
            text.push_str(&format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len()));
        }
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(format!("{text}\r\n{body}").as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        let all = String::from_utf8(bytes).expect("pages are UTF-8");
        let (head, body) = all.split_once("\r\n\r\n").unwrap_or((&all, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }
}

/// The daemon's loop, in small.
struct Loop {
    world: World,
    store: Store,
    stage: Arc<Mutex<Stage>>,
    messages: Messages,
}

impl Loop {
    async fn run(mut self) {
        while let Some(message) = self.messages.next().await {
            match message {
                Message::Event(event, sender) => {
                    let reply = self.turn(&[*event]).remove(0);
                    if let Some(sender) = sender {
                        let _ = sender.send(reply);
                    }
                }
                Message::Events(events) => drop(self.turn(&events)),
                Message::Look(look) => look(&self.world, self.stage.lock().unwrap().now),
                Message::Reload(_) | Message::Poll(_) | Message::Chore(_) | Message::Prune { .. } => {}
                Message::Damaged(_) | Message::Stop => break,
            }
        }
    }

    fn turn(&mut self, events: &[Event]) -> Vec<Reply> {
        let (now, full) = {
            let stage = self.stage.lock().unwrap();
            (stage.now, stage.full)
        };
        let mut turn = pipeline::turn(&mut self.world, events, now);
        if full && turn.changes.iter().any(|change| !matches!(change, Change::Journal(_))) {
            let catalog = self.world.scratch.catalog.clone();
            self.world = self.store.load().unwrap();
            self.world.scratch.catalog = catalog;
            let no = || Reply::Refused(Refusal::NotRecorded("the database's disk is full".into()));
            return events.iter().map(|_| no()).collect();
        }
        self.store.commit(&turn.changes).unwrap();
        let mut next = Vec::new();
        for action in std::mem::take(&mut turn.actions) {
            match action {
                Action::Ask(question) => {
                    let answer = Ok(Arc::new(self.compare(&question)));
                    next.push(Event::Answered { question, answer });
                }
                Action::Start(order) => next.extend(self.play(&order)),
                Action::Send { .. }
                | Action::FindAuthors { .. }
                | Action::Withdraw { .. }
                | Action::Remove { .. }
                | Action::Stop { .. }
                | Action::Examine { .. } => {}
            }
        }
        if !next.is_empty() {
            self.turn(&next);
        }
        turn.replies
    }

    /// Every commit is a child of the one that was pushed before it.
    fn compare(&self, question: &Question) -> Comparison {
        let stage = self.stage.lock().unwrap();
        let place = |id: &CommitId| stage.commits.iter().position(|commit| commit.id == *id).expect("a pushed commit");
        let (base, head) = (place(&question.base), place(&question.head));
        let adds: Vec<CommitInfo> = stage.commits.iter().take(head + 1).skip(base + 1).rev().cloned().collect();
        let back: Vec<CommitInfo> = stage.commits.iter().take(base + 1).skip(head + 1).rev().cloned().collect();
        Comparison {
            relation: match base.cmp(&head) {
                std::cmp::Ordering::Less => Relation::Newer,
                std::cmp::Ordering::Equal => Relation::Same,
                std::cmp::Ordering::Greater => Relation::Older,
            },
            adds_total: adds.len() as u64,
            adds,
            takes_back_total: back.len() as u64,
            takes_back: back,
            files: Some(vec!["src/main.c".into()]),
            insertions: 612,
            deletions: 380,
        }
    }

    /// What the executor and a supervisor would tell of a run.
    fn play(&mut self, order: &StartOrder) -> Vec<Event> {
        let mut stage = self.stage.lock().unwrap();
        let now = stage.now;
        stage.started.push(order.run.clone());
        let job = order.run.job.job.to_string();
        let quiet = || (format!("{job} works\nand is done\n").into_bytes(), Outcome::Succeeded);
        let (log, outcome) = stage.plays.get(&job).cloned().unwrap_or_else(quiet);
        let end = log.len() as u64;
        stage.logs.insert(order.run.clone(), log);
        let line = |fact: Fact| FactLine { v: 1, at: now, fact };
        let mut lines = vec![
            line(Fact::Started { boot_id: "b".into(), pid: 1 }),
            line(Fact::Step { index: 1, name: format!("make {job}"), always: false, log: 0 }),
        ];
        let progress = |lines| Event::Progress { run: order.run.clone(), attempt: order.attempt, lines };
        if stage.endless.as_deref() == Some(job.as_str()) {
            return vec![progress(lines)];
        }
        let code = if outcome == Outcome::Succeeded { 0 } else { 2 };
        lines.push(line(Fact::StepEnded { index: 1, end: StepEnd::Exit(code), log: end }));
        if job == "image" {
            lines.push(line(Fact::Value { key: "image".into(), value: "registry.example.org/im@sha256:9c1f".into() }));
        }
        let evidence = Evidence::Finished {
            outcome,
            reason: if code == 0 { String::new() } else { format!("exit 2 in step 1 \"make {job}\"") },
            step: Some((1, format!("make {job}"))),
            usage: Usage { cpu_ms: 9_000, memory_peak: 50 << 20, log_bytes: end, ..Usage::default() },
            empty: true,
        };
        vec![progress(lines), Event::Ended { run: order.run.clone(), attempt: order.attempt, evidence }]
    }
}
