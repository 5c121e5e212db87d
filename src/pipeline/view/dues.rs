//! Due times of a stretch, by the rules of a job alone: what `why`, `forecast` and `simulate` show. What
//! becomes of a due time is decided in `pipeline::due`; here nothing is.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;

use crate::model::job::{Definition, EveryFrom, ScheduleDef};
use crate::model::schedule::Schedule;
use crate::model::time::{Seconds, Timestamp, seconds_between};
use crate::model::view::MissingView;

/// What of a job's past its rule counts from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Anchor {
    /// First load of the rule: `every` counts from here. `None`: from the stretch's beginning.
    pub since: Option<Timestamp>,
    /// The last end of a run: `every … after end` counts from here.
    pub ended: Option<Timestamp>,
    /// What a run usually takes.
    pub usual: Seconds,
}

/// Due times from `from` to before `to`, and whether there are more than `max` of them.
#[must_use]
pub fn between(
    definition: &Definition,
    anchor: &Anchor,
    from: Timestamp,
    to: Timestamp,
    max: usize,
) -> (Vec<Timestamp>, bool) {
    let mut found = BTreeSet::new();
    let mut more = false;
    for rule in &definition.schedule {
        let Ok(schedule) = Schedule::of(rule) else { continue };
        let first = schedule.next_after(before(from));
        let times = std::iter::successors(first, |at| schedule.next_after(*at)).take_while(|at| *at < to);
        more |= collect(&mut found, times, max);
    }
    if let Some(every) = &definition.every {
        let period = every.period.0.max(1);
        let (start, step) = match every.from {
            EveryFrom::Start => (anchor.since.unwrap_or(from), period),
            EveryFrom::End => {
                (anchor.ended.or(anchor.since).unwrap_or(from), period.saturating_add(anchor.usual.0).max(1))
            }
        };
        let first = match every.from {
            EveryFrom::Start => {
                let whole = seconds_between(start, before(from)).0 / period + 1;
                Seconds(whole.saturating_mul(period)).after(start)
            }
            // One that is overdue is due as soon as it can be.
            EveryFrom::End => Seconds(period).after(start).max(from),
        };
        let times = std::iter::successors(Some(first), |at| Some(Seconds(step).after(*at)).filter(|next| next > at));
        more |= collect(&mut found, times.take_while(|at| *at < to), max);
    }
    more |= found.len() > max;
    (found.into_iter().take(max).collect(), more)
}

/// Days from `from` to before `to` that a schedule names and that its zone leaves out.
#[must_use]
pub fn missing(definition: &Definition, from: Timestamp, to: Timestamp) -> Vec<MissingView> {
    let mut found = BTreeSet::new();
    for rule in &definition.schedule {
        let (Ok(schedule), Ok(zone)) = (Schedule::of(rule), TimeZone::get(&rule.zone)) else { continue };
        // Such a day is told at the last second before it. Years may be asked for: only the days on
        // which the clock is changed are looked at.
        let changes = zone.following(from).map(|change| Seconds(2).before(change.timestamp()));
        let dues = changes.take_while(|at| *at < to).filter_map(|at| schedule.due_after(at));
        found.extend(dues.filter_map(|due| Some((due.at, due.missing?.to_string(), rule.zone.clone()))));
    }
    found.into_iter().map(|(at, day, zone)| MissingView { at, day, zone, job: definition.key.clone() }).collect()
}

/// The first due time after `at`.
#[must_use]
pub fn next(definition: &Definition, anchor: &Anchor, at: Timestamp) -> Option<Timestamp> {
    let after = at.checked_add(jiff::Span::new().nanoseconds(1)).unwrap_or(at);
    between(definition, anchor, after, Timestamp::MAX, 1).0.into_iter().next()
}

fn collect(found: &mut BTreeSet<Timestamp>, times: impl Iterator<Item = Timestamp>, max: usize) -> bool {
    for (n, at) in times.enumerate() {
        if n >= max {
            return true;
        }
        found.insert(at);
    }
    false
}

/// The last due time before `at` within the stretch since `from`.
#[must_use]
pub fn last_before(definition: &Definition, anchor: &Anchor, from: Timestamp, at: Timestamp) -> Option<Timestamp> {
    // Backwards in growing steps: a minutely job is found in the last hour, a yearly one in the last decade.
    let mut back = Seconds::hours(1);
    loop {
        let start = back.before(at).max(from);
        let (times, _) = between(definition, anchor, start, at, 10_000);
        match times.last() {
            Some(last) => return Some(*last),
            None if start <= from => return None,
            None => back = Seconds(back.0.saturating_mul(8)),
        }
    }
}

/// The rule in words: `schedule "0 2 * * *"`, `every 6h after end`, `needs image`.
#[must_use]
pub fn rule(definition: &Definition) -> String {
    let mut parts: Vec<String> = Vec::new();
    let written = |rule: &ScheduleDef| match &rule.resolved {
        Some(resolved) => format!("\"{}\" (= {resolved})", rule.text),
        None => format!("\"{}\"", rule.text),
    };
    let texts: Vec<String> = definition.schedule.iter().map(written).collect();
    if !texts.is_empty() {
        parts.push(format!("schedule {}", texts.join(" and ")));
    }
    if let Some(every) = &definition.every {
        let after = if every.from == EveryFrom::End { " after end" } else { "" };
        parts.push(format!("every {}{after}", every.period));
    }
    if definition.manual {
        parts.push("manual = true".into());
    }
    if !definition.needs.is_empty() {
        let needs: Vec<&str> = definition.needs.iter().map(crate::model::name::JobName::as_str).collect();
        parts.push(format!("needs {}", needs.join(", ")));
    }
    if parts.is_empty() {
        parts.push("new commits".into());
    }
    parts.join(", ")
}

fn before(at: Timestamp) -> Timestamp {
    at.checked_sub(jiff::Span::new().nanoseconds(1)).unwrap_or(at)
}
