//! The due times of job files, without a daemon and without running anything.

use crate::model::job::Definition;
use crate::model::time::Timestamp;
use crate::model::view::{SCHEMA, SimulateView, SimulatedRow};

use super::dues::{self, Anchor};

/// Due times from `from` to before `to`, oldest first, at most `max`; `zone` is that of rules without one.
#[must_use]
pub fn simulate<'a>(
    definitions: impl IntoIterator<Item = &'a Definition>,
    from: Timestamp,
    to: Timestamp,
    zone: &str,
    max: usize,
) -> SimulateView {
    let mut view = SimulateView {
        schema: SCHEMA,
        from,
        to,
        rows: Vec::new(),
        more: false,
        assumed: Vec::new(),
        untimed: Vec::new(),
        missing: Vec::new(),
    };
    for definition in definitions {
        if !definition.timed() {
            view.untimed.push(definition.key.clone());
            continue;
        }
        if definition.every.is_some() {
            view.assumed.push(definition.key.clone());
        }
        let (times, more) = dues::between(definition, &Anchor::default(), from, to, max);
        view.more |= more;
        view.missing.extend(dues::missing(definition, from, to));
        let zone = definition.schedule.first().map_or(zone, |rule| rule.zone.as_str());
        let tz = jiff::tz::TimeZone::get(zone).unwrap_or(jiff::tz::TimeZone::UTC);
        let mut offset = tz.to_offset(from);
        for at in times {
            let local = at.to_zoned(tz.clone());
            view.rows.push(SimulatedRow {
                at,
                local: local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
                zone: zone.to_owned(),
                job: definition.key.clone(),
                clock_changed: local.offset() != offset,
            });
            offset = local.offset();
        }
    }
    view.rows.sort_by(|a, b| (a.at, &a.job).cmp(&(b.at, &b.job)));
    view.more |= view.rows.len() > max;
    view.rows.truncate(max);
    view
}
