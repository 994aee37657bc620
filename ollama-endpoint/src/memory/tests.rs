use proptest::prelude::*;
use serde_json::json;

use shared::memory::{Mode, SearchResponse};

use super::*;
use crate::store::{Audit, Filter};
use crate::testing::{Fixture, healthy, letters, unavailable};

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn ask(text: &str) -> Question {
    let filter = Filter { repository: Some("o/r".into()), ..Filter::default() };
    Question { text: text.into(), filter, limit: 10, mode: Mode::Hybrid, explain: false }
}

fn texts(response: &SearchResponse) -> Vec<&str> {
    response.results.iter().map(|hit| hit.text.as_str()).collect()
}

async fn embed_all(fixture: &Fixture) {
    for stored in fixture.memory.unembedded(0, 100).await.unwrap() {
        let vector: Vec<f32> = serde_json::from_value(letters(&stored.draft.text)).unwrap();
        let embedding = Embedding::Vector(unit(vector, None).unwrap());
        fixture.memory.keep_embeddings(vec![(stored.position, stored.version, embedding)]).await.unwrap();
    }
}

#[tokio::test]
async fn found_by_words_at_once_and_by_meaning_once_embedded() {
    let fixture = Fixture::new(Box::new(healthy)).await;
    let retries = fixture.say("o/r", "Retries are capped").await;
    fixture.say("o/r", "ooo").await;
    fixture.say("o/other", "Retries elsewhere").await;
    let response = fixture.memory.search(ask("how are retries capped?"), now()).await.unwrap();
    assert_eq!((response.mode, texts(&response)), (Mode::Lexical, vec!["Retries are capped"]));
    let hit = &response.results[0];
    assert_eq!((&hit.id, hit.lexical_rank, hit.vector_rank), (&retries, Some(1), None));

    embed_all(&fixture).await;
    let response = fixture.memory.search(ask("zoo"), now()).await.unwrap();
    assert_eq!(response.mode, Mode::Hybrid);
    assert_eq!(texts(&response)[0], "ooo", "no word in common, but the same letter");
    assert_eq!(response.results[0].vector_rank, Some(1));
}

#[tokio::test]
async fn ollama_away_costs_the_vectors_not_the_answer() {
    let fixture = Fixture::new(Box::new(healthy)).await;
    fixture.say("o/r", "Retries are capped").await;
    embed_all(&fixture).await;
    fixture.answer(Box::new(unavailable));
    let response = fixture.memory.search(ask("retries"), now()).await.unwrap();
    assert_eq!((response.mode, texts(&response).len()), (Mode::Lexical, 1));
}

#[tokio::test]
async fn a_question_vector_of_another_length_is_not_used() {
    let fixture = Fixture::new(Box::new(healthy)).await;
    fixture.say("o/r", "Retries are capped").await;
    embed_all(&fixture).await;
    fixture.answer(Box::new(|_| (http::StatusCode::OK, json!({"embeddings": [[1.0, 2.0]]}))));
    let response = fixture.memory.search(ask("retries"), now()).await.unwrap();
    assert_eq!((response.mode, texts(&response).len()), (Mode::Lexical, 1));
}

#[tokio::test]
async fn no_question_means_the_most_recent() {
    let fixture = Fixture::new(Box::new(healthy)).await;
    for text in ["first", "second", "third"] {
        fixture.say("o/r", text).await;
    }
    let response = fixture.memory.search(Question { limit: 2, ..ask("  ") }, now()).await.unwrap();
    assert_eq!(texts(&response), ["third", "second"]);
}

#[tokio::test]
async fn what_is_forgotten_is_gone() {
    let fixture = Fixture::new(Box::new(healthy)).await;
    let id = fixture.say("o/r", "secret plan").await;
    embed_all(&fixture).await;
    assert_eq!(fixture.memory.get(&id).await.unwrap().unwrap().draft.text, "secret plan");
    let forget = async || fixture.memory.forget(vec![id.clone()], Audit::default()).await.unwrap().len();
    assert_eq!((forget().await, forget().await), (1, 0));
    assert!(fixture.memory.get(&id).await.unwrap().is_none());
    assert!(fixture.memory.search(ask("secret plan"), now()).await.unwrap().results.is_empty());
}

#[tokio::test]
async fn the_same_words_again_are_known_and_junk_says_why() {
    let fixture = Fixture::new(Box::new(healthy)).await;
    let id = fixture.say("o/r", "said").await;
    let update = Bytes::from(r#"{"repository": "O/R", "context": "said"}"#);
    let learnt = fixture.memory.learn("update:other", update, now()).await.unwrap();
    assert_eq!(learnt, Learnt::Known { id });
    let star = json!({
        "version": 1, "id": "d1", "event": "star", "action": "created", "received_at": "2026-11-22T10:00:00Z",
        "repository": {"full_name": "o/r", "private": true, "default_branch": "main"},
        "subject": {"kind": "other"}, "payload": {},
    });
    let learnt = fixture.memory.learn("d1", star.to_string().into(), now()).await.unwrap();
    assert!(matches!(learnt, Learnt::Junk { reason } if reason.contains("no text")));
    let unreadable = fixture.memory.learn("d2", Bytes::from("{"), now()).await;
    assert!(matches!(unreadable, Err(LearnError::Unreadable(_))));
    assert_eq!(fixture.memory.counts().await.unwrap().records, 3);
}

fn comment(id: &str, action: &str) -> Bytes {
    let envelope = json!({
        "version": 1, "id": id, "event": "commit_comment", "action": action, "received_at": "2026-11-22T10:00:00Z",
        "repository": {"full_name": "o/r", "private": true, "default_branch": "main"},
        "sender": {"login": "ann", "kind": "user"}, "subject": {"kind": "other"},
        "payload": {"comment": {"body": "The key is hunter2", "html_url": "https://example.test/c#1"}},
    });
    envelope.to_string().into()
}

#[tokio::test]
async fn a_deleted_comment_is_not_found_in_whichever_order_the_events_come() {
    for order in [["created", "deleted"], ["deleted", "created"]] {
        let fixture = Fixture::new(Box::new(healthy)).await;
        for action in order {
            let learnt = fixture.memory.learn(action, comment(action, action), now()).await.unwrap();
            let taken_back = Learnt::Junk { reason: distil::TAKEN_BACK };
            assert_eq!(learnt == taken_back, action == "deleted" || order[0] == "deleted", "{learnt:?}");
        }
        let found = fixture.memory.search(ask("hunter2"), now()).await.unwrap();
        assert!(found.results.is_empty(), "{order:?}");
    }
}

#[test]
fn only_vectors_with_a_direction_are_taken() {
    assert_eq!(unit(vec![3.0, 4.0], None).unwrap(), [0.6, 0.8]);
    assert_eq!(unit(vec![1.5e38, 2e38], Some(2)).unwrap(), [0.6, 0.8], "no overflow on the way");
    for bad in [vec![0.0, 0.0], vec![f32::NAN, 1.0], vec![f32::INFINITY, 1.0], vec![]] {
        assert!(unit(bad, None).is_err());
    }
    assert!(unit(vec![1.0], Some(2)).unwrap_err().contains("1 numbers"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_question_is_an_error(question in ".{0,60}|[\"'*()^:+ANDORNEAR{}\\-\u{0}]{0,30}") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new(Box::new(healthy)).await;
            fixture.say("o/r", "plain text").await;
            fixture.memory.search(ask(&question), now()).await.unwrap();
        });
    }
}
