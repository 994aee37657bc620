//! The writer's connection, and what its thread knows beside the database.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    ops::Deref,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    read,
    write::{bring_nearer, milliseconds},
};
use crate::model::Result;

/// Digests after which the older half is forgotten early: a bound for a flood.
const MOST_DIGESTS: usize = 500_000;
/// The wall clock is behind by so much when it was set back, rather than slowed down.
const SET_BACK: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Store {
    db: Connection,
    added: RefCell<HashMap<String, Added>>,
    replays: Replays,
    /// The time of the last lease, by the wall clock and by the one that nobody sets.
    leased_at: Cell<Option<(Timestamp, Instant)>>,
    /// That of before the group of writes under way.
    leased_before: Cell<Option<(Timestamp, Instant)>>,
}

/// Jobs that the group of writes under way has added to a lane.
#[derive(Debug, Clone, Copy, Default)]
struct Added {
    jobs: i64,
    bytes: i64,
}

impl Deref for Store {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.db
    }
}

impl Store {
    pub(super) fn new(db: Connection) -> Self {
        Self {
            db,
            added: RefCell::default(),
            replays: Replays::default(),
            leased_at: Cell::default(),
            leased_before: Cell::default(),
        }
    }

    pub(super) fn begin(&self) -> Result<(), String> {
        self.leased_before.set(self.leased_at.get());
        self.db.execute_batch("BEGIN IMMEDIATE").map_err(|error| error.to_string())
    }

    pub(super) fn commit(&self) -> Result<(), String> {
        self.add_up().and_then(|()| self.db.execute_batch("COMMIT")).map_err(|error| error.to_string())
    }

    /// A full disk or an I/O error makes SQLite roll back by itself.
    pub(super) fn roll_back(&self) {
        self.added.borrow_mut().clear();
        self.leased_at.set(self.leased_before.get());
        if !self.db.is_autocommit() {
            let _ = self.db.execute_batch("ROLLBACK");
        }
    }

    /// Notices at a lease that the clock was set back since the one before, so that nothing waits for longer because of it.
    /// `instant` is when it was `now`.
    pub(super) fn follow_clock(&self, now: Timestamp, instant: Instant) -> Result<()> {
        let Some((then, before)) = self.leased_at.replace(Some((now, instant))) else { return Ok(()) };
        let passed = instant.saturating_duration_since(before);
        let behind = Duration::try_from((then + passed).duration_since(now)).unwrap_or_default();
        if behind > SET_BACK {
            let jobs = bring_nearer(&self.db, milliseconds(behind))?;
            tracing::info!(
                seconds = behind.as_secs(),
                jobs,
                "the clock was set back; what waits for a retry is due as if it had not been"
            );
        }
        Ok(())
    }

    /// Counts a new job, which waits.
    pub(super) fn add(&self, lane: &str, bytes: i64) {
        let mut added = self.added.borrow_mut();
        let lane = match added.get_mut(lane) {
            Some(lane) => lane,
            None => added.entry(lane.to_owned()).or_default(),
        };
        lane.jobs += 1;
        lane.bytes += bytes;
    }

    fn add_up(&self) -> rusqlite::Result<()> {
        for (lane, Added { jobs, bytes }) in self.added.borrow_mut().drain() {
            self.db
                .prepare_cached(
                    "INSERT INTO counts VALUES (?1, 'pending', ?2, ?3) ON CONFLICT DO UPDATE SET n = n + ?2, bytes = bytes + ?3",
                )?
                .execute(params![lane, jobs, bytes])?;
        }
        Ok(())
    }

    /// Unfinished jobs, and the bytes of their payloads.
    pub(super) fn open(&self) -> Result<(u64, u64)> {
        let (jobs, bytes) = read::open(&self.db)?;
        let added = self.added.borrow();
        let (jobs, bytes) =
            added.values().fold((jobs, bytes), |(jobs, bytes), lane| (jobs + lane.jobs, bytes + lane.bytes));
        Ok((u64::try_from(jobs).unwrap_or(0), u64::try_from(bytes).unwrap_or(0)))
    }

    /// The delivery under which the same body arrived within `window`.
    pub(super) fn replayed(
        &self,
        digest: &[u8; 32],
        window: Duration,
        now: Timestamp,
    ) -> Result<Option<String>> {
        let since = now.as_millisecond() - milliseconds(window);
        self.replays.load(&self.db, since, now)?;
        let Some(seq) = self.replays.find(digest) else { return Ok(None) };
        // What was found may have been rolled back, or be too old.
        let mut statement = self
            .db
            .prepare_cached("SELECT id FROM deliveries WHERE seq = ? AND digest = ? AND received_at > ?")?;
        Ok(statement.query_row(params![seq, digest, since], |row| row.get(0)).optional()?)
    }

    /// Remembers under which delivery a body arrived.
    pub(super) fn remember(&self, digest: &[u8; 32], seq: i64, window: Duration, now: Timestamp) {
        self.replays.add(short(digest), seq, milliseconds(window), now.as_millisecond());
    }
}

/// The digests of the last window, by their beginning. In memory, since an index of random keys would dirty a page of its
/// own for each event. Two generations: the older is forgotten when the younger is as old as the window.
#[derive(Default)]
struct Replays {
    young: RefCell<HashMap<u64, i64>>,
    old: RefCell<HashMap<u64, i64>>,
    turned_at: Cell<i64>,
    loaded: Cell<bool>,
}

fn short(digest: &[u8; 32]) -> u64 {
    digest.iter().take(8).fold(0, |short, byte| short << 8 | u64::from(*byte))
}

impl Replays {
    /// Once, what an earlier process stored.
    fn load(&self, db: &Connection, since: i64, now: Timestamp) -> Result<()> {
        if self.loaded.replace(true) {
            return Ok(());
        }
        self.turned_at.set(now.as_millisecond());
        let mut statement =
            db.prepare("SELECT digest, seq FROM deliveries WHERE received_at > ? AND digest IS NOT NULL")?;
        let mut rows = statement.query([since])?;
        while let Some(row) = rows.next()? {
            self.young.borrow_mut().insert(short(&row.get(0)?), row.get(1)?);
        }
        Ok(())
    }

    fn find(&self, digest: &[u8; 32]) -> Option<i64> {
        let key = short(digest);
        let young = self.young.borrow().get(&key).copied();
        young.or_else(|| self.old.borrow().get(&key).copied())
    }

    fn add(&self, key: u64, seq: i64, window: i64, now: i64) {
        let mut young = self.young.borrow_mut();
        if now - self.turned_at.get() > window || young.len() >= MOST_DIGESTS {
            self.turned_at.set(now);
            self.old.replace(std::mem::take(&mut young));
        }
        young.insert(key, seq);
    }
}
