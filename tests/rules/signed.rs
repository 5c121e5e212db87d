//! `signed-by`, and the other ways in which a head is chosen: what must not run takes nobody's place, and
//! is let in when the list of signers changes; quiet branches; two branches on one commit.

use shipbell::model::commit::{CommitId, RefName};
use shipbell::model::event::{Event, Refusal, Reply, RunRequest};

use super::scene::Scene;

const TEST: &str = "[job.test]\nsteps = \"make test\"\n";

/// A commit on top of main, which the next poll will see.
fn next_of_main(scene: &mut Scene) -> CommitId {
    let commit = scene.commit(Some(scene.tip("main")), "chen@example.org", &["a"]);
    scene.prepare("main", &commit);
    commit
}

#[test]
fn an_unsigned_head_is_shown_and_nothing_runs_for_it() {
    let mut scene = Scene::of(&format!("{TEST}[job.nightly]\nschedule = \"0 2 * * *\"\nsteps = \"make\"\n"));
    scene.push("main");
    scene.ok("test#1");
    let signed = scene.tip("main");
    let unsigned = next_of_main(&mut scene);
    scene.refused.insert(unsigned.clone(), "it is not signed".into());
    scene.poll();
    assert!(!scene.has("test#2"), "nothing runs for it");
    let sighting = scene.world.live.values().next().unwrap().sightings.values().next().unwrap().last().unwrap();
    assert_eq!((&sighting.commit.id, sighting.refused.as_deref()), (&unsigned, Some("it is not signed")));
    let request = RunRequest {
        job: "app/test".parse().unwrap(),
        git_ref: Some("main".into()),
        params: Default::default(),
        by: "root".into(),
    };
    match scene.turn(vec![Event::RunRequested(request)]).remove(0) {
        Reply::Refused(Refusal::Conflict(why)) => assert!(why.contains("it is not signed"), "{why}"),
        other => panic!("{other:?}"),
    }
    // By the clock the newest that may run runs.
    scene.at("2026-11-24T02:00:00Z");
    assert_eq!(scene.run("nightly#1").commit, Some(signed));
    // The key is added to the list: now it runs.
    scene.refused.clear();
    scene.poll();
    assert_eq!(scene.run("test#2").commit, Some(unsigned));
}

#[test]
fn an_unsigned_head_takes_nobodys_place_and_a_key_that_is_withdrawn_ends_what_waits() {
    let mut scene =
        Scene::of("[job.test]\nsteps = \"make test\"\npool = \"one\"\n[job.other]\nsteps = \"x\"\npool = \"one\"\n");
    scene.push("main");
    let waits = if scene.state("test#1") == "running" { "other#1" } else { "test#1" };
    let unsigned = next_of_main(&mut scene);
    scene.refused.insert(unsigned, "it is not signed".into());
    scene.poll();
    assert!(scene.state(waits).starts_with("waits"), "{}: {}", waits, scene.state(waits));
    let mut scene = Scene::of(
        "[repo]\nurl = \"https://git.example.org/app.git\"\n[job.test]\nsteps = \"make\"\npool = \"one\"\n[job.other]\nsteps = \"x\"\npool = \"one\"\n",
    );
    scene.push("main");
    let waits = if scene.state("test#1") == "running" { "other#1" } else { "test#1" };
    let tip = scene.tip("main");
    scene.refused.insert(tip, "it is signed by a key that is not among the allowed signers".into());
    scene.poll();
    assert!(scene.state(waits).contains("skipped"), "{}", scene.state(waits));
}

#[test]
fn what_has_run_is_not_retried_once_its_key_is_withdrawn() {
    let mut scene = Scene::of(TEST);
    scene.push("main");
    scene.ok("test#1");
    let old = scene.run("test#1").clone();
    scene.refused.insert(scene.tip("main"), "it is not signed".into());
    scene.poll();
    let retry = Event::RetryRequested { run: old.run.clone(), by: "root".into(), old: Box::new(old), gone: vec![] };
    match scene.turn(vec![retry]).remove(0) {
        Reply::Refused(Refusal::Conflict(why)) => assert!(why.contains("it is not signed"), "{why}"),
        other => panic!("{other:?}"),
    }
}

/// The file with and without a list of signers.
fn app(scene: &Scene, signers: Option<&str>, more: &str) -> String {
    let list = scene.path("signers");
    let key = signers.map_or(String::new(), |signers| {
        std::fs::write(&list, signers).unwrap();
        std::fs::set_permissions(&list, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        format!("signed-by = \"{}\"\n", list.display())
    });
    format!("[repo]\nurl = \"https://git.example.org/app.git\"\n{key}{more}")
}

const ANN: &str = "ann@example.org ssh-ed25519 AAAA\n";
const BOTH: &str = "ann@example.org ssh-ed25519 AAAA\nbob@example.org ssh-ed25519 BBBB\n";

#[test]
fn after_a_reload_nothing_starts_by_the_word_of_an_older_list() {
    let jobs = "[job.test]\nsteps = \"make test\"\n[job.nightly]\nschedule = \"0 2 * * *\"\nsteps = \"make\"\n";
    let mut scene = Scene::of(&format!("[repo]\nurl = \"https://git.example.org/app.git\"\n{jobs}"));
    scene.push("main");
    scene.ok("test#1");
    let (below, head) = (scene.tip("main"), scene.push("main"));
    scene.ok("test#2");
    // The file now demands signatures, and has a job that would run for the present head.
    let more = format!("{jobs}[job.lint]\nsteps = \"make lint\"\n");
    let text = app(&scene, Some(ANN), &more);
    scene.load(&text);
    scene.tick();
    assert!(scene.state("lint#1").contains("has not yet been checked"), "{}", scene.state("lint#1"));
    // Nor by the clock: neither the head nor what is below it.
    scene.at("2026-11-24T02:00:00Z");
    assert!(scene.state("nightly#1").contains("has not yet been checked"), "{}", scene.state("nightly#1"));
    scene.refused.insert(head, "it is not signed".into());
    scene.refused.insert(below, "it is not signed".into());
    scene.poll();
    assert_eq!(scene.state("lint#1"), "skipped (it is not signed)");
    assert_eq!(scene.state("nightly#1"), "skipped (it is not signed)");
    scene.at("2026-11-25T02:00:00Z");
    assert!(!scene.has("nightly#2"), "nothing is left that may run: {:?}", scene.states());
    // Another list lets the head in; what is below it is not tested anew.
    scene.refused.clear();
    let text = app(&scene, Some(BOTH), &more);
    scene.load(&text);
    scene.poll();
    let running: Vec<String> = scene.states().into_iter().filter(|state| state.ends_with("running")).collect();
    assert_eq!(running.len(), 1, "{:?}", scene.states());
    assert!(running[0].starts_with("lint#"), "{running:?}");
}

#[test]
fn a_person_cannot_start_what_was_not_checked_either() {
    let mut scene = Scene::of(&format!("[repo]\nurl = \"https://git.example.org/app.git\"\n{TEST}"));
    scene.push("main");
    scene.ok("test#1");
    let more = format!("{TEST}[job.by-hand]\nmanual = true\nsteps = \"true\"\n");
    let text = app(&scene, Some(ANN), &more);
    scene.load(&text);
    scene.start("by-hand");
    assert!(scene.state("by-hand#1").contains("has not yet been checked"), "{}", scene.state("by-hand#1"));
    scene.refused.insert(scene.tip("main"), "it is not signed".into());
    scene.poll();
    assert_eq!(scene.state("by-hand#1"), "skipped (it is not signed)");
}

#[test]
fn pull_requests_too_must_be_signed_where_the_file_says_so() {
    let empty = Scene::of(TEST);
    let more = format!("pulls = \"sandboxed\"\n{TEST}");
    let text = app(&empty, Some(ANN), &more);
    let mut scene = Scene::of(&text);
    scene.push("main");
    scene.ok("test#1");
    let pull = RefName::new("refs/pull/7/head").unwrap();
    let unsigned = scene.commit(Some(scene.tip("main")), "stranger@example.net", &["a"]);
    scene.refused.insert(unsigned.clone(), "it is not signed".into());
    scene.show(&pull, &unsigned);
    assert!(!scene.has("test#2"), "sandboxed or not: {:?}", scene.states());
    scene.open(&pull, &["b"]);
    assert_eq!(scene.state("test#2"), "running", "this one is");
    assert!(scene.run("test#2").is_pull());
}

#[test]
fn a_quiet_branch_is_waited_for_and_only_its_last_head_runs() {
    let mut scene = Scene::of(&format!("[repo]\nurl = \"https://git.example.org/app.git\"\nquiet = \"5m\"\n{TEST}"));
    scene.push("main");
    assert!(!scene.has("test#1"));
    scene.at("2026-11-23T10:04:00Z");
    scene.push("main");
    scene.at("2026-11-23T10:08:00Z");
    assert!(!scene.has("test#1"), "it has moved four minutes ago");
    scene.at("2026-11-23T10:10:00Z");
    assert_eq!(scene.run("test#1").commit, Some(scene.tip("main")));
    scene.ok("test#1");
    scene.at("2026-11-23T11:00:00Z");
    assert!(!scene.has("test#2"));
}

#[test]
fn two_branches_on_one_commit_are_tested_once() {
    let mut scene = Scene::of(&format!(
        "[repo]\nurl = \"https://git.example.org/app.git\"\nbranches = [\"main\", \"next\"]\n{TEST}"
    ));
    scene.push("main");
    scene.ok("test#1");
    let tip = scene.tip("main");
    scene.point("next", &tip);
    assert!(!scene.has("test#2"), "the commit has its outcome");
    scene.push("next");
    assert_eq!(scene.state("test#2"), "running");
}
