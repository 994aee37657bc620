//! The schema, and how older ones are brought up to date: the records are kept, and all else is made of them again.

use rusqlite::Connection;

use super::write;
use crate::distil;

/// Newest schema this build knows.
pub(super) const SCHEMA: u32 = 3;

/// Makes room for the tables of today. What has no memory any more was taken back or forgotten, so its words go, too.
const FROM_2: &str = "
    UPDATE records SET body = x'' WHERE id NOT IN (SELECT delivery FROM memories);
    DROP TABLE memories_fts; DROP TABLE vectors; DROP TABLE rejections; DROP TABLE memories;
    ALTER TABLE records RENAME TO records_2;";

const RECORDS: &str = "
    INSERT INTO records SELECT seq, id, digest, received_at, nullif(body, x'') FROM records_2;
    DROP TABLE records_2;";

/// Brings the schema up to date and answers the version found, which may be newer than [`SCHEMA`].
pub(super) fn upgrade(connection: &mut Connection) -> rusqlite::Result<u32> {
    let transaction = connection.transaction()?;
    let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found < SCHEMA {
        if found > 0 {
            transaction.execute_batch(FROM_2)?;
        }
        transaction.execute_batch(include_str!("../schema.sql"))?;
        if found > 0 {
            transaction.execute_batch(RECORDS)?;
            replay(&transaction)?;
        }
        transaction.pragma_update(None, "user_version", SCHEMA)?;
    }
    transaction.commit()?;
    Ok(found)
}

/// Makes the memories of all records, in the order in which those came. One that cannot be read makes none.
pub(super) fn replay(transaction: &Connection) -> rusqlite::Result<()> {
    let mut statement = transaction
        .prepare("SELECT id, received_at, body FROM records WHERE body IS NOT NULL ORDER BY seq")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let delivery: String = row.get(0)?;
        let received_at = super::read::timestamp(row, 1)?;
        let body = zstd::decode_all(row.get_ref(2)?.as_blob()?).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Blob, error.into())
        })?;
        match distil::distil(&delivery, &body, received_at) {
            Ok(distilled) => drop(write::make(transaction, &delivery, &distilled)?),
            Err(error) => {
                tracing::warn!(delivery, %error, "a record cannot be read; no memory is made of it");
            }
        }
    }
    Ok(())
}
