//! A storm of `kill -9` under load: the daemon and supervisors, at random instants. What is true afterwards
//! is read from the database and from what the jobs themselves wrote, and the two must agree. A short
//! form runs in the suite; `make storm` makes it long. A seed is printed and can be given again.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use support::robot::Robot;
use support::wait_for;

const JOBS: &[&str] = &["a", "b", "c", "d"];
/// Kills in the suite; SHIPBELL_STORM sets another number.
const KILLS: u64 = 14;

/// Each step says outside of everything that Shipbell owns when it begins and ends, and prints lines.
fn job_file(witness: &Path) -> String {
    let step = |name: &str| {
        format!(
            "{{ name = \"{name}\", run = '''echo \"$SHIPBELL_WORKSPACE {name} begins\" >> \"$WITNESS\"\n\
             for i in 1 2 3 4 5; do echo \"{name} $i\"; sleep 0.06; done\n\
             echo \"$SHIPBELL_WORKSPACE {name} ends\" >> \"$WITNESS\"''' }}"
        )
    };
    let steps = format!("steps = [{}, {}]", step("one"), step("two"));
    let mut text = format!("[defaults]\nmanual = true\nenv = {{ WITNESS = \"{}\" }}\n{steps}\n", witness.display());
    for job in JOBS {
        text += &format!("[job.{job}]\n");
    }
    text + "[job.live]\nenvironment = \"live\"\n[environment.live]\napproval = \"none\"\n"
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

struct Storm {
    robot: Robot,
    random: Random,
    /// Runs that a command said were queued.
    promised: BTreeSet<String>,
    /// Attempts whose supervisor was killed, by their directories.
    struck: BTreeSet<PathBuf>,
    resolved: BTreeSet<String>,
}

/// Supervisors of this robot: process and directory of the attempt.
fn supervisors(robot: &Robot) -> Vec<(u32, PathBuf)> {
    let runs = robot.path("var/lib/shipbell/runs");
    let of = |entry: std::fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse::<u32>().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let [_, b"supervise", dir, ..] = words.as_slice() else { return None };
        let dir = PathBuf::from(String::from_utf8_lossy(dir).into_owned());
        // A step looks like its supervisor until it has become the program that it is to be.
        let holder = std::fs::read_to_string(dir.join("lock")).unwrap_or_default();
        let is_holder = holder.lines().next().is_none_or(|holder| holder == pid.to_string());
        (dir.starts_with(&runs) && is_holder).then_some((pid, dir))
    };
    std::fs::read_dir("/proc").expect("/proc").flatten().filter_map(of).collect()
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut robot = Robot::new("[limits]\nslots = 6\n");
        robot.job_file("storm", &job_file(&robot.path("witness")));
        robot.start();
        let sets = || (BTreeSet::new(), BTreeSet::new());
        let (promised, resolved) = sets();
        Self { robot, random: Random(seed), promised, struck: BTreeSet::new(), resolved }
    }

    /// Somebody wants something.
    fn order(&mut self) {
        let job = match self.random.below(6) {
            0 => "live",
            n => JOBS[usize::try_from(n).unwrap() % JOBS.len()],
        };
        let said = self.robot.run(&["run", &format!("storm/{job}")]);
        if let Some((run, "queued")) = said.out.lines().next().and_then(|line| line.split_once(' ')) {
            assert!(self.promised.insert(run.to_owned()), "{run} was promised twice");
        }
    }

    fn strike(&mut self) {
        let all = supervisors(&self.robot);
        if self.random.below(5) < 3 || all.is_empty() {
            self.robot.kill();
            // Jobs go on without it, and sometimes it is dead for a while.
            std::thread::sleep(Duration::from_millis(self.random.below(300)));
            self.robot.start();
            return;
        }
        let (pid, dir) = all[usize::try_from(self.random.below(all.len() as u64)).unwrap()].clone();
        // It may have ended by itself meanwhile; a number is not given again that soon.
        let killed = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).output().expect("kill");
        if killed.status.success() {
            self.struck.insert(dir);
        }
    }

    /// A person looks after deployments of which nobody knows how they ended.
    fn resolve(&mut self) {
        for row in self.rows("storm/live") {
            let run = row["run"].as_str().unwrap_or_default().to_owned();
            if row["outcome"] == "unknown" && self.resolved.insert(run) {
                self.robot.run(&["resolve", "storm", "live", "--as", "failed"]);
            }
        }
    }

    fn rows(&self, scope: &str) -> Vec<serde_json::Value> {
        let history = self.robot.json(&["history", scope, "-n", "100000"]);
        history["runs"].as_array().expect("runs").clone()
    }

    fn settle(&mut self) -> Vec<serde_json::Value> {
        let until = std::time::Instant::now() + Duration::from_secs(600);
        loop {
            self.resolve();
            let rows = self.rows("storm");
            if rows.iter().all(|row| row["outcome"].is_string()) {
                return rows;
            }
            let open: Vec<_> = rows.iter().filter(|row| !row["outcome"].is_string()).collect();
            assert!(std::time::Instant::now() < until, "these never end: {open:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// What the steps of one attempt wrote, in order.
fn witnessed(robot: &Robot) -> BTreeMap<PathBuf, Vec<String>> {
    let mut of: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for line in std::fs::read_to_string(robot.path("witness")).unwrap_or_default().lines() {
        let (work, what) = line.split_once(' ').expect("a directory and what happened in it");
        of.entry(Path::new(work).parent().expect("an attempt").to_owned()).or_default().push(what.to_owned());
    }
    of
}

const WHOLE: [&str; 4] = ["one begins", "one ends", "two begins", "two ends"];

/// The attempts of a run as the database has them.
fn check_run(storm: &Storm, row: &serde_json::Value, witness: &BTreeMap<PathBuf, Vec<String>>) {
    let run = row["run"].as_str().expect("a run").to_owned();
    let shown = storm.robot.json(&["show", &run]);
    let attempts = shown["attempts"].as_array().expect("attempts");
    let id = shown["id"].as_str().expect("its id");
    let mut struck = 0;
    for attempt in attempts {
        let number = attempt["attempt"].as_u64().expect("its number");
        let dir = storm.robot.path("var/lib/shipbell/runs").join(id).join(number.to_string());
        let (outcome, wrote) = (attempt["outcome"].as_str().unwrap_or("none"), witness.get(&dir).cloned());
        let wrote = wrote.unwrap_or_default();
        let said = format!("{run} attempt {number}: {outcome}, and its steps wrote {wrote:?}\n{attempt}");
        assert!(wrote.iter().zip(WHOLE).all(|(wrote, whole)| wrote == whole), "out of order or twice: {said}");
        match outcome {
            "succeeded" => {
                assert_eq!(wrote, WHOLE, "a success that was none: {said}");
                let log = storm.robot.run(&["logs", &run, "--attempt", &number.to_string(), "--raw"]).out;
                let lines: Vec<&str> = log.lines().filter(|line| !line.starts_with("===")).collect();
                let printed = ["one", "two"].iter().flat_map(|step| (1..=5).map(move |n| format!("{step} {n}")));
                assert_eq!(lines, printed.collect::<Vec<_>>(), "a gap or a double in the log: {said}");
            }
            "interrupted" | "unknown" => {
                let never = attempt["reason"].as_str().is_some_and(|reason| reason.starts_with("never started"));
                assert!(never || storm.struck.contains(&dir), "nobody killed its supervisor: {said}");
                assert!(!never || wrote.is_empty(), "it never started and wrote: {said}");
                struck += 1;
            }
            _ => panic!("no such end was possible: {said}"),
        }
    }
    let outcome = row["outcome"].as_str().expect("an outcome");
    if row["environment"].is_string() {
        let began = |number: usize| {
            let dir = storm.robot.path("var/lib/shipbell/runs").join(id).join(number.to_string());
            witness.get(&dir).is_some_and(|wrote| !wrote.is_empty())
        };
        let begun = (1..=attempts.len()).filter(|number| began(*number)).count();
        assert!(begun <= 1, "{run} touched its environment in {begun} attempts");
        assert!(["succeeded", "unknown", "interrupted"].contains(&outcome), "{run}: {outcome}");
    } else {
        // Begun anew until nobody killed it.
        assert_eq!(outcome, "succeeded", "{run} after {struck} kills of its supervisor");
    }
}

/// Faults 1, 4 and 5 at instants that nobody chose, without systemd.
#[test]
fn fault_4_and_5_a_storm_of_kills_loses_nothing_and_doubles_nothing() {
    let number = |name: &str, otherwise| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise);
    let (kills, seed) = (number("SHIPBELL_STORM", KILLS), number("SHIPBELL_SEED", 11));
    println!("SHIPBELL_STORM={kills} SHIPBELL_SEED={seed}");
    let mut storm = Storm::new(seed);
    for _ in 0..kills {
        for _ in 0..=storm.random.below(2) {
            storm.order();
        }
        std::thread::sleep(Duration::from_millis(50 + storm.random.below(450)));
        storm.strike();
        storm.resolve();
    }
    let rows = storm.settle();
    let known: BTreeSet<String> = rows.iter().filter_map(|row| row["run"].as_str().map(str::to_owned)).collect();
    let lost: Vec<_> = storm.promised.difference(&known).collect();
    assert!(lost.is_empty(), "promised and not there: {lost:?}");
    let witness = witnessed(&storm.robot);
    rows.iter().for_each(|row| check_run(&storm, row, &witness));
    let idle = || supervisors(&storm.robot).is_empty().then_some(());
    wait_for("no supervisor is left", idle, || format!("{:?}", supervisors(&storm.robot)));
    let (tries, struck) = (witness.len(), storm.struck.len());
    println!("{} runs in {tries} attempts, {struck} supervisors killed", rows.len());
    storm.robot.stop();
    let store =
        shipbell::store::Store::open(&storm.robot.path("var/lib/shipbell/db/shipbell.db")).expect("the database");
    store.quick_check().expect("a sound database");
}
