//! What can go wrong with the database, told to who has to mend it.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

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
    #[error("{}: {why}\nthe file and its directory must belong to the user that runs shipbell", path.display())]
    Denied { path: PathBuf, why: String },
    #[error("{}: no space left on its disk\nmake room there, then start again", path.display())]
    Full { path: PathBuf },
    #[error("{}: another process is writing to it\nend that process, then start again", path.display())]
    Busy { path: PathBuf },
}

impl OpenError {
    pub(super) fn new(path: &Path, error: &rusqlite::Error) -> Self {
        let (path, why) = (path.to_owned(), error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                Self::Denied { path, why }
            }
            _ => Self::Unreadable { path, why },
        }
    }
}

/// Why something was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database's disk is full")]
    Full,
    /// A constraint or trigger held: what was to be written would have broken a promise.
    #[error("the database refuses it: {0}")]
    Refused(String),
    #[error("the database cannot be read or written: {0}")]
    Failed(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ConstraintViolation) => Self::Refused(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}
