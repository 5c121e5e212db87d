//! Why a due time led to a run, or to none: the ledger's row, and the facts it came from. What is
//! recorded is told as it was then; what is only known as it stands now is marked so. Nothing is guessed.

use std::collections::BTreeMap;

use crate::model::catalog::{Job, PipelineState};
use crate::model::environment::EnvironmentState;
use crate::model::event::{JournalLine, Standing};
use crate::model::job::Definition;
use crate::model::ledger::{DueVerdict, LedgerRow};
use crate::model::moment::Stretch;
use crate::model::name::{JobKey, JobName, RunRef};
use crate::model::run::{Cause, Outcome, Run};
use crate::model::time::{Seconds, Timestamp, seconds_between};
use crate::model::view::{DueState, DueView, FactView, SCHEMA, WhyView};

use super::dues::{self, Anchor};
use super::{World, commits, run_row};
use crate::pipeline::due;

/// What the store knows of it.
#[derive(Debug, Clone, Default)]
pub struct WhyRows {
    /// Rows of the ledger that touch the stretch asked for, or the newest one.
    pub ledger: Vec<LedgerRow>,
    /// Runs that these rows and the standings name.
    pub runs: BTreeMap<RunRef, Run>,
    /// What was decided of the job's commits without a run, newest first.
    pub journal: Vec<JournalLine>,
}

/// Due times of one stretch that are looked at.
const MANY: usize = 2_000;

/// Why `key` ran or did not, in the stretch asked for or last; `None` if there is no such job.
#[must_use]
pub fn why(world: &World, key: &JobKey, asked: Option<Stretch>, rows: &WhyRows, now: Timestamp) -> Option<WhyView> {
    let job = world.job(key)?;
    let mut view = WhyView {
        schema: SCHEMA,
        now,
        job: key.clone(),
        zone: job.definition.schedule.first().map(|rule| rule.zone.clone()),
        asked,
        due: None,
        commit: None,
        headline: String::new(),
        facts: vec![rule_fact(world, job)],
        nearest: Vec::new(),
        others: 0,
        next_due: None,
        run: None,
        command: Some(format!("shipbell run {key}")),
    };
    standing_facts(world, job, &mut view, now);
    if job.definition.timed() {
        timed(world, job, rows, &mut view, now);
    } else {
        commits::why(world, job, rows, &mut view, now);
    }
    Some(view)
}

fn rule_fact(world: &World, job: &Job) -> FactView {
    let file = world.pipeline(&job.definition.key.pipeline).map(|pipeline| &pipeline.file);
    let name = file.and_then(|file| file.file_name()).map(|name| name.to_string_lossy().into_owned());
    let place = name.map(|name| format!("jobs.d/{name}:{}", job.line)).unwrap_or_default();
    FactView { label: "rule".into(), text: dues::rule(&job.definition), more: place, ..FactView::default() }
}

/// What holds the whole job now.
fn standing_facts(world: &World, job: &Job, view: &mut WhyView, now: Timestamp) {
    let state = world.pipeline(&job.definition.key.pipeline).map(|pipeline| &pipeline.state);
    let text = match state {
        Some(PipelineState::Off { why, .. }) => Some(format!("the pipeline is off: {why}")),
        Some(PipelineState::LastGood { problem }) if job.definition.deploys() => {
            Some(format!("the file is broken, deployments are held: {problem}"))
        }
        _ => None,
    };
    view.facts.extend(text.map(|text| FactView { label: "file".into(), text, now: true, ..FactView::default() }));
    view.facts.extend(super::pauses::of(world, &job.definition.key, now));
}

/// What `every` counts from, as the World and the rows know it.
fn anchor(world: &World, key: &JobKey, rows: &WhyRows) -> Anchor {
    let ends = rows.runs.values().filter(|run| run.run.job == *key).filter_map(|run| Some(run.finished()?.at));
    Anchor { since: world.cursors.get(key).map(|cursor| cursor.since), ended: ends.max(), usual: Seconds(0) }
}

/// A due time and its row, if it has one.
type Found<'a> = (Timestamp, Option<&'a LedgerRow>);

fn timed(world: &World, job: &Job, rows: &WhyRows, view: &mut WhyView, now: Timestamp) {
    let definition = &job.definition;
    let key = &definition.key;
    let anchor = anchor(world, key, rows);
    view.next_due = dues::next(definition, &anchor, now);
    let found = match view.asked {
        Some(stretch) => due_times(world, definition, &anchor, stretch, rows, now),
        None => rows.ledger.first().map(|row| (row.last, Some(row))).into_iter().collect(),
    };
    // What has come tells more than what will come.
    let chosen = found.iter().rfind(|(at, _)| *at <= now).or_else(|| found.first());
    let Some((at, row)) = chosen.copied() else { return none(world, definition, &anchor, view, now) };
    view.others = found.len() as u64 - 1;
    let due = due_view(at, row, now);
    decided(world, job, rows, view, &due, now);
    view.due = Some(due);
}

/// Due times of a stretch: those the ledger has, and those that the present rule has beyond it.
fn due_times<'a>(
    world: &World,
    definition: &Definition,
    anchor: &Anchor,
    (from, to): Stretch,
    rows: &'a WhyRows,
    now: Timestamp,
) -> Vec<Found<'a>> {
    let cursor = world.cursors.get(&definition.key);
    let since = cursor.map_or(now, |cursor| cursor.since);
    let by_rule = dues::between(definition, anchor, from.max(since), to, MANY).0;
    let mut found: BTreeMap<Timestamp, Option<&LedgerRow>> = BTreeMap::new();
    for at in &by_rule {
        let row = rows.ledger.iter().find(|row| row.first <= *at && *at <= row.last);
        let undecided = cursor.is_none_or(|cursor| *at > cursor.decided);
        if row.is_some() || undecided {
            found.insert(*at, row);
        }
    }
    // Of a rule that was changed since, the ledger still knows the ends of its rows.
    for row in &rows.ledger {
        let ends = [row.first, row.last].into_iter().filter(|at| (from..to).contains(at));
        found.extend(ends.map(|at| (at, Some(row))));
    }
    found.into_iter().collect()
}

/// No due time lies in the stretch, or none has come yet.
fn none(world: &World, definition: &Definition, anchor: &Anchor, view: &mut WhyView, now: Timestamp) {
    let key = &definition.key;
    let since = world.cursors.get(key).map(|cursor| cursor.since);
    let Some((from, to)) = view.asked else {
        view.headline = "no due time has come yet".into();
        view.facts.extend(since.map(|since| FactView {
            label: "loaded".into(),
            text: "first".into(),
            at: Some(since),
            more: "what lay before it is never caught up".into(),
            ..FactView::default()
        }));
        return;
    };
    let last = since.and_then(|since| dues::last_before(definition, anchor, since, from));
    let next = dues::between(definition, anchor, since.map_or(to, |since| to.max(since)), Timestamp::MAX, 1).0;
    view.nearest = last.into_iter().chain(next).collect();
    view.headline = match since {
        Some(since) if to <= since => "nothing is recorded of that time".into(),
        _ => "nothing was due then".into(),
    };
    if from > now {
        view.headline = "nothing is due then".into();
    }
    view.facts.extend(since.filter(|since| to <= *since).map(|since| FactView {
        label: "loaded".into(),
        text: "first".into(),
        at: Some(since),
        ..FactView::default()
    }));
}

fn due_view(at: Timestamp, row: Option<&LedgerRow>, now: Timestamp) -> DueView {
    let (state, run, reason) = match row.map(|row| &row.verdict) {
        Some(DueVerdict::Run(run)) => (DueState::Run, Some(run.clone()), String::new()),
        Some(DueVerdict::Coalesced(run)) => (DueState::Coalesced, Some(run.clone()), String::new()),
        Some(DueVerdict::Skipped(why)) => (DueState::Skipped, None, why.clone()),
        None if at > now => (DueState::Coming, None, String::new()),
        None => (DueState::Pending, None, String::new()),
    };
    DueView { at, state, run, reason, row: row.map(|row| (row.first, row.last, row.count)) }
}

/// What became of the due time, and from what.
fn decided(world: &World, job: &Job, rows: &WhyRows, view: &mut WhyView, due: &DueView, now: Timestamp) {
    let run = due.run.as_ref().and_then(|run| world.run(run).or_else(|| rows.runs.get(run)));
    view.run = run.map(|run| run_row(world, run, None, None, now));
    let outcome = view.run.as_ref().map_or_else(|| "its run is not recorded".to_owned(), super::result_words);
    let name = due.run.as_ref().map(ToString::to_string).unwrap_or_default();
    view.headline = match due.state {
        DueState::Run => format!("RAN as {name}: {outcome}"),
        DueState::Coalesced => format!("COALESCED, {name} stands for it: {outcome}"),
        DueState::Skipped => format!("SKIPPED, {}", due.reason),
        DueState::Pending => "NOT DECIDED YET: git is asked".into(),
        DueState::Coming => "COMES".into(),
    };
    if let Some((first, last, count)) = due.row.filter(|(_, _, count)| *count > 1) {
        let text = format!("{count} due times alike, {} apart from first to last, since", seconds_between(first, last));
        view.facts.push(FactView { label: "row".into(), text, at: Some(first), ..FactView::default() });
    }
    match run {
        Some(run) => {
            view.facts.extend(run_facts(run, due));
            view.command = Some(format!("shipbell show {}", run.run));
        }
        None if job.definition.repo.is_some() && due.state != DueState::Coming => {
            candidate_facts(world, job, rows, view, due, now);
        }
        None => {}
    }
}

/// What a run was made of, as it is recorded with it.
fn run_facts(run: &Run, due: &DueView) -> Vec<FactView> {
    let mut facts = Vec::new();
    if let Some(commit) = &run.commit {
        let branch = run.git_ref.as_ref().map(|git_ref| git_ref.short().to_owned()).unwrap_or_default();
        facts.push(FactView {
            label: "commit".into(),
            subject: commit.short().into(),
            text: format!("of {branch}"),
            ..FactView::default()
        });
    }
    let on: Vec<String> = run.upstream.iter().map(|up| format!("{}#{}", up.job, up.run.number)).collect();
    if !on.is_empty() {
        facts.push(FactView { label: "stands on".into(), text: on.join(", "), ..FactView::default() });
    }
    if due.state == DueState::Run {
        let late = seconds_between(due.at, run.queued_at);
        let late = if late.0 == 0 { String::new() } else { format!("{late} late") };
        let at = Some(run.queued_at);
        facts.push(FactView { label: "queued".into(), at, more: late, ..FactView::default() });
    } else if let Cause::Schedule { due, .. } = &run.cause {
        facts.push(FactView {
            label: "its own".into(),
            text: "due time".into(),
            at: Some(*due),
            ..FactView::default()
        });
    }
    facts
}

/// Of a due time without a run: which commit there was for it, what is deployed, what was passed by.
/// These are read from the World: where one of them is younger than the due time they hold for now only.
fn candidate_facts(world: &World, job: &Job, rows: &WhyRows, view: &mut WhyView, due: &DueView, now: Timestamp) {
    let definition = &job.definition;
    let key = &definition.key;
    let mut facts = Vec::new();
    let mut youngest = Timestamp::MIN;
    let above = match due::newest(world, key, definition) {
        Ok(sighting) => {
            youngest = youngest.max(sighting.seen_at).max(green_since(world, definition, &sighting.commit.id));
            let whose = if definition.needs.is_empty() { "" } else { " whose needs succeeded" };
            facts.push(FactView {
                label: "candidate".into(),
                subject: sighting.commit.id.short().into(),
                text: format!("newest commit of {}{whose}", sighting.git_ref.short()),
                ..FactView::default()
            });
            sighting.number
        }
        Err(why) => {
            facts.push(FactView { label: "candidate".into(), text: format!("none: {why}"), ..FactView::default() });
            0
        }
    };
    facts.extend(deployed(world, definition, &mut youngest));
    facts.extend(passed_by(world, definition, rows, above, &mut youngest, now));
    let only_now = youngest > due.at;
    view.facts.extend(facts.into_iter().map(|fact| FactView { now: only_now, ..fact }));
}

/// When the last of a commit's needs became green.
fn green_since(world: &World, definition: &Definition, commit: &crate::model::commit::CommitId) -> Timestamp {
    let need = |job: &JobName| JobKey { pipeline: definition.key.pipeline.clone(), job: job.clone() };
    let standings = definition.needs.iter().filter_map(|job| world.standing(&need(job), commit));
    standings.filter_map(|standing| Some(standing.latest.as_ref()?.at)).max().unwrap_or(Timestamp::MIN)
}

fn deployed(world: &World, definition: &Definition, youngest: &mut Timestamp) -> Vec<FactView> {
    let Some(policy) = &definition.environment else { return Vec::new() };
    let Some(environment) = world.environment(&definition.key.pipeline, &policy.name) else {
        return vec![FactView {
            label: "deployed".into(),
            text: format!("nothing yet on {}", policy.name),
            ..FactView::default()
        }];
    };
    let mut facts = Vec::new();
    if let Some(live) = &environment.live {
        *youngest = (*youngest).max(live.at);
        facts.push(FactView {
            label: "deployed".into(),
            subject: live.commit.as_ref().map(|commit| commit.short().to_owned()).unwrap_or_default(),
            text: format!("on {} since", policy.name),
            at: Some(live.at),
            more: format!("by {}", live.run),
            ..FactView::default()
        });
    }
    if let EnvironmentState::Unclear { attempted, unknown } = &environment.state {
        *youngest = (*youngest).max(attempted.at);
        let what = if *unknown { "nobody can say what it left" } else { "it did not end well" };
        facts.push(FactView {
            label: "unclear".into(),
            subject: attempted.commit.as_ref().map(|commit| commit.short().to_owned()).unwrap_or_default(),
            text: format!("attempted by {}: {what}", attempted.run),
            at: Some(attempted.at),
            ..FactView::default()
        });
    }
    facts
}

/// Newer commits that were no candidates, and why not.
fn passed_by(
    world: &World,
    definition: &Definition,
    rows: &WhyRows,
    above: u64,
    youngest: &mut Timestamp,
    now: Timestamp,
) -> Vec<FactView> {
    const SHOWN: usize = 5;
    if definition.needs.is_empty() {
        return Vec::new();
    }
    let mut facts = Vec::new();
    let newer = commits::followed(world, definition);
    for sighting in newer.into_iter().filter(|sighting| sighting.on_branch && sighting.number > above).take(SHOWN) {
        *youngest = (*youngest).max(sighting.seen_at);
        let Some(fact) = commits::missing_need(world, definition, rows, &sighting.commit.id, now) else { continue };
        *youngest = (*youngest).max(fact.at.unwrap_or(now));
        facts.push(FactView { label: "passed by".into(), ..fact });
    }
    facts
}

/// How a needed job stands, where it is not green.
pub(super) fn not_green(standing: Option<&Standing>, rows: &WhyRows) -> Option<FactView> {
    let latest = standing?.latest.as_ref()?;
    if latest.outcome == Outcome::Succeeded {
        return None;
    }
    let run = &latest.upstream.run;
    let end = rows.runs.get(run).and_then(Run::finished);
    let step = end.and_then(|end| end.step.as_ref()).map(|(index, name)| format!("step {index} \"{name}\""));
    let reason = end.map(|end| end.reason.clone()).filter(|reason| !reason.is_empty());
    let more: Vec<String> = step.into_iter().chain(reason).collect();
    Some(FactView {
        text: format!("{}#{} {}", run.job.job, run.number, latest.outcome),
        at: Some(latest.at),
        more: more.join(", "),
        ..FactView::default()
    })
}
