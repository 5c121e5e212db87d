//! Shipbell, a CI/CD robot for a Linux host. The table of contents, bottom to top: what stands lower
//! here may import what stands higher, never the reverse (`tests/tidy.rs` has the exact table).

// Nothing that comes from outside may end the daemon: no unwrap, no slice that can be out of range,
// and no println!, which panics when the reader of a pipe has gone.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)]
#![warn(clippy::indexing_slicing, clippy::string_slice)]
#![warn(clippy::print_stdout, clippy::print_stderr)]

/// One file per command family.
pub mod cli;
/// The wall clock, read nowhere else, and the timer that sleeps until an instant.
pub mod clock;
/// TOML to a catalog of definitions; every message names file, line and column.
pub mod config;
/// What the daemon itself logs in with.
pub mod credentials;
/// The shell: boot, the loop, perform.
pub mod daemon;
/// The privileged half: knows definitions by hash, writes tickets, has the launcher start them.
pub mod executor;
/// Approval, pages, JSON.
pub mod http;
/// The one way in to the daemon's loop.
pub mod inbox;
/// Starts supervisors and says what became of them.
pub mod launch;
/// Words: plain data, no I/O.
pub mod model;
/// Pure decisions: `decide` and `plan`.
pub mod pipeline;
/// What people are told.
pub mod report;
/// The supervisor: one attempt, carried out.
pub mod run;
/// ssh signatures, and `ssh-keygen`, which checks them.
pub mod signature;
/// Repositories: ask, fetch, compare.
pub mod source;
/// SQLite: history and the live World.
pub mod store;
/// All of nix and all unsafe: timerfd, openat2, processes, users, disk space, readiness.
pub mod sys;
/// Codes that a phone shows, and the seeds that they are made of.
pub mod totp;
/// The daemon's own chores.
pub mod upkeep;
/// The one way out over http and https.
pub mod web;
