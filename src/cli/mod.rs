//! The commands: one file per family. They speak HTTP and JSON to the daemon over its control socket,
//! except `daemon`, `check`, `totp` and `demo`. What is shown is made by `pipeline::view`; here it is printed.

mod act;
mod args;
mod backfill;
pub mod check;
mod client;
mod demo;
mod doctor;
mod exit;
mod forecast;
mod history;
pub mod import;
mod listing;
mod logs;
mod paint;
mod pause;
mod prune;
mod repos;
#[cfg(test)]
mod samples;
mod show;
mod sign;
mod status;
mod target;
mod totp;
mod vote;
mod when;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;

use crate::config::Trust;
use crate::config::layout::Layout;
use crate::daemon::Options;

use args::{Args, Ask, Command};
use client::Client;
use exit::Failure;
use paint::Screen;

/// What a command needs: where to ask, and where to print.
struct Context {
    client: Client,
    /// Where an executor may answer that is a process of its own.
    executor: PathBuf,
    screen: Screen,
    json: bool,
}

impl Context {
    fn new(layout: &Layout, json: bool) -> Self {
        Self { client: Client::new(layout), executor: layout.executor_socket(), screen: Screen::stdout(), json }
    }
}

/// Carries out a command line.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => return exit::usage(&error),
    };
    match dispatch(args) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn dispatch(args: Args) -> Result<ExitCode, Failure> {
    let layout = Layout::new(args.root.as_deref());
    match args.command {
        Command::Check { files } => Ok(check::run(&layout, &files, args.json)),
        Command::Simulate(asked) => forecast::simulate(&layout, &Screen::stdout(), &asked, args.json),
        Command::Totp(asked) => totp::totp(&layout, &Screen::stdout(), &asked),
        Command::Demo(how) => demo::demo(args.root, &how),
        Command::Doctor { strict } => {
            let context = Context::new(&layout, args.json);
            on_this_thread(doctor::doctor(&context, &layout, strict))
        }
        Command::Import { from } => import::import(&layout, &from, args.json),
        Command::Daemon => daemon(layout, crate::daemon::main),
        Command::Executor => daemon(layout, crate::daemon::apart::main),
        Command::Supervise { dir } => Ok(ExitCode::from(crate::run::main(&[dir.into_os_string()]))),
        Command::Ask(ask) => {
            let context = Context::new(&layout, args.json);
            on_this_thread(carry_out(&context, ask))
        }
    }
}

fn daemon(layout: Layout, main: impl FnOnce(Options) -> u8) -> Result<ExitCode, Failure> {
    let binary =
        std::env::current_exe().map_err(|error| Failure::other(format!("cannot find this program: {error}")))?;
    Ok(ExitCode::from(main(Options { layout, trust: Trust::root_and_self(), binary })))
}

/// Commands that ask the daemon need one thread and nothing more.
fn on_this_thread<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::other(format!("cannot begin: {error}")))?.block_on(work)
}

async fn carry_out(context: &Context, command: Ask) -> Result<ExitCode, Failure> {
    match command {
        Ask::Status => status::status(context).await,
        Ask::History(query) => history::history(context, &query).await,
        Ask::Show { run } => show::show(context, &run).await,
        Ask::Logs(query) => logs::logs(context, &query).await,
        Ask::Next { n, job } => listing::next(context, n, job.as_ref()).await,
        Ask::Why(asked) => why::why(context, &asked).await,
        Ask::Forecast { span } => forecast::forecast(context, span).await,
        Ask::Pause(asked) => pause::pause(context, &asked).await,
        Ask::Resume(what) => pause::resume(context, &what).await,
        Ask::Backfill(asked) => backfill::backfill(context, &asked).await,
        Ask::Approvals => listing::approvals(context).await,
        Ask::Run(order) => act::run(context, &order).await,
        Ask::Cancel { run } => act::cancel(context, &run).await,
        Ask::Retry { run, follow } => act::retry(context, &run, follow).await,
        Ask::Approve { run, message, sign: false, .. } => vote::approve(context, &run, message).await,
        Ask::Approve { run, message, identity, .. } => sign::approve(context, &run, message, identity.as_deref()).await,
        Ask::BreakGlass { run, message } => sign::break_glass(context, &run, message).await,
        Ask::Reject { run, message } => vote::reject(context, &run, message).await,
        Ask::Resolve { pipeline, environment, state } => act::resolve(context, &pipeline, &environment, state).await,
        Ask::Prune { dry_run } => prune::prune(context, dry_run).await,
        Ask::Reload => act::reload(context).await,
        Ask::Repos(asked) => repos::repos(context, &asked).await,
        Ask::Poll { pipeline } => act::poll(context, &pipeline).await,
    }
}
