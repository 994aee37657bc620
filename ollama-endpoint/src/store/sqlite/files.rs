//! The memory's file as a whole: one process at a time, rebuilt, backed up and brought back.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use queue::files::{self, with_end};
use queue::wal;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags, params};

use super::rebuild::rebuild;
use super::{BUSY, check, embedded, lasting, upgrade};
use crate::store::StoreError;
use crate::store::vectors::from_bytes;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Lines of its record.
    pub records: u64,
    /// Memories made of them.
    pub memories: u64,
    /// Vectors of them.
    pub vectors: u64,
    /// Its size.
    pub bytes: u64,
}

/// A file that is gone when this is.
#[derive(Debug)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Beside `path`, where there is room for another one like it.
    pub(super) fn beside(path: &Path, what: &str) -> Self {
        let scratch = Self(with_end(path, &format!(".{what}")));
        scratch.remove();
        scratch
    }

    fn remove(&self) {
        for end in ["", "-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(with_end(&self.0, end));
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}

/// The right to be the one process that writes to the memory at `path`, for as long as the file is open.
///
/// # Errors
/// Another one has it, or the file cannot be made.
pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    let lock = files::lock(path).map_err(|error| unopened(path, error))?;
    lock.ok_or_else(|| StoreError::InUse(path.display().to_string()))
}

/// Whether there is a memory at `path`.
///
/// # Errors
/// There is none, and there are files that speak of one.
pub(super) fn is_there(path: &Path) -> Result<bool, StoreError> {
    match files::left_by_a_replacement(path) {
        Some(left) => Err(unopened(path, files::how_to_go_on(path, &left))),
        None => Ok(path.exists()),
    }
}

pub(super) fn unopened(
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    StoreError::Open { path: path.display().to_string(), source: source.into() }
}

fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::Backend(error.into())
}

/// A memory whose log is damaged stays as it is: see [`wal`].
pub(super) fn damaged(path: &Path, error: queue::Error) -> StoreError {
    match error {
        queue::Error::Damaged(cause) => StoreError::Damaged(cause),
        other => unopened(path, other),
    }
}

/// A memory that is there, of the schema of today, beside a service that may work with it. A connection that only reads
/// would leave the log behind if it is the last one.
pub(super) fn open_present(path: &Path) -> Result<Connection, StoreError> {
    if !is_there(path)? {
        let path = path.display();
        return Err(StoreError::Unfit(format!("there is no memory at {path}; DATA_DIR says where it is")));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
        wal::stays(&connection, true)?;
        connection.busy_timeout(BUSY)?;
        lasting(&connection)?;
        connection.set_prepared_statement_cache_capacity(64);
        let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok((connection, version))
    });
    let (connection, found) = opened.map_err(|error| unopened(path, error))?;
    wal::check_beside(&connection, path).map_err(|error| damaged(path, error))?;
    match found {
        upgrade::SCHEMA => Ok(connection),
        0 => Err(StoreError::Unfit(format!("{} is no memory", path.display()))),
        _ if found > upgrade::SCHEMA => Err(upgrade::too_new(path, found)),
        _ => Err(StoreError::Unfit(format!(
            "{} is of an earlier version; start the service once, which brings it up to date",
            path.display()
        ))),
    }
}

/// The memory of the record in `source`, made anew at `path`.
pub(super) fn rebuilt(source: &Connection, path: &Path) -> Result<Connection, StoreError> {
    let target = Connection::open(path).map_err(|error| unopened(path, error))?;
    let settings = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA foreign_keys = ON;
                    PRAGMA cache_size = -65536";
    target.set_prepared_statement_cache_capacity(64);
    target.execute_batch(settings).and_then(|()| rebuild(source, &target)).map_err(failed)?;
    Ok(target)
}

/// Makes all that is derived anew of the record. Vectors are kept where the text is the same; the others are made by the
/// service.
///
/// # Errors
/// The service runs, there is no memory, or it cannot be read or written. The former one is unhurt then.
pub fn reindex(path: &Path) -> Result<Held, StoreError> {
    let _lock = lock(path)?;
    let mut connection = open_present(path)?;
    remake(&mut connection, path)?;
    close(connection)?;
    held(path)
}

/// Puts what the record in `connection` makes in the place of all that is there, at once or not at all.
pub(super) fn remake(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let records: u64 =
        connection.query_row("SELECT count(*) FROM records", [], |row| row.get(0)).map_err(failed)?;
    tracing::info!(records, "making the memory anew; with many records this takes minutes");
    let new = Scratch::beside(path, "new");
    let made = rebuilt(connection, &new.0)?;
    keep_vectors(connection, &made).map_err(failed)?;
    match Backup::new(&made, connection).and_then(|all| all.step(-1)).map_err(failed)? {
        StepResult::Done => Ok(()),
        _ => Err(StoreError::InUse(path.display().to_string())),
    }
}

fn close(connection: Connection) -> Result<(), StoreError> {
    connection.close().map_err(|(_, error)| failed(error))
}

fn keep_vectors(source: &Connection, target: &Connection) -> rusqlite::Result<()> {
    target.execute_batch("BEGIN")?;
    let mut now = target.prepare("SELECT seq, text FROM memories WHERE id = ? AND indexed")?;
    let mut vector = target.prepare(
        "INSERT INTO vectors (memory_seq, model, dimensions, words, cut, vector) VALUES (?, ?, ?, ?, ?, ?)",
    )?;
    let mut rejection =
        target.prepare("INSERT INTO rejections (memory_seq, model, reason) VALUES (?, ?, ?)")?;
    let mut at = |id: &str| {
        let mut rows = now.query([id])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok::<_, rusqlite::Error>(Some((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))
    };
    let mut vectors = source.prepare(
        "SELECT m.id, v.model, v.dimensions, v.words, v.vector, v.cut FROM vectors v JOIN memories m ON m.seq = v.memory_seq
         ORDER BY v.id",
    )?;
    let mut rows = vectors.query([])?;
    while let Some(row) = rows.next()? {
        let Some((position, text)) = at(row.get_ref(0)?.as_str()?)? else { continue };
        let words: i64 = row.get(3)?;
        let (model, dimensions, bytes): (String, usize, Vec<u8>) = (row.get(1)?, row.get(2)?, row.get(4)?);
        let numbers = from_bytes(&bytes);
        if words == embedded::words(&text) && numbers.len() == dimensions && embedded::is_unit(&numbers) {
            vector.execute(params![position, model, dimensions, words, row.get::<_, bool>(5)?, bytes])?;
        }
    }
    let mut rejections = source.prepare(
        "SELECT m.id, m.text, r.model, r.reason FROM rejections r JOIN memories m ON m.seq = r.memory_seq",
    )?;
    let mut rows = rejections.query([])?;
    while let Some(row) = rows.next()? {
        let Some((position, text)) = at(row.get_ref(0)?.as_str()?)? else { continue };
        if row.get_ref(1)?.as_str()? == text {
            rejection.execute(params![position, row.get::<_, String>(2)?, row.get::<_, String>(3)?])?;
        }
    }
    target.execute_batch("COMMIT")
}

/// Copies the memory at `path` to a new file, beside a running service.
///
/// # Errors
/// `to` exists, there is no memory, or it cannot be read or written.
pub fn back_up(path: &Path, to: &Path) -> Result<Held, StoreError> {
    if to.exists() {
        let to = to.display();
        return Err(StoreError::Unfit(format!("{to} exists already; a backup never overwrites a file")));
    }
    let source = open_present(path)?;
    copy(&source, to)?;
    held(to)
}

/// Writes what is in `source` to a new file, of whatever schema it is, and looks that through.
pub(super) fn copy(source: &Connection, to: &Path) -> Result<(), StoreError> {
    let unfinished = Scratch::beside(to, "unfinished");
    write(source, &unfinished.0)?;
    files::settle(&unfinished.0, to).map_err(|error| unopened(to, error))
}

fn write(source: &Connection, to: &Path) -> Result<(), StoreError> {
    // Made first, so that what is written is nobody else's to read from the beginning.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    made.map_err(|error| unopened(to, error))?;
    source.execute("VACUUM INTO ?", [to.to_string_lossy()]).map_err(failed)?;
    let written = Connection::open(to).map_err(failed)?;
    let found: String = written.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    close(written)?;
    if found == "ok" { Ok(()) } else { Err(StoreError::Damaged(found)) }
}

/// Puts a backup in the place of the memory at `path`, which is kept aside; one of an earlier version is upgraded. Answers
/// what it holds, and where the former one is.
///
/// # Errors
/// The service runs, the backup is damaged or is not what its own record makes, or a file cannot be written. The former
/// memory is unhurt then.
pub fn restore(path: &Path, from: &Path) -> Result<(Held, Option<PathBuf>), StoreError> {
    let _lock = lock(path)?;
    if !from.exists() {
        return Err(StoreError::Unfit(format!("there is no backup at {}", from.display())));
    }
    let unfinished = Scratch::beside(path, "unfinished");
    // With what is in its log, if it is a memory that was moved aside.
    let backup = wal::open_source(from).map_err(|error| damaged(from, error))?;
    let taken = write(&backup, &unfinished.0).and_then(|()| upgrade::upgrade_copy(&unfinished.0));
    taken.map_err(|error| {
        let why = match &error {
            StoreError::Open { source, .. } | StoreError::Backend(source) => source.to_string(),
            other => other.to_string(),
        };
        let (from, path) = (from.display(), path.display());
        StoreError::Unfit(format!("the backup {from} could not be brought to {path}: {why}"))
    })?;
    let checked = check::check(&unfinished.0)?;
    if let Some(first) = checked.differences.first() {
        return Err(StoreError::Unfit(format!(
            "{} is not whole, so it was not restored: {first}{}",
            from.display(),
            if checked.differences.len() > 1 { ", and more" } else { "" }
        )));
    }
    let held = held(&unfinished.0)?;
    let replaced =
        files::give_to_owner_of_folder(&unfinished.0).and_then(|()| files::replace(path, &unfinished.0));
    Ok((held, replaced.map_err(|error| unopened(path, error))?))
}

fn held(path: &Path) -> Result<Held, StoreError> {
    let connection = open_present(path)?;
    let count = |table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        connection.query_row(&sql, [], |row| row.get(0)).map_err(failed)
    };
    Ok(Held {
        records: count("records")?,
        memories: count("memories")?,
        vectors: count("vectors")?,
        bytes: fs::metadata(path).map_err(|error| unopened(path, error))?.len(),
    })
}

impl AsRef<Path> for Scratch {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}
