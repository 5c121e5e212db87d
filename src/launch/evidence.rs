//! What the files of an attempt prove once its lock is free. They are read as untrusted input: bounded,
//! through no link. A line that is no fact makes the whole of it unproven; success needs every word.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use crate::model::run::Outcome;
use crate::model::ticket::{CLAIMED, EVENTS, Evidence, Fact, FactLine, STOP, VERSION, is_spoken};
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
    /// The version of one of them that has one.
    pub foreign: Option<u32>,
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
            Ok(line) if is_spoken(line.v) => part.lines.push(line),
            Ok(_) | Err(_) => {
                part.garbage += 1;
                part.foreign = part.foreign.or_else(|| foreign(line));
            }
        }
    }
    Ok(part)
}

/// The version of a line that another Shipbell wrote; what else stands in it is its own.
fn foreign(line: &[u8]) -> Option<u32> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        v: u32,
    }
    let line: Versioned = serde_json::from_slice(line).ok()?;
    (!is_spoken(line.v)).then_some(line.v)
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
        seen.foreign = seen.foreign.or(part.foreign);
        seen.offset = part.next;
        part.lines.into_iter().for_each(|line| seen.take(line.fact));
        if done {
            seen.asked_to_stop = dir.join(STOP).try_exists()?;
            return Ok(seen.conclude(boot_id));
        }
    }
}

/// Whether a step after `init` may have begun: from then on an environment is touched.
///
/// # Errors
/// If its files cannot be read.
pub fn touched(dir: &Path) -> io::Result<bool> {
    let mut from = 0;
    loop {
        let part = read_part(dir, from)?;
        let step = |line: &FactLine| match &line.fact {
            Fact::Step { index, .. } => *index > 0,
            Fact::Finished { outcome, .. } => *outcome == Outcome::Succeeded,
            _ => false,
        };
        if part.garbage > 0 || part.lines.iter().any(step) {
            return Ok(true);
        }
        if part.next == from {
            return Ok(false);
        }
        from = part.next;
    }
}

#[derive(Debug, Default)]
struct Seen {
    offset: u64,
    garbage: bool,
    foreign: Option<u32>,
    /// We wanted it to end.
    asked_to_stop: bool,
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
        let rebooted = self.boot_id.is_some_and(|then| then != boot_id);
        match self.finished {
            Some(Fact::Finished { mut outcome, mut reason, step, usage }) if !self.garbage => {
                // Stopped by nobody that we know of, and then the host was down: the two are one. Where
                // systemd runs the host a supervisor says so itself.
                if rebooted && outcome == Outcome::Cancelled && !self.asked_to_stop {
                    outcome = Outcome::Interrupted;
                    reason.push_str("; then the host went down");
                }
                // Nothing outlives a boot.
                Evidence::Finished { outcome, reason, step, usage, empty: self.empty || rebooted }
            }
            _ => Evidence::Lost {
                touched: self.touched || self.garbage,
                rebooted,
                why: self.foreign.map(|v| {
                    format!(
                        "its {EVENTS} is of version {v}, and this shipbell reads {VERSION} and the one before: \
                         it was carried out by another version, whose word on it is lost here"
                    )
                }),
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
            Evidence::Lost { touched, rebooted, .. } => format!("lost touched={touched} rebooted={rebooted}"),
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
        assert_eq!(
            evidence(claimed, &lines(&[STARTED, STEP, FINISHED]), "b2"),
            "succeeded empty=true",
            "nothing outlives"
        );
        assert_eq!(evidence("fenced: no such file", &[], BOOT), "never: no such file");
        let endless = vec![b'x'; 3 << 20];
        assert_eq!(evidence(claimed, &endless, BOOT), "lost touched=true rebooted=false");
    }

    #[test]
    fn a_stop_that_nobody_ordered_is_the_hosts_where_the_host_went_down_after_it() {
        let cancelled = FINISHED.replace("succeeded", "cancelled").replace("\"\"", "\"stopped from outside\"");
        let (dir, events) = (tempfile::tempdir().unwrap(), format!("{STARTED}\n{STEP}\n{cancelled}\n{EMPTY}\n"));
        std::fs::write(dir.path().join(CLAIMED), "b1 7\n").unwrap();
        std::fs::write(dir.path().join(EVENTS), events).unwrap();
        let said = |boot: &str| match of(dir.path(), boot).unwrap() {
            Evidence::Finished { outcome, reason, empty: true, .. } => format!("{outcome}: {reason}"),
            other => panic!("{other:?}"),
        };
        assert_eq!(said("b1"), "cancelled: stopped from outside");
        assert_eq!(said("b2"), "interrupted: stopped from outside; then the host went down");
        std::fs::write(dir.path().join(STOP), "cancelled by anna").unwrap();
        assert_eq!(said("b2"), "cancelled: stopped from outside");
    }

    #[test]
    fn facts_of_another_version_are_no_evidence_and_that_is_said() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CLAIMED), "b1 7\n").unwrap();
        let of_version = |v: u32| {
            let lines = [STARTED, STEP, FINISHED, EMPTY].join("\n").replace("\"v\":1", &format!("\"v\":{v}"));
            std::fs::write(dir.path().join(EVENTS), format!("{lines}\n")).unwrap();
            of(dir.path(), BOOT).unwrap()
        };
        for v in [VERSION - 1, VERSION] {
            assert!(
                matches!(of_version(v), Evidence::Finished { outcome: Outcome::Succeeded, empty: true, .. }),
                "{v}"
            );
        }
        let Evidence::Lost { touched: true, why: Some(why), .. } = of_version(VERSION + 1) else {
            panic!("it was believed")
        };
        assert!(why.starts_with("its events.jsonl is of version 2, and this shipbell reads 1 and"), "{why}");
    }
}
