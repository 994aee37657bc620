//! The store in SQLite: plain synchronous SQL on two threads of its own, one that writes and one that reads, so that a
//! search never waits for a write.

mod read;
mod write;

use std::path::Path;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags, Transaction};

use super::thread::Thread;
use super::vectors::{Change, Vectors};
use super::{Counts, Embedding, Filter, Kept, Record, Store, StoreError, Stored};
use crate::distil::Draft;
use crate::rank::Candidate;

/// Only another process (a backup, a shell) can hold the lock; this is how long it is waited for.
const BUSY: Duration = Duration::from_secs(5);

/// Newest schema this build knows.
const SCHEMA: u32 = 2;

/// From schema 1 to 2.
const TRUST: &str = "ALTER TABLE memories ADD COLUMN trust INTEGER";

/// The memory in one SQLite file, vectors also in RAM.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    writer: Thread<Connection>,
    reader: Thread<Connection>,
    vectors: Arc<RwLock<Vectors>>,
}

impl SqliteStore {
    /// Opens the file at `path`, creating it if there is none, and loads the vectors.
    ///
    /// # Errors
    /// If the file cannot be opened, is no SQLite file, or was written by a newer build.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Open {
            path: path.display().to_string(),
            source,
        };
        let mut writer = open_writer(path).map_err(|error| failed(error.into()))?;
        let found = migrate(&mut writer).map_err(|error| failed(error.into()))?;
        if found > SCHEMA {
            return Err(StoreError::Newer { found, known: SCHEMA });
        }
        let vectors = read::load_vectors(&writer).map_err(|error| failed(error.into()))?;
        let reader = open_reader(path).map_err(|error| failed(error.into()))?;
        Ok(Self {
            writer: Thread::start("memory-write", writer).map_err(|error| failed(error.into()))?,
            reader: Thread::start("memory-read", reader).map_err(|error| failed(error.into()))?,
            vectors: Arc::new(RwLock::new(vectors)),
        })
    }

    /// Runs `work` in one transaction, then brings the vectors in RAM up to date with what it says has changed.
    async fn commit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<(T, Vec<Change>)> + Send + 'static,
    ) -> Result<T, StoreError> {
        let vectors = Arc::clone(&self.vectors);
        self.writer
            .call(move |connection| -> rusqlite::Result<T> {
                let transaction = connection.transaction()?;
                let (answer, changes) = work(&transaction)?;
                transaction.commit()?;
                let mut vectors = vectors.write().unwrap_or_else(std::sync::PoisonError::into_inner);
                for change in changes {
                    vectors.apply(change);
                }
                Ok(answer)
            })
            .await
    }
}

fn open_writer(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

#[async_trait]
impl Store for SqliteStore {
    async fn record(&self, record: Record, drafts: Vec<Draft>) -> Result<Vec<Kept>, StoreError> {
        self.commit(move |transaction| write::append(transaction, &record, &drafts)).await
    }

    async fn matching(
        &self,
        terms: Vec<String>,
        filter: Filter,
        limit: usize,
    ) -> Result<Vec<Candidate>, StoreError> {
        if terms.is_empty() {
            return Ok(Vec::new());
        }
        self.reader.call(move |connection| read::matching(connection, &terms, &filter, limit)).await
    }

    async fn nearest(
        &self,
        model: String,
        vector: Vec<f32>,
        filter: Filter,
        limit: usize,
    ) -> Result<Option<Vec<Candidate>>, StoreError> {
        let vectors = Arc::clone(&self.vectors);
        // On the reader's thread because a scan of many vectors would hold up the runtime's.
        self.reader
            .call(move |_| -> rusqlite::Result<_> {
                let vectors = vectors.read().unwrap_or_else(std::sync::PoisonError::into_inner);
                Ok(vectors.nearest(&model, &vector, &filter, limit))
            })
            .await
    }

    async fn recent(&self, filter: Filter, limit: usize) -> Result<Vec<Candidate>, StoreError> {
        self.reader.call(move |connection| read::recent(connection, &filter, limit)).await
    }

    async fn fetch(&self, ids: Vec<String>) -> Result<Vec<Stored>, StoreError> {
        self.reader.call(move |connection| read::fetch(connection, &ids)).await
    }

    async fn delete(&self, id: String) -> Result<bool, StoreError> {
        self.commit(move |transaction| write::delete(transaction, &id)).await
    }

    async fn unembedded(&self, model: String, after: i64, limit: usize) -> Result<Vec<Stored>, StoreError> {
        self.reader.call(move |connection| read::unembedded(connection, &model, after, limit)).await
    }

    async fn dimensions(&self, model: String) -> Result<Option<usize>, StoreError> {
        Ok(self.vectors.read().unwrap_or_else(std::sync::PoisonError::into_inner).dimensions(&model))
    }

    async fn forget_embeddings(&self, model: String) -> Result<(), StoreError> {
        self.commit(move |transaction| write::forget_embeddings(transaction, model)).await
    }

    async fn keep_embeddings(
        &self,
        model: String,
        embeddings: Vec<(String, Embedding)>,
    ) -> Result<(), StoreError> {
        self.commit(move |transaction| write::keep_embeddings(transaction, &model, embeddings)).await
    }

    async fn counts(&self, model: String) -> Result<Counts, StoreError> {
        self.reader.call(move |connection| read::counts(connection, &model)).await
    }
}

/// Brings the schema up to date and answers the version found, which may be newer than [`SCHEMA`].
fn migrate(connection: &mut Connection) -> rusqlite::Result<u32> {
    let transaction = connection.transaction()?;
    let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match found {
        0 => transaction.execute_batch(include_str!("schema.sql"))?,
        1 => transaction.execute_batch(TRUST)?,
        _ => {}
    }
    if found < SCHEMA {
        transaction.pragma_update(None, "user_version", SCHEMA)?;
    }
    transaction.commit()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_of_the_first_schema_is_brought_up_to_date() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("memory.db");
        let lines =
            include_str!("schema.sql").lines().filter(|line| !line.trim_start().starts_with("trust "));
        let first = Connection::open(&path).unwrap();
        first.execute_batch(&lines.collect::<Vec<_>>().join("\n")).unwrap();
        first
            .execute_batch(
                "INSERT INTO memories (id, delivery, repository, kind, indexed, created_at, digest, text)
                 VALUES ('m', 'd', 'o/r', 'note', 1, 0, x'00', 'kept'); PRAGMA user_version = 1",
            )
            .unwrap();
        drop(first);
        for _ in 0..2 {
            drop(SqliteStore::open(&path).unwrap());
        }
        let stored = read::fetch(&Connection::open(&path).unwrap(), &["m".to_owned()]).unwrap().remove(0);
        assert_eq!((stored.draft.text.as_str(), stored.draft.source.trust), ("kept", None));
    }

    #[test]
    fn a_newer_schema_and_a_foreign_file_are_refused_with_the_way_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("memory.db");
        drop(SqliteStore::open(&path).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", SCHEMA + 1).unwrap();
        let message = SqliteStore::open(&path).unwrap_err().to_string();
        assert!(message.contains("newer version") && message.contains("DATA_DIR"), "{message}");
        let path = directory.path().join("foreign.db");
        std::fs::write(&path, "not a database, but long enough to be looked at".repeat(100)).unwrap();
        assert!(SqliteStore::open(&path).unwrap_err().to_string().contains("cannot open"));
    }
}
