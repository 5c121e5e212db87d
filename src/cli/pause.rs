//! `shipbell pause` and `shipbell resume`: of a job, a pipeline, or all.

use std::process::ExitCode;

use crate::clock;
use crate::model::moment::{Toward, stretch};
use crate::model::pause::Scope;
use crate::model::view::{AnswerView, PauseOrder, ResumeOrder};

use super::Context;
use super::args::{PauseArgs, PausedArgs};
use super::exit::Failure;
use super::paint::safe;

fn scope(what: &PausedArgs) -> Scope {
    match &what.scope {
        None => Scope::All,
        Some(super::target::Scope::Pipeline(pipeline)) => Scope::Pipeline(pipeline.clone()),
        Some(super::target::Scope::Job(job)) => Scope::Job(job.clone()),
    }
}

pub(super) async fn pause(context: &Context, asked: &PauseArgs) -> Result<ExitCode, Failure> {
    let scope = scope(&asked.what);
    let read = |text: &String| {
        let read = stretch(text, clock::now(), &context.screen.zone, Toward::Future);
        read.map(|(from, _)| from).map_err(|error| Failure::usage(error.to_string()))
    };
    let until = asked.until.as_ref().map(read).transpose()?;
    let order = PauseOrder { scope: scope.to_string(), until, note: asked.message.clone().unwrap_or_default() };
    let _: AnswerView = context.client.post("/api/v1/pause", &order).await?;
    let reader = context.screen.reader(clock::now());
    let until = until.map_or_else(|| "somebody resumes it".into(), |until| reader.dated(until));
    context.screen.print(&format!(
        "{} is paused until {until}; what runs goes on\n  {}\n",
        scope.told(),
        scope.resume()
    ))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn resume(context: &Context, what: &PausedArgs) -> Result<ExitCode, Failure> {
    let scope = scope(what);
    let answer: AnswerView = context.client.post("/api/v1/resume", &ResumeOrder { scope: scope.to_string() }).await?;
    let text = if answer.text.is_empty() { format!("{} goes on", scope.told()) } else { answer.text };
    context.screen.print(&format!("{}\n", safe(&text)))?;
    Ok(ExitCode::SUCCESS)
}
