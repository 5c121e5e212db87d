//! The words of git's protocol as far as asking needs them: the `ls-refs` question of version 2, its
//! answer, and the list with which older servers greet. Read strictly and within bounds, whoever wrote it;
//! names that git itself would not accept are passed over.

use gix_packetline::PacketLineRef;
use gix_packetline::decode::{Stream, streaming};

use super::clean;
use super::remote::Remote;
use super::scope::Scope;
use crate::model::commit::{CommitId, RefName};

/// Why an answer is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bad {
    /// The server says no in its own words.
    Said(String),
    /// It is no answer of a git server.
    Nonsense(String),
}

/// How a server greets.
#[derive(Debug, PartialEq, Eq)]
pub enum Greeting {
    /// It speaks version 2, with these objects.
    Two { sha256: bool },
    /// It lists all that it has at once.
    Older(Remote),
}

const AGENT: &str = concat!("git/shipbell-", env!("CARGO_PKG_VERSION"));

/// How this program names itself to web servers: some speak git only to what begins with `git/`.
#[must_use]
pub fn agent() -> &'static str {
    AGENT
}

/// The question what there is in `scope`, whole.
#[must_use]
pub fn question(scope: &Scope) -> Vec<u8> {
    let mut question = Vec::new();
    let mut line = |text: &str| question.extend_from_slice(format!("{:04x}{text}\n", text.len() + 5).as_bytes());
    line("command=ls-refs");
    line(&format!("agent={AGENT}"));
    line("object-format=sha1");
    question.extend_from_slice(b"0001");
    let mut line = |text: &str| question.extend_from_slice(format!("{:04x}{text}\n", text.len() + 5).as_bytes());
    line("peel");
    line("symrefs");
    for prefix in scope.prefixes() {
        line(&format!("ref-prefix {prefix}"));
    }
    question.extend_from_slice(b"0000");
    question
}

/// Packet after packet up to the first flush, and what stands behind it.
fn packets(mut rest: &[u8]) -> Result<(Vec<&[u8]>, &[u8]), Bad> {
    let mut lines = Vec::new();
    loop {
        let whole = streaming(rest).map_err(|_| nonsense(rest))?;
        let Stream::Complete { line, bytes_consumed } = whole else { return Err(nonsense(rest)) };
        let (_, after) = rest.split_at_checked(bytes_consumed).ok_or_else(|| nonsense(rest))?;
        rest = after;
        match line {
            PacketLineRef::Data(data) => {
                let data = data.strip_suffix(b"\n").unwrap_or(data);
                if let Some(said) = data.strip_prefix(b"ERR ") {
                    return Err(Bad::Said(clean::line(said, clean::TEXT_MAX)));
                }
                lines.push(data);
            }
            PacketLineRef::Flush => return Ok((lines, rest)),
            PacketLineRef::Delimiter | PacketLineRef::ResponseEnd => return Err(nonsense(rest)),
        }
    }
}

fn nonsense(line: &[u8]) -> Bad {
    Bad::Nonsense(clean::line(line.get(..200).unwrap_or(line), 120))
}

/// Reads `OBJECT NAME[ symref-target:REF][ peeled:OBJECT]`, once a ref.
///
/// # Errors
/// If it is no answer to [`question`].
pub fn answer(bytes: &[u8]) -> Result<Remote, Bad> {
    let (lines, rest) = packets(bytes)?;
    if !rest.is_empty() {
        return Err(nonsense(rest));
    }
    let mut remote = Remote::default();
    for line in lines {
        // Names that are no text are none of ours.
        let Ok(text) = str::from_utf8(line) else { continue };
        let mut words = text.split(' ');
        let (object, name) = (words.next().unwrap_or_default(), words.next().ok_or_else(|| nonsense(line))?);
        if object == "unborn" {
            continue;
        }
        let mut id = CommitId::new(object).map_err(|_| nonsense(line))?;
        let mut target = None;
        for word in words {
            if let Some(peeled) = word.strip_prefix("peeled:") {
                id = CommitId::new(peeled).map_err(|_| nonsense(line))?;
            } else if let Some(name) = word.strip_prefix("symref-target:") {
                target = Some(name);
            }
        }
        put(&mut remote, name, id, target);
    }
    Ok(settled(remote))
}

/// Of HEAD it is told what it points to, which is a branch that stands at the same commit.
fn put(remote: &mut Remote, name: &str, id: CommitId, target: Option<&str>) {
    // Of a ref with a broken name git gives no object.
    if id.as_str().bytes().all(|c| c == b'0') {
        return;
    }
    if name == "HEAD" {
        if let Some(head) = target.and_then(|target| RefName::new(target).ok()).filter(|head| !head.is_tag()) {
            remote.refs.insert(head.clone(), id);
            remote.head = Some(head);
        }
    } else if let Ok(name) = RefName::new(name) {
        remote.refs.insert(name, id);
    }
}

fn settled(mut remote: Remote) -> Remote {
    remote.head = remote.head.filter(|head| remote.refs.contains_key(head));
    remote
}

/// Reads the answer to `GET info/refs?service=git-upload-pack`.
///
/// # Errors
/// If no git server answers so.
pub fn greeting(bytes: &[u8]) -> Result<Greeting, Bad> {
    let (mut lines, mut rest) = packets(bytes)?;
    if lines.first().is_some_and(|line| line.starts_with(b"# service=git-upload-pack")) {
        (lines, rest) = packets(rest)?;
    }
    if !rest.is_empty() {
        return Err(nonsense(rest));
    }
    if lines.first() == Some(&&b"version 2"[..]) {
        return Ok(Greeting::Two { sha256: lines.contains(&&b"object-format=sha256"[..]) });
    }
    let mut remote = Remote::default();
    let mut head = None;
    for line in lines {
        let (line, abilities) = match line.iter().position(|&c| c == 0) {
            Some(at) => (line.get(..at).unwrap_or_default(), line.get(at + 1..).unwrap_or_default()),
            None => (line, &b""[..]),
        };
        for ability in abilities.split(|&c| c == b' ') {
            let target = ability.strip_prefix(b"symref=HEAD:").and_then(|target| str::from_utf8(target).ok());
            head = target.and_then(|target| RefName::new(target).ok()).filter(|name| !name.is_tag()).or(head);
        }
        let Ok(text) = str::from_utf8(line) else { continue };
        if text == "version 1" || text.starts_with("shallow ") {
            continue;
        }
        let (object, name) = text.split_once(' ').ok_or_else(|| nonsense(line))?;
        let id = CommitId::new(object).map_err(|_| nonsense(line))?;
        // What an annotated tag points to follows the tag itself.
        put(&mut remote, name.strip_suffix("^{}").unwrap_or(name), id, None);
    }
    remote.head = head;
    Ok(Greeting::Older(settled(remote)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(text: &str) -> String {
        format!("{:04x}{text}", text.len() + 4)
    }

    fn id(digit: char) -> String {
        digit.to_string().repeat(40)
    }

    #[test]
    fn the_question_is_what_gits_documentation_says() {
        let text = String::from_utf8(question(&Scope::default())).unwrap();
        assert!(text.starts_with("0014command=ls-refs\n"), "{text}");
        assert!(text.ends_with("0009peel\n000csymrefs\n0014ref-prefix HEAD\n001bref-prefix refs/heads/\n001aref-prefix refs/tags/\n0000"), "{text}");
        let (lines, rest) = packets(text.split_once("0001").unwrap().1.as_bytes()).unwrap();
        assert_eq!((lines.len(), rest.len()), (5, 0));
    }

    #[test]
    fn answers_are_read() {
        let (a, b, c) = (id('a'), id('b'), id('c'));
        let text = [
            packet(&format!("{a} HEAD symref-target:refs/heads/main\n")),
            packet(&format!("{a} refs/heads/main\n")),
            packet(&format!("{b} refs/heads/-odd\n")),
            packet(&format!("{b} refs/pull/1/head\n")),
            packet(&format!("{b} refs/tags/v1 peeled:{c}\n")),
            "0000".into(),
        ];
        let remote = answer(text.concat().as_bytes()).unwrap();
        assert_eq!(remote.head, Some(RefName::branch("main").unwrap()));
        let refs: Vec<_> = remote.refs.iter().map(|(name, id)| (name.as_str(), id.as_str())).collect();
        assert_eq!(
            refs,
            [("refs/heads/main", a.as_str()), ("refs/pull/1/head", b.as_str()), ("refs/tags/v1", c.as_str())]
        );
        assert_eq!(answer(b"0000").unwrap(), Remote::default());
        let head_alone = packet(&format!("{a} HEAD symref-target:refs/heads/main")) + "0000";
        assert_eq!(answer(head_alone.as_bytes()).unwrap().refs.len(), 1);
        let detached = packet(&format!("{a} HEAD\n")) + "0000";
        assert_eq!(answer(detached.as_bytes()).unwrap(), Remote::default());
        let unborn = packet("unborn HEAD symref-target:refs/heads/main\n") + "0000";
        assert_eq!(answer(unborn.as_bytes()).unwrap(), Remote::default());
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let refused = packet("ERR access denied\u{1b}[31m\n") + "0000";
        assert_eq!(answer(refused.as_bytes()), Err(Bad::Said("access denied\u{fffd}[31m".into())));
        let cut = packet(&format!("{} refs/heads/main\n", id('a')));
        for bad in ["", "000", "zzzz", "0003", "0004", "<html>", "0001", "fff0x", &cut, "00000000", "0009hello0000"] {
            assert!(matches!(answer(bad.as_bytes()), Err(Bad::Nonsense(_))), "{bad:?}");
        }
    }

    #[test]
    fn greetings_of_all_versions() {
        let service = packet("# service=git-upload-pack\n") + "0000";
        let two = service.clone() + &packet("version 2\n") + &packet("ls-refs=unborn\n") + "0000";
        assert_eq!(greeting(two.as_bytes()), Ok(Greeting::Two { sha256: false }));
        let two = packet("version 2\n") + &packet("object-format=sha256\n") + "0000";
        assert_eq!(greeting(two.as_bytes()), Ok(Greeting::Two { sha256: true }));
        let (a, b) = (id('a'), id('b'));
        let old = service.clone()
            + &packet(&format!("{a} HEAD\0multi_ack symref=HEAD:refs/heads/main agent=x\n"))
            + &packet(&format!("{a} refs/heads/main\n"))
            + &packet(&format!("{a} refs/tags/v1\n"))
            + &packet(&format!("{b} refs/tags/v1^{{}}\n"))
            + "0000";
        let Ok(Greeting::Older(remote)) = greeting(old.as_bytes()) else { panic!() };
        assert_eq!(remote.head, Some(RefName::branch("main").unwrap()));
        assert_eq!(remote.refs[&RefName::new("refs/tags/v1").unwrap()].as_str(), b);
        let zero = "0".repeat(40);
        let empty = service + &packet(&format!("{zero} capabilities^{{}}\0agent=x\n")) + "0000";
        assert_eq!(greeting(empty.as_bytes()), Ok(Greeting::Older(Remote::default())));
        assert!(greeting(b"<!DOCTYPE html>").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = (answer(&bytes), greeting(&bytes));
            let framed = [format!("{:04x}", bytes.len() + 4).as_bytes(), &bytes, b"0000"].concat();
            let _ = (answer(&framed), greeting(&framed));
        }
    }
}
