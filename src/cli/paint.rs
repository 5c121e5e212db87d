//! Printing: tables of eighty columns, colour only on a terminal, and nothing that strangers wrote
//! gets to the terminal as it is. What is printed is decided by the commands.

use std::io::{IsTerminal as _, Write as _};

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use jiff::tz::TimeZone;

use crate::model::time::Timestamp;
use crate::report::display;

use super::exit::Failure;
use super::when::Reader;

/// The width that everything is laid out for.
pub(super) const WIDTH: usize = 80;

/// Longest text of one line.
const LINE_MAX: usize = 500;

/// Between two columns.
const GAP: usize = 2;

/// What a word means, which is what its colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Tone {
    #[default]
    Plain,
    Good,
    Bad,
    Waits,
    Strong,
    Faint,
}

/// Where a command prints.
#[derive(Debug)]
pub(super) struct Screen {
    pub colour: bool,
    /// The zone that times are shown in.
    pub zone: TimeZone,
}

impl Screen {
    pub fn stdout() -> Self {
        let wanted = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let colour = std::io::stdout().is_terminal() && !wanted("NO_COLOR") && !dumb;
        Self { colour, zone: TimeZone::system() }
    }

    /// Tells instants as this screen's reader says them; `now` is the daemon's.
    pub fn reader(&self, now: Timestamp) -> Reader {
        Reader { zone: self.zone.clone(), now }
    }

    /// `text` in its colour.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if !self.colour || text.is_empty() => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Bad => "1;31",
            Tone::Waits => "33",
            Tone::Strong => "1",
            Tone::Faint => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Puts it on standard output. A reader who has gone away is no failure.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        self.print_bytes(text.as_bytes())
    }

    pub fn print_bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Failure::new(0, "")),
            Err(error) => Err(Failure::other(format!("cannot print: {error}"))),
        }
    }
}

/// A cell of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Cell {
    pub text: String,
    pub tone: Tone,
}

impl Cell {
    pub fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, tone: Tone::Plain }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// Rows in aligned columns; the last column takes what is left of the width and wraps below itself.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<Cell>>,
    indent: usize,
}

impl Table {
    pub fn new(indent: usize) -> Self {
        Self { rows: Vec::new(), indent }
    }

    /// The first row, in capitals.
    pub fn head(&mut self, names: &[&str]) {
        self.rows.push(names.iter().map(|name| Cell::new(Tone::Faint, *name)).collect());
    }

    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths = Vec::new();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                let width = cell.text.width();
                match widths.get_mut(column) {
                    Some(old) if *old >= width => {}
                    Some(old) => *old = width,
                    None => widths.push(width),
                }
            }
        }
        widths
    }

    /// How wide it is if nothing wraps.
    pub fn natural_width(&self) -> usize {
        let widths = self.widths();
        self.indent + widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
    }

    pub fn render(&self, screen: &Screen) -> String {
        let widths = self.widths();
        let last = widths.len().saturating_sub(1);
        let mut text = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(self.indent);
            let mut at = self.indent;
            for (column, cell) in row.iter().enumerate() {
                let width = widths.get(column).copied().unwrap_or_default();
                if column == last {
                    let room = WIDTH.saturating_sub(at).max(16);
                    let parts = wrap(&cell.text, room);
                    let glue = format!("\n{}", " ".repeat(at));
                    let painted: Vec<String> = parts.iter().map(|part| screen.paint(cell.tone, part)).collect();
                    line.push_str(&painted.join(&glue));
                } else {
                    line.push_str(&screen.paint(cell.tone, &cell.text));
                    line.push_str(&" ".repeat(width.saturating_sub(cell.text.width()) + GAP));
                }
                at += width + GAP;
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Breaks at spaces so that no line is wider than `room`; a longer word stays whole.
pub(super) fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && line.width() + 1 + word.width() > room {
                lines.push(std::mem::take(&mut line));
            } else if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

/// At most `room` columns; what is cut off is marked.
pub(super) fn cut(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut width = 0;
    for c in text.chars() {
        width += c.width().unwrap_or(0);
        if width + 3 > room {
            break;
        }
        kept.push(c);
    }
    kept + "..."
}

/// A text of a stranger, made safe: several lines.
pub(super) fn safe(text: &str) -> String {
    display::plain(text)
}

/// The same in one line.
pub(super) fn safe_line(text: &str) -> String {
    display::line(text, LINE_MAX)
}

/// A count and its noun.
pub(super) fn count(n: u64, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_and_their_last_column_wraps_below_itself() {
        let mut table = Table::new(2);
        table.head(&["RUN", "RESULT"]);
        table.row(vec!["名前/x#1".into(), Cell::new(Tone::Bad, "FAILED in step 2 because ".repeat(4).trim())]);
        let text = table.render(&Screen { colour: false, zone: TimeZone::UTC });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "  RUN       RESULT");
        assert!(lines[1].starts_with("  名前/x#1  FAILED in step 2"), "{text}");
        assert!(lines[2].starts_with("            "), "{text}");
        assert!(lines.iter().all(|line| line.width() <= WIDTH), "{text}");
    }

    #[test]
    fn colour_is_around_words_and_never_changes_the_layout() {
        let mut table = Table::new(0);
        table.row(vec![Cell::new(Tone::Good, "ok"), "x".into()]);
        table.row(vec!["FAILED".into(), "y".into()]);
        let coloured = table.render(&Screen { colour: true, zone: TimeZone::UTC });
        assert!(coloured.starts_with("\x1b[32mok\x1b[0m      x\n"), "{coloured:?}");
    }

    #[test]
    fn texts_are_cut_by_what_they_take_on_the_screen() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abc...");
        assert_eq!(cut("名前名前", 6), "名...");
    }
}
