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

const PAGES: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "docs/coming-over.md",
    "docs/dependencies.md",
    "docs/isolation.md",
    "docs/operations.md",
];

#[test]
fn pages_are_written_and_what_they_link_to_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in PAGES {
        let text = page(name);
        for word in ["being written", "TODO", "TBD"] {
            assert!(!text.contains(word), "{name} says \"{word}\": write it or leave it out");
        }
        let folder = root.join(name).parent().map(Path::to_owned).unwrap_or_default();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let path = link.split('#').next().unwrap_or_default();
            assert!(folder.join(path).exists(), "{name} links to {link}, which is not there");
        }
    }
}
