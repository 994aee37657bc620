//! The schema, and how older ones are brought up to date: the records are kept, and all else is made of them again.

use std::path::Path;

use queue::aside::{self, Copied};
use queue::wal;
use rusqlite::{Connection, ErrorCode};

use super::files::{copy, damaged, remake, unopened};
use super::{open_writer, rebuild};
use crate::store::StoreError;

/// Newest schema this build knows.
pub(super) const SCHEMA: u32 = 4;

/// All tables of today.
pub(super) const TABLES: &str = include_str!("../schema.sql");

/// Makes room for the tables of today. What has no memory any more was taken back or forgotten, so its words go, too.
const FROM_2: &str = "
    UPDATE records SET body = x'' WHERE id NOT IN (SELECT delivery FROM memories);
    DROP TABLE memories_fts; DROP TABLE vectors; DROP TABLE rejections; DROP TABLE memories;
    ALTER TABLE records RENAME TO records_2;";

/// Brings the memory at `path` up to date, after a copy of it was set aside.
///
/// # Errors
/// It is of a newer schema, no copy could be made, or it cannot be written; it is unhurt then.
pub(super) fn upgrade(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |error: rusqlite::Error| unopened(path, error);
    let found = version(connection).map_err(failed)?;
    if found > SCHEMA {
        return Err(too_new(path, found));
    }
    let copy = match found {
        0 | SCHEMA => None,
        _ => Some(aside::set(path, found.into(), |to| set_aside(connection, path, to))?),
    };
    bring_up(connection, path, found).map_err(|error| {
        if is_full(&error) { unchanged(path, "there is no room for the upgrade", &error) } else { error }
    })?;
    copy.into_iter().for_each(Copied::keep);
    aside::clear(path);
    Ok(())
}

/// Brings the memory at `path` up to date, which is a copy itself. What is wrong with a damaged one is for others to say.
pub(super) fn upgrade_copy(path: &Path) -> Result<(), StoreError> {
    match Connection::open(path).and_then(|copy| version(&copy)) {
        Ok(found @ 1..SCHEMA) => {
            let mut copy = open_writer(path).map_err(|error| unopened(path, error))?;
            wal::check(&copy, path).map_err(|error| damaged(path, error))?;
            bring_up(&mut copy, path, found)
        }
        _ => Ok(()),
    }
}

/// That the memory at `path` is newer than this build, and how one gets back.
pub(super) fn too_new(path: &Path, found: u32) -> StoreError {
    let way_back = match aside::newest(path, SCHEMA.into()) {
        Some(copy) => format!(
            "go back to the copy from before the upgrade, which lacks what came since: ollama-endpoint restore {}",
            copy.display()
        ),
        None => "restore a backup from before the upgrade, or use another DATA_DIR".to_owned(),
    };
    StoreError::Newer { found, known: SCHEMA, way_back }
}

fn set_aside(connection: &Connection, path: &Path, to: &Path) -> Result<(), StoreError> {
    let copied = aside::room(path).map_err(|error| unopened(path, error)).and_then(|()| copy(connection, to));
    copied.map_err(|error| unchanged(to, "no copy could be made before the upgrade", &error))
}

fn is_full(error: &StoreError) -> bool {
    let (StoreError::Open { source, .. } | StoreError::Backend(source)) = error else { return false };
    let cause = source.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
    cause == Some(ErrorCode::DiskFull)
}

fn unchanged(path: &Path, what: &str, error: &StoreError) -> StoreError {
    let why = shared::error::chain(error);
    unopened(
        path,
        format!("{what}, so nothing was changed ({why}); make room there, or go on with the version before"),
    )
}

fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// All at once or not at all.
fn bring_up(connection: &mut Connection, path: &Path, found: u32) -> Result<(), StoreError> {
    match found {
        SCHEMA => Ok(()),
        // What it derived by the rules of then is not what those of today make of the same record.
        3 => remake(connection, path),
        _ => fill(connection, found).map_err(|error| unopened(path, error)),
    }
}

/// Makes the tables of today, and of a record of schema 2 what is in them.
fn fill(connection: &mut Connection, found: u32) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    match found {
        0 => transaction.execute_batch(TABLES)?,
        _ => {
            transaction.execute_batch(FROM_2)?;
            transaction.execute_batch(TABLES)?;
            rebuild::replay(&transaction, "records_2", &transaction)?;
            transaction.execute_batch("DROP TABLE records_2")?;
        }
    }
    transaction.pragma_update(None, "user_version", SCHEMA)?;
    transaction.commit()
}
