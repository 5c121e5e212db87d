//! Instants as people say them: local time, relative day; and spans without needless seconds.

use jiff::tz::TimeZone;

use crate::model::time::{Seconds, Timestamp, seconds_between};

/// The zone of who reads.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub zone: TimeZone,
    pub now: Timestamp,
}

impl Reader {
    /// `17:34`, `Wed 14:02`, `26 Nov 14:02`, `2025-11-26`.
    pub fn when(&self, at: Timestamp) -> String {
        self.form(at, "%H:%M", "%a %H:%M", "%-d %b %H:%M")
    }

    /// With seconds: `18:20:04`, `Thu 18:20:04`.
    pub fn exact(&self, at: Timestamp) -> String {
        self.form(at, "%H:%M:%S", "%a %H:%M:%S", "%-d %b %H:%M:%S")
    }

    /// Always with its day: `Fri 18:00:00`.
    pub fn day(&self, at: Timestamp) -> String {
        self.form(at, "%a %H:%M:%S", "%a %H:%M:%S", "%-d %b %H:%M:%S")
    }

    /// Only the day's time.
    pub fn clock(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%H:%M:%S").to_string()
    }

    fn form(&self, at: Timestamp, today: &str, this_week: &str, this_year: &str) -> String {
        let (at, now) = (at.to_zoned(self.zone.clone()), self.now.to_zoned(self.zone.clone()));
        let days = (at.timestamp().as_second() - now.timestamp().as_second()).abs() / 86_400;
        let form = if at.date() == now.date() {
            today
        } else if days < 6 {
            this_week
        } else if days < 300 {
            this_year
        } else {
            "%Y-%m-%d"
        };
        at.strftime(form).to_string()
    }

    /// The same in another zone, where that differs: `Sat 02:00 Asia/Shanghai`.
    pub fn elsewhere(&self, at: Timestamp, zone: &str) -> Option<String> {
        let other = TimeZone::get(zone).ok()?;
        let there = at.to_zoned(other);
        let same = there.offset() == at.to_zoned(self.zone.clone()).offset();
        (!same).then(|| format!("{} {zone}", there.strftime("%a %H:%M")))
    }

    /// With its date: `Thu 26 Nov 19:00`; of another year `Thu 2025-11-27 19:00`.
    pub fn dated(&self, at: Timestamp) -> String {
        let (at, now) = (at.to_zoned(self.zone.clone()), self.now.to_zoned(self.zone.clone()));
        dated(&at, at.year() == now.year())
    }

    /// The same in another zone, where that differs: `Fri 27 Nov 02:00 Asia/Shanghai`.
    pub fn dated_elsewhere(&self, at: Timestamp, zone: &str) -> Option<String> {
        let there = at.to_zoned(TimeZone::get(zone).ok()?);
        let same = there.offset() == at.to_zoned(self.zone.clone()).offset();
        let this_year = there.year() == self.now.to_zoned(self.zone.clone()).year();
        (!same).then(|| format!("{} {zone}", dated(&there, this_year)))
    }

    /// `Europe/Berlin`, as far as the host names its zone.
    pub fn zone(&self) -> String {
        self.zone.iana_name().unwrap_or("local time").to_owned()
    }

    /// The next change of the reader's clock, and its date.
    pub fn clock_change(&self) -> Option<(Timestamp, String)> {
        let mut offset = self.zone.to_offset(self.now);
        // A zone may change its name without its clock.
        for change in self.zone.following(self.now).take(10) {
            let at = change.timestamp();
            if self.zone.to_offset(at) != offset {
                return Some((at, at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d").to_string()));
            }
            offset = self.zone.to_offset(at);
        }
        None
    }

    /// `4m`, from now on.
    pub fn left(&self, at: Timestamp) -> String {
        rough(seconds_between(self.now, at))
    }

    /// `in 4m` for what is near, else when.
    pub fn soon(&self, at: Timestamp) -> String {
        let left = seconds_between(self.now, at);
        if left < Seconds::hours(3) { format!("in {}", rough(left)) } else { self.when(at) }
    }
}

fn dated(at: &jiff::Zoned, this_year: bool) -> String {
    let clock = if at.second() == 0 { "%H:%M" } else { "%H:%M:%S" };
    let day = if this_year { "%a %-d %b" } else { "%a %Y-%m-%d" };
    at.strftime(&format!("{day} {clock}")).to_string()
}

/// What something took: tenths of a second below ten, then as people say it.
pub(super) fn took(from: Timestamp, to: Timestamp) -> String {
    let tenths = to.duration_since(from).as_millis().max(0) / 100;
    if tenths < 100 { format!("{}.{}s", tenths / 10, tenths % 10) } else { seconds_between(from, to).to_string() }
}

/// `4m`, `1h 4m`, `9h 21m`, `2d 15h`; seconds only below a minute.
pub(super) fn rough(span: Seconds) -> String {
    let s = span.0;
    if s == 0 {
        return "<1s".into();
    }
    if (60..3600).contains(&s) { Seconds(s - s % 60).to_string() } else { span.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_told_from_where_the_reader_stands() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let reader = Reader { zone: TimeZone::get("Europe/Berlin").unwrap(), now: at("2026-11-27T16:56:00Z") };
        for (instant, when, left) in [
            ("2026-11-27T16:34:00Z", "17:34", "<1s"),
            ("2026-11-25T13:02:00Z", "Wed 14:02", "<1s"),
            ("2026-11-30T16:55:00Z", "Mon 17:55", "2d 23h"),
            ("2026-11-01T13:02:00Z", "1 Nov 14:02", "<1s"),
            ("2025-11-26T13:02:00Z", "2025-11-26", "<1s"),
            ("2026-11-27T17:00:30Z", "18:00", "4m"),
            ("2026-11-27T16:56:40Z", "17:56", "40s"),
        ] {
            assert_eq!(
                (reader.when(at(instant)).as_str(), reader.left(at(instant)).as_str()),
                (when, left),
                "{instant}"
            );
        }
        assert_eq!(reader.day(at("2026-11-27T17:00:00Z")), "Fri 18:00:00");
        assert_eq!(reader.soon(at("2026-11-27T17:00:00Z")), "in 4m");
        assert_eq!(
            reader.elsewhere(at("2026-11-27T18:00:00Z"), "Asia/Shanghai").as_deref(),
            Some("Sat 02:00 Asia/Shanghai")
        );
        assert_eq!(reader.elsewhere(at("2026-11-27T18:00:00Z"), "Europe/Paris"), None);
    }
}
