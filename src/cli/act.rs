//! Commands that ask for something to be done. The daemon judges and records; here its answer is told,
//! with the next command under it.

use std::collections::BTreeMap;
use std::process::ExitCode;

use crate::model::name::{EnvironmentName, PipelineName, RunRef};
use crate::model::view::{AnswerView, CancelOrder, PollOrder, ReloadView, ResolveOrder, RetryOrder, RunOrder};

use super::Context;
use super::args::{Resolution, RunArgs};
use super::exit::{FAILED, Failure};
use super::logs::follow_to_end;
use super::paint::{safe, safe_line};
use super::target::Target;

pub(super) async fn run(context: &Context, order: &RunArgs) -> Result<ExitCode, Failure> {
    let body = RunOrder { job: order.job.0.clone(), git_ref: order.branch.clone(), params: params(&order.params)? };
    let answer: AnswerView = context.client.post("/api/v1/run", &body).await?;
    begun(context, answer, order.follow).await
}

fn params(texts: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let one = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Failure::usage(format!("`{}` is no parameter: write NAME=VALUE", safe_line(text)))),
    };
    texts.iter().map(one).collect()
}

/// A run was queued: follow it, or say how.
async fn begun(context: &Context, answer: AnswerView, follow: bool) -> Result<ExitCode, Failure> {
    let Some(run) = answer.run else {
        return told(context, &answer.text);
    };
    if follow {
        super::exit::say(&format!("{run} queued"));
        return follow_to_end(context, &run).await;
    }
    context.screen.print(&format!("{run} queued\n  shipbell logs -f {run}\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn told(context: &Context, text: &str) -> Result<ExitCode, Failure> {
    if !text.is_empty() {
        context.screen.print(&format!("{}\n", safe(text)))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn cancel(context: &Context, target: &Target) -> Result<ExitCode, Failure> {
    let run: RunRef = target.live(&context.client).await?;
    let answer: AnswerView = context.client.post("/api/v1/cancel", &CancelOrder { run: run.clone() }).await?;
    let text =
        if answer.text.is_empty() { format!("{run} is being ended\n  shipbell show {run}") } else { answer.text };
    told(context, &text)
}

pub(super) async fn retry(context: &Context, target: &Target, follow: bool) -> Result<ExitCode, Failure> {
    let run = target.last(&context.client).await?;
    let answer: AnswerView = context.client.post("/api/v1/retry", &RetryOrder { run }).await?;
    begun(context, answer, follow).await
}

pub(super) async fn resolve(
    context: &Context,
    pipeline: &PipelineName,
    environment: &EnvironmentName,
    state: Resolution,
) -> Result<ExitCode, Failure> {
    let deployed = state == Resolution::Deployed;
    let body = ResolveOrder { pipeline: pipeline.clone(), environment: environment.clone(), deployed };
    let answer: AnswerView = context.client.post("/api/v1/resolve", &body).await?;
    let what = if deployed { "the deployment is live" } else { "the deployment failed" };
    let text = if answer.text.is_empty() { format!("recorded: {pipeline} {environment}: {what}") } else { answer.text };
    told(context, &text)
}

pub(super) async fn reload(context: &Context) -> Result<ExitCode, Failure> {
    let view: ReloadView = context.client.post("/api/v1/reload", &()).await?;
    let broken = match view.files_broken {
        0 => String::new(),
        n => format!(", {n} broken"),
    };
    let problems: String = view.problems.iter().map(|problem| format!("{}\n", safe(problem).trim_end())).collect();
    context.screen.print(&format!("{problems}read again: files {} ok{broken}\n", view.files_ok))?;
    Ok(if view.files_broken == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

pub(super) async fn poll(context: &Context, pipeline: &PipelineName) -> Result<ExitCode, Failure> {
    let answer: AnswerView = context.client.post("/api/v1/poll", &PollOrder { pipeline: pipeline.clone() }).await?;
    let text = if answer.text.is_empty() { format!("{pipeline}: its repository is asked now") } else { answer.text };
    told(context, &text)
}
