//! Telling the host of a repository how runs went, and pinging addresses: the real daemon, a real
//! repository, and a host that writes down what it is told. All of it is read against the host's published
//! description of its interface.

mod support;

#[path = "forges/host.rs"]
mod host;
#[path = "forges/schema.rs"]
mod schema;

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use host::{Asked, Host};
use support::origin::Origin;
use support::robot::Robot;
use support::wait_for;

const TOKEN: &str = "a-token-that-nobody-may-see";

struct House {
    robot: Robot,
    origin: Origin,
    host: Host,
    _dir: tempfile::TempDir,
}

impl House {
    fn new(forge: &str, jobs: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let origin = Origin::new(&dir.path().join("shop.git"));
        let host = Host::start(&origin.dir);
        let url = host.url();
        let robot = Robot::new(&format!("[{forge}]\nurl = \"{url}\"\ncredential = \"token\"\n"));
        robot.write("etc/shipbell/credentials/token", &format!("{TOKEN}\n"));
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(robot.path("etc/shipbell/credentials/token"), private).unwrap();
        let repo = format!("[repo]\nurl = \"{url}/o/shop.git\"\nbranches = \"main\"\npoll = \"1s\"\n");
        robot.job_file("shop", &format!("{repo}[defaults]\nuser = \"nobody\"\n{}", jobs.replace("HOST", &url)));
        Self { robot, origin, host, _dir: dir }
    }

    fn push(&mut self, message: &str, files: &[(&str, &str)]) -> String {
        let commit = self.origin.commit("main", message, files);
        self.origin.git(&["update-server-info"]);
        commit
    }

    /// All that the host was told is as its description wants it.
    fn reads_well(&self, forge: &str) {
        let description = schema::description(forge);
        for one in &self.host.asked() {
            assert_eq!(schema::faults(&description, one), Vec::<String>::new(), "{one:?}");
        }
    }

    /// Waits until the host has taken so many requests to this path.
    fn told(&self, end: &str, count: usize) -> Vec<Asked> {
        let taken = || Some(self.host.taken(end)).filter(|taken| taken.len() >= count);
        wait_for(&format!("{count} requests to …{end}"), taken, || {
            format!("{:#?}\n{}", self.host.asked(), self.robot.said_by_daemon())
        })
    }
}

fn words(asked: &[Asked], field: &str) -> Vec<String> {
    asked.iter().map(|one| one.body[field].as_str().unwrap_or_default().to_owned()).collect()
}

const JOBS: &str = "\
[job.test]
steps = [\"sleep 0.3\", \"test ! -e broken\"]
[job.quiet]
commit-status = false
steps = \"true\"
[job.staging]
needs = \"test\"
environment = \"staging\"
commit-status = \"deployed/staging\"
user = \"nobody\"
steps = \"sleep 0.3\"
[environment.staging]
approval = \"none\"
url = \"https://staging.example.org\"
";

#[test]
fn github_hears_of_runs_and_deployments_in_its_own_words() {
    let mut house = House::new("github", JOBS);
    let good = house.push("good", &[("a", "1")]);
    house.robot.start();
    let deployed = house.told("/deployments/1/statuses", 2);
    assert_eq!(words(&deployed, "state"), ["in_progress", "success"]);
    assert_eq!(words(&deployed, "environment_url"), ["https://staging.example.org"; 2]);
    let broken = house.push("broken", &[("broken", "yes")]);
    let failed = house.told(&format!("/statuses/{broken}"), 2);
    assert_eq!(words(&failed, "state"), ["pending", "failure"]);
    assert_eq!(words(&failed, "description")[1], "failed: exit 1 in step 2 \"test\"");

    let told = house.told(&format!("/statuses/{good}"), 4);
    let of = |context: &str| -> Vec<String> {
        let mine = told.iter().filter(|one| one.body["context"] == context).cloned();
        words(&mine.collect::<Vec<_>>(), "state")
    };
    assert_eq!(of("shipbell/shop/test"), ["pending", "success"]);
    assert_eq!(of("deployed/staging"), ["pending", "success"]);
    assert_eq!(told.len(), 4, "the quiet job is not told of");
    let link = told[0].body["target_url"].as_str().unwrap();
    let page = link.strip_prefix(&format!("http://{}", house.robot.address())).expect("a link to this Shipbell");
    assert_eq!(house.robot.get(page).0, 200, "{link}");

    house.reads_well("github");
    for one in &house.host.asked() {
        assert_eq!(one.header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
        assert!(one.header("user-agent").is_some_and(|agent| agent.starts_with("shipbell/")));
        assert_eq!(one.header("x-github-api-version"), Some("2022-11-28"));
    }
    assert_eq!(house.host.taken("/deployments").iter().filter(|one| one.method == "POST").count(), 1, "made once");
    assert!(!house.robot.said_by_daemon().contains(TOKEN));
}

#[test]
fn a_host_in_trouble_is_asked_again_when_it_wants_to_be() {
    let mut house = House::new("github", "[job.test]\nsteps = \"true\"\n");
    house.host.trouble(&[(503, "Retry-After: 2\r\n"), (429, "Retry-After: 1\r\n")]);
    let commit = house.push("first", &[("a", "1")]);
    house.robot.start();
    house.robot.wait_until(&["status"], "how shop/test#1 went");
    let told = house.told(&format!("/statuses/{commit}"), 1);
    assert_eq!(words(&told, "state").last().map(String::as_str), Some("success"));
    let asked = house.host.asked();
    assert!(asked[1].at - asked[0].at >= Duration::from_millis(1900), "{asked:#?}");
    let first_taken = asked.iter().position(|one| one.answered < 300).unwrap();
    assert!(asked[first_taken].at - asked[first_taken - 1].at >= Duration::from_millis(900), "{asked:#?}");
    wait_for(
        "nothing is undelivered",
        || (!house.robot.run(&["status"]).out.contains("went")).then_some(()),
        String::new,
    );
}

#[test]
fn gitlab_and_gitea_hear_it_in_theirs() {
    let mut gitlab = House::new("gitlab", JOBS);
    let commit = gitlab.push("good", &[("a", "1")]);
    gitlab.robot.start();
    let marks = gitlab.told(&format!("/api/v4/projects/o%2Fshop/statuses/{commit}"), 4);
    assert_eq!(words(&marks[..2], "state"), ["running", "success"]);
    assert_eq!(words(&marks[..2], "name"), ["shipbell/shop/test"; 2]);
    assert_eq!(words(&marks[..1], "ref"), ["main"]);
    let made = gitlab.told("/api/v4/projects/o%2Fshop/deployments", 2);
    let made: Vec<_> = made.into_iter().filter(|one| one.method == "POST").collect();
    assert_eq!((words(&made, "environment"), words(&made, "status")), (vec!["staging".into()], vec!["running".into()]));
    let ended = gitlab.told("/api/v4/projects/o%2Fshop/deployments/1", 1);
    assert_eq!((ended[0].method.as_str(), words(&ended, "status")), ("PUT", vec!["success".to_owned()]));
    gitlab.reads_well("gitlab");
    assert!(gitlab.host.asked().iter().all(|one| one.header("private-token") == Some(TOKEN)));

    let mut gitea = House::new("gitea", JOBS);
    let commit = gitea.push("good", &[("a", "1")]);
    gitea.robot.start();
    let marks = gitea.told(&format!("/api/v1/repos/o/shop/statuses/{commit}"), 4);
    assert_eq!(words(&marks[..2], "state"), ["pending", "success"]);
    gitea.reads_well("gitea");
    let token = format!("token {TOKEN}");
    assert!(gitea.host.asked().iter().all(|one| one.header("authorization") == Some(&token)));
    assert!(gitea.host.taken("/deployments").is_empty(), "Gitea keeps none");
}

/// Where the host wants the mark of a job before it merges, a commit that the job need not run for must have it too.
#[test]
fn a_job_that_need_not_run_is_told_as_carried_over() {
    for (forge, good, bad) in
        [("github", "success", "failure"), ("gitlab", "success", "failed"), ("gitea", "success", "failure")]
    {
        let mut house = House::new(forge, "[job.test]\npaths = \"src/**\"\nsteps = \"test ! -e src/broken\"\n");
        house.push("first", &[("src/a", "1")]);
        house.robot.start();
        house.robot.wait_until(&["history"], "ok");
        let aside = house.push("only words", &[("README", "words")]);
        let told = house.told(&format!("/statuses/{aside}"), 1);
        assert_eq!(
            (words(&told, "state"), words(&told, "description")),
            (vec![good.into()], vec!["carried over from #1".into()])
        );
        let link = told[0].body["target_url"].as_str().unwrap();
        assert!(link.ends_with("/shop/test/1"), "{link}");
        let broken = house.push("broken", &[("src/broken", "yes")]);
        house.told(&format!("/statuses/{broken}"), 2);
        let red = house.push("more words", &[("README", "more words")]);
        let told = house.told(&format!("/statuses/{red}"), 1);
        assert_eq!(words(&told, "state"), [bad], "red keeps blocking");
        let text = &words(&told, "description")[0];
        assert_eq!(text, "carried over from #2: failed: exit 1 in step 1 \"test\"");
        assert_eq!(house.host.taken(&format!("/statuses/{aside}")).len(), 1, "told once");
        house.reads_well(forge);
    }
}

#[test]
fn addresses_are_pinged_as_a_job_goes() {
    let jobs = "\
[job.test]
steps = \"test ! -e broken\"
ping-url = { start = \"HOST/ping/start\", success = \"HOST/ping/good\", failure = \"HOST/ping/bad\" }
[job.other]
steps = \"true\"
ping-url = \"HOST/ping/other\"
";
    let mut house = House::new("gitea", jobs);
    house.push("good", &[("a", "1")]);
    house.robot.start();
    house.told("/ping/start", 1);
    house.told("/ping/good", 1);
    house.told("/ping/other", 1);
    assert!(house.host.taken("/ping/bad").is_empty());
    house.push("broken", &[("broken", "yes")]);
    let bad = house.told("/ping/bad", 1);
    assert!(bad.iter().all(|one| one.method == "POST" && one.header("authorization").is_none()));
    house.told("/ping/other", 2);
    assert_eq!((house.host.taken("/ping/start").len(), house.host.taken("/ping/good").len()), (2, 1));
}
