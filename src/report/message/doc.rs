//! A mail's body, once: rendered as text for a phone and as plain HTML, so that both say the same. Every
//! text is made safe here, whoever put it in. What is said is decided by the other files of `message`.

use unicode_width::UnicodeWidthStr as _;

use crate::report::display;

/// Columns of the text part, links apart.
pub const WIDTH: usize = 56;

/// No single text of a stranger takes more than this of a mail.
const TEXT_MAX: usize = 400;

/// One part of the body.
#[derive(Debug, Clone)]
enum Block {
    Lead(String),
    Para(String),
    /// A paragraph that belongs to what stands above it.
    Note(String),
    /// The words before it, and the address: what the mail wants one to open.
    Link(String, String),
    /// The same for what is good to have.
    Also(String, String),
    Head(String),
    Items(&'static str, Vec<String>),
    Facts(Vec<(&'static str, String)>),
    Log(Vec<String>),
    /// The words before it, and what to type.
    Command(String, Vec<String>),
    /// The words before it, and lines of ours in plain ASCII that are pasted as they stand.
    Paste(String, String),
}

/// A body in the making.
#[derive(Debug, Clone, Default)]
pub struct Doc {
    blocks: Vec<Block>,
    footer: Vec<String>,
}

impl Doc {
    /// The sentence that says it all.
    #[must_use]
    pub fn lead(self, text: impl Into<String>) -> Self {
        self.with(Block::Lead(text.into()))
    }

    #[must_use]
    pub fn para(self, text: impl Into<String>) -> Self {
        self.with(Block::Para(text.into()))
    }

    /// A sentence on what stands directly above it.
    #[must_use]
    pub fn note(self, text: impl Into<String>) -> Self {
        self.with(Block::Note(text.into()))
    }

    #[must_use]
    pub fn link(self, before: &str, url: &str) -> Self {
        self.with(Block::Link(before.into(), url.into()))
    }

    /// A link beside the one that matters.
    #[must_use]
    pub fn also(self, before: &str, url: &str) -> Self {
        self.with(Block::Also(before.into(), url.into()))
    }

    /// A heading; what follows stands directly under it.
    #[must_use]
    pub fn head(self, text: impl Into<String>) -> Self {
        self.with(Block::Head(text.into()))
    }

    #[must_use]
    pub fn items(self, items: Vec<String>) -> Self {
        self.with(Block::Items("-", items))
    }

    /// Items that want a second look.
    #[must_use]
    pub fn warnings(self, items: Vec<String>) -> Self {
        self.with(Block::Items("!", items))
    }

    /// Name and value, one a line.
    #[must_use]
    pub fn facts(self, facts: Vec<(&'static str, String)>) -> Self {
        self.with(Block::Facts(facts))
    }

    #[must_use]
    pub fn log(self, lines: Vec<String>) -> Self {
        self.with(Block::Log(lines))
    }

    /// Something to type, and the words before it.
    #[must_use]
    pub fn command(self, before: impl Into<String>, text: impl Into<String>) -> Self {
        self.with(Block::Command(before.into(), vec![text.into()]))
    }

    /// Several to choose from.
    #[must_use]
    pub fn commands(self, before: impl Into<String>, texts: Vec<String>) -> Self {
        self.with(Block::Command(before.into(), texts))
    }

    /// Several lines to paste, each of which counts as it stands.
    #[must_use]
    pub fn paste(self, before: impl Into<String>, text: impl Into<String>) -> Self {
        self.with(Block::Paste(before.into(), text.into()))
    }

    #[must_use]
    pub fn footer(mut self, text: impl Into<String>) -> Self {
        self.footer.push(text.into());
        self
    }

    /// The same without the part, where there is nothing to say.
    #[must_use]
    pub fn when(self, condition: bool, add: impl FnOnce(Self) -> Self) -> Self {
        if condition { add(self) } else { self }
    }

    fn with(mut self, block: Block) -> Self {
        self.blocks.push(block);
        self
    }

    /// The text part.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        let mut under_head = true;
        for block in &self.blocks {
            if !under_head && !matches!(block, Block::Note(_)) {
                lines.push(String::new());
            }
            under_head = matches!(block, Block::Head(_));
            match block {
                Block::Lead(text) | Block::Para(text) | Block::Note(text) | Block::Head(text) => {
                    wrap(&mut lines, "", "", text);
                }
                Block::Link(before, url) | Block::Also(before, url) => {
                    wrap(&mut lines, "", "", before);
                    lines.push(safe(url));
                }
                Block::Items(mark, items) => {
                    for item in items {
                        wrap(&mut lines, &format!("{mark} "), "  ", item);
                    }
                }
                Block::Facts(facts) => {
                    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default() + 2;
                    for (name, value) in facts {
                        wrap(&mut lines, &format!("{name:width$}"), &" ".repeat(width), value);
                    }
                }
                Block::Log(log) => lines.extend(log.iter().map(|line| log_line(line))),
                Block::Command(before, texts) => {
                    wrap(&mut lines, "", "", before);
                    // Typed or pasted as they stand: never broken.
                    lines.extend(texts.iter().map(|text| safe(text)));
                }
                Block::Paste(before, text) => {
                    wrap(&mut lines, "", "", before);
                    lines.extend(text.lines().map(str::to_owned));
                }
            }
        }
        if !self.footer.is_empty() {
            lines.extend([String::new(), "-- ".into()]);
            lines.extend(self.footer.iter().map(|line| safe(line)));
        }
        lines.push(String::new());
        lines.join("\n")
    }

    /// The HTML part: no image, no script, nothing from elsewhere.
    #[must_use]
    pub fn html(&self, title: &str) -> String {
        let body: String = self.blocks.iter().map(block_html).collect();
        let footer: String = self.footer.iter().map(|line| format!("{}<br>\n", display::html(&safe(line)))).collect();
        let footer = if footer.is_empty() { footer } else { format!("<p style=\"{FOOTER}\">{footer}</p>\n") };
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{}</title></head>\n<body style=\"{BODY}\">\n{body}{footer}</body></html>\n",
            display::html(&display::line(title, 200))
        )
    }
}

const BODY: &str = "font:16px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif;max-width:36em;margin:0 auto;padding:16px;overflow-wrap:anywhere";
const LEAD: &str = "font-size:19px;font-weight:600;margin:0 0 12px";
const HEAD: &str = "font-size:14px;letter-spacing:.04em;margin:22px 0 -8px";
const BUTTON: &str = "display:inline-block;padding:10px 18px;border-radius:6px;background:#1f5fbf;color:#ffffff;text-decoration:none;font-weight:600";
const CODE: &str = "font:14px/1.45 ui-monospace,Menlo,Consolas,monospace;white-space:pre-wrap;overflow-wrap:anywhere;\
                    border:1px solid #8886;border-radius:6px;padding:8px 10px;margin:4px 0";
const FOOTER: &str = "font-size:12px;border-top:1px solid #8886;margin-top:24px;padding-top:8px;overflow-wrap:anywhere";

fn block_html(block: &Block) -> String {
    let clean = |text: &str| display::html(&safe(text));
    match block {
        Block::Lead(text) => format!("<p style=\"{LEAD}\">{}</p>\n", clean(text)),
        Block::Para(text) => format!("<p>{}</p>\n", clean(text)),
        Block::Note(text) => format!("<p style=\"margin-top:4px\">{}</p>\n", clean(text)),
        Block::Head(text) => format!("<h2 style=\"{HEAD}\">{}</h2>\n", clean(text)),
        Block::Link(before, url) => {
            let (label, rest) =
                before.trim_end_matches(':').split_once(" (").unwrap_or((before.trim_end_matches(':'), ""));
            let rest = rest.trim_end_matches(')');
            format!("<p><a href=\"{}\" style=\"{BUTTON}\">{}</a><br>{}</p>\n", clean(url), clean(label), clean(rest))
        }
        Block::Also(before, url) => {
            let url = clean(url);
            format!("<p>{}<br><a href=\"{url}\">{url}</a></p>\n", clean(before))
        }
        Block::Items(mark, items) => {
            let item = |item: &String| match *mark {
                "!" => format!("<li><strong>{}</strong></li>\n", clean(item)),
                _ => format!("<li>{}</li>\n", clean(item)),
            };
            let items: String = items.iter().map(item).collect();
            format!("<ul style=\"padding-left:20px;margin-bottom:4px\">\n{items}</ul>\n")
        }
        Block::Facts(facts) => {
            let row = |(name, value): &(&str, String)| format!("<strong>{name}</strong>&ensp;{}<br>\n", clean(value));
            format!("<p>{}</p>\n", facts.iter().map(row).collect::<String>())
        }
        Block::Log(lines) => {
            let lines: Vec<String> = lines.iter().map(|line| display::html(&log_line(line))).collect();
            format!("<pre style=\"{CODE}\">{}</pre>\n", lines.join("\n"))
        }
        Block::Paste(before, text) => {
            let (before, text) = (clean(before), display::html(text));
            format!("<p style=\"margin-bottom:4px\">{before}</p>\n<pre style=\"{CODE}\">{text}</pre>\n")
        }
        Block::Command(before, texts) => {
            let texts: Vec<String> = texts.iter().map(|text| clean(text)).collect();
            format!(
                "<p style=\"margin-bottom:4px\">{}</p>\n<pre style=\"{CODE}\">{}</pre>\n",
                clean(before),
                texts.join("\n")
            )
        }
    }
}

fn safe(text: &str) -> String {
    display::line(text, TEXT_MAX)
}

/// Keeps the blanks of a log's line; tabs would be wide on a phone.
fn log_line(line: &str) -> String {
    let one = display::plain(line).replace('\n', " ").replace('\t', "    ");
    display::shorten(one.trim_end(), 200)
}

/// Breaks a text at blanks into lines of [`WIDTH`] columns; a word that is wider stands alone and whole.
fn wrap(lines: &mut Vec<String>, first: &str, next: &str, text: &str) {
    let mut line = first.to_owned();
    let mut empty = true;
    for word in safe(text).split(' ') {
        let gap = usize::from(!empty);
        if !empty && line.width() + gap + word.width() > WIDTH {
            lines.push(std::mem::replace(&mut line, next.to_owned()));
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    lines.push(line.trim_end().to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_narrow_and_html_says_the_same() {
        let doc = Doc::default()
            .lead("open-im 7848d7c passed test and image and went to staging.")
            .link("Look and decide:", "https://ci.example.org/a/TOKEN")
            .head("2 COMMITS")
            .items(vec!["修复".repeat(30), "fix <b>x</b>\r\nBcc: y \u{1b}[2J".into()])
            .facts(vec![("by", "anna".into()), ("since", "Mon".into())])
            .log(vec!["  indented\u{1b}[31m".into()])
            .command("Look:", "shipbell show open-im/test#42")
            .footer("request r-31");
        let text = doc.text();
        assert_eq!(
            text,
            format!(
                "open-im 7848d7c passed test and image and went to\nstaging.\n\nLook and decide:\n\
                 https://ci.example.org/a/TOKEN\n\n2 COMMITS\n- {}\n- fix <b>x</b> Bcc: y\n\nby     anna\nsince  Mon\n\n  \
                 indented\n\nLook:\nshipbell show open-im/test#42\n\n-- \nrequest r-31\n",
                "修复".repeat(30)
            )
        );
        let html = doc.html("t");
        assert!(html.contains("fix &lt;b&gt;x&lt;/b&gt; Bcc: y"), "{html}");
        assert!(!html.contains('\u{1b}') && !html.contains("<b>"));
    }
}
