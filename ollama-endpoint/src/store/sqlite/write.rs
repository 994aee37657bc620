//! What is recorded, and the memory made of it, each within the transaction of its caller.

use rusqlite::{Connection, OptionalExtension, named_params, params};
use sha2::{Digest, Sha256};

use super::read::rank;
use super::{index, record, refined, stale};
use crate::distil::{Distilled, Draft, LOCAL_PREFIX, RETRACTION};
use crate::store::vectors::Change;
use crate::store::{Kept, Record};

/// What went when memories were deleted, and whose words they also were.
#[derive(Debug, Default)]
pub(super) struct Gone {
    pub(super) changes: Vec<Change>,
    confirmers: Vec<String>,
}

/// Appends the record, and makes its memory; one that is there already has its memory.
pub(super) fn append(
    transaction: &Connection,
    sent: &Record,
    distilled: &Distilled,
) -> rusqlite::Result<(Kept, Vec<Change>)> {
    let is_new = record::append(transaction, &sent.id, sent.received_at.as_microsecond(), &sent.body)?;
    if is_new {
        return make(transaction, &sent.id, distilled);
    }
    Ok((kept(transaction, &sent.id)?, Vec::new()))
}

/// What became of a delivery that was recorded before.
fn kept(transaction: &Connection, delivery: &str) -> rusqlite::Result<Kept> {
    let id = memory_id(delivery);
    let found = transaction
        .prepare_cached(
            "SELECT id, 0, indexed FROM memories WHERE id = ?1 UNION ALL
             SELECT m.id, 1, m.indexed FROM confirmations c JOIN memories m ON m.seq = c.memory_seq WHERE c.delivery = ?2
             LIMIT 1",
        )?
        .query_row([id.as_str(), delivery], |row| {
            Ok(Kept { id: row.get(0)?, known: row.get(1)?, indexed: row.get(2)? })
        })
        .optional()?;
    Ok(found.unwrap_or(Kept { id, known: true, indexed: false }))
}

/// Makes the memory of a record that is there.
pub(super) fn make(
    transaction: &Connection,
    delivery: &str,
    distilled: &Distilled,
) -> rusqlite::Result<(Kept, Vec<Change>)> {
    let id = memory_id(delivery);
    if record::is_forgotten(transaction, delivery)? {
        return Ok((Kept { id, known: true, indexed: false }, Vec::new()));
    }
    let draft = &distilled.draft;
    let mut gone = Gone::default();
    replace_other_words(transaction, &id, draft, &mut gone)?;
    take_back(transaction, draft, &mut gone)?;
    stale::touch(transaction, delivery, &draft.repository, &distilled.touches)?;
    let kept = keep(transaction, id, delivery, draft, &mut gone)?;
    Ok((kept, others_say_it_still(transaction, gone, delivery)?))
}

/// Makes memories again of what others than `delivery` have said as well as what went.
pub(super) fn others_say_it_still(
    transaction: &Connection,
    gone: Gone,
    delivery: &str,
) -> rusqlite::Result<Vec<Change>> {
    let Gone { mut changes, confirmers } = gone;
    for confirmer in confirmers.iter().filter(|confirmer| *confirmer != delivery) {
        if let Some(distilled) = record::latest(transaction, confirmer)? {
            changes.extend(make(transaction, confirmer, &distilled)?.1);
        }
    }
    Ok(changes)
}

/// Removes what an earlier version of the same delivery said, if this one says something else.
fn replace_other_words(
    transaction: &Connection,
    id: &str,
    draft: &Draft,
    gone: &mut Gone,
) -> rusqlite::Result<()> {
    let other = transaction
        .prepare_cached("SELECT 1 FROM memories WHERE id = ? AND NOT (repository = ? AND digest = ?)")?
        .exists(params![id, draft.repository, content(draft)])?;
    if other { delete(transaction, id, gone) } else { Ok(()) }
}

/// Removes what was said where this draft takes it back, its record's words included.
fn take_back(transaction: &Connection, draft: &Draft, gone: &mut Gone) -> rusqlite::Result<()> {
    let Some((url, event)) = draft.takes_back() else { return Ok(()) };
    let said: Vec<(String, String)> = transaction
        .prepare_cached(
            "SELECT id, delivery FROM memories WHERE repository = ? AND url = ? AND event = ? AND kind <> ? ORDER BY seq",
        )?
        .query_map(params![draft.repository, url, event, draft.kind], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (id, delivery) in said {
        withdraw(transaction, &delivery)?;
        delete(transaction, &id, gone)?;
    }
    // What only said again what somebody else had said: that one's words stay.
    let said_again: Vec<String> = transaction
        .prepare_cached(
            "SELECT c.delivery FROM confirmations c JOIN memories m ON m.seq = c.memory_seq
             WHERE m.repository = ? AND c.url = ? AND c.event = ? AND m.kind <> ? ORDER BY c.delivery",
        )?
        .query_map(params![draft.repository, url, event, draft.kind], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    said_again.iter().try_for_each(|delivery| withdraw(transaction, delivery))
}

/// What has taken this draft back before it came.
fn taken_back(transaction: &Connection, draft: &Draft) -> rusqlite::Result<Option<Kept>> {
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

fn keep(
    transaction: &Connection,
    id: String,
    delivery: &str,
    draft: &Draft,
    gone: &mut Gone,
) -> rusqlite::Result<Kept> {
    if draft.indexed
        && let Some(kept) = taken_back(transaction, draft)?
    {
        withdraw(transaction, delivery)?;
        // What it said before, elsewhere.
        delete(transaction, &id, gone)?;
        return Ok(kept);
    }
    confirms_nothing(transaction, delivery)?;
    let content = content(draft);
    let said = transaction
        .prepare_cached("SELECT seq, id, indexed FROM memories WHERE repository = ? AND digest = ?")?
        .query_row(params![draft.repository, content], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((position, first, indexed)) = said else {
        insert(transaction, &id, delivery, draft, &content)?;
        return Ok(Kept { id, known: false, indexed: draft.indexed });
    };
    if first == id {
        return Ok(Kept { id, known: false, indexed });
    }
    confirm(transaction, position, delivery, draft)?;
    Ok(Kept { id: first, known: true, indexed })
}

/// Another delivery has said the same.
fn confirm(transaction: &Connection, position: i64, delivery: &str, draft: &Draft) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO confirmations (memory_seq, delivery, trust, url, event) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![
            position,
            delivery,
            draft.source.trust.map(rank),
            draft.source.url,
            draft.source.event
        ])?;
    Ok(())
}

/// A delivery says one thing: what it said before it says no more.
fn confirms_nothing(transaction: &Connection, delivery: &str) -> rusqlite::Result<()> {
    transaction.prepare_cached("DELETE FROM confirmations WHERE delivery = ?")?.execute([delivery])?;
    Ok(())
}

/// Takes the words of a delivery out of the record, and all that they did but the memory itself.
pub(super) fn withdraw(transaction: &Connection, delivery: &str) -> rusqlite::Result<()> {
    record::strip(transaction, delivery)?;
    confirms_nothing(transaction, delivery)?;
    stale::untouch(transaction, delivery)
}

fn insert(
    transaction: &Connection,
    id: &str,
    delivery: &str,
    draft: &Draft,
    content: &[u8],
) -> rusqlite::Result<()> {
    let source = &draft.source;
    let local = delivery.starts_with(LOCAL_PREFIX);
    transaction
        .prepare_cached(
            "INSERT INTO memories (id, delivery, repository, kind, indexed, created_at, digest, agent, author, branch, event,
                url, pull_request, trust, model, prompt_version, thread, refined, compared, commits, paths, text)
             VALUES (:id, :delivery, :repository, :kind, :indexed, :created_at, :digest, :agent, :author, :branch, :event,
                :url, :pull_request, :trust, :model, :prompt_version, :thread, :refined, :compared, :commits, :paths, :text)",
        )?
        .execute(named_params! {
            ":id": id, ":delivery": delivery, ":repository": draft.repository, ":kind": draft.kind,
            ":indexed": draft.indexed, ":created_at": draft.created_at.as_microsecond(), ":digest": content,
            ":agent": source.agent, ":author": source.author, ":branch": source.branch, ":event": source.event,
            ":url": source.url, ":pull_request": source.pull_request, ":trust": source.trust.map(rank),
            ":model": source.model, ":prompt_version": source.prompt_version, ":thread": thread(draft, local),
            // An agent's own words are as they should be.
            ":refined": local || !draft.indexed, ":compared": !draft.indexed,
            ":commits": json(&source.commits)?, ":paths": json(&source.paths)?, ":text": draft.text,
        })?;
    let position = transaction.last_insert_rowid();
    mention(transaction, position, draft)?;
    if draft.indexed {
        index::insert(transaction, position, draft, None)?;
        stale::judge(transaction, position)?;
        refined::settle_thread(transaction, position)?;
    }
    Ok(())
}

fn mention(transaction: &Connection, position: i64, draft: &Draft) -> rusqlite::Result<()> {
    let mut statement = transaction
        .prepare_cached("INSERT OR IGNORE INTO mentions (repository, name, memory_seq) VALUES (?, ?, ?)")?;
    let paths = draft.source.paths.iter().map(|path| stale::path_name(path));
    for name in paths.chain(draft.source.commits.iter().map(|commit| stale::commit_name(commit))) {
        statement.execute(params![draft.repository, name, position])?;
    }
    Ok(())
}

/// What an event's memory tells the state of, where a later event makes it obsolete: a pull request is opened, edited and
/// merged, and each time its whole text is told. What an agent says of one stands beside what it said before.
fn thread(draft: &Draft, local: bool) -> Option<String> {
    let source = &draft.source;
    let (event, url) = (source.event.as_deref()?, source.url.as_deref()?);
    let told_again = matches!(
        event,
        "pull_request"
            | "issues"
            | "issue_comment"
            | "pull_request_review"
            | "pull_request_review_comment"
            | "release"
    );
    (draft.indexed && told_again && !local).then(|| format!("{event} {url}"))
}

/// Removes a memory and everything derived of it.
pub(super) fn delete(transaction: &Connection, id: &str, gone: &mut Gone) -> rusqlite::Result<()> {
    let found = transaction
        .prepare_cached("SELECT seq, repository FROM memories WHERE id = ?")?
        .query_row([id], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))
        .optional()?;
    let Some((position, repository)) = found else { return Ok(()) };
    gone.confirmers.extend(confirmers(transaction, position)?);
    let left = refined::leave(transaction, id, position)?;
    transaction.prepare_cached("DELETE FROM memories WHERE seq = ?")?.execute([position])?;
    refined::resettle(transaction, left)?;
    gone.changes.push(Change::Removed { repository, position });
    Ok(())
}

/// The deliveries that said the same as the memory at a position, in the order in which they came.
pub(super) fn confirmers(transaction: &Connection, position: i64) -> rusqlite::Result<Vec<String>> {
    transaction
        .prepare_cached(
            "SELECT c.delivery FROM confirmations c WHERE c.memory_seq = ?
             ORDER BY (SELECT min(r.seq) FROM records r WHERE r.id = c.delivery)",
        )?
        .query_map([position], |row| row.get(0))?
        .collect()
}

/// What makes two drafts of one repository the same. Junk is never the same as what is worth finding: a release is
/// created and then published in the same words.
fn content(draft: &Draft) -> [u8; 32] {
    let mut said: Vec<&[u8]> = vec![draft.kind.as_bytes(), draft.text.as_bytes()];
    said.extend((!draft.indexed).then_some(&b"junk"[..]));
    digest(&said)
}

/// The memory of a delivery has the same id, however often it is handed over and whatever becomes of its text.
pub(super) fn memory_id(delivery: &str) -> String {
    digest(&[b"memory", delivery.as_bytes()]).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 over the parts, each with its length, so that moving a boundary changes the digest.
pub(super) fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn json(list: &[String]) -> rusqlite::Result<String> {
    serde_json::to_string(list).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
