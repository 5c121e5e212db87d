//! How an import is told, in eighty columns and as JSON. What is told was decided elsewhere.

use std::path::PathBuf;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::cli::paint::{Cell, Screen, Table, Tone, count, safe_line};
use crate::model::job::EveryFrom;
use crate::model::time::Timestamp;

use super::compare::{Compared, DAYS, Job};
use super::draft::{Import, Said};

/// Everything about an import that can be printed.
pub(super) struct Told<'a> {
    pub import: &'a Import,
    pub compared: &'a Compared,
    /// What the loader says against the generated text.
    pub problems: &'a [String],
    /// Where the files went.
    pub written: &'a [PathBuf],
    pub from: Timestamp,
    /// How the old scheduler is called.
    pub old: &'static str,
}

impl Told<'_> {
    /// Whether everything came over.
    pub fn whole(&self) -> bool {
        self.problems.is_empty() && self.compared.is_equal() && self.import.said.iter().all(|said| !said.lost)
    }

    pub fn text(&self, screen: &Screen) -> String {
        let mut text = String::new();
        for path in self.written {
            text.push_str(&format!("wrote {}\n", safe_line(&path.display().to_string())));
        }
        for problem in self.problems {
            text.push_str(&format!("{problem}\n"));
        }
        for (lost, head) in [(true, "DOES NOT CARRY OVER"), (false, "CARRIES OVER, BUT MIND")] {
            let said: Vec<&Said> = self.import.said.iter().filter(|said| said.lost == lost).collect();
            if !said.is_empty() {
                text.push_str(&gap(&text));
                text.push_str(&format!("{}\n", screen.paint(if lost { Tone::Bad } else { Tone::Waits }, head)));
                text.push_str(&table(&said).render(screen));
            }
        }
        text.push_str(&gap(&text));
        text.push_str(&self.times(screen));
        let lost = self.import.said.iter().filter(|said| said.lost).count();
        text.push_str(&match lost {
            0 if self.whole() => String::new(),
            0 => "Not everything carries over: see above.\n".into(),
            _ => format!(
                "{} not carry over: see above.\n",
                match lost {
                    1 => "1 field does".to_owned(),
                    _ => format!("{} fields do", number(lost)),
                }
            ),
        });
        text
    }

    fn times(&self, screen: &Screen) -> String {
        let (old, new, equal) = self.compared.sums();
        let mut text = String::new();
        if !self.compared.jobs.is_empty() {
            text.push_str(&format!("{DAYS} days: {} of {} fire times equal", number(equal), number(old.max(equal))));
            if !self.compared.is_equal() {
                let (gone, more) = (number(old - equal), number(new - equal));
                text.push_str(&format!("; {gone} only in {}, {more} only here", self.old));
            }
            text.push('\n');
            let mut table = Table::new(2);
            table.head(&["JOB", "OLD", "NEW", "FIRST DIFFERENCES"]);
            let before = self.compared.jobs.iter().filter(|job| !job.first.is_empty());
            before.for_each(|job| table.row(self.row(job)));
            if !self.compared.is_equal() {
                text.push_str(&table.render(screen));
            }
        }
        for (job, period, from) in &self.compared.intervals {
            let after = if *from == EveryFrom::End { "end" } else { "start" };
            text.push_str(&format!("{job}: {period} after each {after}, no fixed times\n"));
        }
        for job in &self.compared.unknown {
            text.push_str(&format!("{job}: nobody can tell its times in {}\n", self.old));
        }
        text
    }

    fn row(&self, job: &Job) -> Vec<Cell> {
        let zone = TimeZone::get(&job.zone).unwrap_or(TimeZone::UTC);
        let form = match job.first.iter().all(|(at, _)| at.as_second().rem_euclid(60) == 0) {
            true => "%a %-d %b %H:%M",
            false => "%a %-d %b %H:%M:%S",
        };
        let each = |(at, of_old): &(Timestamp, bool)| {
            let side = if *of_old { format!("in {}", self.old) } else { "here".into() };
            format!("{} only {side}", at.to_zoned(zone.clone()).strftime(form))
        };
        let first = job.first.iter().map(each).collect::<Vec<_>>().join("\n");
        let first = format!("{first}\n({})", job.zone);
        vec![job.key.to_string().into(), number(job.old).into(), number(job.new).into(), first.into()]
    }

    pub fn json(&self) -> Value {
        let (old, new, equal) = self.compared.sums();
        let files =
            self.import.files.iter().map(|file| json!({ "name": format!("{}.toml", file.name), "text": file.text }));
        let said = self.import.said.iter().map(|said| {
            json!({ "file": said.file, "line": said.line, "carries_over": !said.lost, "what": said.what, "text": said.text })
        });
        let jobs = self.compared.jobs.iter().map(|job| {
            let first =
                job.first.iter().map(|(at, of_old)| json!({ "at": at, "only": if *of_old { "old" } else { "new" } }));
            json!({
                "job": job.key, "timezone": job.zone, "old": job.old, "new": job.new, "equal": job.equal,
                "first_differences": first.collect::<Vec<_>>(),
            })
        });
        let intervals = self
            .compared
            .intervals
            .iter()
            .map(|(job, period, from)| json!({ "job": job, "seconds": period.0, "after": from.to_string() }));
        json!({
            "schema": 1,
            "ok": self.whole(),
            "files": files.collect::<Vec<_>>(),
            "written": self.written,
            "problems": self.problems,
            "notes": said.collect::<Vec<_>>(),
            "fire_times": {
                "from": self.from, "days": DAYS, "old": old, "new": new, "equal": equal,
                "jobs": jobs.collect::<Vec<_>>(),
                "intervals": intervals.collect::<Vec<_>>(),
                "unknown": self.compared.unknown,
            },
        })
    }
}

/// A line between two parts.
fn gap(before: &str) -> String {
    if before.is_empty() { String::new() } else { "\n".into() }
}

/// `FILE:LINE  field  text`; lines that say the same are told once with their count.
fn table(said: &[&Said]) -> Table {
    let mut rows: Vec<(&Said, u64)> = Vec::new();
    for one in said {
        match rows
            .iter_mut()
            .find(|(other, _)| (&other.file, &other.what, &other.text) == (&one.file, &one.what, &one.text))
        {
            Some((_, n)) => *n += 1,
            None => rows.push((one, 1)),
        }
    }
    let mut table = Table::new(2);
    for (one, n) in rows {
        let name = one.file.rsplit('/').next().unwrap_or(&one.file);
        let place = if one.line == 0 { name.to_owned() } else { format!("{name}:{}", one.line) };
        let more = if n > 1 { format!(" (and {})", count(n - 1, "line more", "lines more")) } else { String::new() };
        let text = format!("{}: {}{more}", safe_line(&one.what), safe_line(&one.text));
        table.row(vec![safe_line(&place).into(), text.into()]);
    }
    table
}

/// `2,160`.
fn number(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, c) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(c);
    }
    text
}
