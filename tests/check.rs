//! Configuration as a sysadmin meets it: the worked examples are good, every kind of mistake has its
//! message (`SHIPBELL_BLESS=1` writes the expected ones anew), one bad file harms one pipeline.

#[path = "check/ways.rs"]
mod ways;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use shipbell::config::{self, Layout, Loaded, Trust, last_good};
use shipbell::model::catalog::{Pipeline, PipelineState};
use shipbell::model::name::{JobName, PipelineName};

/// A root with an /etc/shipbell of its own.
struct Site {
    dir: tempfile::TempDir,
    layout: Layout,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(Some(dir.path()));
        layout.create().unwrap();
        let site = Self { dir, layout };
        site.settings(&fs::read_to_string(data("shipbell.toml")).unwrap());
        fs::create_dir_all(site.layout.secrets()).unwrap();
        site.write(&site.layout.secrets().join("totp-fay"), "");
        site
    }

    fn write(&self, path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
    }

    fn settings(&self, text: &str) {
        self.write(&self.layout.shipbell_toml(), text);
    }

    fn jobs_d(&self, name: &str) -> PathBuf {
        self.layout.jobs_dirs().remove(0).join(name)
    }

    fn job(&self, name: &str, text: &str) {
        self.write(&self.jobs_d(name), text);
    }

    fn load(&self) -> Loaded {
        config::load(&self.layout, &Trust::root_and_self(), &last_good::read(&self.layout.last_good()))
    }

    fn reload(&self) -> Loaded {
        let (loaded, kept) = config::reload(&self.layout, &Trust::root_and_self());
        kept.unwrap();
        loaded
    }

    /// Every message, with the root taken off the paths.
    fn messages(&self, loaded: &Loaded) -> String {
        let texts: Vec<&str> = loaded.problems.iter().map(|problem| problem.text.as_str()).collect();
        texts.join("\n").replace(&self.dir.path().display().to_string(), "")
    }
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn pipeline<'a>(loaded: &'a Loaded, name: &str) -> &'a Pipeline {
    loaded.catalog.pipelines.get(&name.parse::<PipelineName>().unwrap()).unwrap_or_else(|| panic!("no {name}"))
}

fn toml_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

#[test]
fn the_worked_examples_are_good() {
    let site = Site::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    site.settings(&fs::read_to_string(root.join("packaging/shipbell.toml")).unwrap());
    let examples = toml_files(&root.join("jobs.d"));
    assert!(examples.len() >= 4);
    for path in &examples {
        site.job(path.file_name().unwrap().to_str().unwrap(), &fs::read_to_string(path).unwrap());
    }
    let loaded = site.load();
    assert_eq!(site.messages(&loaded), "");
    assert_eq!(loaded.catalog.pipelines.len(), examples.len());
    let order: Vec<&str> = pipeline(&loaded, "open-im").order.iter().map(JobName::as_str).collect();
    assert_eq!(order, ["test", "image", "staging", "production"]);
    // A pipe that fails at the front fails the step, where nobody says otherwise.
    let jobs = &pipeline(&loaded, "open-im").jobs;
    assert!(jobs.values().all(|job| *job.definition.shell == ["bash", "-euo", "pipefail", "-c"]));
}

/// Compares the messages about each file of a folder with what stands beside it.
fn compare_messages(folder: &str, install: impl Fn(&Site, &Path, &str)) {
    let bless = std::env::var_os("SHIPBELL_BLESS").is_some();
    let mut wrong = Vec::new();
    for path in toml_files(&data(folder)) {
        let site = Site::new();
        install(&site, &path, &fs::read_to_string(&path).unwrap());
        let found = site.messages(&site.load());
        assert!(!found.is_empty(), "{} is taken for good", path.display());
        let expected = path.with_extension("expected");
        if bless {
            fs::write(&expected, &found).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != found {
            wrong.push(format!("--- {}\n{found}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "other messages than expected (SHIPBELL_BLESS=1 takes them):\n{}", wrong.join("\n"));
}

#[test]
fn every_mistake_has_its_message() {
    compare_messages("bad", |site, path, text| site.job(path.file_name().unwrap().to_str().unwrap(), text));
    compare_messages("bad-settings", |site, _, text| site.settings(text));
}

/// `shipbell check` as it is called: exit code, standard output, standard error.
fn check(site: &Site, arguments: &[&str]) -> (i32, String, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_shipbell"));
    let output = command.arg("--root").arg(site.dir.path()).arg("check").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&site.dir.path().display().to_string(), "");
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_command_says_what_is_wrong_and_what_is_good() {
    let site = Site::new();
    site.job("a.toml", GOOD);
    assert_eq!(check(&site, &[]), (0, "2 files: ok\n".into(), String::new()));
    site.job("b.toml", "[job.a]\nsteps = \"true\"\ntimeout = 20\n");
    site.job("c_d.toml", GOOD);
    let (code, out, err) = check(&site, &[]);
    assert_eq!((code, out.as_str()), (1, "3 files: 2 ok, 1 broken\n"));
    assert_eq!(
        err,
        "error: `timeout` needs a unit\n \
         --> /etc/shipbell/jobs.d/b.toml:3:11\n\
         3  | timeout = 20\n   \
         |           ^^ write \"20s\", \"20m\" or \"20h\" (in quotes)\n\n\
         /etc/shipbell/jobs.d/c_d.toml: skipped, names are a-z 0-9 and \"-\": rename it to c-d.toml\n"
    );
    let (code, out, _) = check(&site, &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["ok"], &json["schema"]), (1, &false.into(), &1.into()));
    let problem = &json["problems"][0];
    assert_eq!((&problem["pipeline"], &problem["line"], &problem["column"]), (&"b".into(), &3.into(), &11.into()));
    assert_eq!(json["skipped"][0]["file"], "/etc/shipbell/jobs.d/c_d.toml");
    // One file, wherever it lies; one that is not there is no good one.
    let a = site.jobs_d("a.toml").display().to_string();
    assert_eq!(check(&site, &[&a]), (0, "1 file: ok\n".into(), String::new()));
    assert_eq!(check(&site, &["/no/such.toml"]).0, 1);
}

#[test]
fn every_mistake_of_a_file_is_told_at_once_and_good_files_beside_it_load() {
    let site = Site::new();
    site.job("five.toml", &fs::read_to_string(data("bad/five.toml")).unwrap());
    site.job("good.toml", "[job.a]\nsteps = \"true\"\n");
    site.job("other.toml", "[job.a]\nsteps = 1\n");
    let loaded = site.load();
    let named = |problem: &&config::Problem, name| problem.pipeline.as_ref().is_some_and(|p| p.as_str() == name);
    let of = |name: &'static str| loaded.problems.iter().filter(move |problem| named(problem, name));
    assert_eq!(of("five").count(), 7, "{}", site.messages(&loaded));
    assert_eq!(of("other").count(), 1);
    assert_eq!(pipeline(&loaded, "good").state, PipelineState::Ok);
    let PipelineState::Off { why, .. } = &pipeline(&loaded, "five").state else { panic!("not off") };
    assert_eq!(why, "five.toml:2:7 this is no address of a repository (and 6 more)");
}

#[test]
fn files_of_other_editors_are_read() {
    let site = Site::new();
    site.job("a.toml", "\u{feff}[job.a]\r\nsteps = \"true\"\r\n");
    site.job("b.toml", "[repo]\nurl = \"/srv/x.git\"\n[job.a]\nsteps = \"\"\"\nmake\n\"\"\"\npaths = \".github/**\"\n");
    let loaded = site.load();
    assert_eq!(site.messages(&loaded), "");
    site.job("a.toml", "[job.a]\r\nsteps = \"true\"\r\ntimeout = 5\r\n");
    assert!(site.messages(&site.load()).contains("a.toml:3:11\n3  | timeout = 5\n"));
}

const GOOD: &str = "[job.a]\nsteps = \"true\"\n";

#[test]
fn a_file_that_breaks_keeps_its_last_good_version_also_across_a_restart() {
    let site = Site::new();
    site.job("shop.toml", GOOD);
    assert_eq!(pipeline(&site.reload(), "shop").state, PipelineState::Ok);
    site.job("shop.toml", "[job.a]\nsteps = \"true\"\nneed = \"b\"\n");
    for _ in 0..2 {
        // Each reload is as after a restart: nothing is remembered but what is on the disk.
        let loaded = site.reload();
        let shop = pipeline(&loaded, "shop");
        let problem = "shop.toml:3:1 unknown key `need` in [job.a]".to_owned();
        assert_eq!(shop.state, PipelineState::LastGood { problem });
        assert_eq!(shop.jobs.len(), 1);
    }
    fs::remove_file(site.jobs_d("shop.toml")).unwrap();
    let loaded = site.reload();
    assert!(
        matches!(&pipeline(&loaded, "shop").state, PipelineState::Off { why, gone: true } if why.ends_with("is gone"))
    );
    assert!(site.reload().catalog.pipelines.is_empty());
}

#[test]
fn a_file_that_others_may_write_is_off_whatever_it_was() {
    let site = Site::new();
    site.job("web.toml", GOOD);
    site.reload();
    let path = site.jobs_d("web.toml");
    fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
    let loaded = site.reload();
    assert!(matches!(pipeline(&loaded, "web").state, PipelineState::Off { .. }));
    let message = site.messages(&loaded);
    assert!(message.starts_with(
        "error: refused: others may write this file, and a job file can do all that its users can\n \
         --> /etc/shipbell/jobs.d/web.toml   mode 0664, owner "
    ));
    assert!(message.ends_with(
        "   = chmod 0644 /etc/shipbell/jobs.d/web.toml\n   \
         = pipeline `web` is OFF until then; runs going on continue, history stays\n"
    ));
    // A stranger's file, as it is seen by a service that trusts nobody but the stranger.
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let loaded =
        config::load(&site.layout, &Trust { owners: vec![4_000_000] }, &last_good::read(&site.layout.last_good()));
    assert!(site.messages(&loaded).contains("belongs to another user"));
    assert!(loaded.catalog.pipelines.values().all(|p| matches!(p.state, PipelineState::Off { .. })));
    // Repaired, it is on again.
    assert_eq!(pipeline(&site.reload(), "web").state, PipelineState::Ok);
    site.job("web.toml", &format!("{GOOD}# {}\n", "x".repeat(300 * 1024)));
    assert!(site.messages(&site.load()).contains("longer than 256 KiB"));
}

#[test]
fn what_is_no_job_file_is_named_and_masks_mask() {
    let site = Site::new();
    let lower = site.layout.jobs_dirs().remove(3);
    fs::create_dir_all(&lower).unwrap();
    for name in ["shipped.toml", "masked.toml", "both.toml"] {
        site.write(&lower.join(name), GOOD);
    }
    site.job("both.toml", "description = \"mine\"\n[job.b]\nsteps = \"true\"\n");
    std::os::unix::fs::symlink("/dev/null", site.jobs_d("masked.toml")).unwrap();
    site.write(&lower.join("target"), GOOD);
    std::os::unix::fs::symlink(lower.join("target"), site.jobs_d("linked.toml")).unwrap();
    for name in ["open_im.toml", "README", "web.toml~", ".hidden.toml"] {
        site.job(name, "not even TOML [");
    }
    fs::create_dir(site.jobs_d("web.toml.d")).unwrap();
    let loaded = site.load();
    assert_eq!(site.messages(&loaded), "");
    let names: Vec<&str> = loaded.catalog.pipelines.keys().map(PipelineName::as_str).collect();
    assert_eq!(names, ["both", "linked", "shipped"]);
    assert_eq!(pipeline(&loaded, "both").description.as_deref(), Some("mine"));
    let skipped: String = loaded
        .catalog
        .skipped
        .iter()
        .map(|(path, why)| format!("{}: {why}\n", path.display()))
        .collect::<String>()
        .replace(&site.dir.path().display().to_string(), "");
    for line in [
        "jobs.d/open_im.toml: names are a-z 0-9 and \"-\": rename it to open-im.toml\n",
        "jobs.d/README: job files end with .toml\n",
        "jobs.d/web.toml~: job files end with .toml\n",
        "jobs.d/.hidden.toml: names are a-z 0-9 and \"-\": rename it to hidden.toml\n",
        "jobs.d/web.toml.d: a directory: job files lie in jobs.d itself\n",
        "jobs.d/masked.toml: a mask (linked to /dev/null)\n",
        "/usr/lib/shipbell/jobs.d/masked.toml: masked by /etc/shipbell/jobs.d/masked.toml\n",
        "/usr/lib/shipbell/jobs.d/both.toml: /etc/shipbell/jobs.d/both.toml takes its place\n",
    ] {
        assert!(skipped.contains(line), "{line}\nin\n{skipped}");
    }
}

#[test]
fn a_broken_shipbell_toml_never_makes_anything_laxer() {
    let site = Site::new();
    let deploying = "[job.a]\nsteps = \"true\"\nenvironment = \"guarded\"\n";
    site.job("a.toml", deploying);
    let votes = |loaded: &Loaded| {
        let policy = pipeline(loaded, "a").environments.values().next().cloned().unwrap();
        policy.approval.unwrap().votes
    };
    assert_eq!(votes(&site.reload()), 2);
    let good = fs::read_to_string(site.layout.shipbell_toml()).unwrap();
    // Broken: the earlier version holds, and it is said.
    site.settings(&good.replace("votes = 2", "votes = 0"));
    let loaded = site.reload();
    assert_eq!(votes(&loaded), 2);
    assert_eq!(pipeline(&loaded, "a").state, PipelineState::Ok);
    assert!(site.messages(&loaded).contains("`votes` is a number from 1 to 20"));
    // Broken with no earlier version: nothing runs, and the job files' own mistakes are told as well.
    fs::remove_dir_all(site.layout.last_good()).unwrap();
    site.job("b.toml", "[job.a]\nstepz = 1\n");
    let loaded = site.load();
    assert!(loaded.catalog.pipelines.values().all(|p| matches!(p.state, PipelineState::Off { .. })));
    assert!(site.messages(&loaded).contains("unknown key `stepz`"));
    // Gone is a decision of its own: what it declared is then declared nowhere.
    fs::remove_file(site.layout.shipbell_toml()).unwrap();
    fs::create_dir(site.layout.last_good()).unwrap();
    assert!(site.messages(&site.reload()).contains("which is declared nowhere"));
}

#[test]
fn a_policy_of_both_files_is_the_stricter_of_each() {
    let site = Site::new();
    site.job(
        "a.toml",
        "[job.a]\nsteps = \"true\"\nenvironment = \"guarded\"\npool = \"zoo\"\n\
         [environment.guarded]\napproval = { by = [\"anna\", \"ben\"], expires = \"2h\", forbid = \"author\" }\n\
         window = \"Tue 10:00-12:00\"\nfreeze = \"2026-12-24\"\npool = [\"docker\", \"zoo\"]\n",
    );
    let loaded = site.load();
    assert_eq!(site.messages(&loaded), "");
    let job = pipeline(&loaded, "a").jobs.values().next().unwrap();
    let policy = job.definition.environment.as_ref().unwrap();
    let approval = policy.approval.as_ref().unwrap();
    assert_eq!(approval.by, [vec!["@release".to_owned()], vec!["anna".into(), "ben".into()]]);
    assert_eq!((approval.votes, approval.expires.0, approval.forbid_author), (2, 7200, true));
    assert_eq!(policy.windows.len(), 2);
    assert_eq!(policy.freezes.len(), 1);
    assert_eq!(job.definition.pools, ["docker", "zoo"]);
}

/// The hash of the first job of a file.
fn hash(text: &str) -> String {
    let site = Site::new();
    site.job("a.toml", text);
    let loaded = site.load();
    assert_eq!(site.messages(&loaded), "");
    let pipeline = pipeline(&loaded, "a");
    pipeline.jobs[&"test".parse::<JobName>().unwrap()].hash.to_string()
}

#[test]
fn the_definition_hash_changes_with_what_is_done_and_with_nothing_else() {
    let plain = "[job.test]\nsteps = \"make\"\ntimeout = \"5m\"\n";
    for same in [
        "# a comment\n[job.test]\n\ntimeout = \"300s\"\nsteps = [\"make\"]\n",
        "description = \"d\"\n[job.test]\nsteps = \"make\"\ntimeout = \"5m\"\ndescription = \"other\"\n\
         notify = { email = \"a@example.org\" }\n",
        "[job.other]\nsteps = \"x\"\n[job.test]\nsteps = \"make\"\ntimeout = \"5m\"\n",
        "[defaults]\ntimeout = \"5m\"\n[job.test]\nsteps = \"make\"\n",
    ] {
        assert_eq!(hash(same), hash(plain), "{same}");
    }
    for other in [
        "[job.test]\nsteps = \"make \"\ntimeout = \"5m\"\n",
        "[job.test]\nsteps = \"make\"\n",
        "[job.test]\nsteps = \"make\"\ntimeout = \"5m\"\nenv.A = \"1\"\n",
    ] {
        assert_ne!(hash(other), hash(plain), "{other}");
    }
}

#[test]
fn defaults_merge_tables_and_are_told_once() {
    let site = Site::new();
    site.job(
        "a.toml",
        "[defaults]\nenv = { A = \"1\", B = \"1\" }\ntimeout = \"5m\"\n\
         [job.x]\nsteps = \"true\"\n[job.x.env]\nB = \"2\"\n[job.y]\nsteps = \"true\"\ntimeout = \"1m\"\n",
    );
    site.job(
        "b.toml",
        "[defaults]\ntimeout = 5\nretry = { times = 2 }\n[job.x]\nsteps = \"a\"\n[job.y]\nsteps = \"b\"\n",
    );
    let loaded = site.load();
    let job = |name: &str| pipeline(&loaded, "a").jobs[&name.parse::<JobName>().unwrap()].definition.clone();
    let env = |name: &str| {
        job(name)
            .env
            .iter()
            .map(|(key, value)| format!("{key}={}", serde_json::to_string(value).unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (env("x"), env("y")),
        (vec!["A=\"1\"".into(), "B=\"2\"".into()], vec!["A=\"1\"".to_owned(), "B=\"1\"".into()])
    );
    assert_eq!((job("x").timeout.0, job("y").timeout.0), (300, 60));
    let messages = site.messages(&loaded);
    assert_eq!(messages.matches("error: ").count(), 3, "{messages}");
}

#[test]
fn init_may_be_put_in_place_by_a_file_of_root() {
    let site = Site::new();
    let source = site.dir.path().join("init.json");
    let text = format!(
        "[init]\nsource = \"{}\"\n[job.a]\nsteps = \"true\"\n[job.b]\nsteps = \"x\"\ninit = false\n",
        source.display()
    );
    site.job("a.toml", &text);
    assert!(site.messages(&site.load()).contains("this file is not there"));
    site.write(&source, "{ \"a\": 1, }");
    assert!(site.messages(&site.load()).contains("the file is no valid JSON"));
    site.write(&source, "{ \"a\": 1 }");
    let loaded = site.load();
    let init = |name: &str| pipeline(&loaded, "a").jobs[&name.parse::<JobName>().unwrap()].definition.init.clone();
    let (path, _) = init("a").unwrap().source.unwrap();
    assert_eq!((path, init("b")), (source.clone(), None));
    fs::set_permissions(&source, Permissions::from_mode(0o666)).unwrap();
    assert!(site.messages(&site.load()).contains("others may write this file"));
}

#[test]
fn files_can_be_checked_where_they_lie() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(Some(&dir.path().join("nothing-here")));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = toml_files(&root.join("jobs.d"));
    files.push(root.join("packaging/shipbell.toml"));
    let loaded = config::check_files(&layout, &Trust { owners: vec![] }, &files);
    let texts: Vec<&String> = loaded.problems.iter().map(|problem| &problem.text).collect();
    assert!(texts.is_empty(), "{texts:#?}");
    files.pop();
    let loaded = config::check_files(&layout, &Trust { owners: vec![] }, &files);
    assert!(loaded.problems.iter().any(|problem| problem.headline.contains("nobody holds the role `release`")));
    let loaded =
        config::check_files(&layout, &Trust { owners: vec![] }, &["x/No Such.toml".into(), "gone.toml".into()]);
    let headlines: Vec<&str> = loaded.problems.iter().map(|problem| problem.headline.as_str()).collect();
    assert_eq!(headlines[0], "no job file: names are a-z 0-9 and \"-\": rename it to no-such.toml");
    assert_eq!(headlines[1], "this file is not there");
}

/// Edits that a person or a broken script makes: something is lost, doubled, or odd.
fn damaged(text: &str, edits: &[(usize, usize, usize)]) -> String {
    const ODD: &[&str] =
        &["", "[", "]", "\"", "'", "=", "\n", "\\", "\u{0}", "\u{202e}", "${{", "5", "#", "\"\"\"", "é", "{", "."];
    let mut chars: Vec<char> = text.chars().collect();
    for (at, length, odd) in edits {
        let at = at % (chars.len() + 1);
        let end = (at + length % 12).min(chars.len());
        let inserted: Vec<char> = ODD[odd % ODD.len()].chars().collect();
        let again = chars[at..end].to_vec();
        let replacement = if odd % 3 == 0 { again.into_iter().chain(inserted).collect() } else { inserted };
        chars.splice(at..end, replacement);
    }
    chars.into_iter().collect()
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(150))]

    /// Whatever a file holds: reading ends, what is said is plain text that points into the file, and what
    /// is taken for good has an environment's policy wherever the file names one.
    #[test]
    fn damaged_files_are_told_or_whole(
        which in 0_usize..40,
        edits in proptest::collection::vec((0_usize..4000, 0_usize..40, 0_usize..100), 1..5),
    ) {
        let mut files = toml_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs.d"));
        files.extend(toml_files(&data("bad")));
        let text = damaged(&fs::read_to_string(&files[which % files.len()]).unwrap(), &edits);
        let dir = tempfile::tempdir().unwrap();
        let (settings, path) = (dir.path().join("shipbell.toml"), dir.path().join("x.toml"));
        fs::copy(data("shipbell.toml"), &settings).unwrap();
        fs::write(&path, &text).unwrap();
        let layout = Layout::new(Some(dir.path()));
        let loaded = config::check_files(&layout, &Trust { owners: vec![] }, &[settings.clone(), path.clone()]);
        for problem in &loaded.problems {
            proptest::prop_assert!(!problem.text.replace('\n', "").contains(char::is_control), "{:?}", problem.text);
            proptest::prop_assert!(problem.line <= text.matches('\n').count() + 1);
        }
        let x = pipeline(&loaded, "x");
        proptest::prop_assert_eq!(x.state == PipelineState::Ok, loaded.problems.is_empty());
        if x.state == PipelineState::Ok {
            let table: toml::Table = text.parse().unwrap();
            let jobs = table["job"].as_table().unwrap();
            for (name, job) in jobs {
                let named = job.get("environment").is_some();
                let definition = &x.jobs[&name.parse::<JobName>().unwrap()].definition;
                proptest::prop_assert_eq!(definition.environment.is_some(), named);
            }
            proptest::prop_assert_eq!(x.jobs.len(), jobs.len());
            let text = serde_json::to_string(x).unwrap();
            proptest::prop_assert_eq!(&serde_json::from_str::<Pipeline>(&text).unwrap(), x);
        }
        // shipbell.toml, damaged in the same way, is no worse.
        fs::write(&settings, damaged(&fs::read_to_string(&settings).unwrap(), &edits)).unwrap();
        drop(config::check_files(&layout, &Trust { owners: vec![] }, &[settings]));
    }
}
