//! Due times: five cron fields in a zone, parsed and enumerated by croner behind this type.

use std::sync::Arc;

use crate::model::time::Timestamp;

/// A parsed schedule. Cheap to clone: the pattern is shared.
#[derive(Debug, Clone)]
pub struct Schedule {
    pattern: Arc<croner::Cron>,
    zone: jiff::tz::TimeZone,
}

/// Why a text is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    #[error("{0}")]
    Pattern(String),
    #[error("no time zone `{0}` in the system's tzdata")]
    Zone(String),
}

impl Schedule {
    /// # Errors
    /// If the text is not five cron fields (or `@daily` and friends), or the zone is unknown.
    pub fn parse(text: &str, zone: &str) -> Result<Self, BadSchedule> {
        let pattern = text.parse::<croner::Cron>().map_err(|error| BadSchedule::Pattern(error.to_string()))?;
        let zone = jiff::tz::TimeZone::get(zone).map_err(|_| BadSchedule::Zone(zone.to_owned()))?;
        Ok(Self { pattern: Arc::new(pattern), zone })
    }

    /// The first due time after `from`; always later than `from`. `None`: it never comes.
    #[must_use]
    pub fn next_after(&self, from: Timestamp) -> Option<Timestamp> {
        let from = from.to_zoned(self.zone.clone());
        let next = self.pattern.find_next_occurrence(&from, false).ok()?.timestamp();
        (next > from.timestamp()).then_some(next)
    }
}
