//! A second reading of schedules, slow and plain, to hold the real one against: every minute of real time
//! is looked at in turn, as if one stood before the clock on the wall with a calendar in the hand. It knows
//! nothing of offsets, gaps or folds; it only sees that the clock on the wall jumped.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// Fields that are known to be good, as texts and sets.
pub struct Slow {
    minutes: BTreeSet<u32>,
    hours: BTreeSet<u32>,
    day: String,
    months: BTreeSet<u32>,
    weekday: String,
    fixed: bool,
    known_days: BTreeMap<Date, bool>,
}

/// What is due: the instant, and the day where it is one that does not exist.
pub type Due = (Timestamp, Option<Date>);

impl Slow {
    /// `hour_as_written` decides whether the schedule is fixed.
    pub fn new(plain: &str, hour_as_written: &str) -> Self {
        let fields: Vec<&str> = plain.split_whitespace().collect();
        Self {
            minutes: values(fields[0], 0, 59),
            hours: values(fields[1], 0, 23),
            day: fields[2].to_uppercase(),
            months: values(fields[3], 1, 12),
            weekday: fields[4].to_uppercase(),
            fixed: !hour_as_written.contains('*') && !hour_as_written.contains('H'),
            known_days: BTreeMap::new(),
        }
    }

    /// Whether it is due when the wall shows this.
    pub fn shows(&mut self, wall: DateTime) -> bool {
        self.minutes.contains(&unsigned(wall.minute()))
            && self.hours.contains(&unsigned(wall.hour()))
            && self.on(wall.date())
    }

    pub fn on(&mut self, date: Date) -> bool {
        if let Some(known) = self.known_days.get(&date) {
            return *known;
        }
        let day = self.day.split(',').any(|item| day_is(item, date));
        let weekday = self.weekday.split(',').any(|item| weekday_is(item, date));
        // man 5 crontab: a field that begins with a star does not count as restricted.
        let either = !self.day.starts_with('*') && !self.weekday.starts_with('*');
        let on = self.months.contains(&unsigned(date.month())) && if either { day || weekday } else { day && weekday };
        self.known_days.insert(date, on);
        on
    }

    /// All that is due of these minutes, which follow each other in real time, but the first.
    pub fn due(&mut self, minutes: &[Minute]) -> Vec<Due> {
        let mut found = Vec::new();
        for minute in minutes.iter().skip(1) {
            let missing = whole_days(&minute.left_out);
            if let Some(day) = missing.iter().copied().find(|day| self.on(*day)) {
                found.push((minute.at - 1.second(), Some(day)));
            }
            let mut of_a_day = minute.left_out.iter().filter(|skipped| !missing.contains(&skipped.date()));
            let caught_up = self.fixed && of_a_day.any(|skipped| self.shows(*skipped));
            let again = self.fixed && minute.again;
            if caught_up || (self.shows(minute.wall) && !again) {
                found.push((minute.at, None));
            }
        }
        found
    }
}

/// A minute of real time.
pub struct Minute {
    at: Timestamp,
    /// What the wall shows.
    wall: DateTime,
    /// What the wall did not show since the minute before.
    left_out: Vec<DateTime>,
    /// The wall showed the same before.
    again: bool,
}

/// Days of which not one minute came.
fn whole_days(left_out: &[DateTime]) -> Vec<Date> {
    let mut counts: BTreeMap<Date, usize> = BTreeMap::new();
    for minute in left_out {
        *counts.entry(minute.date()).or_default() += 1;
    }
    counts.into_iter().filter(|(_, count)| *count == 24 * 60).map(|(day, _)| day).collect()
}

/// The minutes of real time from one instant to another.
pub fn minutes(zone: &TimeZone, from: Timestamp, to: Timestamp) -> Vec<Minute> {
    let mut found: Vec<Minute> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut at = from;
    while at <= to {
        let wall = zone.to_datetime(at);
        let mut left_out = Vec::new();
        if let Some(last) = found.last() {
            let mut next = last.wall + 1.minute();
            while next < wall {
                left_out.push(next);
                next += 1.minute();
            }
        }
        found.push(Minute { at, wall, left_out, again: !seen.insert(wall) });
        at += SignedDuration::from_mins(1);
    }
    found
}

fn values(field: &str, first: u32, last: u32) -> BTreeSet<u32> {
    field.split(',').flat_map(|item| spread(item, first, last)).collect()
}

fn spread(item: &str, first: u32, last: u32) -> Vec<u32> {
    let (range, step) = item.split_once('/').map_or((item, 1), |(range, step)| (range, step.parse().unwrap()));
    let (from, to) = match range.split_once('-') {
        Some((from, to)) => (named(from), named(to)),
        None if range == "*" => (first, last),
        None => (named(range), named(range)),
    };
    (from..=to).step_by(step).collect()
}

fn named(text: &str) -> u32 {
    const MONTHS: &str = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC";
    const WEEKDAYS: &str = "SUN MON TUE WED THU FRI SAT";
    let text = text.to_uppercase();
    let month = MONTHS.split(' ').zip(1..).find(|(name, _)| *name == text);
    let weekday = WEEKDAYS.split(' ').zip(0..).find(|(name, _)| *name == text);
    month.or(weekday).map_or_else(|| text.parse().unwrap(), |(_, number)| number)
}

fn day_is(item: &str, date: Date) -> bool {
    let working = |day: Date| !matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday);
    let month = || (1..=date.days_in_month()).map(|day| date.with().day(day).build().unwrap());
    match item {
        "L" => date.tomorrow().unwrap().month() != date.month(),
        "LW" => month().rfind(|day| working(*day)) == Some(date),
        _ => match item.strip_suffix('W') {
            Some(wanted) => {
                let wanted: i8 = wanted.parse().unwrap();
                let distance = |day: &Date| (day.day() - wanted).abs();
                month().any(|day| day.day() == wanted)
                    && month().filter(|day| working(*day)).min_by_key(distance) == Some(date)
            }
            None => spread(item, 1, 31).contains(&unsigned(date.day())),
        },
    }
}

fn weekday_is(item: &str, date: Date) -> bool {
    let number = unsigned(date.weekday().to_sunday_zero_offset());
    let is = |text: &str| named(text) % 7 == number;
    if let Some((weekday, count)) = item.split_once('#') {
        let earlier = (0..date.day()).step_by(7).count();
        return is(weekday) && earlier == count.parse::<usize>().unwrap();
    }
    match item.strip_suffix('L') {
        Some(weekday) => is(weekday) && (date + 7.days()).month() != date.month(),
        None => spread(item, 0, 6).iter().any(|value| value % 7 == number),
    }
}

fn unsigned(part: i8) -> u32 {
    u32::try_from(part).unwrap()
}
