//! The statements that read memories.

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use shared::memory::{Source, Trust};

use crate::distil::Draft;
use crate::staleness::Stale;
use crate::store::{Counts, Stored};

/// As many digits of an id are told where there is little room.
const SHORTEST_ID: usize = 8;

/// The memories at these positions, in that order.
pub(super) fn fetch(connection: &Connection, positions: &[i64]) -> rusqlite::Result<Vec<Stored>> {
    positions.iter().filter_map(|position| at(connection, *position).transpose()).collect()
}

pub(super) fn at(connection: &Connection, position: i64) -> rusqlite::Result<Option<Stored>> {
    connection
        .prepare_cached(&format!("SELECT {STORED} FROM memories m WHERE m.seq = ?"))?
        .query_row([position], stored)
        .optional()
}

/// The memory of this id, or the only one whose id begins with it, if that is long enough not to be a mistake.
pub(super) fn named(connection: &Connection, id: &str) -> rusqlite::Result<Option<Stored>> {
    if let Some(found) = get(connection, id)? {
        return Ok(Some(found));
    }
    if id.len() < SHORTEST_ID || !id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let mut found: Vec<Stored> = connection
        .prepare_cached(&format!(
            "SELECT {STORED} FROM memories m WHERE m.id >= ?1 AND m.id < ?1 || 'g' LIMIT 2"
        ))?
        .query_map([id], stored)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(found.pop().filter(|_| found.is_empty()))
}

pub(super) fn get(connection: &Connection, id: &str) -> rusqlite::Result<Option<Stored>> {
    connection
        .prepare_cached(&format!("SELECT {STORED} FROM memories m WHERE m.id = ?"))?
        .query_row([id], stored)
        .optional()
}

pub(super) fn ids(connection: &Connection, repository: &str, limit: usize) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached("SELECT id FROM memories WHERE repository = ? ORDER BY seq LIMIT ?")?
        .query_map(params![repository, rows(limit)], |row| row.get(0))?
        .collect()
}

pub(super) fn unrefined(connection: &Connection, after: i64, limit: usize) -> rusqlite::Result<Vec<Stored>> {
    waiting(connection, "m.refined = 0", after, limit)
}

/// Of those that a model has had its turn with: its text is what is compared.
pub(super) fn uncompared(connection: &Connection, after: i64, limit: usize) -> rusqlite::Result<Vec<Stored>> {
    waiting(connection, "m.compared = 0", after, limit)
}

pub(super) fn judged(connection: &Connection, id: &str) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached("SELECT older FROM judgements WHERE newer = ?")?
        .query_map([id], |row| row.get(0))?
        .collect()
}

fn waiting(connection: &Connection, what: &str, after: i64, limit: usize) -> rusqlite::Result<Vec<Stored>> {
    connection
        .prepare_cached(&format!(
            "SELECT {STORED} FROM memories m WHERE {what} AND m.indexed AND m.seq > ? ORDER BY m.seq LIMIT ?"
        ))?
        .query_map(params![after, rows(limit)], stored)?
        .collect()
}

pub(super) fn counts(connection: &Connection, model: &str) -> rusqlite::Result<Counts> {
    let mut counts = Counts::default();
    let count = |sql: &str, parameters: &[&str]| {
        connection
            .prepare_cached(sql)?
            .query_row(rusqlite::params_from_iter(parameters), |row| row.get::<_, i64>(0))
            .map(i64::unsigned_abs)
    };
    counts.records = count("SELECT count(*) FROM records", &[])?;
    counts.with_vector = count("SELECT count(*) FROM vectors WHERE model = ?", &[model])?;
    counts.cut = count("SELECT count(*) FROM vectors WHERE model = ? AND cut", &[model])?;
    counts.rejected = count("SELECT count(*) FROM rejections WHERE model = ?", &[model])?;
    counts.superseded = count("SELECT count(*) FROM memories WHERE superseded_by IS NOT NULL", &[])?;
    counts.merged = count("SELECT count(*) FROM memories WHERE merged_into IS NOT NULL", &[])?;
    counts.stale = count("SELECT count(*) FROM memories WHERE stale > 0", &[])?;
    counts.unrefined = count("SELECT count(*) FROM memories WHERE refined = 0", &[])?;
    counts.uncompared = count("SELECT count(*) FROM memories WHERE compared = 0", &[])?;
    counts.refined = count("SELECT count(*) FROM derivations WHERE text IS NOT NULL", &[])?;
    counts.unrefinable = count("SELECT count(*) FROM derivations WHERE text IS NULL", &[])?;
    counts.forgotten = count("SELECT count(*) FROM audit", &[])?;
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

/// The columns that [`stored`] reads. What somebody of the project says gains by that, whoever said it first.
pub(super) const STORED: &str = "m.id, m.seq, m.version, m.delivery, m.repository, m.kind, m.text, m.created_at, m.indexed, \
    m.agent, m.author, m.branch, m.event, m.url, m.pull_request, \
    max(m.trust, coalesce((SELECT max(c.trust) FROM confirmations c WHERE c.memory_seq = m.seq), m.trust)), m.model, m.prompt_version, m.commits, m.paths, \
    m.template, m.stale, m.stale_reason, \
    (SELECT s.id FROM memories s WHERE s.seq = m.superseded_by), \
    (SELECT s.id FROM memories s WHERE s.seq = m.merged_into), \
    (SELECT count(*) FROM confirmations c WHERE c.memory_seq = m.seq)";

pub(super) fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let (level, reason): (u8, Option<String>) = (row.get(21)?, row.get(22)?);
    Ok(Stored {
        id: row.get(0)?,
        position: row.get(1)?,
        version: row.get(2)?,
        delivery: row.get(3)?,
        draft: Draft {
            repository: row.get(4)?,
            kind: row.get(5)?,
            text: row.get(6)?,
            created_at: timestamp(row, 7)?,
            indexed: row.get(8)?,
            source: source(row)?,
        },
        template: row.get(20)?,
        stale: super::stale::level(level).map(|level| Stale { level, reason: reason.unwrap_or_default() }),
        superseded_by: row.get(23)?,
        merged_into: row.get(24)?,
        confirmations: row.get(25)?,
    })
}

fn source(row: &Row<'_>) -> rusqlite::Result<Source> {
    Ok(Source {
        delivery: None,
        agent: row.get(9)?,
        author: row.get(10)?,
        branch: row.get(11)?,
        event: row.get(12)?,
        url: row.get(13)?,
        pull_request: row.get(14)?,
        trust: row.get::<_, Option<i64>>(15)?.map(trust),
        model: row.get(16)?,
        prompt_version: row.get(17)?,
        commits: list(row, 18)?,
        paths: list(row, 19)?,
    })
}

fn list(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<String>> {
    serde_json::from_str(row.get_ref(column)?.as_str()?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into()))
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

pub(super) fn timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(row.get(column)?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Integer, error.into()))
}

pub(super) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
