//! Storing a delivery with its jobs. Each function runs inside a transaction that its caller commits.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    store::Store,
    write::{Ids, end, revive},
};
use crate::model::{Error, Finish, JobState, NewDelivery, Put, Replaces, Result, Route};

/// How much may be unfinished.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backlog {
    pub(super) jobs: u64,
    pub(super) bytes: u64,
}

pub(super) fn put(
    store: &Store,
    delivery: &NewDelivery,
    payload: &[u8],
    now: Timestamp,
    most: Backlog,
) -> Result<(Put, Ids)> {
    if let Some((seq, redelivery)) = known(store, &delivery.id)? {
        return put_again(store, delivery, payload, seq, redelivery, now);
    }
    let digest = delivery.digest.filter(|_| !delivery.replay_window.is_zero());
    if let Some(digest) = &digest
        && let Some(of) = store.replayed(digest, delivery.replay_window, delivery.received_at)?
    {
        return Ok((Put::Duplicate { of }, Ids::new()));
    }
    if !delivery.routes.is_empty() {
        has_room(store, most)?;
    }
    let seq = insert(store, delivery)?;
    keep_payload(store, seq, payload)?;
    if let Some(digest) = &digest {
        store.remember(digest, seq, delivery.replay_window, delivery.received_at);
    }
    let mut touched = vec![delivery.id.clone()];
    for route in &delivery.routes {
        touched.extend(add_job(store, seq, route, payload.len(), now)?);
    }
    Ok((Put::Stored, touched))
}

fn insert(db: &Connection, delivery: &NewDelivery) -> Result<i64> {
    let mut statement = db.prepare_cached(
        "INSERT INTO deliveries (id, digest, redelivery, event, action, repository, headline, note, received_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    Ok(statement.insert(params![
        delivery.id,
        delivery.digest,
        delivery.redelivery,
        delivery.event,
        delivery.action,
        delivery.repository,
        delivery.headline,
        delivery.note,
        delivery.received_at.as_millisecond()
    ])?)
}

fn has_room(store: &Store, most: Backlog) -> Result<()> {
    let (jobs, bytes) = store.open()?;
    if jobs >= most.jobs {
        return Err(Error::Full { limit: most.jobs, of: "unfinished jobs" });
    }
    if bytes >= most.bytes {
        return Err(Error::Full { limit: most.bytes, of: "bytes of unfinished jobs" });
    }
    Ok(())
}

/// Also when the delivery is known: its payload may have been given up since.
fn keep_payload(db: &Connection, delivery: i64, payload: &[u8]) -> Result<()> {
    db.prepare_cached("INSERT INTO payloads VALUES (?, ?) ON CONFLICT DO NOTHING")?
        .execute(params![delivery, payload])?;
    Ok(())
}

pub(super) fn known(db: &Connection, id: &str) -> Result<Option<(i64, u32)>> {
    let mut statement = db.prepare_cached("SELECT seq, redelivery FROM deliveries WHERE id = ?")?;
    Ok(statement.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

/// A known id: dead jobs come back to life; with a higher redelivery count all that have ended do, and lanes that did
/// not want it then but do now get theirs.
fn put_again(
    store: &Store,
    delivery: &NewDelivery,
    payload: &[u8],
    seq: i64,
    known: u32,
    now: Timestamp,
) -> Result<(Put, Ids)> {
    keep_payload(store, seq, payload)?;
    let mut touched = vec![delivery.id.clone()];
    let asked = delivery.redelivery > known;
    let mut revived = revive(store, seq, None, asked, known.max(delivery.redelivery), now)?;
    if asked {
        store
            .prepare_cached("UPDATE deliveries SET redelivery = ? WHERE seq = ?")?
            .execute(params![delivery.redelivery, seq])?;
        // What these come to is what the new round asks for.
        store
            .prepare_cached(
                "UPDATE jobs SET redelivery = ? WHERE delivery = ? AND state IN ('pending', 'leased')",
            )?
            .execute(params![delivery.redelivery, seq])?;
        for route in &delivery.routes {
            let mut statement = store.prepare_cached("SELECT 1 FROM jobs WHERE delivery = ? AND lane = ?")?;
            if !statement.exists(params![seq, route.lane])? {
                touched.extend(add_job(store, seq, route, payload.len(), now)?);
                revived += 1;
            }
        }
    }
    match revived {
        0 => Ok((Put::Duplicate { of: delivery.id.clone() }, Ids::new())),
        _ => Ok((Put::Revived, touched)),
    }
}

/// Adds a job; the ids are those of the deliveries that it superseded.
fn add_job(store: &Store, delivery: i64, route: &Route, bytes: usize, now: Timestamp) -> Result<Ids> {
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    let job = store
        .prepare_cached(
            "INSERT INTO jobs (delivery, lane, key, grp, version, bytes, redelivery, state, first, due_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, (SELECT redelivery FROM deliveries WHERE seq = ?1), 'pending', NOT EXISTS (SELECT 1 FROM jobs WHERE lane = ?2 AND key = ?3 AND first = 1
                     AND state IN ('pending', 'leased')), 0)",
        )?
        .insert(params![
            delivery,
            route.lane,
            route.key,
            route.replaces.as_ref().map(|replaces| &replaces.group),
            route.replaces.as_ref().map(|replaces| replaces.version),
            bytes
        ])?;
    store.add(&route.lane, bytes);
    match &route.replaces {
        Some(replaces) => supersede(store, job, &route.lane, replaces, now),
        None => Ok(Ids::new()),
    }
}

/// Among a group's jobs the newest version counts: an older one that has not been begun is superseded, and so is this
/// one if it is itself late. One that has been begun may have had effects, and finds out by itself.
fn supersede(db: &Connection, job: i64, lane: &str, replaces: &Replaces, now: Timestamp) -> Result<Ids> {
    let Replaces { group, version } = replaces;
    let newer = "SELECT 1 FROM jobs WHERE lane = ? AND grp = ? AND version > ? AND state <> 'dead'";
    let finish =
        Finish::new("superseded", "a newer event of the same subject took its place before it was begun");
    if db.prepare_cached(newer)?.exists(params![lane, group, version])? {
        return Ok(vec![end(db, job, JobState::Superseded, &finish, None, now)?]);
    }
    // Two of the same version may have arrived in either order, so both are worked on.
    let older: Vec<i64> = db
        .prepare_cached(
            "SELECT seq FROM jobs WHERE lane = ? AND grp = ? AND version < ? AND state = 'pending' AND attempts = 0",
        )?
        .query_map(params![lane, group, version], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    older.into_iter().map(|older| end(db, older, JobState::Superseded, &finish, None, now)).collect()
}
