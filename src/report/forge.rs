//! Telling the host of a repository how a run stands: a mark at the commit (commit status) and, where the
//! host keeps them, a deployment. Every message says what holds when it leaves and may be sent twice.
//! What each host wants to read is in `calls`; when to try again is the core's.

pub mod calls;
mod exchange;

use serde_json::Value;

use crate::model::catalog::Marks;
use crate::model::commit::RefName;
use crate::model::forge::{self, Forge, ForgeSettings};
use crate::model::name::RunRef;
use crate::model::run::{Outcome, Run, RunState};
use crate::model::time::{Timestamp, seconds_between};
use crate::report::{DeliverContext, Undelivered, display};
use crate::store::{RunFilter, StoreError};
use calls::{Report, Standing};
use exchange::Host;

pub use exchange::ping;

/// Longest description that every host takes.
const DESCRIPTION_MAX: usize = 140;

/// Tells the host of a run's repository how it stands.
///
/// # Errors
/// If the host did not take it.
pub async fn tell(run: &RunRef, context: &DeliverContext, now: Timestamp) -> Result<(), Undelivered> {
    let (gather, of) = (context.clone(), run.clone());
    let found = tokio::task::spawn_blocking(move || gathered(&of, &gather)).await;
    let Some((report, settings)) = found.map_err(|error| Undelivered::later(error.to_string()))?? else {
        return Ok(());
    };
    let host = Host::new(report.project.forge, settings, context.clone(), now).await?;
    if let Some(call) = calls::mark(&report, &host.settings.url) {
        host.send(&call).await?;
    }
    match (&report.environment, report.project.forge) {
        (Some(_), Forge::Github) => on_github(&report, &host).await,
        (Some(_), Forge::Gitlab) => on_gitlab(&report, &host).await,
        // Gitea keeps no deployments.
        (Some(_), Forge::Gitea) | (None, _) => Ok(()),
    }
}

/// A deployment that was told before is known by the run in its payload.
async fn on_github(report: &Report, host: &Host) -> Result<(), Undelivered> {
    let known = host.send(&calls::deployments(report, &host.settings.url)).await?;
    let id = match calls::deployment_of(report, &known) {
        Some(id) => Some(id),
        None => {
            let made = host.send(&calls::new_deployment(report, &host.settings.url)).await?;
            made.get("id").and_then(Value::as_u64)
        }
    };
    let id = id.ok_or_else(|| Undelivered::later("GitHub made a deployment and did not say its number"))?;
    host.send(&calls::deployment_state(report, &host.settings.url, id)).await.map(drop)
}

/// A deployment that goes on is known by its commit.
async fn on_gitlab(report: &Report, host: &Host) -> Result<(), Undelivered> {
    let known = host.send(&calls::deployments(report, &host.settings.url)).await?;
    let call = match calls::deployment_of(report, &known) {
        Some(_) if report.standing == Standing::Running => return Ok(()),
        Some(id) => calls::deployment_state(report, &host.settings.url, id),
        None => calls::new_deployment(report, &host.settings.url),
    };
    host.send(&call).await.map(drop)
}

/// `None`: there is nothing to tell any more.
fn gathered(run: &RunRef, context: &DeliverContext) -> Result<Option<(Report, ForgeSettings)>, Undelivered> {
    let sources = &context.sources;
    let settings = &sources.catalog.settings;
    let gone = || Undelivered::for_good(format!("{run} is not in the database"));
    let run = sources.reader.run(run)?.ok_or_else(gone)?;
    let key = &run.run.job;
    let job = sources.catalog.job(key);
    let marks = job.map(|job| job.marks.clone()).unwrap_or_default();
    let pipeline = sources.catalog.pipelines.get(&key.pipeline);
    let url = pipeline.and_then(|pipeline| pipeline.repo.as_ref()).map(|repo| repo.url.as_str());
    let project = url.and_then(|url| forge::project_of(&settings.forges, url));
    let (Some(project), Some(commit)) = (project, run.commit.clone()) else { return Ok(None) };
    let Some(own) = settings.forges.get(&project.forge).filter(|own| own.credential.is_some()).cloned() else {
        return Ok(None);
    };
    let Some((standing, description)) = standing(&run) else { return Ok(None) };
    let name = match marks {
        Marks::Named(name) => name,
        Marks::Usual => format!("shipbell/{key}"),
        Marks::None => return Ok(None),
    };
    let last = is_last(&run, context)?;
    let policy = job.and_then(|job| job.definition.environment.as_ref());
    let page = policy.filter(|policy| run.holds.environment.as_ref() == Some(&policy.name));
    let page = page.and_then(|policy| policy.url.clone());
    Ok(Some((
        Report {
            project,
            commit,
            git_ref: run.git_ref.as_ref().map(RefName::short).unwrap_or_default().to_owned(),
            tag: run.git_ref.as_ref().is_some_and(RefName::is_tag),
            context: last.then_some(name),
            standing,
            description: display::line(&description, DESCRIPTION_MAX),
            link: format!("{}/{}/{}/{}", settings.public_url(), key.pipeline, key.job, run.run.number),
            environment: run.holds.environment.as_ref().map(|name| (name.to_string(), page)),
            run: run.run,
        },
        own,
    )))
}

/// Whether no later run of the job for the commit has begun: the mark is that one's then.
fn is_last(run: &Run, context: &DeliverContext) -> Result<bool, StoreError> {
    let filter =
        RunFilter { job: Some(run.run.job.clone()), commit: run.commit.clone(), limit: 10, ..RunFilter::default() };
    let later = |other: &Run| other.run.number > run.run.number && other.attempt > 0;
    Ok(!context.sources.reader.runs(&filter)?.iter().any(later))
}

/// How it stands, and in a few words; `None` before its first attempt.
fn standing(run: &Run) -> Option<(Standing, String)> {
    match &run.state {
        RunState::Queued { .. } if run.attempt == 0 => None,
        RunState::Queued { .. } => Some((Standing::Running, "waits for its next attempt".into())),
        RunState::Running { .. } => Some((Standing::Running, "running".into())),
        RunState::Finished(end) => {
            let standing = match end.outcome {
                Outcome::Succeeded => Standing::Succeeded,
                Outcome::Cancelled => Standing::Cancelled,
                Outcome::Failed | Outcome::TimedOut => Standing::Failed,
                Outcome::Interrupted | Outcome::Unknown | Outcome::Skipped => Standing::Unknown,
            };
            let took = end.started_at.map(|began| format!(" in {}", seconds_between(began, end.at)));
            let text = match end.outcome {
                Outcome::Succeeded => format!("succeeded{}", took.unwrap_or_default()),
                outcome => format!("{outcome}: {}", end.reason),
            };
            Some((standing, text))
        }
    }
}
