//! Text of strangers (commit messages, names, what a server or git printed) made fit to be shown on
//! one line: no control or direction-changing character, no password, a bounded length. Escaping for
//! HTML or mail headers is left to those edges.

/// Longest subject and author, in characters.
pub(super) const TEXT_MAX: usize = 200;

/// One line of at most `max` characters; what is not valid or not fit to print becomes U+FFFD.
pub(super) fn line(bytes: &[u8], max: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut chars = text.trim().chars().map(shown);
    let mut kept: String = chars.by_ref().take(max).collect();
    if chars.next().is_some() {
        kept.pop();
        kept.push('…');
    }
    kept
}

/// The first line of a message that has anything in it.
pub(super) fn subject(message: &[u8]) -> String {
    let first = message.split(|&c| c == b'\n').find(|line| !line.trim_ascii().is_empty());
    line(first.unwrap_or_default(), TEXT_MAX)
}

fn shown(c: char) -> char {
    match c {
        '\t' => ' ',
        // Direction marks and overrides, line and paragraph separators, invisible joiners: they change
        // what the reader believes to read.
        '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
            char::REPLACEMENT_CHARACTER
        }
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

/// What git said, in one line: the lines that tell the reason, without the advice that follows.
pub(super) fn stderr(bytes: &[u8]) -> String {
    const MAX: usize = 400;
    let text = String::from_utf8_lossy(bytes);
    let dull = |line: &str| {
        line.is_empty()
            || line.starts_with("hint:")
            || line.starts_with("Please make sure you have the correct access rights")
            || line.starts_with("and the repository exists")
            || line.starts_with("fatal: Could not read from remote repository")
            || line.starts_with("fatal: the remote end hung up")
    };
    let all = || text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
    let mut told: Vec<&str> = all().filter(|line| !dull(line)).collect();
    if told.is_empty() {
        told = all().filter(|line| !line.starts_with("hint:")).collect();
    }
    // The reason stands at the end; a server may have said a lot before.
    let last = told.get(told.len().saturating_sub(4)..).unwrap_or_default();
    line(without_passwords(&last.join("; ")).as_bytes(), MAX)
}

/// `https://user:secret@host` with everything before the `@` hidden, wherever it stands in a text.
pub(super) fn without_passwords(text: &str) -> String {
    let mut rest = text;
    let mut out = String::with_capacity(text.len());
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let end = after.find(|c: char| c == '/' || c.is_whitespace() || c == '\'' || c == '"').unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((user, host)) if before.ends_with("http") || before.ends_with("https") || user.contains(':') => {
                out.push_str("***@");
                out.push_str(host);
            }
            _ => out.push_str(authority),
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_text_becomes_one_plain_line() {
        for (bytes, expected) in [
            (&b"fix\n\nlong body"[..], "fix"),
            (b"\n\n  late subject  \nx", "late subject"),
            (b"", ""),
            (b"bad \xff utf8", "bad \u{fffd} utf8"),
            (b"\x1b[31mred\x1b]0;title\x07", "\u{fffd}[31mred\u{fffd}]0;title\u{fffd}"),
            (b"a\tb\rc", "a b\u{fffd}c"),
            ("swap \u{202e}txt\u{200b}".as_bytes(), "swap \u{fffd}txt\u{fffd}"),
            ("c1 \u{9b}31m".as_bytes(), "c1 \u{fffd}31m"),
        ] {
            assert_eq!(subject(bytes), expected, "{bytes:?}");
        }
        let long = subject("é".repeat(300).as_bytes());
        assert_eq!((long.chars().count(), long.ends_with('…')), (200, true));
        assert_eq!(subject("é".repeat(200).as_bytes()).chars().count(), 200);
    }

    #[test]
    fn passwords_are_never_shown() {
        for (text, expected) in [
            (
                "fatal: unable to access 'https://me:s3cret@h/x.git/': no",
                "fatal: unable to access 'https://***@h/x.git/': no",
            ),
            ("https://token@h", "https://***@h"),
            ("https://a:p@ss@h/x and http://b:c@d", "https://***@h/x and http://***@d"),
            ("ssh://git@host/x", "ssh://git@host/x"),
            ("ssh://git:pw@host/x", "ssh://***@host/x"),
            ("no url", "no url"),
        ] {
            assert_eq!(without_passwords(text), expected);
        }
    }

    #[test]
    fn what_git_said_is_the_reason_without_advice() {
        let text = b"git@h: Permission denied (publickey).\r\nfatal: Could not read from remote repository.\n\n\
            Please make sure you have the correct access rights\nand the repository exists.\n";
        assert_eq!(stderr(text), "git@h: Permission denied (publickey).");
        assert_eq!(
            stderr(b"fatal: the remote end hung up unexpectedly\n"),
            "fatal: the remote end hung up unexpectedly"
        );
    }
}
