//! Repositories as they really behave: seen first, pushed to, rewritten, taken away, and asked by a
//! poller; the remotes are real repositories and real servers on this host.

#[path = "sources/asking.rs"]
mod asking;
#[path = "sources/attacks.rs"]
mod attacks;
#[path = "sources/faults.rs"]
mod faults;
#[path = "sources/history.rs"]
mod history;
#[path = "sources/links.rs"]
mod links;
#[path = "sources/polling.rs"]
mod polling;
#[path = "sources/probe.rs"]
mod probe;
#[path = "sources/servers.rs"]
mod servers;
#[path = "sources/signed.rs"]
mod signed;
#[path = "sources/world.rs"]
mod world;

use git2::Oid;
use shipbell::model::catalog::Address;
use shipbell::model::event::Event;
use shipbell::source::poll_once;
use world::{LONG, World, head, id, ids, on, tag, target};

#[tokio::test]
async fn first_sight_new_commit_and_nothing_new() {
    let mut world = World::new(&["HEAD"], &[]);
    let first = world.origin.commit("main", "one");
    let seen = world.news().await;
    assert_eq!(seen.head, Some(head("main")));
    let main = on(&seen, &head("main"));
    assert_eq!((&main.commit.id, main.commit.subject.as_str()), (&id(first), "one"));
    assert_eq!((main.commit.author.as_str(), main.commit.author_mail.as_str()), ("Ann", "ann@example.org"));
    assert_eq!(main.commit.authored_at.as_second(), 1_700_000_060);
    world.nothing().await;

    let between: Vec<_> = ["two", "three"].map(|text| id(world.origin.commit("main", text))).to_vec();
    let last = world.origin.commit("main", "four");
    let seen = world.news().await;
    let main = on(&seen, &head("main"));
    assert_eq!((&main.commit.id, ids(&main.between), main.gone.len()), (&id(last), between, 0));
    world.nothing().await;
}

#[tokio::test]
async fn a_force_push_takes_commits_off_and_a_push_back_brings_them_again() {
    let mut world = World::new(&["main"], &[]);
    let one = world.origin.commit("main", "one");
    world.news().await;
    let two = world.origin.commit("main", "two");
    world.news().await;
    let other = world.origin.loose(&[one], "other", &[("file", "other")]);
    world.origin.point("refs/heads/main", other);
    let seen = world.news().await;
    let main = on(&seen, &head("main"));
    assert_eq!((&main.commit.id, &main.gone, main.between.len()), (&id(other), &vec![id(two)], 0));
    world.nothing().await;

    // Back to the first: no fetch is needed, and it is a sighting all the same.
    world.origin.point("refs/heads/main", one);
    let seen = world.news().await;
    let main = on(&seen, &head("main"));
    assert_eq!((&main.commit.id, &main.gone), (&id(one), &vec![id(two), id(other)]));
    world.nothing().await;
    world.origin.point("refs/heads/main", two);
    assert_eq!(on(&world.news().await, &head("main")).gone, vec![id(other)]);

    // What was taken off stays in the mirror even if the remote and git's gc forget it.
    let mirror = world.mirror();
    let mut gc = std::process::Command::new("git");
    gc.arg("--git-dir").arg(mirror.path()).args(["gc", "--prune=now", "-q"]);
    assert!(gc.status().unwrap().success());
    assert!(world.mirror().has(&id(other)));
    assert!(world.mirror().compare(&id(other), &id(two)).is_ok());
}

#[tokio::test]
async fn branches_come_and_go() {
    let mut world = World::new(&["main", "feature/*"], &[]);
    world.origin.commit("main", "one");
    let a = world.origin.commit("feature/a", "a");
    world.origin.commit("unwatched", "u");
    assert_eq!(world.news().await.heads.len(), 2);
    world.origin.delete("refs/heads/feature/a");
    let seen = world.news().await;
    assert_eq!(seen.heads.len(), 1);
    world.nothing().await;
    // A name that was a branch is now a folder of branches, and the other way round.
    let x = world.origin.commit("feature/x", "x");
    world.news().await;
    world.origin.delete("refs/heads/main");
    world.origin.commit("main/sub", "sub");
    world.target = target("shop", &world.target.at.url, &["**"], &[]);
    let seen = world.news().await;
    assert_eq!(on(&seen, &head("feature/x")).commit.id, id(x));
    on(&seen, &head("main/sub"));
    world.origin.delete("refs/heads/main/sub");
    world.origin.commit("main", "again");
    on(&world.news().await, &head("main"));
    assert!(world.mirror().has(&id(a)), "the commit of a deleted branch stays");
}

#[tokio::test]
async fn a_missing_branch_is_told_beside_what_is_there() {
    let mut world = World::new(&["main", "mian"], &[]);
    let (answer, problem) = world.poll().await;
    assert_eq!(answer.unwrap().heads.len(), 0);
    let url = world.target.at.url.clone();
    assert_eq!(problem.unwrap(), format!("branches `main`, `mian` do not exist in {url}; it is empty"));
    world.origin.commit("main", "one");
    world.origin.commit("dev", "two");
    let (answer, problem) = world.poll().await;
    on(&answer.unwrap(), &head("main"));
    assert_eq!(problem.unwrap(), format!("branch `mian` does not exist in {url}; it has: main, dev"));
}

#[tokio::test]
async fn annotated_and_moved_tags_are_the_commits_they_point_to() {
    let mut world = World::new(&["main"], &["v*"]);
    let one = world.origin.commit("main", "one");
    world.origin.annotated("v1", one);
    world.origin.point("refs/tags/other", one);
    let seen = world.news().await;
    assert_eq!((seen.heads.len(), &on(&seen, &tag("v1")).commit.id), (2, &id(one)));
    let described = |world: &World| {
        let mirror = world.mirror();
        let mut git = std::process::Command::new("git");
        git.arg("--git-dir").arg(mirror.path()).args([
            "describe",
            "--tags",
            "--exclude=v*",
            "refs/shipbell/heads/main",
        ]);
        String::from_utf8(git.output().unwrap().stdout).unwrap()
    };
    assert_eq!(described(&world), "other\n", "tags in the history come along");

    let two = world.origin.commit("main", "two");
    world.origin.annotated("v1", two);
    let seen = world.news().await;
    assert_eq!(on(&seen, &tag("v1")).commit.id, id(two));
    // A tag that nobody watches moves, alone: the next describe must know.
    world.origin.point("refs/tags/other", two);
    world.nothing().await;
    assert_eq!(described(&world), "other\n");
    world.origin.delete("refs/tags/other");
    world.nothing().await;
    assert_eq!(described(&world), "");

    // A tag of a tree is no commit: passed over, again and again, without a fetch each time.
    let tree = world.origin.tree(&[("a", "b")]);
    world.origin.repo.reference("refs/tags/v-tree", tree, true, "").unwrap();
    world.nothing().await;
    world.nothing().await;
    world.origin.delete("refs/tags/v1");
    assert_eq!(world.news().await.heads.len(), 1);
}

#[tokio::test]
async fn head_switches() {
    let mut world = World::new(&["HEAD"], &[]);
    world.origin.commit("main", "one");
    world.news().await;
    let two = world.origin.commit("trunk", "two");
    world.origin.repo.set_head("refs/heads/trunk").unwrap();
    let seen = world.news().await;
    assert_eq!((seen.head.clone(), seen.heads.len()), (Some(head("trunk")), 1));
    assert_eq!(on(&seen, &head("trunk")).commit.id, id(two));
    world.origin.repo.set_head("refs/heads/nowhere").unwrap();
    let (answer, problem) = world.poll().await;
    assert_eq!(answer.unwrap().heads.len(), 0);
    assert!(problem.unwrap().contains("points to no branch: name `branches` in [repo]; it has: main, trunk"));
}

#[tokio::test]
async fn an_empty_repository_is_a_good_answer() {
    let mut world = World::new(&["HEAD"], &[]);
    let (answer, problem) = world.poll().await;
    assert_eq!((answer.unwrap().heads.len(), problem), (0, None));
    world.origin.commit("main", "one");
    assert_eq!(world.news().await.heads.len(), 1);
    // One that had commits and has none at all is a server that lost its disk: nothing is taken off.
    world.origin.delete("refs/heads/main");
    let (answer, problem) = world.poll().await;
    assert!(answer.is_none() && problem.unwrap().contains("no branch and no tag any more"));
}

#[tokio::test]
async fn a_repository_gone_and_back() {
    let mut world = World::new(&["main"], &[]);
    world.origin.commit("main", "one");
    world.news().await;
    let away = world.dir.path().join("away.git");
    std::fs::rename(&world.origin.dir, &away).unwrap();
    let (answer, problem) = world.poll().await;
    let problem = problem.unwrap();
    assert!(answer.is_none() && problem.contains("is not there") && problem.contains("Check `url`"), "{problem}");
    std::fs::rename(&away, &world.origin.dir).unwrap();
    world.nothing().await;
}

#[tokio::test]
async fn a_lost_mirror_is_fetched_anew_and_a_damaged_one_too() {
    let mut world = World::new(&["main"], &[]);
    let one = world.origin.commit("main", "one");
    world.news().await;
    let path = world.mirror().path().to_owned();
    std::fs::remove_dir_all(&path).unwrap();
    world.nothing().await;
    assert!(world.mirror().has(&id(one)), "nothing new, but the commit is there again");

    // A power cut: objects are empty files.
    fn empty_all(dir: &std::path::Path) {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => empty_all(&entry.path()),
                false => {
                    std::fs::remove_file(entry.path()).unwrap();
                    std::fs::write(entry.path(), "").unwrap();
                }
            }
        }
    }
    empty_all(&path.join("objects"));
    let two = world.origin.commit("main", "two");
    let seen = world.news().await;
    assert_eq!(on(&seen, &head("main")).commit.id, id(two));
    assert!(world.mirror().compare(&id(one), &id(two)).is_ok());
}

#[tokio::test]
async fn refs_that_a_power_cut_emptied_are_mended() {
    let mut world = World::new(&["main"], &[]);
    let one = world.origin.commit("main", "one");
    world.origin.point("refs/tags/v1", one);
    world.news().await;
    let mirror = world.mirror().path().to_owned();
    let kept = format!("refs/shipbell/kept/{one}");
    for (n, name) in [kept.as_str(), "refs/shipbell/heads/main", "refs/tags/v1"].into_iter().enumerate() {
        assert!(mirror.join(name).is_file(), "{name}");
        std::fs::write(mirror.join(name), "").unwrap();
        world.nothing().await;
        std::fs::write(mirror.join(name), "").unwrap();
        let next = world.origin.commit("main", &format!("commit {n}"));
        assert_eq!(on(&world.news().await, &head("main")).commit.id, id(next), "{name}");
        world.nothing().await;
    }
    assert!(!mirror.with_extension("git.broken").exists(), "nothing had to be fetched anew");
}

#[tokio::test]
async fn strangers_text_is_made_fit_to_be_shown() {
    let mut world = World::new(&["main"], &[]);
    let tree = world.origin.tree(&[("a", "b")]);
    let raw = [
        format!("tree {tree}\n").as_bytes(),
        b"author E\x1b[31mve\xff <eve\x07@x> 1700000000 +0000\ncommitter Eve <eve@x> 1700000000 +0000\n\n",
        b"\xc3\x28 \x1b]0;owned\x07 \xe2\x80\xaegnp.exe\nbody",
    ]
    .concat();
    let commit = world.origin.repo.odb().unwrap().write(git2::ObjectType::Commit, &raw).unwrap();
    world.origin.point("refs/heads/main", commit);
    let seen = world.news().await;
    let info = &on(&seen, &head("main")).commit;
    assert_eq!(info.subject, "\u{fffd}( \u{fffd}]0;owned\u{fffd} \u{fffd}gnp.exe");
    assert_eq!((info.author.as_str(), info.author_mail.as_str()), ("E\u{fffd}[31mve\u{fffd}", "eve\u{fffd}@x"));
}

#[tokio::test]
async fn two_pipelines_of_one_url_are_told_apart() {
    let world = World::new(&["main"], &[]);
    let one = world.origin.commit("main", "one");
    let url = world.origin.url();
    let targets = [target("a", &url, &["main"], &[]), target("b", &url, &["nix"], &[]), target("c", "/x", &["m"], &[])];
    let events = poll_once(&world.tools, &Address::open(&url), &targets, LONG).await;
    let said: Vec<String> = events
        .iter()
        .map(|event| match event {
            Event::Polled { pipeline, poll } => format!("{pipeline} polled {}", poll.heads.len()),
            Event::PollFailed { pipeline, .. } => format!("{pipeline} failed"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(said, ["a polled 1", "b polled 0", "b failed"]);
    assert!(world.mirror().has(&id(one)));
    assert!(!world.mirror().has(&id(Oid::from_str(&"1".repeat(40)).unwrap())));
}

proptest::proptest! {
    /// The short form of `make fuzz`.
    #[test]
    fn any_answer_address_and_name_is_read_or_refused(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        line in "([0-9a-f]{40}|unborn|x) (HEAD|refs/(heads|tags|pull)/[-a.~@{/b:]{1,9})( symref-target:refs/heads/[ab]| peeled:[0-9a-f]{40})?\n",
        url in "((https?|ssh|file|ext|git)(://|::))?([-a-z+]{0,4}@)?(-?[a-z.]{0,5}|\\[[0-9a:]{1,5}\\])(:[0-9]{0,6})?[:/]?[-/a.:@]{0,9}",
        name in "refs/((heads|tags)/[-a./@{b~^: ]{0,12}|(pull|merge-requests)/[0-9a]{1,3}/head[/x]{0,2})",
    ) {
        probe::answer(&bytes);
        probe::lines(&bytes);
        probe::lines(line.as_bytes());
        probe::url(&url);
        probe::ref_name(&name);
    }
}
