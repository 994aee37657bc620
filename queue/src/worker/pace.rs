//! How fast a lane goes. Pure: the caller passes the time and what is in hand.

use std::{num::NonZeroU32, time::Duration};

use tokio::time::Instant;

/// At most `rate` jobs a second are started (a token bucket that holds a tenth of a second's worth), and after a pause
/// one at a time, then two, then four: what has just come back is not buried under what waited for it. Like a circuit
/// breaker that is half open (Nygard, "Release It!"), except that it closes step by step.
#[derive(Debug)]
pub(super) struct Pace {
    concurrency: usize,
    /// How many that began since the last pause may run at a time.
    window: usize,
    rate: f64,
    tokens: f64,
    refilled: Instant,
}

/// What may be started now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// So many.
    For(usize),
    /// None before a job in hand ends.
    Busy,
    /// None for so long.
    TooFast(Duration),
}

impl Pace {
    /// A lane that has not been paused yet.
    pub(super) fn new(concurrency: usize, rate: NonZeroU32, now: Instant) -> Self {
        let rate = f64::from(rate.get());
        Self { concurrency, window: concurrency, rate, tokens: most_tokens(rate), refilled: now }
    }

    /// How many may start when `in_hand` run, `since_pause` of which began after the last pause.
    pub(super) fn room(&mut self, in_hand: usize, since_pause: usize, now: Instant) -> Room {
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.tokens = most_tokens(self.rate).min(passed.mul_add(self.rate, self.tokens));
        self.refilled = now;
        let room = self.concurrency.saturating_sub(in_hand).min(self.window.saturating_sub(since_pause));
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and a tenth of the rate, and a part of a token starts nothing"
        )]
        let whole = self.tokens as usize;
        match (room, whole) {
            (0, _) => Room::Busy,
            (_, 0) => Room::TooFast(Duration::from_secs_f64((1.0 - self.tokens) / self.rate)),
            (room, whole) => Room::For(room.min(whole)),
        }
    }

    /// So many were started.
    pub(super) fn started(&mut self, jobs: usize) {
        #[expect(clippy::cast_precision_loss, reason = "no more than the tokens there were")]
        let jobs = jobs as f64;
        self.tokens -= jobs;
    }

    /// A job went well, or failed by itself: twice as many may run, up to all.
    pub(super) fn widen(&mut self) {
        self.window = self.window.saturating_mul(2).min(self.concurrency);
    }

    /// A job failed: what is still on its way back starts again at one. What is back stays so.
    pub(super) fn narrow(&mut self) {
        if self.window < self.concurrency {
            self.window = 1;
        }
    }

    /// The lane was paused.
    pub(super) fn pause(&mut self) {
        self.window = 1;
    }
}

/// What an idle lane saves up.
fn most_tokens(rate: f64) -> f64 {
    (rate / 10.0).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(concurrency: usize, rate: u32, now: Instant) -> Pace {
        Pace::new(concurrency, NonZeroU32::new(rate).unwrap(), now)
    }

    #[test]
    fn after_a_pause_the_room_doubles_with_each_success() {
        let now = Instant::now();
        let mut pace = pace(8, 1000, now);
        assert_eq!(pace.room(0, 0, now), Room::For(8));
        pace.pause();
        assert_eq!(pace.room(0, 0, now), Room::For(1));
        assert_eq!(pace.room(1, 1, now), Room::Busy);
        pace.widen();
        assert_eq!(pace.room(0, 0, now), Room::For(2));
        pace.narrow();
        assert_eq!(pace.room(0, 0, now), Room::For(1), "not back yet");
        for room in [2, 4, 8, 8] {
            pace.widen();
            assert_eq!(pace.room(0, 0, now), Room::For(room));
        }
        pace.narrow();
        assert_eq!(pace.room(0, 0, now), Room::For(8), "one failing job does not slow down a lane that runs");
    }

    #[test]
    fn jobs_from_before_the_pause_take_room_but_are_no_part_of_the_trial() {
        let now = Instant::now();
        let mut pace = pace(4, 1000, now);
        pace.pause();
        assert_eq!(pace.room(3, 0, now), Room::For(1));
        assert_eq!(pace.room(4, 0, now), Room::Busy);
    }

    #[test]
    fn in_no_second_are_more_started_than_the_rate_and_what_was_saved_up() {
        let start = Instant::now();
        for rate in [1, 7, 100, 2000] {
            let (mut pace, mut now, mut started) = (pace(1000, rate, start), start, 0);
            while now < start + Duration::from_secs(10) {
                match pace.room(0, 0, now) {
                    Room::For(jobs) => {
                        pace.started(jobs);
                        started += u32::try_from(jobs).unwrap();
                    }
                    Room::TooFast(wait) => now += wait + Duration::from_nanos(1),
                    Room::Busy => panic!("nothing is in hand"),
                }
            }
            let most = 10 * rate + (rate / 10).max(1);
            assert!(started <= most && started + 2 >= 10 * rate, "{started} at {rate} a second");
        }
    }
}
