//! Due times on their way into the ledger: stretches that share a fate share a row, so that a year of
//! missed minutes is written in a few.

use crate::model::event::Change;
use crate::model::ledger::{Cursor, DueVerdict, LedgerRow};
use crate::model::name::JobKey;
use crate::model::time::Timestamp;
use crate::pipeline::draft::Draft;

/// Due times that were found, in order.
#[derive(Default)]
pub struct Book {
    stretches: Vec<Stretch>,
    pub count: u64,
    /// The last one that may make a run.
    pub newest: Option<Timestamp>,
}

struct Stretch {
    first: Timestamp,
    before_last: Timestamp,
    last: Timestamp,
    count: u64,
    /// Why nothing comes of them; `None`: they share the newest one's run.
    never: Option<String>,
}

impl Book {
    pub fn add(&mut self, at: Timestamp, never: Option<String>) {
        self.count += 1;
        if never.is_none() {
            self.newest = Some(at);
        }
        match self.stretches.last_mut().filter(|stretch| stretch.never == never) {
            Some(stretch) => {
                (stretch.before_last, stretch.last) = (stretch.last, at);
                stretch.count += 1;
            }
            None => self.stretches.push(Stretch { first: at, before_last: at, last: at, count: 1, never }),
        }
    }

    /// Writes the rows and moves the cursor; `verdict` is what became of the newest one.
    pub fn write(self, draft: &mut Draft<'_>, key: &JobKey, verdict: Option<&DueVerdict>) {
        let Some(decided) = self.stretches.last().map(|stretch| stretch.last) else { return };
        for stretch in self.stretches {
            let Stretch { first, before_last, last, count, never } = stretch;
            match (never, verdict) {
                (Some(why), _) => record(draft, key, (first, last, count), DueVerdict::Skipped(why)),
                (None, Some(DueVerdict::Run(run))) if self.newest == Some(last) => {
                    if count > 1 {
                        record(draft, key, (first, before_last, count - 1), DueVerdict::Coalesced(run.clone()));
                    }
                    record(draft, key, (last, last, 1), DueVerdict::Run(run.clone()));
                }
                (None, Some(DueVerdict::Run(run))) => {
                    record(draft, key, (first, last, count), DueVerdict::Coalesced(run.clone()));
                }
                (None, Some(verdict)) => record(draft, key, (first, last, count), verdict.clone()),
                (None, None) => {}
            }
        }
        let Some(cursor) = draft.world.cursors.get(key).cloned() else { return };
        let ran = if let Some(DueVerdict::Run(_)) = verdict { self.newest } else { cursor.ran };
        draft.put(Change::CursorPut(Cursor { decided: cursor.decided.max(decided), ran, ..cursor }));
    }
}

/// Equal neighbours share a row.
fn record(draft: &mut Draft<'_>, key: &JobKey, of: (Timestamp, Timestamp, u64), verdict: DueVerdict) {
    let (first, last, count) = of;
    let row = match draft.world.ledger.get(key) {
        Some(old) if old.verdict == verdict && old.last < first && !matches!(verdict, DueVerdict::Run(_)) => {
            LedgerRow { last, count: old.count + count, ..old.clone() }
        }
        _ => LedgerRow { job: key.clone(), first, last, count, verdict },
    };
    draft.put(Change::LedgerPut(row));
}
