//! Pauses of less than a millisecond, which the timers of the runtime round up.

use std::time::Duration;

/// The shortest pause that the runtime's timer is exact enough for.
const COARSE: Duration = Duration::from_millis(4);

/// Waits for this time.
pub(crate) async fn pause(time: Duration) {
    if time >= COARSE || fine(time).await.is_err() {
        tokio::time::sleep(time).await;
    }
}

#[cfg(target_os = "linux")]
async fn fine(time: Duration) -> std::io::Result<()> {
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
    let none = Timespec { tv_sec: 0, tv_nsec: 0 };
    let nanoseconds = time.subsec_nanos().max(1);
    let value = Timespec { tv_sec: 0, tv_nsec: nanoseconds.into() };
    let once = Itimerspec { it_interval: none, it_value: value };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once)?;
    let timer = crate::system::async_fd::async_fd(timer)?;
    timer.readable().await?.retain_ready();
    Ok(())
}

#[cfg(not(target_os = "linux"))]
async fn fine(_time: Duration) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn pause_lasts_at_least_its_time() {
        for time in [0, 200, 1500, 6000].map(Duration::from_micros) {
            let began = Instant::now();
            pause(time).await;
            assert!(began.elapsed() >= time, "{time:?}");
        }
    }
}
