//! Due times: five cron fields in a zone. croner parses the fields and enumerates the wall clock; what
//! happens when the clock is put forward or back is decided here:
//! where the hour is named (`30 2`, `15 2,3`) each named time happens once a day, a skipped one at the
//! end of the gap, a repeated one at its first pass; where the hour holds a `*` (`*/15 *`, `0 */2`)
//! real time counts: both passes run, and what the gap skips does not exist.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use crate::model::job::ScheduleDef;
use crate::model::time::Timestamp;

/// What a schedule says next. In order of time: `at` comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Due {
    /// Always later than what was asked from. No two dues of a schedule have the same instant.
    pub at: Timestamp,
    /// The local day that does not exist (Apia left out 2011-12-30): not a time to run at, only to be
    /// written down as `skipped(no such day)`, once, whatever number of times the day would have had.
    /// `at` is then the last second before the clock was put forward, at which nothing else is ever due.
    pub missing: Option<Date>,
}

/// A parsed schedule. Cheap to clone: the pattern is shared.
#[derive(Debug, Clone)]
pub struct Schedule {
    pattern: Arc<Pattern>,
    zone: TimeZone,
    /// `@reboot`: once a boot, at no time of its own.
    reboot: bool,
}

/// The first due time after `from` of a list of schedules: a list unites, equal instants are one.
/// A definition that does not parse (none does that config let through) has no times.
#[must_use]
pub fn due_after(list: &[ScheduleDef], from: Timestamp) -> Option<Due> {
    list.iter().filter_map(|def| Schedule::of(def).ok()?.due_after(from)).min()
}

#[derive(Debug)]
struct Pattern {
    cron: croner::Cron,
    hour_named: bool,
}

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    /// What is wrong, and what to write (may be empty).
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

impl Schedule {
    /// # Errors
    /// If the text is not five cron fields (or `@daily` and friends), if it never comes, or if the
    /// zone is unknown.
    pub fn parse(text: &str, zone: &str) -> Result<Self, BadSchedule> {
        let zone = TimeZone::get(zone).map_err(|_| BadSchedule::Zone(zone.to_owned()))?;
        let reboot = text.trim() == "@reboot";
        let text = if reboot { "@yearly" } else { text };
        Ok(Self { pattern: Pattern::shared(text)?, zone, reboot })
    }

    /// The schedule of a definition.
    ///
    /// # Errors
    /// As [`Schedule::parse`]; only a definition that config did not make has any.
    pub fn of(def: &ScheduleDef) -> Result<Self, BadSchedule> {
        Self::parse(def.resolved.as_ref().unwrap_or(&def.text), &def.zone)
    }

    /// `@reboot`: due once a boot (of the host, by its boot id); it has no times.
    #[must_use]
    pub fn is_reboot(&self) -> bool {
        self.reboot
    }

    /// What the schedule says next after `from`: a time to run at, or a day that does not exist.
    /// Asked again from each answer's `at` it gives every one once, in order. `None`: nothing comes.
    #[must_use]
    pub fn due_after(&self, from: Timestamp) -> Option<Due> {
        self.next_after(from).map(|at| Due { at, missing: None })
    }

    /// The first time to run at after `from`; always later than `from`. `None`: it never comes.
    #[must_use]
    pub fn next_after(&self, from: Timestamp) -> Option<Timestamp> {
        if self.reboot {
            return None;
        }
        match self.pattern.hour_named {
            true => self.next_named(from),
            false => self.next_counted(from),
        }
    }

    /// The wall clock's times in order, each at its one instant. That instant never goes back from one
    /// time to the next, so the first one after `from` is the answer.
    fn next_named(&self, from: Timestamp) -> Option<Timestamp> {
        let mut wall = from.to_zoned(self.zone.clone()).datetime();
        // A fold of a few hours holds at most its minutes; beyond that something is very wrong.
        for _ in 0..10_000 {
            wall = self.pattern.next(wall, false)?;
            let ambiguous = self.zone.to_ambiguous_timestamp(wall);
            let instant = match ambiguous.offset() {
                jiff::tz::AmbiguousOffset::Gap { before, .. } => {
                    // Read with the offset before the gap the time lies after the change.
                    let inside = before.to_timestamp(wall).ok()?;
                    self.zone.preceding(inside.checked_add(jiff::Span::new().nanoseconds(1)).ok()?).next()?.timestamp()
                }
                _ => ambiguous.earlier().ok()?,
            };
            if instant > from {
                return Some(instant);
            }
        }
        None
    }

    /// Between two changes of the offset the wall clock runs evenly: each such stretch is searched by itself.
    fn next_counted(&self, from: Timestamp) -> Option<Timestamp> {
        let (mut at, mut inclusive) = (from, false);
        // Two changes a year; the rarest schedule comes within 40 years.
        for _ in 0..200 {
            let offset = self.zone.to_offset(at);
            let next = offset.to_timestamp(self.pattern.next(offset.to_datetime(at), inclusive)?).ok()?;
            let change = self.zone.following(at).map(|change| change.timestamp()).find(|&change| change > at);
            match change {
                Some(change) if next >= change => (at, inclusive) = (change, true),
                _ => return Some(next),
            }
        }
        None
    }
}

impl Pattern {
    /// Parsed patterns are kept and shared: many jobs say `0 3 * * *`, and every plan asks again.
    fn shared(text: &str) -> Result<Arc<Self>, BadSchedule> {
        static KNOWN: Mutex<BTreeMap<String, Arc<Pattern>>> = Mutex::new(BTreeMap::new());
        /// More than any host has; past that the memory begins anew.
        const KEPT: usize = 4096;
        let mut known = KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(pattern) = known.get(text) {
            return Ok(pattern.clone());
        }
        let pattern = Arc::new(Self::parse(text)?);
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(text.to_owned(), pattern.clone());
        Ok(pattern)
    }

    fn parse(text: &str) -> Result<Self, BadSchedule> {
        let text = match text.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields = fields(text)?;
        let unreadable = |error: croner::errors::CronError| BadSchedule::Pattern(error.to_string(), String::new());
        let cron = fields.parse::<croner::Cron>().map_err(unreadable)?;
        let hour_named = fields.split(' ').nth(1).is_some_and(|hour| !hour.contains('*'));
        let pattern = Self { cron, hour_named };
        // The calendar repeats: what does not come from here does not come at all.
        let start = DateTime::constant(2000, 1, 1, 0, 0, 0, 0);
        match pattern.next(start, true) {
            Some(_) => Ok(pattern),
            None => Err(BadSchedule::Pattern("this schedule never comes".into(), "no month has that day".into())),
        }
    }

    fn next(&self, wall: DateTime, inclusive: bool) -> Option<DateTime> {
        self.cron.find_next_occurrence(&wall, inclusive).ok()
    }
}

/// A field: what it is called, its first and last value, names for values from the first on.
struct Field {
    name: &'static str,
    first: u16,
    last: u16,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", first: 0, last: 59, names: &[] },
    Field { name: "hour", first: 0, last: 23, names: &[] },
    Field { name: "day of month", first: 1, last: 31, names: &[] },
    Field {
        name: "month",
        first: 1,
        last: 12,
        names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    },
    Field { name: "day of week", first: 0, last: 7, names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] },
];

/// Checks the five fields and writes them in croner's plainest form, so that nothing it would guess at
/// (a month's name as a weekday, a seventh field) gets through.
fn fields(text: &str) -> Result<String, BadSchedule> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let wrong = |what: String, hint: String| Err(BadSchedule::Pattern(what, hint));
    if text.starts_with('@') {
        let hint = "there are @hourly, @daily, @weekly, @monthly, @yearly and @reboot";
        return wrong(format!("`{text}` is no schedule"), hint.into());
    }
    if parts.len() > FIELDS.len() {
        let count = if parts.len() == 6 { "six" } else { "more than five" };
        let kept = parts.get(1..6).map(|five| five.join(" ")).unwrap_or_default();
        let said = match daily(&kept) {
            Some(time) => format!("did you mean \"{kept}\" ({time} daily)?"),
            None => format!("did you mean \"{kept}\"?"),
        };
        return wrong(
            format!("{count} fields in a schedule; cron has five (minute hour day month weekday)"),
            format!("seconds are not supported; {said}"),
        );
    }
    if parts.len() < FIELDS.len() {
        let count = parts.len();
        let what = format!("{count} of five fields in a schedule (minute hour day month weekday)");
        return wrong(what, "03:30 daily is \"30 3 * * *\"".into());
    }
    let mut written = Vec::new();
    for (part, field) in parts.iter().zip(&FIELDS) {
        let items: Result<Vec<String>, BadSchedule> = part.split(',').map(|item| field.item(item)).collect();
        written.push(items?.join(","));
    }
    Ok(written.join(" "))
}

/// `03:30` of `30 3 * * *`.
fn daily(five: &str) -> Option<String> {
    let (minute, rest) = five.split_once(' ')?;
    let hour = rest.strip_suffix(" * * *")?;
    let (minute, hour) = (minute.parse::<u8>().ok()?, hour.parse::<u8>().ok()?);
    (minute < 60 && hour < 24).then(|| format!("{hour:02}:{minute:02}"))
}

impl Field {
    fn wrong(&self, item: &str, hint: impl Into<String>) -> BadSchedule {
        BadSchedule::Pattern(format!("`{item}` is no {} of a schedule", self.name), hint.into())
    }

    /// One of the values between commas.
    fn item(&self, item: &str) -> Result<String, BadSchedule> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        if let Some(step) = step {
            return self.stepped(item, range, step);
        }
        if item == "*" {
            return Ok("*".into());
        }
        if let Some((from, to)) = item.split_once('-') {
            return self.range(item, from, to).map(|(from, to)| format!("{from}-{to}"));
        }
        if let Some(special) = self.special(item) {
            return special;
        }
        self.value(item, item).map(|value| value.to_string())
    }

    fn stepped(&self, item: &str, range: &str, step: &str) -> Result<String, BadSchedule> {
        let most = self.last - self.first;
        let Some(step) = step.parse::<u16>().ok().filter(|step| (1..=most).contains(step)) else {
            return Err(self.wrong(item, format!("a step is a number from 1 to {most}")));
        };
        if range == "*" {
            return Ok(format!("*/{step}"));
        }
        match range.split_once('-') {
            Some((from, to)) => self.range(item, from, to).map(|(from, to)| format!("{from}-{to}/{step}")),
            None if range.is_empty() => Err(self.wrong(item, format!("did you mean \"*/{step}\"?"))),
            None => {
                let from = self.value(item, range)?;
                Err(self.wrong(item, format!("did you mean \"{from}-{}/{step}\"?", self.last.min(self.top()))))
            }
        }
    }

    /// Seven is Sunday as well, but no end of a range that a person would write.
    fn top(&self) -> u16 {
        if self.name == "day of week" { 6 } else { self.last }
    }

    fn range(&self, item: &str, from: &str, to: &str) -> Result<(u16, u16), BadSchedule> {
        let (from, mut to) = (self.value(item, from)?, self.value(item, to)?);
        // `FRI-SUN`: the week of a range ends with Sunday.
        if self.name == "day of week" && to == 0 && from > 0 {
            to = 7;
        }
        if from > to {
            return Err(self.wrong(item, format!("a range goes upwards: did you mean \"{to}-{from}\"?")));
        }
        Ok((from, to))
    }

    /// `L`, `LW`, `15W` of the days of a month; `FRI#2`, `5L` of those of a week.
    fn special(&self, item: &str) -> Option<Result<String, BadSchedule>> {
        let upper = item.to_ascii_uppercase();
        match self.name {
            "day of month" if upper == "L" || upper == "LW" => Some(Ok(upper)),
            "day of month" => {
                let day = upper.strip_suffix('W')?;
                Some(self.value(item, day).map(|day| format!("{day}W")))
            }
            "day of week" => {
                if let Some((day, nth)) = upper.split_once('#') {
                    let nth = nth.parse::<u16>().ok().filter(|nth| (1..=5).contains(nth));
                    return Some(match (self.value(item, day), nth) {
                        (Ok(day), Some(nth)) => Ok(format!("{}#{nth}", day % 7)),
                        (Ok(_), None) => Err(self.wrong(item, "write 1 to 5 after #: FRI#2 is the second Friday")),
                        (Err(error), _) => Err(error),
                    });
                }
                let day = upper.strip_suffix('L').filter(|day| !day.is_empty())?;
                Some(self.value(item, day).map(|day| format!("{}L", day % 7)))
            }
            _ => None,
        }
    }

    fn value(&self, item: &str, text: &str) -> Result<u16, BadSchedule> {
        let upper = text.to_ascii_uppercase();
        if let Some(at) = self.names.iter().position(|name| *name == upper) {
            return Ok(self.first + u16::try_from(at).unwrap_or_default());
        }
        if text == "?" {
            return Err(self.wrong(item, "did you mean \"*\"?"));
        }
        let digits = !text.is_empty() && text.len() <= 2 && text.bytes().all(|c| c.is_ascii_digit());
        let number = text.parse::<u16>().ok().filter(|n| digits && (self.first..=self.last).contains(n));
        number.ok_or_else(|| {
            let names = match (self.names.first(), self.names.last()) {
                (Some(first), Some(last)) => format!(", or {first} to {last}"),
                _ => String::new(),
            };
            self.wrong(item, format!("it is a number from {} to {}{names}", self.first, self.last))
        })
    }
}

#[cfg(test)]
mod tests;
