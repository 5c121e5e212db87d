//! The project's pages keep up with the code: the changelog names the version that is built, and
//! the manual is well formed and names every command.

use std::path::Path;
use std::process::Command;

pub fn page(path: &str) -> String {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&full).unwrap_or_else(|error| panic!("{path} is part of the project: {error}"))
}

#[test]
fn the_changelog_names_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    let heading = format!("## [{version}]");
    assert!(page("CHANGELOG.md").contains(&heading), "CHANGELOG.md: add `{heading}` and what is new in it");
}

/// The manual, as it is packaged.
const MANUAL: &[&str] = &["shipbell.1", "shipbell-daemon.8", "shipbell.toml.5", "shipbell-jobs.5"];

#[test]
fn the_manual_is_well_formed() {
    for name in MANUAL {
        let path = format!("packaging/man/{name}");
        assert!(!page(&path).is_empty());
        let mut lint = Command::new("mandoc");
        lint.args(["-T", "lint", "-W", "warning", &path]).current_dir(env!("CARGO_MANIFEST_DIR"));
        let lint = lint.output().expect("mandoc is there (tests/needs.txt)");
        let said = String::from_utf8_lossy(&lint.stdout);
        assert!(lint.status.success() && said.is_empty(), "mandoc finds fault with the manual:\n{said}");
    }
}
