//! The store by itself: what is loaded equals what was absorbed, whatever was written; what must
//! never be written is refused; a bad file is left as it is. (Full disk and busy: beside the code.)

#[path = "simulation/random.rs"]
mod random;
#[path = "store/removals.rs"]
mod removals;
#[path = "store/times.rs"]
mod times;
#[path = "store/writer.rs"]
mod writer;

use std::path::Path;

use rusqlite::Connection;
use shipbell::model::event::{Change, JournalLine};
use shipbell::model::retention::{Part, Removal};
use shipbell::model::run::{Cause, Outcome};
use shipbell::model::time::Timestamp;
use shipbell::pipeline::world::World;
use shipbell::store::{OpenError, RunFilter, Store, StoreError};
use writer::Writer;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn journal(text: &str) -> Change {
    let text = text.to_owned();
    Change::Journal(JournalLine {
        at: time(0),
        actor: "shipbell".into(),
        verb: text,
        subject: "x".into(),
        detail: String::new(),
    })
}

/// The World without standings that are out of view: when `absorb` drops them is its own affair.
fn trimmed(world: &World) -> World {
    let mut world = world.clone();
    world.live.values_mut().for_each(shipbell::pipeline::world::Live::trim);
    world
}

fn same(loaded: &World, world: &World, what: &str) {
    let world = trimmed(world);
    for (name, live) in &world.live {
        assert_eq!(loaded.live.get(name), Some(live), "{what}");
    }
    assert_eq!(loaded.ledger, world.ledger, "{what}");
    assert_eq!(loaded.letters, world.letters, "{what}");
    assert_eq!(loaded.numbers, world.numbers, "{what}");
    assert!(*loaded == world, "{what}: {loaded:?}\n{world:?}");
}

#[test]
fn what_is_loaded_equals_what_was_absorbed() {
    for seed in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shipbell.db");
        let mut store = Store::open(&path).unwrap();
        let mut world = store.load().unwrap();
        let mut writer = Writer::new(seed);
        for step in 0..160 {
            let changes = writer.changes(&world);
            // What the daemon's loop does: the store's standings of commits that come (back) into view.
            let reader = store.reader().unwrap();
            for (pipeline, commit) in writer::commits_of(&changes) {
                world.recall(&reader.standings(&pipeline, &[commit]).unwrap());
            }
            store.commit(&changes).unwrap();
            changes.iter().for_each(|change| world.absorb(change));
            let what = format!("seed {seed}, step {step}, after {changes:?}");
            same(&store.load().unwrap(), &world, &what);
            if step % 40 == 39 {
                drop(store);
                store = Store::open(&path).unwrap();
                same(&store.load().unwrap(), &world, &what);
            }
        }
    }
}

#[test]
fn what_was_written_is_read_again_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&dir.path().join("shipbell.db")).unwrap();
    let reader = store.reader().unwrap();
    let mut world = World::default();
    let mut writer = Writer::new(7);
    for _ in 0..400 {
        for change in &writer.changes(&world) {
            store.commit(std::slice::from_ref(change)).unwrap();
            world.absorb(change);
            match change {
                Change::RunPut(run) => assert_eq!(reader.run(&run.run).unwrap().as_ref(), Some(&**run)),
                Change::AttemptPut(attempt) => {
                    assert!(reader.attempts(&attempt.run).unwrap().contains(attempt));
                }
                Change::StepPut(step) => assert!(reader.steps(&step.run, step.attempt).unwrap().contains(step)),
                Change::RequestPut(request) => {
                    assert_eq!(reader.request(request.id).unwrap().as_ref(), Some(&**request));
                    assert!(reader.requests_of(&request.run).unwrap().contains(request));
                    let slot = &request.slots[0].id;
                    assert_eq!(reader.request_of_slot(slot).unwrap().as_ref(), Some(&**request));
                }
                Change::LetterPut(letter) => assert_eq!(reader.letter(letter.id).unwrap().as_ref(), Some(letter)),
                Change::SightingPut(sighting) => {
                    let found = reader.sightings(&sighting.pipeline, usize::MAX).unwrap();
                    assert!(found.contains(sighting));
                    let commit = reader.commit(&sighting.pipeline, &sighting.commit.id).unwrap();
                    assert_eq!(commit.as_ref(), Some(&sighting.commit));
                }
                Change::LedgerPut(row) => assert_eq!(&reader.ledger(&row.job, 1).unwrap()[0], row),
                Change::Journal(line) => assert_eq!(&reader.journal(Some(&line.subject), 1).unwrap()[0], line),
                _ => {}
            }
        }
    }
    let all = reader.runs(&RunFilter { limit: usize::MAX, ..RunFilter::default() }).unwrap();
    let mut paged = Vec::new();
    let mut filter = RunFilter { limit: 7, ..RunFilter::default() };
    loop {
        let page = reader.runs(&filter).unwrap();
        let Some(last) = page.last() else { break };
        filter.before_seq = reader.seq(&last.run).unwrap();
        paged.extend(page);
    }
    assert_eq!(all, paged);
    let failed = reader.runs(&RunFilter { failed_only: true, limit: usize::MAX, ..RunFilter::default() }).unwrap();
    let is_failed = |outcome: Option<Outcome>| {
        outcome.is_some_and(|outcome| !matches!(outcome, Outcome::Succeeded | Outcome::Skipped))
    };
    assert_eq!(failed.len(), all.iter().filter(|run| is_failed(run.outcome())).count());
    assert!(!failed.is_empty());
    let newest = all.iter().find(|run| run.outcome() == Some(Outcome::Succeeded)).unwrap();
    let job = &newest.run.job;
    assert_eq!(reader.last_success_before(job, u64::MAX >> 1).unwrap().as_ref(), Some(newest));
    assert!(reader.usual(job).unwrap().is_some());
}

/// What promises forbid is refused by the tables themselves, whoever asks.
#[test]
fn what_must_never_be_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shipbell.db");
    let mut store = Store::open(&path).unwrap();
    let (mut one, mut two) = (writer::run("app/nightly#1"), writer::run("app/nightly#2"));
    one.cause = Cause::Schedule { due: time(60), previous: None };
    two.cause = Cause::Schedule { due: time(60), previous: None };
    store.commit(&[Change::RunPut(Box::new(one.clone()))]).unwrap();
    let refused = |result: Result<(), StoreError>, word: &str| match result {
        Err(StoreError::Refused(why)) => assert!(why.contains(word), "{why}"),
        other => panic!("{word}: {other:?}"),
    };
    refused(store.commit(&[journal("half"), Change::RunPut(Box::new(two))]), "cause_due");

    one.state = writer::finished(Outcome::Failed, time(100));
    store.commit(&[Change::RunPut(Box::new(one.clone()))]).unwrap();
    one.state = writer::finished(Outcome::Succeeded, time(100));
    refused(store.commit(&[Change::RunPut(Box::new(one.clone()))]), "final");

    let mut three = writer::run("app/nightly#3");
    store.commit(&[Change::RunPut(Box::new(three.clone()))]).unwrap();
    refused(store.commit(&[Change::RunGone { run: three.run.clone() }]), "stays in the history");
    three.state = writer::finished(Outcome::Skipped, time(100));
    store.commit(&[Change::RunPut(Box::new(three.clone()))]).unwrap();
    refused(store.commit(&[Change::RunGone { run: three.run.clone() }]), "stays in the history");
    let (run, decided_at) = (three.run.clone(), time(200));
    let removal = Removal { run: run.clone(), part: Part::Run, decided_at, done: None };
    store.commit(&[Change::RemovalPut(removal), Change::RunGone { run }]).unwrap();
    refused(store.commit(&[Change::RunPut(Box::new(three.clone()))]), "never used again");
    three.run.number = 4;
    store.commit(&[Change::RunPut(Box::new(three.clone()))]).unwrap();

    let mut request = writer::request(1, &three);
    request.votes.push(writer::vote("ann"));
    store.commit(&[Change::RequestPut(Box::new(request.clone()))]).unwrap();
    request.votes[0].verdict = shipbell::model::request::Verdict::Reject;
    refused(store.commit(&[Change::RequestPut(Box::new(request.clone()))]), "a vote is never altered");
    request.votes[0] = writer::vote("ann");
    request.votes.push(writer::vote("ann"));
    refused(store.commit(&[Change::RequestPut(Box::new(request.clone()))]), "a vote is never altered");
    request.votes.pop();
    let mut second = writer::request(2, &three);
    refused(store.commit(&[Change::RequestPut(Box::new(second.clone()))]), "UNIQUE");
    second.run.number = 5;
    second.slots.clone_from(&request.slots);
    refused(store.commit(&[Change::RequestPut(Box::new(second))]), "slots.id");
    request.state = shipbell::model::request::RequestState::Expired { at: time(1) };
    store.commit(&[Change::RequestPut(Box::new(request.clone()))]).unwrap();
    request.state = shipbell::model::request::RequestState::Open;
    refused(store.commit(&[Change::RequestPut(Box::new(request))]), "final");

    store.commit(&[journal("kept")]).unwrap();
    let reader = store.reader().unwrap();
    let verbs: Vec<String> = reader.journal(None, 9).unwrap().into_iter().map(|line| line.verb).collect();
    assert_eq!(verbs, ["kept"], "what was refused left nothing");
    let other = Connection::open(&path).unwrap();
    for sql in ["UPDATE journal SET verb = ''", "DELETE FROM journal", "DELETE FROM votes", "DELETE FROM requests"] {
        assert!(other.execute(sql, []).is_err(), "{sql}");
    }
}

fn refuses(path: &Path, words: &[&str]) -> OpenError {
    let before = path.is_file().then(|| std::fs::read(path).unwrap());
    let error = Store::open(path).expect_err("it must be refused");
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
    assert!(text.contains(&*path.to_string_lossy()), "{text}");
    assert_eq!(path.is_file().then(|| std::fs::read(path).unwrap()), before, "the file was altered");
    error
}

#[test]
fn a_file_that_is_not_ours_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);

    refuses(dir.path(), &["it is a directory"]);
    refuses(&at("missing/shipbell.db"), &["there is no directory"]);

    std::fs::write(at("garbage"), "not a database at all, but long enough to be read as one. ".repeat(40)).unwrap();
    refuses(&at("garbage"), &["not a database", "newest backup"]);

    Connection::open(at("other")).unwrap().execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)").unwrap();
    refuses(&at("other"), &["another program"]);

    drop(Store::open(&at("newer")).unwrap());
    Connection::open(at("newer")).unwrap().pragma_update(None, "user_version", 4711).unwrap();
    let error = refuses(&at("newer"), &["4711", "newer Shipbell"]);
    assert!(matches!(error, OpenError::Newer { found: 4711, .. }));

    let mut store = Store::open(&at("torn")).unwrap();
    store.commit(&(0..500).map(|n| journal(&format!("{n} {}", "y".repeat(300)))).collect::<Vec<_>>()).unwrap();
    drop(store);
    let mut bytes = std::fs::read(at("torn")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8192].fill(0x5a);
    std::fs::write(at("torn"), bytes).unwrap();
    refuses(&at("torn"), &["the database is damaged", "it was not touched", "backup/shipbell-DATE.db"]);
}

#[test]
fn a_backup_is_a_whole_database_of_the_same_content() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&dir.path().join("shipbell.db")).unwrap();
    let mut world = store.load().unwrap();
    let mut writer = Writer::new(3);
    for _ in 0..100 {
        let changes = writer.changes(&world);
        store.commit(&changes).unwrap();
        changes.iter().for_each(|change| world.absorb(change));
    }
    store.set_meta("answer", "42").unwrap();
    let copy = dir.path().join("backup.db");
    store.backup(&copy).unwrap();
    store.backup(&copy).unwrap();
    assert!(!dir.path().join("backup.db-wal").exists());
    let restored = Store::open(&copy).unwrap();
    assert!(restored.load().unwrap() == store.load().unwrap());
    assert_eq!(restored.meta("answer").as_deref(), Some("42"));
    assert_eq!(restored.meta("nonce").unwrap().len(), 32);
}
