//! Any bytes as what a server answers to `ls-refs` or greets with. What is asserted stands in
//! tests/sources/probe.rs.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/sources/probe.rs"]
#[allow(dead_code, reason = "each target uses its own part")]
mod probe;

fuzz_target!(|bytes: &[u8]| {
    probe::answer(bytes);
    probe::lines(bytes);
});
