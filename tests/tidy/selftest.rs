//! A law that cannot fail is none: each checker of `tidy.rs` is given a small bad text and must say
//! so, and a good one and must be silent.

use std::collections::BTreeMap;

use crate::scan::{self, Function};
use crate::{bad_imports, bad_libraries, clock_reads, left_in, machine_paths, too_long_file, too_long_functions};

fn imports(path: &str, text: &str) -> usize {
    let macros = BTreeMap::from([("words".to_owned(), "model".to_owned())]);
    bad_imports(path, &scan::tokens(text), &macros).len()
}

#[test]
fn comments_and_literals_are_not_code() {
    let text = r##"let a = "unsafe"; // unsafe
        /* unsafe /* unsafe */ unsafe */ let b = r#"unsafe " unsafe"#; let c = '"'; let d = b"unsafe"; let e = '\'';
        fn f<'a>(x: &'a str) -> &'a str { x } let g = "\"unsafe"; let bar = br"unsafe";"##;
    assert!(scan::sequence(&scan::tokens(text), &["unsafe"]).is_empty(), "{}", scan::mask(text));
    assert_eq!(scan::mask("a\n\"b\nc\"\nd").lines().count(), 4);
    assert_eq!(scan::sequence(&scan::tokens("'x'; unsafe {}"), &["unsafe"]), [1]);
}

#[test]
fn long_files_and_functions_are_found() {
    assert!(too_long_file("a.rs", &"x\n".repeat(501)).is_some());
    assert!(too_long_file("a.rs", &"x\n".repeat(500)).is_none());
    let function =
        |lines: usize| format!("trait T {{ fn no(&self, a: [u8; 3]); }}\nfn f() {{\n{}}}\n", "x;\n".repeat(lines));
    assert_eq!(too_long_functions("a.rs", &scan::tokens(&function(68))).len(), 0);
    assert_eq!(too_long_functions("a.rs", &scan::tokens(&function(69))).len(), 1);
    let nested = "fn outer(f: fn(u8) -> u8) -> [u8; 2]\nwhere u8: Copy {\n  fn inner() {}\n  let s = \"}\";\n}\n";
    let found = scan::functions(&scan::tokens(nested));
    let expected = [("outer", 1, 5), ("inner", 3, 1)];
    let expected = expected.map(|(name, line, lines)| Function { name: name.to_owned(), line, lines });
    assert_eq!(found, expected);
}

#[test]
fn imports_against_the_law_are_found() {
    for bad in [
        "use crate::store::Store;",
        "use crate::{model::job::Job, store};",
        "use crate::{model::{job, run}, config::Catalog};",
        "fn f() { crate::clock::now() }",
        "use crate::*;",
        "use super::super::store;",
        "mod tests { use super::super::super::store; }",
    ] {
        assert_eq!(imports("src/pipeline/queue.rs", bad), 1, "{bad}");
    }
    for good in [
        "use crate::model::run::{Run, RunState};",
        "use crate::{model::{job, run}, pipeline::world};",
        "crate::words! { enum A { B => \"b\" } }",
        "use super::world; mod tests { use super::*; use super::super::world; }",
        "// use crate::store;\nlet text = \"crate::store\";",
        "pub(crate) fn f() {}",
        "use other::crate_::store;",
    ] {
        assert_eq!(imports("src/pipeline/queue.rs", good), 0, "{good}");
    }
    assert_eq!(imports("src/clock.rs", "use super::store;"), 1);
    assert_eq!(imports("src/clock.rs", "mod tests { use super::*; }"), 0);
    assert_eq!(imports("src/store/mod.rs", "mod tests { use super::super::config; }"), 1);
    assert_eq!(imports("src/main.rs", "use shipbell::store;"), 1);
    assert_eq!(imports("src/main.rs", "fn main() { shipbell::cli::main() }"), 0);
    assert_eq!(imports("src/novelty.rs", ""), 1);
}

#[test]
fn libraries_out_of_place_are_found() {
    let count = |path: &str, text: &str| bad_libraries(path, &scan::tokens(text)).len();
    for (path, text, expected) in [
        ("src/run/mod.rs", "use nix::unistd;", 1),
        ("src/run/mod.rs", "fn f() { ::libc::kill(1, 9) } use ::libc::c_int; sys::libc::x();", 2),
        ("src/run/mod.rs", "fn f() { libc::kill(1, 9) }", 1),
        ("src/sys/process.rs", "use nix::unistd; unsafe {}", 0),
        ("src/run/mod.rs", "unsafe { f() }", 1),
        ("src/run/mod.rs", "use git2::Repository;", 1),
        ("src/run/workspace.rs", "use git2::Repository;", 0),
        ("src/report/outbox.rs", "use lettre::Message;", 1),
        ("src/model/time.rs", "use croner::Cron;", 1),
        ("src/pipeline/mod.rs", "async fn f() { tokio::time::sleep(d).await }", 1),
        ("src/report/message/mod.rs", "use tokio;", 1),
        ("src/daemon.rs", "use tokio::sync::mpsc; let nix = 1; self.nix.axum();", 0),
    ] {
        assert_eq!(count(path, text), expected, "{path}: {text}");
    }
}

#[test]
fn clock_reads_and_leftovers_are_found() {
    let reads = |path: &str, text: &str| clock_reads(path, &scan::tokens(text)).len();
    assert_eq!(reads("src/run/mod.rs", "let now = Timestamp::now();"), 1);
    assert_eq!(reads("src/run/mod.rs", "let now = std::time::SystemTime::now();"), 1);
    assert_eq!(reads("src/run/mod.rs", "let now = clock.now(); Instant::now();"), 0);
    assert_eq!(reads("src/clock.rs", "let now = Timestamp::now();"), 0);
    let left = |text: &str| left_in("src/a.rs", &scan::tokens(text)).len();
    assert_eq!(left("fn f() { todo!() }"), 1);
    assert_eq!(left("#[test]\n#[ignore = \"later\"]\nfn f() {}"), 1);
    assert_eq!(left("let todo = 1; // todo!()"), 0);
}

#[test]
fn paths_of_one_machine_are_found() {
    let (somewhere, mount) = (["/", "root/.ssh"].concat(), ["/", "work/x"].concat());
    assert_eq!(machine_paths("a", &format!("cat \"{somewhere}\"\n{mount}\n")).len(), 2);
    assert_eq!(machine_paths("a", &format!("$DIR{mount} run.7{mount} {{}}{mount}")).len(), 0);
}
