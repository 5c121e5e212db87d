//! Old against new: the fire times of ninety days, each side by its own reckoning. The new side is what the
//! loader made of the generated text, so what is compared is what would run.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use crate::model::catalog::Catalog;
use crate::model::job::{Definition, EveryFrom};
use crate::model::name::JobKey;
use crate::model::schedule::Schedule;
use crate::model::time::{Seconds, Timestamp};

use super::draft::Timed;
use super::times::{Line, Old};

/// So far is looked ahead.
pub const DAYS: u64 = 90;
/// Differences that are told of one job.
const TOLD: usize = 3;

/// What both sides came to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Compared {
    pub jobs: Vec<Job>,
    /// Jobs without fixed times: so long after their last run, on both sides alike.
    pub intervals: Vec<(JobKey, Seconds, EveryFrom)>,
    /// Old times that nobody can tell: at random, at boot.
    pub unknown: Vec<JobKey>,
}

/// The fire times of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub key: JobKey,
    /// In which the old side reckoned.
    pub zone: String,
    pub old: usize,
    pub new: usize,
    pub equal: usize,
    /// The first that only one side has; true: the old one.
    pub first: Vec<(Timestamp, bool)>,
}

impl Compared {
    /// Fire times of the old side, of the new one, of both.
    #[must_use]
    pub fn sums(&self) -> (usize, usize, usize) {
        self.jobs.iter().fold((0, 0, 0), |sum, job| (sum.0 + job.old, sum.1 + job.new, sum.2 + job.equal))
    }

    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.jobs.iter().all(|job| job.old == job.equal && job.new == job.equal)
    }
}

/// The minutes after `from`, which is cut to a whole one, for [`DAYS`] days.
#[must_use]
pub fn compare(timed: &[Timed], catalog: &Catalog, from: Timestamp) -> Compared {
    let second = from.as_second();
    let from = Timestamp::from_second(second - second.rem_euclid(60)).unwrap_or(from);
    let to = Seconds::days(DAYS).after(from);
    let mut lines: BTreeMap<String, Option<Line>> = BTreeMap::new();
    let mut compared = Compared::default();
    for one in timed {
        let pipeline = catalog.pipelines.get(&one.job.pipeline);
        let Some(job) = pipeline.and_then(|pipeline| pipeline.jobs.get(&one.job.job)) else { continue };
        match &one.old {
            Old::Times(times, zone) => {
                let line = lines
                    .entry(zone.clone())
                    .or_insert_with(|| TimeZone::get(zone).ok().map(|zone| Line::new(&zone, from, to)));
                let old = line.as_ref().map(|line| times.along(line)).unwrap_or_default();
                compared.jobs.push(differences(&one.job, zone, &old, &fire_times(&job.definition, from, to)));
            }
            Old::Every(_) | Old::Unknown => match &job.definition.every {
                Some(every) => compared.intervals.push((one.job.clone(), every.period, every.from)),
                None => compared.unknown.push(one.job.clone()),
            },
        }
    }
    compared
}

/// The schedules of a job, united.
fn fire_times(definition: &Definition, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
    let mut times = Vec::new();
    for schedule in &definition.schedule {
        let Ok(schedule) = Schedule::parse(&schedule.text, &schedule.zone) else { continue };
        let mut at = from;
        while let Some(next) = schedule.next_after(at).filter(|next| *next > at && *next <= to) {
            times.push(next);
            at = next;
        }
    }
    times.sort_unstable();
    times.dedup();
    times
}

/// Two rising lists beside each other.
fn differences(key: &JobKey, zone: &str, old: &[Timestamp], new: &[Timestamp]) -> Job {
    let mut job =
        Job { key: key.clone(), zone: zone.to_owned(), old: old.len(), new: new.len(), equal: 0, first: Vec::new() };
    let (mut olds, mut news) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let (at, of_old) = match (olds.peek(), news.peek()) {
            (None, None) => return job,
            (Some(a), Some(b)) if a == b => {
                olds.next();
                news.next();
                job.equal += 1;
                continue;
            }
            (Some(a), Some(b)) if a < b => (**a, true),
            (Some(a), None) => (**a, true),
            (_, Some(b)) => (**b, false),
        };
        if of_old {
            olds.next();
        } else {
            news.next();
        }
        if job.first.len() < TOLD {
            job.first.push((at, of_old));
        }
    }
}
