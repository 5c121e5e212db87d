//! How features combine (JOBFILES.md), one scene each: job files as a sysadmin writes them, the real
//! core, a small made-up git and a clock that the test sets.

#[path = "rules/choosing.rs"]
mod choosing;
#[path = "rules/crowd.rs"]
mod crowd;
#[path = "rules/pulls.rs"]
mod pulls;
#[path = "rules/reboot.rs"]
mod reboot;
#[path = "rules/retention.rs"]
mod retention;
#[path = "rules/scene.rs"]
mod scene;
#[path = "rules/signed.rs"]
mod signed;
#[path = "rules/telling.rs"]
mod telling;
#[path = "rules/votes.rs"]
mod votes;

use scene::Scene;
use shipbell::model::event::{Event, Refusal, Reply};
use shipbell::model::letter::LetterKind;
use shipbell::model::request::Verdict;
use shipbell::model::run::Outcome;

/// test → staging → production with one vote.
const SHOP: &str = r#"
[job.test]
steps = "make test"
[job.staging]
needs = "test"
environment = "staging"
steps = "make deploy"
[job.production]
needs = "staging"
environment = "production"
steps = "make deploy"
[environment.staging]
approval = "none"
[environment.production]
approval = { by = "@release", votes = 1, forbid = ["author"] }
"#;

/// Brings a new commit of main to the request for production; gives the number of its runs.
fn to_request(scene: &mut Scene, n: u32) {
    scene.push("main");
    scene.ok(&format!("test#{n}"));
    scene.ok(&format!("staging#{n}"));
}

#[test]
fn a_commit_goes_through_to_production_after_one_vote() {
    let mut scene = Scene::of(SHOP);
    to_request(&mut scene, 1);
    assert_eq!(scene.state("production#1"), "waits (approval, 0 of 1)");
    assert_eq!(
        scene.mails(|kind| matches!(kind, LetterKind::Approval { .. })),
        ["anna@example.org", "ben@example.org"]
    );
    scene.approve("anna", "production#1");
    assert_eq!(scene.state("production#1"), "running");
    scene.ok("production#1");
    assert_eq!(scene.state("production#1"), "succeeded");
    assert_eq!(scene.requests[&1].state.word(), "used");
}

#[test]
fn nothing_goes_past_a_red_test() {
    let mut scene = Scene::of(SHOP);
    scene.push("main");
    scene.end("test#1", Outcome::Failed);
    assert!(!scene.has("staging#1"));
    scene.push("main");
    scene.ok("test#2");
    assert_eq!(scene.state("staging#1"), "running");
}

#[test]
fn who_may_not_vote_is_told_so_and_nothing_moves() {
    let mut scene = Scene::of(SHOP);
    scene.push_as("main", "ben@example.org", &["a"]);
    scene.ok("test#1");
    scene.ok("staging#1");
    for (person, why) in [("chen", "not among the approvers"), ("ben", "wrote"), ("root", "no vote")] {
        match scene.approve(person, "production#1") {
            Reply::Refused(Refusal::NotAllowed(text)) => assert!(text.contains(why), "{text}"),
            other => panic!("{person}: {other:?}"),
        }
    }
    assert_eq!(scene.state("production#1"), "waits (approval, 0 of 1)");
}

#[test]
fn two_votes_are_two_people() {
    let mut scene = Scene::of(&SHOP.replace("votes = 1", "votes = 2"));
    to_request(&mut scene, 1);
    scene.approve("anna", "production#1");
    scene.approve("anna", "production#1");
    assert_eq!(scene.state("production#1"), "waits (approval, 1 of 2)");
    scene.approve("ben", "production#1");
    assert_eq!(scene.state("production#1"), "running");
}

#[test]
fn a_rejected_tuple_is_not_offered_again_but_a_new_commit_is() {
    let mut scene = Scene::of(SHOP);
    to_request(&mut scene, 1);
    scene.vote("anna", "production#1", Verdict::Reject);
    assert_eq!(scene.state("production#1"), "skipped (rejected by anna: not on a Monday)");
    to_request(&mut scene, 2);
    assert_eq!(scene.state("production#2"), "waits (approval, 0 of 1)");
}

#[test]
fn a_request_without_a_vote_gives_way_to_a_newer_one() {
    let mut scene = Scene::of(SHOP);
    to_request(&mut scene, 1);
    to_request(&mut scene, 2);
    assert_eq!(scene.state("production#1"), "skipped (superseded by app/production#2)");
    assert_eq!(scene.state("production#2"), "waits (approval, 0 of 1)");
}

#[test]
fn a_request_with_a_vote_stays_beside_a_newer_one_and_older_never_follows_newer() {
    let mut scene = Scene::of(&SHOP.replace("votes = 1", "votes = 2"));
    to_request(&mut scene, 1);
    scene.approve("anna", "production#1");
    to_request(&mut scene, 2);
    assert_eq!(scene.state("production#1"), "waits (approval, 1 of 2)");
    scene.approve("anna", "production#2");
    scene.approve("ben", "production#2");
    scene.ok("production#2");
    assert!(scene.state("production#1").starts_with("skipped (older"), "{}", scene.state("production#1"));
}

#[test]
fn votes_are_taken_until_the_request_expires() {
    let mut scene = Scene::of(SHOP);
    to_request(&mut scene, 1);
    scene.at("2026-11-26T09:59:59Z");
    assert_eq!(scene.state("production#1"), "waits (approval, 0 of 1)");
    scene.at("2026-11-26T10:00:00Z");
    assert_eq!(scene.state("production#1"), "skipped (expired: nobody decided in time)");
}

#[test]
fn approved_it_waits_for_the_window_and_dies_with_the_first_one_that_begins_after() {
    let window = SHOP.replace(
        "[environment.production]",
        "[environment.production]\nwindow = \"Mon-Thu 09:00-17:00\"\ntimezone = \"UTC\"",
    );
    let mut scene = Scene::of(&window);
    scene.at("2026-11-23T18:00:00Z");
    to_request(&mut scene, 1);
    scene.approve("anna", "production#1");
    assert!(
        scene.state("production#1").starts_with("waits (window, opens Tue 24 Nov 09:00"),
        "{}",
        scene.state("production#1")
    );
    scene.at("2026-11-24T09:00:00Z");
    assert_eq!(scene.state("production#1"), "running");

    let mut late = Scene::of(&window);
    late.at("2026-11-23T18:00:00Z");
    to_request(&mut late, 1);
    late.approve("anna", "production#1");
    late.at("2026-11-24T17:00:00Z");
    assert_eq!(late.state("production#1"), "skipped (expired: approved, but it could not start in time)");
}

#[test]
fn an_edit_of_the_job_voids_the_request_and_asks_anew() {
    let mut scene = Scene::of(SHOP);
    to_request(&mut scene, 1);
    scene.load(&SHOP.replace(
        "environment = \"production\"\nsteps = \"make deploy\"",
        "environment = \"production\"\nsteps = \"make ship\"",
    ));
    assert_eq!(scene.requests[&1].state.word(), "voided");
    assert_eq!(scene.requests[&2].state.word(), "open");
    assert_eq!(scene.state("production#1"), "waits (approval, 0 of 1)");
    scene.load(&format!(
        "# a comment changes nothing\n{}",
        SHOP.replace(
            "environment = \"production\"\nsteps = \"make deploy\"",
            "environment = \"production\"\nsteps = \"make ship\""
        )
    ));
    assert_eq!(scene.requests[&2].state.word(), "open");
}

#[test]
fn a_broken_file_goes_on_testing_and_holds_its_deployments() {
    let mut scene = Scene::of(SHOP);
    scene.push("main");
    scene.load(&format!("{SHOP}\nunknown-key = 1\n"));
    scene.ok("test#1");
    assert!(scene.state("staging#1").starts_with("waits (deployments held"), "{}", scene.state("staging#1"));
    scene.load(SHOP);
    assert_eq!(scene.state("staging#1"), "running");
}

#[test]
fn a_later_red_run_upstream_voids_an_open_request() {
    let mut scene = Scene::of(SHOP);
    to_request(&mut scene, 1);
    scene.start("test");
    scene.end("test#2", Outcome::Failed);
    assert_eq!(scene.requests[&1].state.word(), "voided");
    assert!(scene.state("production#1").starts_with("waits (needs test"), "{}", scene.state("production#1"));
    scene.start("test");
    scene.ok("test#3");
    assert_eq!(scene.state("production#1"), "waits (approval, 0 of 1)");
}

#[test]
fn a_lost_deployment_is_unknown_and_nothing_follows_until_it_is_resolved() {
    let mut scene = Scene::of(SHOP);
    scene.push("main");
    scene.ok("test#1");
    scene.lose("staging#1");
    assert!(scene.state("staging#1").starts_with("unknown"), "{}", scene.state("staging#1"));
    scene.push("main");
    scene.ok("test#2");
    assert!(scene.state("staging#2").contains("shipbell resolve app staging"), "{}", scene.state("staging#2"));
    let (pipeline, environment) = (scene::app(), "staging".parse().unwrap());
    scene.turn(vec![Event::Resolved { pipeline, environment, as_deployed: false, by: "anna".into() }]);
    assert_eq!(scene.state("staging#2"), "running");
}

#[test]
fn a_rewritten_branch_waits_for_a_person_on_staging() {
    let mut scene = Scene::of(SHOP);
    let first = scene.push("main");
    scene.ok("test#1");
    scene.ok("staging#1");
    scene.push("main");
    scene.ok("test#2");
    scene.ok("staging#2");
    let other = scene.commit(Some(first), "chen@example.org", &["b"]);
    scene.point("main", &other);
    scene.ok("test#3");
    assert!(
        scene.state("staging#3").starts_with("waits (a person: takes back 1 commit"),
        "{}",
        scene.state("staging#3")
    );
    scene.approve("root", "staging#3");
    assert_eq!(scene.state("staging#3"), "running");
}

#[test]
fn going_back_on_the_branch_does_not_go_back_on_the_environment() {
    let mut scene = Scene::of(SHOP);
    let first = scene.push("main");
    scene.ok("test#1");
    scene.ok("staging#1");
    scene.push("main");
    scene.ok("test#2");
    scene.ok("staging#2");
    scene.point("main", &first);
    assert!(!scene.has("test#3") && !scene.has("staging#3"), "{:?}", scene.states());
}

#[test]
fn heads_are_coalesced_before_they_begin_and_not_after() {
    let mut scene = Scene::of(SHOP);
    scene.push("main");
    scene.push("main");
    let third = scene.push("main");
    assert_eq!(scene.state("test#1"), "running");
    assert_eq!(scene.state("test#2"), format!("skipped (newer head {} on main)", third.short()));
    assert_eq!(scene.state("test#3"), "waits (after #1)");
    scene.ok("test#1");
    assert_eq!((scene.state("staging#1"), scene.state("test#3")), ("running".into(), "running".into()));
}

#[test]
fn every_commit_runs_where_the_file_says_so() {
    let mut scene = Scene::of(
        "[repo]\nurl = \"https://git.example.org/app.git\"\ncommits = \"every\"\n[job.test]\nsteps = \"true\"\n",
    );
    let first = scene.push("main");
    scene.ok("test#1");
    let second = scene.commit(Some(first), "chen@example.org", &["a"]);
    let third = scene.commit(Some(second.clone()), "chen@example.org", &["a"]);
    scene.point("main", &third);
    assert_eq!(scene.run("test#2").commit.as_ref(), Some(&second));
    scene.ok("test#2");
    assert_eq!(scene.run("test#3").commit.as_ref(), Some(&third));
}

#[test]
fn a_job_whose_paths_did_not_change_carries_its_outcome_over() {
    let mut scene = Scene::of(
        "[job.api]\npaths = \"api/**\"\nsteps = \"true\"\n[job.web]\npaths = \"web/**\"\nsteps = \"true\"\n[job.both]\nneeds = [\"api\", \"web\"]\nsteps = \"true\"\n",
    );
    scene.push_as("main", "chen@example.org", &["api/a", "web/a"]);
    scene.ok("api#1");
    scene.end("web#1", Outcome::Failed);
    assert!(!scene.has("both#1"));
    scene.push_as("main", "chen@example.org", &["web/b"]);
    assert!(!scene.has("api#2"));
    scene.ok("web#2");
    assert_eq!(scene.state("both#1"), "running");
    scene.push_as("main", "chen@example.org", &["api/b"]);
    scene.end("api#2", Outcome::Failed);
    scene.push_as("main", "chen@example.org", &["web/c"]);
    scene.ok("web#3");
    assert!(!scene.has("both#2"), "red keeps blocking: {:?}", scene.states());
}

#[test]
fn a_tag_on_a_tested_commit_does_not_test_again() {
    let mut scene = Scene::of(
        "[job.test]\nsteps = \"true\"\n[job.release]\nneeds = \"test\"\ntags = \"v*\"\nenvironment = \"live\"\nsteps = \"true\"\n[environment.live]\napproval = \"none\"\n",
    );
    let commit = scene.push("main");
    scene.ok("test#1");
    assert!(!scene.has("release#1"));
    scene.tag("v1", &commit);
    assert_eq!(scene.state("release#1"), "running");
    assert!(!scene.has("test#2"));
}

#[test]
fn what_stood_there_at_first_sight_runs_only_where_it_is_named() {
    let text = "[repo]\nurl = \"https://git.example.org/app.git\"\nbranches = [\"main\", \"feature/*\"]\n[job.test]\nsteps = \"true\"\n";
    let mut fresh = Scene::of(text);
    let (a, b) = (fresh.commit(None, "c@x", &["a"]), fresh.commit(None, "c@x", &["b"]));
    fresh.prepare("main", &a);
    fresh.point("feature/old", &b);
    assert_eq!(fresh.run("test#1").commit.as_ref(), Some(&a));
    assert!(!fresh.has("test#2"));
    fresh.push("feature/new");
    assert!(fresh.has("test#2"), "a branch that appears later runs");
}

#[test]
fn a_nightly_takes_the_newest_green_commit_and_skips_when_nothing_changed() {
    let nightly = SHOP.replace(
        "[job.staging]\nneeds = \"test\"",
        "[job.staging]\nneeds = \"test\"\nschedule = \"0 2 * * *\"\ntimezone = \"UTC\"",
    );
    let mut scene = Scene::of(&nightly);
    let green = scene.push("main");
    scene.ok("test#1");
    assert!(!scene.has("staging#1"));
    scene.push("main");
    scene.end("test#2", Outcome::Failed);
    scene.at("2026-11-24T02:00:00Z");
    assert_eq!(scene.run("staging#1").commit.as_ref(), Some(&green));
    scene.ok("staging#1");
    scene.at("2026-11-25T02:00:00Z");
    assert!(!scene.has("staging#2"));
    let verdicts: Vec<String> = scene.ledger.values().map(|row| format!("{:?}", row.verdict)).collect();
    assert_eq!(verdicts.len(), 2, "{verdicts:?}");
    assert!(verdicts[1].contains("unchanged"), "{verdicts:?}");
}

#[test]
fn due_times_missed_while_it_was_down_become_one_run() {
    let mut scene =
        Scene::of("# no repo\n[job.backup]\nschedule = \"0 * * * *\"\ntimezone = \"UTC\"\nsteps = \"true\"\n");
    scene.at("2026-11-23T15:30:00Z");
    assert_eq!(scene.started.len(), 1);
    let rows: u64 = scene.ledger.values().map(|row| row.count).sum();
    assert_eq!(rows, 5, "11, 12, 13, 14 and 15 o'clock: {:?}", scene.ledger);
}

#[test]
fn a_due_time_during_a_run_waits_and_is_one_run() {
    let mut scene =
        Scene::of("# no repo\n[job.slow]\nschedule = \"*/10 * * * *\"\ntimezone = \"UTC\"\nsteps = \"true\"\n");
    for minute in [10, 20, 30, 40] {
        scene.at(&format!("2026-11-23T10:{minute}:00Z"));
    }
    assert_eq!((scene.state("slow#1"), scene.state("slow#2")), ("running".into(), "waits (after #1)".into()));
    assert!(!scene.has("slow#3"));
    scene.ok("slow#1");
    assert_eq!(scene.state("slow#2"), "running");
}

#[test]
fn retry_is_further_attempts_of_one_run() {
    let mut scene = Scene::of("[job.test]\nsteps = \"true\"\nretry = { attempts = 2, delay = \"1m\" }\n");
    scene.push("main");
    scene.end("test#1", Outcome::Failed);
    assert!(scene.state("test#1").starts_with("waits (the delay"), "{}", scene.state("test#1"));
    scene.at("2026-11-23T10:01:00Z");
    scene.end("test#1", Outcome::Failed);
    assert_eq!(scene.state("test#1"), "failed (exit 1)");
    assert_eq!(scene.run("test#1").tries, 2);
}

#[test]
fn pools_and_slots_hold_the_oldest_first() {
    let job = |name: &str| {
        format!("[job.{name}]\nschedule = \"30 10 * * *\"\ntimezone = \"UTC\"\npool = \"disk\"\nsteps = \"true\"\n")
    };
    let mut scene = Scene::of(&format!("# no repo\n{}{}", job("a"), job("b")));
    scene.at("2026-11-23T10:30:00Z");
    assert_eq!((scene.state("a#1"), scene.state("b#1")), ("running".into(), "waits (pool disk)".into()));
    scene.ok("a#1");
    assert_eq!(scene.state("b#1"), "running");
}

#[test]
fn a_deleted_branch_ends_what_had_not_begun() {
    let mut scene = Scene::of(
        "[repo]\nurl = \"https://git.example.org/app.git\"\nbranches = \"*\"\n[job.test]\nsteps = \"true\"\n",
    );
    scene.push("main");
    scene.push("side");
    scene.push("side");
    scene.delete("side");
    assert!(scene.states().iter().any(|state| state.contains("branch side was deleted")), "{:?}", scene.states());
}

#[test]
fn a_run_whose_needs_failed_meanwhile_holds_nobody_up() {
    let mut scene = Scene::of(SHOP);
    scene.push("main");
    scene.ok("test#1");
    scene.push("main");
    scene.ok("test#2");
    assert_eq!(scene.state("staging#2"), "waits (after #1)");
    scene.start("test");
    scene.end("test#3", Outcome::Failed);
    scene.push("main");
    scene.ok("test#4");
    scene.ok("staging#1");
    assert!(scene.state("staging#2").starts_with("waits (needs test"), "{}", scene.state("staging#2"));
    assert_eq!(scene.state("staging#3"), "running");
}

#[test]
fn a_due_time_runs_once_also_when_the_clock_goes_back_and_the_schedule_changes() {
    let job = |schedule: &str| {
        format!("# no repo\n[job.backup]\nschedule = \"{schedule}\"\ntimezone = \"UTC\"\nsteps = \"true\"\n")
    };
    let mut scene = Scene::of(&job("30 10 * * *"));
    scene.at("2026-11-23T10:30:00Z");
    scene.ok("backup#1");
    scene.load(&job("45 10 * * *"));
    scene.at("2026-11-23T10:20:00Z");
    scene.load(&job("30 10 * * *"));
    scene.at("2026-11-23T10:31:00Z");
    assert!(!scene.has("backup#2"), "{:?}", scene.states());
}

#[test]
fn at_reboot_is_once_a_boot_of_the_host() {
    let booted = |boot: &str| vec![Event::Booted { boot_id: boot.into() }];
    let mut scene = Scene::of("# no repo\n[job.warm]\nschedule = \"@reboot\"\ntimezone = \"UTC\"\nsteps = \"true\"\n");
    scene.turn(booted("first"));
    assert!(!scene.has("warm#1"), "the boot in which the file was loaded is no new one");
    scene.at("2026-11-23T11:00:00Z");
    scene.turn(booted("second"));
    scene.ok("warm#1");
    scene.turn(booted("second"));
    assert!(!scene.has("warm#2"), "a restart within one boot");
    scene.at("2026-11-23T12:00:00Z");
    scene.turn(booted("third"));
    assert_eq!(scene.state("warm#2"), "running");
}
