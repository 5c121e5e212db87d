//! When a letter that could not be sent is tried again. Sending is the shell's; rendering `report`'s.

use crate::model::event::{Action, Change};
use crate::model::letter::{Letter, LetterState};
use crate::model::time::{Seconds, Timestamp, is_ahead};
use crate::pipeline::draft::Draft;
use crate::pipeline::telling;

/// First delay; it doubles each time.
const FIRST: u64 = 30;
/// Longest delay.
const LONGEST: u64 = 3600;
/// After this long a letter is given up; `status` shows it.
const GIVE_UP: Seconds = Seconds(7 * 86_400);

/// 30 s, doubled each time up to an hour, 20 % earlier or later by the letter's number.
#[must_use]
pub fn next_try(attempts: u32, letter: u64, now: Timestamp) -> Timestamp {
    let base = FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(10)).min(LONGEST);
    let jitter = (letter.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % 41;
    Seconds(base * (80 + jitter) / 100).after(now)
}

/// A letter left.
pub fn sent(draft: &mut Draft<'_>, id: u64) {
    if let Some(letter) = draft.world.letters.get(&id).cloned() {
        let state = LetterState::Sent { at: draft.now };
        draft.put(Change::LetterPut(Letter { attempts: letter.attempts + 1, state, ..letter }));
    }
}

/// A letter did not leave. `again`: its receiver said when to come again.
pub fn failed(draft: &mut Draft<'_>, id: u64, why: &str, for_good: bool, again: Option<Timestamp>) {
    let Some(letter) = draft.world.letters.get(&id).cloned() else { return };
    let attempts = letter.attempts + 1;
    let too_old = GIVE_UP.after(letter.created_at) < draft.now;
    let state = if for_good || too_old {
        LetterState::Dead { at: draft.now, why: why.to_owned() }
    } else {
        let not_before = again.unwrap_or_else(|| next_try(attempts, id, draft.now));
        LetterState::Waiting { not_before, last_error: Some(why.to_owned()) }
    };
    if matches!(state, LetterState::Dead { .. }) {
        draft.note("undelivered", &format!("letter {id} to {}", letter.to), why);
    }
    let to = letter.to.clone();
    draft.put(Change::LetterPut(Letter { attempts, state, ..letter }));
    if let Some(again) = again {
        telling::hold(draft, &to, again);
    }
}

/// Letters whose time has come; gives the next instant at which one is due.
pub fn plan(draft: &mut Draft<'_>) -> Option<Timestamp> {
    let mut next: Option<Timestamp> = None;
    for letter in draft.world.letters.values() {
        let LetterState::Waiting { not_before, .. } = letter.state else { continue };
        if draft.world.scratch.sending.contains(&letter.id) {
            continue;
        }
        // A host may ask for a longer wait than ours; none is longer than a letter lives.
        if !is_ahead(not_before, GIVE_UP, draft.now) {
            if letter.is_to_committers() {
                draft.actions.push(Action::FindAuthors { letter: letter.id });
                draft.world.scratch.sending.insert(letter.id);
            } else if telling::may_leave(draft.world, letter) {
                draft.actions.push(Action::Send { letter: letter.id });
                draft.world.scratch.sending.insert(letter.id);
            }
        } else {
            next = Some(next.map_or(not_before, |next| next.min(not_before)));
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_to_an_hour() {
        let now = Timestamp::UNIX_EPOCH;
        for (attempts, least, most) in [(1, 24, 36), (2, 48, 72), (3, 96, 144), (9, 2880, 4320), (60, 2880, 4320)] {
            for letter in 0..50 {
                let delay = next_try(attempts, letter, now).as_second();
                assert!((least..=most).contains(&delay), "{attempts} {letter}: {delay}");
            }
        }
    }
}
