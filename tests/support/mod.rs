//! What tests of the whole program share: a Shipbell of its own below a temporary directory (`robot`),
//! and a repository for it to poll (`origin`). Both are the real thing: the built binary, the git binary.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod origin;
pub mod robot;
pub mod signer;

use std::time::{Duration, Instant};

/// Waits until `done` has a value; fails with `what` and with what `otherwise` says after a minute.
pub fn wait_for<T>(what: &str, mut done: impl FnMut() -> Option<T>, otherwise: impl Fn() -> String) -> T {
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(Instant::now() < until, "not within a minute: {what}\n{}", otherwise());
        std::thread::sleep(Duration::from_millis(50));
    }
}
