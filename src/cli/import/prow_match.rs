//! Prow's regular expressions of branches and paths as globs, where they say the same. What cannot be said
//! exactly is not guessed: `None`.

/// A branch's expression. True: it was not held at both ends, so that Prow matches more than the name.
pub(super) fn branch(regex: &str) -> Option<(String, bool)> {
    let begins = regex.strip_prefix('^');
    let inner = begins.unwrap_or(regex);
    let ends = inner.strip_suffix('$');
    let inner = ends.unwrap_or(inner);
    let (body, tail) = match inner.strip_suffix("/.*").or_else(|| inner.strip_suffix("/.+")) {
        Some(body) => (body, "/**"),
        None => match inner.strip_suffix(".*") {
            Some(body) => (body, "*"),
            None => (inner, ""),
        },
    };
    let name = literal(body)?;
    // Without an end it goes on: `^release-` matches release-1.0.
    let open = begins.is_none() || (ends.is_none() && tail.is_empty());
    Some((name + tail, open)).filter(|(name, _)| !name.is_empty())
}

/// An expression of changed files.
pub(super) fn paths(regex: &str) -> Option<Vec<String>> {
    let regex = match regex.strip_prefix("^(").and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) if !inner.contains(['(', ')']) => {
            let each = inner.split('|').map(|one| path(&format!("^{one}")));
            return each.collect::<Option<Vec<_>>>();
        }
        _ => regex,
    };
    let parts: Vec<String> = match regex.split_once("^(").or_else(|| regex.split_once('(')) {
        Some(("", rest)) => {
            let (inner, after) = rest.split_once(')')?;
            let start = if regex.starts_with('^') { "^" } else { "" };
            inner.split('|').map(|one| format!("{start}{one}{after}")).collect()
        }
        Some(_) => return None,
        None => regex.split('|').map(str::to_owned).collect(),
    };
    parts.iter().map(|part| path(part)).collect()
}

fn path(regex: &str) -> Option<String> {
    let (begins, inner) = regex.strip_prefix('^').map_or((false, regex), |inner| (true, inner));
    let (ends, inner) = inner.strip_suffix('$').map_or((false, inner), |inner| (true, inner));
    let (open, body) = match inner.strip_suffix(".*") {
        Some(body) => (true, body),
        None => (false, inner),
    };
    let text = literal(body)?;
    match (begins, ends && !open) {
        _ if text.is_empty() => None,
        (true, true) => Some(text),
        (true, false) if text.ends_with('/') => Some(format!("{text}**")),
        // `\.go$`
        (false, true) if text.starts_with('.') && !text.contains('/') => Some(format!("**/*{text}")),
        _ => None,
    }
}

/// A text without anything that a regular expression or a glob would not take literally.
fn literal(regex: &str) -> Option<String> {
    let mut text = String::new();
    let mut escaped = false;
    for c in regex.chars() {
        match (escaped, c) {
            (false, '\\') => {
                escaped = true;
                continue;
            }
            (true, '.' | '-' | '/' | '_') => text.push(c),
            (false, c) if c.is_ascii_alphanumeric() || "-_/".contains(c) => text.push(c),
            // A dot that is meant as one: `v1.0`, `foo.yaml`.
            (false, '.') if !text.is_empty() => text.push(c),
            _ => return None,
        }
        escaped = false;
    }
    (!escaped).then_some(text)
}

#[cfg(test)]
mod tests {
    #[test]
    fn branches() {
        let exact = |text: &str| Some((text.to_owned(), false));
        for (regex, glob) in [
            ("^main$", exact("main")),
            ("main", Some(("main".into(), true))),
            ("^release-.*$", exact("release-*")),
            ("^release-1\\.30$", exact("release-1.30")),
            ("^feature/.*", exact("feature/**")),
            ("^(main|next)$", None),
            ("^release-\\d+$", None),
            ("^$", None),
        ] {
            assert_eq!(super::branch(regex), glob, "{regex}");
        }
    }

    #[test]
    fn paths_of_changes() {
        for (regex, globs) in [
            ("^dns/zone-configs/", Some(vec!["dns/zone-configs/**"])),
            ("^(config|images)/", Some(vec!["config/**", "images/**"])),
            ("\\.go$", Some(vec!["**/*.go"])),
            ("^go.mod$|^go.sum$", Some(vec!["go.mod", "go.sum"])),
            ("^docs/.*", Some(vec!["docs/**"])),
            ("docs", None),
            ("^docs", None),
            ("^(a(b|c))/", None),
            ("", None),
        ] {
            let globs = globs.map(|globs| globs.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(super::paths(regex), globs, "{regex}");
        }
    }
}
