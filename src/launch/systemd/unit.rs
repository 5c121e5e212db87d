//! What the transient unit of an attempt is: its name and its properties, as plain data. The sandbox
//! presets are decided here; how the unit is handed to systemd stands in `bus.rs`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::job::{Definition, Sandbox};
use crate::model::name::RunRef;
use crate::model::ticket::{StartOrder, Ticket};
use crate::model::time::Seconds;

/// All units of runs begin so.
pub const PREFIX: &str = "shipbell-run-";
/// Below it `systemd-cgtop` shows all runs together; a drop-in may limit them together.
pub const SLICE: &str = "shipbell-jobs.slice";
/// A directory of this name is Shipbell's own, with all that is in it.
const OURS: &str = "shipbell";
/// In graces, what an `always` step without a timeout of its own may take (as `run::steps` has it).
const GRACES_FOR_ALWAYS: u32 = 6;
/// For what a supervisor does besides waiting: collecting artifacts, recording, a slow disk.
const SLACK: Duration = Duration::from_secs(15 * 60);

/// What a supervisor needs to become the job's user, to hand a workspace over, to end what it
/// started and to remove what that left: KILL, SETUID, SETGID, CHOWN, FOWNER, `DAC_OVERRIDE`.
const CAPABILITIES: u64 = (1 << 5) | (1 << 7) | (1 << 6) | 1 | (1 << 3) | (1 << 1);

/// A value of a unit's property, in the words of systemd's bus interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Flag(bool),
    Number(u64),
    Bits32(u32),
    Texts(Vec<String>),
    /// Programs with their arguments, none of them expanded.
    Command(Vec<String>),
    /// Directories shown at their own place; whether one may be missing.
    Binds(Vec<(String, bool)>),
    /// Empty directories in place of what is there, with their mount options.
    Covers(Vec<(String, String)>),
    /// Fields of every line in the journal.
    Fields(Vec<String>),
}

pub type Property = (&'static str, Value);

/// Where things lie that units must reach, or must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    pub runs: PathBuf,
    pub mirrors: PathBuf,
    /// Emptied in the sight of a run.
    pub covered: Vec<PathBuf>,
    /// Not even there for a run.
    pub hidden: Vec<PathBuf>,
}

/// The unit of an attempt. Names have no dots, so that a second attempt is never another run.
#[must_use]
pub fn name(run: &RunRef, attempt: u32) -> String {
    match attempt {
        1 => format!("{PREFIX}{}.service", run.id()),
        _ => format!("{PREFIX}{}.{attempt}.service", run.id()),
    }
}

/// The attempt whose unit this is.
#[must_use]
pub fn attempt_of(unit: &str) -> Option<(RunRef, u32)> {
    let id = unit.strip_prefix(PREFIX)?.strip_suffix(".service")?;
    let found = match RunRef::from_id(id) {
        Ok(run) => (run, 1),
        Err(_) => {
            let (id, attempt) = id.rsplit_once('.')?;
            (RunRef::from_id(id).ok()?, attempt.parse().ok().filter(|attempt| *attempt > 1)?)
        }
    };
    // Only the one spelling: no leading zeros.
    (name(&found.0, found.1) == unit).then_some(found)
}

/// The unit that carries out the attempt in `dir`.
#[must_use]
pub fn of_attempt(ticket: &Ticket, dir: &Path, binary: &Path, places: &Places) -> Vec<Property> {
    let (order, definition) = (&ticket.order, &ticket.definition);
    let ending = ending(definition);
    let longest = definition.timeout.duration() + ending + SLACK;
    let mut unit = basis(format!("Shipbell run {}, attempt {}", order.run, order.attempt), ending);
    unit.extend([
        ("ExecStartEx", command(binary, &["supervise", &text(dir)])),
        // A supervisor keeps the time itself; this is for one that does not any more.
        ("RuntimeMaxUSec", micros(longest)),
        ("LogExtraFields", Value::Fields(fields(order))),
    ]);
    unit.extend(sandbox(ticket, dir, places));
    unit
}

/// A unit that only removes what the steps of an attempt had: for one whose supervisor did not live to.
#[must_use]
pub fn of_sweep(run: &RunRef, attempt: u32, dir: &Path, binary: &Path) -> (String, Vec<Property>) {
    let mut unit = basis(format!("Shipbell sweeps {run}, attempt {attempt}"), Duration::from_secs(90));
    unit.extend([
        ("ExecStartEx", command(binary, &["supervise", "--sweep", &text(dir)])),
        ("CollectMode", Value::Text("inactive-or-failed".into())),
        ("CapabilityBoundingSet", Value::Number(CAPABILITIES)),
        ("NoNewPrivileges", Value::Flag(true)),
        ("ProtectSystem", Value::Text("strict".into())),
        ("ReadWritePaths", Value::Texts(vec![text(dir)])),
        ("PrivateNetwork", Value::Flag(true)),
    ]);
    (format!("shipbell-sweep-{}.{attempt}.service", run.id()), unit)
}

fn basis(description: String, ending: Duration) -> Vec<Property> {
    let word = |word: &str| Value::Text(word.into());
    vec![
        ("Description", Value::Text(description)),
        ("Slice", word(SLICE)),
        ("Type", word("simple")),
        ("Delegate", Value::Flag(true)),
        // TERM is for the supervisor, which ends the steps in its own way; KILL is for all.
        ("KillMode", word("mixed")),
        ("TimeoutStopUSec", micros(ending)),
        // One step that eats all memory is that step's failure.
        ("OOMPolicy", word("continue")),
        ("StandardInput", word("null")),
        ("StandardOutput", word("journal")),
        ("StandardError", word("journal")),
        ("SyslogIdentifier", word("shipbell")),
        ("UMask", Value::Bits32(0o027)),
        ("CPUAccounting", Value::Flag(true)),
        ("MemoryAccounting", Value::Flag(true)),
        ("TasksAccounting", Value::Flag(true)),
        ("IOAccounting", Value::Flag(true)),
    ]
}

/// How long a supervisor that is told to end may take: a grace for the step that runs, and what each
/// `always` step may take.
fn ending(definition: &Definition) -> Duration {
    let grace = definition.grace.duration();
    let always = definition.steps.iter().filter(|step| step.always);
    let each = always.map(|step| step.timeout.map_or(grace * GRACES_FOR_ALWAYS, Seconds::duration) + grace);
    grace + each.sum::<Duration>() + Duration::from_secs(30)
}

fn sandbox(ticket: &Ticket, dir: &Path, places: &Places) -> Vec<Property> {
    let kind = ticket.definition.sandbox;
    if kind == Sandbox::Off {
        return Vec::new();
    }
    let (there, absent): (Vec<&PathBuf>, Vec<&PathBuf>) = places.hidden.iter().partition(|path| path.exists());
    let mut covers = covers(places);
    covers.extend(there.into_iter().map(|path| (text(path), "ro,mode=0000".to_owned())));
    let mut unit = vec![
        ("CapabilityBoundingSet", Value::Number(CAPABILITIES)),
        ("NoNewPrivileges", Value::Flag(true)),
        ("ProtectSystem", Value::Text("strict".into())),
        // As empty as with `yes`, and made in a third of the time.
        ("ProtectHome", Value::Text("tmpfs".into())),
        ("PrivateTmp", Value::Flag(true)),
        // Without SYS_NICE nobody here schedules itself before the host, not even root. A filter of system
        // calls that said the same (RestrictRealtime) would be compiled for each run.
        ("LimitRTPRIO", Value::Number(0)),
        ("KeyringMode", Value::Text("private".into())),
        ("TemporaryFileSystem", Value::Covers(covers)),
        // The run's own directory with all its attempts, whose names a claim makes last.
        ("BindPaths", Value::Binds(binds(dir.parent(), ticket.home.parent()))),
        // What is missing costs nothing, and is not made.
        ("InaccessiblePaths", Value::Texts(absent.iter().map(|path| format!("-{}", text(path))).collect())),
    ];
    let readable = readable(&ticket.order, places);
    // An empty list of either kind would take back the binds of both.
    if !readable.is_empty() {
        unit.push(("BindReadOnlyPaths", Value::Binds(readable)));
    }
    if kind == Sandbox::Offline {
        unit.push(("PrivateNetwork", Value::Flag(true)));
    }
    unit
}

/// Passed through and not listed, as they are without a sandbox. Each is a mount of its own: several in one
/// directory of ours, of which there is nothing else to see, are covered together.
fn covers(places: &Places) -> Vec<(String, String)> {
    let whole = |path: &PathBuf| {
        let ours = path.parent().filter(|parent| parent.file_name().is_some_and(|name| name == OURS));
        ours.map_or_else(|| path.clone(), Path::to_owned)
    };
    let covered: BTreeSet<PathBuf> = places.covered.iter().map(whole).collect();
    covered.iter().map(|path| (text(path), "ro,mode=0711".to_owned())).collect()
}

fn binds(own: Option<&Path>, home: Option<&Path>) -> Vec<(String, bool)> {
    // A home of the attempt's own lies in what is bound already.
    let home = home.filter(|home| own.is_none_or(|own| !home.starts_with(own)));
    [own, home].into_iter().flatten().map(|path| (text(path), false)).collect()
}

/// The mirror of its own repository, and what the runs upstream left. What is missing is told by the
/// supervisor, in better words than systemd's.
fn readable(order: &StartOrder, places: &Places) -> Vec<(String, bool)> {
    let mut paths: Vec<String> = order.mirror.iter().map(|mirror| text(mirror)).collect();
    let upstream = order.needs.iter().filter(|upstream| !upstream.artifacts.is_empty());
    paths.extend(upstream.map(|upstream| text(&places.runs.join(upstream.run.id()))));
    paths.sort();
    paths.dedup();
    paths.into_iter().map(|path| (path, true)).collect()
}

fn fields(order: &StartOrder) -> Vec<String> {
    vec![
        format!("SHIPBELL_RUN={}", order.run.id()),
        format!("SHIPBELL_JOB={}", order.run.job),
        format!("SHIPBELL_ATTEMPT={}", order.attempt),
    ]
}

fn command(binary: &Path, arguments: &[&str]) -> Value {
    let words = std::iter::once(text(binary)).chain(arguments.iter().map(|word| (*word).to_owned()));
    Value::Command(words.collect())
}

fn micros(span: Duration) -> Value {
    Value::Number(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_a_directory_of_ours_is_covered_with_it_and_nobody_elses_is() {
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        let covered = |covered: &[&str]| {
            let places =
                Places { runs: "/r".into(), mirrors: "/m".into(), covered: paths(covered), hidden: Vec::new() };
            covers(&places).into_iter().map(|(path, _)| path).collect::<Vec<_>>()
        };
        let packaged = ["/var/lib/shipbell/runs", "/var/cache/shipbell/homes", "/var/lib/shipbell/db"];
        assert_eq!(covered(&packaged), ["/var/cache/shipbell", "/var/lib/shipbell"]);
        assert_eq!(covered(&["/srv/runs", "/srv/db", "/srv/shipbell"]), ["/srv/db", "/srv/runs", "/srv/shipbell"]);
    }

    #[test]
    fn names_of_units_are_read_back_and_in_one_spelling_only() {
        let run = RunRef::from_id("open-im.test.42").unwrap();
        for (attempt, expected) in
            [(1, "shipbell-run-open-im.test.42.service"), (2, "shipbell-run-open-im.test.42.2.service")]
        {
            assert_eq!(name(&run, attempt), expected);
            assert_eq!(attempt_of(expected), Some((run.clone(), attempt)));
        }
        for other in [
            "shipbell-run-open-im.test.42.1.service",
            "shipbell-run-open-im.test.42.0.service",
            "shipbell-run-open-im.test.42.02.service",
            "shipbell-run-open-im.test.042.service",
            "shipbell-run-open-im.test.service",
            "shipbell-run-a.b.1.2.3.service",
            "shipbell.service",
            "shipbell-run-open-im.test.42.slice",
        ] {
            assert_eq!(attempt_of(other), None, "{other}");
        }
    }
}
