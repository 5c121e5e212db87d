//! Any text as a crontab of both forms and as Prow's YAML: no importer panics, and what it writes the loader takes.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use shipbell::cli::import::crontab::{self, Form};
use shipbell::cli::import::draft::{Abilities, Host, Import};
use shipbell::cli::import::prow;
use shipbell::config::{self, Layout, Trust};

fn taken(import: &Import) {
    let layout = Layout::new(Some(Path::new("/nonexistent")));
    for file in &import.files {
        let path = format!("{}.toml", file.name);
        let loaded = config::check_text(&layout, &Trust::root_and_self(), Path::new(&path), &file.text);
        assert!(loaded.problems.is_empty(), "{:?}\n{}", loaded.problems, file.text);
    }
}

fuzz_target!(|text: &str| {
    let host = Host { zone: "Europe/Berlin".into(), default_zone: "UTC".into(), can: Abilities::default() };
    let Ok(name) = "crontab".parse() else { return };
    for form in [Form::System, Form::User(None), Form::User(Some("web".into()))] {
        taken(&crontab::translate("crontab", &name, text, &form, &host));
    }
    taken(&prow::translate(&[prow::Source { name: "x.yaml".into(), text: text.to_owned() }], &host));
});
