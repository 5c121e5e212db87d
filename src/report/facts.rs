//! Gathers what a letter tells: from the database, the configuration and the run's log. Blocking. What the
//! facts come to in words is `message`'s business.

use std::io;
use std::sync::Arc;

use crate::model::catalog::{Catalog, Person};
use crate::model::job::{EnvironmentPolicy, Factor};
use crate::model::ledger::DueVerdict;
use crate::model::letter::{Letter, LetterKind};
use crate::model::name::{EnvironmentName, JobKey, PersonName, RunRef};
use crate::model::pause::Pause;
use crate::model::request::{Request, Slot};
use crate::model::run::{Outcome, Run, Upstream};
use crate::model::statement::Statement;
use crate::model::time::Timestamp;
use crate::model::window::{Opening, Windows};
use crate::report::message::{self, Asked, Checked, Frame, Mail, RunFacts, Signing, StaleFacts};
use crate::report::token::Keys;
use crate::report::{Undelivered, when};
use crate::store::{Reader, RunFilter, StoreError};

/// Runs looked at to tell since when a job fails.
const LOOK_BACK: usize = 200;

/// Bytes of the log from which the last lines are taken.
const TAIL_BYTES: u64 = 16 << 10;

/// Reads of a run's log: attempt, first byte, at most so many bytes; gives also the offset to go on from.
pub type ReadLog = Arc<dyn Fn(&RunRef, u32, u64, usize) -> io::Result<(Vec<u8>, u64)> + Send + Sync>;

/// All of a log between two offsets, with a line where some of it is missing.
///
/// # Errors
/// If it is there and cannot be read.
pub fn read_span(read: &ReadLog, run: &RunRef, attempt: u32, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let (mut bytes, mut at) = (Vec::new(), from);
    while at < to {
        let (piece, next) = read(run, attempt, at, usize::try_from(to - at).unwrap_or(usize::MAX))?;
        if next == at {
            break;
        }
        bytes.extend(piece);
        at = next;
    }
    Ok(bytes)
}

/// Where facts come from.
#[derive(Clone)]
pub struct Sources {
    pub reader: Reader,
    pub keys: Arc<Keys>,
    pub catalog: Arc<Catalog>,
    pub host: String,
    pub read_log: ReadLog,
}

impl From<StoreError> for Undelivered {
    fn from(error: StoreError) -> Self {
        Self::later(error.to_string())
    }
}

impl Sources {
    /// The mail that a letter is, as of now.
    ///
    /// # Errors
    /// If its facts cannot be read, or what it asks is over.
    pub fn mail(&self, letter: &Letter, now: Timestamp) -> Result<Mail, Undelivered> {
        match &letter.kind {
            LetterKind::Approval { request, slot } => self.approval(*request, slot, now),
            LetterKind::Decided { request } => {
                let request = self.request(*request)?;
                if request.is_open() {
                    return Err(Undelivered::later("the request is still open"));
                }
                let frame = self.frame_of(&request, now);
                Ok(message::decided(&request, &self.opening(&request, now), &frame))
            }
            LetterKind::Unsatisfiable { request } => {
                let request = self.request(*request)?;
                Ok(message::unsatisfiable(&request, &self.frame_of(&request, now)))
            }
            LetterKind::Rests { request, until } => {
                let request = self.request(*request)?;
                Ok(message::rests(&request, *until, &self.frame_of(&request, now)))
            }
            LetterKind::Failure { run } => self.of_run(run, letter, now, message::failure),
            LetterKind::Recovery { run } => self.of_run(run, letter, now, message::recovery),
            LetterKind::Unknown { run } => self.of_run(run, letter, now, message::unknown),
            LetterKind::Stale { job } => self.stale(job, now),
            LetterKind::Fresh { run } => Ok(message::fresh(&self.run(run)?, &self.frame_of_job(&run.job, now))),
            LetterKind::Mark { .. } | LetterKind::Carried { .. } | LetterKind::Ping { .. } => {
                Err(Undelivered::for_good("it is no mail"))
            }
            LetterKind::Long { run } => {
                let usual = self.reader.usual(&run.job)?;
                Ok(message::long(&self.run(run)?, usual, &self.frame_of_job(&run.job, now)))
            }
        }
    }

    fn request(&self, id: u64) -> Result<Request, Undelivered> {
        self.reader.request(id)?.ok_or_else(|| Undelivered::for_good(format!("request r-{id} is not in the database")))
    }

    fn approval(&self, id: u64, slot: &str, now: Timestamp) -> Result<Mail, Undelivered> {
        let request = self.request(id)?;
        if !request.is_open() {
            return Err(Undelivered::for_good(format!("already decided: {}", request.state.word())));
        }
        if request.expires_at <= now {
            return Err(Undelivered::for_good("already decided: its time is over"));
        }
        let slot = request.slots.iter().find(|known| known.id == slot).cloned();
        let slot = slot.ok_or_else(|| Undelivered::for_good("nobody is asked under this slot any more"))?;
        let (asked, frame) = self.asked_now(request, slot, now)?;
        Ok(message::ask(&asked, &frame))
    }

    /// What someone is asked, as of now: for the mail and for the page behind its link.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn asked_now(&self, request: Request, slot: Slot, now: Timestamp) -> Result<(Asked, Frame), StoreError> {
        let frame = self.frame_of(&request, now);
        let asked = Asked {
            link: format!("{}/a/{}", frame.public_url, self.keys.token(&request, &slot)),
            opening: self.opening(&request, frame.now),
            lists: lists(&self.catalog, &request),
            checked: checked(&self.reader, &self.catalog, &request)?,
            login: self.login(&slot.person),
            signing: self.signing(&request, &slot.person)?,
            coded: self.factor(&request) == Factor::Totp,
            request,
            slot,
        };
        Ok((asked, frame))
    }

    fn signing(&self, request: &Request, person: &PersonName) -> Result<Option<Signing>, StoreError> {
        if self.factor(request) != Factor::Sshsig {
            return Ok(None);
        }
        let git_ref = self.reader.run(&request.run)?.and_then(|run| run.git_ref);
        let text = Statement::of(request, git_ref.as_ref()).text(&self.host);
        let keys = self.catalog.people.get(person).map(|person| person.ssh_keys.clone()).unwrap_or_default();
        Ok(Some(Signing { text, keys }))
    }

    fn factor(&self, request: &Request) -> Factor {
        let policy = policy(&self.catalog, &request.run.job, &request.tuple.environment);
        policy.and_then(|policy| policy.approval.as_ref()).map_or(Factor::Word, |approval| approval.factor)
    }

    fn login(&self, person: &PersonName) -> bool {
        self.catalog.people.get(person).is_some_and(|person| person.login.is_some())
    }

    fn frame_of(&self, request: &Request, now: Timestamp) -> Frame {
        let policy = policy(&self.catalog, &request.run.job, &request.tuple.environment);
        frame(&self.catalog, policy, &self.host, now)
    }

    fn opening(&self, request: &Request, now: Timestamp) -> Opening {
        opening(policy(&self.catalog, &request.run.job, &request.tuple.environment), now)
    }

    fn run(&self, run: &RunRef) -> Result<Run, Undelivered> {
        self.reader.run(run)?.ok_or_else(|| Undelivered::for_good(format!("{run} is not in the database")))
    }

    fn frame_of_job(&self, job: &JobKey, now: Timestamp) -> Frame {
        let environment = self.catalog.job(job).and_then(|job| job.definition.environment.clone());
        frame(&self.catalog, environment.as_deref(), &self.host, now)
    }

    fn stale(&self, key: &JobKey, now: Timestamp) -> Result<Mail, Undelivered> {
        let limit = self.catalog.job(key).and_then(|job| job.notify.stale_after);
        let limit = limit.ok_or_else(|| Undelivered::for_good(format!("{key} has no stale-after any more")))?;
        let filter = RunFilter { job: Some(key.clone()), limit: 1, ..RunFilter::default() };
        let last_due = self.reader.ledger(key, 1)?.into_iter().next().and_then(|row| match row.verdict {
            DueVerdict::Skipped(why) => Some((row.last, why)),
            DueVerdict::Run(_) | DueVerdict::Coalesced(_) => None,
        });
        let facts = StaleFacts {
            job: key.clone(),
            limit,
            last_good: self.reader.last_success_before(key, u64::MAX)?,
            newest: self.reader.runs(&filter)?.into_iter().next(),
            last_due,
            paused: self.reader.pauses()?.iter().find(|pause| pause.scope.covers(key)).map(Pause::told),
        };
        Ok(message::stale(&facts, &self.frame_of_job(key, now)))
    }

    /// Whether the letter's reader is named in the configuration: an author line alone may say anything.
    fn knows(&self, letter: &Letter) -> bool {
        let named = |person: &Person| person.email.eq_ignore_ascii_case(&letter.to);
        letter.note.is_none() || self.catalog.people.values().any(named)
    }

    fn of_run(
        &self,
        run: &RunRef,
        letter: &Letter,
        now: Timestamp,
        tell: fn(&RunFacts, &Frame) -> Mail,
    ) -> Result<Mail, Undelivered> {
        let run = self.run(run)?;
        let environment = self.catalog.job(&run.run.job).and_then(|job| job.definition.environment.clone());
        let frame = frame(&self.catalog, environment.as_deref(), &self.host, now);
        let Some(finished) = run.finished().cloned() else {
            return Err(Undelivered::later(format!("{} has not ended", run.run)));
        };
        let before = self.before(&run)?;
        let first_bad = before.bad.iter().min_by_key(|bad| bad.run.number);
        let facts = RunFacts {
            commit: self.commit(&run)?,
            environment: environment.map(|policy| policy.name),
            first_bad: first_bad.map(|bad| (bad.run.clone(), bad.finished().map_or(bad.queued_at, |end| end.at))),
            bad_count: before.bad.len() as u64,
            last_good: before.last_good,
            looked_at_all: before.looked_at_all,
            tail: if self.knows(letter) { Some(self.tail(&run)?) } else { None },
            note: letter.note.clone(),
            finished,
            run,
        };
        Ok(tell(&facts, &frame))
    }

    fn commit(&self, run: &Run) -> Result<Option<crate::model::commit::CommitInfo>, StoreError> {
        run.commit.as_ref().map_or(Ok(None), |commit| self.reader.commit(&run.run.job.pipeline, commit))
    }

    /// What came before on the same branch: failures up to and with this run, back to the last success.
    fn before(&self, run: &Run) -> Result<Before, StoreError> {
        let filter =
            RunFilter { job: Some(run.run.job.clone()), finished_only: true, limit: LOOK_BACK, ..RunFilter::default() };
        let all = self.reader.runs(&filter)?;
        let looked_at_all = all.len() < LOOK_BACK;
        let mut mine: Vec<Run> =
            all.into_iter().filter(|old| old.git_ref == run.git_ref && old.run.number <= run.run.number).collect();
        mine.sort_by_key(|old| std::cmp::Reverse(old.run.number));
        let mut before = Before { bad: Vec::new(), last_good: None, looked_at_all };
        for old in mine {
            match old.outcome() {
                Some(Outcome::Succeeded) if old.run != run.run => {
                    before.last_good = Some(old);
                    break;
                }
                Some(Outcome::Failed | Outcome::TimedOut | Outcome::Interrupted | Outcome::Unknown) => {
                    before.bad.push(old);
                }
                _ => {}
            }
        }
        Ok(before)
    }

    /// The end of what the failed step (or the last one) printed.
    fn tail(&self, run: &Run) -> Result<String, StoreError> {
        let steps = self.reader.steps(&run.run, run.attempt)?;
        let failed = run.finished().and_then(|finished| finished.step.as_ref()).map(|(index, _)| *index);
        let step = steps.iter().find(|step| Some(step.index) == failed).or(steps.last());
        let (from, to) = step.map_or((0, None), |step| (step.log_from, step.log_to));
        let to = to.unwrap_or(from + TAIL_BYTES);
        let from = from.max(to.saturating_sub(TAIL_BYTES));
        // A log that is gone makes the mail shorter; it is no reason to send none.
        let bytes = read_span(&self.read_log, &run.run, run.attempt, from, to).unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

struct Before {
    /// Newest first.
    bad: Vec<Run>,
    last_good: Option<Run>,
    looked_at_all: bool,
}

/// The policy of an environment, as configured now.
#[must_use]
pub fn policy<'a>(catalog: &'a Catalog, job: &JobKey, name: &EnvironmentName) -> Option<&'a EnvironmentPolicy> {
    catalog.pipelines.get(&job.pipeline)?.environments.get(name)
}

/// The zone of an environment's window, else this Shipbell's.
#[must_use]
pub fn frame(catalog: &Catalog, policy: Option<&EnvironmentPolicy>, host: &str, now: Timestamp) -> Frame {
    let own = policy.and_then(|policy| policy.windows.first()).map(|window| window.zone.as_str());
    Frame {
        host: host.to_owned(),
        public_url: catalog.settings.public_url(),
        zone: when::zone(own.unwrap_or(&catalog.settings.timezone)),
        now,
    }
}

/// Whether the window is open. A text that is no window does not come through the configuration.
#[must_use]
pub fn opening(policy: Option<&EnvironmentPolicy>, now: Timestamp) -> Opening {
    let windows = policy.and_then(|policy| Windows::parse(&policy.windows, &policy.freezes).ok());
    windows.map_or(Opening::Open, |windows| windows.at(now))
}

/// Who may vote, list by list, where each of several lists needs its votes.
#[must_use]
pub fn lists(catalog: &Catalog, request: &Request) -> Vec<Vec<String>> {
    let approval =
        policy(catalog, &request.run.job, &request.tuple.environment).and_then(|policy| policy.approval.as_ref());
    let Some(approval) = approval.filter(|approval| approval.by.len() > 1) else { return Vec::new() };
    let asked = |person: &PersonName| request.slots.iter().any(|slot| slot.person == *person);
    let people = |list: &Vec<String>| {
        let all = list.iter().flat_map(|entry| catalog.people_of(entry)).filter(asked);
        let mut names: Vec<String> = all.map(|person| person.to_string()).collect();
        names.sort();
        names.dedup();
        names
    };
    approval.by.iter().map(people).collect()
}

/// What a request's run stands on, in order of needs.
///
/// # Errors
/// If the database cannot be read.
pub fn checked(reader: &Reader, catalog: &Catalog, request: &Request) -> Result<Vec<Checked>, StoreError> {
    let one = |upstream: &Upstream| {
        let run = reader.run(&upstream.run)?;
        let policy = catalog.job(&upstream.run.job).and_then(|job| job.definition.environment.as_ref());
        let other =
            run.as_ref().and_then(|run| run.commit.clone()).filter(|c| Some(c) != request.tuple.commit.as_ref());
        Ok(Checked {
            run: upstream.run.clone(),
            at: run.as_ref().and_then(|run| run.finished()).map(|finished| finished.at),
            tries: run.as_ref().map_or(1, |run| run.tries),
            carried_from: other,
            environment: policy.map(|policy| policy.name.clone()),
            url: policy.and_then(|policy| policy.url.clone()),
            outputs: upstream.outputs.clone().into_iter().collect(),
        })
    };
    let mut all = request.tuple.upstream.iter().map(one).collect::<Result<Vec<_>, StoreError>>()?;
    let order = catalog.pipelines.get(&request.run.job.pipeline).map(|pipeline| pipeline.order.as_slice());
    let place = |run: &Checked| order.and_then(|order| order.iter().position(|job| *job == run.run.job.job));
    all.sort_by_key(|run| (place(run), run.at));
    Ok(all)
}
