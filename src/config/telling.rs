//! What a job tells others: `notify`, `commit-status`, `ping-url`. None of it is part of what the job does.

use std::collections::BTreeMap;

use crate::config::job::above_zero;
use crate::config::keys::{self, Place};
use crate::config::message::Findings;
use crate::config::tree::{Data, Entry, Table};
use crate::config::{environment, settings};
use crate::model::catalog::{Marks, Notify};
use crate::model::letter::PingAt;

/// As it is written; `None`: the key is not there (or was wrong, which has been told).
#[derive(Debug, Default)]
pub struct Telling {
    pub notify: Option<Notify>,
    pub marks: Option<Marks>,
    pub pings: BTreeMap<PingAt, String>,
}

/// Reads the keys from a job's table.
pub fn read(table: &Table, f: &Findings) -> Telling {
    Telling {
        notify: table.get("notify").and_then(|entry| notify(entry, f)),
        marks: table.get("commit-status").and_then(|entry| marks(entry, f)),
        pings: table.get("ping-url").map(|entry| pings(entry, f)).unwrap_or_default(),
    }
}

fn notify(entry: &Entry, findings: &Findings) -> Option<Notify> {
    let table = entry.table("notify = { email = \"ops@example.org\", on = [\"failure\", \"recovery\"] }", findings)?;
    keys::check(table, Place::Notify, None, findings);
    let mut notify = Notify::usual();
    if let Some(email) = table.get("email") {
        notify.email = settings::addresses(email, true, findings)?;
    }
    if let Some(on) = table.get("on") {
        (notify.on_failure, notify.on_recovery) = (false, false);
        for item in on.items() {
            match item.text(findings)?.as_str() {
                "failure" => notify.on_failure = true,
                "recovery" => notify.on_recovery = true,
                _ => item.refuse("`on` takes \"failure\" and \"recovery\"", "", findings),
            }
        }
    }
    if let Some(after) = table.get("after-failures") {
        notify.after_failures = after.count(1..=1000, findings)?;
    }
    if let Some(after) = table.get("stale-after") {
        notify.stale_after = Some(above_zero(after, findings)?);
    }
    Some(notify)
}

fn marks(entry: &Entry, findings: &Findings) -> Option<Marks> {
    let name = match &entry.data {
        Data::Flag(true) => return Some(Marks::Usual),
        Data::Flag(false) => return Some(Marks::None),
        Data::Text(_) => entry.text(findings)?,
        _ => {
            entry.refuse("`commit-status` is true, false or the name of the mark", "", findings);
            return None;
        }
    };
    let plain = |c: char| c.is_ascii_graphic() || c == ' ';
    if name.trim() != name || name.is_empty() || name.len() > 100 || !name.chars().all(plain) {
        let headline = format!("`{}` is no name of a mark", name.escape_debug());
        entry.refuse(headline, "write 1 to 100 plain characters, like \"ci/tests\"", findings);
        return None;
    }
    Some(Marks::Named(name))
}

fn pings(entry: &Entry, findings: &Findings) -> BTreeMap<PingAt, String> {
    let Data::Table(table) = &entry.data else {
        return environment::page(entry, findings).map(|url| (PingAt::Success, url)).into_iter().collect();
    };
    keys::check(table, Place::Ping, None, findings);
    let at = |at: &PingAt| Some((*at, environment::page(table.get(at.word())?, findings)?));
    PingAt::ALL.iter().filter_map(at).collect()
}
