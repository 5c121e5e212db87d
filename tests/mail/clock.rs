//! Mails about a job's clock: silent for too long, fine again, far slower than before.

use shipbell::model::run::{Outcome, Run, RunState};
use shipbell::model::time::Seconds;
use shipbell::report::message::{self, StaleFacts};

use crate::web::{self, at};
use crate::{frame, snapshot};

/// How a run ended: its reason, and the step.
type Ending<'a> = (Outcome, &'a str, Option<(u32, &'a str)>);

fn backup(number: u32, end: &str, how: Option<Ending<'_>>) -> Run {
    Run { commit: None, ..web::run(&format!("host/backup#{number}"), end, how) }
}

fn silent() -> StaleFacts {
    let failed = (Outcome::Failed, "exit 1 in step 1 \"restic\"", Some((1, "restic")));
    StaleFacts {
        job: "host/backup".parse().unwrap(),
        limit: Seconds::hours(26),
        last_good: Some(backup(412, "2026-11-25T03:12:00Z", Some((Outcome::Succeeded, "", None)))),
        newest: Some(backup(414, "2026-11-27T03:09:00Z", Some(failed))),
        last_due: None,
        paused: None,
    }
}

#[test]
fn silence_says_since_when_and_what_was_last() {
    snapshot("stale.txt", &message::stale(&silent(), &frame()));
    let never = StaleFacts {
        last_good: None,
        newest: None,
        last_due: Some((at("2026-11-27T03:00:00Z"), "paused: the disk is replaced".into())),
        paused: Some("paused: the disk is replaced".into()),
        ..silent()
    };
    snapshot("stale-never.txt", &message::stale(&never, &frame()));
    let again = backup(415, "2026-11-27T16:50:00Z", Some((Outcome::Succeeded, "", None)));
    snapshot("fresh.txt", &message::fresh(&again, &frame()));
}

#[test]
fn a_run_far_longer_than_before_says_how_long_and_how_to_end_it() {
    let launched_at = at("2026-11-27T13:00:00Z");
    let state = RunState::Running { launched_at, started_at: None, step: None, touched: false, stopping: None };
    let run = Run { state, ..backup(416, "2026-11-27T13:00:00Z", None) };
    snapshot("slow.txt", &message::long(&run, Some(Seconds(600)), &frame()));
    // It may have ended before the mail was written.
    let over = backup(416, "2026-11-27T16:50:00Z", Some((Outcome::Succeeded, "", None)));
    snapshot("slow-over.txt", &message::long(&over, Some(Seconds(600)), &frame()));
}
