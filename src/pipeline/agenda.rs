//! Who wants to be looked at when. Finding those whose time has come costs by their number only.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::time::Timestamp;

/// One instant each.
#[derive(Debug, Clone)]
pub struct Agenda<K> {
    at: BTreeMap<K, Timestamp>,
    order: BTreeSet<(Timestamp, K)>,
}

impl<K> Default for Agenda<K> {
    fn default() -> Self {
        Self { at: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Agenda<K> {
    pub fn clear(&mut self) {
        self.at.clear();
        self.order.clear();
    }

    /// In place of what was set before.
    pub fn set(&mut self, key: &K, at: Timestamp) {
        self.remove(key);
        self.at.insert(key.clone(), at);
        self.order.insert((at, key.clone()));
    }

    /// Keeps the earlier one.
    pub fn earlier(&mut self, key: &K, at: Timestamp) {
        if self.at.get(key).is_none_or(|set| at < *set) {
            self.set(key, at);
        }
    }

    pub fn remove(&mut self, key: &K) {
        if let Some((key, at)) = self.at.remove_entry(key) {
            self.order.remove(&(at, key));
        }
    }

    /// Those whose time has come, earliest first; they are taken off.
    pub fn take_due(&mut self, now: Timestamp) -> Vec<K> {
        let mut due = Vec::new();
        while self.first().is_some_and(|at| at <= now) {
            let Some((_, key)) = self.order.pop_first() else { break };
            self.at.remove(&key);
            due.push(key);
        }
        due
    }

    /// The earliest instant.
    #[must_use]
    pub fn first(&self) -> Option<Timestamp> {
        self.order.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_each_key_has_one_instant() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut agenda = Agenda::default();
        agenda.set(&"a", at(30));
        agenda.set(&"b", at(20));
        agenda.earlier(&"a", at(10));
        agenda.earlier(&"a", at(40));
        agenda.set(&"c", at(50));
        assert_eq!(agenda.first(), Some(at(10)));
        assert_eq!(agenda.take_due(at(20)), ["a", "b"]);
        agenda.remove(&"c");
        assert_eq!((agenda.first(), agenda.take_due(at(99)).len()), (None, 0));
    }
}
