//! The statements about vectors.

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::read::{STORED, rows, stored};
use super::search::candidate_at;
use crate::rank::Candidate;
use crate::store::vectors::{Change, Entry, Near, Vectors, dot, from_bytes, to_bytes};
use crate::store::{Embedding, Filter, Stored};

/// All vectors, for the scan.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Vectors> {
    let mut vectors = Vectors::default();
    let mut statement = connection.prepare(
        "SELECT v.id, v.memory_seq, m.repository, v.model, v.vector
         FROM vectors v JOIN memories m ON m.seq = v.memory_seq ORDER BY v.id",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let entry = Entry { row: row.get(0)?, position: row.get(1)? };
        let vector = from_bytes(row.get_ref(4)?.as_blob()?);
        vectors.apply(Change::Added { model: row.get(3)?, repository: row.get(2)?, entry, vector });
    }
    Ok(vectors)
}

/// What the scan found near, in the exact order: by the vectors as they are stored.
pub(super) fn rescored(
    connection: &Connection,
    near: &[Near],
    query: &[f32],
    filter: &Filter,
    limit: usize,
) -> rusqlite::Result<Vec<Candidate>> {
    let mut statement = connection.prepare_cached("SELECT vector FROM vectors WHERE id = ?")?;
    let mut scored = Vec::with_capacity(near.len());
    for Near { entry, .. } in near {
        // One that was deleted since the scan is missing.
        let cosine = statement
            .query_row([entry.row], |row| Ok(dot(query, &from_bytes(row.get_ref(0)?.as_blob()?))))
            .optional()?;
        scored.extend(cosine.map(|cosine| (entry.position, cosine)));
    }
    scored.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut candidates = Vec::with_capacity(limit);
    for (position, cosine) in scored.into_iter().take(limit) {
        candidates.extend(candidate_at(connection, position, f64::from(cosine), filter)?);
    }
    Ok(candidates)
}

pub(super) fn vector(
    connection: &Connection,
    position: i64,
    model: &str,
) -> rusqlite::Result<Option<Vec<f32>>> {
    connection
        .prepare_cached("SELECT vector FROM vectors WHERE memory_seq = ? AND model = ?")?
        .query_row(params![position, model], |row| Ok(from_bytes(row.get_ref(0)?.as_blob()?)))
        .optional()
}

pub(super) fn unembedded(
    connection: &Connection,
    model: &str,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<Stored>> {
    connection
        .prepare_cached(&format!(
            "SELECT {STORED} FROM memories m WHERE m.seq > ?2 AND m.indexed
                AND NOT EXISTS (SELECT 1 FROM vectors v WHERE v.memory_seq = m.seq AND v.model = ?1)
                AND NOT EXISTS (SELECT 1 FROM rejections r WHERE r.memory_seq = m.seq AND r.model = ?1)
             ORDER BY m.seq LIMIT ?3"
        ))?
        .query_map(params![model, after, rows(limit)], stored)?
        .collect()
}

pub(super) fn keep(
    transaction: &Connection,
    model: &str,
    embeddings: Vec<(i64, u32, Embedding)>,
) -> rusqlite::Result<((), Vec<Change>)> {
    let mut changes = Vec::new();
    for (position, version, embedding) in embeddings {
        let memory = transaction
            .prepare_cached("SELECT repository, text FROM memories WHERE seq = ? AND version = ?")?
            .query_row(params![position, version], |row| Ok((row.get(0)?, words(row.get_ref(1)?.as_str()?))))
            .optional()?;
        let Some((repository, words)) = memory else { continue };
        let cut = matches!(embedding, Embedding::Cut(_));
        match embedding {
            Embedding::Vector(vector) | Embedding::Cut(vector) => {
                transaction
                    .prepare_cached("INSERT OR REPLACE INTO vectors (memory_seq, model, dimensions, words, cut, vector) VALUES (?, ?, ?, ?, ?, ?)")?
                    .execute(params![position, model, rows(vector.len()), words, cut, to_bytes(&vector)])?;
                let entry = Entry { row: transaction.last_insert_rowid(), position };
                changes.push(Change::Added { model: model.to_owned(), repository, entry, vector });
            }
            Embedding::Rejected(reason) => {
                transaction
                    .prepare_cached(
                        "INSERT OR REPLACE INTO rejections (memory_seq, model, reason) VALUES (?, ?, ?)",
                    )?
                    .execute(params![position, model, reason])?;
            }
        }
    }
    Ok(((), changes))
}

/// Whether a vector has norm 1, as far as such numbers can tell.
pub(super) fn is_unit(vector: &[f32]) -> bool {
    (dot(vector, vector).sqrt() - 1.0).abs() < 1e-3
}

/// What tells one text from another, to know which one a vector is of.
pub(super) fn words(text: &str) -> i64 {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).fold(0, |number, byte| number << 8 | i64::from(*byte))
}

pub(super) fn forget(transaction: &Connection, model: String) -> rusqlite::Result<((), Vec<Change>)> {
    transaction.execute("DELETE FROM vectors WHERE model = ?", [&model])?;
    transaction.execute("DELETE FROM rejections WHERE model = ?", [&model])?;
    Ok(((), vec![Change::Forgotten { model }]))
}
