//! `shipbell logs [-f]`: a run's output, asked for by offset so that nothing is missed and nothing comes
//! twice. Following ends with the run; its exit status is the run's.

use std::process::ExitCode;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::model::name::RunRef;
use crate::model::run::Outcome;
use crate::model::time::Timestamp;
use crate::model::view::LogChunk;

use crate::report::display;

use super::Context;
use super::args::LogsArgs;
use super::exit::{FAILED, Failure, say};
use super::paint::{Screen, safe_line};

/// Between two questions while nothing new comes.
const PAUSE: Duration = Duration::from_millis(200);

/// Bytes asked for at once.
const PIECE: u64 = 1 << 20;

/// An unfinished line is held back until it is this long: a character or escape code may be cut in it.
const LINE_MAX: usize = 8 << 10;

pub(super) async fn logs(context: &Context, query: &LogsArgs) -> Result<ExitCode, Failure> {
    let run = query.run.last(&context.client).await?;
    let mut printer = Printer { screen: &context.screen, raw: query.raw, held: Vec::new() };
    if query.follow && query.attempt.is_none() {
        return Ok(end_code(follow(context, &run, None, &mut printer).await?));
    }
    let mut attempt = query.attempt;
    let mut from = 0;
    loop {
        let chunk = piece(context, &run, attempt, from).await?;
        if let Some(at) = chunk.removed {
            gone(context, &run, at)?;
            return Ok(ExitCode::SUCCESS);
        }
        if chunk.attempt == 0 {
            printer.end()?;
            return Err(Failure::not_found(format!("{run} has printed nothing: {}", not_begun(&chunk))));
        }
        attempt = Some(chunk.attempt);
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
    let mut printer = Printer { screen: &context.screen, raw: false, held: Vec::new() };
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
        let chunk = piece(context, run, attempt, from).await?;
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
async fn piece(context: &Context, run: &RunRef, attempt: Option<u32>, from: u64) -> Result<LogChunk, Failure> {
    let attempt = attempt.map(|attempt| format!("&attempt={attempt}")).unwrap_or_default();
    let path = format!("/api/v1/runs/{}/log?from={from}&max={PIECE}{attempt}", run.id());
    context.client.get(&path).await
}

struct Printer<'a> {
    screen: &'a Screen,
    raw: bool,
    /// The beginning of a line whose end has not come yet.
    held: Vec<u8>,
}

impl Printer<'_> {
    fn take(&mut self, chunk: &LogChunk) -> Result<(), Failure> {
        let bytes = STANDARD.decode(&chunk.data);
        let bytes = bytes.map_err(|error| Failure::other(format!("the daemon's answer cannot be read: {error}")))?;
        if self.raw {
            return self.screen.print_bytes(&bytes);
        }
        self.held.extend(bytes);
        let whole = self.held.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let ready = if whole == 0 && self.held.len() > LINE_MAX { self.held.len() } else { whole };
        let rest = self.held.split_off(ready);
        let lines = std::mem::replace(&mut self.held, rest);
        self.screen.print(&self.shown(&lines))
    }

    fn end(&mut self) -> Result<(), Failure> {
        let rest = std::mem::take(&mut self.held);
        if rest.is_empty() {
            return Ok(());
        }
        self.screen.print(&format!("{}\n", self.shown(&rest)))
    }

    /// Whatever a job prints, only colours come through to a terminal, and nothing to a file.
    fn shown(&self, lines: &[u8]) -> String {
        if self.screen.colour { display::coloured(lines) } else { display::plain_bytes(lines) }
    }
}
