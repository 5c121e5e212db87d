//! The schema's history: every migration is applied to a database that holds rows of the version
//! before it, and what would fail on a sysadmin's filled database is refused here.

use std::path::Path;

use rusqlite::Connection;
use shipbell::store::Store;
use shipbell::store::migrations::ALL;

/// Rows as that version may have written them; a new migration brings its own file.
fn sample(name: &str) -> String {
    let path = format!("{}/tests/data/migrations/{name}.sql", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}: every migration has sample rows"))
}

fn rows_of(db: &Connection) -> Vec<(String, i64)> {
    let mut tables =
        db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").unwrap();
    let names: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let count = |name: &String| db.query_row(&format!("SELECT count(*) FROM {name}"), [], |row| row.get(0)).unwrap();
    names.iter().map(|name| (name.clone(), count(name))).collect()
}

/// A database of version `ALL[..=at]`, with the sample rows of every version on the way.
fn filled(path: &Path, at: usize) {
    let mut db = Connection::open(path).unwrap();
    for (done, (name, sql)) in (1..).zip(&ALL[..=at]) {
        let transaction = db.transaction().unwrap();
        transaction.execute_batch(sql).unwrap_or_else(|error| panic!("{name}: {error}"));
        transaction.execute_batch(&sample(name)).unwrap_or_else(|error| panic!("sample of {name}: {error}"));
        transaction.pragma_update(None, "user_version", done).unwrap();
        transaction.commit().unwrap();
    }
}

#[test]
fn every_version_with_rows_in_it_becomes_the_newest() {
    for (at, (version, _)) in ALL.iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shipbell.db");
        filled(&path, at);
        let before = rows_of(&Connection::open(&path).unwrap());
        let store = Store::open(&path).unwrap_or_else(|error| panic!("from {version}: {error}"));
        let world = store.load().unwrap();
        assert!(!world.live.is_empty() && world.last_request > 0, "the sample rows are read");
        store.quick_check().unwrap();
        drop(store);
        let after = rows_of(&Connection::open(&path).unwrap());
        for (table, count) in before {
            let now = after.iter().find(|(name, _)| *name == table).map_or(0, |(_, count)| *count);
            assert!(now >= count, "{table} lost rows");
        }
    }
}

/// A sample that leaves a table empty proves nothing for it.
#[test]
fn the_samples_fill_every_table() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shipbell.db");
    filled(&path, ALL.len() - 1);
    let empty: Vec<_> =
        rows_of(&Connection::open(&path).unwrap()).into_iter().filter(|(_, count)| *count == 0).collect();
    assert!(empty.is_empty(), "no sample rows: {empty:?}");
}

/// What of a migration cannot be applied to filled tables, or is not readable for a sysadmin.
fn faults(at: usize, sql: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut comment = false;
    for line in sql.lines().map(str::trim) {
        let upper = line.to_uppercase();
        if upper.contains("ADD COLUMN") && upper.contains("NOT NULL") && !upper.contains("DEFAULT") {
            found.push(format!("`{line}`: NOT NULL needs a DEFAULT, the table has rows"));
        }
        if at > 0 && upper.starts_with("DROP ") {
            found.push(format!("`{line}`: an older Shipbell's backup must stay readable; leave it"));
        }
        if upper.starts_with("CREATE TABLE") && !comment {
            found.push(format!("`{line}`: say in a comment above what its rows are"));
        }
        comment = line.starts_with("--");
    }
    let tables = sql.matches("CREATE TABLE").count();
    if tables != sql.matches(") STRICT").count() {
        found.push("every table is STRICT".into());
    }
    found
}

#[test]
fn no_migration_can_fail_on_filled_tables() {
    for (at, (name, sql)) in ALL.iter().enumerate() {
        assert_eq!(faults(at, sql), Vec::<String>::new(), "{name}");
    }
    for bad in [
        "ALTER TABLE runs ADD COLUMN x TEXT NOT NULL;",
        "DROP TABLE runs;",
        "CREATE TABLE t (x TEXT) STRICT;",
        "-- Things.\nCREATE TABLE t (x TEXT);",
    ] {
        assert_eq!(faults(1, bad).len(), 1, "{bad}");
    }
    assert!(faults(1, "ALTER TABLE runs ADD COLUMN x TEXT NOT NULL DEFAULT '';").is_empty());
}

#[test]
fn names_count_up() {
    for (at, (name, _)) in (1..).zip(ALL) {
        assert!(name.starts_with(&format!("{at:04}_")), "{name} stands at place {at}");
    }
}
