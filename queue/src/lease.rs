//! The right to work on a job.

use std::time::Duration;

use jiff::Timestamp;

use crate::{Error, Finish, Job, Queue, Result, Settlement};

/// How often, and how far apart, a lease is tried to be settled while the store cannot write.
const SETTLE_ATTEMPTS: u32 = 5;
const SETTLE_PAUSE: Duration = Duration::from_secs(1);

/// The right to work on one job. Settling consumes it, so that nothing can be settled twice; one that is dropped
/// comes back after its time.
#[derive(Debug)]
#[must_use = "a lease that is dropped blocks its key until it expires"]
pub struct Lease {
    queue: Queue,
    job: Job,
}

impl Lease {
    pub(crate) fn new(queue: Queue, job: Job) -> Self {
        Self { queue, job }
    }

    /// What to work on.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Keeps an intermediate result that the next attempt finds in [`Job::checkpoint`], also after a `kill -9`.
    ///
    /// # Errors
    /// [`Error::LeaseLost`], or the store cannot write.
    pub async fn checkpoint(&self, state: Vec<u8>) -> Result<()> {
        self.queue.0.checkpoint(self.job.seq, self.job.token, state).await
    }

    /// The job is done.
    ///
    /// # Errors
    /// [`Error::LeaseLost`], or the store cannot write: the job will be handed out again.
    pub async fn done(self, finish: Finish) -> Result<()> {
        self.settle(Settlement::Done(finish)).await
    }

    /// The job failed and is due again at `due`.
    ///
    /// # Errors
    /// As [`done`](Self::done).
    pub async fn retry(self, due: Timestamp, error: String) -> Result<()> {
        self.settle(Settlement::Retry { due, error }).await
    }

    /// The job failed for good.
    ///
    /// # Errors
    /// As [`done`](Self::done).
    pub async fn dead(self, error: String) -> Result<()> {
        self.settle(Settlement::Dead { error }).await
    }

    /// The job was not tried; no attempt is counted.
    ///
    /// # Errors
    /// As [`done`](Self::done).
    pub async fn release(self) -> Result<()> {
        self.settle(Settlement::Release).await
    }

    /// A full disk may be free again in a moment, and a job that is not settled blocks its key until its lease ends.
    async fn settle(self, how: Settlement) -> Result<()> {
        for _ in 1..SETTLE_ATTEMPTS {
            match self.queue.0.settle(self.job.seq, self.job.token, how.clone()).await {
                Err(Error::Store(_)) => tokio::time::sleep(SETTLE_PAUSE).await,
                settled => return settled,
            }
        }
        self.queue.0.settle(self.job.seq, self.job.token, how).await
    }
}
