//! What a schedule may say: its five fields read item by item, and for everything else what to write
//! instead. Vixie cron's grammar with `L`, `W`, `#` and `H`; nothing is guessed at.

use super::BadSchedule;
use super::calendar::Pattern;
use super::spread::Owner;

/// The words that stand for five fields.
const WORDS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// A schedule as it was read.
#[derive(Debug)]
pub struct Fields {
    pub pattern: Pattern,
    /// The hour is named: it holds no `*` and no `H`.
    pub fixed: bool,
    /// The same in five plain fields, where it is written with `H`.
    pub resolved: Option<String>,
}

/// Reads five fields or a word for them; `H` only for the job that it is of.
pub fn read(text: &str, owner: Option<Owner<'_>>) -> Result<Fields, BadSchedule> {
    let text = text.trim();
    let five = WORDS.iter().find(|(word, _)| *word == text).map_or(text, |(_, five)| five);
    let parts: Vec<&str> = five.split_whitespace().collect();
    let &[_, hour, day, _, weekday] = parts.as_slice() else { return Err(not_five(text, &parts)) };
    let mut pattern = Pattern { both: day.starts_with('*') || weekday.starts_with('*'), ..Pattern::default() };
    let (mut plain, mut hashed) = (Vec::with_capacity(FIELDS.len()), false);
    for (index, (part, field)) in parts.iter().zip(&FIELDS).enumerate() {
        let mut items = Vec::new();
        for text in part.split(',') {
            let item = field.item(text, owner.map(|owner| (owner, index)))?;
            item.choose(&mut pattern, field);
            hashed |= matches!(item, Item::Values { hashed: true, .. });
            items.push(item.plain(text));
        }
        plain.push(items.join(","));
    }
    Ok(Fields { pattern, fixed: !hour.contains(['*', 'H']), resolved: hashed.then(|| plain.join(" ")) })
}

fn wrong(what: impl Into<String>, hint: impl Into<String>) -> BadSchedule {
    BadSchedule::Pattern(what.into(), hint.into())
}

fn not_five(text: &str, parts: &[&str]) -> BadSchedule {
    let count = match parts.len() {
        _ if text.starts_with('@') => return no_word(text),
        _ if text.starts_with("TZ=") || text.starts_with("CRON_TZ=") => {
            let hint = "the zone has a key of its own: timezone = \"Europe/Berlin\"";
            return wrong("a schedule holds no time zone", hint);
        }
        0..=5 => {
            let what = format!("{} of five fields in a schedule (minute hour day month weekday)", parts.len());
            return wrong(what, "03:30 daily is \"30 3 * * *\"");
        }
        6 => "six",
        _ => "more than five",
    };
    let kept = parts.get(1..6).map(|five| five.join(" ")).unwrap_or_default();
    let said = match daily(&kept) {
        Some(time) => format!("did you mean \"{kept}\" ({time} daily)?"),
        None => format!("did you mean \"{kept}\"?"),
    };
    wrong(
        format!("{count} fields in a schedule; cron has five (minute hour day month weekday)"),
        format!("seconds are not supported; {said}"),
    )
}

fn no_word(text: &str) -> BadSchedule {
    let lower = text.to_ascii_lowercase();
    let what = format!("`{text}` is no schedule");
    if let Some(period) = lower.strip_prefix("@every") {
        return wrong(what, format!("write every = \"{}\" in place of schedule", period.trim()));
    }
    if lower == super::REBOOT || WORDS.iter().any(|(word, _)| *word == lower) {
        return wrong(what, format!("did you mean \"{lower}\"?"));
    }
    wrong(what, "there are @hourly, @daily, @weekly, @monthly, @yearly and @reboot")
}

/// `03:30` of `30 3 * * *`.
fn daily(five: &str) -> Option<String> {
    let (minute, rest) = five.split_once(' ')?;
    let hour = rest.strip_suffix(" * * *")?;
    let (minute, hour) = (minute.parse::<u8>().ok()?, hour.parse::<u8>().ok()?);
    (minute < 60 && hour < 24).then(|| format!("{hour:02}:{minute:02}"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Minute,
    Hour,
    Day,
    Month,
    Weekday,
}

/// A field: what it is called, its first and last value, names for values from the first on.
struct Field {
    kind: Kind,
    name: &'static str,
    first: u16,
    last: u16,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { kind: Kind::Minute, name: "minute", first: 0, last: 59, names: &[] },
    Field { kind: Kind::Hour, name: "hour", first: 0, last: 23, names: &[] },
    Field { kind: Kind::Day, name: "day of month", first: 1, last: 31, names: &[] },
    Field {
        kind: Kind::Month,
        name: "month",
        first: 1,
        last: 12,
        names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    },
    Field {
        kind: Kind::Weekday,
        name: "day of week",
        first: 0,
        last: 7,
        names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    },
];

/// What stands between two commas.
#[derive(Debug, Clone, Copy)]
enum Item {
    Values {
        from: u16,
        to: u16,
        step: u16,
        /// It came of an `H`.
        hashed: bool,
    },
    LastDay,
    LastWorkingDay,
    Nearest(u16),
    LastWeekday(u16),
    Nth(u16, u16),
}

impl Item {
    fn choose(self, pattern: &mut Pattern, field: &Field) {
        match self {
            Self::Values { from, to, step, .. } => {
                for value in (from..=to).step_by(step.into()) {
                    match field.kind {
                        Kind::Minute => pattern.minutes |= 1 << value,
                        Kind::Hour => pattern.hours |= 1 << value,
                        Kind::Day => pattern.days |= 1 << value,
                        Kind::Month => pattern.months |= 1 << value,
                        Kind::Weekday => pattern.weekdays |= 1 << (value % 7),
                    }
                }
            }
            Self::LastDay => pattern.last_day = true,
            Self::LastWorkingDay => pattern.last_working_day = true,
            Self::Nearest(day) => pattern.nearest |= 1 << day,
            Self::LastWeekday(day) => pattern.last_weekdays |= 1 << (day % 7),
            Self::Nth(day, count) => {
                if let Some(days) = pattern.nth.get_mut(usize::from(count.saturating_sub(1))) {
                    *days |= 1 << (day % 7);
                }
            }
        }
    }

    /// As it is written, but for an `H`.
    fn plain(self, written: &str) -> String {
        match self {
            Self::Values { from, to, step: 1, hashed: true } if from == to => from.to_string(),
            Self::Values { from, to, step, hashed: true } => format!("{from}-{to}/{step}"),
            _ => written.to_owned(),
        }
    }
}

impl Field {
    fn wrong(&self, item: &str, hint: impl Into<String>) -> BadSchedule {
        wrong(format!("`{item}` is no {} of a schedule", self.name), hint)
    }

    fn item(&self, item: &str, owner: Option<(Owner<'_>, usize)>) -> Result<Item, BadSchedule> {
        if item.starts_with('H') {
            return self.hashed(item, owner);
        }
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        if let Some(step) = step {
            return self.stepped(item, range, step);
        }
        if item == "*" {
            return Ok(Item::Values { from: self.first, to: self.top(), step: 1, hashed: false });
        }
        if let Some((from, to)) = item.split_once('-') {
            let (from, to) = self.range(item, from, to)?;
            return Ok(Item::Values { from, to, step: 1, hashed: false });
        }
        if let Some(special) = self.special(item) {
            return special;
        }
        self.value(item, item).map(|value| Item::Values { from: value, to: value, step: 1, hashed: false })
    }

    fn stepped(&self, item: &str, range: &str, step: &str) -> Result<Item, BadSchedule> {
        let step = self.step(item, step)?;
        if range == "*" {
            return Ok(Item::Values { from: self.first, to: self.top(), step, hashed: false });
        }
        match range.split_once('-') {
            Some((from, to)) => {
                let (from, to) = self.range(item, from, to)?;
                Ok(Item::Values { from, to, step, hashed: false })
            }
            None if range.is_empty() => Err(self.wrong(item, format!("did you mean \"*/{step}\"?"))),
            None => {
                let from = self.value(item, range)?;
                Err(self.wrong(item, format!("did you mean \"{from}-{}/{step}\"?", self.top())))
            }
        }
    }

    fn step(&self, item: &str, text: &str) -> Result<u16, BadSchedule> {
        let most = self.last - self.first;
        let number = text.parse::<u16>().ok().filter(|_| text.bytes().all(|c| c.is_ascii_digit()));
        match number {
            Some(step) if (1..=most).contains(&step) => Ok(step),
            // `*/90`: what is meant is a span, which fields of a clock cannot say.
            Some(step) if step > most && self.unit().is_some() => {
                let unit = self.unit().unwrap_or_default();
                let hint = format!("a step is at most {most}; from start to start it is every = \"{step}{unit}\"");
                Err(self.wrong(item, hint))
            }
            _ => Err(self.wrong(item, format!("a step is a number from 1 to {most}"))),
        }
    }

    fn unit(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Minute => Some("m"),
            Kind::Hour => Some("h"),
            Kind::Day => Some("d"),
            Kind::Month | Kind::Weekday => None,
        }
    }

    /// Seven is Sunday as well, but no end of a range that a person would write.
    fn top(&self) -> u16 {
        if self.kind == Kind::Weekday { 6 } else { self.last }
    }

    fn range(&self, item: &str, from: &str, to: &str) -> Result<(u16, u16), BadSchedule> {
        let (first, mut last) = (self.value(item, from)?, self.value(item, to)?);
        // `FRI-SUN`: the week of a range ends with Sunday.
        if self.kind == Kind::Weekday && last == 0 && first > 0 {
            last = 7;
        }
        if first > last {
            let part = |from: String, to: String| if from == to { from } else { format!("{from}-{to}") };
            let [top, bottom] = match self.names {
                [bottom, .., top] if self.kind == Kind::Month => [top, bottom].map(ToString::to_string),
                ["SUN", "MON", ..] => ["SUN".to_owned(), "MON".to_owned()],
                _ => [self.last, self.first].map(|number| number.to_string()),
            };
            let (upper, lower) = (part(from.to_uppercase(), top), part(bottom, to.to_uppercase()));
            return Err(self.wrong(item, format!("a range goes upwards: did you mean \"{upper},{lower}\"?")));
        }
        Ok((first, last))
    }

    /// `H`, `H(0-29)`, `H/15`, `H(0-29)/10`.
    fn hashed(&self, item: &str, owner: Option<(Owner<'_>, usize)>) -> Result<Item, BadSchedule> {
        let (head, step) = match item.split_once('/') {
            Some((head, step)) => (head, self.step(item, step)?),
            None => (item, 1),
        };
        let forms = || self.wrong(item, "H stands alone, or as in H(0-5), H/2 and H(0-5)/2");
        // Days only up to one that every month has; Sunday once.
        let top = if self.kind == Kind::Day { 28 } else { self.top() };
        let (from, to) = match head.strip_prefix('H') {
            Some("") => (self.first, top),
            Some(range) => {
                let range = range.strip_prefix('(').and_then(|range| range.strip_suffix(')'));
                let (from, to) = range.and_then(|range| range.split_once('-')).ok_or_else(forms)?;
                self.range(item, from, to)?
            }
            None => return Err(forms()),
        };
        if self.kind == Kind::Day && to > top {
            return Err(self.wrong(item, format!("H is a day that every month has: at most H({from}-28)")));
        }
        let size = to - from + 1;
        if item.contains('/') && step >= size {
            return Err(self.wrong(item, format!("a step of H({from}-{to}) is at most {}", size - 1)));
        }
        let Some((owner, index)) = owner else {
            return Err(self.wrong(item, "H is made from a job's name, and there is no job here"));
        };
        let choices = if step > 1 { step } else { size };
        let value = from + u16::try_from(owner.below(choices.into(), index)).unwrap_or_default();
        let to = if item.contains('/') { to } else { value };
        Ok(match step {
            // `H/1` is every value, wherever it begins.
            1 if item.contains('/') => Item::Values { from, to, step, hashed: true },
            _ => Item::Values { from: value, to, step, hashed: true },
        })
    }

    /// `L`, `LW`, `15W` of the days of a month; `FRI#2`, `5L` of those of a week.
    fn special(&self, item: &str) -> Option<Result<Item, BadSchedule>> {
        let upper = item.to_ascii_uppercase();
        match self.kind {
            Kind::Day if upper == "L" => Some(Ok(Item::LastDay)),
            Kind::Day if upper == "LW" => Some(Ok(Item::LastWorkingDay)),
            Kind::Day => {
                let day = upper.strip_suffix('W').filter(|day| !day.is_empty())?;
                Some(self.value(item, day).map(Item::Nearest))
            }
            Kind::Weekday if upper == "L" => {
                Some(Err(self.wrong(item, "the last Friday of the month is \"FRIL\" or \"5L\"")))
            }
            Kind::Weekday => {
                if let Some((day, nth)) = upper.split_once('#') {
                    let nth = nth.parse::<u16>().ok().filter(|nth| (1..=5).contains(nth));
                    return Some(match (self.value(item, day), nth) {
                        (Ok(day), Some(nth)) => Ok(Item::Nth(day, nth)),
                        (Ok(_), None) => Err(self.wrong(item, "write 1 to 5 after #: FRI#2 is the second Friday")),
                        (Err(error), _) => Err(error),
                    });
                }
                let day = upper.strip_suffix('L').filter(|day| !day.is_empty())?;
                Some(self.value(item, day).map(Item::LastWeekday))
            }
            Kind::Minute | Kind::Hour | Kind::Month => None,
        }
    }

    fn value(&self, item: &str, text: &str) -> Result<u16, BadSchedule> {
        let upper = text.to_ascii_uppercase();
        if let Some(at) = self.names.iter().position(|name| *name == upper) {
            return Ok(self.first + u16::try_from(at).unwrap_or_default());
        }
        let digits = (1..=2).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
        let number = text.parse::<u16>().ok().filter(|n| digits && (self.first..=self.last).contains(n));
        number.ok_or_else(|| self.wrong(item, self.meant(text, &upper)))
    }

    /// What to write for a value that is none.
    fn meant(&self, text: &str, upper: &str) -> String {
        if text == "?" {
            return "did you mean \"*\"?".into();
        }
        // `SUNDAY`, `Sept`
        if let Some(name) = self.names.iter().find(|name| upper.starts_with(**name)) {
            return format!("did you mean \"{name}\"?");
        }
        // OpenBSD's and cronie's "somewhere between".
        if let Some((from, to)) = text.split_once('~') {
            let or = |text: &str, number: u16| if text.is_empty() { number.to_string() } else { text.to_owned() };
            return format!("did you mean \"H({}-{})\"?", or(from, self.first), or(to, self.top()));
        }
        let names = match (self.names.first(), self.names.last()) {
            (Some(first), Some(last)) => format!(", or {first} to {last}"),
            _ => String::new(),
        };
        format!("it is a number from {} to {}{names}", self.first, self.last)
    }
}
