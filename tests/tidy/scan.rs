//! Reads Rust source just well enough for the laws: comments and literals are blanked out, what is
//! left is cut into tokens, and functions, imports and inline modules are found among them.
//! It decides nothing; the laws are in `tidy.rs`.

use std::path::{Path, PathBuf};

/// One file of the project.
pub struct File {
    /// Relative to the project, with `/`.
    pub path: String,
    pub raw: String,
}

/// All files of the project that are text, without what git ignores.
pub fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut open) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(dir) = open.pop() {
        let full = root.join(&dir);
        let entries = std::fs::read_dir(&full).unwrap_or_else(|error| panic!("{}: {error}", full.display()));
        for entry in entries {
            let entry = entry.expect("an entry of a directory");
            let name = entry.file_name().into_string().expect("file names are UTF-8");
            let at_top = dir.as_os_str().is_empty();
            let ignored = name == "target"
                || (dir == Path::new("fuzz") && ["corpus", "artifacts", "coverage"].contains(&name.as_str()))
                || (at_top && (name == ".git" || name == "Cargo.lock" || name.starts_with("demo-")));
            let path = dir.join(&name);
            let kind = entry.file_type().expect("a file's type");
            if ignored || kind.is_symlink() {
                continue;
            } else if kind.is_dir() {
                open.push(path);
            } else if let Ok(raw) = std::fs::read_to_string(root.join(&path)) {
                found.push(File { path: path.to_str().expect("paths are UTF-8").to_owned(), raw });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 20, "the project's files were not found under {}", root.display());
    found
}

/// The text with comments, strings and character literals blanked out; lines stay where they are.
pub fn mask(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let (mut out, mut i) = (String::with_capacity(text.len()), 0);
    while i < chars.len() {
        let end = literal_end(&chars, i);
        if end > i {
            out.extend(chars[i..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            i = end;
        } else {
            out.push(chars[i]);
            i += 1;
        }
    }
    out
}

/// Where the comment or literal that begins at `i` ends; `i` if none begins there.
fn literal_end(chars: &[char], i: usize) -> usize {
    let at = |n: usize| chars.get(n).copied().unwrap_or('\0');
    let in_word = i > 0 && (at(i - 1).is_alphanumeric() || at(i - 1) == '_');
    match at(i) {
        '/' if at(i + 1) == '/' => (i..chars.len()).find(|&n| at(n) == '\n').unwrap_or(chars.len()),
        '/' if at(i + 1) == '*' => block_comment_end(chars, i),
        '"' => quoted_end(chars, i, '"'),
        'b' | 'c' if !in_word && at(i + 1) == '"' => quoted_end(chars, i + 1, '"'),
        'b' if !in_word && at(i + 1) == '\'' => quoted_end(chars, i + 1, '\''),
        'r' | 'b' | 'c' if !in_word => raw_string_end(chars, i),
        // 'a' and '\n' are characters, 'a alone is a lifetime.
        '\'' if at(i + 1) == '\\' || at(i + 2) == '\'' => quoted_end(chars, i, '\''),
        _ => i,
    }
}

fn quoted_end(chars: &[char], open: usize, quote: char) -> usize {
    let mut i = open + 1;
    while i < chars.len() && chars[i] != quote {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

fn block_comment_end(chars: &[char], open: usize) -> usize {
    let (mut depth, mut i) = (1, open + 2);
    while i < chars.len() && depth > 0 {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => (depth, i) = (depth + 1, i + 2),
            ('*', Some('/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
    }
    i
}

fn raw_string_end(chars: &[char], start: usize) -> usize {
    let mut i = start;
    while matches!(chars.get(i), Some('r' | 'b' | 'c')) && i < start + 2 {
        i += 1;
    }
    let hashes = chars[i..].iter().take_while(|&&c| c == '#').count();
    if chars[i - 1] != 'r' || chars.get(i + hashes) != Some(&'"') {
        return start;
    }
    let closing: String = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = i + hashes + 1;
    let closing: Vec<char> = closing.chars().collect();
    (body..chars.len()).find(|&n| chars[n..].starts_with(&closing)).map_or(chars.len(), |n| n + closing.len())
}

/// A word or a single sign, and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// The tokens of a Rust text. `::` is one token.
pub fn tokens(text: &str) -> Vec<Token> {
    let masked = mask(text);
    let (mut found, mut line, mut chars) = (Vec::<Token>::new(), 1, masked.chars().peekable());
    while let Some(c) = chars.next() {
        let mut text = c.to_string();
        if c == '\n' {
            line += 1;
        }
        if c.is_whitespace() {
            continue;
        }
        let word = |c: &char| c.is_alphanumeric() || *c == '_';
        if word(&c) {
            while let Some(next) = chars.next_if(word) {
                text.push(next);
            }
        } else if c == ':' && chars.next_if_eq(&':').is_some() {
            text.push(':');
        }
        found.push(Token { text, line });
    }
    found
}

/// A function with a body: its name, its first line and how many it has.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
}

pub fn functions(tokens: &[Token]) -> Vec<Function> {
    let mut found = Vec::new();
    for (i, pair) in tokens.windows(2).enumerate() {
        let name = &pair[1].text;
        if pair[0].text != "fn" || !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            continue;
        }
        if let Some(open) = body_of(&tokens[i..]) {
            let close = i + open + matching(&tokens[i + open..]);
            let line = tokens[i].line;
            found.push(Function { name: name.clone(), line, lines: tokens[close].line - line + 1 });
        }
    }
    found
}

/// The index of the `{` that opens the body; `None` where the function is only declared.
fn body_of(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0_i32;
    for (i, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "(" | "[" => depth += 1,
            ")" | "]" => depth -= 1,
            ";" if depth == 0 => return None,
            "{" if depth == 0 => return Some(i),
            _ => {}
        }
    }
    None
}

/// The index of the `}` that closes the `{` at 0.
fn matching(tokens: &[Token]) -> usize {
    let mut depth = 0_i32;
    for (i, token) in tokens.iter().enumerate() {
        depth += i32::from(token.text == "{") - i32::from(token.text == "}");
        if depth == 0 {
            return i;
        }
    }
    tokens.len() - 1
}

/// What follows `root::` (`crate`, or the library's name in main.rs): `a` of `crate::a::b`, `a` and
/// `c` of `crate::{a, c::d}`, `*` of `crate::*`, `a!` of `crate::a!()`.
pub fn paths_from(tokens: &[Token], root: &str) -> Vec<Token> {
    let mut found = Vec::new();
    for i in 0..tokens.len() {
        if tokens[i].text == root && text_at(tokens, i + 1) == "::" && before(tokens, i) != "::" {
            found.extend(heads(&tokens[i + 2..]));
        }
    }
    found
}

fn text_at(tokens: &[Token], i: usize) -> &str {
    tokens.get(i).map_or("", |token| token.text.as_str())
}

fn before(tokens: &[Token], i: usize) -> &str {
    i.checked_sub(1).map_or("", |i| text_at(tokens, i))
}

/// The first words of a path, or of each path of a `{…}` group.
fn heads(tokens: &[Token]) -> Vec<Token> {
    let Some(first) = tokens.first() else { return Vec::new() };
    if first.text != "{" {
        let macro_sign = if text_at(tokens, 1) == "!" { "!" } else { "" };
        return vec![Token { text: format!("{}{macro_sign}", first.text), line: first.line }];
    }
    let (mut depth, mut begins, mut found) = (0, true, Vec::new());
    for token in tokens {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," => begins = depth == 1 || begins,
            _ if begins && depth == 1 => {
                found.push(token.clone());
                begins = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

/// Chains of `super::` that climb out of all of the file's own modules, up to the crate's root.
/// `depth` is the number of modules that the file itself stands in.
pub fn supers_to_root(tokens: &[Token], depth: usize) -> Vec<usize> {
    let (mut inline, mut braces, mut found) = (Vec::new(), 0_usize, Vec::new());
    for i in 0..tokens.len() {
        match tokens[i].text.as_str() {
            "{" => {
                braces += 1;
                if i >= 2 && tokens[i - 2].text == "mod" {
                    inline.push(braces);
                }
            }
            "}" => {
                if inline.last() == Some(&braces) {
                    inline.pop();
                }
                braces = braces.saturating_sub(1);
            }
            "super" if before(tokens, i) != "::" => {
                let climbs = tokens[i..].chunks(2).take_while(|pair| pair[0].text == "super").count();
                if climbs >= depth + inline.len() {
                    found.push(tokens[i].line);
                }
            }
            _ => {}
        }
    }
    found
}

/// Lines where a crate's items are named: `name::…`, `use name;`, `extern crate name`.
pub fn uses_of(tokens: &[Token], name: &str) -> Vec<usize> {
    // `a::name` is an item of `a`; `::name` is the crate, however it is written.
    let item_of_another = |i: usize| {
        let word = |text: &str| text.ends_with(|c: char| c.is_alphanumeric() || "_>".contains(c)) && text != "use";
        before(tokens, i) == "::" && i > 1 && word(before(tokens, i - 1))
    };
    let named = |&i: &usize| {
        tokens[i].text == name
            && !item_of_another(i)
            && (text_at(tokens, i + 1) == "::" || matches!(before(tokens, i), "use" | "crate"))
    };
    (0..tokens.len()).filter(named).map(|i| tokens[i].line).collect()
}

/// Lines where these tokens follow one another.
pub fn sequence(tokens: &[Token], wanted: &[&str]) -> Vec<usize> {
    let same = |window: &&[Token]| window.iter().zip(wanted).all(|(token, text)| token.text == *text);
    tokens.windows(wanted.len()).filter(same).map(|window| window[0].line).collect()
}

/// Names of the macros that a file exports to the crate's root.
pub fn exported_macros(tokens: &[Token]) -> Vec<String> {
    let mut found = Vec::new();
    let mut exported = false;
    for (i, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "macro_export" => exported = true,
            "macro_rules" if exported => {
                found.push(text_at(tokens, i + 2).to_owned());
                exported = false;
            }
            _ => {}
        }
    }
    found
}
