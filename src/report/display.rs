//! Hostile text made safe to show. Output of jobs, commit messages and answers of servers may hold escape
//! codes, control characters and marks that turn or hide text. What comes out of here has none of them:
//! of the control characters only newline and tab are left. Colours are dropped as well; whoever wants
//! the bytes has the raw log.

use std::fmt::Write as _;

/// What stands where something was taken out that a reader ought to know of.
const MARK: char = '\u{fffd}';

/// An escape sequence that does not end within this many characters is no sequence: its text is shown.
const SEQUENCE_MAX: usize = 512;

/// Text of several lines, for a terminal or a mail.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = rest.get(c.len_utf8()..).unwrap_or_default();
        rest = match c {
            '\u{1b}' => after_escape(after),
            '\u{9b}' => after_csi(after).unwrap_or(after),
            '\r' => {
                // A progress bar writes over its own line; here each state of it is a line.
                if !after.starts_with('\n') && !out.ends_with('\n') {
                    out.push('\n');
                }
                after
            }
            '\n' | '\t' => {
                out.push(c);
                after
            }
            '\u{2028}' | '\u{2029}' => {
                out.push('\n');
                after
            }
            _ if hides(c) => after,
            _ if c.is_control() || turns(c) => {
                out.push(MARK);
                after
            }
            _ => {
                out.push(c);
                after
            }
        };
    }
    out
}

/// The same for bytes that may not be UTF-8.
#[must_use]
pub fn plain_bytes(bytes: &[u8]) -> String {
    plain(&String::from_utf8_lossy(bytes))
}

/// Text of one line, at most `max` characters: for subjects, names and table cells.
#[must_use]
pub fn line(text: &str, max: usize) -> String {
    let cleaned = plain(text);
    let mut words = String::with_capacity(cleaned.len());
    for word in cleaned.split_whitespace() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    shorten(&words, max)
}

/// At most `max` characters; the last one says that there were more.
#[must_use]
pub fn shorten(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(max.saturating_sub(1)).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

/// Cleaned text as HTML: nothing in it is markup.
#[must_use]
pub fn html(text: &str) -> String {
    escape(&plain(text))
}

/// Bytes of a log as HTML.
#[must_use]
pub fn html_log(bytes: &[u8]) -> String {
    escape(&plain_bytes(bytes))
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// A URL's path segment: everything but unreserved characters in percent form.
#[must_use]
pub fn url_segment(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// Marks that reverse the order of what is shown.
fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Characters without a shape: two texts that look the same would differ.
fn hides(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// What follows an ESC, less the sequence that it begins.
fn after_escape(rest: &str) -> &str {
    let mut chars = rest.chars();
    match chars.next() {
        Some('[') => after_csi(chars.as_str()).unwrap_or(chars.as_str()),
        Some(']' | 'P' | 'X' | '^' | '_') => after_string(chars.as_str()).unwrap_or(chars.as_str()),
        // nF: intermediates, then one final.
        Some(' '..='/') => {
            let end = rest.trim_start_matches(|c| (' '..='/').contains(&c));
            end.strip_prefix(|c: char| ('0'..='~').contains(&c)).unwrap_or(end)
        }
        Some('0'..='~') => chars.as_str(),
        _ => rest,
    }
}

/// Parameters, intermediates, one final. `None`: it was none.
fn after_csi(rest: &str) -> Option<&str> {
    let end = rest.find(|c: char| !(' '..='?').contains(&c)).filter(|&end| end <= SEQUENCE_MAX)?;
    rest.get(end..)?.strip_prefix(|c: char| ('@'..='~').contains(&c))
}

/// A string that ends with BEL or ST (titles, links, clipboard writes). `None`: it was none, and
/// its text is shown, so that nobody can swallow the rest of a log with an open one.
fn after_string(rest: &str) -> Option<&str> {
    let end = rest.find(['\u{7}', '\u{1b}', '\u{9c}', '\n']).filter(|&end| end <= SEQUENCE_MAX)?;
    let rest = rest.get(end..)?;
    rest.strip_prefix(['\u{7}', '\u{9c}']).or_else(|| rest.strip_prefix("\u{1b}\\"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sequences_go_and_text_stays() {
        for (raw, shown) in [
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}[38;5;196;1mx\u{1b}[K", "x"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("\u{1b}]8;;https://evil.example\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}]52;c;ZXZpbA==", "52;c;ZXZpbA=="),
            ("\u{1b}]0;open\nnext line", "0;open\nnext line"),
            ("\u{1b}Pq#0\u{1b}\\x", "x"),
            ("\u{9b}2Jx", "x"),
            ("\u{1b}(Bx\u{1b}cy", "xy"),
            ("\u{1b}", ""),
            ("\u{1b}[", ""),
            ("\u{1b}\u{1b}[1mx", "x"),
            ("\u{1b}[31\nm", "31\nm"),
            ("10%\r20%\rdone\r\n", "10%\n20%\ndone\n"),
            ("a\u{8}\u{0}b\u{7f}\u{85}", "a\u{fffd}\u{fffd}b\u{fffd}\u{fffd}"),
            ("user\u{202e}txt.exe", "user\u{fffd}txt.exe"),
            ("pay\u{200b}pal\u{feff}", "paypal"),
            ("größe 大きさ\t✓", "größe 大きさ\t✓"),
        ] {
            assert_eq!(plain(raw), shown, "{raw:?}");
        }
        assert_eq!(plain_bytes(b"ok \xff\xfe \xc3"), "ok \u{fffd}\u{fffd} \u{fffd}");
    }

    #[test]
    fn one_line_is_one_line() {
        assert_eq!(line("fix\r\nBcc: all@example.org\n\n x", 80), "fix Bcc: all@example.org x");
        assert_eq!(line("abcdefgh", 5), "abcd…");
        assert_eq!(line("abc defgh", 5), "abc…");
        assert_eq!(line("\u{1b}[2J\u{2028}\u{200b}", 5), "");
        assert_eq!(html_log(b"<script>\"&'\x1b[1m"), "&lt;script&gt;&quot;&amp;&#39;");
        assert_eq!(url_segment("a b/ü"), "a%20b%2F%C3%BC");
    }

    /// Bits from which attacks are made, so that random texts meet in their middles.
    fn hostile() -> impl Strategy<Value = String> {
        let bits = prop_oneof![
            Just("\u{1b}".to_owned()),
            Just("\u{1b}[".to_owned()),
            Just("\u{1b}]".to_owned()),
            Just("\u{9b}".to_owned()),
            Just("\u{7}".to_owned()),
            Just("\u{1b}\\".to_owned()),
            Just("\r".to_owned()),
            Just("\n".to_owned()),
            Just("<a href='x'>".to_owned()),
            Just("\u{202e}".to_owned()),
            Just("\u{200b}".to_owned()),
            "[0-9;]{0,4}[@-~]",
            any::<char>().prop_map(String::from),
        ];
        prop::collection::vec(bits, 0..40).prop_map(|bits| bits.concat())
    }

    fn is_safe(text: &str) -> bool {
        text.chars().all(|c| matches!(c, '\n' | '\t') || !(c.is_control() || turns(c) || hides(c)))
    }

    proptest! {
        #[test]
        fn nothing_dangerous_comes_out(text in hostile()) {
            let cleaned = plain(&text);
            prop_assert!(is_safe(&cleaned), "{:?} gave {:?}", text, cleaned);
            prop_assert_eq!(plain(&cleaned), cleaned.clone(), "cleaning twice is cleaning once");
            let html = html_log(text.as_bytes());
            prop_assert!(is_safe(&html) && !html.contains(['<', '>', '"', '\'']), "{:?} gave {:?}", text, html);
            let line = line(&text, 20);
            prop_assert!(is_safe(&line) && !line.contains(['\n', '\t']) && line.chars().count() <= 20);
        }

        #[test]
        fn any_bytes_can_be_shown(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(is_safe(&plain_bytes(&bytes)));
        }
    }
}
