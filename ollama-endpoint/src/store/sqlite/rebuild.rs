//! Everything derived, made anew of the record.

use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, Row, Statement};

use super::{record, refined, upgrade, write};

/// Makes a whole memory in `target`, which is empty, of the record in `source`, in one transaction.
pub(super) fn rebuild(source: &Connection, target: &Connection) -> rusqlite::Result<()> {
    target.execute_batch("BEGIN")?;
    target.execute_batch(upgrade::TABLES)?;
    target.pragma_update(None, "user_version", upgrade::SCHEMA)?;
    replay(source, "records", target)?;
    copy(source, target, "derivations", 6)?;
    copy(source, target, "judgements", 4)?;
    copy(source, target, "audit", 7)?;
    let derived: Vec<String> = column(target, "SELECT memory_id FROM derivations ORDER BY memory_id")?;
    for id in derived {
        refined::apply(target, &id)?;
    }
    let mut judged = target.prepare("SELECT newer, older FROM judgements WHERE relation > 0")?;
    let judged: Vec<(String, String)> =
        judged.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    for (newer, older) in judged {
        refined::weigh(target, &newer, &older)?;
    }
    target.execute_batch("COMMIT")
}

/// Appends the lines of `table` in `source` to the record in `target` one by one, and makes their memories.
pub(super) fn replay(source: &Connection, table: &str, target: &Connection) -> rusqlite::Result<()> {
    // The former schema had an empty body for what was forgotten.
    let lines = format!("SELECT seq, id, digest, received_at, nullif(body, x'') FROM {table} ORDER BY seq");
    let mut lines = source.prepare(&lines)?;
    let mut append =
        target.prepare("INSERT INTO records (seq, id, digest, received_at, body) VALUES (?, ?, ?, ?, ?)")?;
    let mut rows = lines.query([])?;
    while let Some(row) = rows.next()? {
        insert_as_is(row, 5, &mut append)?;
        let Some(body) = row.get_ref(4)?.as_blob_or_null()? else { continue };
        let delivery = row.get_ref(1)?.as_str()?;
        let received_at = super::read::timestamp(row, 3)?;
        if let Some(distilled) = record::distilled(delivery, &record::decompressed(body)?, received_at) {
            write::make(target, delivery, &distilled)?;
        }
    }
    Ok(())
}

fn copy(source: &Connection, target: &Connection, table: &str, columns: usize) -> rusqlite::Result<()> {
    let places = vec!["?"; columns].join(", ");
    let mut insert = target.prepare(&format!("INSERT INTO {table} VALUES ({places})"))?;
    let mut select = source.prepare(&format!("SELECT * FROM {table}"))?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        insert_as_is(row, columns, &mut insert)?;
    }
    Ok(())
}

fn insert_as_is(row: &Row<'_>, columns: usize, insert: &mut Statement<'_>) -> rusqlite::Result<()> {
    for column in 0..columns {
        insert.raw_bind_parameter(column + 1, ToSqlOutput::Borrowed(row.get_ref(column)?))?;
    }
    insert.raw_execute()?;
    Ok(())
}

pub(super) fn column<T: rusqlite::types::FromSql>(
    connection: &Connection,
    sql: &str,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}
