//! Giving up what has ended: by age, and by room. Each function runs inside a transaction that its caller commits.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{read, write::milliseconds};
use crate::{
    model::Result,
    retention::{Pruned, Retention},
};

/// Deliveries given up in one transaction: the writers wait for no more than these.
const BATCH: i64 = 200;

/// A delivery whose jobs have all ended, the last of them before `?2`, or before `?3` if one of them is dead.
const ENDED: &str = "NOT EXISTS (SELECT 1 FROM jobs j WHERE j.delivery = d.seq
  AND (j.state IN ('pending', 'leased') OR j.finished_at > iif(j.state = 'dead', ?3, ?2)))";

/// Gives up one batch; a caller goes on until nothing is left to do.
pub(super) fn prune(db: &Connection, retention: &Retention, now: Timestamp) -> Result<Pruned> {
    let before = |age: Duration| now.as_millisecond() - milliseconds(age);
    let deliveries =
        forget(db, before(retention.finished), before(retention.finished), before(retention.dead))?;
    if deliveries > 0 || read::store_bytes(db)? <= retention.store_bytes {
        return Ok(Pruned { deliveries, payloads: 0 });
    }
    for dead_too in [false, true] {
        let pruned = make_room(db, before(retention.remember), now, dead_too)?;
        if pruned != Pruned::default() {
            return Ok(pruned);
        }
    }
    Ok(Pruned::default())
}

/// The oldest go first. Those that may still be sent again by GitHub keep their row, without which they would be taken
/// for new, and lose only their payload.
fn make_room(db: &Connection, remembered_since: i64, now: Timestamp, dead_too: bool) -> Result<Pruned> {
    let dead = if dead_too { now.as_millisecond() } else { i64::MIN };
    let deliveries = forget(db, remembered_since, now.as_millisecond(), dead)?;
    if deliveries > 0 {
        return Ok(Pruned { deliveries, payloads: 0 });
    }
    let payloads = db
        .prepare_cached(&format!(
            "DELETE FROM payloads WHERE delivery IN (SELECT p.delivery FROM payloads p JOIN deliveries d ON d.seq = p.delivery
             WHERE {ENDED} ORDER BY p.delivery LIMIT ?1)"
        ))?
        .execute(params![BATCH, now.as_millisecond(), dead])?;
    Ok(Pruned { deliveries: 0, payloads })
}

/// Deletes the oldest deliveries that arrived by then and have ended, with all that belongs to them.
fn forget(db: &Connection, arrived_by: i64, ended_by: i64, dead_by: i64) -> Result<usize> {
    let deliveries: Vec<i64> = db
        .prepare_cached(&format!(
            "SELECT seq FROM deliveries d WHERE received_at <= ?4 AND {ENDED} ORDER BY received_at LIMIT ?1"
        ))?
        .query_map(params![BATCH, ended_by, dead_by, arrived_by], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for delivery in &deliveries {
        for part in [
            "DELETE FROM history WHERE job IN (SELECT seq FROM jobs WHERE delivery = ?)",
            "DELETE FROM jobs WHERE delivery = ?",
            "DELETE FROM payloads WHERE delivery = ?",
            "DELETE FROM deliveries WHERE seq = ?",
        ] {
            db.prepare_cached(part)?.execute([delivery])?;
        }
    }
    Ok(deliveries.len())
}
