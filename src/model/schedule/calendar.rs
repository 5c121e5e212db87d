//! Which minutes of the civil calendar a schedule chooses: its five fields as bits, and the search for the
//! next minute. No zone and no clock here; what a change of the clock does to a minute is decided in
//! `schedule.rs`, what the fields may say in `fields.rs`.

use jiff::Span;
use jiff::civil::{Date, DateTime, Time};

/// The rarest day there is, the 29th of February on a named weekday, comes within 40 years.
const SEARCHED_MONTHS: usize = 45 * 12;
/// Days 1, 8, 15, 22 and 29, less one: moved to a first day it is every such weekday of a month.
const WEEKLY: u32 = 1 | 1 << 7 | 1 << 14 | 1 << 21 | 1 << 28;
const EVERY_WEEKDAY: u8 = 0x7f;

/// Five fields. Bit n stands for the value n; weekdays count from Sunday.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pattern {
    pub minutes: u64,
    pub hours: u32,
    pub days: u32,
    /// `15W`: the working day nearest to it, within the month.
    pub nearest: u32,
    /// `L`
    pub last_day: bool,
    /// `LW`
    pub last_working_day: bool,
    pub months: u16,
    pub weekdays: u8,
    /// `5L`
    pub last_weekdays: u8,
    /// `FRI#2`, `FRI#1` first: the weekday's bit in one number for each count.
    pub nth: [u8; 5],
    /// Both day fields must choose the day (one of them begins with `*`); else one of them is enough.
    pub both: bool,
}

impl Pattern {
    /// The first minute chosen after `wall`, or at it where `inclusive`.
    #[must_use]
    pub fn next(&self, wall: DateTime, inclusive: bool) -> Option<DateTime> {
        let minute = wall.date().at(wall.hour(), wall.minute(), 0, 0);
        let start = match inclusive && minute == wall {
            true => minute,
            false => minute.checked_add(Span::new().minutes(1)).ok()?,
        };
        if self.chooses(start.date())
            && let Some(time) = self.time_from(number(start.hour()), number(start.minute()))
        {
            return Some(start.date().to_datetime(time));
        }
        Some(self.day_after(start.date())?.to_datetime(self.time_from(0, 0)?))
    }

    /// Whether a day is one of it.
    #[must_use]
    pub fn chooses(&self, day: Date) -> bool {
        self.days_of(day.first_of_month()) & 1 << number(day.day()) != 0
    }

    fn time_from(&self, hour: u32, minute: u32) -> Option<Time> {
        let within = self.minutes >> minute;
        if self.hours & 1 << hour != 0 && within != 0 {
            return time(hour, minute + within.trailing_zeros());
        }
        // Two shifts: one of 24 would be fine, one of 32 would not.
        let later = self.hours >> hour >> 1;
        if later == 0 || self.minutes == 0 {
            return None;
        }
        time(hour + 1 + later.trailing_zeros(), self.minutes.trailing_zeros())
    }

    fn day_after(&self, day: Date) -> Option<Date> {
        let mut month = day.first_of_month();
        let passed = 1_u32.checked_shl(number(day.day()) + 1).map_or(u32::MAX, |bit| bit - 1);
        let mut left = self.days_of(month) & !passed;
        for _ in 0..SEARCHED_MONTHS {
            if left != 0 {
                return Date::new(month.year(), month.month(), i8::try_from(left.trailing_zeros()).ok()?).ok();
            }
            month = month.checked_add(Span::new().months(1)).ok()?;
            left = self.days_of(month);
        }
        None
    }

    /// The days chosen of the month that begins with `first`.
    fn days_of(&self, first: Date) -> u32 {
        if self.months & 1 << number(first.month()) == 0 {
            return 0;
        }
        let length = number(first.days_in_month());
        let whole = u32::MAX >> (31 - length) & !1;
        let begins = number(first.weekday().to_sunday_zero_offset());
        let (by_day, by_week) = (self.by_day(length, begins), self.by_week(whole, begins));
        whole & if self.both { by_day & by_week } else { by_day | by_week }
    }

    fn by_day(&self, length: u32, begins: u32) -> u32 {
        let weekday = |day: u32| (begins + day - 1) % 7;
        let mut days = self.days;
        if self.last_day {
            days |= 1 << length;
        }
        if self.last_working_day {
            days |= match weekday(length) {
                6 => 1 << (length - 1),
                0 => 1 << (length - 2),
                _ => 1 << length,
            };
        }
        for day in (1..=length).filter(|day| self.nearest & 1 << day != 0) {
            days |= match weekday(day) {
                6 if day > 1 => 1 << (day - 1),
                6 => 1 << (day + 2),
                0 if day < length => 1 << (day + 1),
                0 => 1 << (day - 2),
                _ => 1 << day,
            };
        }
        days
    }

    fn by_week(&self, whole: u32, begins: u32) -> u32 {
        if self.weekdays == EVERY_WEEKDAY {
            return whole;
        }
        let mut days = 0;
        for weekday in 0..7 {
            let bit = 1_u8 << weekday;
            let first = 1 + (weekday + 7 - begins) % 7;
            let all = WEEKLY << first & whole;
            if self.weekdays & bit != 0 {
                days |= all;
            }
            if self.last_weekdays & bit != 0 {
                days |= all.checked_ilog2().map_or(0, |last| 1 << last);
            }
            for (count, _) in (0_u32..).zip(&self.nth).filter(|(_, weekdays)| *weekdays & bit != 0) {
                days |= all & 1_u32.checked_shl(first + 7 * count).unwrap_or(0);
            }
        }
        days
    }
}

/// jiff's small numbers, of which none here is below zero.
fn number(part: i8) -> u32 {
    u32::from(part.unsigned_abs())
}

fn time(hour: u32, minute: u32) -> Option<Time> {
    Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0).ok()
}
