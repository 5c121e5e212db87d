//! `events.jsonl`: what the supervisor states, one line a fact, in order, each written whole or not at
//! all. While the disk is full the facts wait in memory; none is lost as long as the supervisor lives.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::clock;
use crate::model::ticket::{EVENTS, Fact, FactLine};

/// How long a fault other than a full disk is borne before the supervisor gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// The file and what could not be written yet.
#[derive(Debug)]
pub struct Events {
    file: File,
    /// Of what is written.
    version: u32,
    /// Length of the whole lines in it.
    length: u64,
    waiting: VecDeque<(Vec<u8>, bool)>,
}

impl Events {
    /// # Errors
    /// If the file is there already or cannot be made.
    pub fn begin(dir: &Path, version: u32) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let file = File::options().append(true).create_new(true).mode(0o640).open(dir.join(EVENTS))?;
        Ok(Self { file, version, length: 0, waiting: VecDeque::new() })
    }

    /// States it now. `last`: it is on disk before anything else happens (as far as the disk takes it).
    pub fn state(&mut self, fact: Fact, lasting: bool) {
        let line = FactLine { v: self.version, at: clock::now(), fact };
        let Ok(mut text) = serde_json::to_vec(&line) else { return };
        text.push(b'\n');
        self.waiting.push_back((text, lasting));
        let _ = self.retry();
    }

    /// Whether facts wait for the disk.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Tries to write what waits.
    ///
    /// # Errors
    /// What the disk said; what was not written waits on.
    pub fn retry(&mut self) -> io::Result<()> {
        while let Some((line, lasting)) = self.waiting.front() {
            let written = self.file.write_all(line).and_then(|()| match lasting {
                true => self.file.sync_data(),
                false => Ok(()),
            });
            if let Err(error) = written {
                // Half a line would spoil the next one.
                self.file.set_len(self.length)?;
                return Err(error);
            }
            self.length = self.length.saturating_add(u64::try_from(line.len()).unwrap_or_default());
            self.waiting.pop_front();
        }
        Ok(())
    }

    /// Returns when everything is written: a full disk is waited for without end.
    ///
    /// # Errors
    /// If the disk refuses for another reason for a minute.
    pub fn settle(&mut self) -> io::Result<()> {
        let mut waited = Duration::ZERO;
        while let Err(error) = self.retry() {
            let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            if !full && waited >= PATIENCE {
                return Err(error);
            }
            std::thread::sleep(PAUSE);
            waited += PAUSE;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ticket::VERSION;

    #[test]
    fn facts_are_lines_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = Events::begin(dir.path(), VERSION).unwrap();
        events.state(Fact::Value { key: "K".into(), value: "a\nb".into() }, false);
        events.state(Fact::Empty, true);
        events.settle().unwrap();
        let text = std::fs::read_to_string(dir.path().join(EVENTS)).unwrap();
        let lines: Vec<FactLine> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0].fact, Fact::Value { key: "K".into(), value: "a\nb".into() });
        assert_eq!(lines[1].fact, Fact::Empty);
        assert!(Events::begin(dir.path(), VERSION).is_err(), "never over an older one");
    }
}
