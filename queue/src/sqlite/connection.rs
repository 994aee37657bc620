//! A SQLite connection on a thread of its own, and the group commit: what many callers want to write at the same
//! time shares one transaction and one fsync, and each is answered after it.

use std::{path::Path, thread, time::Duration};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{mpsc, oneshot};

use crate::model::{Error, Result};

/// Commands that wait for the thread; further callers wait in turn.
const WAITING: usize = 4096;
/// The most commands that share a transaction: bounds how long the first of them waits for its answer.
const GROUP: usize = 256;

/// Runs a command, or learns why it cannot; the returned closure answers the caller, told whether the commit succeeded.
type Command = Box<dyn FnOnce(Result<&Connection, &str>) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Result<(), String>) + Send>;

/// A connection's thread, as its users see it.
#[derive(Debug, Clone)]
pub(super) struct Handle(mpsc::Sender<Command>);

impl Handle {
    /// A thread whose commands write, grouped into transactions.
    pub(super) fn writer(connection: Connection) -> Result<Self> {
        Self::start("queue-writer", move |mut commands| {
            while let Some(first) = commands.blocking_recv() {
                let mut group = vec![first];
                while group.len() < GROUP {
                    let Ok(next) = commands.try_recv() else { break };
                    group.push(next);
                }
                commit_together(&connection, group);
            }
        })
    }

    /// A thread whose commands only read.
    pub(super) fn reader(connection: Connection) -> Result<Self> {
        Self::start("queue-reader", move |mut commands| {
            while let Some(command) = commands.blocking_recv() {
                command(Ok(&connection))(Ok(()));
            }
        })
    }

    fn start(name: &str, run: impl FnOnce(mpsc::Receiver<Command>) + Send + 'static) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let started = thread::Builder::new().name(name.to_owned()).spawn(move || run(receiver));
        started.map_err(|error| Error::Store(format!("cannot start a thread: {error}")))?;
        Ok(Self(sender))
    }

    /// Runs `work` on the thread. A write has been committed when this returns, and `committed` has been called on the
    /// thread, also when the caller has gone away meanwhile.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
        committed: impl FnOnce() + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        let command: Command = Box::new(move |connection| {
            let result = match connection {
                Ok(connection) => work(connection),
                Err(why) => Err(Error::Store(why.to_owned())),
            };
            Box::new(move |commit| {
                // A command's own error tells more than that of the group's commit.
                let result = result.and_then(|value| commit.map(|()| value).map_err(Error::Store));
                if result.is_ok() {
                    committed();
                }
                let _ = sender.send(result);
            })
        });
        self.0.send(command).await.map_err(|_| Error::Closed)?;
        receiver.await.map_err(|_| Error::Closed)?
    }
}

/// Each command runs in a savepoint, so that one that fails takes only itself back.
fn commit_together(connection: &Connection, group: Vec<Command>) {
    let mut answers = Vec::with_capacity(group.len());
    let mut outcome = connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| error.to_string());
    for command in group {
        answers.push(command(outcome.as_ref().map(|()| connection).map_err(String::as_str)));
        // A full disk or an I/O error makes SQLite roll back the whole transaction by itself.
        if outcome.is_ok() && connection.is_autocommit() {
            outcome =
                Err("the transaction was rolled back: the disk is full or cannot be written".to_owned());
        }
    }
    if outcome.is_ok() {
        outcome = connection.execute_batch("COMMIT").map_err(|error| error.to_string());
    }
    if let Err(error) = &outcome {
        tracing::error!(error, commands = answers.len(), "a group of writes failed; their callers are told");
        if !connection.is_autocommit() {
            let _ = connection.execute_batch("ROLLBACK");
        }
    }
    for answer in answers {
        answer(outcome.clone());
    }
}

/// Runs `work` so that its error leaves nothing behind.
pub(super) fn whole<T>(connection: &Connection, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    connection.execute_batch("SAVEPOINT command")?;
    let result = work(connection);
    if connection.is_autocommit() {
        return result;
    }
    if result.is_err() {
        connection.execute_batch("ROLLBACK TO command")?;
    }
    connection.execute_batch("RELEASE command")?;
    result
}

/// Opens a connection for reading and writing.
pub(super) fn open(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    // FULL: a commit is on disk before it returns. fullfsync: on macOS a plain fsync stops at the drive's cache.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;
         PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;",
    )?;
    Ok(connection)
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.to_string())
    }
}
