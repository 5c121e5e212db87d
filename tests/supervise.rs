//! What a supervisor costs, printed (`cargo test --test supervise -- --nocapture`): how long an empty
//! attempt takes from start to exit, and how long it is from the executor's `start` to the first step's
//! first command, without a repository and with one of 1,000 commits. The limits are wide: they catch a
//! supervisor that has become a large program, not a busy machine.

#[expect(dead_code, reason = "shared with tests/runs.rs, which asks for the rest")]
#[path = "runs/place.rs"]
mod place;

use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use place::{Place, job};
use shipbell::model::commit::CommitId;
use shipbell::model::job::{Commits, RepoDef};
use shipbell::model::ticket::StartOrder;

const TRIES: usize = 15;
const LONGEST: Duration = Duration::from_secs(10);

fn median(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (middle, last) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{what}: median {:.1} ms, worst {:.1} ms of {}", millis(middle), millis(last), times.len());
    assert!(middle < LONGEST, "{what}: {middle:?}");
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// From `start` to what the first step's own clock says.
fn until_first_step(place: &Place, order: &StartOrder) -> Duration {
    let begin = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    place.executor.start(order).unwrap();
    let end = place.wait(&order.run);
    let printed = end.log.lines().find_map(|line| line.strip_prefix("at ")?.parse::<f64>().ok());
    Duration::from_secs_f64(printed.unwrap_or_else(|| panic!("{}", end.log))).saturating_sub(begin)
}

#[test]
fn a_supervisor_starts_fast() {
    let place = Place::new();
    let empty = || {
        let order = place.order(&job(&[]));
        let dir = place.prepare(&order);
        let begin = Instant::now();
        assert!(place::supervise(&dir).success());
        begin.elapsed()
    };
    median("empty supervise, start to exit", (0..TRIES).map(|_| empty()).collect());
    let mut job = job(&["date '+at %s.%N'"]);
    job.shell = vec!["sh".into(), "-c".into()].into();
    median("start to first step", (0..TRIES).map(|_| until_first_step(&place, &place.order(&job))).collect());

    let temp = tempfile::tempdir().unwrap();
    let script = "git init -q -b main . && for n in $(seq 1000); do
        echo \"commit refs/heads/main\ncommitter A <a@example.org> $((1700000000 + n)) +0000\ndata 1\nx\nM 100644 inline d$((n % 20))/f$n\ndata 1\ny\n\"
        test $((n % 50)) = 0 && echo \"reset refs/tags/v$n\nfrom refs/heads/main\n\"
        done | git fast-import --quiet && git rev-parse main";
    let output = Command::new("bash").args(["-c", script]).current_dir(temp.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let commit = CommitId::new(String::from_utf8(output.stdout).unwrap().trim()).unwrap();
    job.repo = Some(RepoDef {
        url: "https://example.org/a.git".into(),
        commits: Commits::Latest,
        history: false,
        signed_by: None,
    });
    let times = (0..TRIES).map(|_| {
        let mut order = place.order(&job);
        order.commit = Some(commit.clone());
        order.mirror = Some(temp.path().join(".git"));
        until_first_step(&place, &order)
    });
    median("start to first step, 1,000 commits and files, 20 tags", times.collect());
}
