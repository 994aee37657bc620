//! The background loop that forgets what has been kept for long enough: at the start, and once a day.

use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::memory::{Memory, Retention};

/// Between two sweeps.
const EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// After one that failed.
const AGAIN: Duration = Duration::from_secs(10 * 60);

/// Sweeps until `stop`.
pub(crate) async fn run(memory: Memory, retention: Retention, stop: CancellationToken) {
    loop {
        // One that is dropped goes on with the next: each batch stands for itself.
        let sweep = memory.sweep(retention, Timestamp::now());
        let Some(swept) = stop.run_until_cancelled(sweep).await else { return };
        let pause = match swept {
            Ok(swept) => {
                if swept.junk + swept.memories > 0 {
                    tracing::info!(
                        junk = swept.junk,
                        memories = swept.memories,
                        "forgotten: kept for long enough"
                    );
                }
                EVERY
            }
            Err(error) => {
                tracing::warn!(%error, "what was kept for long enough cannot be forgotten now");
                AGAIN
            }
        };
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}
