//! How fast content may be created (docs.github.com: "Best practices for using the REST API", "About secondary rate
//! limits"): one call after the other with a pause between them, at most 80 a minute and 500 an hour. Pure.

use std::collections::VecDeque;
use std::time::Duration;

/// Calls that GitHub allows within a time.
const LIMITS: [(Duration, usize); 2] = [(Duration::from_secs(60), 80), (Duration::from_secs(3_600), 500)];

/// What has been sent in the last hour. Times are those since some fixed moment.
#[derive(Debug)]
pub(super) struct Pace {
    /// Least time from the end of a call to the beginning of the next; zero switches everything off.
    apart: Duration,
    ended: Option<Duration>,
    begun: VecDeque<Duration>,
}

impl Pace {
    pub(super) fn new(apart: Duration) -> Self {
        Self { apart, ended: None, begun: VecDeque::new() }
    }

    /// How long the next call has to wait.
    pub(super) fn wait(&self, now: Duration) -> Duration {
        if self.apart.is_zero() {
            return Duration::ZERO;
        }
        let apart = self.ended.map_or(Duration::ZERO, |ended| (ended + self.apart).saturating_sub(now));
        let full = |(window, most): (Duration, usize)| {
            // the call that has to leave the window before the next one has room in it
            let oldest = self.begun.len().checked_sub(most).and_then(|at| self.begun.get(at));
            oldest.map_or(Duration::ZERO, |begun| (*begun + window).saturating_sub(now))
        };
        LIMITS.into_iter().map(full).fold(apart, Duration::max)
    }

    /// A call begins.
    pub(super) fn begin(&mut self, now: Duration) {
        let most = LIMITS.iter().map(|(_, most)| *most).max().unwrap_or_default();
        if self.begun.len() >= most {
            self.begun.pop_front();
        }
        self.begun.push_back(now);
        self.ended = Some(now);
    }

    /// The call has ended.
    pub(super) fn end(&mut self, now: Duration) {
        self.ended = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Sends as early as allowed, each call taking `takes`; returns when each began.
    fn sent(apart: Duration, calls: usize, takes: Duration) -> Vec<Duration> {
        let (mut pace, mut now, mut times) = (Pace::new(apart), Duration::ZERO, Vec::new());
        for _ in 0..calls {
            now += pace.wait(now);
            pace.begin(now);
            times.push(now);
            now += takes;
            pace.end(now);
        }
        times
    }

    #[test]
    fn calls_keep_their_distance_from_end_to_beginning() {
        assert_eq!(sent(secs(1), 3, secs(2)), [secs(0), secs(3), secs(6)]);
    }

    #[test]
    fn eighty_a_minute_and_five_hundred_an_hour() {
        let times = sent(Duration::from_millis(100), 600, Duration::ZERO);
        assert!(times[79] < secs(8) && times[80] == secs(60), "{:?}", times[80]);
        assert!(times[499] < secs(6 * 60 + 8) && times[500] == secs(3_600), "{:?}", times[500]);
    }

    #[test]
    fn without_pacing_nothing_waits() {
        assert_eq!(sent(Duration::ZERO, 1_000, Duration::ZERO).last(), Some(&Duration::ZERO));
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_its_limit(apart in 1u64..3_000, takes in 0u64..2_000) {
            let times = sent(Duration::from_millis(apart), 700, Duration::from_millis(takes));
            for (window, most) in LIMITS {
                for (early, late) in times.iter().zip(times.iter().skip(most)) {
                    prop_assert!(*late - *early >= window);
                }
            }
        }
    }
}
