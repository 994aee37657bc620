//! What is left, compared with what was written and with what was there before.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, bail, ensure};
use fastrand::Rng;
use serde_json::Value;

use super::endpoint::Endpoint;
use super::load::{Load, REPOSITORY};
use crate::crash::child::{PATIENCE, until};

/// How many memories are asked for by their words, and their vectors looked at, each time.
const SAMPLE: usize = 40;

/// A vector whose cosine with the one that the model gives is as near as this is that one.
const EQUAL: f64 = 0.9999;

/// What was there when it was last looked at.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// By delivery and line: what was recorded; nothing: forgotten.
    before: HashMap<(String, usize), Option<String>>,
}

/// What there is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) acknowledged: usize,
    pub(super) records: usize,
    pub(super) memories: usize,
    pub(super) forgotten: usize,
    pub(super) refined: usize,
    pub(super) vectors: usize,
}

impl Account {
    /// Waits until nothing waits, and compares. Nobody writes meanwhile.
    pub(super) async fn settle(
        &mut self,
        endpoint: &Endpoint,
        load: &Load,
        rng: &mut Rng,
    ) -> anyhow::Result<Found> {
        let acknowledged = load.book(|book| book.acknowledged.clone());
        settled(endpoint, &acknowledged).await?;
        let problems = load.book(|book| book.problems.clone());
        ensure!(problems.is_empty(), "{}", problems.join("; "));

        let check = endpoint.verb(&["check"]).await?;
        let said = String::from_utf8_lossy(&check.stdout);
        ensure!(check.status.success(), "what is derived is not what the record makes:\n{said}");

        let export = Export::read(&endpoint.text("/memory/export", &[]).await?)?;
        for delivery in acknowledged.keys() {
            ensure!(
                export.records.contains_key(&(delivery.clone(), 0)),
                "{delivery} was acknowledged and is lost"
            );
        }
        self.nothing_changed(&export)?;
        nothing_twice(&export)?;
        let (forgotten, doubtful) = load.book(|book| (book.forgotten.clone(), book.doubtful.clone()));
        for delivery in &forgotten {
            ensure!(!export.said_by(delivery), "{delivery} was forgotten and is there again");
        }
        for delivery in acknowledged.keys().filter(|delivery| !doubtful.contains(*delivery)) {
            ensure!(
                export.said_by(delivery) || export.is_forgotten(delivery),
                "{delivery} is on record and has no memory"
            );
        }
        let vectors = asked_for(endpoint, &export, &acknowledged, rng).await?;
        let found = Found {
            acknowledged: acknowledged.len(),
            records: export.records.len(),
            memories: export.memories.len(),
            forgotten: export.records.values().filter(|words| words.is_none()).count(),
            refined: export.memories.iter().filter(|memory| memory["template"].is_string()).count(),
            vectors,
        };
        self.before = export.records;
        Ok(found)
    }

    /// What was there before is there still, word for word, unless it was forgotten.
    fn nothing_changed(&self, export: &Export) -> anyhow::Result<()> {
        for (line, words) in &self.before {
            match export.records.get(line) {
                None => bail!("{} was on record and is not any more", line.0),
                Some(Some(now)) if words.as_ref() != Some(now) => bail!("{} says something else now", line.0),
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// An export, taken apart.
#[derive(Debug, Default)]
struct Export {
    records: HashMap<(String, usize), Option<String>>,
    memories: Vec<Value>,
}

impl Export {
    fn read(text: &str) -> anyhow::Result<Self> {
        let mut export = Self::default();
        let mut ended = false;
        for line in text.lines() {
            let mut line: Value = serde_json::from_str(line).context("a line of the export is no JSON")?;
            ended |= line["end"].is_object();
            if let Some(id) = line["record"]["id"].as_str() {
                let nth = (0..).find(|nth| !export.records.contains_key(&(id.to_owned(), *nth)));
                let words = line["record"]["body"].as_str().map(str::to_owned);
                export.records.insert((id.to_owned(), nth.unwrap_or_default()), words);
            } else if line["memory"].is_object() {
                export.memories.push(line["memory"].take());
            }
        }
        ensure!(ended, "the export was cut off");
        Ok(export)
    }

    fn said_by(&self, delivery: &str) -> bool {
        self.memories.iter().any(|memory| memory["source"]["delivery"] == delivery)
    }

    fn is_forgotten(&self, delivery: &str) -> bool {
        self.records.get(&(delivery.to_owned(), 0)) == Some(&None)
    }
}

/// Waits until everything acknowledged is on record, and all of it is embedded and refined.
async fn settled(endpoint: &Endpoint, acknowledged: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let mut last = Value::Null;
    let is_settled = async || {
        let Ok(stats) = endpoint.json("/memory/stats", &[]).await else { return false };
        let number = |path: &str| stats.pointer(path).and_then(Value::as_u64);
        let models = stats["vectors"]["models"].as_array().map_or(0, Vec::len);
        let is_settled = number("/records").unwrap_or_default() >= acknowledged.len() as u64
            && number("/vectors/waiting") == Some(0)
            && number("/refining/waiting") == Some(0)
            && models <= 1
            && stats["embedder"]["state"] == "idle";
        last = stats;
        is_settled
    };
    let is_settled = until(PATIENCE, is_settled).await;
    ensure!(is_settled, "its backlog was not worked off: {last}");
    ensure!(
        last["vectors"]["rejected"] == 0 && last["vectors"]["model"] == endpoint.model(),
        "not all was embedded: {last}"
    );
    Ok(())
}

fn nothing_twice(export: &Export) -> anyhow::Result<()> {
    let mut seen: HashMap<(&str, String), &Value> = HashMap::new();
    for memory in &export.memories {
        let says = memory["template"].as_str().or(memory["text"].as_str()).unwrap_or_default();
        let kind =
            if memory["template"].is_string() { "" } else { memory["kind"].as_str().unwrap_or_default() };
        if let Some(other) = seen.insert((kind, says.to_owned()), memory) {
            bail!("two memories say the same: {other} and {memory}");
        }
    }
    let mut deliveries: Vec<&str> =
        export.memories.iter().filter_map(|memory| memory["source"]["delivery"].as_str()).collect();
    let all = deliveries.len();
    deliveries.sort_unstable();
    deliveries.dedup();
    ensure!(deliveries.len() == all, "a delivery has two memories");
    Ok(())
}

/// Asks for some memories by the word that they alone have, and by all of their words: the best vector must be theirs.
async fn asked_for(
    endpoint: &Endpoint,
    export: &Export,
    words: &BTreeMap<String, String>,
    rng: &mut Rng,
) -> anyhow::Result<usize> {
    // What does not hold any more may stand behind all others, however near its vector is.
    let holds = |memory: &&Value| memory["stale"].is_null() && memory["superseded_by"].is_null();
    let findable = export.memories.iter().filter(|memory| memory["indexed"] == true);
    let mut memories: Vec<&Value> = findable.filter(holds).collect();
    rng.shuffle(&mut memories);
    memories.truncate(SAMPLE);
    for memory in &memories {
        let id = memory["merged_into"].as_str().or(memory["id"].as_str()).unwrap_or_default();
        let text = memory["text"].as_str().unwrap_or_default();
        let delivery = memory["source"]["delivery"].as_str().unwrap_or_default();
        if let Some(word) = words.get(delivery) {
            let query =
                [("q", word.as_str()), ("mode", "lexical"), ("repository", REPOSITORY), ("limit", "50")];
            let found = endpoint.json("/memory/search", &query).await?;
            let is_found = found["results"].as_array().into_iter().flatten().any(|hit| hit["id"] == id);
            ensure!(is_found, "{delivery} is not found by its word {word}: {found}");
        }
        let query =
            [("q", text), ("mode", "vector"), ("explain", "1"), ("repository", REPOSITORY), ("limit", "50")];
        let mut found = Value::Null;
        let answered = until(PATIENCE, async || {
            found = endpoint.json("/memory/search", &query).await.unwrap_or_default();
            found["degraded"].is_null() && found["results"].is_array()
        })
        .await;
        ensure!(answered, "the vectors do not answer: {found}");
        let cosine = found["results"].as_array().into_iter().flatten().find(|hit| hit["id"] == id);
        let cosine =
            cosine.and_then(|hit| hit["explanation"]["vector"]["measure"].as_f64()).unwrap_or_default();
        ensure!(cosine > EQUAL, "the vector of {id} is not what the model gives of {text:?}: {cosine}");
    }
    Ok(memories.len())
}
