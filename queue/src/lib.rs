//! The durable queue that stands between accepting an event and working on it.
//!
//! [`Queue::put`] returns once a delivery is on disk. Each delivery has one job in each lane that wants it; a
//! [`Worker`] leases the jobs of its lane, in order per key, and settles each lease exactly once, because settling
//! consumes it. What a job came to stays readable: [`Queue::find`], [`Queue::list`], and the feed
//! [`Queue::finished`].

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::watch;

pub mod conformance;
mod model;
mod retry;
mod sqlite;
mod worker;

pub use model::{
    Error, Filter, Finish, Finished, HistoryEntry, Job, JobRecord, JobState, LaneStats, NewDelivery, Put,
    Record, Redelivered, Replaces, Result, Route,
};
pub use retry::{Probing, Schedule};
pub use worker::{Handler, LaneStatus, Verdict, Worker, WorkerOptions};

/// How often, and how far apart, a lease is tried to be settled while the store cannot write.
const SETTLE_ATTEMPTS: u32 = 5;
const SETTLE_PAUSE: Duration = Duration::from_secs(1);

/// Where a queue takes the time from; tests move it by hand.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// How a queue is opened.
#[derive(Clone)]
pub struct Options {
    /// Unfinished jobs, over all lanes, at which [`Queue::put`] answers [`Error::Full`].
    pub most_open: u64,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self { most_open: 500_000, clock: Arc::new(SystemClock) }
    }
}

/// What a store must be able to do to carry a [`Queue`]; checked by [`conformance`]. Every write returns after it is
/// durable.
#[async_trait::async_trait]
pub trait Backend: Send + Sync + 'static {
    /// See [`Queue::put`].
    async fn put(&self, delivery: NewDelivery) -> Result<Put>;
    /// Jobs that are due, at most one per key, earliest first, leased for `ttl`.
    async fn lease(&self, lane: &str, most: usize, ttl: Duration) -> Result<Vec<Job>>;
    /// When the next waiting job of a lane is due; `None` if nothing waits.
    async fn next_due(&self, lane: &str) -> Result<Option<Timestamp>>;
    /// Ends a lease. [`Error::LeaseLost`] if it is not held any more.
    async fn settle(&self, job: i64, token: i64, how: Settlement) -> Result<()>;
    /// Keeps a leased job's intermediate result.
    async fn checkpoint(&self, job: i64, token: i64, state: Vec<u8>) -> Result<()>;
    /// See [`Queue::record`].
    async fn record(&self, id: &str, lane: &str, redelivery: u32, finish: Finish) -> Result<bool>;
    /// See [`Queue::redeliver`].
    async fn redeliver(&self, id: &str, lane: Option<&str>) -> Result<Option<Redelivered>>;
    /// See [`Queue::can_store`].
    async fn can_store(&self) -> Result<()>;
    /// See [`Queue::find`].
    async fn find(&self, id: &str) -> Result<Option<Record>>;
    /// See [`Queue::list`].
    async fn list(&self, filter: Filter) -> Result<Vec<Record>>;
    /// See [`Queue::finished`].
    async fn finished(&self, after: u64, most: usize) -> Result<Vec<Finished>>;
    /// See [`Queue::feed_end`].
    async fn feed_end(&self) -> Result<u64>;
    /// See [`Queue::stats`].
    async fn stats(&self) -> Result<Vec<LaneStats>>;
    /// See [`Queue::cursor`].
    async fn cursor(&self, name: &str) -> Result<Option<u64>>;
    /// See [`Queue::set_cursor`].
    async fn set_cursor(&self, name: &str, value: u64) -> Result<()>;
    /// Grows with every change that somebody may wait for.
    fn changes(&self) -> watch::Receiver<u64>;
    /// The time.
    fn now(&self) -> Timestamp;
}

/// How a lease ends.
#[derive(Debug, Clone)]
pub enum Settlement {
    /// The work is done.
    Done(Finish),
    /// It failed; try again at `due`.
    Retry {
        /// When.
        due: Timestamp,
        /// Why it failed.
        error: String,
    },
    /// It failed for good.
    Dead {
        /// Why.
        error: String,
    },
    /// It was not tried: no attempt is counted.
    Release,
}

/// Opens the queue that `url` names: `sqlite://PATH`.
///
/// # Errors
/// The URL is of another kind, the store cannot be opened, another process has it open, or a newer version wrote it.
pub async fn open(url: &str, options: Options) -> Result<Queue> {
    let Some(path) = url.strip_prefix("sqlite://") else {
        return Err(Error::Unsupported(url.split(':').next().unwrap_or_default().to_owned()));
    };
    let store = sqlite::Sqlite::open(path.into(), options).await?;
    Ok(Queue(Arc::new(store)))
}

/// A handle on a queue. Cheap to clone.
#[derive(Clone)]
pub struct Queue(Arc<dyn Backend>);

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queue")
    }
}

impl Queue {
    /// A queue on another back end.
    pub fn on(backend: impl Backend) -> Self {
        Self(Arc::new(backend))
    }

    /// Stores a delivery with its jobs, or says that it is known. Returns after the fsync.
    ///
    /// The same id again is a duplicate, unless one of its jobs is dead or its `redelivery` is higher than the known
    /// one: then it is revived. The same digest under another id within `replay_window` is a duplicate too.
    ///
    /// # Errors
    /// [`Error::Full`], or the store cannot write; nothing is stored then.
    pub async fn put(&self, delivery: NewDelivery) -> Result<Put> {
        self.0.put(delivery).await
    }

    /// Takes up to `most` jobs of a lane that are due: of each key only the earliest unfinished one, and none whose
    /// key is being worked on. A lease not settled within `ttl` can be taken by somebody else.
    ///
    /// # Errors
    /// The store cannot write.
    pub async fn lease(&self, lane: &str, most: usize, ttl: Duration) -> Result<Vec<Lease>> {
        let jobs = self.0.lease(lane, most, ttl).await?;
        Ok(jobs.into_iter().map(|job| Lease { queue: self.clone(), job }).collect())
    }

    /// When the next waiting job of a lane is due; `None` if nothing waits.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn next_due(&self, lane: &str) -> Result<Option<Timestamp>> {
        self.0.next_due(lane).await
    }

    /// Adds what became of a job on the far side; a `failed` one becomes a dead letter. A job that is still open was
    /// handed over all the same, which its outcome proves, and ends with it. An outcome of an earlier `redelivery`
    /// than the delivery's own changes nothing. `false` if there is no such job.
    ///
    /// # Errors
    /// The store cannot write.
    pub async fn record(&self, id: &str, lane: &str, redelivery: u32, finish: Finish) -> Result<bool> {
        self.0.record(id, lane, redelivery, finish).await
    }

    /// Sends a delivery's finished jobs again (of one lane, or all); jobs that are still open stay as they are.
    /// `None` if there is no such delivery.
    ///
    /// # Errors
    /// The store cannot write.
    pub async fn redeliver(&self, id: &str, lane: Option<&str>) -> Result<Option<Redelivered>> {
        self.0.redeliver(id, lane).await
    }

    /// Finds out, by writing, whether a delivery can be stored. After one could not, as much is written as that one
    /// had: a full disk may still take a few bytes.
    ///
    /// # Errors
    /// It cannot.
    pub async fn can_store(&self) -> Result<()> {
        self.0.can_store().await
    }

    /// A delivery with its jobs and their history.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn find(&self, id: &str) -> Result<Option<Record>> {
        self.0.find(id).await
    }

    /// Deliveries, newest first, without history.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn list(&self, filter: Filter) -> Result<Vec<Record>> {
        self.0.list(filter).await
    }

    /// The feed of jobs that ended, in the order in which they did, after position `after`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn finished(&self, after: u64, most: usize) -> Result<Vec<Finished>> {
        self.0.finished(after, most).await
    }

    /// The last position given out in the feed. A reader that is past it has read another feed: the store was lost.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn feed_end(&self) -> Result<u64> {
        self.0.feed_end().await
    }

    /// Counts per lane.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn stats(&self) -> Result<Vec<LaneStats>> {
        self.0.stats().await
    }

    /// Sets the gauges `ai_relay_queue_jobs` (by lane and state) and `ai_relay_queue_oldest_age_seconds` (by lane).
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn publish_metrics(&self) -> Result<()> {
        for lane in self.stats().await? {
            let age = lane
                .oldest
                .map_or(0.0, |oldest| (self.now() - oldest).total(jiff::Unit::Second).unwrap_or(0.0));
            metrics::gauge!("ai_relay_queue_oldest_age_seconds", "lane" => lane.lane.clone()).set(age);
            for (state, count) in [("pending", lane.pending), ("leased", lane.leased), ("dead", lane.dead)] {
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "a gauge is a float, and exact up to 2^53 jobs"
                )]
                metrics::gauge!("ai_relay_queue_jobs", "lane" => lane.lane.clone(), "state" => state)
                    .set(count as f64);
            }
        }
        Ok(())
    }

    /// A number kept under a name, such as how far another service's feed was read.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn cursor(&self, name: &str) -> Result<Option<u64>> {
        self.0.cursor(name).await
    }

    /// Keeps a number under a name.
    ///
    /// # Errors
    /// The store cannot write.
    pub async fn set_cursor(&self, name: &str, value: u64) -> Result<()> {
        self.0.set_cursor(name, value).await
    }

    /// Changes whenever a job arrives or ends.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes()
    }

    /// The queue's time.
    pub fn now(&self) -> Timestamp {
        self.0.now()
    }
}

/// The right to work on one job. Settling consumes it, so that nothing can be settled twice; one that is dropped
/// comes back after its time.
#[derive(Debug)]
#[must_use = "a lease that is dropped blocks its key until it expires"]
pub struct Lease {
    queue: Queue,
    job: Job,
}

impl Lease {
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
