//! Follows an endpoint's outcome feed, with a cursor that survives a restart: what became of an event is known here
//! even if it was decided while the tunnel was down.

use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::future::try_join_all;
use queue::{Finish, Probing, Queue};
use shared::{
    client::SignedClient,
    outcome::{Feed, MAX_WAIT_SECONDS, Outcome},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::metrics;

/// Between an answer with outcomes and the next question. A question that waits for its answer is a small packet that
/// nobody acknowledges at once; sshd leaves Nagle's algorithm on, and would hold the next event back for up to 40 ms behind
/// it. While events come in quick succession, questions are thus rare, and answered at once.
const BREATH: Duration = Duration::from_millis(100);

/// What is known of an endpoint: `None` until it was first asked, then whether it answers or why not.
pub type Reachable = Option<Result<(), String>>;

/// Follows one endpoint.
#[derive(Debug)]
pub struct Follower {
    queue: Queue,
    lane: String,
    client: SignedClient,
    reachable: watch::Sender<Reachable>,
}

impl Follower {
    /// Follows the endpoint of `lane`.
    pub fn new(queue: Queue, lane: &str, client: SignedClient) -> Self {
        Self { queue, lane: lane.to_owned(), client, reachable: watch::Sender::new(None) }
    }

    /// Whether the endpoint answers.
    pub fn reachable(&self) -> watch::Receiver<Reachable> {
        self.reachable.subscribe()
    }

    /// Follows until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut failures = 0_u32;
        loop {
            let followed = tokio::select! {
                () = stop.cancelled() => return,
                followed = self.follow() => followed,
            };
            match followed {
                Ok(some) => {
                    if failures > 0 {
                        tracing::info!(target_name = self.lane, "its outcomes are followed again");
                    }
                    failures = 0;
                    self.reachable.send_replace(Some(Ok(())));
                    if some {
                        tokio::time::sleep(BREATH).await;
                    }
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    let why = format!("{error:#}");
                    if failures == 1 {
                        tracing::warn!(
                            target_name = self.lane,
                            why,
                            "its outcomes cannot be followed; they wait over there"
                        );
                    }
                    self.reachable.send_replace(Some(Err(why)));
                    tokio::select! {
                        () = stop.cancelled() => return,
                        () = tokio::time::sleep(Probing::default().delay(failures, self.queue.now())) => {}
                    }
                }
            }
        }
    }

    /// One long poll; its outcomes are recorded before the cursor moves on. Whether there were any.
    async fn follow(&self) -> anyhow::Result<bool> {
        let name = format!("outcomes/{}", self.lane);
        let after = self.queue.cursor(&name).await?.unwrap_or(0);
        // The first poll does not wait, so that a start finds out at once who is there.
        let wait =
            if self.reachable.borrow().as_ref().is_some_and(Result::is_ok) { MAX_WAIT_SECONDS } else { 0 };
        let path = format!("/outcomes?after={after}&wait={wait}");
        let answer = self.client.get(&path, Some(Duration::from_secs(MAX_WAIT_SECONDS + 10))).await?;
        if !answer.is_success() {
            bail!("GET /outcomes answered {}: {}", answer.status, answer.message());
        }
        let feed: Feed = serde_json::from_slice(&answer.body).context("the outcome feed cannot be read")?;
        if self.is_another(feed.epoch).await? {
            tracing::warn!(
                target_name = self.lane,
                "its store was begun anew; its outcomes are read from the beginning"
            );
            self.queue.set_cursor(&name, 0).await?;
            return Ok(false);
        }
        let some = !feed.outcomes.is_empty();
        // Together, so that they share a commit.
        try_join_all(feed.outcomes.into_iter().map(|outcome| self.record(outcome))).await?;
        if feed.next != after {
            self.queue.set_cursor(&name, feed.next).await?;
        }
        Ok(some)
    }

    /// Whether this is not the feed that the cursor belongs to. An endpoint whose store was lost counts from one again, and
    /// may have come past the cursor since.
    async fn is_another(&self, epoch: Option<u64>) -> anyhow::Result<bool> {
        let Some(epoch) = epoch else { return Ok(false) };
        let name = format!("epoch/{}", self.lane);
        let known = self.queue.cursor(&name).await?;
        if known != Some(epoch) {
            self.queue.set_cursor(&name, epoch).await?;
        }
        Ok(known.is_some_and(|known| known != epoch))
    }

    async fn record(&self, outcome: Outcome) -> anyhow::Result<()> {
        let Outcome { delivery, redelivery, state, summary, url, detail, .. } = outcome;
        let finish =
            Finish { state: state.as_str().to_owned(), summary: summary.clone(), url: url.clone(), detail };
        if self.queue.record(&delivery, &self.lane, redelivery, finish).await? {
            tracing::info!(
                delivery,
                target_name = self.lane,
                outcome = state.as_str(),
                summary,
                url,
                "outcome"
            );
            metrics::outcome(&self.lane, state);
        } else {
            // Such as what a local agent told the memory.
            tracing::debug!(
                delivery,
                target_name = self.lane,
                "an outcome of something that did not come from here"
            );
        }
        Ok(())
    }
}
