//! The laws of the code's form, as a test: lengths, who may import whom, where a library may be named,
//! what must not be left in. Every message says what to do. The reader of Rust source is `tidy/scan.rs`;
//! the project's pages are held to the code by `tidy/pages.rs`, `manual.rs` and `dependencies.rs`.

#[path = "tidy/dependencies.rs"]
mod dependencies;
#[path = "tidy/manual.rs"]
mod manual;
#[path = "tidy/pages.rs"]
mod pages;
#[path = "tidy/scan.rs"]
mod scan;

use std::collections::BTreeMap;

use scan::{File, Token};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Bottom to top: a module may import the ones named beside it, and itself. A new module of `src/`
/// gets its line here and in ARCHITECTURE.md.
const IMPORTS: &[(&str, &[&str])] = &[
    ("sys", &[]),
    ("model", &[]),
    ("credentials", &["sys"]),
    ("signature", &["sys"]),
    ("totp", &[]),
    ("web", &[]),
    ("clock", &["sys", "model"]),
    ("config", &["sys", "model"]),
    ("pipeline", &["model"]),
    ("store", &["model", "pipeline"]),
    ("source", &["sys", "credentials", "signature", "web", "model"]),
    ("run", &["sys", "model", "clock"]),
    ("launch", &["sys", "model", "clock", "run"]),
    ("executor", &["sys", "signature", "totp", "model", "clock", "run", "launch"]),
    ("inbox", &["model", "pipeline"]),
    ("report", &["model", "credentials", "web", "config", "store", "inbox"]),
    (
        "http",
        &[
            "sys",
            "model",
            "credentials",
            "signature",
            "pipeline",
            "config",
            "store",
            "source",
            "executor",
            "inbox",
            "report",
        ],
    ),
    ("upkeep", &["model", "clock", "store", "inbox"]),
    ("daemon", ABOVE_ALL),
    ("cli", ABOVE_ALL_AND_DAEMON),
    ("main", &["cli", "run"]),
];
const ABOVE_ALL: &[&str] = &[
    "sys",
    "model",
    "credentials",
    "signature",
    "totp",
    "web",
    "clock",
    "config",
    "pipeline",
    "store",
    "source",
    "run",
    "launch",
    "executor",
    "inbox",
    "report",
    "http",
    "upkeep",
];
const ABOVE_ALL_AND_DAEMON: &[&str] = &[
    "sys",
    "model",
    "credentials",
    "signature",
    "totp",
    "web",
    "clock",
    "config",
    "pipeline",
    "store",
    "source",
    "run",
    "launch",
    "executor",
    "inbox",
    "report",
    "http",
    "upkeep",
    "daemon",
];

/// A library, and the only places of `src/` that may name it (a folder ends with `/`).
const LIBRARIES: &[(&str, &[&str])] = &[
    ("nix", &["src/sys/"]),
    ("libc", &["src/sys/"]),
    ("git2", &["src/source/", "src/run/workspace.rs", "src/run/workspace/"]),
    ("rusqlite", &["src/store/"]),
    ("rusqlite_migration", &["src/store/"]),
    ("lettre", &["src/report/mail.rs"]),
    ("axum", &["src/http/"]),
    ("rustls", &["src/web/tls.rs"]),
    ("rustls_native_certs", &["src/web/tls.rs"]),
    ("tokio_rustls", &["src/web/tls.rs"]),
    ("sha1", &["src/totp.rs"]),
    ("qrcodegen", &["src/cli/totp.rs"]),
    ("zbus", &["src/launch/systemd/bus.rs"]),
    ("tokio_cron_scheduler", &["src/upkeep.rs"]),
    // A second opinion in the tests; the product reads schedules itself.
    ("croner", &[]),
];

/// Where code is plain and synchronous: no tokio.
const NO_TOKIO: &[&str] = &["src/sys/", "src/model/", "src/config/", "src/pipeline/", "src/report/message/"];

/// Reads of the wall clock, and the only file of `src/` that may do it.
const CLOCKS: &[&str] = &["Timestamp", "SystemTime", "Zoned", "Utc", "Local"];
const CLOCK_FILE: &str = "src/clock.rs";

/// Files and folders that may stand at the top.
const TOP_LEVEL: &[&str] = &[
    ".cargo",
    ".ci",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "benches",
    "clippy.toml",
    "deny.toml",
    "docs",
    "fuzz",
    "jobs.d",
    "packaging",
    "rustfmt.toml",
    "src",
    "systemd",
    "templates",
    "tests",
];

/// Fails with all of them, one a line.
fn none_of(violations: &[String]) {
    assert!(violations.is_empty(), "{} violations of the laws of form:\n{}", violations.len(), violations.join("\n"));
}

fn extension(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// Rust files below a folder, with their tokens.
fn rust_below(folder: &str) -> Vec<(File, Vec<Token>)> {
    let rust = |file: &File| file.path.starts_with(folder) && extension(&file.path) == "rs";
    let with_tokens = |file: File| {
        let tokens = scan::tokens(&file.raw);
        (file, tokens)
    };
    scan::files().into_iter().filter(rust).map(with_tokens).collect()
}

fn stands_in(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| path == *place || (place.ends_with('/') && path.starts_with(place)))
}

fn too_long_file(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > FILE_LINES_MAX).then(|| {
        format!("{path}: {lines} lines, at most {FILE_LINES_MAX}: split it along its `//!` header's sentences")
    })
}

fn too_long_functions(path: &str, tokens: &[Token]) -> Vec<String> {
    let long = scan::functions(tokens).into_iter().filter(|function| function.lines > FUNCTION_LINES_MAX);
    let say = |f: scan::Function| {
        let (line, name, lines) = (f.line, f.name, f.lines);
        format!(
            "{path}:{line}: `{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}: give its parts names of their own"
        )
    };
    long.map(say).collect()
}

/// The modules that a file of `src/` stands in: `[store, tables]` for src/store/tables.rs.
fn modules_of(path: &str) -> Vec<&str> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    inner.trim_end_matches("/mod").split('/').collect()
}

/// What a file imports against the law. `macros` says where exported macros are defined.
fn bad_imports(path: &str, tokens: &[Token], macros: &BTreeMap<String, String>) -> Vec<String> {
    let modules = modules_of(path);
    let own = modules[0];
    let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == own) else {
        return vec![format!("{path}: `{own}` has no line in IMPORTS of tests/tidy.rs: say there what it may import")];
    };
    let root = if own == "main" { "shipbell" } else { "crate" };
    let mut found = Vec::new();
    for head in scan::paths_from(tokens, root) {
        let name = head.text.strip_suffix('!').and_then(|name| macros.get(name)).unwrap_or(&head.text);
        let line = head.line;
        if name == "*" {
            found.push(format!("{path}:{line}: name what you take from `{root}` instead of `*`"));
        } else if name != own && !allowed.contains(&name.as_str()) {
            let may = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
            found.push(format!(
                "{path}:{line}: `{own}` may import {may}, not `{name}`: pass the value in as an argument, \
                 or move the code to where both may be seen"
            ));
        }
    }
    let depth = if own == "main" { 1 } else { modules.len() };
    for line in scan::supers_to_root(tokens, depth) {
        found.push(format!("{path}:{line}: this `super` is the crate's root: write `crate::…` so that it is seen"));
    }
    found
}

fn bad_libraries(path: &str, tokens: &[Token]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, places) in LIBRARIES {
        if !stands_in(path, places) {
            let at = scan::uses_of(tokens, name);
            let only = places.join(", ");
            found.extend(at.iter().map(|line| format!("{path}:{line}: `{name}` only in {only}: add a function there")));
        }
    }
    if !stands_in(path, &["src/sys/"]) {
        let at = scan::sequence(tokens, &["unsafe"]);
        found.extend(at.iter().map(|line| format!("{path}:{line}: `unsafe` only in src/sys/: add a function there")));
    }
    if stands_in(path, NO_TOKIO) {
        let at = scan::uses_of(tokens, "tokio");
        found.extend(at.iter().map(|line| format!("{path}:{line}: no tokio here: this part is plain and synchronous")));
    }
    found
}

fn clock_reads(path: &str, tokens: &[Token]) -> Vec<String> {
    if path == CLOCK_FILE {
        return Vec::new();
    }
    let reads = |kind: &&str| scan::sequence(tokens, &[kind, "::", "now"]);
    let say = |line| format!("{path}:{line}: the wall clock is read in {CLOCK_FILE} only: take `now` as an argument");
    CLOCKS.iter().flat_map(reads).map(say).collect()
}

fn left_in(path: &str, tokens: &[Token]) -> Vec<String> {
    let mut found = Vec::new();
    for name in ["todo", "unimplemented", "dbg"] {
        let at = scan::sequence(tokens, &[name, "!"]);
        found
            .extend(at.iter().map(|line| format!("{path}:{line}: `{name}!` is left in: build it, or return an error")));
    }
    for line in scan::sequence(tokens, &["#", "[", "ignore"]) {
        found.push(format!("{path}:{line}: an ignored test tests nothing: make it pass or remove it"));
    }
    found
}

/// Paths that exist only where somebody once built the project.
fn machine_paths(path: &str, text: &str) -> Vec<String> {
    let machine = [["/", "work"].concat(), ["/tmp/", "w"].concat(), ["/", "root"].concat(), ["/", "home"].concat()];
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for wanted in &machine {
            for (at, _) in line.match_indices(wanted.as_str()) {
                let begins =
                    line[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && !"_-./})*~".contains(c));
                let ends = line[at + wanted.len()..].starts_with('/');
                if begins && ends {
                    let number = number + 1;
                    found.push(format!(
                        "{path}:{number}: `{wanted}/` is a path of one machine: use a temporary directory"
                    ));
                }
            }
        }
    }
    found
}

#[test]
fn files_and_functions_are_short() {
    let checked = ["rs", "sh", "sql", "py", "css", "js", "html", "toml"];
    let files = scan::files();
    let long = files.iter().filter(|file| checked.contains(&extension(&file.path)));
    let mut violations: Vec<String> = long.filter_map(|file| too_long_file(&file.path, &file.raw)).collect();
    violations.extend(rust_below("").iter().flat_map(|(file, tokens)| too_long_functions(&file.path, tokens)));
    none_of(&violations);
}

#[test]
fn imports_run_upward_only() {
    let files = rust_below("src/");
    let macros_of = |(file, tokens): &(File, Vec<Token>)| {
        let own = modules_of(&file.path)[0].to_owned();
        scan::exported_macros(tokens).into_iter().map(move |name| (name, own.clone())).collect::<Vec<_>>()
    };
    let macros: BTreeMap<String, String> = files.iter().flat_map(macros_of).collect();
    let modules = files.iter().filter(|(file, _)| file.path != "src/lib.rs");
    none_of(&modules.flat_map(|(file, tokens)| bad_imports(&file.path, tokens, &macros)).collect::<Vec<_>>());
}

#[test]
fn the_import_table_has_no_cycle() {
    for (place, (name, allowed)) in IMPORTS.iter().enumerate() {
        for import in *allowed {
            let below = IMPORTS[..place].iter().any(|(lower, _)| lower == import);
            assert!(below, "IMPORTS: `{name}` names `{import}`, which does not stand above it in the table");
        }
    }
}

#[test]
fn libraries_and_the_clock_stay_in_their_places() {
    let files = rust_below("src/");
    let check = |(file, tokens): &(File, Vec<Token>)| {
        [bad_libraries(&file.path, tokens), clock_reads(&file.path, tokens)].concat()
    };
    none_of(&files.iter().flat_map(check).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_in() {
    let mut violations: Vec<String> = rust_below("").iter().flat_map(|(f, tokens)| left_in(&f.path, tokens)).collect();
    violations.extend(scan::files().iter().flat_map(|file| machine_paths(&file.path, &file.raw)));
    none_of(&violations);
}

#[test]
fn every_file_says_what_it_decides() {
    let headless = |(file, _): &(File, Vec<Token>)| {
        (!file.raw.starts_with("//! ")).then(|| {
            format!("{}:1: begin with a `//!` header of 2 to 6 lines: what is decided here, and what is not", file.path)
        })
    };
    none_of(&rust_below("").iter().filter_map(headless).collect::<Vec<_>>());
}

#[test]
fn the_top_level_is_what_readers_expect() {
    let unknown = |file: &File| {
        let top = file.path.split('/').next().unwrap_or_default();
        (!TOP_LEVEL.contains(&top)).then(|| format!("{}: nothing of this name stands at the top: move it below docs, tests or packaging, or add it to TOP_LEVEL of tests/tidy.rs", file.path))
    };
    none_of(&scan::files().iter().filter_map(unknown).collect::<Vec<_>>());
}

#[path = "tidy/selftest.rs"]
mod selftest;
