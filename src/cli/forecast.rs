//! `shipbell forecast`: the next weeks as a picture, a row a day and a column an hour, and below it what
//! collides, what overruns, what is frozen or paused. `shipbell simulate`: due times of job files.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::clock;
use crate::config::layout::Layout;
use crate::config::{self, Trust};
use crate::model::moment::{Toward, stretch};
use crate::model::name::JobKey;
use crate::model::time::{Seconds, Timestamp};
use crate::model::view::{DayView, ForecastView, MissingView, SimulateView};
use crate::pipeline::view::simulate as due_times;

use super::Context;
use super::args::SimulateArgs;
use super::client::query;
use super::exit::{FAILED, Failure, say};
use super::paint::{Cell, Screen, Table, Tone, WIDTH, count, cut, safe_line, wrap};
use super::when::Reader;

/// Due times that one simulation prints.
const ROWS_MAX: usize = 100_000;

/// Jobs that the picture names.
const JOBS: usize = 10;

pub(super) async fn forecast(context: &Context, span: Seconds) -> Result<ExitCode, Failure> {
    let days = span.0.div_ceil(86_400).max(1);
    let zone = context.screen.zone.iana_name().map(|zone| format!("&zone={}", query(zone))).unwrap_or_default();
    let text = context.client.get_text(&format!("/api/v1/forecast?days={days}{zone}")).await?;
    if context.json {
        context.screen.print(&format!("{}\n", text.trim_end()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let view: ForecastView = super::client::read(&text)?;
    context.screen.print(&render(&view, &context.screen))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn render(view: &ForecastView, screen: &Screen) -> String {
    let reader = screen.reader(view.now);
    if view.jobs.is_empty() {
        return "Nothing comes by the clock: no job has `schedule` or `every`. Commits and people start the rest.\n"
            .into();
    }
    let mut text = picture(view, screen, &reader);
    let mut notes = Vec::new();
    for pause in &view.paused {
        let until = pause.until.map(|until| format!(" until {}", reader.when(until))).unwrap_or_default();
        let scope = if pause.scope == "*" { "everything" } else { pause.scope.as_str() };
        notes.push(format!("{scope} is paused{until} by {}: its times are not counted", safe_line(&pause.by)));
    }
    let cut_off: Vec<String> = view.jobs.iter().filter(|job| job.more).map(|job| job.job.to_string()).collect();
    if let Some(first) = cut_off.first() {
        let who = match cut_off.len() - 1 {
            0 => format!("{first} is"),
            n => format!("{first} and {} are", count(n as u64, "other", "others")),
        };
        notes.push(format!("{who} due too often to be counted to the end (DUE has a +)"));
    }
    for job in view.jobs.iter().filter(|job| job.overruns) {
        let (usual, interval) = (job.usual.unwrap_or_default(), job.interval.unwrap_or_default());
        notes.push(format!("{} usually takes {usual} and is due every {interval}: times coalesce", job.job));
    }
    for collision in &view.collisions {
        let names: Vec<String> = collision.jobs.iter().map(ToString::to_string).collect();
        let jobs = count(names.len() as u64, "job", "jobs");
        let days = count(collision.days, "day", "days");
        let at = collision.at.to_zoned(screen.zone.clone()).strftime("%H:%M").to_string();
        let places = u64::from(collision.places);
        let slots = match &collision.pool {
            Some(pool) => format!("{} of pool {pool}", count(places, "place", "places")),
            None => count(places, "slot", "slots"),
        };
        let names = cut(&names.join(", "), 120);
        notes.push(format!("{jobs} at {at} for {slots}, on {days} from {}: {names}", reader.when(collision.at)));
    }
    for freeze in view.freezes.iter().take(JOBS) {
        let (from, to) = (reader.when(freeze.from), reader.when(freeze.to));
        notes.push(format!("{} {} is frozen {from} - {to} ({})", freeze.pipeline, freeze.environment, freeze.rule));
    }
    notes.extend(view.missing.iter().take(JOBS).map(no_such_day));
    if !notes.is_empty() {
        text.push_str("\nMIND\n");
    }
    for note in notes {
        let lines = wrap(&safe_line(&note), WIDTH - 4);
        text.push_str(&format!("  {}\n", lines.join("\n    ")));
    }
    text.push_str(&format!("\n{}", jobs(view, screen, &reader)));
    text
}

fn no_such_day(day: &MissingView) -> String {
    format!("{} does not exist in {}: {} is skipped (no such day)", day.day, day.zone, day.job)
}

/// A row a day; a digit is the number of due times in that hour, `+` ten or more.
fn picture(view: &ForecastView, screen: &Screen, reader: &Reader) -> String {
    let mut text = format!("{:<11} 0     6     12    18     {:>6}  {:>7}\n", "DAY", "DUE", "LOAD");
    for day in &view.days {
        let hours: String = day.hours.iter().map(|n| digit(*n)).collect();
        let weekday = day.from.to_zoned(screen.zone.clone()).strftime("%a").to_string();
        let date = day.date.get(5..).unwrap_or(&day.date);
        let load = if day.load.0 == 0 { "-".to_owned() } else { super::when::rough(day.load) };
        let line = format!("{weekday:<4}{date:<8}{hours}  {:>6}  {load:>7}", day.due);
        text.push_str(&format!("{line}{}\n", screen.paint(Tone::Waits, &marks(day))));
    }
    let until = reader.when(view.to);
    text.push_str(&format!("{}\n", screen.paint(Tone::Faint, &format!("days in {}, until {until}", view.zone))));
    text
}

fn digit(n: u64) -> char {
    match n {
        0 => '.',
        1..=9 => char::from_digit(u32::try_from(n).unwrap_or(9), 10).unwrap_or('9'),
        _ => '+',
    }
}

fn marks(day: &DayView) -> String {
    let mut marks = Vec::new();
    marks.extend(day.clock_change.as_ref().map(|change| format!("clock {change}")));
    if day.held > 0 {
        marks.push(format!("{} held", day.held));
    }
    let frozen: Vec<&str> = day.frozen.iter().map(crate::model::name::EnvironmentName::as_str).collect();
    if !frozen.is_empty() {
        marks.push(format!("frozen: {}", frozen.join(", ")));
    }
    if marks.is_empty() { String::new() } else { format!("  {}", cut(&marks.join("; "), 25)) }
}

fn jobs(view: &ForecastView, screen: &Screen, reader: &Reader) -> String {
    let mut table = Table::new(0);
    table.head(&["JOB", "DUE", "FIRST", "USUALLY", "RULE"]);
    for job in view.jobs.iter().take(JOBS) {
        let more = if job.more { "+" } else { "" };
        let usual = job.usual.map_or_else(|| "-".into(), |usual| usual.to_string());
        table.row(vec![
            cut(&job.job.to_string(), 30).into(),
            format!("{}{more}", job.due).into(),
            job.first.map_or_else(|| "-".into(), |first| reader.when(first)).into(),
            if job.overruns { Cell::new(Tone::Bad, usual) } else { usual.into() },
            safe_line(&job.rule).into(),
        ]);
    }
    let mut text = table.render(screen);
    if view.jobs.len() > JOBS {
        text.push_str(&format!("{} more: shipbell forecast --json\n", view.jobs.len() - JOBS));
    }
    text
}

/// Due times of job files, or of installed jobs; no daemon is asked, nothing is run.
pub(super) fn simulate(
    layout: &Layout,
    screen: &Screen,
    asked: &SimulateArgs,
    json: bool,
) -> Result<ExitCode, Failure> {
    let now = clock::now();
    let (from, to) = ends(screen, asked, now)?;
    let (files, jobs): (Vec<&String>, Vec<&String>) =
        asked.what.iter().partition(|what| what.parse::<JobKey>().is_err() || std::path::Path::new(what).exists());
    let jobs: Vec<JobKey> = jobs.iter().filter_map(|job| job.parse().ok()).collect();
    let trust = Trust::root_and_self();
    let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
    let loaded = match (files.as_slice(), jobs.as_slice()) {
        ([], _) => config::load(layout, &trust, &config::last_good::read(&layout.last_good())),
        (files, []) => config::check_files(layout, &trust, files),
        _ => return Err(Failure::usage("name files or jobs, not both")),
    };
    for problem in &loaded.problems {
        say(&problem.text);
    }
    let definitions: Vec<_> = loaded.catalog.pipelines.values().flat_map(|p| p.jobs.values()).collect();
    if let Some(unknown) = jobs.iter().find(|key| definitions.iter().all(|job| job.definition.key != **key)) {
        return Err(Failure::not_found(format!("there is no job {unknown}\n  all jobs: shipbell check --json")));
    }
    let wanted = definitions.iter().map(|job| job.definition.as_ref());
    let wanted = wanted.filter(|definition| jobs.is_empty() || jobs.contains(&definition.key));
    let view = due_times(wanted, from, to, &loaded.catalog.settings.timezone, ROWS_MAX);
    if json {
        let text = serde_json::to_string(&view).map_err(|error| Failure::other(error.to_string()))?;
        screen.print(&format!("{text}\n"))?;
    } else {
        screen.print(&render_simulate(&view))?;
    }
    Ok(if loaded.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn ends(screen: &Screen, asked: &SimulateArgs, now: Timestamp) -> Result<(Timestamp, Timestamp), Failure> {
    let read = |text: &str, toward| {
        stretch(text, now, &screen.zone, toward).map_err(|error| Failure::usage(error.to_string()))
    };
    let from = asked.from.as_deref().map_or(Ok(now), |text| read(text, Toward::Past).map(|(from, _)| from))?;
    let to = match asked.to.as_deref() {
        None => Seconds::days(7).after(from),
        Some(text) => read(text, Toward::Future)?.0,
    };
    let whole = |at: Timestamp| Timestamp::from_second(at.as_second()).unwrap_or(at);
    let (from, to) = (whole(from), whole(to));
    if to <= from {
        return Err(Failure::usage(format!("--to ({to}) is not after --from ({from})")));
    }
    Ok((from, to))
}

pub(super) fn render_simulate(view: &SimulateView) -> String {
    let mut text = String::from("UTC                   LOCAL                           JOB\n");
    for row in &view.rows {
        let utc = row.at.strftime("%Y-%m-%d %H:%M:%S");
        let local = row.local.replacen('T', " ", 1);
        let mark = if row.clock_changed { "*" } else { " " };
        let there = row.at.to_zoned(jiff::tz::TimeZone::get(&row.zone).unwrap_or(jiff::tz::TimeZone::UTC));
        text.push_str(&format!("{utc}   {} {local}{mark}  {}\n", there.strftime("%a"), row.job));
    }
    let n = count(view.rows.len() as u64, "due time", "due times");
    let more = if view.more { " (the first; there are more)" } else { "" };
    text.push_str(&format!("{n}{more} from {} to {}. Nothing was run.\n", view.from, view.to));
    if view.rows.iter().any(|row| row.clock_changed) {
        text.push_str("* the clock was changed since the time before\n");
    }
    for day in view.missing.iter().take(JOBS) {
        text.push_str(&format!("{}\n", wrap(&no_such_day(day), WIDTH).join("\n")));
    }
    let names = |keys: &[JobKey]| keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if !view.assumed.is_empty() {
        text.push_str(&format!("`every` is counted from {} here: {}\n", view.from, names(&view.assumed)));
    }
    if !view.untimed.is_empty() {
        let line = format!("Without a clock: {}", names(&view.untimed));
        text.push_str(&format!("{}\n", wrap(&line, WIDTH).join("\n")));
    }
    text
}
