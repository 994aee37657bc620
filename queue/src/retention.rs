//! What is kept of the past, and for how long.

use std::{sync::Weak, time::Duration};

use crate::{Backend, Queue, Result};

/// How often what need not be kept is looked for.
const EVERY: Duration = Duration::from_secs(10 * 60);
/// Lets others write while a lot is given up.
const BETWEEN_BATCHES: Duration = Duration::from_millis(20);

/// How long what has ended is kept. What is unfinished is never given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// After the end of a delivery's last job.
    pub finished: Duration,
    /// The same for one with a dead job.
    pub dead: Duration,
    /// The size at which the oldest go earlier, dead ones last, in bytes.
    pub store_bytes: u64,
    /// How long an id is remembered in any case, so that the same delivery is known when it comes again. A younger
    /// delivery that must make room loses its payload only, and can then not be sent again.
    pub remember: Duration,
}

impl Default for Retention {
    /// Two weeks, dead ones three months, 1 GiB; ids for the three days in which GitHub sends a delivery again.
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
        Self { finished: days(14), dead: days(90), store_bytes: 1 << 30, remember: days(3) }
    }
}

/// What one round of [`prune`](Queue::prune) gave up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Deliveries, with all that belongs to them.
    pub deliveries: usize,
    /// Payloads of deliveries that stay known.
    pub payloads: usize,
}

impl Queue {
    /// Gives up what need not be kept, in batches between which others write.
    ///
    /// # Errors
    /// The store cannot write.
    pub async fn prune(&self, retention: Retention) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        loop {
            let Pruned { deliveries, payloads } = self.0.prune(retention).await?;
            if deliveries + payloads == 0 {
                return Ok(pruned);
            }
            pruned.deliveries += deliveries;
            pruned.payloads += payloads;
            tokio::time::sleep(BETWEEN_BATCHES).await;
        }
    }
}

/// Prunes now and every ten minutes, for as long as somebody uses the queue.
pub(crate) async fn keep_within(backend: Weak<dyn Backend>, retention: Retention) {
    loop {
        let Some(queue) = backend.upgrade().map(Queue) else { return };
        match queue.prune(retention).await {
            Ok(pruned) if pruned == Pruned::default() => {}
            Ok(Pruned { deliveries, payloads }) => {
                tracing::info!(deliveries, payloads, "what need not be kept any longer was given up");
            }
            Err(error) => tracing::warn!(%error, "what need not be kept cannot be given up now"),
        }
        drop(queue);
        tokio::time::sleep(EVERY).await;
    }
}
