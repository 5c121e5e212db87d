//! How the database is opened, and when it is not: a file that is no database, is damaged, is another
//! program's or a newer Shipbell's is left as it is.

use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use rusqlite_migration::{Error as MigrationError, MigrationDefinitionError};

use crate::model::job::hex;
use crate::store::migrations;
use crate::store::sql::{execute, first, rows};
use crate::store::{OpenError, StoreError};

/// `PRAGMA application_id` of our files, "Bell"; the first migration sets it.
const APPLICATION: i32 = 0x4265_6c6c;

/// How long we wait for another process, such as a sysadmin's `sqlite3`, to end its transaction.
const BUSY: Duration = Duration::from_secs(5);

/// Pages copied at one time by a backup; between two of them the writer goes on.
const BACKUP_PAGES: i32 = 1024;

const READ_ONLY: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// Opens for writing, checks, and brings up to date.
pub fn writer(path: &Path) -> Result<Connection, OpenError> {
    look(path)?;
    let failed = |error: rusqlite::Error| OpenError::new(path, &error);
    let known = path.exists() && is_recognised(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags).map_err(failed)?;
    db.busy_timeout(BUSY).map_err(failed)?;
    if !known {
        recognise(&db, path)?;
    }
    settings(&db).map_err(failed)?;
    migrations::apply(&mut db).map_err(|error| migration_failed(path, error))?;
    Ok(db)
}

/// Looks at a file only to read it: switching to WAL would already alter a foreign one, and who may write
/// takes a journal into a damaged one. False: it was cut off before it had a WAL, and who may not write
/// cannot undo that.
fn is_recognised(path: &Path) -> Result<bool, OpenError> {
    let failed = |error: rusqlite::Error| OpenError::new(path, &error);
    let db = Connection::open_with_flags(path, READ_ONLY).map_err(failed)?;
    db.busy_timeout(BUSY).map_err(failed)?;
    match first(&db, "SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0)) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) => Ok(false),
        _ => recognise(&db, path).map(|()| true),
    }
}

/// What the file system says; clearer than SQLite's own words.
fn look(path: &Path) -> Result<(), OpenError> {
    let denied = |why: String| OpenError::Denied { path: path.to_owned(), why };
    match std::fs::File::open(path) {
        Ok(file) => match file.metadata() {
            Ok(metadata) if metadata.is_dir() => {
                Err(OpenError::Unreadable { path: path.to_owned(), why: "it is a directory".into() })
            }
            Ok(metadata) if metadata.permissions().readonly() => Err(denied("it is read-only".into())),
            _ => Ok(()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
                Err(denied(format!("there is no directory {}", parent.display())))
            }
            _ => Ok(()),
        },
        Err(error) => Err(denied(error.to_string())),
    }
}

/// Whether it is ours (or empty), whole, and not newer than we are.
fn recognise(db: &Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| OpenError::new(path, &error);
    let unreadable = |why: String| OpenError::Unreadable { path: path.to_owned(), why };
    let number = |pragma: &str| db.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).map_err(failed);
    let tables = first(db, "SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0)).map_err(failed)?;
    if tables == Some(0) {
        return Ok(());
    }
    if number("application_id")? != i64::from(APPLICATION) {
        return Err(unreadable("it is a database of another program".into()));
    }
    let (found, known) = (number("user_version")?, migrations::known());
    if found > i64::from(known) {
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    quick_check(db).map_err(|why| OpenError::damaged(path, why))
}

fn settings(db: &Connection) -> rusqlite::Result<()> {
    // Readers never wait for the writer, nor it for them.
    db.pragma_update(None, "journal_mode", "wal")?;
    // "Recorded" means on disk: in WAL mode, anything less may lose the last commits when power fails.
    db.pragma_update(None, "synchronous", "full")?;
    db.pragma_update(None, "foreign_keys", true)?;
    // The file is data: no function or virtual table may be run by what it says.
    db.pragma_update(None, "trusted_schema", false)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn migration_failed(path: &Path, error: MigrationError) -> OpenError {
    match error {
        MigrationError::RusqliteError { err, .. } => OpenError::new(path, &err),
        MigrationError::MigrationDefinition(MigrationDefinitionError::DatabaseTooFarAhead) => {
            OpenError::Newer { path: path.to_owned(), found: u32::MAX, known: migrations::known() }
        }
        other => OpenError::Unreadable { path: path.to_owned(), why: other.to_string() },
    }
}

/// Opens for reading only.
pub fn reader(path: &Path) -> Result<Connection, StoreError> {
    let db = Connection::open_with_flags(path, READ_ONLY)?;
    db.busy_timeout(BUSY)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// The random text of this installation; made with the database.
pub fn nonce(db: &Connection) -> rusqlite::Result<String> {
    let read = || first(db, "SELECT value FROM meta WHERE key = 'nonce'", [], |row| row.get(0));
    if let Some(nonce) = read()? {
        return Ok(nonce);
    }
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let nonce = hex(&bytes);
    execute(db, "INSERT INTO meta (key, value) VALUES ('nonce', ?)", [&nonce])?;
    Ok(nonce)
}

/// What SQLite finds wrong, at most three findings.
pub fn quick_check(db: &Connection) -> Result<(), String> {
    let findings =
        rows(db, "PRAGMA quick_check(3)", [], |row| row.get::<_, String>(0)).map_err(|error| error.to_string())?;
    if findings.iter().all(|finding| finding == "ok") { Ok(()) } else { Err(findings.join("; ")) }
}

/// Copies page by page to a file beside the target, which then takes its name: nobody ever sees half a backup.
pub fn backup(db: &Connection, to: &Path) -> Result<(), StoreError> {
    let said = |error: io::Error| StoreError::Failed(format!("{}: {error}", to.display()));
    let mut name = to.as_os_str().to_owned();
    name.push(".part");
    let part = Path::new(&name);
    match std::fs::remove_file(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(said(error)),
        _ => {}
    }
    let mut copy = Connection::open(part)?;
    rusqlite::backup::Backup::new(db, &mut copy)?.run_to_completion(BACKUP_PAGES, Duration::ZERO, None)?;
    // One file, readable without a -wal beside it.
    copy.pragma_update(None, "journal_mode", "delete")?;
    quick_check(&copy).map_err(StoreError::Failed)?;
    copy.close().map_err(|(_, error)| error)?;
    std::fs::File::open(part).and_then(|file| file.sync_all()).map_err(said)?;
    std::fs::rename(part, to).map_err(said)
}
