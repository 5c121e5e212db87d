//! One run: what it is of, why it is, how its steps went, what it waits for or how it ended, what it stands on
//! and what it gave.

use askama::Template;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;

use crate::http::show::{self, Badge, Times, Trouble, blocking, cell, commit, page};
use crate::http::{Web, removed, views};
use crate::model::commit::CommitInfo;
use crate::model::job::Definition;
use crate::model::name::RunRef;
use crate::model::request::Request;
use crate::model::retention::{Part, Removal};
use crate::model::run::{Attempt, Run, RunState, StepEnd, StepReport};
use crate::model::time::{Seconds, Timestamp, seconds_between};
use crate::model::view::{RemovedView, RunView};
use crate::report::{display, used, when};
use crate::store::{Reader, StoreError};

/// Seconds until the page of a run that goes on is fetched anew.
const BUSY: u32 = 3;
const WAITING: u32 = 15;
/// Artifacts named one by one.
const ARTIFACTS_MAX: usize = 50;

#[derive(Template)]
#[template(path = "run.html")]
struct RunPage {
    host: String,
    refresh: u32,
    times: Times,
    run: Run,
    badge: Badge,
    facts: Stored,
    /// The same as `shipbell show` tells.
    view: RunView,
    steps: Vec<StepRow>,
    environment: Option<String>,
}

/// What the store has of a run.
pub struct Stored {
    pub attempts: Vec<Attempt>,
    pub steps: Vec<StepReport>,
    pub requests: Vec<Request>,
    pub commit: Option<CommitInfo>,
    pub usual: Option<Seconds>,
    pub removals: Vec<Removal>,
}

struct StepRow {
    index: String,
    name: String,
    badge: Badge,
    text: String,
    took: String,
    /// Where its output begins on the log's page; a step that has not begun has none.
    anchor: Option<u32>,
}

/// The run that a path names. A name that cannot be one is not there.
pub fn named(path: Result<Path<(String, String, String)>, PathRejection>) -> Result<RunRef, Trouble> {
    let Ok(Path((pipeline, job, number))) = path else { return Err(Trouble::NotFound) };
    RunRef::from_id(&format!("{pipeline}.{job}.{number}")).map_err(|_| Trouble::NotFound)
}

/// Reads a run; with what the World knows of it, which is never older.
pub async fn load(web: &Web, wanted: RunRef) -> Result<(Run, Stored), Trouble> {
    let (reader, of) = (web.app.reader.clone(), wanted.clone());
    let found = blocking(move || {
        let found = read(&reader, &wanted)?;
        Ok(found.ok_or(reader.removals(&wanted)?))
    });
    found.await?.map_err(|removals| match removed::when(&removals, Part::Run) {
        Some(at) => Trouble::Gone(removed::told(&of.to_string(), at, Part::Run)),
        None => Trouble::NotFound,
    })
}

fn read(reader: &Reader, wanted: &RunRef) -> Result<Option<(Run, Stored)>, StoreError> {
    let Some(run) = reader.run(wanted)? else { return Ok(None) };
    let commit = match &run.commit {
        Some(commit) => reader.commit(&run.run.job.pipeline, commit)?,
        None => None,
    };
    let stored = Stored {
        attempts: reader.attempts(wanted)?,
        steps: reader.steps(wanted, run.attempt)?,
        requests: reader.requests_of(wanted)?,
        usual: reader.usual(&wanted.job)?,
        removals: reader.removals(wanted)?,
        commit,
    };
    Ok(Some((run, stored)))
}

pub async fn show(
    State(web): State<Web>,
    path: Result<Path<(String, String, String)>, PathRejection>,
) -> Result<Response, Trouble> {
    let (run, facts) = load(&web, named(path)?).await?;
    let view = views::run(&web.app, &run.run).await?;
    let seen = web.app.inbox.look(|world, now| (world.scratch.catalog.clone(), now));
    let (catalog, now) = seen.await.ok_or(Trouble::Stopping)?;
    let definition = catalog.job(&run.run.job).map(|job| job.definition.clone());
    let refresh = match &run.state {
        RunState::Running { .. } => BUSY,
        RunState::Queued { .. } => WAITING,
        RunState::Finished(_) => 0,
    };
    let page_of_run = RunPage {
        host: web.app.site.host.clone(),
        refresh,
        times: Times { zone: when::zone(&catalog.settings.timezone), now },
        badge: Badge::of_run(&run),
        steps: steps(&run, &facts, definition.as_deref(), now),
        environment: definition.and_then(|d| d.environment.as_ref().map(|environment| environment.name.to_string())),
        run,
        facts,
        view,
    };
    Ok(page(StatusCode::OK, &page_of_run))
}

/// The steps that began, and of a run that goes on also those to come.
fn steps(run: &Run, facts: &Stored, definition: Option<&Definition>, now: Timestamp) -> Vec<StepRow> {
    let mut rows: Vec<StepRow> = facts.steps.iter().map(|step| step_row(step, now)).collect();
    let same = definition.filter(|definition| definition.hash() == run.definition);
    if let (false, Some(definition)) = (run.finished().is_some(), same) {
        let names = definition.init.iter().map(|_| (0, "init".to_owned(), false));
        let more = definition.steps.iter().zip(1..).map(|(step, index)| (index, step.name.clone(), step.always));
        let begun = |index: u32| facts.steps.iter().any(|step| step.index == index);
        let to_come = names.chain(more).filter(|(index, _, _)| !begun(*index));
        rows.extend(to_come.map(|(index, name, always)| StepRow {
            index: index.to_string(),
            name: title(&name, always),
            badge: Badge::quiet("·", "to come"),
            text: String::new(),
            took: String::new(),
            anchor: None,
        }));
    }
    rows
}

fn title(name: &str, always: bool) -> String {
    if always { format!("{} (always)", cell(name)) } else { cell(name) }
}

fn step_row(step: &StepReport, now: Timestamp) -> StepRow {
    let badge = match &step.ended {
        None => Badge::runs(),
        Some(end) if end.good() => Badge::good(),
        Some(StepEnd::TimedOut) => Badge::bad("TIMED OUT"),
        Some(StepEnd::Cancelled) => Badge::quiet("–", "cancelled"),
        Some(StepEnd::Exit(_) | StepEnd::Signal(_) | StepEnd::OutOfMemory | StepEnd::Refused(_)) => {
            Badge::bad("FAILED")
        }
    };
    let text = match &step.ended {
        Some(StepEnd::Refused(why)) => display::plain(why),
        Some(end @ (StepEnd::Exit(_) | StepEnd::Signal(_) | StepEnd::OutOfMemory)) if !end.good() => end.to_string(),
        _ => String::new(),
    };
    StepRow {
        index: step.index.to_string(),
        name: title(&step.name, step.always),
        badge,
        text,
        took: seconds_between(step.started_at, step.finished_at.unwrap_or(now)).to_string(),
        anchor: Some(step.index),
    }
}

impl RunPage {
    fn reason(&self) -> String {
        self.run.finished().map(|finished| display::plain(&finished.reason)).unwrap_or_default()
    }

    fn tail(&self) -> String {
        display::plain(&self.view.tail.join("\n"))
    }

    fn stopping(&self) -> Option<String> {
        match &self.run.state {
            RunState::Running { stopping, .. } => stopping.as_ref().map(|why| cell(why)),
            _ => None,
        }
    }

    fn commit_text(&self) -> String {
        self.facts.commit.as_ref().map(commit).unwrap_or_default()
    }

    fn branch(&self) -> String {
        self.run.git_ref.as_ref().map(|git_ref| cell(git_ref.short())).unwrap_or_default()
    }

    fn started(&self) -> Option<Timestamp> {
        match &self.run.state {
            RunState::Queued { .. } => None,
            RunState::Running { started_at, launched_at, .. } => Some(started_at.unwrap_or(*launched_at)),
            RunState::Finished(finished) => finished.started_at,
        }
    }

    fn took(&self) -> String {
        let end = self.run.finished().map_or(self.times.now, |finished| finished.at);
        self.started().map_or_else(|| "–".into(), |start| seconds_between(start, end).to_string())
    }

    fn used(&self) -> String {
        let usage = self.facts.attempts.last().and_then(|attempt| attempt.usage);
        let Some(usage) = usage else { return String::new() };
        let far = used::compared(&usage, self.view.usual_usage.as_ref());
        format!("{}{}", used::used(&usage), far.map(|far| format!(" ({far})")).unwrap_or_default())
    }

    fn artifacts(&self) -> Vec<String> {
        let shown = self.run.artifacts.iter().take(ARTIFACTS_MAX);
        shown
            .map(|artifact| {
                format!("{} ({} bytes, sha256 {})", cell(&artifact.path), artifact.size, artifact.sha256.short())
            })
            .collect()
    }

    /// What went of it by `[retention]`.
    fn removed(&self) -> Vec<String> {
        let line = |gone: &RemovedView| format!("Its {}: removed {}", gone.part, self.times.near(&gone.at));
        self.view.removed.iter().map(line).collect()
    }

    fn vote_lines(&self, request: &Request) -> Vec<String> {
        let line = |vote: &crate::model::request::Vote| {
            let did = vote.did();
            let reason = cell(&vote.reason);
            let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
            format!("{} {did} {} by {}{reason}", cell(&vote.by), self.times.near(&vote.at), cell(&vote.via))
        };
        request.votes.iter().map(line).collect()
    }

    fn asked(&self, request: &Request) -> String {
        let names: Vec<String> = request.slots.iter().map(|slot| slot.person.to_string()).collect();
        crate::report::message::listed(&names)
    }
}
