//! `shipbell logs [-f]`: a run's output, asked for by offset so that nothing is missed and nothing comes
//! twice. Following ends with the run; its exit status is the run's.

use std::process::ExitCode;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::model::moment::{Toward, stretch};
use crate::model::name::RunRef;
use crate::model::run::Outcome;
use crate::model::time::Timestamp;
use crate::model::view::{LogChunk, LogTimesView, StepSpan, came};

use crate::report::display;

use super::Context;
use super::args::LogsArgs;
use super::exit::{FAILED, Failure, say};
use super::paint::{Screen, safe, safe_line};

/// Between two questions while nothing new comes.
const PAUSE: Duration = Duration::from_millis(200);

/// Bytes asked for at once.
const PIECE: u64 = 1 << 20;

/// As journals have it, with the year: logs are old.
const TIME_FORM: &str = "%Y-%m-%d %H:%M:%S";

/// An unfinished line is held back until it is this long: a character or escape code may be cut in it.
const LINE_MAX: usize = 8 << 10;

pub(super) async fn logs(context: &Context, query: &LogsArgs) -> Result<ExitCode, Failure> {
    let run = query.run.last(&context.client).await?;
    let mut printer = Printer::new(&context.screen, query.raw);
    printer.times = query.times.then(Vec::new);
    if query.follow && query.attempt.is_none() && query.since.is_none() {
        return Ok(end_code(follow(context, &run, None, &mut printer).await?));
    }
    let (mut attempt, (mut from, to)) = (query.attempt, span(context, &run, query).await?);
    loop {
        let max = to.map_or(PIECE, |to| PIECE.min(to.saturating_sub(from)));
        if max == 0 {
            break;
        }
        let chunk = piece(context, &run, attempt, from, max).await?;
        if let Some(at) = chunk.removed {
            gone(context, &run, at)?;
            return Ok(ExitCode::SUCCESS);
        }
        if chunk.attempt == 0 {
            printer.end()?;
            return Err(Failure::not_found(format!("{run} has printed nothing: {}", not_begun(&chunk))));
        }
        attempt = Some(chunk.attempt);
        printer.learn(context, &run, &chunk).await?;
        printer.take(&chunk)?;
        // Without -f, what is there now is all.
        if chunk.next == from && (chunk.over || !query.follow) {
            break;
        }
        if chunk.next == from {
            tokio::time::sleep(PAUSE).await;
        }
        from = chunk.next;
    }
    printer.end()?;
    Ok(ExitCode::SUCCESS)
}

/// Which part of the log was asked for: where it begins, and where it ends if not with the log.
async fn span(context: &Context, run: &RunRef, query: &LogsArgs) -> Result<(u64, Option<u64>), Failure> {
    if query.since.is_none() && query.step.is_none() {
        return Ok((0, None));
    }
    let known = times(context, run, query.attempt).await?;
    if let Some(wanted) = &query.step {
        let is_it = |step: &&StepSpan| step.name == *wanted || step.index.to_string() == *wanted;
        let Some(step) = known.steps.iter().find(is_it) else {
            let names: Vec<String> = known.steps.iter().map(|step| format!("{} {}", step.index, step.name)).collect();
            let text = format!("{run} has begun no step `{wanted}`\n  its steps: {}", names.join(", "));
            return Err(Failure::not_found(safe(&text)));
        };
        return Ok((step.from, step.to));
    }
    let Some(text) = &query.since else { return Ok((0, None)) };
    let read = stretch(text, crate::clock::now(), &context.screen.zone, Toward::Past);
    let (since, _) = read.map_err(|error| Failure::usage(error.to_string()))?;
    // What came before the next entry may have come since.
    let from = known.times.iter().rev().find(|(_, at)| *at <= since).map_or(0, |(offset, _)| *offset);
    Ok((from, None))
}

async fn times(context: &Context, run: &RunRef, attempt: Option<u32>) -> Result<LogTimesView, Failure> {
    let attempt = attempt.map(|attempt| format!("?attempt={attempt}")).unwrap_or_default();
    context.client.get(&format!("/api/v1/runs/{}/times{attempt}", run.id())).await
}

/// A log that `[retention]` took away is no error, and not empty either.
fn gone(context: &Context, run: &RunRef, at: Timestamp) -> Result<(), Failure> {
    let reader = context.screen.reader(crate::clock::now());
    context.screen.print(&format!("=== the log of {run} was removed on {} by [retention]\n", reader.dated(at)))
}

fn not_begun(chunk: &LogChunk) -> String {
    match (&chunk.waits, chunk.outcome) {
        (Some(why), _) => format!("it waits ({})", safe_line(why)),
        (None, Some(outcome)) => format!("it ended as {outcome} before it began"),
        (None, None) => "it is about to begin".into(),
    }
}

/// The exit status of a command that followed a run.
pub(super) fn end_code(outcome: Outcome) -> ExitCode {
    if outcome == Outcome::Succeeded { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

/// Follows a run as `run --follow` and `retry --follow` do, and says how it ended.
pub(super) async fn follow_to_end(context: &Context, run: &RunRef) -> Result<ExitCode, Failure> {
    let mut printer = Printer::new(&context.screen, false);
    Ok(end_code(follow(context, run, Some(1), &mut printer).await?))
}

/// Prints a run's attempts as they happen, until the run is over: from `first` on, or from the one that is
/// the last when it is called.
async fn follow(
    context: &Context,
    run: &RunRef,
    first: Option<u32>,
    printer: &mut Printer<'_>,
) -> Result<Outcome, Failure> {
    let (mut attempt, mut from) = (None, 0);
    let (mut told, mut printed) = (None, 1);
    loop {
        let chunk = piece(context, run, attempt, from, PIECE).await?;
        if attempt.is_none() && chunk.attempt > 0 {
            attempt = first.or(Some(chunk.attempt));
            if attempt != Some(chunk.attempt) {
                // It was quicker than we are.
                continue;
            }
        }
        if chunk.attempt > printed {
            printed = chunk.attempt;
            say(&format!("{run}: attempt {printed}"));
        }
        if let Some(at) = chunk.removed {
            gone(context, run, at)?;
            return Ok(chunk.outcome.unwrap_or(Outcome::Succeeded));
        }
        printer.learn(context, run, &chunk).await?;
        printer.take(&chunk)?;
        let idle = chunk.next == from;
        from = chunk.next;
        if !idle {
            continue;
        }
        if chunk.over && chunk.attempt < chunk.last_attempt {
            // This attempt is told; the next one begins at its own beginning.
            (attempt, from) = (Some(chunk.attempt + 1), 0);
            continue;
        }
        if let Some(outcome) = chunk.outcome {
            printer.end()?;
            say(&format!("{run} {outcome}   shipbell show {run}"));
            return Ok(outcome);
        }
        // What is said after a comma counts down.
        let waits = chunk.waits.as_deref().and_then(|why| why.split(',').next()).map(safe_line);
        if waits.is_some() && waits != told {
            say(&format!("{run} waits ({})", waits.as_deref().unwrap_or_default()));
            told = waits;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Bytes from `from` on; of the last attempt where none is named.
async fn piece(
    context: &Context,
    run: &RunRef,
    attempt: Option<u32>,
    from: u64,
    max: u64,
) -> Result<LogChunk, Failure> {
    let attempt = attempt.map(|attempt| format!("&attempt={attempt}")).unwrap_or_default();
    let path = format!("/api/v1/runs/{}/log?from={from}&max={max}{attempt}", run.id());
    context.client.get(&path).await
}

struct Printer<'a> {
    screen: &'a Screen,
    raw: bool,
    /// The beginning of a line whose end has not come yet.
    held: Vec<u8>,
    /// Where that begins in the log.
    at: u64,
    /// When which byte came, as far as it is known; `None`: nobody wants to know.
    times: Option<Vec<(u64, Timestamp)>>,
}

impl<'a> Printer<'a> {
    fn new(screen: &'a Screen, raw: bool) -> Self {
        Self { screen, raw, held: Vec::new(), at: 0, times: None }
    }

    /// Asks when the bytes of a piece came.
    async fn learn(&mut self, context: &Context, run: &RunRef, chunk: &LogChunk) -> Result<(), Failure> {
        if self.times.is_some() && !chunk.data.is_empty() {
            self.times = Some(times(context, run, Some(chunk.attempt)).await?.times);
        }
        Ok(())
    }

    fn take(&mut self, chunk: &LogChunk) -> Result<(), Failure> {
        let bytes = STANDARD.decode(&chunk.data);
        let bytes = bytes.map_err(|error| Failure::other(format!("the daemon's answer cannot be read: {error}")))?;
        if self.raw {
            return self.screen.print_bytes(&bytes);
        }
        if self.held.is_empty() {
            self.at = chunk.from;
        }
        self.held.extend(bytes);
        let whole = self.held.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let ready = if whole == 0 && self.held.len() > LINE_MAX { self.held.len() } else { whole };
        let rest = self.held.split_off(ready);
        let lines = std::mem::replace(&mut self.held, rest);
        let text = self.timed(&lines);
        self.at = self.at.saturating_add(lines.len() as u64);
        self.screen.print(&text)
    }

    fn end(&mut self) -> Result<(), Failure> {
        let rest = std::mem::take(&mut self.held);
        if rest.is_empty() {
            return Ok(());
        }
        self.screen.print(&format!("{}\n", self.timed(&rest)))
    }

    /// Each line with the time at which it came before it, where that is wanted.
    fn timed(&self, lines: &[u8]) -> String {
        let Some(times) = &self.times else { return self.shown(lines) };
        let (mut text, mut at) = (String::new(), self.at);
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let came = came(times, at).map(|came| came.to_zoned(self.screen.zone.clone()));
            let came = came.map(|came| came.strftime(TIME_FORM).to_string());
            text.push_str(&format!("{:<19}  {}", came.unwrap_or_default(), self.shown(line)));
            at = at.saturating_add(line.len() as u64);
        }
        text
    }

    /// Whatever a job prints, only colours come through to a terminal, and nothing to a file.
    fn shown(&self, lines: &[u8]) -> String {
        if self.screen.colour { display::coloured(lines) } else { display::plain_bytes(lines) }
    }
}
