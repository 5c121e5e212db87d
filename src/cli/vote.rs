//! `shipbell approve` and `reject`. Who votes is known by the socket; on a terminal the environment's
//! name is asked for, so that nobody approves by a slip of the finger; where codes are asked for, the code.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use crate::model::view::{AnswerView, ApprovalRow, ApprovalsView, VoteOrder};

use super::Context;
use super::exit::{FAILED, Failure};
use super::listing::story;
use super::paint::{safe, safe_line};
use super::target::Target;
use super::when::Reader;

pub(super) async fn approve(context: &Context, target: &Target, message: Option<String>) -> Result<ExitCode, Failure> {
    let run = target.asked(&context.client).await?;
    let view: ApprovalsView = context.client.get("/api/v1/approvals").await?;
    // A run that nobody is asked about (it waits for a person in another way) is left to the daemon.
    let row = view.open.iter().find(|row| row.run == run);
    let asks = message.is_none() && std::io::stdin().is_terminal();
    if let Some(row) = row.filter(|_| asks) {
        context.screen.print(&what(row, &context.screen.reader(view.now)))?;
    }
    let code = match row {
        Some(row) if row.coded => Some(code(context, row)?),
        Some(row) if asks => {
            context.screen.print(&format!("To approve, type the environment's name ({}): ", row.environment))?;
            if typed()? != row.environment.as_str() {
                return Err(Failure::new(FAILED, format!("nothing was decided; {run} still waits")));
            }
            None
        }
        _ => None,
    };
    let order = VoteOrder { run, reason: message.unwrap_or_default(), signature: None, code };
    vote(context, "/api/v1/approve", order).await
}

pub(super) async fn reject(context: &Context, target: &Target, message: String) -> Result<ExitCode, Failure> {
    let run = target.asked(&context.client).await?;
    if message.trim().is_empty() {
        return Err(Failure::usage("say why: shipbell reject RUN -m REASON (everyone who was asked reads it)"));
    }
    vote(context, "/api/v1/reject", VoteOrder { run, reason: message, signature: None, code: None }).await
}

pub(super) async fn vote(context: &Context, path: &str, order: VoteOrder) -> Result<ExitCode, Failure> {
    let answer: AnswerView = context.client.post(path, &order).await?;
    let run = order.run;
    let text = if answer.text.is_empty() { "recorded".to_owned() } else { answer.text };
    context.screen.print(&format!("{run}: {}\n", safe(&text)))?;
    Ok(ExitCode::SUCCESS)
}

/// From the terminal, or else the first line of standard input: never from the command line, which everybody
/// on the host can read.
fn code(context: &Context, row: &ApprovalRow) -> Result<String, Failure> {
    if std::io::stdin().is_terminal() {
        context
            .screen
            .print(&format!("To approve it for {}, type the code that your phone shows: ", row.environment))?;
    }
    let code = typed()?;
    if code.is_empty() {
        let text = format!("no code was typed; {} still waits", row.run);
        return Err(Failure::new(FAILED, text));
    }
    Ok(code)
}

/// A line from the terminal.
pub(super) fn typed() -> Result<String, Failure> {
    let mut line = String::new();
    let _ = std::io::stdout().flush();
    let read = std::io::stdin().read_line(&mut line);
    read.map_err(|error| Failure::other(format!("cannot read your answer: {error}")))?;
    Ok(line.trim().to_owned())
}

/// What would be approved.
fn what(row: &ApprovalRow, reader: &Reader) -> String {
    let commit = match &row.commit {
        Some(commit) => format!("{} {} ({})", commit.id.short(), safe_line(&commit.subject), safe_line(&commit.author)),
        None => "no commit".into(),
    };
    let mut text = format!("{}: {commit} to {}\n", row.run, row.environment);
    for line in story(row, reader).iter().filter(|line| !line.starts_with("shipbell ")) {
        text.push_str(&format!("  {line}\n"));
    }
    text
}
