//! `@committers`: who of those that wrote commits since the last success is mailed. Author lines are the
//! words of strangers: an address is used only where it is plain, and never more than [`TOLD_MAX`] of one
//! run. Which commits those are, git and the database say; what the mail says is `report`'s.

use std::collections::BTreeSet;

use crate::model::catalog::{Catalog, Person};
use crate::model::commit::Authors;
use crate::model::event::Change;
use crate::model::letter::{COMMITTERS, Letter, LetterState};
use crate::pipeline::draft::{Draft, listeners};
use crate::pipeline::outbox;

/// A rewritten branch or a merged fork can bring thousands of authors: no more than these are mailed.
pub const TOLD_MAX: usize = 20;

/// Longest address that every mail server takes.
const ADDRESS_MAX: usize = 254;

/// Ends of names that no mail server outside of one house answers for: git makes such addresses up from the
/// host's name where nobody told it a better one.
const HOME_NAMES: &[&str] = &["internal", "invalid", "lan", "local", "localdomain", "localhost"];

/// Whom a run's end is mailed to besides those whom `notify` names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chosen {
    /// Those of the newest commits first.
    pub told: Vec<String>,
    /// Further ones, who could be told and are not.
    pub left_out: usize,
    /// There are still more, who were not looked at.
    pub more: bool,
    /// Authors to whose address nothing can go.
    pub unusable: usize,
}

/// Chooses among the authors; `others` hear of it anyway.
#[must_use]
pub fn choose(catalog: &Catalog, authors: &Authors, others: &[String]) -> Chosen {
    let mut chosen = Chosen { more: authors.more, ..Chosen::default() };
    let mut seen: BTreeSet<String> = others.iter().map(|to| bare(to).to_ascii_lowercase()).collect();
    for mail in &authors.mails {
        let person = catalog.people.values().find(|person: &&Person| person.wrote(mail));
        let to = match person {
            Some(person) => person.email.clone(),
            None if is_plain(mail) => mail.clone(),
            None => {
                chosen.unusable += 1;
                continue;
            }
        };
        if !seen.insert(to.to_ascii_lowercase()) {
            continue;
        }
        if chosen.told.len() < TOLD_MAX {
            chosen.told.push(to);
        } else {
            chosen.left_out += 1;
        }
    }
    chosen
}

/// It is known who wrote the commits, or why not: the letter to all of them becomes one to each.
pub fn found(draft: &mut Draft<'_>, id: u64, authors: &Result<Authors, String>) {
    let waits = |letter: &&Letter| letter.is_to_committers() && matches!(letter.state, LetterState::Waiting { .. });
    // The answer may come twice, after a restart: the second finds nothing to do.
    let Some(letter) = draft.world.letters.get(&id).filter(waits).cloned() else { return };
    let Some(run) = letter.kind.run().cloned() else { return };
    let authors = match authors {
        Ok(authors) => authors,
        Err(why) => return outbox::failed(draft, id, why, false, None),
    };
    let catalog = draft.world.scratch.catalog.clone();
    let others: Vec<String> = listeners(draft.world, &run.job).into_iter().filter(|to| to != COMMITTERS).collect();
    let chosen = choose(&catalog, authors, &others);
    draft.write_because(&chosen.told, &letter.kind, Some(&note_of(&chosen)));
    // Somebody has to hear of it.
    if chosen.told.is_empty() && others.is_empty() {
        draft.write_to(&catalog.settings.mail.to, &letter.kind);
    }
    draft.note("committers", &run, journal_of(&chosen));
    let state = LetterState::Sent { at: draft.now };
    draft.put(Change::LetterPut(Letter { attempts: letter.attempts + 1, state, ..letter }));
}

/// What the mail says of why it came.
fn note_of(chosen: &Chosen) -> String {
    let why = "You get this because it has commits of yours that the last success did not have.";
    match (chosen.left_out, chosen.more) {
        (0, false) => why.to_owned(),
        (0, true) => format!("{why} There are more authors than were looked at."),
        (more, _) => {
            let least = if chosen.more { "more than " } else { "" };
            let are = if more == 1 { "is" } else { "are" };
            format!(
                "{why} {} authors are told, those of the newest commits; {least}{more} further {are} not.",
                chosen.told.len()
            )
        }
    }
}

fn journal_of(chosen: &Chosen) -> String {
    let mut text = match chosen.told.len() {
        0 => "nobody who wrote commits since the last success can be told".to_owned(),
        1 => "1 author of commits since the last success is told".to_owned(),
        many => format!("{many} authors of commits since the last success are told"),
    };
    if chosen.left_out > 0 || chosen.more {
        let least = if chosen.more { "more than " } else { "" };
        text += &format!(", {least}{} further are not: at most {TOLD_MAX} are", chosen.left_out);
    }
    if chosen.unusable > 0 {
        text += &format!(", {} without a usable address", chosen.unusable);
    }
    text
}

/// The address in `Ops <ops@example.org>`.
fn bare(to: &str) -> &str {
    to.split_once('<').and_then(|(_, rest)| rest.strip_suffix('>')).unwrap_or(to)
}

/// Whether mail may go to what an author line calls an address: plain letters (no quoting, no routes, no
/// options of a mailer), a full name of a host, and somebody who reads it.
#[must_use]
pub fn is_plain(mail: &str) -> bool {
    let Some((local, domain)) = mail.split_once('@') else { return false };
    let of_local = |c: u8| c.is_ascii_alphanumeric() || b"._+-=".contains(&c);
    let good_local = (1..=64).contains(&local.len())
        && local.bytes().all(of_local)
        && !local.starts_with(['.', '-'])
        && !local.ends_with('.')
        && !local.contains("..");
    let of_label = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
    let good_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(of_label)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let labels: Vec<String> = domain.split('.').map(str::to_ascii_lowercase).collect();
    let good_end = labels.last().is_some_and(|end| {
        end.len() >= 2 && !HOME_NAMES.contains(&end.as_str()) && end.bytes().any(|c| c.is_ascii_alphabetic())
    });
    mail.len() <= ADDRESS_MAX
        && good_local
        && labels.len() >= 2
        && labels.iter().all(|label| good_label(label))
        && good_end
        && !is_mute(&local.to_ascii_lowercase(), &labels)
}

/// `noreply@…` and `…@users.noreply.github.com` are read by nobody.
fn is_mute(local: &str, labels: &[String]) -> bool {
    let word = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    let mute = |text: &str| ["noreply", "donotreply"].contains(&word(text).as_str());
    mute(local.split('+').next().unwrap_or(local)) || labels.iter().any(|label| mute(label))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        let person = |email: &str, git: &[&str]| Person {
            email: email.into(),
            git: git.iter().map(|&mail| mail.to_owned()).collect(),
            login: None,
            roles: Vec::new(),
            ssh_keys: Vec::new(),
            totp: None,
        };
        let people = [
            ("anna", person("anna@example.org", &["anna@laptop.local", "1+anna@users.noreply.github.com"])),
            ("ben", person("ben@example.org", &[])),
        ];
        let people = people.into_iter().map(|(name, person)| (name.parse().unwrap(), person)).collect();
        Catalog { people, ..Catalog::default() }
    }

    fn authors(mails: &[&str]) -> Authors {
        Authors { mails: mails.iter().map(|&mail| mail.to_owned()).collect(), more: false }
    }

    #[test]
    fn people_are_known_by_all_their_addresses_and_told_once() {
        let wrote =
            authors(&["Anna@Laptop.local", "chen@example.net", "1+anna@users.noreply.github.com", "BEN@example.org"]);
        let chosen = choose(&catalog(), &wrote, &["Ops <ben@example.org>".to_owned()]);
        assert_eq!(chosen.told, ["anna@example.org", "chen@example.net"], "ben is told anyway");
        assert_eq!((chosen.left_out, chosen.unusable, chosen.more), (0, 0, false));
    }

    #[test]
    fn addresses_of_strangers_are_plain_or_not_used() {
        for good in ["chen@example.org", "c.h+ci=x_y-z@mail.sub.example.co", "a@b.de", "noreplyer@example.org"] {
            assert!(is_plain(good), "{good}");
        }
        let long = format!("{}@example.org", "a".repeat(65));
        let deep = format!("a@{}org", "abcdefghij.".repeat(25));
        for bad in [
            "",
            "@",
            "chen",
            "chen@",
            "@example.org",
            "chen@localhost",
            "chen@laptop.local",
            "root@ip-10-0-0-1.internal",
            "chen@(none)",
            "chen@[127.0.0.1]",
            "chen@127.0.0.1",
            "chen@example",
            "chen@example..org",
            "chen@-example.org",
            "chen@exam_ple.org",
            "chen@example.org.",
            "a@b@example.org",
            "-oQ/tmp@example.org",
            ".a@example.org",
            "a..b@example.org",
            "|/bin/sh@example.org",
            "victim%example.com@example.org",
            "host!user@example.org",
            "\"a b\"@example.org",
            "a b@example.org",
            "a@example.org\r\nBcc: all@example.org",
            "a@example.org,b@example.org",
            "<a@example.org>",
            "ch\u{e9}n@example.org",
            "chen@ex\u{430}mple.org",
            "noreply@github.com",
            "No-Reply+x@example.org",
            "do_not_reply@example.org",
            "1+chen@users.noreply.github.com",
            "49699333+dependabot[bot]@users.noreply.github.com",
            &long,
            &deep,
        ] {
            assert!(!is_plain(bad), "{bad}");
            assert_eq!(choose(&Catalog::default(), &authors(&[bad]), &[]).unusable, 1);
        }
    }

    #[test]
    fn of_thousands_the_newest_are_told_and_the_rest_counted() {
        let mails = (0..5000).map(|n| format!("author{n}@example.org")).collect();
        let chosen = choose(&catalog(), &Authors { mails, more: false }, &[]);
        assert_eq!((chosen.told.len(), chosen.left_out), (TOLD_MAX, 5000 - TOLD_MAX));
        assert_eq!(chosen.told.first().map(String::as_str), Some("author0@example.org"));
        assert!(note_of(&chosen).ends_with("20 authors are told, those of the newest commits; 4980 further are not."));
        let more = Chosen { more: true, ..chosen };
        assert!(note_of(&more).ends_with("more than 4980 further are not."));
        assert!(journal_of(&more).ends_with("more than 4980 further are not: at most 20 are"), "{}", journal_of(&more));
    }

    proptest::proptest! {
        #[test]
        fn what_is_used_can_stand_in_an_envelope(mail in "\\PC{0,40}|[a-z<>\"|%!@. \\r\\n-]{0,40}") {
            if is_plain(&mail) {
                let legal = |c: char| c.is_ascii_alphanumeric() || "._+-=@".contains(c);
                proptest::prop_assert!(mail.chars().all(legal) && mail.matches('@').count() == 1);
                proptest::prop_assert!(!mail.starts_with('-'));
            }
        }
    }
}
