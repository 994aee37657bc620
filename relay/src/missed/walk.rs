//! Reads GitHub's list of deliveries back to a time, as many pages per look as GitHub's limits bear.

use jiff::Timestamp;

use super::{
    github::{Github, GithubError, Result},
    plan::{Attempt, Listing},
};

/// Pages of a hundred that one look reads of a hook; the next one reads on.
const MOST_PAGES: usize = 50;
/// Attempts that are kept in memory. Beyond it the newest go: the oldest are the first that GitHub forgets, and the
/// cursor waits for the others.
const MOST_KEPT: usize = 50_000;

/// How far the list was read.
#[derive(Debug, Default)]
pub(super) struct Walk {
    listing: Listing,
    next: Option<String>,
}

impl Walk {
    /// Everything since `horizon`; `None` while there is more to read than one look may.
    ///
    /// # Errors
    /// [`GithubError`]. After a passing one the next look reads on.
    pub(super) async fn back_to(
        &mut self,
        horizon: Timestamp,
        github: &Github,
        hook: &str,
    ) -> Result<Option<Listing>> {
        for _ in 0..MOST_PAGES {
            let page = github.deliveries(hook, self.next.as_deref()).await;
            if !matches!(page, Ok(_) | Err(GithubError::Limited(_) | GithubError::Unavailable(_))) {
                *self = Self::default();
            }
            let (attempts, next) = page?;
            let reached = attempts.last().is_none_or(|oldest| oldest.delivered_at < horizon);
            self.keep(attempts);
            self.next = next;
            if reached || self.next.is_none() {
                return Ok(Some(std::mem::take(self).listing));
            }
        }
        Ok(None)
    }

    /// A first attempt that succeeded tells nothing but its time.
    fn keep(&mut self, attempts: Vec<Attempt>) {
        let Listing { attempts: kept, newest } = &mut self.listing;
        *newest = (*newest).max(attempts.iter().map(|attempt| attempt.delivered_at).max());
        kept.extend(attempts.into_iter().filter(|attempt| attempt.redelivery || !attempt.succeeded()));
        if let Some(surplus) = kept.len().checked_sub(MOST_KEPT).filter(|surplus| *surplus > 0) {
            kept.drain(..surplus);
            *newest = kept.first().map(|attempt| attempt.delivered_at);
        }
    }
}
