//! Decisions, pure: what happened and what time it is go in, what is recorded and what is done come out.
//! Nothing here reads a clock, a file or a socket.

pub mod view;
pub mod world;

use crate::model::event::{Action, Change, Event, Reply};
use crate::model::run::Run;
use crate::model::time::Timestamp;
use world::World;

/// What one turn of the daemon's loop comes to.
#[derive(Debug, Default)]
pub struct Turn {
    /// Written in one transaction before anything is done.
    pub changes: Vec<Change>,
    pub actions: Vec<Action>,
    /// One per event, in order.
    pub replies: Vec<Reply>,
    /// When to look again if nothing happens.
    pub wake_at: Option<Timestamp>,
}

/// One turn: decides on every event, then plans until nothing is left to do. The World takes the
/// changes in at once; if they cannot be written, the caller throws it away and loads it anew.
#[must_use]
pub fn turn(_world: &mut World, _events: &[Event], _now: Timestamp) -> Turn {
    Turn::default()
}

/// What a queued run waits for, in one phrase (`approval, 0 of 1`, `window until Mon 09:00 …`).
/// `None` for a run that is not queued.
#[must_use]
pub fn waits(_world: &World, _run: &Run, _now: Timestamp) -> Option<String> {
    None
}
