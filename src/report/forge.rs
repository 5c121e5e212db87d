//! Telling the host of a repository how a run stands: a mark at the commit (commit status) and, where the
//! host keeps them, a deployment. Every message says what holds when it leaves and may be sent twice.
//! What each host wants to read is in `calls`; when to try again is the core's.

pub mod calls;
mod exchange;

use serde_json::Value;

use crate::model::catalog::Marks;
use crate::model::commit::{CommitId, RefName};
use crate::model::forge::{self, Forge, ForgeSettings, Project};
use crate::model::name::{JobKey, RunRef};
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

/// Tells the host of a commit for which a job does not run what stands for it: the outcome of an earlier run.
///
/// # Errors
/// If the host did not take it.
pub async fn tell_carried(
    commit: &CommitId,
    run: &RunRef,
    context: &DeliverContext,
    now: Timestamp,
) -> Result<(), Undelivered> {
    let (gather, commit, run) = (context.clone(), commit.clone(), run.clone());
    let found = tokio::task::spawn_blocking(move || carried(&commit, &run, &gather)).await;
    let Some((report, settings)) = found.map_err(|error| Undelivered::later(error.to_string()))?? else {
        return Ok(());
    };
    let host = Host::new(report.project.forge, settings, context.clone(), now).await?;
    match calls::mark(&report, &host.settings.url) {
        Some(call) => host.send(&call).await.map(drop),
        None => Ok(()),
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

/// Where a job is told of, with what, and under which name; `None`: nowhere.
fn place(key: &JobKey, context: &DeliverContext) -> Option<(Project, ForgeSettings, String)> {
    let catalog = &context.sources.catalog;
    let url = &catalog.pipelines.get(&key.pipeline)?.repo.as_ref()?.url;
    let project = forge::project_of(&catalog.settings.forges, url)?;
    let own = catalog.settings.forges.get(&project.forge).filter(|own| own.credential.is_some()).cloned()?;
    let name = match catalog.job(key).map(|job| job.marks.clone()).unwrap_or_default() {
        Marks::Named(name) => name,
        Marks::Usual => format!("shipbell/{key}"),
        Marks::None => return None,
    };
    Some((project, own, name))
}

fn page(run: &RunRef, context: &DeliverContext) -> String {
    let settings = &context.sources.catalog.settings;
    format!("{}/{}/{}/{}", settings.public_url(), run.job.pipeline, run.job.job, run.number)
}

/// `None`: there is nothing to tell any more.
fn gathered(run: &RunRef, context: &DeliverContext) -> Result<Option<(Report, ForgeSettings)>, Undelivered> {
    let sources = &context.sources;
    let gone = || Undelivered::for_good(format!("{run} is not in the database"));
    let run = sources.reader.run(run)?.ok_or_else(gone)?;
    let key = &run.run.job;
    let (Some((project, own, name)), Some(commit)) = (place(key, context), run.commit.clone()) else {
        return Ok(None);
    };
    let Some((standing, description)) = standing(&run) else { return Ok(None) };
    let last = newest(key, &commit, context)?.is_none_or(|newest| newest.run.number <= run.run.number);
    let policy = sources.catalog.job(key).and_then(|job| job.definition.environment.as_ref());
    let changed = policy.filter(|policy| run.holds.environment.as_ref() == Some(&policy.name));
    let site = changed.and_then(|policy| policy.url.clone());
    Ok(Some((
        Report {
            project,
            commit,
            git_ref: run.git_ref.as_ref().map(RefName::short).unwrap_or_default().to_owned(),
            tag: run.git_ref.as_ref().is_some_and(RefName::is_tag),
            context: last.then_some(name),
            standing,
            description: display::line(&description, DESCRIPTION_MAX),
            link: page(&run.run, context),
            environment: run.holds.environment.as_ref().map(|name| (name.to_string(), site)),
            run: run.run,
        },
        own,
    )))
}

/// What stands for a commit for which the job need not run; `None`: nothing does, or it has run since.
fn carried(
    commit: &CommitId,
    run: &RunRef,
    context: &DeliverContext,
) -> Result<Option<(Report, ForgeSettings)>, Undelivered> {
    let (key, reader) = (&run.job, &context.sources.reader);
    let Some((project, own, name)) = place(key, context) else { return Ok(None) };
    if newest(key, commit, context)?.is_some() {
        return Ok(None);
    }
    let gone = || Undelivered::for_good(format!("{run} is not in the database"));
    let told = reader.run(run)?.ok_or_else(gone)?;
    let run = match told.commit.as_ref().filter(|_| told.is_pull()) {
        // A pull request has no standing: the last run for the head that counts stands for this one.
        Some(head) => newest(key, head, context)?.unwrap_or(told),
        None => {
            let standings = reader.standings(&key.pipeline, std::slice::from_ref(commit))?;
            let standing = standings.into_iter().find(|standing| standing.job == *key);
            let Some(from) = standing.and_then(|standing| standing.carries) else { return Ok(None) };
            reader.run(&from)?.ok_or_else(|| Undelivered::for_good(format!("{from} is not in the database")))?
        }
    };
    let from = run.run.clone();
    let (standing, text) = standing(&run).unwrap_or((Standing::Running, "waits".into()));
    let description = match standing {
        Standing::Succeeded => format!("carried over from #{}", from.number),
        _ => format!("carried over from #{}: {text}", from.number),
    };
    Ok(Some((
        Report {
            project,
            commit: commit.clone(),
            git_ref: run.git_ref.as_ref().map(RefName::short).unwrap_or_default().to_owned(),
            tag: run.git_ref.as_ref().is_some_and(RefName::is_tag),
            context: Some(name),
            standing,
            description: display::line(&description, DESCRIPTION_MAX),
            link: page(&from, context),
            environment: None,
            run: from,
        },
        own,
    )))
}

/// The newest run of a job for a commit that has begun: the mark there is that one's.
fn newest(key: &JobKey, commit: &CommitId, context: &DeliverContext) -> Result<Option<Run>, StoreError> {
    let filter = RunFilter { job: Some(key.clone()), commit: Some(commit.clone()), limit: 10, ..RunFilter::default() };
    let begun = context.sources.reader.runs(&filter)?.into_iter().filter(|run| run.attempt > 0);
    Ok(begun.max_by_key(|run| run.run.number))
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
