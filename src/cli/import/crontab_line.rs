//! The lines of a crontab, as Debian's cron and cronie take them apart: comments, variables, entries of five
//! fields or an `@` word, the user's column of the system form, and `%` in commands.

/// A line, without its blanks at both ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Blank,
    Comment(&'a str),
    Variable(String, String),
    Entry(Entry<'a>),
    /// Cron refuses it too.
    Wrong(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// The five fields, or one word with `@`.
    pub when: Vec<&'a str>,
    /// The system form's sixth field.
    pub user: Option<&'a str>,
    /// Up to the first `%`.
    pub command: String,
    /// What follows that, for standard input.
    pub input: Option<String>,
    /// It began with `-`: nothing to syslog.
    pub quiet: bool,
}

/// Reads one line. `system`: a user stands before the command.
pub(super) fn read(line: &str, system: bool) -> Line<'_> {
    let line = line.trim_end_matches('\r').trim_matches([' ', '\t']);
    if line.is_empty() {
        return Line::Blank;
    }
    if let Some(comment) = line.strip_prefix('#') {
        return Line::Comment(comment.trim());
    }
    if let Some((name, value)) = variable(line) {
        return Line::Variable(name, value);
    }
    entry(line, system).map_or_else(Line::Wrong, Line::Entry)
}

/// `NAME = value`, with either side in quotes.
fn variable(line: &str) -> Option<(String, String)> {
    let quote = line.chars().next().filter(|c| matches!(c, '"' | '\''));
    let (name, rest) = match quote {
        Some(quote) => line.get(1..)?.split_once(quote)?,
        None => line.split_at(line.find([' ', '\t', '='])?),
    };
    let value = rest.trim_start_matches([' ', '\t']).strip_prefix('=')?.trim_matches([' ', '\t']);
    let inner = value.chars().next().filter(|c| matches!(c, '"' | '\'')).and_then(|quote| {
        let inner = value.strip_prefix(quote)?.strip_suffix(quote)?;
        (value.len() >= 2).then_some(inner)
    });
    (!name.is_empty()).then(|| (name.to_owned(), inner.unwrap_or(value).to_owned()))
}

/// The next word and what follows it.
fn shift(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches([' ', '\t']);
    let end = text.find([' ', '\t']).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn entry(line: &str, system: bool) -> Result<Entry<'_>, String> {
    let (line, quiet) = line.strip_prefix('-').map_or((line, false), |rest| (rest, true));
    let mut rest = line;
    let mut when = Vec::new();
    while when.len() < 5 {
        let Some((word, after)) = shift(rest) else {
            return Err("neither an entry of five fields nor a variable".into());
        };
        when.push(word);
        rest = after;
        if word.starts_with('@') && when.len() == 1 {
            break;
        }
    }
    let user = match system {
        true => {
            let (word, after) = shift(rest).ok_or("no user and no command in this entry")?;
            rest = after;
            Some(word)
        }
        false => None,
    };
    let rest = rest.trim_start_matches([' ', '\t']);
    if rest.is_empty() || rest.starts_with("* ") {
        return Err("no command in this entry".into());
    }
    let (command, input) = percent(rest);
    Ok(Entry { when, user, command, input, quiet })
}

/// The first bare `%` ends the command, later ones are line ends of its input; `\%` is a `%`.
fn percent(text: &str) -> (String, Option<String>) {
    let (mut command, mut input, mut escaped) = (String::new(), None::<String>, false);
    for c in text.chars() {
        if c == '%' && !escaped && input.is_none() {
            input = Some(String::new());
            continue;
        }
        let out = input.as_mut().unwrap_or(&mut command);
        match (escaped, c) {
            (true, '%') => {
                out.pop();
                out.push('%');
            }
            (false, '%') => out.push('\n'),
            _ => out.push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    let input = input.map(|text| if text.is_empty() || text.ends_with('\n') { text } else { text + "\n" });
    (command.trim_end().to_owned(), input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        let variable = |name: &str, value: &str| Line::Variable(name.into(), value.into());
        for (line, read) in [
            ("", Line::Blank),
            ("  # a comment", Line::Comment("a comment")),
            ("MAILTO=\"\"", variable("MAILTO", "")),
            ("  FOO =  a b  ", variable("FOO", "a b")),
            ("\"FOO\"='x '", variable("FOO", "x ")),
            ("X=\"a", variable("X", "\"a")),
            ("=x", Line::Wrong("neither an entry of five fields nor a variable".into())),
            ("1 2 3", Line::Wrong("neither an entry of five fields nor a variable".into())),
            ("1 2 3 4 5", Line::Wrong("no command in this entry".into())),
        ] {
            assert_eq!(super::read(line, false), read, "{line}");
        }
    }

    #[test]
    fn entries_and_their_percent_signs() {
        for (line, system, command, input) in [
            ("* * * * * A=b x", false, "A=b x", None),
            ("@daily root run-parts /x", true, "run-parts /x", None),
            ("0 22 * * 1-5\tmail joe%Joe,%%Where?%", false, "mail joe", Some("Joe,\n\nWhere?\n")),
            ("0 0 * * * date +\\%F", false, "date +%F", None),
            ("0 0 * * * a\\\\%b\\%", false, "a\\\\", Some("b%\n")),
            ("0 0 * * * cat%", false, "cat", Some("")),
        ] {
            let Line::Entry(entry) = read(line, system) else { panic!("{line}") };
            assert_eq!((entry.command.as_str(), entry.input.as_deref()), (command, input), "{line}");
            assert_eq!(entry.user, system.then_some("root"));
        }
    }
}
