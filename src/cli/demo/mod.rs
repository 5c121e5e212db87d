//! `shipbell demo`: the whole story on real parts, in a directory of its own: a commit is pushed, tested,
//! put on staging, approved by the reader of a mail, put into production; a broken one is stopped.
//! Exit status 0 only if all of it came true. What lies where is `stage`; how a yes is given, `answer`.

mod answer;
mod form;
mod stage;
mod story;
mod tell;

use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use super::exit::Failure;
use super::paint::Screen;
use stage::Stage;
use tell::Teller;

/// How the demo is played.
#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Approve without asking, by the link in the mail; so it is done where nobody is at a terminal
    #[arg(long)]
    pub yes: bool,
    /// Go on serving at the end, until Ctrl-C, and leave the directory there
    #[arg(long)]
    pub keep: bool,
}

/// Plays it and clears away, however it ends.
pub(super) fn demo(root: Option<PathBuf>, args: &DemoArgs) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| Failure::other(format!("cannot begin: {error}")))?.block_on(play(root, args))
}

async fn play(root: Option<PathBuf>, args: &DemoArgs) -> Result<ExitCode, Failure> {
    let teller = Teller::new(Screen::stdout());
    let mut stage = Stage::set(root)?;
    let interrupted = interrupted()?;
    let told = tokio::select! {
        told = story::story(&mut stage, &teller, args) => told,
        () = interrupted => Err(Failure::new(INTERRUPTED, "interrupted; everything it started is ended")),
    };
    if told.as_ref().is_err_and(|failure| failure.code == INTERRUPTED) {
        stage.nothing_went_wrong();
    }
    let keep = args.keep && told.is_ok();
    if keep {
        teller.plain(&format!("\nStill serving {}/ until Ctrl-C.\n", stage.page))?;
        self::interrupted()?.await;
    }
    let words = if told.is_err() { stage.last_words() } else { String::new() };
    let cleared = stage.clear(args.keep).await;
    match told {
        Ok(()) => cleared.and_then(|text| teller.plain(&text)).map(|()| ExitCode::SUCCESS),
        Err(failure) => Err(Failure::new(failure.code, format!("{}{words}", failure.text))),
    }
}

/// What a shell gives a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Waits for Ctrl-C or TERM.
fn interrupted() -> Result<impl Future<Output = ()>, Failure> {
    let cannot = |error| Failure::other(format!("cannot watch for Ctrl-C: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
