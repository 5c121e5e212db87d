//! Any text at all as a schedule: read or refused with a word, never a panic; what it says next is later
//! than what was asked, and nothing lies between. What is asserted stands in tests/schedules/probe.rs.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/schedules/probe.rs"]
mod probe;

fuzz_target!(|input: (i64, u8, u8, &str)| {
    let (second, zone, index, text) = input;
    // From 1970 to 2100.
    let Ok(from) = jiff::Timestamp::from_second(second.rem_euclid(4_102_444_800)) else { return };
    probe::probe(text, from, zone.into(), index.into());
});
