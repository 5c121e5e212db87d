//! The clock's rules as scenes: catching up, overlap, pauses, backfill, pools, @reboot, the dead-man's
//! switch, and ten thousand jobs at once. What the times of a schedule are is tested with the schedules.

#[path = "clock/crowd.rs"]
mod crowd;
#[path = "clock/pauses.rs"]
mod pauses;
#[allow(dead_code, reason = "shared with the tests of the rules, which use the rest")]
#[path = "rules/scene.rs"]
mod scene;

use scene::Scene;
use shipbell::model::backfill::{BackfillOnly, BackfillRequest, BackfillRow, DueRun};
use shipbell::model::event::{Event, Reply};
use shipbell::model::letter::LetterKind;
use shipbell::model::name::JobKey;
use shipbell::model::run::Outcome;
use shipbell::model::time::Timestamp;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn key(job: &str) -> JobKey {
    format!("app/{job}").parse().unwrap()
}

/// `first..last xN verdict`, oldest first.
fn ledger(scene: &Scene, job: &str) -> Vec<String> {
    let rows = scene.ledger.iter().filter(|((name, _), _)| *name == format!("app/{job}"));
    rows.map(|(_, row)| {
        let verdict = serde_json::to_value(&row.verdict).unwrap();
        let (word, what) = verdict.as_object().unwrap().iter().next().unwrap();
        format!("{} {} x{} {word} {}", row.first, row.last, row.count, what.as_str().unwrap())
    })
    .collect()
}

/// What the ticket of a started run says: due, previous, late.
fn due(scene: &Scene, run: &str) -> (String, String, Option<u64>) {
    let order = scene.orders.iter().rfind(|order| order.run.to_string() == format!("app/{run}")).unwrap();
    let (due, previous) = order.cause.due().unwrap();
    (due.to_string(), previous.map(|at| at.to_string()).unwrap_or_default(), order.late)
}

const HOURLY: &str = "# no repo\n[job.a]\nschedule = \"0 * * * *\"\nsteps = \"true\"\n";

#[test]
fn a_long_downtime_is_caught_up_by_one_run_and_written_in_three_rows() {
    let mut scene = Scene::of(HOURLY);
    scene.at("2026-11-25T15:00:30Z");
    assert_eq!(
        ledger(&scene, "a"),
        [
            // The window of 24 hours begins at 15:00:30 of the day before.
            "2026-11-23T11:00:00Z 2026-11-24T15:00:00Z x29 skipped missed: more than 1d late",
            "2026-11-24T16:00:00Z 2026-11-25T14:00:00Z x23 coalesced app/a#1",
            "2026-11-25T15:00:00Z 2026-11-25T15:00:00Z x1 run app/a#1",
        ]
    );
    let told = ("2026-11-25T15:00:00Z".into(), "2026-11-25T14:00:00Z".into(), Some(30));
    assert_eq!(due(&scene, "a#1"), told, "the first run has the due time before it as its previous one");
    scene.ok("a#1");
    scene.at("2026-11-25T16:00:00Z");
    assert_eq!(due(&scene, "a#2"), ("2026-11-25T16:00:00Z".into(), "2026-11-25T15:00:00Z".into(), Some(0)));
}

#[test]
fn with_skip_nothing_is_caught_up() {
    let mut scene = Scene::of(&HOURLY.replace("steps", "catch-up = \"skip\"\nsteps"));
    scene.at("2026-11-23T14:01:30Z");
    assert!(!scene.has("a#1") && ledger(&scene, "a")[0].contains("x4 skipped missed: shipbell was not running"));
    scene.at("2026-11-23T15:00:59Z");
    assert_eq!(scene.state("a#1"), "running", "a minute late is not missed");
}

#[test]
fn due_times_of_a_busy_job_stand_behind_the_one_that_waits() {
    let mut scene = Scene::of(HOURLY);
    for hour in 11..=20 {
        scene.at(&format!("2026-11-23T{hour}:00:00Z"));
    }
    assert_eq!(
        ledger(&scene, "a"),
        [
            "2026-11-23T11:00:00Z 2026-11-23T11:00:00Z x1 run app/a#1",
            "2026-11-23T12:00:00Z 2026-11-23T12:00:00Z x1 run app/a#2",
            "2026-11-23T13:00:00Z 2026-11-23T20:00:00Z x8 coalesced app/a#2",
        ]
    );
    scene.at("2026-11-23T20:10:00Z");
    scene.ok("a#1");
    // It stands for all of them: the newest is its due time, the last run's the previous one.
    assert_eq!(due(&scene, "a#2"), ("2026-11-23T20:00:00Z".into(), "2026-11-23T11:00:00Z".into(), Some(600)));
    scene.lose("a#2");
    assert_eq!(scene.state("a#2"), "running", "a run that was cut off holds up nobody for ever");
}

#[test]
fn a_run_does_not_wait_longer_than_its_window_for_another_one_or_a_pool() {
    let text = "# no repo\n[job.a]\nschedule = \"0 * * * *\"\npool = \"disk\"\ncatch-up-window = \"2h\"\ntimeout = \"90d\"\n\
                steps = \"true\"\n[job.b]\nschedule = \"30 11-23 * * *\"\npool = \"disk\"\ncatch-up-window = \"2h\"\nsteps = \"true\"\n";
    let mut scene = Scene::of(text);
    scene.at("2026-11-23T11:00:00Z");
    scene.at("2026-11-23T11:30:00Z");
    scene.at("2026-11-23T12:00:00Z");
    assert_eq!(scene.state("b#1"), "waits (pool disk)");
    assert_eq!(scene.state("a#2"), "waits (after #1)");
    for time in ["2026-11-23T12:30:00Z", "2026-11-23T13:00:00Z", "2026-11-23T13:30:00Z"] {
        scene.at(time);
    }
    assert_eq!(scene.state("b#1"), "skipped (waited for pool disk until its catch-up-window was over)");
    scene.at("2026-11-23T14:00:00Z");
    assert_eq!(scene.state("a#2"), "skipped (waited for #1 until its catch-up-window was over)");
}

#[test]
fn every_counts_from_its_first_load_or_from_the_last_end() {
    let text =
        "# no repo\n[job.s]\nevery = \"6h\"\nsteps = \"true\"\n[job.e]\nevery = \"6h after end\"\nsteps = \"true\"\n";
    let mut scene = Scene::of(text);
    scene.at("2026-11-23T16:00:00Z");
    assert!(scene.has("s#1") && scene.has("e#1"));
    scene.at("2026-11-23T17:00:00Z");
    scene.ok("s#1");
    scene.end("e#1", Outcome::Failed);
    scene.at("2026-11-23T22:00:00Z");
    assert!(scene.has("s#2") && !scene.has("e#2"));
    scene.at("2026-11-23T23:00:00Z");
    assert!(scene.has("e#2"), "any end counts");
}

#[test]
fn reboot_is_due_once_a_boot() {
    let text = "# no repo\n[job.up]\nschedule = \"@reboot\"\nsteps = \"true\"\n";
    let mut scene = Scene::of(text);
    let boot = |scene: &mut Scene, id: &str| drop(scene.turn(vec![Event::Booted { boot_id: id.into() }]));
    boot(&mut scene, "one");
    assert!(!scene.has("up#1"), "that boot was before the file");
    boot(&mut scene, "one");
    assert!(!scene.has("up#1"), "the daemon was restarted");
    scene.at("2026-11-23T12:00:00Z");
    boot(&mut scene, "two");
    assert_eq!(ledger(&scene, "up"), ["2026-11-23T12:00:00Z 2026-11-23T12:00:00Z x1 run app/up#1"]);
    scene.ok("up#1");
    boot(&mut scene, "two");
    // The host comes up with its clock in the past.
    scene.now = at("2026-11-23T11:00:00Z");
    boot(&mut scene, "three");
    assert!(scene.has("up#2") && !scene.has("up#3"));
}

#[test]
fn a_clock_that_is_set_back_runs_nothing_twice_and_one_set_ahead_loses_nothing() {
    let mut scene = Scene::of(HOURLY);
    scene.at("2026-11-23T12:00:00Z");
    scene.ok("a#1");
    for time in ["2026-11-23T09:30:00Z", "2026-11-23T10:00:00Z", "2026-11-23T12:00:00Z"] {
        scene.now = at(time);
        scene.turn(vec![Event::ClockSet]);
    }
    assert!(!scene.has("a#2"));
    scene.now = at("2026-11-23T15:20:00Z");
    scene.turn(vec![Event::ClockSet]);
    assert_eq!(ledger(&scene, "a").last().unwrap(), "2026-11-23T15:00:00Z 2026-11-23T15:00:00Z x1 run app/a#2");
    assert_eq!(ledger(&scene, "a").len(), 4, "{:?}", ledger(&scene, "a"));
}

#[test]
fn a_clock_that_stood_far_ahead_silences_nobody() {
    let mut scene = Scene::of(HOURLY);
    scene.at("2026-11-23T11:00:00Z");
    scene.ok("a#1");
    let set = |scene: &mut Scene, time: &str| {
        scene.now = at(time);
        scene.turn(vec![Event::ClockSet]);
    };
    set(&mut scene, "2027-11-23T11:30:00Z");
    assert!(due(&scene, "a#2").0.starts_with("2027"), "one run for the whole year");
    scene.ok("a#2");
    set(&mut scene, "2026-11-23T11:31:00Z");
    assert!(!scene.has("a#3"));
    scene.at("2026-11-23T12:00:00Z");
    assert_eq!(due(&scene, "a#3"), ("2026-11-23T12:00:00Z".into(), "2026-11-23T11:00:00Z".into(), Some(0)));
    scene.ok("a#3");
    scene.at("2026-11-23T13:00:00Z");
    scene.ok("a#4");
    // And where the time comes that had been decided, it goes on as it would have.
    set(&mut scene, "2027-11-23T11:00:00Z");
    assert!(!scene.has("a#5"), "{:?}", scene.states());
    scene.at("2027-11-23T12:00:00Z");
    assert_eq!(due(&scene, "a#5").0, "2027-11-23T12:00:00Z");
}

#[test]
fn what_counts_from_an_end_counts_from_the_instant_at_which_the_clock_was_put_right() {
    let mut scene = Scene::of("# no repo\n[job.e]\nevery = \"6h after end\"\nsteps = \"true\"\n");
    let set = |scene: &mut Scene, time: &str| {
        scene.now = at(time);
        scene.turn(vec![Event::ClockSet]);
    };
    set(&mut scene, "2027-11-23T11:30:00Z");
    scene.at("2027-11-23T17:30:00Z");
    scene.ok("e#1");
    set(&mut scene, "2026-11-23T12:00:00Z");
    for hour in 13..=17 {
        scene.at(&format!("2026-11-23T{hour}:00:00Z"));
        // Looked at again, as at a reload.
        scene.world.look_at_everything();
        scene.tick();
    }
    assert!(!scene.has("e#2"));
    scene.at("2026-11-23T18:00:00Z");
    assert!(scene.has("e#2"), "{:?}", scene.states());
}

#[test]
fn nothing_waits_for_an_instant_that_a_wrong_clock_set() {
    let text = "[job.test]\nretry = { attempts = 2, delay = \"5m\" }\nsteps = \"make\"\n\
                notify = { email = \"ops@example.org\", stale-after = \"1h\" }\n";
    let mut scene = Scene::of(text);
    let right = scene.now;
    let set = |scene: &mut Scene, now: Timestamp| {
        scene.now = now;
        scene.turn(vec![Event::ClockSet]);
    };
    set(&mut scene, at("2027-11-23T12:00:00Z"));
    scene.push("main");
    scene.end("test#1", Outcome::Failed);
    assert_eq!(scene.state("test#1"), "waits (the delay before the next attempt, 5m)");
    set(&mut scene, right);
    assert_eq!(scene.state("test#1"), "running", "not in a year");
    scene.ok("test#1");
    let stale = |scene: &Scene| scene.mails(|kind| matches!(kind, LetterKind::Stale { .. })).len();
    let before = stale(&scene);
    scene.now = right.checked_add(std::time::Duration::from_secs(3 * 3600)).unwrap();
    scene.tick();
    assert_eq!(stale(&scene), before + 1, "its silence counts again");
}

#[test]
fn a_host_that_comes_up_in_the_past_runs_nothing_twice_when_its_clock_is_set() {
    let mut scene = Scene::of(HOURLY);
    for hour in 11..=14 {
        scene.at(&format!("2026-11-23T{hour}:00:00Z"));
        scene.ok(&format!("a#{}", hour - 10));
    }
    scene.now = at("1970-01-01T00:10:00Z");
    scene.turn(vec![Event::Booted { boot_id: "two".into() }]);
    scene.turn(vec![Event::ClockSet]);
    scene.now = at("2026-11-23T14:20:00Z");
    scene.turn(vec![Event::ClockSet]);
    assert!(!scene.has("a#5"), "{:?}", ledger(&scene, "a"));
    scene.at("2026-11-23T15:00:00Z");
    assert_eq!(due(&scene, "a#5"), ("2026-11-23T15:00:00Z".into(), "2026-11-23T14:00:00Z".into(), Some(0)));
}

fn backfill(scene: &mut Scene, only: BackfillOnly, dry_run: bool, known: Vec<DueRun>) -> Reply {
    let (from, to) = (at("2026-11-01T00:00:00Z"), at("2026-11-01T03:00:00Z"));
    let request = BackfillRequest { job: key("a"), from, to, only, dry_run, by: "anna".into(), known };
    scene.turn(vec![Event::BackfillRequested(request)]).remove(0)
}

fn listed(reply: Reply) -> (Vec<String>, u64) {
    let Reply::Backfill { rows, left_out, .. } = reply else { panic!("{reply:?}") };
    let one = |row: &BackfillRow| {
        format!("{} {}", row.due, row.run.as_ref().map(ToString::to_string).unwrap_or_default()).trim().to_owned()
    };
    (rows.iter().map(one).collect(), left_out)
}

#[test]
fn a_backfill_runs_once_for_each_due_time_that_is_asked_for() {
    let mut scene = Scene::of(HOURLY);
    let (list, _) = listed(backfill(&mut scene, BackfillOnly::All, true, vec![]));
    let hours = ["00", "01", "02", "03"].map(|hour| format!("2026-11-01T{hour}:00:00Z"));
    assert_eq!(list, hours);
    assert!(!scene.has("a#1"), "a list changes nothing");

    let run = |due: &str, number: u64, outcome| DueRun {
        due: at(due),
        run: format!("app/a#{number}").parse().unwrap(),
        outcome,
    };
    let known = vec![
        run("2026-11-01T00:00:00Z", 900, Some(Outcome::Succeeded)),
        run("2026-11-01T01:00:00Z", 901, Some(Outcome::Failed)),
        run("2026-11-01T02:00:00Z", 902, None),
    ];
    let failed = backfill(&mut scene, BackfillOnly::Failed, true, known.clone());
    assert_eq!(listed(failed), (vec!["2026-11-01T01:00:00Z".into()], 3));
    let missing = backfill(&mut scene, BackfillOnly::Missing, false, known);
    assert_eq!(listed(missing).0, ["2026-11-01T01:00:00Z app/a#1", "2026-11-01T03:00:00Z app/a#2"]);
    assert_eq!(due(&scene, "a#1").0, "2026-11-01T01:00:00Z");
    assert_eq!(due(&scene, "a#1").1, "2026-11-01T00:00:00Z");
    assert_eq!(scene.state("a#2"), "waits (after #1)", "one at a time, oldest first");
    // A due time of today goes before the past.
    scene.at("2026-11-23T11:00:00Z");
    scene.ok("a#1");
    assert_eq!((scene.state("a#3"), scene.state("a#2")), ("running".into(), "waits (after #3)".into()));
    assert_eq!(due(&scene, "a#3").1, "2026-11-23T10:00:00Z", "a backfill is not the run before it");
}

#[test]
fn too_much_is_refused_with_the_way_to_ask_for_less() {
    let mut scene = Scene::of(HOURLY);
    let (from, to) = (at("2026-01-01T00:00:00Z"), at("2026-11-01T03:00:00Z"));
    let (only, by) = (BackfillOnly::Missing, "anna".to_owned());
    let request = BackfillRequest { job: key("a"), from, to, only, dry_run: false, by, known: vec![] };
    let reply = scene.turn(vec![Event::BackfillRequested(request.clone())]).remove(0);
    let Reply::Refused(refusal) = reply else { panic!("{reply:?}") };
    let text = refusal.to_string();
    assert!(text.contains("at most 1000") && text.contains("--to 2026-02-11T15:00:00Z"), "{text}");
    let narrower = BackfillRequest { to: at("2026-02-11T15:00:00Z"), ..request };
    let Reply::Backfill { rows, .. } = scene.turn(vec![Event::BackfillRequested(narrower)]).remove(0) else { panic!() };
    assert_eq!(rows.len(), 1000);
}

#[test]
fn silence_is_told_once_and_its_end_once() {
    let text = "# no repo\n[job.a]\nschedule = \"0 3 * * *\"\nsteps = \"true\"\n\
                notify = { email = \"ops@example.org\", on = [], stale-after = \"26h\" }\n";
    let mut scene = Scene::of(text);
    let stale = |scene: &Scene| scene.mails(|kind| matches!(kind, LetterKind::Stale { .. })).len();
    let fresh = |scene: &Scene| scene.mails(|kind| matches!(kind, LetterKind::Fresh { .. })).len();
    scene.at("2026-11-24T03:00:00Z");
    scene.ok("a#1");
    scene.at("2026-11-25T03:00:00Z");
    scene.end("a#2", Outcome::Failed);
    assert_eq!(stale(&scene), 0);
    scene.at("2026-11-25T05:00:00Z");
    assert_eq!(stale(&scene), 1);
    scene.load(&text.replace("26h", "25h"));
    scene.at("2026-11-25T09:00:00Z");
    assert_eq!((stale(&scene), fresh(&scene)), (1, 0), "once");
    scene.at("2026-11-26T03:00:00Z");
    scene.ok("a#3");
    assert_eq!((stale(&scene), fresh(&scene)), (1, 1));
    assert_eq!(scene.mails(|kind| matches!(kind, LetterKind::Fresh { .. })), ["ops@example.org"]);
}

#[test]
fn a_run_far_longer_than_those_before_it_is_told_once() {
    let text = "# no repo\n[job.a]\nschedule = \"0 * * * *\"\nsteps = \"true\"\ntimeout = \"5h\"\n\
                notify = { email = \"ops@example.org\" }\n";
    let mut scene = Scene::of(text);
    for hour in 11..16 {
        scene.at(&format!("2026-11-23T{hour}:00:00Z"));
        scene.at(&format!("2026-11-23T{hour}:03:00Z"));
        scene.ok(&format!("a#{}", hour - 10));
    }
    let slow = |scene: &Scene| scene.mails(|kind| matches!(kind, LetterKind::Long { .. })).len();
    scene.at("2026-11-23T16:00:00Z");
    scene.at("2026-11-23T16:08:59Z");
    assert_eq!(slow(&scene), 0);
    scene.at("2026-11-23T16:09:00Z");
    scene.at("2026-11-23T16:30:00Z");
    assert_eq!(slow(&scene), 1);
    assert_eq!(scene.state("a#6"), "running");
}

#[test]
fn a_run_of_two_pools_does_not_starve_beside_runs_of_one() {
    let job = |name: &str, pool: &str| format!("[job.{name}]\npool = {pool}\nmanual = true\nsteps = \"true\"\n");
    let text = [
        "# no repo\n".to_owned(),
        job("p", "\"p\""),
        job("q", "\"q\""),
        job("both", "[\"p\", \"q\"]"),
        job("r", "\"r\""),
    ];
    let mut scene = Scene::of(&text.concat());
    let start = |scene: &mut Scene, job: &str| {
        scene.now = scene.now.checked_add(std::time::Duration::from_secs(1)).unwrap();
        assert!(matches!(scene.start(job), Reply::Run(_)));
    };
    for job in ["p", "both", "q", "r"] {
        start(&mut scene, job);
    }
    assert_eq!(scene.state("both#1"), "waits (pool p)");
    assert_eq!(scene.state("r#1"), "running", "who wants another pool is not held up");
    assert!(
        scene.state("q#1").starts_with("waits"),
        "the place in q is kept for the older run: {}",
        scene.state("q#1")
    );
    start(&mut scene, "p");
    scene.ok("p#1");
    assert_eq!(scene.state("both#1"), "running");
    assert!(scene.state("p#2").starts_with("waits"));
    scene.ok("both#1");
    assert_eq!((scene.state("q#1"), scene.state("p#2")), ("running".into(), "running".into()));
}
