//! Which due times there are, found in a slow and simple way: nothing of the product is asked.

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use shipbell::model::time::Timestamp;

use crate::random::Random;

pub const ZONES: &[&str] =
    &["UTC", "Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe", "Africa/Casablanca"];

/// One rule as it is written and as it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// At these local times of every day, or of one weekday (0 = Sunday).
    Daily { times: Vec<(i8, i8)>, weekday: Option<i8>, zone: &'static str },
    /// At this minute of every hour; a multiple of 15.
    Hourly { minute: i8, zone: &'static str },
    /// Every so many seconds since it was loaded.
    Every { seconds: i64 },
}

impl Rule {
    pub fn random(random: &mut Random) -> Self {
        let zone = random.pick(ZONES).copied().unwrap();
        let small = |random: &mut Random, end| i8::try_from(random.below(end)).unwrap();
        match random.below(20) {
            0..=1 => Self::Hourly { minute: small(random, 4) * 15, zone },
            2 => Self::Every { seconds: 3600 * (3 + i64::try_from(random.below(40)).unwrap()) },
            3..=6 => {
                let weekday = Some(small(random, 7));
                Self::Daily { times: vec![(small(random, 24), small(random, 60))], weekday, zone }
            }
            _ => {
                // The hours in which clocks are changed, more often than others.
                let hour = if random.one_in(2) { small(random, 4) } else { small(random, 24) };
                let minute = small(random, 60);
                Self::Daily { times: vec![(hour, minute), ((hour + 5) % 24, minute)], weekday: None, zone }
            }
        }
    }

    /// As it stands in a job file.
    pub fn text(&self) -> String {
        match self {
            Self::Daily { times, weekday, zone } => {
                let mut hours: Vec<i8> = times.iter().map(|(hour, _)| *hour).collect();
                hours.sort_unstable();
                let hours: Vec<String> = hours.iter().map(ToString::to_string).collect();
                let day = weekday.map_or("*".to_owned(), |day| day.to_string());
                format!("schedule = \"{} {} * * {day}\"\ntimezone = \"{zone}\"", times[0].1, hours.join(","))
            }
            Self::Hourly { minute, zone } => format!("schedule = \"{minute} * * * *\"\ntimezone = \"{zone}\""),
            Self::Every { seconds } => format!("every = \"{seconds}s\""),
        }
    }

    /// Due times after `from` up to `to`, in order; `since` is when it was loaded.
    pub fn due(&self, since: Timestamp, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
        let mut found = match self {
            Self::Every { seconds } => {
                let count = (to.as_second() - since.as_second()) / seconds + 1;
                let at =
                    |k: i64| since.checked_add(std::time::Duration::from_secs((k * seconds).unsigned_abs())).unwrap();
                (1..=count.max(0)).map(at).collect()
            }
            Self::Hourly { minute, zone } => hourly(*minute, &TimeZone::get(zone).unwrap(), from, to),
            Self::Daily { times, weekday, zone } => daily(times, *weekday, &TimeZone::get(zone).unwrap(), from, to),
        };
        found.retain(|at| *at > from && *at <= to);
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Every quarter of an hour of real time at which the wall shows this minute.
fn hourly(minute: i8, zone: &TimeZone, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let quarter = 900;
    let first = from.as_second() / quarter;
    let all = (first..=to.as_second() / quarter).map(|at| Timestamp::from_second(at * quarter).unwrap());
    all.filter(|at| zone.to_datetime(*at).minute() == minute).collect()
}

/// Each local time once a day: a skipped one at the end of the gap, a repeated one at its first pass.
fn daily(times: &[(i8, i8)], weekday: Option<i8>, zone: &TimeZone, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let mut day: Date = zone.to_datetime(from).date().yesterday().unwrap();
    let last = zone.to_datetime(to).date().tomorrow().unwrap();
    let mut found = Vec::new();
    while day <= last {
        if weekday.is_none_or(|weekday| day.weekday().to_sunday_zero_offset() == weekday) {
            found.extend(times.iter().map(|(hour, minute)| instant(day.at(*hour, *minute, 0, 0), zone)));
        }
        day = day.tomorrow().unwrap();
    }
    found
}

fn instant(wall: DateTime, zone: &TimeZone) -> Timestamp {
    let ambiguous = zone.to_ambiguous_timestamp(wall);
    let AmbiguousOffset::Gap { .. } = ambiguous.offset() else { return ambiguous.earlier().unwrap() };
    // Minute by minute to the first one that exists.
    let mut wall = wall;
    loop {
        wall = wall.checked_add(jiff::Span::new().minutes(1)).unwrap();
        if !matches!(zone.to_ambiguous_timestamp(wall).offset(), AmbiguousOffset::Gap { .. }) {
            return zone.to_ambiguous_timestamp(wall).earlier().unwrap();
        }
    }
}
