//! `shipbell totp NAME`: makes the seed of a person's codes, shows it once, as a picture for their phone and as
//! text, and puts it where only root reads it. Whether codes are asked for, and of whom, is said in shipbell.toml.

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;

use qrcodegen::{QrCode, QrCodeEcc};

use crate::clock;
use crate::config::layout::Layout;
use crate::config::{self, Trust};
use crate::model::name::PersonName;
use crate::model::secret::SecretName;
use crate::sys::{files, host};
use crate::totp::{Code, SEED_BYTES, Seed, step_at};

use super::args::TotpArgs;
use super::exit::{FAILED, Failure, NOT_ALLOWED, NOT_FOUND};
use super::paint::{Screen, WIDTH};
use super::vote::typed;

/// Cells of light around the picture; readers want four, and find it with two.
const MARGIN: i32 = 2;

pub(super) fn totp(layout: &Layout, screen: &Screen, asked: &TotpArgs) -> Result<ExitCode, Failure> {
    let person = &asked.person;
    let (secret, is_named) = secret_of(layout, person)?;
    let path = layout.secrets().join(secret.as_str());
    may_write(layout, &path, asked)?;
    let mut bytes = [0; SEED_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| Failure::other(format!("no random bytes from the system: {error}")))?;
    let seed = Seed::new(bytes);
    screen.print(&shown(&seed, person, screen))?;
    if std::io::stdin().is_terminal() && !confirmed(screen, &seed)? {
        return Err(Failure::new(
            FAILED,
            format!("nothing was kept: remove it from the phone, and see {person}'s clock"),
        ));
    }
    keep(&layout.secrets(), &path, &seed)?;
    let mut text = format!("\nThe seed is in {}. It is shown this once.\n", path.display());
    if !is_named {
        let file = layout.shipbell_toml();
        text.push_str(&format!("Add to [person.{person}] in {}, then `shipbell reload`:\n", file.display()));
        text.push_str(&format!("  totp = \"{secret}\"\n"));
    }
    screen.print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The secret that shipbell.toml names for this person, or the one that it should; and which of both.
fn secret_of(layout: &Layout, person: &PersonName) -> Result<(SecretName, bool), Failure> {
    let loaded = config::load(layout, &Trust::root_and_self(), &config::last_good::read(&layout.last_good()));
    let people = &loaded.catalog.people;
    let Some(known) = people.get(person) else {
        let names = people.keys().map(PersonName::as_str).collect::<Vec<_>>().join(", ");
        let names = if names.is_empty() { "nobody is".to_owned() } else { format!("there are: {names}") };
        let file = layout.shipbell_toml();
        let text = format!("there is no [person.{person}] in {}; {names}\n  shipbell check", file.display());
        return Err(Failure::new(NOT_FOUND, text));
    };
    if let Some(secret) = &known.totp {
        return Ok((secret.clone(), true));
    }
    let secret = SecretName::new(&format!("totp-{person}")).map_err(|error| Failure::usage(error.to_string()))?;
    Ok((secret, false))
}

/// Said before a seed is shown that could not be kept.
fn may_write(layout: &Layout, path: &Path, asked: &TotpArgs) -> Result<(), Failure> {
    if layout.root.is_none() && host::effective_uid() != 0 {
        let text = format!("only root may give {} codes\n  sudo shipbell totp {0}", asked.person);
        return Err(Failure::new(NOT_ALLOWED, text));
    }
    match path.symlink_metadata() {
        Ok(_) if !asked.replace => {
            let text = format!(
                "{} has a seed: {}\n  a new one, by which the old phone's codes count no more: shipbell totp {0} --replace",
                asked.person,
                path.display()
            );
            Err(Failure::new(FAILED, text))
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::other(format!("{} cannot be looked at: {error}", path.display())))
        }
        _ => Ok(()),
    }
}

fn keep(dir: &Path, path: &Path, seed: &Seed) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::other(format!("{} cannot be written: {error}", path.display()));
    if !dir.exists() {
        files::own_dir(dir, 0o700, None).map_err(failed)?;
    }
    files::write_whole(path, format!("{}\n", seed.text()).as_bytes(), 0o600).map_err(failed)
}

/// For a phone that reads pictures, and for one whose owner types.
fn shown(seed: &Seed, person: &PersonName, screen: &Screen) -> String {
    let uri = seed.uri(&format!("Shipbell {}", host::hostname()), person.as_str());
    // Who passes it on wants one line, and so does a name that is too long for a picture.
    let picture = std::io::stdout().is_terminal().then(|| picture(&uri, screen.colour)).flatten();
    let Some(picture) = picture else { return format!("{uri}\n") };
    let text = seed.text();
    let groups: Vec<String> =
        text.as_bytes().chunks(4).map(|four| String::from_utf8_lossy(four).into_owned()).collect();
    format!(
        "{person}'s phone reads this, in any app for codes (TOTP, six digits, 30 seconds):\n\n{picture}\n\
         Or type it there:  {}\n",
        groups.join(" ")
    )
}

/// Two rows of cells in one line of text, dark on light: in colours where there are any, else as a terminal
/// with a dark ground shows it.
fn picture(text: &str, colour: bool) -> Option<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Low).ok()?;
    let cells = -MARGIN..code.size() + MARGIN;
    if cells.len() > WIDTH {
        return None;
    }
    let light = |x: i32, y: i32| !code.get_module(x, y);
    let mut drawn = String::new();
    for y in cells.clone().step_by(2) {
        let line: String = cells
            .clone()
            .map(|x| match (light(x, y), light(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            })
            .collect();
        drawn.push_str(&if colour { format!("\x1b[97;40m{line}\x1b[0m\n") } else { format!("{line}\n") });
    }
    Some(drawn)
}

/// Whether the phone and this host agree; an empty line is taken for yes.
fn confirmed(screen: &Screen, seed: &Seed) -> Result<bool, Failure> {
    for _ in 0..3 {
        screen.print("\nThe code that the phone shows now (Enter alone: do not check): ")?;
        let line = typed()?;
        if line.is_empty() {
            return Ok(true);
        }
        let step = step_at(clock::now().as_second());
        let around = step.saturating_sub(20)..=step + 20;
        let hits = Code::read(&line).map(|code| seed.steps_of(code, around)).unwrap_or_default();
        if hits.iter().any(|hit| hit.abs_diff(step) <= 1) {
            screen.print("It is right.\n")?;
            return Ok(true);
        }
        let said = match hits.first() {
            Some(hit) => {
                let apart = crate::model::time::Seconds(hit.abs_diff(step) * crate::totp::STEP);
                let which = if *hit > step { "ahead" } else { "behind" };
                format!("The phone's clock is {apart} {which} of this host's, or this host's is wrong: date -u\n")
            }
            None => "That is not it.\n".to_owned(),
        };
        screen.print(&said)?;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_fits_the_terminal_and_has_light_around_it() {
        let uri = Seed::new([9; SEED_BYTES]).uri(&format!("Shipbell {}", "h".repeat(40)), &"n".repeat(40));
        let drawn = picture(&uri, false).unwrap();
        let lines: Vec<&str> = drawn.lines().collect();
        assert!(
            lines.iter().all(|line| line.chars().count() == lines[0].chars().count() && line.chars().count() <= 80)
        );
        assert!(lines[0].chars().all(|c| c == '█') && lines[1].starts_with("██") && lines.len() <= 40, "{drawn}");
        assert!(picture(&uri, true).unwrap().lines().all(|line| line.starts_with("\x1b[97;40m")));
        assert!(picture(&"x".repeat(2000), false).is_none());
    }
}
