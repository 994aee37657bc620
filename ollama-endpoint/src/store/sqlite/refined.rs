//! What models make of memories (better texts, and how two of them relate), and which memory stands or holds because of
//! it. What was found is kept in `derivations` and `judgements`; its effect on `memories` follows from these alone, in
//! whichever order they came.

use rusqlite::{Connection, OptionalExtension, named_params, params};

use super::{index, read};
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
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO derivations (memory_id, kind, text, reason, model, prompt_version) VALUES (?, ?, ?, ?, ?, ?)",
        )?
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
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO judgements (newer, older, relation, judge) VALUES (?, ?, ?, ?)",
        )?
        .execute(params![newer.0, older.0, number(judgement.relation), judgement.by])?;
    match judgement.relation {
        Relation::Different => {}
        Relation::Same => merge(transaction, &newer.0, &older.0)?,
        Relation::Contradicts => {
            if let Some(older) = read::get(transaction, &older.0)? {
                settle(transaction, older.position)?;
            }
        }
    }
    Ok(true)
}

/// Lets the older memory stand for the newer one, and for all that the newer one stood for.
pub(super) fn merge(transaction: &Connection, newer: &str, older: &str) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE memories SET merged_into = root.seq, version = memories.version + 1
             FROM (SELECT coalesce(o.merged_into, o.seq) AS seq, n.seq AS newer FROM memories o, memories n
                   WHERE o.id = :older AND n.id = :newer) AS root
             WHERE (memories.seq = root.newer OR memories.merged_into = root.newer) AND memories.seq <> root.seq",
        )?
        .execute(named_params! {":newer": newer, ":older": older})?;
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
                     SELECT o.seq, o.created_at FROM memories s JOIN memories o
                         ON o.repository = s.repository AND o.thread = s.thread
                         AND (o.created_at, o.id) > (s.created_at, s.id)
                         WHERE s.seq = ?1
                     UNION
                     SELECT o.seq, o.created_at FROM memories s JOIN judgements j ON j.older = s.id AND j.relation = 2
                         JOIN memories o ON o.id = j.newer WHERE s.seq = ?1
                     ORDER BY 2, 1 LIMIT 1) AS first WHERE m.seq = ?1) AS now
             WHERE memories.seq = now.position AND superseded_by IS NOT now.seq",
        )?
        .execute([position])?;
    Ok(())
}

/// A memory is gone: what it stood for stands for itself, and what it contradicted holds again.
pub(super) fn unsettle(transaction: &Connection, gone: i64) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "UPDATE memories SET merged_into = NULL, version = version + 1 WHERE merged_into = ?",
        )?
        .execute([gone])?;
    let superseded: Vec<i64> = transaction
        .prepare_cached("SELECT seq FROM memories WHERE superseded_by = ?")?
        .query_map([gone], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    superseded.into_iter().try_for_each(|position| settle(transaction, position))
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
