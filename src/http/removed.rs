//! How it is said that something of a run went by `[retention]`.

use crate::model::name::RunRef;
use crate::model::retention::{Part, Removal};
use crate::model::run::Run;
use crate::model::time::Timestamp;
use crate::model::view::{LogChunk, RemovedView, SCHEMA};

/// When a part went, or was about to; with the run all of its parts did.
pub fn when(removals: &[Removal], part: Part) -> Option<Timestamp> {
    let of_it = removals.iter().filter(|removal| removal.part == part || removal.part == Part::Run);
    of_it.map(at).min()
}

fn at(removal: &Removal) -> Timestamp {
    removal.done.map_or(removal.decided_at, |done| done.at)
}

/// One sentence.
pub fn told(what: &str, at: Timestamp, part: Part) -> String {
    format!("{what} was removed on {} by [retention] ({})", at.strftime("%Y-%m-%d"), part.key())
}

pub fn views(removals: &[Removal]) -> Vec<RemovedView> {
    removals.iter().map(|removal| RemovedView { part: removal.part, at: at(removal) }).collect()
}

/// The answer to who asks for a log that is gone; its run may be gone with it.
pub fn log(name: &RunRef, run: Option<&Run>, at: Timestamp) -> LogChunk {
    let attempt = run.map_or(0, |run| run.attempt);
    LogChunk {
        schema: SCHEMA,
        run: name.clone(),
        attempt,
        last_attempt: attempt,
        from: 0,
        next: 0,
        data: String::new(),
        over: true,
        outcome: run.and_then(Run::outcome),
        waits: None,
        removed: Some(at),
    }
}
