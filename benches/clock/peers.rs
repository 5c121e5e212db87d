//! The same work by others, measured by the same words (`date +%s%N`). A peer that is not on this
//! machine is named as not measured.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tokio_cron_scheduler::{Job, JobScheduler};

use crate::common::{Times, millis, wall};
use crate::host::stamps;

/// What a bare loop came to.
pub struct Bare {
    pub spawned: Times,
    pub began: Times,
}

fn stamp(dir: &Path, number: usize) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(format!("date +%s%N >> {}/p{number}", dir.display()));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn sleep_until(at: i128) {
    let left = at - wall();
    if left > 0 {
        // clock_nanosleep.
        std::thread::sleep(Duration::from_nanos(u64::try_from(left).expect("it fits")));
    }
}

/// clock_nanosleep and posix_spawn, and nothing else.
pub fn bare_loop(dir: &Path, count: usize, due: impl Fn(usize) -> i128) -> Bare {
    let (sender, children) = mpsc::channel::<Child>();
    let reaper = std::thread::spawn(move || children.into_iter().for_each(|mut child| drop(child.wait())));
    let mut spawned = Vec::new();
    for number in 0..count {
        sleep_until(due(number));
        let child = stamp(dir, number).spawn().expect("sh");
        spawned.push(millis(due(number), wall()));
        sender.send(child).expect("the reaper");
    }
    drop(sender);
    reaper.join().expect("the reaper");
    let began = stamps(dir).iter().map(|(number, at)| millis(due(*number), at[0])).collect();
    Bare { spawned: Times::new(spawned), began: Times::new(began) }
}

/// All at once, 16 at a time: milliseconds from the instant to each one's `date`.
pub fn bare_crowd(dir: &Path, count: usize) -> Times {
    let due = wall();
    std::thread::scope(|scope| {
        for thread in 0..16 {
            scope.spawn(move || {
                for number in (thread..count).step_by(16) {
                    stamp(dir, number).status().expect("sh");
                }
            });
        }
    });
    Times::new(stamps(dir).values().map(|at| millis(due, at[0])).collect())
}

/// This program as a peer of its own.
fn role(words: &[&str]) -> Child {
    let own = std::env::current_exe().expect("this program");
    Command::new(own).args(words).stdin(Stdio::null()).spawn().expect("this program")
}

/// Plays a role if this is one.
pub fn play(role: &str, rest: &[String]) -> bool {
    let (dir, seconds) = match (role, rest) {
        ("role-idle", _) => (None, 3600),
        ("role-each-second", [dir, seconds]) => (Some(dir.clone()), seconds.parse().expect("a number")),
        _ => return false,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let scheduler = JobScheduler::new().await.expect("a scheduler");
        match dir {
            Some(dir) => drop(scheduler.add(each_second(dir)).await.expect("a job")),
            None => {
                for when in ["7 * * * * *", "37 * * * * *", "11 23 3 * * *", "11 53 3 * * *"] {
                    let job = Job::new_async(when, |_, _| Box::pin(async {})).expect("a job");
                    scheduler.add(job).await.expect("a job");
                }
            }
        }
        scheduler.start().await.expect("it starts");
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    });
    true
}

fn each_second(dir: String) -> Job {
    let run = move |_, _| -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        let second = usize::try_from(wall() / 1_000_000_000).expect("it fits");
        let mut command = stamp(Path::new(&dir), second);
        Box::pin(async move {
            let _ = tokio::task::spawn_blocking(move || command.status()).await;
        })
    };
    Job::new_async("* * * * * *", run).expect("a job")
}

/// tokio-cron-scheduler with one job each second: from the second to the command's `date`.
pub fn scheduler(dir: &Path, seconds: u64) -> Times {
    fs::create_dir_all(dir).expect("a directory");
    let mut child = role(&["role-each-second", &dir.to_string_lossy(), &seconds.to_string()]);
    let _ = child.wait();
    let due = |number: usize| i128::try_from(number).expect("small") * 1_000_000_000;
    Times::new(stamps(dir).iter().map(|(number, at)| millis(due(*number), at[0])).collect())
}

/// A process that holds the scheduler and does nothing.
pub struct Idle(Child);

impl Idle {
    pub fn new() -> Self {
        Self(role(&["role-idle"]))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Those that know only whole minutes: `count` jobs on the next one.
pub fn by_the_minute(dir: &Path, count: usize) -> Vec<(String, String)> {
    let mut peers = Vec::new();
    let all: [(&str, Start); 3] =
        [("Debian's cron", cron), ("yacron", yacron), ("a systemd timer with AccuracySec=1us", systemd)];
    for (name, start) in all {
        let out = dir.join(name.replace([' ', '\'', '='], ""));
        fs::create_dir_all(&out).expect("a directory");
        let measured = match start(&out, count) {
            Ok(child) => on_the_minute(child, &out, count),
            Err(why) => format!("not measured: {why}"),
        };
        peers.push((name.to_owned(), measured));
    }
    peers
}

type Start = fn(&Path, usize) -> Result<Child, String>;

fn on_the_minute(mut child: Child, out: &Path, count: usize) -> String {
    let minute = 60_000_000_000;
    let mut due = wall() + minute;
    due -= due % minute;
    if due - wall() < 5_000_000_000 {
        due += minute;
    }
    sleep_until(due + 20_000_000_000);
    // TERM: who has others below it takes them along.
    let _ = Command::new("kill").arg(child.id().to_string()).status();
    let _ = child.wait();
    let firsts = stamps(out).into_values().filter_map(|times| times.into_iter().find(|at| *at >= due));
    let began = Times::new(firsts.map(|at| millis(due, at)).collect());
    match began.len() {
        0 => "not measured: it ran nothing".into(),
        seen if count == 1 => format!("{:.0} ms (n {seen})", began.at(100)),
        seen => format!("first {:.0} ms, last {:.0} ms, {} lost", began.at(0), began.at(100), count - seen),
    }
}

/// In a mount namespace of its own: /etc/cron.d and /run are ours there.
fn cron(out: &Path, count: usize) -> Result<Child, String> {
    if !Path::new("/usr/sbin/cron").exists() {
        return Err("cron is not installed here".into());
    }
    let lines: String =
        (0..count).map(|n| format!("* * * * * root date +\\%s\\%N >> {}/p{n}\n", out.display())).collect();
    let table = out.with_extension("cron.d");
    fs::write(&table, lines).map_err(|error| error.to_string())?;
    let script = format!(
        "mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /etc/cron.d && cp {} /etc/cron.d/bench && \
         chmod 644 /etc/cron.d/bench && exec /usr/sbin/cron -f",
        table.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--", "sh", "-c", &script]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(|error| error.to_string())
}

/// From target/yacron, a virtual environment: `python3 -m venv target/yacron; target/yacron/bin/pip install yacron`.
fn yacron(out: &Path, count: usize) -> Result<Child, String> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/yacron/bin/yacron");
    if !program.exists() {
        return Err("target/yacron is not there".into());
    }
    let job = |n| {
        format!(
            "  - name: p{n}\n    command: date +%s%N >> {}/p{n}\n    shell: /bin/sh\n    schedule: \"* * * * *\"\n",
            out.display()
        )
    };
    let text: String = std::iter::once("jobs:\n".to_owned()).chain((0..count).map(job)).collect();
    let config = out.with_extension("yaml");
    fs::write(&config, text).map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.arg("-c").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(|error| error.to_string())
}

/// One as process 1 of a container, as the tests boot it, with a timer and a service for each job.
fn systemd(out: &Path, count: usize) -> Result<Child, String> {
    let units = out.with_extension("units");
    fs::create_dir_all(&units).map_err(|error| error.to_string())?;
    for n in 0..count {
        let timer = "[Timer]\nOnCalendar=*:*:00\nAccuracySec=1us\n";
        let service = format!("[Service]\nType=oneshot\nExecStart=/bin/sh -c 'date +%%s%%N >> /out/p{n}'\n");
        for (kind, text) in [("timer", timer), ("service", service.as_str())] {
            fs::write(units.join(format!("bench{n}.{kind}")), text).map_err(|error| error.to_string())?;
        }
    }
    let script = "cp /units/* /run/systemd/system/ && systemctl daemon-reload && cd /units && \
                  systemctl start *.timer && touch /out/ready && sleep 90";
    // It ends by itself, after the next minute and what is waited for after it: the shell that booted it
    // hears no TERM while it waits.
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(project.join("tests/systemd-boot.sh"));
    command.arg("--bind").arg(format!("{}:/units", units.display()));
    command.arg("--bind-rw").arg(format!("{}:/out", out.display()));
    command.args(["--timeout", "600"]).arg(project.join("target/systemd-root")).args(["--", "bash", "-c", script]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    for _ in 0..600 {
        if out.join("ready").exists() {
            return Ok(child);
        }
        if let Ok(Some(ended)) = child.try_wait() {
            return Err(format!("no container with systemd here: {ended}"));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let _ = Command::new("kill").arg(child.id().to_string()).status();
    Err("its timers were not ready in two minutes".into())
}
