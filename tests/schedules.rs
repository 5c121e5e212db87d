//! Schedules, held against their page (every table of docs/schedules.md is asked of the code), against a
//! second, slow reading of them around every change of the clock of two dozen zones, against croner, and
//! against nonsense. `SHIPBELL_SEED=n` repeats one seed; it is printed.

#[path = "schedules/nonsense.rs"]
mod nonsense;
#[path = "schedules/page.rs"]
mod page;
#[path = "schedules/probe.rs"]
mod probe;
#[path = "simulation/random.rs"]
mod random;
#[path = "schedules/slow.rs"]
mod slow;
#[path = "schedules/spec.rs"]
mod spec;
#[path = "schedules/texts.rs"]
mod texts;
#[path = "schedules/witness.rs"]
mod witness;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use shipbell::model::schedule::{Due, Schedule, define};

use random::Random;
use slow::Slow;

/// Where clocks change in every way there is: at midnight, by half an hour, by two hours, around Ramadan,
/// by decree at short notice, across the date line, backwards in summer, not at all.
const ZONES: [&str; 25] = [
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/Juba",
    "America/Asuncion",
    "America/Caracas",
    "America/Havana",
    "America/New_York",
    "America/Nuuk",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Antarctica/Casey",
    "Antarctica/Troll",
    "Asia/Gaza",
    "Asia/Kathmandu",
    "Asia/Pyongyang",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Europe/Dublin",
    "Europe/Istanbul",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Pacific/Kwajalein",
    "UTC",
];

/// Texts tried at each change of a clock.
const TEXTS: usize = 6;

pub fn seed() -> u64 {
    let seed = std::env::var("SHIPBELL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_270_328);
    println!("SHIPBELL_SEED={seed}");
    seed
}

/// Every change of the clock from 1993 on, when Kwajalein lost a day, for 45 years.
fn changes(zone: &TimeZone) -> Vec<Timestamp> {
    let (from, to): (Timestamp, Timestamp) =
        ("1993-01-01T00:00:00Z".parse().unwrap(), "2038-01-01T00:00:00Z".parse().unwrap());
    zone.following(from).map(|change| change.timestamp()).take_while(|change| *change < to).collect()
}

/// All that is due from one instant (not at it) to another.
fn due(schedule: &Schedule, from: Timestamp, to: Timestamp) -> Vec<Due> {
    let mut found: Vec<Due> = Vec::new();
    let mut at = from;
    while let Some(due) = schedule.due_after(at).filter(|due| due.at <= to) {
        assert!(due.at > at, "{due:?} is not after {at}");
        at = due.at;
        found.push(due);
    }
    found
}

#[test]
fn around_every_change_of_the_clock_the_slow_reading_says_the_same() {
    let mut random = Random::new(seed());
    let (mut windows, mut dues, mut missing) = (0, 0, 0);
    for name in ZONES {
        let zone = TimeZone::get(name).unwrap_or_else(|error| panic!("{name}: {error} (is tzdata installed?)"));
        for change in changes(&zone) {
            let jump = zone.to_offset(change).duration_since(zone.to_offset(change - SignedDuration::from_secs(1)));
            let hours = if jump.abs() > SignedDuration::from_hours(3) { 60 } else { 8 };
            let around = SignedDuration::from_hours(hours);
            let (from, to) = (change - around, change + around);
            let minutes = slow::minutes(&zone, from, to);
            windows += 1;
            for _ in 0..TEXTS {
                let text = texts::around(&mut random, zone.to_datetime(change - SignedDuration::from_mins(30)));
                let Ok(def) = define(&text, name, &"host/backup".parse().unwrap(), 0) else {
                    // Right fields, but never a day of five Fridays that is the 28th.
                    assert!(Slow::new(&text.replace('H', "0"), "0").due(&minutes).is_empty(), "{text} is refused");
                    continue;
                };
                let hour = text.split(' ').nth(1).unwrap();
                let expected = Slow::new(def.resolved.as_deref().unwrap_or(&text), hour).due(&minutes);
                let schedule = Schedule::of(&def).unwrap();
                let told: Vec<_> = due(&schedule, from, to).iter().map(|due| (due.at, due.missing)).collect();
                assert_eq!(told, expected, "{text} ({def:?}) around {change}");
                dues += told.len();
                missing += told.iter().filter(|(_, missing)| missing.is_some()).count();
                // From any instant on, also within a second.
                let start = from + SignedDuration::from_millis(texts::number(&mut random, 7_200_000 * hours));
                let next = schedule.due_after(start).filter(|due| due.at <= to).map(|due| (due.at, due.missing));
                assert_eq!(next, expected.into_iter().find(|(at, _)| *at > start), "{text} {name} from {start}");
            }
        }
    }
    println!("{windows} changes of the clock, {dues} due times, {missing} days that do not exist");
    assert!(windows > 1_000 && dues > 50_000 && missing > 3, "too little was tried");
}

/// Once a local day, on every day of 45 years: the promise that a fixed schedule makes.
#[test]
fn a_fixed_time_comes_once_on_every_day_there_is() {
    for name in ZONES {
        let zone = TimeZone::get(name).unwrap();
        for text in ["30 2 * * *", "0 0 * * *", "45 23 * * *"] {
            let schedule = Schedule::parse(text, name).unwrap();
            for change in changes(&zone) {
                let mut day = zone.to_datetime(change).date().checked_sub(jiff::Span::new().days(4)).unwrap();
                let mut at = day.at(23, 59, 30, 0).to_zoned(zone.clone()).unwrap().timestamp();
                for _ in 0..8 {
                    let due = schedule.due_after(at).unwrap();
                    day = day.tomorrow().unwrap();
                    // In Nuuk the clock goes from 23:00 to midnight: the last second before is still of the day.
                    let on = |ago| zone.to_datetime(due.at - SignedDuration::from_secs(ago)).date();
                    let told = due.missing.map_or([on(0), on(1)], |missing| [missing; 2]);
                    assert!(told.contains(&day), "{text} {name} after {at}: {due:?} is not on {day}");
                    at = due.at;
                }
            }
        }
    }
}
