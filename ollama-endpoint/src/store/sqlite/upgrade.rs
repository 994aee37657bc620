//! The schema, and how older ones are brought up to date: the records are kept, and all else is made of them again.

use rusqlite::Connection;

use super::rebuild;

/// Newest schema this build knows.
pub(super) const SCHEMA: u32 = 3;

/// All tables of today.
pub(super) const TABLES: &str = include_str!("../schema.sql");

/// Makes room for the tables of today. What has no memory any more was taken back or forgotten, so its words go, too.
const FROM_2: &str = "
    UPDATE records SET body = x'' WHERE id NOT IN (SELECT delivery FROM memories);
    DROP TABLE memories_fts; DROP TABLE vectors; DROP TABLE rejections; DROP TABLE memories;
    ALTER TABLE records RENAME TO records_2;";

/// Brings the schema up to date and answers the version found, which may be newer than [`SCHEMA`].
pub(super) fn upgrade(connection: &mut Connection) -> rusqlite::Result<u32> {
    let transaction = connection.transaction()?;
    let found: u32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found < SCHEMA {
        if found > 0 {
            transaction.execute_batch(FROM_2)?;
        }
        transaction.execute_batch(TABLES)?;
        if found > 0 {
            rebuild::replay(&transaction, "records_2", &transaction)?;
            transaction.execute_batch("DROP TABLE records_2")?;
        }
        transaction.pragma_update(None, "user_version", SCHEMA)?;
    }
    transaction.commit()?;
    Ok(found)
}
