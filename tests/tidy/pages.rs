//! The project's pages keep up with the code: the changelog names the version that is built.

use std::path::Path;

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
