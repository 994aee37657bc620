//! Taking in what was exported, here or elsewhere.

use rusqlite::{Connection, OptionalExtension, params};

use super::{record, refined, write};
use crate::store::portable::{Audited, Derived, Imported, Judged, Line, Recorded, Words, short};
use crate::store::vectors::Change;

/// Takes lines in. What is there already stays as it is, and what was forgotten here stays forgotten.
pub(super) fn import(transaction: &Connection, lines: &[Line]) -> rusqlite::Result<(Imported, Vec<Change>)> {
    let (mut imported, mut changes) = (Imported::default(), Vec::new());
    for line in lines {
        match line {
            Line::Record(line) => imported.records.count(recorded(transaction, line, &mut changes)?),
            Line::Derivation(line) => imported.derivations.count(derived(transaction, line, &mut changes)?),
            Line::Judgement(line) => imported.judgements.count(judged(transaction, line)?),
            Line::Audit(line) => imported.audit.count(audited(transaction, line)?),
            Line::Memory(_) | Line::End(_) => {}
        }
    }
    Ok((imported, changes))
}

fn recorded(transaction: &Connection, line: &Recorded, changes: &mut Vec<Change>) -> rusqlite::Result<bool> {
    let at = line.received_at.as_microsecond();
    let words = line.words().map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let body = match words {
        Words::Forgotten(digest) => return record::append_line(transaction, &line.id, &digest, at, None),
        Words::Body(body) => body,
    };
    if !record::append(transaction, &line.id, at, &body)? {
        return Ok(false);
    }
    if let Some(distilled) = record::distilled(&line.id, &body, line.received_at) {
        changes.extend(write::make(transaction, &line.id, &distilled)?.1);
    }
    Ok(true)
}

fn derived(transaction: &Connection, line: &Derived, changes: &mut Vec<Change>) -> rusqlite::Result<bool> {
    if !has_words(transaction, &line.memory, &line.of)? {
        return Ok(false);
    }
    let added = transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO derivations (memory_id, kind, text, reason, model, prompt_version) VALUES (?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            line.memory,
            line.kind,
            line.text,
            line.reason,
            line.model,
            line.prompt_version
        ])?;
    if added > 0 {
        changes.extend(refined::apply(transaction, &line.memory)?);
    }
    Ok(added > 0)
}

fn judged(transaction: &Connection, line: &Judged) -> rusqlite::Result<bool> {
    if !has_words(transaction, &line.newer, &line.newer_of)?
        || !has_words(transaction, &line.older, &line.older_of)?
    {
        return Ok(false);
    }
    let added = transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO judgements (newer, older, relation, judge) VALUES (?, ?, ?, ?)",
        )?
        .execute(params![line.newer, line.older, refined::number(line.relation), line.by])?;
    if added > 0 {
        refined::weigh(transaction, &line.newer, &line.older)?;
    }
    Ok(added > 0)
}

/// A line that was written elsewhere is a copy if all of it is the same.
fn audited(transaction: &Connection, line: &Audited) -> rusqlite::Result<bool> {
    let added = transaction
        .prepare_cached(
            "INSERT INTO audit (at, memory_id, delivery, repository, who, reason)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS (
                SELECT 1 FROM audit WHERE memory_id = ?2 AND at = ?1 AND delivery = ?3 AND repository = ?4 AND who = ?5
                    AND reason = ?6)",
        )?
        .execute(params![
            line.at.as_microsecond(),
            line.memory,
            line.delivery,
            line.repository,
            line.by,
            line.reason
        ])?;
    Ok(added > 0)
}

/// Whether a memory is there and has the words that a line speaks of.
fn has_words(connection: &Connection, id: &str, of: &str) -> rusqlite::Result<bool> {
    let found = connection
        .prepare_cached("SELECT digest FROM memories WHERE id = ?")?
        .query_row([id], |row| Ok(short(row.get_ref(0)?.as_blob()?)))
        .optional()?;
    Ok(found.as_deref() == Some(of))
}
