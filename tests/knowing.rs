//! Knowing: why a job ran or did not, what comes, what a schedule's times are, what is paused. The
//! builders on scenes (job files as text, the real core, a clock that the test sets), then all of it by
//! the commands of a real daemon.

mod support;

#[path = "rules/scene.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod scene;

#[path = "knowing/commands.rs"]
mod commands;

use jiff::tz::TimeZone;
use scene::Scene;
use shipbell::model::event::{Event, JournalLine};
use shipbell::model::job::Definition;
use shipbell::model::moment::{Toward, stretch};
use shipbell::model::pause::Scope;
use shipbell::model::run::Outcome;
use shipbell::model::time::{Seconds, Timestamp};
use shipbell::model::view::{FactView, WhyView};
use shipbell::pipeline::view::{self, Basis, WhyRows};

const NIGHTLY: &str = r#"
[job.test]
steps = "make test"
[job.staging]
needs = "test"
schedule = "0 2 * * *"
environment = "staging"
steps = "make deploy"
[job.image]
needs = "test"
steps = "make image"
[job.by-hand]
manual = true
steps = "true"
[job.docs]
paths = "docs/**"
steps = "make docs"
[environment.staging]
approval = "none"
"#;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// What the store would say.
fn rows(scene: &Scene, job: &str, journal: &[JournalLine]) -> WhyRows {
    let ledger = scene.ledger.values().rev().filter(|row| row.job.to_string() == job).cloned().collect();
    WhyRows { ledger, runs: scene.runs.clone(), journal: journal.to_vec() }
}

fn why(scene: &Scene, job: &str, time: Option<&str>) -> WhyView {
    let asked = time.map(|time| stretch(time, scene.now, &TimeZone::UTC, Toward::Past).unwrap());
    let mut rows = rows(scene, job, &[]);
    match asked {
        Some((from, to)) => rows.ledger.retain(|row| row.first < to && row.last >= from),
        None => rows.ledger.truncate(1),
    }
    view::why(&scene.world, &job.parse().unwrap(), asked, &rows, scene.now).unwrap()
}

fn facts(view: &WhyView) -> Vec<String> {
    let say = |fact: &FactView| {
        let now = if fact.now { "now " } else { "" };
        let parts = [fact.label.as_str(), &fact.subject, &fact.text, &fact.more];
        format!("{now}{}", parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(" | "))
    };
    view.facts.iter().map(say).collect()
}

#[test]
fn a_skipped_due_time_is_told_with_its_rule_candidate_deployment_and_what_was_passed_by() {
    let mut scene = Scene::of(NIGHTLY);
    let first = scene.push("main");
    scene.ok("test#1");
    scene.at("2026-11-24T02:00:00Z");
    scene.ok("staging#1");
    let ran = why(&scene, "app/staging", None);
    assert!(ran.headline.starts_with("RAN as app/staging#1: ok"), "{}", ran.headline);
    assert_eq!(ran.command.as_deref(), Some("shipbell show app/staging#1"));
    assert_eq!(ran.next_due, Some(at("2026-11-25T02:00:00Z")));
    assert!(facts(&ran).contains(&"stands on | test#1".to_owned()), "{:?}", facts(&ran));

    let second = scene.push("main");
    scene.end("test#2", Outcome::Failed);
    scene.at("2026-11-25T02:00:00Z");
    let view = why(&scene, "app/staging", Some("2026-11-25 02:00"));
    assert_eq!(view.headline, "SKIPPED, unchanged");
    assert_eq!(
        facts(&view),
        [
            "rule | schedule \"0 2 * * *\", needs test | jobs.d/app.toml:6".to_owned(),
            format!("candidate | {} | newest commit of main whose needs succeeded", first.short()),
            format!("deployed | {} | on staging since | by app/staging#1", first.short()),
            format!("passed by | {} | test#2 failed | step 1 \"work\", exit 1", second.short()),
        ]
    );
    // What is younger than the due time is told as of now, never as of then.
    scene.at("2026-11-25T05:00:00Z");
    scene.push("main");
    scene.ok("test#3");
    let later = why(&scene, "app/staging", Some("02:00"));
    assert_eq!(later.headline, "SKIPPED, unchanged");
    assert!(facts(&later).iter().skip(1).all(|fact| fact.starts_with("now ")), "{:?}", facts(&later));
}

#[test]
fn a_time_without_a_due_time_names_the_nearest_ones() {
    let mut scene = Scene::of(NIGHTLY);
    scene.push("main");
    scene.ok("test#1");
    assert_eq!(why(&scene, "app/staging", None).headline, "no due time has come yet");
    scene.at("2026-11-24T02:00:00Z");
    scene.at("2026-11-24T12:00:00Z");
    let view = why(&scene, "app/staging", Some("11:00"));
    assert_eq!(view.headline, "nothing was due then");
    assert_eq!(view.nearest, [at("2026-11-24T02:00:00Z"), at("2026-11-25T02:00:00Z")]);
    // Before the rule was first loaded nothing was due, whatever it says today.
    let before = why(&scene, "app/staging", Some("2026-11-20"));
    assert_eq!(before.headline, "nothing is recorded of that time");
    assert_eq!(before.nearest, [at("2026-11-24T02:00:00Z")]);
    let ahead = why(&scene, "app/staging", Some("2026-11-30"));
    assert_eq!((ahead.headline.as_str(), ahead.due.map(|due| due.at)), ("COMES", Some(at("2026-11-30T02:00:00Z"))));
}

#[test]
fn for_jobs_without_a_clock_the_newest_commit_is_told() {
    let mut scene = Scene::of(NIGHTLY);
    assert_eq!(why(&scene, "app/test", None).headline, "no commit was seen yet on what it follows");
    let first = scene.push("main");
    let short = first.short().to_owned();
    assert!(why(&scene, "app/test", None).headline.starts_with(&format!("IS TO RUN for {short} as app/test#1: runs")));
    assert_eq!(why(&scene, "app/image", None).headline, format!("DID NOT RUN for {short}: needs test"));
    assert!(facts(&why(&scene, "app/image", None))[2].contains("test#1: runs"));
    scene.end("test#1", Outcome::Failed);
    let image = why(&scene, "app/image", None);
    assert_eq!(facts(&image)[2], format!("missing | {short} | test#1 failed | step 1 \"work\", exit 1"));
    assert!(why(&scene, "app/test", None).headline.starts_with(&format!("RAN for {short} as app/test#1: FAILED")));
    assert_eq!(why(&scene, "app/by-hand", None).headline, "only a person starts it (manual = true)");
    // A job that a commit does not concern carries its last outcome over.
    scene.ok("docs#1");
    scene.push_as("main", "chen@example.org", &["src/main.c"]);
    let docs = why(&scene, "app/docs", None);
    assert!(docs.headline.ends_with("no path of it changed"), "{}", docs.headline);
    assert!(facts(&docs)[2].starts_with("carries | app/docs#1"), "{:?}", facts(&docs));
}

#[test]
fn a_pause_is_a_fact_and_one_without_an_end_needs_a_person() {
    let mut scene = Scene::of(NIGHTLY);
    scene.push("main");
    let scope = Scope::Job("app/staging".parse().unwrap());
    let (note, by) = ("disks".to_owned(), "anna".to_owned());
    scene.turn(vec![Event::Paused { scope, until: None, note, by }]);
    assert_eq!(facts(&why(&scene, "app/staging", None))[1], "now paused | app/staging | paused: disks, since");
}

#[test]
fn a_forecast_counts_days_marks_the_clock_and_finds_what_collides_or_overruns() {
    let mut jobs = String::from("# no repo\n");
    for n in 0..6 {
        jobs.push_str(&format!(
            "[job.b{n}]\nschedule = \"30 3 * * *\"\ntimezone = \"Europe/Berlin\"\nsteps = \"true\"\n"
        ));
    }
    jobs.push_str("[job.disk]\nschedule = [\"0 5 * * *\", \"0 6 * * *\"]\ntimezone = \"Europe/Berlin\"\npool = \"disk\"\nsteps = \"true\"\n");
    jobs.push_str(
        "[job.also]\nschedule = \"0 5 * * *\"\ntimezone = \"Europe/Berlin\"\npool = \"disk\"\nsteps = \"true\"\n",
    );
    jobs.push_str("[job.often]\nschedule = \"*/10 * * * *\"\ntimezone = \"Europe/Berlin\"\nsteps = \"true\"\n");
    jobs.push_str("[job.held]\nschedule = \"0 12 * * *\"\nenvironment = \"prod\"\nsteps = \"true\"\n");
    jobs.push_str("[environment.prod]\napproval = \"none\"\nfreeze = \"2027-03-27..2027-03-28\"\ntimezone = \"UTC\"\n");
    let mut scene = Scene::of(&jobs);
    scene.now = at("2027-03-26T23:00:00Z");
    let mut basis = Basis::of(&scene.world);
    basis.usual.insert("app/often".parse().unwrap(), Seconds::minutes(15));
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let view = view::forecast(&basis, &zone, scene.now, 3);
    let days: Vec<_> = view.days.iter().map(|day| (day.date.as_str(), day.due, day.held)).collect();
    assert_eq!(days, [("2027-03-27", 154, 1), ("2027-03-28", 148, 1), ("2027-03-29", 154, 0)]);
    assert_eq!(view.days[1].clock_change.as_deref(), Some("+1h at 02:00"));
    assert_eq!(view.days[1].hours[2..4], [0, 12], "the hour that does not exist has nothing");
    assert_eq!(view.days[0].frozen.len(), 1);
    assert_eq!((view.freezes.len(), view.freezes[0].to), (1, at("2027-03-29T00:00:00Z")));
    // Half past three: six jobs and the one of every ten minutes, for four slots.
    assert_eq!((view.collisions[0].jobs.len(), view.collisions[0].days), (7, 3));
    // Two that want the one place of a pool; at six there is only one.
    let pools: Vec<_> = view.collisions.iter().filter(|collision| collision.pool.is_some()).collect();
    assert_eq!((pools.len(), pools[0].jobs.len(), pools[0].days, pools[0].places), (1, 2, 3, 1));
    let often = view.jobs.iter().find(|job| job.job.job.as_str() == "often").unwrap();
    assert!(often.overruns && often.interval == Some(Seconds::minutes(10)), "{often:?}");
    assert_eq!(view.days[0].load, Seconds::minutes(15 * 144));

    // What is paused is not counted.
    basis.pauses.push(shipbell::model::pause::Pause {
        scope: Scope::All,
        at: scene.now,
        until: Some(at("2027-03-28T00:00:00Z")),
        note: String::new(),
        by: "anna".into(),
    });
    let paused = view::forecast(&basis, &zone, scene.now, 3);
    assert_eq!(paused.days[0].due, 0);
    assert!(paused.days[1].due < view.days[1].due && paused.days[2].due == view.days[2].due);
}

#[test]
fn a_simulation_says_each_time_in_both_clocks() {
    let scene = Scene::of(
        "# no repo\n[job.gap]\nschedule = \"30 2 * * *\"\ntimezone = \"Europe/Berlin\"\nsteps = \"true\"\n\
         [job.six]\nevery = \"6h\"\nsteps = \"true\"\n[job.hand]\nmanual = true\nsteps = \"true\"\n",
    );
    let jobs = &scene.world.scratch.catalog.pipelines.values().next().unwrap().jobs;
    let definitions: Vec<&Definition> = jobs.values().map(|job| job.definition.as_ref()).collect();
    let (from, to) = (at("2027-03-27T12:00:00Z"), at("2027-03-29T12:00:00Z"));
    let view = view::simulate(definitions.iter().copied(), from, to, "UTC", 100);
    let gap = view.rows.iter().filter(|row| row.job.job.as_str() == "gap");
    let gap: Vec<_> = gap.map(|row| (row.local.as_str(), row.clock_changed)).collect();
    assert_eq!(gap, [("2027-03-28T03:00:00+02:00", true), ("2027-03-29T02:30:00+02:00", false)]);
    assert_eq!(view.rows.iter().filter(|row| row.job.job.as_str() == "six").count(), 7);
    assert_eq!((view.assumed.len(), view.untimed.len(), view.more), (1, 1, false));
    assert!(view.rows.windows(2).all(|pair| pair[0].at <= pair[1].at));
    let few = view::simulate(definitions, from, to, "UTC", 3);
    assert!(few.more && few.rows == view.rows[..3]);
}

#[test]
fn a_day_that_does_not_exist_is_named() {
    let scene = Scene::of(
        "# no repo\n[job.apia]\nschedule = [\"30 2 * * *\", \"0 9 * * *\"]\ntimezone = \"Pacific/Apia\"\n\
         steps = \"true\"\n[job.first]\nschedule = \"0 3 1 * *\"\ntimezone = \"Pacific/Apia\"\nsteps = \"true\"\n",
    );
    let jobs = &scene.world.scratch.catalog.pipelines.values().next().unwrap().jobs;
    let definitions = jobs.values().map(|job| job.definition.as_ref());
    let view = view::simulate(definitions, at("2011-01-01T00:00:00Z"), at("2012-02-01T00:00:00Z"), "UTC", 2000);
    let missing: Vec<_> = view.missing.iter().map(|day| (day.job.to_string(), day.day.as_str())).collect();
    assert_eq!(missing, [("app/apia".to_owned(), "2011-12-30")], "once, and only where the day is named");
    assert!(view.rows.iter().all(|row| !row.local.starts_with("2011-12-30")));
    let basis = Basis::of(&scene.world);
    let zone = TimeZone::get("Pacific/Apia").unwrap();
    let days = view::forecast(&basis, &zone, at("2011-12-28T12:00:00Z"), 4);
    assert_eq!(days.missing.len(), 1);
}
