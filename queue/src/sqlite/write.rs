//! The statements that change something. Each function runs inside a transaction that its caller commits.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::read;
use crate::{
    Settlement,
    model::{Error, Finish, Job, JobState, NewDelivery, Put, Redelivered, Replaces, Result, Route},
};

/// A delivery's rows and index entries, with room to spare.
const ROOM_AROUND_A_PAYLOAD: i64 = 64 * 1024;
/// The longest error text kept.
const LONGEST_ERROR: usize = 2000;

pub(super) fn put(
    db: &Connection,
    delivery: &NewDelivery,
    payload: &[u8],
    now: Timestamp,
    most_open: u64,
) -> Result<Put> {
    if let Some((seq, redelivery)) = known(db, &delivery.id)? {
        return put_again(db, delivery, seq, redelivery, now);
    }
    if let Some(of) = replayed(db, delivery)? {
        return Ok(Put::Duplicate { of });
    }
    let open: u64 = db
        .prepare_cached("SELECT coalesce(sum(n), 0) FROM counts WHERE state IN ('pending', 'leased')")?
        .query_row([], |row| row.get(0))?;
    if !delivery.routes.is_empty() && open >= most_open {
        return Err(Error::Full(most_open));
    }
    let seq: i64 = db
        .prepare_cached(
            "INSERT INTO deliveries (id, digest, redelivery, event, action, repository, headline, note, received_at, payload)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING seq",
        )?
        .query_row(
            params![
                delivery.id,
                delivery.digest,
                delivery.redelivery,
                delivery.event,
                delivery.action,
                delivery.repository,
                delivery.headline,
                delivery.note,
                delivery.received_at.as_millisecond(),
                payload
            ],
            |row| row.get(0),
        )?;
    for route in &delivery.routes {
        add_job(db, seq, route, now)?;
    }
    Ok(Put::Stored)
}

fn known(db: &Connection, id: &str) -> Result<Option<(i64, u32)>> {
    let mut statement = db.prepare_cached("SELECT seq, redelivery FROM deliveries WHERE id = ?")?;
    Ok(statement.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// The delivery under which the same body arrived not long ago.
fn replayed(db: &Connection, delivery: &NewDelivery) -> Result<Option<String>> {
    let Some(digest) = delivery.digest.filter(|_| !delivery.replay_window.is_zero()) else { return Ok(None) };
    let since = delivery.received_at.as_millisecond() - milliseconds(delivery.replay_window);
    let mut statement = db.prepare_cached(
        "SELECT id FROM deliveries WHERE digest = ? AND received_at > ? ORDER BY received_at LIMIT 1",
    )?;
    Ok(statement.query_row(params![digest, since], |row| row.get(0)).optional()?)
}

/// A known id: dead jobs come back to life; with a higher redelivery count all that have ended do, and lanes that did
/// not want it then but do now get theirs.
fn put_again(db: &Connection, delivery: &NewDelivery, seq: i64, known: u32, now: Timestamp) -> Result<Put> {
    let asked = delivery.redelivery > known;
    let mut revived = revive(db, seq, None, asked, now)?;
    if asked {
        db.prepare_cached("UPDATE deliveries SET redelivery = ? WHERE seq = ?")?
            .execute(params![delivery.redelivery, seq])?;
        for route in &delivery.routes {
            let mut statement = db.prepare_cached("SELECT 1 FROM jobs WHERE delivery = ? AND lane = ?")?;
            if !statement.exists(params![seq, route.lane])? {
                add_job(db, seq, route, now)?;
                revived += 1;
            }
        }
    }
    if revived > 0 { Ok(Put::Revived) } else { Ok(Put::Duplicate { of: delivery.id.clone() }) }
}

fn add_job(db: &Connection, delivery: i64, route: &Route, now: Timestamp) -> Result<()> {
    let job: i64 = db
        .prepare_cached(
            "INSERT INTO jobs (delivery, lane, key, grp, version, state, first, due_at)
             VALUES (?1, ?2, ?3, ?4, ?5, 'pending', NOT EXISTS (SELECT 1 FROM jobs WHERE lane = ?2 AND key = ?3 AND first = 1
                     AND state IN ('pending', 'leased')), ?6) RETURNING seq",
        )?
        .query_row(
            params![
                delivery,
                route.lane,
                route.key,
                route.replaces.as_ref().map(|replaces| &replaces.group),
                route.replaces.as_ref().map(|replaces| replaces.version),
                now.as_millisecond()
            ],
            |row| row.get(0),
        )?;
    match &route.replaces {
        Some(replaces) => supersede(db, job, &route.lane, replaces, now),
        None => Ok(()),
    }
}

/// Among a group's jobs the newest version counts: an older one that has not been begun is superseded, and so is this
/// one if it is itself late. One that has been begun may have had effects, and finds out by itself.
fn supersede(db: &Connection, job: i64, lane: &str, replaces: &Replaces, now: Timestamp) -> Result<()> {
    let Replaces { group, version } = replaces;
    let newer = "SELECT 1 FROM jobs WHERE lane = ? AND grp = ? AND version > ? AND state <> 'dead'";
    let finish =
        Finish::new("superseded", "a newer event of the same subject took its place before it was begun");
    if db.prepare_cached(newer)?.exists(params![lane, group, version])? {
        return end(db, job, JobState::Superseded, &finish, None, now);
    }
    // Two of the same version may have arrived in either order, so both are worked on.
    let older: Vec<i64> = db
        .prepare_cached(
            "SELECT seq FROM jobs WHERE lane = ? AND grp = ? AND version < ? AND state = 'pending' AND attempts = 0",
        )?
        .query_map(params![lane, group, version], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for older in older {
        end(db, older, JobState::Superseded, &finish, None, now)?;
    }
    Ok(())
}

pub(super) fn lease(
    db: &Connection,
    lane: &str,
    most: usize,
    now: Timestamp,
    ttl: Duration,
) -> Result<Vec<Job>> {
    let now_ms = now.as_millisecond();
    let due: Vec<i64> = db
        .prepare_cached(
            "SELECT seq FROM jobs WHERE lane = ?1 AND first = 1
               AND (state = 'pending' AND due_at <= ?2 OR state = 'leased' AND leased_until <= ?2) ORDER BY seq LIMIT ?3",
        )?
        .query_map(params![lane, now_ms, i64::try_from(most).unwrap_or(i64::MAX)], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
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

pub(super) fn settle(db: &Connection, job: i64, token: i64, how: Settlement, now: Timestamp) -> Result<()> {
    if ended_under(db, job, token)? {
        return Ok(());
    }
    held(db, job, token)?;
    match how {
        Settlement::Done(finish) => end(db, job, state_of(&finish), &finish, None, now),
        Settlement::Dead { error } => {
            let error = cut(&error);
            end(db, job, JobState::Dead, &Finish::new("failed", error), Some(error), now)
        }
        Settlement::Retry { due, error } => {
            let error = cut(&error);
            db.prepare_cached("UPDATE jobs SET state = 'pending', token = NULL, leased_until = NULL, due_at = ?, error = ? WHERE seq = ?")?
                .execute(params![due.as_millisecond(), error, job])?;
            note(db, job, now, "failed", Some(error))
        }
        Settlement::Release => {
            db.prepare_cached(
                "UPDATE jobs SET state = 'pending', token = NULL, leased_until = NULL, attempts = attempts - 1,
                        first_attempt_at = NULL WHERE seq = ?",
            )?
            .execute([job])?;
            Ok(())
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

fn end(
    db: &Connection,
    job: i64,
    state: JobState,
    finish: &Finish,
    error: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    let json = serde_json::to_string(finish).map_err(|error| Error::Store(error.to_string()))?;
    let position: i64 = db
        .prepare_cached("UPDATE feed SET last = last + 1 RETURNING last")?
        .query_row([], |row| row.get(0))?;
    db.prepare_cached(
        "UPDATE jobs SET state = ?2, first = 0, leased_until = NULL, error = ?3, finish = ?4, outcome = ?5, finished_at = ?6,
                finished_seq = ?7 WHERE seq = ?1",
    )?
    .execute(params![job, state.as_str(), error, json, finish.state, now.as_millisecond(), position])?;
    promote(db, job)?;
    note(db, job, now, &finish.state, Some(&finish.summary))
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
) -> Result<bool> {
    let mut statement = db.prepare_cached(
        "SELECT j.seq, j.finish, j.state IN ('pending', 'leased'), d.redelivery FROM jobs j JOIN deliveries d ON d.seq = j.delivery
         WHERE d.id = ? AND j.lane = ?",
    )?;
    let found: Option<(i64, Option<String>, bool, u32)> = statement
        .query_row([id, lane], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let Some((job, before, open, asked)) = found else { return Ok(false) };
    // What an earlier round came to is no outcome of the one that was asked for since; and the same outcome can be
    // told twice when a feed is read again.
    if redelivery < asked
        || before.and_then(|json| serde_json::from_str::<Finish>(&json).ok()).as_ref() == Some(finish)
    {
        return Ok(true);
    }
    if open {
        note(db, job, now, "handed_over", Some("its outcome arrived before the answer"))?;
    }
    let error = (state_of(finish) == JobState::Dead).then_some(finish.summary.as_str());
    end(db, job, state_of(finish), finish, error, now)?;
    Ok(true)
}

pub(super) fn redeliver(
    db: &Connection,
    id: &str,
    lane: Option<&str>,
    now: Timestamp,
) -> Result<Option<Redelivered>> {
    let Some((seq, redelivery)) = known(db, id)? else { return Ok(None) };
    let jobs = revive(db, seq, lane, true, now)?;
    let count = if jobs > 0 { redelivery + 1 } else { redelivery };
    db.prepare_cached("UPDATE deliveries SET redelivery = ? WHERE seq = ?")?.execute(params![count, seq])?;
    Ok(Some(Redelivered { count, jobs }))
}

/// Sends a delivery's dead jobs on their way again, or all that have ended.
fn revive(db: &Connection, delivery: i64, lane: Option<&str>, all: bool, now: Timestamp) -> Result<usize> {
    let jobs: Vec<i64> = db
        .prepare_cached(
            "SELECT seq FROM jobs WHERE delivery = ?1 AND (?2 IS NULL OR lane = ?2)
               AND (state = 'dead' OR ?3 AND state IN ('done', 'superseded'))",
        )?
        .query_map(params![delivery, lane, all], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for &job in &jobs {
        db.prepare_cached(
            "UPDATE jobs SET state = 'pending', first = NOT EXISTS (SELECT 1 FROM jobs other WHERE other.lane = jobs.lane
                    AND other.key = jobs.key AND other.first = 1 AND other.state IN ('pending', 'leased')),
                    attempts = 0, first_attempt_at = NULL, token = NULL, due_at = ?2, error = NULL, finish = NULL,
                    outcome = NULL, finished_at = NULL, finished_seq = NULL WHERE seq = ?1",
        )?
        .execute(params![job, now.as_millisecond()])?;
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

pub(super) fn take_back_leases(db: &Connection, now: Timestamp) -> Result<()> {
    db.execute(
        "UPDATE jobs SET state = 'pending', token = NULL, leased_until = NULL, due_at = ? WHERE state = 'leased'",
        [now.as_millisecond()],
    )?;
    Ok(())
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_ERROR)]
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}
