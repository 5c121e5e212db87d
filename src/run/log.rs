//! `log`: what the steps print, byte for byte, copied from one pipe that lives as long as the run. A
//! flood never blocks a step and never grows the supervisor: the head is kept, then one loud mark, then
//! the last bytes of each step that printed more. Nothing is escaped here; whoever shows it does that.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::model::ticket::LOG;
use crate::sys::process::{PIPE_BYTES, log_pipe};

/// Of the end of a step that printed more than is kept.
const TAIL_MAX: u64 = 256 << 10;
/// Of the end of a step's output, for judging it: hints, the answer of `verify`.
const RECENT_MAX: usize = 4096;
/// Taken from the pipe at once.
const CHUNK: usize = 64 << 10;

/// The pipe's reading end, the file, and what is held back.
#[derive(Debug)]
pub struct Log {
    pipe: io::PipeReader,
    /// Kept open, so that the pipe outlives every writer; steps get copies.
    writer: io::PipeWriter,
    keep: Keep,
    buffer: Vec<u8>,
    echo: bool,
}

impl Log {
    /// # Errors
    /// If the file is there already or the pipe cannot be made.
    pub fn begin(dir: &Path, limit: u64) -> io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let file = File::options().append(true).create_new(true).mode(0o640).open(dir.join(LOG))?;
        let (pipe, writer) = log_pipe()?;
        Ok(Self { pipe, writer, keep: Keep::new(file, limit), buffer: vec![0; CHUNK], echo: false })
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
                    self.keep.take(self.buffer.get(..read).unwrap_or_default());
                    budget = budget.saturating_sub(read);
                    any = true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        any
    }

    /// Writes a line of the supervisor's own; such lines are always kept.
    pub fn note(&mut self, text: &str) {
        self.keep.note(text);
        if self.echo {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }

    /// Whether its own lines go to standard error too.
    pub fn echo(&mut self, wanted: bool) {
        self.echo = wanted;
    }

    /// Where the file ends now.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.keep.written
    }

    /// Bytes that the steps printed, kept or not.
    #[must_use]
    pub fn printed(&self) -> u64 {
        self.keep.printed
    }

    /// A step begins: what is judged about its output begins anew.
    pub fn forget_recent(&mut self) {
        self.keep.recent.clear();
    }

    /// The last few kilobytes that the step printed.
    #[must_use]
    pub fn recent(&self) -> String {
        String::from_utf8_lossy(&self.keep.recent).into_owned()
    }

    /// A step has ended: what is held back of its output goes to the file.
    pub fn end_step(&mut self) {
        self.take_in();
        self.keep.let_go();
    }

    /// Everything is over and no writer is left: takes the rest.
    pub fn end(&mut self) {
        while self.take_in() {}
        self.keep.let_go();
        let _ = self.keep.file.sync_data();
    }
}

/// What is kept of a stream, within a limit.
#[derive(Debug)]
struct Keep {
    file: File,
    written: u64,
    printed: u64,
    /// What the head may still take.
    room: u64,
    tail_max: usize,
    tail: VecDeque<u8>,
    /// Printed since the head was full and not in `tail`.
    left_out: u64,
    /// The disk took no more; said once the disk takes lines again.
    lost: u64,
    at_line_begin: bool,
    said_full: bool,
    recent: Vec<u8>,
}

impl Keep {
    fn new(file: File, limit: u64) -> Self {
        let tail = (limit / 8).clamp(4096, TAIL_MAX);
        Self {
            file,
            written: 0,
            printed: 0,
            room: limit.saturating_sub(tail),
            tail_max: usize::try_from(tail).unwrap_or(4096),
            tail: VecDeque::new(),
            left_out: 0,
            lost: 0,
            at_line_begin: true,
            said_full: false,
            recent: Vec::new(),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.printed = self.printed.saturating_add(length(bytes));
        remember(&mut self.recent, bytes);
        let room = usize::try_from(self.room).unwrap_or(usize::MAX).min(bytes.len());
        let (head, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        self.room = self.room.saturating_sub(length(head));
        self.put(head);
        if rest.is_empty() {
            return;
        }
        if !self.said_full {
            self.said_full = true;
            self.line("=== TRUNCATED: the log's limit is reached; from here on only the end of each step is kept");
        }
        let keep = rest.get(rest.len().saturating_sub(self.tail_max)..).unwrap_or_default();
        let over = (self.tail.len() + keep.len()).saturating_sub(self.tail_max).min(self.tail.len());
        self.tail.drain(..over);
        self.tail.extend(keep);
        self.left_out = self.left_out.saturating_add(length(rest) - length(keep)).saturating_add(over as u64);
    }

    /// What is held back goes to the file, below a mark that says how much is missing.
    fn let_go(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            self.line(&format!("=== TRUNCATED: {left_out} bytes of output are left out here"));
        }
        let tail = std::mem::take(&mut self.tail);
        let (front, back) = tail.as_slices();
        self.put(front);
        self.put(back);
    }

    fn note(&mut self, text: &str) {
        self.let_go();
        self.line(text);
    }

    fn line(&mut self, text: &str) {
        if self.lost > 0 {
            let lost = format!("=== LOST: {} bytes of output, the disk did not take them\n", self.lost);
            if self.file.write_all(lost.as_bytes()).is_ok() {
                self.written = self.written.saturating_add(length(lost.as_bytes()));
                self.lost = 0;
            }
        }
        let begin = if self.at_line_begin { "" } else { "\n" };
        self.put(format!("{begin}{text}\n").as_bytes());
    }

    /// A disk that takes nothing costs output, never the run.
    fn put(&mut self, mut bytes: &[u8]) {
        if let Some(last) = bytes.last() {
            self.at_line_begin = *last == b'\n';
        }
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(written) if written > 0 => {
                    self.written = self.written.saturating_add(u64::try_from(written).unwrap_or_default());
                    bytes = bytes.get(written..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => {
                    self.lost = self.lost.saturating_add(length(bytes));
                    return;
                }
            }
        }
    }
}

fn remember(recent: &mut Vec<u8>, bytes: &[u8]) {
    let new = bytes.get(bytes.len().saturating_sub(RECENT_MAX)..).unwrap_or_default();
    let over = (recent.len() + new.len()).saturating_sub(RECENT_MAX).min(recent.len());
    recent.drain(..over);
    recent.extend_from_slice(new);
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(limit: u64) -> (tempfile::TempDir, Keep) {
        let dir = tempfile::tempdir().unwrap();
        let file = File::options().append(true).create_new(true).open(dir.path().join(LOG)).unwrap();
        (dir, Keep::new(file, limit))
    }

    fn text(dir: &tempfile::TempDir) -> String {
        String::from_utf8(std::fs::read(dir.path().join(LOG)).unwrap()).unwrap()
    }

    #[test]
    fn within_the_limit_every_byte_is_kept() {
        let (dir, mut keep) = keep(100_000);
        keep.note("=== step 1");
        keep.take(b"no newline");
        keep.note("=== step 2");
        keep.take(b"b\n");
        keep.note("=== end");
        assert_eq!(text(&dir), "=== step 1\nno newline\n=== step 2\nb\n=== end\n");
        assert_eq!(keep.written, text(&dir).len() as u64);
        assert_eq!(keep.printed, 12);
    }

    #[test]
    fn a_flood_leaves_head_mark_and_tail() {
        let (dir, mut keep) = keep(16_384);
        for number in 0..100_000 {
            keep.take(format!("line {number}\n").as_bytes());
        }
        keep.let_go();
        let text = text(&dir);
        assert!(text.starts_with("line 0\nline 1\n"));
        assert!(text.ends_with("line 99998\nline 99999\n"));
        assert!(text.len() < 18_000, "{}", text.len());
        let kept = text.len() - text.lines().filter(|l| l.starts_with("=== ")).map(|l| l.len() + 1).sum::<usize>();
        let said: u64 = text
            .lines()
            .find_map(|line| line.strip_prefix("=== TRUNCATED: ")?.split(' ').next()?.parse().ok())
            .unwrap();
        // One newline may have been added before each mark.
        let counted = said + kept as u64;
        assert!(counted >= keep.printed && counted <= keep.printed + 2, "{counted} of {}", keep.printed);
    }

    #[test]
    fn one_long_line_is_no_different() {
        let (dir, mut keep) = keep(8192);
        for _ in 0..1000 {
            keep.take(&[b'x'; 65_536]);
        }
        keep.take(b"the end");
        keep.let_go();
        assert!(text(&dir).ends_with("xthe end"));
        assert!(text(&dir).len() < 9_000);
        assert_eq!(String::from_utf8_lossy(&keep.recent).len(), RECENT_MAX);
        assert!(keep.tail.is_empty() && keep.buffer_is_small());
    }

    impl Keep {
        fn buffer_is_small(&self) -> bool {
            self.tail.capacity() <= 2 * self.tail_max && self.recent.capacity() <= 4 * RECENT_MAX
        }
    }
}
