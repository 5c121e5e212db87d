//! What a step finds: a real repository at exactly the commit, and step 0 `init` with all the ways in
//! which a repository does not fit. Real git, real make, the real supervisor.

#[path = "workspace/kept.rs"]
mod kept;
#[expect(dead_code, reason = "shared with tests/runs.rs, which asks for the rest")]
#[path = "runs/place.rs"]
mod place;

use std::path::{Path, PathBuf};
use std::process::Command;

use place::{End, Place, job, outcome};
use shipbell::model::commit::{CommitId, RefName};
use shipbell::model::job::{Commits, Definition, Hash, InitDef, RepoDef};
use shipbell::model::run::{Outcome, StepEnd};
use shipbell::model::ticket::{Fact, StartOrder};

/// A repository with a bare mirror beside it.
struct Repo {
    dir: PathBuf,
    mirror: PathBuf,
}

impl Repo {
    fn new(place: &Path) -> Self {
        let repo = Self { dir: place.join("origin"), mirror: place.join("mirror.git") };
        std::fs::create_dir_all(&repo.dir).unwrap();
        repo.git(&["init", "-q", "-b", "main"]);
        repo
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=Anna", "-c", "user.email=anna@example.org", "-c", "protocol.file.allow=always"])
            .args(arguments)
            .current_dir(&self.dir)
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self, files: &[(&str, &str)]) -> String {
        for (path, text) in files {
            let path = self.dir.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "c"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// As the poller leaves it.
    fn mirror(&self) -> &Path {
        let _ = std::fs::remove_dir_all(&self.mirror);
        let mirror = self.mirror.to_str().unwrap().to_owned();
        self.git(&["clone", "-q", "--mirror", ".", &mirror]);
        &self.mirror
    }
}

fn with_repo(mut job: Definition) -> Definition {
    job.repo = Some(RepoDef {
        url: "https://example.org/team/app.git".into(),
        commits: Commits::Latest,
        history: true,
        signed_by: None,
    });
    job.manual = false;
    job
}

fn with_init(job: Definition) -> Definition {
    let mut job = with_repo(job);
    job.init = Some(Box::new(InitDef {
        run: "make init".into(),
        config: "init_config.json".into(),
        source: None,
        secret: None,
    }));
    job
}

fn order(place: &Place, job: &Definition, repo: &Repo, commit: &str) -> StartOrder {
    let mut order = place.order(job);
    order.commit = Some(CommitId::new(commit).unwrap());
    order.git_ref = Some(RefName::branch("main").unwrap());
    order.mirror = Some(repo.mirror().to_owned());
    order
}

fn run(place: &Place, job: &Definition, repo: &Repo, commit: &str) -> End {
    let order = order(place, job, repo, commit);
    place.executor.start(&order).unwrap();
    place.wait(&order.run)
}

/// The end of step 0 in full.
fn refusal(end: &End) -> String {
    let text = |fact: &Fact| match fact {
        Fact::StepEnded { index: 0, end: StepEnd::Refused(why), .. } => Some(why.clone()),
        _ => None,
    };
    end.facts.iter().find_map(text).unwrap_or_else(|| panic!("step 0 was not refused: {}", end.log))
}

fn new() -> (Place, tempfile::TempDir, Repo) {
    use std::os::unix::fs::PermissionsExt as _;
    let temp = tempfile::tempdir().unwrap();
    std::fs::set_permissions(temp.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let repo = Repo::new(temp.path());
    (Place::new(), temp, repo)
}

#[test]
fn a_step_finds_a_real_repository() {
    let (place, _temp, repo) = new();
    let mut wanted = String::new();
    for number in 0..50 {
        let commit =
            repo.commit(&[("n", &format!("{number}\n")), ("sub/file", "text\r\n"), (".gitattributes", "* text\n")]);
        match number {
            10 => drop(repo.git(&["tag", "v1.0"])),
            30 => drop(repo.git(&["tag", "-a", "v1.1", "-m", "one point one"])),
            40 => wanted = commit,
            45 => drop(repo.git(&["tag", "v2.0"])),
            _ => {}
        }
    }
    let job = with_repo(job(&[
        "git describe --tags; git tag | xargs echo tags; git rev-parse HEAD; git rev-parse --abbrev-ref HEAD",
        "cat n; git status --porcelain | wc -l; git log --oneline | wc -l; git remote | wc -l; git diff --stat HEAD",
        "git fsck --connectivity-only; git cat-file -t v1.1; git merge-base --is-ancestor v1.0 HEAD",
    ]));
    let end = run(&place, &job, &repo, &wanted);
    assert_eq!(end.finished().0, Outcome::Succeeded, "{}", end.log);
    let short = repo.git(&["rev-parse", "--short", &wanted]);
    for line in [&format!("v1.1-10-g{short}"), "tags v1.0 v1.1", &wanted, "HEAD", "40", "0", "41", "tag"] {
        assert!(end.log.lines().any(|found| found == line), "{line}: {}", end.log);
    }
}

#[test]
fn without_history_there_is_the_commit_and_its_tags() {
    let (place, _temp, repo) = new();
    let mut commits = Vec::new();
    for number in 0..5 {
        commits.push(repo.commit(&[("n", &format!("{number}\n"))]));
        repo.git(&["tag", &format!("light-{number}")]);
        repo.git(&["tag", "-a", &format!("v1.{number}"), "-m", "a version"]);
    }
    let mut job = with_repo(job(&[
        "git describe; git tag | xargs echo tags; git log --format=%H; git rev-list --count HEAD; cat n",
        "git rev-parse --is-shallow-repository; git fsck --connectivity-only; git status --porcelain | wc -l",
        "git rev-parse -q --verify HEAD~1 || echo no parent; git describe --always --exclude '*'",
    ]));
    job.repo.as_mut().unwrap().history = false;
    let wanted = &commits[3];
    let end = run(&place, &job, &repo, wanted);
    assert_eq!(end.finished().0, Outcome::Succeeded, "{}", end.log);
    let short = repo.git(&["rev-parse", "--short", wanted]);
    for line in ["v1.3", "tags light-3 v1.3", wanted, "1", "3", "true", "0", "no parent", &short] {
        assert!(end.log.lines().any(|found| found == line), "{line}: {}", end.log);
    }
    assert!(!end.log.contains(&commits[2]), "nothing of what came before: {}", end.log);
}

#[test]
fn no_hook_filter_or_fsmonitor_of_a_commit_runs() {
    let (place, _temp, repo) = new();
    let commit = repo.commit(&[(".gitattributes", "* filter=evil diff=evil\n"), ("a", "plain\n")]);
    let mirror = repo.mirror().to_owned();
    let trap = mirror.join("sprung");
    let spring = format!("#!/bin/sh\ntouch {}\ncat\n", trap.display());
    let program = mirror.join("hooks/post-checkout");
    std::fs::write(&program, spring).unwrap();
    assert!(Command::new("chmod").arg("+x").arg(&program).status().unwrap().success());
    for key in ["core.fsmonitor", "filter.evil.smudge", "filter.evil.process"] {
        let set = Command::new("git").arg("-C").arg(&mirror).args(["config", key]).arg(&program).status().unwrap();
        assert!(set.success());
    }
    let mut order = order(&place, &with_repo(job(&["cat a"])), &repo, &commit);
    order.mirror = Some(mirror);
    place.executor.start(&order).unwrap();
    let end = place.wait(&order.run);
    assert!(end.log.contains("\nplain\n"), "{}", end.log);
    assert!(!trap.exists());
}

#[test]
fn submodules_and_lfs_are_refused_with_what_to_do() {
    let (place, temp, repo) = new();
    let inner = temp.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let inner = Repo { dir: inner, mirror: temp.path().join("unused") };
    inner.git(&["init", "-q"]);
    inner.commit(&[("x", "y")]);
    repo.git(&["submodule", "--quiet", "add", inner.dir.to_str().unwrap(), "third/party"]);
    let commit = repo.commit(&[("a", "b")]);
    let end = run(&place, &with_repo(job(&["echo started"])), &repo, &commit);
    let why = refusal(&end);
    assert!(why.contains("has a submodule (third/party)") && why.contains("git subtree add"), "{why}");
    assert!(!end.log.contains("started"), "{}", end.log);

    repo.git(&["rm", "-q", "-f", "third/party"]);
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n";
    let commit = repo.commit(&[("big.bin", pointer), ("docs/spec.txt", pointer)]);
    let end = run(&place, &with_repo(job(&["echo started"])), &repo, &commit);
    assert_eq!(end.finished().0, Outcome::Succeeded, "without the filter it is a text like any other: {}", end.log);
    let commit = repo.commit(&[(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")]);
    let end = run(&place, &with_repo(job(&["echo started"])), &repo, &commit);
    let why = refusal(&end);
    assert!(why.contains("keeps big.bin in Git LFS") && why.contains("migrate export"), "{why}");
}

#[test]
fn a_commit_that_is_gone_is_said() {
    let (place, _temp, repo) = new();
    repo.commit(&[("a", "b")]);
    let end = run(&place, &with_repo(job(&["echo on"])), &repo, &"ab".repeat(20));
    assert_eq!(end.finished().0, Outcome::Failed);
    assert!(refusal(&end).starts_with("commit abababa is not in the mirror\n"), "{}", refusal(&end));
    assert!(!end.log.contains("\non\n"));
}

#[test]
fn init_runs_with_its_config() {
    let (place, _temp, repo) = new();
    let makefile = "init:\n\t@echo init with $$(cat $$INIT_CONFIG) > made; git describe --always > /dev/null\n";
    let commit = repo.commit(&[("Makefile", makefile), ("init_config.json", "{\"a\": 1}\n")]);
    let end = run(&place, &with_init(job(&["cat made"])), &repo, &commit);
    assert_eq!(end.finished().0, Outcome::Succeeded, "{}", end.log);
    assert!(end.log.contains("=== step 0 \"init\": make init\n"), "{}", end.log);
    assert!(end.log.contains("\ninit with {\"a\": 1}\n"), "{}", end.log);
}

#[test]
fn a_missing_config_says_what_to_do() {
    let (place, _temp, repo) = new();
    let commit = repo.commit(&[("a", "b")]);
    let end = run(&place, &with_init(job(&["echo on"])), &repo, &commit);
    let expected = format!(
        "the commit has no init_config.json\n\
         commit {} of https://example.org/team/app.git\n\
         [init] in jobs.d/shop.toml runs `make init` with it.\n\
         There is no Makefile in this commit either.\n\
         Put a file in place of it:  [init] source = \"/etc/shipbell/shop/init_config.json\"\n\
         Another command:            [init] run = \"...\"        No init at all: remove [init]",
        &commit[..7]
    );
    assert_eq!(refusal(&end), expected);
    let reason = "step 0 \"init\": the commit has no init_config.json".to_owned();
    assert_eq!(end.finished(), (Outcome::Failed, reason, Some((0, "init".into()))));
    assert!(!end.log.contains("\non\n"));
}

#[test]
fn a_broken_config_names_line_and_column() {
    let (place, _temp, repo) = new();
    let broken = "{\n  \"name\": \"app\",\n  \"port\": 80,,\n}\n";
    let commit = repo.commit(&[("Makefile", "init:\n"), ("init_config.json", broken)]);
    let text = refusal(&run(&place, &with_init(job(&["echo on"])), &repo, &commit));
    assert!(text.starts_with("init_config.json:3:14: this is not JSON: "), "{text}");
    assert!(text.contains("\n   3 |   \"port\": 80,,\n"), "{text}");
    assert!(text.contains("Correct it in the repository and push"), "{text}");
}

#[test]
fn a_config_of_its_own_takes_the_place_of_the_commits() {
    let (place, temp, repo) = new();
    let commit = repo.commit(&[("Makefile", "init:\n\t@cat $$INIT_CONFIG\n")]);
    let source = temp.path().join("source.json");
    std::fs::write(&source, "{\"from\": \"root\"}\n").unwrap();
    let mut job = with_init(job(&["true"]));
    if let Some(init) = &mut job.init {
        init.config = "conf/ci.json".into();
        init.source = Some((source.clone(), Hash::of(&std::fs::read(&source).unwrap())));
    }
    let end = run(&place, &job, &repo, &commit);
    assert_eq!(end.finished().0, Outcome::Succeeded, "{}", end.log);
    assert!(end.log.contains("\n{\"from\": \"root\"}\n"), "{}", end.log);
    std::fs::write(&source, "{}").unwrap();
    let refused = place.executor.start(&order(&place, &job, &repo, &commit)).unwrap_err().to_string();
    assert!(refused.contains("changed since the job files were read"), "{refused}");
}

#[test]
fn make_without_makefile_or_target_gets_a_hint() {
    let (place, _temp, repo) = new();
    let bare = repo.commit(&[("init_config.json", "{}")]);
    let end = run(&place, &with_init(job(&["echo on"])), &repo, &bare);
    assert_eq!(outcome(&end).1, "exit 2 in step 0 \"init\": this commit has no Makefile", "{}", end.log);
    let other = repo.commit(&[("Makefile", "test:\n\ttrue\n")]);
    let end = run(&place, &with_init(job(&["echo on"])), &repo, &other);
    assert_eq!(outcome(&end).1, "exit 2 in step 0 \"init\": the Makefile of this commit has no target `init`");
    assert!(end.log.contains("=== Another command:  [init] run = "), "{}", end.log);
    assert!(!end.log.contains("\non\n"));
}

#[test]
fn a_config_that_is_a_link_to_elsewhere_is_not_followed() {
    let (place, _temp, repo) = new();
    repo.commit(&[("Makefile", "init:\n"), ("real.json", "{}")]);
    std::os::unix::fs::symlink("/etc/passwd", repo.dir.join("init_config.json")).unwrap();
    let outside = repo.commit(&[]);
    let text = refusal(&run(&place, &with_init(job(&["true"])), &repo, &outside));
    assert!(text.starts_with("init_config.json cannot be read: "), "{text}");
    std::fs::remove_file(repo.dir.join("init_config.json")).unwrap();
    std::os::unix::fs::symlink("real.json", repo.dir.join("init_config.json")).unwrap();
    let inside = repo.commit(&[]);
    let end = run(&place, &with_init(job(&["true"])), &repo, &inside);
    assert_eq!(end.finished().0, Outcome::Succeeded, "{}", end.log);
}

#[test]
fn another_user_owns_the_workspace() {
    if shipbell::sys::host::effective_uid() != 0 {
        return;
    }
    let (place, _temp, repo) = new();
    let commit = repo.commit(&[("a", "b")]);
    repo.git(&["tag", "v3"]);
    let mut job =
        with_repo(job(&["git describe --tags; git status --porcelain; stat -c %U a .git/HEAD; rm -r .git a"]));
    job.user = Some("nobody".into());
    let end = run(&place, &job, &repo, &commit);
    assert_eq!(end.finished().0, Outcome::Succeeded, "{}", end.log);
    assert!(end.log.contains("\nv3\nnobody\nnobody\n"), "{}", end.log);
}

#[test]
fn a_cancel_reaches_the_checkout() {
    let (place, _temp, repo) = new();
    let commit = repo.commit(&[("a", "b")]);
    let order = order(&place, &with_repo(job(&["echo on"])), &repo, &commit);
    // A mirror that never answers: reading its object store blocks on a pipe.
    let pipe = order.mirror.clone().unwrap().join("objects/info/alternates");
    std::fs::create_dir_all(pipe.parent().unwrap()).unwrap();
    assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
    place.executor.start(&order).unwrap();
    place::until("the checkout is going on", || place.log(&order.run).contains("=== shop/test#1"));
    std::thread::sleep(std::time::Duration::from_millis(200));
    place.executor.stop(&order.run, 1, "cancelled by anna").unwrap();
    let end = place.wait(&order.run);
    assert_eq!(outcome(&end), (Outcome::Cancelled, "cancelled by anna in step 0 \"workspace\"".into()));
    assert!(end.is_empty());
}

#[test]
fn names_and_output_of_strangers_stay_bytes_in_the_log_and_plain_in_reasons() {
    let (place, _temp, repo) = new();
    let commit = repo.commit(&[("a", "b")]);
    let job = with_repo(job(&["printf '\\377\\033[31mred\\000\\n'; printf 'A\\033=1\\n' >> $SHIPBELL_OUTPUT"]));
    let end = run(&place, &job, &repo, &commit);
    let (log, _) = place.executor.read_log(&end.run, 1, 0, 1 << 20).unwrap();
    assert!(log.windows(11).any(|bytes| bytes == b"\xff\x1b[31mred\0\n"), "{}", end.log);
    assert_eq!(end.finished().0, Outcome::Failed);
    assert!(!outcome(&end).1.contains('\u{1b}'), "{:?}", outcome(&end));
}
