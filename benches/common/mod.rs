//! What the benches share: percentiles, what the kernel says of a process, and a table to print. A
//! bench prints what it measured and judges nothing; the suite has no timed test.

#![allow(dead_code, reason = "each bench uses its own part")]

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Sorted milliseconds, and what the processor did for each of them where that is known.
pub struct Times(Vec<f64>, Option<f64>);

impl Times {
    pub fn new(mut millis: Vec<f64>) -> Self {
        millis.sort_by(f64::total_cmp);
        Self(millis, None)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The value that this share of all does not exceed.
    pub fn at(&self, percent: usize) -> f64 {
        let place = (self.0.len() * percent).div_ceil(100).clamp(1, self.0.len().max(1)) - 1;
        self.0.get(place).copied().unwrap_or(f64::NAN)
    }

    pub fn p50(&self) -> f64 {
        self.at(50)
    }

    pub fn told(&self) -> String {
        let cpu = self.1.map_or(String::new(), |cpu| format!("; {cpu:.2} ms CPU each"));
        format!("p50 {:.2} ms, p99 {:.2}, max {:.2} (n {}){cpu}", self.p50(), self.at(99), self.at(100), self.len())
    }
}

/// Nanoseconds of the wall clock, as `date +%s%N` prints them.
pub fn wall() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i128::try_from(since.as_nanos()).expect("it fits")
}

/// Milliseconds from one instant of [`wall`] to another.
pub fn millis(from: i128, to: i128) -> f64 {
    (to - from) as f64 / 1e6
}

/// How long `deed` takes, in milliseconds, `times` times.
pub fn timed(times: usize, mut deed: impl FnMut()) -> Times {
    let one = |_| {
        let begin = Instant::now();
        deed();
        begin.elapsed().as_secs_f64() * 1000.0
    };
    let before = children_cpu();
    let mut all = Times::new((0..times).map(one).collect());
    let spent = children_cpu() - before;
    all.1 = (spent > 0).then(|| spent as f64 * 10.0 / times as f64);
    all
}

/// Hundredths of a second that children which were waited for have used.
pub fn children_cpu() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let stat = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    stat.split_whitespace().skip(13).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

/// The floor of all starts: `posix_spawn` (std uses it for a plain command) of /bin/true until it is reaped.
pub fn bare_spawn(times: usize) -> Times {
    timed(times, || {
        let status = Command::new("/bin/true").stdin(Stdio::null()).status();
        assert!(status.expect("/bin/true").success());
    })
}

/// What the kernel says of a process and its threads.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Times that some thread went to sleep by itself: each is a wake-up.
    pub wakes: u64,
    pub cpu: Duration,
    pub rss_kib: u64,
    pub pss_kib: u64,
}

impl Usage {
    pub fn of(pid: u32) -> Self {
        let mut usage = Self::default();
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            usage.wakes += field(&status, "voluntary_ctxt_switches:");
        }
        // Of all its threads, also of those that have ended; in hundredths of a second.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let stat = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = stat.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
        usage.cpu = Duration::from_millis(ticks.sum::<u64>() * 10);
        usage.rss_kib = field(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default(), "VmRSS:");
        usage.pss_kib = field(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default(), "Pss:");
        usage
    }

    /// What went by since an earlier look; memory as it is now.
    pub fn since(self, earlier: Self) -> Self {
        Self { wakes: self.wakes.saturating_sub(earlier.wakes), cpu: self.cpu.saturating_sub(earlier.cpu), ..self }
    }

    pub fn cpu_ms(self) -> f64 {
        self.cpu.as_secs_f64() * 1000.0
    }
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

pub fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

/// The last number of a command's output, or why there is none.
pub fn output(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Where and when this was measured.
pub fn machine() {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1)).unwrap_or("?");
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = output("uname", &["-sr"]).unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let day = output("date", &["-u", "+%F %H:%M"]).unwrap_or_default();
    println!("{day} UTC, {count} x {model}, {kernel}, load {}", load.split(' ').next().unwrap_or("?"));
}

pub fn head(columns: &str) {
    let count = columns.matches('|').count() + 1;
    println!("\n| {columns} |\n|{}", "---|".repeat(count));
}

pub fn row(cells: &[&str]) {
    println!("| {} |", cells.join(" | "));
}
