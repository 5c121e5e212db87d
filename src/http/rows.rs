//! Reads what a picture of the World needs beside the World. Blocking.

use crate::model::time::Timestamp;
use crate::pipeline::view::{RECENT, Rows, Wanted};
use crate::store::{Reader, RunFilter, StoreError};

/// The rows that `wanted` names.
///
/// # Errors
/// If the database cannot be read.
pub fn read(reader: &Reader, wanted: &Wanted, now: Timestamp) -> Result<Rows, StoreError> {
    let (undelivered, unrecorded) = (reader.undelivered(now)?, !reader.is_recording());
    let mut rows = Rows { undelivered, unrecorded, ..Rows::default() };
    for job in &wanted.jobs {
        let filter = RunFilter { job: Some(job.clone()), finished_only: true, limit: RECENT, ..RunFilter::default() };
        rows.recent.insert(job.clone(), reader.runs(&filter)?);
    }
    for run in &wanted.runs {
        if let Some(found) = reader.run(run)?.filter(|run| run.finished().is_some()) {
            rows.runs.insert(run.clone(), found);
        }
    }
    for (pipeline, commit) in &wanted.commits {
        if let Some(info) = reader.commit(pipeline, commit)? {
            rows.commits.insert((pipeline.clone(), commit.clone()), info);
        }
    }
    for job in &wanted.usual {
        if let Some(usual) = reader.usual(job)? {
            rows.usual.insert(job.clone(), usual);
        }
    }
    Ok(rows)
}
