//! Whether an order fits the definition that it names, and the file that `[init] source` names. The
//! executor trusts the definition, which it read itself, and nothing of the order beyond that.

use std::io::Read as _;

use crate::model::job::{Definition, Hash};
use crate::model::ticket::StartOrder;

/// A config larger than this is none.
const CONFIG_MAX: u64 = 16 << 20;

/// # Errors
/// A text for people: why this order is never accepted.
pub fn check(order: &StartOrder, definition: &Definition) -> Result<(), String> {
    let (run, job) = (&order.run, &definition.key);
    if run.job != *job {
        return Err(format!("{run} cannot run the definition of {job}"));
    }
    if order.attempt == 0 {
        return Err(format!("{run}: attempts are counted from 1"));
    }
    match (&definition.repo, &order.commit, &order.mirror) {
        (Some(_), Some(_), Some(mirror)) if !mirror.is_absolute() => {
            return Err(format!("{run}: the path of its mirror is not absolute: {}", mirror.display()));
        }
        (Some(_), Some(_), Some(_)) | (None, None, None) => {}
        (Some(_), _, _) => return Err(format!("{run}: its definition has a repository, its order no commit of it")),
        (None, _, _) => return Err(format!("{run}: its order names a commit, its definition no repository")),
    }
    for need in &definition.needs {
        if !order.needs.iter().any(|upstream| upstream.job == *need) {
            return Err(format!("{run} needs {need}, and its order names no run of it"));
        }
    }
    check_params(order, definition)
}

fn check_params(order: &StartOrder, definition: &Definition) -> Result<(), String> {
    let run = &order.run;
    for (name, value) in &order.params {
        let Some(param) = definition.params.get(name) else {
            return Err(format!("{run}: its definition has no param {name}"));
        };
        if value.contains('\0') {
            return Err(format!("{run}: param {name} has a NUL in it"));
        }
        let Some(pattern) = &param.pattern else { continue };
        let whole = regex_lite::Regex::new(&format!("^(?:{pattern})$"))
            .map_err(|_| format!("{run}: the pattern of param {name} is no regular expression"))?;
        if !whole.is_match(value) {
            return Err(format!("{run}: param {name} does not match {pattern}"));
        }
    }
    for (name, param) in &definition.params {
        if param.default.is_none() && !order.params.contains_key(name) {
            return Err(format!("{run}: param {name} has no value"));
        }
    }
    Ok(())
}

/// The text of `[init] source`, if it is still the one that the definition was made of.
///
/// # Errors
/// A text for people.
pub fn init_config(definition: &Definition) -> Result<Option<String>, String> {
    let Some((path, hash)) = definition.init.as_ref().and_then(|init| init.source.as_ref()) else { return Ok(None) };
    let unread = |error: std::io::Error| format!("[init] source {} cannot be read: {error}", path.display());
    let mut text = Vec::new();
    std::fs::File::open(path).map_err(unread)?.take(CONFIG_MAX).read_to_end(&mut text).map_err(unread)?;
    if Hash::of(&text) != *hash {
        return Err(format!("[init] source {} changed since the job files were read: shipbell reload", path.display()));
    }
    let text = String::from_utf8(text).map_err(|_| format!("[init] source {} is not UTF-8", path.display()))?;
    Ok(Some(text))
}
