//! The wall clock. It is read here and nowhere else; everything that judges time gets `now` as an
//! argument. `Alarm` wakes the daemon's loop at an instant and whenever the clock was stepped.

use std::io;

use tokio::io::unix::AsyncFd;

use crate::model::time::{Timestamp, to_millisecond};
use crate::sys::timerfd::Timer;

/// What the wall clock says, cut to the millisecond: what is held equals what is stored.
#[must_use]
pub fn now() -> Timestamp {
    to_millisecond(Timestamp::now())
}

/// Sleeps until an instant of the wall clock, through suspend and clock steps.
#[derive(Debug)]
pub struct Alarm {
    timer: AsyncFd<Timer>,
}

impl Alarm {
    /// Must be called within a tokio runtime. It begins with no instant set.
    ///
    /// # Errors
    /// If the kernel gives no timer.
    pub fn new() -> io::Result<Self> {
        let timer = Timer::new()?;
        timer.set(None)?;
        // What the successor asks for holds: `Timer` owns its one descriptor and always names the same.
        #[expect(deprecated, reason = "its successor is unsafe to call, and unsafe stays in sys/, without tokio")]
        let timer = AsyncFd::new(timer)?;
        Ok(Self { timer })
    }

    /// Replaces the instant. `None`: it rings only when the clock is stepped. True: it was, since the
    /// alarm was last set.
    ///
    /// # Errors
    /// If the kernel refuses the instant.
    pub fn set(&self, at: Option<Timestamp>) -> io::Result<bool> {
        let at = at.map(|at| (at.as_second(), i64::from(at.subsec_nanosecond())));
        self.timer.get_ref().set(at)
    }

    /// Returns once the instant has come or (true) the clock was stepped. Look at [`now`] and set it anew.
    /// Cancel safe.
    ///
    /// # Errors
    /// If the timer cannot be read.
    pub async fn rang(&self) -> io::Result<bool> {
        loop {
            let mut guard = self.timer.readable().await?;
            match guard.try_io(|timer| timer.get_ref().take()) {
                Ok(result) => return result,
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[tokio::test]
    async fn an_alarm_rings_at_its_instant_and_not_before() {
        let alarm = Alarm::new().unwrap();
        let begin = Instant::now();
        alarm.set(Some(now().checked_add(Duration::from_millis(150)).unwrap())).unwrap();
        alarm.rang().await.unwrap();
        assert!(begin.elapsed() >= Duration::from_millis(140), "{:?}", begin.elapsed());

        let quiet = tokio::time::timeout(Duration::from_millis(60), alarm.rang()).await;
        assert!(quiet.is_err(), "it rings once");

        alarm.set(Some(Timestamp::UNIX_EPOCH)).unwrap();
        tokio::time::timeout(Duration::from_secs(5), alarm.rang()).await.expect("the past rings at once").unwrap();

        alarm.set(Some(Timestamp::MAX)).unwrap();
        alarm.set(None).unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(60), alarm.rang()).await.is_err());
    }
}
