//! How fast a large memory is searched, how much memory it takes, and what the fast scan misses of the exact one.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::ensure;
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Value, json};
use shared::memory::Mode;

use super::{
    super::{
        Setup, machine,
        report::{self, Bound, Goal, milliseconds},
    },
    Recall,
    corpus::Corpus,
    double::{Double, MODEL},
    exact,
    service::{Ask, Service},
    texts::{self, Texts},
};

/// On one connection each.
pub(super) const WRITERS: usize = 64;
const LIMIT: usize = 10;
/// Questions before the first that counts.
const WARM_UP: usize = 40;
/// Records that are sent together.
const IMPORTED: usize = 5_000;
/// How deep the scans are compared.
pub(super) const DEEP: usize = 20;
/// All memories are of one time, so that only vectors decide between them.
const SAID_AT: &str = "2026-01-01T00:00:00Z";
/// Up to which median in milliseconds, by the number of memories.
const GOALS: [(u64, f64); 3] = [(10_000, 3.0), (100_000, 12.0), (300_000, 35.0)];
/// In percent.
const LEAST_RECALL: f64 = 99.0;

/// What was seen at one size.
#[derive(Debug, Serialize)]
struct Seen {
    memories: u64,
    /// Seconds until what was added had been imported and could be found by words, and had its vectors.
    imported: f64,
    embedded: f64,
    /// From the start of the process to its readiness, and to its first answer, in milliseconds.
    ready: f64,
    first: f64,
    /// Of a search over all memories, and over those of one project, in milliseconds.
    p50: f64,
    p99: f64,
    own_p50: f64,
    own_p99: f64,
    /// After the searches, in MB of 1,000,000 bytes.
    resident: f64,
    anonymous: f64,
    /// Share of the exact scan's first twenty.
    recall: f64,
}

/// Fills one store step by step and looks at it at each size.
pub(super) async fn run(recall: &Recall, setup: &Setup, folder: &Path) -> anyhow::Result<(Vec<Goal>, Value)> {
    let corpus = Corpus::read(usize::MAX)?;
    let texts = Texts::of(&corpus);
    let double = Double::start().await?;
    println!(
        "latency: {} questions each; vectors of a double that answers at once with {} numbers that mean nothing, {}",
        recall.questions,
        texts::DIMENSIONS,
        machine::describe(folder)?
    );
    let mut service = Service::start(setup, folder, double.url(), MODEL).await?;
    let (mut all, mut there) = (Vec::new(), 0);
    for size in &recall.sizes {
        let filled = fill(&mut service, &texts, there..*size).await?;
        there = *size;
        service = service.restart().await?;
        let seen = look(&service, &corpus, recall.questions, there, filled).await?;
        println!("{seen}");
        all.push(seen);
    }
    service.stop()?;
    let goals = all.iter().flat_map(goals).collect();
    table(&all);
    Ok((goals, json!({"questions": recall.questions, "sizes": all})))
}

/// The update that is the memory of that number.
pub(super) fn update(texts: &Texts, number: u64) -> Value {
    let (repository, context) = texts.memory(number);
    json!({"repository": repository, "context": context, "kind": "note", "agent": "bench", "timestamp": SAID_AT})
}

/// Seconds until they were imported, and had their vectors.
async fn fill(
    service: &mut Service,
    texts: &Texts,
    numbers: std::ops::Range<u64>,
) -> anyhow::Result<[f64; 2]> {
    let (started, end) = (Instant::now(), numbers.end);
    for first in numbers.clone().step_by(IMPORTED) {
        let part = first..(first + IMPORTED as u64).min(end);
        let records: Vec<_> =
            part.map(|number| (format!("update:bench-{number}"), update(texts, number))).collect();
        service.import(&records).await?;
    }
    let imported = service.until_remembered(end).await? - started;
    let embedded = service.until_embedded(end).await? - started;
    Ok([imported, embedded].map(|time| time.as_secs_f64()))
}

async fn look(
    service: &Service,
    corpus: &Corpus,
    questions: usize,
    memories: u64,
    [imported, embedded]: [f64; 2],
) -> anyhow::Result<Seen> {
    let started = Instant::now();
    let ask = Ask { q: "what is known of the first start?", mode: "hybrid", repository: None, limit: LIMIT };
    service.search(&ask).await?;
    let first = service.ready + started.elapsed();
    let all = searches(service, corpus, questions, false).await?;
    let own = searches(service, corpus, questions, true).await?;
    let resident = service.resident()?;
    let recall = scan(service, corpus, memories).await?;
    let milli = |time: Duration| time.as_secs_f64() * 1e3;
    Ok(Seen {
        memories,
        imported,
        embedded,
        ready: milli(service.ready),
        first: milli(first),
        p50: milliseconds(&all, 50.0),
        p99: milliseconds(&all, 99.0),
        own_p50: milliseconds(&own, 50.0),
        own_p99: milliseconds(&own, 99.0),
        resident: resident.all,
        anonymous: resident.anonymous,
        recall,
    })
}

/// How long one client waits for each answer. No question is asked twice, and the first few of the corpus only warm up.
async fn searches(
    service: &Service,
    corpus: &Corpus,
    count: usize,
    own: bool,
) -> anyhow::Result<Histogram<u64>> {
    let mut times = Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?;
    let (warm_up, rest) = corpus.questions.split_at(WARM_UP.min(corpus.questions.len()));
    let step = (rest.len() / count.max(1)).max(1);
    let counted = rest.iter().step_by(step).take(count);
    let all =
        warm_up.iter().map(|question| (question, false)).chain(counted.map(|question| (question, true)));
    for (question, counts) in all {
        let repository = own.then_some(question.repository.as_str());
        let ask = Ask { q: &question.q, mode: "hybrid", repository, limit: LIMIT };
        let started = Instant::now();
        let answer = service.search(&ask).await?;
        let time = started.elapsed();
        let (mode, why) = (answer.mode, answer.degraded);
        ensure!(mode == Mode::Hybrid, "a search fell back to {mode:?}: {why:?}");
        if counts {
            times.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        }
    }
    Ok(times)
}

/// The share of what an exact scan over the same vectors finds that the service finds by vectors.
async fn scan(service: &Service, corpus: &Corpus, memories: u64) -> anyhow::Result<f64> {
    let questions: Vec<String> = (corpus.questions.iter().step_by(8).zip(0..))
        .map(|(question, number)| texts::marked(&question.q, number))
        .collect();
    let exact = exact::nearest(&questions, memories, DEEP);
    let (mut hits, mut all) = (0, 0);
    for (question, exact) in questions.iter().zip(exact) {
        let ask = Ask { q: question, mode: "vector", repository: None, limit: DEEP };
        let answer = service.search(&ask).await?;
        let found: Vec<u64> = answer.results.iter().filter_map(|hit| texts::number_in(&hit.text)).collect();
        hits += exact.iter().filter(|number| found.contains(number)).count();
        all += exact.len();
    }
    Ok(hits as f64 / f64::from(u32::try_from(all.max(1))?))
}

fn goals(seen: &Seen) -> Vec<Goal> {
    let most = GOALS.iter().find(|(memories, _)| *memories == seen.memories);
    let most = most.map_or(Bound::None, |(_, most)| Bound::AtMost(*most));
    let at = format!("at {} memories", seen.memories);
    vec![
        Goal::new(format!("hybrid search p50, {at}"), seen.p50, "ms", most),
        Goal::new(format!("hybrid search p99, {at}"), seen.p99, "ms", Bound::None),
        Goal::new(format!("resident memory, {at}"), seen.resident, "MB", Bound::None),
        Goal::new(format!("start to ready, {at}"), seen.ready, "ms", Bound::None),
        Goal::new(
            format!("of the exact scan's first {DEEP}, {at}"),
            seen.recall * 100.0,
            "%",
            Bound::AtLeast(LEAST_RECALL),
        ),
    ]
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { memories, imported, embedded, .. } = self;
        write!(
            f,
            "{memories} memories: what was added was imported in {imported:.1} s and had its vectors after {embedded:.1} s"
        )
    }
}

fn table(all: &[Seen]) {
    let row = |seen: &Seen| {
        let numbers = [
            seen.p50,
            seen.p99,
            seen.own_p50,
            seen.own_p99,
            seen.resident,
            seen.anonymous,
            seen.ready,
            seen.first,
        ];
        let cells = numbers.map(|number| format!("{number:.1}"));
        let mut row = vec![seen.memories.to_string()];
        row.extend(cells);
        row.push(format!("{:.4}", seen.recall));
        row
    };
    let head = [
        "memories",
        "p50 ms",
        "p99 ms",
        "one project's p50",
        "p99",
        "VmRSS MB",
        "RssAnon MB",
        "ready ms",
        "first answer ms",
        "scan's recall",
    ];
    println!();
    report::table(&head, &all.iter().map(row).collect::<Vec<_>>());
}
