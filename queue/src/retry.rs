//! When to try again: exponential backoff with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter").
//! Pure: the caller passes the random number.

use std::time::Duration;

use jiff::Timestamp;

/// How something that is away is asked whether it is back: soon at first, then at fixed points of time that everybody
/// who asks shares.
///
/// The points are shared for the sake of sshd: while something connects to the port of a frozen tunnel every few
/// seconds, sshd's `ClientAliveInterval` never runs out, and the port is never given back (measured: every 3 s, still
/// held after 90 s; every 7 s, given back in 26 s).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probing {
    /// The first delay; doubles with each failure.
    pub base: Duration,
    /// Where the doubling ends: from then on at each multiple of this time.
    pub every: Duration,
}

impl Default for Probing {
    /// Half a second, doubling to every 20 s: well above the 5 s that `deploy/sshd.conf` sets.
    fn default() -> Self {
        Self { base: Duration::from_millis(500), every: Duration::from_secs(20) }
    }
}

impl Probing {
    /// The delay after so many failures in a row (from 1).
    pub fn delay(&self, failures: u32, now: Timestamp) -> Duration {
        let doubled = self.base.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        if doubled < self.every {
            return doubled;
        }
        let every = self.every.as_millis().max(1);
        let past = u128::try_from(now.as_millisecond()).unwrap_or_default() % every;
        Duration::from_millis(u64::try_from(every - past).unwrap_or(u64::MAX))
    }
}

/// A retry schedule. By default:
///
/// | after attempt | waits at most | since the first attempt, at most |
/// | --- | --- | --- |
/// | 1 | 1 s | 1 s |
/// | 2, 3, 4 … 12 | 2 s, 4 s, 8 s … 34 min | 3 s, 7 s, 15 s … 68 min |
/// | 13 and later | 1 h | 72 h, then it is a dead letter |
///
/// Each wait is a random share of its bound (full jitter), from a tenth up: on average a little more than half. A delay
/// that the target asked for (`Retry-After`) takes the place of the schedule's, up to an hour. Times in which the
/// target was away count neither as attempts nor, before the first attempt that reached it, as time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Upper bound of the first delay; doubles with each attempt.
    pub base: Duration,
    /// Upper bound of every delay.
    pub cap: Duration,
    /// Counted from the first attempt, after which a job is dead.
    pub give_up_after: Duration,
    /// Attempts that are made in any case: a clock that jumps ahead, or a machine that was off for days, ends nothing.
    pub fewest_attempts: u32,
}

impl Default for Schedule {
    /// One second, doubling to an hour, for three days: as long as GitHub keeps a delivery for redelivery.
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            cap: Duration::from_secs(60 * 60),
            give_up_after: Duration::from_secs(72 * 60 * 60),
            // Well below the some eighty that even the longest delays make of three days.
            fewest_attempts: 40,
        }
    }
}

impl Schedule {
    /// The delay after attempt number `attempt` (from 1): a random share of the bound, never less than a tenth of it,
    /// so that a failing target is not called again at once. `random` is in 0..1.
    pub fn delay(&self, attempt: u32, random: f64) -> Duration {
        let doubled = self.base.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)));
        doubled.min(self.cap).mul_f64(random.clamp(0.1, 1.0))
    }

    /// The delay after a failed attempt, or `None` when it is time to give up. A delay that the target asked for is
    /// kept to, within the cap.
    pub fn next(
        &self,
        attempt: u32,
        since_first: Duration,
        asked: Option<Duration>,
        random: f64,
    ) -> Option<Duration> {
        let delay = asked.map_or_else(|| self.delay(attempt, random), |asked| asked.min(self.cap));
        let goes_on = attempt < self.fewest_attempts || since_first + delay <= self.give_up_after;
        goes_on.then_some(delay)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_end_after_three_days() {
        let schedule = Schedule::default();
        let bounds: Vec<u64> = (1..=14).map(|attempt| schedule.delay(attempt, 1.0).as_secs()).collect();
        assert_eq!(bounds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]);
        assert_eq!(bounds[..12].iter().sum::<u64>(), 68 * 60 + 15, "as the table says");
        let hour = Duration::from_secs(3600);
        assert_eq!(schedule.next(80, hour * 71, None, 1.0), Some(hour));
        assert_eq!(schedule.next(80, hour * 71 + Duration::from_secs(1), None, 1.0), None);
        assert_eq!(schedule.next(39, hour * 1000, None, 1.0), Some(hour), "the clock may have jumped");
        assert_eq!(
            schedule.next(1, Duration::ZERO, Some(Duration::from_secs(30)), 0.5),
            Some(Duration::from_secs(30))
        );
    }

    #[test]
    fn everybody_asks_at_the_same_points_of_time() {
        let probing = Probing::default();
        let at = |ms: i64| Timestamp::from_millisecond(1_800_000_000_000 + ms).unwrap();
        let first: Vec<u128> = (1..=6).map(|failures| probing.delay(failures, at(0)).as_millis()).collect();
        assert_eq!(first, [500, 1000, 2000, 4000, 8000, 16_000]);
        for (failures, now) in [(7, 0), (8, 5_003), (90, 19_999), (u32::MAX, 20_000)] {
            let next = at(now).as_millisecond()
                + i64::try_from(probing.delay(failures, at(now)).as_millis()).unwrap();
            assert_eq!(next % 20_000, 0, "{failures} failures at {now}");
        }
    }

    proptest! {
        #[test]
        fn a_delay_is_never_longer_than_the_cap(attempt in any::<u32>(), random in any::<f64>()) {
            let schedule = Schedule::default();
            let delay = schedule.delay(attempt, random);
            prop_assert!(delay <= schedule.cap && delay >= schedule.base / 10);
        }
    }
}
