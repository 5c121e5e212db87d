//! Exit codes and the one way in which a command says that it failed: on standard error, with what to
//! do next under it.

use std::io::Write as _;
use std::process::ExitCode;

/// A run failed, a vote was refused, or something needs a person.
pub(super) const FAILED: u8 = 1;
pub(super) const USAGE: u8 = 2;
pub(super) const NOT_FOUND: u8 = 4;
/// EX_UNAVAILABLE: the daemon does not answer.
pub(super) const UNAVAILABLE: u8 = 69;
/// EX_TEMPFAIL: locked, or timed out.
pub(super) const TRY_LATER: u8 = 75;
/// EX_NOPERM.
pub(super) const NOT_ALLOWED: u8 = 77;

/// Why a command did not do what was asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub code: u8,
    /// What, why, what to do next; may have several lines.
    pub text: String,
}

impl Failure {
    pub fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    pub fn usage(text: impl Into<String>) -> Self {
        Self::new(USAGE, text)
    }

    pub fn not_found(text: impl Into<String>) -> Self {
        Self::new(NOT_FOUND, text)
    }

    pub fn other(text: impl Into<String>) -> Self {
        Self::new(FAILED, text)
    }

    /// Tells it and gives the code. An empty text was told already.
    pub fn report(self) -> ExitCode {
        if !self.text.is_empty() {
            say(&format!("shipbell: {}", self.text));
        }
        ExitCode::from(self.code)
    }
}

/// A line on standard error; if nobody reads that there is nobody to tell.
pub(super) fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// What clap says of the command line: help and version go to standard output with 0, errors are 2.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    // A closed pipe is the reader's choice.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE))
}
