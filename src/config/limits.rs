//! `limits` of a job: what a run may use at most. Whether this host can hold it is said when it runs.

use crate::config::keys::{self, Place};
use crate::config::message::Findings;
use crate::config::tree::{Data, Entry};
use crate::model::job::Limits;

/// Less does not even start a shell.
const MEMORY_MIN: u64 = 4 << 20;

/// What was written; `log` is kept apart from what limits processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    pub log: Option<u64>,
    pub limits: Limits,
}

pub fn read(entry: &Entry, findings: &Findings) -> Option<Written> {
    let table = entry.table("limits = { memory = \"2G\", cpus = 1.5 }", findings)?;
    keys::check(table, Place::Limits, None, findings);
    let get = |name: &str| table.get(name);
    Some(Written {
        log: get("log").and_then(|entry| entry.size(findings)),
        limits: Limits {
            memory: get("memory").and_then(|entry| memory(entry, findings)),
            cpus: get("cpus").and_then(|entry| cpus(entry, findings)),
            tasks: get("tasks").and_then(|entry| entry.count(4..=4_000_000, findings)),
            files: get("files").and_then(|entry| entry.count(16..=10_000_000, findings)),
        },
    })
}

fn memory(entry: &Entry, findings: &Findings) -> Option<u64> {
    let bytes = entry.size(findings)?;
    if bytes < MEMORY_MIN {
        entry.refuse("no shell starts in so little memory", "write at least \"4M\"", findings);
        return None;
    }
    Some(bytes)
}

/// In thousandths, as no sum of decimals is exact.
fn cpus(entry: &Entry, findings: &Findings) -> Option<u32> {
    let read = match &entry.data {
        Data::Number(Some(number)) => u32::try_from(*number).ok().and_then(|number| number.checked_mul(1000)),
        Data::Decimal(text) => thousandths(text),
        _ => None,
    };
    let fits = read.filter(|thousandths| (10..=1_024_000).contains(thousandths));
    if fits.is_none() {
        entry.refuse("`cpus` is a number of processors", "write it like 2 or 0.5 (0.01 to 1024)", findings);
    }
    fits
}

fn thousandths(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.')?;
    let digits = format!("{part:0<3}");
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    if !plain(whole) || !plain(part) || digits.len() > 3 {
        return None;
    }
    whole.parse::<u32>().ok()?.checked_mul(1000)?.checked_add(digits.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_exactly() {
        let cases = [("1.5", Some(1500)), ("0.01", Some(10)), ("2.0", Some(2000)), ("0.125", Some(125))];
        for (text, expected) in cases {
            assert_eq!(thousandths(text), expected, "{text}");
        }
        for text in ["1.2345", "inf", "1e3", "-1.5", "+1.5", "nan", "1.", ".5", "9999999.5"] {
            assert_eq!(thousandths(text), None, "{text}");
        }
    }
}
