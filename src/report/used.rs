//! What an attempt used, in one line: processor time, memory, disk, log; and how far that is from what the
//! last runs used, where it is far.

use crate::model::run::{Usage, UsualUsage};
use crate::model::time::Seconds;

/// Fewer runs say nothing about what is usual.
const RUNS_MIN: u32 = 5;
/// A difference below this many percent is how runs differ.
const FAR: i64 = 20;

/// `cpu 9m 12s, memory 1.7 G, written 310 M, printed 41 K`.
#[must_use]
pub fn used(usage: &Usage) -> String {
    let cpu = match usage.cpu_ms {
        ms @ 0..10_000 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        ms => Seconds(ms / 1000).to_string(),
    };
    let mut parts = vec![format!("cpu {cpu}")];
    if usage.memory_peak > 0 {
        parts.push(format!("memory {}", bytes(usage.memory_peak)));
    }
    if usage.written > 0 {
        parts.push(format!("written {}", bytes(usage.written)));
    }
    parts.push(format!("printed {}", bytes(usage.log_bytes)));
    match usage.masked {
        0 => {}
        1 => parts.push("a secret once".into()),
        times => parts.push(format!("secrets {times} times")),
    }
    match usage.oom_kills {
        0 => {}
        1 => parts.push("1 ended for want of memory".into()),
        n => parts.push(format!("{n} ended for want of memory")),
    }
    parts.join(", ")
}

/// `cpu +40 %, written -68 % against the last 20`; nothing where it is as usual.
#[must_use]
pub fn compared(usage: &Usage, usual: Option<&UsualUsage>) -> Option<String> {
    let usual = usual.filter(|usual| usual.runs >= RUNS_MIN)?;
    let parts: Vec<String> = [
        ("cpu", usage.cpu_ms, usual.cpu_ms),
        ("memory", usage.memory_peak, usual.memory_peak),
        ("written", usage.written, usual.written),
    ]
    .into_iter()
    .filter_map(|(what, now, usually)| Some(format!("{what} {:+} %", difference(now, usually)?)))
    .collect();
    (!parts.is_empty()).then(|| format!("{} against the last {}", parts.join(", "), usual.runs))
}

/// In percent, where it is worth a word: nobody wants to hear that 2 ms became 3.
fn difference(now: u64, usually: u64) -> Option<i64> {
    const LEAST: u64 = 100;
    if usually < LEAST {
        return None;
    }
    let (now, usually) = (i64::try_from(now).ok()?, i64::try_from(usually).ok()?);
    let percent = now.checked_sub(usually)?.checked_mul(100)?.checked_div(usually)?;
    (percent.abs() >= FAR).then_some(percent)
}

/// A number of bytes for people: `41 K`, `1.7 G`.
#[must_use]
pub fn bytes(n: u64) -> String {
    match n {
        0..1024 => format!("{n} B"),
        1024..0x10_0000 => format!("{} K", n >> 10),
        0x10_0000..0x4000_0000 => format!("{} M", n >> 20),
        _ if n >> 30 < 10 => format!("{}.{} G", n >> 30, ((n % (1 << 30)) * 10) >> 30),
        _ => format!("{} G", n >> 30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USAGE: Usage = Usage {
        cpu_ms: 552_000,
        memory_peak: 1_932_735_283,
        log_bytes: 43_000,
        written: 325 << 20,
        oom_kills: 0,
        masked: 0,
    };

    #[test]
    fn what_is_far_from_usual_is_said() {
        assert_eq!(used(&USAGE), "cpu 9m 12s, memory 1.7 G, written 325 M, printed 41 K");
        let usual = UsualUsage { runs: 20, cpu_ms: 394_000, memory_peak: 1_900_000_000, written: 1 << 30 };
        let far = compared(&USAGE, Some(&usual));
        assert_eq!(far.as_deref(), Some("cpu +40 %, written -68 % against the last 20"));
        assert_eq!(compared(&USAGE, None), None);
        assert_eq!(compared(&USAGE, Some(&UsualUsage { runs: 4, ..usual })), None, "four runs are no habit");
        let tiny = UsualUsage { runs: 20, cpu_ms: 2, memory_peak: 0, written: 0 };
        assert_eq!(compared(&Usage { cpu_ms: 3, ..Usage::default() }, Some(&tiny)), None);
    }

    #[test]
    fn what_was_ended_for_want_of_memory_is_said() {
        let usage = Usage { oom_kills: 2, ..Usage::default() };
        assert_eq!(used(&usage), "cpu 0.0s, printed 0 B, 2 ended for want of memory");
    }
}
