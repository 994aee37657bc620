//! The schema, and how older ones are brought up to date: the records are kept, and all else is made of them again.

use std::path::{Path, PathBuf};

use queue::{aside, wal};
use rusqlite::Connection;

use super::files::{copy, unopened};
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

/// What confirmed a memory is known by where it was said; `reindex` finds that out for what is there already.
const FROM_3: &str = "
    ALTER TABLE confirmations ADD COLUMN url TEXT;
    ALTER TABLE confirmations ADD COLUMN event TEXT;
    CREATE INDEX confirmations_url ON confirmations (url, event);";

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
    if (1..SCHEMA).contains(&found) {
        let copy = set_aside(connection, path, found)?;
        tracing::info!(from = found, to = SCHEMA, copy = %copy.display(), "upgrading the memory");
    }
    bring_up(connection, found).map_err(failed)?;
    aside::clear(path);
    Ok(())
}

/// Brings the memory at `path` up to date, which is a copy itself. What is wrong with a damaged one is for others to say.
pub(super) fn upgrade_copy(path: &Path) -> rusqlite::Result<()> {
    match Connection::open(path).and_then(|copy| version(&copy)) {
        Ok(found) if (1..SCHEMA).contains(&found) => {
            let mut copy = open_writer(path)?;
            wal::stays(&copy, false)?;
            bring_up(&mut copy, found)
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

fn set_aside(connection: &Connection, path: &Path, found: u32) -> Result<PathBuf, StoreError> {
    let aside = aside::place(path, found.into());
    match copy(connection, &aside) {
        Ok(()) => Ok(aside),
        Err(error) => {
            let why = shared::error::chain(&error);
            Err(unopened(
                &aside,
                format!(
                    "no copy could be made before the upgrade, so nothing was changed ({why}); make room there, or go on with the version before"
                ),
            ))
        }
    }
}

fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// All at once or not at all.
fn bring_up(connection: &mut Connection, found: u32) -> rusqlite::Result<()> {
    if found >= SCHEMA {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    match found {
        0 => transaction.execute_batch(TABLES)?,
        3 => transaction.execute_batch(FROM_3)?,
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
