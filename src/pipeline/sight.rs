//! What a poll tells: new sightings, refs that are gone, commits that left their branch.
//! Which jobs run for them is decided by `trigger`.

use crate::model::commit::{CommitInfo, RefName, Sighting};
use crate::model::event::{Change, HeadSeen, PollAnswer};
use crate::model::job::Commits;
use crate::model::name::PipelineName;
use crate::model::run::RunState;
use crate::pipeline::draft::Draft;
use crate::pipeline::life;

/// A repository was asked and what it has is in the mirror.
pub fn polled(draft: &mut Draft<'_>, name: &PipelineName, poll: &PollAnswer) {
    let Some(pipeline) = draft.world.pipeline(name) else { return };
    let Some(url) = pipeline.repo.as_ref().map(|repo| repo.url.clone()) else { return };
    let every = pipeline
        .jobs
        .values()
        .any(|job| job.definition.repo.as_ref().is_some_and(|repo| repo.commits == Commits::Every));
    draft.world.recall(&poll.standings);
    let seen = draft.live(name).and_then(|live| live.seen.clone());
    let first = seen.as_ref().is_none_or(|seen| seen.url != url);
    if first || seen.is_some_and(|seen| seen.head != poll.head) {
        let head = poll.head.clone();
        draft.put(Change::PipelineSeen { pipeline: name.clone(), url, head, at: draft.now });
    }
    if draft.live(name).is_some_and(|live| live.problem.is_some()) {
        draft.put(Change::PollProblem { pipeline: name.clone(), problem: None });
    }
    take_judgement(draft, name, poll);
    for seen in &poll.heads {
        head_seen(draft, name, seen, poll.head.as_ref(), first, every);
    }
    let still = |git_ref: &RefName| poll.heads.iter().any(|seen| seen.git_ref == *git_ref);
    let known = draft.live(name).map(|live| live.sightings.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    for gone in known.iter().filter(|git_ref| !still(git_ref)) {
        ref_gone(draft, name, gone);
    }
}

/// Another list than the last time: all that is known was judged by it, also what is below the heads.
fn take_judgement(draft: &mut Draft<'_>, name: &PipelineName, poll: &PollAnswer) {
    let before = draft.world.scratch.judged.get(name).cloned();
    if before == poll.signers {
        return;
    }
    for seen in &poll.heads {
        let row = draft.live(name).and_then(|live| live.sightings.get(&seen.git_ref)).cloned().unwrap_or_default();
        for sighting in row {
            judge_again(draft, name, seen, sighting);
        }
    }
    match &poll.signers {
        Some(signers) => drop(draft.world.scratch.judged.insert(name.clone(), signers.clone())),
        None => drop(draft.world.scratch.judged.remove(name)),
    }
    draft.world.scratch.dirty.insert(name.clone());
}

fn head_seen(
    draft: &mut Draft<'_>,
    name: &PipelineName,
    seen: &HeadSeen,
    head: Option<&RefName>,
    first: bool,
    every: bool,
) {
    let tip = draft.live(name).and_then(|live| live.tip(&seen.git_ref)).map(|tip| tip.commit.id.clone());
    mark_off_branch(draft, name, seen);
    if tip.as_ref() == Some(&seen.commit.id) {
        if let Some(tip) = draft.live(name).and_then(|live| live.tip(&seen.git_ref)).cloned() {
            judge_again(draft, name, seen, tip);
        }
        return;
    }
    let runs = !first || draft.world.pipeline(name).is_some_and(|p| p.names_plainly(&seen.git_ref, head));
    if every && tip.is_some() && !seen.git_ref.is_tag() {
        for commit in &seen.between {
            sighted(draft, name, seen, commit, runs);
        }
    }
    sighted(draft, name, seen, &seen.commit, runs);
    // One that must not run takes nobody's place.
    if !every && !seen.refused.contains_key(&seen.commit.id) {
        pass_over(draft, name, &seen.git_ref, &seen.commit);
    }
}

fn sighted(draft: &mut Draft<'_>, name: &PipelineName, seen: &HeadSeen, commit: &CommitInfo, runs: bool) {
    let number = draft.live(name).map_or(0, |live| live.last_sighting) + 1;
    let refused = seen.refused.get(&commit.id).cloned();
    if let Some(why) = &refused {
        note_refused(draft, name, &seen.git_ref, commit, why);
    }
    draft.put(Change::SightingPut(Sighting {
        pipeline: name.clone(),
        git_ref: seen.git_ref.clone(),
        number,
        commit: commit.clone(),
        seen_at: draft.now,
        runs: runs && refused.is_none(),
        begun: false,
        passed_over: false,
        on_branch: true,
        refused,
    }));
}

fn note_refused(draft: &mut Draft<'_>, name: &PipelineName, git_ref: &RefName, commit: &CommitInfo, why: &str) {
    let subject = format!("{name} {} {}", git_ref.short(), commit.id.short());
    draft.note("refused", &subject, format!("nothing runs for it: {why}"));
}

/// The list of those who may sign has changed: what stands there is let in, or held.
fn judge_again(draft: &mut Draft<'_>, name: &PipelineName, seen: &HeadSeen, sighting: Sighting) {
    let refused = seen.refused.get(&sighting.commit.id).cloned();
    if sighting.refused == refused {
        return;
    }
    if let Some(why) = &refused {
        note_refused(draft, name, &seen.git_ref, &sighting.commit, why);
        skip_runs_of(draft, name, &seen.git_ref, Some(sighting.number), why);
    }
    // What is below the head and let in again has had its turn: only the clock may come back to it.
    let runs = refused.is_none() && (sighting.runs || sighting.commit.id == seen.commit.id);
    draft.put(Change::SightingPut(Sighting { runs, refused, ..sighting }));
}

/// A force-push took commits off the branch: they are history, and no job picks them as newest.
fn mark_off_branch(draft: &mut Draft<'_>, name: &PipelineName, seen: &HeadSeen) {
    let row = draft.live(name).and_then(|live| live.sightings.get(&seen.git_ref)).cloned().unwrap_or_default();
    for mut sighting in row {
        let gone = seen.gone.contains(&sighting.commit.id) && sighting.commit.id != seen.commit.id;
        if gone && sighting.on_branch {
            sighting.on_branch = false;
            draft.put(Change::SightingPut(sighting));
        }
    }
}

/// Heads are coalesced per pipeline and branch before their first job starts.
fn pass_over(draft: &mut Draft<'_>, name: &PipelineName, git_ref: &RefName, newer: &CommitInfo) {
    let row = draft.live(name).and_then(|live| live.sightings.get(git_ref)).cloned().unwrap_or_default();
    let Some((_tip, older)) = row.split_last() else { return };
    for sighting in older.iter().filter(|s| !s.begun && !s.passed_over) {
        draft.put(Change::SightingPut(Sighting { passed_over: true, ..sighting.clone() }));
        let reason = format!("newer head {} on {}", newer.id.short(), git_ref.short());
        skip_runs_of(draft, name, git_ref, Some(sighting.number), &reason);
    }
}

fn ref_gone(draft: &mut Draft<'_>, name: &PipelineName, git_ref: &RefName) {
    draft.put(Change::RefGone { pipeline: name.clone(), git_ref: git_ref.clone() });
    draft.note("gone", &format!("{name} {}", git_ref.short()), "the remote has it no more");
    let kind = match (git_ref.is_tag(), git_ref.is_pull()) {
        (true, _) => "tag",
        (_, true) => "pull request",
        _ => "branch",
    };
    skip_runs_of(draft, name, git_ref, None, &format!("{kind} {} was deleted", git_ref.short()));
}

/// Ends queued runs that no person asked for and of which no attempt was begun.
fn skip_runs_of(draft: &mut Draft<'_>, name: &PipelineName, git_ref: &RefName, number: Option<u64>, reason: &str) {
    let Some(live) = draft.live(name) else { return };
    let of_it = |run: &&crate::model::run::Run| {
        run.git_ref.as_ref() == Some(git_ref)
            && number.is_none_or(|number| run.sighting == number)
            && matches!(run.state, RunState::Queued { .. })
            && run.attempt == 0
            && run.cause.person().is_none()
    };
    let runs: Vec<_> = live.runs.values().filter(of_it).cloned().collect();
    for run in runs {
        life::skip(draft, &run.run, reason);
        let Some(commit) = &run.commit else { continue };
        // The head never had its turn: should the commit come back, or stand on another branch, it runs.
        let mut standing = draft.standing(&run.run.job, commit);
        if standing.fired && standing.latest.is_none() {
            standing.fired = false;
            draft.put(Change::StandingPut(standing));
        }
    }
}
