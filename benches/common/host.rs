//! A daemon over many job files, timed from outside: by its own log and by what its steps write.

#![allow(dead_code, reason = "each bench uses its own part")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use shipbell::config::{self, Layout, Trust};
use shipbell::model::event::{Change, Event};
use shipbell::model::time::Timestamp;
use shipbell::pipeline;
use shipbell::store::Store;

use super::common::wall;

pub const BINARY: &str = env!("CARGO_BIN_EXE_shipbell");

pub struct Host {
    root: tempfile::TempDir,
    pub layout: Layout,
    daemon: Option<Child>,
}

impl Host {
    /// `count` pipelines `p0`, `p1`, … with one job `j` each.
    pub fn new(count: usize, job: impl Fn(usize, &Path) -> String) -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let layout = Layout::new(Some(root.path()));
        layout.create().expect("its directories");
        let jobs = root.path().join("etc/shipbell/jobs.d");
        for dir in [&jobs, &root.path().join("out")] {
            fs::create_dir_all(dir).expect("a directory");
        }
        for number in 0..count {
            let text = format!("[job.j]\n{}\n", job(number, &root.path().join("out")));
            fs::write(jobs.join(format!("p{number}.toml")), text).expect("a job file");
        }
        let host = Self { root, layout, daemon: None };
        host.change_settings("slots = 64");
        host
    }

    /// shipbell.toml with these limits.
    pub fn change_settings(&self, limits: &str) {
        let text = format!("listen = \"127.0.0.1:0\"\n[limits]\n{limits}\n");
        fs::write(self.path("etc/shipbell/shipbell.toml"), text).expect("shipbell.toml");
    }

    pub fn path(&self, inner: &str) -> PathBuf {
        self.root.path().join(inner)
    }

    /// Every job, which says `every`, is first due when `due` says; told to the database as if it had
    /// been loaded one period before.
    pub fn make_due(&self, period: Duration, due: impl Fn(usize) -> i128) {
        let mut store = Store::open(&self.layout.database()).expect("a database");
        let mut world = store.load().expect("an empty World");
        let last_good = config::last_good::read(&self.layout.last_good());
        let loaded = config::load(&self.layout, &Trust::root_and_self(), &last_good);
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems.first().map(|problem| &problem.text));
        let events = [Event::Reloaded { catalog: Arc::new(loaded.catalog) }, Event::Booted { boot_id: "b".into() }];
        let now = shipbell::clock::now();
        let changes: Vec<Change> = pipeline::turn(&mut world, &events, now).changes;
        let moved = |change| match change {
            Change::CursorPut(mut cursor) => {
                let number = cursor.job.pipeline.as_str()[1..].parse().expect("pN");
                let at = due(number) - i128::try_from(period.as_nanos()).expect("it fits");
                let at = Timestamp::from_nanosecond(at - at % 1_000_000).expect("an instant");
                (cursor.since, cursor.decided) = (at, at);
                Change::CursorPut(cursor)
            }
            other => other,
        };
        store.commit(&changes.into_iter().map(moved).collect::<Vec<_>>()).expect("the cursors");
    }

    /// Starts the daemon; milliseconds until it says that it is ready.
    pub fn start(&mut self) -> f64 {
        let log = fs::File::create(self.path("log")).expect("a log");
        let begin = wall();
        let mut command = Command::new(BINARY);
        command.arg("--root").arg(self.root.path()).arg("daemon").stderr(log).stdin(Stdio::null());
        self.daemon = Some(command.env("NO_COLOR", "1").spawn().expect("the daemon"));
        let ready = self.wait_for("ready", |log| said(log, "ready: "));
        super::common::millis(begin, ready)
    }

    pub fn wait_for<T>(&self, what: &str, seen: impl Fn(&str) -> Option<T>) -> T {
        let until = Instant::now() + Duration::from_secs(900);
        loop {
            let log = self.log();
            if let Some(seen) = seen(&log) {
                return seen;
            }
            // One that has ended and was not waited for is a zombie.
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
            let ended = stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'));
            assert!(!ended && Instant::now() < until, "not {what}: {}", log.get(..2000).unwrap_or(&log));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("it runs").id()
    }

    pub fn run(&self, arguments: &[&str]) {
        let status =
            Command::new(BINARY).arg("--root").arg(self.root.path()).args(arguments).stdout(Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()), "shipbell {arguments:?}");
    }

    /// TERM and the end; a run that still goes on is waited for by nobody.
    pub fn stop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = Command::new("kill").arg(daemon.id().to_string()).status();
            let _ = daemon.wait();
        }
    }

    /// What steps wrote, by the number of their pipeline.
    pub fn stamps(&self) -> BTreeMap<usize, Vec<i128>> {
        stamps(&self.path("out"))
    }
}

/// Files `pN` of a directory: a time in each line.
pub fn stamps(dir: &Path) -> BTreeMap<usize, Vec<i128>> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let one = |entry: fs::DirEntry| {
        let number = entry.file_name().to_str()?.strip_prefix('p')?.parse().ok()?;
        let text = fs::read_to_string(entry.path()).ok()?;
        Some((number, text.lines().filter_map(|line| line.parse().ok()).collect()))
    };
    entries.filter_map(one).collect()
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
    }
}

/// When the log first said this.
pub fn said(log: &str, text: &str) -> Option<i128> {
    log.lines().find(|line| line.contains(text)).and_then(time_of)
}

/// The time at the beginning of a line.
pub fn time_of(line: &str) -> Option<i128> {
    let at: Timestamp = line.split_whitespace().next()?.parse().ok()?;
    Some(at.as_nanosecond())
}
