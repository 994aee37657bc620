use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use super::*;
use crate::reviewer::tests::{TIMEOUT, question, refused, review};

/// Ollama with the answers of its captures.
async fn ollama_server(contents: &[&str]) -> (url::Url, Arc<Mutex<Vec<Value>>>) {
    let asked = Arc::<Mutex<Vec<Value>>>::default();
    let contents: Vec<String> = contents.iter().map(|&content| content.to_owned()).collect();
    let chat = async move |State(asked): State<Arc<Mutex<Vec<Value>>>>, Json(body): Json<Value>| {
        let mut asked = asked.lock().await;
        let content = contents[asked.len().min(contents.len() - 1)].clone();
        asked.push(body);
        Json(json!({"model": "llama3.2", "message": {"role": "assistant", "content": content}, "done": true,
                    "done_reason": "stop", "prompt_eval_count": 11, "eval_count": 6}))
    };
    let tags =
        || async { Json(json!({"models": [{"name": "llama3.2:latest", "model": "llama3.2:latest"}]})) };
    let routes = Router::new()
        .route("/api/chat", post(chat))
        .route("/api/tags", get(tags))
        .with_state(Arc::clone(&asked));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    tokio::spawn(shared::server::serve(listener, routes, shared::server::Limits::default(), stop));
    (base, asked)
}

async fn ollama(contents: &[&str]) -> (Ollama, Arc<Mutex<Vec<Value>>>) {
    let (base, asked) = ollama_server(contents).await;
    (Ollama::new(base, "llama3.2".into(), TIMEOUT).unwrap(), asked)
}

#[tokio::test]
async fn ollama_gets_the_schema_twice_and_a_second_chance() {
    let (client, asked) = ollama(&["{}", &review().to_string()]).await;
    assert_eq!(client.ready().await, Ok(()));
    let reply = client.ask(&question()).await.unwrap();
    assert_eq!((reply.usage.input_tokens, reply.usage.output_tokens), (22, 12), "both answers were computed");
    let asked = asked.lock().await;
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0]["options"]["num_predict"], 6_000, "a machine at home has less room than asked for");
    assert_eq!(
        (&asked[0]["format"], &asked[0]["stream"], &asked[0]["think"]),
        (&crate::verdict::schema(), &json!(false), &json!(false))
    );
    assert!(asked[0]["messages"][1]["content"].as_str().unwrap().contains("additionalProperties"));
    assert!(asked[1]["messages"][1]["content"].as_str().unwrap().contains("missing field"));

    let (client, asked) = ollama(&["no json"]).await;
    let failed = client.ask(&question()).await.unwrap_err();
    assert!(
        matches!(&failed.error, ReviewError::Unusable(reason) if reason.starts_with("llama3.2 does not keep"))
    );
    assert_eq!(failed.paid.unwrap().usage.input_tokens, 22);
    assert_eq!(asked.lock().await.len(), 2);
}

#[tokio::test]
async fn ollama_away_or_without_the_model_says_what_to_do() {
    let nobody = Ollama::new("http://127.0.0.1:9".parse().unwrap(), "llama3.2".into(), TIMEOUT).unwrap();
    assert!(nobody.ready().await.unwrap_err().contains("ollama serve"));
    assert!(matches!(refused(&nobody).await, ReviewError::Away { .. }));
    let (base, _) = ollama_server(&["{}"]).await;
    let other = Ollama::new(base, "qwen3".into(), TIMEOUT).unwrap();
    assert!(other.ready().await.unwrap_err().contains("ollama pull qwen3"));
}

#[tokio::test]
async fn an_ollama_that_hangs_up_is_there_and_does_not_pause_the_lane() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            drop(connection);
        }
    });
    let error = refused(&Ollama::new(base, "m".into(), TIMEOUT).unwrap()).await;
    assert!(matches!(error, ReviewError::Retry { .. }), "{error:?}");
}
