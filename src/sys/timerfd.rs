//! A timerfd on the wall clock. It rings at an instant, and also when somebody sets the clock: a sleep
//! until "03:00" must be judged anew after that. Waiting for it is up to the caller (`clock::Alarm`).

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// Longest sleep in seconds since the epoch that the kernel takes without overflow: the year 9999.
const FAR: i64 = 253_370_764_800;

/// Non-blocking; readable once it has rung.
#[derive(Debug)]
pub struct Timer(TimerFd);

impl Timer {
    /// # Errors
    /// If the kernel gives no timer (too many open files).
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        Ok(Self(TimerFd::new(ClockId::CLOCK_REALTIME, flags)?))
    }

    /// Rings at `(seconds, nanoseconds)` since the epoch, at once if that is past. `None`: only when
    /// the clock is set. True: it was set since the timer was last armed.
    ///
    /// # Errors
    /// If the kernel refuses the instant.
    pub fn set(&self, at: Option<(i64, i64)>) -> io::Result<bool> {
        let (seconds, nanos) = at.unwrap_or((FAR, 0));
        // Zero would disarm it.
        let at = if seconds < 1 { TimeSpec::new(1, 0) } else { TimeSpec::new(seconds.min(FAR), nanos.max(0)) };
        let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        match self.0.set(Expiration::OneShot(at), flags) {
            // It is armed all the same.
            Err(Errno::ECANCELED) => Ok(true),
            other => Ok(other.map(|()| false)?),
        }
    }

    /// Takes the ring; true: it rang because the clock was set. `WouldBlock` while it has not rung.
    ///
    /// # Errors
    /// `WouldBlock`, or what the kernel says.
    pub fn take(&self) -> io::Result<bool> {
        match nix::unistd::read(self.0.as_fd(), &mut [0; 8]) {
            Ok(_) => Ok(false),
            Err(Errno::ECANCELED) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}
