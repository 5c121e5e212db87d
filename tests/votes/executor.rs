//! The executor as it is shipped, a process of its own over a temporary directory, and a daemon of evil will
//! before it: the test. Orders are true until a test makes them lie.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use shipbell::config::{self, Trust, layout::Layout};
use shipbell::executor::wire::{self, ANSWER_MAX, Answer, QUESTION_MAX, Question, VERSION, Verb};
use shipbell::executor::{Status, Taken};
use shipbell::model::name::RunRef;
use shipbell::model::request::{Signed, Tuple};
use shipbell::model::statement::{Receipt, Receipts, Statement};
use shipbell::model::ticket::StartOrder;
use shipbell::model::time::{Seconds, Timestamp};
use shipbell::sys::host;
use shipbell::totp::{self, Seed};

use super::order;
use super::support::{signer, wait_for};

pub const ANNA: &str = "anna";
pub const BEN: &str = "ben";
/// He has a key and no role.
pub const MAL: &str = "mal";

pub struct Executor {
    root: tempfile::TempDir,
    process: Child,
    pub host: String,
    /// Of the policy.
    votes: usize,
    factor: &'static str,
}

impl Executor {
    /// With a deployment that wants so many signed votes of those who release: anna and ben.
    pub fn new(votes: usize) -> Self {
        Self::wanting(votes, "sshsig")
    }

    /// The same, and each vote comes with a code.
    pub fn of_codes(votes: usize) -> Self {
        Self::wanting(votes, "totp")
    }

    fn wanting(votes: usize, factor: &'static str) -> Self {
        let root = tempfile::tempdir().unwrap();
        // Another user's steps must be able to pass through, and write down that they ran.
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(root.path().join("run")).unwrap();
        fs::create_dir_all(root.path().join("keys")).unwrap();
        fs::write(root.path().join("deployed"), "").unwrap();
        fs::set_permissions(root.path().join("deployed"), fs::Permissions::from_mode(0o666)).unwrap();
        for name in [ANNA, BEN, MAL] {
            signer::key(&root.path().join("keys"), name);
            write_seed(root.path(), name, &seed(name).text(), 0o600);
        }
        write_settings(root.path(), &["anna", "ben", "mal"]);
        write_jobs(root.path(), votes, factor, "");
        let process = started(root.path());
        let executor = Self { root, process, host: host::hostname(), votes, factor };
        executor.wait_until_it_answers();
        executor
    }

    fn wait_until_it_answers(&self) {
        let answers = || self.try_ask(Verb::List).ok();
        wait_for("the executor answers", answers, || self.said());
    }

    /// Killed, as by a power cut, and begun anew.
    pub fn crash(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = started(self.root.path());
        self.wait_until_it_answers();
    }

    /// The file of a person's seed.
    pub fn seed(&self, who: &str, text: &str, mode: u32) {
        write_seed(self.root.path(), who, text, mode);
    }

    /// What a person's phone shows, so many steps from now.
    pub fn code(&self, who: &str, steps: i64) -> String {
        let step = totp::step_at(Timestamp::now().as_second()).saturating_add_signed(steps);
        seed(who).code(step).to_string()
    }

    /// A person types it, for what an order says that it is for.
    pub fn types(&self, who: &str, order: &StartOrder, code: &str) -> Taken {
        let statement = Box::new(order.receipts.as_ref().unwrap().statement.clone());
        match self.ask(Verb::Code { statement, person: who.parse().unwrap(), code: code.into() }) {
            Answer::Code { taken } => taken,
            other => panic!("{other:?}"),
        }
    }

    pub fn path(&self, inner: &str) -> PathBuf {
        self.root.path().join(inner)
    }

    pub fn said(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn keys(&self) -> PathBuf {
        self.path("keys")
    }

    pub fn key(&self, who: &str) -> PathBuf {
        self.path("keys").join(who)
    }

    /// shipbell.toml as root writes it, without telling anybody: `NAME` releases, `NAME: none` does not.
    pub fn settings(&self, people: &[&str]) {
        write_settings(self.root.path(), people);
    }

    /// The job file, with this among the job's keys.
    pub fn job_file(&self, more: &str) {
        write_jobs(self.root.path(), self.votes, self.factor, more);
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    fn try_connect(&self) -> std::io::Result<UnixStream> {
        let stream = UnixStream::connect(self.path("run/shipbell-executor.sock"))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        Ok(stream)
    }

    pub fn connect(&self) -> UnixStream {
        self.try_connect().unwrap_or_else(|error| panic!("{error}\n{}", self.said()))
    }

    pub fn try_ask(&self, verb: Verb) -> std::io::Result<Answer> {
        let mut stream = self.try_connect()?;
        wire::write(&mut stream, &Question { v: VERSION, verb }, QUESTION_MAX)?;
        wire::read(&mut stream, ANSWER_MAX)?.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
    }

    pub fn ask(&self, verb: Verb) -> Answer {
        self.try_ask(verb).unwrap_or_else(|error| panic!("{error}\n{}", self.said()))
    }

    pub fn start(&self, order: &StartOrder) -> Answer {
        self.ask(Verb::Start { order: Box::new(order.clone()) })
    }

    /// A true one, signed by as many as the policy wants. The executor has read the files that it is of.
    pub fn order(&self, number: u64) -> StartOrder {
        assert_eq!(self.ask(Verb::Reload), Answer::Done);
        let layout = Layout::new(Some(self.root.path()));
        let trust = Trust { owners: vec![0, host::effective_uid()] };
        let loaded = config::load(&layout, &trust, &config::last_good::read(&layout.last_good()));
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems.iter().map(|p| &p.text).collect::<Vec<_>>());
        let run = RunRef { job: "app/production".parse().unwrap(), number };
        let job = loaded.catalog.job(&run.job).unwrap().clone();
        let policy = job.definition.environment.clone().unwrap();
        let mut order = order::plain(run.clone(), job.hash.clone());
        order.params = [("TENANT".to_owned(), "good".to_owned())].into();
        let asked_at = Seconds(60).before(Timestamp::now());
        let statement = Statement {
            v: 1,
            request: number,
            run,
            git_ref: None,
            tuple: Tuple {
                v: 1,
                repository: None,
                commit: None,
                definition: job.hash,
                params: order.params.clone(),
                upstream: vec![],
                takes_back: vec![],
                environment: policy.name.clone(),
                policy: policy.policy_hash(),
                after: None,
            },
            asked_at,
            expires_at: Seconds::days(3).after(asked_at),
        };
        self.sign_as(&mut order, statement, &[ANNA, BEN][..self.votes]);
        order
    }

    pub fn signed(&self, who: &str, statement: &Statement) -> Receipt {
        let public = fs::read_to_string(self.key(who).with_extension("pub")).unwrap();
        let signature = signer::sign(&self.key(who), &statement.text(&self.host));
        let signed = Some(Signed { key: public.trim().to_owned(), signature });
        Receipt { person: who.parse().unwrap(), at: statement.asked_at, signed }
    }

    /// Names of voters, and nothing that proves them.
    pub fn name_as(&self, order: &mut StartOrder, who: &[&str]) {
        let receipts = order.receipts.as_mut().unwrap();
        let at = receipts.statement.asked_at;
        receipts.votes = who.iter().map(|who| Receipt { person: who.parse().unwrap(), at, signed: None }).collect();
    }

    pub fn sign_as(&self, order: &mut StartOrder, statement: Statement, who: &[&str]) {
        let votes = who.iter().map(|who| self.signed(who, &statement)).collect();
        order.receipts = Some(Box::new(Receipts { statement, votes }));
    }

    /// How often the deployment's step ran.
    pub fn deployed(&self) -> usize {
        fs::read_to_string(self.path("deployed")).unwrap().lines().count()
    }

    pub fn wait_for(&self, times: usize) {
        let seen = || (self.deployed() >= times).then_some(());
        wait_for("the deployment", seen, || self.said());
        assert_eq!(self.deployed(), times);
    }

    pub fn wait_for_end(&self, run: &RunRef, attempt: u32) {
        let over = || match self.ask(Verb::Status { run: run.clone(), attempt }) {
            Answer::Status { status: Status::Over(_) } => Some(()),
            _ => None,
        };
        wait_for("its end", over, || self.said());
    }

    pub fn has_runs(&self) -> bool {
        fs::read_dir(self.path("var/lib/shipbell/runs")).is_ok_and(|mut entries| entries.next().is_some())
    }
}

fn started(root: &Path) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(root.join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_shipbell"));
    command.arg("--root").arg(root).arg("executor").stderr(log).spawn().unwrap()
}

/// Each person has one of their own.
pub fn seed(who: &str) -> Seed {
    let first = who.bytes().next().unwrap();
    Seed::new([first; totp::SEED_BYTES])
}

fn write_seed(root: &Path, who: &str, text: &str, mode: u32) {
    let path = root.join("etc/shipbell/secrets").join(format!("totp-{who}"));
    write(&path, text);
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

fn write_settings(root: &Path, people: &[&str]) {
    let mut text = String::new();
    for person in people {
        let (name, role) = person.split_once(": ").unwrap_or((person, if *person == MAL { "none" } else { "release" }));
        let key = fs::read_to_string(root.join("keys").join(name).with_extension("pub")).unwrap();
        let key = key.trim();
        text += &format!("[person.{name}]\nemail = \"{name}@example.org\"\nroles = \"{role}\"\nssh-key = \"{key}\"\n");
        text += &format!("totp = \"totp-{name}\"\n");
    }
    write(&root.join("etc/shipbell/shipbell.toml"), &text);
}

fn write_jobs(root: &Path, votes: usize, factor: &str, more: &str) {
    let marker = root.join("deployed");
    let text = format!(
        "[job.production]\nmanual = true\nenvironment = \"production\"\nparams = {{ TENANT = \"x\" }}\n{more}\n\
         steps = \"echo $TENANT >> {}\"\n[environment.production]\n\
         approval = {{ by = \"@release\", votes = {votes}, factor = \"{factor}\" }}\n",
        marker.display()
    );
    write(&root.join("etc/shipbell/jobs.d/app.toml"), &text);
}

impl Drop for Executor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- executor\n{}", self.said());
        }
    }
}
