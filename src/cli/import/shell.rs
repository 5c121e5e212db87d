//! Shell text: a command given as words becomes one that a shell takes apart into just these words.

/// Characters that mean nothing to a shell.
fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_@%+:,./-".contains(c)
}

/// One word. Whoever reads the file sees `${{` as a mistaken interpolation and refuses it, so that is parted.
pub(super) fn word(text: &str) -> String {
    if !text.is_empty() && text.chars().all(|c| plain(c) || c == '=') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''").replace("${{", "$''{{"))
}

/// A command of words. A first word with `=` would be an assignment, one like `if` a keyword.
pub(super) fn command(words: &[String]) -> String {
    let mut text = Vec::new();
    for (index, one) in words.iter().enumerate() {
        let bare = one.chars().all(plain) && !KEYWORDS.contains(&one.as_str());
        text.push(if index == 0 && !bare { forced(one) } else { word(one) });
    }
    text.join(" ")
}

const KEYWORDS: &[&str] =
    &["if", "then", "else", "elif", "fi", "do", "done", "case", "esac", "while", "until", "for", "in", "function"];

fn forced(text: &str) -> String {
    match word(text) {
        quoted if quoted.starts_with('\'') => quoted,
        bare => format!("'{bare}'"),
    }
}

/// A word in which `$(NAME)` stands for a variable, as Kubernetes reads it: `known` are replaced by the
/// shell, others stay as they are; `$$(NAME)` is the text `$(NAME)`.
pub(super) fn expanding(text: &str, known: impl Fn(&str) -> bool) -> String {
    let (mut quoted, mut literal, mut rest) = (String::new(), String::new(), text);
    while let Some(at) = rest.find('$') {
        literal.push_str(rest.get(..at).unwrap_or_default());
        rest = rest.get(at..).unwrap_or_default();
        if let Some(after) = rest.strip_prefix("$$") {
            literal.push('$');
            rest = after;
            continue;
        }
        let name = rest.strip_prefix("$(").and_then(|inner| inner.split_once(')'));
        match name {
            Some((name, after)) if known(name) => {
                if !literal.is_empty() {
                    quoted.push_str(&word(&literal));
                    literal.clear();
                }
                quoted.push_str(&format!("\"${{{name}}}\""));
                rest = after;
            }
            _ => {
                literal.push('$');
                rest = rest.get(1..).unwrap_or_default();
            }
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() || quoted.is_empty() {
        quoted.push_str(&word(&literal));
    }
    quoted
}

/// The same in a text that is shell already: where Kubernetes would put the value, the shell does.
pub(super) fn expanding_script(text: &str, known: impl Fn(&str) -> bool) -> String {
    let (mut script, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('$') {
        script.push_str(rest.get(..at).unwrap_or_default());
        rest = rest.get(at..).unwrap_or_default();
        let name = rest.strip_prefix("$(").and_then(|inner| inner.split_once(')'));
        if let Some(after) = rest.strip_prefix("$$") {
            script.push('$');
            rest = after;
        } else if let Some((name, after)) = name.filter(|(name, _)| known(name)) {
            script.push_str(&format!("${{{name}}}"));
            rest = after;
        } else {
            script.push('$');
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    script + rest
}

/// A command that is shell already, as the text of a step.
pub(super) fn step(command: &str) -> String {
    if command.contains("${{") { format!("eval {}", word(command)) } else { command.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_of_shell(text: &str, env: &[(&str, &str)]) -> Vec<String> {
        let script = format!("set -- {text}\nfor word in \"$@\"; do printf '%s\\0' \"$word\"; done");
        let mut shell = std::process::Command::new("sh");
        let output = shell.arg("-c").arg(script).envs(env.iter().copied()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    #[test]
    fn a_shell_reads_back_the_words() {
        let words: Vec<String> =
            ["a", "", "b c", "it's", "$HOME", "`x`", "\\", "a\nb", "*", "~", "X=1", "${{ x }}", "é", "#"]
                .map(String::from)
                .into();
        let quoted: Vec<String> = words.iter().map(|text| word(text)).collect();
        assert_eq!(words_of_shell(&quoted.join(" "), &[]), words);
        assert!(!quoted.join(" ").contains("${{"));
        assert_eq!(command(&["make".into(), "X=1".into()]), "make X=1");
        assert_eq!(command(&["X=1".into(), "a b".into()]), "'X=1' 'a b'");
        assert_eq!(command(&["if".into()]), "'if'");
    }

    #[test]
    fn kubernetes_variables_become_those_of_the_shell() {
        let known = |name: &str| name == "DIR";
        for (text, read) in [
            ("--out=$(DIR)/x y", "--out=/a b/x y"),
            ("$$(DIR)", "$(DIR)"),
            ("$(OTHER)", "$(OTHER)"),
            ("$DIR", "$DIR"),
            ("$(DIR)$(DIR)", "/a b/a b"),
            ("$(", "$("),
            ("", ""),
        ] {
            assert_eq!(words_of_shell(&expanding(text, known), &[("DIR", "/a b")]), [read], "{text}");
        }
    }
}
