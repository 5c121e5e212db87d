//! Whether an order fits the definition that it names, and the file that `[init] source` names. The
//! executor trusts the definition, which it read itself, and nothing of the order beyond that.

use std::io::Read as _;

use crate::model::commit::RefName;
use crate::model::job::{Definition, Hash, Sandbox, Workspace};
use crate::model::secret::EnvValue;
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

/// The definition as it is carried out. What a pull request brings was written by anyone: it is given no
/// secret, nothing that is kept and no network, whatever the file says and whoever asked for the run.
///
/// # Errors
/// A text for people: why it is not carried out for a pull request at all.
pub fn as_carried_out(order: &StartOrder, definition: &Definition) -> Result<Definition, String> {
    let mut carried = definition.clone();
    if !order.git_ref.as_ref().is_some_and(RefName::is_pull) {
        return Ok(carried);
    }
    if !definition.pulls || definition.deploys() || !definition.needs.is_empty() {
        return Err(format!("{}: {} runs for no pull request", order.run, definition.key));
    }
    carried.secrets.clear();
    if let Some(init) = &mut carried.init {
        init.secret = None;
    }
    let steps = carried.steps.iter_mut().flat_map(|step| step.env.values_mut());
    for value in carried.env.values_mut().chain(steps) {
        if !matches!(value, EnvValue::Plain(_)) {
            *value = EnvValue::Plain(String::new());
        }
    }
    carried.sandbox = Sandbox::Offline;
    carried.workspace = Workspace::Fresh;
    Ok(carried)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A job that asks for everything, as its file says it.
    fn definition() -> Definition {
        serde_json::from_value(serde_json::json!({
            "v": 1, "key": "app/test", "repo": { "url": "/srv/app.git", "commits": "latest", "history": true },
            "refs": { "branches": ["main"], "tags": [] }, "pulls": true, "schedule": [], "every": null,
            "catch_up": "once", "catch_up_window": 0, "overlap": "queue", "unchanged": "run", "needs": [],
            "manual": false, "params": {}, "repo_paths": [], "paths": [], "pools": [],
            "init": { "run": "make init", "config": "c.json", "source": null, "secret": "config" },
            "steps": [{ "name": "a", "run": "true", "timeout": null, "always": false, "dir": null,
                        "env": { "B": { "secret": "token" } } }],
            "dir": null, "shell": ["sh", "-c"], "env": { "A": { "file": "key" }, "C": "plain" }, "user": null,
            "timeout": 60, "grace": 10, "retry": { "attempts": 1, "delay": 0 }, "artifacts": [],
            "environment": null, "verify": null, "on_interrupted": "retry", "log_limit": 1000,
            "secrets": ["key"], "sandbox": "off", "workspace": "keep",
        }))
        .unwrap()
    }

    fn order(git_ref: &str) -> StartOrder {
        serde_json::from_value(serde_json::json!({
            "run": "app/test#1", "attempt": 1, "commit": "a".repeat(40), "git_ref": git_ref, "mirror": "/m",
            "deployed": null, "definition": "x", "params": {}, "cause": { "manual": { "by": "root" } }, "needs": [],
            "public_url": "http://h",
        }))
        .unwrap()
    }

    #[test]
    fn a_pull_request_is_given_no_secret_and_no_network_whatever_the_file_says() {
        let file = definition();
        assert!(!file.secret_names().is_empty() && file.sandbox == Sandbox::Off);
        for git_ref in ["refs/pull/7/head", "refs/merge-requests/7/head"] {
            let carried = as_carried_out(&order(git_ref), &file).unwrap();
            assert!(carried.secret_names().is_empty(), "{:?}", carried.secret_names());
            assert_eq!((carried.sandbox, carried.workspace), (Sandbox::Offline, Workspace::Fresh));
            assert_eq!(carried.env["A"], EnvValue::Plain(String::new()));
            assert_eq!(carried.env["C"], EnvValue::Plain("plain".into()));
        }
        assert_eq!(as_carried_out(&order("refs/heads/pull/7/head"), &file).unwrap(), file, "a branch of that name");
    }

    #[test]
    fn a_pull_request_is_refused_by_definitions_that_take_none() {
        let pull = order("refs/pull/7/head");
        let mut none = definition();
        none.pulls = false;
        assert!(as_carried_out(&pull, &none).unwrap_err().contains("runs for no pull request"));
        let mut downstream = definition();
        downstream.needs = vec!["image".parse().unwrap()];
        assert!(as_carried_out(&pull, &downstream).is_err());
    }
}
