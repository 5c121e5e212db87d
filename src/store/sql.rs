//! How values become columns and come back: instants as milliseconds, words and names as text,
//! compound values as JSON. And the one way in which a row is written whole.

use std::error::Error;
use std::fmt::Display;
use std::str::FromStr;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Params, Row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::time::Timestamp;

fn bad(error: impl Into<Box<dyn Error + Send + Sync>>) -> FromSqlError {
    FromSqlError::Other(error.into())
}

/// An instant, in milliseconds since 1970.
pub struct Millis(pub Timestamp);

impl ToSql for Millis {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.as_millisecond().into())
    }
}

impl FromSql for Millis {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Timestamp::from_millisecond(value.as_i64()?).map(Self).map_err(bad)
    }
}

/// A count or number. What does not fit SQLite's signed integers (no real count) is cut to the highest.
pub struct Count(pub u64);

impl ToSql for Count {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(i64::try_from(self.0).unwrap_or(i64::MAX).into())
    }
}

impl FromSql for Count {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        u64::try_from(value.as_i64()?).map(Self).map_err(bad)
    }
}

/// A word, a name or a commit: anything that is read back from what it prints.
pub struct Text<T>(pub T);

impl<T: Display> ToSql for Text<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.to_string().into())
    }
}

impl<T> FromSql for Text<T>
where
    T: FromStr,
    T::Err: Error + Send + Sync + 'static,
{
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Self).map_err(bad)
    }
}

/// A compound value.
pub struct Json<T>(pub T);

impl<T: Serialize> ToSql for Json<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text =
            serde_json::to_string(&self.0).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        Ok(text.into())
    }
}

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Self).map_err(bad)
    }
}

/// A column with the name of its value beside it.
pub type Column<'a> = (&'static str, &'a dyn ToSql);

/// Writes a row whole: a new one, or in place of the one with the same `keys`. (`INSERT OR REPLACE`
/// would delete the old one first, and with it what hangs on it and every trigger's say.)
pub fn upsert(db: &Connection, table: &str, keys: &[Column<'_>], rest: &[Column<'_>]) -> rusqlite::Result<()> {
    let names = |columns: &[Column<'_>]| columns.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let all = [keys, rest].concat();
    let marks = vec!["?"; all.len()].join(", ");
    let sets: Vec<String> = rest.iter().map(|(name, _)| format!("{name} = excluded.{name}")).collect();
    let then = if sets.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", sets.join(", ")) };
    let sql = format!(
        "INSERT INTO {table} ({}) VALUES ({marks}) ON CONFLICT ({}) DO {then}",
        names(&all).join(", "),
        names(keys).join(", "),
    );
    let values: Vec<&dyn ToSql> = all.iter().map(|(_, value)| *value).collect();
    db.prepare_cached(&sql)?.execute(values.as_slice()).map(drop)
}

/// One statement.
pub fn execute(db: &Connection, sql: &str, params: impl Params) -> rusqlite::Result<()> {
    db.prepare_cached(sql)?.execute(params).map(drop)
}

/// All rows of a query.
pub fn rows<T>(
    db: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    db.prepare_cached(sql)?.query_map(params, read)?.collect()
}

/// The first row of a query, if there is one.
pub fn first<T>(
    db: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    db.prepare_cached(sql)?.query_map(params, read)?.next().transpose()
}

/// A limit as SQLite takes it.
pub fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
