//! What the clock costs: from a due time to the launch and to the first command, a crowd that is due at
//! once, and 10,000 jobs at rest; beside floors and peers in the same run (`make bench-clock`). Names of
//! parts may be given: start, crowd, all, rest, files, ledger. Figures and machine: docs/performance.md.

mod common;
#[path = "common/host.rs"]
mod host;
#[path = "clock/peers.rs"]
mod peers;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Times, Usage, head, machine, mib, millis, row, wall};
use host::{Host, said, time_of};
use shipbell::config::{self, Trust};
use shipbell::model::event::{Change, Event};
use shipbell::model::ledger::{DueVerdict, LedgerRow};
use shipbell::model::time::{Seconds, Timestamp};
use shipbell::pipeline;
use shipbell::store::{RunFilter, Store};

const HOUR: Duration = Duration::from_secs(3600);
const MANY: usize = 10_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let [role, rest @ ..] = arguments.as_slice()
        && peers::play(role, rest)
    {
        return;
    }
    if cfg!(debug_assertions) {
        println!("this is not a release build: its figures mean nothing");
    }
    machine();
    let parts: [(&str, fn()); 6] =
        [("start", start), ("crowd", crowd), ("all", all), ("rest", rest), ("files", files), ("ledger", ledger)];
    for (name, part) in parts {
        if arguments.is_empty() || arguments.iter().any(|word| word == name) {
            part();
        }
    }
}

/// A job that writes when it began; every peer runs the same words.
fn stamped(number: usize, out: &Path) -> String {
    format!("every = \"1h\"\nsteps = 'date +%s%N >> {}/p{number}'", out.display())
}

/// 1,000 jobs spread over a minute, and in the same minute the floor between them.
fn start() {
    const COUNT: usize = 1_000;
    let gap = 60_000_000;
    let mut host = Host::new(COUNT, stamped);
    let base = wall() + 20_000_000_000;
    let due = |number: usize| base + i128::try_from(number).expect("small") * gap;
    host.make_due(HOUR, due);
    host.start();
    let commits = commits(&host.path("commits.db"));
    assert!(wall() < base, "this machine was too slow: the first job was due before all was ready");
    let floor_dir = host.path("floor");
    fs::create_dir_all(&floor_dir).expect("a directory");
    let bare = peers::bare_loop(&floor_dir, COUNT, |number| due(number) + gap / 2);
    let scheduler = peers::scheduler(&host.path("scheduler"), 30);
    let all = format!("p{}/j#1 starts", COUNT - 1);
    host.wait_for("the last start", |log| said(log, &all));
    std::thread::sleep(Duration::from_secs(5));
    let log = host.log();
    let launches = log.lines().filter(|line| line.contains(" starts, attempt")).filter_map(|line| {
        let name = line.split_whitespace().find_map(|word| word.strip_prefix('p')?.strip_suffix("/j#1"))?;
        Some(millis(due(name.parse().ok()?), time_of(line)?))
    });
    let launches = Times::new(launches.collect());
    let stamps = host.stamps();
    let steps = Times::new(stamps.iter().map(|(number, at)| millis(due(*number), at[0])).collect());
    head("1,000 jobs spread over a minute | measured | to the floor");
    let ratio = |times: &Times, floor: &Times| format!("{:.1} x", times.p50() / floor.p50());
    row(&["bare sleep + posix_spawn: due to spawned, the floor of launches", &bare.spawned.told(), "1 x"]);
    row(&["bare: due to the command's own `date`, the floor of steps", &bare.began.told(), "1 x"]);
    row(&["one commit of this store (4 rows, synchronous=FULL)", &commits.told(), ""]);
    row(&["shipbell: due to launch requested (after its commit)", &launches.told(), &ratio(&launches, &bare.spawned)]);
    row(&["shipbell: due to the first step's `date`", &steps.told(), &ratio(&steps, &bare.began)]);
    // What `sh` and `date` take by themselves is known from the floor.
    let exec = format!("p50 {:.2} ms", steps.p50() - (bare.began.p50() - bare.spawned.p50()));
    row(&["shipbell: due to the exec of the first step's shell (less what the floor takes from there)", &exec, ""]);
    let told = |times: &Times| (times.told(), ratio(times, &bare.began));
    let (times, times_floor) = told(&scheduler);
    row(&["tokio-cron-scheduler alone, a job each second: due to `date`", &times, &times_floor]);
    for (peer, measured) in peers::by_the_minute(&host.path("peers"), 1) {
        row(&[&format!("{peer}, one job on the minute: due to `date`"), &measured, ""]);
    }
}

/// What a turn that starts a run writes.
fn commits(path: &Path) -> Times {
    let mut store = Store::open(path).expect("a database");
    let row = |number: i64| LedgerRow {
        job: "p/j".parse().expect("a name"),
        first: Timestamp::from_second(number).expect("an instant"),
        last: Timestamp::from_second(number).expect("an instant"),
        count: 1,
        verdict: DueVerdict::Skipped("bench".into()),
    };
    let mut number = 0;
    common::timed(300, || {
        number += 4;
        let changes: Vec<Change> = (number..number + 4).map(|number| Change::LedgerPut(row(number))).collect();
        store.commit(&changes).expect("a commit");
    })
}

/// 1,000 jobs due in the same instant.
fn crowd() {
    head(CROWD);
    same_instant(1_000, 20, 1_000);
    same_instant(1_000, 20, 64);
    let temp = tempfile::tempdir().expect("a directory");
    let bare = peers::bare_crowd(temp.path(), 1_000);
    row(&[
        "bare posix_spawn, 16 at a time: the floor",
        "",
        &format!("{:.0} ms", bare.at(0)),
        &format!("{:.0} ms", bare.at(100)),
        "",
        "",
    ]);
    for (peer, measured) in peers::by_the_minute(temp.path(), 1_000) {
        row(&[&format!("{peer}, on the minute"), "", &measured, "", "", ""]);
    }
}

/// 10,000 jobs due in the same instant.
fn all() {
    head(&CROWD.replace("1,000", "10,000"));
    same_instant(MANY, 60, 64);
}

const CROWD: &str =
    "1,000 jobs due in the same second | last launch requested | first `date` | last `date` | lost | twice";

fn same_instant(count: usize, after: i128, slots: usize) {
    let mut host = Host::new(count, stamped);
    host.change_settings(&format!("slots = {slots}"));
    let mut due = wall() + after * 1_000_000_000;
    due -= due % 1_000_000_000;
    host.make_due(HOUR, |_| due);
    host.start();
    assert!(wall() < due, "this machine was too slow: the jobs were due before all was ready");
    let until = Instant::now() + Duration::from_secs(1_200);
    while fs::read_dir(host.path("out")).expect("out").count() < count && Instant::now() < until {
        std::thread::sleep(Duration::from_secs(1));
    }
    std::thread::sleep(Duration::from_secs(3));
    let usage = Usage::of(host.pid());
    let stamps = host.stamps();
    let twice = stamps.values().filter(|times| times.len() > 1).count();
    let began = Times::new(stamps.values().map(|times| millis(due, times[0])).collect());
    let log = host.log();
    let launched = log.lines().filter(|line| line.contains(" starts, attempt")).filter_map(time_of).max();
    let store = Store::open(&host.layout.database()).expect("the database");
    let reader = store.reader().expect("a reader");
    let runs = reader.runs(&RunFilter { limit: 2 * count, ..RunFilter::default() }).expect("the runs").len();
    row(&[
        &format!("shipbell, {slots} slots; {runs} runs recorded; the daemon used {:.1} s CPU", usage.cpu.as_secs_f64()),
        &format!("{:.0} ms", millis(due, launched.expect("starts in the log"))),
        &format!("{:.0} ms", began.at(0)),
        &format!("{:.0} ms", began.at(100)),
        &(count - stamps.len()).to_string(),
        &twice.to_string(),
    ]);
    host.stop();
}

fn idle_job(number: usize, _: &Path) -> String {
    format!("schedule = \"{} {} 1 1 *\"\nsteps = \"restic backup /srv\"", number % 60, number / 60 % 24)
}

/// A minute in which nothing is due.
fn rest() {
    head("60 s at rest | wake-ups | CPU | RSS | PSS");
    let scheduler = peers::Idle::new();
    let mut hosts: Vec<(String, Host)> =
        [0, MANY].into_iter().map(|count| (format!("shipbell, {count} jobs"), Host::new(count, idle_job))).collect();
    for (_, host) in &mut hosts {
        host.start();
    }
    std::thread::sleep(Duration::from_secs(10));
    let before: Vec<Usage> = hosts.iter().map(|(_, host)| Usage::of(host.pid())).collect();
    let scheduler_before = Usage::of(scheduler.pid());
    std::thread::sleep(Duration::from_secs(60));
    let tell = |what: &str, usage: Usage| {
        let cells = (usage.wakes.to_string(), format!("{:.1} ms", usage.cpu_ms()));
        row(&[what, &cells.0, &cells.1, &mib(usage.rss_kib), &mib(usage.pss_kib)]);
    };
    tell("only tokio-cron-scheduler with the same chores", Usage::of(scheduler.pid()).since(scheduler_before));
    for ((what, host), before) in hosts.iter().zip(before) {
        tell(what, Usage::of(host.pid()).since(before));
    }
}

/// Start, reload, and every due time anew.
fn files() {
    head("10,000 job files | wall | CPU of the daemon");
    let mut host = Host::new(MANY, idle_job);
    for what in ["from start to ready, all new", "from start to ready, all known"] {
        let ready = host.start();
        let usage = Usage::of(host.pid());
        row(&[what, &format!("{ready:.0} ms"), &format!("{:.0} ms", usage.cpu_ms())]);
        if what.ends_with("new") {
            host.stop();
        }
    }
    // A file that was touched a moment ago is read again in any case.
    std::thread::sleep(Duration::from_secs(5));
    host.run(&["reload"]);
    for (what, number) in [("reload, nothing changed", None), ("reload, one file changed", Some(77))] {
        let times = (0..5).map(|minute| {
            if let Some(number) = number {
                let path = host.path(&format!("etc/shipbell/jobs.d/p{number}.toml"));
                fs::write(path, format!("[job.j]\nschedule = \"{minute} 5 * * *\"\nsteps = \"true\"\n")).expect("it");
            }
            let before = Usage::of(host.pid());
            let begin = Instant::now();
            host.run(&["reload"]);
            (begin.elapsed().as_secs_f64() * 1000.0, Usage::of(host.pid()).since(before).cpu_ms())
        });
        let (walls, cpus): (Vec<f64>, Vec<f64>) = times.unzip();
        let (walls, cpus) = (Times::new(walls), Times::new(cpus));
        row(&[what, &walls.told(), &format!("p50 {:.1} ms, max {:.1}", cpus.p50(), cpus.at(100))]);
    }
    host.change_settings("slots = 65");
    let before = Usage::of(host.pid());
    let begin = Instant::now();
    host.run(&["reload"]);
    let (wall, cpu) = (begin.elapsed().as_millis(), Usage::of(host.pid()).since(before).cpu_ms());
    let what = "reload, shipbell.toml changed: all read again, every due time anew";
    row(&[what, &format!("{wall} ms"), &format!("{cpu:.0} ms")]);
    recompute(&host);
}

/// What a clock step, or another tzdata, would ask for.
fn recompute(host: &Host) {
    let last_good = config::last_good::read(&host.layout.last_good());
    let mut loaded = None;
    let loading = common::timed(3, || loaded = Some(config::load(&host.layout, &Trust::root_and_self(), &last_good)));
    let catalog = loaded.expect("loaded").catalog;
    let mut world = pipeline::world::World::default();
    let now = shipbell::clock::now();
    let events = [Event::Reloaded { catalog: Arc::new(catalog) }, Event::Booted { boot_id: "b".into() }];
    let _ = pipeline::turn(&mut world, &events, now);
    let anew = common::timed(5, || {
        world.look_at_everything();
        let turn = pipeline::turn(&mut world, &[Event::Tick], now);
        assert!(turn.changes.is_empty() && turn.wake_at.is_some());
    });
    row(&["every file read and resolved, in one process", &loading.told(), ""]);
    row(&["every due time computed anew", &anew.told(), ""]);
}

/// 10,000 minutely jobs for a day in which each due time comes to the same.
fn ledger() {
    head("ledger: 10,000 minutely jobs | file | rows");
    let temp = tempfile::tempdir().expect("a directory");
    let path = temp.path().join("shipbell.db");
    let mut store = Store::open(&path).expect("a database");
    let begin = Instant::now();
    let start = Timestamp::from_second(1_800_000_000).expect("an instant");
    let size = || fs::metadata(&path).map_or(0, |data| data.len()) as f64 / 1e6;
    let empty = size();
    for minute in 0..1_440_u64 {
        let at = Seconds(minute * 60).after(start);
        let put = |number: usize| {
            let job = format!("p{number}/j").parse().expect("a name");
            let verdict = DueVerdict::Skipped("unchanged".into());
            Change::LedgerPut(LedgerRow { job, first: start, last: at, count: minute + 1, verdict })
        };
        store.commit(&(0..MANY).map(put).collect::<Vec<_>>()).expect("a commit");
        if minute == 0 {
            row(&["after the first minute", &format!("{:.1} MB, empty {empty:.1}", size()), ""]);
        }
    }
    let took = begin.elapsed().as_secs();
    let rows = store.load().expect("the World").ledger.len();
    row(&[&format!("after a day, each skipped alike ({took} s)"), &format!("{:.1} MB", size()), &rows.to_string()]);
}
