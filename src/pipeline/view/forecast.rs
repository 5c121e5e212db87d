//! What the clock brings in the next weeks: due times by day and hour, what windows hold, where more is
//! due at once than there are slots, what takes longer than its interval. The calculation may take a
//! while, so it needs no World: [`Basis`] is taken from it and carried elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::ToSpan as _;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::model::catalog::{Catalog, PipelineState, Settings};
use crate::model::job::{Definition, EnvironmentPolicy};
use crate::model::name::{EnvironmentName, JobKey, PipelineName};
use crate::model::pause::Pause;
use crate::model::time::{Seconds, Timestamp, seconds_between};
use crate::model::view::{CollisionView, DayView, ForecastJob, ForecastView, FreezeView, SCHEMA};
use crate::model::window::{Opening, Windows};

use super::dues::{self, Anchor};
use super::{World, pauses};

/// Due times of one job, and of all, that are counted.
const JOB_MAX: usize = 50_000;
const ALL_MAX: usize = 1_000_000;

/// Collisions that are shown.
const COLLISIONS: usize = 8;

/// What of the World a forecast needs.
#[derive(Debug, Clone, Default)]
pub struct Basis {
    pub catalog: Arc<Catalog>,
    pub anchors: BTreeMap<JobKey, Anchor>,
    pub pauses: Vec<Pause>,
    /// What jobs usually take.
    pub usual: BTreeMap<JobKey, Seconds>,
}

impl Basis {
    #[must_use]
    pub fn of(world: &World) -> Self {
        let anchor = |(key, cursor): (&JobKey, &crate::model::ledger::Cursor)| {
            (key.clone(), Anchor { since: Some(cursor.since), ..Anchor::default() })
        };
        Self {
            catalog: world.scratch.catalog.clone(),
            anchors: world.cursors.iter().map(anchor).collect(),
            pauses: pauses::all(world),
            usual: BTreeMap::new(),
        }
    }

    /// Jobs with a clock whose pipeline is not off.
    #[must_use]
    pub fn timed(&self) -> Vec<Arc<Definition>> {
        let on = self.catalog.pipelines.values().filter(|p| !matches!(p.state, PipelineState::Off { .. }));
        let jobs = on.flat_map(|pipeline| pipeline.jobs.values()).map(|job| job.definition.clone());
        jobs.filter(|definition| definition.timed() && !definition.manual).collect()
    }
}

/// From `now` to the end of the day that is `days` away, in days of `zone`.
#[must_use]
pub fn forecast(basis: &Basis, zone: &TimeZone, now: Timestamp, days: u32) -> ForecastView {
    let today = now.to_zoned(zone.clone()).date();
    let mut tally = Tally::new(today, days, zone, now);
    let mut jobs = Vec::new();
    let mut left = ALL_MAX;
    let mut missing = Vec::new();
    let timed = basis.timed();
    for (n, definition) in timed.iter().enumerate() {
        // What one does not use up is for those after it.
        let max = JOB_MAX.min(left / (timed.len() - n));
        let job = one_job(basis, definition, &mut tally, max);
        left = left.saturating_sub(usize::try_from(job.due).unwrap_or(usize::MAX));
        jobs.push(job);
        missing.extend(dues::missing(definition, tally.from, tally.to));
    }
    jobs.sort_by(|a, b| (b.due, &a.job).cmp(&(a.due, &b.job)));
    let freezes = freezes(&basis.catalog, now, tally.to);
    let settings = &basis.catalog.settings;
    let slots = settings.slots;
    tally.freeze(&freezes);
    ForecastView {
        schema: SCHEMA,
        now,
        to: tally.to,
        zone: zone.iana_name().unwrap_or("local time").to_owned(),
        slots,
        collisions: tally.collisions(settings, &pools_of(&timed)),
        days: tally.days,
        jobs,
        freezes,
        missing,
        paused: basis.pauses.iter().filter(|pause| pauses::lives(pause, now)).map(pauses::view).collect(),
    }
}

fn one_job(basis: &Basis, definition: &Definition, tally: &mut Tally, max: usize) -> ForecastJob {
    let key = &definition.key;
    let usual = basis.usual.get(key).copied();
    let anchor = Anchor { usual: usual.unwrap_or_default(), ..basis.anchors.get(key).copied().unwrap_or_default() };
    let (mut times, more) = dues::between(definition, &anchor, tally.from, tally.to, max);
    let interval = times.windows(2).filter_map(|pair| match pair {
        [one, two] => Some(seconds_between(*one, *two)),
        _ => None,
    });
    let interval = interval.min();
    times.retain(|at| !basis.pauses.iter().any(|pause| pause.scope.covers(key) && pause.holds(*at)));
    let windows = definition.environment.as_deref().and_then(windows_of);
    let mut job = ForecastJob {
        job: key.clone(),
        rule: dues::rule(definition),
        zone: definition.schedule.first().map(|rule| rule.zone.clone()),
        due: times.len() as u64,
        more,
        held: 0,
        first: times.first().copied(),
        usual,
        interval,
        overruns: usual.zip(interval).is_some_and(|(usual, interval)| usual > interval),
    };
    for at in times {
        let held = windows.as_ref().is_some_and(|windows| windows.at(at) != Opening::Open);
        job.held += u64::from(held);
        tally.add(key, at, held, usual.unwrap_or_default());
    }
    job
}

fn windows_of(policy: &EnvironmentPolicy) -> Option<Windows> {
    if policy.windows.is_empty() && policy.freezes.is_empty() {
        return None;
    }
    Windows::parse(&policy.windows, &policy.freezes).ok()
}

/// Days, and what comes together in a minute.
struct Tally {
    from: Timestamp,
    to: Timestamp,
    zone: TimeZone,
    days: Vec<DayView>,
    minutes: BTreeMap<Timestamp, BTreeSet<JobKey>>,
}

impl Tally {
    fn new(today: Date, days: u32, zone: &TimeZone, now: Timestamp) -> Self {
        let start = |date: Date| date.to_zoned(zone.clone()).map_or(now, |start| start.timestamp());
        let dates = (0..i64::from(days.max(1))).filter_map(|n| today.checked_add(n.days()).ok());
        let day = |date: Date| {
            let (from, to) = (start(date), start(date.tomorrow().unwrap_or(date)));
            DayView {
                date: date.to_string(),
                from,
                to,
                hours: vec![0; 24],
                due: 0,
                held: 0,
                load: Seconds(0),
                clock_change: clock_change(zone, from, to),
                frozen: Vec::new(),
            }
        };
        let days: Vec<DayView> = dates.map(day).collect();
        let to = days.last().map_or(now, |day| day.to);
        Self { from: now, to, zone: zone.clone(), days, minutes: BTreeMap::new() }
    }

    fn add(&mut self, key: &JobKey, at: Timestamp, held: bool, usual: Seconds) {
        let local = self.zone.to_datetime(at);
        let index = self.days.partition_point(|day| day.to <= at);
        let Some(day) = self.days.get_mut(index) else { return };
        day.due += 1;
        if let Some(hour) = usize::try_from(local.hour()).ok().and_then(|hour| day.hours.get_mut(hour)) {
            *hour += 1;
        }
        if held {
            day.held += 1;
            return;
        }
        day.load = Seconds(day.load.0.saturating_add(usual.0));
        let minute = Timestamp::from_second(at.as_second() - at.as_second().rem_euclid(60)).unwrap_or(at);
        self.minutes.entry(minute).or_default().insert(key.clone());
    }

    fn freeze(&mut self, freezes: &[FreezeView]) {
        for day in &mut self.days {
            let hit = freezes.iter().filter(|freeze| freeze.from < day.to && day.from < freeze.to);
            day.frozen = hit.map(|freeze| freeze.environment.clone()).collect::<BTreeSet<_>>().into_iter().collect();
        }
    }

    /// Times of day at which the same jobs are due, more than there are slots, or than a pool that they
    /// all want has places; the most of them first.
    fn collisions(&self, settings: &Settings, pools: &BTreeMap<JobKey, Vec<String>>) -> Vec<CollisionView> {
        type Group<'a> = (jiff::civil::Time, Option<&'a str>, BTreeSet<&'a JobKey>);
        let mut groups: BTreeMap<Group<'_>, (Timestamp, u64)> = BTreeMap::new();
        for (at, jobs) in &self.minutes {
            let mut wanted: BTreeMap<Option<&str>, BTreeSet<&JobKey>> = BTreeMap::new();
            for job in jobs {
                wanted.entry(None).or_default().insert(job);
                for pool in pools.get(job).into_iter().flatten() {
                    wanted.entry(Some(pool)).or_default().insert(job);
                }
            }
            let time = self.zone.to_datetime(*at).time();
            for (pool, jobs) in wanted {
                if jobs.len() > places(settings, pool) {
                    groups.entry((time, pool, jobs)).or_insert((*at, 0)).1 += 1;
                }
            }
        }
        let view = |((_, pool, jobs), (at, days)): (Group<'_>, (Timestamp, u64))| CollisionView {
            at,
            jobs: jobs.into_iter().cloned().collect(),
            days,
            pool: pool.map(str::to_owned),
            places: u32::try_from(places(settings, pool)).unwrap_or(u32::MAX),
        };
        let mut found: Vec<CollisionView> = groups.into_iter().map(view).collect();
        found.sort_by_key(|collision| (std::cmp::Reverse(collision.jobs.len()), collision.at));
        found.truncate(COLLISIONS);
        found
    }
}

fn places(settings: &Settings, pool: Option<&str>) -> usize {
    let places = pool.map_or(settings.slots, |pool| settings.places(pool));
    usize::try_from(places).unwrap_or(usize::MAX)
}

/// What pools jobs want, their environment's among them.
fn pools_of(timed: &[Arc<Definition>]) -> BTreeMap<JobKey, Vec<String>> {
    let wants = timed.iter().filter(|definition| !definition.pools.is_empty());
    wants.map(|definition| (definition.key.clone(), definition.pools.clone())).collect()
}

/// `+1h at 02:00`: how the clock is set on a day, and when by the old clock.
fn clock_change(zone: &TimeZone, from: Timestamp, to: Timestamp) -> Option<String> {
    let change = zone.following(from).next().map(|change| change.timestamp()).filter(|at| *at < to)?;
    // A day that begins with the change begins at the change.
    let before = zone.to_offset(change.checked_sub(1.second()).ok()?);
    let by = zone.to_offset(change).seconds() - before.seconds();
    if by == 0 {
        return None;
    }
    let sign = if by > 0 { '+' } else { '-' };
    let wall = before.to_datetime(change);
    Some(format!("{sign}{} at {}", Seconds(u64::from(by.unsigned_abs())), wall.strftime("%H:%M")))
}

/// The stretches in which an environment is frozen.
fn freezes(catalog: &Catalog, from: Timestamp, to: Timestamp) -> Vec<FreezeView> {
    let mut found = Vec::new();
    for pipeline in catalog.pipelines.values() {
        for policy in pipeline.environments.values().filter(|policy| !policy.freezes.is_empty()) {
            stretches(&pipeline.name, &policy.name, policy, (from, to), &mut found);
        }
    }
    found.sort_by(|a, b| (a.from, &a.pipeline, &a.environment).cmp(&(b.from, &b.pipeline, &b.environment)));
    found
}

fn stretches(
    pipeline: &PipelineName,
    environment: &EnvironmentName,
    policy: &EnvironmentPolicy,
    (from, to): (Timestamp, Timestamp),
    found: &mut Vec<FreezeView>,
) {
    const MOST: usize = 200;
    for def in &policy.freezes {
        let Ok(freeze) = Windows::parse(&[], std::slice::from_ref(def)) else { continue };
        let mut at = from;
        for _ in 0..MOST {
            let Some((start, end)) = freeze.next_closed(at, to) else { break };
            found.push(FreezeView {
                pipeline: pipeline.clone(),
                environment: environment.clone(),
                from: start,
                to: end,
                rule: def.text.clone(),
            });
            at = end;
        }
    }
}
