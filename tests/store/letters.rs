//! Letters of every kind and state, new ones and old ones that went on, for the writer of made-up changes.

use shipbell::model::event::Change;
use shipbell::model::letter::{Letter, LetterKind, LetterState};
use shipbell::pipeline::world::World;

use super::{TEXT, Writer, time};

impl Writer {
    pub fn letter(&mut self, world: &World) -> Change {
        let old = self.letters.values().cloned().collect::<Vec<_>>();
        let old = self.random.pick(&old).filter(|_| self.second.is_multiple_of(2)).cloned();
        let mut letter = old.unwrap_or_else(|| Letter {
            id: world.last_letter.max(self.letters.keys().last().copied().unwrap_or(0)) + 1,
            kind: self.letter_kind(),
            to: TEXT.into(),
            note: self.random.one_in(2).then(|| TEXT.into()),
            created_at: self.now(),
            state: LetterState::Waiting { not_before: self.now(), last_error: None },
            attempts: 0,
        });
        letter.attempts += 1;
        letter.state = match self.random.below(4) {
            0 => LetterState::Sent { at: self.now() },
            1 => LetterState::Dead { at: self.now(), why: TEXT.into() },
            _ => LetterState::Waiting { not_before: self.now(), last_error: Some(TEXT.into()) },
        };
        self.letters.insert(letter.id, letter.clone());
        Change::LetterPut(letter)
    }

    fn letter_kind(&mut self) -> LetterKind {
        let (request, run, slot) = (self.random.below(9), self.old_run(), "slot".into());
        match self.random.below(11) {
            0 => LetterKind::Approval { request, slot },
            1 => LetterKind::Decided { request },
            2 => LetterKind::Failure { run },
            3 => LetterKind::Recovery { run },
            4 => LetterKind::Unknown { run },
            5 => LetterKind::Stale { job: run.job },
            6 => LetterKind::Fresh { run },
            7 => LetterKind::Long { run },
            8 => LetterKind::Rests { request, until: time(7) },
            9 => LetterKind::Carried { commit: self.commit(), run },
            _ => LetterKind::Unsatisfiable { request },
        }
    }
}
