//! What the files of an attempt prove once its lock is free. They are read as untrusted input: bounded,
//! through no link. A line that is no fact makes the whole of it unproven; success needs every word.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use crate::model::ticket::{CLAIMED, EVENTS, Evidence, Fact, FactLine, VERSION};
use crate::sys::files;

/// Read in one go; no line that a supervisor writes is longer.
const CHUNK: u64 = 1 << 20;
/// Begins `claimed` where the launcher made it to prove that nothing began.
pub const FENCED: &str = "fenced";

/// Lines of a part of `events.jsonl`.
#[derive(Debug, Default)]
pub struct Part {
    pub lines: Vec<FactLine>,
    /// Where the next part begins.
    pub next: u64,
    /// Whole lines that are no facts of a version that we know.
    pub garbage: usize,
}

/// The complete lines from an offset on, as many as one part holds. A missing file has none.
///
/// # Errors
/// If the file is there and cannot be read.
pub fn read_part(dir: &Path, from: u64) -> io::Result<Part> {
    let mut part = Part { next: from, ..Part::default() };
    let Some(mut file) = open(dir, EVENTS)? else { return Ok(part) };
    file.seek(SeekFrom::Start(from))?;
    let mut text = Vec::new();
    file.take(CHUNK).read_to_end(&mut text)?;
    let whole = match text.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => text.get(..=end).unwrap_or_default(),
        None if text.len() as u64 == CHUNK => {
            part.garbage = 1;
            text.as_slice()
        }
        None => &[],
    };
    part.next = from.saturating_add(whole.len() as u64);
    for line in whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice::<FactLine>(line) {
            Ok(line) if line.v == VERSION || Some(line.v) == VERSION.checked_sub(1) => part.lines.push(line),
            Ok(_) | Err(_) => part.garbage += 1,
        }
    }
    Ok(part)
}

fn open(dir: &Path, name: &str) -> io::Result<Option<File>> {
    let opened = files::open_dir(dir).and_then(|dir| files::open_beneath(&dir, name.as_ref(), false));
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The beginning of a small file; empty where it is missing.
///
/// # Errors
/// If it is there and cannot be read.
pub fn read_small(dir: &Path, name: &str, max: u64) -> io::Result<String> {
    let mut text = Vec::new();
    if let Some(file) = open(dir, name)? {
        file.take(max).read_to_end(&mut text)?;
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// What an attempt proves whose `claimed` is there and whose lock is free.
///
/// # Errors
/// If its files cannot be read; that proves nothing, ask again.
pub fn of(dir: &Path, boot_id: &str) -> io::Result<Evidence> {
    let claimed = read_small(dir, CLAIMED, 256)?;
    if let Some(why) = claimed.strip_prefix(FENCED) {
        return Ok(Evidence::NeverStarted { why: why.trim_start_matches(':').trim().to_owned() });
    }
    let mut seen = Seen { boot_id: claimed.split_whitespace().next().map(str::to_owned), ..Seen::default() };
    loop {
        let part = read_part(dir, seen.offset)?;
        let done = part.next == seen.offset;
        seen.garbage |= part.garbage > 0;
        seen.offset = part.next;
        part.lines.into_iter().for_each(|line| seen.take(line.fact));
        if done {
            return Ok(seen.conclude(boot_id));
        }
    }
}

#[derive(Debug, Default)]
struct Seen {
    offset: u64,
    garbage: bool,
    boot_id: Option<String>,
    touched: bool,
    finished: Option<Fact>,
    empty: bool,
}

impl Seen {
    fn take(&mut self, fact: Fact) {
        match fact {
            Fact::Started { boot_id, .. } => self.boot_id = Some(boot_id),
            Fact::Step { index, .. } => self.touched |= index > 0,
            Fact::Finished { .. } => self.finished = Some(fact),
            Fact::Empty => self.empty = self.finished.is_some(),
            Fact::StepEnded { .. } | Fact::Value { .. } | Fact::Artifact { .. } => {}
        }
    }

    fn conclude(self, boot_id: &str) -> Evidence {
        match self.finished {
            Some(Fact::Finished { outcome, reason, step, usage }) if !self.garbage => {
                Evidence::Finished { outcome, reason, step, usage, empty: self.empty }
            }
            _ => Evidence::Lost {
                touched: self.touched || self.garbage,
                rebooted: self.boot_id.is_some_and(|then| then != boot_id),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: &str = "b1";
    const STARTED: &str = r#"{"v":1,"at":"2026-01-01T00:00:00Z","fact":"started","boot_id":"b1","pid":7}"#;
    const INIT: &str =
        r#"{"v":1,"at":"2026-01-01T00:00:00Z","fact":"step","index":0,"name":"init","always":false,"log":0}"#;
    const STEP: &str =
        r#"{"v":1,"at":"2026-01-01T00:00:00Z","fact":"step","index":1,"name":"a","always":false,"log":0}"#;
    const FINISHED: &str = r#"{"v":1,"at":"2026-01-01T00:00:00Z","fact":"finished","outcome":"succeeded","reason":"","step":null,"usage":{"cpu_ms":1,"memory_peak":2,"log_bytes":3}}"#;
    const EMPTY: &str = r#"{"v":1,"at":"2026-01-01T00:00:00Z","fact":"empty"}"#;

    fn evidence(claimed: &str, events: &[u8], boot: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CLAIMED), claimed).unwrap();
        std::fs::write(dir.path().join(EVENTS), events).unwrap();
        match of(dir.path(), boot).unwrap() {
            Evidence::NeverStarted { why } => format!("never: {why}"),
            Evidence::Finished { outcome, empty, .. } => format!("{outcome} empty={empty}"),
            Evidence::Lost { touched, rebooted } => format!("lost touched={touched} rebooted={rebooted}"),
        }
    }

    #[test]
    fn success_needs_every_word() {
        let lines = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>().into_bytes();
        let claimed = "b1 7\n";
        for (what, events, expected) in [
            ("all", lines(&[STARTED, STEP, FINISHED, EMPTY]), "succeeded empty=true"),
            ("not empty", lines(&[STARTED, STEP, FINISHED]), "succeeded empty=false"),
            ("nothing", lines(&[]), "lost touched=false rebooted=false"),
            ("in init", lines(&[STARTED, INIT]), "lost touched=false rebooted=false"),
            ("in a step", lines(&[STARTED, INIT, STEP]), "lost touched=true rebooted=false"),
            ("empty before the end", lines(&[STARTED, STEP, EMPTY]), "lost touched=true rebooted=false"),
            ("garbage", lines(&[STARTED, "\u{0}garbage", FINISHED, EMPTY]), "lost touched=true rebooted=false"),
            ("newer", lines(&[&STARTED.replace("\"v\":1", "\"v\":9")]), "lost touched=true rebooted=false"),
        ] {
            assert_eq!(evidence(claimed, &events, BOOT), expected, "{what}");
        }
        let mut cut = lines(&[STARTED, STEP, FINISHED]);
        cut.truncate(cut.len() - 2);
        assert_eq!(evidence(claimed, &cut, BOOT), "lost touched=true rebooted=false");
        assert_eq!(evidence(claimed, &lines(&[STARTED]), "b2"), "lost touched=false rebooted=true");
        assert_eq!(evidence("", &[], "b2"), "lost touched=false rebooted=false");
        assert_eq!(evidence("fenced: no such file", &[], BOOT), "never: no such file");
        let endless = vec![b'x'; 3 << 20];
        assert_eq!(evidence(claimed, &endless, BOOT), "lost touched=true rebooted=false");
    }
}
