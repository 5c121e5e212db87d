//! When the old scheduler would have started a job: slow and simple, minute by minute, and independent of
//! how Shipbell reckons. The rules for a changed clock are those of Debian's cron(8): a job whose minute and
//! hour hold no `*` is made up for after a gap and not repeated in an overlap, if the change is below three hours.

use jiff::ToSpan as _;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::model::time::{Seconds, Timestamp};

/// What the old scheduler was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Old {
    /// In a zone.
    Times(Times, String),
    /// So long after each start or end: no fixed instants.
    Every(Seconds),
    /// At random, or when the host starts.
    Unknown,
}

/// Fields as sets of their values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    pub second: u64,
    pub minute: u64,
    pub hour: u64,
    pub day: u64,
    pub month: u64,
    /// Sunday is 0.
    pub weekday: u64,
    /// Day of month or day of week is enough; else both must agree.
    pub either_day: bool,
    /// The clock is followed as it is, forward and back.
    pub wild: bool,
}

fn has(set: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| set >> value & 1 == 1)
}

impl Times {
    fn matches(&self, local: DateTime) -> bool {
        let day = has(self.day, local.day());
        let weekday = has(self.weekday, local.weekday().to_sunday_zero_offset());
        let today = if self.either_day { day || weekday } else { day && weekday };
        has(self.minute, local.minute()) && has(self.hour, local.hour()) && has(self.month, local.month()) && today
    }

    /// All instants along `line`.
    #[must_use]
    pub fn along(&self, line: &Line) -> Vec<Timestamp> {
        let mut found = Vec::new();
        for minute in &line.minutes {
            let made_up = || minute.skipped.iter().any(|local| self.matches(*local));
            let regular = self.matches(minute.local) && (self.wild || !minute.repeated);
            if regular || (!self.wild && made_up()) {
                let seconds = (0..60).filter(|second| has(self.second, *second));
                found.extend(seconds.filter_map(|second| minute.at.checked_add(i64::from(second).seconds()).ok()));
            }
        }
        found
    }
}

/// The minutes of a stretch of time in a zone.
#[derive(Debug, Clone)]
pub struct Line {
    minutes: Vec<Minute>,
}

#[derive(Debug, Clone)]
struct Minute {
    at: Timestamp,
    local: DateTime,
    /// The clock was put back less than three hours ago and shows this for the second time.
    repeated: bool,
    /// What the clock would have shown had it not just been put forward.
    skipped: Vec<DateTime>,
}

/// Changes of the clock from here on are corrections.
const CORRECTION: i64 = 180;

impl Line {
    /// The minutes after `from` up to `to`, which are whole ones.
    #[must_use]
    pub fn new(zone: &TimeZone, from: Timestamp, to: Timestamp) -> Self {
        let mut minutes = Vec::new();
        let (mut at, mut local) = (from, from.to_zoned(zone.clone()).datetime());
        let mut repeat = 0_i64;
        while at < to {
            let Ok(next) = at.checked_add(1.minutes()) else { break };
            let now = next.to_zoned(zone.clone()).datetime();
            let mut skipped = Vec::new();
            let step = minutes_between(local, now);
            if (2..CORRECTION).contains(&step) {
                skipped.extend((1..step).filter_map(|n| local.checked_add(n.minutes()).ok()));
            } else if step < 1 && step > -CORRECTION {
                repeat = 1 - step;
            }
            minutes.push(Minute { at: next, local: now, repeated: repeat > 0, skipped });
            repeat = (repeat - 1).max(0);
            (at, local) = (next, now);
        }
        Self { minutes }
    }
}

fn minutes_between(from: DateTime, to: DateTime) -> i64 {
    to.duration_since(from).as_secs() / 60
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Times {
        let most = u64::MAX;
        Times { second: 1, minute: 1, hour: most, day: most, month: most, weekday: most, either_day: false, wild: true }
    }

    fn fired(times: &Times, zone: &str, from: &str, to: &str) -> Vec<String> {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let line = Line::new(&TimeZone::get(zone).unwrap(), at(from), at(to));
        times.along(&line).into_iter().map(|at| at.to_string()).collect()
    }

    #[test]
    fn a_changed_clock_as_debians_manual_has_it() {
        let (spring, autumn) =
            (("2027-03-27T23:30:00Z", "2027-03-28T02:30:00Z"), ("2026-10-24T23:30:00Z", "2026-10-25T02:30:00Z"));
        let named = Times { minute: 1 << 15 | 1 << 45, hour: 1 << 2, wild: false, ..all() };
        assert_eq!(fired(&named, "Europe/Berlin", spring.0, spring.1), ["2027-03-28T01:00:00Z"]);
        assert_eq!(
            fired(&named, "Europe/Berlin", autumn.0, autumn.1),
            ["2026-10-25T00:15:00Z", "2026-10-25T00:45:00Z"]
        );
        let wild = Times { wild: true, ..named };
        assert!(fired(&wild, "Europe/Berlin", spring.0, spring.1).is_empty());
        assert_eq!(fired(&wild, "Europe/Berlin", autumn.0, autumn.1).len(), 4);
        assert_eq!(fired(&all(), "Europe/Berlin", autumn.0, autumn.1).len(), 3);
    }

    #[test]
    fn days_are_either_or_both() {
        let friday_or_first = Times { hour: 1, day: 1 << 1, weekday: 1 << 5, either_day: true, ..all() };
        let both = Times { either_day: false, ..friday_or_first };
        let span = ("2026-12-31T12:00:00Z", "2027-01-31T12:00:00Z");
        assert_eq!(fired(&friday_or_first, "UTC", span.0, span.1).len(), 5);
        assert_eq!(fired(&both, "UTC", span.0, span.1), ["2027-01-01T00:00:00Z"]);
    }
}
