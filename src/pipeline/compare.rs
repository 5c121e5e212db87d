//! Questions to git. What is not known is asked for once and waited for; facts about commits never change.

use std::sync::Arc;

use crate::model::commit::{CommitId, Comparison, Question, Relation};
use crate::model::event::Action;
use crate::model::name::PipelineName;
use crate::pipeline::draft::Draft;
use crate::pipeline::world::World;

/// Answers kept; past that the cache begins anew (asking again is cheap).
const KEPT: usize = 20_000;

/// How `head` stands to `base`, if it is known.
#[must_use]
pub fn known(
    world: &World,
    pipeline: &PipelineName,
    base: &CommitId,
    head: &CommitId,
) -> Option<Result<Arc<Comparison>, String>> {
    if base == head {
        return Some(Ok(Arc::new(nothing())));
    }
    let question = Question { pipeline: pipeline.clone(), base: base.clone(), head: head.clone() };
    world.scratch.comparisons.get(&question).cloned()
}

/// The same; what is not known is asked for.
pub fn ask(
    draft: &mut Draft<'_>,
    pipeline: &PipelineName,
    base: &CommitId,
    head: &CommitId,
) -> Option<Result<Arc<Comparison>, String>> {
    let answer = known(draft.world, pipeline, base, head);
    if answer.is_none() {
        let question = Question { pipeline: pipeline.clone(), base: base.clone(), head: head.clone() };
        if draft.world.scratch.asked.insert(question.clone()) {
            draft.actions.push(Action::Ask(question));
        }
    }
    answer
}

/// An answer came.
pub fn answered(draft: &mut Draft<'_>, question: &Question, answer: &Result<Arc<Comparison>, String>) {
    let scratch = &mut draft.world.scratch;
    scratch.asked.remove(question);
    if scratch.comparisons.len() >= KEPT {
        scratch.comparisons.clear();
    }
    scratch.comparisons.insert(question.clone(), answer.clone());
    scratch.dirty.insert(question.pipeline.clone());
    // Triggers by needs are looked at per commit: the one that was asked about is looked at again.
    scratch.heat(&question.pipeline, &question.head);
}

/// The repository was reached: what git could not answer before is asked anew by whoever waits for it.
pub fn forget_failures(draft: &mut Draft<'_>, pipeline: &PipelineName) {
    let scratch = &mut draft.world.scratch;
    let failed = |asked: &Question, answer: &Result<_, _>| asked.pipeline == *pipeline && answer.is_err();
    let mut hot = Vec::new();
    for (asked, _) in scratch.comparisons.extract_if(.., |asked, answer| failed(asked, answer)) {
        scratch.dirty.insert(asked.pipeline.clone());
        hot.push(asked);
    }
    for asked in hot {
        scratch.heat(&asked.pipeline, &asked.head);
    }
}

fn nothing() -> Comparison {
    Comparison {
        relation: Relation::Same,
        adds: Vec::new(),
        adds_total: 0,
        takes_back: Vec::new(),
        takes_back_total: 0,
        files: Some(Vec::new()),
        insertions: 0,
        deletions: 0,
    }
}
