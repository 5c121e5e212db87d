//! A place for runs: an executor over a temp directory, and what is asked of a run that ended.

#[path = "order.rs"]
pub mod order;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shipbell::executor::{Dirs, Executor, Status};
use shipbell::model::job::*;
use shipbell::model::name::RunRef;
use shipbell::model::run::{Artifact, Outcome, Upstream, Usage};
use shipbell::model::ticket::{Evidence, Fact, StartOrder, Ticket};
use shipbell::model::time::Seconds;

pub const BINARY: &str = env!("CARGO_BIN_EXE_shipbell");
const PATIENCE: Duration = Duration::from_secs(60);

/// The control group that a supervisor wrote down in its lock.
pub fn group_of(dir: &Path) -> Option<PathBuf> {
    let marks = std::fs::read_to_string(dir.join("lock")).unwrap();
    marks.lines().find(|line| line.starts_with('/')).map(PathBuf::from)
}

/// Takes that word away.
pub fn forget_group(dir: &Path) {
    let marks = std::fs::read_to_string(dir.join("lock")).unwrap();
    let rest: String = marks.lines().filter(|line| !line.starts_with('/')).map(|line| format!("{line}\n")).collect();
    std::fs::write(dir.join("lock"), rest).unwrap();
}

/// The job `shop/test` with these steps; nothing else is set.
pub fn job(steps: &[&str]) -> Definition {
    let step = |(n, run): (usize, &&str)| StepDef {
        name: format!("step-{}", n + 1),
        run: (*run).into(),
        timeout: None,
        always: false,
        env: BTreeMap::new(),
        dir: None,
    };
    Definition {
        v: DEFINITION_FORMAT,
        key: "shop/test".parse().unwrap(),
        repo: None,
        refs: RefFilter { branches: None, tags: vec![] },
        pulls: false,
        schedule: vec![],
        every: None,
        catch_up: CatchUp::Once,
        catch_up_window: Seconds::hours(24),
        overlap: Overlap::Queue,
        unchanged: Unchanged::Run,
        needs: vec![],
        manual: true,
        params: BTreeMap::new(),
        repo_paths: vec![],
        paths: vec![],
        pools: vec![],
        init: None,
        steps: steps.iter().enumerate().map(step).collect(),
        dir: None,
        shell: ["bash", "-euo", "pipefail", "-c"].map(String::from).into(),
        env: BTreeMap::new(),
        user: None,
        timeout: Seconds(120),
        grace: Seconds(1),
        retry: Retry { attempts: 1, delay: Seconds(0) },
        artifacts: vec![],
        environment: None,
        verify: None,
        on_interrupted: OnInterrupted::Report,
        log_limit: 64 << 20,
        sandbox: Sandbox::Standard,
        secrets: vec![],
        on_leak: Default::default(),
        workspace: Workspace::Fresh,
        limits: Limits::default(),
    }
}

pub fn step(run: &str) -> Definition {
    job(&[run])
}

pub struct Place {
    temp: tempfile::TempDir,
    pub executor: Executor,
    pub boot_id: String,
    next: AtomicU64,
}

impl Place {
    pub fn new() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let temp = tempfile::tempdir().unwrap();
        // Another user's steps must be able to pass through.
        std::fs::set_permissions(temp.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let executor = executor(temp.path());
        Self { temp, executor, boot_id: shipbell::sys::host::boot_id().unwrap(), next: AtomicU64::new(1) }
    }

    pub fn second_executor(&self) -> Executor {
        executor(self.temp.path())
    }

    /// An order for the next number.
    pub fn order(&self, job: &Definition) -> StartOrder {
        self.order_number(job, self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub fn order_number(&self, job: &Definition, number: u64) -> StartOrder {
        self.executor.learn([(job.hash(), Arc::new(job.clone()))]);
        order::plain(RunRef { job: job.key.clone(), number }, job.hash())
    }

    pub fn start(&self, job: &Definition) -> RunRef {
        let order = self.order(job);
        self.executor.start(&order).unwrap();
        order.run
    }

    /// The directory of an attempt that was about to be launched.
    pub fn prepare(&self, order: &StartOrder) -> PathBuf {
        let dir = self.executor.dir(&order.run, order.attempt);
        std::fs::create_dir_all(&dir).unwrap();
        let definition = self.executor.definition(&order.definition).unwrap().as_ref().clone();
        let home = self.temp.path().join("homes/x");
        let ticket =
            Ticket { v: 1, order: order.clone(), definition, home, init_config: None, unit: None, runs_as: None };
        std::fs::write(dir.join("ticket.json"), serde_json::to_vec(&ticket).unwrap()).unwrap();
        dir
    }

    /// Carries a job out whose directory is a file system of its own, of two megabytes. `before` and `beside`
    /// are texts for sh in that directory; what they put into `$2` is found beside log and events in what
    /// is returned.
    pub fn on_a_small_disk(&self, job: &Definition, before: &str, beside: &str) -> tempfile::TempDir {
        let dir = self.prepare(&self.order(job));
        let saved = tempfile::tempdir().unwrap();
        let script = format!(
            "set -e; cp ticket.json \"$2/ticket\"; mount -t tmpfs -o size=2m tmpfs \"$1\"; cd \"$1\"
            cp \"$2/ticket\" ticket.json; {{ :; {before}
            }}; {{ :; {beside}
            }} & \"$3\" supervise \"$1\"; wait; cp events.jsonl log \"$2\""
        );
        let status = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"])
            .args([dir.as_os_str(), saved.path().as_os_str(), BINARY.as_ref()])
            .current_dir(&dir)
            .status();
        assert!(status.is_ok_and(|status| status.success()), "this test needs unshare(1) and user namespaces");
        saved
    }

    pub fn run(&self, job: &Definition) -> End {
        let run = self.start(job);
        self.wait(&run)
    }

    pub fn wait(&self, run: &RunRef) -> End {
        let begin = Instant::now();
        let evidence = loop {
            match self.executor.status(run, 1, &self.boot_id).unwrap() {
                Status::Over(evidence) => break evidence,
                Status::Running => assert!(begin.elapsed() < PATIENCE, "{run} does not end: {}", self.log(run)),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let (mut facts, mut from) = (Vec::new(), 0);
        loop {
            let (part, next) = self.executor.facts(run, 1, from).unwrap();
            if next == from {
                break;
            }
            from = next;
            facts.extend(part.into_iter().map(|line| line.fact));
        }
        let dir = self.executor.dir(run, 1);
        End { run: run.clone(), evidence, facts, log: self.log(run), dir }
    }

    pub fn log(&self, run: &RunRef) -> String {
        let (mut log, mut from) = (Vec::new(), 0);
        loop {
            let (part, next) = self.executor.read_log(run, 1, from, 100_000).unwrap();
            if part.is_empty() {
                return String::from_utf8_lossy(&log).into_owned();
            }
            log.extend(part);
            from = next;
        }
    }

    /// Until a step has printed this line.
    pub fn wait_for(&self, run: &RunRef, line: &str) {
        until(line, || self.log(run).lines().any(|found| found == line));
    }

    pub fn supervisor(&self, run: &RunRef) -> u32 {
        let text = std::fs::read_to_string(self.executor.dir(run, 1).join("lock")).unwrap();
        text.lines().next().unwrap().parse().unwrap()
    }

    /// The most resident memory of the supervisor that was seen, in KiB.
    pub fn peak_memory_until_over(&self, run: &RunRef) -> u64 {
        let mut peak = 0;
        until("its end", || {
            let pid = std::fs::read_to_string(self.executor.dir(run, 1).join("lock")).unwrap_or_default();
            let status = std::fs::read_to_string(format!("/proc/{}/status", pid.lines().next().unwrap_or_default()))
                .unwrap_or_default();
            let hwm = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
            peak = peak.max(hwm.and_then(|text| text.trim().parse().ok()).unwrap_or(0));
            self.executor.status(run, 1, &self.boot_id).unwrap() != Status::Running
        });
        peak
    }
}

fn executor(temp: &Path) -> Executor {
    let dir = |name: &str| temp.join(name);
    let (runs, own, homes, secrets) = (dir("runs"), dir("executor"), dir("homes"), dir("secrets"));
    Executor::new(Dirs { runs, own, homes, secrets, binary: BINARY.into() }).unwrap()
}

/// What came of a run.
#[derive(Debug)]
pub struct End {
    pub run: RunRef,
    pub evidence: Evidence,
    pub facts: Vec<Fact>,
    pub log: String,
    pub dir: PathBuf,
}

pub fn outcome(end: &End) -> (Outcome, String) {
    let (outcome, reason, _) = end.finished();
    (outcome, reason)
}

impl End {
    pub fn finished(&self) -> (Outcome, String, Option<(u32, String)>) {
        match &self.evidence {
            Evidence::Finished { outcome, reason, step, .. } => (*outcome, reason.clone(), step.clone()),
            other => panic!("{other:?}: {}", self.log),
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self.evidence, Evidence::Finished { empty: true, .. }) && self.facts.last() == Some(&Fact::Empty)
    }

    pub fn usage(&self) -> Usage {
        match &self.evidence {
            Evidence::Finished { usage, .. } => *usage,
            other => panic!("{other:?}"),
        }
    }

    pub fn values(&self) -> Vec<(&str, &str)> {
        let mut values = Vec::new();
        for fact in &self.facts {
            if let Fact::Value { key, value } = fact {
                values.push((key.as_str(), value.as_str()));
            }
        }
        values
    }

    fn left(&self) -> Vec<Artifact> {
        let artifact = |fact: &Fact| if let Fact::Artifact { artifact } = fact { Some(artifact.clone()) } else { None };
        self.facts.iter().filter_map(artifact).collect()
    }

    /// Where an artifact is kept.
    pub fn artifact(&self, path: &str) -> PathBuf {
        let artifact = self.left().into_iter().find(|artifact| artifact.path == path).unwrap();
        self.dir.join("artifacts").join(artifact.sha256.as_str())
    }

    pub fn artifacts(&self) -> Vec<String> {
        self.left().into_iter().map(|artifact| artifact.path).collect()
    }

    /// Where a step stands in the log.
    pub fn span(&self, wanted: u32) -> (u64, u64) {
        let mut span = (0, 0);
        for fact in &self.facts {
            match fact {
                Fact::Step { index, log, .. } if *index == wanted => span.0 = *log,
                Fact::StepEnded { index, log, .. } if *index == wanted => span.1 = *log,
                _ => {}
            }
        }
        span
    }

    pub fn as_upstream(&self) -> Upstream {
        Upstream {
            job: self.run.job.job.clone(),
            run: self.run.clone(),
            definition: Hash::of(b"x"),
            outputs: self.values().into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            artifacts: self.left(),
        }
    }
}

pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is() {
        assert!(begin.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn begin_to_supervise(dir: &Path) -> Child {
    Command::new(BINARY).arg("supervise").arg(dir).stdin(Stdio::null()).spawn().unwrap()
}

pub fn supervise(dir: &Path) -> ExitStatus {
    begin_to_supervise(dir).wait().unwrap()
}

pub fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().unwrap().success());
}

/// Processes that work in this attempt's directory, or carry its name; zombies do not count.
pub fn alive_in(dir: &Path) -> Vec<u32> {
    let mark = format!("SHIPBELL_WORKSPACE={}", dir.join("work").display());
    let belongs = |pid: u32| {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let there = std::fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir.join("work")));
        let env = std::fs::read(proc.join("environ")).unwrap_or_default();
        there || env.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
    };
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| belongs(*pid)).collect()
}
