//! A quick look at the memory's file, for a doctor: a service may go on working with it. [`check`](super::check()) looks at
//! all of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::files::open_present;
use crate::store::{StoreError, VectorModel};

/// SQLite's instructions between two looks at the time.
const STEPS: i32 = 10_000;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glance {
    /// What SQLite finds wrong with the file's structure; `None`: nothing, as far as was looked.
    pub damage: Option<String>,
    /// Whether the time was enough to look all of it through.
    pub looked_through: bool,
    /// Memories.
    pub memories: u64,
    /// Whose vectors there are.
    pub models: Vec<VectorModel>,
}

/// Looks at the memory at `path`, for damage no longer than `time`.
///
/// # Errors
/// There is no memory, it is of another version, or it cannot be read.
pub fn glance(path: &Path, time: Duration) -> Result<Glance, StoreError> {
    let failed = |error: rusqlite::Error| StoreError::Backend(error.into());
    let mut connection = open_present(path)?;
    let memories =
        connection.query_row("SELECT count(*) FROM memories", [], |row| row.get(0)).map_err(failed)?;
    let models = models(&connection).map_err(failed)?;
    let (late, until) = (Arc::new(AtomicBool::new(false)), Instant::now() + time);
    let stop = Arc::clone(&late);
    let out_of_time = move || {
        let late = Instant::now() > until;
        stop.fetch_or(late, Ordering::Relaxed);
        late
    };
    connection.progress_handler(STEPS, Some(out_of_time)).map_err(failed)?;
    let found: rusqlite::Result<String> = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    let looked_through = !late.load(Ordering::Relaxed);
    let damage = match found {
        Ok(found) => (found != "ok").then_some(found),
        Err(_) if !looked_through => None,
        Err(error) => Some(error.to_string()),
    };
    Ok(Glance { damage, looked_through, memories, models })
}

fn models(connection: &rusqlite::Connection) -> rusqlite::Result<Vec<VectorModel>> {
    let mut statement = connection.prepare(
        "SELECT model, dimensions, count(*) FROM vectors GROUP BY model, dimensions ORDER BY 3 DESC",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(VectorModel { model: row.get(0)?, dimensions: row.get(1)?, vectors: row.get(2)? })
    })?;
    rows.collect()
}
