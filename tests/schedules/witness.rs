//! The calendar of schedules (which day, which minute) held against the slow reading and against croner,
//! another library of the field. What croner makes of clock changes is not asked: it takes a list or range
//! of hours for an interval.

use croner::parser::CronParser;
use jiff::civil::{Date, DateTime, date};
use jiff::tz::TimeZone;
use shipbell::model::schedule::Schedule;

use crate::random::Random;
use crate::slow::Slow;
use crate::texts;

const TEXTS: usize = 200;
const DAYS: i32 = 5 * 366;

/// The days of five years on which a text is due at its one time.
fn by_the_slow_reading(text: &str, from: Date) -> Vec<DateTime> {
    let mut slow = Slow::new(text, "0");
    let fields: Vec<&str> = text.split(' ').collect();
    let (minute, hour) = (fields[0].parse().unwrap(), fields[1].parse().unwrap());
    let days = from.series(jiff::Span::new().days(1)).take(usize::try_from(DAYS).unwrap());
    days.filter(|day| slow.on(*day)).map(|day| day.at(hour, minute, 0, 0)).collect()
}

fn by_shipbell(schedule: &Schedule, from: Date, end: Date) -> Vec<DateTime> {
    let mut at = from.to_zoned(TimeZone::UTC).unwrap().timestamp() - jiff::SignedDuration::from_secs(1);
    let mut found = Vec::new();
    while let Some(next) = schedule.next_after(at) {
        let wall = TimeZone::UTC.to_datetime(next);
        if wall.date() >= end {
            break;
        }
        found.push(wall);
        at = next;
    }
    found
}

fn by_croner(text: &str, from: Date, end: Date) -> Vec<DateTime> {
    let fields: Vec<&str> = text.split(' ').collect();
    // Vixie's star rule, said in croner's words.
    let both = fields[2].starts_with('*') || fields[4].starts_with('*');
    let cron = CronParser::builder().dom_and_dow(both).build().parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    let mut at = from.at(0, 0, 0, 0);
    let mut found = Vec::new();
    let mut inclusive = true;
    while let Ok(next) = cron.find_next_occurrence(&at, inclusive) {
        if next.date() >= end {
            break;
        }
        found.push(next);
        (at, inclusive) = (next, false);
    }
    found
}

#[test]
fn three_readings_of_the_calendar_agree() {
    let mut random = Random::new(crate::seed());
    let (mut dues, mut never) = (0, 0);
    for _ in 0..TEXTS {
        let text = texts::daily(&mut random);
        let from = date(2000 + i16::try_from(texts::number(&mut random, 60)).unwrap(), 1, 1);
        let end = from.checked_add(jiff::Span::new().days(DAYS)).unwrap();
        let slow = by_the_slow_reading(&text, from);
        let Ok(schedule) = Schedule::parse(&text, "UTC") else {
            assert!(slow.is_empty(), "{text} comes, but is refused");
            never += 1;
            continue;
        };
        assert_eq!(by_shipbell(&schedule, from, end), slow, "{text} from {from}");
        // croner reads `L` beside `15W` as `LW`: that one is known.
        let day = text.split(' ').nth(2).unwrap();
        if !(day.contains('L') && day.contains('W')) || day == "LW" {
            assert_eq!(by_croner(&text, from, end), slow, "croner: {text} from {from}");
        }
        dues += slow.len();
    }
    println!("{dues} due times, {never} texts that never come");
    assert!(dues > 20_000 && never > 0, "too little was tried");
}

/// Forty years without a day is not "never".
#[test]
fn the_rarest_days_are_found() {
    for (text, from, due) in [
        ("0 0 29 2 */7", "2088-03-01T00:00:00Z", "2128-02-29T00:00:00Z"),
        ("0 0 * 2 MON#5", "2072-03-01T00:00:00Z", "2112-02-29T00:00:00Z"),
        ("0 0 */30 1 */7", "2000-01-01T00:00:00Z", "2006-01-01T00:00:00Z"),
    ] {
        let next = Schedule::parse(text, "UTC").unwrap().next_after(from.parse().unwrap());
        assert_eq!(next, Some(due.parse().unwrap()), "{text}");
    }
}
