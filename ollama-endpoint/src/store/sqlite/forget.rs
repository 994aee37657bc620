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
