//! How long to wait before the next attempt.

use std::time::Duration;

const SHORTEST: f64 = 1.0;
const LONGEST: f64 = 30.0;

/// The pause after so many failures in a row, between half of its bound and the bound: 1, 2, 4 … 30 s. `random` is
/// between 0 and 1, so that the machines of many people do not come back to one VPS in step.
pub(super) fn pause(failures: u32, random: f64) -> Duration {
    let bound = (SHORTEST * 2f64.powi(failures.min(10).cast_signed())).min(LONGEST);
    Duration::from_secs_f64((bound * (0.5 + random.clamp(0.0, 1.0) / 2.0)).max(SHORTEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute_and_differ() {
        let bounds = |failures| (pause(failures, 0.0).as_secs_f64(), pause(failures, 1.0).as_secs_f64());
        let all: Vec<_> = [0, 1, 2, 3, 4, 5, 6, u32::MAX].map(bounds).to_vec();
        let halves = [1.0, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0];
        let wholes = [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0];
        assert_eq!(all, halves.into_iter().zip(wholes).collect::<Vec<_>>());
        assert!(pause(4, 0.25) < pause(4, 0.75));
    }
}
