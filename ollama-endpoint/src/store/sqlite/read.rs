//! The statements that read.

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use shared::memory::{Source, Trust};

use crate::distil::Draft;
use crate::rank::Candidate;
use crate::store::vectors::{Change, Entry, Vectors, from_bytes};
use crate::store::{Counts, Filter, Stored};

pub(super) fn load_vectors(connection: &Connection) -> rusqlite::Result<Vectors> {
    let mut vectors = Vectors::default();
    let mut statement = connection.prepare(
        "SELECT m.id, m.kind, m.created_at, m.repository, v.model, v.vector
         FROM vectors v JOIN memories m ON m.seq = v.memory_seq ORDER BY v.memory_seq",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let entry = Entry { id: row.get(0)?, kind: row.get(1)?, created_at: timestamp(row, 2)? };
        let vector = from_bytes(row.get_ref(5)?.as_blob()?);
        vectors.apply(Change::Added { model: row.get(4)?, repository: row.get(3)?, entry, vector });
    }
    Ok(vectors)
}

/// The part of a search's `WHERE` that `filter` decides; binds `:repository`, `:kind` and `:as_of`. A repository is
/// compared plainly so that its index is used.
fn passes(filter: &Filter) -> String {
    let repository =
        if filter.repository.is_some() { "m.repository = :repository" } else { ":repository IS NULL" };
    format!(
        "m.indexed AND {repository} AND (:kind IS NULL OR m.kind = :kind) AND (:as_of IS NULL OR m.created_at <= :as_of)"
    )
}

pub(super) fn matching(
    connection: &Connection,
    terms: &[String],
    filter: &Filter,
    limit: usize,
) -> rusqlite::Result<Vec<Candidate>> {
    let quoted: Vec<String> =
        terms.iter().map(|term| format!("\"{}\"", term.replace(['"', '\0'], " "))).collect();
    connection
        .prepare_cached(&format!(
            "SELECT m.id, m.created_at FROM memories_fts JOIN memories m ON m.seq = memories_fts.rowid
             WHERE memories_fts MATCH :terms AND {}
             ORDER BY bm25(memories_fts, 1.0, 0.5), m.seq DESC LIMIT :limit",
            passes(filter)
        ))?
        .query_map(
            named_params! {
                ":terms": quoted.join(" OR "), ":repository": filter.repository, ":kind": filter.kind,
                ":as_of": filter.as_of.map(Timestamp::as_microsecond), ":limit": rows(limit),
            },
            candidate,
        )?
        .collect()
}

pub(super) fn recent(
    connection: &Connection,
    filter: &Filter,
    limit: usize,
) -> rusqlite::Result<Vec<Candidate>> {
    connection
        .prepare_cached(&format!(
            "SELECT m.id, m.created_at FROM memories m WHERE {} ORDER BY m.created_at DESC, m.seq DESC LIMIT :limit",
            passes(filter)
        ))?
        .query_map(
            named_params! {
                ":repository": filter.repository, ":kind": filter.kind,
                ":as_of": filter.as_of.map(Timestamp::as_microsecond), ":limit": rows(limit),
            },
            candidate,
        )?
        .collect()
}

pub(super) fn fetch(connection: &Connection, ids: &[String]) -> rusqlite::Result<Vec<Stored>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {STORED} FROM memories m WHERE m.id = ?"))?;
    ids.iter().filter_map(|id| statement.query_row([id], stored).optional().transpose()).collect()
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

pub(super) fn counts(connection: &Connection, model: &str) -> rusqlite::Result<Counts> {
    let mut counts = Counts::default();
    let count = |sql: &str, parameters: &[&str]| {
        connection
            .query_row(sql, rusqlite::params_from_iter(parameters), |row| row.get::<_, i64>(0))
            .map(i64::unsigned_abs)
    };
    counts.records = count("SELECT count(*) FROM records", &[])?;
    counts.with_vector = count("SELECT count(*) FROM vectors WHERE model = ?", &[model])?;
    counts.rejected = count("SELECT count(*) FROM rejections WHERE model = ?", &[model])?;
    let newest = "SELECT reason FROM rejections WHERE model = ? ORDER BY memory_seq DESC LIMIT 1";
    counts.last_rejection = connection.query_row(newest, [model], |row| row.get(0)).optional()?;
    let mut kinds =
        connection.prepare_cached("SELECT kind, indexed, count(*) FROM memories GROUP BY kind, indexed")?;
    let mut rows = kinds.query([])?;
    while let Some(row) = rows.next()? {
        let memories = row.get::<_, i64>(2)?.unsigned_abs();
        counts.memories += memories;
        counts.indexed += if row.get(1)? { memories } else { 0 };
        *counts.by_kind.entry(row.get(0)?).or_default() += memories;
    }
    Ok(counts)
}

/// The columns that [`stored`] reads.
const STORED: &str = "m.id, m.delivery, m.repository, m.kind, m.text, m.agent, m.branch, m.event, m.url, m.created_at, m.indexed, m.seq, m.trust";

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        id: row.get(0)?,
        delivery: row.get(1)?,
        position: row.get(11)?,
        draft: Draft {
            repository: row.get(2)?,
            kind: row.get(3)?,
            text: row.get(4)?,
            source: Source {
                agent: row.get(5)?,
                branch: row.get(6)?,
                event: row.get(7)?,
                url: row.get(8)?,
                trust: row.get::<_, Option<i64>>(12)?.map(trust),
                ..Source::default()
            },
            created_at: timestamp(row, 9)?,
            indexed: row.get(10)?,
        },
        version: 1,
    })
}

/// The number of a trust, by which the higher one counts.
pub(super) fn rank(trust: Trust) -> i64 {
    match trust {
        Trust::Fork => 0,
        Trust::Member => 1,
        Trust::Maintainer => 2,
    }
}

fn trust(rank: i64) -> Trust {
    match rank {
        1 => Trust::Member,
        2.. => Trust::Maintainer,
        _ => Trust::Fork,
    }
}

fn candidate(row: &Row<'_>) -> rusqlite::Result<Candidate> {
    Ok(Candidate { id: row.get(0)?, created_at: timestamp(row, 1)? })
}

pub(super) fn timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(row.get(column)?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, error.into()))
}

pub(super) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
