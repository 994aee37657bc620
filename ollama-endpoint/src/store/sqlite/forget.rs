//! What forgetting takes: memories, the words of all records that said them, and what those did to others.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::read;
use super::write::{self, Gone};
use crate::store::vectors::Change;
use crate::store::{Audit, Stored};

/// Removes memories and the words of all records that said them, and leaves an audit line for each.
pub(super) fn forget(
    transaction: &Connection,
    ids: &[String],
    audit: &Audit,
    now: Timestamp,
) -> rusqlite::Result<(Vec<Stored>, Vec<Change>)> {
    let (mut forgotten, mut gone) = (Vec::new(), Gone::default());
    let mut wanted: Vec<String> = ids.iter().rev().cloned().collect();
    while let Some(id) = wanted.pop() {
        let Some(memory) = read::get(transaction, &id)? else { continue };
        // Those that it stands for say the same.
        wanted.extend(merged(transaction, memory.position)?);
        let mut deliveries = write::confirmers(transaction, memory.position)?;
        // What one of them says now, beside what it said then.
        wanted.extend(deliveries.iter().map(|delivery| write::memory_id(delivery)));
        deliveries.push(memory.delivery.clone());
        for delivery in &deliveries {
            write::withdraw(transaction, delivery)?;
        }
        write::delete(transaction, &id, &mut gone)?;
        note(transaction, &id, &memory.delivery, &memory.draft.repository, audit, now)?;
        forgotten.push(memory);
    }
    Ok((forgotten, gone.changes))
}

/// What no memory needs that a search finds: it was junk, or was never to be read. What pushes did counts as needed.
const UNNEEDED: &str = "r.body IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM memories m WHERE m.delivery = r.id AND m.indexed)
    AND NOT EXISTS (SELECT 1 FROM confirmations c JOIN memories m ON m.seq = c.memory_seq WHERE c.delivery = r.id AND m.indexed)
    AND NOT EXISTS (SELECT 1 FROM touches t WHERE t.record = (SELECT min(f.seq) FROM records f WHERE f.id = r.id))";

pub(super) fn unneeded(
    connection: &Connection,
    before: Timestamp,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<(i64, String)>> {
    let sql = format!(
        "SELECT r.seq, r.id FROM records r WHERE r.seq > ? AND r.received_at < ? AND {UNNEEDED} ORDER BY r.seq LIMIT ?"
    );
    connection
        .prepare_cached(&sql)?
        .query_map(params![after, before.as_microsecond(), read::rows(limit)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect()
}

/// Takes out the words of deliveries that are still unneeded.
pub(super) fn strip(
    transaction: &Connection,
    deliveries: &[String],
    audit: &Audit,
    now: Timestamp,
) -> rusqlite::Result<(u64, Vec<Change>)> {
    let (mut stripped, mut gone) = (0, Gone::default());
    for delivery in deliveries {
        let unneeded = transaction
            .prepare_cached(&format!("SELECT 1 FROM records r WHERE r.id = ? AND {UNNEEDED}"))?
            .exists([delivery])?;
        if !unneeded {
            continue;
        }
        let id = write::memory_id(delivery);
        let repository =
            read::get(transaction, &id)?.map(|memory| memory.draft.repository).unwrap_or_default();
        write::withdraw(transaction, delivery)?;
        write::delete(transaction, &id, &mut gone)?;
        note(transaction, &id, delivery, &repository, audit, now)?;
        stripped += 1;
    }
    Ok((stripped, write::others_say_it_still(transaction, gone, "")?))
}

/// The first of the memories that nobody has said since a moment, nor anything that they stand for.
pub(super) fn expired(
    connection: &Connection,
    before: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached(
            "SELECT m.id FROM memories m WHERE NOT EXISTS (
                SELECT 1 FROM memories o WHERE (o.seq = m.seq OR o.merged_into = m.seq)
                AND (EXISTS (SELECT 1 FROM records r WHERE r.id = o.delivery AND r.received_at >= ?1)
                    OR EXISTS (SELECT 1 FROM confirmations c JOIN records r ON r.id = c.delivery
                        WHERE c.memory_seq = o.seq AND r.received_at >= ?1)))
             ORDER BY m.seq LIMIT ?2",
        )?
        .query_map(params![before.as_microsecond(), read::rows(limit)], |row| row.get(0))?
        .collect()
}

fn merged(transaction: &Connection, position: i64) -> rusqlite::Result<Vec<String>> {
    transaction
        .prepare_cached("SELECT id FROM memories WHERE merged_into = ? ORDER BY seq DESC")?
        .query_map([position], |row| row.get(0))?
        .collect()
}

/// Leaves an audit line.
fn note(
    transaction: &Connection,
    id: &str,
    delivery: &str,
    repository: &str,
    audit: &Audit,
    now: Timestamp,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO audit (at, memory_id, delivery, repository, who, reason) VALUES (?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![now.as_microsecond(), id, delivery, repository, audit.by, audit.reason])?;
    Ok(())
}
