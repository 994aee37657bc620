//! The statements that search.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, named_params};

use super::index::place;
use super::read::{rows, timestamp};
use super::stale::level;
use super::stale::path_name;
use crate::rank::Candidate;
use crate::store::Filter;

/// Ranking costs about a microsecond for each memory that has one of the words. Common words make many of those and say
/// little, so they are left out, the commonest first, when together they would be more than this share of all memories.
const SHARE_RANKED: u64 = 15;

/// As many are ranked in any case.
const LEAST_RANKED: u64 = 1_500;

/// How many words' frequencies are remembered.
const MOST_WORDS: usize = 50_000;

/// A connection that searches, and what it knows of words.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) connection: Connection,
    /// How many memories have a word, as far as it was asked, and how many memories there were then.
    frequencies: HashMap<String, u64>,
    counted_at: u64,
}

impl Reader {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, frequencies: HashMap::new(), counted_at: 0 }
    }

    /// Memories that contain any of `words`, best first.
    pub(super) fn matching(
        &mut self,
        words: Vec<String>,
        filter: &Filter,
        limit: usize,
    ) -> rusqlite::Result<Vec<Candidate>> {
        let (words, all) = self.telling(words)?;
        // In quotes they are words even if they look like operators.
        let any = words
            .iter()
            .map(|word| format!("\"{}\"", word.replace(['"', '\0'], " ")))
            .collect::<Vec<_>>()
            .join(" OR ");
        let query = match &filter.repository {
            Some(repository) => format!("place : {} AND {{text about}} : ({any})", place(repository)),
            None => format!("{{text about}} : ({any})"),
        };
        // Ranked without a look at the memories themselves, unless the filter wants one.
        let narrowed = if filter.is_narrow() {
            format!("AND memories_fts.rowid IN (SELECT m.seq FROM memories m WHERE {})", passes(filter))
        } else {
            String::new()
        };
        let sql = format!(
            "SELECT {CANDIDATE}, found.measure FROM (
                SELECT rowid AS seq, -bm25(memories_fts, 1.0, 0.5, 0.0) AS measure FROM memories_fts
                WHERE memories_fts MATCH :words {narrowed} ORDER BY 2 DESC, 1 DESC LIMIT :limit
             ) AS found JOIN memories m ON m.seq = found.seq ORDER BY found.measure DESC, found.seq DESC"
        );
        let mut parameters: Vec<(&str, Box<dyn ToSql>)> =
            vec![(":words", Box::new(query)), (":limit", Box::new(rows(limit)))];
        parameters.push((":as_of", Box::new(as_of(filter))));
        if filter.is_narrow() {
            parameters.extend(bindings(filter));
        }
        run(&self.connection, &sql, &parameters, |row| {
            let measure: f64 = row.get(5)?;
            candidate(row, measure, share(measure, all))
        })
    }

    /// The rarest of `words`, as many as the limits on what is ranked allow, one at least; and what BM25 would be for a
    /// memory that has them all.
    fn telling(&mut self, words: Vec<String>) -> rusqlite::Result<(Vec<String>, f64)> {
        let memories = self.memories()?;
        let mut counted = Vec::with_capacity(words.len());
        for word in words {
            counted.push((self.frequency(&word)?, word));
        }
        counted.sort();
        let all = counted.iter().map(|(frequency, _)| rarity(*frequency, memories)).sum();
        let most = LEAST_RANKED.max(memories / SHARE_RANKED);
        let mut ranked = 0;
        counted.retain(|(frequency, _)| {
            let fits = ranked == 0 || ranked + frequency <= most;
            ranked += frequency;
            fits
        });
        Ok((counted.into_iter().map(|(_, word)| word).collect(), all))
    }

    /// Roughly how many memories there are; what was known of words is forgotten when that has much changed.
    fn memories(&mut self) -> rusqlite::Result<u64> {
        let newest: Option<i64> = self
            .connection
            .prepare_cached("SELECT max(seq) FROM memories")?
            .query_row([], |row| row.get(0))?;
        let all = newest.unwrap_or_default().unsigned_abs();
        if all > self.counted_at + self.counted_at / 10 || self.frequencies.len() > MOST_WORDS {
            self.frequencies.clear();
            self.counted_at = all;
        }
        Ok(all)
    }

    fn frequency(&mut self, word: &str) -> rusqlite::Result<u64> {
        if let Some(known) = self.frequencies.get(word) {
            return Ok(*known);
        }
        let found: Option<i64> = self
            .connection
            .prepare_cached("SELECT doc FROM memories_words WHERE term = ?")?
            .query_row([word], |row| row.get(0))
            .optional()?;
        let frequency = found.unwrap_or_default().unsigned_abs();
        self.frequencies.insert(word.to_owned(), frequency);
        Ok(frequency)
    }
}

/// The weight of a word that so many of the memories have, as SQLite's BM25 counts it
/// (<https://www.sqlite.org/fts5.html#the_bm25_function>).
fn rarity(frequency: u64, memories: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of memories")]
    let (has, all) = (frequency as f64, memories.max(frequency) as f64);
    ((all - has + 0.5) / (has + 0.5)).ln().max(1e-6)
}

/// The share of a question's words that a memory has, by their weight: BM25 gives a word that is there about its rarity.
fn share(measure: f64, all: f64) -> f64 {
    (measure / all.max(1e-6)).clamp(0.0, 1.0)
}

pub(super) fn recent(
    connection: &Connection,
    filter: &Filter,
    limit: usize,
) -> rusqlite::Result<Vec<Candidate>> {
    let sql = format!(
        "SELECT {CANDIDATE} FROM memories m WHERE {} AND m.merged_into IS NULL
         ORDER BY m.created_at DESC, m.seq DESC LIMIT :limit",
        passes(filter)
    );
    let mut parameters = bindings(filter);
    parameters.push((":limit", Box::new(rows(limit))));
    run(connection, &sql, &parameters, |row| candidate(row, 0.0, 1.0))
}

/// The positions of all memories that pass a filter.
pub(super) fn passing(connection: &Connection, filter: &Filter) -> rusqlite::Result<Vec<i64>> {
    let sql = format!("SELECT m.seq FROM memories m WHERE {}", passes(filter));
    run(connection, &sql, &bindings(filter), |row| row.get(0))
}

/// The memory at a position as a candidate.
pub(super) fn candidate_at(
    connection: &Connection,
    position: i64,
    measure: f64,
    filter: &Filter,
) -> rusqlite::Result<Option<Candidate>> {
    connection
        .prepare_cached(&format!("SELECT {CANDIDATE} FROM memories m WHERE m.seq = :position"))?
        .query_row(named_params! {":position": position, ":as_of": as_of(filter)}, |row| {
            candidate(row, measure, 1.0)
        })
        .optional()
}

fn run<T>(
    connection: &Connection,
    sql: &str,
    parameters: &[(&str, Box<dyn ToSql>)],
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let bound: Vec<(&str, &dyn ToSql)> =
        parameters.iter().map(|(name, value)| (*name, value.as_ref())).collect();
    connection.prepare_cached(sql)?.query_map(bound.as_slice(), read)?.collect()
}

/// The columns that [`candidate`] reads. What was superseded after the moment that is asked about still held then.
const CANDIDATE: &str = "coalesce(m.merged_into, m.seq), m.created_at, m.stale,
    coalesce(m.superseded_at <= coalesce(:as_of, m.superseded_at), 0), m.seq";

fn candidate(row: &Row<'_>, measure: f64, weight: f64) -> rusqlite::Result<Candidate> {
    Ok(Candidate {
        position: row.get(0)?,
        created_at: timestamp(row, 1)?,
        stale: level(row.get(2)?),
        superseded: row.get(3)?,
        measure,
        weight,
    })
}

fn as_of(filter: &Filter) -> Option<i64> {
    filter.as_of.map(Timestamp::as_microsecond)
}

/// The condition that `filter` puts on memories. A repository is compared plainly so that its index is used.
fn passes(filter: &Filter) -> String {
    let mut conditions = vec!["m.indexed"];
    for (wanted, condition) in [
        (filter.repository.is_some(), "m.repository = :repository"),
        (filter.kind.is_some(), "m.kind = :kind"),
        (filter.agent.is_some(), "m.agent = :agent COLLATE NOCASE"),
        (filter.since.is_some(), "m.created_at >= :since"),
        (filter.until.is_some(), "m.created_at < :until"),
        (filter.as_of.is_some(), "m.created_at <= :as_of"),
        (
            filter.path.is_some(),
            "m.seq IN (SELECT p.memory_seq FROM mentions p WHERE p.repository = m.repository
                AND (p.name = :path OR (p.name >= :below AND p.name < :beyond)))",
        ),
    ] {
        conditions.extend(wanted.then_some(condition));
    }
    // Used in any case, since it is also a column of a candidate.
    if filter.as_of.is_none() {
        conditions.push(":as_of IS NULL");
    }
    conditions.join(" AND ")
}

fn bindings(filter: &Filter) -> Vec<(&'static str, Box<dyn ToSql>)> {
    let mut bindings: Vec<(&'static str, Box<dyn ToSql>)> = vec![(":as_of", Box::new(as_of(filter)))];
    let texts = [(":repository", &filter.repository), (":kind", &filter.kind), (":agent", &filter.agent)];
    for (name, text) in texts {
        if let Some(text) = text {
            bindings.push((name, Box::new(text.clone())));
        }
    }
    for (name, time) in [(":since", filter.since), (":until", filter.until)] {
        if let Some(time) = time {
            bindings.push((name, Box::new(time.as_microsecond())));
        }
    }
    if let Some(path) = &filter.path {
        let path = path_name(path.trim_end_matches('/'));
        // All names that begin with the folder: `0` follows `/`.
        bindings.push((":below", Box::new(format!("{path}/"))));
        bindings.push((":beyond", Box::new(format!("{path}0"))));
        bindings.push((":path", Box::new(path)));
    }
    bindings
}
