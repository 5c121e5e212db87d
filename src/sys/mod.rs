//! What the kernel offers, each part behind a small safe function. Nothing here knows what a run or a
//! job is; everything that needs nix or unsafe stands in this folder and nowhere else.

/// Process groups of our own children.
pub mod group;
/// The host: boot id, free space, users, name.
pub mod host;
/// One process at a time: an exclusive lock on a file.
pub mod lock;
/// A timer on the wall clock that also tells when the clock was stepped.
pub mod timerfd;
