//! TOML to a catalog of definitions. Every message names file, line and column, all errors are told at
//! once, and one bad file harms one pipeline. Whether and when a job runs is not decided here.

pub mod last_good;
pub mod layout;
pub mod lint;
pub mod lint_secrets;
pub mod lint_sources;
pub mod message;

mod environment;
mod file;
mod job;
mod keys;
mod limits;
mod load;
mod loader;
mod people;
mod resolve;
mod retention;
mod safe;
mod settings;
mod steps;
mod syntax;
mod telling;
mod tree;

pub use keys::is_job_key;
pub use layout::Layout;
pub use load::{check_files, check_text, load, reload};
pub use loader::Loader;
pub use message::Problem;

use crate::model::catalog::Catalog;
use crate::model::url::RepoUrl;

/// Who may own the files that are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    /// User numbers: root in packaged mode; in one-process mode the service's own user as well.
    pub owners: Vec<u32>,
}

impl Trust {
    /// Root's files and those of the user as whom this process acts.
    #[must_use]
    pub fn root_and_self() -> Self {
        Self { owners: vec![0, crate::sys::host::effective_uid()] }
    }
}

/// Whether `[repo] url` takes it.
#[must_use]
pub fn is_address(url: &str) -> bool {
    RepoUrl::parse(url).is_ok()
}

/// What the files came to.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub catalog: Catalog,
    pub problems: Vec<Problem>,
}
