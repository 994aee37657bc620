//! What pushes did to the code that memories speak of. A memory may come before or after the push that makes it stale, so
//! both look for the other.

use rusqlite::{Connection, params};

use super::read;
use crate::distil::{Touch, Touched};
use crate::staleness;

/// The most touches that one memory is judged by, the latest first.
const MOST_TOUCHES: i64 = 200;

/// The most memories that one push is held against, the latest first.
const MOST_MEMORIES: i64 = 2_000;

/// The name of a file in `mentions` and `touches`; no commit's id begins like that.
pub(super) fn path_name(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}

/// Keeps what a push did, and marks the memories that speak of it.
pub(super) fn touch(transaction: &Connection, repository: &str, touches: &[Touch]) -> rusqlite::Result<()> {
    let mut names = Vec::new();
    for touch in touches {
        let (name, what) = name(&touch.what);
        transaction
            .prepare_cached(
                "INSERT OR IGNORE INTO touches (repository, name, what, commit_id, at, pull_request) VALUES (?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![repository, name, what, touch.commit, touch.at.as_microsecond(), touch.pull_request])?;
        names.push(name);
    }
    names.sort_unstable();
    names.dedup();
    let mut spoken_of = Vec::new();
    for name in names {
        let mut statement = transaction.prepare_cached(
            "SELECT memory_seq FROM mentions WHERE repository = ? AND name = ? ORDER BY memory_seq DESC LIMIT ?",
        )?;
        for position in
            statement.query_map(params![repository, name, MOST_MEMORIES], |row| row.get::<_, i64>(0))?
        {
            spoken_of.push(position?);
        }
    }
    spoken_of.sort_unstable();
    spoken_of.dedup();
    spoken_of.into_iter().try_for_each(|position| judge(transaction, position))
}

/// Marks one memory as stale, if what is known of its code makes it so.
pub(super) fn judge(transaction: &Connection, position: i64) -> rusqlite::Result<()> {
    let Some(memory) = read::at(transaction, position)?.filter(|memory| memory.draft.indexed) else {
        return Ok(());
    };
    let touches: Vec<Touch> = transaction
        .prepare_cached(
            "SELECT t.name, t.what, t.commit_id, t.at, t.pull_request
             FROM mentions m JOIN touches t ON t.repository = m.repository AND t.name = m.name
             WHERE m.memory_seq = ? AND t.at > ? ORDER BY t.at DESC, t.commit_id LIMIT ?",
        )?
        .query_map(params![position, memory.draft.created_at.as_microsecond(), MOST_TOUCHES], |row| {
            Ok(Touch {
                what: what(row.get(0)?, row.get(1)?),
                commit: row.get(2)?,
                at: read::timestamp(row, 3)?,
                pull_request: row.get(4)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let stale = staleness::standing(&memory.draft, &touches);
    if stale != memory.stale {
        let (level, reason) = stale.map_or((0, None), |stale| (stale.level, Some(stale.reason)));
        transaction
            .prepare_cached(
                "UPDATE memories SET stale = ?, stale_reason = ?, version = version + 1 WHERE seq = ?",
            )?
            .execute(params![level, reason, position])?;
    }
    Ok(())
}

fn name(what: &Touched) -> (String, u8) {
    match what {
        Touched::Changed(path) => (path_name(path), 1),
        Touched::Removed(path) => (path_name(path), 2),
        Touched::Reverted(commit) => (commit.clone(), 3),
    }
}

fn what(name: String, what: u8) -> Touched {
    let path = |name: String| name.trim_start_matches('/').to_owned();
    match what {
        1 => Touched::Changed(path(name)),
        2 => Touched::Removed(path(name)),
        _ => Touched::Reverted(name),
    }
}
