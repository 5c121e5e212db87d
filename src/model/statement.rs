//! What a person puts their name to: the tuple of a request, with the run and the host that it is for, as
//! one canonical text. It is what is shown, what is signed, and what the executor makes anew from an order
//! before it believes a signature. Who may sign is not decided here.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::model::commit::RefName;
use crate::model::job::Hash;
use crate::model::name::{PersonName, RunRef};
use crate::model::request::{Request, Signed, Tuple};
use crate::model::time::{Seconds, Timestamp};

/// `ssh-keygen -Y sign -n`: a signature that was made for something else does not count here.
pub const NAMESPACE: &str = "shipbell-approve";
/// Longest armored signature that is looked at; one of RSA with 16,384 bits has 6 KiB.
pub const SIGNATURE_MAX: usize = 8 << 10;
/// How long root's word to start a run without votes holds.
pub const GLASS_FOR: Seconds = Seconds(3600);
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";

/// The number of the text's form; it is part of what is signed.
pub const VERSION: u32 = 1;

/// One request, as it is put before people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    pub v: u32,
    pub request: u64,
    pub run: RunRef,
    /// Of its run: the steps are told the branch or tag, so it is part of what they do.
    pub git_ref: Option<RefName>,
    pub tuple: Tuple,
    pub asked_at: Timestamp,
    pub expires_at: Timestamp,
}

/// The votes that an order stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipts {
    pub statement: Statement,
    pub votes: Vec<Receipt>,
}

/// One approving vote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub person: PersonName,
    pub at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
}

impl Statement {
    #[must_use]
    pub fn of(request: &Request, git_ref: Option<&RefName>) -> Self {
        Self {
            v: VERSION,
            request: request.id,
            run: request.run.clone(),
            git_ref: git_ref.cloned(),
            tuple: request.tuple.clone(),
            asked_at: request.asked_at,
            expires_at: request.expires_at,
        }
    }

    /// Printable ASCII, a line for each fact and a newline at its end. Whatever is not a name, a number or an
    /// instant of ours stands in quotes, so that no text can be read as two facts.
    #[must_use]
    pub fn text(&self, host: &str) -> String {
        let tuple = &self.tuple;
        let mut lines = vec![
            format!("I approve this deployment by Shipbell (text {})", self.v),
            format!("host {}", quoted(host)),
            format!("run {}", self.run),
            format!("request {}", self.request),
            format!("tuple {}", tuple.v),
            format!("environment {}", tuple.environment),
            format!("definition {}", quoted(tuple.definition.as_str())),
            format!("policy {}", quoted(tuple.policy.as_str())),
        ];
        lines.extend(tuple.repository.iter().map(|url| format!("repository {}", quoted(url))));
        lines.extend(self.git_ref.iter().map(|name| format!("ref {}", quoted(name.as_str()))));
        lines.extend(tuple.commit.iter().map(|commit| format!("commit {commit}")));
        lines.extend(tuple.params.iter().map(|(key, value)| format!("param {} is {}", quoted(key), quoted(value))));
        for need in &tuple.upstream {
            lines.push(format!("needs {} by {}, definition {}", need.job, need.run, quoted(need.definition.as_str())));
            let outputs = need.outputs.iter();
            lines.extend(outputs.map(|(key, value)| format!("  output {} is {}", quoted(key), quoted(value))));
            lines.extend(need.artifacts.iter().map(|artifact| {
                let (path, hash) = (quoted(&artifact.path), quoted(artifact.sha256.as_str()));
                format!("  artifact {path}, sha256 {hash}, {} bytes", artifact.size)
            }));
        }
        lines.extend(tuple.takes_back.iter().map(|commit| format!("takes back {commit}")));
        lines.extend(tuple.after.iter().map(|run| format!("after {run}, which did not end well")));
        lines.push(format!("asked {}", self.asked_at));
        lines.push(format!("answer until {}", self.expires_at));
        lines.push(String::new());
        lines.join("\n")
    }

    /// Of the text: short enough to be compared by eye, or read out.
    #[must_use]
    pub fn hash(&self, host: &str) -> Hash {
        Hash::of(self.text(host).as_bytes())
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ => {
                let _ = write!(quoted, "\\u{{{:x}}}", u32::from(c));
            }
        }
    }
    quoted.push('"');
    quoted
}

/// What to type where the key is, and the text goes in as it stands; the answer is the signature.
#[must_use]
pub fn command(text: &str) -> String {
    format!("ssh-keygen -Y sign -n {NAMESPACE} -f ~/.ssh/id_ed25519 <<'END'\n{text}END")
}

/// A signature as `ssh-keygen` wrote it, whatever a form or a mail did to its line ends.
///
/// # Errors
/// What is wrong with it.
pub fn armored(text: &str) -> Result<String, &'static str> {
    let lines = text.trim().lines().map(str::trim_end);
    let armored = lines.fold(String::new(), |all, line| all + line + "\n");
    if armored.len() > SIGNATURE_MAX {
        return Err("this is longer than any signature");
    }
    if !armored.starts_with(BEGIN) || !armored.ends_with("-----END SSH SIGNATURE-----\n") {
        return Err("a signature begins with -----BEGIN SSH SIGNATURE----- and ends with -----END SSH SIGNATURE-----");
    }
    Ok(armored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::run::{Artifact, Upstream};

    fn statement() -> Statement {
        let upstream = Upstream {
            job: "image".parse().unwrap(),
            run: "app/image#3".parse().unwrap(),
            definition: Hash::of(b"image"),
            outputs: [("image".to_owned(), "x\nrun app/other#9\u{202e}\"".to_owned())].into(),
            artifacts: vec![Artifact { path: "a b".into(), sha256: Hash::of(b"a"), size: 1 }],
        };
        Statement {
            v: VERSION,
            request: 7,
            run: "app/production#4".parse().unwrap(),
            git_ref: Some(RefName::branch("main").unwrap()),
            tuple: Tuple {
                v: 1,
                repository: Some("https://git.example.org/app.git".into()),
                commit: Some("a".repeat(40).parse().unwrap()),
                definition: Hash::of(b"production"),
                params: [("TENANT".to_owned(), "x".to_owned())].into(),
                upstream: vec![upstream],
                takes_back: vec!["b".repeat(40).parse().unwrap()],
                environment: "production".parse().unwrap(),
                policy: Hash::of(b"policy"),
                after: Some("app/production#3".parse().unwrap()),
            },
            asked_at: "2026-11-27T16:55:00Z".parse().unwrap(),
            expires_at: "2026-11-30T16:55:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn the_text_is_one_line_a_fact_and_strangers_cannot_add_any() {
        let text = statement().text("ci1");
        assert!(text.is_ascii() && text.ends_with("2026-11-30T16:55:00Z\n"), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("run ")).count(), 1, "{text}");
        assert!(text.contains(r#"  output "image" is "x\u{a}run app/other#9\u{202e}\"""#), "{text}");
        assert!(!text.lines().any(|line| line == "END" || line.is_empty()), "it can be pasted: {text}");
    }

    #[test]
    fn every_fact_changes_the_text() {
        let changes: [fn(&mut Statement); 17] = [
            |s| s.v = 2,
            |s| s.request = 8,
            |s| s.run.number = 5,
            |s| s.git_ref = Some(RefName::new("refs/tags/main").unwrap()),
            |s| s.tuple.v = 2,
            |s| s.tuple.repository = None,
            |s| s.tuple.commit = None,
            |s| s.tuple.definition = Hash::of(b"other"),
            |s| drop(s.tuple.params.insert("TENANT".into(), "y".into())),
            |s| s.tuple.upstream.clear(),
            |s| s.tuple.upstream.iter_mut().for_each(|need| need.artifacts.clear()),
            |s| s.tuple.takes_back.clear(),
            |s| s.tuple.environment = "staging".parse().unwrap(),
            |s| s.tuple.policy = Hash::of(b"other"),
            |s| s.tuple.after = None,
            |s| s.asked_at = s.expires_at,
            |s| s.expires_at = s.asked_at,
        ];
        let mut seen = std::collections::BTreeSet::from([statement().hash("ci1"), statement().hash("ci2")]);
        for (number, change) in changes.iter().enumerate() {
            let mut other = statement();
            change(&mut other);
            assert!(seen.insert(other.hash("ci1")), "change {number}");
        }
    }

    #[test]
    fn a_pasted_signature_is_put_right_and_nothing_else_is_one() {
        let good = "-----BEGIN SSH SIGNATURE-----\nU1NI\n-----END SSH SIGNATURE-----\n";
        for text in [good.to_owned(), format!("\n {}  ", good.replace('\n', "\r\n")), good.trim().into()] {
            assert_eq!(armored(&text).as_deref(), Ok(good));
        }
        for bad in ["", "production", good.trim_start_matches('-'), &good.replace("U1NI", &"A".repeat(9000))] {
            assert!(armored(bad).is_err(), "{bad}");
        }
    }
}
