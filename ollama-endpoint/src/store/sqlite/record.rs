//! The record itself: what was sent, as it was sent.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, params};

use super::read::timestamp;
use super::write::digest;
use crate::distil::{self, Distilled};

/// Appends what was sent; `false`: it is there already. What was forgotten leaves no words, whatever comes under its id.
pub(super) fn append(
    transaction: &Connection,
    id: &str,
    received_at: i64,
    body: &[u8],
) -> rusqlite::Result<bool> {
    let compressed = match is_forgotten(transaction, id)? {
        true => None,
        false => Some(compressed(body)?),
    };
    append_line(transaction, id, &digest(&[body]), received_at, compressed.as_deref())
}

/// Appends a line as it is stored; `false`: it is there already.
pub(super) fn append_line(
    transaction: &Connection,
    id: &str,
    digest: &[u8],
    received_at: i64,
    compressed: Option<&[u8]>,
) -> rusqlite::Result<bool> {
    let appended = transaction
        .prepare_cached(
            "INSERT INTO records (id, digest, received_at, body) VALUES (?, ?, ?, ?) ON CONFLICT (id, digest) DO NOTHING",
        )?
        .execute(params![id, digest, received_at, compressed])?;
    Ok(appended > 0)
}

/// Whether the words of a delivery were forgotten, or taken back.
pub(super) fn is_forgotten(connection: &Connection, delivery: &str) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM records WHERE id = ? AND body IS NULL")?.exists([delivery])
}

/// Takes the words of a delivery out of the record.
pub(super) fn strip(transaction: &Connection, delivery: &str) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE records SET body = NULL WHERE id = ? AND body IS NOT NULL")?
        .execute([delivery])?;
    Ok(())
}

/// What is distilled of the latest that was sent under a delivery id; `None` if that cannot be read, or was forgotten.
pub(super) fn latest(connection: &Connection, delivery: &str) -> rusqlite::Result<Option<Distilled>> {
    let found = connection
        .prepare_cached(
            "SELECT received_at, body FROM records WHERE id = ? AND body IS NOT NULL ORDER BY seq DESC LIMIT 1",
        )?
        .query_row([delivery], |row| {
            let body = decompressed(row.get_ref(1)?.as_blob()?)?;
            Ok(distilled(delivery, &body, timestamp(row, 0)?))
        })
        .optional()?;
    Ok(found.flatten())
}

/// What is distilled of a record. One that cannot be read makes no memory.
pub(super) fn distilled(delivery: &str, body: &[u8], received_at: jiff::Timestamp) -> Option<Distilled> {
    distil::distil(delivery, body, received_at)
        .inspect_err(|error| {
            tracing::warn!(delivery, %error, "a record cannot be read; no memory is made of it");
        })
        .ok()
}

pub(super) fn compressed(body: &[u8]) -> rusqlite::Result<Vec<u8>> {
    zstd::encode_all(body, zstd::DEFAULT_COMPRESSION_LEVEL)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

pub(super) fn decompressed(body: &[u8]) -> rusqlite::Result<Vec<u8>> {
    zstd::decode_all(body)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, error.into()))
}
