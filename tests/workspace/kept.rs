//! A workspace that is kept: one run at a time has it, it has exactly the commit's files, whatever an earlier run
//! did to them, and what git does not know stays.

use shipbell::model::job::{Definition, Workspace};
use shipbell::model::run::Outcome;

use crate::place::{End, Place, job};
use crate::{new, run, with_repo};

#[test]
fn a_kept_workspace_has_the_commits_files_and_what_git_does_not_know() {
    let (place, _temp, repo) = new();
    let job = kept(&["cat file* sub/old 2>/dev/null || true; ls; git status --short; cat built 2>/dev/null || true; \
        echo built > built; echo mess >> file; git config core.fsmonitor /bin/false; touch .git/hooks/post-checkout"]);
    let first = repo.commit(&[("file", "one\n"), ("file2", "same\n"), ("sub/old", "old\n")]);
    let end = run(&place, &job, &repo, &first);
    assert_eq!(end.finished().0, Outcome::Succeeded, "{}", end.log);
    assert!(end.log.contains("\none\nsame\nold\nfile\nfile2\nsub\n==="), "{}", end.log);
    assert!(!end.dir.join("work").exists(), "it is elsewhere");
    repo.git(&["rm", "-q", "sub/old"]);
    let second = repo.commit(&[("file", "two\n"), ("new", "n\n")]);
    let end = run(&place, &job, &repo, &second);
    assert!(end.log.contains("\ntwo\nsame\nbuilt\nfile\nfile2\nnew\n?? built\nbuilt\n==="), "{}", end.log);
    // Back to the first commit: as it was, and what was built is there.
    let end = run(&place, &job, &repo, &first);
    assert!(end.log.contains("\none\nsame\nold\nbuilt\nfile\nfile2\nsub\n?? built\nbuilt\n==="), "{}", end.log);
}

#[test]
fn a_kept_workspace_belongs_to_one_run_at_a_time() {
    let place = Place::new();
    let mut job = job(&["echo in; mkdir mine; sleep 0.7; rmdir mine"]);
    job.workspace = Workspace::Keep;
    let runs = [place.start(&job), place.start(&job), place.start(&job)];
    let ends: Vec<End> = runs.iter().map(|run| place.wait(run)).collect();
    assert!(ends.iter().all(|end| end.finished().0 == Outcome::Succeeded), "{ends:?}");
    assert!(ends.iter().any(|end| end.log.contains("waits for the kept workspace")));
    // One that waits can be cancelled.
    let (first, second) = (place.start(&job), place.start(&job));
    place.executor.stop(&second, 1, "cancelled by anna").unwrap();
    assert_eq!(place.wait(&first).finished().0, Outcome::Succeeded);
    assert_eq!(place.wait(&second).finished().0, Outcome::Cancelled);
}

fn kept(steps: &[&str]) -> Definition {
    let mut job = with_repo(job(steps));
    job.workspace = Workspace::Keep;
    job
}

/// What a job does to the files of a commit, and what is left of it that is not the commit's.
const DAMAGES: &[&str] = &[
    // The same size, and the time of before.
    "touch -r a ../stamp; printf 'evil\n' > a; touch -r ../stamp a",
    "printf 'evil\n' > a; touch -d @0 a",
    ": > a; touch -d @0 a",
    "printf 'evil\n' > a; touch -d 2099-01-01 a",
    "printf 'evil\n' > a; git add a; git update-index --assume-unchanged a; git update-index --skip-worktree a",
    // Changes at the very moment the index is written.
    "git update-index --refresh; printf 'evil\n' > a; touch -r .git/index a",
    "chmod +x a",
    "chmod -x run.sh",
    "chmod u+s run.sh",
    "chmod 0 a",
    "cp a ../same; rm a; ln -s ../same a",
    "rm link; cp a link",
    "ln -sfn /etc/passwd link",
    "ln a ../twin-$RANDOM$RANDOM",
    "rm a; mkfifo a",
    "rm a; mkdir -p a/b; touch a/b/c",
    "rm -r d; echo evil > d",
    "rm -r d a link",
    "mkdir -p ../e/g; cp d/f ../e; cp d/g/h ../e/g; rm -r d; ln -s ../e d",
    // The same text for git's filters.
    "printf 'good\r\n' > a",
    "echo '* ident' > d/.gitattributes; printf '$Id: evil $\n' > d/f",
    "printf x | dd of=large bs=1 seek=1499999 conv=notrunc status=none",
    "truncate -s 1T large",
    "echo '* -text' > .git/info/attributes; git config core.worktree /etc; rm -r .git/objects",
    "rm -r .git; ln -s /etc .git",
    "rm -r .git; echo gitdir: /etc > .git",
];

#[test]
fn whatever_a_run_did_to_the_files_of_a_commit_is_put_right() {
    let (place, _temp, repo) = new();
    let large = "0123456789\n".repeat(150_000);
    let files = [
        ("a", "good\n"),
        ("d/f", "$Id$\n"),
        ("d/g/h", "deep\n"),
        ("run.sh", "true\n"),
        ("large", &large),
        (".gitattributes", "a text\n"),
    ];
    std::os::unix::fs::symlink("a", repo.dir.join("link")).unwrap();
    repo.commit(&files);
    repo.git(&["update-index", "--chmod=+x", "run.sh"]);
    repo.git(&["commit", "-q", "-m", "it runs"]);
    let commit = repo.git(&["rev-parse", "HEAD"]);
    // Nothing of git is asked about the files: what is there, and what it has in it.
    let look = "find . -name .git -prune -o ! -type d -printf '%p %y %m %n %l\\n' | grep -v d/.gitattributes \
                | sort; sha256sum a d/f d/g/h run.sh large; git status --porcelain --ignored | grep -v d/.gitattr || true";
    let seen = |damage: &str| {
        let end = run(&place, &kept(&[look, damage]), &repo, &commit);
        assert_eq!(end.finished().0, Outcome::Succeeded, "{damage}: {}", end.log);
        let step = end.log.split("=== step 1").nth(1).and_then(|rest| rest.split("=== step 2").next()).unwrap();
        step.lines().filter(|line| !line.contains("===")).skip(1).collect::<Vec<_>>().join("\n")
    };
    let fresh = seen("true");
    assert!(fresh.contains("\n./link l 777 1 a\n") && !fresh.contains("??"), "{fresh}");
    // Each run finds what the one before it did.
    let mut before = "true";
    for damage in DAMAGES.iter().chain(&["true"]) {
        assert_eq!(seen(damage), fresh, "after {before}");
        before = damage;
    }
}

#[test]
fn what_a_link_in_the_place_of_a_directory_leads_to_is_not_touched() {
    let (place, _temp, repo) = new();
    let first = repo.commit(&[("d/f", "one\n"), ("d/old", "old\n"), ("e/old", "old\n"), ("e/g/old", "old\n")]);
    repo.git(&["rm", "-q", "d/old", "e/old", "e/g/old"]);
    let second = repo.commit(&[("d/f", "two\n")]);
    let spoil =
        "mkdir other; echo mine | tee other/f other/old > built; mv e other/e; rm -r d; ln -s other d; ln -s other/e e";
    assert_eq!(run(&place, &kept(&[spoil]), &repo, &first).finished().0, Outcome::Succeeded);
    let end = run(&place, &kept(&["cat other/f other/old d/f other/e/old other/e/g/old; ls"]), &repo, &second);
    assert!(end.log.contains("\nmine\nmine\ntwo\nold\nold\nbuilt\nd\ne\nother\n"), "{}", end.log);
}

#[test]
fn files_and_directories_change_places_between_commits() {
    let (place, _temp, repo) = new();
    let first = repo.commit(&[("a", "file\n"), ("b/c/d", "deep\n"), ("same", "s\n")]);
    repo.git(&["rm", "-q", "-r", "a", "b"]);
    let second = repo.commit(&[("a/b", "deep\n"), ("b", "file\n")]);
    repo.git(&["rm", "-q", "-r", "a", "b"]);
    let none = repo.commit(&[]);
    let look = "find . -name .git -prune -o -type f -print | sort | xargs; cat same; git status --porcelain";
    for (commit, files) in [
        (&first, "./a ./b/c/d ./same"),
        (&second, "./a/b ./b ./same"),
        (&first, "./a ./b/c/d ./same"),
        (&none, "./same"),
    ] {
        let end = run(&place, &kept(&[look, "ls -A | xargs"]), &repo, commit);
        assert!(end.log.contains(&format!("\n{files}\ns\n===")), "{files}: {}", end.log);
    }
    let end = run(&place, &kept(&["ls -A | xargs"]), &repo, &none);
    assert!(end.log.contains("\n.git same\n"), "directories that are empty go: {}", end.log);
}

#[test]
fn a_path_into_the_repository_is_refused_each_time() {
    let (place, _temp, repo) = new();
    let good = repo.commit(&[("a", "b\n")]);
    let blob = repo.git(&["hash-object", "-w", "a"]);
    let list = repo.dir.join("list");
    let tree = |text: String| {
        std::fs::write(&list, text).unwrap();
        let made = std::process::Command::new("git")
            .args(["mktree"])
            .current_dir(&repo.dir)
            .stdin(std::fs::File::open(&list).unwrap())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    };
    let inner = tree(format!("100644 blob {blob}\tconfig\n"));
    let outer = tree(format!("040000 tree {inner}\t.git\n100644 blob {blob}\ta\n"));
    let evil = repo.git(&["commit-tree", "-m", "evil", &outer]);
    repo.git(&["tag", "evil", &evil]);
    let job = kept(&["cat a; git rev-parse HEAD"]);
    for commit in [&good, &evil, &evil, &good] {
        let end = run(&place, &job, &repo, commit);
        let expected = if *commit == good { Outcome::Succeeded } else { Outcome::Failed };
        assert_eq!(end.finished().0, expected, "{}", end.log);
        assert_eq!(end.log.contains(&format!("\nb\n{good}\n")), *commit == good, "{}", end.log);
    }
}
