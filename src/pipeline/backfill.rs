//! Backfill: a run for each due time of a past stretch, because a person asks for it.

use crate::model::backfill::BackfillRequest;
use crate::model::event::{Refusal, Reply};
use crate::pipeline::draft::Draft;

/// `shipbell backfill JOB --from --to`.
pub fn backfill(draft: &mut Draft<'_>, request: &BackfillRequest) -> Reply {
    let _ = draft;
    Reply::Refused(Refusal::Conflict(format!("{} cannot be backfilled yet", request.job)))
}
