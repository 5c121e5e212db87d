//! Secrets taken out of what a run prints: every text that a secret is easily printed as is looked for
//! in the stream, across the borders of whatever pieces it comes in, and `***` stands in its place. This
//! guards against accidents. Whoever wants to get a secret past it can; see docs/isolation.md.

use std::collections::BTreeSet;
use std::sync::Arc;

use patterns::patterns;

/// All that a secret is easily printed as.
mod patterns;

/// What stands in the place of a secret.
pub const MASK: &[u8] = b"***";
/// Shorter values are not looked for: they would hide words that are no secrets.
pub const SHORTEST: usize = 6;
const ROOT: u32 = 0;

/// A node of the automaton of Aho and Corasick: all patterns are looked for in one pass.
#[derive(Debug, Clone, Copy, Default)]
struct Node {
    byte: u8,
    child: u32,
    sibling: u32,
    /// The node of the longest text that ends this one and begins a pattern.
    fail: u32,
    depth: u32,
    /// Length of the longest pattern that ends here; 0 for none.
    ends: u32,
}

#[derive(Debug, Default)]
struct Machine {
    nodes: Vec<Node>,
    /// Children of the root by their byte.
    first: Vec<u32>,
}

impl Machine {
    fn of(patterns: &BTreeSet<Vec<u8>>) -> Self {
        let mut machine = Self { nodes: vec![Node::default()], first: vec![ROOT; 256] };
        for pattern in patterns {
            let end = pattern.iter().fold(ROOT, |at, byte| machine.child_or_new(at, *byte));
            let length = u32::try_from(pattern.len()).unwrap_or(u32::MAX);
            if let Some(node) = machine.nodes.get_mut(end as usize) {
                node.ends = length;
            }
        }
        machine.link();
        machine
    }

    fn node(&self, at: u32) -> Node {
        self.nodes.get(at as usize).copied().unwrap_or_default()
    }

    fn child(&self, at: u32, byte: u8) -> Option<u32> {
        if at == ROOT {
            return self.first.get(usize::from(byte)).copied().filter(|child| *child != ROOT);
        }
        let mut child = self.node(at).child;
        while child != ROOT {
            let node = self.node(child);
            if node.byte == byte {
                return Some(child);
            }
            child = node.sibling;
        }
        None
    }

    fn child_or_new(&mut self, at: u32, byte: u8) -> u32 {
        if let Some(child) = self.child(at, byte) {
            return child;
        }
        let new = u32::try_from(self.nodes.len()).unwrap_or(ROOT);
        let parent = self.node(at);
        self.nodes.push(Node { byte, sibling: parent.child, depth: parent.depth + 1, ..Node::default() });
        if let Some(node) = self.nodes.get_mut(at as usize) {
            node.child = new;
        }
        if let (ROOT, Some(first)) = (at, self.first.get_mut(usize::from(byte))) {
            *first = new;
        }
        new
    }

    fn children(&self, at: u32) -> Vec<u32> {
        let next = |child: &u32| Some(self.node(*child).sibling).filter(|sibling| *sibling != ROOT);
        std::iter::successors(Some(self.node(at).child).filter(|child| *child != ROOT), next).collect()
    }

    fn link(&mut self) {
        let mut level = self.children(ROOT);
        while !level.is_empty() {
            let mut below = Vec::new();
            for at in level {
                for child in self.children(at) {
                    let fail = self.step(self.node(at).fail, self.node(child).byte);
                    let ends = self.node(fail).ends;
                    if let Some(node) = self.nodes.get_mut(child as usize) {
                        node.fail = fail;
                        node.ends = node.ends.max(ends);
                    }
                    below.push(child);
                }
            }
            level = below;
        }
    }

    fn step(&self, mut at: u32, byte: u8) -> u32 {
        loop {
            match self.child(at, byte) {
                Some(child) => return child,
                None if at == ROOT => return ROOT,
                None => at = self.node(at).fail,
            }
        }
    }
}

/// Where a stream stands.
#[derive(Debug, Clone, Default)]
struct Place {
    at: u32,
    /// The bytes that were not let go yet: they may be the beginning of a secret.
    held: Vec<u8>,
    /// Parts of `held` that are secrets, in order, apart from each other.
    covered: Vec<(usize, usize)>,
    hits: u64,
}

impl Place {
    fn take(&mut self, machine: &Machine, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while let Some((byte, after)) = rest.split_first() {
            if self.at == ROOT {
                self.let_go(self.held.len(), out);
                let begins = |byte: &u8| machine.first.get(usize::from(*byte)).is_some_and(|child| *child != ROOT);
                let plain = rest.iter().position(begins).unwrap_or(rest.len());
                if plain > 0 {
                    let (plain, others) = rest.split_at_checked(plain).unwrap_or((rest, &[]));
                    out.extend_from_slice(plain);
                    rest = others;
                    continue;
                }
            }
            self.at = machine.step(self.at, *byte);
            self.held.push(*byte);
            rest = after;
            let ends = machine.node(self.at).ends as usize;
            if ends > 0 {
                self.cover(self.held.len().saturating_sub(ends), self.held.len());
            }
        }
        let open = machine.node(self.at).depth as usize;
        self.let_go(self.held.len().saturating_sub(open), out);
    }

    fn cover(&mut self, mut from: usize, to: usize) {
        while let Some((first, _)) = self.covered.pop_if(|(_, last)| *last > from) {
            from = from.min(first);
        }
        self.covered.push((from, to));
    }

    /// Lets the first `count` held bytes go. What is covered goes as a whole: it stays until its end is
    /// sure.
    fn let_go(&mut self, count: usize, out: &mut Vec<u8>) {
        let mut done = 0;
        let mut gone = 0;
        for (from, to) in &self.covered {
            if *to > count {
                break;
            }
            out.extend_from_slice(self.held.get(done..*from).unwrap_or_default());
            out.extend_from_slice(MASK);
            self.hits += 1;
            done = *to;
            gone += 1;
        }
        self.covered.drain(..gone);
        let end = self.covered.first().map_or(count, |(from, _)| count.min(*from));
        out.extend_from_slice(self.held.get(done..end).unwrap_or_default());
        let end = end.max(done);
        self.held.drain(..end);
        for (from, to) in &mut self.covered {
            (*from, *to) = (from.saturating_sub(end), to.saturating_sub(end));
        }
    }
}

/// Takes secrets out of one stream. Without secrets it costs nothing.
#[derive(Debug, Clone)]
pub struct Masker {
    machine: Option<Arc<Machine>>,
    place: Place,
}

impl Masker {
    #[must_use]
    pub fn of<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let patterns = patterns(values);
        let machine = (!patterns.is_empty()).then(|| Arc::new(Machine::of(&patterns)));
        Self { machine, place: Place::default() }
    }

    /// Whether anything is looked for at all.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.machine.is_none()
    }

    /// The next bytes of the stream. What cannot be the beginning of a secret comes out.
    pub fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match &self.machine {
            Some(machine) => self.place.take(machine, bytes, out),
            None => out.extend_from_slice(bytes),
        }
    }

    /// The stream pauses or ends: what was held back is no secret.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        self.place.let_go(self.place.held.len(), out);
        self.place.at = ROOT;
    }

    /// How often a secret was found in the stream.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.place.hits
    }

    /// A text of its own, apart from the stream: without secrets, and whether there were any.
    #[must_use]
    pub fn clean(&self, text: &str) -> (String, bool) {
        let Some(machine) = &self.machine else { return (text.to_owned(), false) };
        let (mut place, mut out) = (Place::default(), Vec::new());
        place.take(machine, text.as_bytes(), &mut out);
        place.let_go(place.held.len(), &mut out);
        (String::from_utf8_lossy(&out).into_owned(), place.hits > 0)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;
    use crate::model::job::hex;

    const SECRET: &[u8] = b"hunter2 \"quoted\"/p\xc3\xa4ss+word";

    fn masked(masker: &Masker, pieces: &[&[u8]]) -> String {
        let (mut masker, mut out) = (masker.clone(), Vec::new());
        for piece in pieces {
            masker.take(piece, &mut out);
        }
        masker.end(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn every_easy_way_to_print_a_secret_is_masked() {
        let masker = Masker::of([SECRET, b"line-one-aaaa\nline-two-bbbb\n"]);
        let text = std::str::from_utf8(SECRET).unwrap();
        let json = serde_json::to_string(text).unwrap();
        let basic = |user: &str| STANDARD.encode([user.as_bytes(), SECRET].concat());
        let url: String = SECRET.iter().map(|b| format!("%{b:02X}")).collect();
        for printed in [
            text.to_owned(),
            format!("a{text}b{text}"),
            json,
            hex(SECRET),
            hex(SECRET).to_uppercase(),
            basic("a:"),
            basic("ab:"),
            basic("abc:"),
            URL_SAFE_NO_PAD.encode(SECRET),
            "x%20=hunter2%20%22quoted%22%2Fp%C3%A4ss%2Bword".into(),
            "hunter2+%22quoted%22%2fp%c3%a4ss%2bword".into(),
            "hunter2 \\\"quoted\\\"/p\\u00e4ss+word".into(),
            "line-one-aaaa".into(),
            "  line-two-bbbb\r\n".into(),
        ] {
            let shown = masked(&masker, &[printed.as_bytes()]);
            assert!(shown.contains("***"), "{printed:?} gave {shown:?}");
            for left in ["hunter2", "quoted", "bbbb", "aaaa", &hex(b"hunter2"), &STANDARD_NO_PAD.encode(b"nter2 ")] {
                assert!(!shown.contains(left), "{printed:?} gave {shown:?}");
            }
        }
        // Nobody encodes letters that need not be; it is not looked for, and that is said in the docs.
        assert_eq!(masked(&masker, &[url.as_bytes()]), url);
    }

    #[test]
    fn the_borders_of_pieces_do_not_matter() {
        let masker = Masker::of([&b"s3cr3t-s3cr3t-x"[..], b"s3cr3t-value"]);
        let text = b"s3cr3t-s3cr3t-s3cr3t-x and s3cr3t-valu and s3cr3t-value!";
        let whole = masked(&masker, &[text]);
        assert_eq!(whole, "s3cr3t-*** and s3cr3t-valu and ***!");
        for at in 0..text.len() {
            let (head, tail) = text.split_at(at);
            assert_eq!(masked(&masker, &[head, tail]), whole, "cut at {at}");
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(masked(&masker, &single), whole);
    }

    #[test]
    fn little_is_held_back_and_short_values_are_left() {
        let mut masker = Masker::of([&b"abcdefgh"[..], b"tiny"]);
        let mut out = Vec::new();
        masker.take(b"a tiny text, abc", &mut out);
        assert_eq!(out, b"a tiny text, ");
        masker.take(b"x", &mut out);
        assert_eq!(out, b"a tiny text, abcx");
        assert_eq!(masker.hits(), 0);
        masker.take(b"abcdefghabcdefgh abcdefgh", &mut out);
        masker.end(&mut out);
        assert_eq!(out, b"a tiny text, abcx****** ***");
        assert_eq!(masker.clean("xabcdefghy"), ("x***y".into(), true));
        assert!(Masker::of([&b"tiny"[..]]).is_idle());
    }

    #[test]
    fn the_frame_of_a_structured_secret_hides_nothing() {
        let kubeconfig = b"apiVersion: v1\nkind: Config\nusers:\n- name: admin\n  user:\n    token: \"t0k3n-abcdef\"\n\
                           PASSWORD=correct-horse\n-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ==\n";
        let masker = Masker::of([&kubeconfig[..], br#"{"auths":{"reg":{"auth":"dXNlcjpwYXNzd29yZA=="}}}"#]);
        for (printed, shown) in [
            ("apiVersion: v1\nkind: Config", "apiVersion: v1\nkind: Config"),
            ("the t0k3n-abcdef", "the ***"),
            ("x correct-horse", "x ***"),
            ("-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ==", "-----BEGIN PRIVATE KEY-----\n***"),
            ("auth dXNlcjpwYXNzd29yZA==", "auth ***"),
        ] {
            assert_eq!(masked(&masker, &[printed.as_bytes()]), shown);
        }
        let wrapped = Masker::of([&[7_u8; 300][..]]);
        let printed = STANDARD.encode([7_u8; 300]);
        let lines: Vec<&str> = printed.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
        assert!(!masked(&wrapped, &[lines.join("\n").as_bytes()]).contains("BwcHBwcHBwcH"));
    }

    proptest! {
        #[test]
        fn no_way_of_cutting_lets_a_secret_through(
            cuts in prop::collection::vec(1_usize..9, 1..60),
            text in "[abc]{0,40}(abcabcab|bcabcaca)[abc]{0,40}",
        ) {
            let secrets = [&b"abcabcab"[..], b"bcabcaca"];
            let masker = Masker::of(secrets);
            let mut rest = text.as_bytes();
            let mut pieces = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            let shown = masked(&masker, &pieces);
            prop_assert!(!secrets.iter().any(|s| shown.contains(std::str::from_utf8(s).unwrap())), "{} gave {}", text, shown);
            prop_assert_eq!(shown, masked(&masker, &[text.as_bytes()]));
        }
    }
}
