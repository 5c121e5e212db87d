//! `shipbell approve --sign`: shows the text that is signed and has `ssh-keygen` sign it, with a key's file or
//! with a key that the ssh agent holds. And `shipbell break-glass`, which root says to the executor itself.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::executor::{Executor, Glass};
use crate::model::view::{AnswerView, BreakGlassOrder, RunView, StatementView, VoteOrder};
use crate::sys::host;
use crate::sys::memfile::MemFile;

use super::Context;
use super::exit::{FAILED, Failure, NOT_ALLOWED};
use super::paint::{safe, safe_line};
use super::target::Target;
use super::vote::{typed, vote};

/// What is asked is shown before it is signed; with a message nothing more is asked.
pub(super) async fn approve(
    context: &Context,
    target: &Target,
    message: Option<String>,
    key: Option<&Path>,
) -> Result<ExitCode, Failure> {
    let run = target.asked(&context.client).await?;
    let view: StatementView = context.client.get(&format!("/api/v1/runs/{}/statement", run.id())).await?;
    let says = |line: &str| view.text.lines().filter(|said| *said == line).count() == 1;
    if !view.text.is_ascii() || !says(&format!("run {run}")) || !says(&format!("environment {}", view.environment)) {
        return Err(Failure::new(
            FAILED,
            format!("what the daemon wants signed is not a vote on {run}; nothing was signed"),
        ));
    }
    context.screen.print(&format!("{}SHA-256 {}\n", safe(&view.text), view.sha256))?;
    if message.is_none() && std::io::stdin().is_terminal() {
        context.screen.print(&format!("To sign it, type the environment's name ({}): ", view.environment))?;
        if typed()? != view.environment.as_str() {
            return Err(Failure::new(FAILED, format!("nothing was signed; {run} still waits")));
        }
    }
    let signature = match key {
        Some(key) => sign(key, &view, Stdio::inherit())
            .ok_or_else(|| Failure::new(FAILED, format!("{} signed nothing; {run} still waits", key.display())))?,
        None => by_agent(&view)?,
    };
    let order = VoteOrder { run, reason: message.unwrap_or_default(), signature: Some(signature), code: None };
    vote(context, "/api/v1/approve", order).await
}

/// By the first of the person's keys that the agent has.
fn by_agent(view: &StatementView) -> Result<String, Failure> {
    if view.keys.is_empty() {
        let text = "no key of yours is in shipbell.toml\n  root adds ssh-key = \"...\" to your [person.NAME]";
        return Err(Failure::new(NOT_ALLOWED, text));
    }
    for key in &view.keys {
        let file = MemFile::new(format!("{key}\n").as_bytes())
            .map_err(|error| Failure::other(format!("no room for a key: {error}")))?;
        if let Some(signature) = sign(&file.path(), view, Stdio::null()) {
            return Ok(signature);
        }
    }
    let text = format!(
        "the ssh agent signed with none of your keys\n  with a key's file: shipbell approve {} --sign -i ~/.ssh/id_ed25519\n  \
         from your own machine: ssh -A",
        view.run
    );
    Err(Failure::new(FAILED, text))
}

/// A passphrase is asked for on the terminal, by `ssh-keygen` itself.
fn sign(key: &Path, view: &StatementView, stderr: Stdio) -> Option<String> {
    let program = crate::signature::program("ssh-keygen")?;
    let mut command = Command::new(program);
    command.args(["-Y", "sign", "-n", &view.namespace, "-f"]).arg(key);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).spawn().ok()?;
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(view.text.as_bytes()));
    let output = child.wait_with_output().ok()?;
    let signed = output.status.success() && matches!(written, Some(Ok(())));
    signed.then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The executor hears it from root before the daemon does: what the daemon says of it counts for nothing.
pub(super) async fn break_glass(context: &Context, target: &Target, reason: String) -> Result<ExitCode, Failure> {
    if host::effective_uid() != 0 {
        let text =
            "only root may let a deployment go without votes\n  as root: sudo shipbell break-glass RUN -m REASON";
        return Err(Failure::new(NOT_ALLOWED, text));
    }
    if reason.trim().is_empty() {
        return Err(Failure::usage("say why: shipbell break-glass RUN -m REASON (everyone who was asked reads it)"));
    }
    let run = target.asked(&context.client).await?;
    let view: RunView = context.client.get(&format!("/api/v1/runs/{}", run.id())).await?;
    let environment = view.row.environment.as_ref().map(ToString::to_string).unwrap_or_default();
    let commit = view.commit.as_ref();
    let what = commit.map_or_else(String::new, |info| format!(" {} {}", info.id.short(), safe_line(&info.subject)));
    context.screen.print(&format!("{run}:{what} to {environment}, WITHOUT APPROVAL\n"))?;
    if std::io::stdin().is_terminal() {
        context
            .screen
            .print(&format!("Everyone who was asked is told. Type the environment's name ({environment}): "))?;
        if typed()? != environment {
            return Err(Failure::new(FAILED, format!("nothing was done; {run} still waits")));
        }
    }
    // Where there is none, the daemon is the executor too.
    if context.executor.exists() {
        let (commit, definition) = (view.row.commit.clone(), view.definition.clone());
        let glass = Glass { run: run.clone(), commit, definition, reason: reason.clone() };
        let told = Executor::apart(Path::new("/"), &context.executor).break_glass(&glass);
        told.map_err(|error| Failure::other(format!("the executor did not take it: {error}")))?;
    }
    let answer: AnswerView =
        context.client.post("/api/v1/break-glass", &BreakGlassOrder { run: run.clone(), reason }).await?;
    context.screen.print(&format!("{run}: {}\n", safe(&answer.text)))?;
    Ok(ExitCode::SUCCESS)
}
