//! TOML's own errors in words for people who write shell into it: the parser says what it expected,
//! here it is said what to do.

use std::ops::Range;
use std::sync::Arc;

use crate::config::message::{Mistake, Source, Spot};

/// Whether the rest of a file still means what it seems to after this error: a value that is wrong
/// stays one value, a header or key that is broken moves what stands below it.
pub fn recovers(message: &str) -> bool {
    ["missing escaped value", "string values must be quoted", "invalid boolean", "duplicate key", "missing comma"]
        .iter()
        .any(|start| message.starts_with(start))
        || (message.starts_with("invalid ") && message.contains(" string,"))
}

/// The message for a syntax error at `at`.
pub fn mistake(source: &Arc<Source>, message: &str, at: Range<usize>) -> Mistake {
    let spot = |span| Spot { source: source.clone(), span };
    let here = spot(at.clone());
    let found = here.text().to_owned();
    if message.starts_with("missing escaped value") {
        return escape(source, at.start);
    }
    if message.starts_with("string values must be quoted") {
        return Mistake::new(&here, "a text stands in quotes").label(format!("write '{found}'"));
    }
    if message.starts_with("invalid boolean") {
        let meant = if found.to_lowercase().starts_with('t') { "true" } else { "false" };
        return Mistake::new(&here, format!("`{found}` is neither true nor false")).label(format!("write {meant}"));
    }
    if message.starts_with("duplicate key") {
        let headline = format!("`{found}` stands here twice");
        return Mistake::new(&here, headline).label("keep one of them: neither would be the sure one");
    }
    if message.starts_with("invalid unquoted key") && found == ":" {
        return Mistake::new(&here, "a key and its value are joined by `=`").label("write = in place of :");
    }
    if message.starts_with("unclosed table") {
        return Mistake::new(&here, "a table's header ends with `]`").label("a ] is missing here");
    }
    if message.starts_with("unclosed array") {
        return Mistake::new(&here, "this list is not closed").label("a ] is missing here");
    }
    if message.starts_with("missing comma") {
        return Mistake::new(&here, "a comma is missing in a list").label("write , here");
    }
    if message.starts_with("invalid basic string, expected `\"`") {
        return Mistake::new(&here, "this text is not closed").label("a \" is missing here");
    }
    Mistake::new(&here, format!("no valid TOML: {message}"))
}

/// Shell is full of backslashes, and a "..." text of TOML reads them itself.
fn escape(source: &Arc<Source>, after: usize) -> Mistake {
    let start = after.saturating_sub(1);
    let next = source.text.get(after..).and_then(|rest| rest.chars().next()).filter(|c| *c != '\n');
    let spot = Spot { source: source.clone(), span: start..after + next.map_or(0, char::len_utf8) };
    let headline = format!("`{}` is not an escape in a \"...\" string", spot.text());
    let mistake = Mistake::new(&spot, headline);
    match quoted_around(&source.text, start) {
        Some(inner) if !inner.contains("'''") => {
            mistake.label(format!("use single quotes for shell: '''{}'''", unescape(inner)))
        }
        _ => mistake.label("use single quotes for shell: '''...''', or write \\\\ for a backslash"),
    }
}

/// What stands between the "..." on the one line around `at`.
fn quoted_around(text: &str, at: usize) -> Option<&str> {
    let start = text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text.get(start..)?.split('\n').next()?;
    let (mut open, mut skip) = (None, false);
    for (index, c) in line.char_indices() {
        match c {
            _ if skip => skip = false,
            '\\' if open.is_some() => skip = true,
            '"' => match open.take() {
                Some(from) if start + from < at && at < start + index => return line.get(from..index),
                Some(_) => {}
                None => open = Some(index + 1),
            },
            _ => {}
        }
    }
    None
}

/// `\"` and `\\` as they would have been read.
fn unescape(text: &str) -> String {
    text.replace("\\\"", "\"").replace("\\\\", "\\")
}
