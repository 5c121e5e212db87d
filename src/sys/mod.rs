//! What the kernel offers, each part behind a small safe function. Nothing here knows what a run or a
//! job is; everything that needs nix or unsafe stands in this folder and nowhere else.

/// Control groups of our own.
pub mod cgroup;
/// Files below a directory that somebody else may write.
pub mod files;
/// Process groups of our own children.
pub mod group;
/// The host: boot id, free space, users, name.
pub mod host;
/// Being told of changed files.
pub mod inotify;
/// One process at a time: an exclusive lock on a file.
pub mod lock;
/// Files that lie in memory only.
pub mod memfile;
/// What the allocator keeps.
pub mod memory;
/// What stands at many paths.
pub mod places;
/// What one process alone is to see.
pub mod private;
/// Starting processes, waiting for them, ending a whole tree.
pub mod process;
/// Taking trees away.
pub mod removal;
/// Who is at the other end of a socket; a listener held by systemd.
pub mod socket;
/// A timer on the wall clock that also tells when the clock was stepped.
pub mod timerfd;
