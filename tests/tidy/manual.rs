//! The manual keeps up with the program: every command that `shipbell --help` lists, every key that
//! `src/config/keys.rs` knows, and whether that key works yet. Its form is checked by mandoc.

use std::collections::BTreeSet;
use std::process::Command;

use crate::pages::page;

const PAGES: &[&str] = &["shipbell.1", "shipbell-daemon.8", "shipbell.toml.5", "shipbell-jobs.5"];

/// Places of src/config/keys.rs that are described in shipbell.toml(5); the others in shipbell-jobs(5).
const OF_SHIPBELL_TOML: &[&str] = &["settings", "mail", "person", "hostlimits", "forge", "retention"];

fn manual(name: &str) -> String {
    page(&format!("packaging/man/{name}"))
}

/// All words of a page; the quotes, commas and brackets around them are not part of them.
fn words(text: &str) -> BTreeSet<&str> {
    let around = |c: char| !c.is_alphanumeric() && c != '-';
    text.split_whitespace().map(|word| word.trim_matches(around)).collect()
}

/// A key as the configuration has it.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    place: String,
    name: String,
    works: bool,
}

/// The keys that work or will, from the table in src/config/keys.rs.
fn keys(source: &str) -> Vec<Key> {
    let (mut found, mut place) = (Vec::new(), String::new());
    let table = source.split_once("type Key =").map_or("", |(_, table)| table);
    for line in table.lines().map(str::trim).take_while(|line| !line.starts_with("/// What other programs")) {
        let constant = |line: &str| Some(line.strip_prefix("const ")?.split_once(": &[Key]")?.0.to_lowercase());
        if let Some((name, _)) = line.strip_prefix("Place::").and_then(|rest| rest.split_once(" =>")) {
            place = name.to_lowercase();
        } else if let Some(name) = constant(line) {
            place = name.replace('_', "");
        }
        for entry in line.split("(\"").skip(1) {
            let Some((name, standing)) = entry.split_once("\", ") else { continue };
            let works = standing.starts_with("Works");
            if works || standing.starts_with("NotYet") || standing.starts_with("RESERVED") {
                found.push(Key { place: place.clone(), name: name.to_owned(), works });
            }
        }
    }
    found
}

/// The commands that `shipbell --help` lists.
fn commands(help: &str) -> Vec<&str> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let begins = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    list.filter(begins).filter_map(|line| line.split_whitespace().next()).collect()
}

#[test]
fn the_manual_is_well_formed() {
    for name in PAGES {
        let path = format!("packaging/man/{name}");
        let mut lint = Command::new("mandoc");
        lint.args(["-T", "lint", "-W", "warning", &path]).current_dir(env!("CARGO_MANIFEST_DIR"));
        let lint = lint.output().expect("mandoc is there (tests/needs.txt)");
        let said = String::from_utf8_lossy(&lint.stdout);
        assert!(lint.status.success() && said.is_empty(), "mandoc finds fault with the manual:\n{said}");
    }
}

fn help(arguments: &[&str]) -> String {
    let help = Command::new(env!("CARGO_BIN_EXE_shipbell")).args(arguments).arg("--help").output();
    String::from_utf8_lossy(&help.expect("shipbell can be started").stdout).into_owned()
}

/// The options that a command's help lists: `-f`, `--follow`.
fn options(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Options:").skip(1).map(str::trim);
    let named = list.take_while(|line| !line.is_empty()).filter(|line| line.starts_with('-'));
    let words = named.flat_map(|line| line.split(' ').take_while(|word| word.starts_with('-')));
    words.map(|word| word.trim_end_matches(',').to_owned()).collect()
}

/// Whether a page of the manual has this option: mdoc writes `--follow` as `Fl -follow`.
fn has_option(page: &str, option: &str) -> bool {
    let flag = option.trim_start_matches('-');
    let wanted = if option.starts_with("--") { format!("-{flag}") } else { flag.to_owned() };
    let tokens: Vec<&str> = page.split_whitespace().collect();
    let flags = tokens.split(|word| matches!(*word, ".Fl" | "Fl")).skip(1);
    flags
        .flat_map(|after| after.iter().take_while(|word| !matches!(**word, "Ar" | "Oc" | "Ns")))
        .any(|word| *word == wanted)
}

#[test]
fn every_command_and_option_is_in_the_manual() {
    let all = help(&[]);
    let commands = commands(&all);
    assert!(commands.len() > 8, "shipbell --help was not understood:\n{all}");
    let page = manual("shipbell.1");
    let mut missing: Vec<String> = Vec::new();
    for name in commands {
        let entry = format!(".It Cm {name}");
        if !page
            .lines()
            .any(|line| line.strip_prefix(&entry).is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')))
        {
            missing.push(format!("`{entry}`"));
        }
        let of_command = options(&help(&[name])).into_iter().filter(|option| !has_option(&page, option));
        missing.extend(of_command.map(|option| format!("{option} of {name}")));
    }
    assert!(missing.is_empty(), "packaging/man/shipbell.1 lacks {}", missing.join(", "));
}

#[test]
fn every_key_is_in_the_manual() {
    let keys = keys(&page("src/config/keys.rs"));
    assert!(keys.len() > 60, "src/config/keys.rs was not understood: {} keys", keys.len());
    let mut wrong = Vec::new();
    for key in &keys {
        let name = if OF_SHIPBELL_TOML.contains(&key.place.as_str()) { "shipbell.toml.5" } else { "shipbell-jobs.5" };
        let page = manual(name);
        let (working, rest) = page.split_once(".Sh NOT YET").expect("each page on keys has a section NOT YET");
        let not_yet = rest.split(".Sh").next().unwrap_or_default();
        let (section, where_to) = if key.works { (working, "above NOT YET") } else { (not_yet, "under NOT YET") };
        if !words(section).contains(key.name.as_str()) {
            wrong.push(format!("packaging/man/{name}: `{}` of {} belongs {where_to}", key.name, key.place));
        }
    }
    assert!(wrong.is_empty(), "the manual and src/config/keys.rs differ:\n{}", wrong.join("\n"));
}

#[test]
fn the_readers_of_help_and_keys_can_fail() {
    let help =
        "Words.\n\nCommands:\n  status   What needs\n           a person\n  run      Start\n\nOptions:\n  -h  Help\n";
    assert_eq!(commands(help), ["status", "run"]);
    assert_eq!(options("Options:\n  -f, --follow   Go on\n      --at <N>  At\n\n  -x"), ["-f", "--follow", "--at"]);
    assert!(has_option(".It Fl h , -help\n.It Oo Fl n Ar N Oc", "--help") && has_option("Oo Fl n Ar N", "-n"));
    assert!(!has_option("Fl n Ar N --help", "--help"));
    let source = "type Key = x;\n  Place::File => &[\n (\"repo\", Works),\n (\"include\", Never(\"x\")),\n ],\n  Place::Repo => &[(\"url\", Works), (\"pulls\", NotYet(\"no\"))],\n}\nconst JOB: &[Key] = &[\n(\"matrix\", RESERVED)];\n/// What other programs call it.\n(\"cron\", \"schedule\")";
    let key = |place: &str, name: &str, works| Key { place: place.into(), name: name.into(), works };
    let expected =
        [key("file", "repo", true), key("repo", "url", true), key("repo", "pulls", false), key("job", "matrix", false)];
    assert_eq!(keys(source), expected);
    assert!(words(".It Cm a , b-c\n.Li { d, @e }").is_superset(&BTreeSet::from(["a", "b-c", "d", "e"])));
}
