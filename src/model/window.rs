//! Windows and freezes of environments: when a deployment may start. It is open when the clock on the
//! wall says so: in the hour that a change of the clock repeats both passes count, and an hour that is
//! skipped does not exist.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use crate::model::job::{EnvironmentPolicy, FreezeDef, WindowDef};
use crate::model::time::{Seconds, Timestamp};

/// Beyond two years nobody waits for a window.
const SEARCH: Seconds = Seconds(2 * 366 * 86_400);

const DAY: u32 = 24 * 60;
const WEEK: u32 = 7 * DAY;

/// Parsed windows and freezes of one environment.
#[derive(Debug, Clone, Default)]
pub struct Windows {
    /// All of them must be open.
    windows: Vec<(Week, TimeZone)>,
    /// None of them may hold.
    freezes: Vec<(Freeze, TimeZone)>,
}

/// Minutes of a week from Monday 00:00: from the first to before the second; sorted, apart.
#[derive(Debug, Clone, Default)]
struct Week(Vec<(u32, u32)>);

#[derive(Debug, Clone)]
enum Freeze {
    /// Whole days, the last one included.
    Days(Date, Date),
    Weekly(Week),
}

/// Whether a start is allowed at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    Open,
    /// `opens`: the next instant at which it is open; `None` if none within two years.
    Closed {
        opens: Option<Timestamp>,
    },
}

/// Why a text is no window or freeze.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadWindow(pub String);

impl Windows {
    /// # Errors
    /// If a text or zone is none.
    pub fn parse(windows: &[WindowDef], freezes: &[FreezeDef]) -> Result<Self, BadWindow> {
        let window = |def: &WindowDef| {
            let stretches: Result<Vec<_>, BadWindow> = def.any_of.iter().map(|text| stretches(text)).collect();
            let stretches = stretches?.concat();
            if stretches.is_empty() {
                return Err(BadWindow("an empty list never opens: write \"Mon-Thu 09:00-17:00\"".into()));
            }
            Ok((Week::of(stretches), zone(&def.zone)?))
        };
        let freeze = |def: &FreezeDef| Ok((Freeze::parse(&def.text)?, zone(&def.zone)?));
        Ok(Self {
            windows: windows.iter().map(window).collect::<Result<_, BadWindow>>()?,
            freezes: freezes.iter().map(freeze).collect::<Result<_, BadWindow>>()?,
        })
    }

    #[must_use]
    pub fn at(&self, now: Timestamp) -> Opening {
        match self.open(now) {
            true => Opening::Open,
            false => Opening::Closed { opens: self.next_change(now) },
        }
    }

    /// Whether any window is named (freezes alone do not count).
    #[must_use]
    pub fn has_windows(&self) -> bool {
        !self.windows.is_empty()
    }

    /// The end of the first stretch of window less freeze that begins after `from`.
    #[must_use]
    pub fn end_of_first_stretch_after(&self, from: Timestamp) -> Option<Timestamp> {
        let closes = if self.open(from) { self.next_change(from)? } else { from };
        let opens = self.next_change(closes)?;
        self.next_change(opens)
    }

    /// The next stretch in which it is closed: from `from` or later, to `to` at the latest.
    #[must_use]
    pub fn next_closed(&self, from: Timestamp, to: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let start = if self.open(from) { self.next_change(from)? } else { from };
        let end = self.next_change(start).unwrap_or(to);
        (start < to).then(|| (start, end.min(to)))
    }

    /// The instant at which it has been open for `span` since `from`, as long as that comes within two
    /// years (else the end of these): the life of an approval where there are freezes but no window.
    #[must_use]
    pub fn after_open_for(&self, from: Timestamp, span: Seconds) -> Timestamp {
        let (mut at, mut left) = (from, span);
        loop {
            if !self.open(at) {
                match self.next_change(at) {
                    Some(opens) => at = opens,
                    None => return SEARCH.after(from),
                }
            }
            let ends = left.after(at);
            match self.next_change(at) {
                Some(closes) if closes < ends => {
                    left = crate::model::time::seconds_between(closes, ends);
                    at = closes;
                }
                _ => return ends,
            }
        }
    }

    /// Whether `inner` is open at an instant at which `outer` is not.
    #[must_use]
    pub fn wider(inner: &WindowDef, outer: &WindowDef) -> bool {
        let parse = |def: &WindowDef| Self::parse(std::slice::from_ref(def), &[]);
        let (Ok(inner), Ok(outer)) = (parse(inner), parse(outer)) else { return true };
        // A year holds every pair of offsets of two zones.
        let mut at =
            DateTime::constant(2026, 1, 1, 0, 0, 0, 0).to_zoned(TimeZone::UTC).map(|start| start.timestamp()).ok();
        let end = at.map(|start| Seconds::days(366).after(start));
        while let Some(now) = at.filter(|now| Some(*now) < end) {
            if inner.open(now) && !outer.open(now) {
                return true;
            }
            at = [inner.next_change(now), outer.next_change(now)].into_iter().flatten().min();
        }
        false
    }

    fn open(&self, at: Timestamp) -> bool {
        let wall = |zone: &TimeZone| zone.to_datetime(at);
        self.windows.iter().all(|(week, zone)| week.holds(wall(zone)))
            && !self.freezes.iter().any(|(freeze, zone)| freeze.holds(wall(zone)))
    }

    /// The first instant after `from` at which it is otherwise than at `from`.
    fn next_change(&self, from: Timestamp) -> Option<Timestamp> {
        let (was, limit) = (self.open(from), SEARCH.after(from));
        let mut at = from;
        while at < limit {
            let of_windows = self.windows.iter().filter_map(|(week, zone)| next_edge(at, zone, |wall| week.edge(wall)));
            let of_freezes =
                self.freezes.iter().filter_map(|(freeze, zone)| next_edge(at, zone, |wall| freeze.edge(wall)));
            at = of_windows.chain(of_freezes).min()?;
            if self.open(at) != was {
                return Some(at);
            }
        }
        None
    }
}

/// The first instant after `at` at which the wall clock shows an edge, or is put forward or back.
fn next_edge(at: Timestamp, zone: &TimeZone, edge: impl Fn(DateTime) -> Option<DateTime>) -> Option<Timestamp> {
    let offset = zone.to_offset(at);
    let edge = edge(offset.to_datetime(at)).and_then(|wall| offset.to_timestamp(wall).ok());
    let change = zone.following(at).map(|change| change.timestamp()).find(|&change| change > at);
    edge.into_iter().chain(change).min()
}

impl Week {
    fn of(mut stretches: Vec<(u32, u32)>) -> Self {
        // What runs over the end of the week goes on at its beginning.
        let over: Vec<(u32, u32)> =
            stretches.iter().filter(|(_, end)| *end > WEEK).map(|(_, end)| (0, end - WEEK)).collect();
        stretches.extend(over);
        stretches.sort_unstable();
        let mut apart: Vec<(u32, u32)> = Vec::new();
        for (start, end) in stretches {
            let end = end.min(WEEK);
            match apart.last_mut() {
                Some((_, last)) if start <= *last => *last = end.max(*last),
                _ => apart.push((start, end)),
            }
        }
        Self(apart)
    }

    fn holds(&self, wall: DateTime) -> bool {
        let minute = minute_of_week(wall);
        self.0.iter().any(|(start, end)| (*start..*end).contains(&minute))
    }

    /// The next minute after `wall` that begins or ends a stretch.
    fn edge(&self, wall: DateTime) -> Option<DateTime> {
        let minute = minute_of_week(wall);
        let edges = || self.0.iter().flat_map(|(start, end)| [*start, *end]);
        let next = edges().filter(|edge| *edge > minute).min().or_else(|| edges().min().map(|edge| edge + WEEK))?;
        let midnight = wall.date().to_datetime(jiff::civil::Time::midnight());
        let monday = midnight.checked_sub(jiff::Span::new().days(wall.weekday().to_monday_zero_offset())).ok()?;
        monday.checked_add(jiff::Span::new().minutes(next)).ok()
    }
}

fn minute_of_week(wall: DateTime) -> u32 {
    let number = |value: i8| u32::try_from(value).unwrap_or_default();
    number(wall.weekday().to_monday_zero_offset()) * DAY + number(wall.hour()) * 60 + number(wall.minute())
}

impl Freeze {
    fn parse(text: &str) -> Result<Self, BadWindow> {
        let text = text.trim();
        if !text.starts_with(|c: char| c.is_ascii_digit()) || text.contains(':') {
            let forms = "write days, \"2026-12-20..2027-01-03\", or a stretch of every week, \"Fri 16:00-Mon 08:00\"";
            let weekly = stretches(text).map_err(|_| BadWindow(format!("`{text}` is neither: {forms}")))?;
            return Ok(Self::Weekly(Week::of(weekly)));
        }
        let (from, to) = text.split_once("..").unwrap_or((text, text));
        let (from, to) = (date(from.trim())?, date(to.trim())?);
        if from > to {
            return Err(BadWindow(format!("{to} is before {from}: write \"{to}..{from}\"")));
        }
        Ok(Self::Days(from, to))
    }

    fn holds(&self, wall: DateTime) -> bool {
        match self {
            Self::Days(from, to) => (*from..=*to).contains(&wall.date()),
            Self::Weekly(week) => week.holds(wall),
        }
    }

    fn edge(&self, wall: DateTime) -> Option<DateTime> {
        match self {
            Self::Weekly(week) => week.edge(wall),
            Self::Days(from, to) => {
                let after = to.tomorrow().ok()?;
                let midnight = |date: &Date| date.to_datetime(jiff::civil::Time::midnight());
                [midnight(from), midnight(&after)].into_iter().find(|edge| *edge > wall)
            }
        }
    }
}

fn zone(name: &str) -> Result<TimeZone, BadWindow> {
    TimeZone::get(name).map_err(|_| BadWindow(format!("no time zone `{name}` in the system's tzdata")))
}

fn date(text: &str) -> Result<Date, BadWindow> {
    let form = text.len() == 10 && text.bytes().all(|c| c.is_ascii_digit() || c == b'-');
    let date = text.parse::<Date>().ok().filter(|_| form);
    date.ok_or_else(|| BadWindow(format!("`{text}` is no day: write \"2026-12-20\" or \"2026-12-20..2027-01-03\"")))
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// The stretches of `Mon-Thu 09:00-17:00`, `22:00-04:00`, `Sat,Sun` or `Fri 16:00-Mon 08:00`, in
/// minutes of the week; one may end in the next week.
fn stretches(text: &str) -> Result<Vec<(u32, u32)>, BadWindow> {
    let bad = |why: &str| BadWindow(format!("`{}` {why}: write \"Mon-Thu 09:00-17:00\"", text.trim()));
    let words: Vec<&str> = text.split_whitespace().collect();
    if let [first, middle, last] = words.as_slice()
        && let Some((until, day)) = middle.split_once('-')
    {
        let at = |name: &str, time: &str| Some(day_named(name)? * DAY + minute(time)?);
        let (start, end) =
            at(first, until).zip(at(day, last)).ok_or_else(|| bad("is no stretch from a day to another"))?;
        return match start % WEEK == end % WEEK {
            true => Err(bad("begins where it ends")),
            false => Ok(vec![(start, if end > start { end } else { end + WEEK })]),
        };
    }
    let (days, times) = match words.as_slice() {
        [times] if times.contains(':') => ((0..7).collect(), *times),
        [days] => (day_list(days).ok_or_else(|| bad("names no days"))?, "00:00-24:00"),
        [days, times] => (day_list(days).ok_or_else(|| bad("names no days"))?, *times),
        _ => return Err(bad("is no stretch of a week")),
    };
    let times = times.split_once('-').and_then(|(start, end)| minute(start).zip(minute(end)));
    let (start, end) = times.filter(|(start, _)| *start < DAY).ok_or_else(|| bad("names no times"))?;
    if start == end {
        return Err(bad("begins where it ends"));
    }
    let end = if end > start { end } else { end + DAY };
    Ok(days.into_iter().map(|day: u32| (day * DAY + start, day * DAY + end)).collect())
}

/// `09:00`, up to `24:00`.
fn minute(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let two = |text: &str| (text.len() == 2 && text.bytes().all(|c| c.is_ascii_digit())).then(|| text.parse::<u32>());
    let (hour, minute) = (two(hour)?.ok()?, two(minute)?.ok()?);
    let total = hour * 60 + minute;
    (minute < 60 && total <= DAY).then_some(total)
}

fn day_named(name: &str) -> Option<u32> {
    let at = DAYS.iter().position(|day| day.eq_ignore_ascii_case(name))?;
    u32::try_from(at).ok()
}

/// `Mon`, `Mon-Thu`, `Mon,Wed`, `Fri-Mon`.
fn day_list(text: &str) -> Option<Vec<u32>> {
    let mut days = Vec::new();
    for item in text.split(',') {
        let (from, to) = item.split_once('-').unwrap_or((item, item));
        let (from, to) = (day_named(from)?, day_named(to)?);
        let length = (to + 7 - from) % 7;
        days.extend((0..=length).map(|step| (from + step) % 7));
    }
    Some(days)
}

/// How long an approval lives where no window is named; freezes do not count.
const APPROVED_FOR: Seconds = Seconds(7 * 86_400);

/// How long an approval of `at` lives: to the end of the first stretch of window less freeze that begins
/// after it.
#[must_use]
pub fn approved_until(policy: &EnvironmentPolicy, at: Timestamp) -> Timestamp {
    let Ok(windows) = Windows::parse(&policy.windows, &policy.freezes) else { return APPROVED_FOR.after(at) };
    let first = windows.has_windows().then(|| windows.end_of_first_stretch_after(at)).flatten();
    first.unwrap_or_else(|| windows.after_open_for(at, APPROVED_FOR))
}

#[cfg(test)]
mod tests;
