//! The first page: what needs a person, then every pipeline's jobs by commit, then what runs, waits and
//! comes next.

use std::collections::BTreeSet;

use crate::model::catalog::{Catalog, Pipeline, PipelineState};
use crate::model::commit::{CommitId, RefName, Sighting};
use crate::model::job::RefFilter;
use crate::model::name::JobName;
use crate::model::run::Run;
use crate::model::time::Timestamp;
use crate::model::view::{CommitRow, FileState, PipelineView, RunRow, SCHEMA, SiteView, StatusView};

use super::attention::attention;
use super::cells::{cell, cell_without_commit};
use super::{Rows, World, commit_info, main_ref, next, run_row};

/// Rows of one pipeline for its heads; more branches than these are left to `history`.
const HEADS_MAX: usize = 5;

/// Due times named on the first page.
const NEXT: usize = 3;

/// Everything at a glance.
#[must_use]
pub fn status(world: &World, rows: &Rows, site: &SiteView, now: Timestamp) -> StatusView {
    let catalog = &world.scratch.catalog;
    let ok = catalog.pipelines.values().filter(|pipeline| pipeline.state == PipelineState::Ok).count();
    let row = |run: &Run| run_row(world, run, None, rows.usual.get(&run.run.job).copied(), now);
    let mut running: Vec<RunRow> = world.runs().filter(|run| run.is_running()).map(row).collect();
    running.sort_by_key(|row| row.started_at);
    let mut waiting: Vec<RunRow> = world.runs().filter(|run| run.is_queued()).map(row).collect();
    waiting.sort_by_key(|row| row.queued_at);
    StatusView {
        schema: SCHEMA,
        now,
        site: site.clone(),
        files_ok: ok,
        files_broken: catalog.pipelines.values().filter(|pipeline| pipeline.state.is_broken()).count(),
        skipped: skipped(catalog),
        undelivered: rows.undelivered.len(),
        disk_free: world.scratch.disk_free,
        attention: attention(world, rows, now),
        paused: super::pauses::paused(world, now),
        pipelines: catalog.pipelines.values().map(|pipeline| pipeline_view(world, rows, pipeline, now)).collect(),
        running,
        waiting,
        next: next(world, rows, None, NEXT, now).rows,
    }
}

fn skipped(catalog: &Catalog) -> Vec<(String, String)> {
    catalog.skipped.iter().map(|(path, why)| (path.display().to_string(), why.clone())).collect()
}

fn pipeline_view(world: &World, rows: &Rows, pipeline: &Pipeline, now: Timestamp) -> PipelineView {
    let (state, problem) = match &pipeline.state {
        PipelineState::Ok => (FileState::Ok, None),
        PipelineState::LastGood { problem } => (FileState::LastGood, Some(problem.clone())),
        PipelineState::Off { why, .. } => (FileState::Off, Some(why.clone())),
    };
    PipelineView {
        name: pipeline.name.clone(),
        description: pipeline.description.clone(),
        file: pipeline.file.display().to_string(),
        state,
        problem,
        repo: pipeline.repo.as_ref().map(|repo| repo.url.clone()),
        jobs: pipeline.order.clone(),
        rows: commit_rows(world, rows, pipeline, now),
    }
}

/// The rows of a pipeline: its heads, newest first, then what is live and is none of them.
fn commit_rows(world: &World, rows: &Rows, pipeline: &Pipeline, now: Timestamp) -> Vec<CommitRow> {
    let heads = heads(world, pipeline);
    let mut shown = BTreeSet::new();
    let mut found: Vec<CommitRow> = Vec::new();
    for sighting in heads {
        if shown.insert(sighting.commit.id.clone()) {
            found.push(CommitRow {
                commit: Some(sighting.commit.clone()),
                branch: Some(sighting.git_ref.short().to_owned()),
                seen_at: Some(sighting.seen_at),
                was: false,
                cells: cells_of(pipeline, |job| cell(world, rows, pipeline, job, &sighting.commit.id, now)),
            });
        }
    }
    for (commit, branch, at) in live_commits(world, pipeline) {
        if shown.insert(commit.clone()) {
            let sighted = world
                .live
                .get(&pipeline.name)
                .and_then(|live| live.sightings.values().flatten().rfind(|sighting| sighting.commit.id == commit));
            found.push(CommitRow {
                commit: commit_info(world, rows, &pipeline.name, &commit),
                branch,
                seen_at: Some(sighted.map_or(at, |sighting| sighting.seen_at)),
                was: true,
                cells: cells_of(pipeline, |job| cell(world, rows, pipeline, job, &commit, now)),
            });
        }
    }
    if pipeline.repo.is_none() && !pipeline.jobs.is_empty() {
        let cells = cells_of(pipeline, |job| cell_without_commit(world, rows, pipeline, job, now));
        found.push(CommitRow { commit: None, branch: None, seen_at: None, was: false, cells });
    }
    found
}

fn cells_of<T>(pipeline: &Pipeline, cell: impl Fn(&JobName) -> T) -> Vec<T> {
    pipeline.order.iter().map(cell).collect()
}

/// The newest sightings of the branches that stand for the pipeline, and of those on which something goes on.
fn heads<'w>(world: &'w World, pipeline: &Pipeline) -> Vec<&'w Sighting> {
    let Some(live) = world.live.get(&pipeline.name) else { return Vec::new() };
    let main = main_ref(world, &pipeline.name);
    let head = live.seen.as_ref().and_then(|seen| seen.head.as_ref());
    let busy: BTreeSet<&RefName> = live.runs.values().filter_map(|run| run.git_ref.as_ref()).collect();
    let shown = |git_ref: &RefName| {
        main.as_ref() == Some(git_ref)
            || busy.contains(git_ref)
            || pipeline.names_plainly(git_ref, head)
            || (git_ref.is_tag() && filters(pipeline).any(|filter| !filter.tags.is_empty()))
    };
    let mut found: Vec<&Sighting> = live
        .sightings
        .iter()
        .filter(|(git_ref, _)| shown(git_ref))
        .filter_map(|(_, sightings)| sightings.iter().rfind(|sighting| sighting.on_branch))
        .filter(|sighting| sighting.runs || main.as_ref() == Some(&sighting.git_ref))
        .collect();
    found.sort_by_key(|sighting| (main.as_ref() != Some(&sighting.git_ref), std::cmp::Reverse(sighting.seen_at)));
    found.truncate(HEADS_MAX);
    found
}

fn filters(pipeline: &Pipeline) -> impl Iterator<Item = &RefFilter> {
    pipeline.repo.iter().map(|repo| &repo.refs).chain(pipeline.jobs.values().map(|job| &job.definition.refs))
}

/// Commits that are live in an environment, each with its branch and since when.
fn live_commits(world: &World, pipeline: &Pipeline) -> Vec<(CommitId, Option<String>, Timestamp)> {
    let environments = world.live.get(&pipeline.name).map(|live| &live.environments);
    let deployed = environments.into_iter().flatten().filter_map(|(_, environment)| environment.live.as_ref());
    let mut found: Vec<(CommitId, Option<String>, Timestamp)> = deployed
        .filter_map(|live| {
            Some((live.commit.clone()?, live.git_ref.as_ref().map(|name| name.short().to_owned()), live.at))
        })
        .collect();
    found.sort_by_key(|(_, _, at)| std::cmp::Reverse(*at));
    found
}
