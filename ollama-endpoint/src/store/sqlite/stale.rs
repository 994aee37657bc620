//! What pushes did to the code that memories speak of. A memory may come before or after the push that makes it stale, so
//! both look for the other.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};

use super::read;
use crate::distil::{Touch, Touched};
use crate::staleness::{self, Level};

/// The most touches that one memory is judged by, the latest first.
const MOST_TOUCHES: i64 = 200;

/// The number of a taking back in `touches`.
const REVERTED: u8 = 3;

/// The most memories that one push is held against, the latest first.
pub(super) const MOST_MEMORIES: i64 = 2_000;

/// The name of a file in `mentions` and `touches`; no commit's name begins like that.
pub(super) fn path_name(path: &str) -> String {
    format!("/{}", path.trim_start_matches('/'))
}

/// The name of a commit there: it may be quoted by its first digits.
pub(super) fn commit_name(commit: &str) -> String {
    commit.get(..7).unwrap_or(commit).to_lowercase()
}

/// Keeps what a push did, and marks the memories that speak of it.
pub(super) fn touch(
    transaction: &Connection,
    delivery: &str,
    repository: &str,
    touches: &[Touch],
) -> rusqlite::Result<()> {
    if touches.is_empty() {
        return Ok(());
    }
    let record = first_line(transaction, delivery)?;
    let mut touched = Vec::new();
    for touch in touches {
        let (names, subject, what) = named(&touch.what);
        for name in names {
            transaction
                .prepare_cached(
                    "INSERT OR IGNORE INTO touches (repository, name, subject, what, commit_id, at, pull_request, record)
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                )?
                .execute(params![
                    repository, name, subject, what, touch.commit, touch.at.as_microsecond(), touch.pull_request,
                    record
                ])?;
            touched.push(name);
        }
        // What takes a taking back back.
        touched.extend((what == REVERTED).then(|| commit_name(&touch.commit)));
    }
    spoken_of(transaction, repository, touched)?
        .into_iter()
        .try_for_each(|position| judge(transaction, position))
}

/// Forgets what a delivery's push did.
pub(super) fn untouch(transaction: &Connection, delivery: &str) -> rusqlite::Result<()> {
    let Some(record) = first_line(transaction, delivery)? else { return Ok(()) };
    let mut touched: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut statement = transaction
        .prepare_cached("DELETE FROM touches WHERE record = ? RETURNING repository, name, what, commit_id")?;
    let mut rows = statement.query([record])?;
    while let Some(row) = rows.next()? {
        let names = touched.entry(row.get(0)?).or_default();
        names.push(row.get(1)?);
        if row.get::<_, u8>(2)? == REVERTED {
            names.push(commit_name(row.get_ref(3)?.as_str()?));
        }
    }
    for (repository, names) in touched {
        for position in spoken_of(transaction, &repository, names)? {
            judge(transaction, position)?;
        }
    }
    Ok(())
}

/// By which the touches of a delivery are known.
fn first_line(transaction: &Connection, delivery: &str) -> rusqlite::Result<Option<i64>> {
    transaction
        .prepare_cached("SELECT min(seq) FROM records WHERE id = ?")?
        .query_row([delivery], |row| row.get(0))
}

/// The memories that speak of any of these names, or of a commit that one of them took back.
fn spoken_of(
    transaction: &Connection,
    repository: &str,
    mut names: Vec<String>,
) -> rusqlite::Result<BTreeSet<i64>> {
    let mut reverted = transaction
        .prepare_cached("SELECT t.name FROM touches t WHERE t.repository = ? AND t.what = 3 AND substr(t.commit_id, 1, 7) = ?")?;
    for name in names.clone().iter().filter(|name| !name.starts_with('/')) {
        for name in reverted.query_map(params![repository, name], |row| row.get(0))? {
            names.push(name?);
        }
    }
    let mut mentioned = transaction.prepare_cached(
        "SELECT memory_seq FROM mentions WHERE repository = ? AND name = ? ORDER BY memory_seq DESC LIMIT ?",
    )?;
    let mut positions = BTreeSet::new();
    for name in names {
        for position in mentioned.query_map(params![repository, name, MOST_MEMORIES], |row| row.get(0))? {
            positions.insert(position?);
        }
    }
    Ok(positions)
}

/// Marks one memory as stale, if what is known of its code makes it so.
pub(super) fn judge(transaction: &Connection, position: i64) -> rusqlite::Result<()> {
    let Some(memory) = read::at(transaction, position)?.filter(|memory| memory.draft.indexed) else {
        return Ok(());
    };
    let touches: Vec<Touch> = transaction
        .prepare_cached(
            "WITH direct AS (
                SELECT t.* FROM mentions m JOIN touches t ON t.repository = m.repository AND t.name = m.name
                WHERE m.memory_seq = ?1)
             SELECT subject, what, commit_id, at, pull_request FROM (
                SELECT subject, what, commit_id, at, pull_request FROM direct UNION
                SELECT t.subject, t.what, t.commit_id, t.at, t.pull_request FROM direct d JOIN touches t
                    ON d.what = 3 AND t.repository = d.repository AND t.name = lower(substr(d.commit_id, 1, 7)))
             WHERE at > ?2 ORDER BY at DESC, commit_id, subject LIMIT ?3",
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
        let (level, reason) = stale.map_or((0, None), |stale| (number(stale.level), Some(stale.reason)));
        transaction
            .prepare_cached(
                "UPDATE memories SET stale = ?, stale_reason = ?, version = version + 1 WHERE seq = ?",
            )?
            .execute(params![level, reason, position])?;
    }
    Ok(())
}

/// All names that a memory may have for it: a file is also known by the end of its path, with a folder at least.
fn named(what: &Touched) -> (Vec<String>, &str, u8) {
    let ends = |path: &str| {
        let starts = std::iter::once(0).chain(path.match_indices('/').map(|(at, _)| at + 1));
        let ends =
            starts.filter_map(|at| path.get(at..)).filter(|end| end.len() == path.len() || end.contains('/'));
        ends.map(path_name).collect()
    };
    match what {
        Touched::Changed(path) => (ends(path), path, 1),
        Touched::Removed(path) => (ends(path), path, 2),
        Touched::Reverted(commit) => (vec![commit_name(commit)], commit, REVERTED),
    }
}

fn what(subject: String, what: u8) -> Touched {
    match what {
        1 => Touched::Changed(subject),
        2 => Touched::Removed(subject),
        _ => Touched::Reverted(subject),
    }
}

fn number(level: Level) -> u8 {
    match level {
        Level::Changed => 1,
        Level::Thinned => 2,
        Level::Gone => 3,
        Level::Reverted => 4,
    }
}

/// The level that a number stands for; 0 is none.
pub(super) fn level(number: u8) -> Option<Level> {
    Some(match number {
        0 => return None,
        1 => Level::Changed,
        2 => Level::Thinned,
        3 => Level::Gone,
        _ => Level::Reverted,
    })
}
