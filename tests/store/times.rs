//! Changes about the clock: due times, cursors, pauses and how jobs have been going.

use shipbell::model::event::Change;
use shipbell::model::job::Hash;
use shipbell::model::ledger::{Cursor, DueVerdict, LedgerRow};
use shipbell::model::pause::{Pause, Scope};
use shipbell::model::pulse::Pulse;
use shipbell::model::time::Seconds;
use shipbell::pipeline::world::World;

use crate::writer::{TEXT, Writer, time};

impl Writer {
    pub fn ledger(&mut self, world: &World) -> Change {
        let job = self.job();
        if let Some(old) = world.ledger.get(&job).filter(|_| self.second.is_multiple_of(2)) {
            return Change::LedgerPut(LedgerRow { last: self.now(), count: old.count + 1, ..old.clone() });
        }
        let verdict = match self.random.below(3) {
            0 => DueVerdict::Run(self.old_run()),
            1 => DueVerdict::Coalesced(self.old_run()),
            _ => DueVerdict::Skipped(TEXT.into()),
        };
        // Also due times that lie before the newest row: the clock may have been stepped.
        let first = time(self.random.below(self.second + 1));
        Change::LedgerPut(LedgerRow { job, first, last: first, count: 1, verdict })
    }

    pub fn cursor(&mut self) -> Change {
        Change::CursorPut(Cursor {
            job: self.job(),
            schedule: Hash::of(b"0 2 * * *"),
            since: self.now(),
            decided: self.now(),
            ran: self.random.one_in(2).then(|| self.now()),
            boot: self.random.one_in(2).then(|| TEXT.into()),
            ahead: self.random.one_in(3).then(|| self.now()),
        })
    }

    pub fn scope(&mut self) -> Scope {
        match self.random.below(3) {
            0 => Scope::All,
            1 => Scope::Pipeline(self.pipeline()),
            _ => Scope::Job(self.job()),
        }
    }

    pub fn pause(&mut self) -> Change {
        let until = self.random.one_in(2).then(|| self.now());
        Change::PausePut(Pause { scope: self.scope(), at: self.now(), until, note: TEXT.into(), by: TEXT.into() })
    }

    pub fn pulse(&mut self) -> Change {
        Change::PulsePut(Pulse {
            job: self.job(),
            since: self.now(),
            last_success: self.random.one_in(2).then(|| self.now()),
            stale_told: self.random.one_in(2).then(|| self.now()),
            long_told: self.random.one_in(2).then(|| self.old_run()),
            took: (0..self.random.below(4)).map(Seconds).collect(),
        })
    }
}
