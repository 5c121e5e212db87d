//! What must hold of any text at all, be it a schedule or not. The fuzz target includes this file too.

use jiff::Timestamp;
use shipbell::model::schedule::{Schedule, define};

const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "Pacific/Apia", "Australia/Lord_Howe"];

/// True if it is a schedule.
///
/// # Panics
/// If something does not hold.
pub fn probe(text: &str, from: Timestamp, zone: usize, index: usize) -> bool {
    let zone = ZONES[zone % ZONES.len()];
    let def = match define(text, zone, &"host/backup".parse().unwrap(), index) {
        Ok(def) => def,
        Err(error) => {
            let (wrong, hint) = error.told();
            assert!(!wrong.is_empty() && !hint.is_empty(), "{text:?} is refused without a word");
            return false;
        }
    };
    // What `H` came to is a plain schedule, and the definition reads back as the same.
    let schedule = Schedule::of(&def).unwrap();
    if let Some(resolved) = &def.resolved {
        assert!(!resolved.contains('(') && Schedule::parse(resolved, zone).is_ok(), "{text:?} gives {resolved:?}");
    }
    let mut at = from;
    for _ in 0..5 {
        let Some(due) = schedule.due_after(at) else { break };
        assert!(due.at > at, "{text:?} in {zone}: {} is not after {at}", due.at);
        // There is nothing between: from just before it, it is next.
        let before = due.at - jiff::SignedDuration::from_nanos(1);
        assert_eq!(schedule.due_after(before.max(from)), Some(due), "{text:?} in {zone} before {}", due.at);
        assert!(due.missing.is_some() || due.at.as_second() % 60 == 0, "{text:?}: {} is no minute", due.at);
        at = due.at;
    }
    true
}
