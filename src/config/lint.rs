//! What is allowed in a schedule and seldom meant. Said by `check` as warnings, after everything was
//! read; nothing here keeps a file from being followed. What is wrong is an error, told by `job.rs`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::config::message::{Findings, Mistake, Problem, Source, Spot};
use crate::config::tree::{self, Entry, Table};
use crate::model::catalog::{Catalog, Job, Pipeline, PipelineState};
use crate::model::job::Definition;
use crate::model::schedule::Schedule;
use crate::model::time::{Seconds, Timestamp, seconds_between};

/// Everything that is worth a second look, by the definitions as they were resolved.
#[must_use]
pub fn warnings(catalog: &Catalog, now: Timestamp) -> Vec<Problem> {
    let good = catalog.pipelines.values().filter(|pipeline| pipeline.state == PipelineState::Ok);
    good.flat_map(|pipeline| of_pipeline(pipeline, now)).collect()
}

fn of_pipeline(pipeline: &Pipeline, now: Timestamp) -> Vec<Problem> {
    if pipeline.jobs.values().all(|job| !job.definition.timed()) {
        return Vec::new();
    }
    let Some(file) = parsed(&pipeline.file) else { return Vec::new() };
    let findings = Findings::default();
    for job in pipeline.jobs.values().filter(|job| job.definition.timed()) {
        of_job(&file, job, now, &findings);
    }
    let name = |problem: Problem| Problem { pipeline: Some(pipeline.name.clone()), ..problem };
    findings.into_problems().into_iter().map(name).collect()
}

/// A file once more. It was read a moment ago; if it is gone since, the next check says so.
pub(super) fn parsed(path: &Path) -> Option<Table> {
    let text = fs::read_to_string(path).ok()?;
    let source = Arc::new(Source { path: path.to_owned(), text });
    tree::parse(&source, &Findings::default()).map(|(file, _)| file)
}

/// Where a job's key stands: with the job, else with the defaults.
pub(super) fn entry<'a>(file: &'a Table, definition: &Definition, key: &str) -> Option<&'a Entry> {
    let silent = Findings::default();
    let table = |within: &'a Table, key: &str| within.get(key).and_then(|entry| entry.table("", &silent));
    let own = table(file, "job").and_then(|jobs| table(jobs, definition.key.job.as_str()));
    own.and_then(|job| job.get(key)).or_else(|| table(file, "defaults")?.get(key))
}

fn of_job(file: &Table, job: &Job, now: Timestamp, findings: &Findings) {
    let definition = &job.definition;
    let silent = Findings::default();
    let items = entry(file, definition, "schedule").and_then(|entry| entry.texts(&silent)).unwrap_or_default();
    for ((text, item), rule) in items.iter().zip(&definition.schedule) {
        let written = text.split_whitespace().collect::<Vec<_>>();
        if let [minute, hour, day, month, weekday] = written.as_slice() {
            every_minute(&item.spot, minute, hour, findings);
            steps(&item.spot, [minute, hour, day, month], findings);
            either_day(&item.spot, day, weekday, findings);
        }
        changes_of_the_clock(&item.spot, text, rule, now, findings);
    }
    let timed = entry(file, definition, "schedule").or_else(|| entry(file, definition, "every"));
    if let (Some(timed), Some(interval)) = (timed, shortest_interval(definition, now)) {
        against_interval(file, definition, timed, interval, findings);
    }
}

fn warn(spot: &Spot, headline: String, label: String) -> Mistake {
    Mistake::new(spot, headline).label(label).warning()
}

/// `* 3 * * *` was meant as `0 3 * * *`.
fn every_minute(spot: &Spot, minute: &str, hour: &str, findings: &Findings) {
    if minute == "*" && hour != "*" {
        let times = if hour.chars().all(|c| c.is_ascii_digit()) {
            format!(" from {hour}:00 to {hour}:59")
        } else {
            String::new()
        };
        let rest = spot.text().trim_matches(['"', '\'']).trim().split_once(' ').map_or("", |(_, rest)| rest);
        findings.add(&warn(
            spot,
            format!("it runs every minute{times}"),
            format!("once in the hour is \"0 {rest}\"; if every minute is meant: \"*/1 {rest}\""),
        ));
    }
}

/// `*/7` of minutes: the last stretch of every hour is shorter.
fn steps(spot: &Spot, fields: [&&str; 4], findings: &Findings) {
    let units = [("minute", 60, "hour"), ("hour", 24, "day"), ("day of month", 31, "month"), ("month", 12, "year")];
    for (field, (name, size, whole)) in fields.into_iter().zip(units) {
        for item in field.split(',') {
            let step =
                item.strip_prefix("*/").or_else(|| item.strip_prefix("H/")).and_then(|step| step.parse::<u32>().ok());
            let Some(step) = step.filter(|step| *step > 1 && size % step != 0) else { continue };
            let (left, first) = (size % step, u32::from(name == "day of month"));
            let last = size - left + first;
            let label = match name {
                "day of month" => format!("it begins anew with every month: day {last}, then day 1"),
                _ => format!(
                    "it begins anew with every {whole}: after {name} {last} comes {first}, {left} later instead of {step}"
                ),
            };
            let period = match name {
                "minute" => format!("every = \"{step}m\""),
                "hour" => format!("every = \"{step}h\""),
                "day of month" => format!("every = \"{step}d\""),
                _ => continue,
            };
            let mistake = warn(spot, format!("`{item}` is no even rhythm: {step} does not divide the {whole}"), label);
            findings.add(&mistake.note(format!("an even one: {period}")));
        }
    }
}

/// `0 4 1 * MON`: cron takes both day fields as "or".
fn either_day(spot: &Spot, day: &str, weekday: &str, findings: &Findings) {
    if !day.starts_with('*') && !weekday.starts_with('*') {
        findings.add(
            &warn(
                spot,
                "two day fields: it runs on each day that fits one of them".into(),
                format!("on day {day} of the month, and on every {weekday}"),
            )
            .note("cron unites the two; for \"the first Monday\" write `* * MON#1` in these three fields"),
        );
    }
}

/// A named hour that the clock leaves out or has twice, within the next two years.
fn changes_of_the_clock(
    spot: &Spot,
    text: &str,
    rule: &crate::model::job::ScheduleDef,
    now: Timestamp,
    findings: &Findings,
) {
    let hour_is_named = text.split_whitespace().nth(1).is_some_and(|hour| !hour.contains(['*', 'H']));
    let (Ok(plain), Ok(zone)) =
        (Schedule::parse(rule.resolved.as_ref().unwrap_or(&rule.text), "UTC"), TimeZone::get(&rule.zone))
    else {
        return;
    };
    if !hour_is_named {
        return;
    }
    let (mut gap, mut overlap) = (None, None);
    let end = Seconds::days(2 * 366).after(now);
    for change in zone.following(now).map(|change| change.timestamp()).take_while(|at| *at < end) {
        let Ok(just_before) = change.checked_sub(jiff::Span::new().seconds(1)) else { continue };
        let (before, after) = (zone.to_offset(just_before), zone.to_offset(change));
        let (old, new) = (before.to_datetime(change), after.to_datetime(change));
        // The wall's times between the two, read as UTC, where every time exists once.
        let (first, last) = if old < new { (old, new) } else { (new, old) };
        let as_utc = |wall: jiff::civil::DateTime| wall.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp()).ok();
        let (Some(first), Some(last)) = (as_utc(first), as_utc(last)) else { continue };
        let from = first.checked_sub(jiff::Span::new().nanoseconds(1)).unwrap_or(first);
        let Some(hit) = plain.next_after(from).filter(|at| *at < last) else { continue };
        let found = (hit, new);
        if old < new {
            gap.get_or_insert(found)
        } else {
            overlap.get_or_insert(found)
        };
    }
    let wall = |at: Timestamp| at.strftime("%H:%M on %a %Y-%m-%d").to_string();
    if let Some((hit, new)) = gap {
        let headline = format!("{} does not exist in {}", wall(hit), rule.zone);
        let label = format!("the clock is put forward: it runs once, at {} that day", new.strftime("%H:%M"));
        findings.add(&warn(spot, headline, label));
    }
    if let Some((hit, _)) = overlap {
        let headline = format!("{} comes twice in {}", wall(hit), rule.zone);
        findings.add(&warn(spot, headline, "the clock is put back: it runs at the first pass only".into()));
    }
}

/// The shortest time between two of the next due times.
fn shortest_interval(definition: &Definition, now: Timestamp) -> Option<Seconds> {
    const LOOKED_AT: usize = 200;
    if let Some(every) = &definition.every {
        return Some(every.period);
    }
    let rules: Vec<Schedule> = definition.schedule.iter().filter_map(|rule| Schedule::of(rule).ok()).collect();
    let next = |from: &Timestamp| rules.iter().filter_map(|rule| rule.next_after(*from)).min();
    let times: Vec<Timestamp> = std::iter::successors(next(&now), next).take(LOOKED_AT).collect();
    let pairs = times.windows(2).filter_map(|pair| match pair {
        [one, two] => Some(seconds_between(*one, *two)),
        _ => None,
    });
    pairs.min()
}

/// What takes or waits longer than the next due time is away.
fn against_interval(file: &Table, definition: &Definition, timed: &Entry, interval: Seconds, findings: &Findings) {
    // Only what was written: the default of a day or an hour is nobody's mistake.
    if let Some(written) = entry(file, definition, "timeout")
        && definition.timeout > interval
        && definition.every.as_ref().is_none_or(|every| every.from == crate::model::job::EveryFrom::Start)
    {
        let mistake = warn(
            &written.spot,
            format!("`timeout` is longer than the time between two due times, {interval}"),
            "a run that hangs takes the place of the next ones: they coalesce into one".into(),
        );
        findings.add(&mistake.with_line(&timed.key_spot));
    }
    if let Some(written) = entry(file, definition, "catch-up-window")
        && definition.catch_up_window < interval
    {
        let mistake = warn(
            &written.spot,
            format!("`catch-up-window` is shorter than the time between two due times, {interval}"),
            format!("a due time missed by more than {} is never caught up", definition.catch_up_window),
        );
        findings.add(&mistake.with_line(&timed.key_spot));
    }
}
