//! What a remote has, and asking it by `git ls-remote`, read strictly and within bounds. Refs other than
//! branches, tags and pull requests are passed over, and so are names that git itself would not accept.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::access::Access;
use super::child::{self, Call};
use super::clean;
use super::error::SourceError;
use super::origin::{self, Origin, Way};
use crate::model::commit::{CommitId, RefName};

/// Some 700,000 refs.
pub(super) const ANSWER_MAX: usize = 64 << 20;

/// What a repository has now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remote {
    /// The branch that HEAD points to; `None` where it points to none, or to one without a commit.
    pub head: Option<RefName>,
    /// Branches and tags; of an annotated tag what it points to.
    pub refs: BTreeMap<RefName, CommitId>,
}

/// Asks by the git binary.
///
/// # Errors
/// If the repository gives no answer in time.
pub(super) async fn list(
    origin: &Origin,
    access: &Access,
    link: Option<&Path>,
    deadline: Duration,
) -> Result<Remote, SourceError> {
    let answer = child::run(Call { link, ..listing(origin, access, false, deadline) }).await?.stdout;
    if answer.is_empty() && matches!(origin.way, Way::Http | Way::Https) {
        // Any web page of one line passes for an empty repository of the oldest protocol: look whether
        // git spoke to git.
        let said = child::run(listing(origin, access, true, deadline)).await?.stderr;
        if !said.windows(PACKET.len()).any(|window| window == PACKET) {
            return Err(SourceError::Nonsense { url: origin::shown(&origin.url), line: "it is no git server".into() });
        }
    }
    parse(&answer).map_err(|line| SourceError::Nonsense { url: origin::shown(&origin.url), line })
}

const PACKET: &[u8] = b" packet: ";

fn listing<'a>(origin: &'a Origin, access: &'a Access, trace: bool, deadline: Duration) -> Call<'a> {
    Call {
        what: "asking",
        origin,
        access,
        link: None,
        git_dir: None,
        args: ["ls-remote", "--quiet", "--symref", "--", &origin.url].map(Into::into).to_vec(),
        input: Vec::new(),
        patience: 30,
        stdout_max: ANSWER_MAX,
        file_max: 1 << 20,
        trace,
        deadline,
    }
}

/// Reads `OBJECT<TAB>REF` and `ref: REF<TAB>HEAD`. An annotated tag comes twice: the tag itself, then
/// what it points to as `REF^{}`.
fn parse(answer: &[u8]) -> Result<Remote, String> {
    let mut remote = Remote::default();
    let mut head = None;
    for line in answer.split(|&c| c == b'\n').filter(|line| !line.is_empty()) {
        let nonsense = || clean::line(line, 120);
        let tab = line.iter().position(|&c| c == b'\t').ok_or_else(nonsense)?;
        let (left, right) = line.split_at(tab);
        let (Ok(left), Ok(right)) = (str::from_utf8(left), str::from_utf8(right.get(1..).unwrap_or_default())) else {
            continue;
        };
        if let Some(target) = left.strip_prefix("ref: ") {
            if right == "HEAD" {
                head = RefName::new(target).ok();
            }
            continue;
        }
        let id = CommitId::new(left).map_err(|_| nonsense())?;
        // Of a ref with a broken name git gives no object.
        if left.bytes().all(|c| c == b'0') {
            continue;
        }
        if let Ok(name) = RefName::new(right.strip_suffix("^{}").unwrap_or(right)) {
            remote.refs.insert(name, id);
        }
    }
    remote.head = head.filter(|head| !head.is_tag() && remote.refs.contains_key(head));
    Ok(remote)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> String {
        digit.to_string().repeat(40)
    }

    #[test]
    fn an_answer_is_read() {
        let (a, b, c) = (id('a'), id('b'), id('c'));
        let text = format!(
            "ref: refs/heads/main\tHEAD\n{a}\tHEAD\n{a}\trefs/heads/main\n{b}\trefs/heads/-odd\n{b}\trefs/pull/1/head\n\
             {b}\trefs/tags/v1\n{c}\trefs/tags/v1^{{}}\n"
        );
        let remote = parse(text.as_bytes()).unwrap();
        assert_eq!(remote.head, Some(RefName::branch("main").unwrap()));
        let refs: Vec<_> = remote.refs.iter().map(|(name, id)| (name.as_str(), id.as_str())).collect();
        assert_eq!(
            refs,
            [("refs/heads/main", a.as_str()), ("refs/pull/1/head", b.as_str()), ("refs/tags/v1", c.as_str())]
        );
    }

    #[test]
    fn empty_unborn_detached_and_strange_answers() {
        assert_eq!(parse(b"").unwrap(), Remote::default());
        let unborn = format!("ref: refs/heads/main\tHEAD\n{}\trefs/heads/dev\n", id('a'));
        assert_eq!(parse(unborn.as_bytes()).unwrap().head, None);
        let detached = format!("{}\tHEAD\n{}\trefs/heads/dev\n", id('a'), id('a'));
        assert_eq!(parse(detached.as_bytes()).unwrap().head, None);
        let broken = format!("{}\trefs/heads/a\n", id('0'));
        assert!(parse(broken.as_bytes()).unwrap().refs.is_empty());
        let not_utf8 = [id('a').as_bytes(), b"\trefs/heads/\xff\n"].concat();
        assert!(parse(&not_utf8).unwrap().refs.is_empty());
        for bad in ["hello\n", "xyz\trefs/heads/main\n", "\trefs/heads/main\n", "<html>\t</html>\n"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_answer_makes_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }
    }
}
