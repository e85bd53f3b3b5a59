//! Pauses of less than a millisecond, which the timers of the runtime round up.

use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::time::Duration;

#[cfg(target_os = "linux")]
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
#[cfg(target_os = "linux")]
use tokio::io::unix::AsyncFd;

#[cfg(target_os = "linux")]
use crate::system::async_fd::async_fd;

/// The shortest pause that the runtime's timer is exact enough for.
const COARSE: Duration = Duration::from_millis(4);

/// A timer that is created for the first fine pause.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    #[cfg(target_os = "linux")]
    fine: Option<AsyncFd<OwnedFd>>,
}

impl Timer {
    /// Waits for this time.
    pub(crate) async fn pause(&mut self, time: Duration) {
        if time >= COARSE || self.fine(time).await.is_err() {
            tokio::time::sleep(time).await;
        }
    }

    #[cfg(target_os = "linux")]
    async fn fine(&mut self, time: Duration) -> io::Result<()> {
        let timer = match &self.fine {
            Some(timer) => timer,
            None => {
                let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
                let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
                self.fine.insert(async_fd(timer)?)
            }
        };
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let nanoseconds = time.subsec_nanos().max(1);
        let value = Timespec { tv_sec: 0, tv_nsec: nanoseconds.into() };
        let once = Itimerspec { it_interval: none, it_value: value };
        timerfd_settime(timer, TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = timer.readable().await?;
            // The readiness of the pause before may still be known.
            if let Ok(read) = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut [0; 8])?)) {
                return read.map(drop);
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    async fn fine(&mut self, _time: Duration) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn each_pause_lasts_at_least_its_time() {
        let mut timer = Timer::default();
        for time in [0, 200, 1500, 6000, 300, 0, 2000].map(Duration::from_micros) {
            let began = Instant::now();
            timer.pause(time).await;
            assert!(began.elapsed() >= time, "{time:?}");
        }
    }
}
