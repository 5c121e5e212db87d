//! Due times: five cron fields in a zone, and the one rule for clocks that are put forward or back.
//! A schedule whose hour is named (no `*` and no `H` in it) is *fixed*: times of it that a gap leaves out
//! give one run at the first minute after the gap, and of a repeated time only the first pass counts.
//! Everything else follows real time: both passes run, and what a gap leaves out does not exist.
//! A whole day that is left out is told as such. What becomes of a due time is not decided here.

mod calendar;
mod fields;
mod spread;

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};
use jiff::{SignedDuration, Span};

use crate::model::job::ScheduleDef;
use crate::model::name::JobKey;
use crate::model::time::Timestamp;

use calendar::Pattern;
use spread::Owner;

/// Due once a boot of the host.
pub const REBOOT: &str = "@reboot";

/// A fold of a day holds its minutes; beyond that something is very wrong.
const REPEATED_MINUTES: usize = 10_000;
/// Changes of the offset looked past: at most four a year, and the rarest schedule comes within 40 years.
const CHANGES: usize = 200;

/// What a schedule says next. In order of time: `at` comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Due {
    /// Always later than what was asked from. No two dues of a schedule have the same instant.
    pub at: Timestamp,
    /// The local day that does not exist (Apia left out 2011-12-30): not a time to run at, only to be
    /// written down as skipped, once, whatever number of times the day would have had.
    /// `at` is then the last second before the clock was put forward, at which nothing else is ever due.
    pub missing: Option<Date>,
}

impl Due {
    /// Why it is skipped, in the ledger's words; `None`: it is a time to run at.
    #[must_use]
    pub fn skipped(&self) -> Option<String> {
        self.missing.map(|day| format!("no such day: {day}"))
    }
}

/// The first due time after `from` of a list of schedules: a list unites, equal instants are one.
/// A definition that does not parse (none that config lets through) has no times.
#[must_use]
pub fn due_after(list: &[ScheduleDef], from: Timestamp) -> Option<Due> {
    list.iter().filter_map(|def| Schedule::of(def).ok()?.due_after(from)).min()
}

/// A parsed schedule: some 80 bytes, cheap to make, to clone and to keep.
#[derive(Debug, Clone)]
pub struct Schedule {
    when: When,
    zone: TimeZone,
}

#[derive(Debug, Clone, Copy)]
enum When {
    Reboot,
    /// The hour is named.
    Fixed(Pattern),
    /// By real time.
    Counted(Pattern),
}

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    /// What is wrong, and what to write.
    #[error("{0}; {1}")]
    Pattern(String, String),
    #[error("no time zone `{0}` in the system's tzdata")]
    Zone(String),
}

impl BadSchedule {
    /// What is wrong, and what to write.
    #[must_use]
    pub fn told(&self) -> (String, String) {
        match self {
            Self::Pattern(wrong, hint) => (wrong.clone(), hint.clone()),
            Self::Zone(_) => (self.to_string(), "write it like \"Europe/Berlin\"".into()),
        }
    }
}

/// A job's schedule as it is written, `index` counted in the job's list, with every `H` made a number.
///
/// # Errors
/// If it is no schedule, if it never comes, or if the zone is unknown.
pub fn define(text: &str, zone: &str, job: &JobKey, index: usize) -> Result<ScheduleDef, BadSchedule> {
    let text = text.trim();
    let resolved = match text {
        REBOOT => None,
        _ => fields::read(text, Some(Owner { job: &job.to_string(), index }))?.resolved,
    };
    let def = ScheduleDef { text: text.to_owned(), resolved, zone: zone.to_owned() };
    Schedule::of(&def)?.that_comes()?;
    Ok(def)
}

impl Schedule {
    /// A schedule without `H`.
    ///
    /// # Errors
    /// If the text is not five cron fields (or `@daily` and friends), if it never comes, or if the zone
    /// is unknown.
    pub fn parse(text: &str, zone: &str) -> Result<Self, BadSchedule> {
        Self::read(text, text, zone)?.that_comes()
    }

    fn that_comes(self) -> Result<Self, BadSchedule> {
        // The calendar repeats: what does not come from here does not come at all.
        let start = DateTime::constant(2000, 1, 1, 0, 0, 0, 0);
        match self.when {
            When::Fixed(pattern) | When::Counted(pattern) if pattern.next(start, true).is_none() => {
                Err(BadSchedule::Pattern("this schedule never comes".into(), "no month has that day".into()))
            }
            _ => Ok(self),
        }
    }

    /// The schedule of a definition.
    ///
    /// # Errors
    /// As [`Schedule::parse`]; a definition that [`define`] made has none.
    pub fn of(def: &ScheduleDef) -> Result<Self, BadSchedule> {
        Self::read(&def.text, def.resolved.as_ref().unwrap_or(&def.text), &def.zone)
    }

    fn read(written: &str, plain: &str, zone: &str) -> Result<Self, BadSchedule> {
        let zone = TimeZone::get(zone).map_err(|_| BadSchedule::Zone(zone.to_owned()))?;
        if plain.trim() == REBOOT {
            return Ok(Self { when: When::Reboot, zone });
        }
        let fields = fields::read(plain, None)?;
        // The hour as it is written decides, not the number that an `H` there has become.
        let hashed = written.split_whitespace().nth(1).is_some_and(|hour| hour.contains('H'));
        let when = if fields.fixed && !hashed { When::Fixed } else { When::Counted };
        Ok(Self { when: when(fields.pattern), zone })
    }

    /// `@reboot`: due once a boot (of the host, by its boot id); it has no times.
    #[must_use]
    pub fn is_reboot(&self) -> bool {
        matches!(self.when, When::Reboot)
    }

    /// The hour is named: the schedule happens once a local day, whatever the clock does.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        matches!(self.when, When::Fixed(_))
    }

    /// The first time to run at after `from`; always later than `from`. `None`: it never comes.
    #[must_use]
    pub fn next_after(&self, from: Timestamp) -> Option<Timestamp> {
        let mut due = self.due_after(from)?;
        while due.missing.is_some() {
            due = self.due_after(due.at)?;
        }
        Some(due.at)
    }

    /// What the schedule says next after `from`: a time to run at, or a day that does not exist.
    /// Asked again from each answer's `at` it gives every one once, in order. `None`: nothing comes.
    #[must_use]
    pub fn due_after(&self, from: Timestamp) -> Option<Due> {
        let due = match &self.when {
            When::Reboot => None,
            When::Fixed(pattern) => self.fixed_after(pattern, from),
            When::Counted(pattern) => self.counted_after(pattern, from),
        }?;
        debug_assert!(due.at > from, "{self:?} from {from} gives {due:?}");
        (due.at > from).then_some(due)
    }

    /// The wall clock's times in order, each at its one instant. That instant never goes back from one
    /// time to the next, so the first one after `from` is the answer.
    fn fixed_after(&self, pattern: &Pattern, from: Timestamp) -> Option<Due> {
        let mut wall = self.zone.to_datetime(from);
        for _ in 0..REPEATED_MINUTES {
            wall = pattern.next(wall, false)?;
            let due = self.once(wall)?;
            if due.at > from {
                return Some(due);
            }
        }
        None
    }

    /// The one instant of a time on the wall.
    fn once(&self, wall: DateTime) -> Option<Due> {
        let ambiguous = self.zone.to_ambiguous_timestamp(wall);
        let AmbiguousOffset::Gap { before, after } = ambiguous.offset() else {
            return Some(Due { at: ambiguous.earlier().ok()?, missing: None });
        };
        // Read with the offset before the gap the time lies after the change.
        let inside = before.to_timestamp(wall).ok()?.checked_add(Span::new().seconds(1)).ok()?;
        let gap = self.zone.preceding(inside).map(|change| Gap { change: change.timestamp(), before, after });
        let gap = gap.take(4).find(|gap| gap.holds(wall))?;
        if gap.leaves_out(wall.date()) {
            return Some(Due { at: gap.last_second()?, missing: Some(wall.date()) });
        }
        let (ends, minute) = (gap.ends(), SignedDuration::from_mins(1));
        // Only the local mean times of long ago were put forward to a part of a minute.
        let odd = SignedDuration::new(ends.second().into(), ends.subsec_nanosecond());
        let at = if odd.is_zero() { gap.change } else { gap.change.checked_add(minute - odd).ok()? };
        Some(Due { at, missing: None })
    }

    /// Between two changes of the offset the wall clock runs evenly: each such stretch is searched by itself.
    fn counted_after(&self, pattern: &Pattern, from: Timestamp) -> Option<Due> {
        let (mut at, mut inclusive) = (from, false);
        for _ in 0..CHANGES {
            let before = self.zone.to_offset(at);
            let wall = pattern.next(before.to_datetime(at), inclusive);
            let next = wall.and_then(|wall| before.to_timestamp(wall).ok());
            let change = self.zone.following(at).map(|change| change.timestamp()).find(|&change| change > at);
            let Some(change) = change.filter(|&change| next.is_none_or(|next| change <= next)) else {
                return next.map(|at| Due { at, missing: None });
            };
            let gap = Gap { change, before, after: self.zone.to_offset(change) };
            if let (Some(missing), Some(told)) = (gap.missing_of(pattern), gap.last_second())
                && told > from
            {
                return Some(Due { at: told, missing: Some(missing) });
            }
            (at, inclusive) = (change, true);
        }
        None
    }
}

/// The clock is put forward at an instant: from `before` to `after` no time on the wall exists.
struct Gap {
    change: Timestamp,
    before: Offset,
    after: Offset,
}

impl Gap {
    fn begins(&self) -> DateTime {
        self.before.to_datetime(self.change)
    }

    fn ends(&self) -> DateTime {
        self.after.to_datetime(self.change)
    }

    fn holds(&self, wall: DateTime) -> bool {
        self.begins() <= wall && wall < self.ends()
    }

    fn leaves_out(&self, day: Date) -> bool {
        let midnight = day.to_datetime(jiff::civil::Time::midnight());
        let next = midnight.checked_add(Span::new().days(1));
        self.begins() <= midnight && next.is_ok_and(|next| next <= self.ends())
    }

    /// The first day that is left out and that the pattern chooses.
    fn missing_of(&self, pattern: &Pattern) -> Option<Date> {
        // Nearly every gap is of an hour.
        if self.after.duration_since(self.before) < SignedDuration::from_hours(24) {
            return None;
        }
        let days = self.begins().date().series(Span::new().days(1));
        days.take_while(|day| *day <= self.ends().date()).find(|day| self.leaves_out(*day) && pattern.chooses(*day))
    }

    fn last_second(&self) -> Option<Timestamp> {
        self.change.checked_sub(Span::new().seconds(1)).ok()
    }
}

#[cfg(test)]
mod tests;
