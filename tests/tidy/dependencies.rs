//! Every library is chosen: docs/dependencies.md says why, deny.toml which licences and crates may be
//! built in. Asked of cargo itself, without the network, so that it holds wherever the tests run.

use std::collections::BTreeSet;
use std::process::Command;

use crate::pages::page;

/// The crates named in Cargo.toml, under `[dependencies]` and `[dev-dependencies]`.
fn named_in_manifest(manifest: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if let Some((name, _)) = line.split_once('=').filter(|_| inside && !line.starts_with('#')) {
            found.push(name.trim().to_owned());
        }
    }
    found
}

/// What stands between the quotes of the lines that follow `heading`, up to the closing bracket.
fn quoted_after(text: &str, heading: &str) -> Vec<String> {
    let block = text.split_once(heading).map_or("", |(_, rest)| rest);
    let lines = block.lines().skip(1).take_while(|line| !line.starts_with(']'));
    lines.filter_map(|line| line.split('"').nth(1)).map(str::to_owned).collect()
}

/// `MIT OR Apache-2.0` is allowed when one of them is, `A AND B` when both are.
fn licence_allowed(expression: &str, allowed: &[String]) -> bool {
    let plain = expression.replace(['(', ')'], "").replace(" / ", " OR ").replace('/', " OR ");
    let one = |name: &str| allowed.iter().any(|known| known == name.trim());
    plain.split(" AND ").all(|part| part.split(" OR ").any(one))
}

/// `name version licence` of every crate in the binary, its build and its tests.
fn in_the_build() -> BTreeSet<(String, String)> {
    let arguments =
        ["tree", "--locked", "--offline", "--edges", "normal,build,dev", "--prefix", "none", "--format", "{p}|{l}"];
    let tree = Command::new(env!("CARGO")).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let tree = tree.expect("cargo tree can be started");
    assert!(tree.status.success(), "cargo tree: {}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).expect("cargo tree prints UTF-8");
    let parts = |line: &str| {
        let (package, licence) = line.split_once('|')?;
        Some((package.split(' ').next()?.to_owned(), licence.trim_end_matches(" (*)").to_owned()))
    };
    let found: BTreeSet<_> = text.lines().filter_map(parts).collect();
    assert!(found.len() > 100, "cargo tree named only {} crates", found.len());
    found
}

#[test]
fn every_dependency_has_its_reason() {
    let reasons = page("docs/dependencies.md");
    let named = named_in_manifest(&page("Cargo.toml"));
    for name in &named {
        let row = format!("| {name} |");
        assert!(
            reasons.contains(&row),
            "docs/dependencies.md: say in a row `{row} … |` what {name} does here, and why it"
        );
    }
    let rows = reasons
        .lines()
        .take_while(|line| !line.starts_with("## Written by hand"))
        .filter(|line| line.starts_with("| "));
    for row in rows {
        let name = row.split('|').nth(1).unwrap_or_default().trim();
        assert!(
            name == "crate" || named.iter().any(|known| known == name),
            "docs/dependencies.md: {name} is no longer in Cargo.toml: remove its row"
        );
    }
}

#[test]
fn licences_and_bans_of_deny_toml_hold() {
    let deny = page("deny.toml");
    let (allowed, banned) = (quoted_after(&deny, "\nallow = ["), quoted_after(&deny, "\ndeny = ["));
    assert!(allowed.len() > 3 && banned.len() > 3, "deny.toml was not understood: {allowed:?} {banned:?}");
    for (name, licence) in in_the_build() {
        assert!(licence_allowed(&licence, &allowed), "{name} is under {licence:?}: decide about it in deny.toml");
        assert!(
            !banned.contains(&name),
            "{name} is banned by deny.toml: turn off the feature that brings it (cargo tree -i {name})"
        );
    }
}

#[test]
fn the_readers_of_both_files_can_fail() {
    let manifest =
        "[package]\nname = \"x\"\n[dependencies]\na = \"1\"\n# b = 2\nc-d = { version = \"1\" }\n[lints.rust]\ne = 1\n";
    assert_eq!(named_in_manifest(manifest), ["a", "c-d"]);
    let allowed = ["MIT".to_owned(), "ISC".to_owned()];
    for (expression, expected) in [
        ("MIT OR X", true),
        ("X/MIT", true),
        ("(MIT OR X) AND ISC", true),
        ("MIT AND X", false),
        ("X", false),
        ("", false),
    ] {
        assert_eq!(licence_allowed(expression, &allowed), expected, "{expression}");
    }
}
