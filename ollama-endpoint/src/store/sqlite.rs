//! The store in SQLite: plain synchronous SQL on threads of its own, one that writes and some that read, so that a search
//! never waits for a write.

mod check;
mod embedded;
mod export;
mod files;
mod forget;
mod glance;
mod import;
mod index;
mod read;
mod rebuild;
mod record;
mod refined;
mod search;
mod stale;
mod upgrade;
mod write;

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use queue::aside::{self, Aside};
use queue::wal;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::mpsc;

pub use self::check::{Checked, check};
pub use self::files::{Held, back_up, reindex, restore};
pub use self::glance::{Glance, glance};
use self::search::Reader;
use super::portable::{Imported, Line};
use super::thread::{Grouped, Thread};
use super::vectors::{Change, Vectors};
use super::{
    Audit, Counts, Embedding, Filter, Judgement, Kept, Record, Refined, Store, StoreError, Stored,
    VectorModel,
};
use crate::distil::Distilled;
use crate::rank::Candidate;

/// Only another process (a backup, a shell) can hold the lock; this is how long it is waited for.
const BUSY: Duration = Duration::from_secs(5);

/// Threads that read: one for the words of a question, one for its vector, and so on for the next question.
const READERS: usize = 4;

/// How many of the nearest by one byte a number are looked at exactly, for each that is wanted.
const LOOKED_AT: usize = 2;

/// The memory in one SQLite file, vectors also in RAM.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    writer: Thread<Writer>,
    readers: Arc<[Thread<Reader>]>,
    turn: Arc<AtomicUsize>,
    vectors: Arc<RwLock<Vectors>>,
    path: Arc<Path>,
    _lock: Arc<File>,
}

/// The connection that writes, in groups.
#[derive(Debug)]
struct Writer {
    connection: Connection,
    failed: bool,
}

impl Grouped for Writer {
    fn begin(&mut self) -> Result<(), String> {
        self.failed = false;
        self.connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| error.to_string())
    }

    fn end(&mut self, all_well: bool) -> Result<(), String> {
        let ended = if all_well {
            self.connection.execute_batch("COMMIT").map_err(|error| error.to_string())
        } else {
            Ok(())
        };
        // SQLite has ended it by itself after some errors.
        if (!all_well || ended.is_err()) && !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK").map_err(|error| error.to_string())?;
        }
        ended
    }

    fn failed(&self) -> bool {
        self.failed
    }
}

impl SqliteStore {
    /// Opens the file at `path`, creating it if there is none, and loads the vectors.
    ///
    /// # Errors
    /// If the file cannot be opened, is no SQLite file, was written by a newer build, or another process works on it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| files::unopened(path, error);
        let lock = files::lock(path)?;
        files::is_there(path)?;
        let mut connection = open_writer(path).map_err(|error| failed(error.into()))?;
        wal::check(&connection, path).map_err(|error| files::damaged(path, error))?;
        upgrade::upgrade(&mut connection, path)?;
        let vectors = embedded::load(&connection).map_err(|error| failed(error.into()))?;
        let readers = (0..READERS)
            .map(|_| {
                let reader = Reader::new(open_reader(path).map_err(|error| failed(error.into()))?);
                Thread::start("memory-read", reader).map_err(|error| failed(error.into()))
            })
            .collect::<Result<_, _>>()?;
        let writer = Writer { connection, failed: false };
        Ok(Self {
            writer: Thread::start_grouped("memory-write", writer).map_err(|error| failed(error.into()))?,
            readers,
            turn: Arc::default(),
            vectors: Arc::new(RwLock::new(vectors)),
            path: path.into(),
            _lock: Arc::new(lock),
        })
    }

    /// Runs `work` in a transaction, then brings the vectors in RAM up to date with what it says has changed.
    async fn commit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<(T, Vec<Change>)> + Send + 'static,
    ) -> Result<T, StoreError> {
        let vectors = Arc::clone(&self.vectors);
        let work = move |writer: &mut Writer| {
            let done = work(&writer.connection);
            writer.failed |= done.is_err();
            done.map(|(answer, changes)| (answer, std::sync::Mutex::new(changes)))
        };
        let settled = move |(_, changes): &(T, std::sync::Mutex<Vec<Change>>)| {
            let mut changes = changes.lock().unwrap_or_else(PoisonError::into_inner);
            if changes.is_empty() {
                return;
            }
            let mut vectors = vectors.write().unwrap_or_else(PoisonError::into_inner);
            for change in changes.drain(..) {
                vectors.apply(change);
            }
        };
        self.writer.call(work, settled).await.map(|(answer, _)| answer)
    }

    /// Runs `work` on one of the threads that read. All its statements see the store of one moment, and take the locks
    /// for it once: each on its own, they would be a third of what a search costs.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Reader) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let reader = self.readers.get(turn % READERS).ok_or(StoreError::Closed)?;
        let work = |reader: &mut Reader| {
            reader.connection.prepare_cached("BEGIN")?.execute([])?;
            let answer = work(reader);
            // After some errors SQLite has ended it by itself.
            if !reader.connection.is_autocommit() {
                reader.connection.prepare_cached("COMMIT")?.execute([])?;
            }
            answer
        };
        reader.call(work, |_| ()).await
    }
}

/// The log [stays](wal::stays), until somebody has looked at it.
fn open_writer(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    wal::stays(&connection, true)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    lasting(&connection)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

/// On macOS a plain fsync stops at the drive's cache, and a power cut may leave a later commit without an earlier one.
fn lasting(connection: &Connection) -> rusqlite::Result<()> {
    for setting in ["fullfsync", "checkpoint_fullfsync"] {
        connection.pragma_update(None, setting, true)?;
    }
    connection.pragma_update(None, "synchronous", "FULL")
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

#[async_trait]
impl Store for SqliteStore {
    async fn record(&self, record: Record, distilled: Distilled) -> Result<Kept, StoreError> {
        self.commit(move |transaction| write::append(transaction, &record, &distilled)).await
    }

    async fn matching(
        &self,
        words: Vec<String>,
        filter: Filter,
        limit: usize,
    ) -> Result<Vec<Candidate>, StoreError> {
        if words.is_empty() {
            return Ok(Vec::new());
        }
        self.read(move |reader| reader.matching(words, &filter, limit)).await
    }

    async fn nearest(
        &self,
        model: String,
        vector: Vec<f32>,
        filter: Filter,
        limit: usize,
    ) -> Result<Option<Vec<Candidate>>, StoreError> {
        let vectors = Arc::clone(&self.vectors);
        // On a reader's thread because a scan of many vectors would hold up the runtime's.
        self.read(move |reader| {
            let wanted: Option<HashSet<i64>> = if filter.is_narrow() {
                Some(search::passing(&reader.connection, &filter)?.into_iter().collect())
            } else {
                None
            };
            let near = vectors.read().unwrap_or_else(PoisonError::into_inner).near(
                &model,
                &vector,
                filter.repository.as_deref(),
                wanted.as_ref(),
                limit * LOOKED_AT,
            );
            let Some(near) = near else { return Ok(None) };
            embedded::rescored(&reader.connection, &near, &vector, &filter, limit).map(Some)
        })
        .await
    }

    async fn recent(&self, filter: Filter, limit: usize) -> Result<Vec<Candidate>, StoreError> {
        self.read(move |reader| search::recent(&reader.connection, &filter, limit)).await
    }

    async fn fetch(&self, positions: Vec<i64>) -> Result<Vec<Stored>, StoreError> {
        self.read(move |reader| read::fetch(&reader.connection, &positions)).await
    }

    async fn get(&self, id: String) -> Result<Option<Stored>, StoreError> {
        self.read(move |reader| read::named(&reader.connection, &id)).await
    }

    async fn ids(&self, repository: String, limit: usize) -> Result<Vec<String>, StoreError> {
        self.read(move |reader| read::ids(&reader.connection, &repository, limit)).await
    }

    async fn forget(&self, ids: Vec<String>, audit: Audit) -> Result<Vec<Stored>, StoreError> {
        self.commit(move |transaction| forget::forget(transaction, &ids, &audit, Timestamp::now())).await
    }

    async fn unneeded(
        &self,
        before: Timestamp,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, String)>, StoreError> {
        self.read(move |reader| forget::unneeded(&reader.connection, before, after, limit)).await
    }

    async fn strip(&self, deliveries: Vec<String>, audit: Audit, now: Timestamp) -> Result<u64, StoreError> {
        self.commit(move |transaction| forget::strip(transaction, &deliveries, &audit, now)).await
    }

    async fn copies(&self) -> Result<Vec<Aside>, StoreError> {
        let path = Arc::clone(&self.path);
        let left = tokio::task::spawn_blocking(move || aside::left(&path)).await;
        left.map_err(|error| StoreError::Backend(error.into()))
    }

    async fn expired(&self, before: Timestamp, limit: usize) -> Result<Vec<String>, StoreError> {
        self.read(move |reader| forget::expired(&reader.connection, before, limit)).await
    }

    async fn unembedded(&self, model: String, after: i64, limit: usize) -> Result<Vec<Stored>, StoreError> {
        self.read(move |reader| embedded::unembedded(&reader.connection, &model, after, limit)).await
    }

    async fn vector_models(&self) -> Result<Vec<VectorModel>, StoreError> {
        Ok(self.vectors.read().unwrap_or_else(PoisonError::into_inner).models())
    }

    async fn forget_embeddings(&self, model: String) -> Result<(), StoreError> {
        self.commit(move |transaction| embedded::forget(transaction, model)).await
    }

    async fn keep_embeddings(
        &self,
        model: String,
        embeddings: Vec<(i64, u32, Embedding)>,
    ) -> Result<(), StoreError> {
        self.commit(move |transaction| embedded::keep(transaction, &model, embeddings)).await
    }

    async fn vector(&self, position: i64, model: String) -> Result<Option<Vec<f32>>, StoreError> {
        self.read(move |reader| embedded::vector(&reader.connection, position, &model)).await
    }

    async fn unrefined(&self, after: i64, limit: usize) -> Result<Vec<Stored>, StoreError> {
        self.read(move |reader| read::unrefined(&reader.connection, after, limit)).await
    }

    async fn keep_refined(&self, id: String, version: u32, refined: Refined) -> Result<bool, StoreError> {
        self.commit(move |transaction| refined::keep(transaction, &id, version, &refined)).await
    }

    async fn uncompared(&self, after: i64, limit: usize) -> Result<Vec<Stored>, StoreError> {
        self.read(move |reader| read::uncompared(&reader.connection, after, limit)).await
    }

    async fn judged(&self, id: String) -> Result<Vec<String>, StoreError> {
        self.read(move |reader| read::judged(&reader.connection, &id)).await
    }

    async fn keep_judgement(
        &self,
        newer: (String, u32),
        older: (String, u32),
        judgement: Judgement,
    ) -> Result<bool, StoreError> {
        self.commit(move |transaction| {
            Ok((refined::judge(transaction, &newer, &older, &judgement)?, Vec::new()))
        })
        .await
    }

    async fn set_compared(&self, id: String) -> Result<(), StoreError> {
        self.commit(move |transaction| {
            transaction.prepare_cached("UPDATE memories SET compared = 1 WHERE id = ?")?.execute([id])?;
            Ok(((), Vec::new()))
        })
        .await
    }

    async fn export(
        &self,
        repository: Option<String>,
    ) -> Result<mpsc::Receiver<Result<Bytes, StoreError>>, StoreError> {
        export::start(&self.path, repository)
    }

    async fn import(&self, lines: Vec<Line>) -> Result<Imported, StoreError> {
        self.commit(move |transaction| import::import(transaction, &lines)).await
    }

    async fn counts(&self, model: String) -> Result<Counts, StoreError> {
        self.read(move |reader| read::counts(&reader.connection, &model)).await
    }
}

#[cfg(test)]
mod tests;
