//! The statements that change something. Each function runs inside a transaction that its caller commits.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::{put::known, read};
use crate::{
    Schedule, Settlement,
    model::{Error, Finish, Job, JobState, Redelivered, Result},
};

/// A delivery's rows and index entries, with room to spare.
const ROOM_AROUND_A_PAYLOAD: i64 = 64 * 1024;
/// After so many interruptions in a row a job waits before it is begun again: it may be what ends the process.
const INTERRUPTIONS: u32 = 3;
/// No schedule lets a job wait for longer than an hour: one that is due later still was put off by another clock.
const LONGEST_WAIT: Duration = Duration::from_secs(61 * 60);
/// The longest error text kept.
const LONGEST_ERROR: usize = 2000;

/// Ids of deliveries that a change concerned.
pub(super) type Ids = Vec<String>;

pub(super) fn lease(
    db: &Connection,
    lane: &str,
    most: usize,
    now: Timestamp,
    ttl: Duration,
) -> Result<Vec<Job>> {
    let now_ms = now.as_millisecond();
    let mut due = Vec::new();
    // Each part is a walk along the front of an index, however much waits. The last is for a clock that was set back.
    for part in [
        "SELECT seq FROM jobs WHERE lane = ?1 AND state = 'leased' AND leased_until <= ?2 ORDER BY leased_until LIMIT ?3",
        "SELECT seq FROM jobs WHERE lane = ?1 AND first = 1 AND state = 'pending' AND due_at <= ?2 ORDER BY due_at, seq LIMIT ?3",
        "SELECT seq FROM jobs WHERE lane = ?1 AND first = 1 AND state = 'pending' AND due_at > ?2 + ?4 ORDER BY due_at, seq LIMIT ?3",
    ] {
        let room = i64::try_from(most - due.len()).unwrap_or(i64::MAX);
        let mut statement = db.prepare_cached(part)?;
        let limits: &[&dyn ToSql] = &[&lane, &now_ms, &room, &milliseconds(LONGEST_WAIT)];
        let limits = &limits[..statement.parameter_count()];
        for seq in statement.query_map(limits, |row| row.get::<_, i64>(0))? {
            due.push(seq?);
        }
    }
    let mut jobs = Vec::with_capacity(due.len());
    for seq in due {
        // The token tells this lease from any other of the same job, also across a restart.
        let token = i64::from(fastrand::u32(..)) << 31 | i64::from(fastrand::u32(..) >> 1);
        db.prepare_cached(
            "UPDATE jobs SET state = 'leased', attempts = attempts + 1, first_attempt_at = coalesce(first_attempt_at, ?2),
                    token = ?3, leased_until = ?4 WHERE seq = ?1",
        )?
        .execute(params![seq, now_ms, token, now_ms + milliseconds(ttl)])?;
        jobs.push(read::leased_job(db, seq)?);
    }
    Ok(jobs)
}

/// Brings what waits nearer by as much as the clock was set back; says how many jobs that were.
pub(super) fn bring_nearer(db: &Connection, by: i64) -> Result<usize> {
    // Walks the index of open jobs, not all that ever were.
    let mut statement = db.prepare_cached(
        "UPDATE jobs SET due_at = due_at - ? WHERE state IN ('pending', 'leased') AND state = 'pending' AND due_at > 0",
    )?;
    Ok(statement.execute([by])?)
}

pub(super) fn settle(db: &Connection, job: i64, token: i64, how: Settlement, now: Timestamp) -> Result<Ids> {
    if ended_under(db, job, token)? {
        return Ok(Ids::new());
    }
    held(db, job, token)?;
    match how {
        Settlement::Done(finish) => Ok(vec![end(db, job, state_of(&finish), &finish, None, now)?]),
        Settlement::Dead { error } => {
            let error = cut(&error);
            Ok(vec![end(db, job, JobState::Dead, &Finish::new("failed", error), Some(error), now)?])
        }
        Settlement::Retry { due, error } => {
            let error = cut(&error);
            let id = db
                .prepare_cached(
                    "UPDATE jobs SET state = 'pending', token = NULL, leased_until = NULL, due_at = ?, error = ? WHERE seq = ?
                     RETURNING (SELECT id FROM deliveries d WHERE d.seq = delivery)",
                )?
                .query_row(params![due.as_millisecond(), error, job], |row| row.get(0))?;
            note(db, job, now, "failed", Some(error))?;
            Ok(vec![id])
        }
        Settlement::Release => {
            db.prepare_cached(
                "UPDATE jobs SET state = 'pending', token = NULL, leased_until = NULL, attempts = attempts - 1,
                        first_attempt_at = iif(attempts > 1, first_attempt_at, NULL) WHERE seq = ?",
            )?
            .execute([job])?;
            Ok(Ids::new())
        }
    }
}

/// A finish that says `failed` is a dead letter, whoever says it.
fn state_of(finish: &Finish) -> JobState {
    match finish.state.as_str() {
        "failed" => JobState::Dead,
        "superseded" => JobState::Superseded,
        _ => JobState::Done,
    }
}

/// Ends a job; says whose it was.
pub(super) fn end(
    db: &Connection,
    job: i64,
    state: JobState,
    finish: &Finish,
    error: Option<&str>,
    now: Timestamp,
) -> Result<String> {
    let json = serde_json::to_string(finish).map_err(|error| Error::Store(error.to_string()))?;
    let position: i64 = db
        .prepare_cached("UPDATE feed SET last = last + 1 RETURNING last")?
        .query_row([], |row| row.get(0))?;
    let id = db
        .prepare_cached(
            "UPDATE jobs SET state = ?2, first = 0, leased_until = NULL, error = ?3, finish = ?4, outcome = ?5,
                    finished_at = ?6, finished_seq = ?7 WHERE seq = ?1 RETURNING (SELECT id FROM deliveries d WHERE d.seq = delivery)",
        )?
        .query_row(
            params![job, state.as_str(), error, json, finish.state, now.as_millisecond(), position],
            |row| row.get(0),
        )?;
    promote(db, job)?;
    note(db, job, now, &finish.state, Some(&finish.summary))?;
    Ok(id)
}

/// Lets the next open job of an ended job's key be worked on, unless one is.
fn promote(db: &Connection, ended: i64) -> Result<()> {
    db.prepare_cached(
        "UPDATE jobs SET first = 1 WHERE seq = (
           SELECT min(open.seq) FROM jobs ended JOIN jobs open ON open.lane = ended.lane AND open.key = ended.key
           WHERE ended.seq = ?1 AND open.state IN ('pending', 'leased')
           HAVING max(open.first) = 0)",
    )?
    .execute([ended])?;
    Ok(())
}

fn note(db: &Connection, job: i64, at: Timestamp, what: &str, detail: Option<&str>) -> Result<()> {
    db.prepare_cached("INSERT INTO history (job, at, what, detail) VALUES (?, ?, ?, ?)")?
        .execute(params![job, at.as_millisecond(), what, detail.map(cut)])?;
    Ok(())
}

pub(super) fn checkpoint(db: &Connection, job: i64, token: i64, state: &[u8]) -> Result<()> {
    held(db, job, token)?;
    db.prepare_cached("UPDATE jobs SET checkpoint = ? WHERE seq = ?")?.execute(params![state, job])?;
    Ok(())
}

/// Whether [`record`] ended the job while this lease was working on it: its outcome overtook the answer.
fn ended_under(db: &Connection, job: i64, token: i64) -> Result<bool> {
    let mut statement = db.prepare_cached(
        "SELECT 1 FROM jobs WHERE seq = ? AND token = ? AND state IN ('done', 'dead', 'superseded')",
    )?;
    Ok(statement.exists([job, token])?)
}

fn held(db: &Connection, job: i64, token: i64) -> Result<()> {
    let mut statement =
        db.prepare_cached("SELECT 1 FROM jobs WHERE seq = ? AND token = ? AND state = 'leased'")?;
    if statement.exists([job, token])? { Ok(()) } else { Err(Error::LeaseLost) }
}

pub(super) fn record(
    db: &Connection,
    id: &str,
    lane: &str,
    redelivery: u32,
    finish: &Finish,
    now: Timestamp,
) -> Result<(bool, Ids)> {
    let mut statement = db.prepare_cached(
        "SELECT j.seq, j.finish, j.state IN ('pending', 'leased'), j.redelivery FROM jobs j JOIN deliveries d ON d.seq = j.delivery
         WHERE d.id = ? AND j.lane = ?",
    )?;
    let found: Option<(i64, Option<String>, bool, u32)> = statement
        .query_row([id, lane], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let Some((job, before, open, asked)) = found else { return Ok((false, Ids::new())) };
    // What an earlier round came to is no outcome of the one that was asked for since; and the same outcome can be
    // told twice when a feed is read again.
    if redelivery < asked
        || before.and_then(|json| serde_json::from_str::<Finish>(&json).ok()).as_ref() == Some(finish)
    {
        return Ok((true, Ids::new()));
    }
    if open {
        note(db, job, now, "handed_over", Some("its outcome arrived before the answer"))?;
    }
    let error = (state_of(finish) == JobState::Dead).then_some(finish.summary.as_str());
    let touched = vec![end(db, job, state_of(finish), finish, error, now)?];
    Ok((true, touched))
}

pub(super) fn redeliver(
    db: &Connection,
    id: &str,
    lane: Option<&str>,
    now: Timestamp,
) -> Result<(Option<Redelivered>, Ids)> {
    let Some((seq, redelivery)) = known(db, id)? else { return Ok((None, Ids::new())) };
    let jobs = revive(db, seq, lane, true, redelivery + 1, now)?;
    let count = if jobs > 0 { redelivery + 1 } else { redelivery };
    db.prepare_cached("UPDATE deliveries SET redelivery = ? WHERE seq = ?")?.execute(params![count, seq])?;
    Ok((Some(Redelivered { count, jobs }), vec![id.to_owned()]))
}

/// Ends what is unfinished or dead; a lease that is held on it ends with it.
pub(super) fn discard(
    db: &Connection,
    id: &str,
    lane: Option<&str>,
    now: Timestamp,
) -> Result<(Option<usize>, Ids)> {
    let Some((seq, _)) = known(db, id)? else { return Ok((None, Ids::new())) };
    let jobs: Vec<i64> = db
        .prepare_cached(
            "SELECT seq FROM jobs WHERE delivery = ?1 AND (?2 IS NULL OR lane = ?2) AND state IN ('pending', 'leased', 'dead')",
        )?
        .query_map(params![seq, lane], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let finish = Finish::new("discarded", "an operator gave it up");
    for &job in &jobs {
        end(db, job, JobState::Done, &finish, None, now)?;
    }
    Ok((Some(jobs.len()), vec![id.to_owned()]))
}

/// Sends a delivery's dead jobs on their way again, or all that have ended, as round `redelivery`; none if its payload was
/// given up. Each job keeps its own round: the outcome of one that was not sent again still counts.
pub(super) fn revive(
    db: &Connection,
    delivery: i64,
    lane: Option<&str>,
    all: bool,
    redelivery: u32,
    now: Timestamp,
) -> Result<usize> {
    let jobs: Vec<i64> = db
        .prepare_cached(
            "SELECT seq FROM jobs WHERE delivery = ?1 AND (?2 IS NULL OR lane = ?2)
               AND EXISTS (SELECT 1 FROM payloads p WHERE p.delivery = ?1) AND (state = 'dead' OR ?3 AND state IN ('done', 'superseded'))",
        )?
        .query_map(params![delivery, lane, all], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for &job in &jobs {
        db.prepare_cached(
            "UPDATE jobs SET state = 'pending', first = NOT EXISTS (SELECT 1 FROM jobs other WHERE other.lane = jobs.lane
                    AND other.key = jobs.key AND other.first = 1 AND other.state IN ('pending', 'leased')),
                    attempts = 0, first_attempt_at = NULL, token = NULL, due_at = 0, error = NULL, finish = NULL,
                    outcome = NULL, finished_at = NULL, finished_seq = NULL, redelivery = ?2 WHERE seq = ?1",
        )?
        .execute(params![job, redelivery])?;
        note(db, job, now, "sent again", None)?;
    }
    Ok(jobs.len())
}

pub(super) fn set_cursor(db: &Connection, name: &str, value: u64) -> Result<()> {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    db.prepare_cached("INSERT INTO cursors VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2")?
        .execute(params![name, value])?;
    Ok(())
}

/// Takes as much room as a payload that could not be stored, and what comes with it.
pub(super) fn fill_scratch(db: &Connection, payload: usize) -> Result<()> {
    let bytes = i64::try_from(payload).unwrap_or(i64::MAX).saturating_add(ROOM_AROUND_A_PAYLOAD);
    db.prepare_cached("INSERT INTO scratch VALUES (zeroblob(?))")?.execute([bytes])?;
    Ok(())
}

/// Gives the room back; a write also if there was nothing.
pub(super) fn empty_scratch(db: &Connection) -> Result<()> {
    db.prepare_cached("DELETE FROM scratch")?.execute([])?;
    set_cursor(db, "written", 0)
}

/// What a killed process was working on is due again at once, but for a job that has been cut off several times.
pub(super) fn take_back_leases(db: &Connection, now: Timestamp) -> Result<()> {
    let leased: Vec<(i64, u32)> = db
        .prepare("SELECT seq, attempts FROM jobs WHERE state = 'leased'")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (job, attempts) in leased {
        let due = match attempts.checked_sub(INTERRUPTIONS) {
            None => 0,
            Some(more) => now.as_millisecond() + milliseconds(Schedule::default().delay(more + 1, 1.0)),
        };
        db.prepare_cached(
            "UPDATE jobs SET state = 'pending', token = NULL, leased_until = NULL, due_at = ? WHERE seq = ?",
        )?
        .execute(params![due, job])?;
        note(db, job, now, "interrupted", Some("the process ended while it was worked on"))?;
    }
    Ok(())
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_ERROR)]
}

pub(super) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
