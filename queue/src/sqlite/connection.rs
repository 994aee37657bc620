//! A SQLite connection on a thread of its own, and the group commit: what many callers want to write at the same
//! time shares one transaction and one fsync, and each is answered after it.
//!
//! The write-ahead log is moved into the database by a third thread, so that no writer waits for that.

use std::{
    cell::Cell,
    iter,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
        mpsc::{self as blocking, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OpenFlags, config::DbConfig, hooks::Wal};
use tokio::sync::{mpsc, oneshot};

use super::{store::Store, wal};
use crate::model::{Error, Result};

/// Commands that wait for the thread; further callers wait in turn.
const WAITING: usize = 4096;
/// The most commands that share a transaction.
const GROUP: usize = 256;
/// How long commands are taken into a group: about as long as the commit before took, within these bounds. Shorter would be
/// spent on commits, and longer would leave all callers waiting for one group while nobody prepares the next.
const SHORTEST_GROUP: Duration = Duration::from_millis(1);
const LONGEST_GROUP: Duration = Duration::from_millis(20);

/// How often somebody looks whether the write-ahead log is to be moved into the database, beside the writer. While it is
/// moved, the disk is busy, and commits take longer: seldom is cheaper, and often is shorter.
const LOOK: Duration = Duration::from_millis(500);
/// New pages in the log that are worth moving: 4 MB.
const LONG_LOG: i32 = 1000;
/// Pages at which the writer waits for that to end, so that the log begins anew: 144 MB.
const LONGEST_LOG: i32 = 36 * LONG_LOG;
/// How long it waits for readers, such as a backup, that still need the log. It asks again after as many pages.
const PATIENCE_WITH_READERS: Duration = Duration::from_millis(50);
/// How long a statement waits for a lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs on what the thread owns, or learns why it cannot.
type Command<S> = Box<dyn FnOnce(Result<&S, &str>) -> Ran + Send>;

/// A command that ran.
struct Ran {
    /// Why what it wrote must not stay.
    broken: Option<String>,
    /// Answers the caller, told whether the commit succeeded.
    answer: Box<dyn FnOnce(Result<(), String>) + Send>,
}

/// A thread with its connection, as its users see it.
#[derive(Debug)]
pub(super) struct Handle<S>(mpsc::Sender<Command<S>>);

impl Handle<Store> {
    /// A thread whose commands write, grouped into transactions; `mover` is the connection that shortens the log.
    pub(super) fn writer(mut connection: Connection, mover: Connection) -> Result<Self> {
        let log = Log::watch(&mut connection, mover)?;
        let store = Store::new(connection);
        Self::start("queue-writer", move |mut commands| {
            let mut commit = SHORTEST_GROUP;
            while let Some(first) = commands.blocking_recv() {
                let until = Instant::now() + commit.clamp(SHORTEST_GROUP, LONGEST_GROUP);
                let mut next = Some(first);
                let group = iter::from_fn(|| {
                    let late = next.is_none() && Instant::now() > until;
                    next.take().or_else(|| if late { None } else { commands.try_recv().ok() })
                });
                commit = commit_together(&store, group.take(GROUP));
                log.bound(&store);
            }
        })
    }
}

impl Handle<Connection> {
    /// A thread whose commands only read.
    pub(super) fn reader(connection: Connection) -> Result<Self> {
        Self::start("queue-reader", move |mut commands| {
            while let Some(command) = commands.blocking_recv() {
                (command(Ok(&connection)).answer)(Ok(()));
            }
        })
    }
}

impl<S: 'static> Handle<S> {
    fn start(name: &str, run: impl FnOnce(mpsc::Receiver<Command<S>>) + Send + 'static) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(WAITING);
        spawn(name, move || run(receiver))?;
        Ok(Self(sender))
    }

    /// Runs `work` on the thread. A write has been committed when this returns, and `committed` has been called on the
    /// thread, also when the caller has gone away meanwhile.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&S) -> Result<T> + Send + 'static,
        committed: impl FnOnce() + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        let command: Command<S> = Box::new(move |on| {
            let result = match on {
                Ok(on) => work(on),
                Err(why) => Err(Error::Store(why.to_owned())),
            };
            let broken = match &result {
                Err(Error::Store(cause) | Error::Damaged(cause)) => Some(cause.clone()),
                _ => None,
            };
            let answer = Box::new(move |commit: Result<(), String>| {
                // A command's own error tells more than that of the group's commit.
                let result = result.and_then(|value| commit.map(|()| value).map_err(Error::Store));
                if result.is_ok() {
                    committed();
                }
                let _ = sender.send(result);
            });
            Ran { broken, answer }
        });
        self.0.send(command).await.map_err(|_| Error::Closed)?;
        receiver.await.map_err(|_| Error::Closed)?
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(run);
    started.map(drop).map_err(|error| Error::Store(format!("cannot start a thread: {error}")))
}

/// How long the write-ahead log is.
struct Log {
    pages: Arc<AtomicI32>,
    asked_at: Cell<i32>,
    /// Its end tells the mover that the writer is gone.
    _writing: blocking::SyncSender<()>,
}

impl Log {
    /// Counts the pages that `writer` adds, and starts the thread that moves them.
    fn watch(writer: &mut Connection, mover: Connection) -> Result<Self> {
        let pages = Arc::new(AtomicI32::new(0));
        let (writing, written) = blocking::sync_channel::<()>(0);
        let counted = Arc::clone(&pages);
        writer.wal_hook(Some(move |_: &mut Wal, pages| {
            counted.store(pages, Ordering::Relaxed);
            Ok(())
        }))?;
        let length = Arc::clone(&pages);
        spawn("queue-log", move || move_log(&mover, &length, &written))?;
        Ok(Self { pages, asked_at: Cell::new(0), _writing: writing })
    }

    /// The mover never sees an end of the log while somebody writes all the time; only the writer can make one.
    fn bound(&self, writer: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.asked_at.get() {
            self.asked_at.set(0);
        }
        if pages - self.asked_at.get() < LONGEST_LOG {
            return;
        }
        self.asked_at.set(pages);
        let _ = writer.busy_timeout(PATIENCE_WITH_READERS);
        if let Err(error) = checkpoint(writer, "RESTART") {
            tracing::warn!(%error, "the write-ahead log cannot begin anew yet");
        }
        let _ = writer.busy_timeout(BUSY_TIMEOUT);
    }
}

/// Until the writer is gone.
fn move_log(mover: &Connection, length: &AtomicI32, written: &blocking::Receiver<()>) {
    let mut moved = 0;
    while written.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        let pages = length.load(Ordering::Relaxed);
        if pages < moved {
            // The log began anew.
            moved = 0;
        }
        if pages - moved < LONG_LOG {
            continue;
        }
        match checkpoint(mover, "PASSIVE") {
            Ok(()) => moved = pages,
            Err(error) => {
                tracing::warn!(%error, "the write-ahead log cannot be shortened now; it grows until it can");
            }
        }
    }
}

/// A reader that is in the way is no error: what could be moved was moved.
pub(super) fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<()> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
}

/// A command that refuses does so before it writes. One that fails while it writes takes the whole group back, which
/// happens when the disk is full or broken; a savepoint for each would copy every page that a group writes again and again.
///
/// Says how long the commit took.
fn commit_together(store: &Store, group: impl Iterator<Item = Command<Store>>) -> Duration {
    let mut answers = Vec::new();
    let mut outcome = store.begin();
    for command in group {
        let ran = command(outcome.as_ref().map(|()| store).map_err(String::as_str));
        answers.push(ran.answer);
        if let (Ok(()), Some(cause)) = (&outcome, ran.broken) {
            outcome = Err(cause);
        }
    }
    let began = Instant::now();
    let outcome = outcome.and_then(|()| store.commit());
    let took = began.elapsed();
    if let Err(error) = &outcome {
        tracing::error!(error, commands = answers.len(), "a group of writes failed; their callers are told");
        store.roll_back();
    }
    for answer in answers {
        answer(outcome.clone());
    }
    took
}

/// Opens a connection for reading and writing, which keeps at most so much of the file in memory. The log
/// [stays](wal::stays), until somebody has looked at it.
pub(super) fn open(path: &Path, cache_kib: u32) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    wal::stays(&connection, true)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Plans that do not depend on the values: SQLite would else compile nearly every statement anew for each of its runs.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // FULL: a commit is on disk before it returns. fullfsync: on macOS a plain fsync stops at the drive's cache.
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;
         PRAGMA foreign_keys = OFF; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 0;",
    )?;
    connection.pragma_update(None, "cache_size", -i64::from(cache_kib))?;
    Ok(connection)
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error.to_string()),
            _ => Self::Store(error.to_string()),
        }
    }
}
