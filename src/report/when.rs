//! Instants as people say them: in the zone of those who read, with UTC beside it where it matters.
//! Nothing here reads a clock.

use jiff::Zoned;
use jiff::tz::TimeZone;

use crate::model::time::{Seconds, Timestamp, seconds_between};

/// The zone of an IANA name; UTC where the host does not know it.
#[must_use]
pub fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}

/// `17:55` today, `Mon 17:55` within a week, else `Mon 30 Nov 17:55`, with the year where it is another one.
#[must_use]
pub fn near(at: Timestamp, zone: &TimeZone, now: Timestamp) -> String {
    let (local, today) = (at.to_zoned(zone.clone()), now.to_zoned(zone.clone()));
    let days = local.date().since(today.date()).map_or(i32::MAX, |span| span.get_days());
    let format = match days {
        0 => "%H:%M",
        -6..=6 => "%a %H:%M",
        _ if local.year() == today.year() => "%a %-d %b %H:%M",
        _ => "%-d %b %Y %H:%M",
    };
    local.strftime(format).to_string()
}

/// `09:00` today, `Thu` within a week, else `26 Oct`, with the year where it is another one.
#[must_use]
pub fn since(at: Timestamp, zone: &TimeZone, now: Timestamp) -> String {
    let (local, today) = (at.to_zoned(zone.clone()), now.to_zoned(zone.clone()));
    let days = local.date().since(today.date()).map_or(i32::MAX, |span| span.get_days());
    let format = match days {
        0 => "%H:%M",
        -6..=6 => "%a",
        _ if local.year() == today.year() => "%-d %b",
        _ => "%-d %b %Y",
    };
    local.strftime(format).to_string()
}

/// `Mon 30 Nov 17:55`: for what is still to come, where a mistaken day would cost.
#[must_use]
pub fn day(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%a %-d %b %H:%M").to_string()
}

/// `Mon 30 Nov 17:55 (16:55 UTC)`.
#[must_use]
pub fn exact(at: Timestamp, zone: &TimeZone) -> String {
    let (local, utc) = (at.to_zoned(zone.clone()), at.to_zoned(TimeZone::UTC));
    if same_wall(&local, &utc) {
        return format!("{} UTC", day(at, &TimeZone::UTC));
    }
    let short = if local.date() == utc.date() { "%H:%M" } else { "%a %-d %b %H:%M" };
    format!("{} ({} UTC)", day(at, zone), utc.strftime(short))
}

fn same_wall(a: &Zoned, b: &Zoned) -> bool {
    a.datetime() == b.datetime()
}

/// The hour of the day, for "tonight".
#[must_use]
pub fn hour(at: Timestamp, zone: &TimeZone) -> i8 {
    at.to_zoned(zone.clone()).hour()
}

/// Whether both fall on one day.
#[must_use]
pub fn same_day(a: Timestamp, b: Timestamp, zone: &TimeZone) -> bool {
    a.to_zoned(zone.clone()).date() == b.to_zoned(zone.clone()).date()
}

/// How long from one instant to another.
#[must_use]
pub fn span(from: Timestamp, to: Timestamp) -> Seconds {
    seconds_between(from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_said_as_people_do() {
        let berlin = zone("Europe/Berlin");
        let now: Timestamp = "2026-11-27T16:55:00Z".parse().unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        for (text, nearly, exactly) in [
            ("2026-11-27T17:10:00Z", "18:10", "Fri 27 Nov 18:10 (17:10 UTC)"),
            ("2026-11-30T16:55:00Z", "Mon 17:55", "Mon 30 Nov 17:55 (16:55 UTC)"),
            ("2026-12-04T16:55:00Z", "Fri 4 Dec 17:55", "Fri 4 Dec 17:55 (16:55 UTC)"),
            ("2026-11-29T23:30:00Z", "Mon 00:30", "Mon 30 Nov 00:30 (Sun 29 Nov 23:30 UTC)"),
            ("2027-01-04T08:00:00Z", "4 Jan 2027 09:00", "Mon 4 Jan 09:00 (08:00 UTC)"),
        ] {
            assert_eq!((near(at(text), &berlin, now).as_str(), exact(at(text), &berlin).as_str()), (nearly, exactly));
        }
        assert_eq!(exact(now, &zone("UTC")), "Fri 27 Nov 16:55 UTC");
        assert_eq!(exact(now, &zone("No/Where")), "Fri 27 Nov 16:55 UTC");
    }
}
