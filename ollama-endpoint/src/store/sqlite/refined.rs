//! What models make of memories (better texts, and how two of them relate), and which memory stands or holds because of
//! it. What was found is kept in `derivations` and `judgements`; its effect on `memories` follows from these alone, in
//! whichever order they came.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::{index, read, stale};
use crate::store::vectors::Change;
use crate::store::{Judgement, Refined, Relation};

/// Keeps what a model made of a memory's text. `None`: the memory has changed since that version.
pub(super) fn keep(
    transaction: &Connection,
    id: &str,
    version: u32,
    refined: &Refined,
) -> rusqlite::Result<(bool, Vec<Change>)> {
    if !is_version(transaction, id, version)? {
        return Ok((false, Vec::new()));
    }
    let (kind, text, reason, model, prompt_version) = match refined {
        Refined::Text { kind, text, model, prompt_version } => {
            (Some(kind), Some(text), None, model, prompt_version)
        }
        Refined::Rejected { reason, model, prompt_version } => {
            (None, None, Some(reason), model, prompt_version)
        }
    };
    // A text that could be used is not lost to one that cannot.
    let instead = if text.is_some() { "REPLACE" } else { "IGNORE" };
    transaction
        .prepare_cached(&format!(
            "INSERT OR {instead} INTO derivations (memory_id, kind, text, reason, model, prompt_version) VALUES (?, ?, ?, ?, ?, ?)"
        ))?
        .execute(params![id, kind, text, reason, model, prompt_version])?;
    Ok((true, apply(transaction, id)?))
}

/// Brings a memory's text up to date with what a model made of it.
pub(super) fn apply(transaction: &Connection, id: &str) -> rusqlite::Result<Vec<Change>> {
    let Some(memory) = read::get(transaction, id)? else { return Ok(Vec::new()) };
    let changed = transaction
        .prepare_cached(
            "UPDATE memories SET refined = 1, version = version + 1, kind = d.kind, template = coalesce(template, memories.text),
                text = d.text, model = d.model, prompt_version = d.prompt_version
             FROM derivations d WHERE d.memory_id = memories.id AND memories.id = ? AND d.text IS NOT NULL",
        )?
        .execute([id])?;
    if changed == 0 {
        transaction.prepare_cached("UPDATE memories SET refined = 1 WHERE id = ?")?.execute([id])?;
        return Ok(Vec::new());
    }
    let Some(refined) = read::get(transaction, id)? else { return Ok(Vec::new()) };
    if refined.draft.indexed {
        index::insert(transaction, refined.position, &refined.draft, refined.template.as_deref())?;
    }
    // Another kind of memory may outlive a change of its files.
    stale::judge(transaction, refined.position)?;
    // What was embedded is not what it says now.
    transaction.prepare_cached("DELETE FROM vectors WHERE memory_seq = ?")?.execute([memory.position])?;
    transaction.prepare_cached("DELETE FROM rejections WHERE memory_seq = ?")?.execute([memory.position])?;
    Ok(vec![Change::Removed { repository: memory.draft.repository, position: memory.position }])
}

/// Keeps how two memories relate. `false`: one of them has changed since that version.
pub(super) fn judge(
    transaction: &Connection,
    newer: &(String, u32),
    older: &(String, u32),
    judgement: &Judgement,
) -> rusqlite::Result<bool> {
    if !is_version(transaction, &newer.0, newer.1)? || !is_version(transaction, &older.0, older.1)? {
        return Ok(false);
    }
    let before: Option<u8> = transaction
        .prepare_cached("SELECT relation FROM judgements WHERE newer = ? AND older = ?")?
        .query_row([&newer.0, &older.0], |row| row.get(0))
        .optional()?;
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO judgements (newer, older, relation, judge) VALUES (?, ?, ?, ?)",
        )?
        .execute(params![newer.0, older.0, number(judgement.relation), judgement.by])?;
    // Most are different and were never anything else.
    if before.unwrap_or_default() != number(judgement.relation) {
        weigh(transaction, &newer.0, &older.0)?;
    }
    Ok(true)
}

/// Brings two memories up to date with how they relate.
pub(super) fn weigh(transaction: &Connection, newer: &str, older: &str) -> rusqlite::Result<()> {
    let (Some(newer), Some(older)) = (read::get(transaction, newer)?, read::get(transaction, older)?) else {
        return Ok(());
    };
    let mut group = group(transaction, newer.position)?;
    group.extend(self::group(transaction, older.position)?);
    regroup(transaction, group)?;
    settle(transaction, older.position)
}

/// The memories that one of them stands for, and that one.
fn group(transaction: &Connection, position: i64) -> rusqlite::Result<BTreeSet<i64>> {
    transaction
        .prepare_cached(
            "SELECT g.seq FROM memories m JOIN memories g ON g.seq = coalesce(m.merged_into, m.seq) WHERE m.seq = ?1 UNION
             SELECT g.seq FROM memories m JOIN memories g ON g.merged_into = coalesce(m.merged_into, m.seq) WHERE m.seq = ?1",
        )?
        .query_map([position], |row| row.get(0))?
        .collect()
}

/// Of memories that were judged to say the same, directly or by way of others, the one that was said first stands for all.
/// `positions` are whole groups.
fn regroup(transaction: &Connection, mut positions: BTreeSet<i64>) -> rusqlite::Result<()> {
    let mut root = transaction.prepare_cached(
        "WITH RECURSIVE same (id, seq, created_at) AS (
            SELECT id, seq, created_at FROM memories WHERE seq = ? UNION
            SELECT m.id, m.seq, m.created_at FROM same s JOIN judgements j ON j.newer = s.id AND j.relation = 1
                JOIN memories m ON m.id = j.older UNION
            SELECT m.id, m.seq, m.created_at FROM same s JOIN judgements j ON j.older = s.id AND j.relation = 1
                JOIN memories m ON m.id = j.newer)
         SELECT seq FROM same ORDER BY created_at, id",
    )?;
    let mut merge = transaction.prepare_cached(
        "UPDATE memories SET merged_into = ?2, version = version + 1 WHERE seq = ?1 AND merged_into IS NOT ?2",
    )?;
    while let Some(position) = positions.first().copied() {
        let same: Vec<i64> =
            root.query_map([position], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let first = same.first().copied();
        for position in same {
            merge.execute(params![position, first.filter(|first| *first != position)])?;
            positions.remove(&position);
        }
        positions.remove(&position);
    }
    Ok(())
}

/// Marks what an inserted memory makes obsolete in its thread, and itself if it is not the latest there.
pub(super) fn settle_thread(transaction: &Connection, position: i64) -> rusqlite::Result<()> {
    let others: Vec<i64> = transaction
        .prepare_cached(
            "SELECT o.seq FROM memories m JOIN memories o ON o.repository = m.repository AND o.thread = m.thread
             WHERE m.seq = ?",
        )?
        .query_map([position], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    if others.len() > 1 {
        for position in others {
            settle(transaction, position)?;
        }
    }
    Ok(())
}

/// A memory holds until the first later one of its thread, or the first that contradicts it.
pub(super) fn settle(transaction: &Connection, position: i64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE memories SET superseded_by = now.seq, superseded_at = now.at, version = version + 1
             FROM (SELECT m.seq AS position, first.seq, first.created_at AS at FROM memories m LEFT JOIN (
                     SELECT o.seq, o.created_at, o.id FROM memories s JOIN memories o
                         ON o.repository = s.repository AND o.thread = s.thread
                         AND (o.created_at, o.id) > (s.created_at, s.id)
                         WHERE s.seq = ?1
                     UNION
                     SELECT o.seq, o.created_at, o.id FROM memories s JOIN judgements j ON j.older = s.id AND j.relation = 2
                         JOIN memories o ON o.id = j.newer WHERE s.seq = ?1
                     ORDER BY 2, 3 LIMIT 1) AS first WHERE m.seq = ?1) AS now
             WHERE memories.seq = now.position AND superseded_by IS NOT now.seq",
        )?
        .execute([position])?;
    Ok(())
}

/// What a memory leaves behind when it goes.
#[derive(Debug)]
pub(super) struct Left {
    group: BTreeSet<i64>,
    superseded: Vec<i64>,
}

/// Takes back all that is known of a memory which is about to go.
pub(super) fn leave(transaction: &Connection, id: &str, position: i64) -> rusqlite::Result<Left> {
    let mut group = group(transaction, position)?;
    group.remove(&position);
    let superseded = transaction
        .prepare_cached("SELECT seq FROM memories WHERE superseded_by = ?")?
        .query_map([position], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    transaction.prepare_cached("DELETE FROM derivations WHERE memory_id = ?")?.execute([id])?;
    transaction.prepare_cached("DELETE FROM judgements WHERE newer = ?")?.execute([id])?;
    transaction.prepare_cached("DELETE FROM judgements WHERE older = ?")?.execute([id])?;
    Ok(Left { group, superseded })
}

/// It is gone: what it stood for stands for itself, or for others, and what it contradicted holds again.
pub(super) fn resettle(transaction: &Connection, left: Left) -> rusqlite::Result<()> {
    regroup(transaction, left.group)?;
    left.superseded.into_iter().try_for_each(|position| settle(transaction, position))
}

fn is_version(transaction: &Connection, id: &str, version: u32) -> rusqlite::Result<bool> {
    let found: Option<u32> = transaction
        .prepare_cached("SELECT version FROM memories WHERE id = ?")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    Ok(found == Some(version))
}

pub(super) fn number(relation: Relation) -> u8 {
    match relation {
        Relation::Different => 0,
        Relation::Same => 1,
        Relation::Contradicts => 2,
    }
}

/// The relation that a number stands for.
pub(super) fn relation(number: u8) -> Relation {
    match number {
        0 => Relation::Different,
        1 => Relation::Same,
        _ => Relation::Contradicts,
    }
}
