//! A token bucket as one point of time: that at which it will be full again (GCRA, ITU-T I.371, in its form as a
//! virtual schedule). Exact whole nanoseconds, nothing to refill. Times are counted from any fixed start.

use std::time::Duration;

const NANOSECONDS: u64 = 1_000_000_000;

/// So many tokens per second, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In which one token grows.
    interval: Duration,
    /// In which an empty bucket fills.
    burst: Duration,
}

impl Rate {
    /// `per_second`, after a pause those of `seconds` at once; `None` for 0: no limit.
    pub fn new(per_second: u32, seconds: u32) -> Option<Self> {
        let interval = Duration::from_nanos(NANOSECONDS.checked_div(u64::from(per_second))?);
        Some(Self { interval, burst: interval.saturating_mul(per_second).saturating_mul(seconds) })
    }
}

/// A bucket; new ones are full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    full_at: Duration,
}

impl Bucket {
    /// How long until there is a token; zero: there is one.
    pub fn wait(&self, rate: Rate, now: Duration) -> Duration {
        (self.full_at.saturating_sub(now) + rate.interval).saturating_sub(rate.burst)
    }

    /// Takes a token, also one that has yet to grow: then later ones wait for it as well.
    pub fn charge(&mut self, rate: Rate, now: Duration) {
        self.full_at = self.full_at.max(now) + rate.interval;
    }

    /// Takes a token.
    ///
    /// # Errors
    /// There is none; how long until there will be.
    pub fn take(&mut self, rate: Rate, now: Duration) -> Result<(), Duration> {
        let wait = self.wait(rate, now);
        if wait.is_zero() {
            self.charge(rate, now);
            Ok(())
        } else {
            Err(wait)
        }
    }

    /// When it will be full.
    pub fn full_at(&self) -> Duration {
        self.full_at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_at_once_and_then_the_rate() {
        let rate = Rate::new(50, 10).unwrap();
        let mut bucket = Bucket::default();
        let now = SECOND * 100;
        assert_eq!((0..600).filter(|_| bucket.take(rate, now).is_ok()).count(), 500);
        assert_eq!(bucket.take(rate, now), Err(Duration::from_millis(20)));
        assert_eq!((0..600).filter(|_| bucket.take(rate, now + SECOND).is_ok()).count(), 50);
        assert_eq!((0..600).filter(|_| bucket.take(rate, now + SECOND * 60).is_ok()).count(), 500);
    }

    #[test]
    fn what_was_charged_beyond_is_waited_for() {
        let rate = Rate::new(50, 10).unwrap();
        let mut bucket = Bucket::default();
        (0..1000).for_each(|_| bucket.charge(rate, SECOND));
        assert_eq!(bucket.wait(rate, SECOND), SECOND * 10 + Duration::from_millis(20));
        assert!(bucket.take(rate, SECOND * 11).is_err());
        assert!(bucket.take(rate, SECOND * 12).is_ok());
    }

    #[test]
    fn zero_is_no_limit() {
        assert_eq!(Rate::new(0, 10), None);
    }

    proptest! {
        /// Over any stretch of time, not only from the start.
        #[test]
        fn never_more_than_the_rate_and_a_burst(
            (per_second, seconds) in (1_u32..30_000, 1_u32..20),
            pauses in prop::collection::vec(0_u64..3_000_000, 1..400),
        ) {
            let rate = Rate::new(per_second, seconds).unwrap();
            let (mut bucket, mut now, mut taken) = (Bucket::default(), Duration::ZERO, Vec::new());
            for pause in pauses {
                now += Duration::from_micros(pause);
                for _ in 0..per_second * seconds / 3 + 1 {
                    if bucket.take(rate, now).is_ok() {
                        taken.push(now);
                    }
                    if taken.len() > 20_000 {
                        break;
                    }
                }
            }
            for (first, from) in taken.iter().enumerate().step_by(taken.len() / 20 + 1) {
                for (last, until) in taken.iter().enumerate().skip(first).step_by(taken.len() / 50 + 1) {
                    // One nanosecond in a second is lost where the rate does not divide it.
                    let grown = (*until - *from).as_secs_f64() * f64::from(per_second) * 1.000_1;
                    let most = grown + f64::from(per_second * seconds) + 1e-6;
                    prop_assert!((last - first + 1) as f64 <= most, "{} > {most}", last - first + 1);
                }
            }
        }

        #[test]
        fn who_keeps_to_the_rate_is_never_refused(per_second in 1_u32..30_000, jitter in prop::collection::vec(0_u64..100, 1..200)) {
            let rate = Rate::new(per_second, 1).unwrap();
            let mut bucket = Bucket::default();
            let mut now = Duration::ZERO;
            for late in jitter {
                now += Duration::from_nanos(NANOSECONDS.div_ceil(u64::from(per_second)) + late);
                prop_assert!(bucket.take(rate, now).is_ok());
            }
        }
    }
}
