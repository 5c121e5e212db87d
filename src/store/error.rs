//! What can go wrong with the database, told to who has to mend it.

use std::path::{Path, PathBuf};

use rusqlite::{ErrorCode, ffi};

/// Why the database cannot be used. The daemon ends with exit code 78.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "{}: written by a newer Shipbell (its schema is {found}, this one knows {known})\n\
         install that version again, or put the backup in its place that was made before the upgrade",
        path.display()
    )]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error(
        "{}: not to be read as Shipbell's database: {why}\n\
         it was not touched; move it away and put the newest backup in its place",
        path.display()
    )]
    Unreadable { path: PathBuf, why: String },
    /// It is ours, and SQLite finds it damaged.
    #[error(
        "{}: the database is damaged: {why}\n\
         it was not touched, and nothing is started until another one is in its place:\n  \
         systemctl stop shipbell\n  mkdir {dir}/damaged && mv {}* {dir}/damaged/\n  cp {} {}\n  \
         systemctl start shipbell\n\
         what was recorded since that copy is lost; runs are numbered on from their directories",
        path.display(), path.display(), backup.display(), path.display(),
        dir = path.parent().unwrap_or(path).display()
    )]
    Damaged { path: PathBuf, why: String, backup: PathBuf },
    #[error("{}: its disk failed: {why}\nlook after the disk (dmesg, smartctl); nothing is recorded until it writes", path.display())]
    Disk { path: PathBuf, why: String },
    #[error("{}: {why}\nthe file and its directory must belong to the user that runs shipbell", path.display())]
    Denied { path: PathBuf, why: String },
    #[error("{}: no space left on its disk\nmake room there, then start again", path.display())]
    Full { path: PathBuf },
    #[error("{}: another process is writing to it\nend that process, then start again", path.display())]
    Busy { path: PathBuf },
}

impl OpenError {
    pub(super) fn damaged(path: &Path, why: String) -> Self {
        Self::Damaged { path: path.to_owned(), why, backup: newest_backup(path) }
    }

    pub(super) fn new(path: &Path, error: &rusqlite::Error) -> Self {
        let (path, why) = (path.to_owned(), error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::DatabaseCorrupt) => Self::damaged(&path, why),
            Some(ErrorCode::SystemIoFailure) => Self::Disk { path, why },
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                Self::Denied { path, why }
            }
            _ => Self::Unreadable { path, why },
        }
    }
}

/// The copy to go back to: by their names the newest is the last.
fn newest_backup(database: &Path) -> PathBuf {
    let dir = database.with_file_name("backup");
    let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let copies = entries.filter(|path| path.extension().is_some_and(|extension| extension == "db"));
    copies.max().unwrap_or_else(|| dir.join("shipbell-DATE.db"))
}

/// Why something was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database's disk is full")]
    Full,
    /// A constraint or trigger held: what was to be written would have broken a promise.
    #[error("the database refuses it: {0}")]
    Refused(String),
    /// The disk lost a write, or the file is damaged. Nobody knows what is on it: to try again from here could
    /// only make a success of that.
    #[error("the database's disk failed, or the file is damaged: {0}")]
    Lost(String),
    #[error("the database cannot be read or written: {0}")]
    Failed(String),
}

/// Of SQLite's troubles with files those after which a write is in doubt; a full disk also shows as some of
/// the others.
const IN_DOUBT: [std::ffi::c_int; 5] = [
    ffi::SQLITE_IOERR_FSYNC,
    ffi::SQLITE_IOERR_DIR_FSYNC,
    ffi::SQLITE_IOERR_WRITE,
    ffi::SQLITE_IOERR_READ,
    ffi::SQLITE_IOERR_TRUNCATE,
];

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ConstraintViolation) => Self::Refused(error.to_string()),
            Some(ErrorCode::DatabaseCorrupt) => Self::Lost(error.to_string()),
            Some(ErrorCode::SystemIoFailure)
                if error.sqlite_error().is_some_and(|error| IN_DOUBT.contains(&error.extended_code)) =>
            {
                Self::Lost(error.to_string())
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}
