//! The executor in a process of its own, asked over its socket: a connection for each question, so that
//! its restart is nobody's trouble. A question may be asked twice, as every verb may be done twice.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::wire::{self, ANSWER_MAX, Answer, QUESTION_MAX, Question, VERSION, Verb};
use super::{Glass, StartError, Status, Taken};
use crate::model::name::{PersonName, RunRef};
use crate::model::retention::Part;
use crate::model::statement::Statement;
use crate::model::ticket::StartOrder;

/// systemd has as long to answer the executor; then there is trouble.
const PATIENCE: Duration = Duration::from_secs(40);
/// Between the tries of a question: one that was cut off by a restart is answered by the next process.
const PAUSES: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(300), Duration::from_secs(1)];

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Remote {
    socket: PathBuf,
}

impl Remote {
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    pub fn start(&self, order: &StartOrder) -> Result<(), StartError> {
        match self.ask(Verb::Start { order: Box::new(order.clone()) }) {
            Ok(Answer::Done) => Ok(()),
            Ok(Answer::Refused { why }) => Err(StartError::Refused(why)),
            Ok(Answer::Failed { why, .. }) => Err(StartError::Failed(io::Error::other(why))),
            Ok(other) => Err(StartError::Unclear(strange(&other))),
            Err(error) => Err(StartError::Unclear(error)),
        }
    }

    pub fn stop(&self, run: &RunRef, attempt: u32, reason: &str) -> io::Result<()> {
        self.done(Verb::Stop { run: run.clone(), attempt, reason: reason.to_owned() })
    }

    pub fn status(&self, run: &RunRef, attempt: u32) -> io::Result<Status> {
        match self.ask(Verb::Status { run: run.clone(), attempt })? {
            Answer::Status { status } => Ok(status),
            other => Err(strange(&other)),
        }
    }

    pub fn list(&self) -> io::Result<Vec<(RunRef, u32)>> {
        self.attempts(Verb::List)
    }

    pub fn kept(&self) -> io::Result<Vec<(RunRef, u32)>> {
        self.attempts(Verb::Kept)
    }

    pub fn ack(&self, run: &RunRef, attempt: u32) -> io::Result<()> {
        self.done(Verb::Ack { run: run.clone(), attempt })
    }

    pub fn remove(&self, run: &RunRef, part: Part) -> io::Result<u64> {
        match self.ask(Verb::Remove { run: run.clone(), part })? {
            Answer::Removed { bytes } => Ok(bytes),
            other => Err(strange(&other)),
        }
    }

    pub fn reload(&self) -> io::Result<()> {
        self.done(Verb::Reload)
    }

    pub fn break_glass(&self, glass: &Glass) -> io::Result<()> {
        self.done(Verb::BreakGlass { glass: glass.clone() })
    }

    pub fn code(&self, statement: &Statement, person: &PersonName, code: &str) -> io::Result<Taken> {
        let statement = Box::new(statement.clone());
        match self.ask(Verb::Code { statement, person: person.clone(), code: code.to_owned() })? {
            Answer::Code { taken } => Ok(taken),
            other => Err(strange(&other)),
        }
    }

    pub fn withdraw(&self, statement: &Statement, why: &str) -> io::Result<()> {
        self.done(Verb::Withdraw { statement: Box::new(statement.clone()), why: why.to_owned() })
    }

    fn attempts(&self, verb: Verb) -> io::Result<Vec<(RunRef, u32)>> {
        match self.ask(verb)? {
            Answer::Attempts { attempts } => Ok(attempts),
            other => Err(strange(&other)),
        }
    }

    fn done(&self, verb: Verb) -> io::Result<()> {
        match self.ask(verb)? {
            Answer::Done => Ok(()),
            other => Err(strange(&other)),
        }
    }

    fn ask(&self, verb: Verb) -> io::Result<Answer> {
        let question = Question { v: VERSION, verb };
        let mut pauses = PAUSES.iter();
        loop {
            match self.ask_once(&question) {
                Err(error) if cut_off(&error) => match pauses.next() {
                    Some(pause) => std::thread::sleep(*pause),
                    None => return Err(told(&error, &self.socket)),
                },
                Err(error) => return Err(told(&error, &self.socket)),
                Ok(answer) => return Ok(answer),
            }
        }
    }

    fn ask_once(&self, question: &Question) -> io::Result<Answer> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        wire::write(&mut stream, question, QUESTION_MAX)?;
        wire::read(&mut stream, ANSWER_MAX)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// It was killed, or is just being started.
fn cut_off(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionRefused | ConnectionReset | NotFound | UnexpectedEof)
}

fn told(error: &io::Error, socket: &Path) -> io::Error {
    let text =
        format!("the executor does not answer on {}: {error}: systemctl status shipbell-executor", socket.display());
    io::Error::new(error.kind(), text)
}

/// An answer that says why, or one to another question.
fn strange(answer: &Answer) -> io::Error {
    match answer {
        Answer::Failed { why, busy: true } => io::Error::new(io::ErrorKind::ResourceBusy, why.clone()),
        Answer::Failed { why, .. } | Answer::Refused { why } => io::Error::other(why.clone()),
        other => io::Error::other(format!("the executor gave no answer to the question: {other:?}")),
    }
}
