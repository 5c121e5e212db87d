//! Hostile text made safe to show. Output of jobs, commit messages and answers of servers may hold escape
//! codes, control characters and marks that turn or hide text. What comes out of here has none of them:
//! of the control characters only newline and tab are left. Of a log shown to people the colours may stay
//! (`style`); elsewhere they are dropped as well. Whoever wants the bytes has the raw log.

use std::fmt::Write as _;

use style::Style;

/// Colours of letters.
mod style;

/// What stands where something was taken out that a reader ought to know of.
const MARK: char = '\u{fffd}';

/// An escape sequence that does not end within this many characters is no sequence: its text is shown.
const SEQUENCE_MAX: usize = 512;

/// What hostile text is made of once it is taken apart.
enum Part<'a> {
    Text(&'a str),
    /// Something was taken out that a reader ought to know of.
    Mark,
    /// A line ends.
    Break,
    /// The parameters of a sequence that sets colours.
    Colour(&'a str),
}

/// Whether a byte is text that is shown as it is.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t')
}

/// How many bytes of plain text it begins with; sixteen at a time, as most of every log is that.
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u128 = u128::MAX / 0xff;
    let mut at = 0;
    while let Some(block) = bytes.get(at..).and_then(<[u8]>::first_chunk::<16>) {
        let block = u128::from_le_bytes(*block);
        // Below a space, above `~`, or beyond ASCII: each sets the highest bit of some byte.
        let odd = block.wrapping_sub(ONES * 0x20) | block | block.wrapping_add(ONES);
        if odd & (ONES * 0x80) != 0 {
            break;
        }
        at += 16;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|byte| !is_plain(*byte)).unwrap_or(rest.len())
}

/// Takes text apart. Most of it is told in long pieces: this is what a log of many megabytes costs.
fn take_apart<'a>(text: &'a str, mut tell: impl FnMut(Part<'a>)) {
    let (mut rest, mut at_begin) = (text, true);
    loop {
        let plain = plain_length(rest.as_bytes());
        let (shown, after) = rest.split_at_checked(plain).unwrap_or((rest, ""));
        if !shown.is_empty() {
            tell(Part::Text(shown));
            at_begin = false;
        }
        let Some(c) = after.chars().next() else { return };
        let behind = after.get(c.len_utf8()..).unwrap_or_default();
        rest = match c {
            '\u{1b}' => {
                let left = after_escape(behind);
                colours(behind.strip_prefix('['), left, &mut tell);
                left
            }
            '\u{9b}' => {
                let left = after_csi(behind).unwrap_or(behind);
                colours(Some(behind), left, &mut tell);
                left
            }
            // A progress bar writes over its own line; here each state of it is a line.
            '\r' if behind.starts_with('\n') || at_begin => behind,
            '\r' | '\n' | '\u{2028}' | '\u{2029}' => {
                tell(Part::Break);
                at_begin = true;
                behind
            }
            _ if hides(c) => behind,
            _ => {
                let harmless = !c.is_control() && !turns(c);
                let shown = after.get(..c.len_utf8()).unwrap_or_default();
                tell(if harmless { Part::Text(shown) } else { Part::Mark });
                at_begin = false;
                behind
            }
        };
    }
}

/// Tells of the sequence between the two, if it is one that sets colours.
fn colours<'a>(sequence: Option<&'a str>, left: &str, tell: &mut impl FnMut(Part<'a>)) {
    let taken = sequence.and_then(|sequence| sequence.get(..sequence.len().saturating_sub(left.len())));
    let parameters = taken.and_then(|taken| taken.strip_suffix('m'));
    let numbers = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b';' | b':'));
    if let Some(parameters) = parameters.filter(numbers) {
        tell(Part::Colour(parameters));
    }
}

/// Text of several lines, for a terminal or a mail.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    take_apart(text, |part| match part {
        Part::Text(text) => out.push_str(text),
        Part::Mark => out.push(MARK),
        Part::Break => out.push('\n'),
        Part::Colour(_) => {}
    });
    out
}

/// Text of several lines with its colours, for a terminal that has some.
#[must_use]
pub fn coloured(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let (mut wanted, mut shown) = (Style::default(), Style::default());
    take_apart(&text, |part| {
        if let Part::Colour(parameters) = part {
            wanted = wanted.after(parameters);
            return;
        }
        if matches!(part, Part::Break) {
            // No line colours the next one, which may be somebody else's.
            wanted = Style::default();
        }
        if wanted != shown {
            wanted.write_ansi(&mut out);
            shown = wanted;
        }
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Mark => out.push(MARK),
            Part::Break => out.push('\n'),
            Part::Colour(_) => {}
        }
    });
    if !shown.is_plain() {
        Style::default().write_ansi(&mut out);
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

/// Bytes of a log as HTML, with its colours.
#[must_use]
pub fn html_log(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let (mut wanted, mut shown, mut open) = (Style::default(), Style::default(), false);
    take_apart(&text, |part| {
        if let Part::Colour(parameters) = part {
            wanted = wanted.after(parameters);
            return;
        }
        if matches!(part, Part::Break) {
            wanted = Style::default();
        }
        if wanted != shown {
            if open {
                out.push_str("</b>");
            }
            open = wanted.write_html(&mut out);
            shown = wanted;
        }
        match part {
            Part::Text(text) => escape_into(text, &mut out),
            Part::Mark => out.push(MARK),
            Part::Break => out.push('\n'),
            Part::Colour(_) => {}
        }
    });
    if open {
        out.push_str("</b>");
    }
    out
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    escape_into(text, &mut out);
    out
}

fn escape_into(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
        out.push_str(rest.get(..at).unwrap_or_default());
        out.push_str(match rest.as_bytes().get(at) {
            Some(b'&') => "&amp;",
            Some(b'<') => "&lt;",
            Some(b'>') => "&gt;",
            Some(b'"') => "&quot;",
            _ => "&#39;",
        });
        rest = rest.get(at + 1..).unwrap_or_default();
    }
    out.push_str(rest);
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
        assert_eq!(html("a<b>&\x1b[1m"), "a&lt;b&gt;&amp;");
        assert_eq!(url_segment("a b/ü"), "a%20b%2F%C3%BC");
    }

    /// Character by character it took twelve seconds for sixty megabytes, without optimization.
    #[test]
    fn a_large_log_is_taken_apart_in_long_pieces() {
        let line = "2026-11-22T12:00:00Z \u{1b}[32mINFO\u{1b}[0m compiled src/größe.rs in 12.5 s, <ok> & done\n";
        let text = line.repeat((8 << 20) / line.len());
        let begin = std::time::Instant::now();
        let shown = plain(&text);
        let took = begin.elapsed();
        println!("8 MB in {took:?}");
        assert_eq!(shown.len(), text.len() - 9 * (text.len() / line.len()));
        assert!(took < std::time::Duration::from_secs(10), "{took:?}");
        for length in 0..40 {
            for odd in ["\u{7f}", "\u{80}", "\u{1f}", "\n", "é", "~", " "] {
                let text = format!("{}{odd}{}", "a".repeat(length), "b".repeat(20));
                let end = if odd.len() == 1 && is_plain(odd.as_bytes()[0]) { text.len() } else { length };
                assert_eq!(plain_length(text.as_bytes()), end, "{text:?}");
            }
        }
    }

    #[test]
    fn of_all_sequences_only_colours_of_letters_stay() {
        for (raw, shown) in [
            ("\u{1b}[31mred\u{1b}[0m.", "\u{1b}[0;31mred\u{1b}[0m."),
            ("\u{1b}[1;92mok\n still?", "\u{1b}[0;1;92mok\u{1b}[0m\n still?"),
            ("\u{1b}[38;5;208mx", "\u{1b}[0;38;5;208mx\u{1b}[0m"),
            ("\u{9b}33mx", "\u{1b}[0;33mx\u{1b}[0m"),
            ("\u{1b}[8mhidden\u{1b}[5mx\u{1b}[41my", "hiddenxy"),
            ("\u{1b}[48;5;31m\u{1b}[38;2;1;31;5mx", "x"),
            ("\u{1b}[31;;1m\u{1b}[?31m\u{1b}[>1mx", "\u{1b}[0;1mx\u{1b}[0m"),
            ("\u{1b}[31m\u{1b}]0;t\u{7}\u{1b}[2J\u{1b}[1Ax", "\u{1b}[0;31mx\u{1b}[0m"),
            ("\u{1b}[31m\u{1b}[39mx", "x"),
        ] {
            assert_eq!(coloured(raw.as_bytes()), shown, "{raw:?}");
            assert_eq!(plain(&coloured(raw.as_bytes())), plain(raw), "{raw:?}");
        }
        let html = html_log(b"\x1b[1;31m<err>\x1b[0m\n\x1b[32mok\n\x1b[1mb\x1b[38;5;99mc");
        assert_eq!(html, "<b class=\"c1\">&lt;err&gt;</b>\n<b class=\"c2 thin\">ok</b>\n<b>b</b><b>c</b>");
    }

    /// What `html_log` may add, taken away again.
    fn without_colours(html: &str) -> String {
        let mut text = html.replace("<b>", "").replace("</b>", "");
        for colour in 0..16 {
            text = text.replace(&format!("<b class=\"c{colour}\">"), "");
            text = text.replace(&format!("<b class=\"c{colour} thin\">"), "");
        }
        text
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
            prop_assert_eq!(html.matches("<b").count(), html.matches("</b>").count(), "{:?} gave {:?}", text, html);
            let html = without_colours(&html);
            prop_assert!(is_safe(&html) && !html.contains(['<', '>', '"', '\'']), "{:?} gave {:?}", text, html);
            prop_assert_eq!(html, super::html(&text));
            prop_assert_eq!(plain(&coloured(text.as_bytes())), cleaned.clone());
            let left = coloured(text.as_bytes()).replace("\u{1b}[0", "").contains('\u{1b}');
            prop_assert!(!left, "{:?}", text);
            let line = line(&text, 20);
            prop_assert!(is_safe(&line) && !line.contains(['\n', '\t']) && line.chars().count() <= 20);
        }

        #[test]
        fn any_bytes_can_be_shown(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(is_safe(&plain_bytes(&bytes)));
        }
    }
}
