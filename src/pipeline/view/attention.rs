//! What needs a person, the most pressing first: votes, deployments nobody can judge, what is held,
//! then what fails, is broken, cannot be reached or was not delivered.

use std::sync::Arc;

use crate::model::catalog::{Pipeline, PipelineState};
use crate::model::environment::EnvironmentState;
use crate::model::event::Failing;
use crate::model::glob::is_plain;
use crate::model::job::Factor;
use crate::model::letter::{Letter, LetterKind, LetterState};
use crate::model::request::Request;
use crate::model::time::Timestamp;
use crate::model::view::{AttentionKind, AttentionView};

use super::{Rows, World, main_ref, who_can};

/// Everything that needs a person.
pub(super) fn attention(world: &World, rows: &Rows, now: Timestamp) -> Vec<AttentionView> {
    let mut found = super::pauses::attention(world);
    found.extend(requests(world, now));
    found.extend(unclear(world));
    found.extend(held(world, now));
    found.extend(failing(world, rows));
    found.extend(files(world));
    found.extend(sources(world));
    found.extend(letters(rows));
    found.extend(disk(world, rows));
    found
}

pub(super) fn one(kind: AttentionKind, subject: &impl ToString, text: String) -> AttentionView {
    AttentionView {
        kind,
        subject: subject.to_string(),
        text,
        since: None,
        until: None,
        more: Vec::new(),
        command: None,
        run: None,
    }
}

fn requests(world: &World, now: Timestamp) -> Vec<AttentionView> {
    let mut open: Vec<&Request> =
        world.live.values().flat_map(|live| live.requests.values()).filter(|r| r.is_open()).collect();
    open.sort_by_key(|request| request.expires_at);
    let say = |request: &&Request| {
        let short = request.tuple.commit.as_ref().map(|commit| format!("{} ", commit.short())).unwrap_or_default();
        let missing = u64::from(request.votes_needed).saturating_sub(request.approvals().count() as u64);
        let votes = if missing == 1 { "1 vote".to_owned() } else { format!("{missing} votes") };
        let who = who_can(request);
        let sign = if crate::pipeline::requests::factor(world, request) == Factor::Sshsig { " --sign" } else { "" };
        let (text, command) = if who.is_empty() {
            let why: Vec<String> =
                request.brief.excluded.iter().map(|(person, why)| format!("{person}: {why}")).collect();
            (format!("{short}waits for {votes}, and nobody can give one"), why)
        } else {
            (format!("{short}waits for {votes}: {}", who.join(", ")), Vec::new())
        };
        AttentionView {
            since: Some(request.asked_at),
            until: Some(request.expires_at),
            more: command,
            command: Some(format!("shipbell approve {}{sign}", request.run)),
            run: Some(request.run.clone()),
            ..one(AttentionKind::Request, &request.run, text)
        }
    };
    open.iter().filter(|request| request.expires_at > now).map(say).collect()
}

fn unclear(world: &World) -> Vec<AttentionView> {
    let environments = world.live.values().flat_map(|live| live.environments.values());
    let say = |environment: &crate::model::environment::Environment| {
        let EnvironmentState::Unclear { attempted, unknown: true } = &environment.state else { return None };
        let (pipeline, name) = (&environment.pipeline, &environment.name);
        let text = format!("nobody can say whether {} changed it; nothing goes there", attempted.run);
        Some(AttentionView {
            since: Some(attempted.at),
            command: Some(format!("shipbell resolve {pipeline} {name} --as deployed|failed")),
            run: Some(attempted.run.clone()),
            ..one(AttentionKind::Unknown, &format!("{pipeline} {name}"), text)
        })
    };
    environments.filter_map(say).collect()
}

/// Runs that a person must let go although nobody is asked by mail.
fn held(world: &World, now: Timestamp) -> Vec<AttentionView> {
    let mut found = Vec::new();
    for run in world.runs().filter(|run| run.is_queued() && world.request_of(&run.run).is_none()) {
        let Some(why) = crate::pipeline::waits(world, run, now).filter(|why| why.starts_with("a person")) else {
            continue;
        };
        found.push(AttentionView {
            since: Some(run.queued_at),
            command: Some(format!("shipbell approve {}", run.run)),
            run: Some(run.run.clone()),
            ..one(AttentionKind::Held, &run.run, format!("waits for {}", why.split(';').next().unwrap_or(&why)))
        });
    }
    found
}

/// Jobs whose last end was bad: on the pipeline's main branch, or without a branch.
fn failing(world: &World, rows: &Rows) -> Vec<AttentionView> {
    let mut found: Vec<&Failing> = Vec::new();
    for (name, live) in &world.live {
        let main = main_ref(world, name);
        let counts = |failing: &&Failing| match (&failing.git_ref, &main) {
            (Some(git_ref), Some(main)) => git_ref == main || git_ref.is_tag(),
            _ => true,
        };
        found.extend(live.failing.values().filter(counts).filter(|failing| world.job(&failing.job).is_some()));
    }
    found.sort_by_key(|failing| failing.since);
    let why = |failing: &Failing| {
        let run = rows.recent.get(&failing.job)?.iter().find(|run| run.run == failing.run)?;
        let end = run.finished().filter(|end| !end.reason.is_empty())?;
        Some(format!(": {}", end.reason.lines().next().unwrap_or_default()))
    };
    let say = |failing: &Failing| {
        let times = match failing.count {
            1 => String::new(),
            n => format!(" {n} times, last #{}", failing.run.number),
        };
        let text = format!("FAILED{times}{}", why(failing).unwrap_or_default());
        AttentionView {
            since: Some(failing.since),
            command: Some(format!("shipbell show {}", failing.run)),
            run: Some(failing.run.clone()),
            ..one(AttentionKind::Failing, &failing.job, text)
        }
    };
    found.into_iter().map(say).collect()
}

fn files(world: &World) -> Vec<AttentionView> {
    let say = |pipeline: &Arc<Pipeline>| match &pipeline.state {
        PipelineState::Ok => None,
        PipelineState::LastGood { problem } => Some(AttentionView {
            more: vec!["last good version tests on, deployments are held".into()],
            command: Some(format!("shipbell check {}", pipeline.file.display())),
            ..one(AttentionKind::File, &pipeline.name, problem.clone())
        }),
        PipelineState::Off { gone: true, .. } => None,
        PipelineState::Off { why, gone: false } => Some(AttentionView {
            more: vec!["the pipeline is OFF: runs going on continue, history stays".into()],
            command: Some("shipbell check".into()),
            ..one(AttentionKind::File, &pipeline.name, why.clone())
        }),
    };
    world.scratch.catalog.pipelines.values().filter_map(say).collect()
}

fn sources(world: &World) -> Vec<AttentionView> {
    let mut found = Vec::new();
    for (name, pipeline) in &world.scratch.catalog.pipelines {
        let (Some(repo), Some(live)) = (&pipeline.repo, world.live.get(name)) else { continue };
        if let Some((since, problem)) = &live.problem {
            found.push(AttentionView {
                since: Some(*since),
                command: Some(format!("shipbell poll {name}")),
                ..one(AttentionKind::Source, name, problem.clone())
            });
            continue;
        }
        let Some(seen) = live.seen.as_ref().filter(|seen| seen.url == repo.url) else { continue };
        for tip in live.sightings.values().filter_map(|row| row.last()) {
            let Some(why) = &tip.refused else { continue };
            let text = format!("{} of {} is not run: {why}", tip.commit.id.short(), tip.git_ref.short());
            found.push(AttentionView { since: Some(tip.seen_at), ..one(AttentionKind::Source, name, text) });
        }
        for branch in missing_branches(world, pipeline) {
            found.push(AttentionView {
                since: Some(seen.at),
                more: vec![repo.url.clone()],
                ..one(AttentionKind::Source, name, format!("the repository has no branch `{branch}`"))
            });
        }
    }
    found
}

/// Branches that the file names plainly and that were not there when the repository was last seen.
fn missing_branches(world: &World, pipeline: &Pipeline) -> Vec<String> {
    let there = |name: &str| {
        let refs = world.live.get(&pipeline.name).map(|live| &live.sightings);
        refs.is_some_and(|refs| refs.keys().any(|git_ref| !git_ref.is_tag() && git_ref.short() == name))
    };
    let filters = pipeline.repo.iter().map(|repo| &repo.refs);
    let filters = filters.chain(pipeline.jobs.values().map(|job| &job.definition.refs));
    let names = filters.filter_map(|filter| filter.branches.as_ref()).flatten();
    let mut missing: Vec<String> = names.filter(|name| is_plain(name) && !there(name)).cloned().collect();
    missing.sort();
    missing.dedup();
    missing
}

fn letters(rows: &Rows) -> Vec<AttentionView> {
    let say = |letter: &Letter| {
        let about = match &letter.kind {
            LetterKind::Approval { request, .. } => format!("the approval mail of request {request}"),
            LetterKind::Decided { request } => format!("what became of request {request}"),
            LetterKind::Rests { request, .. } => format!("of wrong answers to request {request}"),
            LetterKind::Unsatisfiable { request } => format!("that nobody can approve request {request}"),
            LetterKind::Failure { run } | LetterKind::Unknown { run } => format!("the failure of {run}"),
            LetterKind::Recovery { run } => format!("the recovery of {run}"),
            LetterKind::Stale { job } => format!("that {job} is stale"),
            LetterKind::Fresh { run } => format!("that {} is no longer stale", run.job),
            LetterKind::Long { run } => format!("that {run} takes far too long"),
            LetterKind::Carried { commit, run } => format!("that {} carries {run} over", commit.short()),
            LetterKind::Mark { run } | LetterKind::Ping { run, .. } => format!("how {run} went"),
        };
        let (why, given_up) = match &letter.state {
            LetterState::Waiting { last_error, .. } => (last_error.clone().unwrap_or_default(), false),
            LetterState::Dead { why, .. } => (why.clone(), true),
            LetterState::Sent { .. } => return None,
        };
        let tries = if letter.attempts == 1 { "1 try".to_owned() } else { format!("{} tries", letter.attempts) };
        let state = if given_up { "given up" } else { "is tried again" };
        Some(AttentionView {
            since: Some(letter.created_at),
            more: vec![why],
            ..one(AttentionKind::Mail, &letter.to, format!("undelivered after {tries}: {about}; {state}"))
        })
    };
    rows.undelivered.iter().filter_map(say).collect()
}

fn disk(world: &World, rows: &Rows) -> Option<AttentionView> {
    if rows.unrecorded {
        let text = "it takes no records: nothing new starts, and what ended or was decided since waits for room";
        return Some(one(AttentionKind::Disk, &"disk", text.to_owned()));
    }
    let floor = world.scratch.catalog.settings.disk_floor;
    let free = world.scratch.disk_free.filter(|free| *free < floor)?;
    let text = format!("{} MB free, [limits] disk-floor is {} MB: new runs wait", free >> 20, floor >> 20);
    Some(one(AttentionKind::Disk, &"disk", text))
}
