//! Whether the memory is what its record makes: everything derived is made anew beside it and compared.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, Row};

use super::files::{Scratch, open_present, rebuilt};
use super::rebuild::column;
use super::{embedded, stale};
use crate::store::StoreError;
use crate::store::vectors::from_bytes;

/// As many differences are told one by one.
const MOST_TOLD: usize = 100;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Lines of the record.
    pub records: u64,
    /// Memories.
    pub memories: u64,
    /// Vectors.
    pub vectors: u64,
    /// What is not as it should be, one line each; empty if all is well.
    pub differences: Vec<String>,
}

/// Everything of a memory but its place, its version, and whether it was compared: these are of the moment.
const MEMORIES: &str = "SELECT m.id, m.delivery, m.repository, m.kind, m.indexed, m.created_at, m.digest, m.agent, m.author,
    m.branch, m.event, m.url, m.pull_request, m.trust, m.model, m.prompt_version, m.thread, m.stale, m.stale_reason,
    (SELECT s.id FROM memories s WHERE s.seq = m.superseded_by) AS superseded_by, m.superseded_at,
    (SELECT s.id FROM memories s WHERE s.seq = m.merged_into) AS merged_into, m.refined, m.commits, m.paths, m.template,
    m.text FROM memories m ORDER BY m.id";

/// The other tables, each row as its key.
const TABLES: [(&str, &str); 3] = [
    (
        "the note of what",
        "SELECT m.id || ' speaks of: ' || x.name || ' in ' || x.repository FROM mentions x
            LEFT JOIN memories m ON m.seq = x.memory_seq ORDER BY 1",
    ),
    (
        "the confirmation of",
        "SELECT m.id || ' by ' || c.delivery, c.trust FROM confirmations c LEFT JOIN memories m ON m.seq = c.memory_seq ORDER BY 1",
    ),
    (
        "what was done to",
        "SELECT name || ' in ' || repository || ' by ' || commit_id || ' (' || what || ' ' || subject || ', record ' || record || ')',
            at, pull_request FROM touches ORDER BY 1",
    ),
];

/// Looks at the memory at `path`, as it is at this moment; the service may run.
///
/// # Errors
/// There is no memory, or it cannot be read; or there is no room beside it for the one to compare it with.
pub fn check(path: &Path) -> Result<Checked, StoreError> {
    let live = open_present(path)?;
    let failed = |error: rusqlite::Error| StoreError::Backend(error.into());
    let vocabulary = "CREATE VIRTUAL TABLE temp.places USING fts5vocab (main, memories_fts, instance)";
    live.execute_batch(vocabulary).and_then(|()| live.execute_batch("BEGIN")).map_err(failed)?;
    let mut found = Found::default();
    found.structure(&live).map_err(failed)?;
    let count = |table: &str| {
        live.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).map_err(failed)
    };
    let (records, memories, vectors) = (count("records")?, count("memories")?, count("vectors")?);
    // A damaged file is not worth the comparison.
    if found.lines.is_empty() {
        let scratch = Scratch::beside(path, &format!("check-{}", std::process::id()));
        let anew = rebuilt(&live, scratch.as_ref())?;
        anew.execute_batch(vocabulary).map_err(failed)?;
        found.everything(&live, &anew).map_err(failed)?;
    }
    Ok(Checked { records, memories, vectors, differences: found.told() })
}

/// What is wrong, as far as it is told.
#[derive(Debug, Default)]
struct Found {
    lines: Vec<String>,
    more: usize,
}

impl Found {
    fn say(&mut self, line: String) {
        if self.lines.len() < MOST_TOLD { self.lines.push(line) } else { self.more += 1 }
    }

    fn told(mut self) -> Vec<String> {
        if self.more > 0 {
            self.lines.push(format!("and {} more", self.more));
        }
        self.lines
    }

    /// What SQLite itself finds; of the full text, too.
    fn structure(&mut self, live: &Connection) -> rusqlite::Result<()> {
        let damages: Vec<String> = column(live, "PRAGMA integrity_check(20)")?;
        for damage in damages.into_iter().filter(|damage| damage != "ok") {
            self.say(format!("the file is damaged: {damage}"));
        }
        let mut violations = live.prepare("PRAGMA foreign_key_check")?;
        let mut rows = violations.query([])?;
        while let Some(row) = rows.next()? {
            let (table, of): (String, String) = (row.get(0)?, row.get(2)?);
            self.say(format!("a row of {table} refers to {of} that there are not"));
        }
        Ok(())
    }

    fn everything(&mut self, live: &Connection, anew: &Connection) -> rusqlite::Result<()> {
        let exempt = too_many_mentions(live)?;
        let skipped = |id: &str, column: &str| column.starts_with("stale") && exempt.contains(id);
        self.compare("memory", MEMORIES, live, anew, skipped)?;
        for (what, sql) in TABLES {
            self.compare(what, sql, live, anew, |_, _| false)?;
        }
        self.full_text(live, anew)?;
        self.findings_about_nothing(live)?;
        self.vectors(live)
    }

    /// Both answers to `sql`, which are in the order of their first column.
    fn compare(
        &mut self,
        what: &str,
        sql: &str,
        live: &Connection,
        anew: &Connection,
        skipped: impl Fn(&str, &str) -> bool,
    ) -> rusqlite::Result<()> {
        let (mut live, mut anew) = (live.prepare(sql)?, anew.prepare(sql)?);
        let names: Vec<String> = live.column_names().map(str::to_owned).collect();
        let (mut live, mut anew) = (live.query([])?, anew.query([])?);
        let (mut here, mut there) = (values(live.next()?)?, values(anew.next()?)?);
        loop {
            let order = match (&here, &there) {
                (None, None) => return Ok(()),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((here, _)), Some((there, _))) => here.cmp(there),
            };
            match (&here, &there) {
                (Some((key, here)), Some((_, there))) if order.is_eq() => {
                    for (name, (here, there)) in names.iter().skip(1).zip(here.iter().zip(there)) {
                        if here != there && !skipped(key, name) {
                            self.say(format!("{what} {key}: its {name} is not what the record makes"));
                        }
                    }
                }
                (Some((key, _)), _) if order.is_lt() => {
                    self.say(format!("{what} {key} is there, and the record makes none"));
                }
                (_, Some((key, _))) => self.say(format!("{what} {key} is missing")),
                _ => {}
            }
            if order.is_le() {
                here = values(live.next()?)?;
            }
            if order.is_ge() {
                there = values(anew.next()?)?;
            }
        }
    }

    fn full_text(&mut self, live: &Connection, anew: &Connection) -> rusqlite::Result<()> {
        let (here, there) = (entries(live)?, entries(anew)?);
        for (memory, words) in &here {
            if there.get(memory) != Some(words) {
                self.say(format!("memory {memory}: the full text finds it by other words than its own"));
            }
        }
        for memory in there.keys().filter(|memory| !here.contains_key(*memory)) {
            self.say(format!("memory {memory}: the full text does not find it"));
        }
        Ok(())
    }

    fn findings_about_nothing(&mut self, live: &Connection) -> rusqlite::Result<()> {
        let orphans = "SELECT 'a text by ' || model || ' of ' || memory_id FROM derivations
                WHERE memory_id NOT IN (SELECT id FROM memories) UNION ALL
            SELECT 'a judgement of ' || newer || ' and ' || older FROM judgements
                WHERE newer NOT IN (SELECT id FROM memories) OR older NOT IN (SELECT id FROM memories)";
        for orphan in column::<String>(live, orphans)? {
            self.say(format!("{orphan}, where there is no memory"));
        }
        Ok(())
    }

    fn vectors(&mut self, live: &Connection) -> rusqlite::Result<()> {
        let mut lengths: HashMap<String, i64> = HashMap::new();
        let usual = "SELECT model, dimensions FROM vectors GROUP BY model, dimensions ORDER BY count(*)";
        let mut usual = live.prepare(usual)?;
        let mut rows = usual.query([])?;
        while let Some(row) = rows.next()? {
            lengths.insert(row.get(0)?, row.get(1)?);
        }
        let mut all = live.prepare(
            "SELECT m.id, v.model, v.dimensions, v.words, v.vector, m.indexed, m.text
             FROM vectors v JOIN memories m ON m.seq = v.memory_seq",
        )?;
        let mut rows = all.query([])?;
        while let Some(row) = rows.next()? {
            if let Some(wrong) = wrong_vector(row, &lengths)? {
                let (memory, model): (String, String) = (row.get(0)?, row.get(1)?);
                self.say(format!("memory {memory}: its vector of {model} {wrong}"));
            }
        }
        Ok(())
    }
}

/// A row's key and its other values.
fn values(row: Option<&Row<'_>>) -> rusqlite::Result<Option<(String, Vec<Value>)>> {
    let Some(row) = row else { return Ok(None) };
    let key: Option<String> = row.get(0)?;
    let columns = row.as_ref().column_count();
    let others = (1..columns).map(|column| row.get(column)).collect::<rusqlite::Result<_>>()?;
    Ok(Some((key.unwrap_or_else(|| "of nothing".to_owned()), others)))
}

/// Memories that speak of something of which so many do that a push does not look at all of them.
fn too_many_mentions(live: &Connection) -> rusqlite::Result<HashSet<String>> {
    let sql = format!(
        "SELECT m.id FROM mentions x JOIN memories m ON m.seq = x.memory_seq WHERE (x.repository, x.name) IN
            (SELECT repository, name FROM mentions GROUP BY repository, name HAVING count(*) > {})",
        stale::MOST_MEMORIES
    );
    Ok(column(live, &sql)?.into_iter().collect())
}

/// The words by which the full text finds each memory, as one number.
fn entries(connection: &Connection) -> rusqlite::Result<BTreeMap<String, u64>> {
    let mut sums: HashMap<i64, u64> = HashMap::new();
    let mut places = connection.prepare("SELECT doc, term, col, offset FROM temp.places")?;
    let mut rows = places.query([])?;
    while let Some(row) = rows.next()? {
        let mut hasher = DefaultHasher::new();
        (row.get_ref(1)?.as_str()?, row.get_ref(2)?.as_str()?, row.get::<_, i64>(3)?).hash(&mut hasher);
        // In whatever order they come.
        let sum = sums.entry(row.get(0)?).or_default();
        *sum = sum.wrapping_add(hasher.finish());
    }
    let mut ids: HashMap<i64, String> = HashMap::new();
    let mut memories = connection.prepare("SELECT seq, id FROM memories")?;
    let mut rows = memories.query([])?;
    while let Some(row) = rows.next()? {
        ids.insert(row.get(0)?, row.get(1)?);
    }
    let named =
        |position| ids.remove(&position).unwrap_or_else(|| format!("at {position}, which there is not,"));
    let mut named = named;
    Ok(sums.into_iter().map(|(position, sum)| (named(position), sum)).collect())
}

fn wrong_vector(row: &Row<'_>, lengths: &HashMap<String, i64>) -> rusqlite::Result<Option<&'static str>> {
    let (dimensions, words): (i64, i64) = (row.get(2)?, row.get(3)?);
    let vector = from_bytes(row.get_ref(4)?.as_blob()?);
    Ok(if !row.get::<_, bool>(5)? {
        Some("is of no use: no search may find it")
    } else if i64::try_from(vector.len()) != Ok(dimensions) {
        Some("has not the length that it should have")
    } else if lengths.get(row.get_ref(1)?.as_str()?) != Some(&dimensions) {
        Some("has another length than the others")
    } else if !embedded::is_unit(&vector) {
        Some("has not the norm 1")
    } else if words != embedded::words(row.get_ref(6)?.as_str()?) {
        Some("is of another text than it has now")
    } else {
        None
    })
}

#[cfg(test)]
mod tests;
