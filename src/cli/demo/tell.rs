//! How the story is told: short lines as things happen, each with the seconds since the beginning, and
//! at the end a table of them.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use super::super::exit::Failure;
use super::super::paint::{Cell, Screen, Table, Tone, WIDTH, wrap};

/// Where what happened stands in a line.
const INDENT: usize = 28;

/// Tells, and remembers what it told.
pub(super) struct Teller {
    pub screen: Screen,
    began: Instant,
    told: RefCell<Vec<(Duration, String, String, String)>>,
}

impl Teller {
    pub fn new(screen: Screen) -> Self {
        Self { screen, began: Instant::now(), told: RefCell::new(Vec::new()) }
    }

    pub fn plain(&self, text: &str) -> Result<(), Failure> {
        self.screen.print(text)
    }

    /// Something happened: who or what, in one or two words; what; how long it took.
    pub fn happened(&self, tone: Tone, who: &str, what: &str, took: &str) -> Result<(), Failure> {
        let at = self.began.elapsed();
        self.told.borrow_mut().push((at, who.to_owned(), what.to_owned(), took.to_owned()));
        let took = if took.is_empty() { String::new() } else { format!(" ({took})") };
        let lines = wrap(&format!("{what}{took}"), WIDTH - INDENT);
        let lines: Vec<String> = lines.iter().map(|line| self.screen.paint(tone, line)).collect();
        let lines = lines.join(&format!("\n{:INDENT$}", ""));
        self.plain(&format!("{:>5.1}s  {who:<18}  {lines}\n", at.as_secs_f64()))
    }

    /// A line under the last one.
    pub fn detail(&self, text: &str) -> Result<(), Failure> {
        self.plain(&format!("{:INDENT$}{}\n", "", self.screen.paint(Tone::Faint, text)))
    }

    /// All of it once more, in columns.
    pub fn table(&self) -> Result<(), Failure> {
        let mut table = Table::new(0);
        table.head(&["AT", "WHO", "TOOK", "WHAT HAPPENED"]);
        for (at, who, what, took) in self.told.borrow().iter() {
            let at = format!("{:.1}s", at.as_secs_f64());
            table.row(vec![
                at.into(),
                Cell::new(Tone::Strong, who.as_str()),
                took.as_str().into(),
                what.as_str().into(),
            ]);
        }
        self.plain(&format!("\n{}", table.render(&self.screen)))
    }
}

/// `0.6s`.
pub(super) fn seconds(span: Duration) -> String {
    format!("{:.1}s", span.as_secs_f64())
}
