//! `events.jsonl`: what the supervisor states, one line a fact, in order, each written whole or not at
//! all. Where they must outlast a power cut there is room for them from the beginning, so that a full disk
//! takes them too; else, and beyond that room, they wait in memory, and none is lost as long as the supervisor lives.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::clock;
use crate::model::ticket::{EVENTS, Fact, FactLine};
use crate::sys::files;

/// How long a fault other than a full disk is borne before the supervisor gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Set aside ahead of what is written: the facts of a run with some outputs.
const ROOM: u64 = 16 << 10;
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
    /// Up to where there is room for certain; `None`: nothing is set aside.
    room: Option<u64>,
    waiting: VecDeque<(Vec<u8>, bool)>,
}

impl Events {
    /// `lasting`: room is set aside, which takes the disk as long as a short job.
    ///
    /// # Errors
    /// If the file is there already or cannot be made.
    pub fn begin(dir: &Path, version: u32, lasting: bool) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let file = File::options().append(true).create_new(true).mode(0o640).open(dir.join(EVENTS))?;
        let room = (lasting && files::set_room_aside(&file, 0, ROOM).is_ok()).then_some(ROOM);
        Ok(Self { file, version, length: 0, room, waiting: VecDeque::new() })
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
            let end = self.length.saturating_add(u64::try_from(line.len()).unwrap_or_default());
            // What goes beyond is not begun before there is room: half of it would have to be cut off again, and
            // the room that is left with it.
            if let Some(room) = self.room.filter(|room| end > *room) {
                files::set_room_aside(&self.file, room, end - room + ROOM)?;
                self.room = Some(end + ROOM);
            }
            let written = self.file.write_all(line).and_then(|()| match lasting {
                true => self.file.sync_data(),
                false => Ok(()),
            });
            if let Err(error) = written {
                // Half a line would spoil the next one. The room behind goes with it, and is asked for anew.
                self.file.set_len(self.length)?;
                let again = |room: &u64| files::set_room_aside(&self.file, self.length, room - self.length).is_ok();
                self.room = self.room.filter(again);
                return Err(error);
            }
            self.length = end;
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

/// Nothing more is stated: room that was set aside and not needed is given back. The supervisor leaves that to
/// whoever lets its run go, as it takes the disk longer than the end of a run.
///
/// # Errors
/// If that fails; it is no loss but of some room.
pub fn give_back(dir: &Path) -> io::Result<()> {
    let path = dir.join(EVENTS);
    let found = match path.symlink_metadata() {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let held = std::os::unix::fs::MetadataExt::blocks(&found) * 512;
    if !found.is_file() || held < found.len() + ROOM / 2 {
        return Ok(());
    }
    File::options().write(true).open(path)?.set_len(found.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ticket::VERSION;

    #[test]
    fn facts_are_lines_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = Events::begin(dir.path(), VERSION, true).unwrap();
        events.state(Fact::Value { key: "K".into(), value: "a\nb".into() }, false);
        events.state(Fact::Empty, true);
        events.settle().unwrap();
        let text = std::fs::read_to_string(dir.path().join(EVENTS)).unwrap();
        let lines: Vec<FactLine> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0].fact, Fact::Value { key: "K".into(), value: "a\nb".into() });
        assert_eq!(lines[1].fact, Fact::Empty);
        drop(events);
        let blocks = || std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(dir.path().join(EVENTS)).unwrap());
        give_back(dir.path()).unwrap();
        assert!(blocks() * 512 < ROOM, "{} blocks", blocks());
        assert_eq!(std::fs::read_to_string(dir.path().join(EVENTS)).unwrap(), text);
        assert!(Events::begin(dir.path(), VERSION, false).is_err(), "never over an older one");
    }
}
