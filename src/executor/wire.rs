//! What is said over the socket of an executor that is a process of its own: one question and one answer,
//! each JSON behind its length. Questions are small and carry nothing that would be believed: names,
//! numbers, and an order for a definition that the executor knows.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Glass, Taken};
use crate::launch::Status;
use crate::model::name::{PersonName, RunRef};
use crate::model::retention::Part;
use crate::model::statement::Statement;
use crate::model::ticket::StartOrder;

/// Spoken by both sides; another one is refused.
pub const VERSION: u32 = 1;
/// Outputs of all runs upstream are in an order.
pub const QUESTION_MAX: u32 = 4 << 20;
/// A list of all attempts is long on an old host.
pub const ANSWER_MAX: u32 = 64 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    pub v: u32,
    #[serde(flatten)]
    pub verb: Verb,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum Verb {
    Start {
        order: Box<StartOrder>,
    },
    Stop {
        run: RunRef,
        attempt: u32,
        reason: String,
    },
    Status {
        run: RunRef,
        attempt: u32,
    },
    List,
    Kept,
    Ack {
        run: RunRef,
        attempt: u32,
    },
    Remove {
        run: RunRef,
        part: Part,
    },
    Reload,
    /// A person says yes to this, with a code.
    Code {
        statement: Box<Statement>,
        person: PersonName,
        code: String,
    },
    /// Nothing starts by its votes any more.
    Withdraw {
        statement: Box<Statement>,
        why: String,
    },
    /// Only from root.
    BreakGlass {
        glass: Glass,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    Done,
    /// It will never be accepted like this.
    Refused {
        why: String,
    },
    /// This host stood in the way.
    Failed {
        why: String,
        /// The attempt still runs.
        busy: bool,
    },
    Status {
        status: Status,
    },
    /// The disk has so many bytes more.
    Removed {
        bytes: u64,
    },
    Attempts {
        attempts: Vec<(RunRef, u32)>,
    },
    Code {
        taken: Taken,
    },
}

/// Writes one message.
///
/// # Errors
/// If it is too long, or the other side does not take it.
pub fn write(to: &mut impl Write, message: &impl Serialize, max: u32) -> io::Result<()> {
    let text = serde_json::to_vec(message).map_err(io::Error::other)?;
    let length = u32::try_from(text.len()).ok().filter(|length| *length <= max).ok_or_else(too_long)?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend_from_slice(&text);
    to.write_all(&frame)?;
    to.flush()
}

/// Reads one message; `None`: the other side has nothing more to say.
///
/// # Errors
/// If it is too long, cut short or no such message.
pub fn read<T: DeserializeOwned>(from: &mut impl Read, max: u32) -> io::Result<Option<T>> {
    let mut length = [0_u8; 4];
    match from.read(&mut length[..1])? {
        0 => return Ok(None),
        _ => from.read_exact(&mut length[1..])?,
    }
    let length = u32::from_be_bytes(length);
    if length > max {
        return Err(too_long());
    }
    // Grows with what comes: a length alone makes nobody set memory aside.
    let mut text = Vec::new();
    from.take(u64::from(length)).read_to_end(&mut text)?;
    if text.len() as u64 != u64::from(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&text).map(Some).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the message is too long")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_question(bytes: &[u8]) -> io::Result<Option<Question>> {
        read(&mut &bytes[..], QUESTION_MAX)
    }

    #[test]
    fn a_message_is_read_back_and_nothing_else_is_one() {
        let question = Question { v: VERSION, verb: Verb::List };
        let mut bytes = Vec::new();
        write(&mut bytes, &question, QUESTION_MAX).unwrap();
        assert_eq!(read_question(&bytes).unwrap(), Some(question.clone()));
        assert_eq!(read_question(&[]).unwrap(), None);
        for cut in 1..bytes.len() {
            assert!(read_question(&bytes[..cut]).is_err(), "{cut}");
        }
        for bad in ["", "null", "{}", r#"{"v":1,"verb":"launch"}"#, r#"{"v":1,"verb":"start"}"#, "\u{0}"] {
            let mut frame = u32::try_from(bad.len()).unwrap().to_be_bytes().to_vec();
            frame.extend_from_slice(bad.as_bytes());
            assert!(read_question(&frame).is_err(), "{bad}");
        }
        assert!(read_question(&[0xff; 64]).is_err(), "a length of 4 GiB");
        assert!(write(&mut Vec::new(), &question, 3).is_err());
    }
}
