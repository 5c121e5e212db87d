//! Whether a file may be followed: who could have written it, what kind of thing it is, how long.
//! A job file can do all that its users can, so it is judged as cron and sudo judge theirs.

use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use crate::config::Trust;
use crate::sys::files::changed_ago;
use crate::sys::host::user_name_of;

/// Longest job file.
pub const BYTES_MAX: u64 = 256 * 1024;
/// A file that was touched less long ago may be in the middle of being written; and twice the tick of the
/// clock that files are stamped by, so that a second change has a time of its own.
const STILL: Duration = Duration::from_millis(20);
/// So often a file that moves is looked at.
const TRIES: usize = 25;

/// Why a file is not followed.
#[derive(Debug)]
pub enum Refusal {
    Gone,
    Unreadable(String),
    /// It did not stand still long enough to be read as a whole.
    Moving,
    NoFile,
    TooLong,
    /// Others may write it.
    Mode(u32, u32, u32),
    Owner(u32, u32),
    /// Byte offset of the first byte that is no UTF-8.
    NoText(usize),
}

impl Refusal {
    /// The first line of the message.
    #[must_use]
    pub fn headline(&self, what: &str) -> String {
        match self {
            Self::Gone => format!("{what} is not there"),
            Self::Unreadable(error) => format!("{what} cannot be read: {error}"),
            Self::Moving => format!("{what} changes while it is read"),
            Self::NoFile => format!("refused: {what} is no regular file"),
            Self::TooLong => format!("refused: {what} is longer than 256 KiB"),
            Self::Mode(..) => {
                format!("refused: others may write {what}, and a job file can do all that its users can")
            }
            Self::Owner(..) => {
                format!("refused: {what} belongs to another user, and a job file can do all that its users can")
            }
            Self::NoText(at) => format!("{what} is no UTF-8 text (byte {at})"),
        }
    }

    /// What was found.
    #[must_use]
    pub fn fact(&self) -> String {
        match self {
            Self::Mode(mode, uid, gid) => {
                format!("mode {:04o}, owner {}:{}", mode & 0o7777, user_name_of(*uid), group_name_of(*gid))
            }
            Self::Owner(uid, gid) => format!("owner {}:{}", user_name_of(*uid), group_name_of(*gid)),
            _ => String::new(),
        }
    }

    /// What to do.
    #[must_use]
    pub fn notes(&self, path: &Path) -> Vec<String> {
        let path = path.display();
        match self {
            Self::Mode(mode, ..) => vec![format!("chmod {:04o} {path}", mode & 0o7755)],
            Self::Owner(..) => vec![format!("read it through, then: chown root {path}")],
            Self::TooLong => vec!["put long scripts into files of the repository and call them".into()],
            Self::Moving => {
                vec!["write a new version beside it and rename that into its place, then: shipbell reload".into()]
            }
            Self::NoFile => vec!["write a plain file in its place".into()],
            Self::NoText(_) => vec!["save it as UTF-8".into()],
            Self::Gone | Self::Unreadable(_) => Vec::new(),
        }
    }

    /// Whether the file stands there but may not be followed: its pipeline is off, whatever it once said.
    #[must_use]
    pub fn is_unsafe(&self) -> bool {
        matches!(self, Self::NoFile | Self::TooLong | Self::Mode(..) | Self::Owner(..))
    }
}

fn group_name_of(gid: u32) -> String {
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let of_line = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == gid.to_string()).then(|| name.to_owned())
    };
    groups.lines().find_map(of_line).unwrap_or_else(|| gid.to_string())
}

/// The text of a file. With `trust` its owner and mode are judged too; what was judged is what is read.
///
/// # Errors
/// Why it may not be followed.
pub fn read(path: &Path, trust: Option<&Trust>) -> Result<String, Refusal> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Refusal::Gone,
        _ => Refusal::Unreadable(error.to_string()),
    };
    // Looked at before it is opened: opening a pipe would wait for its writer.
    judge(&std::fs::metadata(path).map_err(unreadable)?, trust)?;
    if let Some(trust) = trust {
        let link = std::fs::symlink_metadata(path).map_err(unreadable)?;
        if !trust.owners.contains(&link.uid()) {
            return Err(Refusal::Owner(link.uid(), link.gid()));
        }
    }
    let mut bytes = None;
    for _ in 0..TRIES {
        let file = File::open(path).map_err(unreadable)?;
        judge(&file.metadata().map_err(unreadable)?, trust)?;
        bytes = read_still(&file).map_err(unreadable)?;
        if bytes.is_some() {
            break;
        }
    }
    let bytes = bytes.ok_or(Refusal::Moving)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(Refusal::TooLong);
    }
    String::from_utf8(bytes).map_err(|error| Refusal::NoText(error.utf8_error().valid_up_to()))
}

/// What an open file says, if nobody wrote to it meanwhile or just before: half of a new version, or half
/// of it over half of the old one, can be a job file too.
fn read_still(mut file: &File) -> std::io::Result<Option<Vec<u8>>> {
    let before = file.metadata()?;
    if changed_ago(&before) < STILL {
        // What is written from here on gets another time than this.
        std::thread::sleep(STILL);
    }
    let mut bytes = Vec::new();
    file.by_ref().take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    let after = file.metadata()?;
    let same =
        (before.size(), before.mtime(), before.mtime_nsec()) == (after.size(), after.mtime(), after.mtime_nsec());
    // Another file in its place takes its name away, and leaves what it says.
    let touched = (before.ctime(), before.ctime_nsec()) != (after.ctime(), after.ctime_nsec());
    Ok((same && (!touched || after.nlink() < before.nlink())).then_some(bytes))
}

fn judge(found: &Metadata, trust: Option<&Trust>) -> Result<(), Refusal> {
    if !found.is_file() {
        return Err(Refusal::NoFile);
    }
    if found.len() > BYTES_MAX {
        return Err(Refusal::TooLong);
    }
    let Some(trust) = trust else { return Ok(()) };
    if found.mode() & 0o022 != 0 {
        return Err(Refusal::Mode(found.mode(), found.uid(), found.gid()));
    }
    if !trust.owners.contains(&found.uid()) {
        return Err(Refusal::Owner(found.uid(), found.gid()));
    }
    Ok(())
}
