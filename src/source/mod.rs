//! Repositories: what remotes have and getting it ([`Remotes`]), one mirror per URL, what lies between two
//! commits, and the poller that does all of it at intervals. Asking over http is one small request of our
//! own; the rest of the network is the `git` binary's, in a child that ends at its deadline; everything
//! local is git2. Nothing is decided here about what a new commit starts: that is the core's.

mod access;
mod child;
mod clean;
mod error;
mod fetch;
mod history;
mod links;
mod mirror;
mod origin;
mod packs;
mod poll;
mod poller;
mod prune;
mod pulls;
mod remote;
mod remotes;
mod scope;
mod seed;
mod signature;
mod sites;
mod smart;
mod trial;
pub mod wire;

pub use access::Access;
pub use error::SourceError;
pub use history::{answer, authors};
pub use mirror::{Mirror, Mirrors};
pub use origin::{check as check_url, repeated as repeated_url};
pub use poll::{Target, Tools, poll_once};
pub use poller::{Poller, PollerHandle};
pub use remote::Remote;
pub use remotes::Remotes;
pub use scope::Scope;
pub use seed::{Author, Seed};
pub use sites::{SiteState, Sites};
