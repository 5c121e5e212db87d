//! Pauses: nothing that they cover starts; what runs goes on. Every due time meanwhile has its row, and
//! when a pause ends the newest head runs: nothing is caught up in a burst.

use crate::model::event::{Change, Refusal, Reply};
use crate::model::name::JobKey;
use crate::model::pause::{Pause, Scope};
use crate::model::time::Timestamp;
use crate::pipeline::draft::Draft;
use crate::pipeline::world::World;

/// The pause that holds a job at an instant, the widest first.
#[must_use]
pub fn of<'w>(world: &'w World, job: &JobKey, at: Timestamp) -> Option<&'w Pause> {
    if world.pauses.is_empty() {
        return None;
    }
    let mut scopes = Scope::of(job).into_iter();
    scopes.find_map(|scope| world.pauses.get(&scope).filter(|pause| pause.holds(at)))
}

/// `shipbell pause`.
pub fn pause(draft: &mut Draft<'_>, scope: &Scope, until: Option<Timestamp>, note: &str, by: &str) -> Reply {
    let known = match scope {
        Scope::All => true,
        Scope::Pipeline(pipeline) => draft.world.pipeline(pipeline).is_some(),
        Scope::Job(job) => draft.world.job(job).is_some(),
    };
    if !known {
        return Reply::Refused(Refusal::NotFound(format!("there is no {}: shipbell status lists them", scope.told())));
    }
    if until.is_some_and(|until| until <= draft.now) {
        return Reply::Refused(Refusal::Conflict("a pause that ends in the past would be none".into()));
    }
    let pause = Pause { scope: scope.clone(), at: draft.now, until, note: note.to_owned(), by: by.to_owned() };
    let detail = pause.told();
    draft.put(Change::PausePut(pause));
    draft.note_by(by, "paused", &scope.told(), detail);
    Reply::Told(format!("{} is paused", scope.told()))
}

/// `shipbell resume`.
pub fn resume(draft: &mut Draft<'_>, scope: &Scope, by: &str) -> Reply {
    if !draft.world.pauses.contains_key(scope) {
        return Reply::Refused(Refusal::Conflict(format!("{} is not paused", scope.told())));
    }
    draft.put(Change::PauseOver { scope: scope.clone() });
    draft.note_by(by, "resumed", &scope.told(), "");
    draft.world.look_at_everything();
    Reply::Told(format!("{} goes on", scope.told()))
}
