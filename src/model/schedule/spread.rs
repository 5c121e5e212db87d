//! `H` in a schedule: a number that follows from the job's full name, so that a hundred nightly jobs do not
//! begin in one minute, and each stays where it is, across restarts, reloads and versions. Where `H` may
//! stand is decided in `fields.rs`.

use crate::model::job::Hash;

/// Whose `H` it is.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    /// The job's full name, `host/backup`.
    pub job: &'a str,
    /// The schedule's place in the job's list: two `H` of one job differ.
    pub index: usize,
}

impl Owner<'_> {
    /// A number below `size` for one of the five fields.
    #[must_use]
    pub fn below(self, size: u64, field: usize) -> u64 {
        let size = size.max(1);
        // Of the name and the field, and of nothing else: not of the version of Rust.
        let hash = Hash::of(format!("{} {field}", self.job).as_bytes());
        let number = hash.as_str().get(..15).and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let index = u64::try_from(self.index).unwrap_or_default() % size;
        (number.unwrap_or_default() % size + index * stride(size)) % size
    }
}

/// How far apart the schedules of one job are: a golden section, without a common divisor, so that the
/// first `size` of them are all different and lie well apart.
fn stride(size: u64) -> u64 {
    let from = (size * 618 / 1000).max(1);
    (from..).find(|&stride| divisor(stride, size) == 1).unwrap_or(1)
}

fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_spread_and_stay() {
        let mut seen = std::collections::BTreeSet::new();
        for n in 0..100 {
            seen.insert(Owner { job: &format!("host/job{n}"), index: 0 }.below(60, 0));
        }
        assert!(seen.len() > 40, "{}", seen.len());
        // A sysadmin relies on it: this number is for ever.
        assert_eq!(Owner { job: "host/backup", index: 0 }.below(60, 0), 37);
    }

    #[test]
    fn no_two_of_one_job_are_the_same_until_all_values_are_taken() {
        for size in 1..=60 {
            let mut seen = std::collections::BTreeSet::new();
            for index in 0..usize::try_from(size).unwrap() {
                let value = Owner { job: "host/backup", index }.below(size, 1);
                assert!(value < size && seen.insert(value), "{size}: {value} twice");
            }
        }
    }
}
