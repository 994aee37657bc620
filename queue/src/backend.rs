//! What a store owes the queue.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::{broadcast, watch};

use crate::{
    FeedEnd, Filter, Finish, Finished, Job, LaneStats, NewDelivery, Pruned, Put, Record, Redelivered, Result,
    Retention, Usage,
};

/// What a store must be able to do to carry a [`Queue`](crate::Queue); checked by [`conformance`](crate::conformance). Every write returns after it is
/// durable.
#[async_trait::async_trait]
pub trait Backend: Send + Sync + 'static {
    /// See [`Queue::put`](crate::Queue::put).
    async fn put(&self, delivery: NewDelivery) -> Result<Put>;
    /// Jobs that are due, at most one per key, earliest first, leased for `ttl`.
    async fn lease(&self, lane: &str, most: usize, ttl: Duration) -> Result<Vec<Job>>;
    /// When the next waiting job of a lane is due; `None` if nothing waits.
    async fn next_due(&self, lane: &str) -> Result<Option<Timestamp>>;
    /// Ends a lease. [`Error::LeaseLost`](crate::Error::LeaseLost) if it is not held any more.
    async fn settle(&self, job: i64, token: i64, how: Settlement) -> Result<()>;
    /// Keeps a leased job's intermediate result.
    async fn checkpoint(&self, job: i64, token: i64, state: Vec<u8>) -> Result<()>;
    /// See [`Queue::record`](crate::Queue::record).
    async fn record(&self, id: &str, lane: &str, redelivery: u32, finish: Finish) -> Result<bool>;
    /// See [`Queue::redeliver`](crate::Queue::redeliver).
    async fn redeliver(&self, id: &str, lane: Option<&str>) -> Result<Option<Redelivered>>;
    /// See [`Queue::discard`](crate::Queue::discard).
    async fn discard(&self, id: &str, lane: Option<&str>) -> Result<Option<usize>>;
    /// Gives up one bounded batch of what need not be kept; nothing when there is nothing left.
    async fn prune(&self, retention: Retention) -> Result<Pruned>;
    /// See [`Queue::usage`](crate::Queue::usage).
    async fn usage(&self) -> Result<Usage>;
    /// See [`Queue::wind_down`](crate::Queue::wind_down).
    async fn wind_down(&self) -> Result<()>;
    /// See [`Queue::can_store`](crate::Queue::can_store).
    async fn can_store(&self) -> Result<()>;
    /// See [`Queue::find`](crate::Queue::find).
    async fn find(&self, id: &str) -> Result<Option<Record>>;
    /// See [`Queue::list`](crate::Queue::list).
    async fn list(&self, filter: Filter) -> Result<Vec<Record>>;
    /// See [`Queue::finished`](crate::Queue::finished).
    async fn finished(&self, after: u64, most: usize) -> Result<Vec<Finished>>;
    /// See [`Queue::feed_end`](crate::Queue::feed_end).
    async fn feed_end(&self) -> Result<FeedEnd>;
    /// See [`Queue::stats`](crate::Queue::stats).
    async fn stats(&self) -> Result<Vec<LaneStats>>;
    /// See [`Queue::cursor`](crate::Queue::cursor).
    async fn cursor(&self, name: &str) -> Result<Option<u64>>;
    /// See [`Queue::set_cursor`](crate::Queue::set_cursor).
    async fn set_cursor(&self, name: &str, value: u64) -> Result<()>;
    /// Grows with every change that somebody may wait for.
    fn changes(&self) -> watch::Receiver<u64>;
    /// See [`Queue::touched`](crate::Queue::touched).
    fn touched(&self) -> broadcast::Receiver<Arc<str>>;
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
