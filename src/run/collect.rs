//! The child that looks for artifacts: it has become the job's user, so that whatever stands in the
//! workspace is read with no more rights than the steps had. It prints what it finds as frames; what of it
//! is kept is decided by the supervisor (`artifacts`), which believes none of it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::model::glob;
use crate::sys::files::{self, Kind};

/// The word in argv behind `supervise` that makes a process this child.
pub const COLLECT: &str = "--collect";
/// Entries of the workspace that are looked at; more means that the globs are too wide.
const LOOK_MAX: usize = 2_000_000;
/// Bytes of one frame.
pub const FRAME_MAX: usize = 128 << 10;

/// What is passed on. Each is its letter, the length of what follows as four bytes, and that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A file begins: its path.
    Begin(String),
    Data(Vec<u8>),
    /// The file has ended.
    End,
    /// A line for the log.
    Note(String),
    /// It cannot go on; a text for people.
    Failed(String),
    /// All is told.
    Done,
}

impl Frame {
    fn parts(&self) -> (u8, &[u8]) {
        match self {
            Self::Begin(path) => (b'f', path.as_bytes()),
            Self::Data(bytes) => (b'd', bytes),
            Self::End => (b'e', &[]),
            Self::Note(text) => (b'n', text.as_bytes()),
            Self::Failed(text) => (b'x', text.as_bytes()),
            Self::Done => (b'.', &[]),
        }
    }

    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let (letter, bytes) = self.parts();
        to.write_all(&[letter])?;
        to.write_all(&u32::try_from(bytes.len()).map_err(io::Error::other)?.to_le_bytes())?;
        to.write_all(bytes)
    }

    /// The next one.
    ///
    /// # Errors
    /// If the stream ends or makes no sense.
    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "its words make no sense");
        let (mut letter, mut length) = ([0], [0; 4]);
        from.read_exact(&mut letter)?;
        from.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_le_bytes(length)).map_err(io::Error::other)?;
        if length > FRAME_MAX {
            return Err(bad());
        }
        let mut bytes = vec![0; length];
        from.read_exact(&mut bytes)?;
        let text = |bytes| String::from_utf8(bytes).map_err(|_| bad());
        Ok(match letter {
            [b'f'] => Self::Begin(text(bytes)?),
            [b'd'] => Self::Data(bytes),
            [b'e'] => Self::End,
            [b'n'] => Self::Note(text(bytes)?),
            [b'x'] => Self::Failed(text(bytes)?),
            [b'.'] => Self::Done,
            _ => return Err(bad()),
        })
    }
}

/// The child: `supervise --collect WORK ARTIFACTS GLOB…`; frames go to standard output.
///
/// # Errors
/// If nobody listens any more.
pub fn child(arguments: &[OsString]) -> io::Result<()> {
    let mut out = io::BufWriter::with_capacity(FRAME_MAX, io::stdout().lock());
    let [work, artifacts, globs @ ..] = arguments else { return Err(io::ErrorKind::InvalidInput.into()) };
    let globs: Vec<String> = globs.iter().map(|glob| glob.to_string_lossy().into_owned()).collect();
    let last = match tell(Path::new(work), Path::new(artifacts), &globs, &mut out)? {
        Ok(()) => Frame::Done,
        Err(why) => Frame::Failed(why.chars().take(4000).collect()),
    };
    last.write(&mut out)?;
    out.flush()
}

/// The outer error: nobody listens. The inner one: a text for people.
fn tell(work: &Path, artifacts: &Path, globs: &[String], out: &mut impl Write) -> io::Result<Result<(), String>> {
    let from_globs = match globs {
        [] => Vec::new(),
        _ => match found_below(work, &|path| matches(globs, path)) {
            Ok(found) => found,
            Err(why) => return Ok(Err(why)),
        },
    };
    for glob in globs.iter().filter(|glob| !glob.starts_with('!')) {
        let alone = [glob.clone()];
        if !from_globs.iter().any(|path| matches(&alone, path)) {
            Frame::Note(format!("artifacts: nothing matches \"{glob}\"")).write(out)?;
        }
    }
    let from_dir = match found_below(artifacts, &|_| true) {
        Ok(found) => found,
        Err(why) => return Ok(Err(why)),
    };
    let sources = from_globs.iter().map(|path| (work, path)).chain(from_dir.iter().map(|path| (artifacts, path)));
    for (base, path) in sources {
        let Some(name) = path.to_str() else { return Ok(Err(format!("artifact {path:?}: its name is no plain text"))) };
        let opened = files::open_dir(base).and_then(|dir| files::open_beneath(&dir, path, false));
        match opened {
            Ok(file) => {
                Frame::Begin(name.to_owned()).write(out)?;
                if let Err(error) = pass_on(file, out)? {
                    return Ok(Err(format!("artifact {}: {error}", name.escape_debug())));
                }
                Frame::End.write(out)?;
            }
            Err(error) => return Ok(Err(format!("artifact {}: {error}", name.escape_debug()))),
        }
    }
    Ok(Ok(()))
}

fn pass_on(mut file: File, out: &mut impl Write) -> io::Result<io::Result<()>> {
    loop {
        let mut bytes = vec![0; FRAME_MAX];
        match file.read(&mut bytes) {
            Ok(0) => return Ok(Ok(())),
            Ok(read) => {
                bytes.truncate(read);
                Frame::Data(bytes).write(out)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Err(error)),
        }
    }
}

fn matches(globs: &[String], path: &Path) -> bool {
    path.to_str().is_some_and(|path| glob::list_matches(globs, path))
}

/// Plain files below `base` whose path is wanted; `.git` and what links point to are not looked at.
fn found_below(base: &Path, wanted: &dyn Fn(&Path) -> bool) -> Result<Vec<PathBuf>, String> {
    let unread = |error: io::Error| format!("artifacts cannot be looked for: {error}");
    let dir = match files::open_dir(base) {
        Ok(dir) => dir,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unread(error)),
    };
    let (mut found, mut open, mut looked) = (Vec::new(), vec![PathBuf::new()], 0_usize);
    while let Some(at) = open.pop() {
        for entry in files::entries(&dir, &at).map_err(unread)? {
            looked += 1;
            if looked > LOOK_MAX {
                return Err(format!("artifacts: the workspace has more than {LOOK_MAX} files; give plain paths"));
            }
            match entry.kind {
                Kind::Dir if entry.path == Path::new(".git") => {}
                Kind::Dir => open.push(entry.path),
                Kind::File if wanted(&entry.path) => found.push(entry.path),
                Kind::File | Kind::Other => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_back_and_nonsense_is_refused() {
        let frames =
            [Frame::Begin("a/b".into()), Frame::Data(vec![0, 255]), Frame::End, Frame::Note("n".into()), Frame::Done];
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.write(&mut bytes).unwrap());
        let mut from = bytes.as_slice();
        for frame in &frames {
            assert_eq!(Frame::read(&mut from).unwrap(), *frame);
        }
        assert!(Frame::read(&mut from).is_err(), "it has ended");
        for bad in [&b"z\0\0\0\0"[..], b"d\xff\xff\xff\xff", b"f\x01\0\0\0\xff", b"d\x05\0\0\0abc"] {
            assert!(Frame::read(&mut &bad[..]).is_err(), "{bad:?}");
        }
    }
}
