//! The statements that write, each within the transaction of its caller.

use rusqlite::{OptionalExtension, Transaction, named_params, params};
use sha2::{Digest, Sha256};

use super::read::{rank, rows, timestamp};
use crate::distil::{Draft, RETRACTION};
use crate::store::vectors::{Change, Entry, to_bytes};
use crate::store::{Embedding, Kept, Record};

pub(super) fn append(
    transaction: &Transaction<'_>,
    record: &Record,
    drafts: &[Draft],
) -> rusqlite::Result<(Vec<Kept>, Vec<Change>)> {
    let body = zstd::encode_all(record.body.as_ref(), zstd::DEFAULT_COMPRESSION_LEVEL)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    transaction.prepare_cached(
        "INSERT INTO records (id, digest, received_at, body) VALUES (?, ?, ?, ?) ON CONFLICT (id, digest) DO NOTHING",
    )?
    .execute(params![record.id, digest(&[&record.body]), record.received_at.as_microsecond(), body])?;
    let mut changes = remove_stale(transaction, &record.id, drafts)?;
    for draft in drafts {
        changes.extend(take_back(transaction, draft)?);
    }
    let kept =
        drafts.iter().map(|draft| keep(transaction, &record.id, draft)).collect::<rusqlite::Result<_>>()?;
    Ok((kept, changes))
}

/// Removes what an earlier version of the same delivery said and this one does not.
fn remove_stale(
    transaction: &Transaction<'_>,
    delivery: &str,
    drafts: &[Draft],
) -> rusqlite::Result<Vec<Change>> {
    let wanted: Vec<String> = drafts.iter().map(|draft| memory_id(delivery, draft)).collect();
    let mut stale: Vec<String> = transaction
        .prepare_cached("SELECT id FROM memories WHERE delivery = ?")?
        .query_map([delivery], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    stale.retain(|id| !wanted.contains(id));
    delete_all(transaction, stale)
}

/// Removes what was said where this draft takes it back.
fn take_back(transaction: &Transaction<'_>, draft: &Draft) -> rusqlite::Result<Vec<Change>> {
    let Some((url, event)) = draft.takes_back() else { return Ok(Vec::new()) };
    let said = transaction
        .prepare_cached(
            "SELECT id FROM memories WHERE repository = ? AND url = ? AND event = ? AND kind <> ?",
        )?
        .query_map(params![draft.repository, url, event, draft.kind], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    delete_all(transaction, said)
}

/// What has taken this draft back before it came.
fn taken_back(transaction: &Transaction<'_>, draft: &Draft) -> rusqlite::Result<Option<Kept>> {
    // The kind and `indexed` first: their index leaves nothing but retractions to look at.
    transaction
        .prepare_cached(
            "SELECT id FROM memories WHERE kind = ? AND indexed = 0 AND repository = ? AND url = ? AND event = ?",
        )?
        .query_row(params![RETRACTION, draft.repository, draft.source.url, draft.source.event], |row| {
            Ok(Kept { id: row.get(0)?, known: true, indexed: false })
        })
        .optional()
}

fn keep(transaction: &Transaction<'_>, delivery: &str, draft: &Draft) -> rusqlite::Result<Kept> {
    if draft.indexed
        && let Some(kept) = taken_back(transaction, draft)?
    {
        return Ok(kept);
    }
    let id = memory_id(delivery, draft);
    let content = digest(&said(draft));
    transaction
        .prepare_cached(
            "INSERT INTO memories (id, delivery, repository, kind, text, agent, branch, event, url, created_at, digest, indexed, trust)
             VALUES (:id, :delivery, :repository, :kind, :text, :agent, :branch, :event, :url, :created_at, :digest, :indexed, :trust)
             ON CONFLICT (repository, digest) DO UPDATE SET trust = max(trust, coalesce(excluded.trust, trust))",
        )?
        .execute(named_params! {
            ":id": id, ":delivery": delivery, ":repository": draft.repository, ":kind": draft.kind, ":text": draft.text,
            ":agent": draft.source.agent, ":branch": draft.source.branch, ":event": draft.source.event, ":url": draft.source.url,
            ":created_at": draft.created_at.as_microsecond(), ":digest": content, ":indexed": draft.indexed, ":trust": draft.source.trust.map(rank),
        })?;
    transaction
        .prepare_cached("SELECT id, indexed FROM memories WHERE repository = ? AND digest = ?")?
        .query_row(params![draft.repository, content], |row| {
            let said: String = row.get(0)?;
            Ok(Kept { known: said != id, indexed: row.get(1)?, id: said })
        })
}

fn delete_all(transaction: &Transaction<'_>, ids: Vec<String>) -> rusqlite::Result<Vec<Change>> {
    let mut changes = Vec::new();
    for id in ids {
        changes.extend(delete(transaction, &id)?.1);
    }
    Ok(changes)
}

pub(super) fn delete(transaction: &Transaction<'_>, id: &str) -> rusqlite::Result<(bool, Vec<Change>)> {
    let repository: Option<String> = transaction
        .prepare_cached("DELETE FROM memories WHERE id = ? RETURNING repository")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    let change = repository.map(|repository| Change::Removed { repository, id: id.to_owned() });
    Ok((change.is_some(), change.into_iter().collect()))
}

pub(super) fn keep_embeddings(
    transaction: &Transaction<'_>,
    model: &str,
    embeddings: Vec<(String, Embedding)>,
) -> rusqlite::Result<((), Vec<Change>)> {
    let mut changes = Vec::new();
    for (id, embedding) in embeddings {
        let found = transaction
            .prepare_cached("SELECT seq, repository, kind, created_at FROM memories WHERE id = ?")?
            .query_row([&id], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?, timestamp(row, 3)?)))
            .optional()?;
        let Some((seq, repository, kind, created_at)) = found else { continue };
        match embedding {
            Embedding::Vector(vector) => {
                transaction
                    .prepare_cached("INSERT OR REPLACE INTO vectors (memory_seq, model, dimensions, vector) VALUES (?, ?, ?, ?)")?
                    .execute(params![seq, model, rows(vector.len()), to_bytes(&vector)])?;
                let entry = Entry { id, kind, created_at };
                changes.push(Change::Added { model: model.to_owned(), repository, entry, vector });
            }
            Embedding::Rejected(reason) => {
                transaction
                    .prepare_cached(
                        "INSERT OR REPLACE INTO rejections (memory_seq, model, reason) VALUES (?, ?, ?)",
                    )?
                    .execute(params![seq, model, reason])?;
            }
        }
    }
    Ok(((), changes))
}

pub(super) fn forget_embeddings(
    transaction: &Transaction<'_>,
    model: String,
) -> rusqlite::Result<((), Vec<Change>)> {
    transaction.execute("DELETE FROM vectors WHERE model = ?", [&model])?;
    transaction.execute("DELETE FROM rejections WHERE model = ?", [&model])?;
    Ok(((), vec![Change::Forgotten { model }]))
}

/// What makes two drafts of one repository the same. Junk is never the same as what is worth finding: a release is
/// created and then published in the same words.
fn said(draft: &Draft) -> Vec<&[u8]> {
    let mut said = vec![draft.kind.as_bytes(), draft.text.as_bytes()];
    said.extend((!draft.indexed).then_some(&b"junk"[..]));
    said
}

/// The same words of the same delivery have the same id, however often they are handed over.
fn memory_id(delivery: &str, draft: &Draft) -> String {
    let repository = draft.repository.to_lowercase();
    let mut parts = vec![delivery.as_bytes(), repository.as_bytes()];
    parts.extend(said(draft));
    digest(&parts).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 over the parts, each with its length, so that moving a boundary changes the digest.
fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}
