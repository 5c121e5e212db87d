//! The second end-to-end test: the binary, driven by its commands and its pages only, on a repository of
//! more than a thousand commits whose Makefile calls `git describe`. What goes wrong is in `path/bad.rs`.

mod support;

#[path = "path/bad.rs"]
mod bad;
#[path = "path/browser.rs"]
mod browser;
#[path = "path/repos.rs"]
mod repos;

use support::origin::Origin;
use support::robot::Robot;

const MAKEFILE: &str = "\
init:
\ttest \"$(INIT_CONFIG)\" = \"$$PWD/init_config.json\"
\tsed -n 's/.*\"name\": \"\\(.*\\)\".*/\\1/p' init_config.json > name
test:
\tgit describe --tags > version
\tgit rev-parse HEAD | grep -q \"^$(SHIPBELL_COMMIT)$$\"
\techo \"name=$$(cat name) version=$$(cat version)\"
\ttest ! -e broken
deploy:
\tgit describe --tags > \"$(TARGET)/version\"
";

/// A repository of `older` commits, a tag, and one commit that has a Makefile.
pub fn product(robot: &Robot, older: usize) -> Origin {
    let mut origin = Origin::new(&robot.path("product.git"));
    let texts: Vec<String> = (0..older).map(|number| format!("{number}\n")).collect();
    let files: Vec<_> = texts.iter().map(|text| [("counter", text.as_str())]).collect();
    let commits: Vec<_> = files.iter().map(|files| ("count on", &files[..])).collect();
    let last = origin.commits("main", &commits);
    origin.tag("v1.2.0", &last);
    origin
}

/// What every test of this file has: a person who may approve and who is the caller.
pub fn settings() -> String {
    let output = std::process::Command::new("id").arg("-un").output().expect("id");
    let login = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    format!("[mail]\nto = \"ops@example.org\"\n[person.anna]\nemail = \"anna@example.org\"\nlogin = \"{login}\"\n")
}

fn job_file(robot: &Robot, origin: &Origin) -> String {
    let (url, root) = (origin.url(), robot.path(""));
    let root = root.display();
    format!(
        r#"
[repo]
url = "{url}"
branches = "main"
poll = "1s"
[init]
[job.test]
steps = "make test"
[job.staging]
needs = "test"
environment = "staging"
env = {{ TARGET = "{root}" }}
steps = "make deploy"
[job.production]
needs = "staging"
environment = "production"
env = {{ TARGET = "{root}/live" }}
steps = "make deploy"
[job.long]
manual = true
init = false
steps = ["echo begun", "sleep 600"]
[job.flaky]
manual = true
init = false
retry = {{ attempts = 3, delay = "1s" }}
steps = 'seq 1 200000; echo "end of try" && test -e "$HOME/second" || {{ test ! -e "$HOME/first" || touch "$HOME/second"; touch "$HOME/first"; exit 3; }}'
[job.greet]
manual = true
init = false
params = {{ NAME = {{ match = "[a-z]+" }} }}
steps = 'printf "hello %s\n\033[31mred\033[0m\n" "$NAME"'
[environment.staging]
approval = "none"
[environment.production]
approval = {{ by = "anna" }}
"#
    )
}

/// Files of the commit that is to go through.
fn good() -> [(&'static str, &'static str); 2] {
    [("Makefile", MAKEFILE), ("init_config.json", "{\n  \"name\": \"product\"\n}\n")]
}

#[test]
fn a_commit_goes_all_the_way_by_commands_and_pages() {
    let mut robot = Robot::new(&settings());
    let mut origin = product(&robot, 1_000);
    let commit = origin.commit("main", "Serve \u{1b}[31mit\u{202e}", &good());
    robot.job_file("product", &job_file(&robot, &origin));
    std::fs::create_dir_all(robot.path("live")).unwrap();
    robot.start();

    let waits = robot.wait_until(&["status"], "waits (approval)");
    assert!(waits.contains("NEEDS A PERSON") && waits.contains(&commit[..7]), "{waits}");
    assert_eq!(robot.run(&["status"]).code, 1, "somebody is asked for a vote");
    let version = std::fs::read_to_string(robot.path("version")).unwrap();
    assert_eq!(version.trim(), format!("v1.2.0-1-g{}", &commit[..7]));

    let mail = robot.mails().into_iter().find(|mail| mail.subject.starts_with("Approve?")).expect("a mail");
    assert_eq!(mail.to, "anna@example.org");
    approve_by_link(&robot, &mail.text);
    robot.wait_until(&["status"], "LIVE");
    assert!(robot.path("live/version").exists());
    assert_eq!(robot.run(&["status"]).code, 0, "{}", robot.must(&["history"]));
    what_is_told_of_it(&robot, &commit);
}

/// Opening the link decides nothing; a wrong word decides nothing; the right one does, once.
fn approve_by_link(robot: &Robot, text: &str) {
    let link = text.split_whitespace().find(|word| word.contains("/a/")).expect("a link");
    let mut browser = browser::Browser::new();
    for _ in 0..3 {
        let page = browser.get(link);
        assert!(page.status == 200 && page.body.contains("production"), "{}", page.body);
    }
    assert_eq!(browser.fill_in(link, &[("word", "staging"), ("verdict", "approve")]).status, 422);
    let forged = browser.post(link, "word=production&verdict=approve&csrf=none");
    assert_eq!(forged.status, 403);
    assert!(robot.must(&["approvals"]).contains("0 of 1"));
    let done = browser.fill_in(link, &[("word", "production"), ("verdict", "approve"), ("reason", "looks well")]);
    assert_eq!(done.status, 200, "{}", done.body);
    robot.wait_until(&["history", "product/production"], "ok, by anna");
    let again = browser.get(link);
    assert!(again.status == 200 && again.body.contains("anna"), "{}", again.body);
}

fn what_is_told_of_it(robot: &Robot, commit: &str) {
    let history = robot.json(&["history", "product", "-n", "50"]);
    assert_eq!(history["schema"], 1);
    let runs = history["runs"].as_array().unwrap();
    let told: Vec<String> =
        runs.iter().map(|run| format!("{} {}", run["run"].as_str().unwrap(), run["state"].as_str().unwrap())).collect();
    assert_eq!(
        told,
        ["product/production#1 succeeded", "product/staging#1 succeeded", "product/test#1 succeeded"],
        "{history:#}"
    );
    assert!(runs.iter().all(|run| run["commit"] == commit), "{history:#}");
    assert_eq!(runs[0]["approved_by"][0], "anna");

    let log = robot.must(&["logs", "product/test#1"]);
    assert!(log.contains(&format!("name=product version=v1.2.0-1-g{}", &commit[..7])), "{log}");
    assert_eq!(robot.must(&["logs", "-f", "product.test.1"]), log);
    let show = robot.must(&["show", "product/test"]);
    assert!(show.starts_with("product/test#1   ok"), "{show}");
    assert!(show.contains("0 init") && show.contains("1 make test"), "{show}");
    assert!(show.contains("staging#1 succeeded"), "{show}");
    assert!(!show.contains('\u{1b}') && !show.contains('\u{202e}'), "{show:?}");
    let (status, page) = robot.get("/");
    assert!(status == 200 && page.contains("product") && page.contains(&commit[..7]), "{page}");
    let (status, page) = robot.get("/product/production/1");
    assert!(status == 200 && page.contains("anna"), "{page}");
    assert!(robot.must(&["approvals"]).contains("approved by anna"));
    for (arguments, code) in [
        (&["show", "product/test#99"][..], 4),
        (&["logs", "product/none"], 4),
        (&["history", "nothing"], 4),
        (&["run", "product/none"], 4),
        (&["cancel", "product/test"], 4),
        (&["approve", "product/production", "-m", "x"], 4),
        (&["approve", "product/production#1", "-m", "x"], 1),
        (&["poll", "nothing"], 4),
    ] {
        let said = robot.run(arguments);
        assert_eq!(said.code, code, "{arguments:?}: {}{}", said.out, said.err);
    }
}

#[test]
fn a_person_starts_follows_cancels_and_retries() {
    let mut robot = Robot::new(&settings());
    let mut origin = product(&robot, 3);
    origin.commit("main", "broken", &[good()[0], good()[1], ("broken", "")]);
    robot.job_file("product", &job_file(&robot, &origin));
    robot.start();

    robot.wait_until(&["history", "product/test"], "FAILED make test");
    assert_eq!(robot.run(&["logs", "-f", "product/test"]).code, 1);
    let show = robot.must(&["show", "product/test"]);
    assert!(show.contains("FAILED") && show.contains("staging did not start: needs test"), "{show}");
    let status = robot.run(&["status"]);
    assert!(status.code == 1 && status.out.contains("product/test"), "{}", status.out);
    let mail = robot.mails().into_iter().find(|mail| mail.to == "ops@example.org").expect("a mail");
    assert!(mail.subject.contains("product/test#1"), "{}", mail.subject);

    let followed = robot.run(&["run", "--follow", "product/greet", "NAME=anna"]);
    assert_eq!(followed.code, 0, "{}{}", followed.out, followed.err);
    assert!(followed.out.contains("\nhello anna\nred\n") && !followed.out.contains('\u{1b}'), "{:?}", followed.out);
    assert!(robot.must(&["logs", "--raw", "product/greet"]).contains("\u{1b}[31m"));
    for bad in [&["run", "product/greet", "NAME=A1"][..], &["run", "product/greet"], &["run", "product/greet", "X=y"]] {
        assert_eq!(robot.run(bad).code, 1, "{bad:?}");
    }

    every_attempt_is_followed_whole(&robot);

    let queued = robot.must(&["run", "product/long"]);
    assert!(queued.starts_with("product/long#1 queued"), "{queued}");
    robot.wait_until(&["logs", "product/long"], "begun");
    assert!(robot.run(&["status"]).out.contains("product/long#1"), "it is among what runs");
    robot.must(&["cancel", "product/long"]);
    robot.wait_until(&["history", "product/long"], "cancelled");

    let retried = robot.run(&["retry", "--follow", "product/test#1"]);
    assert_eq!(retried.code, 1, "it is broken still: {}{}", retried.out, retried.err);
    assert!(robot.must(&["show", "product/test#2"]).contains("retry of #1"));
    origin.commit("main", "mended", &[("Makefile", &MAKEFILE.replace("\ttest ! -e broken\n", ""))]);
    robot.must(&["poll", "product"]);
    robot.wait_until(&["status"], "waits (approval)");
    let said = robot.must(&["reject", "product/production", "-m", "not before the fair"]);
    assert!(said.contains("will not go"), "{said}");
    assert!(robot.must(&["history", "product/production"]).contains("not before the fair"));
}

/// Three attempts of 1.3 MB each: nothing is missing, nothing comes twice.
fn every_attempt_is_followed_whole(robot: &Robot) {
    let followed = robot.run(&["run", "--follow", "product/flaky"]);
    assert_eq!(followed.code, 0, "{}", followed.err);
    assert!(followed.err.contains("attempt 2") && followed.err.contains("attempt 3"), "{}", followed.err);
    let numbers: Vec<u32> = followed.out.lines().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(numbers.len(), 600_000);
    assert!(numbers.chunks(200_000).all(|chunk| chunk.iter().copied().eq(1..=200_000)));
    assert_eq!(followed.out.matches("\nend of try\n").count(), 3);
    assert!(robot.must(&["history", "product/flaky"]).contains("ok, 3rd try"));
    let first = robot.must(&["logs", "--attempt", "1", "product/flaky"]);
    assert!(first.contains("end of try") && first.contains("exit 3"), "{}", &first[first.len() - 200..]);
    assert_eq!(robot.run(&["logs", "--attempt", "4", "product/flaky"]).code, 4);
}
