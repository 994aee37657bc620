//! The file as a whole: opening and upgrading it, looking for damage, backing it up and bringing it back.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{connection, wal, write};
use crate::{
    aside::{self, Copied},
    files::{self, with_end},
    model::{Backup, Error, Result},
};

/// The schema that this build writes.
pub(super) const SCHEMA_VERSION: i64 = 2;
/// What brings a file of version `index + 1` to the next one.
const UPGRADES: [&str; 1] = [include_str!("upgrade_2.sql")];
/// How long a start looks for damage before it goes on and leaves the rest to the background.
const FIRST_LOOK: Duration = Duration::from_millis(40);
/// The index of ids is written at random places: in KiB, what holds those of some hundred thousand deliveries.
const WRITER_CACHE: u32 = 12 * 1024;
/// In KiB.
pub(super) const READER_CACHE: u32 = 1024;
/// SQLite's instructions between two looks at the time.
const STEPS: i32 = 10_000;

/// A file in use.
pub(super) struct Opened {
    pub(super) lock: File,
    pub(super) writer: Connection,
    pub(super) mover: Connection,
    pub(super) reader: Connection,
    pub(super) lister: Connection,
    /// Whether the file is still to be looked through.
    pub(super) unchecked: bool,
}

/// Locks, opens, checks and upgrades the file, and takes back the leases that a killed process held: with the lock in
/// hand, nobody else can be working on them.
pub(super) fn prepare(path: &Path, now: Timestamp) -> Result<Opened> {
    let lock = lock(path)?;
    is_there(path)?;
    let writer = open_first(path, WRITER_CACHE)?;
    wal::check(&writer, path)?;
    upgrade(&writer, path)?;
    aside::clear(path);
    let unchecked = !look_through(path, &mut read_only(path)?, Some(FIRST_LOOK))?;
    write::take_back_leases(&writer, now)?;
    Ok(Opened {
        lock,
        writer,
        mover: open(path, READER_CACHE)?,
        reader: open(path, READER_CACHE)?,
        lister: open(path, READER_CACHE)?,
        unchecked,
    })
}

/// Opens the file for a look from outside, beside whoever works with it.
pub(super) fn open_beside(path: &Path) -> Result<Connection> {
    let connection = open_first(path, READER_CACHE)?;
    wal::check_beside(&connection, path)?;
    Ok(connection)
}

/// Opens a file whose log was looked at.
fn open(path: &Path, cache_kib: u32) -> Result<Connection> {
    let connection = open_first(path, cache_kib)?;
    wal::stays(&connection, false)?;
    Ok(connection)
}

fn open_first(path: &Path, cache_kib: u32) -> Result<Connection> {
    connection::open(path, cache_kib).map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => damaged(path, &error.to_string()),
        _ => cannot_open(path, &error),
    })
}

fn cannot_open(path: &Path, cause: &dyn std::fmt::Display) -> Error {
    Error::Open { path: path.display().to_string(), cause: cause.to_string() }
}

fn damaged(path: &Path, cause: &str) -> Error {
    Error::Damaged(format!("{}: {cause}", path.display()))
}

/// One process at a time. Payloads of private repositories: the folder is nobody's but ours.
fn lock(path: &Path) -> Result<File> {
    let failed = |error: io::Error| cannot_open(path, &error);
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    files::lock(path).map_err(failed)?.ok_or_else(|| Error::InUse(path.display().to_string()))
}

/// Whether there is a store, and where there is none, that nothing speaks of one.
pub(super) fn is_there(path: &Path) -> Result<bool> {
    match files::left_by_a_replacement(path) {
        Some(left) => Err(cannot_open(path, &files::how_to_go_on(path, &left))),
        None => Ok(path.exists()),
    }
}

/// The version that a file was written in; 0: nothing was written yet.
pub(super) fn version(connection: &Connection, path: &Path) -> Result<i64> {
    let found = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > SCHEMA_VERSION {
        let way_back = match aside::newest(path, SCHEMA_VERSION) {
            Some(copy) => format!(
                "put {} in its place and move its -wal and -shm away: the copy from before the upgrade, which lacks what came since",
                copy.display()
            ),
            None => "restore a backup from before the upgrade".to_owned(),
        };
        return Err(Error::TooNew {
            path: path.display().to_string(),
            found,
            known: SCHEMA_VERSION,
            way_back,
        });
    }
    Ok(found)
}

/// Brings the file to [`SCHEMA_VERSION`], all at once or not at all, after a copy was set aside.
fn upgrade(connection: &Connection, path: &Path) -> Result<()> {
    let found = version(connection, path)?;
    let steps = match usize::try_from(found) {
        Ok(0) | Err(_) => include_str!("schema.sql").to_owned(),
        Ok(known) => UPGRADES.get(known - 1..).unwrap_or_default().concat(),
    };
    if steps.is_empty() {
        return Ok(());
    }
    let copy = match found {
        0 => None,
        _ => Some(aside::set(path, found, |to| set_aside(connection, path, to))?),
    };
    let upgraded = connection
        .execute_batch(&format!("BEGIN IMMEDIATE; {steps} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"));
    if upgraded.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    upgraded?;
    copy.into_iter().for_each(Copied::keep);
    Ok(())
}

/// Copies the store as it is before its upgrade.
fn set_aside(connection: &Connection, path: &Path, to: &Path) -> Result<()> {
    let copied = aside::room(path)
        .map_err(|error| cannot_open(path, &error))
        .and_then(|()| copy(connection, to, |unfinished| files::settle(unfinished, to)));
    let failed = |error| {
        cannot_open(
            to,
            &format!(
                "no copy could be made before the upgrade, so nothing was changed ({error}); make room there, or go on with the version before"
            ),
        )
    };
    copied.map(drop).map_err(failed)
}

fn read_only(path: &Path) -> Result<Connection> {
    Ok(Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?)
}

/// Looks for damage while the store is in use. The connection may be the last one that is closed, and one that only
/// reads would leave the log behind.
pub(super) fn look_through_beside(path: &Path) -> Result<()> {
    look_through(path, &mut open(path, READER_CACHE)?, None).map(drop)
}

/// Looks for damage in the structure of the file. `false` if the time was not enough.
///
/// # Errors
/// [`Error::Damaged`].
pub(super) fn look_through(path: &Path, connection: &mut Connection, time: Option<Duration>) -> Result<bool> {
    let out_of_time = Arc::new(AtomicBool::new(false));
    if let Some(time) = time {
        let (until, out_of_time) = (Instant::now() + time, Arc::clone(&out_of_time));
        let late = move || {
            let late = Instant::now() > until;
            out_of_time.fetch_or(late, Ordering::Relaxed);
            late
        };
        connection.progress_handler(STEPS, Some(late))?;
    }
    let found: rusqlite::Result<String> = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    connection.progress_handler(0, None::<fn() -> bool>)?;
    match found {
        Ok(found) if found == "ok" => Ok(true),
        Ok(found) => Err(damaged(path, &found)),
        Err(_) if out_of_time.load(Ordering::Relaxed) => Ok(false),
        Err(error) => Err(damaged(path, &error.to_string())),
    }
}

/// Copies the store at `path` to a new file, beside a running service.
pub(super) fn back_up(path: &Path, to: &Path) -> Result<Backup> {
    if !is_there(path)? {
        return Err(cannot_open(path, &"there is no such file"));
    }
    if to.exists() {
        return Err(cannot_open(to, &"it exists already; a backup never overwrites a file"));
    }
    let source = open_beside(path)?;
    version(&source, path)?;
    copy(&source, to, |unfinished| files::settle(unfinished, to))
}

/// Writes what is in `source` to a new file beside `to`, looks that through, and lets `place` give it the name.
fn copy(source: &Connection, to: &Path, place: impl FnOnce(&Path) -> io::Result<()>) -> Result<Backup> {
    let unfinished = with_end(to, ".unfinished");
    let copied = copy_to(source, &unfinished).and_then(|backup| {
        place(&unfinished).map_err(|error| cannot_open(to, &error))?;
        Ok(backup)
    });
    if copied.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    copied
}

fn copy_to(source: &Connection, unfinished: &Path) -> Result<Backup> {
    let _ = fs::remove_file(unfinished);
    // Made first, so that what is written is nobody else's to read from the beginning.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(unfinished);
    made.map_err(|error| cannot_open(unfinished, &error))?;
    let written = source.execute("VACUUM INTO ?", [unfinished.to_string_lossy()]);
    written.map_err(|error| match Error::from(error) {
        Error::Store(cause) => cannot_open(unfinished, &cause),
        damaged => damaged,
    })?;
    inspect(unfinished, &mut read_only(unfinished)?)
}

/// Puts a backup in the place of the store at `path`; `replace` moves one that is there aside.
pub(super) fn restore(path: &Path, from: &Path, replace: bool) -> Result<Backup> {
    let _lock = lock(path)?;
    // With what is in its log, if it is a store that was moved aside.
    let mut source = wal::open_source(from)?;
    inspect(from, &mut source)?;
    if path.exists() && !replace {
        return Err(cannot_open(
            path,
            &"it exists; --replace moves it aside and puts the backup in its place",
        ));
    }
    copy(&source, path, |unfinished| {
        files::give_to_owner_of_folder(unfinished)?;
        files::replace(path, unfinished).map(drop)
    })
}

/// What a backup holds, if it is whole and of a version that is known.
fn inspect(path: &Path, connection: &mut Connection) -> Result<Backup> {
    let bytes = fs::metadata(path).map_err(|error| cannot_open(path, &error))?.len();
    look_through(path, connection, None)?;
    if version(connection, path)? == 0 {
        return Err(cannot_open(path, &"it is no queue"));
    }
    let deliveries = connection.query_row("SELECT count(*) FROM deliveries", [], |row| row.get(0))?;
    Ok(Backup { bytes, deliveries })
}
