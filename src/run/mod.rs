//! The supervisor: one attempt, carried out in a small process of its own that outlives the daemon. It
//! reads `ticket.json` and states facts; what they mean for the pipeline is decided by `pipeline`. It is
//! single-threaded and synchronous, and it is gone when nothing of the run is alive.

/// Files that a run leaves and finds.
pub mod artifacts;
/// The child that looks for them.
pub mod collect;
/// The environment of a step.
pub mod env;
/// What the supervisor states.
pub mod events;
/// The control group of a run.
pub mod hold;
/// Step 0.
pub mod init;
/// A workspace that is kept.
pub mod kept;
/// What the steps print.
pub mod log;
/// A run's log, read by offset.
pub mod logfile;
/// Secrets taken out of a stream.
pub mod mask;
/// Supervisors as copies of one process.
pub mod nursery;
/// What a run hands to everything downstream.
pub mod outputs;
/// One program, started and ended with its descendants.
pub mod process;
/// The secrets of one run.
pub mod secrets;
/// The order of a run.
pub mod steps;
/// What is kept of a log.
pub mod stream;
/// As whom the steps run.
pub mod user;
/// The checked out commit.
pub mod workspace;

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::model::commit::RefName;
use crate::model::job::Sandbox;
use crate::model::run::{Outcome, Usage};
use crate::model::secret::OnLeak;
use crate::model::ticket::{CLAIMED, Fact, LOCK, OUT, SUPERVISOR_LOG, TICKET, Ticket, VERSION, WORK, is_spoken};
use crate::run::env::Places;
use crate::run::events::Events;
use crate::run::hold::Hold;
use crate::run::log::Log;
use crate::run::mask::SHORTEST;
use crate::run::process::Bench;
use crate::run::secrets::Secrets;
use crate::run::steps::Verdict;
use crate::sys::lock::Lock;
use crate::sys::process::Signals;
use crate::sys::{files, host};

/// Nothing of the run is alive and all is stated.
const DONE: u8 = 0;
/// Something of this host stood in the way; the supervisor's own log says what.
const BROKEN: u8 = 1;
/// Another supervisor, or the launcher's fence, was here first.
const CLAIMED_BY_ANOTHER: u8 = 3;
/// What the background gets between TERM and KILL at the end of the run, at most.
const BACKGROUND_GRACE: Duration = Duration::from_secs(2);
/// The word in argv that makes a process the one that removes what the steps of an attempt had.
const SWEEP: &str = "--sweep";
/// A ticket is not larger.
const TICKET_MAX: u64 = 16 << 20;
/// Most are not larger than this.
const TICKET_USUAL: usize = 16 << 10;

/// `shipbell supervise ARGUMENTS`: the exit code.
#[must_use]
pub fn main(arguments: &[OsString]) -> u8 {
    match arguments {
        [word, rest @ ..] if word == collect::COLLECT => match collect::child(rest) {
            Ok(()) => DONE,
            // Its standard error is the pipe that nobody reads any more.
            Err(_) => BROKEN,
        },
        [word, rest @ ..] if word == workspace::CHECKOUT => match workspace::child(rest) {
            Ok(notes) => {
                notes.iter().for_each(|note| say(&format!("=== {note}")));
                DONE
            }
            Err(why) => {
                say(&why);
                BROKEN
            }
        },
        [word, dir] if word == SWEEP => match sweep(Path::new(dir)) {
            Ok(()) => DONE,
            Err(error) => {
                say(&format!("{}: {error}", Path::new(dir).display()));
                BROKEN
            }
        },
        [word, _room] if word == nursery::NURSERY => match nursery::serve() {
            Ok(()) => DONE,
            // Nobody reads its words; whoever started it sees that it is gone.
            Err(_) => BROKEN,
        },
        [dir] => supervise(Path::new(dir)),
        _ => {
            say("usage: shipbell supervise RUN_DIR (started by Shipbell itself)");
            64
        }
    }
}

/// Carries the attempt in `dir` out, unless somebody was here before. Returns when nothing of it lives.
#[must_use]
pub fn supervise(dir: &Path) -> u8 {
    match attempt(dir) {
        Ok(code) => code,
        Err(error) => {
            say(&format!("{}: {error}", dir.display()));
            BROKEN
        }
    }
}

/// Removes what the steps of an attempt had; log, events and artifacts stay.
///
/// # Errors
/// If its supervisor lives, or something stays.
pub fn sweep(dir: &Path) -> io::Result<()> {
    if Lock::is_held(&dir.join(LOCK))? {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, "its supervisor lives"));
    }
    secrets::remove_left(dir);
    [WORK, OUT].iter().try_for_each(|name| files::remove_tree(&dir.join(name)))
}

/// Where a supervisor speaks that has no standard error of its own.
static SAID_IN: OnceLock<PathBuf> = OnceLock::new();

/// From now on what is said, and a panic, stands in the attempt's own directory: a file that is made only
/// if there is something to say.
fn say_in(dir: &Path) {
    let _ = SAID_IN.set(dir.join(SUPERVISOR_LOG));
    std::panic::set_hook(Box::new(|panic| say(&panic.to_string())));
}

/// A closed standard error is no reason to end.
fn say(text: &str) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let _ = match SAID_IN.get() {
        Some(path) => {
            let opened = std::fs::File::options().append(true).create(true).mode(0o640).open(path);
            opened.and_then(|mut file| writeln!(file, "{text}"))
        }
        None => writeln!(io::stderr(), "{text}"),
    };
}

fn attempt(dir: &Path) -> io::Result<u8> {
    // Before anything else: from here on TERM is a wish that we look at, not our end.
    let signals = Signals::block()?;
    crate::sys::process::become_supervisor()?;
    let dir = dir.canonicalize()?;
    // To have systemd do it costs it a look at the host's groups, and a question of its child to PID 1.
    crate::sys::process::take_group_of(&dir);
    let Some(lock) = Lock::take(&dir.join(LOCK))? else { return Ok(CLAIMED_BY_ANOTHER) };
    let (pid, boot_id) = (std::process::id(), host::boot_id()?);
    // Whoever wants us to stop finds us by this number while the lock is held.
    lock.file().write_all(format!("{pid}\n").as_bytes())?;
    let ticket = read_ticket(&dir);
    let lasting = ticket.as_ref().map_or(true, |ticket| ticket.definition.outlasts_a_power_cut());
    if !claim(&dir, &format!("{boot_id} {pid}\n"), lasting)? {
        return Ok(CLAIMED_BY_ANOTHER);
    }
    // Facts are said in the version of whoever asked: that one has to understand them.
    let mut events = Events::begin(&dir, ticket.as_ref().map_or(VERSION, |ticket| ticket.v), lasting)?;
    // That it began is what `claimed` says.
    events.state(Fact::Started { boot_id, pid }, false);
    match ticket {
        Ok(ticket) => {
            let mut bench = lay_out(dir, ticket, events, signals, lock)?;
            let verdict = steps::carry_out(&mut bench);
            conclude(&mut bench, verdict)?;
            // Nobody else here has the rights for it but another unit, and to make one costs more than a run.
            if bench.ticket.unit.is_some() {
                let dir = bench.dir.clone();
                // It is over once the lock is free.
                drop(bench);
                sweep(&dir)?;
            }
        }
        Err(why) => {
            say(&why);
            events.state(finished(Outcome::Failed, why, None, Usage::default()), true);
            events.state(Fact::Empty, true);
            events.settle()?;
        }
    }
    Ok(DONE)
}

fn read_ticket(dir: &Path) -> Result<Ticket, String> {
    let unread = |error: io::Error| format!("{TICKET} cannot be read: {error}");
    let dir = files::open_dir(dir).map_err(unread)?;
    let file = files::open_beneath(&dir, TICKET.as_ref(), false).map_err(unread)?;
    let mut text = Vec::with_capacity(TICKET_USUAL);
    file.take(TICKET_MAX).read_to_end(&mut text).map_err(unread)?;
    #[derive(serde::Deserialize)]
    struct Versioned {
        v: u32,
    }
    let none = |error: serde_json::Error| format!("{TICKET} is not a ticket: {error}");
    // The version first: another one's ticket need not look like ours.
    let Versioned { v } = serde_json::from_slice(&text).map_err(none)?;
    match is_spoken(v) {
        true => serde_json::from_slice(&text).map_err(none),
        false => Err(format!(
            "{TICKET} is of version {v}, and this shipbell reads {VERSION} and the one before: \
             restart shipbell-executor and shipbell, so that they are of one version with it"
        )),
    }
}

fn lay_out(dir: PathBuf, ticket: Ticket, events: Events, signals: Signals, lock: Lock) -> io::Result<Bench> {
    let (secrets, lost) = match Secrets::receive(&ticket.definition) {
        Ok(secrets) => (secrets, None),
        Err(why) => (Secrets::default(), Some(why)),
    };
    let mut log = Log::begin(&dir, ticket.definition.log_limit, secrets.masker())?;
    // What a unit says stands in the journal: `journalctl -u` then tells the run's story.
    log.echo(ticket.unit.is_some());
    let mut places = Places::of(&dir);
    if let Some(kept) = kept::place(&ticket) {
        places.work = kept;
    }
    let (doer, refusal) = match user::of_ticket(&ticket) {
        Ok(doer) => (doer, None),
        Err(why) => (user::Doer { name: String::new(), identity: None, warning: None }, Some(why)),
    };
    log.note(&format!("=== {}, attempt {}, as user {}", ticket.order.run, ticket.order.attempt, doer.name));
    if let Some(warning) = &doer.warning {
        log.note(&format!("=== WARNING: {warning}"));
    }
    if ticket.order.git_ref.as_ref().is_some_and(RefName::is_pull) {
        log.note("=== a pull request: no secrets, no network, nothing of it is kept or counts elsewhere");
    }
    match &ticket.unit {
        Some(unit) => log.note(&format!("=== unit {unit}, sandbox {}", ticket.definition.sandbox)),
        None if ticket.definition.deploys() && ticket.definition.sandbox != Sandbox::Off => {
            log.note("=== no unit of systemd here, so no sandbox: only its user keeps this deployment apart");
        }
        None => {}
    }
    for name in secrets.unmasked() {
        log.note(&format!("=== WARNING: secret {name} is shorter than {SHORTEST} bytes and is not masked in this log"));
    }
    let id = format!("{}.{}", ticket.order.run.id(), ticket.order.attempt);
    let hold = Hold::begin(&lock, &id, &ticket.definition.limits, &doer)?;
    for warning in &hold.warnings {
        log.note(&format!("=== WARNING: {warning}"));
    }
    let env = env::of_run(&ticket, &places, &doer.name);
    let deadline = Instant::now() + ticket.definition.timeout.duration();
    let mut bench = Bench {
        dir,
        places,
        ticket,
        doer,
        refusal: refusal.or(lost),
        secrets,
        kept: None,
        env,
        events,
        log,
        outputs: outputs::Outputs::default(),
        deadline,
        touched: false,
        stop: None,
        signals,
        hold,
        lock,
        awaited: None,
        childless: true,
    };
    // It may have been asked for before there was anybody to hear it.
    bench.look_for_stop();
    Ok(bench)
}

/// Ends what lives, takes what the run leaves, and states the result; `Empty` comes when it is true.
fn conclude(bench: &mut Bench, mut verdict: Verdict) -> io::Result<()> {
    let lasting = bench.ticket.definition.outlasts_a_power_cut();
    let mut is_empty = bench.end_tree(BACKGROUND_GRACE.min(bench.ticket.definition.grace.duration()));
    if is_empty {
        bench.log.end();
    } else {
        bench.log.note("=== something of this run does not die; its end is waited for");
    }
    // Before the collecting, which is ours and not the steps'.
    let mut usage = bench.hold.usage(&bench.ticket.definition.limits, bench.log.printed());
    if artifacts::may_be_there(bench) {
        is_empty = false;
        if let Err(why) = artifacts::collect(bench) {
            bench.log.note(&format!("=== {why}"));
            verdict.worsen(Outcome::Failed, why, None);
        }
    }
    bench.secrets.remove(&bench.dir);
    kept::leave(bench);
    leaks(bench, &mut verdict);
    let end = if verdict.good() { String::new() } else { format!(": {}", verdict.reason) };
    bench.log.note(&format!("=== {}{}", verdict.outcome, end.replace('\n', "\n=== ")));
    usage.masked = bench.log.hits();
    // Where `Empty` follows at once, its way to the disk takes this line along.
    let reason = bench.log.clean(&verdict.reason).0;
    bench.events.state(finished(verdict.outcome, reason, verdict.step, usage), lasting && !bench.childless);
    bench.events.settle()?;
    while !is_empty {
        is_empty = bench.end_tree(Duration::ZERO);
    }
    bench.hold.end();
    if lasting {
        bench.log.sync();
    }
    bench.events.state(Fact::Empty, lasting);
    bench.events.settle()
}

/// Secrets that were printed are said, and fail the run where the job wants that.
fn leaks(bench: &mut Bench, verdict: &mut Verdict) {
    let times = match bench.log.hits() {
        0 => return,
        1 => "once".to_owned(),
        hits => format!("{hits} times"),
    };
    bench.log.note(&format!("=== MASKED: the steps printed a secret {times}; *** stands in its place"));
    if bench.ticket.definition.on_leak == OnLeak::Fail {
        let why = format!("the steps printed a secret {times} (on-leak = \"fail\")");
        verdict.worsen(Outcome::Failed, why, None);
    }
}

fn finished(outcome: Outcome, reason: String, step: Option<(u32, String)>, usage: Usage) -> Fact {
    Fact::Finished { outcome, reason, step, usage }
}

/// Makes `claimed`; `lasting`: it is there after a power cut as well. False if it is there.
///
/// # Errors
/// If the disk does not take it.
pub fn claim(dir: &Path, text: &str, lasting: bool) -> io::Result<bool> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let mut file = match options.write(true).create_new(true).mode(0o640).open(dir.join(CLAIMED)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error),
    };
    file.write_all(text.as_bytes())?;
    if lasting {
        file.sync_all()?;
        // The way to it too: this directory is as new as the file.
        [Some(dir), dir.parent()].into_iter().flatten().try_for_each(files::sync_dir)?;
    }
    Ok(true)
}
