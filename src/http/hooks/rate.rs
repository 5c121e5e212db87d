//! How often genuine messages lead to a poll: a bucket of tokens per pipeline. A message that finds it
//! empty is not lost: one poll, when the next token is there, stands for all that come until then.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::name::PipelineName;

/// Polls at once after a quiet time.
const TOKENS: u32 = 5;
/// Then one in so long.
const EVERY: Duration = Duration::from_secs(2);

/// What a message may cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// A poll.
    Now,
    /// A poll after this; then [`Buckets::paid`].
    In(Duration),
    /// Nothing: a poll that is to come stands for it.
    Covered,
}

struct Bucket {
    tokens: u32,
    /// When the newest of them came.
    filled: Instant,
    /// A poll is to come.
    owed: bool,
}

/// One for each pipeline.
#[derive(Default)]
pub struct Buckets(Mutex<BTreeMap<PipelineName, Bucket>>);

impl Bucket {
    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_millis() / EVERY.as_millis();
        let more = u32::try_from(passed).unwrap_or(TOKENS);
        if more > 0 {
            self.tokens = self.tokens.saturating_add(more).min(TOKENS);
            self.filled += EVERY * more.min(1 << 16);
        }
        if self.tokens == TOKENS {
            self.filled = now;
        }
    }
}

impl Buckets {
    pub fn take(&self, pipeline: &PipelineName, now: Instant) -> Take {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = all.entry(pipeline.clone()).or_insert(Bucket { tokens: TOKENS, filled: now, owed: false });
        bucket.fill(now);
        if bucket.owed {
            return Take::Covered;
        }
        match bucket.tokens.checked_sub(1) {
            Some(left) => {
                bucket.tokens = left;
                Take::Now
            }
            None => {
                bucket.owed = true;
                Take::In(EVERY.saturating_sub(now.saturating_duration_since(bucket.filled)))
            }
        }
    }

    /// The poll that was owed is made now.
    pub fn paid(&self, pipeline: &PipelineName, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = all.get_mut(pipeline) {
            bucket.fill(now);
            bucket.tokens = bucket.tokens.saturating_sub(1);
            bucket.owed = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_messages_cost_six_polls_and_none_is_forgotten() {
        let (buckets, shop, other) = (Buckets::default(), "shop".parse().unwrap(), "other".parse().unwrap());
        let start = Instant::now();
        let taken: Vec<Take> = (0..1000).map(|_| buckets.take(&shop, start)).collect();
        assert_eq!(taken.iter().filter(|take| **take == Take::Now).count(), 5);
        assert_eq!(taken[5], Take::In(EVERY));
        assert!(taken[6..].iter().all(|take| *take == Take::Covered));
        assert_eq!(buckets.take(&other, start), Take::Now, "another pipeline has a bucket of its own");
        buckets.paid(&shop, start + EVERY);
        assert_eq!(buckets.take(&shop, start + EVERY), Take::In(EVERY), "the poll took the token that came");
        buckets.paid(&shop, start + 2 * EVERY);
        assert_eq!(buckets.take(&shop, start + 3 * EVERY), Take::Now);
        let later = start + Duration::from_secs(86_400);
        assert_eq!(
            (0..6).filter(|_| buckets.take(&shop, later) == Take::Now).count(),
            5,
            "never more than a bucketful"
        );
    }
}
