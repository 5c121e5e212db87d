//! Repositories: what a remote has ([`ask`]), getting it ([`fetch`]), one mirror per URL, what lies
//! between two commits, and the poller that does all of it at intervals. The network is the `git`
//! binary's, in a child that ends at its deadline; everything local is git2. Nothing is decided here
//! about what a new commit starts: that is the core's.

mod child;
mod clean;
mod error;
mod fetch;
mod history;
mod mirror;
mod origin;
mod poll;
mod poller;
mod remote;
mod seed;

pub use child::Access;
pub use error::SourceError;
pub use fetch::{fetch, fetch_with};
pub use history::answer;
pub use mirror::{Mirror, Mirrors};
pub use poll::{Target, poll_once};
pub use poller::{Poller, PollerHandle};
pub use remote::{Remote, ask, ask_with};
pub use seed::{Author, Seed};
