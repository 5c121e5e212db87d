//! What `[retention]` asks the store and writes into it: what has outlived its time, page by page, and that a row goes
//! only when that is written down.

use shipbell::model::event::Change;
use shipbell::model::job::Hash;
use shipbell::model::retention::{Part, Past, Removal, Removed, Retention, Tally};
use shipbell::model::run::{Artifact, Holds, Outcome, Run};
use shipbell::model::time::{Seconds, Timestamp};
use shipbell::store::{Store, StoreError};

use crate::writer;

fn at(day: u64) -> Timestamp {
    Seconds::days(day).after(Timestamp::UNIX_EPOCH)
}

/// Ended on this day, deploying where an environment is named.
fn run(name: &str, day: u64, environment: Option<&str>, artifacts: bool) -> Run {
    let artifact = Artifact { path: "a".into(), sha256: Hash::of(b"x"), size: 1 };
    Run {
        queued_at: at(day),
        attempt: 1,
        tries: 1,
        holds: Holds { environment: environment.map(|name| name.parse().unwrap()), pools: Vec::new() },
        state: writer::finished(Outcome::Succeeded, at(day)),
        artifacts: artifacts.then_some(artifact).into_iter().collect(),
        ..writer::run(name)
    }
}

fn put(run: Run) -> Change {
    Change::RunPut(Box::new(run))
}

fn removal(name: &str, part: Part, done: bool) -> Change {
    let done = done.then(|| Removed { at: at(500), bytes: 7 });
    Change::RemovalPut(Removal { run: name.parse().unwrap(), part, decided_at: at(499), done })
}

#[test]
fn what_has_outlived_its_time_is_found_page_by_page() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&dir.path().join("shipbell.db")).unwrap();
    let reader = store.reader().unwrap();
    let runs = [
        run("a/b#1", 100, None, true),
        run("a/b#2", 450, None, true),
        run("a/b#3", 450, None, false),
        run("a/b#4", 495, None, true),
        run("a/live#1", 100, Some("live"), false),
    ];
    store.commit(&runs.map(put)).unwrap();
    let retention = Retention { keep: 1, ..Retention::default() };
    let names = |past: &Past| past.old.iter().map(|old| old.run.to_string()).collect::<Vec<_>>();
    let past = |after, max| reader.past(&retention, at(500), after, max).unwrap();
    let all = past(None, 10);
    assert_eq!(names(&all), ["a/b#1", "a/b#2", "a/live#1"], "#3 left nothing whose time is over");
    assert_eq!(all.next, None);
    let first = past(None, 2);
    assert_eq!(names(&first), ["a/b#1", "a/b#2"]);
    assert_eq!(names(&past(first.next, 2)), ["a/live#1"]);
    let told: Vec<String> = all.newest.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["a/b#4", "a/live#1"]);
    assert_eq!(all.deployed.len(), 1);
    // What is written down as gone does not come again; of a deployment the row stays.
    let gone = [("a/b#1", Part::Run), ("a/b#2", Part::Artifacts), ("a/live#1", Part::Log)];
    store.commit(&gone.map(|(name, part)| removal(name, part, false))).unwrap();
    assert_eq!(names(&past(None, 10)), Vec::<String>::new());
    assert_eq!(store.load().unwrap().removals.len(), 3);
    let forever = Retention { runs: None, logs: None, artifacts: None, ..retention };
    assert!(reader.past(&forever, at(5000), None, 10).unwrap().old.is_empty());
}

#[test]
fn a_row_goes_only_when_that_is_written_down_and_its_number_is_never_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&dir.path().join("shipbell.db")).unwrap();
    let (old, live) = (run("a/b#1", 1, None, false), run("a/live#1", 1, Some("live"), false));
    store.commit(&[put(old.clone()), put(live.clone())]).unwrap();
    let gone = |run: &Run| Change::RunGone { run: run.run.clone() };
    assert!(matches!(store.commit(&[gone(&old)]), Err(StoreError::Refused(_))), "nobody wrote it down");
    store.commit(&[removal("a/b#1", Part::Run, false), removal("a/live#1", Part::Run, false)]).unwrap();
    assert!(matches!(store.commit(&[gone(&live)]), Err(StoreError::Refused(_))), "it changed an environment");
    store.commit(&[gone(&old), removal("a/b#1", Part::Run, true)]).unwrap();
    let reader = store.reader().unwrap();
    assert_eq!(reader.run(&old.run).unwrap(), None);
    assert_eq!(reader.removed_since(at(500)).unwrap(), Tally { runs: 1, bytes: 7, ..Tally::default() });
    assert!(matches!(store.commit(&[put(old.clone())]), Err(StoreError::Refused(_))), "its number is used up");
    assert!(matches!(store.commit(&[removal("a/b#1", Part::Run, true)]), Err(StoreError::Refused(_))));
    assert_eq!(store.load().unwrap().numbers.get(&old.run.job), Some(&1));
}
