//! What the steps print, copied from one pipe that lives as long as the run: secrets taken out, nothing
//! else changed. A flood never blocks a step and never grows the supervisor; what is kept of it is
//! decided in `stream`. Nothing is escaped here; whoever shows it does that.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::run::mask::Masker;
use crate::run::stream::Stream;
use crate::sys::process::{PIPE_BYTES, log_pipe};

/// Of the end of a step's output, for judging it: hints, the answer of `verify`.
const RECENT_MAX: usize = 4096;
/// Taken from the pipe at once, at first.
const LITTLE: usize = 4 << 10;
/// And once somebody printed that much.
const CHUNK: usize = 64 << 10;

/// The pipe's reading end, and where it goes.
#[derive(Debug)]
pub struct Log {
    pipe: io::PipeReader,
    /// Kept open, so that the pipe outlives every writer; steps get copies.
    writer: io::PipeWriter,
    masker: Masker,
    stream: Stream,
    printed: u64,
    recent: Vec<u8>,
    buffer: Vec<u8>,
    masked: Vec<u8>,
    /// What standard error is to hear as well, where it is.
    echo: Option<Vec<u8>>,
}

/// Whoever goes says what it has to say.
impl Drop for Log {
    fn drop(&mut self) {
        self.say();
    }
}

impl Log {
    /// # Errors
    /// If the file is there already or the pipe cannot be made.
    pub fn begin(dir: &Path, limit: u64, masker: Masker) -> io::Result<Self> {
        let stream = Stream::begin(dir, limit)?;
        let (pipe, writer) = log_pipe()?;
        let (buffer, masked) = (vec![0; LITTLE], Vec::new());
        Ok(Self { pipe, writer, masker, stream, printed: 0, recent: Vec::new(), buffer, masked, echo: None })
    }

    /// What a step prints to.
    ///
    /// # Errors
    /// If there are too many open files.
    pub fn writer(&self) -> io::Result<OwnedFd> {
        Ok(self.writer.try_clone()?.into())
    }

    /// Can be read when somebody printed.
    #[must_use]
    pub fn pipe(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Takes what is in the pipe, but never more than fits in: a flood does not hold us up. Whether
    /// anything came.
    pub fn take_in(&mut self) -> bool {
        let mut budget = usize::try_from(PIPE_BYTES).unwrap_or(CHUNK);
        let mut any = false;
        while budget > 0 {
            match self.pipe.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(read) => {
                    self.keep(read);
                    // Most steps print little, and room that is not used costs as much as room that is.
                    if read == self.buffer.len() {
                        self.buffer.resize(CHUNK, 0);
                    }
                    budget = budget.saturating_sub(read);
                    any = true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        any
    }

    /// What was noted goes to standard error, where that is wanted: in one piece, as each wakes its reader.
    pub fn say(&mut self) {
        if let Some(echo) = self.echo.as_mut().filter(|echo| !echo.is_empty()) {
            // A closed standard error is no reason to end.
            let _ = io::stderr().write_all(echo);
            echo.clear();
        }
    }

    /// Whether its own lines go to standard error too.
    pub fn echo(&mut self, wanted: bool) {
        self.echo = wanted.then(Vec::new);
    }

    /// The first bytes of the buffer, as they were printed.
    fn keep(&mut self, read: usize) {
        let bytes = self.buffer.get(..read).unwrap_or_default();
        self.printed = self.printed.saturating_add(u64::try_from(read).unwrap_or_default());
        if self.masker.is_idle() {
            remember(&mut self.recent, bytes);
            return self.stream.put(bytes);
        }
        self.masked.clear();
        self.masker.take(bytes, &mut self.masked);
        remember(&mut self.recent, &self.masked);
        self.stream.put(&self.masked);
    }

    /// What may have been the beginning of a secret was none: something else comes behind it.
    fn settle(&mut self) {
        if !self.masker.is_idle() {
            self.masked.clear();
            self.masker.end(&mut self.masked);
            remember(&mut self.recent, &self.masked);
            self.stream.put(&self.masked);
        }
    }

    /// Writes a line of the supervisor's own.
    pub fn note(&mut self, text: &str) {
        self.settle();
        let text = self.masker.clean(text).0;
        self.stream.line(&text);
        if let Some(echo) = &mut self.echo {
            echo.extend_from_slice(text.as_bytes());
            echo.push(b'\n');
        }
    }

    /// A text without the run's secrets, for facts and reasons; and whether it had any.
    #[must_use]
    pub fn clean(&self, text: &str) -> (String, bool) {
        self.masker.clean(text)
    }

    /// How often a step printed a secret.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.masker.hits()
    }

    /// Where the stream ends now.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.stream.offset()
    }

    /// Bytes that the steps printed, kept or not.
    #[must_use]
    pub fn printed(&self) -> u64 {
        self.printed
    }

    /// A step begins: what is judged about its output begins anew.
    pub fn forget_recent(&mut self) {
        self.recent.clear();
    }

    /// The last few kilobytes that the step printed.
    #[must_use]
    pub fn recent(&self) -> String {
        String::from_utf8_lossy(&self.recent).into_owned()
    }

    /// A step has ended: what it printed is in the stream.
    pub fn end_step(&mut self) {
        self.take_in();
        self.settle();
    }

    /// Everything is over and no writer is left: takes the rest.
    pub fn end(&mut self) {
        while self.take_in() {}
        self.settle();
    }

    /// What was written stays through a power cut, as far as the disk takes it. (Of every log that is said
    /// when its run is recorded; see [`crate::run::logfile::compress`].)
    pub fn sync(&self) {
        self.stream.sync();
    }
}

fn remember(recent: &mut Vec<u8>, bytes: &[u8]) {
    let new = bytes.get(bytes.len().saturating_sub(RECENT_MAX)..).unwrap_or_default();
    let over = (recent.len() + new.len()).saturating_sub(RECENT_MAX).min(recent.len());
    recent.drain(..over);
    recent.extend_from_slice(new);
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_is_printed_is_kept_without_its_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::begin(dir.path(), 1 << 20, Masker::of([&b"hunter2-hunter2"[..]])).unwrap();
        log.note("=== step 1");
        let mut writer = File::from(log.writer().unwrap());
        writer.write_all(b"no newline: hunter2-hun").unwrap();
        log.take_in();
        writer.write_all(b"ter2\nand hunter2-").unwrap();
        log.end_step();
        log.note("=== hunter2-hunter2 ends");
        let text = std::fs::read_to_string(dir.path().join("log")).unwrap();
        assert_eq!(text, "=== step 1\nno newline: ***\nand hunter2-\n=== *** ends\n");
        assert_eq!((log.hits(), log.printed(), log.offset()), (1, 40, text.len() as u64));
        assert_eq!(log.recent(), "no newline: ***\nand hunter2-");
    }

    #[test]
    fn little_is_remembered() {
        let mut recent = Vec::new();
        for _ in 0..100 {
            remember(&mut recent, &[b'x'; 10_000]);
            remember(&mut recent, b"y");
        }
        assert_eq!(recent.len(), RECENT_MAX);
        assert!(recent.ends_with(b"xy") && recent.capacity() <= 4 * RECENT_MAX);
    }

    use std::fs::File;
}
