//! `H` in a schedule: a value that follows from the job's name, so that a hundred nightly jobs do not
//! begin in one minute, and each stays where it is. It is resolved here, once; what stands in a
//! definition is a plain schedule.

use crate::model::job::Hash;

/// First and last value of each field; days of a month only up to one that every month has.
const FIELDS: [(u64, u64); 5] = [(0, 59), (0, 23), (1, 28), (1, 12), (0, 6)];

/// `text` with every `H`, `H/15` and `H(0-7)` replaced. What is no such form stays for the parser to refuse.
#[must_use]
pub fn resolve(text: &str, name: &str) -> String {
    if !text.contains('H') {
        return text.to_owned();
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return text.to_owned();
    }
    let resolved = fields.iter().zip(FIELDS).enumerate().map(|(index, (field, range))| {
        let number = number_of(name, index);
        field.split(',').map(|item| item_of(item, range, number)).collect::<Vec<_>>().join(",")
    });
    resolved.collect::<Vec<_>>().join(" ")
}

fn item_of(item: &str, (first, last): (u64, u64), number: u64) -> String {
    let as_written = || item.to_owned();
    let Some(rest) = item.strip_prefix('H') else { return as_written() };
    let (range, rest) = match rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((range, rest)) => (range.split_once('-'), rest),
        None => (None, rest),
    };
    let bounds = match range {
        Some((from, to)) => from.parse::<u64>().ok().zip(to.parse::<u64>().ok()),
        None => Some((first, last)),
    };
    let Some((from, to)) = bounds.filter(|(from, to)| first <= *from && from <= to && *to <= last) else {
        return as_written();
    };
    let size = to - from + 1;
    match rest.strip_prefix('/').map(str::parse::<u64>) {
        None if rest.is_empty() => (from + number % size).to_string(),
        Some(Ok(step)) if step > 0 && step < size => format!("{}-{to}/{step}", from + number % step),
        _ => as_written(),
    }
}

/// A number that depends on the name and the field, and on nothing else: not on the version of Rust.
fn number_of(name: &str, field: usize) -> u64 {
    let hash = Hash::of(format!("{name} {field}").as_bytes());
    hash.as_str().get(..15).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_spread_and_stay() {
        assert_eq!(resolve("0 3 * * *", "host/backup"), "0 3 * * *");
        let minutes: std::collections::BTreeSet<String> =
            (0..100).map(|n| resolve("H 3 * * *", &format!("host/job{n}"))).collect();
        assert!(minutes.len() > 40, "{}", minutes.len());
        assert_eq!(resolve("H 3 * * *", "host/backup"), resolve("H 3 * * *", "host/backup"));
        for (text, least, most) in [("H(5-9) 0 * * *", 5, 9), ("H 0 * * *", 0, 59)] {
            let first: u64 = resolve(text, "a/b").split(' ').next().unwrap().parse().unwrap();
            assert!((least..=most).contains(&first));
        }
        let stepped = resolve("H/15 * * * *", "a/b");
        assert!(stepped.contains("-59/15 "), "{stepped}");
        for odd in ["H(9-5) 0 * * *", "HH 0 * * *", "H/0 0 * * *", "H 0 * *", "H/99 0 * * *"] {
            assert_eq!(resolve(odd, "a/b"), odd);
        }
    }
}
