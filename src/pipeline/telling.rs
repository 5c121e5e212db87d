//! When somebody outside is told how a run goes: the host of its repository, and the addresses that the
//! job pings. A letter to a host names only the run: it tells what holds when it leaves, so one that still
//! waits is enough whatever happens meanwhile. What is told is `report`'s.

use crate::model::catalog::Marks;
use crate::model::commit::CommitId;
use crate::model::event::Change;
use crate::model::forge::{self, Forge};
use crate::model::letter::{Letter, LetterKind, PingAt};
use crate::model::name::{JobKey, RunRef};
use crate::model::run::{Outcome, Run};
use crate::pipeline::draft::Draft;
use crate::pipeline::world::World;

/// An attempt of it began.
pub fn begun(draft: &mut Draft<'_>, run: &Run) {
    mark(draft, run);
    if run.tries == 1 {
        ping(draft, run, PingAt::Start);
    }
}

/// It is over.
pub fn ended(draft: &mut Draft<'_>, run: &Run, outcome: Outcome) {
    // Of what never began nothing was told; a run that was skipped is nobody's news.
    if run.attempt == 0 {
        return;
    }
    mark(draft, run);
    carried_by_pull(draft, run);
    match outcome {
        Outcome::Succeeded => ping(draft, run, PingAt::Success),
        Outcome::Failed | Outcome::TimedOut | Outcome::Interrupted | Outcome::Unknown => {
            ping(draft, run, PingAt::Failure);
        }
        Outcome::Cancelled | Outcome::Skipped => {}
    }
}

/// A job need not run for this commit: the outcome of that run stands for it. Without a mark of its own the
/// commit would wait forever where the host wants one.
pub fn carried(draft: &mut Draft<'_>, commit: &CommitId, run: &RunRef) {
    if let Some(forge) = hears(draft.world, &run.job) {
        write(draft, forge, &LetterKind::Carried { commit: commit.clone(), run: run.clone() });
    }
}

/// A run for a pull request ended, whose newer head it stands for: that is not written with the head.
fn carried_by_pull(draft: &mut Draft<'_>, run: &Run) {
    let Some(git_ref) = run.git_ref.as_ref().filter(|git_ref| git_ref.is_pull()) else { return };
    let place = (run.run.job.job.clone(), git_ref.clone());
    let Some(live) = draft.live(&run.run.job.pipeline) else { return };
    let decided = live.pulled.get(&place).copied().unwrap_or_default();
    let is_its = live.last_ran.get(&place).is_some_and(|last| last.run == run.run);
    let newest = live.sightings.get(git_ref).and_then(|row| row.last());
    let newer = newest.filter(|newest| newest.number == decided && newest.number > run.sighting);
    if let Some(commit) = newer.filter(|_| is_its).map(|newest| newest.commit.id.clone()) {
        carried(draft, &commit, &run.run);
    }
}

/// The host that hears of this job; `None` where there is none, or the job is not to be told of.
#[must_use]
pub fn hears(world: &World, key: &JobKey) -> Option<Forge> {
    // A job that was taken out of its file while it ran is told of as one that says nothing.
    if world.job(key).is_some_and(|job| job.marks == Marks::None) {
        return None;
    }
    let url = &world.pipeline(&key.pipeline)?.repo.as_ref()?.url;
    let forges = &world.scratch.catalog.settings.forges;
    let forge = forge::project_of(forges, url)?.forge;
    forges.get(&forge)?.credential.as_ref().map(|_| forge)
}

fn mark(draft: &mut Draft<'_>, run: &Run) {
    if run.commit.is_none() {
        return;
    }
    if let Some(forge) = hears(draft.world, &run.run.job) {
        write(draft, forge, &LetterKind::Mark { run: run.run.clone() });
    }
}

/// One that still waits to leave will say what holds then: it is enough.
fn write(draft: &mut Draft<'_>, forge: Forge, kind: &LetterKind) {
    let world = &draft.world;
    let same = |letter: &Letter| letter.kind == *kind && !world.scratch.sending.contains(&letter.id);
    if !world.letters.values().any(same) {
        draft.write_to(&[forge.word().to_owned()], kind);
    }
}

fn ping(draft: &mut Draft<'_>, run: &Run, at: PingAt) {
    // What a stranger asks to be taken in says nothing of the job's health.
    if run.is_pull() {
        return;
    }
    let wanted = draft.world.job(&run.run.job).is_some_and(|job| job.pings.contains_key(&at));
    if wanted {
        let to = format!("the ping-url of {}", run.run.job);
        draft.write_to(&[to], &LetterKind::Ping { run: run.run.clone(), at });
    }
}

/// Letters of one host leave one after the other, and none while it wants to be left alone.
#[must_use]
pub fn may_leave(world: &World, letter: &Letter) -> bool {
    if letter.kind.is_mail() {
        return true;
    }
    let sending = world.scratch.sending.iter().filter_map(|id| world.letters.get(id));
    !sending.into_iter().any(|other| other.to == letter.to)
}

/// A host said until when it wants to hear nothing: all letters to it wait so long.
pub fn hold(draft: &mut Draft<'_>, to: &str, until: crate::model::time::Timestamp) {
    let waits = |letter: &&Letter| letter.to == to && !letter.kind.is_mail();
    let held: Vec<_> = draft.world.letters.values().filter(waits).cloned().collect();
    for mut letter in held {
        if letter.hold(until) && !draft.world.scratch.sending.contains(&letter.id) {
            draft.put(Change::LetterPut(letter));
        }
    }
}
