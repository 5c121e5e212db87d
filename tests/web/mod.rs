//! The story that the tests of mails and pages tell: open-im 7848d7c went through test, image and staging,
//! and asks anna and ben whether it may go to production. Only facts are made here; nothing is judged.

#![allow(dead_code, reason = "each test file uses its own part of the story")]

use std::collections::BTreeMap;
use std::path::Path;

use shipbell::model::commit::{CommitId, CommitInfo, RefName};
use shipbell::model::job::Hash;
use shipbell::model::name::{JobName, PersonName, RunRef};
use shipbell::model::request::{Brief, Request, RequestState, Slot, Tuple, Verdict, Vote};
use shipbell::model::run::{Cause, Finished, Outcome, Run, RunState, Upstream};
use shipbell::model::time::Timestamp;

pub const NEW: &str = "7848d7c7354945fe7b40f6b990db8b6013a9037c";
pub const LIVE: &str = "3f9d0aa1c2d3e4f5061728394a5b6c7d8e9f0a1b";
pub const HOTFIX: &str = "9ab01c2d3e4f5061728394a5b6c7d8e9f0a1b2c3";

/// Friday, five to six in Berlin.
pub const NOW: &str = "2026-11-27T16:55:00Z";

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn run_ref(text: &str) -> RunRef {
    text.parse().unwrap()
}

pub fn person(name: &str) -> PersonName {
    name.parse().unwrap()
}

pub fn commit(id: &str, subject: &str, author: &str) -> CommitInfo {
    CommitInfo {
        id: CommitId::new(id).unwrap(),
        subject: subject.into(),
        author: author.into(),
        author_mail: format!("{author}@example.org"),
        authored_at: at("2026-11-27T15:00:00Z"),
    }
}

pub fn slot(name: &str, id: char) -> Slot {
    Slot { person: person(name), email: format!("{name}@example.org"), id: id.to_string().repeat(32) }
}

pub fn upstream(job: &str, number: u64, outputs: &[(&str, &str)]) -> Upstream {
    Upstream {
        job: JobName::new(job).unwrap(),
        run: run_ref(&format!("open-im/{job}#{number}")),
        definition: Hash::of(job.as_bytes()),
        outputs: outputs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        artifacts: Vec::new(),
    }
}

pub fn tuple() -> Tuple {
    let image = "registry.example.org/im@sha256:9c1f00aa22bb44cc66dd88ee00ff11223344556677889900aabbccddeeff00e2";
    Tuple {
        v: 1,
        repository: Some("https://github.com/openimsdk/open-im-server.git".into()),
        commit: Some(CommitId::new(NEW).unwrap()),
        definition: Hash::of(b"open-im/production"),
        params: BTreeMap::new(),
        upstream: vec![
            upstream("test", 611, &[]),
            upstream("image", 207, &[("image", image)]),
            upstream("staging", 92, &[]),
        ],
        takes_back: Vec::new(),
        environment: "production".parse().unwrap(),
        policy: Hash::of(b"policy"),
        after: None,
    }
}

pub fn brief() -> Brief {
    Brief {
        commit: Some(commit(NEW, "refactor(changelog): modernize generator", "chen")),
        branch: Some("main".into()),
        live: Some((CommitId::new(LIVE).unwrap(), at("2026-11-26T08:00:00Z"))),
        adds: vec![
            commit(NEW, "refactor(changelog): modernize generator", "chen"),
            commit(&"a".repeat(40), "fix: get online users", "chen"),
            commit(&"b".repeat(40), "Update CHANGELOG for v3.8.3-patch.16", "bot"),
        ],
        adds_total: 3,
        takes_back: Vec::new(),
        files: 41,
        insertions: 612,
        deletions: 380,
        mind: vec!["job file changed since the last deployment".into(), "test passed only on the second try".into()],
        excluded: vec![(person("chen"), "wrote a commit of it".into())],
    }
}

pub fn request() -> Request {
    let tuple = tuple();
    Request {
        id: 31,
        run: run_ref("open-im/production#31"),
        tuple_hash: tuple.hash(),
        tuple,
        asked_at: at(NOW),
        expires_at: at("2026-11-30T16:55:00Z"),
        state: RequestState::Open,
        votes: Vec::new(),
        slots: vec![slot("anna", 'a'), slot("ben", 'b')],
        brief: brief(),
        votes_needed: 1,
    }
}

pub fn vote(by: &str, verdict: Verdict, reason: &str) -> Vote {
    Vote {
        by: by.into(),
        verdict,
        at: at("2026-11-27T17:10:00Z"),
        reason: reason.into(),
        via: "mail".into(),
        signed: None,
        coded: false,
    }
}

/// How a run ended: outcome, reason, step.
pub type End<'a> = (Outcome, &'a str, Option<(u32, &'a str)>);

/// A run of the commit.
pub fn run(name: &str, queued: &str, end: Option<End<'_>>) -> Run {
    let queued_at = at(queued);
    let state = match end {
        None => RunState::Queued { not_before: None, confirmed_by: None },
        Some((outcome, reason, step)) => RunState::Finished(Finished {
            outcome,
            started_at: Some(queued_at),
            at: queued_at.checked_add(std::time::Duration::from_secs(251)).unwrap(),
            reason: reason.into(),
            step: step.map(|(index, name)| (index, name.to_owned())),
        }),
    };
    Run {
        run: run_ref(name),
        commit: Some(CommitId::new(NEW).unwrap()),
        git_ref: Some(RefName::branch("main").unwrap()),
        sighting: 7,
        cause: Cause::Commit { sighting: 7 },
        definition: Hash::of(name.as_bytes()),
        params: BTreeMap::new(),
        upstream: Vec::new(),
        queued_at,
        attempt: 1,
        holds: shipbell::model::run::Holds::default(),
        tries: 1,
        state,
        outputs: BTreeMap::new(),
        artifacts: Vec::new(),
    }
}

/// Compares with a file of `tests/snapshots`. `BLESS=1 cargo test` writes it anew: then read the difference.
pub fn matches_snapshot(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(wanted == text, "{name} is now:\n{text}\nif that is right: BLESS=1 cargo test, and read the difference");
}
