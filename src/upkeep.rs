//! The daemon's own chores, timed by tokio-cron-scheduler. They only tell the inbox that something is
//! due: whether a job of a job file is due is never judged here (its clock looks twice a second and
//! freezes the zone's offset; see docs/dependencies.md).

use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::inbox::{Chore, Inbox};

/// Six fields, UTC: the scheduler wants seconds. Odd minutes, so that chores do not meet jobs at :00.
const CHORES: &[(&str, Chore)] = &[
    ("7 * * * * *", Chore::Heartbeat),
    ("37 * * * * *", Chore::Disk),
    ("11 23 3 * * *", Chore::Backup),
    ("11 53 3 * * *", Chore::Check),
    // After the night's copy of the database.
    ("11 13 4 * * *", Chore::Prune),
];

/// The running chores.
pub type Chores = JobScheduler;

/// Starts the chores; they end when the value is dropped.
///
/// # Errors
/// If the scheduler does not start.
pub async fn start(inbox: &Inbox) -> Result<Chores, JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    for (when, chore) in CHORES {
        let inbox = inbox.clone();
        let chore = *chore;
        let job = Job::new_async(*when, move |_id, _scheduler| {
            let inbox = inbox.clone();
            Box::pin(async move { inbox.chore(chore).await })
        })?;
        scheduler.add(job).await?;
    }
    scheduler.start().await?;
    Ok(scheduler)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_chore_has_a_time_that_the_scheduler_takes() {
        let (inbox, _messages) = crate::inbox::inbox();
        let mut scheduler = start(&inbox).await.unwrap();
        assert!(scheduler.time_till_next_job().await.unwrap().is_some());
        scheduler.shutdown().await.unwrap();
    }
}
