//! Pull requests: who runs for them, and that nothing they bring counts anywhere else.

use shipbell::model::commit::RefName;
use shipbell::model::event::{Event, Reply, RunRequest};
use shipbell::model::letter::LetterKind;
use shipbell::model::run::{Outcome, Run};

use crate::scene::Scene;

/// Jobs of every kind; `unit` and `lint` are for pull requests.
const FILE: &str = r#"
[repo]
url = "https://git.example.org/app.git"
branches = ["main", "feature/*"]
pulls = "sandboxed"
[job.unit]
steps = "make unit"
[job.lint]
paths = "src/**"
steps = "make lint"
[job.release]
branches = "main"
steps = "make dist"
[job.image]
needs = "unit"
steps = "make image"
[job.nightly]
branches = "main"
schedule = "0 2 * * *"
steps = "make nightly"
[job.staging]
branches = "main"
environment = "staging"
steps = "make deploy"
[environment.staging]
approval = "none"
"#;

fn pull(number: u64) -> RefName {
    RefName::new(&format!("refs/pull/{number}/head")).unwrap()
}

/// One with a commit of main that all jobs have run for.
fn scene() -> Scene {
    let mut scene = Scene::of(FILE);
    scene.push("main");
    for job in ["unit#1", "lint#1", "release#1", "staging#1", "image#1"] {
        scene.ok(job);
    }
    scene
}

fn pulls_of(scene: &Scene) -> Vec<String> {
    let of_pull = scene.runs.values().filter(|run| Run::is_pull(run));
    of_pull.map(|run| format!("{}#{}", run.run.job.job, run.run.number)).collect()
}

#[test]
fn jobs_of_all_branches_run_for_a_pull_request_and_no_others() {
    let mut scene = scene();
    scene.open(&pull(7), &["src/main.c"]);
    assert_eq!(pulls_of(&scene), ["lint#2", "unit#2"]);
    scene.ok("unit#2");
    scene.ok("lint#2");
    assert_eq!(pulls_of(&scene), ["lint#2", "unit#2"], "nothing follows from them");
    // Once for each head, also when its run was cancelled before it began.
    scene.poll();
    scene.tick();
    assert_eq!(pulls_of(&scene).len(), 2);
    scene.open(&pull(7), &["docs/x"]);
    assert_eq!(pulls_of(&scene), ["lint#2", "unit#2", "unit#3"], "no path of lint has changed");
}

#[test]
fn a_green_pull_request_proves_nothing_for_its_commit_elsewhere() {
    let mut scene = scene();
    let commit = scene.open(&pull(7), &["src/main.c"]);
    scene.ok("unit#2");
    scene.ok("lint#2");
    scene.point("main", &commit);
    assert_eq!(scene.state("unit#3"), "running", "merged as it is, it is tested as a commit of main");
    assert!(!scene.has("image#2"), "and what needs that waits for it");
    assert_eq!(scene.run("unit#3").git_ref, RefName::branch("main").ok());
    scene.ok("unit#3");
    assert_eq!(scene.state("image#2"), "running");
}

#[test]
fn a_red_pull_request_blocks_nothing_and_mails_nobody() {
    let mut scene = scene();
    let commit = scene.open(&pull(7), &["src/main.c"]);
    scene.end("unit#2", Outcome::Failed);
    scene.ok("lint#2");
    let told = scene.mails(|kind| matches!(kind, LetterKind::Failure { .. } | LetterKind::Recovery { .. }));
    assert!(told.is_empty(), "{told:?}");
    assert!(scene.world.live[&crate::scene::app()].failing.is_empty());
    scene.point("main", &commit);
    scene.ok("unit#3");
    assert_eq!(scene.state("image#2"), "running");
}

#[test]
fn a_commit_that_is_green_on_main_runs_for_its_pull_request_all_the_same() {
    let mut scene = scene();
    let commit = scene.push("feature/x");
    scene.ok("unit#2");
    scene.ok("lint#2");
    scene.show(&pull(7), &commit);
    assert_eq!(pulls_of(&scene), ["lint#3", "unit#3"]);
}

#[test]
fn a_newer_head_takes_the_place_of_one_that_waits_and_a_closed_one_ends_it() {
    let mut scene = scene();
    scene.open(&pull(7), &["src/main.c"]);
    scene.open(&pull(7), &["src/main.c"]);
    assert_eq!(scene.state("unit#3"), "waits (after #2)");
    scene.open(&pull(7), &["src/main.c"]);
    assert!(scene.state("unit#3").starts_with("skipped (newer head"), "{}", scene.state("unit#3"));
    scene.hide(&pull(7));
    assert_eq!(scene.state("unit#4"), "skipped (pull request pull/7/head was deleted)");
    assert_eq!(scene.state("unit#2"), "running");
    scene.ok("unit#2");
    let again = scene.open(&pull(7), &["src/main.c"]);
    assert_eq!(scene.run("unit#5").commit.as_ref(), Some(&again));
}

#[test]
fn a_person_starts_it_only_where_the_job_takes_it() {
    let mut scene = scene();
    scene.open(&pull(7), &["src/main.c"]);
    scene.ok("unit#2");
    let mut ask = |job: &str| {
        let git_ref = Some("pull/7/head".to_owned());
        let job = format!("app/{job}").parse().unwrap();
        let request = RunRequest { job, git_ref, params: std::collections::BTreeMap::new(), by: "anna".into() };
        scene.turn(vec![Event::RunRequested(request)]).remove(0)
    };
    assert!(matches!(ask("unit"), Reply::Run(_)));
    for job in ["release", "nightly", "staging", "image"] {
        let Reply::Refused(refusal) = ask(job) else { panic!("{job} runs for a pull request") };
        assert!(refusal.to_string().contains("is a pull request"), "{refusal}");
    }
}

#[test]
fn those_that_stand_there_at_first_sight_do_not_run_nor_does_any_where_the_file_takes_none() {
    let mut scene = Scene::of(FILE);
    let commit = scene.commit(None, "chen@example.org", &["src/main.c"]);
    scene.prepare_ref(&pull(3), &commit);
    scene.push("main");
    assert!(pulls_of(&scene).is_empty());
    scene.open(&pull(4), &["src/main.c"]);
    assert_eq!(pulls_of(&scene).len(), 2);
    scene.open(&pull(4), &["src/main.c"]);
    scene.load(&FILE.replace("\"sandboxed\"", "\"none\""));
    let waiting: Vec<String> = scene.states().into_iter().filter(|state| state.contains("takes no pull")).collect();
    assert_eq!(waiting.len(), 2, "{:?}", scene.states());
    scene.open(&pull(5), &["src/main.c"]);
    assert_eq!(pulls_of(&scene).len(), 4);
}

/// Letters to the host, one for each that the job is to be told of.
#[test]
fn a_host_hears_of_runs_that_began_and_each_letter_says_the_newest() {
    let settings = "[github]\nurl = \"https://git.example.org\"\ncredential = \"token\"\n";
    let file = FILE.replace("git.example.org/app.git", "git.example.org/o/app.git");
    let file = file.replace("[job.lint]\n", "[job.lint]\ncommit-status = false\n");
    let mut scene = Scene::with_settings(settings, &file);
    scene.push("main");
    let marks = |scene: &Scene| scene.mails(|kind| matches!(kind, LetterKind::Mark { .. })).len();
    assert_eq!(marks(&scene), 3, "unit, release and staging began; lint keeps still");
    scene.ok("unit#1");
    assert_eq!(marks(&scene), 5, "unit ended, image began");
    scene.ok("lint#1");
    scene.ok("release#1");
    scene.open(&pull(7), &["src/main.c"]);
    assert_eq!(marks(&scene), 7, "of pull requests it hears as well");
    assert!(scene.letters.values().filter(|letter| !letter.kind.is_mail()).all(|letter| letter.to == "github"));
}

#[test]
fn failures_are_told_from_so_many_in_a_row_on() {
    let file = "[repo]\nurl = \"https://git.example.org/app.git\"\n[job.unit]\nsteps = \"true\"\n\
                notify = { email = \"dev@example.org\", after-failures = 3 }\n";
    let mut scene = Scene::of(file);
    let mut told = Vec::new();
    for (number, good) in [false, false, true, false, false, false, false, true].into_iter().enumerate() {
        scene.push("main");
        let run = format!("unit#{}", number + 1);
        scene.end(&run, if good { Outcome::Succeeded } else { Outcome::Failed });
        told.push(scene.mails(|kind| matches!(kind, LetterKind::Failure { .. } | LetterKind::Recovery { .. })).len());
    }
    assert_eq!(told, [0, 0, 0, 0, 0, 1, 2, 3]);
}
