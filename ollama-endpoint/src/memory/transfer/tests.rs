use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::ollama::Ollama;
use crate::store::portable::Taken;
use crate::store::sqlite::{SqliteStore, check};
use crate::store::tests::history::{self, Step, live};
use crate::store::{Audit, Filter, Store};

struct Fixture {
    directory: tempfile::TempDir,
    store: SqliteStore,
    memory: Memory,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("memory.db")).unwrap();
        let ollama = Ollama::new("http://127.0.0.1:9".parse().unwrap(), "m".into()).unwrap();
        let memory = Memory::new(Arc::new(store.clone()), ollama);
        Self { directory, store, memory }
    }

    async fn lived(steps: &[Step]) -> Self {
        let fixture = Self::new();
        live(&fixture.store, steps).await;
        fixture
    }

    async fn exported(&self, repository: Option<&str>) -> String {
        let mut pieces = self.memory.export(repository.map(str::to_owned)).await.unwrap();
        let mut text = Vec::new();
        while let Some(piece) = pieces.recv().await {
            text.extend_from_slice(&piece.unwrap());
        }
        String::from_utf8(text).unwrap()
    }

    async fn import(&self, text: &str, pieces: usize) -> Result<Imported, ImportError> {
        let mut importing = self.memory.importing();
        for piece in text.as_bytes().chunks(pieces) {
            importing.take(piece).await?;
        }
        importing.finish().await
    }

    fn differences(&self) -> Vec<String> {
        check(&self.directory.path().join("memory.db")).unwrap().differences
    }
}

fn run(test: impl AsyncFnOnce()) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(16) })]
    #[test]
    fn out_and_in_again_is_the_same(steps in history::steps(), others in history::steps(), pieces in 1..400_usize) {
        run(async || {
            let first = Fixture::lived(&steps).await;
            let text = first.exported(None).await;
            let second = Fixture::new();
            let imported = second.import(&text, pieces).await.unwrap();
            assert_eq!(imported.records.skipped + imported.derivations.skipped + imported.judgements.skipped, 0);
            assert_eq!(second.exported(None).await, text);
            let again = second.import(&text, pieces).await.unwrap();
            let Imported { records, derivations, judgements, audit } = again;
            assert_eq!([records, derivations, judgements, audit].map(|taken| taken.added), [0; 4]);
            assert_eq!(second.exported(None).await, text, "twice changes nothing");
            assert_eq!(second.differences(), Vec::<String>::new());

            // Two memories become one that is still what its record makes.
            live(&first.store, &others).await;
            let third = Fixture::lived(&others).await;
            third.import(&first.exported(None).await, pieces).await.unwrap();
            assert_eq!(third.differences(), Vec::<String>::new());
        });
    }
}

const STEPS: [Step; 6] = [
    Step::Update { delivery: 0, text: 0, repository: 0, kind: 0, path: 0 },
    Step::Update { delivery: 1, text: 1, repository: 1, kind: 0, path: 0 },
    Step::Update { delivery: 2, text: 2, repository: 0, kind: 1, path: 1 },
    Step::Refine { nth: 1, text: 3 },
    Step::Judge { newer: 1, older: 0, relation: 1 },
    Step::Forget { nth: 2 },
];

/// The second person who said it takes it back, then the first: nothing of either is left, whatever order they are read in.
#[tokio::test]
async fn what_was_said_twice_is_taken_back_where_it_was_said() {
    let comment = |delivery, action, url| Step::Comment { delivery, action, url, text: 1 };
    let steps = [comment(0, 0, 1), comment(1, 0, 0), comment(2, 2, 0), comment(3, 2, 1)];
    let words = |text: &str| text.matches(r#""forgotten""#).count();
    let after_one = Fixture::lived(&steps[..3]).await;
    assert_eq!(words(&after_one.exported(None).await), 1, "the first one's words stay");
    let first = Fixture::lived(&steps).await;
    let text = first.exported(None).await;
    assert_eq!(words(&text), 2, "{text}");
    let second = Fixture::new();
    second.import(&text, 100).await.unwrap();
    assert_eq!(second.exported(None).await, text);
    assert_eq!(first.differences(), Vec::<String>::new());
}

#[tokio::test]
async fn one_repository_alone_can_be_taken_out_and_what_was_forgotten_stays_so() {
    let first = Fixture::lived(&STEPS).await;
    let web = first.exported(Some("OCTO/web")).await;
    let lines: Vec<Value> = web.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4, "{web}");
    assert_eq!(lines[0], json!({"format": "ai-relay-memory", "version": 1}));
    assert_eq!(lines[1]["record"]["id"], "update:1");
    assert!(lines[1]["record"]["forgotten"].is_string() && lines[2]["audit"]["delivery"] == "update:1");
    let end = json!({"records": 1, "derivations": 0, "judgements": 0, "audit": 1, "memories": 0});
    assert_eq!(lines[3]["end"], end);
    let second = Fixture::lived(&STEPS[..2]).await;
    assert_eq!(second.import(&web, 7).await.unwrap().records, Taken { added: 0, skipped: 1 });
    assert_eq!(second.memory.counts().await.unwrap().memories, 2, "it takes nothing away");
    let third = Fixture::new();
    third.import(&web, 7).await.unwrap();
    live(&third.store, &STEPS[1..2]).await;
    assert_eq!(third.memory.counts().await.unwrap().memories, 0, "its delivery does not bring it back");
}

#[tokio::test]
async fn a_bad_line_is_named_and_its_batch_leaves_nothing() {
    let first = Fixture::lived(&STEPS[..3]).await;
    let text = first.exported(None).await;
    let lines: Vec<&str> = text.lines().collect();
    let with = |at: usize, line: &str| {
        let mut lines = lines.clone();
        lines[at] = line;
        lines.join("\n")
    };
    let double = r#"{"record":{"id":"x","received_at":"2026-11-22T10:00:00Z","body":"{}","body_base64":""}}"#;
    for (text, line, told) in [
        (with(2, "{"), 3, "cannot be read"),
        (with(1, r#"{"record":{"id":"x"}}"#), 2, "received_at"),
        (with(1, r#"{"surprise":{}}"#), 2, "surprise"),
        (with(3, double), 4, "one of `body`"),
        (with(0, "{}"), 1, "does not begin with"),
        (text[..text.len() / 2].rsplit_once('\n').unwrap().0.to_owned(), 4, "cut off"),
        (with(2, ""), lines.len() as u64, "not whole"),
        (format!("{text}{}", lines[1]), 1 + lines.len() as u64, "behind the end"),
        (String::new(), 0, "nothing"),
    ] {
        let second = Fixture::new();
        let error = second.import(&text, 50).await.unwrap_err();
        let ImportError::Line { line: at, since, .. } = &error else { panic!("{error}") };
        assert_eq!(*at, line, "{error}");
        assert!(error.to_string().contains(told), "{error}");
        let memories = second.memory.counts().await.unwrap().memories;
        assert_eq!(memories > 0, *since > 1, "{error}");
    }
}

#[tokio::test]
async fn a_record_that_is_no_text_or_cannot_be_read_is_kept_all_the_same() {
    let first = Fixture::new();
    let mut lines = vec![serde_json::to_string(&Header::today()).unwrap()];
    for (id, body) in [("update:1", r#""body_base64":"/w==""#), ("d2", r#""body":"no event""#)] {
        lines.push(format!(r#"{{"record":{{"id":"{id}","received_at":"2026-11-22T10:00:00Z",{body}}}}}"#));
    }
    lines.push(r#"{"end":{"records":2,"derivations":0,"judgements":0,"audit":0,"memories":0}}"#.into());
    let text = lines.join("\n") + "\n";
    first.import(&text, 1000).await.unwrap();
    assert_eq!(first.exported(None).await, text);
    assert!(first.differences().is_empty());
}

#[tokio::test]
async fn vectors_in_ram_know_what_an_import_changed() {
    let refined = Fixture::lived(&STEPS[..4]).await;
    let plain = Fixture::lived(&STEPS[..3]).await;
    for memory in history::all(&plain.store).await {
        let vector = crate::store::Embedding::Vector(vec![0.6, 0.8]);
        let kept = vec![(memory.position, memory.version, vector)];
        plain.store.keep_embeddings("m".into(), kept).await.unwrap();
    }
    let near = async || {
        let found = plain.store.nearest("m".into(), vec![0.6, 0.8], Filter::default(), 9).await.unwrap();
        found.map_or(0, |found| found.len())
    };
    assert_eq!(near().await, 3);
    assert!(!plain.memory.take_changed());
    plain.import(&refined.exported(None).await, 1000).await.unwrap();
    assert_eq!(near().await, 2, "one says something else now");
    assert!(plain.memory.take_changed(), "and the embedder looks at it again");
    let ids = history::all(&plain.store).await.into_iter().map(|memory| memory.id).collect();
    plain.memory.forget(ids, Audit::default()).await.unwrap();
    assert_eq!(near().await, 0);
}
