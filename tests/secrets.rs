//! Secrets on the real executor and supervisor: who sees them, where they lie, when they are gone, and
//! that they turn up nowhere else. What they are recognized as in a log stands in `src/run/mask.rs`.

#[expect(dead_code, reason = "shared with tests/runs.rs, which asks for the rest")]
#[path = "runs/place.rs"]
mod place;
mod support;

use std::path::Path;

use place::{Place, job, outcome, until};
use shipbell::model::job::{Definition, EnvironmentPolicy, InitDef};
use shipbell::model::run::Outcome;
use shipbell::model::secret::{EnvValue, OnLeak};
use support::robot::Robot;

/// A secret of this place, as an administrator puts it there.
fn secret(place: &Place, path: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let attempt = place.executor.dir(&"a/b#1".parse().unwrap(), 1);
    let path = attempt.ancestors().nth(3).unwrap().join("secrets").join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn with_secret(mut job: Definition, names: &[&str]) -> Definition {
    job.secrets = names.iter().map(|name| name.parse().unwrap()).collect();
    job
}

fn file(name: &str) -> EnvValue {
    EnvValue::File { file: name.parse().unwrap() }
}

fn content(name: &str) -> EnvValue {
    EnvValue::Secret { secret: name.parse().unwrap() }
}

fn is_root() -> bool {
    shipbell::sys::host::effective_uid() == 0
}

#[test]
fn steps_find_files_in_memory_that_only_their_user_reads() {
    let place = Place::new();
    secret(&place, "deploy-key", "c4nary-deploy-key\n");
    secret(&place, "other", "c4nary-other\n");
    let mut job = with_secret(
        job(&["cd \"$CREDENTIALS_DIRECTORY\"; ls; wc -c < deploy-key; stat -c %a-%U deploy-key
               id -un; stat -f -c %T .; ls -ld . | cut -c1-10; echo \"dir=$PWD\" >> \"$SHIPBELL_OUTPUT\""]),
        &["deploy-key"],
    );
    if is_root() {
        job.user = Some("nobody".into());
    }
    let end = place.run(&job);
    assert_eq!(end.finished().0, Outcome::Succeeded, "{}", end.log);
    let user = if is_root() {
        "nobody".to_owned()
    } else {
        shipbell::sys::host::user_name_of(shipbell::sys::host::effective_uid())
    };
    let mode = if is_root() { "drwxr-x---" } else { "drwx------" };
    assert!(end.log.contains(&format!("\ndeploy-key\n18\n400-{user}\n{user}\ntmpfs\n{mode}\n")), "{}", end.log);
    let dir = end.values()[0].1.to_owned();
    assert!(dir.contains("shipbell-credentials-") && !Path::new(&dir).exists(), "{dir} is gone with the run");
    assert!(!end.dir.join("credentials").exists());
}

#[test]
fn variables_hold_a_secret_only_where_asked() {
    let place = Place::new();
    secret(&place, "token", "c4nary-token\n");
    secret(&place, "kubeconfig", "c4nary-kubeconfig\n");
    let mut job = job(&[
        "echo \"length ${#TOKEN}\"; test -r \"$KUBECONFIG\" && wc -c < \"$KUBECONFIG\"; ls \"$CREDENTIALS_DIRECTORY\"",
        "echo \"again ${#TOKEN}\"; env | grep -c c4nary || true",
    ]);
    job.env.insert("KUBECONFIG".into(), file("kubeconfig"));
    job.steps[0].env.insert("TOKEN".into(), content("token"));
    job.steps[1].env.insert("TOKEN".into(), "none".into());
    let end = place.run(&job);
    assert_eq!(end.finished().0, Outcome::Succeeded, "{}", end.log);
    assert!(end.log.contains("\nlength 12\n18\nkubeconfig\n"), "{}", end.log);
    assert!(end.log.contains("\nagain 4\n0\n"), "{}", end.log);
}

#[test]
fn init_sees_no_secret_of_the_job_and_leaves_nobody_who_could() {
    let place = Place::new();
    secret(&place, "token", "c4nary-token-of-the-job\n");
    secret(&place, "config", "{\"password\": \"c4nary-of-init\"}");
    let mut job = with_secret(
        job(&["ls \"$CREDENTIALS_DIRECTORY\"; kill -0 $(cat spy) || echo no spy; wc -c < init.json"]),
        &["token"],
    );
    job.env.insert("TOKEN".into(), content("token"));
    job.env.insert("PLAIN".into(), "plain".into());
    job.init = Some(Box::new(InitDef {
        run: "echo \"sees ${TOKEN-nothing} ${CREDENTIALS_DIRECTORY-nothing} $PLAIN\"; cat $INIT_CONFIG; (setsid sleep 60 & echo $! > spy)".into(),
        config: "init.json".into(),
        source: None,
        secret: Some("config".parse().unwrap()),
    }));
    let end = place.run(&job);
    assert_eq!(end.finished().0, Outcome::Succeeded, "{}", end.log);
    assert!(end.log.contains("\nsees nothing nothing plain\n***"), "{}", end.log);
    assert!(end.log.contains("\ntoken\n") && end.log.contains("\nno spy\n30\n"), "{}", end.log);
    assert!(end.log.contains("=== what init left running is ended"), "{}", end.log);
}

#[test]
fn a_broken_init_secret_is_not_shown() {
    let place = Place::new();
    secret(&place, "config", "{\n  \"password\": c4nary-broken\n}");
    let mut job = job(&["true"]);
    let init =
        InitDef { run: "true".into(), config: "i.json".into(), source: None, secret: Some("config".parse().unwrap()) };
    job.init = Some(Box::new(init));
    let end = place.run(&job);
    let (outcome, reason) = outcome(&end);
    assert_eq!(outcome, Outcome::Failed, "{}", end.log);
    assert!(reason.contains("i.json:2:15: this is not JSON"), "{reason}");
    assert!(end.log.contains("from secret config") && !end.log.contains("c4nary"), "{}", end.log);
}

#[test]
fn what_is_printed_is_masked_counted_and_can_fail_the_run() {
    let place = Place::new();
    secret(&place, "token", "c4nary-token\n");
    let text = "cat $CREDENTIALS_DIRECTORY/token; base64 $CREDENTIALS_DIRECTORY/token; printf 'c4nar'; sleep 0.1; echo y-token";
    let mut job = with_secret(job(&[text]), &["token"]);
    let end = place.run(&job);
    assert_eq!((end.finished().0, end.usage().masked), (Outcome::Succeeded, 3), "{}", end.log);
    assert!(!end.log.contains("c4nary") && end.log.contains("\n***\n"), "{}", end.log);
    assert!(end.log.contains("=== MASKED: the steps printed a secret 3 times"), "{}", end.log);
    job.on_leak = OnLeak::Fail;
    let (outcome, reason) = outcome(&place.run(&job));
    assert_eq!(
        (outcome, reason.as_str()),
        (Outcome::Failed, "the steps printed a secret 3 times (on-leak = \"fail\")")
    );
}

#[test]
fn facts_hold_no_secret() {
    let place = Place::new();
    secret(&place, "token", "c4nary-token\n");
    for step in [
        "echo \"key=$(cat $CREDENTIALS_DIRECTORY/token)\" >> $SHIPBELL_OUTPUT",
        "cat $CREDENTIALS_DIRECTORY/token >> $SHIPBELL_OUTPUT",
        "touch \"$SHIPBELL_ARTIFACTS/$(cat $CREDENTIALS_DIRECTORY/token)\"",
    ] {
        let end = place.run(&with_secret(job(&[step]), &["token"]));
        assert_eq!(end.finished().0, Outcome::Failed, "{step}: {}", end.log);
        for name in ["events.jsonl", "log", "ticket.json"] {
            let text = std::fs::read_to_string(end.dir.join(name)).unwrap();
            assert!(!text.contains("c4nary"), "{step}: {name}: {text}");
        }
    }
}

#[test]
fn an_order_without_its_secret_is_refused() {
    let place = Place::new();
    let order = place.order(&with_secret(job(&["true"]), &["none"]));
    let why = place.executor.start(&order).unwrap_err().to_string();
    assert!(why.contains("secret none: there is no") && why.contains("install -m 600"), "{why}");
    // A supervisor that nobody gave them to begins no step.
    secret(&place, "none", "c4nary-none");
    let order = place.order(&with_secret(job(&["echo on"]), &["none"]));
    let dir = place.prepare(&order);
    assert!(place::supervise(&dir).success());
    let events = std::fs::read_to_string(dir.join("events.jsonl")).unwrap();
    assert!(events.contains("did not arrive") && !events.contains("succeeded"), "{events}");
}

#[test]
fn the_secrets_of_a_killed_supervisor_are_removed() {
    let place = Place::new();
    secret(&place, "token", "c4nary-token");
    let run = place.start(&with_secret(job(&["echo on; sleep 60"]), &["token"]));
    place.wait_for(&run, "on");
    let dir = std::fs::read_to_string(place.executor.dir(&run, 1).join("credentials")).unwrap();
    assert!(Path::new(&dir).join("token").exists());
    place::signal(place.supervisor(&run), "KILL");
    until("its end", || place.executor.status(&run, 1, &place.boot_id).unwrap() != shipbell::executor::Status::Running);
    assert!(!Path::new(&dir).exists(), "{dir}");
}

#[test]
fn each_environment_has_its_own() {
    let place = Place::new();
    secret(&place, "name", "of nobody else");
    secret(&place, "staging/name", "of the staging");
    let mut job = with_secret(job(&["cut -c4- $CREDENTIALS_DIRECTORY/name"]), &["name"]);
    assert!(place.run(&job).log.contains("\nnobody else\n"));
    job.environment = Some(Box::new(EnvironmentPolicy {
        name: "staging".parse().unwrap(),
        approval: None,
        windows: vec![],
        freezes: vec![],
        url: None,
    }));
    assert!(place.run(&job).log.contains("\nthe staging\n"));
}

/// Files below a directory that have a text in them.
fn files_with(dir: &Path, text: &[u8]) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            } else if std::fs::read(entry.path()).is_ok_and(|bytes| bytes.windows(text.len()).any(|part| part == text))
            {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}

/// The whole program, with a secret that every step prints and puts wherever it can: afterwards it is
/// nowhere but in the file that the administrator made.
#[test]
fn a_canary_is_found_nowhere() {
    let canary = format!("c4nary-{}-{}", std::process::id(), "whole-program");
    let mut robot = Robot::new("[mail]\ntransport = \"file\"\nfrom = \"ci@example.org\"\nto = \"ops@example.org\"\n");
    robot.write("etc/shipbell/secrets/token", &format!("{canary}\n"));
    let path = robot.path("etc/shipbell/secrets/token");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("its mode");
    robot.job_file(
        "shop",
        "[job.leak]\nmanual = true\nsecrets = \"token\"\nenv = { T = { file = \"token\" } }\n\
         steps = ['cat \"$T\"; cat \"$T\" >&2', 'echo on; sleep 1', { name = \"out\", run = 'echo \"k=$(cat $T)\" >> $SHIPBELL_OUTPUT' }]\n",
    );
    robot.start();
    robot.must(&["run", "shop/leak"]);
    robot.wait_until(&["logs", "shop/leak"], "\non\n");
    // While it runs: in nobody's arguments and, as a file was asked for, in nobody's environment.
    let own = std::process::id().to_string();
    for process in std::fs::read_dir("/proc").expect("/proc").flatten().filter(|entry| *entry.file_name() != *own) {
        for name in ["cmdline", "environ"] {
            let bytes = std::fs::read(process.path().join(name)).unwrap_or_default();
            let found = bytes.windows(canary.len()).any(|part| part == canary.as_bytes());
            assert!(!found, "{}/{name}", process.path().display());
        }
    }
    robot.wait_until(&["show", "shop/leak"], "FAILED");
    let mail = || (!robot.mails().is_empty()).then_some(());
    support::wait_for("a mail", mail, || robot.said_by_daemon());
    let shown = robot.must(&["show", "shop/leak#1"]);
    assert!(shown.contains("secrets 2 times"), "{shown}");
    for text in [
        shown,
        robot.must(&["logs", "shop/leak", "--raw"]),
        robot.run(&["status", "--json"]).out,
        robot.must(&["show", "shop/leak#1", "--json"]),
        robot.must(&["history", "--json"]),
        robot.get("/shop/leak/1").1,
        robot.get("/shop/leak/1/log").1,
        robot.get("/shop/leak/1/log?raw=1").1,
    ] {
        assert!(!text.contains(&canary), "{text}");
    }
    assert!(robot.must(&["logs", "shop/leak"]).contains("***\n***\n"));
    assert_eq!(files_with(&robot.path(""), canary.as_bytes()), [path.display().to_string()]);
    assert_eq!(files_with(Path::new("/dev/shm"), canary.as_bytes()), Vec::<String>::new());
    // Its name is in the definition, its content is not: a new one needs no approval, and is used at once.
    assert!(robot.must(&["show", "shop/leak#1", "--json"]).contains("leak"));
}

#[test]
fn check_warns_of_a_secret_that_is_not_there() {
    let robot = Robot::new("");
    robot.job_file(
        "shop",
        "[job.a]\nmanual = true\nsteps = \"true\"\nsecrets = [\"there\", \"gone\"]\n\
         [job.b]\nmanual = true\nsteps = \"true\"\nenv = { T = { secret = \"lost\" } }\nenvironment = \"live\"\n\
         [environment.live]\napproval = \"none\"\n",
    );
    robot.write("etc/shipbell/secrets/there", "x");
    let said = robot.run(&["check"]);
    assert_eq!((said.code, said.out.as_str()), (0, "2 files: ok, 2 warnings\n"), "{}", said.err);
    assert!(said.err.contains("there is no secret `gone`: job `a` cannot start"), "{}", said.err);
    assert!(said.err.contains("secrets/live/lost, then "), "{}", said.err);
}
