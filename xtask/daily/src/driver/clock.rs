//! The time of the reducer. It stands still while the supervisor cannot run: stopped by a signal,
//! or on a machine that swaps.
//!
//! A deadline counts only time in which the supervisor could read what services send. While the
//! stack has a deadline, the loop reads the clock at least once a second, so a reading that is late
//! shows a pause. A suspended machine needs no rule, because its monotonic clock stands still.
//!
//! The rule is here and not in the reducer, which gets the time as an argument and cannot observe
//! when its caller sleeps. A recording contains these times, so it replays exactly.

use std::time::Duration;

use tokio::time::Instant;

/// The longest sleep of the loop while the stack has a deadline.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// How late a reading may be on a busy machine.
const LATE: Duration = Duration::from_millis(250);

/// The time to read what arrived during a pause. It does not count.
const READING_TIME: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(super) struct Clock {
    /// The time that counts, since the stack began.
    time: Duration,
    /// When `time` was or will be right.
    read: Instant,
    /// When the next reading is due, if there is a limit.
    next: Option<Instant>,
}

impl Clock {
    pub(super) fn new(now: Instant) -> Self {
        Self { time: Duration::ZERO, read: now, next: None }
    }

    pub(super) fn time_at(&mut self, now: Instant) -> Duration {
        if self.next.is_some_and(|next| now > next + LATE) {
            self.read = now + READING_TIME;
        } else if now > self.read {
            self.time += now - self.read;
            self.read = now;
        }
        self.next = self.next.map(|_| now + LONGEST_SLEEP);
        self.time
    }

    /// Until when the loop may sleep if this is the stack's next deadline.
    pub(super) fn sleep_until(
        &mut self,
        deadline: Option<Duration>,
        now: Instant,
    ) -> Option<Instant> {
        self.time_at(now);
        let deadline = deadline.map(|deadline| self.read + deadline.saturating_sub(self.time));
        self.next = deadline.map(|deadline| deadline.min(now + LONGEST_SLEEP));
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pause_does_not_count_and_leaves_time_to_read() {
        let began = Instant::now();
        let mut clock = Clock::new(began);
        let deadline = Some(SECOND / 2);
        assert_eq!(clock.sleep_until(deadline, began), Some(began + SECOND / 2));
        let resumed = began + 5 * SECOND;
        assert_eq!(clock.time_at(resumed), Duration::ZERO);
        let due = resumed + READING_TIME + SECOND / 2;
        assert_eq!(clock.sleep_until(deadline, resumed), Some(due));
        assert_eq!(clock.time_at(resumed + READING_TIME), Duration::ZERO);
        assert_eq!(clock.time_at(due), SECOND / 2);
    }

    #[test]
    fn pause_during_a_step_does_not_count() {
        let began = Instant::now();
        let mut clock = Clock::new(began);
        clock.sleep_until(Some(60 * SECOND), began);
        assert_eq!(clock.time_at(began + SECOND), SECOND);
        assert_eq!(clock.time_at(began + 30 * SECOND), SECOND);
    }

    #[test]
    fn far_deadline_is_reached_in_short_sleeps() {
        let began = Instant::now();
        let mut clock = Clock::new(began);
        let deadline = Duration::from_millis(2500);
        let mut now = began;
        while clock.time_at(now) < deadline {
            let until = clock.sleep_until(Some(deadline), now).unwrap();
            assert!(until <= now + SECOND);
            now = until + LATE / 2;
        }
        assert_eq!(now, began + deadline + LATE / 2);
    }

    #[test]
    fn longest_extension_of_a_timeout_is_a_far_deadline() {
        let began = Instant::now();
        let mut clock = Clock::new(began);
        // The largest `EXTEND_TIMEOUT_USEC`, twice.
        let far = Duration::from_micros(u64::MAX) * 2;
        assert_eq!(clock.sleep_until(Some(far), began), Some(began + LONGEST_SLEEP));
    }

    #[test]
    fn idle_time_without_a_deadline_counts() {
        let began = Instant::now();
        let mut clock = Clock::new(began);
        assert_eq!(clock.sleep_until(None, began), None);
        assert_eq!(clock.time_at(began + 3600 * SECOND), 3600 * SECOND);
    }
}
