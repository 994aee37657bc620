//! The queue on SQLite: plain synchronous SQL on a thread, with an async face.

use std::{
    fs::{self, File, TryLockError},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::watch;

use crate::{
    Backend, Clock, Options, Settlement,
    model::{Error, Filter, Finish, Finished, Job, LaneStats, NewDelivery, Put, Record, Redelivered, Result},
};

mod connection;
mod read;
mod write;

use connection::{Handle, whole};

/// The schema that this build writes.
const SCHEMA_VERSION: i64 = 1;

/// The SQLite back end. One process at a time, which the lock file sees to.
pub(crate) struct Sqlite {
    writer: Handle,
    reader: Handle,
    clock: Arc<dyn Clock>,
    most_open: u64,
    changes: watch::Sender<u64>,
    /// Bytes of the last payload that could not be stored; 0 if the last one could.
    refused: AtomicUsize,
    _lock: File,
}

impl Sqlite {
    pub(crate) async fn open(path: PathBuf, options: Options) -> Result<Self> {
        let now = options.clock.now();
        let opened = tokio::task::spawn_blocking(move || prepare(&path, now)).await;
        let (lock, writer, reader) = opened.map_err(|error| Error::Store(error.to_string()))??;
        Ok(Self {
            writer: Handle::writer(writer)?,
            reader: Handle::reader(reader)?,
            clock: options.clock,
            most_open: options.most_open,
            changes: watch::Sender::new(0),
            refused: AtomicUsize::new(0),
            _lock: lock,
        })
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.writer.run(|connection| whole(connection, work), || ()).await
    }

    /// A write that somebody may wait for. They are told by the writer, so that it does not matter whether this
    /// caller is still there.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let changes = self.changes.clone();
        let tell = move || changes.send_modify(|count| *count = count.wrapping_add(1));
        self.writer.run(|connection| whole(connection, work), tell).await
    }
}

/// Locks, opens and upgrades the file, and takes back the leases that a killed process held: with the lock in hand,
/// nobody else can be working on them.
fn prepare(path: &Path, now: Timestamp) -> Result<(File, Connection, Connection)> {
    let name = path.display().to_string();
    let failed = |cause: String| Error::Open { path: name.clone(), cause };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        // Payloads of private repositories: nobody's but ours.
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| failed(error.to_string()))?;
    }
    let lock = File::create(path.with_extension("lock")).map_err(|error| failed(error.to_string()))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Error::InUse(name)),
        Err(TryLockError::Error(error)) => return Err(failed(error.to_string())),
    }
    let writer = connection::open(path).map_err(|error| failed(error.to_string()))?;
    upgrade(&writer, &name)?;
    write::take_back_leases(&writer, now)?;
    let reader = connection::open(path).map_err(|error| failed(error.to_string()))?;
    Ok((lock, writer, reader))
}

fn upgrade(connection: &Connection, path: &str) -> Result<()> {
    let found: i64 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(|error| Error::Open {
            path: path.to_owned(),
            cause: format!("{error}; if the file is damaged, restore a backup"),
        })?;
    match found {
        SCHEMA_VERSION => Ok(()),
        0 => {
            let schema = include_str!("sqlite/schema.sql");
            connection
                .execute_batch(&format!("BEGIN; {schema} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"))?;
            Ok(())
        }
        _ => Err(Error::TooNew { path: path.to_owned(), found, known: SCHEMA_VERSION }),
    }
}

#[async_trait::async_trait]
impl Backend for Sqlite {
    async fn put(&self, delivery: NewDelivery) -> Result<Put> {
        let (now, most_open) = (self.now(), self.most_open);
        // Compressed by the caller's thread, so that the writer's is left with what only it can do.
        let payload =
            zstd::bulk::compress(&delivery.payload, 1).map_err(|error| Error::Store(error.to_string()))?;
        let size = payload.len();
        let put =
            self.change(move |connection| write::put(connection, &delivery, &payload, now, most_open)).await;
        match put {
            Ok(_) => self.refused.store(0, Ordering::Relaxed),
            Err(Error::Store(_)) => self.refused.store(size, Ordering::Relaxed),
            Err(_) => {}
        }
        put
    }

    async fn lease(&self, lane: &str, most: usize, ttl: Duration) -> Result<Vec<Job>> {
        let (lane, now) = (lane.to_owned(), self.now());
        let leased = self.write(move |connection| write::lease(connection, &lane, most, now, ttl)).await?;
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
        self.reader.run(move |connection| read::next_due(connection, &lane), || ()).await
    }

    async fn settle(&self, job: i64, token: i64, how: Settlement) -> Result<()> {
        let now = self.now();
        self.change(move |connection| write::settle(connection, job, token, how, now)).await
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

    async fn can_store(&self) -> Result<()> {
        let refused = self.refused.load(Ordering::Relaxed);
        if refused > 0 {
            self.write(move |connection| write::fill_scratch(connection, refused)).await?;
            self.refused.store(0, Ordering::Relaxed);
        }
        self.write(write::empty_scratch).await
    }

    async fn find(&self, id: &str) -> Result<Option<Record>> {
        let id = id.to_owned();
        self.reader.run(move |connection| read::find(connection, &id), || ()).await
    }

    async fn list(&self, filter: Filter) -> Result<Vec<Record>> {
        self.reader.run(move |connection| read::list(connection, &filter), || ()).await
    }

    async fn finished(&self, after: u64, most: usize) -> Result<Vec<Finished>> {
        self.reader.run(move |connection| read::finished(connection, after, most), || ()).await
    }

    async fn feed_end(&self) -> Result<u64> {
        self.reader.run(read::feed_end, || ()).await
    }

    async fn stats(&self) -> Result<Vec<LaneStats>> {
        self.reader.run(read::stats, || ()).await
    }

    async fn cursor(&self, name: &str) -> Result<Option<u64>> {
        let name = name.to_owned();
        self.reader.run(move |connection| read::cursor(connection, &name), || ()).await
    }

    async fn set_cursor(&self, name: &str, value: u64) -> Result<()> {
        let name = name.to_owned();
        self.write(move |connection| write::set_cursor(connection, &name, value)).await
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{self, ManualClock};

    /// The folder lives as long as the test: it is kept by the queue's file handles only until they close.
    fn new_queue(clock: Arc<ManualClock>) -> conformance::Opening {
        Box::pin(async move {
            let folder = tempfile::tempdir().map_err(|error| Error::Store(error.to_string()))?.keep();
            crate::open(&format!("sqlite://{}/queue.db", folder.display()), Options { most_open: 50, clock })
                .await
        })
    }

    #[tokio::test]
    async fn conforms() {
        conformance::run_all(&new_queue).await;
    }

    #[tokio::test]
    async fn a_second_process_and_a_newer_schema_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/queue.db", folder.path().display());
        let first = crate::open(&url, Options::default()).await.unwrap();
        let second = crate::open(&url, Options::default()).await.unwrap_err();
        assert!(matches!(second, Error::InUse(_)), "{second}");
        drop(first);
        let raw = Connection::open(folder.path().join("queue.db")).unwrap();
        raw.execute_batch("PRAGMA user_version = 99").unwrap();
        let newer = crate::open(&url, Options::default()).await.unwrap_err().to_string();
        assert!(newer.contains("newer version") && newer.contains("99"), "{newer}");
    }

    #[tokio::test]
    async fn what_a_killed_process_had_leased_is_due_again_with_its_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/queue.db", folder.path().display());
        let queue = crate::open(&url, Options::default()).await.unwrap();
        queue.put(conformance::delivery("d1", "a", "k")).await.unwrap();
        let lease = queue.lease("a", 1, Duration::from_secs(3600)).await.unwrap().remove(0);
        lease.checkpoint(b"half".to_vec()).await.unwrap();
        drop((lease, queue));
        let queue = crate::open(&url, Options::default()).await.unwrap();
        let again = queue.lease("a", 1, Duration::from_secs(3600)).await.unwrap().remove(0);
        assert_eq!((again.job().attempt, again.job().checkpoint.as_deref()), (2, Some(&b"half"[..])));
    }

    #[tokio::test]
    async fn a_url_of_another_kind_is_named() {
        let error =
            crate::open("postgres://secret@host/db", Options::default()).await.unwrap_err().to_string();
        assert!(error.contains("postgres") && !error.contains("secret"), "{error}");
    }
}
