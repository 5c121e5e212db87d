//! What the commands print, as samples: tests/data/cli/NAME.json is an answer of the daemon, NAME.txt
//! what is printed of it. The JSON is schema 1 as scripts read it: it must come back out unchanged.

use std::path::PathBuf;

use jiff::tz::TimeZone;
use serde::Serialize;
use serde::de::DeserializeOwned;
use unicode_width::UnicodeWidthStr as _;

use super::args::HistoryArgs;
use super::paint::{Screen, WIDTH};
use super::{backfill, forecast, history, listing, repos, show, status, why};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/cli").join(name)
}

/// Set `SHIPBELL_BLESS=1` to write what is printed now; then read the difference.
fn check<T: DeserializeOwned + Serialize>(name: &str, render: impl Fn(&T, &Screen) -> String) {
    let json = std::fs::read_to_string(path(&format!("{name}.json"))).unwrap();
    let view: T = serde_json::from_str(&json).unwrap();
    let as_it_came: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_json::to_value(&view).unwrap(), as_it_came, "{name}: schema 1 changed");
    let screen = Screen { colour: false, zone: TimeZone::get("Europe/Berlin").unwrap() };
    let text = render(&view, &screen);
    if std::env::var_os("SHIPBELL_BLESS").is_some() {
        std::fs::write(path(&format!("{name}.txt")), &text).unwrap();
    }
    let expected = std::fs::read_to_string(path(&format!("{name}.txt"))).unwrap_or_default();
    assert_eq!(text, expected, "{name}\n--- printed:\n{text}--- expected:\n{expected}");
    let wide: Vec<&str> = text.lines().filter(|line| line.width() > WIDTH).collect();
    assert!(wide.is_empty(), "{name}: wider than {WIDTH} columns: {wide:?}");
    let coloured = render(&view, &Screen { colour: true, ..screen });
    assert_eq!(crate::report::display::plain(&coloured), text, "{name}: colour is on top and nothing else");
}

#[test]
fn status_is_as_in_the_samples() {
    check("status", status::render);
}

#[test]
fn history_is_as_in_the_samples() {
    let query = HistoryArgs { scope: "open-im".parse().ok(), n: 20, failed: false };
    check("history", |view, screen| history::render(view, &query, screen));
}

#[test]
fn show_is_as_in_the_samples() {
    check("show", show::render);
}

#[test]
fn next_is_as_in_the_samples() {
    check("next", listing::render_next);
}

#[test]
fn approvals_are_as_in_the_samples() {
    check("approvals", listing::render_approvals);
}

#[test]
fn why_is_as_in_the_samples() {
    check("why", why::render);
}

#[test]
fn a_forecast_is_a_picture_of_eighty_columns() {
    check("forecast", forecast::render);
}

#[test]
fn a_backfill_lists_its_due_times() {
    check("backfill", backfill::render);
}

#[test]
fn repositories_and_a_trial_of_one() {
    check("repos", repos::render);
    check("repos-test", repos::render_test);
}
