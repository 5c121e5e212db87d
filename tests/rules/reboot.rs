//! The host goes down, in its own time or at once: what was cut off is interrupted, begun anew or told,
//! and a deployment that had begun is unknown. A stop by hand stays one.

use shipbell::model::event::Event;
use shipbell::model::letter::LetterKind;
use shipbell::model::run::{Outcome, Usage};
use shipbell::model::ticket::Evidence;

use crate::scene::Scene;

const SHOP: &str = r#"
[job.test]
steps = "make test"
[job.report]
on-interrupted = "report"
notify = { email = "dev@example.org" }
steps = "make report"
[job.staging]
needs = "test"
environment = "staging"
notify = { email = "dev@example.org" }
steps = "make deploy"
[environment.staging]
approval = "none"
"#;

/// An end of which the supervisor could still tell, in this step.
fn told(scene: &mut Scene, name: &str, outcome: Outcome, step: (u32, &str)) {
    let run = scene.run(name).clone();
    let reason = format!("the host was shut down in step {} \"{}\"", step.0, step.1);
    let (step, usage) = (Some((step.0, step.1.to_owned())), Usage::default());
    let evidence = Evidence::Finished { outcome, reason, step, usage, empty: true };
    scene.turn(vec![Event::Ended { run: run.run, attempt: run.attempt, evidence }]);
}

#[test]
fn what_a_shutdown_cut_off_is_begun_anew_or_reported() {
    let mut scene = Scene::of(SHOP);
    scene.push("main");
    told(&mut scene, "test#1", Outcome::Interrupted, (1, "make test"));
    assert_eq!(scene.state("test#1"), "running", "on-interrupted = \"retry\" is usual");
    assert_eq!(scene.run("test#1").attempt, 2);
    told(&mut scene, "report#1", Outcome::Interrupted, (1, "make report"));
    let state = scene.state("report#1");
    assert!(state.starts_with("interrupted"), "{state}");
    assert_eq!(scene.mails(|kind| matches!(kind, LetterKind::Failure { .. })).len(), 1, "it is told");
    // Somebody's stop is no interruption: nothing begins anew.
    told(&mut scene, "test#1", Outcome::Cancelled, (1, "make test"));
    assert!(scene.state("test#1").starts_with("cancelled"), "{}", scene.state("test#1"));
}

#[test]
fn a_deployment_that_a_shutdown_cut_off_is_unknown_once_it_had_begun() {
    let mut scene = Scene::of(SHOP);
    scene.push("main");
    scene.ok("test#1");
    told(&mut scene, "staging#1", Outcome::Interrupted, (1, "make deploy"));
    assert!(scene.state("staging#1").starts_with("unknown"), "{}", scene.state("staging#1"));
    assert_eq!(scene.mails(|kind| matches!(kind, LetterKind::Unknown { .. })).len(), 1, "people hear of it");
    scene.push("main");
    scene.ok("test#2");
    assert!(scene.state("staging#2").contains("shipbell resolve app staging"), "{}", scene.state("staging#2"));
}
