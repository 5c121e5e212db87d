//! Which votes count: by the factor that the environment asks for, with keys that are the person's now. And
//! root, who needs none, and whom everybody hears of.

use shipbell::model::event::{Ballot, Event, Refusal, Reply};
use shipbell::model::letter::LetterKind;
use shipbell::model::request::{RequestState, Signed, Verdict};
use shipbell::model::statement::Statement;

use super::scene::Scene;

const JOBS: &str = r#"
[job.test]
steps = "make test"
[job.production]
needs = "test"
steps = "make deploy"
environment = "production"
retry = { attempts = 2 }
[environment.production]
approval = { by = "@release", votes = 2, factor = "sshsig" }
"#;

fn key(who: u8) -> String {
    format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{}", char::from(b'A' + who).to_string().repeat(43))
}

fn keys(of: &[(&str, u8)]) -> String {
    let person = |(name, who): &(&str, u8)| {
        format!("[person.{name}]\nemail = \"{name}@example.org\"\nroles = [\"release\"]\nssh-key = \"{}\"\n", key(*who))
    };
    of.iter().map(person).collect()
}

/// dora and eve release with keys; anna and ben, of the scene, hold the role and have none.
fn asked() -> Scene {
    let mut scene = Scene::with_settings(&keys(&[("dora", 0), ("eve", 1)]), JOBS);
    scene.push("main");
    scene.ok("test#1");
    scene
}

fn on_tuesdays() -> String {
    format!("{JOBS}window = \"Tue 09:00-17:00\"\n")
}

/// The same, while the window is closed.
fn closed() -> Scene {
    let mut scene = Scene::with_settings(&keys(&[("dora", 0), ("eve", 1)]), &on_tuesdays());
    scene.push("main");
    scene.ok("test#1");
    scene
}

/// As the shell puts it once it has checked the signature.
fn signs(scene: &mut Scene, person: &str, who: u8) -> Reply {
    let run = scene.run("production#1").run.clone();
    let signed = Some(Signed { key: key(who), signature: "armored".into() });
    let (request, reason) = (scene.world.request_of(&run).map(|request| request.id), String::new());
    let (verdict, via) = (Verdict::Approve, "mail".into());
    let ballot =
        Ballot { run, request, person: Some(person.parse().unwrap()), verdict, reason, via, signed, coded: false };
    scene.turn(vec![Event::Voted(ballot)]).remove(0)
}

fn refused(reply: Reply, with: &str) {
    match reply {
        Reply::Refused(Refusal::Conflict(why) | Refusal::NotAllowed(why)) => assert!(why.contains(with), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_word_does_not_count_where_signatures_are_asked_for() {
    let mut scene = asked();
    refused(scene.approve("dora", "production#1"), "takes signed votes");
    refused(scene.approve("anna", "production#1"), "has no ssh-key");
    assert!(scene.requests[&1].votes.is_empty());
    let excluded: Vec<&str> = scene.requests[&1].brief.excluded.iter().map(|(person, _)| person.as_str()).collect();
    assert_eq!(excluded, ["anna", "ben"], "and they were told why");
    signs(&mut scene, "dora", 0);
    assert_eq!(scene.state("production#1"), "waits (approval, 1 of 2)");
    signs(&mut scene, "eve", 1);
    assert_eq!(scene.state("production#1"), "running");
    let receipts = scene.orders.last().unwrap().receipts.clone().unwrap();
    let people: Vec<&str> = receipts.votes.iter().map(|vote| vote.person.as_str()).collect();
    assert_eq!(people, ["dora", "eve"]);
    let git_ref = scene.run("production#1").git_ref.clone();
    assert_eq!(receipts.statement, Statement::of(&scene.requests[&1], git_ref.as_ref()));
}

#[test]
fn a_word_is_enough_to_say_no() {
    let mut scene = asked();
    signs(&mut scene, "dora", 0);
    scene.vote("eve", "production#1", Verdict::Reject);
    assert!(scene.state("production#1").starts_with("skipped (rejected by eve"), "{}", scene.state("production#1"));
}

#[test]
fn a_signature_counts_while_its_key_is_the_persons() {
    let mut scene = closed();
    signs(&mut scene, "dora", 0);
    signs(&mut scene, "eve", 1);
    assert!(scene.state("production#1").starts_with("waits (window"), "{}", scene.state("production#1"));
    // eve has another key now: the one that she signed with may be somebody else's.
    scene.settings = keys(&[("dora", 0), ("eve", 2)]);
    scene.load(&on_tuesdays());
    assert_eq!(scene.requests[&1].state.word(), "voided", "{:?}", scene.requests[&1].state);
}

#[test]
fn the_stronger_factor_holds_whoever_asks_for_it() {
    let policy = "[environment.production]\napproval = { by = \"@release\", factor = \"sshsig\" }\n";
    let laxer = JOBS.replace("votes = 2, factor = \"sshsig\"", "votes = 1, factor = \"word\"");
    let mut scene = Scene::with_settings(&format!("{}{policy}", keys(&[("dora", 0)])), &laxer);
    scene.push("main");
    scene.ok("test#1");
    refused(scene.approve("dora", "production#1"), "takes signed votes");
    signs(&mut scene, "dora", 0);
    assert_eq!(scene.state("production#1"), "running");
}

/// dora's phone makes codes; eve has none.
fn asked_for_codes(more: &str) -> Scene {
    let people = "[person.dora]\nemail = \"dora@example.org\"\nroles = [\"release\"]\ntotp = \"totp-dora\"\n\
                  [person.eve]\nemail = \"eve@example.org\"\nroles = [\"release\"]\n";
    let jobs = format!("{}{more}", JOBS.replace("votes = 2, factor = \"sshsig\"", "factor = \"totp\""));
    let mut scene = Scene::with_settings(people, &jobs);
    scene.push("main");
    scene.ok("test#1");
    scene
}

/// As the shell puts it once the executor has taken her code.
fn types(scene: &mut Scene, run: &str) -> Reply {
    let run = scene.run(run).run.clone();
    let (person, verdict) = (Some("dora".parse().unwrap()), Verdict::Approve);
    let request = scene.world.request_of(&run).map(|request| request.id);
    let (reason, via) = (String::new(), "mail".into());
    let ballot = Ballot { run, request, person, verdict, reason, via, signed: None, coded: true };
    scene.turn(vec![Event::Voted(ballot)]).remove(0)
}

#[test]
fn a_word_does_not_count_where_codes_are_asked_for_nor_does_who_has_no_phone() {
    let mut scene = asked_for_codes("");
    refused(scene.approve("dora", "production#1"), "takes a code of your phone with each yes");
    refused(scene.approve("eve", "production#1"), "has no totp");
    let run = scene.run("production#1").run.clone();
    let ballot = |person: &str, coded| Ballot {
        run: run.clone(),
        request: None,
        person: Some(person.parse().unwrap()),
        verdict: Verdict::Approve,
        reason: String::new(),
        via: "mail".into(),
        signed: None,
        coded,
    };
    // What is said before a code is spent.
    let objection =
        |scene: &Scene, ballot: &Ballot| shipbell::pipeline::requests::objection(&scene.world, scene.now, ballot);
    assert_eq!(objection(&scene, &ballot("dora", true)), None);
    refused(objection(&scene, &ballot("dora", false)).unwrap(), "takes a code");
    refused(objection(&scene, &ballot("eve", true)).unwrap(), "has no totp");
    types(&mut scene, "production#1");
    assert_eq!(scene.state("production#1"), "running");
    assert!(scene.withdrawn.is_empty(), "what started is used, not taken back");
    refused(objection(&scene, &ballot("dora", true)).unwrap(), "does not wait");
}

#[test]
fn the_executor_hears_of_every_request_that_ends_without_a_start() {
    // Rejected.
    let mut scene = asked_for_codes("");
    scene.vote("dora", "production#1", Verdict::Reject);
    assert_eq!(scene.withdrawn.len(), 1);
    assert!(scene.withdrawn[0].1.starts_with("rejected by dora"), "{:?}", scene.withdrawn);
    // Approved, and an older one gives way to a newer approved one; the newer one is cancelled.
    let mut scene = asked_for_codes("window = \"Tue 09:00-17:00\"\n");
    types(&mut scene, "production#1");
    scene.push("main");
    scene.ok("test#2");
    types(&mut scene, "production#2");
    assert_eq!(scene.state("production#1"), "skipped (superseded by app/production#2)");
    let run = scene.run("production#2").run.clone();
    scene.turn(vec![Event::CancelRequested { run, by: "anna".into() }]);
    let told: Vec<u64> = scene.withdrawn.iter().map(|(request, _)| *request).collect();
    assert_eq!(told, [1, 2], "{:?}", scene.withdrawn);
    // Words are not judged by it, and it is not told of them.
    let mut scene = Scene::of(&JOBS.replace("votes = 2, factor = \"sshsig\"", "votes = 1"));
    scene.push("main");
    scene.ok("test#1");
    scene.vote("anna", "production#1", Verdict::Reject);
    assert!(scene.withdrawn.is_empty());
}

#[test]
fn too_many_wrong_answers_are_told_to_the_person_and_to_nobody_else() {
    let mut scene = asked_for_codes("");
    let until = shipbell::model::time::Seconds(900).after(scene.now);
    let before = scene.letters.len();
    scene.turn(vec![Event::VoteRests { request: 1, person: "dora".parse().unwrap(), until }]);
    let new: Vec<_> = scene.letters.values().skip(before).collect();
    assert_eq!(new.len(), 1);
    assert_eq!((new[0].to.as_str(), &new[0].kind), ("dora@example.org", &LetterKind::Rests { request: 1, until }));
}

#[test]
fn root_lets_it_go_and_everybody_hears_of_it() {
    let mut scene = asked();
    let run = scene.run("production#1").run.clone();
    let glass = |reason: &str| Event::GlassBroken { run: run.clone(), reason: reason.into() };
    refused(scene.turn(vec![glass(" ")]).remove(0), "say why");
    scene.turn(vec![glass("the site is down")]);
    assert_eq!(scene.state("production#1"), "running");
    let order = scene.orders.last().unwrap();
    assert_eq!(order.broken_glass.as_deref(), Some("the site is down"));
    assert!(order.receipts.as_ref().unwrap().votes.is_empty(), "it is not made out to be a vote");
    let told = scene.mails(|kind| matches!(kind, LetterKind::Decided { request: 1 }));
    assert_eq!(told, ["dora@example.org", "eve@example.org"]);
    scene.ok("production#1");
    assert!(matches!(scene.requests[&1].state, RequestState::Used { .. }));
    assert!(scene.requests[&1].broken_glass().is_some());
    refused(scene.turn(vec![glass("again")]).remove(0), "does not wait");
}

#[test]
fn root_need_not_wait_for_the_window() {
    let mut scene = closed();
    let run = scene.run("production#1").run.clone();
    scene.turn(vec![Event::GlassBroken { run, reason: "the site is down".into() }]);
    assert_eq!(scene.state("production#1"), "running", "neither votes nor the window hold it");
}
