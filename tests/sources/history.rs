//! How two commits stand to each other: merges, rewritten branches, long and wide differences.

use git2::Oid;
use shipbell::model::commit::{Authors, Comparison, Question, Relation};
use shipbell::source::answer;

use crate::world::{World, entry, head, id, ids, on};

#[tokio::test]
async fn relations_and_merges() {
    let mut world = World::new(&["main", "side"], &[]);
    let base = world.origin.loose(&[], "base", &[("a", "1\n2\n"), ("b", "x\n")]);
    let side_one = world.origin.loose(&[base], "side one", &[("a", "1\n2\n"), ("b", "x\n"), ("c", "c\n")]);
    let side_two = world.origin.loose(&[side_one], "side two", &[("a", "1\n2\n"), ("b", "x\n"), ("d", "c\n")]);
    let merge = world.origin.loose(&[base, side_two], "merge", &[("a", "1\n2\n"), ("b", "x\n"), ("d", "c\n")]);
    let top = world.origin.loose(&[merge], "top", &[("a", "1\n3\n"), ("d", "c\n")]);
    world.origin.point("refs/heads/main", top);
    let hotfix = world.origin.loose(&[base], "hotfix", &[("a", "hot\n"), ("b", "x\n")]);
    world.origin.point("refs/heads/side", hotfix);
    world.news().await;
    let mirror = world.mirror();
    let compare = |from: Oid, to: Oid| mirror.compare(&id(from), &id(to)).unwrap();

    let same = compare(top, top);
    assert_eq!((same.relation, same.adds_total, same.files), (Relation::Same, 0, Some(vec![])));
    let newer = compare(base, top);
    assert_eq!((newer.relation, newer.adds_total, newer.takes_back_total), (Relation::Newer, 4, 0));
    assert_eq!(ids(&newer.adds), [top, merge, side_two, side_one].map(id));
    assert_eq!(newer.files, Some(["a", "b", "d"].map(String::from).to_vec()));
    assert_eq!((newer.insertions, newer.deletions), (2, 2));
    let older = compare(top, base);
    assert_eq!((older.relation, older.adds_total, older.takes_back_total), (Relation::Older, 0, 4));
    let diverged = compare(top, hotfix);
    assert_eq!((diverged.relation, diverged.adds_total, diverged.takes_back_total), (Relation::Diverged, 1, 4));
    assert_eq!(ids(&diverged.takes_back).first(), Some(&id(top)));
    // No rename detection: the paths of both sides are changed.
    assert_eq!(compare(side_one, side_two).files, Some(["c", "d"].map(String::from).to_vec()));

    let first = |from: Oid, to: Oid| ids(&mirror.first_parents(&id(from), &id(to), 200).unwrap());
    assert_eq!(first(base, top), [id(merge)]);
    assert_eq!(first(merge, top), []);
    assert_eq!(first(top, top), []);
    assert_eq!(first(side_one, top), [], "an ancestor, but not along first parents");
    assert_eq!(first(hotfix, top), []);
    assert!(mirror.is_ancestor(&id(side_one), &id(top)).unwrap());
    assert!(!mirror.is_ancestor(&id(hotfix), &id(top)).unwrap());
}

#[tokio::test]
async fn a_thousand_commits_are_counted_and_two_hundred_named() {
    let mut world = World::new(&["main"], &[]);
    let base = world.origin.commit("main", "commit 0");
    world.news().await;
    let all: Vec<Oid> = (1..=1000).map(|n| world.origin.commit("main", &format!("commit {n}"))).collect();
    let seen = world.news().await;
    let between = ids(&on(&seen, &head("main")).between);
    assert_eq!(between, all[799..999].iter().copied().map(id).collect::<Vec<_>>(), "the newest 200, oldest first");
    let began = std::time::Instant::now();
    let forth = world.mirror().compare(&id(base), &id(all[999])).unwrap();
    let back = world.mirror().compare(&id(all[999]), &id(base)).unwrap();
    println!("two comparisons over 1,000 commits: {:?}", began.elapsed());
    assert_eq!((forth.adds_total, forth.adds.len()), (1000, Comparison::COMMITS_MAX));
    assert_eq!(forth.adds.first().map(|commit| commit.subject.as_str()), Some("commit 1000"));
    assert_eq!((back.takes_back_total, back.takes_back.len(), back.adds_total), (1000, 200, 0));
}

#[tokio::test]
async fn too_many_files_are_not_listed_and_huge_ones_not_counted() {
    let mut world = World::new(&["main"], &[]);
    let empty = world.origin.loose(&[], "empty", &[]);
    let names: Vec<String> = (0..=Comparison::FILES_MAX).map(|n| format!("d{}/f{n}", n % 100)).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x\n")).collect();
    let wide = world.origin.loose(&[empty], "wide", &files);
    let less = world.origin.loose(&[wide], "less", &files[1..]);
    let big = "line\n".repeat(300_000);
    let heavy = world.origin.loose(&[less], "heavy", &[("big", &big), ("small", "1\n2\n")]);
    let light = world.origin.loose(&[heavy], "light", &[("small", "1\n2\n3\n")]);
    world.origin.point("refs/heads/main", light);
    world.news().await;
    let mirror = world.mirror();
    let all = mirror.compare(&id(empty), &id(wide)).unwrap();
    assert_eq!((all.files, all.insertions), (None, 0));
    let most = mirror.compare(&id(empty), &id(less)).unwrap();
    assert_eq!((most.files.map(|files| files.len()), most.insertions), (Some(10_000), 10_000));
    let last = mirror.compare(&id(heavy), &id(light)).unwrap();
    assert_eq!((last.files.map(|files| files.len()), last.insertions, last.deletions), (Some(2), 1, 0));
}

#[tokio::test]
async fn paths_that_are_no_utf8_and_submodules_are_changes_too() {
    let mut world = World::new(&["main"], &[]);
    let base = world.origin.commit("main", "base");
    let mut index = git2::Index::new().unwrap();
    let blob = world.origin.repo.blob(b"x").unwrap();
    index.add(&entry(b"bad\xff", blob)).unwrap();
    let mut module = entry(b"module", Oid::from_str(&"7".repeat(40)).unwrap());
    module.mode = 0o160_000;
    index.add(&module).unwrap();
    let tree = world.origin.repo.find_tree(index.write_tree_to(&world.origin.repo).unwrap()).unwrap();
    let parent = world.origin.repo.find_commit(base).unwrap();
    let who = parent.author().to_owned();
    let odd = world.origin.repo.commit(Some("refs/heads/main"), &who, &who, "odd", &tree, &[&parent]).unwrap();
    drop((tree, parent));
    world.news().await;
    let files = world.mirror().compare(&id(base), &id(odd)).unwrap().files;
    assert_eq!(files, Some(["bad\u{fffd}", "file", "module"].map(String::from).to_vec()));
}

#[tokio::test]
async fn questions_are_answered_or_refused_with_the_reason() {
    let mut world = World::new(&["main"], &[]);
    let one = id(world.origin.commit("main", "one"));
    let two = id(world.origin.commit("main", "two"));
    world.news().await;
    let pipeline = world.target.pipeline.name.clone();
    let question = Question { pipeline, base: one, head: two };
    let at = world.target.at.clone();
    assert_eq!(answer(&world.tools.mirrors, &at, &question).unwrap().relation, Relation::Newer);
    let missing = "1".repeat(40);
    let question = Question { head: shipbell::model::commit::CommitId::new(&missing).unwrap(), ..question };
    let why = answer(&world.tools.mirrors, &at, &question).unwrap_err();
    assert_eq!(why, format!("the commit {missing} is not in the mirror of this repository"));
    let question = Question { head: shipbell::model::commit::CommitId::new(&"a".repeat(64)).unwrap(), ..question };
    assert!(answer(&world.tools.mirrors, &at, &question).is_err());
}

#[tokio::test]
async fn authors_are_those_of_commits_that_the_base_has_not() {
    let mut world = World::new(&["main"], &[]);
    let write = |world: &World, parents: &[Oid], mail: &str, at: i64| {
        let repo = &world.origin.repo;
        let who = git2::Signature::new("someone", mail, &git2::Time::new(1_700_000_000 + at, 0)).unwrap();
        let tree = repo.find_tree(repo.treebuilder(None).unwrap().write().unwrap()).unwrap();
        let parents: Vec<_> = parents.iter().map(|id| repo.find_commit(*id).unwrap()).collect();
        repo.commit(None, &who, &who, "work", &tree, &parents.iter().collect::<Vec<_>>()).unwrap()
    };
    let base = write(&world, &[], "old@example.org", 0);
    let one = write(&world, &[base], "One@example.org", 1);
    let side = write(&world, &[base], "side@example.org", 2);
    let merge = write(&world, &[one, side], "one@example.org", 3);
    let mut top = merge;
    for number in 0..30 {
        top = write(&world, &[top], &format!("a{}@example.org", number % 3), 4 + number);
    }
    world.origin.point("refs/heads/main", top);
    world.news().await;
    let mirror = world.mirror();
    let mails = |base: Option<Oid>, head: Oid| mirror.authors(base.map(id).as_ref(), &id(head)).unwrap();
    let found = mails(Some(base), top);
    let expected = ["a2", "a1", "a0", "one", "side"].map(|name| format!("{name}@example.org"));
    assert_eq!((found.mails, found.more), (expected.to_vec(), false), "newest first, each once in whatever case");
    assert_eq!(mails(Some(top), top).mails, Vec::<String>::new());
    assert_eq!(mails(Some(top), one).mails, Vec::<String>::new(), "going back brings nothing new");
    assert_eq!(mails(None, merge).mails, ["one@example.org"], "without a success before it: of the commit alone");
    let gone = Oid::from_str(&"7".repeat(40)).unwrap();
    assert_eq!(mails(Some(gone), merge).mails, ["one@example.org"], "the old commit is gone from the mirror");
    assert!(mirror.authors(None, &id(gone)).is_err());
}

#[tokio::test]
async fn of_very_many_authors_the_newest_are_read() {
    let mut world = World::new(&["main"], &[]);
    let base = world.origin.commit("main", "base");
    let repo = &world.origin.repo;
    let mut parent = repo.find_commit(base).unwrap();
    let tree = parent.tree().unwrap();
    for number in 0..1_100 {
        let time = git2::Time::new(1_700_000_000 + number, 0);
        let who = git2::Signature::new("x", &format!("author{number}@example.org"), &time).unwrap();
        let id = repo.commit(None, &who, &who, "work", &tree, &[&parent]).unwrap();
        parent = repo.find_commit(id).unwrap();
    }
    let top = parent.id();
    drop((parent, tree));
    world.origin.point("refs/heads/main", top);
    world.news().await;
    let began = std::time::Instant::now();
    let found = world.mirror().authors(Some(&id(base)), &id(top)).unwrap();
    println!("authors of 1,100 commits: {:?}", began.elapsed());
    assert_eq!((found.mails.len(), found.more), (Authors::MAILS_MAX, true));
    assert_eq!(found.mails.first().map(String::as_str), Some("author1099@example.org"));
}
