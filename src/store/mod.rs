//! SQLite: history and the live World. One writer, whose commits are on disk when they return, and
//! readers of their own. What is decided is none of its business; that promises are not broken is:
//! constraints and triggers refuse what must never be written.

mod error;
mod reader;

use std::path::Path;

pub use error::{OpenError, StoreError};
pub use reader::{Reader, RunFilter};

use crate::model::event::Change;
use crate::pipeline::world::World;

/// The one writer.
#[derive(Debug)]
pub struct Store {}

impl Store {
    /// Opens the database, or makes it; brings its tables up to date.
    ///
    /// # Errors
    /// If it cannot be used; the text says what to do. The file is then as it was.
    pub fn open(_path: &Path) -> Result<Store, OpenError> {
        Ok(Store {})
    }

    /// The World as its changes have built it, without the catalog.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn load(&self) -> Result<World, StoreError> {
        Ok(World::default())
    }

    /// Writes all changes or none; they are on disk when it returns.
    ///
    /// # Errors
    /// If it cannot be written: then nothing was.
    pub fn commit(&mut self, _changes: &[Change]) -> Result<(), StoreError> {
        Ok(())
    }

    /// A reader with connections of its own.
    ///
    /// # Errors
    /// If the database cannot be opened once more.
    pub fn reader(&self) -> Result<Reader, StoreError> {
        Ok(Reader {})
    }

    /// Copies the database to a new file while work goes on.
    ///
    /// # Errors
    /// If it cannot be read or the copy not be written.
    pub fn backup(&self, _to: &Path) -> Result<(), StoreError> {
        Ok(())
    }

    /// # Errors
    /// What SQLite finds wrong with the file.
    pub fn quick_check(&self) -> Result<(), String> {
        Ok(())
    }

    /// A fact about this installation.
    #[must_use]
    pub fn meta(&self, _key: &str) -> Option<String> {
        None
    }

    /// # Errors
    /// If it cannot be written.
    pub fn set_meta(&mut self, _key: &str, _value: &str) -> Result<(), StoreError> {
        Ok(())
    }
}
