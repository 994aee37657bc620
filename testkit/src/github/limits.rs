//! GitHub's secondary limits on creating content. Off unless a test wants them.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(60);

/// Times of content-creating requests per login.
#[derive(Debug)]
pub(crate) struct ContentLimits {
    /// Requests within a minute.
    pub(crate) per_minute: usize,
    /// Least time between two.
    pub(crate) apart: Duration,
    recent: BTreeMap<String, VecDeque<Instant>>,
}

impl Default for ContentLimits {
    fn default() -> Self {
        Self { per_minute: usize::MAX, apart: Duration::ZERO, recent: BTreeMap::new() }
    }
}

impl ContentLimits {
    /// Counts a request that creates content.
    ///
    /// # Errors
    /// Seconds to wait when it comes too early.
    pub(crate) fn admit(&mut self, login: &str, now: Instant) -> Result<(), u64> {
        let recent = self.recent.entry(login.to_owned()).or_default();
        while recent.front().is_some_and(|at| now - *at >= WINDOW) {
            recent.pop_front();
        }
        let since_last = recent.back().map(|last| now - *last);
        if let Some(early) =
            since_last.and_then(|since| self.apart.checked_sub(since)).filter(|d| !d.is_zero())
        {
            return Err(early.as_secs() + 1);
        }
        if recent.len() >= self.per_minute {
            let oldest = recent.front().map_or(Duration::ZERO, |at| now - *at);
            return Err((WINDOW - oldest).as_secs().max(1));
        }
        recent.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_slides_and_each_login_has_its_own() {
        let (start, mut limits) = (Instant::now(), ContentLimits { per_minute: 2, ..Default::default() });
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(limits.admit("a", at(0)), Ok(()));
        assert_eq!(limits.admit("a", at(10)), Ok(()));
        assert_eq!(limits.admit("a", at(20)), Err(40));
        assert_eq!(limits.admit("b", at(20)), Ok(()));
        assert_eq!(limits.admit("a", at(60)), Ok(()));
    }

    #[test]
    fn too_close_is_refused() {
        let (now, mut limits) =
            (Instant::now(), ContentLimits { apart: Duration::from_secs(1), ..Default::default() });
        assert_eq!(limits.admit("a", now), Ok(()));
        assert_eq!(limits.admit("a", now + Duration::from_millis(999)), Err(1));
        assert_eq!(limits.admit("a", now + Duration::from_secs(1)), Ok(()));
    }
}
