//! What can go wrong with the database, told to who has to mend it.

use std::path::PathBuf;

/// Why the database cannot be used. The daemon ends with exit code 78 on all but `Busy`.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "{}: written by a newer Shipbell (schema {found}, this one knows {known})\n\
         install that version again, or restore the backup made before the upgrade", path.display()
    )]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error(
        "{}: cannot be read as Shipbell's database: {why}\n\
         nothing was changed; move it away and put the newest backup in its place", path.display()
    )]
    Unreadable { path: PathBuf, why: String },
    #[error("{}: {why}\ngive the file and its directory to the user that runs shipbell", path.display())]
    Denied { path: PathBuf, why: String },
    #[error("{}: no space left to open it\nmake room on that file system, then start again", path.display())]
    Full { path: PathBuf },
    #[error("{}: another process is writing to it\nend that process, then start again", path.display())]
    Busy { path: PathBuf },
}

/// Why something was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database's disk is full")]
    Full,
    /// A constraint or trigger refused it: a promise would have been broken.
    #[error("the database refused it: {0}")]
    Refused(String),
    #[error("the database says: {0}")]
    Other(String),
}
