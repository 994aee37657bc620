//! The statements that only read, and how rows become records.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, named_params, params};

use crate::model::{
    Error, FeedEnd, Filter, Finished, HistoryEntry, Job, JobRecord, JobState, LaneStats, Record, Result,
    Usage,
};

/// The most history entries shown for a job: the newest.
const MOST_HISTORY: i64 = 200;

/// Of the jobs that wait for nothing but time; those behind another of their key are freed by a change. One that became
/// due since the last look counts: it must be looked for at once.
pub(super) fn next_due(db: &Connection, lane: &str) -> Result<Option<Timestamp>> {
    let mut statement = db.prepare_cached(
        "SELECT min(at) FROM (SELECT min(due_at) AS at FROM jobs WHERE lane = ?1 AND first = 1 AND state = 'pending'
                              UNION ALL SELECT min(leased_until) FROM jobs WHERE lane = ?1 AND state = 'leased')",
    )?;
    let due: Option<i64> = statement.query_row([lane], |row| row.get(0))?;
    Ok(due.map(time))
}

/// A job whose payload is still compressed.
pub(super) fn leased_job(db: &Connection, seq: i64) -> Result<Job> {
    let mut statement = db.prepare_cached(
        "SELECT j.seq, j.token, d.id, d.event, j.lane, j.key, j.attempts, j.first_attempt_at, j.redelivery, d.received_at, p.body, j.checkpoint
         FROM jobs j JOIN deliveries d ON d.seq = j.delivery JOIN payloads p ON p.delivery = j.delivery WHERE j.seq = ?",
    )?;
    Ok(statement.query_row([seq], |row| {
        Ok(Job {
            seq: row.get(0)?,
            token: row.get(1)?,
            id: row.get(2)?,
            event: row.get(3)?,
            lane: row.get(4)?,
            key: row.get(5)?,
            attempt: row.get(6)?,
            first_attempt_at: time(row.get(7)?),
            redelivery: row.get(8)?,
            received_at: time(row.get(9)?),
            payload: row.get(10)?,
            checkpoint: row.get(11)?,
        })
    })?)
}

const DELIVERY: &str =
    "SELECT seq, id, event, action, repository, headline, note, redelivery, received_at FROM deliveries d";

pub(super) fn find(db: &Connection, id: &str) -> Result<Option<Record>> {
    let found =
        db.prepare_cached(&format!("{DELIVERY} WHERE id = ?"))?.query_row([id], delivery).optional()?;
    let Some(mut record) = found else { return Ok(None) };
    for (seq, mut job) in jobs(db, record.seq)? {
        job.history = history(db, seq)?;
        record.jobs.push(job);
    }
    Ok(Some(record))
}

pub(super) fn list(db: &Connection, filter: &Filter) -> Result<Vec<Record>> {
    // What an operator looks for most has an index of its own, which the condition must name word by word.
    let state = match filter.state.as_deref() {
        None if filter.lane.is_none() => "1",
        None => "EXISTS (SELECT 1 FROM jobs j WHERE j.delivery = d.seq AND j.lane = :lane)",
        Some("ignored") => ":lane IS NULL AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.delivery = d.seq)",
        Some("dead") => "d.seq IN (SELECT j.delivery FROM jobs j WHERE j.state = 'dead' AND (:lane IS NULL OR j.lane = :lane))",
        Some("pending" | "leased") => {
            "d.seq IN (SELECT j.delivery FROM jobs j WHERE j.state IN ('pending', 'leased') AND j.state = :state
                       AND (:lane IS NULL OR j.lane = :lane))"
        }
        Some(_) => {
            "EXISTS (SELECT 1 FROM jobs j WHERE j.delivery = d.seq AND (:lane IS NULL OR j.lane = :lane)
                     AND (j.state = :state OR j.outcome = :state))"
        }
    };
    let sql = format!(
        "{DELIVERY} WHERE seq < :before AND (:repository IS NULL OR repository = :repository) AND (:event IS NULL OR event = :event)
           AND (:since IS NULL OR received_at >= :since) AND {state}
         ORDER BY seq DESC LIMIT :limit"
    );
    let before = filter.before.and_then(|seq| i64::try_from(seq).ok()).unwrap_or(i64::MAX);
    let since = filter.since.map(Timestamp::as_millisecond);
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    let mut values: Vec<(&str, &dyn ToSql)> = named_params! {
        ":before": before, ":repository": filter.repository, ":event": filter.event, ":since": since, ":limit": limit,
        ":state": filter.state, ":lane": filter.lane
    }
    .to_vec();
    values.retain(|(name, _)| sql.contains(name));
    let mut statement = db.prepare_cached(&sql)?;
    let mut records: Vec<Record> =
        statement.query_map(&values[..], delivery)?.collect::<rusqlite::Result<_>>()?;
    for record in &mut records {
        record.jobs = jobs(db, record.seq)?.into_iter().map(|(_, job)| job).collect();
    }
    Ok(records)
}

fn delivery(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        seq: row.get(0)?,
        id: row.get(1)?,
        event: row.get(2)?,
        action: row.get(3)?,
        repository: row.get(4)?,
        headline: row.get(5)?,
        note: row.get(6)?,
        redelivery: row.get(7)?,
        received_at: time(row.get(8)?),
        jobs: Vec::new(),
    })
}

fn jobs(db: &Connection, delivery: u64) -> Result<Vec<(i64, JobRecord)>> {
    let mut statement = db.prepare_cached(
        "SELECT seq, lane, state, attempts, due_at, finished_at, error, finish FROM jobs WHERE delivery = ? ORDER BY seq",
    )?;
    let rows = statement.query_map([delivery], |row| {
        let state: String = row.get(2)?;
        let finish: Option<String> = row.get(7)?;
        let job = JobRecord {
            lane: row.get(1)?,
            // The column's check allows no other word.
            state: JobState::from_word(&state).unwrap_or(JobState::Dead),
            attempts: row.get(3)?,
            due_at: Some(row.get(4)?).filter(|&due| due > 0).map(time),
            finished_at: row.get::<_, Option<i64>>(5)?.map(time),
            error: row.get(6)?,
            finish: finish.and_then(|json| serde_json::from_str(&json).ok()),
            history: Vec::new(),
        };
        Ok((row.get(0)?, job))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn history(db: &Connection, job: i64) -> Result<Vec<HistoryEntry>> {
    let mut statement = db.prepare_cached(
        "SELECT at, what, detail FROM (SELECT * FROM history WHERE job = ? ORDER BY seq DESC LIMIT ?) ORDER BY seq",
    )?;
    let rows = statement.query_map([job, MOST_HISTORY], |row| {
        Ok(HistoryEntry { at: time(row.get(0)?), what: row.get(1)?, detail: row.get(2)? })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn finished(db: &Connection, after: u64, most: usize) -> Result<Vec<Finished>> {
    let mut statement = db.prepare_cached(
        "SELECT j.finished_seq, d.id, j.lane, j.finish, j.finished_at, j.redelivery FROM jobs j JOIN deliveries d ON d.seq = j.delivery
         WHERE j.finished_seq > ? AND j.finished_seq IS NOT NULL ORDER BY j.finished_seq LIMIT ?",
    )?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![after, i64::try_from(most).unwrap_or(i64::MAX)])?;
    let mut feed = Vec::new();
    while let Some(row) = rows.next()? {
        let json: String = row.get(3)?;
        let finish = serde_json::from_str(&json).map_err(|error| Error::Store(error.to_string()))?;
        feed.push(Finished {
            seq: row.get(0)?,
            id: row.get(1)?,
            lane: row.get(2)?,
            redelivery: row.get(5)?,
            finish,
            finished_at: time(row.get(4)?),
        });
    }
    Ok(feed)
}

pub(super) fn feed_end(db: &Connection) -> Result<FeedEnd> {
    let mut statement = db.prepare_cached("SELECT last, epoch FROM feed")?;
    Ok(statement.query_row([], |row| Ok(FeedEnd { last: row.get(0)?, epoch: row.get(1)? }))?)
}

pub(super) fn usage(db: &Connection) -> Result<Usage> {
    let (jobs, bytes) = open(db)?;
    Ok(Usage {
        open_jobs: u64::try_from(jobs).unwrap_or(0),
        open_bytes: u64::try_from(bytes).unwrap_or(0),
        store_bytes: store_bytes(db)?,
    })
}

/// Unfinished jobs, and the bytes of their payloads. Inside a group of writes, without what that has added.
pub(super) fn open(db: &Connection) -> Result<(i64, i64)> {
    let mut statement = db.prepare_cached(
        "SELECT coalesce(sum(n), 0), coalesce(sum(bytes), 0) FROM counts WHERE state IN ('pending', 'leased')",
    )?;
    Ok(statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// Free pages inside the file are room that the next events take, and count as none.
pub(super) fn store_bytes(db: &Connection) -> Result<u64> {
    let pragma =
        |name: &str| -> Result<u64> { Ok(db.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))?) };
    let used = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
    Ok(used * pragma("page_size")?)
}

pub(super) fn stats(db: &Connection) -> Result<Vec<LaneStats>> {
    let mut statement = db.prepare_cached(
        "SELECT lane, sum(iif(state = 'pending', n, 0)), sum(iif(state = 'leased', n, 0)), sum(iif(state = 'dead', n, 0)),
                (SELECT d.received_at FROM jobs j JOIN deliveries d ON d.seq = j.delivery
                 WHERE j.lane = counts.lane AND j.state IN ('pending', 'leased') ORDER BY j.delivery LIMIT 1)
         FROM counts GROUP BY lane",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(LaneStats {
            lane: row.get(0)?,
            pending: row.get(1)?,
            leased: row.get(2)?,
            dead: row.get(3)?,
            oldest: row.get::<_, Option<i64>>(4)?.map(time),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn cursor(db: &Connection, name: &str) -> Result<Option<u64>> {
    let mut statement = db.prepare_cached("SELECT value FROM cursors WHERE name = ?")?;
    Ok(statement.query_row([name], |row| row.get(0)).optional()?)
}

/// A stored time; one outside of what a timestamp can hold, which nothing here writes, reads as 1970.
fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}
