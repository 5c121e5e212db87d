//! How a mistake in a file is told: headline, file:line:column, the line itself with what is meant
//! underlined, and what to do. Columns count characters. Job files are edited by people and scripts
//! alike, so nothing of them reaches the terminal as a control character.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use unicode_width::UnicodeWidthStr;

use crate::model::name::PipelineName;

/// One thing that is wrong, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub file: PathBuf,
    pub pipeline: Option<PipelineName>,
    /// 1-based; 0 where the whole file is meant.
    pub line: usize,
    pub column: usize,
    pub headline: String,
    /// The whole message, several lines, plain text.
    pub text: String,
}

impl Problem {
    /// One about a whole file.
    #[must_use]
    pub fn of_file(file: &Path, fact: &str, headline: &str, notes: &[String]) -> Self {
        let mut text = format!("error: {}\n --> {}", plain(headline), plain(&file.display().to_string()));
        if !fact.is_empty() {
            let _ = write!(text, "   {}", plain(fact));
        }
        text.push('\n');
        for note in notes {
            let _ = writeln!(text, "   = {}", plain(note));
        }
        Self { file: file.to_owned(), pipeline: None, line: 0, column: 0, headline: plain(headline), text }
    }

    /// `shop.toml:14:1 unknown key`: for a line of a table.
    #[must_use]
    pub fn short(&self) -> String {
        let name = self.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match self.line {
            0 => format!("{}: {}", plain(&name), self.headline),
            line => format!("{}:{line}:{} {}", plain(&name), self.column, self.headline),
        }
    }
}

/// A file's text.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    pub path: PathBuf,
    pub text: String,
}

impl Source {
    /// Line and column, both from 1.
    #[must_use]
    pub fn position(&self, byte: usize) -> (usize, usize) {
        let before = self.text.get(..byte).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        (line, before.get(start..).unwrap_or_default().chars().count() + 1)
    }

    fn line_at(&self, byte: usize) -> (usize, &str) {
        let start = self.text.get(..byte).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let rest = self.text.get(start..).unwrap_or_default();
        (start, rest.split('\n').next().unwrap_or_default().trim_end_matches('\r'))
    }
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    pub source: Arc<Source>,
    pub span: Range<usize>,
}

impl Spot {
    #[must_use]
    pub fn line(&self) -> usize {
        self.source.position(self.span.start).0
    }

    /// The text that stands there.
    #[must_use]
    pub fn text(&self) -> &str {
        self.source.text.get(self.span.clone()).unwrap_or_default()
    }
}

/// A mistake, before it is put into words and lines.
#[derive(Debug, Clone)]
pub struct Mistake {
    at: Spot,
    headline: String,
    label: String,
    others: Vec<Spot>,
    notes: Vec<String>,
    concealed: bool,
    /// `error` or `warning`.
    level: &'static str,
}

impl Mistake {
    #[must_use]
    pub fn new(at: &Spot, headline: impl Into<String>) -> Self {
        let (label, others, notes) = (String::new(), Vec::new(), Vec::new());
        Self { at: at.clone(), headline: headline.into(), label, others, notes, concealed: false, level: "error" }
    }

    /// The line is shown without what stands there: messages reach mails and pages, passwords must not.
    #[must_use]
    pub fn concealed(mut self) -> Self {
        self.concealed = true;
        self
    }

    /// It is allowed, and seldom meant.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.level = "warning";
        self
    }

    /// What stands under the line, beside the underline.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Another line of the same file that matters.
    #[must_use]
    pub fn with_line(mut self, other: &Spot) -> Self {
        if other.source == self.at.source && other.line() != self.at.line() {
            self.others.push(other.clone());
        }
        self
    }

    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    fn problem(&self) -> Problem {
        let (line, column) = self.at.source.position(self.at.span.start);
        let mut others: Vec<&Spot> = self.others.iter().collect();
        others.sort_by_key(|spot| spot.span.start);
        let last_line = others.iter().map(|spot| spot.line()).chain([line]).max().unwrap_or(line);
        let width = last_line.to_string().len().max(2);
        let (edge, path) = (" ".repeat(width - 1), plain(&self.at.source.path.display().to_string()));
        let mut text = format!("{}: {}\n{edge}--> {path}:{line}:{column}\n", self.level, plain(&self.headline));
        let (before, after): (Vec<&Spot>, Vec<&Spot>) =
            others.into_iter().partition(|spot| spot.span.start < self.at.span.start);
        let mut shown = |spot: &Spot| {
            let _ = writeln!(text, "{:<width$} | {}", spot.line(), plain(spot.source.line_at(spot.span.start).1));
        };
        before.into_iter().for_each(&mut shown);
        let (source_line, underline) = underlined(&self.at, self.concealed);
        let _ = writeln!(text, "{line:<width$} | {source_line}");
        let _ = writeln!(text, "{:<width$} | {}", "", format!("{underline} {}", plain(&self.label)).trim_end());
        let mut shown = |spot: &Spot| {
            let _ = writeln!(text, "{:<width$} | {}", spot.line(), plain(spot.source.line_at(spot.span.start).1));
        };
        after.into_iter().for_each(&mut shown);
        for note in &self.notes {
            let _ = writeln!(text, "{:<width$} = {}", "", plain(note));
        }
        Problem {
            file: self.at.source.path.clone(),
            pipeline: None,
            line,
            column,
            headline: plain(&self.headline),
            text,
        }
    }
}

/// A longer line is shown from a little before the mistake.
const SHOWN_MAX: usize = 160;

/// The line of a spot, and blanks and carets below it as wide as a terminal shows them.
fn underlined(spot: &Spot, concealed: bool) -> (String, String) {
    let (start, line) = spot.source.line_at(spot.span.start);
    let from = spot.span.start.saturating_sub(start).min(line.len());
    let to = spot.span.end.saturating_sub(start).min(line.len()).max(from);
    let (head, marked, tail) =
        (line.get(..from).unwrap_or(line), line.get(from..to).unwrap_or_default(), line.get(to..).unwrap_or_default());
    let marked = if concealed { "(not shown)" } else { marked };
    let (mut head, mut marked, mut tail) = (plain(head), plain(marked), plain(tail));
    if head.chars().count() + marked.chars().count() + tail.chars().count() > SHOWN_MAX {
        let kept = head.chars().count().saturating_sub(40);
        if kept > 0 {
            head = format!("...{}", head.chars().skip(kept).collect::<String>());
        }
        let limit = |text: &str, most: usize| match text.chars().count() > most {
            true => format!("{}...", text.chars().take(most).collect::<String>()),
            false => text.to_owned(),
        };
        marked = limit(&marked, 80);
        tail = limit(&tail, 30);
    }
    let carets = "^".repeat(marked.width().max(1));
    (format!("{head}{marked}{tail}").trim_end().to_owned(), format!("{}{carets}", " ".repeat(head.width())))
}

/// Text without anything that could steer a terminal: control characters and the marks that turn the
/// direction of writing.
#[must_use]
pub fn plain(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    text.chars()
        .map(|c| {
            if c == '\t' {
                ' '
            } else if steers(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// Collects what is wrong: reading goes on after a mistake, so that all are told at once.
#[derive(Debug, Default)]
pub struct Findings {
    list: RefCell<Vec<Problem>>,
}

impl Findings {
    pub fn add(&self, mistake: &Mistake) {
        self.push(mistake.problem());
    }

    pub fn push(&self, problem: Problem) {
        let mut list = self.list.borrow_mut();
        // A default that is wrong would else be told once for every job.
        if !list.contains(&problem) {
            list.push(problem);
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// In the order of the file.
    #[must_use]
    pub fn into_problems(self) -> Vec<Problem> {
        let mut list = self.list.into_inner();
        list.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        list
    }
}

/// The one of `known` that `found` was probably meant to be.
#[must_use]
pub fn closest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found = found.to_lowercase();
    let score = |word: &str| strsim::jaro_winkler(&found, &word.to_lowercase());
    let best = known.into_iter().map(|word| (score(word), word)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 > 0.8).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(text: &str, marked: &str) -> Spot {
        let start = text.find(marked).unwrap();
        let source = Arc::new(Source { path: "/etc/shipbell/jobs.d/web.toml".into(), text: text.into() });
        Spot { source, span: start..start + marked.len() }
    }

    #[test]
    fn a_message_has_the_form_of_the_samples() {
        let at = spot("[repo]\nurl = \"x\"\n\ndescription = \"The web shop\"\n", "description");
        let mistake = Mistake::new(&at, "unknown key `description` in [repo]")
            .label("this is a key of the file: move it above line 1, [repo]")
            .note("and so on");
        assert_eq!(
            mistake.problem().text,
            "error: unknown key `description` in [repo]\n\
             \x20--> /etc/shipbell/jobs.d/web.toml:4:1\n\
             4  | description = \"The web shop\"\n\
             \x20  | ^^^^^^^^^^^ this is a key of the file: move it above line 1, [repo]\n\
             \x20  = and so on\n"
        );
    }

    #[test]
    fn columns_count_characters_and_carets_stand_below_wide_ones() {
        let at = spot("a = \"\u{5317}\u{4eac}\u{1b}[31m\" # x", "#");
        let problem = Mistake::new(&at, "no\u{202e}").problem();
        assert_eq!((problem.line, problem.column), (1, 15));
        assert!(problem.text.contains(&format!("\n   | {}^\n", " ".repeat(16))), "{}", problem.text);
        assert!(!problem.text.contains(['\u{1b}', '\u{202e}']));
    }

    #[test]
    fn a_spot_at_the_end_of_the_file_or_beyond_is_still_shown() {
        for span in [3..3, 2..9, 70..80] {
            let source = Arc::new(Source { path: "x".into(), text: "ab\n".into() });
            assert!(Mistake::new(&Spot { source, span }, "x").problem().text.contains("-->"));
        }
    }
}
