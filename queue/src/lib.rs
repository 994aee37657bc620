//! The durable queue that stands between accepting an event and working on it.
//!
//! [`Queue::put`] returns once a delivery is on disk. Each delivery has one job in each lane that wants it; a
//! [`Worker`] leases the jobs of its lane, in order per key, and settles each lease exactly once, because settling
//! consumes it. What a job came to stays readable: [`Queue::find`], [`Queue::list`], and the feed
//! [`Queue::finished`].

use std::{path::Path, path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::{broadcast, watch};

pub mod aside;
mod backend;
pub mod conformance;
pub mod files;
mod lease;
mod model;
mod retention;
mod retry;
mod sqlite;
mod worker;

pub use backend::{Backend, Settlement};
pub use lease::Lease;
pub use model::{
    Backup, Error, Examined, FeedEnd, Filter, Finish, Finished, HistoryEntry, Job, JobRecord, JobState,
    LaneStats, NewDelivery, Put, Record, Redelivered, Replaces, Result, Route, Usage,
};
pub use retention::{Pruned, Retention};
pub use retry::{Probing, Schedule};
pub use sqlite::wal;
pub use worker::{Handler, LaneStatus, Verdict, Worker, WorkerOptions};

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
    /// Bytes of their stored payloads at which it does so too; see [`Usage::open_bytes`].
    pub most_open_bytes: u64,
    /// How long what has ended is kept; `None`: for ever.
    pub retention: Option<Retention>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self { most_open: 500_000, most_open_bytes: 4 << 30, retention: None, clock: Arc::new(SystemClock) }
    }
}

/// Opens the queue that `url` names: `sqlite://PATH`.
///
/// # Errors
/// The URL is of another kind, the store cannot be opened, another process has it open, or a newer version wrote it.
pub async fn open(url: &str, options: Options) -> Result<Queue> {
    let retention = options.retention;
    let store: Arc<dyn Backend> = Arc::new(sqlite::Sqlite::open(path(url)?, options).await?);
    if let Some(retention) = retention {
        tokio::spawn(retention::keep_within(Arc::downgrade(&store), retention));
    }
    Ok(Queue(store))
}

/// The file of the queue that `url` names.
///
/// # Errors
/// The URL is of another kind.
pub fn path(url: &str) -> Result<PathBuf> {
    let unknown = || Error::Unsupported(url.split(':').next().unwrap_or_default().to_owned());
    url.strip_prefix("sqlite://").map(PathBuf::from).ok_or_else(unknown)
}

/// Copies the queue that `url` names to a new file, as it is at one moment; a service may go on working with it. The
/// copy is looked through for damage, and on disk, when this returns.
///
/// # Errors
/// There is no queue, the file exists already or cannot be written, or the queue is damaged.
pub async fn backup(url: &str, to: &Path) -> Result<Backup> {
    sqlite::back_up(path(url)?, to).await
}

/// Looks at the queue that `url` names, for damage no longer than `time`; a service may go on working with it. `None` if
/// there is none.
///
/// # Errors
/// It is damaged, of a newer version, or cannot be read.
pub async fn examine(url: &str, time: Duration) -> Result<Option<Examined>> {
    sqlite::examine(path(url)?, time).await
}

/// Puts a [`backup`] in the place of the queue that `url` names; `replace` moves a queue that is there aside.
///
/// # Errors
/// The queue is in use, or there and not to be replaced; the backup is damaged, or of a newer version.
pub async fn restore(url: &str, from: &Path, replace: bool) -> Result<Backup> {
    sqlite::restore(path(url)?, from, replace).await
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
        Ok(jobs.into_iter().map(|job| Lease::new(self.clone(), job)).collect())
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
    /// than that which the job was sent with changes nothing. `false` if there is no such job.
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

    /// Ends a delivery's unfinished and dead jobs (of one lane, or all) as `discarded`; says how many. `None` if there
    /// is no such delivery.
    ///
    /// # Errors
    /// The store cannot write.
    pub async fn discard(&self, id: &str, lane: Option<&str>) -> Result<Option<usize>> {
        self.0.discard(id, lane).await
    }

    /// How much room the store takes.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn usage(&self) -> Result<Usage> {
        self.0.usage().await
    }

    /// Leaves the store as the next start likes to find it: what was logged is in its place. Nothing depends on it.
    ///
    /// # Errors
    /// The store cannot write.
    pub async fn wind_down(&self) -> Result<()> {
        self.0.wind_down().await
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

    /// Where the feed stands. A reader that is past it, or knows another epoch, has read another feed: the store was lost.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn feed_end(&self) -> Result<FeedEnd> {
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

    /// Ids of deliveries that changed, from now on. A reader that is too slow misses some, and is told.
    pub fn touched(&self) -> broadcast::Receiver<Arc<str>> {
        self.0.touched()
    }

    /// The queue's time.
    pub fn now(&self) -> Timestamp {
        self.0.now()
    }
}
