//! `[retention]` of shipbell.toml: what is kept how long. What may go at all is not judged here.

use crate::config::keys::{self, Place};
use crate::config::message::Findings;
use crate::config::tree::{Data, Entry, Table};
use crate::model::retention::Retention;
use crate::model::time::Seconds;

/// For what is never removed.
const FOREVER: &str = "forever";
/// A shorter time than this is a typing error: nobody could look at what failed.
const LEAST: Seconds = Seconds(3600);

pub fn read(entry: &Entry, first_header: Option<&Table>, findings: &Findings) -> Option<Retention> {
    let table = entry.table("[retention]", findings)?;
    keys::check(table, Place::Retention, first_header, findings);
    let mut read = Retention::default();
    for (key, period) in [
        ("runs", &mut read.runs),
        ("logs", &mut read.logs),
        ("artifacts", &mut read.artifacts),
        ("mirrors", &mut read.mirrors),
    ] {
        if let Some(written) = table.get(key).and_then(|entry| period_of(entry, findings)) {
            *period = written;
        }
    }
    if let Some(keep) = table.get("keep").and_then(|entry| entry.count(1..=100_000, findings)) {
        read.keep = keep;
    }
    // What goes with its run cannot be kept longer; where only `runs` is written, the others follow it.
    for (key, period) in [("logs", &mut read.logs), ("artifacts", &mut read.artifacts)] {
        if !outlives(*period, read.runs) {
            continue;
        }
        match table.get(key) {
            Some(entry) => {
                let headline = format!("`{key}` is longer than `runs`");
                entry.refuse(headline, "it goes with its run: write a shorter time, or a longer `runs`", findings);
            }
            None => *period = read.runs,
        }
    }
    Some(read)
}

fn outlives(one: Option<Seconds>, other: Option<Seconds>) -> bool {
    match (one, other) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(one), Some(other)) => one > other,
    }
}

/// `None` within: for ever.
#[expect(clippy::option_option, reason = "nothing was read, or for ever")]
fn period_of(entry: &Entry, findings: &Findings) -> Option<Option<Seconds>> {
    if matches!(&entry.data, Data::Text(text) if text == FOREVER) {
        return Some(None);
    }
    let span = entry.span(findings)?;
    if span < LEAST {
        entry.refuse("so soon nobody has looked at it", "write at least \"1h\", or \"forever\"", findings);
        return None;
    }
    Some(Some(span))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::config::message::Source;
    use crate::config::settings;

    fn read(text: &str) -> Result<Retention, String> {
        let source =
            Arc::new(Source { path: Path::new("/etc/shipbell/shipbell.toml").to_owned(), text: text.to_owned() });
        let findings = Findings::default();
        let shared = settings::read(&source, &findings);
        let problems = findings.into_problems();
        match problems.first() {
            None => Ok(shared.settings.retention),
            Some(problem) => Err(problem.text.clone()),
        }
    }

    #[test]
    fn what_is_written_holds_and_the_rest_follows() {
        assert_eq!(read(""), Ok(Retention::default()));
        assert_eq!(read("[retention]\n"), Ok(Retention::default()));
        let written = read("[retention]\nruns = \"7d\"\nkeep = 3\nmirrors = \"forever\"\n").unwrap();
        let week = Some(Seconds::days(7));
        assert_eq!((written.runs, written.logs, written.artifacts), (week, week, week));
        assert_eq!((written.keep, written.mirrors), (3, None));
        let written = read("[retention]\nruns = \"forever\"\nlogs = \"forever\"\nartifacts = \"2h\"\n").unwrap();
        assert_eq!((written.runs, written.logs, written.artifacts), (None, None, Some(Seconds::hours(2))));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_where_it_stands() {
        for (text, said) in [
            ("runs = 90", "needs a unit"),
            ("logs = \"5m\"", "at least \"1h\""),
            ("keep = 0", "a number from 1 to"),
            ("logs = \"200d\"", "`logs` is longer than `runs`"),
            ("runs = \"10d\"\nartifacts = \"forever\"", "`artifacts` is longer than `runs`"),
            ("run = \"10d\"", "did you mean `runs`?"),
            ("slots = 3", "this is a key of [limits]"),
        ] {
            let error = read(&format!("[retention]\n{text}\n")).unwrap_err();
            assert!(error.contains(said) && error.contains("shipbell.toml:"), "{text}: {error}");
        }
    }
}
