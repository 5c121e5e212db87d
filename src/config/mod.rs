//! TOML to a catalog of definitions. Every message names file, line and column, all errors are told at
//! once, and one bad file harms one pipeline. Whether and when a job runs is not decided here.

pub mod layout;
