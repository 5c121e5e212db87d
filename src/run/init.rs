//! Step 0, `init`: its config must be there and be valid JSON before anything is started. What is said
//! here is what a person reads first when a repository does not fit; it names the way out.

use std::io::Read as _;
use std::path::Path;

use crate::model::job::InitDef;
use crate::model::ticket::Ticket;
use crate::run::env::Places;
use crate::run::secrets::Secrets;
use crate::sys::files;

/// A config larger than this is none.
const CONFIG_MAX: u64 = 16 << 20;
/// Characters of a broken line that are shown.
const SHOWN_MAX: usize = 100;

/// Puts the config of `[init] source` or `[init] secret` in its place, if there is one. A secret one too
/// lies in the workspace: tools copy it from there, and follow no link to elsewhere.
///
/// # Errors
/// A text for people.
pub fn place_config(
    ticket: &Ticket,
    places: &Places,
    secrets: &Secrets,
    owner: Option<(u32, u32)>,
) -> Result<(), String> {
    use std::io::Write as _;
    let Some(init) = &ticket.definition.init else { return Ok(()) };
    let secret = init.secret.as_ref().and_then(|name| secrets.value(name));
    let (text, mode) = match (secret, &ticket.init_config) {
        (Some(secret), _) => (secret, 0o600),
        (None, Some(text)) => (text.as_bytes(), 0o644),
        (None, None) => return Ok(()),
    };
    let written = files::open_dir(&places.work)
        .and_then(|work| files::create_beneath(&work, Path::new(&init.config), mode, owner))
        .and_then(|mut file| file.write_all(text));
    written.map_err(|error| format!("the config of [init] could not be written to {}: {error}", init.config))
}

/// Whether `init` may begin.
///
/// # Errors
/// A text for people: what is wrong with the config, where, and what to do.
pub fn check_config(ticket: &Ticket, places: &Places) -> Result<(), String> {
    let Some(init) = &ticket.definition.init else { return Ok(()) };
    let work = files::open_dir(&places.work).map_err(|error| format!("the workspace cannot be read: {error}"))?;
    let file = match files::open_beneath(&work, Path::new(&init.config), true) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing(ticket, init, places)),
        Err(error) => {
            let what = format!("{} cannot be read: {error}", init.config);
            return Err(explain(&what, ticket, init, places));
        }
    };
    let mut text = Vec::new();
    file.take(CONFIG_MAX + 1)
        .read_to_end(&mut text)
        .map_err(|error| format!("{} cannot be read: {error}", init.config))?;
    if text.len() as u64 > CONFIG_MAX {
        return Err(explain(&format!("{} is larger than 16 MiB", init.config), ticket, init, places));
    }
    match serde_json::from_slice::<serde::de::IgnoredAny>(&text) {
        Ok(_) => Ok(()),
        Err(error) => Err(broken(&text, &error, ticket, init)),
    }
}

fn missing(ticket: &Ticket, init: &InitDef, places: &Places) -> String {
    let what = match &ticket.order.commit {
        Some(_) => format!("the commit has no {}", init.config),
        None => format!("there is no {}: this job checks nothing out", init.config),
    };
    explain(&what, ticket, init, places)
}

/// The facts and the ways out below the sentence that says what is wrong.
fn explain(what: &str, ticket: &Ticket, init: &InitDef, places: &Places) -> String {
    let mut lines = vec![what.to_owned()];
    lines.extend(origin(ticket));
    lines.push(format!("[init] in jobs.d/{}.toml runs `{}` with it.", ticket.order.run.job.pipeline, init.run));
    if !has_makefile(places) && init.run.split_whitespace().next() == Some("make") {
        lines.push("There is no Makefile in this commit either.".into());
    }
    lines.push(format!(
        "Put a file in place of it:  [init] source = \"/etc/shipbell/{}/init_config.json\"",
        ticket.order.run.job.pipeline
    ));
    lines.push("Another command:            [init] run = \"...\"        No init at all: remove [init]".into());
    lines.join("\n")
}

fn has_makefile(places: &Places) -> bool {
    ["GNUmakefile", "makefile", "Makefile"].iter().any(|name| places.work.join(name).exists())
}

fn origin(ticket: &Ticket) -> Option<String> {
    let commit = ticket.order.commit.as_ref()?;
    let url = ticket.definition.repo.as_ref().map_or("the repository", |repo| repo.url.as_str());
    Some(format!("commit {} of {url}", commit.short()))
}

fn broken(text: &[u8], error: &serde_json::Error, ticket: &Ticket, init: &InitDef) -> String {
    // serde_json's own text ends with the place, which stands in front here.
    let said = error.to_string();
    let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(what, _)| what);
    let (line, column) = (error.line(), error.column());
    let shown = text
        .split(|byte| *byte == b'\n')
        .nth(line.saturating_sub(1))
        .map(|line| {
            String::from_utf8_lossy(line).chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect::<String>()
        })
        .unwrap_or_default();
    let (source, secret) = (init.source.as_ref(), init.secret.as_ref());
    let mut lines = vec![format!("{}:{line}:{column}: this is not JSON: {said}", init.config)];
    if secret.is_none() {
        lines.push(format!("{line:>4} | {shown}"));
    }
    lines.extend(origin(ticket));
    lines.push(match (source, secret) {
        (_, Some(name)) => format!("It was put there from secret {name}: correct it there, then shipbell retry"),
        (Some((path, _)), None) => {
            format!("It was put there from {}: correct it there, then shipbell retry", path.display())
        }
        (None, None) => {
            "Correct it in the repository and push, or put a file in its place: [init] source = \"...\"".into()
        }
    });
    lines.push(format!("Try it here:  python3 -m json.tool {}", init.config));
    lines.join("\n")
}

/// What can be added to make's own words about a failed `init`.
#[must_use]
pub fn hint(init: &InitDef, output: &str, places: &Places) -> Option<String> {
    let no_target = output.contains("No rule to make target") && output.contains("'init'");
    // Without any Makefile make says the same of a named target, and this of none.
    let no_file = output.contains("no makefile found");
    let what = match (no_target || no_file, has_makefile(places)) {
        (true, false) => "this commit has no Makefile",
        (true, true) if no_target => "the Makefile of this commit has no target `init`",
        _ => return None,
    };
    Some(format!(
        "{what}: `{}` is what [init] runs\nAnother command:  [init] run = \"...\"        No init at all: remove [init]",
        init.run
    ))
}
