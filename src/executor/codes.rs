//! Codes from phones, where a vote wants one: checked against seeds that nobody else reads, each good once,
//! and what a person said yes to with which. One small file for each person holds all of it, so that a code is
//! spent and its vote kept by the same rename. Whether the vote is enough is judged in `votes`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{secrets, spent};
use crate::model::catalog::Person;
use crate::model::job::Hash;
use crate::model::name::{PersonName, RunRef};
use crate::model::time::{Seconds, Timestamp, is_ahead};
use crate::totp::{Code, STEP, Seed, step_at};

/// Below the executor's directory.
const CODES: &str = "codes";
/// Wrong codes in a row until none is taken for a while.
const MISSES_MAX: u32 = 5;
/// For how long; each further time without a right one between them twice as long.
const REST: Seconds = Seconds(15 * 60);
/// And this at the most: by five guesses a day one is found in two centuries.
const REST_MAX: Seconds = Seconds(86_400);
/// Wrong codes count no more after so long without one.
const QUIET: Seconds = Seconds(7 * 86_400);
/// Steps before and after this one whose codes are taken as well, as clocks differ.
const WINDOW: u64 = 1;
/// Steps before it in which a wrong code is looked for, to tell that a clock is wrong. Those to come are
/// not: who guesses one would know what is good in a minute.
const LATE_MAX: u64 = 20;
/// Spent steps that are remembered, however the clock goes.
const SPENT_MAX: usize = 500;
/// Votes that are kept while something could start by them.
const VOTES_MAX: usize = 1000;

/// What came of a code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "taken", rename_all = "kebab-case")]
pub enum Taken {
    /// The vote is kept.
    Good,
    /// It was not looked at, or was good once.
    Refused { why: String },
    Wrong {
        /// The clock that it was judged by.
        at: Timestamp,
        /// It was right so long ago.
        late: Option<Seconds>,
        /// Wrong ones more, and none is taken for a while.
        left: u32,
    },
    /// None is taken until then.
    Rests {
        until: Timestamp,
        /// By this very code.
        now: bool,
    },
}

/// All of a person.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Book {
    v: u32,
    /// Steps whose codes were taken, oldest first.
    spent: Vec<u64>,
    misses: u32,
    /// Times in a row that it came to a rest.
    rests: u32,
    /// Of the last wrong one.
    missed_at: Option<Timestamp>,
    rests_until: Option<Timestamp>,
    votes: Vec<Given>,
}

/// A yes that came with a code.
#[derive(Debug, Serialize, Deserialize)]
struct Given {
    /// Of the text that it is a yes to.
    statement: Hash,
    run: RunRef,
    steps: Vec<u64>,
    /// Tells seeds apart, and nothing of them: who has a new one has not said it.
    seed: Hash,
    at: Timestamp,
    /// Nothing can start by it from then on.
    until: Timestamp,
}

/// What a code is said to be a yes to.
#[derive(Debug)]
pub struct Yes<'a> {
    pub statement: Hash,
    pub run: &'a RunRef,
    pub until: Timestamp,
}

/// Where codes are judged by, and what is remembered of them.
#[derive(Debug)]
pub struct Codes<'a> {
    /// The executor's own directory.
    pub own: &'a Path,
    pub secrets: &'a Path,
}

impl Codes<'_> {
    /// Judges a code, and keeps what it is a yes to. The caller sees to it that one is judged at a time.
    ///
    /// # Errors
    /// If what came of it cannot be written down: then nothing is said of the code.
    pub fn take(&self, who: (&PersonName, &Person), yes: &Yes<'_>, code: &str, now: Timestamp) -> io::Result<Taken> {
        let refused = |why: String| Ok(Taken::Refused { why });
        let Some(code) = Code::read(code.trim()) else {
            return refused("a code is the six digits that your phone shows".into());
        };
        let seed = match self.seed(who) {
            Ok(seed) => seed,
            Err(why) => return refused(format!("no code of yours can be checked: {why}")),
        };
        let mut book = self.book(who.0)?;
        if let Some(until) = book.rests_until.filter(|until| is_ahead(*until, REST_MAX, now)) {
            return Ok(Taken::Rests { until, now: false });
        }
        let step = step_at(now.as_second());
        let hits = seed.steps_of(code, step.saturating_sub(WINDOW)..=step + WINDOW);
        // Two steps may have the same code: then it is good for both of them together, once.
        let taken = match hits.iter().any(|hit| book.spent.contains(hit)) {
            true if book.has(&hits, yes, &mark(&seed)) => return Ok(Taken::Good),
            true => return refused("this code was used already: wait for the next one, half a minute".into()),
            false if hits.is_empty() => {
                let before = step.saturating_sub(WINDOW + LATE_MAX)..step.saturating_sub(WINDOW);
                let late = seed.steps_of(code, before).last().map(|hit| Seconds((step - hit) * STEP));
                book.miss(late, now)
            }
            false => book.accept(yes, &hits, mark(&seed), now),
        };
        spent::write(&file(self.own, who.0), &book)?;
        Ok(taken)
    }

    /// Those of these people who said yes to exactly this, each with a seed that is still theirs; and why what
    /// is known of one cannot be used.
    #[must_use]
    pub fn voters<'p>(
        &self,
        statement: &Hash,
        people: &[(&'p PersonName, &Person)],
        now: Timestamp,
    ) -> (BTreeSet<&'p PersonName>, BTreeMap<&'p PersonName, String>) {
        let (mut voters, mut trouble) = (BTreeSet::new(), BTreeMap::new());
        for &who in people {
            let said = self.book(who.0).map_err(|error| error.to_string()).and_then(|book| {
                let Some(given) = book.votes.iter().find(|given| given.statement == *statement) else {
                    return Ok(false);
                };
                Ok(mark(&self.seed(who)?) == given.seed && now < given.until)
            });
            match said {
                Ok(true) => drop(voters.insert(who.0)),
                Ok(false) => {}
                Err(why) => drop(trouble.insert(who.0, why)),
            }
        }
        (voters, trouble)
    }

    fn seed(&self, (name, person): (&PersonName, &Person)) -> Result<Seed, String> {
        let Some(secret) = &person.totp else {
            return Err(format!("{name} has no `totp` in shipbell.toml: shipbell totp {name}"));
        };
        let text = secrets::read_one(self.secrets, None, secret)?;
        let text = String::from_utf8(text).map_err(|_| format!("secret {secret}: it is no text"))?;
        Seed::read(&text).map_err(|why| format!("secret {secret}: {why}"))
    }

    fn book(&self, name: &PersonName) -> io::Result<Book> {
        Ok(spent::read(&file(self.own, name))?.unwrap_or_default())
    }
}

impl Book {
    fn accept(&mut self, yes: &Yes<'_>, steps: &[u64], seed: Hash, now: Timestamp) -> Taken {
        self.v = 1;
        self.spent.extend(steps);
        shorten(&mut self.spent, SPENT_MAX);
        (self.misses, self.rests, self.missed_at, self.rests_until) = (0, 0, None, None);
        self.votes.retain(|given| given.until > now && given.statement != yes.statement);
        let (statement, run, until) = (yes.statement.clone(), yes.run.clone(), yes.until);
        self.votes.push(Given { statement, run, steps: steps.to_vec(), seed, at: now, until });
        shorten(&mut self.votes, VOTES_MAX);
        Taken::Good
    }

    fn miss(&mut self, late: Option<Seconds>, now: Timestamp) -> Taken {
        self.v = 1;
        let lately = |at: Timestamp| is_ahead(QUIET.after(at), Seconds(2 * QUIET.0), now);
        if !self.missed_at.is_some_and(lately) {
            (self.misses, self.rests) = (0, 0);
        }
        self.missed_at = Some(now);
        self.misses += 1;
        if self.misses < MISSES_MAX {
            return Taken::Wrong { at: now, late, left: MISSES_MAX - self.misses };
        }
        let rest = Seconds((REST.0 << self.rests.min(16)).min(REST_MAX.0));
        let until = rest.after(now);
        (self.misses, self.rests, self.rests_until) = (0, self.rests.saturating_add(1), Some(until));
        Taken::Rests { until, now: true }
    }

    /// Asked twice (an answer was lost), it was done once.
    fn has(&self, steps: &[u64], yes: &Yes<'_>, seed: &Hash) -> bool {
        let same = |given: &Given| given.statement == yes.statement && given.seed == *seed;
        self.votes.iter().any(|given| same(given) && given.steps.iter().any(|step| steps.contains(step)))
    }
}

/// The oldest go.
fn shorten<T>(list: &mut Vec<T>, max: usize) {
    list.drain(..list.len().saturating_sub(max));
}

fn mark(seed: &Seed) -> Hash {
    Hash::of(&[b"shipbell/totp-seed/v1\n", seed.bytes()].concat())
}

fn file(own: &Path, name: &PersonName) -> PathBuf {
    own.join(CODES).join(format!("{name}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    /// Wrong ones until it rests; for how long.
    fn rest(book: &mut Book, now: Timestamp) -> Seconds {
        for left in (1..MISSES_MAX).rev() {
            assert_eq!(book.miss(None, now), Taken::Wrong { at: now, late: None, left });
        }
        match book.miss(None, now) {
            Taken::Rests { until, now: true } => crate::model::time::seconds_between(now, until),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_rest_is_twice_as_long_until_a_right_code_or_a_quiet_week() {
        let run: RunRef = "app/production#1".parse().unwrap();
        let yes = Yes { statement: Hash::of(b"a"), run: &run, until: at(1_000_000) };
        let mut book = Book::default();
        let spans: Vec<u64> = (0..9).map(|n| rest(&mut book, at(n * 80_000)).0 / 60).collect();
        assert_eq!(spans, [15, 30, 60, 120, 240, 480, 960, 1440, 1440]);
        assert_eq!(book.accept(&yes, &[1], Hash::of(b"seed"), at(800_000)), Taken::Good);
        assert_eq!(rest(&mut book, at(800_001)), REST);
        assert_eq!(rest(&mut book, at(800_001 + 7 * 86_400)), REST, "a week without a wrong one");
        // A clock that stood far ahead keeps nobody out once it is put right.
        rest(&mut book, at(8_000_000));
        assert!(!is_ahead(book.rests_until.unwrap(), REST_MAX, at(1_500_000)));
        assert_eq!(rest(&mut book, at(1_500_000)), REST);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_a_vote_goes_when_nothing_can_start_by_it() {
        let run: RunRef = "app/production#1".parse().unwrap();
        let mut book = Book::default();
        for step in 0..2000_u64 {
            let statement = Hash::of(&step.to_be_bytes());
            book.accept(&Yes { statement, run: &run, until: at(500_000) }, &[step], Hash::of(b"seed"), at(0));
        }
        assert_eq!((book.spent.len(), book.votes.len()), (SPENT_MAX, VOTES_MAX));
        assert_eq!(book.spent.last(), Some(&1999));
        let text = serde_json::to_vec(&book).unwrap();
        assert!(text.len() < 700 << 10, "{}", text.len());
        let yes = Yes { statement: Hash::of(b"new"), run: &run, until: at(600_000) };
        book.accept(&yes, &[3000, 3001], Hash::of(b"seed"), at(500_000));
        assert_eq!(book.votes.len(), 1);
        assert!(book.has(&[3001], &yes, &Hash::of(b"seed")) && !book.has(&[3000], &yes, &Hash::of(b"another")));
    }
}
