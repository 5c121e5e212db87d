//! What is paused: for `status`, and as a fact of `why`.

use crate::model::name::JobKey;
use crate::model::pause::Pause;
use crate::model::time::Timestamp;
use crate::model::view::{AttentionKind, AttentionView, FactView, PauseView};

use super::World;

/// Whether its end has not come. One whose end has come may still be in the World.
pub(super) fn lives(pause: &Pause, now: Timestamp) -> bool {
    pause.until.is_none_or(|until| until > now)
}

pub(super) fn view(pause: &Pause) -> PauseView {
    PauseView {
        scope: pause.scope.to_string(),
        by: pause.by.clone(),
        note: pause.note.clone(),
        since: pause.at,
        until: pause.until,
    }
}

/// Everything that is paused now, the widest first.
pub(super) fn all(world: &World) -> Vec<Pause> {
    world.pauses.values().cloned().collect()
}

/// What is paused now.
pub(super) fn paused(world: &World, now: Timestamp) -> Vec<PauseView> {
    world.pauses.values().filter(|pause| lives(pause, now)).map(view).collect()
}

/// Pauses without an end: somebody must remember them.
pub(super) fn attention(world: &World) -> Vec<AttentionView> {
    let endless = world.pauses.values().filter(|pause| pause.until.is_none());
    let say = |pause: &Pause| {
        let why = if pause.note.is_empty() { String::new() } else { format!(": {}", pause.note) };
        AttentionView {
            since: Some(pause.at),
            command: Some(pause.scope.resume()),
            ..super::attention::one(AttentionKind::Paused, &pause.scope.told(), format!("PAUSED by {}{why}", pause.by))
        }
    };
    endless.map(say).collect()
}

/// The pause that holds a job now.
pub(super) fn of(world: &World, key: &JobKey, now: Timestamp) -> Option<FactView> {
    let pause = crate::pipeline::pause::of(world, key, now)?;
    let until = if pause.until.is_some() { ", until" } else { ", since" };
    Some(FactView {
        label: "paused".into(),
        subject: pause.scope.told(),
        text: format!("{}{until}", pause.told()),
        at: Some(pause.until.unwrap_or(pause.at)),
        now: true,
        ..FactView::default()
    })
}
