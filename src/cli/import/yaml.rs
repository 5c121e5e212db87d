//! YAML as a tree whose every value knows its line. The parser gives events; anchors, aliases and `<<` are
//! resolved here, within bounds: a small file must not become a large tree.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// Values of one file, aliases included.
const NODES_MAX: usize = 500_000;
const DEPTH_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub line: usize,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Pair>),
}

/// A key with its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub key: String,
    pub line: usize,
    pub node: Node,
}

/// Where a file is no YAML, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadYaml {
    pub line: usize,
    pub why: String,
}

impl Node {
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.pairs().iter().find(|pair| pair.key == key).map(|pair| &pair.node)
    }

    pub fn pairs(&self) -> &[Pair] {
        match &self.value {
            Value::Map(pairs) => pairs,
            _ => &[],
        }
    }

    /// The items of a list; nothing where it is none.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it says yes.
    pub fn is_true(&self) -> bool {
        self.text().is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Null | Value::Text(_) => 0,
            Value::List(items) => items.iter().map(Node::size).sum(),
            Value::Map(pairs) => pairs.iter().map(|pair| 1 + pair.node.size()).sum(),
        }
    }
}

/// A value that is still open: a list or a map, with its anchor.
struct Open {
    node: Node,
    anchor: usize,
    /// Of a map: the key whose value comes next.
    key: Option<(String, usize)>,
}

#[derive(Default)]
struct Reader {
    open: Vec<Open>,
    anchors: std::collections::BTreeMap<usize, Node>,
    documents: Vec<Node>,
    nodes: usize,
}

/// All documents of a file.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, BadYaml> {
    let mut reader = Reader::default();
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| BadYaml { line: error.marker().line(), why: error.info().to_owned() })?;
        let line = span.start.line().max(1);
        reader.event(event, &span).map_err(|why| BadYaml { line, why })?;
    }
    Ok(reader.documents)
}

impl Reader {
    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), String> {
        let line = span.start.line().max(1);
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if null { Value::Null } else { Value::Text(text.into_owned()) };
                self.close(Node { line, value }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.begin(Node { line, value: Value::List(Vec::new()) }, anchor),
            Event::MappingStart(anchor, _) => self.begin(Node { line, value: Value::Map(Vec::new()) }, anchor),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(mut open) => {
                    if let Value::Map(pairs) = &mut open.node.value {
                        pairs.iter_mut().filter(|pair| pair.line == 0).for_each(|pair| pair.line = pair.node.line);
                    }
                    self.close(open.node, open.anchor)
                }
                None => Err("an end without a beginning".into()),
            },
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => {
                    self.nodes += node.size();
                    self.close(node, 0)
                }
                None => Err("an alias within its own anchor".into()),
            },
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    fn begin(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        if self.open.len() >= DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} levels"));
        }
        self.open.push(Open { node, anchor, key: None });
        Ok(())
    }

    /// A whole value: it becomes a key, a value, an item or a document.
    fn close(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(format!("more than {NODES_MAX} values, aliases included"));
        }
        if anchor > 0 {
            self.nodes += node.size();
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        match (&mut open.node.value, open.key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(pairs), Some((key, line))) if key == "<<" => merge(pairs, node, line)?,
            (Value::Map(pairs), Some((key, line))) => {
                // What was merged gives way; what was written twice is a mistake.
                if let Some(at) = pairs.iter().position(|pair| pair.key == key) {
                    if pairs.get(at).is_some_and(|pair| pair.line > 0) {
                        return Err(format!("`{key}` stands here twice"));
                    }
                    pairs.remove(at);
                }
                pairs.push(Pair { key, line, node });
            }
            (Value::Map(_), None) => {
                let line = node.line;
                let key = match node.value {
                    Value::Text(text) => text,
                    Value::Null => "null".into(),
                    Value::List(_) | Value::Map(_) => return Err("a key that is no text".into()),
                };
                open.key = Some((key, line));
            }
            (Value::Null | Value::Text(_), _) => return Err("a value within a text".into()),
        }
        Ok(())
    }
}

/// `<<: *shared`: keys that are not there yet. Line 0 marks them until the map has been read.
fn merge(pairs: &mut Vec<Pair>, node: Node, line: usize) -> Result<(), String> {
    let maps = match node.value {
        Value::List(items) => items,
        value => vec![Node { line, value }],
    };
    for map in maps {
        let Value::Map(below) = map.value else { return Err("`<<` takes a map".into()) };
        for pair in below {
            if pairs.iter().all(|own| own.key != pair.key) {
                pairs.push(Pair { line: 0, ..pair });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_their_lines() {
        let text = "a: 1\nb:\n- x: &x {k: v}\n  y: *x\n- |\n  two\n  lines\nc: ~\nd: \"~\"\n";
        let tree = parse(text).unwrap().remove(0);
        let b = tree.get("b").unwrap();
        assert_eq!((tree.get("a").unwrap().text(), b.items()[0].line), (Some("1"), 3));
        assert_eq!(b.items()[0].get("y").unwrap().get("k").unwrap().text(), Some("v"));
        assert_eq!(b.items()[1].text(), Some("two\nlines\n"));
        assert_eq!((tree.get("c").unwrap().text(), tree.get("d").unwrap().text()), (None, Some("~")));
        assert_eq!(tree.pairs().iter().map(|pair| pair.line).collect::<Vec<_>>(), [1, 2, 8, 9]);
    }

    #[test]
    fn merged_keys_give_way_and_bombs_are_refused() {
        let tree = parse("base: &b {x: 1, y: 2}\nown:\n  <<: *b\n  y: 3\n").unwrap().remove(0);
        let own = tree.get("own").unwrap();
        assert_eq!((own.get("x").unwrap().text(), own.get("y").unwrap().text()), (Some("1"), Some("3")));
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for n in 1..12 {
            let aliases = vec![format!("*a{}", n - 1); 10].join(",");
            bomb.push_str(&format!("a{n}: &a{n} [{aliases}]\n"));
        }
        assert!(parse(&bomb).unwrap_err().why.contains("aliases included"));
        assert!(parse(&"[".repeat(5000)).is_err());
        for bad in ["a: 1\na: 2\n", "a: [", "? [a]\n: b\n", "a: &a [*a]"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
