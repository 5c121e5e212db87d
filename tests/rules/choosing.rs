//! Which commits a job runs for (JOBFILES.md, "Commits" and "paths"), where two of the rules meet.

use shipbell::model::run::Outcome;

use super::scene::Scene;

fn file(repo: &str, jobs: &str) -> String {
    format!("[repo]\nurl = \"https://git.example.org/app.git\"\n{repo}{jobs}")
}

const CHEN: &str = "chen@example.org";
const TEST: &str = "[job.test]\nsteps = \"true\"\n";

#[test]
fn paths_of_the_file_and_of_the_job_must_both_match() {
    let jobs = "[job.api]\npaths = [\"api/**\", \"!**/*.md\"]\nsteps = \"true\"\n[job.all]\nsteps = \"true\"\n";
    let mut scene = Scene::of(&file("paths = \"!docs/**\"\n", jobs));
    scene.push_as("main", CHEN, &["api/a"]);
    scene.ok("api#1");
    scene.ok("all#1");
    scene.push_as("main", CHEN, &["docs/api/a"]);
    assert!(!scene.has("api#2") && !scene.has("all#2"), "{:?}", scene.states());
    scene.push_as("main", CHEN, &["api/README.md"]);
    assert!(!scene.has("api#2") && scene.has("all#2"), "{:?}", scene.states());
    scene.ok("all#2");
    // What has gathered since the job last ran is compared, not the last commit alone.
    scene.push_as("main", CHEN, &["api/b", "docs/b"]);
    assert!(scene.has("api#2") && scene.has("all#3"), "{:?}", scene.states());
}

#[test]
fn a_deploying_job_compares_with_what_is_deployed_and_not_with_what_it_last_ran_for() {
    let jobs = "[job.live]\npaths = \"app/**\"\nenvironment = \"live\"\nsteps = \"true\"\n[environment.live]\napproval = \"none\"\n";
    let mut scene = Scene::of(&file("", jobs));
    scene.push_as("main", CHEN, &["app/a"]);
    scene.ok("live#1");
    scene.push_as("main", CHEN, &["app/b"]);
    scene.end("live#2", Outcome::Failed);
    // Nothing of app/ in this commit; to what is deployed there is.
    scene.push_as("main", CHEN, &["docs/a"]);
    assert_eq!(scene.state("live#3"), "running", "{:?}", scene.states());
    scene.ok("live#3");
    scene.push_as("main", CHEN, &["docs/b"]);
    assert!(!scene.has("live#4"), "now there is nothing: {:?}", scene.states());
}

#[test]
fn each_commit_of_every_is_judged_by_its_paths() {
    let jobs = "[job.api]\npaths = \"api/**\"\nsteps = \"true\"\n[job.after]\nneeds = \"api\"\nsteps = \"true\"\n";
    let mut scene = Scene::of(&file("commits = \"every\"\n", jobs));
    let first = scene.push_as("main", CHEN, &["api/a"]);
    scene.ok("api#1");
    scene.ok("after#1");
    let second = scene.commit(Some(first), CHEN, &["docs/a"]);
    let third = scene.commit(Some(second.clone()), CHEN, &["api/b"]);
    scene.point("main", &third);
    assert_eq!(scene.run("api#2").commit.as_ref(), Some(&third));
    assert_eq!(scene.run("after#2").commit.as_ref(), Some(&second), "carried over green: {:?}", scene.states());
}

#[test]
fn of_every_only_signed_commits_run() {
    let mut scene = Scene::of(&file("commits = \"every\"\n", TEST));
    let first = scene.push("main");
    scene.ok("test#1");
    let unsigned = scene.commit(Some(first), CHEN, &["a"]);
    let head = scene.commit(Some(unsigned.clone()), CHEN, &["a"]);
    scene.refused.insert(unsigned, "it is not signed".into());
    scene.point("main", &head);
    assert_eq!(scene.run("test#2").commit.as_ref(), Some(&head));
    scene.ok("test#2");
    assert!(!scene.has("test#3"));
}

#[test]
fn after_a_force_push_every_is_the_new_head_alone() {
    let mut scene = Scene::of(&file("commits = \"every\"\n", TEST));
    let root = scene.push("main");
    scene.ok("test#1");
    scene.push("main");
    scene.ok("test#2");
    let aside = scene.commit(Some(root), CHEN, &["a"]);
    let head = scene.commit(Some(aside), CHEN, &["a"]);
    scene.point("main", &head);
    assert_eq!(scene.run("test#3").commit.as_ref(), Some(&head), "{:?}", scene.states());
    scene.ok("test#3");
    assert!(!scene.has("test#4"), "{:?}", scene.states());
}

#[test]
fn a_head_that_goes_back_and_forth_tests_nothing_twice() {
    let mut scene = Scene::of(TEST);
    let one = scene.push("main");
    scene.ok("test#1");
    let two = scene.push("main");
    scene.end("test#2", Outcome::Failed);
    for commit in [&one, &two, &one] {
        scene.point("main", commit);
        assert!(!scene.has("test#3"), "{:?}", scene.states());
    }
}

#[test]
fn tags_are_chosen_by_globs_with_exceptions_and_a_moved_tag_is_a_new_head() {
    let jobs = "[job.release]\ntags = [\"v*\", \"!*-rc*\"]\nsteps = \"true\"\n";
    let mut scene = Scene::of(&file("", jobs));
    let one = scene.push("main");
    for tag in ["v1-rc1", "other"] {
        scene.tag(tag, &one);
        assert!(!scene.has("release#1"), "{tag}: {:?}", scene.states());
    }
    scene.tag("v1", &one);
    scene.ok("release#1");
    scene.tag("v1.0", &one);
    assert!(!scene.has("release#2"), "another tag on a commit that has its outcome");
    let two = scene.push("main");
    assert!(!scene.has("release#2"), "a branch is no tag");
    scene.tag("v1", &two);
    assert_eq!(scene.run("release#2").commit.as_ref(), Some(&two));
}

#[test]
fn branches_with_exceptions_and_a_job_of_its_own() {
    let jobs = "[job.test]\nsteps = \"true\"\n[job.hotfix]\nbranches = \"hotfix/*\"\nsteps = \"true\"\n";
    let mut scene = Scene::of(&file("branches = [\"main\", \"*\", \"!wip/**\", \"!hotfix/**\"]\n", jobs));
    scene.push("main");
    scene.ok("test#1");
    scene.push("wip/a");
    assert!(!scene.has("test#2") && !scene.has("hotfix#1"), "{:?}", scene.states());
    scene.push("hotfix/a");
    assert!(!scene.has("test#2") && scene.has("hotfix#1"), "{:?}", scene.states());
    scene.push("topic");
    assert!(scene.has("test#2") && !scene.has("hotfix#2"), "{:?}", scene.states());
}
