//! The order of a run: workspace, `init`, steps, `verify`. The first bad end decides the verdict; what
//! comes after it is skipped, except `always` steps, which run in their order and turn nothing green.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::model::job::{StepDef, VerifyDef};
use crate::model::run::{Outcome, StepEnd};
use crate::model::ticket::Fact;
use crate::run::process::{Bench, OnStop, Stop, Task};
use crate::run::{artifacts, env, init, kept, workspace};

/// What an `always` step without a timeout of its own has, in graces, once the run's time is over or
/// somebody wants it to stop.
const GRACES_FOR_ALWAYS: u32 = 6;
/// Between two tries of `verify`: at first, and at most.
const VERIFY_PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// How the run ended, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    /// Empty for success.
    pub reason: String,
    pub step: Option<(u32, String)>,
}

impl Verdict {
    #[must_use]
    pub fn good(&self) -> bool {
        self.outcome == Outcome::Succeeded
    }

    /// The first bad end stays.
    pub fn worsen(&mut self, outcome: Outcome, reason: String, step: Option<(u32, String)>) {
        if self.good() {
            *self = Self { outcome, reason, step };
        }
    }

    fn absorb(&mut self, bench: &Bench, index: u32, name: &str, end: &StepEnd, more: Option<&str>) {
        let step = format!("step {index} \"{name}\"");
        let more = more.map(|more| format!(": {more}")).unwrap_or_default();
        let (outcome, reason) = match end {
            StepEnd::Exit(0) => return,
            StepEnd::Exit(_) | StepEnd::Signal(_) => (Outcome::Failed, format!("{end} in {step}{more}")),
            StepEnd::Refused(why) => {
                (Outcome::Failed, format!("{step}: {}", why.lines().next().unwrap_or("it could not begin")))
            }
            StepEnd::OutOfMemory => (Outcome::Failed, format!("{end} in {step}{}", limit_of_memory(bench))),
            StepEnd::TimedOut if Instant::now() >= bench.deadline => {
                let timeout = bench.ticket.definition.timeout;
                (Outcome::TimedOut, format!("the run's {timeout} were over in {step}"))
            }
            StepEnd::TimedOut => (Outcome::TimedOut, format!("the time of {step} was over")),
            StepEnd::Cancelled => {
                let stop = stop(bench);
                (stop.outcome, format!("{} in {step}", stop.why))
            }
        };
        self.worsen(outcome, reason, Some((index, name.to_owned())));
    }
}

fn limit_of_memory(bench: &Bench) -> String {
    let limit = bench.ticket.definition.limits.memory;
    limit.map(|bytes| format!(" (limits.memory is {} MiB)", bytes >> 20)).unwrap_or_default()
}

fn stop(bench: &Bench) -> Stop {
    bench.stop.clone().unwrap_or_else(|| Stop { why: "cancelled".into(), outcome: Outcome::Cancelled })
}

/// Carries the ticket out. When it returns, background processes may still be alive.
pub fn carry_out(bench: &mut Bench) -> Verdict {
    let mut verdict = Verdict { outcome: Outcome::Succeeded, reason: String::new(), step: None };
    let definition = bench.ticket.definition.clone();
    if let Err(end) = prepare(bench) {
        let name = if definition.init.is_some() { "init" } else { "workspace" };
        let end = one_step(bench, &Plan { index: 0, name, always: false, text: "" }, |_| end);
        verdict.absorb(bench, 0, name, &end, None);
        return verdict;
    }
    if let Some(init) = &definition.init {
        let plan = Plan { index: 0, name: "init", always: false, text: &init.run };
        let end = one_step(bench, &plan, |bench| match init::check_config(&bench.ticket, &bench.places) {
            Err(why) => StepEnd::Refused(why),
            Ok(()) => {
                let task = shell(bench, &init.run, None, env::with_params(bench.env.clone(), &bench.ticket));
                bench.carry_out(task, bench.deadline, OnStop::End)
            }
        });
        let failed = matches!(end, StepEnd::Exit(1..));
        let hint = failed.then(|| init::hint(init, &bench.log.recent(), &bench.places)).flatten();
        if let Some(hint) = &hint {
            bench.log.note(&format!("=== {}", hint.replace('\n', "\n=== ")));
        }
        let first = hint.as_deref().and_then(|hint| hint.split(':').next());
        verdict.absorb(bench, 0, "init", &end, first);
    }
    give_secrets(bench, &mut verdict);
    let mut index = 0;
    for step in &definition.steps {
        index += 1;
        bench.turn(Duration::ZERO);
        if let Some(Stop { why, outcome }) = bench.stop.clone() {
            verdict.worsen(outcome, why, None);
        }
        if verdict.good() || step.always {
            let end = user_step(bench, index, step);
            verdict.absorb(bench, index, &step.name, &end, None);
        }
    }
    if let (true, Some(verify)) = (verdict.good(), &definition.verify) {
        let plan = Plan { index: index + 1, name: "verify", always: false, text: &verify.run };
        let end = one_step(bench, &plan, |bench| check_deployed(bench, verify));
        verdict.absorb(bench, index + 1, "verify", &end, None);
    }
    verdict
}

/// From here on the steps have their secrets. What `init` left running is ended first: it is not to see
/// them.
fn give_secrets(bench: &mut Bench, verdict: &mut Verdict) {
    let definition = &bench.ticket.definition;
    if !definition.hides_secrets_from_init() {
        return;
    }
    let (names, wanted) = (definition.secret_files(), definition.env.clone());
    bench.turn(Duration::ZERO);
    if !bench.childless {
        bench.log.note("=== what init left running is ended: it is not to see the secrets of this job");
        bench.end_tree(bench.ticket.definition.grace.duration());
    }
    let (dir, owner) = (bench.dir.clone(), bench.doer.owner());
    let placed = bench.secrets.place(&dir, &names, owner).and_then(|warning| {
        bench.secrets.add_to(&mut bench.env, &wanted)?;
        Ok(warning)
    });
    match placed {
        Ok(None) => {}
        Ok(Some(warning)) => bench.log.note(&format!("=== WARNING: {warning}")),
        Err(why) => {
            bench.log.note(&format!("=== {why}"));
            verdict.worsen(Outcome::Failed, why, None);
        }
    }
}

/// Everything before the first program of the job.
fn prepare(bench: &mut Bench) -> Result<(), StepEnd> {
    let refused = StepEnd::Refused;
    if let Some(why) = bench.refusal.clone() {
        return Err(refused(why));
    }
    bench.kept = kept::take(bench)?;
    workspace::make_directories(bench).map_err(|error| refused(format!("the workspace cannot be made: {error}")))?;
    workspace::check_out(bench)?;
    artifacts::restore(bench).map_err(refused)?;
    init::place_config(&bench.ticket, &bench.places, &bench.secrets, bench.doer.owner()).map_err(refused)
}

struct Plan<'a> {
    index: u32,
    name: &'a str,
    always: bool,
    text: &'a str,
}

/// The frame of a step: its facts, its lines in the log, what it wrote to `$SHIPBELL_OUTPUT`.
fn one_step(bench: &mut Bench, plan: &Plan<'_>, body: impl FnOnce(&mut Bench) -> StepEnd) -> StepEnd {
    let (index, name, always) = (plan.index, plan.name.to_owned(), plan.always);
    // From the first step after `init` on an environment may be touched: that must be on disk before. Of
    // what touches none it is asked only while this host is up.
    let lasting = index > 0 && !bench.touched && bench.ticket.definition.deploys();
    bench.touched |= index > 0;
    let log = bench.log.offset();
    bench.events.state(Fact::Step { index, name, always, log }, lasting);
    let mut lines = plan.text.lines();
    let first = lines.next().unwrap_or_default();
    let more = if lines.next().is_some() { " ..." } else { "" };
    bench.log.note(&format!("=== step {index} \"{}\": {first}{more}", plan.name));
    bench.log.forget_recent();
    let mut end = match lasting && !bench.facts_are_on_disk() {
        true if bench.stop.is_some() => StepEnd::Cancelled,
        true => StepEnd::Refused("the disk is full or fails: it could not be recorded that this step begins".into()),
        false => body(bench),
    };
    bench.log.end_step();
    let (values, read) = bench.outputs.read_new(&bench.places);
    let mut read = read;
    for (key, value) in values {
        // Outputs are kept, shown and mailed: a secret in them is no output.
        if bench.log.clean(&format!("{key}={value}")).1 {
            read = Err(format!("$SHIPBELL_OUTPUT, {key}: a secret is in its value, and outputs are stored and shown"));
            continue;
        }
        bench.events.state(Fact::Value { key, value }, false);
    }
    if let (true, Err(why)) = (end.good(), read) {
        end = StepEnd::Refused(why);
    }
    if let StepEnd::Refused(why) = &mut end {
        *why = bench.log.clean(why).0;
    }
    if !end.good() {
        let said = end.to_string().replace('\n', "\n=== ");
        bench.log.note(&format!("=== step {index} \"{}\" ended: {said}", plan.name));
    }
    bench.events.state(Fact::StepEnded { index, end: end.clone(), log: bench.log.offset() }, false);
    end
}

fn user_step(bench: &mut Bench, index: u32, step: &StepDef) -> StepEnd {
    let plan = Plan { index, name: &step.name, always: step.always, text: &step.run };
    one_step(bench, &plan, |bench| {
        let env = match env::of_step(&bench.env, step, &bench.secrets, &bench.ticket) {
            Ok(env) => env,
            Err(why) => return StepEnd::Refused(why),
        };
        let dir = step.dir.clone().or_else(|| bench.ticket.definition.dir.clone());
        let task = shell(bench, &step.run, dir.as_deref(), env);
        let now = Instant::now();
        let own = step.timeout.map(|timeout| now + timeout.duration());
        if !step.always {
            return bench.carry_out(task, own.map_or(bench.deadline, |own| own.min(bench.deadline)), OnStop::End);
        }
        let some = bench.ticket.definition.grace.duration() * GRACES_FOR_ALWAYS;
        match own {
            Some(own) => bench.carry_out(task, own, OnStop::GoOn),
            None => bench.carry_out(task, bench.deadline.max(now + some), OnStop::Hurry(some)),
        }
    })
}

/// The job's shell with this text.
fn shell(bench: &Bench, text: &str, dir: Option<&str>, env: std::collections::BTreeMap<String, String>) -> Task {
    let mut argv: Vec<OsString> = bench.ticket.definition.shell.iter().map(OsString::from).collect();
    argv.push(text.into());
    let dir: PathBuf = dir.map_or_else(|| bench.places.work.clone(), |dir| bench.places.work.join(dir));
    Task { argv, env, dir }
}

/// `verify`: tried until it is good or its time is over.
fn check_deployed(bench: &mut Bench, verify: &VerifyDef) -> StepEnd {
    let until = (Instant::now() + verify.within.duration()).min(bench.deadline);
    let mut pause = VERIFY_PAUSE.0;
    let mut last = String::from("it did not end");
    loop {
        bench.log.forget_recent();
        let task = shell(bench, &verify.run, None, env::with_params(bench.env.clone(), &bench.ticket));
        match bench.carry_out(task, until, OnStop::End) {
            StepEnd::Cancelled => return StepEnd::Cancelled,
            StepEnd::TimedOut => {}
            StepEnd::Exit(0) => {
                bench.log.take_in();
                let commit = bench.ticket.order.commit.as_ref().map(crate::model::commit::CommitId::as_str);
                match wrong_commit(&bench.log.recent(), commit) {
                    None => return StepEnd::Exit(0),
                    Some(why) => last = why,
                }
            }
            end => last = end.to_string(),
        }
        let next = Instant::now() + pause;
        if next >= until {
            return StepEnd::Refused(format!("not good within {}; the last try: {last}", verify.within));
        }
        while Instant::now() < next {
            bench.turn(next.saturating_duration_since(Instant::now()));
            if bench.stop.is_some() {
                return StepEnd::Cancelled;
            }
        }
        pause = (pause * 2).min(VERIFY_PAUSE.1);
    }
}

/// Whether the last line names a commit, and that is another one.
fn wrong_commit(output: &str, commit: Option<&str>) -> Option<String> {
    let line = output.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    let hex = line.bytes().all(|c| c.is_ascii_hexdigit()) && line.bytes().any(|c| c.is_ascii_alphabetic());
    if !hex || !(7..=64).contains(&line.len()) {
        return None;
    }
    let (answer, commit) = (line.to_ascii_lowercase(), commit.unwrap_or_default());
    (!commit.starts_with(&answer)).then(|| format!("it answers {answer}, not this commit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_a_commit_must_be_this_one() {
        let commit = Some("7848d7c7354945fe7b40f6b990db8b6013a9037c");
        for (output, wrong) in [
            ("", false),
            ("ok\n", false),
            ("7848d7c\n", false),
            ("version\n7848D7C735\n\n", false),
            ("7848d7\n", false),
            ("3f9d0aa\n", true),
            ("1234567\n", false),
            ("{\"ok\":true}", false),
            ("7848d7c7354945fe7b40f6b990db8b6013a9037d", true),
        ] {
            assert_eq!(wrong_commit(output, commit).is_some(), wrong, "{output:?}");
        }
    }
}
