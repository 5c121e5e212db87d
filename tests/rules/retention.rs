//! `[retention]`: what may go when its time is over, and what stays all the same.

use std::collections::BTreeMap;

use shipbell::model::event::{Action, Event, Refusal, Reply};
use shipbell::model::job::Hash;
use shipbell::model::name::{JobKey, RunRef};
use shipbell::model::request::Verdict;
use shipbell::model::retention::{Deployed, Old, Part, Past, Removal, Removed};
use shipbell::model::run::{Artifact, Outcome, Run};
use shipbell::model::ticket::{Fact, FactLine};
use shipbell::pipeline;
use shipbell::pipeline::manual;
use shipbell::pipeline::retention::judge;

use crate::SHOP;
use crate::scene::Scene;

/// Everything goes after an hour, but for the last run of each job.
const SHORT: &str = "[retention]\nruns = \"1h\"\nkeep = 1\n";
const LATER: &str = "2026-11-23T12:00:00Z";

impl Scene {
    /// What the store says of the history.
    fn past(&self) -> Past {
        let keep = self.world.scratch.catalog.settings.retention.keep as usize;
        let finished: Vec<&Run> = self.runs.values().filter(|run| run.finished().is_some()).collect();
        let asked = |run: &Run| self.requests.values().any(|request| request.run == run.run);
        let gone = |run: &Run| self.removed.iter().filter(|(of, _)| *of == run.run).map(|(_, part)| *part).collect();
        let old = |run: &&Run| Old {
            run: run.run.clone(),
            at: run.finished().unwrap().at,
            begun: run.attempt > 0,
            artifacts: !run.artifacts.is_empty(),
            decided: run.holds.environment.is_some() || asked(run),
            gone: gone(run),
        };
        let mut by_job: BTreeMap<&JobKey, Vec<&Run>> = BTreeMap::new();
        finished.iter().rev().for_each(|run| by_job.entry(&run.run.job).or_default().push(run));
        let good = |run: &&&Run| run.outcome() == Some(Outcome::Succeeded);
        let deployed = finished.iter().filter(good).rev().filter_map(|run| {
            Some(Deployed {
                pipeline: run.run.job.pipeline.clone(),
                environment: run.holds.environment.clone()?,
                run: run.run.clone(),
                commit: run.commit.clone(),
                upstream: run.upstream.iter().map(|upstream| upstream.run.clone()).collect(),
            })
        });
        Past {
            newest: by_job.values().flat_map(|runs| runs.iter().take(keep)).map(|run| run.run.clone()).collect(),
            successes: by_job.values().filter_map(|runs| runs.iter().find(good)).map(|run| run.run.clone()).collect(),
            deployed: deployed.collect(),
            old: finished.iter().map(old).collect(),
            after: None,
            next: None,
        }
    }

    /// What goes in a pass, as `test#1 run`.
    fn prune(&mut self) -> Vec<String> {
        let before = self.removed.len();
        let past = self.past();
        self.turn(vec![Event::Aged(Box::new(past))]);
        let names = |(run, part): &(RunRef, Part)| format!("{}#{} {part}", run.job.job, run.number);
        self.removed[before..].iter().map(names).collect()
    }

    /// A run leaves a file.
    fn leave(&mut self, name: &str) {
        let run = self.run(name).run.clone();
        let artifact = Artifact { path: "a".into(), sha256: Hash::of(b"a"), size: 1 };
        let lines = vec![FactLine { v: 1, at: self.now, fact: Fact::Artifact { artifact } }];
        self.turn(vec![Event::Progress { run, attempt: 1, lines }]);
    }

    fn retry_event(&self, name: &str) -> Event {
        let old = Box::new(self.run(name).clone());
        let done = Some(Removed { at: self.now, bytes: 1 });
        let gone = |(run, part): &(RunRef, Part)| Removal { run: run.clone(), part: *part, decided_at: self.now, done };
        let stands_on = manual::stands_on(&self.world, &old);
        let gone = self.removed.iter().filter(|(run, _)| stands_on.contains(run)).map(gone).collect();
        Event::RetryRequested { run: old.run.clone(), by: "anna".into(), old, gone }
    }

    fn retry(&mut self, name: &str) -> Reply {
        let event = self.retry_event(name);
        self.turn(vec![event]).remove(0)
    }

    /// Why a run stays.
    fn stays(&self, name: &str) -> String {
        let verdicts = judge(&self.world, &self.past(), self.now);
        let found = verdicts.into_iter().find(|verdict| verdict.run.to_string() == format!("app/{name}"));
        found.and_then(|verdict| verdict.stays).unwrap_or_else(|| format!("{name} does not stay"))
    }
}

fn deploy(scene: &mut Scene, n: u32) {
    crate::to_request(scene, n);
    scene.approve("anna", &format!("production#{n}"));
    scene.ok(&format!("production#{n}"));
}

#[test]
fn what_is_live_and_what_could_be_gone_back_to_stays_with_all_it_stands_on() {
    let mut scene = Scene::with_settings(SHORT, SHOP);
    for n in 1..=6 {
        deploy(&mut scene, n);
    }
    assert_eq!(scene.prune(), Vec::<String>::new(), "nothing is an hour old");
    scene.at(LATER);
    // Of deployments the row and the ticket stay: they say who let what go.
    let gone = ["production#1 log", "production#2 log", "staging#1 log", "staging#2 log", "test#1 run", "test#2 run"];
    assert_eq!(scene.prune(), gone);
    assert_eq!(scene.prune(), Vec::<String>::new(), "once");
    assert_eq!(scene.stays("production#6"), "is deployed: production");
    assert_eq!(scene.stays("test#6"), "app/production#6, which is deployed: production, stands on it");
    for n in 3..=5 {
        assert_eq!(scene.stays(&format!("production#{n}")), "production could go back to it");
        let on = format!("app/staging#{n}, to which staging could go back, stands on it");
        assert_eq!(scene.stays(&format!("test#{n}")), on);
    }
    // The number of a run that is gone is not given again.
    assert!(!scene.has("test#1"));
    scene.push("main");
    assert_eq!(scene.state("test#7"), "running");
}

#[test]
fn a_failed_deployment_and_the_one_before_it_stay() {
    let mut scene = Scene::with_settings(SHORT, SHOP);
    deploy(&mut scene, 1);
    crate::to_request(&mut scene, 2);
    scene.approve("anna", "production#2");
    scene.end("production#2", Outcome::Failed);
    for n in 3..=5 {
        scene.push("main");
        scene.end(&format!("test#{n}"), Outcome::Failed);
    }
    scene.at(LATER);
    assert_eq!(scene.prune(), ["test#3 run", "test#4 run"]);
    assert_eq!(scene.stays("production#1"), "is deployed: production");
    assert_eq!(scene.stays("production#2"), "was attempted last: production");
    assert_eq!(scene.stays("test#1"), "app/production#1, which is deployed: production, stands on it");
    assert_eq!(scene.stays("test#2"), "app/production#2, which was attempted last: production, stands on it");
    assert_eq!(scene.stays("test#5"), "its job fails since");
}

#[test]
fn what_waits_for_a_vote_or_its_window_stays_with_all_it_stands_on() {
    let shop = SHOP.replace("votes = 1, ", "votes = 1, expires = \"96h\", ");
    let window = format!("{shop}window = \"Thu 09:00-17:00\"\n");
    let mut scene = Scene::with_settings(SHORT, &window);
    crate::to_request(&mut scene, 1);
    scene.approve("anna", "production#1");
    crate::to_request(&mut scene, 2);
    for n in 3..=5 {
        scene.push("main");
        scene.end(&format!("test#{n}"), Outcome::Failed);
    }
    scene.at("2026-11-24T12:00:00Z");
    assert!(scene.state("production#1").contains("window"), "{}", scene.state("production#1"));
    assert!(scene.state("production#2").contains("approval"), "{}", scene.state("production#2"));
    assert_eq!(scene.prune(), ["test#3 run", "test#4 run"]);
    assert_eq!(scene.stays("test#1"), "app/production#1, which waits, stands on it");
    assert_eq!(scene.stays("staging#1"), "app/production#1, which waits, stands on it");
    assert_eq!(scene.stays("test#2"), "app/production#2, which waits, stands on it");
    // Rejected, it holds nothing any more; what an environment stands on still does.
    scene.vote("ben", "production#2", Verdict::Reject);
    assert_eq!(scene.prune(), Vec::<String>::new());
}

const NIGHTLY: &str = r#"
[job.unit]
steps = "make unit"
[job.lint]
steps = "make lint"
[job.image]
needs = ["unit", "lint"]
schedule = "0 2 * * *"
branches = "main"
steps = "make image"
"#;

#[test]
fn what_a_due_time_will_start_from_stays() {
    let mut scene = Scene::with_settings(SHORT, NIGHTLY);
    for (n, unit, lint) in [
        (1, Outcome::Succeeded, Outcome::Succeeded),
        (2, Outcome::Succeeded, Outcome::Succeeded),
        (3, Outcome::Succeeded, Outcome::Failed),
        (4, Outcome::Failed, Outcome::Succeeded),
        (5, Outcome::Failed, Outcome::Failed),
    ] {
        scene.push("main");
        scene.end(&format!("unit#{n}"), unit);
        scene.end(&format!("lint#{n}"), lint);
    }
    scene.at(LATER);
    assert_eq!(scene.prune(), ["lint#1 run", "lint#3 run", "unit#1 run", "unit#4 run"]);
    for name in ["unit#2", "lint#2"] {
        assert_eq!(scene.stays(name), "app/image can start from it on main");
    }
    assert_eq!(scene.stays("unit#3"), "is the last success of its job");
    scene.at("2026-11-24T02:00:00Z");
    assert_eq!(scene.state("image#1"), "running");
    let on: Vec<String> = scene.run("image#1").upstream.iter().map(|upstream| upstream.run.to_string()).collect();
    assert_eq!(on, ["app/lint#2", "app/unit#2"]);
    assert_eq!(scene.stays("unit#2"), "app/image#1, which runs, stands on it");
}

const CARRIED: &str = r#"
[repo]
url = "https://git.example.org/app.git"
branches = ["main", "stable"]
[job.docs]
paths = "docs/**"
steps = "make docs"
"#;

#[test]
fn what_carries_over_stays_on_each_branch_and_goes_with_it() {
    let mut scene = Scene::with_settings(SHORT, CARRIED);
    scene.push_as("stable", "chen", &["docs/a"]);
    scene.ok("docs#1");
    for n in 2..=3 {
        scene.push_as("main", "chen", &["docs/b"]);
        scene.ok(&format!("docs#{n}"));
    }
    scene.at(LATER);
    assert_eq!(scene.prune(), ["docs#2 run"]);
    assert_eq!(scene.stays("docs#1"), "is the last of its job on stable");
    scene.delete("stable");
    assert_eq!(scene.prune(), ["docs#1 run"]);
}

#[test]
fn what_a_run_that_goes_on_came_of_stays() {
    let mut scene = Scene::with_settings(SHORT, NIGHTLY);
    scene.push("main");
    scene.end("unit#1", Outcome::Failed);
    scene.ok("lint#1");
    scene.push("main");
    scene.ok("unit#2");
    scene.ok("lint#2");
    let retried = scene.retry("unit#1");
    assert!(matches!(retried, Reply::Run(_)), "{retried:?}");
    scene.at(LATER);
    assert_eq!(scene.prune(), Vec::<String>::new());
    assert_eq!(scene.stays("unit#1"), "app/unit#3, which runs, came of it");
    assert!(scene.stays("lint#1").starts_with("runs for "), "{}", scene.stays("lint#1"));
    scene.end("unit#3", Outcome::Failed);
    scene.push("main");
    scene.ok("unit#4");
    scene.ok("lint#3");
    scene.at("2026-11-23T14:00:00Z");
    assert_eq!(scene.prune(), ["lint#1 run", "lint#2 run", "unit#1 run", "unit#2 run", "unit#3 run"]);
}

#[test]
fn logs_and_artifacts_go_before_their_runs_and_for_ever_is_for_ever() {
    let settings = "[retention]\nruns = \"forever\"\nlogs = \"3h\"\nartifacts = \"1h\"\nkeep = 1\n";
    let mut scene = Scene::with_settings(settings, NIGHTLY);
    for n in 1..=2 {
        scene.push("main");
        scene.leave(&format!("unit#{n}"));
        scene.ok(&format!("unit#{n}"));
        scene.ok(&format!("lint#{n}"));
    }
    scene.at(LATER);
    assert_eq!(scene.prune(), ["unit#1 artifacts"]);
    scene.at("2026-11-23T14:00:00Z");
    assert_eq!(scene.prune(), ["lint#1 log", "unit#1 log"]);
    scene.at("2029-11-23T14:00:00Z");
    assert_eq!(scene.prune(), Vec::<String>::new());
    assert!(scene.has("unit#1"));
}

#[test]
fn what_could_not_be_removed_is_tried_again_with_the_next_pass_and_after_a_restart() {
    let mut scene = Scene::with_settings(SHORT, NIGHTLY);
    for n in 1..=2 {
        scene.push("main");
        scene.ok(&format!("unit#{n}"));
        scene.ok(&format!("lint#{n}"));
    }
    scene.at(LATER);
    let pass = Event::Aged(Box::new(scene.past()));
    let now = scene.now;
    let parts = |actions: &[Action]| match actions {
        [Action::Remove { parts }] => parts.clone(),
        other => panic!("{other:?}"),
    };
    let turn = pipeline::turn(&mut scene.world, std::slice::from_ref(&pass), now);
    let doomed = parts(&turn.actions);
    assert_eq!(doomed.len(), 2);
    let tick = |scene: &mut Scene, event: Event| pipeline::turn(&mut scene.world, &[event], now).actions;
    assert_eq!(tick(&mut scene, Event::Tick), [], "it is under way");
    let failed = |(run, part): &(_, _)| (RunRef::clone(run), *part, Err("busy".to_owned()));
    let gone: Vec<_> = doomed.iter().map(failed).collect();
    assert_eq!(tick(&mut scene, Event::Removed { gone }), [], "not at once");
    assert_eq!(parts(&tick(&mut scene, pass)), doomed, "the next pass");
    // A daemon that was killed knows what it had written down.
    let mut world = scene.world.clone();
    world.scratch.removing.clear();
    let after = pipeline::turn(&mut world, &[Event::Tick], now).actions;
    assert_eq!(parts(&after), doomed);
}

const CHAIN: &str = r#"
[job.build]
steps = "make"
[job.bundle]
needs = "build"
steps = "make bundle"
[job.try]
needs = "bundle"
steps = "make try"
"#;

#[test]
fn a_retry_is_refused_when_what_it_stands_on_is_gone_until_that_is_made_again() {
    let mut scene = Scene::with_settings("[retention]\nartifacts = \"1h\"\nkeep = 1\n", CHAIN);
    for n in 1..=2 {
        scene.push("main");
        for job in ["build", "bundle"] {
            scene.leave(&format!("{job}#{n}"));
            scene.ok(&format!("{job}#{n}"));
        }
        scene.end(&format!("try#{n}"), Outcome::Failed);
    }
    scene.at(LATER);
    // In the very turn in which it is decided that they go.
    let (mut world, past, retry) =
        (scene.world.clone(), Event::Aged(Box::new(scene.past())), scene.retry_event("try#1"));
    let refused = pipeline::turn(&mut world, &[past, retry], scene.now).replies.pop();
    assert!(matches!(refused, Some(Reply::Refused(Refusal::Conflict(_)))), "{refused:?}");

    assert_eq!(scene.prune(), ["build#1 artifacts", "bundle#1 artifacts"]);
    let Reply::Refused(Refusal::Conflict(why)) = scene.retry("try#1") else { panic!("it was queued") };
    assert_eq!(
        why,
        "app/try is given artifacts that are no longer there: those of app/build#1 were removed on 2026-11-23 by \
         [retention] (artifacts); those of app/bundle#1 were removed on 2026-11-23 by [retention] (artifacts)\n  \
         make them again first: shipbell retry app/build#1, shipbell retry app/bundle#1"
    );
    assert!(!scene.has("try#3"));
    let Reply::Run(_) = scene.retry("try#2") else { panic!("what it stands on is there") };
    // As it says.
    for job in ["build", "bundle"] {
        let Reply::Run(run) = scene.retry(&format!("{job}#1")) else { panic!("{job}") };
        let name = format!("{}#{}", run.job.job, run.number);
        scene.leave(&name);
        scene.ok(&name);
    }
    let Reply::Run(_) = scene.retry("try#1") else { panic!("all that it stands on is there again") };
}
