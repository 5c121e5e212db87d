//! The process of an executor that is apart: who may ask, how much at once, and which verb does what. It
//! believes nothing that it is told; a question that is none ends its connection and is written down.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::wire::{self, ANSWER_MAX, Answer, QUESTION_MAX, Question, VERSION, Verb};
use super::{Here, StartError};
use crate::model::job::Definition;
use crate::model::ticket::StartOrder;
use crate::sys::{host, socket};

/// Connections at once; more are closed.
const CONNECTIONS_MAX: usize = 64;
/// A question comes whole within this time, and its answer is taken.
const PATIENCE: Duration = Duration::from_secs(10);
/// Questions wait for locks and for systemd, and need little.
const STACK: usize = 512 << 10;
/// A reason is a sentence.
const REASON_MAX: usize = 4096;

/// What it works with.
pub struct Server {
    pub here: Here,
    /// Users that may ask.
    pub allowed: Vec<u32>,
    /// Reads the job files anew and has `here` learn them; a text where that failed.
    pub reload: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// Answers until the process ends.
///
/// # Errors
/// If nobody can come any more.
pub fn serve(listener: &UnixListener, server: Server) -> io::Result<()> {
    let (server, open) = (Arc::new(server), Arc::new(AtomicUsize::new(0)));
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            // Too many open files: that passes.
            Err(error) => {
                warn!("a connection could not be taken: {error}");
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        if open.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS_MAX {
            open.fetch_sub(1, Ordering::SeqCst);
            warn!("more than {CONNECTIONS_MAX} connections at once: one is closed");
            continue;
        }
        let (server, open) = (Arc::clone(&server), Done(Arc::clone(&open)));
        let talk = move || {
            let _open = open;
            server.talk(stream);
        };
        if let Err(error) = std::thread::Builder::new().name("ask".into()).stack_size(STACK).spawn(talk) {
            error!("a connection could not be answered: {error}");
        }
    }
}

/// A place among the connections, given back however its thread ends.
struct Done(Arc<AtomicUsize>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Server {
    fn talk(&self, mut stream: UnixStream) {
        let uid = match socket::peer_uid(&stream) {
            Ok(uid) if self.allowed.contains(&uid) => uid,
            Ok(uid) => return warn!("{} may not ask the executor and was sent away", host::user_name_of(uid)),
            Err(error) => return warn!("somebody unknown was sent away: {error}"),
        };
        let timeouts = stream.set_read_timeout(Some(PATIENCE)).and(stream.set_write_timeout(Some(PATIENCE)));
        if let Err(error) = timeouts {
            return warn!("a connection without a time limit was closed: {error}");
        }
        loop {
            let question = match wire::read::<Question>(&mut stream, QUESTION_MAX) {
                Ok(Some(question)) => question,
                Ok(None) => return,
                Err(error) => return warn!("a connection was closed: what came is no question: {error}"),
            };
            let answer = self.answer(question, uid);
            if let Err(error) = wire::write(&mut stream, &answer, ANSWER_MAX) {
                return debug!("an answer was not taken: {error}");
            }
        }
    }

    /// Who may approve is read from root's files now, not when the daemon last said that they changed.
    fn start(&self, order: &StartOrder) -> Result<(), StartError> {
        let wants_votes = |definition: Arc<Definition>| definition.environment.as_ref()?.approval.clone();
        if self.here.definition(&order.definition).and_then(wants_votes).is_some() {
            (self.reload)().map_err(StartError::Refused)?;
        }
        self.here.start(order)
    }

    fn answer(&self, question: Question, uid: u32) -> Answer {
        if question.v != VERSION {
            let why = format!("this executor speaks version {VERSION}, not {}: restart both", question.v);
            return Answer::Refused { why };
        }
        match question.verb {
            Verb::Start { order } => match self.start(&order) {
                Ok(()) => {
                    info!("{}, attempt {}, started ({})", order.run, order.attempt, order.cause);
                    Answer::Done
                }
                Err(StartError::Refused(why)) => {
                    warn!("{}, attempt {}, refused: {why}", order.run, order.attempt);
                    Answer::Refused { why }
                }
                Err(StartError::Failed(error) | StartError::Unclear(error)) => failed(&error),
            },
            Verb::Stop { run, attempt, reason } => {
                let reason: String = reason.chars().take(REASON_MAX).collect();
                done(self.here.stop(&run, attempt, &reason))
            }
            Verb::Status { run, attempt } => {
                // Its own reading: what the host is, is not for others to say.
                let status = host::boot_id().and_then(|boot_id| self.here.status(&run, attempt, &boot_id));
                status.map_or_else(|error| failed(&error), |status| Answer::Status { status })
            }
            Verb::List => attempts(self.here.list()),
            Verb::Kept => attempts(self.here.kept()),
            Verb::Ack { run, attempt } => done(self.here.ack(&run, attempt)),
            Verb::Code { statement, person, code } => {
                let taken = self.here.code(&statement, &person, &code);
                taken.map_or_else(|error| failed(&error), |taken| Answer::Code { taken })
            }
            Verb::Withdraw { statement, why } => {
                let why: String = why.chars().take(REASON_MAX).collect();
                done(self.here.withdraw(&statement, &why))
            }
            Verb::BreakGlass { glass } if uid == 0 => done(self.here.break_glass(&glass)),
            Verb::BreakGlass { glass } => {
                let who = host::user_name_of(uid);
                warn!("BREAK-GLASS refused: {who} is not root and wanted {} to go without votes", glass.run);
                Answer::Refused { why: format!("only root may let a deployment go without votes, and you are {who}") }
            }
            Verb::Remove { run, part } => match self.here.remove(&run, part) {
                Ok(bytes) => Answer::Removed { bytes },
                Err(error) => {
                    warn!("{part} of {run} stays: {error}");
                    failed(&error)
                }
            },
            Verb::Reload => (self.reload)().map_or_else(|why| Answer::Failed { why, busy: false }, |()| Answer::Done),
        }
    }
}

fn attempts(found: io::Result<Vec<(crate::model::name::RunRef, u32)>>) -> Answer {
    found.map_or_else(|error| failed(&error), |attempts| Answer::Attempts { attempts })
}

fn done(result: io::Result<()>) -> Answer {
    result.map_or_else(|error| failed(&error), |()| Answer::Done)
}

fn failed(error: &io::Error) -> Answer {
    Answer::Failed { why: error.to_string(), busy: error.kind() == io::ErrorKind::ResourceBusy }
}
