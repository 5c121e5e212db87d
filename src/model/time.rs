//! Instants and spans. Nothing here reads a clock: `now` is always an argument.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use jiff::Timestamp;

/// A span of whole seconds, written `20s`, `20m`, `20h`, `7d` or `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub u64);

/// Ten years: longer spans are typing errors, and every sum with one stays in range.
pub const SECONDS_MAX: u64 = 10 * 366 * 86_400;

/// Why a text is no span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSpan {
    #[error("a time span needs a unit: write \"{0}s\", \"{0}m\", \"{0}h\" or \"{0}d\"")]
    NoUnit(String),
    #[error("a time span is written like \"90s\", \"20m\", \"1h30m\" or \"7d\"")]
    Form,
    #[error("a time span is at most ten years")]
    TooLong,
}

impl Seconds {
    #[must_use]
    pub fn minutes(n: u64) -> Self {
        Self(n * 60)
    }

    #[must_use]
    pub fn hours(n: u64) -> Self {
        Self(n * 3600)
    }

    #[must_use]
    pub fn days(n: u64) -> Self {
        Self(n * 86_400)
    }

    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }

    /// `at` plus this span, held within jiff's range.
    #[must_use]
    pub fn after(self, at: Timestamp) -> Timestamp {
        at.checked_add(self.duration()).unwrap_or(Timestamp::MAX)
    }

    /// `at` less this span, held within jiff's range.
    #[must_use]
    pub fn before(self, at: Timestamp) -> Timestamp {
        at.checked_sub(self.duration()).unwrap_or(Timestamp::MIN)
    }
}

impl FromStr for Seconds {
    type Err = BadSpan;

    fn from_str(text: &str) -> Result<Self, BadSpan> {
        if !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit()) {
            return Err(BadSpan::NoUnit(text.to_owned()));
        }
        let (mut total, mut number, mut smallest) = (0_u64, None::<u64>, u64::MAX);
        for c in text.chars() {
            if let Some(digit) = c.to_digit(10) {
                let next = number.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(u64::from(digit)));
                number = Some(next.filter(|&n| n <= SECONDS_MAX).ok_or(BadSpan::TooLong)?);
                continue;
            }
            let unit = match c {
                's' => 1,
                'm' => 60,
                'h' => 3600,
                'd' => 86_400,
                _ => return Err(BadSpan::Form),
            };
            let count = number.take().filter(|_| unit < smallest).ok_or(BadSpan::Form)?;
            smallest = unit;
            total = count.checked_mul(unit).and_then(|n| n.checked_add(total)).ok_or(BadSpan::TooLong)?;
        }
        match (number, smallest) {
            (None, s) if s < u64::MAX && total <= SECONDS_MAX => Ok(Self(total)),
            (None, s) if s < u64::MAX => Err(BadSpan::TooLong),
            _ => Err(BadSpan::Form),
        }
    }
}

impl fmt::Display for Seconds {
    /// At most two units, as people say it: `6m 02s`, `9h 21m`, `2d 15h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0;
        let text = match s {
            0..60 => format!("{s}s"),
            60..3600 if s.is_multiple_of(60) => format!("{}m", s / 60),
            60..3600 => format!("{}m {:02}s", s / 60, s % 60),
            3600..86_400 if s % 3600 < 60 => format!("{}h", s / 3600),
            3600..86_400 => format!("{}h {}m", s / 3600, s % 3600 / 60),
            _ if s % 86_400 < 3600 => format!("{}d", s / 86_400),
            _ => format!("{}d {}h", s / 86_400, s % 86_400 / 3600),
        };
        f.pad(&text)
    }
}

/// Whole seconds from `from` to `to`; zero when `to` is earlier.
#[must_use]
pub fn seconds_between(from: Timestamp, to: Timestamp) -> Seconds {
    Seconds(u64::try_from(to.duration_since(from).as_secs()).unwrap_or(0))
}

/// Whether an instant that was set `longest` ahead at the most is still to come. What lies further ahead
/// was set by a clock that has been put back since: it would be waited for far too long.
#[must_use]
pub fn is_ahead(at: Timestamp, longest: Seconds, now: Timestamp) -> bool {
    at > now && at <= longest.after(now)
}

/// `at` cut to the millisecond: what the database keeps, so that what is loaded equals what was held.
#[must_use]
pub fn to_millisecond(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_that_a_wrong_clock_set_is_over() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (at_second, now, ahead) in [(100, 90, true), (100, 100, false), (100, 60, true), (100, 59, false)] {
            assert_eq!(is_ahead(at(at_second), Seconds(40), at(now)), ahead, "{at_second} at {now}");
        }
    }

    #[test]
    fn spans_are_read_and_written() {
        for (text, seconds, shown) in [
            ("20s", 20, "20s"),
            ("20m", 1200, "20m"),
            ("362s", 362, "6m 02s"),
            ("1h30m", 5400, "1h 30m"),
            ("7d", 604_800, "7d"),
            ("63h", 226_800, "2d 15h"),
        ] {
            let span: Seconds = text.parse().unwrap();
            assert_eq!((span.0, span.to_string().as_str()), (seconds, shown), "{text}");
        }
        assert_eq!("20".parse::<Seconds>(), Err(BadSpan::NoUnit("20".into())));
        for bad in ["", "m", "1m1h", "1m2m", "1 h", "-1s", "1h3", "1w", "99999999999999999999s", "9999999d"] {
            assert!(bad.parse::<Seconds>().is_err(), "{bad}");
        }
    }
}
