//! One program of a run, carried out: started, waited for, its output copied meanwhile, ended with all
//! its descendants when its time is over or somebody wants the run to stop. Which programs, in which
//! order and how long, is decided in `steps`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::model::job::Sandbox;
use crate::model::run::{Outcome, StepEnd};
use crate::model::ticket::{STOP, Ticket};
use crate::run::env::Places;
use crate::run::events::Events;
use crate::run::hold::Hold;
use crate::run::log::Log;
use crate::run::outputs::Outputs;
use crate::run::secrets::Secrets;
use crate::run::user::Doer;
use crate::sys::lock::Lock;
use crate::sys::process::{self, Blow, Ended, Program, Signals};
use crate::sys::{files, host};

/// How long a KILL is repeated before we say that something does not die.
const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks at a disk that took no facts.
const DISK_PAUSE: Duration = Duration::from_millis(500);
/// Between the first two rounds of KILL.
const KILL_PAUSE: Duration = Duration::from_millis(5);
/// Nothing is waited for longer in one go: facts that wait for the disk are tried again.
const LONGEST_TURN: Duration = Duration::from_secs(1);
/// What a reason for stopping may have.
const REASON_MAX: u64 = 4096;

/// All that a supervisor works with.
#[derive(Debug)]
pub struct Bench {
    pub dir: PathBuf,
    pub places: Places,
    pub ticket: Ticket,
    pub doer: Doer,
    /// Why nobody can carry the steps out.
    pub refusal: Option<String>,
    pub secrets: Secrets,
    /// Held as long as the kept workspace is ours.
    pub kept: Option<Lock>,
    /// What every step sees.
    pub env: BTreeMap<String, String>,
    pub events: Events,
    pub log: Log,
    pub outputs: Outputs,
    /// When the run's own timeout is over.
    pub deadline: Instant,
    /// A step after `init` has begun, and that is on disk.
    pub touched: bool,
    pub stop: Option<Stop>,
    pub signals: Signals,
    /// The group that all programs are started in.
    pub hold: Hold,
    /// Held as long as the bench stands. Its file names our process and the sessions of our programs.
    pub lock: Lock,
    /// The program that is waited for, and how it ended.
    pub awaited: Option<(i32, Option<Ended>)>,
    /// Nothing that descends from us is left.
    pub childless: bool,
}

/// The run is to end before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    pub why: String,
    /// Cancelled where somebody wants it, interrupted where the host goes down.
    pub outcome: Outcome,
}

impl Stop {
    fn wanted(why: String) -> Self {
        Self { why, outcome: Outcome::Cancelled }
    }

    /// A TERM for which no reason was written down.
    fn from_outside() -> Self {
        match host::is_going_down() {
            true => Self { why: "the host was shut down".into(), outcome: Outcome::Interrupted },
            false => Self::wanted("stopped from outside".into()),
        }
    }
}

/// What a program does when somebody wants the run to stop while it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStop {
    End,
    /// It goes on, and has this long from then on.
    Hurry(Duration),
    GoOn,
}

/// What is to be started; who, where to and from what follows from the bench.
#[derive(Debug)]
pub struct Task {
    pub argv: Vec<OsString>,
    pub env: BTreeMap<String, String>,
    pub dir: PathBuf,
}

impl Bench {
    /// Starts it and returns when it has ended, its time is over or the run is to stop. In the last two
    /// cases nothing of the run is alive any more. What it left in the background lives on.
    pub fn carry_out(&mut self, task: Task, mut until: Instant, on_stop: OnStop) -> StepEnd {
        if on_stop == OnStop::End && self.stop.is_some() {
            return StepEnd::Cancelled;
        }
        let what = task.argv.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
        let place = task.dir.clone();
        let path = task.env.get("PATH").cloned().unwrap_or_default();
        let pid = match self.start(task) {
            Ok(pid) => pid,
            // The directory is there, so it is the program that is not.
            Err(error) if error.kind() == io::ErrorKind::NotFound && place.is_dir() => {
                let advice = "Install it, or write shell = [\"sh\", \"-eu\", \"-c\"] in the job";
                return StepEnd::Refused(format!("there is no {what} on this host (PATH is {path}). {advice}"));
            }
            Err(error) => {
                return StepEnd::Refused(format!("{what} could not be started in {}: {error}", place.display()));
            }
        };
        self.awaited = Some((pid, None));
        self.leave_mark(pid);
        let mut hurried = false;
        loop {
            self.turn(until.saturating_duration_since(Instant::now()));
            let ended = match self.awaited {
                Some((_, Some(Ended::Exit(code)))) => Some(StepEnd::Exit(code)),
                Some((_, Some(Ended::Signal(signal)))) => Some(StepEnd::Signal(signal)),
                _ => None,
            };
            if (ended.is_some() || self.hold.look()) && self.hold.ran_out_of_memory() {
                // Half of it is gone; the rest would only fail in stranger ways.
                self.end_tree(Duration::ZERO);
                return StepEnd::OutOfMemory;
            }
            if let Some(end) = ended {
                return end;
            }
            match on_stop {
                OnStop::End if self.stop.is_some() => {
                    self.end_tree(self.ticket.definition.grace.duration());
                    return StepEnd::Cancelled;
                }
                OnStop::Hurry(longest) if self.stop.is_some() && !hurried => {
                    hurried = true;
                    until = until.min(Instant::now() + longest);
                }
                OnStop::End | OnStop::Hurry(_) | OnStop::GoOn => {}
            }
            if Instant::now() >= until {
                self.end_tree(self.ticket.definition.grace.duration());
                return StepEnd::TimedOut;
            }
        }
    }

    /// For whoever has to end what we leave, should we be killed.
    fn leave_mark(&self, pid: i32) {
        let uid = self.doer.owner().map_or_else(host::effective_uid, |(uid, _)| uid);
        if let Some(start) = process::started(pid) {
            let _ = self.lock.file().write_all(format!("{pid} {start} {uid}\n").as_bytes());
        }
    }

    /// Waits until the facts so far are on disk. False: somebody wants the run to stop, or its time is
    /// over, and they are not.
    pub fn facts_are_on_disk(&mut self) -> bool {
        while self.events.waits() && self.stop.is_none() && Instant::now() < self.deadline {
            self.turn(DISK_PAUSE);
        }
        !self.events.waits()
    }

    fn start(&self, task: Task) -> io::Result<i32> {
        self.start_to(task, self.log.writer()?)
    }

    /// Starts it with its output going elsewhere than to the log.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_to(&self, task: Task, output: OwnedFd) -> io::Result<i32> {
        let env = task.env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        process::start(&Program {
            argv: task.argv,
            env,
            dir: task.dir,
            output,
            identity: self.doer.identity.clone(),
            entrance: self.hold.cage.entrance()?,
            ceilings: self.hold.ceilings,
            may_rise: self.ticket.definition.sandbox == Sandbox::Off,
        })
    }

    /// Waits until something happens, and takes note of it: output, ended children, a wish to stop.
    pub fn turn(&mut self, longest: Duration) {
        if !longest.is_zero() {
            self.log.say();
        }
        let fds = [std::os::fd::AsFd::as_fd(&self.signals), self.log.pipe()];
        if process::wait_readable(&fds, longest.min(LONGEST_TURN)).is_err() {
            std::thread::sleep(KILL_PAUSE);
        }
        self.log.take_in();
        if self.signals.take().stop && self.stop.is_none() {
            self.stop = Some(self.reason_to_stop().unwrap_or_else(Stop::from_outside));
        }
        self.reap();
        if self.events.waits() {
            let _ = self.events.retry();
        }
    }

    fn reap(&mut self) {
        let reaped = process::reap();
        if let Some((pid, end @ None)) = &mut self.awaited {
            *end = reaped.ended.iter().find(|(ended, _)| ended == pid).map(|(_, how)| *how);
        }
        self.childless = reaped.childless;
    }

    /// Whether the launcher asked for an end before we could hear it.
    pub fn look_for_stop(&mut self) {
        if self.stop.is_none() {
            self.stop = self.reason_to_stop();
        }
    }

    fn reason_to_stop(&self) -> Option<Stop> {
        use std::io::Read as _;
        let dir = files::open_dir(&self.dir).ok()?;
        let file = files::open_beneath(&dir, STOP.as_ref(), false).ok()?;
        let mut text = Vec::new();
        file.take(REASON_MAX).read_to_end(&mut text).ok()?;
        let text = plain(&String::from_utf8_lossy(&text));
        Some(Stop::wanted(if text.is_empty() { "cancelled".into() } else { text }))
    }

    /// Ends everything that descends from us: TERM, `grace`, KILL until nothing is left. Whether that
    /// came true within [`KILL_PATIENCE`].
    pub fn end_tree(&mut self, grace: Duration) -> bool {
        self.reap();
        if !self.childless {
            process::signal_descendants(Blow::Term);
        }
        let until = Instant::now() + grace;
        while !self.childless && Instant::now() < until {
            self.turn(until.saturating_duration_since(Instant::now()));
        }
        let (patience, mut pause) = (Instant::now() + KILL_PATIENCE, KILL_PAUSE);
        loop {
            if self.nothing_is_left() {
                return true;
            }
            if Instant::now() >= patience {
                return false;
            }
            // The group at once; then whoever got out of it: root may.
            self.hold.cage.kill();
            process::signal_descendants(Blow::Kill);
            // A death wakes us at once; what does not die is not asked a thousand times.
            self.turn(pause);
            pause = (pause * 2).min(LONGEST_TURN);
        }
    }

    /// No child of ours, and nobody in the group: a process can be in it without descending from us, and
    /// the other way round.
    fn nothing_is_left(&self) -> bool {
        self.childless && self.hold.cage.is_empty()
    }
}

/// Text from outside without what could attack a reader; lines stay lines.
#[must_use]
pub fn plain(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}
