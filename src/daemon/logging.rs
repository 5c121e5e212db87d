//! The daemon's own log: lines on standard error for the journal or a terminal, and JSON in files that
//! roll daily. What jobs print never passes here.

use std::io::IsTerminal as _;
use std::path::Path;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

/// Days of log files that are kept.
const DAYS: usize = 14;

/// Begins to log to standard error only.
pub(super) fn to_standard_error() {
    let filter = EnvFilter::try_from_env("SHIPBELL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false);
    let lines = if std::env::var_os("JOURNAL_STREAM").is_some() { lines.without_time().boxed() } else { lines.boxed() };
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
}

/// Begins to log. The guard writes what is left when it is dropped: keep it to the very end.
/// `SHIPBELL_LOG` filters, as in `info,shipbell::source=debug`.
///
/// # Errors
/// If no file can be made in `dir`; standard error is logged to all the same.
pub(super) fn start(dir: &Path) -> Result<Option<WorkerGuard>, String> {
    let filter =
        || EnvFilter::try_from_env("SHIPBELL_LOG").unwrap_or_else(|_| EnvFilter::new("info,tokio_cron_scheduler=warn"));
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(colour);
    // The journal has the time of each line already.
    let lines =
        if journal { lines.without_time().with_filter(filter()).boxed() } else { lines.with_filter(filter()).boxed() };
    let files = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix("daemon")
        .filename_suffix("json")
        .max_log_files(DAYS)
        .build(dir);
    let (files, guard) = match files {
        Ok(files) => {
            // Not lossy: a line that is missing is the line that is looked for.
            let (writer, guard) = NonBlockingBuilder::default().lossy(false).finish(files);
            (Ok(fmt::layer().json().with_writer(writer).with_filter(filter())), Some(guard))
        }
        Err(error) => (Err(format!("no log files in {}: {error}", dir.display())), None),
    };
    let trouble = files.as_ref().err().cloned();
    // A second subscriber in one process (tests) is no reason not to run.
    let _ = tracing_subscriber::registry().with(lines).with(files.ok()).try_init();
    trouble.map_or(Ok(guard), Err)
}
