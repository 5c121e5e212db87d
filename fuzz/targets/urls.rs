//! Any text as the address of a repository. What is asserted stands in
//! tests/sources/probe.rs.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/sources/probe.rs"]
#[allow(dead_code, reason = "each target uses its own part")]
mod probe;

fuzz_target!(|text: &str| probe::url(text));
