//! `$SHIPBELL_OUTPUT`: lines KEY=VALUE that a run hands to everything downstream. Read after each step;
//! a later value replaces an earlier one. A line that is none fails the step that wrote it.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use crate::run::env::Places;
use crate::sys::files;

const FILE_MAX: u64 = 4 << 20;
const VALUE_MAX: usize = 64 << 10;
const KEYS_MAX: usize = 1000;

/// What was read so far.
#[derive(Debug, Default)]
pub struct Outputs {
    offset: u64,
    values: BTreeMap<String, String>,
}

impl Outputs {
    /// What the last step added or changed, in the order of writing.
    ///
    /// # Errors
    /// A text for people about the first bad line; what stands before it counts.
    pub fn read_new(&mut self, places: &Places) -> (Vec<(String, String)>, Result<(), String>) {
        let text = match self.new_text(places) {
            Ok(text) => text,
            Err(why) => return (Vec::new(), Err(why)),
        };
        let mut new = Vec::new();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let (key, value) = match parse(line) {
                Ok(pair) => pair,
                Err(why) => return (new, Err(why)),
            };
            self.values.insert(key.clone(), value.clone());
            if self.values.len() > KEYS_MAX {
                return (new, Err(format!("$SHIPBELL_OUTPUT has more than {KEYS_MAX} keys")));
            }
            new.push((key, value));
        }
        (new, Ok(()))
    }

    fn new_text(&mut self, places: &Places) -> Result<Vec<u8>, String> {
        let unread = |error: io::Error| format!("$SHIPBELL_OUTPUT could not be read: {error}");
        let name = places.output.file_name().unwrap_or_default();
        let opened = files::open_dir(&places.out).and_then(|dir| files::open_beneath(&dir, name.as_ref(), false));
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(unread(error)),
        };
        let length = file.metadata().map_err(unread)?.len();
        if length > FILE_MAX {
            return Err(format!("$SHIPBELL_OUTPUT has {length} bytes; at most {FILE_MAX} are read"));
        }
        // A step wrote it anew (`>`): all of it is new.
        if length < self.offset {
            self.offset = 0;
        }
        file.seek(SeekFrom::Start(self.offset)).map_err(unread)?;
        let mut text = Vec::new();
        file.take(FILE_MAX).read_to_end(&mut text).map_err(unread)?;
        self.offset = self.offset.saturating_add(text.len() as u64);
        Ok(text)
    }
}

fn parse(line: &[u8]) -> Result<(String, String), String> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let shown: String = String::from_utf8_lossy(line).chars().take(60).flat_map(char::escape_default).collect();
    let bad = |why: &str| Err(format!("$SHIPBELL_OUTPUT, line `{shown}`: {why}\nIts lines are KEY=VALUE"));
    let Ok(text) = std::str::from_utf8(line) else { return bad("it is not UTF-8") };
    let Some((key, value)) = text.split_once('=') else { return bad("there is no = in it") };
    let mut bytes = key.bytes();
    let first = bytes.next().is_some_and(|c| c.is_ascii_alphabetic() || c == b'_');
    if !first || !bytes.all(|c| c.is_ascii_alphanumeric() || c == b'_') {
        return bad("a key is a letter or _, then letters, digits and _");
    }
    if value.len() > VALUE_MAX {
        return bad("a value has at most 64 KiB");
    }
    if value.contains('\0') {
        return bad("a value has no NUL in it");
    }
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_checked() {
        for (line, expected) in [
            ("image=sha256:1", Some(("image", "sha256:1"))),
            ("_A1=", Some(("_A1", ""))),
            ("A=b=c ", Some(("A", "b=c "))),
            ("A=b\r", Some(("A", "b"))),
            ("1A=b", None),
            ("A-B=c", None),
            ("no", None),
            ("=b", None),
            ("A=\0", None),
        ] {
            let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
            assert_eq!(parse(line.as_bytes()).ok(), expected, "{line:?}");
        }
        assert!(parse(b"A=\xff").unwrap_err().contains("UTF-8"));
        assert!(parse(&[b"A=".as_slice(), &vec![b'x'; VALUE_MAX + 1]].concat()).is_err());
    }

    #[test]
    fn only_what_is_new_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::of(dir.path());
        std::fs::create_dir(&places.out).unwrap();
        let mut outputs = Outputs::default();
        assert_eq!(outputs.read_new(&places), (vec![], Ok(())));
        std::fs::write(&places.output, "A=1\n\nB=2").unwrap();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(outputs.read_new(&places).0, vec![pair("A", "1"), pair("B", "2")]);
        assert_eq!(outputs.read_new(&places).0, vec![]);
        std::fs::write(&places.output, "C=3\n").unwrap();
        assert_eq!(outputs.read_new(&places).0, vec![pair("C", "3")]);
        std::fs::write(&places.output, "C=3\nD=4\nbad\nE=5\n").unwrap();
        let (new, result) = outputs.read_new(&places);
        assert_eq!(new, vec![pair("D", "4")]);
        assert!(result.unwrap_err().contains("line `bad`"));
    }
}
