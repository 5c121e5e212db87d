//! The words: plain data, no I/O, no clock, no async. Everything else imports from here.

pub mod backfill;
pub mod catalog;
pub mod commit;
pub mod environment;
pub mod event;
pub mod forge;
pub mod glob;
pub mod job;
pub mod ledger;
pub mod letter;
pub mod moment;
pub mod name;
pub mod pause;
pub mod pulse;
pub mod request;
pub mod retention;
pub mod run;
pub mod schedule;
pub mod secret;
pub mod statement;
pub mod ticket;
pub mod time;
pub mod url;
pub mod view;
pub mod window;
pub mod words;
