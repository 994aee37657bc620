//! How long words are kept that nobody needs, or that nobody has said for long.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Memory;
use crate::store::{Audit, StoreError};

/// As many are forgotten together: others write in between.
const BATCH: usize = 100;

/// Who forgets, as the audit lines say.
const WHO: &str = "retention";

/// How long is how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Until the record of what no search finds loses its words; `None`: never.
    pub junk: Option<Duration>,
    /// Until a memory is forgotten that nobody has said since; `None`: never.
    pub memories: Option<Duration>,
}

/// How much one sweep forgot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Deliveries whose words no search would have found.
    pub junk: u64,
    /// Memories.
    pub memories: u64,
}

impl Memory {
    /// Forgets what has been kept for long enough, and the copies from before an upgrade, which know it still.
    ///
    /// # Errors
    /// The store cannot be read or written; what was forgotten until then stays forgotten.
    pub async fn sweep(&self, retention: Retention, now: Timestamp) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        if let Some(before) = ago(now, retention.memories) {
            loop {
                let ids = self.store.expired(before, BATCH).await?;
                if ids.is_empty() {
                    break;
                }
                swept.memories +=
                    self.store.forget(ids, audit(retention.memories, "said")).await?.len() as u64;
            }
        }
        // What is not even findable is not kept longer than what is.
        let junk = [retention.junk, retention.memories].into_iter().flatten().min();
        if let Some(before) = ago(now, junk) {
            let mut after = 0;
            loop {
                let unneeded = self.store.unneeded(before, after, BATCH).await?;
                let Some((last, _)) = unneeded.last() else { break };
                after = *last;
                let deliveries = unneeded.into_iter().map(|(_, delivery)| delivery).collect();
                swept.junk += self.store.strip(deliveries, audit(junk, "found"), now).await?;
            }
        }
        self.store.copies().await?;
        Ok(swept)
    }
}

/// That long ago.
fn ago(now: Timestamp, long: Option<Duration>) -> Option<Timestamp> {
    now.checked_sub(SignedDuration::try_from(long?).ok()?).ok()
}

fn audit(long: Option<Duration>, what: &str) -> Audit {
    let days = long.unwrap_or_default().as_secs() / (24 * 60 * 60);
    Audit { by: WHO.to_owned(), reason: format!("not {what} for {days} days") }
}

#[cfg(test)]
mod tests;
