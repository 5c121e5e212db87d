//! The five (or six) fields of the old dialects: what they mean as sets, and the same meaning written as a
//! schedule of Shipbell. Debian's cron and cronie on one side, robfig/cron v3 (Prow) on the other; where the
//! dialects differ the writing changes, not the meaning.

use super::times::Times;

/// A schedule that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    pub times: Times,
    /// As a schedule of Shipbell: five fields.
    pub written: String,
    /// `A~B` stands in it: nobody can tell the old times.
    pub random: bool,
    /// What should be known about it.
    pub notes: Vec<String>,
}

/// A field: its name, first and last value, names of values.
struct Range {
    name: &'static str,
    first: u32,
    last: u32,
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

const fn range(name: &'static str, first: u32, last: u32, names: &'static [&'static str]) -> Range {
    Range { name, first, last, names }
}

const DEBIAN: [Range; 5] = [
    range("minute", 0, 59, &[]),
    range("hour", 0, 23, &[]),
    range("day of month", 1, 31, &[]),
    range("month", 1, 12, MONTHS),
    range("day of week", 0, 7, DAYS),
];

const ROBFIG: [Range; 6] = [
    range("second", 0, 59, &[]),
    range("minute", 0, 59, &[]),
    range("hour", 0, 23, &[]),
    range("day of month", 1, 31, &[]),
    range("month", 1, 12, MONTHS),
    range("day of week", 0, 6, DAYS),
];

/// A field that was read.
#[derive(Debug, Clone, Default)]
struct Field {
    set: u64,
    star: bool,
    /// As written in a schedule; `plain` without any `*`, where that says the same.
    written: String,
    plain: String,
    random: bool,
    notes: Vec<String>,
}

/// `from-to/step`, as it is written and as numbers.
struct Part {
    from: u32,
    to: u32,
    step: u32,
    star: bool,
    text: String,
}

impl Range {
    fn value(&self, text: &str) -> Result<u32, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        if let Some(at) = named.and_then(|at| u32::try_from(at).ok()) {
            return Ok(self.first + at);
        }
        let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|c| c.is_ascii_digit());
        let number = text.parse::<u32>().ok().filter(|n| digits && (self.first..=self.last).contains(n));
        number.ok_or_else(|| format!("`{text}` is no {}", self.name))
    }

    /// A value as it is written: names stay, numbers lose their zeros in front.
    fn shown(&self, text: &str, value: u32) -> String {
        if text.starts_with(|c: char| c.is_ascii_digit()) { value.to_string() } else { text.to_uppercase() }
    }

    fn bits(&self, part: &Part) -> u64 {
        let mut set = 0;
        let mut value = part.from;
        while value <= part.to {
            // Both 0 and 7 are Sunday.
            let bit = if self.names.len() == DAYS.len() { value % 7 } else { value };
            set |= 1_u64 << bit;
            value += part.step.max(1);
        }
        set
    }

    fn step(&self, text: &str) -> Result<u32, String> {
        let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|c| c.is_ascii_digit());
        let step = text.parse::<u32>().ok().filter(|step| digits && *step > 0);
        step.ok_or_else(|| format!("`/{text}` is no step of a {}", self.name))
    }

    /// The part in words of a schedule, without `*`.
    fn numbers(&self, part: &Part) -> String {
        let (from, to, step) = (part.from, part.to, part.step);
        match (from == to || from + step > to, step) {
            (true, _) if step > 1 || from == to => from.to_string(),
            (_, 1) => format!("{from}-{to}"),
            _ => format!("{from}-{to}/{step}"),
        }
    }

    /// The part as it is best read.
    fn best(&self, part: &Part) -> String {
        let (most, single) = (self.last - self.first, part.from + part.step > part.to && part.step > 1);
        match part.star {
            true if part.step == 1 => "*".into(),
            true if part.step <= most => format!("*/{}", part.step),
            _ if single || part.text.is_empty() => self.numbers(part),
            _ if part.step == 1 => part.text.clone(),
            _ => format!("{}/{}", part.text, part.step),
        }
    }

    fn join(&self, parts: &[Part], star: bool) -> Field {
        let whole = |part: &&Part| part.star && part.step == 1;
        let plain: Vec<String> = parts.iter().map(|part| self.numbers(part)).collect();
        let best: Vec<String> = parts.iter().map(|part| self.best(part)).collect();
        let all = parts.iter().any(|part| whole(&part));
        let (written, plain) = match (all, star) {
            (true, true) => ("*".into(), format!("{}-{}", self.first, self.last.min(self.top()))),
            (true, false) => {
                let whole = format!("{}-{}", self.first, self.top());
                (whole.clone(), whole)
            }
            (false, true) => (best.join(","), plain.join(",")),
            (false, false) if best.iter().any(|text| text.contains('*')) => (plain.join(","), plain.join(",")),
            (false, false) => (best.join(","), plain.join(",")),
        };
        let set = parts.iter().fold(0, |set, part| set | self.bits(part));
        Field { set, star, written, plain, ..Field::default() }
    }

    fn top(&self) -> u32 {
        if self.names.len() == DAYS.len() { 6 } else { self.last }
    }

    /// As Debian's cron and cronie read it.
    fn debian(&self, text: &str) -> Result<Field, String> {
        let mut parts = Vec::new();
        let (mut notes, mut random) = (Vec::new(), Vec::new());
        for item in text.split(',') {
            let (base, step) = item.split_once('/').map_or((item, None), |(base, step)| (base, Some(step)));
            if let Some((from, to)) = base.split_once('~') {
                let from = if from.is_empty() { self.first } else { self.value(from)? };
                let to = if to.is_empty() { self.top() } else { self.value(to)? };
                if from > to || step.is_some() {
                    return Err(format!("`{item}` is no range of a {}", self.name));
                }
                random.push(self.spread(from, to, &mut notes));
                continue;
            }
            let step_of = |step: Option<&str>| step.map_or(Ok(1), |step| self.step(step));
            let part = if base == "*" {
                Part { from: self.first, to: self.last, step: step_of(step)?, star: true, text: String::new() }
            } else if let Some((from, to)) = base.split_once('-') {
                self.part(item, from, to, step_of(step)?)?
            } else {
                if let Some(step) = step {
                    let step = self.step(step)?;
                    let value = self.value(base)?;
                    notes.push(format!(
                        "`{item}`: cron takes the {} {base} alone; was {value}-{}/{step} meant?",
                        self.name,
                        self.top()
                    ));
                }
                self.part(item, base, base, 1)?
            };
            parts.push(part);
        }
        let mut field = self.join(&parts, text.starts_with('*'));
        if !random.is_empty() {
            let others = Some(field.plain.clone()).filter(|text| !text.is_empty());
            field.written = others.into_iter().chain(random).collect::<Vec<_>>().join(",");
            field.plain.clone_from(&field.written);
            field.random = true;
        }
        Ok(Field { notes, ..field })
    }

    /// `A~B` as a spread by the job's name.
    fn spread(&self, from: u32, to: u32, notes: &mut Vec<String>) -> String {
        let most = if self.name == "day of month" { 28 } else { self.top() };
        if to > most && from <= most {
            notes.push(format!("`{from}~{to}`: a spread {} goes up to {most} here", self.name));
        }
        match (from.min(most), to.min(most)) {
            (from, to) if from == to => from.to_string(),
            (from, to) if from == self.first && to == most => "H".into(),
            (from, to) => format!("H({from}-{to})"),
        }
    }

    fn part(&self, item: &str, from: &str, to: &str, step: u32) -> Result<Part, String> {
        let (low, high) = (self.value(from)?, self.value(to)?);
        if low > high {
            return Err(format!("`{item}`: a range of a {} goes upwards", self.name));
        }
        let text = match from == to {
            true => self.shown(from, low),
            false => format!("{}-{}", self.shown(from, low), self.shown(to, high)),
        };
        Ok(Part { from: low, to: high, step, star: false, text })
    }

    /// As robfig/cron reads it: `N/step` runs to the end, `?` is `*`, empty parts do not count.
    fn robfig(&self, text: &str) -> Result<Field, String> {
        let mut parts = Vec::new();
        for item in text.split(',').filter(|item| !item.is_empty()) {
            let (base, step) = item.split_once('/').map_or((item, None), |(base, step)| (base, Some(step)));
            let ends =
                |part: Part| if step.is_some() { Part { to: self.last, text: String::new(), ..part } } else { part };
            let width = step.map_or(Ok(1), |step| self.step(step))?;
            parts.push(if base == "*" || base == "?" {
                Part { from: self.first, to: self.last, step: width, star: true, text: String::new() }
            } else if let Some((from, to)) = base.split_once('-') {
                self.part(item, from, to, width)?
            } else {
                ends(self.part(item, base, base, width)?)
            });
        }
        if parts.is_empty() {
            return Err(format!("`{text}` is no {}", self.name));
        }
        let star = parts.iter().any(|part| part.star && part.step == 1);
        let field = self.join(&parts, parts.iter().any(|part| part.star));
        Ok(Field { star, ..field })
    }
}

/// Five fields of a crontab.
pub(super) fn debian(texts: &[&str]) -> Result<Read, String> {
    let [minute, hour, day, month, weekday] = texts else { return Err("a line of cron has five fields".into()) };
    let [r0, r1, r2, r3, r4] = &DEBIAN;
    let fields = [r0.debian(minute)?, r1.debian(hour)?, r2.debian(day)?, r3.debian(month)?, r4.debian(weekday)?];
    let [minute, hour, day, month, weekday] = &fields;
    let times = Times {
        second: 1,
        minute: minute.set,
        hour: hour.set,
        day: day.set,
        month: month.set,
        weekday: weekday.set,
        either_day: !day.star && !weekday.star,
        wild: minute.star || hour.star,
    };
    let mut notes: Vec<String> = fields.iter().flat_map(|field| field.notes.clone()).collect();
    // A step wider than the field leaves one value, written as a number: the star is gone.
    let starless = |field: &Field| field.star && !field.written.starts_with('*');
    if (starless(day) || starless(weekday)) && !weekday.written.starts_with('*') && !day.written.starts_with('*') {
        notes.push("both days must agree here, which a schedule cannot say: look at the times below".into());
    }
    let written = fields.iter().map(|field| field.written.as_str()).collect::<Vec<_>>().join(" ");
    Ok(Read { times, written, random: fields.iter().any(|field| field.random), notes })
}

/// `@daily` and its like as five fields.
pub(super) fn named(word: &str) -> Option<&'static str> {
    Some(match word {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => return None,
    })
}

/// Five or six fields of robfig/cron, or a descriptor other than `@every`.
pub(super) fn robfig(text: &str) -> Result<Read, String> {
    let expanded = named(text.trim());
    let mut texts: Vec<&str> = expanded.unwrap_or(text).split_whitespace().collect();
    let six = texts.len() == 6;
    if !six {
        texts.insert(0, "0");
    }
    let [second, minute, hour, day, month, weekday] = texts.as_slice() else {
        return Err(format!("`{text}` is no cron expression of five or six fields"));
    };
    let [r0, r1, r2, r3, r4, r5] = &ROBFIG;
    let (second, minute, hour) = (r0.robfig(second)?, r1.robfig(minute)?, r2.robfig(hour)?);
    let (day, month, weekday) = (r3.robfig(day)?, r4.robfig(month)?, r5.robfig(weekday)?);
    let either_day = !day.star && !weekday.star;
    let times = Times {
        second: second.set,
        minute: minute.set,
        hour: hour.set,
        day: day.set,
        month: month.set,
        weekday: weekday.set,
        either_day,
        wild: true,
    };
    let mut notes = Vec::new();
    if six && second.set != 1 {
        notes.push("its first field is seconds: here it starts once, at second 0 of these minutes".to_owned());
    } else if six {
        notes.push("six fields, of which the first is seconds: 0 there, and gone here".to_owned());
    }
    // Here a field that begins with `*` makes both days count, also with a step.
    let (day, weekday) = match either_day {
        true => (day.plain, weekday.plain),
        false => (day.written, weekday.written),
    };
    let written = match expanded {
        Some(_) => text.trim().to_owned(),
        None => [minute.written, hour.written, day, month.written, weekday].join(" "),
    };
    Ok(Read { times, written, random: false, notes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debians_dialect_is_written_as_ours() {
        for (old, new) in [
            ("*/5 * * * *", "*/5 * * * *"),
            ("05 04 * * sun", "5 4 * * SUN"),
            ("0 0 1,15 * mon-fri", "0 0 1,15 * MON-FRI"),
            ("*/60 * * * *", "0 * * * *"),
            ("*/90 */24 * * *", "0 0 * * *"),
            ("0 0-23/2 * * *", "0 0-23/2 * * *"),
            ("5,* * * * *", "0-59 * * * *"),
            ("*,5 * * * *", "* * * * *"),
            ("5,*/10 * * * *", "5,0-59/10 * * * *"),
            ("5/15 * * * *", "5 * * * *"),
            ("0 0 * * 5-7", "0 0 * * 5-7"),
            ("0~30 3 * * *", "H(0-30) 3 * * *"),
            ("~ 3 * * *", "H 3 * * *"),
            ("0 3 1~31 * *", "0 3 H * *"),
        ] {
            let fields: Vec<&str> = old.split(' ').collect();
            assert_eq!(debian(&fields).map(|read| read.written), Ok(new.to_owned()), "{old}");
        }
        for bad in [
            "60 * * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "5-1 * * * *",
            ", * * * *",
            "*/0 * * * *",
            "x * * * *",
        ] {
            assert!(debian(&bad.split(' ').collect::<Vec<_>>()).is_err(), "{bad}");
        }
    }

    #[test]
    fn robfigs_dialect_is_written_as_ours() {
        for (old, new) in [
            ("0 */6 * * *", "0 */6 * * *"),
            ("5/15 * * * *", "5-59/15 * * * *"),
            ("30 5 0 * * *", "5 0 * * *"),
            ("0 0 ? * MON", "0 0 * * MON"),
            ("0 0 */2 * 1", "0 0 1-31/2 * 1"),
            ("0 0 */2 * *", "0 0 */2 * *"),
            ("0 0 5,* * 1", "0 0 * * 1"),
            ("@daily", "@daily"),
        ] {
            assert_eq!(robfig(old).map(|read| read.written), Ok(new.to_owned()), "{old}");
        }
        for bad in ["0 0 * * 7", "* * * *", "0 0 0 * *", "@reboot", "*/0 * * * *", "1-2-3 * * * *"] {
            assert!(robfig(bad).is_err(), "{bad}");
        }
    }
}
