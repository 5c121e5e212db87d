//! `log` and its segments: the bytes of a run's log in the order in which they came, each with its offset
//! in the stream. Within the limit all of them stay. Beyond it the head stays and the end: two segments
//! of equal size, of which the older one goes when the newer one is full. What lies between is missing,
//! and readers say so (`logfile`). A disk that takes nothing costs output, never the run.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock;
use crate::model::ticket::LOG;

/// Of each of the two segments.
const SEGMENT: std::ops::RangeInclusive<u64> = 4096..=4 << 20;
/// When which byte came: lines `OFFSET MILLISECONDS`.
pub const TIMES: &str = "log.times";
/// Between two of these lines, at first; the pause doubles when there are too many.
const TIMES_PAUSE: Duration = Duration::from_secs(1);
const TIMES_MAX: u32 = 10_000;

/// The writing end.
#[derive(Debug)]
pub struct Stream {
    dir: PathBuf,
    out: File,
    /// What `out` may still take.
    room: u64,
    /// Where the segments on disk begin, oldest first.
    segments: VecDeque<u64>,
    segment_size: u64,
    written: u64,
    /// The disk took no more; said once it takes lines again.
    lost: u64,
    at_line_begin: bool,
    times: Times,
}

/// The name of the segment that begins at this offset.
#[must_use]
pub fn segment_name(from: u64) -> String {
    format!("{LOG}.{from}")
}

fn create(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options().append(true).create_new(true).mode(0o640).open(path)
}

impl Stream {
    /// # Errors
    /// If the file is there already or cannot be made.
    pub fn begin(dir: &Path, limit: u64) -> io::Result<Self> {
        let segment_size = (limit / 8).clamp(*SEGMENT.start(), *SEGMENT.end());
        Ok(Self {
            dir: dir.to_owned(),
            out: create(&dir.join(LOG))?,
            room: limit.saturating_sub(2 * segment_size),
            segments: VecDeque::new(),
            segment_size,
            written: 0,
            lost: 0,
            at_line_begin: true,
            times: Times { file: None, last: None, pause: TIMES_PAUSE, lines: 0 },
        })
    }

    #[must_use]
    pub fn offset(&self) -> u64 {
        self.written
    }

    /// The next bytes of the stream.
    pub fn put(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.times.note(&self.dir, self.written);
        if self.lost > 0 {
            let begin = if self.at_line_begin { "" } else { "\n" };
            let mark = format!("{begin}=== LOST: {} bytes of output, the disk did not take them\n", self.lost);
            if self.write(mark.as_bytes()) < mark.len() {
                self.lost = self.lost.saturating_add(length(bytes.len()));
                return;
            }
            self.lost = 0;
        }
        let written = self.write(bytes);
        self.lost = length(bytes.len().saturating_sub(written));
    }

    /// How much of it the disk took.
    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.room == 0 && self.begin_segment().is_err() {
                break;
            }
            let fits = usize::try_from(self.room).unwrap_or(usize::MAX).min(rest.len());
            match self.out.write(rest.get(..fits).unwrap_or_default()) {
                Ok(written) if written > 0 => {
                    rest = rest.get(written..).unwrap_or_default();
                    self.written = self.written.saturating_add(length(written));
                    self.room = self.room.saturating_sub(length(written));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => break,
            }
        }
        let written = bytes.len().saturating_sub(rest.len());
        if let Some(last) = bytes.get(..written).and_then(<[u8]>::last) {
            self.at_line_begin = *last == b'\n';
        }
        written
    }

    /// The full one before it stays until this one is full as well: never less than one segment is there.
    fn begin_segment(&mut self) -> io::Result<()> {
        if self.segments.len() > 1
            && let Some(oldest) = self.segments.pop_front()
        {
            let _ = std::fs::remove_file(self.dir.join(segment_name(oldest)));
        }
        self.out = create(&self.dir.join(segment_name(self.written)))?;
        self.segments.push_back(self.written);
        self.room = self.segment_size;
        Ok(())
    }

    /// A line of the supervisor's own.
    pub fn line(&mut self, text: &str) {
        // What is lost is said in a line of its own.
        let begin = if self.at_line_begin || self.lost > 0 { "" } else { "\n" };
        self.put(format!("{begin}{text}\n").as_bytes());
    }

    /// What was written stays through a power cut, as far as the disk takes it.
    pub fn sync(&self) {
        let _ = self.out.sync_data();
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// An index of the stream by time, seldom enough to cost nothing. Without it the log is as good.
#[derive(Debug)]
struct Times {
    file: Option<File>,
    last: Option<Instant>,
    pause: Duration,
    lines: u32,
}

impl Times {
    fn note(&mut self, dir: &Path, offset: u64) {
        let now = Instant::now();
        if self.last.is_some_and(|last| now.duration_since(last) < self.pause) {
            return;
        }
        // A run whose output all comes in its first second needs no index: its start says as much.
        if self.last.replace(now).is_none() {
            return;
        }
        if self.file.is_none() {
            self.file = create(&dir.join(TIMES)).ok();
        }
        self.lines += 1;
        if self.lines.is_multiple_of(TIMES_MAX) {
            self.pause *= 2;
        }
        if let Some(file) = &mut self.file {
            let _ = file.write_all(format!("{offset} {}\n", clock::now().as_millisecond()).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::logfile;

    #[test]
    fn within_the_limit_every_byte_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut stream = Stream::begin(dir.path(), 100_000).unwrap();
        stream.line("=== step 1");
        stream.put(b"no newline");
        stream.line("=== step 2");
        stream.put(b"b\n");
        stream.line("=== end");
        let text = std::fs::read_to_string(dir.path().join(LOG)).unwrap();
        assert_eq!(text, "=== step 1\nno newline\n=== step 2\nb\n=== end\n");
        assert_eq!(stream.offset(), text.len() as u64);
    }

    #[test]
    fn a_flood_leaves_head_and_end_within_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let mut stream = Stream::begin(dir.path(), 32_768).unwrap();
        for number in 0..100_000 {
            stream.put(format!("line {number}\n").as_bytes());
        }
        stream.line("=== end");
        let on_disk: u64 = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert!((28_000..=32_768).contains(&on_disk), "{on_disk}");
        let (mut text, mut at, mut marks) = (Vec::new(), 0, 0);
        loop {
            let (bytes, next) = logfile::read(dir.path(), at, 1000).unwrap();
            if next == at {
                break;
            }
            if next - at != bytes.len() as u64 {
                let mark = String::from_utf8(bytes.clone()).unwrap();
                assert!(mark.contains(&format!("=== TRUNCATED: {} bytes", next - at)), "{mark}");
                marks += 1;
            }
            text.extend(bytes);
            at = next;
        }
        let text = String::from_utf8(text).unwrap();
        assert_eq!((marks, at), (1, stream.offset()));
        assert!(text.starts_with("line 0\nline 1\n") && text.ends_with("line 99998\nline 99999\n=== end\n"));
    }
}
