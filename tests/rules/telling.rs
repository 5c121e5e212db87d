//! Who hears of a run's end beside those whom the file names, and what a host hears of jobs that did not run.

use shipbell::model::commit::{Authors, RefName};
use shipbell::model::event::Event;
use shipbell::model::letter::{Letter, LetterKind, LetterState};
use shipbell::model::run::Outcome;

use crate::scene::Scene;

const COMMITTERS: &str = r#"
[job.test]
steps = "make test"
notify = { email = "@committers" }
"#;

const MAIL: &str = "[mail]\nto = \"ops@example.org\"\n";

/// Addresses of letters about a run's end, oldest first, without the one that stands for all authors.
fn told(scene: &Scene, run: &str) -> Vec<String> {
    let about = |kind: &LetterKind| kind.run().is_some_and(|of| of.to_string() == format!("app/{run}"));
    let all = scene.letters.values().filter(|letter| about(&letter.kind) && !letter.is_to_committers());
    all.map(|letter| letter.to.clone()).collect()
}

fn to_all(scene: &Scene) -> Vec<&Letter> {
    scene.letters.values().filter(|letter| letter.is_to_committers()).collect()
}

#[test]
fn authors_since_the_last_success_hear_of_failure_and_recovery() {
    let mut scene = Scene::with_settings(MAIL, COMMITTERS);
    scene.push_as("main", "old@example.org", &["a"]);
    scene.ok("test#1");
    scene.push_as("main", "one@example.org", &["a"]);
    scene.end("test#2", Outcome::Failed);
    assert_eq!(told(&scene, "test#2"), ["one@example.org"]);
    scene.push_as("main", "two@example.org", &["a"]);
    scene.end("test#3", Outcome::Failed);
    assert_eq!(told(&scene, "test#3"), ["two@example.org", "one@example.org"], "since the last success, newest first");
    scene.push_as("main", "anna@example.org", &["a"]);
    scene.ok("test#4");
    assert_eq!(told(&scene, "test#4"), ["anna@example.org", "two@example.org", "one@example.org"]);
    assert!(to_all(&scene).iter().all(|letter| matches!(letter.state, LetterState::Sent { .. })));
    let noted = scene.letters.values().filter(|letter| !letter.is_to_committers()).all(|letter| letter.note.is_some());
    assert!(noted, "each says why it came");
}

#[test]
fn whom_the_file_names_is_told_once_and_others_at_once() {
    let jobs = COMMITTERS.replace("\"@committers\"", "[\"lead@example.org\", \"@committers\"]");
    let mut scene = Scene::with_settings(MAIL, &jobs);
    scene.push_as("main", "lead@example.org", &["a"]);
    scene.end("test#1", Outcome::Failed);
    assert_eq!(told(&scene, "test#1"), ["lead@example.org"]);
    scene.push_as("main", "|/bin/sh@example.org", &["a"]);
    scene.end("test#2", Outcome::Failed);
    assert_eq!(told(&scene, "test#2"), ["lead@example.org"], "no address of this kind is ever used");
}

#[test]
fn where_no_author_can_be_told_somebody_is() {
    let mut scene = Scene::with_settings(MAIL, COMMITTERS);
    scene.push_as("main", "1+x@users.noreply.github.com", &["a"]);
    scene.end("test#1", Outcome::Failed);
    assert_eq!(told(&scene, "test#1"), ["ops@example.org"]);
}

#[test]
fn a_rewritten_branch_with_thousands_of_authors_mails_twenty() {
    let mut scene = Scene::with_settings(MAIL, COMMITTERS);
    scene.push_as("main", "old@example.org", &["a"]);
    scene.ok("test#1");
    let mut tip = None;
    for number in 0..5000 {
        tip = Some(scene.commit(tip, &format!("author{number}@example.org"), &["a"]));
    }
    scene.point("main", &tip.unwrap());
    scene.end("test#2", Outcome::Failed);
    let told = told(&scene, "test#2");
    assert_eq!(
        (told.len(), told[0].as_str(), told[19].as_str()),
        (20, "author4999@example.org", "author4980@example.org")
    );
    let note = scene.letters.values().find_map(|letter| letter.note.clone()).unwrap();
    assert!(note.ends_with("20 authors are told, those of the newest commits; 4980 further are not."), "{note}");
}

#[test]
fn while_git_cannot_tell_the_letter_waits_and_nobody_is_told_twice() {
    let mut scene = Scene::with_settings(MAIL, COMMITTERS);
    scene.no_git = true;
    scene.push_as("main", "one@example.org", &["a"]);
    scene.end("test#1", Outcome::Failed);
    let letter = to_all(&scene)[0].clone();
    assert!(matches!(letter.state, LetterState::Waiting { last_error: Some(_), .. }), "{letter:?}");
    assert!(told(&scene, "test#1").is_empty());
    scene.no_git = false;
    scene.at("2026-11-23T10:01:00Z");
    assert_eq!(told(&scene, "test#1"), ["one@example.org"]);
    let authors = Ok(Authors { mails: vec!["one@example.org".into()], more: false });
    scene.turn(vec![Event::AuthorsFound { letter: letter.id, authors }]);
    assert_eq!(told(&scene, "test#1"), ["one@example.org"], "an answer that comes twice is heard once");
}

#[test]
fn silence_and_pull_requests_are_nobodys_commit() {
    let jobs = COMMITTERS.replace("\"@committers\"", "\"@committers\", stale-after = \"1h\"");
    let repo = "[repo]\nurl = \"https://git.example.org/app.git\"\npulls = \"sandboxed\"\n";
    let mut scene = Scene::with_settings(MAIL, &format!("{repo}{jobs}"));
    scene.push("main");
    scene.ok("test#1");
    let pull = RefName::new("refs/pull/7/head").unwrap();
    scene.open(&pull, &["src/main.c"]);
    scene.end("test#2", Outcome::Failed);
    assert!(scene.letters.is_empty(), "who opens pull requests mails nobody: {:?}", scene.letters);
    scene.at("2026-11-23T12:00:00Z");
    let stale = scene.mails(|kind| matches!(kind, LetterKind::Stale { .. }));
    assert_eq!((stale, to_all(&scene).len()), (vec!["ops@example.org".to_owned()], 0));
}

const PATHS: &str = r#"
[repo]
url = "https://github.com/o/app.git"
[job.test]
paths = "src/**"
steps = "make test"
[job.docs]
commit-status = false
paths = "docs/**"
steps = "make docs"
"#;

const GITHUB: &str = "[github]\ncredential = \"token\"\n";

/// What the host was told of jobs that did not run: job, and commit.
fn carried(scene: &Scene) -> Vec<(String, String)> {
    let of = |letter: &Letter| match &letter.kind {
        LetterKind::Carried { commit, run } => Some((run.job.job.to_string(), commit.to_string())),
        _ => None,
    };
    scene.letters.values().filter_map(of).collect()
}

#[test]
fn a_job_that_does_not_apply_is_told_to_the_host_once_per_commit() {
    let mut scene = Scene::with_settings(GITHUB, PATHS);
    scene.push_as("main", "chen@example.org", &["src/a.c", "docs/a.md"]);
    scene.ok("test#1");
    scene.ok("docs#1");
    let second = scene.push_as("main", "chen@example.org", &["README"]);
    assert_eq!(carried(&scene), [("test".to_owned(), second.to_string())], "the quiet job says nothing");
    scene.poll();
    scene.tick();
    assert_eq!(carried(&scene).len(), 1, "once");
    let third = scene.push_as("main", "chen@example.org", &["README"]);
    assert_eq!(carried(&scene).last().map(|(_, commit)| commit.clone()), Some(third.to_string()));
    scene.push_as("main", "chen@example.org", &["src/a.c"]);
    assert_eq!(carried(&scene).len(), 2, "it runs: that is told of the run");
}

#[test]
fn what_is_carried_over_later_changes_with_the_run_it_comes_from() {
    let mut scene = Scene::with_settings(GITHUB, PATHS);
    scene.push_as("main", "chen@example.org", &["src/a.c"]);
    let second = scene.push_as("main", "chen@example.org", &["README"]);
    let of_second = |scene: &Scene| carried(scene).iter().filter(|(_, commit)| *commit == second.as_str()).count();
    assert_eq!(of_second(&scene), 1, "told while the run that it hangs on goes on");
    scene.end("test#1", Outcome::Failed);
    assert_eq!(of_second(&scene), 2, "and when that ended");
    let run = scene.run("test#1").clone();
    scene.turn(vec![Event::RetryRequested {
        run: run.run.clone(),
        by: "anna".into(),
        old: Box::new(run),
        gone: vec![],
    }]);
    scene.ok("test#2");
    assert_eq!(of_second(&scene), 3, "a later success of that commit stands for this one too");
}

#[test]
fn a_newer_head_of_a_pull_request_is_told_what_its_last_run_came_to() {
    let jobs = PATHS.replace("app.git\"", "app.git\"\npulls = \"sandboxed\"");
    let mut scene = Scene::with_settings(GITHUB, &jobs);
    scene.push_as("main", "chen@example.org", &["src/a.c"]);
    scene.ok("test#1");
    let pull = RefName::new("refs/pull/7/head").unwrap();
    scene.open(&pull, &["src/a.c"]);
    let aside = scene.open(&pull, &["README"]).to_string();
    let of_it = |scene: &Scene| carried(scene).iter().filter(|(_, commit)| *commit == aside).count();
    assert_eq!((scene.has("test#3"), of_it(&scene)), (false, 1), "told while the run that it hangs on goes on");
    scene.ok("test#2");
    assert_eq!(of_it(&scene), 2, "and when that ended");
    scene.open(&pull, &["src/b.c"]);
    scene.ok("test#3");
    assert_eq!(of_it(&scene), 2, "a head that runs has its own");
}

#[test]
fn without_a_host_or_a_credential_nothing_is_written() {
    for settings in ["", "[github]\n", "[gitlab]\ncredential = \"token\"\n"] {
        let mut scene = Scene::with_settings(settings, PATHS);
        scene.push_as("main", "chen@example.org", &["src/a.c"]);
        scene.ok("test#1");
        scene.push_as("main", "chen@example.org", &["README"]);
        assert!(carried(&scene).is_empty(), "{settings}");
    }
}
