//! The harness does what the tests that stand on it believe: a repository has the commits, modes and
//! tags that were asked for.

mod support;

use support::origin::Origin;

#[test]
fn an_origin_has_what_was_put_in() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let mut origin = Origin::new(&temp.path().join("shop.git"));
    let first = origin.commit("main", "first", &[("a", "1"), ("run", "#!/bin/sh\n")]);
    let texts: Vec<String> = (0..1000).map(|number| format!("{number}\n")).collect();
    let files: Vec<_> = texts.iter().map(|text| [("b", text.as_str())]).collect();
    let commits: Vec<_> = files.iter().map(|files| ("more", &files[..])).collect();
    let last = origin.commits("main", &commits);
    origin.tag("v1", &last);
    assert_eq!(origin.git(&["rev-list", "--count", "main"]), "1001");
    assert_eq!(origin.git(&["ls-tree", "--name-only", "main"]), "a\nb\nrun");
    assert!(origin.git(&["ls-tree", "main", "run"]).starts_with("100755"));
    assert_eq!(origin.git(&["describe", "main"]), "v1");
    origin.point("main", &first);
    assert_eq!(origin.head("main"), first);
}
