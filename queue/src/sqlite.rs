//! The queue on SQLite: plain synchronous SQL on threads of its own, with an async face.

use std::{
    cell::RefCell,
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::{broadcast, watch};

use crate::{
    Backend, Clock, Options, Settlement, aside,
    model::{
        Backup, Error, Examined, FeedEnd, Filter, Finish, Finished, Job, LaneStats, NewDelivery, Put, Record,
        Redelivered, Result, Usage,
    },
    retention::{Pruned, Retention},
};

mod connection;
mod examine;
mod keep;
mod prune;
mod put;
mod read;
mod store;
pub mod wal;
mod write;

use connection::Handle;
use put::Backlog;
use store::Store;
use write::Ids;

/// How long a write that succeeded is proof enough that the next one will.
const FRESH: Duration = Duration::from_secs(1);
/// Changes that a slow follower may be behind before it misses some.
const FOLLOWED: usize = 4096;
/// zstd's fastest level that still halves JSON several times over.
const LEVEL: i32 = 1;

/// The SQLite back end. One process at a time, which the lock file sees to.
pub(crate) struct Sqlite {
    writer: Handle<Store>,
    /// For what is asked often and answered at once.
    reader: Handle<Connection>,
    /// For what an operator asks, which may take longer.
    lister: Handle<Connection>,
    clock: Arc<dyn Clock>,
    most: Backlog,
    changes: watch::Sender<u64>,
    touched: broadcast::Sender<Arc<str>>,
    /// Bytes of the last payload that could not be stored; 0 if the last one could.
    refused: AtomicUsize,
    written: Mutex<Option<Instant>>,
    damaged: Arc<OnceLock<String>>,
    path: PathBuf,
    _lock: File,
}

impl Sqlite {
    pub(crate) async fn open(path: PathBuf, options: Options) -> Result<Self> {
        let (now, file) = (options.clock.now(), path.clone());
        let opened = blocking(move || keep::prepare(&file, now)).await?;
        let damaged = Arc::new(OnceLock::new());
        if opened.unchecked {
            look_through(path.clone(), Arc::clone(&damaged))?;
        }
        Ok(Self {
            writer: Handle::writer(opened.writer, opened.mover)?,
            reader: Handle::reader(opened.reader)?,
            lister: Handle::reader(opened.lister)?,
            clock: options.clock,
            most: Backlog { jobs: options.most_open, bytes: options.most_open_bytes },
            changes: watch::Sender::new(0),
            touched: broadcast::Sender::new(FOLLOWED),
            refused: AtomicUsize::new(0),
            written: Mutex::new(None),
            damaged,
            path,
            _lock: opened.lock,
        })
    }

    /// A damaged store is not written any more: what is left of it is what can be saved.
    fn whole(&self) -> Result<()> {
        self.damaged.get().map_or(Ok(()), |cause| Err(Error::Damaged(cause.clone())))
    }

    fn noticed<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(Error::Damaged(cause)) = &result
            && self.damaged.set(cause.clone()).is_ok()
        {
            tracing::error!(cause, "the store is damaged; nothing more is written to it");
        }
        result
    }

    async fn read<T: Send + 'static>(
        &self,
        reader: &Handle<Connection>,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.whole()?;
        self.noticed(reader.run(work, || ()).await)
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.whole()?;
        let written = self.noticed(self.writer.run(work, || ()).await)?;
        self.note_write();
        Ok(written)
    }

    /// A write that somebody may wait for. They are told by the writer, so that it does not matter whether this
    /// caller is still there.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<(T, Ids)> + Send + 'static,
    ) -> Result<T> {
        self.whole()?;
        let (changes, touched) = (self.changes.clone(), self.touched.clone());
        let ids = Arc::new(Mutex::new(Ids::new()));
        let told = Arc::clone(&ids);
        let work = move |store: &Store| {
            let (value, touched) = work(store)?;
            *ids.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = touched;
            Ok(value)
        };
        let tell = move || {
            changes.send_modify(|count| *count = count.wrapping_add(1));
            for id in told.lock().unwrap_or_else(std::sync::PoisonError::into_inner).drain(..) {
                let _ = touched.send(id.into());
            }
        };
        let changed = self.noticed(self.writer.run(work, tell).await)?;
        self.note_write();
        Ok(changed)
    }

    fn note_write(&self) {
        *self.written.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Instant::now());
    }

    fn wrote_just_now(&self) -> bool {
        let written = self.written.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        written.is_some_and(|at| at.elapsed() < FRESH)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Store(error.to_string()))?
}

/// Goes on looking for damage while the store is in use already: a large one takes longer than a start may.
fn look_through(path: PathBuf, damaged: Arc<OnceLock<String>>) -> Result<()> {
    let look = move || match keep::look_through_beside(&path) {
        Ok(()) => {}
        Err(Error::Damaged(cause)) => {
            tracing::error!(cause, "the store is damaged; nothing more is written to it");
            let _ = damaged.set(cause);
        }
        Err(error) => tracing::warn!(%error, "the store could not be looked through for damage"),
    };
    let started = thread::Builder::new().name("queue-check".to_owned()).spawn(look);
    started.map(drop).map_err(|error| Error::Store(format!("cannot start a thread: {error}")))
}

/// See [`crate::backup`].
pub(crate) async fn back_up(path: PathBuf, to: &Path) -> Result<Backup> {
    let to = to.to_owned();
    blocking(move || keep::back_up(&path, &to)).await
}

/// See [`crate::examine`].
pub(crate) async fn examine(path: PathBuf, time: Duration) -> Result<Option<Examined>> {
    blocking(move || examine::examine(&path, time)).await
}

/// See [`crate::restore`].
pub(crate) async fn restore(path: PathBuf, from: &Path, replace: bool) -> Result<Backup> {
    let from = from.to_owned();
    blocking(move || keep::restore(&path, &from, replace)).await
}

/// Compressed by the caller's thread, so that the writer's is left with what only it can do.
fn compress(payload: &[u8]) -> Result<Vec<u8>> {
    thread_local! {
        /// Kept, because making one costs more than compressing a webhook with it.
        static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    }
    let compressed = COMPRESSOR.with_borrow_mut(|kept| {
        let mut compressor = match kept.take() {
            Some(compressor) => compressor,
            None => {
                let mut compressor = zstd::bulk::Compressor::new(LEVEL)?;
                // A flipped bit is then an error instead of another payload.
                compressor.include_checksum(true)?;
                compressor
            }
        };
        let compressed = compressor.compress(payload);
        *kept = Some(compressor);
        compressed
    });
    compressed.map_err(|error| Error::Store(format!("the payload cannot be compressed: {error}")))
}

#[async_trait::async_trait]
impl Backend for Sqlite {
    async fn put(&self, delivery: NewDelivery) -> Result<Put> {
        let (now, most) = (self.now(), self.most);
        let payload = compress(&delivery.payload)?;
        let size = payload.len();
        let put = self.change(move |store| put::put(store, &delivery, &payload, now, most)).await;
        match put {
            Ok(_) => self.refused.store(0, Ordering::Relaxed),
            Err(Error::Store(_)) => self.refused.store(size, Ordering::Relaxed),
            Err(_) => {}
        }
        put
    }

    async fn lease(&self, lane: &str, most: usize, ttl: Duration) -> Result<Vec<Job>> {
        let (lane, now, instant) = (lane.to_owned(), self.now(), Instant::now());
        let lease = move |store: &Store| {
            store.follow_clock(now, instant)?;
            write::lease(store, &lane, most, now, ttl)
        };
        let leased = self.write(lease).await?;
        let mut jobs = Vec::with_capacity(leased.len());
        for job in leased {
            // Unpacked here rather than on the writer's thread. One that is damaged must not hold up the others.
            match zstd::decode_all(&job.payload[..]) {
                Ok(payload) => jobs.push(Job { payload, ..job }),
                Err(error) => {
                    let error = format!("the stored payload cannot be unpacked: {error}");
                    self.settle(job.seq, job.token, Settlement::Dead { error }).await?;
                }
            }
        }
        Ok(jobs)
    }

    async fn next_due(&self, lane: &str) -> Result<Option<Timestamp>> {
        let lane = lane.to_owned();
        self.read(&self.reader, move |connection| read::next_due(connection, &lane)).await
    }

    async fn settle(&self, job: i64, token: i64, how: Settlement) -> Result<()> {
        let now = self.now();
        let settle =
            move |store: &Store| write::settle(store, job, token, how, now).map(|touched| ((), touched));
        self.change(settle).await
    }

    async fn checkpoint(&self, job: i64, token: i64, state: Vec<u8>) -> Result<()> {
        self.write(move |connection| write::checkpoint(connection, job, token, &state)).await
    }

    async fn record(&self, id: &str, lane: &str, redelivery: u32, finish: Finish) -> Result<bool> {
        let (id, lane, now) = (id.to_owned(), lane.to_owned(), self.now());
        self.change(move |connection| write::record(connection, &id, &lane, redelivery, &finish, now)).await
    }

    async fn redeliver(&self, id: &str, lane: Option<&str>) -> Result<Option<Redelivered>> {
        let (id, lane, now) = (id.to_owned(), lane.map(str::to_owned), self.now());
        self.change(move |connection| write::redeliver(connection, &id, lane.as_deref(), now)).await
    }

    async fn discard(&self, id: &str, lane: Option<&str>) -> Result<Option<usize>> {
        let (id, lane, now) = (id.to_owned(), lane.map(str::to_owned), self.now());
        self.change(move |connection| write::discard(connection, &id, lane.as_deref(), now)).await
    }

    async fn prune(&self, retention: Retention) -> Result<Pruned> {
        let now = self.now();
        let pruned = self.write(move |connection| prune::prune(connection, &retention, now)).await?;
        if pruned == Pruned::default() {
            let path = self.path.clone();
            blocking(move || Ok(aside::clear(&path))).await?;
        }
        Ok(pruned)
    }

    async fn wind_down(&self) -> Result<()> {
        self.whole()?;
        self.read(&self.lister, |connection| Ok(connection::checkpoint(connection, "TRUNCATE")?)).await
    }

    async fn can_store(&self) -> Result<()> {
        let refused = self.refused.load(Ordering::Relaxed);
        if refused > 0 {
            self.write(move |connection| write::fill_scratch(connection, refused)).await?;
            self.refused.store(0, Ordering::Relaxed);
        } else if self.wrote_just_now() {
            // Anybody may ask for the service's health; that must not cost an fsync each time.
            return self.whole();
        }
        self.write(|store| write::empty_scratch(store)).await
    }

    async fn usage(&self) -> Result<Usage> {
        self.read(&self.reader, read::usage).await
    }

    async fn find(&self, id: &str) -> Result<Option<Record>> {
        let id = id.to_owned();
        self.read(&self.lister, move |connection| read::find(connection, &id)).await
    }

    async fn list(&self, filter: Filter) -> Result<Vec<Record>> {
        self.read(&self.lister, move |connection| read::list(connection, &filter)).await
    }

    async fn finished(&self, after: u64, most: usize) -> Result<Vec<Finished>> {
        self.read(&self.reader, move |connection| read::finished(connection, after, most)).await
    }

    async fn feed_end(&self) -> Result<FeedEnd> {
        self.read(&self.reader, read::feed_end).await
    }

    async fn stats(&self) -> Result<Vec<LaneStats>> {
        self.read(&self.reader, read::stats).await
    }

    async fn cursor(&self, name: &str) -> Result<Option<u64>> {
        let name = name.to_owned();
        self.read(&self.reader, move |connection| read::cursor(connection, &name)).await
    }

    async fn set_cursor(&self, name: &str, value: u64) -> Result<()> {
        let name = name.to_owned();
        self.write(move |connection| write::set_cursor(connection, &name, value)).await
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn touched(&self) -> broadcast::Receiver<Arc<str>> {
        self.touched.subscribe()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

#[cfg(test)]
#[path = "sqlite_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "sqlite_upgrade_tests.rs"]
mod upgrade_tests;

#[cfg(test)]
#[path = "sqlite_wal_tests.rs"]
mod wal_tests;
