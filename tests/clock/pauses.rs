//! Pauses: of a job, a pipeline, all.

use shipbell::model::event::{Event, Refusal, Reply};
use shipbell::model::letter::LetterKind;
use shipbell::model::run::Outcome;

use crate::scene::Scene;
use crate::{HOURLY, at, ledger};

fn pause(scene: &mut Scene, scope: &str, until: Option<&str>) -> Reply {
    let (scope, until) = (scope.parse().unwrap(), until.map(at));
    scene.turn(vec![Event::Paused { scope, until, note: "the disk is replaced".into(), by: "ann".into() }]).remove(0)
}

fn resume(scene: &mut Scene, scope: &str) -> Reply {
    scene.turn(vec![Event::Resumed { scope: scope.parse().unwrap(), by: "ann".into() }]).remove(0)
}

#[test]
fn every_due_time_of_a_pause_has_its_row_and_its_end_is_no_burst() {
    for scope in ["*", "app", "app/a"] {
        let mut scene = Scene::of(HOURLY);
        scene.at("2026-11-23T11:00:00Z");
        let Reply::Told(told) = pause(&mut scene, scope, None) else { panic!() };
        assert!(told.contains("1 running go on") && told.contains("shipbell resume"), "{told}");
        // Asleep for some of it.
        scene.at("2026-11-23T15:10:00Z");
        scene.ok("a#1");
        scene.now = at("2026-11-23T17:10:00Z");
        assert!(matches!(resume(&mut scene, scope), Reply::Told(_)));
        assert_eq!(
            ledger(&scene, "a")[1..],
            ["2026-11-23T12:00:00Z 2026-11-23T17:00:00Z x6 skipped paused: the disk is replaced"],
            "{scope}"
        );
        assert!(!scene.has("a#2"), "nothing is caught up");
        scene.at("2026-11-23T18:00:00Z");
        assert_eq!(scene.state("a#2"), "running");
        assert!(matches!(resume(&mut scene, scope), Reply::Refused(Refusal::Conflict(_))));
    }
}

#[test]
fn a_pause_ends_by_itself_at_the_instant_that_was_said() {
    let mut scene = Scene::of(HOURLY);
    pause(&mut scene, "app", Some("2026-11-23T13:00:00Z"));
    scene.at("2026-11-23T13:30:00Z");
    assert_eq!(
        ledger(&scene, "a"),
        [
            "2026-11-23T11:00:00Z 2026-11-23T12:00:00Z x2 skipped paused: the disk is replaced",
            "2026-11-23T13:00:00Z 2026-11-23T13:00:00Z x1 run app/a#1",
        ],
        "the due time of its end is after it, even when the daemon slept"
    );
    assert!(scene.world.pauses.is_empty());
}

#[test]
fn queued_runs_wait_and_a_person_hears_what_to_do() {
    let mut scene = Scene::of(HOURLY);
    scene.at("2026-11-23T11:00:00Z");
    scene.at("2026-11-23T12:00:00Z");
    pause(&mut scene, "app/a", None);
    scene.ok("a#1");
    assert_eq!(scene.state("a#2"), "waits (paused: the disk is replaced)");
    let Reply::Refused(refusal) = scene.start("a") else { panic!() };
    assert_eq!(refusal.to_string(), "app/a is paused: the disk is replaced; to let it go: shipbell resume app/a");
    resume(&mut scene, "app/a");
    assert_eq!(scene.state("a#2"), "running");
}

#[test]
fn of_the_commits_meanwhile_the_newest_runs() {
    let text = "[job.test]\nsteps = \"make\"\n[job.image]\nneeds = \"test\"\nsteps = \"make\"\n";
    let mut scene = Scene::of(text);
    scene.push("main");
    scene.ok("test#1");
    scene.ok("image#1");
    pause(&mut scene, "app/image", None);
    for n in 2..=4 {
        scene.push("main");
        scene.ok(&format!("test#{n}"));
    }
    assert!(!scene.has("image#2"));
    // A reload or restart in between changes nothing.
    scene.world.look_at_everything();
    scene.tick();
    resume(&mut scene, "app/image");
    let newest = scene.run("test#4").commit.clone();
    assert_eq!((scene.run("image#2").commit.clone(), scene.has("image#3")), (newest, false));
    scene.world.look_at_everything();
    scene.tick();
    assert!(!scene.has("image#3"), "and not later either");

    pause(&mut scene, "*", None);
    scene.push("main");
    scene.push("main");
    assert!(!scene.has("test#5"));
    resume(&mut scene, "*");
    assert!(scene.has("test#5") && !scene.has("test#6"));
}

#[test]
fn nobody_is_asked_while_it_is_paused() {
    let text = "[job.test]\nsteps = \"make\"\n[job.live]\nneeds = \"test\"\nenvironment = \"production\"\n\
                steps = \"make\"\n[environment.production]\napproval = { by = \"@release\" }\n";
    let mut scene = Scene::of(text);
    scene.push("main");
    pause(&mut scene, "app/live", None);
    scene.ok("test#1");
    let asked = |scene: &Scene| scene.mails(|kind| matches!(kind, LetterKind::Approval { .. })).len();
    assert_eq!(asked(&scene), 0);
    resume(&mut scene, "app/live");
    assert_eq!(asked(&scene), 2, "{:?}", scene.states());
    // What was asked before stays asked; approved, it waits for the end of the pause.
    pause(&mut scene, "app/live", None);
    scene.approve("anna", "live#1");
    assert_eq!(scene.state("live#1"), "waits (paused: the disk is replaced)");
    resume(&mut scene, "app/live");
    scene.end("live#1", Outcome::Succeeded);
}
