//! A run's log, read by offset in its stream: from `log` and its segments while it grows, from `log.zst`
//! once it was compressed; a reader notices nothing of the change. Files are read as untrusted input.
//! What is missing is told in one line, with the number of bytes.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use crate::model::ticket::LOG;
use crate::run::stream::{TIMES, segment_name};
use crate::sys::files;

const COMPRESSED: &str = "log.zst";
/// An index is not longer.
const TIMES_MAX: u64 = 4 << 20;
/// Smaller logs stay as they are: a block of the disk is what they cost.
const WORTH_COMPRESSING: u64 = 32 << 10;
/// Bytes of the stream in one frame, which is read as a whole.
const FRAME: usize = 1 << 20;
/// No frame of ours is larger, however badly it compresses.
const FRAME_MAX: u32 = 2 << 20;
const LEVEL: i32 = 3;
/// A frame that programs for zstd skip: our index.
const SKIPPABLE: u32 = 0x184D_2A5E;
const MAGIC: &[u8; 8] = b"SBLOGIX1";
/// The number of entries and the magic, at the very end.
const TRAILER: usize = 4 + MAGIC.len();
const ENTRY: usize = 24;
const ENTRIES_MAX: u32 = 1 << 20;

/// The line that stands where something is missing.
#[must_use]
pub fn mark(missing: u64) -> Vec<u8> {
    format!("\n=== TRUNCATED: {missing} bytes of output are left out here (limits.log)\n").into_bytes()
}

/// At most `max` bytes from an offset on, and the offset to go on from: behind what is missing, where
/// something is. Nothing and the same offset: that is all there is now.
///
/// # Errors
/// If the log is there and cannot be read.
pub fn read(dir: &Path, from: u64, max: usize) -> io::Result<(Vec<u8>, u64)> {
    let dir = match files::open_dir(dir) {
        Ok(dir) => dir,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), from)),
        Err(error) => return Err(error),
    };
    let (mut bytes, mut at) = (Vec::new(), from);
    while bytes.len() < max {
        match piece(&dir, at, max - bytes.len())? {
            Piece::Bytes(piece) => {
                at = at.saturating_add(piece.len() as u64);
                bytes.extend(piece);
            }
            Piece::Missing { next } if bytes.is_empty() => return Ok((mark(next.saturating_sub(at)), next)),
            Piece::Missing { .. } | Piece::End => break,
        }
    }
    Ok((bytes, at))
}

enum Piece {
    Bytes(Vec<u8>),
    Missing { next: u64 },
    End,
}

/// A writer may take a segment away, or a compressor the lot, between our looks: then it is looked again.
fn piece(dir: &File, from: u64, max: usize) -> io::Result<Piece> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for _ in 0..100 {
        let found = match open(dir, LOG)? {
            Some(head) => of_plain(dir, head, from, max),
            None => match open(dir, COMPRESSED)? {
                Some(file) => return of_compressed(file, from, max),
                None => return Ok(Piece::End),
            },
        };
        match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => last = error,
            other => return other,
        }
    }
    Err(last)
}

fn open(dir: &File, name: &str) -> io::Result<Option<File>> {
    match files::open_beneath(dir, name.as_ref(), false) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_at(mut file: File, at: u64, max: usize) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    file.take(max as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn of_plain(dir: &File, head: File, from: u64, max: usize) -> io::Result<Piece> {
    if from < head.metadata()?.len() {
        return read_at(head, from, max).map(Piece::Bytes);
    }
    let segments = segments(dir)?;
    // Segments begin when the head is full: only now its length is its last.
    let end = head.metadata()?.len();
    if from < end {
        return read_at(head, from, max).map(Piece::Bytes);
    }
    if let Some(begin) = segments.iter().rfind(|begin| **begin <= from) {
        let file = files::open_beneath(dir, segment_name(*begin).as_ref(), false)?;
        let bytes = read_at(file, from - begin, max)?;
        return Ok(if bytes.is_empty() { Piece::End } else { Piece::Bytes(bytes) });
    }
    match segments.first() {
        Some(next) => Ok(Piece::Missing { next: *next }),
        None => Ok(Piece::End),
    }
}

/// Where segments begin, in order.
fn segments(dir: &File) -> io::Result<Vec<u64>> {
    let offset = |entry: files::Entry| entry.path.to_str()?.strip_prefix(LOG)?.strip_prefix('.')?.parse().ok();
    let mut found: Vec<u64> = files::entries(dir, Path::new(""))?.into_iter().filter_map(offset).collect();
    found.sort_unstable();
    Ok(found)
}

/// Which byte came when, as the stream wrote it down: offset and milliseconds since 1970, in order. Lines that
/// make no sense are passed over; what came within the first second has none.
///
/// # Errors
/// If it is there and cannot be read.
pub fn times(dir: &Path) -> io::Result<Vec<(u64, i64)>> {
    let found = files::open_dir(dir).and_then(|dir| files::open_beneath(&dir, TIMES.as_ref(), false));
    let file = match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut text = Vec::new();
    file.take(TIMES_MAX).read_to_end(&mut text)?;
    let mut found: Vec<(u64, i64)> = Vec::new();
    for line in String::from_utf8_lossy(&text).split_inclusive('\n') {
        let words = line.strip_suffix('\n').and_then(|line| line.split_once(' '));
        let entry = words.and_then(|(offset, at)| Some((offset.parse().ok()?, at.parse().ok()?)));
        found.extend(entry.filter(|(offset, _)| found.last().is_none_or(|(last, _)| last < offset)));
    }
    Ok(found)
}

/// One frame: where its bytes stand in the stream, and where it stands in the file.
#[derive(Debug, Clone, Copy)]
struct Frame {
    stream: u64,
    length: u32,
    file: u64,
    size: u32,
}

fn of_compressed(file: File, from: u64, max: usize) -> io::Result<Piece> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, format!("{COMPRESSED} is damaged"));
    let frames = index(&file)?.ok_or_else(bad)?;
    let Some(frame) = frames.iter().find(|frame| frame.stream.saturating_add(u64::from(frame.length)) > from) else {
        return Ok(Piece::End);
    };
    if frame.stream > from {
        return Ok(Piece::Missing { next: frame.stream });
    }
    let packed = read_at(file, frame.file, frame.size as usize)?;
    let bytes = zstd::bulk::decompress(&packed, frame.length as usize)?;
    let begin = usize::try_from(from - frame.stream).map_err(|_| bad())?;
    let bytes = bytes.get(begin..).ok_or_else(bad)?;
    let bytes = bytes.get(..max.min(bytes.len())).unwrap_or_default().to_vec();
    if bytes.is_empty() { Err(bad()) } else { Ok(Piece::Bytes(bytes)) }
}

/// The frames by the index at the file's end; `None`: there is none, or it makes no sense.
fn index(file: &File) -> io::Result<Option<Vec<Frame>>> {
    let size = file.metadata()?.len();
    let Some(at) = size.checked_sub(TRAILER as u64) else { return Ok(None) };
    let end = read_at(file.try_clone()?, at, TRAILER)?;
    let Some((count, magic)) = end.split_first_chunk::<4>() else { return Ok(None) };
    let count = u32::from_le_bytes(*count);
    if magic != MAGIC || count > ENTRIES_MAX {
        return Ok(None);
    }
    let bytes = count as usize * ENTRY;
    let Some(at) = at.checked_sub(bytes as u64) else { return Ok(None) };
    let entries = read_at(file.try_clone()?, at, bytes)?;
    let frames = entries.chunks_exact(ENTRY).map(Frame::read);
    let frames: Option<Vec<Frame>> = frames.collect();
    Ok(frames.filter(|frames| frames.len() == count as usize))
}

impl Frame {
    fn read(entry: &[u8]) -> Option<Self> {
        let (stream, rest) = entry.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (file, rest) = rest.split_first_chunk::<8>()?;
        let (size, _) = rest.split_first_chunk::<4>()?;
        let frame = Self {
            stream: u64::from_le_bytes(*stream),
            length: u32::from_le_bytes(*length),
            file: u64::from_le_bytes(*file),
            size: u32::from_le_bytes(*size),
        };
        (frame.length as usize <= FRAME && frame.size <= FRAME_MAX).then_some(frame)
    }

    fn write(self, to: &mut Vec<u8>) {
        to.extend(self.stream.to_le_bytes());
        to.extend(self.length.to_le_bytes());
        to.extend(self.file.to_le_bytes());
        to.extend(self.size.to_le_bytes());
    }
}

/// Compresses the log of an attempt that is over, and has it on the disk. It can be interrupted at any time and called again;
/// `zstdcat log.zst` prints all of it, with one line where something is missing.
///
/// # Errors
/// If a file cannot be read or written; what was there is there.
pub fn compress(dir: &Path) -> io::Result<()> {
    let opened = match files::open_dir(dir) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let segments = segments(&opened)?;
    match open(&opened, LOG)? {
        Some(head) if !segments.is_empty() || head.metadata()?.len() >= WORTH_COMPRESSING => {
            let new = dir.join(format!("{COMPRESSED}.new"));
            let mut to = Packer { file: create(&new)?, at: 0, frames: Vec::new(), end: 0 };
            to.take(0, head)?;
            for begin in &segments {
                to.take(*begin, files::open_beneath(&opened, segment_name(*begin).as_ref(), false)?)?;
            }
            to.finish()?;
            std::fs::rename(&new, dir.join(COMPRESSED))?;
            files::sync_dir(dir)?;
        }
        Some(small) => return small.sync_data(),
        None => {}
    }
    // The head first: a reader that does not find it looks at the compressed one.
    for name in std::iter::once(LOG.to_owned()).chain(segments.into_iter().map(segment_name)) {
        match std::fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn create(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options().write(true).create(true).truncate(true).mode(0o640).open(path)
}

struct Packer {
    file: File,
    at: u64,
    frames: Vec<Frame>,
    /// Where the stream goes on.
    end: u64,
}

impl Packer {
    fn take(&mut self, begin: u64, mut from: File) -> io::Result<()> {
        if begin > self.end {
            // For whoever reads the file without us.
            let packed = zstd::bulk::compress(&mark(begin - self.end), LEVEL)?;
            self.write(&packed)?;
        }
        let mut stream = begin;
        loop {
            let mut bytes = Vec::new();
            Read::by_ref(&mut from).take(FRAME as u64).read_to_end(&mut bytes)?;
            if bytes.is_empty() {
                self.end = stream;
                return Ok(());
            }
            let packed = zstd::bulk::compress(&bytes, LEVEL)?;
            let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
            let size = u32::try_from(packed.len()).map_err(io::Error::other)?;
            self.frames.push(Frame { stream, length, file: self.at, size });
            self.write(&packed)?;
            stream += u64::from(length);
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        let mut index = Vec::new();
        self.frames.iter().for_each(|frame| frame.write(&mut index));
        index.extend(u32::try_from(self.frames.len()).map_err(io::Error::other)?.to_le_bytes());
        index.extend_from_slice(MAGIC);
        let size = u32::try_from(index.len()).map_err(io::Error::other)?;
        let head = [SKIPPABLE.to_le_bytes(), size.to_le_bytes()].concat();
        self.write(&head)?;
        self.write(&index)?;
        self.file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::stream::Stream;

    fn all(dir: &Path, step: usize) -> Vec<u8> {
        let (mut text, mut at) = (Vec::new(), 0);
        loop {
            let (bytes, next) = read(dir, at, step).unwrap();
            if next == at {
                return text;
            }
            text.extend(bytes);
            at = next;
        }
    }

    #[test]
    fn compression_changes_nothing_for_readers() {
        for (limit, lines) in [(64 << 20, 300_000), (200_000, 100_000), (64 << 20, 10), (64 << 20, 0)] {
            let dir = tempfile::tempdir().unwrap();
            let mut stream = Stream::begin(dir.path(), limit).unwrap();
            let text: String = (0..lines).map(|n| format!("line {n} of many\n")).collect();
            text.as_bytes().chunks(50_000).for_each(|piece| stream.put(piece));
            let before = all(dir.path(), 100_000);
            assert_eq!(limit < text.len() as u64, before != text.as_bytes(), "{limit}");
            compress(dir.path()).unwrap();
            assert_eq!(dir.path().join(COMPRESSED).exists(), text.len() as u64 >= WORTH_COMPRESSING);
            assert_eq!(dir.path().join(LOG).exists(), (text.len() as u64) < WORTH_COMPRESSING);
            assert!(all(dir.path(), 100_000) == before, "{limit} {lines}");
            assert!(all(dir.path(), 4_000_000) == before, "{limit} {lines}");
            compress(dir.path()).unwrap();
            assert!(all(dir.path(), 77_777) == before, "twice is once");
        }
    }

    #[test]
    fn other_programs_read_it_and_say_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let mut stream = Stream::begin(dir.path(), 200_000).unwrap();
        (0..100_000).for_each(|n| stream.put(format!("line {n}\n").as_bytes()));
        let before = all(dir.path(), 100_000);
        compress(dir.path()).unwrap();
        let packed = std::fs::read(dir.path().join(COMPRESSED)).unwrap();
        assert!(zstd::stream::decode_all(packed.as_slice()).unwrap() == before);
        let text = String::from_utf8(before).unwrap();
        assert_eq!(text.matches("=== TRUNCATED: ").count(), 1);
    }

    #[test]
    fn times_are_read_in_order_and_nonsense_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(times(dir.path()).unwrap(), []);
        std::fs::write(dir.path().join(TIMES), "10 1000\n40 2000\nx y\n30 2500\n\n50 \n60 -1\n70 4000\n80 50").unwrap();
        assert_eq!(times(dir.path()).unwrap(), [(10, 1000), (40, 2000), (60, -1), (70, 4000)], "the last one is cut");
        assert_eq!(times(&dir.path().join("none")).unwrap(), []);
    }

    #[test]
    fn a_damaged_file_is_an_error_and_no_panic() {
        let dir = tempfile::tempdir().unwrap();
        let mut stream = Stream::begin(dir.path(), 64 << 20).unwrap();
        (0..10_000).for_each(|n| stream.put(format!("line {n}\n").as_bytes()));
        compress(dir.path()).unwrap();
        let path = dir.path().join(COMPRESSED);
        let good = std::fs::read(&path).unwrap();
        for at in (0..good.len()).rev().take(200) {
            let mut bad = good.clone();
            bad[at] ^= 0x55;
            std::fs::write(&path, &bad).unwrap();
            let _ = read(dir.path(), 0, 1 << 20);
        }
        for length in [0, 3, 12, good.len() / 2] {
            std::fs::write(&path, &good[..length]).unwrap();
            assert!(read(dir.path(), 0, 10).is_err(), "{length}");
        }
    }
}
