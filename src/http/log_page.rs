//! A run's log, step by step and cut where it is too long for a page, with the times of its lines where
//! `?times=1` asks for them; the raw text in pieces with `?raw=1`.
//! What jobs print is hostile: it is shown as text only.

use askama::Template;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use crate::http::run_page::{load, named};
use crate::http::show::{self, Badge, Times, Trouble, blocking, cell, page};
use crate::http::{Web, log_times, removed};
use crate::model::name::RunRef;
use crate::model::retention::Part as Piece;
use crate::model::run::{Run, StepReport};
use crate::model::time::Timestamp;
use crate::model::view::came;
use crate::report::facts::{ReadLog, read_span};
use crate::report::{display, when};

/// Of one step's output the page shows the beginning and the end.
const HEAD: u64 = 16 << 10;
const TAIL: u64 = 64 << 10;
/// Bytes of one answer with raw text.
const RAW: usize = 4 << 20;
/// Steps whose output is shown.
const STEPS_MAX: usize = 64;
/// Seconds until the page of a log that grows is fetched anew.
const BUSY: u32 = 3;

#[derive(Debug, Deserialize)]
pub struct Asked {
    raw: Option<u8>,
    attempt: Option<u32>,
    from: Option<u64>,
    /// Whether each line has the time at which it came.
    times: Option<u8>,
}

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage {
    host: String,
    refresh: u32,
    run: RunRef,
    badge: Badge,
    attempt: u32,
    parts: Vec<Part>,
    /// Why there is none any more.
    removed: Option<String>,
    /// The zone of the times, where they are shown.
    zone: Option<String>,
}

/// How lines are written.
enum Form {
    Plain,
    Timed { came: Vec<(u64, Timestamp)>, times: Times },
}

impl Form {
    /// Bytes that stand there in the log, as safe HTML.
    fn html(&self, bytes: &[u8], mut at: u64) -> String {
        let Self::Timed { came: known, times } = self else { return display::html_log(bytes) };
        let (mut out, mut day) = (String::with_capacity(bytes.len() * 2), None);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let local = came(known, at).map(|came| came.to_zoned(times.zone.clone()));
            let date = local.as_ref().map(jiff::Zoned::date);
            if let (Some(local), true) = (&local, date != day) {
                out.push_str(&format!("<span class=\"day\">{}</span>", local.strftime("%a %-d %b %Y")));
                day = date;
            }
            let clock = local.map(|local| local.strftime("%H:%M:%S").to_string()).unwrap_or_default();
            let text = display::html_log(line.strip_suffix(b"\n").unwrap_or(line));
            out.push_str(&format!("<span class=\"at\"><i>{clock}</i>{text}</span>"));
            at = at.saturating_add(line.len() as u64);
        }
        out
    }

    fn zone(&self) -> Option<String> {
        match self {
            Self::Plain => None,
            Self::Timed { times, .. } => Some(times.zone_name().to_owned()),
        }
    }
}

/// The output of one step.
struct Part {
    index: u32,
    name: String,
    end: String,
    /// Safe HTML.
    head: String,
    cut: Option<String>,
    /// Safe HTML.
    tail: String,
}

pub async fn show(
    State(web): State<Web>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Trouble> {
    let Ok(Query(asked)) = asked else { return Err(Trouble::NotFound) };
    let (run, stored) = load(&web, named(path)?).await?;
    let attempt = asked.attempt.unwrap_or(run.attempt);
    if attempt > run.attempt {
        return Err(Trouble::NotFound);
    }
    if let Some(at) = removed::when(&stored.removals, Piece::Log) {
        let told = removed::told(&format!("the log of {}", run.run), at, Piece::Log);
        return match asked.raw {
            Some(_) => Err(Trouble::Gone(told)),
            None => Ok(page(StatusCode::OK, &of_page(&web, run, attempt, Vec::new(), Some(told), None))),
        };
    }
    if asked.raw.is_some() {
        return raw(&web, &run.run, attempt, asked.from.unwrap_or(0)).await;
    }
    let steps = if attempt == run.attempt {
        stored.steps
    } else {
        let (reader, of) = (web.app.reader.clone(), run.run.clone());
        blocking(move || reader.steps(&of, attempt)).await?
    };
    let form =
        if asked.times.is_some_and(|wanted| wanted > 0) { timed(&web, &run, attempt).await? } else { Form::Plain };
    let (read_log, of, zone) = (web.app.read_log.clone(), run.run.clone(), form.zone());
    let parts = blocking(move || Ok(parts(&read_log, &of, attempt, &steps, &form))).await?;
    Ok(page(StatusCode::OK, &of_page(&web, run, attempt, parts, None, zone)))
}

async fn timed(web: &Web, run: &Run, attempt: u32) -> Result<Form, Trouble> {
    let seen = web.app.inbox.look(|world, now| (world.scratch.catalog.settings.timezone.clone(), now));
    let (zone, now) = seen.await.ok_or(Trouble::Stopping)?;
    let (app, of) = (web.app.clone(), run.run.clone());
    // Without what was written down by the second there is no time to show, and the text is all the same.
    let known = blocking(move || Ok(log_times::known(&app, &of, attempt))).await?;
    let came = known.map(|known| known.times).unwrap_or_default();
    Ok(Form::Timed { came, times: Times { zone: when::zone(&zone), now } })
}

fn of_page(
    web: &Web,
    run: Run,
    attempt: u32,
    parts: Vec<Part>,
    removed: Option<String>,
    zone: Option<String>,
) -> LogPage {
    LogPage {
        host: web.app.site.host.clone(),
        refresh: if run.is_running() { BUSY } else { 0 },
        badge: Badge::of_run(&run),
        run: run.run,
        attempt,
        parts,
        removed,
        zone,
    }
}

fn parts(read_log: &ReadLog, run: &RunRef, attempt: u32, steps: &[StepReport], form: &Form) -> Vec<Part> {
    steps.iter().take(STEPS_MAX).map(|step| part(read_log, run, attempt, step, form)).collect()
}

fn part(read_log: &ReadLog, run: &RunRef, attempt: u32, step: &StepReport, form: &Form) -> Part {
    let read = |from: u64, max: u64| read_span(read_log, run, attempt, from, from.saturating_add(max));
    // A step that still runs has no end yet: its end is the log's.
    let to = step.log_to.unwrap_or_else(|| end_of(read_log, run, attempt, step.log_from));
    let size = to.saturating_sub(step.log_from);
    let (head, cut, tail) = if size <= HEAD + TAIL {
        (read(step.log_from, size), None, Ok(Vec::new()))
    } else {
        let left_out = size - HEAD - TAIL;
        (read(step.log_from, HEAD), Some(format!("{left_out} bytes are left out here")), read(to - TAIL, TAIL))
    };
    let end = step.ended.as_ref().map_or_else(|| "runs".into(), |end| cell(&end.to_string()));
    let shown = |bytes: std::io::Result<Vec<u8>>, at: u64| match bytes {
        Ok(bytes) => form.html(&bytes, at),
        Err(error) => display::html(&format!("[the log cannot be read: {error}]")),
    };
    Part {
        index: step.index,
        name: cell(&step.name),
        end,
        head: shown(head, step.log_from),
        cut,
        tail: shown(tail, to.saturating_sub(TAIL)),
    }
}

/// Where a log ends, found by looking for single bytes: its length is not told, and it may be large.
fn end_of(read_log: &ReadLog, run: &RunRef, attempt: u32, from: u64) -> u64 {
    let is_there = |at: u64| read_log(run, attempt, at, 1).is_ok_and(|(bytes, _)| !bytes.is_empty());
    let (mut end, mut step) = (from, 1_u64 << 40);
    while step > 0 {
        // All bytes below `end` are there; the log is at least `step` longer if the last of those is.
        if is_there(end + step - 1) {
            end += step;
        } else {
            step /= 2;
        }
    }
    end
}

/// The bytes as they are, as text and nothing else; `x-shipbell-next` says where the next piece begins.
async fn raw(web: &Web, run: &RunRef, attempt: u32, from: u64) -> Result<Response, Trouble> {
    let (read_log, of) = (web.app.read_log.clone(), run.clone());
    let bytes = blocking(move || Ok(read_log(&of, attempt, from, RAW))).await?;
    let (bytes, next) = bytes.map_err(|_| Trouble::NotFound)?;
    let name = format!("inline; filename=\"{}.{attempt}.log\"", run.id());
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, name),
        (header::HeaderName::from_static("x-shipbell-next"), next.to_string()),
    ];
    Ok((headers, bytes).into_response())
}
