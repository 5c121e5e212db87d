//! Windows and freezes of environments: when a deployment may start.

use crate::model::job::{FreezeDef, WindowDef};
use crate::model::time::Timestamp;

/// Parsed windows and freezes of one environment.
#[derive(Debug, Clone, Default)]
pub struct Windows {}

/// Whether a start is allowed at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    Open,
    /// `opens`: the next instant at which it is open; `None` if none within two years.
    Closed {
        opens: Option<Timestamp>,
    },
}

/// Why a text is no window or freeze.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadWindow(pub String);

impl Windows {
    /// # Errors
    /// If a text or zone is none.
    pub fn parse(_windows: &[WindowDef], _freezes: &[FreezeDef]) -> Result<Self, BadWindow> {
        Ok(Self {})
    }

    #[must_use]
    pub fn at(&self, _now: Timestamp) -> Opening {
        Opening::Open
    }

    /// Whether any window is named (freezes alone do not count).
    #[must_use]
    pub fn has_windows(&self) -> bool {
        false
    }

    /// The end of the first stretch of window less freeze that begins after `from`.
    #[must_use]
    pub fn end_of_first_stretch_after(&self, _from: Timestamp) -> Option<Timestamp> {
        None
    }
}
