//! The schema's history: one file each, append-only, applied in order and each in a transaction of
//! its own. `PRAGMA user_version` says how many a database has had.

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations};

/// Name and text of every migration, oldest first.
pub const ALL: &[(&str, &str)] = &[
    ("0001_initial", include_str!("migrations/0001_initial.sql")),
    ("0002_clock", include_str!("migrations/0002_clock.sql")),
    ("0003_clock_ahead", include_str!("migrations/0003_clock_ahead.sql")),
    ("0004_hooks", include_str!("migrations/0004_hooks.sql")),
    ("0005_masked", include_str!("migrations/0005_masked.sql")),
    ("0006_usage", include_str!("migrations/0006_usage.sql")),
    ("0007_telling", include_str!("migrations/0007_telling.sql")),
    ("0008_signed", include_str!("migrations/0008_signed.sql")),
    ("0009_pulled", include_str!("migrations/0009_pulled.sql")),
    ("0010_readers", include_str!("migrations/0010_readers.sql")),
    ("0011_signed_votes", include_str!("migrations/0011_signed_votes.sql")),
    ("0012_retention", include_str!("migrations/0012_retention.sql")),
    ("0013_codes", include_str!("migrations/0013_codes.sql")),
];

/// How many there are: the schema that this Shipbell knows.
#[must_use]
pub fn known() -> u32 {
    u32::try_from(ALL.len()).unwrap_or(u32::MAX)
}

/// Brings a database up to date.
pub(super) fn apply(db: &mut Connection) -> Result<(), rusqlite_migration::Error> {
    Migrations::new(ALL.iter().map(|(_, sql)| M::up(sql).foreign_key_check()).collect()).to_latest(db)
}
