//! The memory as lines of JSON, written while it is in use.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use rusqlite::Connection;
use rusqlite::types::Type;
use serde::Serialize;
use tokio::sync::mpsc;

use super::read::{STORED, stored, timestamp};
use super::{open_reader, record, refined};
use crate::store::portable::{
    Audited, Derived, End, Header, Judged, Line, Recorded, Remembered, Words, short,
};
use crate::store::{StoreError, Stored};

/// How much is handed over at a time.
const PIECE: usize = 64 * 1024;

/// Pieces that wait for the reader.
const WAITING: usize = 4;

/// Begins to write on a thread of its own, which ends with its reader.
pub(super) fn start(
    path: &Path,
    repository: Option<String>,
) -> Result<mpsc::Receiver<Result<Bytes, StoreError>>, StoreError> {
    let failed = |error: rusqlite::Error| StoreError::Backend(error.into());
    let connection = open_reader(path).map_err(failed)?;
    // From here on it sees the memory as it is now.
    connection.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema").map_err(failed)?;
    let (sender, receiver) = mpsc::channel(WAITING);
    let out = Out { sender, piece: BytesMut::new(), end: End::default() };
    let export = Export { connection, repository, out };
    std::thread::Builder::new()
        .name("memory-export".to_owned())
        .spawn(move || export.run())
        .map_err(|error| StoreError::Backend(error.into()))?;
    Ok(receiver)
}

struct Export {
    connection: Connection,
    repository: Option<String>,
    out: Out,
}

/// Where the lines go.
struct Out {
    sender: mpsc::Sender<Result<Bytes, StoreError>>,
    piece: BytesMut,
    end: End,
}

/// Why it was broken off.
enum Broken {
    /// Nobody reads any more.
    Unread,
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for Broken {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}

impl Out {
    fn line(&mut self, line: &impl Serialize) -> Result<(), Broken> {
        let line = serde_json::to_vec(line)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into()))?;
        self.piece.extend_from_slice(&line);
        self.piece.extend_from_slice(b"\n");
        if self.piece.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Broken> {
        self.sender.blocking_send(Ok(self.piece.split().freeze())).map_err(|_| Broken::Unread)
    }
}

impl Export {
    fn run(mut self) {
        if let Err(Broken::Failed(error)) = self.everything() {
            tracing::error!(%error, "an export was broken off");
            // Who reads sees that it is not whole.
            let _ = self.out.sender.blocking_send(Err(StoreError::Backend(error.into())));
        }
    }

    fn everything(&mut self) -> Result<(), Broken> {
        self.out.line(&Header::today())?;
        self.records()?;
        self.derivations()?;
        self.judgements()?;
        self.audit()?;
        self.memories()?;
        let end = std::mem::take(&mut self.out.end);
        self.out.line(&Line::End(end))?;
        self.out.flush()
    }

    fn records(&mut self) -> Result<(), Broken> {
        let Self { connection, repository, out } = self;
        let mut lines = connection.prepare(
            "SELECT r.id, r.received_at, r.body, r.digest,
                (SELECT a.repository FROM audit a WHERE r.body IS NULL AND a.delivery = r.id)
             FROM records r ORDER BY r.seq",
        )?;
        let mut rows = lines.query([])?;
        while let Some(row) = rows.next()? {
            let (id, received_at): (String, _) = (row.get(0)?, timestamp(row, 1)?);
            let words = match row.get_ref(2)?.as_blob_or_null().map_err(rusqlite::Error::from)? {
                Some(body) => Words::Body(record::decompressed(body)?),
                None => Words::Forgotten(row.get(3)?),
            };
            if let Some(wanted) = repository {
                let of = match &words {
                    Words::Body(body) => {
                        record::distilled(&id, body, received_at).map(|distilled| distilled.draft.repository)
                    }
                    Words::Forgotten(_) => row.get(4)?,
                };
                if !of.is_some_and(|of| of.eq_ignore_ascii_case(wanted)) {
                    continue;
                }
            }
            out.line(&Line::Record(Recorded::new(id, received_at, words)))?;
            out.end.records += 1;
        }
        Ok(())
    }

    fn derivations(&mut self) -> Result<(), Broken> {
        let Self { connection, repository, out } = self;
        let mut lines = connection.prepare(
            "SELECT d.memory_id, m.digest, d.kind, d.text, d.reason, d.model, d.prompt_version
             FROM derivations d JOIN memories m ON m.id = d.memory_id
             WHERE ?1 IS NULL OR m.repository = ?1 ORDER BY d.memory_id",
        )?;
        let mut rows = lines.query([&*repository])?;
        while let Some(row) = rows.next()? {
            out.line(&Line::Derivation(Derived {
                memory: row.get(0)?,
                of: short(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?),
                kind: row.get(2)?,
                text: row.get(3)?,
                reason: row.get(4)?,
                model: row.get(5)?,
                prompt_version: row.get(6)?,
            }))?;
            out.end.derivations += 1;
        }
        Ok(())
    }

    fn judgements(&mut self) -> Result<(), Broken> {
        let Self { connection, repository, out } = self;
        let mut lines = connection.prepare(
            "SELECT j.newer, n.digest, j.older, o.digest, j.relation, j.judge
             FROM judgements j JOIN memories n ON n.id = j.newer JOIN memories o ON o.id = j.older
             WHERE ?1 IS NULL OR n.repository = ?1 ORDER BY j.newer, j.older",
        )?;
        let mut rows = lines.query([&*repository])?;
        while let Some(row) = rows.next()? {
            out.line(&Line::Judgement(Judged {
                newer: row.get(0)?,
                newer_of: short(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?),
                older: row.get(2)?,
                older_of: short(row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?),
                relation: refined::relation(row.get(4)?),
                by: row.get(5)?,
            }))?;
            out.end.judgements += 1;
        }
        Ok(())
    }

    fn audit(&mut self) -> Result<(), Broken> {
        let Self { connection, repository, out } = self;
        let mut lines = connection.prepare(
            "SELECT at, memory_id, delivery, repository, who, reason FROM audit
             WHERE ?1 IS NULL OR repository = ?1 COLLATE NOCASE ORDER BY seq",
        )?;
        let mut rows = lines.query([&*repository])?;
        while let Some(row) = rows.next()? {
            out.line(&Line::Audit(Audited {
                at: timestamp(row, 0)?,
                memory: row.get(1)?,
                delivery: row.get(2)?,
                repository: row.get(3)?,
                by: row.get(4)?,
                reason: row.get(5)?,
            }))?;
            out.end.audit += 1;
        }
        Ok(())
    }

    fn memories(&mut self) -> Result<(), Broken> {
        let Self { connection, repository, out } = self;
        let mut lines = connection.prepare(&format!(
            "SELECT {STORED} FROM memories m WHERE ?1 IS NULL OR m.repository = ?1 ORDER BY m.id"
        ))?;
        let mut rows = lines.query([&*repository])?;
        while let Some(row) = rows.next()? {
            let memory = serde_json::to_value(remembered(stored(row)?))
                .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into()))?;
            out.line(&Line::Memory(memory))?;
            out.end.memories += 1;
        }
        Ok(())
    }
}

fn remembered(stored: Stored) -> Remembered {
    let source = stored.source();
    let Stored { id, draft, template, stale, superseded_by, merged_into, confirmations, .. } = stored;
    Remembered {
        id,
        repository: draft.repository,
        kind: draft.kind,
        text: draft.text,
        template,
        created_at: draft.created_at,
        indexed: draft.indexed,
        source,
        confirmations,
        stale: stale.map(|stale| stale.reason),
        superseded_by,
        merged_into,
    }
}
