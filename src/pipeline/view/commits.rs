//! Why a job that follows commits or other jobs has, or has not, run for the newest commit.

use crate::model::catalog::Job;
use crate::model::commit::{CommitId, RefName, Sighting};
use crate::model::job::Definition;
use crate::model::name::JobKey;
use crate::model::run::{Outcome, Run};
use crate::model::time::{Timestamp, is_ahead};
use crate::model::view::{FactView, WhyView};

use super::why::{WhyRows, not_green};
use super::{World, result_words, run_row};

/// Sightings on refs that the job follows, newest first.
pub(super) fn followed<'a>(world: &'a World, definition: &Definition) -> Vec<&'a Sighting> {
    let Some(live) = world.live.get(&definition.key.pipeline) else { return Vec::new() };
    let head = live.seen.as_ref().and_then(|seen| seen.head.as_ref());
    let follows = |git_ref: &&RefName| definition.refs.matches(git_ref, head);
    let rows = live.sightings.iter().filter(|(git_ref, _)| follows(git_ref));
    let mut all: Vec<&Sighting> = rows.flat_map(|(_, row)| row).collect();
    all.sort_by_key(|sighting| std::cmp::Reverse(sighting.number));
    all
}

/// Fills in what became of the newest commit (seen before the end of the stretch, where one was asked for).
pub(super) fn why(world: &World, job: &Job, rows: &WhyRows, view: &mut WhyView, now: Timestamp) {
    let definition = &job.definition;
    if definition.manual {
        view.headline = "only a person starts it (manual = true)".into();
        last_run(world, definition, rows, view, now);
        return;
    }
    let before = view.asked.map_or(Timestamp::MAX, |(_, to)| to);
    let Some(sighting) = followed(world, definition).into_iter().find(|sighting| sighting.seen_at < before) else {
        let problem = world.live.get(&definition.key.pipeline).and_then(|live| live.problem.as_ref());
        view.headline = match problem {
            Some((_, problem)) => format!("no commit was seen: {problem}"),
            None if view.asked.is_some() => "no commit was seen before that time".into(),
            None => "no commit was seen yet on what it follows".into(),
        };
        view.command = Some(format!("shipbell poll {}", definition.key.pipeline));
        return;
    };
    let commit = &sighting.commit.id;
    view.commit = Some(commit.clone());
    view.facts.push(FactView {
        label: "commit".into(),
        subject: commit.short().into(),
        text: format!("of {}, seen", sighting.git_ref.short()),
        at: Some(sighting.seen_at),
        ..FactView::default()
    });
    if let Some(run) = run_for(world, &definition.key, commit, rows) {
        let row = run_row(world, run, None, None, now);
        let verb = if run.finished().is_some() { "RAN" } else { "IS TO RUN" };
        view.headline = format!("{verb} for {} as {}: {}", commit.short(), run.run, result_words(&row));
        view.command = Some(format!("shipbell show {}", run.run));
        view.facts.push(FactView { label: "cause".into(), text: run.cause.to_string(), ..FactView::default() });
        view.run = Some(row);
        return;
    }
    let (reason, facts) = not_run(world, definition, sighting, rows, now);
    view.headline = format!("DID NOT RUN for {}: {reason}", commit.short());
    view.facts.extend(facts);
}

/// The run of a job for a commit: the live one, else the one that its standing is from.
fn run_for<'a>(world: &'a World, key: &JobKey, commit: &CommitId, rows: &'a WhyRows) -> Option<&'a Run> {
    let live = world.live.get(&key.pipeline)?;
    let of_it = |run: &&Run| run.run.job == *key && run.commit.as_ref() == Some(commit);
    if let Some(run) = live.runs.values().rfind(of_it) {
        return Some(run);
    }
    let standing = world.standing(key, commit).filter(|standing| standing.carries.is_none())?;
    rows.runs.get(&standing.latest.as_ref()?.upstream.run)
}

fn last_run(world: &World, definition: &Definition, rows: &WhyRows, view: &mut WhyView, now: Timestamp) {
    let mut of_it = rows.runs.values().filter(|run| run.run.job == definition.key);
    if let Some(run) = of_it.next_back() {
        let row = run_row(world, run, None, None, now);
        view.facts.push(FactView {
            label: "last".into(),
            subject: run.run.to_string(),
            text: result_words(&row),
            at: row.finished_at,
            ..FactView::default()
        });
        view.run = Some(row);
    }
}

/// Why a commit got no run: from its standing, its sighting, its needs, the journal.
fn not_run(
    world: &World,
    definition: &Definition,
    sighting: &Sighting,
    rows: &WhyRows,
    now: Timestamp,
) -> (String, Vec<FactView>) {
    let (key, commit) = (&definition.key, &sighting.commit.id);
    let standing = world.standing(key, commit);
    if let Some(run) = standing.and_then(|standing| standing.carries.as_ref()) {
        let outcome = standing.and_then(|s| s.latest.as_ref()).map(|latest| latest.outcome.to_string());
        let more = outcome.map(|outcome| format!("({outcome})")).unwrap_or_default();
        let fact = FactView {
            label: "carries".into(),
            subject: run.to_string(),
            more,
            text: "over".into(),
            ..FactView::default()
        };
        return ("no path of it changed".into(), vec![fact]);
    }
    let subject = format!("{key} {}", commit.short());
    if let Some(line) = rows.journal.iter().find(|line| line.subject == subject) {
        let fact =
            FactView { label: line.verb.clone(), text: line.detail.clone(), at: Some(line.at), ..FactView::default() };
        return (line.detail.clone(), vec![fact]);
    }
    if !definition.needs.is_empty() && standing.is_none_or(|standing| !standing.fired) {
        let missing = missing_need(world, definition, rows, commit, now);
        if let Some(fact) = missing {
            let needs: Vec<&str> = definition.needs.iter().map(crate::model::name::JobName::as_str).collect();
            return (format!("needs {}", needs.join(", ")), vec![FactView { label: "missing".into(), ..fact }]);
        }
    }
    (of_sighting(world, sighting, standing.is_some_and(|standing| standing.fired), now), Vec::new())
}

fn of_sighting(world: &World, sighting: &Sighting, fired: bool, now: Timestamp) -> String {
    let quiet = world.pipeline(&sighting.pipeline).and_then(|pipeline| pipeline.repo.as_ref()).map(|repo| repo.quiet);
    if let Some(why) = &sighting.refused {
        return format!("it is not run: {why}");
    }
    if !sighting.runs {
        return "the branch or tag stood there when the repository was first seen".into();
    }
    if sighting.passed_over {
        return "a newer head took its place before it began".into();
    }
    if !sighting.on_branch {
        return "it is no longer on the branch".into();
    }
    match quiet.filter(|quiet| !fired && is_ahead(quiet.after(sighting.seen_at), *quiet, now)) {
        Some(quiet) => format!("the branch must be still for {quiet} first"),
        None if fired => "it was started once for this commit; a person may start it again".into(),
        None => "it is not decided yet: git is asked".into(),
    }
}

/// The first needed job, at any depth, that is not green for a commit, and how it stands.
pub(super) fn missing_need(
    world: &World,
    definition: &Definition,
    rows: &WhyRows,
    commit: &CommitId,
    now: Timestamp,
) -> Option<FactView> {
    let pipeline = world.pipeline(&definition.key.pipeline)?;
    let upstream = pipeline.upstream_of(&definition.key.job);
    let subject = commit.short().to_owned();
    for job in pipeline.order.iter().filter(|job| upstream.contains(*job)) {
        let need = JobKey { pipeline: pipeline.name.clone(), job: job.clone() };
        let standing = world.standing(&need, commit);
        let green = standing
            .and_then(|standing| standing.latest.as_ref())
            .is_some_and(|latest| latest.outcome == Outcome::Succeeded);
        if green {
            continue;
        }
        if let Some(fact) = not_green(standing, rows) {
            return Some(FactView { subject, ..fact });
        }
        let mut live = world.live.get(&pipeline.name).into_iter().flat_map(|live| live.runs.values());
        let run = live.rfind(|run| run.run.job == need && run.commit.as_ref() == Some(commit));
        let text = match run {
            Some(run) => format!("{job}#{}: {}", run.run.number, result_words(&run_row(world, run, None, None, now))),
            None => format!("{job} has not run for it"),
        };
        return Some(FactView { subject, text, ..FactView::default() });
    }
    None
}
