use http::StatusCode;
use serde_json::{Value, json};

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
