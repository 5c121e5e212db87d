//! The tables of docs/schedules.md, asked of the real code.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use shipbell::model::schedule::{Schedule, define};

/// A row of a table: its heading, its cells, and where it stands.
struct Row {
    heading: String,
    cells: Vec<String>,
    line: usize,
}

fn rows(text: &str) -> Vec<Row> {
    let mut found = Vec::new();
    let mut heading = String::new();
    for (line, text) in text.lines().enumerate() {
        let Some(inner) = text.strip_prefix('|') else {
            heading.clear();
            continue;
        };
        let cells: Vec<String> =
            inner.strip_suffix('|').unwrap_or(inner).split('|').map(|cell| cell.trim().to_owned()).collect();
        if heading.is_empty() {
            heading = cells.join(" ");
        } else if !text.contains("---") {
            found.push(Row { heading: heading.clone(), cells, line: line + 1 });
        }
    }
    found
}

fn page() -> Vec<Row> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schedules.md");
    rows(&std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}")))
}

/// The rows of all tables with these columns.
fn table(heading: &str, least: usize) -> Vec<Row> {
    let rows: Vec<Row> = page().into_iter().filter(|row| row.heading == heading).collect();
    assert!(rows.len() >= least, "only {} rows under `{heading}`: is the page still read rightly?", rows.len());
    rows
}

fn code(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// `Sun 28 Mar 03:00+02`; the year where it is not the one asked in, no offset in UTC.
fn shown(at: jiff::Timestamp, zone: &TimeZone, year: i16) -> String {
    let at = at.to_zoned(zone.clone());
    let day = at.strftime(if at.year() == year { "%a %-d %b" } else { "%a %-d %b %Y" });
    let offset = match zone.iana_name() {
        Some("UTC") => String::new(),
        _ => at.strftime("%:z").to_string().trim_end_matches(":00").to_owned(),
    };
    format!("{day} {}{offset}", at.strftime("%H:%M"))
}

#[test]
fn every_due_time_of_the_page_is_so() {
    let mut wrong = Vec::new();
    for Row { cells, line, .. } in table("schedule zone after due", 60) {
        let [schedule, zone, after, due] = cells.try_into().unwrap_or_else(|_| panic!("line {line}: not four cells"));
        let text = code(&schedule).remove(0);
        let schedule = Schedule::parse(&text, &zone).unwrap_or_else(|error| panic!("line {line}: {error}"));
        let tz = TimeZone::get(&zone).unwrap();
        let after: DateTime = after.parse().unwrap();
        let mut at = tz.to_ambiguous_timestamp(after).earlier().unwrap();
        let mut told = Vec::new();
        for _ in due.split(", ") {
            let Some(next) = schedule.due_after(at) else { break };
            told.push(next.skipped().unwrap_or_else(|| shown(next.at, &tz, after.year())));
            at = next.at;
        }
        if told.join(", ") != due {
            wrong.push(format!("docs/schedules.md:{line}: `{text}` is due {}", told.join(", ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_h_of_the_page_comes_to_what_it_says() {
    let mut wrong = Vec::new();
    for Row { cells, line, .. } in table("job schedules come to", 4) {
        let job = cells[0].parse().unwrap();
        let define = |(index, text): (usize, String)| define(&text, "UTC", &job, index).unwrap().resolved.unwrap();
        let resolved: Vec<String> = code(&cells[1]).into_iter().enumerate().map(define).collect();
        if resolved != code(&cells[2]) {
            wrong.push(format!("docs/schedules.md:{line}: comes to {resolved:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_refusal_of_the_page_is_worded_so() {
    let mut wrong = Vec::new();
    for Row { cells, line, .. } in table("written answer", 10) {
        let text = code(&cells[0]).remove(0);
        match define(&text, "UTC", &"host/backup".parse().unwrap(), 0) {
            Ok(_) => wrong.push(format!("docs/schedules.md:{line}: `{text}` is a schedule")),
            Err(error) if error.to_string() != cells[1] => {
                wrong.push(format!("docs/schedules.md:{line}: `{text}`: {error}"));
            }
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_the_page_can_fail() {
    let page = "text\n\n| a | b |\n|---|---|\n| `x y` | z |\n\n| c |\n|---|\n| 1 |\n";
    let rows: Vec<(String, Vec<String>, usize)> =
        rows(page).into_iter().map(|row| (row.heading, row.cells, row.line)).collect();
    assert_eq!(rows, [("a b".into(), vec!["`x y`".into(), "z".into()], 5), ("c".into(), vec!["1".into()], 9)]);
    assert_eq!(code("`x y` then `z`"), ["x y", "z"]);
}
