//! `shipbell doctor`: what is promised, and whether it holds on this host, for this way of running it.

use serde::{Deserialize, Serialize};

use crate::model::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorView {
    pub schema: u32,
    pub now: Timestamp,
    pub host: String,
    /// Whether a daemon said this of itself; else it is what would hold if it were started by who asks.
    pub daemon: bool,
    pub checks: Vec<CheckView>,
}

crate::words! {
    /// How a promise stands.
    pub enum Standing {
        Holds => "holds",
        /// It holds for less than it could, in this way of running Shipbell.
        Weaker => "weaker",
        /// Something has to be done.
        Wrong => "WRONG",
    }
}

/// One promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckView {
    /// One word: launcher, identity, limits …
    pub topic: String,
    pub standing: Standing,
    /// What is the case, and what follows from it.
    pub text: String,
    /// What to do.
    pub todo: Option<String>,
}
