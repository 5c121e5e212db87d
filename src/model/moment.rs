//! Times as people type them: `02:30`, `thu`, `thu 02:30`, `2026-11-26 02:00`, `yesterday`, `+2h`, RFC 3339.
//! A text names a stretch (a day, a minute), because due times lie somewhere in it. Which of several is
//! meant (`thu` of this or of last week) depends on whether one asks of what was or of what comes.

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, ToSpan};

use crate::model::time::{Seconds, Timestamp};

/// From the first to before the second.
pub type Stretch = (Timestamp, Timestamp);

/// Where one looks from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toward {
    Past,
    Future,
}

/// Why a text is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no time: write 02:30, thu, \"thu 02:30\", 2026-11-26, \"2026-11-26 02:00\" or 2026-11-26T02:00:00Z")]
pub struct BadMoment(pub String);

/// A time as it was typed.
#[derive(Debug, Clone)]
enum Moment {
    Instant(Timestamp),
    /// So long before or after now.
    Away(i64),
    Wall(Day, Option<Time>, Span),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Day {
    /// The nearest on which that time lies where one looks.
    Any,
    /// So many days from today.
    From(i64),
    Week(Weekday),
    On(Date),
}

/// The stretch that `text` names, seen from `now` in `zone`.
///
/// # Errors
/// If it is no time.
pub fn stretch(text: &str, now: Timestamp, zone: &TimeZone, toward: Toward) -> Result<Stretch, BadMoment> {
    let bad = || BadMoment(text.escape_debug().to_string());
    let moment = parse(text.trim()).ok_or_else(bad)?;
    let (day, time, length) = match moment {
        Moment::Instant(at) => return Ok((at, Seconds(1).after(at))),
        Moment::Away(seconds) => {
            let at = now.checked_add(seconds.seconds()).map_err(|_| bad())?;
            return Ok((at, Seconds(1).after(at)));
        }
        Moment::Wall(day, time, length) => (day, time, length),
    };
    let today = now.to_zoned(zone.clone()).date();
    let date = match day {
        Day::On(date) => Some(date),
        Day::From(days) => today.checked_add(days.days()).ok(),
        Day::Week(weekday) => near(today, now, zone, toward, 7, time, |date| date.weekday() == weekday),
        Day::Any => near(today, now, zone, toward, 2, time, |_| true),
    };
    of_wall(date.ok_or_else(bad)?, time, length, zone).ok_or_else(bad)
}

/// The nearest day that fits on the side one looks to; today counts as long as its time lies there.
fn near(
    today: Date,
    now: Timestamp,
    zone: &TimeZone,
    toward: Toward,
    days: i64,
    time: Option<Time>,
    fits: impl Fn(Date) -> bool,
) -> Option<Date> {
    let step = if toward == Toward::Past { -1 } else { 1 };
    let there = |date: Date| match time {
        None => true,
        Some(time) => of_wall(date, Some(time), 1.minute(), zone).is_some_and(|(from, _)| match toward {
            Toward::Past => from <= now,
            Toward::Future => from > now,
        }),
    };
    let dates = (0..=days).filter_map(|n| today.checked_add((n * step).days()).ok());
    let mut dates = dates.filter(|date| fits(*date) && there(*date));
    dates.next()
}

/// The instants of a wall clock's stretch; of a time that comes twice both, of one that is skipped the
/// first instant after the gap.
fn of_wall(date: Date, time: Option<Time>, length: Span, zone: &TimeZone) -> Option<Stretch> {
    let Some(time) = time else {
        let start = date.to_zoned(zone.clone()).ok()?.timestamp();
        let end = date.tomorrow().ok()?.to_zoned(zone.clone()).ok()?.timestamp();
        return Some((start, end));
    };
    let ambiguous = zone.to_ambiguous_timestamp(date.to_datetime(time));
    let (from, last) = match ambiguous.offset() {
        AmbiguousOffset::Gap { .. } => {
            let inside = ambiguous.later().ok()?;
            let end = zone.preceding(inside.checked_add(1.nanosecond()).ok()?).next()?.timestamp();
            (end, end)
        }
        _ => (ambiguous.earlier().ok()?, ambiguous.later().ok()?),
    };
    Some((from, last.checked_add(length).ok()?))
}

fn parse(text: &str) -> Option<Moment> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(Moment::Instant(at));
    }
    if text == "now" {
        return Some(Moment::Away(0));
    }
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if let Ok(Seconds(away)) = rest.parse::<Seconds>() {
        return Some(Moment::Away(sign * i64::try_from(away).ok()?));
    }
    let (first, second) = match text.split_once([' ', 'T']) {
        Some((first, second)) if !first.is_empty() => (first, Some(second.trim_start())),
        _ => (text, None),
    };
    if let (Some((time, length)), None) = (clock(first), second) {
        return Some(Moment::Wall(Day::Any, Some(time), length));
    }
    let day = day(first)?;
    match second {
        None => Some(Moment::Wall(day, None, 1.day())),
        Some(second) => clock(second).map(|(time, length)| Moment::Wall(day, Some(time), length)),
    }
}

fn day(text: &str) -> Option<Day> {
    const NAMES: [(&str, Weekday); 7] = [
        ("monday", Weekday::Monday),
        ("tuesday", Weekday::Tuesday),
        ("wednesday", Weekday::Wednesday),
        ("thursday", Weekday::Thursday),
        ("friday", Weekday::Friday),
        ("saturday", Weekday::Saturday),
        ("sunday", Weekday::Sunday),
    ];
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "today" => return Some(Day::From(0)),
        "yesterday" => return Some(Day::From(-1)),
        "tomorrow" => return Some(Day::From(1)),
        _ => {}
    }
    if let Some((_, weekday)) = NAMES.iter().find(|(name, _)| lower.len() >= 3 && name.starts_with(&lower)) {
        return Some(Day::Week(*weekday));
    }
    // Whole dates only: what jiff reads beyond that (times, zones) is not meant here.
    (text.len() == 10).then(|| text.parse::<Date>().ok().map(Day::On)).flatten()
}

/// `02:30` or `02:30:15`, and how long it lasts.
fn clock(text: &str) -> Option<(Time, Span)> {
    let parts: Vec<&str> = text.split(':').collect();
    let number = |part: &&str| part.parse::<i8>().ok().filter(|_| part.len() <= 2 && !part.starts_with(['+', '-']));
    let numbers: Option<Vec<i8>> = parts.iter().map(number).collect();
    match numbers?.as_slice() {
        [hour, minute] => Some((Time::new(*hour, *minute, 0, 0).ok()?, 1.minute())),
        [hour, minute, second] => Some((Time::new(*hour, *minute, *second, 0).ok()?, 1.second())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_type_them() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let now: Timestamp = "2026-11-27T16:56:00Z".parse().unwrap(); // Friday 17:56
        let at = |text: &str, toward| stretch(text, now, &zone, toward).map(|(from, to)| format!("{from} {to}"));
        for (text, past, future) in [
            ("02:30", "2026-11-27T01:30:00Z 2026-11-27T01:31:00Z", "2026-11-28T01:30:00Z 2026-11-28T01:31:00Z"),
            ("18:00", "2026-11-26T17:00:00Z 2026-11-26T17:01:00Z", "2026-11-27T17:00:00Z 2026-11-27T17:01:00Z"),
            ("thu", "2026-11-25T23:00:00Z 2026-11-26T23:00:00Z", "2026-12-02T23:00:00Z 2026-12-03T23:00:00Z"),
            ("fri", "2026-11-26T23:00:00Z 2026-11-27T23:00:00Z", "2026-11-26T23:00:00Z 2026-11-27T23:00:00Z"),
            ("Fri 18:00", "2026-11-20T17:00:00Z 2026-11-20T17:01:00Z", "2026-11-27T17:00:00Z 2026-11-27T17:01:00Z"),
            (
                "thursday 02:30:05",
                "2026-11-26T01:30:05Z 2026-11-26T01:30:06Z",
                "2026-12-03T01:30:05Z 2026-12-03T01:30:06Z",
            ),
            (
                "2026-11-26 02:00",
                "2026-11-26T01:00:00Z 2026-11-26T01:01:00Z",
                "2026-11-26T01:00:00Z 2026-11-26T01:01:00Z",
            ),
            (
                "2026-11-26T02:00",
                "2026-11-26T01:00:00Z 2026-11-26T01:01:00Z",
                "2026-11-26T01:00:00Z 2026-11-26T01:01:00Z",
            ),
            ("2026-11-26", "2026-11-25T23:00:00Z 2026-11-26T23:00:00Z", "2026-11-25T23:00:00Z 2026-11-26T23:00:00Z"),
            (
                "2026-11-26T02:00:00Z",
                "2026-11-26T02:00:00Z 2026-11-26T02:00:01Z",
                "2026-11-26T02:00:00Z 2026-11-26T02:00:01Z",
            ),
            ("yesterday", "2026-11-25T23:00:00Z 2026-11-26T23:00:00Z", "2026-11-25T23:00:00Z 2026-11-26T23:00:00Z"),
            ("2h", "2026-11-27T18:56:00Z 2026-11-27T18:56:01Z", "2026-11-27T18:56:00Z 2026-11-27T18:56:01Z"),
            ("-2h", "2026-11-27T14:56:00Z 2026-11-27T14:56:01Z", "2026-11-27T14:56:00Z 2026-11-27T14:56:01Z"),
            // Twice, and never.
            (
                "2026-10-25 02:30",
                "2026-10-25T00:30:00Z 2026-10-25T01:31:00Z",
                "2026-10-25T00:30:00Z 2026-10-25T01:31:00Z",
            ),
            (
                "2026-03-29 02:30",
                "2026-03-29T01:00:00Z 2026-03-29T01:01:00Z",
                "2026-03-29T01:00:00Z 2026-03-29T01:01:00Z",
            ),
        ] {
            assert_eq!(at(text, Toward::Past).as_deref(), Ok(past), "{text}");
            assert_eq!(at(text, Toward::Future).as_deref(), Ok(future), "{text}");
        }
        for bad in
            ["", "th", "25:00", "02:60", "thu fri", "02:30 thu", "2026-11-31", "noon", "1", "+1:30", " T", "\u{1b}[2J"]
        {
            assert!(at(bad, Toward::Past).is_err(), "{bad}");
        }
    }
}
