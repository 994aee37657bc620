use std::sync::atomic::{AtomicUsize, Ordering};

use http::StatusCode;
use serde_json::{Value, json};
use shared::memory::Mode;

use super::*;
use crate::testing::{Fixture, healthy, letters, unavailable};

async fn waiting(fixture: &Fixture) -> Vec<String> {
    let backlog = fixture.memory.unembedded(0, 100).await.unwrap();
    backlog.into_iter().map(|memory| memory.draft.text).collect()
}

#[tokio::test]
async fn a_backlog_is_embedded_in_batches() {
    let fixture = Fixture::new(Box::new(healthy)).await;
    for n in 0..40 {
        fixture.say("o/r", &format!("area {n}")).await;
    }
    let first = embed_some(&fixture.memory, &fixture.ollama, 0).await.unwrap();
    assert_eq!(waiting(&fixture).await.len(), 8);
    let second = embed_some(&fixture.memory, &fixture.ollama, first.unwrap()).await.unwrap();
    assert!(waiting(&fixture).await.is_empty());
    assert_eq!(embed_some(&fixture.memory, &fixture.ollama, second.unwrap()).await.unwrap(), None);
    let calls = fixture.calls.lock().unwrap();
    assert_eq!((calls.len(), calls[0].len(), calls[1].len()), (2, 32, 8));
}

#[tokio::test]
async fn one_poisonous_text_is_set_aside_and_the_others_embedded() {
    let fixture = Fixture::new(Box::new(|input| {
        if input.iter().any(|text| text.contains("poison")) {
            (StatusCode::BAD_REQUEST, json!({"error": "cannot encode"}))
        } else {
            healthy(input)
        }
    }))
    .await;
    for text in ["one a", "two e", "poison", "three i", "four o"] {
        fixture.say("o/r", text).await;
    }
    embed_some(&fixture.memory, &fixture.ollama, 0).await.unwrap();
    assert!(waiting(&fixture).await.is_empty());
    let counts = fixture.memory.counts().await.unwrap();
    assert_eq!((counts.with_vector, counts.rejected), (4, 1));
    assert_eq!(counts.last_rejection.as_deref(), Some("400 cannot encode"));
}

#[tokio::test]
async fn vectors_that_cannot_be_compared_are_set_aside_with_the_reason() {
    let fixture = Fixture::new(Box::new(|input| {
        let vector = |text: &String| match text.as_str() {
            "zero" => json!([0.0, 0.0, 0.0, 0.0]),
            "long" => json!([1.0, 0.0, 0.0, 0.0, 1.0]),
            text => letters(text),
        };
        (StatusCode::OK, json!({"embeddings": input.iter().map(vector).collect::<Vec<Value>>()}))
    }))
    .await;
    for (text, reason) in [("area", None), ("zero", Some("no direction")), ("long", Some("has 5 numbers"))] {
        fixture.say("o/r", text).await;
        embed_some(&fixture.memory, &fixture.ollama, 0).await.unwrap();
        let last = fixture.memory.counts().await.unwrap().last_rejection.unwrap_or_default();
        assert!(last.contains(reason.unwrap_or_default()), "{last}");
    }
    assert_eq!(fixture.memory.counts().await.unwrap().with_vector, 1);
}

#[tokio::test]
async fn a_text_of_which_a_model_makes_nan_is_set_aside_and_the_others_are_not() {
    let fixture = Fixture::new(Box::new(|input| {
        // Ollama's JSON has no NaN: some builds refuse it, others write null.
        let vector =
            |text: &String| if text == "not a number" { json!([null, 0.0, 0.0, 0.0]) } else { letters(text) };
        (StatusCode::OK, json!({"embeddings": input.iter().map(vector).collect::<Vec<Value>>()}))
    }))
    .await;
    for text in ["area", "not a number", "idea"] {
        fixture.say("o/r", text).await;
    }
    embed_some(&fixture.memory, &fixture.ollama, 0).await.unwrap();
    let counts = fixture.memory.counts().await.unwrap();
    assert_eq!((counts.with_vector, counts.rejected), (2, 1));
    assert!(counts.last_rejection.unwrap().contains("null"));
}

#[tokio::test]
async fn what_a_model_worded_anew_is_embedded_again_at_once() {
    let fixture = Fixture::new(Box::new(healthy)).await;
    let id = fixture.say("o/r", "area").await;
    fixture.say("o/r", "idea").await;
    let settled = embed_some(&fixture.memory, &fixture.ollama, 0).await.unwrap().unwrap();
    assert_eq!(embed_some(&fixture.memory, &fixture.ollama, settled).await.unwrap(), None);
    let version = fixture.memory.get(&id).await.unwrap().unwrap().version;
    let (kind, model, prompt_version) = ("note".into(), "m".into(), "1".into());
    let refined = crate::store::Refined::Text { kind, text: "an area".into(), model, prompt_version };
    assert!(crate::refine::Backlog::keep_refined(&fixture.memory, &id, version, refined).await.unwrap());
    assert_eq!(fixture.memory.counts().await.unwrap().with_vector, 1);
    embed_some(&fixture.memory, &fixture.ollama, settled).await.unwrap();
    assert_eq!(fixture.memory.counts().await.unwrap().with_vector, 2, "although it lies behind");
}

/// An Ollama that refuses `times` calls with texts of ours and is well again.
fn crashing(times: usize) -> crate::testing::Script {
    let left = AtomicUsize::new(times);
    Box::new(move |input| {
        let less = |left: usize| left.checked_sub(1);
        let ours = input.iter().all(|text| text != HARMLESS);
        if ours && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
            return (StatusCode::INTERNAL_SERVER_ERROR, json!({"error": "runner crashed"}));
        }
        healthy(input)
    })
}

#[tokio::test]
async fn a_text_is_set_aside_only_when_it_fails_twice() {
    for (times, rejected) in [(1, 0), (2, 1)] {
        let fixture = Fixture::new(crashing(times)).await;
        fixture.say("o/r", "area").await;
        embed_some(&fixture.memory, &fixture.ollama, 0).await.unwrap();
        let counts = fixture.memory.counts().await.unwrap();
        assert_eq!((counts.rejected, counts.with_vector), (rejected, 1 - rejected), "refused {times} times");
    }
}

/// The same model with one more number.
fn grown(input: &[String]) -> (StatusCode, Value) {
    let vector = |text: &String| {
        let mut vector: Vec<f32> = serde_json::from_value(letters(text)).unwrap();
        vector.push(1.0);
        vector
    };
    (StatusCode::OK, json!({"embeddings": input.iter().map(vector).collect::<Vec<_>>()}))
}

#[tokio::test]
async fn a_model_that_changed_its_dimensions_embeds_everything_again() {
    let fixture = Fixture::new(Box::new(healthy)).await;
    for text in ["area", "ooo"] {
        fixture.say("o/r", text).await;
    }
    let settled = embed_some(&fixture.memory, &fixture.ollama, 0).await.unwrap().unwrap();
    fixture.answer(Box::new(grown));
    fixture.say("o/r", "eee").await;
    assert_eq!(embed_some(&fixture.memory, &fixture.ollama, settled).await.unwrap(), Some(0));
    assert_eq!(waiting(&fixture).await, ["area", "ooo", "eee"]);
    embed_some(&fixture.memory, &fixture.ollama, 0).await.unwrap();
    let counts = fixture.memory.counts().await.unwrap();
    assert_eq!((counts.with_vector, counts.rejected), (3, 0));
    assert_eq!(fixture.memory.dimensions().await.unwrap(), Some(5));
}

#[tokio::test]
async fn a_question_is_enough_to_notice_that_the_model_changed() {
    let fixture = Fixture::new(Box::new(healthy)).await;
    fixture.say("o/r", "area").await;
    let settled = embed_some(&fixture.memory, &fixture.ollama, 0).await.unwrap().unwrap();
    fixture.answer(Box::new(grown));
    let question = || crate::memory::Question {
        text: "area".into(),
        filter: Default::default(),
        limit: 9,
        mode: shared::memory::Mode::Hybrid,
        explain: false,
    };
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    let response = fixture.memory.search(question(), now).await.unwrap();
    assert_eq!((response.mode, response.results.len()), (Mode::Lexical, 1));
    fixture.memory.written().await;
    assert_eq!(embed_some(&fixture.memory, &fixture.ollama, settled).await.unwrap(), Some(0));
    embed_some(&fixture.memory, &fixture.ollama, 0).await.unwrap();
    let response = fixture.memory.search(question(), now).await.unwrap();
    assert_eq!((response.mode, response.results.len()), (Mode::Hybrid, 1));
}

#[tokio::test]
async fn when_ollama_refuses_everything_no_text_is_blamed() {
    let broken = |_: &[String]| (StatusCode::INTERNAL_SERVER_ERROR, json!({"error": "runner crashed"}));
    let fixture = Fixture::new(Box::new(broken)).await;
    fixture.say("o/r", "one").await;
    fixture.say("o/r", "two").await;
    let error = embed_some(&fixture.memory, &fixture.ollama, 0).await.unwrap_err().to_string();
    assert!(error.contains("runner crashed"), "{error}");
    assert_eq!(waiting(&fixture).await.len(), 2);
}

#[tokio::test]
async fn a_missing_model_names_the_command() {
    let missing = |_: &[String]| {
        (StatusCode::NOT_FOUND, json!({"error": "model \"letters\" not found, try pulling it first"}))
    };
    let fixture = Fixture::new(Box::new(missing)).await;
    fixture.say("o/r", "one").await;
    let error = embed_some(&fixture.memory, &fixture.ollama, 0).await.unwrap_err().to_string();
    assert!(error.contains("ollama pull letters"), "{error}");
}

#[tokio::test]
async fn the_loop_waits_while_ollama_is_away_and_goes_on_by_itself() {
    let fixture = Fixture::new(Box::new(unavailable)).await;
    fixture.say("o/r", "area").await;
    let (status, mut seen) = watch::channel(Status::default());
    let stop = CancellationToken::new();
    let running = tokio::spawn(run(fixture.memory.clone(), fixture.ollama.clone(), status, stop.clone()));
    seen.wait_for(|status| matches!(status, Status::Waiting(why) if why.contains("ollama serve")))
        .await
        .unwrap();
    fixture.answer(Box::new(healthy));
    seen.wait_for(|status| *status == Status::Idle).await.unwrap();
    assert_eq!(fixture.memory.counts().await.unwrap().with_vector, 1);
    fixture.say("o/r", "another").await;
    // A change of state is told after the vectors are kept, so the first one says that they are.
    seen.changed().await.unwrap();
    assert_eq!(fixture.memory.counts().await.unwrap().with_vector, 2);
    stop.cancel();
    running.await.unwrap();
}
