//! What is shown of the World: the words in the cells, what needs a person, what comes next. Job files
//! as text, the real core, a clock that the test sets; how it is printed is tested elsewhere.

#[path = "rules/scene.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod scene;

use scene::Scene;
use shipbell::model::request::Verdict;
use shipbell::model::run::Outcome;
use shipbell::model::view::{NextView, SiteView, StatusView};
use shipbell::pipeline::view::{self, Rows};

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
approval = { by = "@release", votes = 1, forbid = "author" }
"#;

/// What the store would say: every finished run.
fn rows(scene: &Scene) -> Rows {
    let mut rows = Rows::default();
    for run in scene.runs.values().rev().filter(|run| run.finished().is_some()) {
        rows.recent.entry(run.run.job.clone()).or_default().push(run.clone());
        rows.runs.insert(run.run.clone(), run.clone());
    }
    rows
}

fn status(scene: &Scene) -> StatusView {
    let started_at = scene.now;
    let site = SiteView { host: "ci1".into(), version: "0".into(), started_at, public_url: "http://ci1".into() };
    view::status(&scene.world, &rows(scene), &site, scene.now)
}

/// The rows of the one pipeline: branch or `was`, then a word a job.
fn cells(scene: &Scene) -> Vec<String> {
    let view = status(scene);
    let row = |row: &shipbell::model::view::CommitRow| {
        let head = if row.was { "was" } else { row.branch.as_deref().unwrap_or("-") };
        let cell = |cell: &shipbell::model::view::CellView| match cell.text.as_str() {
            "" => cell.state.word().to_owned(),
            text => format!("{} ({text})", cell.state.word()),
        };
        format!("{head}: {}", row.cells.iter().map(cell).collect::<Vec<_>>().join(" | "))
    };
    view.pipelines[0].rows.iter().map(row).collect()
}

fn attention(scene: &Scene) -> Vec<String> {
    let say = |item: &shipbell::model::view::AttentionView| {
        format!("{} {}: {} [{}]", item.kind, item.subject, item.text, item.command.as_deref().unwrap_or("-"))
    };
    status(scene).attention.iter().map(say).collect()
}

#[test]
fn a_commit_on_its_way_is_told_cell_by_cell() {
    let mut scene = Scene::of(SHOP);
    let first = scene.push("main");
    assert_eq!(cells(&scene), ["main: runs (work) | - | -"]);
    scene.ok("test#1");
    scene.ok("staging#1");
    assert_eq!(cells(&scene), ["main: ok | LIVE | waits (approval, 0 of 1)"]);
    let short = first.short();
    assert_eq!(
        attention(&scene),
        [format!("request app/production#1: {short} waits for 1 vote: anna, ben [shipbell approve app/production#1]")]
    );
    scene.approve("anna", "production#1");
    scene.ok("production#1");
    assert_eq!(cells(&scene), ["main: ok | LIVE | LIVE"]);
    assert_eq!(attention(&scene), [""; 0]);

    scene.push("main");
    scene.end("test#2", Outcome::Failed);
    assert_eq!(cells(&scene), ["main: FAILED (exit 1) | . | .", "was: ok | LIVE | LIVE"]);
    assert_eq!(attention(&scene), ["failing app/test: FAILED: exit 1 [shipbell show app/test#2]"]);
    scene.push("main");
    scene.end("test#3", Outcome::Failed);
    assert_eq!(attention(&scene), ["failing app/test: FAILED 2 times, last #3: exit 1 [shipbell show app/test#3]"]);
}

#[test]
fn nobody_who_can_vote_is_said_with_the_reasons() {
    let mut scene = Scene::of(&SHOP.replace("@release", "anna"));
    scene.push_as("main", "anna@example.org", &["a"]);
    scene.ok("test#1");
    scene.ok("staging#1");
    let view = status(&scene);
    assert!(view.attention[0].text.ends_with("and nobody can give one"), "{:?}", view.attention);
    assert!(view.attention[0].more[0].starts_with("anna: wrote"), "{:?}", view.attention[0].more);
}

#[test]
fn a_deployment_without_evidence_and_one_that_takes_back_ask_for_a_person() {
    let mut scene = Scene::of(SHOP);
    scene.push("main");
    scene.ok("test#1");
    scene.lose("staging#1");
    let told = attention(&scene);
    assert_eq!(
        told[0],
        "unknown app staging: nobody can say whether app/staging#1 changed it; nothing goes there [shipbell resolve app staging --as deployed|failed]"
    );
    assert_eq!(cells(&scene)[0].split(" | ").nth(1).map(|cell| cell.starts_with("UNKNOWN")), Some(true));

    let mut scene = Scene::of(SHOP);
    let base = scene.commit(None, "chen@example.org", &["a"]);
    scene.point("main", &base);
    scene.ok("test#1");
    scene.ok("staging#1");
    scene.vote("anna", "production#1", Verdict::Reject);
    let other = scene.commit(None, "chen@example.org", &["b"]);
    scene.point("main", &other);
    scene.ok("test#2");
    let held = attention(&scene);
    assert_eq!(held, ["held app/staging#2: waits for a person: takes back 1 commit [shipbell approve app/staging#2]"]);
}

#[test]
fn broken_files_and_unreachable_repositories_are_told() {
    let mut scene = Scene::of(SHOP);
    scene.push("main");
    scene.ok("test#1");
    scene.load(&format!("unknown-key = 1\n{SHOP}"));
    let view = status(&scene);
    assert_eq!((view.files_ok, view.files_broken), (0, 1));
    assert_eq!(view.attention[0].kind.word(), "file");
    assert!(view.attention[0].text.contains("unknown-key"), "{:?}", view.attention);
    assert!(view.attention[0].more[0].contains("deployments are held"), "{:?}", view.attention);

    let mut scene = Scene::of(&format!(
        "[repo]\nurl = \"https://git.example.org/a.git\"\nbranches = [\"main\", \"next\"]\n{}",
        SHOP.replace("environment = \"staging\"", "environment = \"staging\"\nbranches = \"main\"")
            .replace("environment = \"production\"", "environment = \"production\"\nbranches = \"main\"")
    ));
    scene.push("main");
    assert_eq!(attention(&scene), ["source app: the repository has no branch `next` [-]"]);
}

fn next(scene: &Scene, job: Option<&str>, n: usize) -> NextView {
    let job = job.map(|job| job.parse().unwrap());
    view::next(&scene.world, &rows(scene), job.as_ref(), n, scene.now)
}

fn lines(view: &NextView) -> Vec<String> {
    let say = |row: &shipbell::model::view::NextRow| {
        let name = row.run.as_ref().map_or_else(|| row.job.to_string(), ToString::to_string);
        format!("{} {name}: {}; {}", row.at, row.rule, row.result)
    };
    view.rows.iter().map(say).collect()
}

#[test]
fn what_comes_by_the_clock_is_told_soonest_first() {
    let mut scene = Scene::of(
        r#"# no repo
[job.nightly]
schedule = "0 2 * * *"
timezone = "Asia/Shanghai"
steps = "true"
[job.often]
every = "6h"
steps = "true"
[job.after]
every = "1h after end"
steps = "true"
[job.never]
manual = true
steps = "true"
"#,
    );
    scene.tick();
    let view = next(&scene, None, 10);
    let told = lines(&view);
    assert_eq!(view.total, told.len());
    assert!(told.contains(&"2026-11-23T18:00:00Z app/nightly: schedule \"0 2 * * *\"; -".to_owned()), "{told:#?}");
    assert!(told.contains(&"2026-11-23T16:00:00Z app/often: every 6h; -".to_owned()), "{told:#?}");
    assert!(!told.iter().any(|line| line.contains("app/never")), "{told:#?}");
    let view = next(&scene, Some("app/nightly"), 10);
    assert_eq!((view.rows.len(), view.total), (1, 1));
    let view = next(&scene, None, 1);
    assert_eq!(view.rows.len(), 1);
    assert!(view.total > 1);

    scene.now = "2026-11-23T18:00:00Z".parse().unwrap();
    scene.tick();
    scene.end("nightly#1", Outcome::Failed);
    let told = lines(&next(&scene, Some("app/nightly"), 1));
    assert_eq!(told, ["2026-11-24T18:00:00Z app/nightly: schedule \"0 2 * * *\"; FAILED"]);
}

#[test]
fn a_run_that_the_window_holds_is_among_what_comes() {
    let window = "approval = { by = \"@release\", votes = 1 }\nwindow = \"Mon-Thu 11:00-17:00\"\ntimezone = \"UTC\"";
    let mut scene =
        Scene::of(&SHOP.replace("approval = { by = \"@release\", votes = 1, forbid = \"author\" }", window));
    scene.push("main");
    scene.ok("test#1");
    scene.ok("staging#1");
    let rule = "window Mon-Thu 11:00-17:00 opens";
    assert_eq!(
        lines(&next(&scene, None, 9)),
        [format!("2026-11-23T11:00:00Z app/production#1: if approved: {rule}; held")]
    );
    scene.approve("ben", "production#1");
    assert_eq!(lines(&next(&scene, None, 9)), [format!("2026-11-23T11:00:00Z app/production#1: {rule}; held")]);
    let all = view::approvals(&scene.world, &[], scene.now);
    assert_eq!(all.open[0].state, "approved");
    assert!(all.open[0].waits.as_deref().is_some_and(|why| why.starts_with("window")), "{:?}", all.open[0].waits);
}
