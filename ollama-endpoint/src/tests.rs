//! The whole service over HTTP, with testkit's Ollama behind it.

mod mcp;
mod running;
mod states;

use serde_json::{Value, json};
use testkit::control::post;
use testkit::ollama::Model;

use self::running::{TOKEN, keys, start, start_with, until};
use super::*;

fn update(context: &str) -> Option<Value> {
    Some(json!({"repository": "o/r", "context": context, "agent": "jules"}))
}

fn envelope(id: &str, event: &str, payload: &Value) -> bytes::Bytes {
    let envelope = json!({
        "version": 1, "id": id, "event": event, "action": "opened", "received_at": "2026-11-22T10:00:00Z",
        "repository": {"full_name": "o/r", "private": true, "default_branch": "main"},
        "sender": {"login": "ann", "kind": "user"}, "subject": {"kind": "other"}, "payload": payload,
    });
    envelope.to_string().into()
}

#[tokio::test]
async fn an_update_is_found_forgotten_and_counted() {
    let service = start().await;
    let (status, accepted) =
        service.ask("POST", "/memory-update", update("Retries are capped at five")).await;
    assert_eq!((status, accepted["status"].as_str()), (202, Some("accepted")));
    let outcome = service.outcome(0).await;
    assert_eq!(
        (outcome["delivery"].clone(), outcome["state"].as_str()),
        (accepted["id"].clone(), Some("completed"))
    );
    assert_eq!(outcome["summary"], "1 memory stored");

    let (status, again) = service.ask("POST", "/memory-update", update("Retries are capped at five")).await;
    assert_eq!(status, 202);
    let outcome = service.outcome(1).await;
    assert_eq!(
        (&outcome["delivery"], outcome["summary"].as_str()),
        (&again["id"], Some("already remembered"))
    );

    let (_, found) = service.ask("GET", "/memory/search?repository=o/r&q=how%20many%20retries", None).await;
    let hit = &found["results"][0];
    assert_eq!(
        (hit["text"].as_str(), hit["source"]["agent"].as_str()),
        (Some("Retries are capped at five"), Some("jules"))
    );
    let path = format!("/memory/{}", hit["id"].as_str().unwrap());
    let (status, memory) = service.ask("GET", &path, None).await;
    assert_eq!((status, memory["text"].clone()), (200, hit["text"].clone()));

    assert_eq!(service.ask("DELETE", &path, None).await.0, 204);
    for method in ["GET", "DELETE"] {
        let (status, error) = service.ask(method, &path, None).await;
        assert_eq!((status, error["error"]["code"].as_str()), (404, Some("not_found")));
    }
    let (_, stats) = service.ask("GET", "/memory/stats", None).await;
    assert_eq!((stats["records"].as_u64(), stats["memories"].as_u64()), (Some(2), Some(0)));
    assert_eq!(
        (stats["vectors"]["model"].as_str(), stats["ollama"]["state"].as_str()),
        (Some("nomic-embed-text"), Some("up"))
    );

    service.ask("POST", "/memory-update", update("Retries are capped at five")).await;
    assert_eq!(
        service.outcome(2).await["summary"],
        "1 memory stored",
        "what was forgotten may be said again"
    );
    let mut with_id = update("Said under an id of its own").unwrap();
    with_id["id"] = "mine".into();
    let post = async || service.ask("POST", "/memory-update", Some(with_id.clone())).await.0;
    assert_eq!((post().await, post().await), (202, 200));
}

#[tokio::test]
async fn only_the_token_forgets() {
    let service = start().await;
    service.ask("POST", "/memory-update", update("Retries are capped at five")).await;
    let path = format!("/memory/{}", service.outcome(0).await["detail"]["memory"].as_str().unwrap());
    // What a squatter on the tunnel's port can do with the relay's signed probe.
    let probe = keys().sign("probe", jiff::Timestamp::now().as_second(), b"");
    let replayed = service
        .request("DELETE", &path)
        .header("webhook-id", probe.id)
        .header("webhook-timestamp", probe.timestamp)
        .header("webhook-signature", probe.signature);
    let answer = replayed.send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert!(answer.text().await.unwrap().contains("MEMORY_TOKEN"));
    assert_eq!(service.ask("GET", &path, None).await.0, 200);
    assert_eq!(service.ask("DELETE", &path, None).await.0, 204);
}

#[tokio::test]
async fn forgetting_tells_the_copies_that_have_it_still() {
    let service = start().await;
    service.ask("POST", "/memory-update", update("The key is hunter2")).await;
    let id = service.outcome(0).await["detail"]["memory"].clone();
    let copy = service.file("memory.db.schema-3-20261130T070000Z");
    let replaced = service.file("memory.db.replaced-20261130T070000.000Z");
    for file in [&copy, &replaced] {
        std::fs::write(file, "").unwrap();
    }
    let (status, answer) = service.ask("POST", "/memory/forget", Some(json!({"ids": [id]}))).await;
    assert_eq!((status, answer["count"].as_u64()), (200, Some(1)), "{answer}");
    assert_eq!(answer["copies"][0]["path"], copy.display().to_string());
    assert!(answer["copies"][0]["until"].is_string());
    assert_eq!(answer["copies"][1], json!({"path": replaced.display().to_string(), "until": null}));
}

#[tokio::test]
async fn an_envelope_becomes_a_memory_and_survives_a_restart() {
    let service = start().await;
    let client = service.signed();
    let body = envelope(
        "d1",
        "issues",
        &json!({"issue": {"number": 5, "title": "Leak in the pool", "body": "Grows."}}),
    );
    assert_eq!(client.post("/memory-update", "d1", body.clone()).await.unwrap().status, 202);
    assert_eq!(service.outcome(0).await["state"], "completed");
    assert_eq!(client.post("/memory-update", "d1", body).await.unwrap().status, 200);
    let star = envelope("d2", "star", &json!({}));
    assert_eq!(client.post("/memory-update", "d2", star).await.unwrap().status, 202);
    let outcome = service.outcome(1).await;
    assert_eq!((outcome["state"].as_str(), outcome["delivery"].as_str()), (Some("skipped"), Some("d2")));
    assert!(outcome["summary"].as_str().unwrap().contains("no text"), "{outcome}");
    // As the relay makes it for POST /test-webhook.
    let test = json!({"version": 1, "id": "test-1", "event": "relay_test", "action": null,
        "received_at": "2026-11-22T10:00:00Z", "subject": {"kind": "other"}, "payload": {"zen": "A test event."}});
    client.post("/memory-update", "test-1", test.to_string().into()).await.unwrap();
    let outcome = service.outcome(2).await;
    assert_eq!((outcome["state"].as_str(), outcome["delivery"].as_str()), (Some("skipped"), Some("test-1")));

    let service = service.restarted().await;
    let (_, found) = service.ask("GET", "/memory/search?q=leak&kind=discussion", None).await;
    assert_eq!(found["results"][0]["source"]["delivery"], "d1");
    assert_eq!(found["results"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn only_known_callers_pass() {
    let service = start().await;
    for (method, path) in [
        ("POST", "/memory-update"),
        ("GET", "/memory/search?q=x"),
        ("GET", "/memory/x"),
        ("DELETE", "/memory/x"),
        ("GET", "/memory/stats"),
        ("GET", "/outcomes"),
        ("GET", "/metrics"),
        ("POST", "/api/chat"),
        ("GET", "/v1/models"),
    ] {
        for token in ["", "wrong"] {
            let answer = service.request(method, path).bearer_auth(token).send().await.unwrap();
            assert_eq!(answer.status(), 401, "{method} {path}");
            assert!(answer.text().await.unwrap().contains("MEMORY_TOKEN"));
        }
    }
    for path in ["/livez", "/readyz", "/health"] {
        assert_eq!(service.request("GET", path).send().await.unwrap().status(), 200);
        assert_eq!(service.signed().get(path, None).await.unwrap().status, 200, "and its answer is signed");
    }
    let by_bearer = service.request("POST", "/memory-update").bearer_auth(TOKEN).body(envelope(
        "d1",
        "issues",
        &json!({}),
    ));
    assert_eq!(by_bearer.send().await.unwrap().status(), 401, "an envelope must be signed");
    assert_eq!(service.signed().get("/memory/search?q=x", None).await.unwrap().status, 200);
}

#[tokio::test]
async fn without_a_token_the_refusal_says_what_to_set() {
    let service = start_with(|config| config.token = None).await;
    let (status, error) = service.ask("GET", "/memory/stats", None).await;
    assert_eq!(status, 401);
    assert!(error["error"]["message"].as_str().unwrap().contains("set MEMORY_TOKEN"), "{error}");
}

#[tokio::test]
async fn bad_input_is_refused_with_the_reason() {
    let service = start().await;
    let refused = async |body: &str| {
        let answer = service
            .request("POST", "/memory-update")
            .bearer_auth(TOKEN)
            .body(body.to_owned())
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(refused("{").await.0, 400);
    assert_eq!(refused("[]").await.0, 400);
    let (status, text) = refused(r#"{"repository":"o/r"}"#).await;
    assert!(status == 400 && text.contains("`context`"), "{text}");
    assert_eq!(
        refused(&format!(r#"{{"repository":"o/r","context":"{}"}}"#, "x".repeat(256 * 1024))).await.0,
        413
    );
    let (status, error) = service.ask("GET", "/memory/search?q=x&limit=51", None).await;
    assert_eq!((status, error["error"]["code"].as_str()), (400, Some("invalid_query")));
    for (method, path, status, code) in [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/outcomes?after=x", 400, "invalid_query"),
        ("GET", "/memory/%ff", 400, "invalid_path"),
        ("DELETE", "/memory/%ff", 400, "invalid_path"),
        ("GET", "/memory-update", 405, "method_not_allowed"),
        ("PUT", "/memory/x", 405, "method_not_allowed"),
        ("POST", "/health", 405, "method_not_allowed"),
    ] {
        let (answered, error) = service.ask(method, path, None).await;
        assert_eq!((answered, error["error"]["code"].as_str()), (status, Some(code)), "{method} {path}");
        assert!(error["error"]["message"].is_string());
    }
    let large = json!({"repository": "o/r", "context": "x".repeat(256 * 1024)}).to_string();
    assert_eq!(service.signed().post("/memory-update", "u", large.into()).await.unwrap().status, 413);
}

const CHAT: &str = r#"{"model":"llama3.2","messages":[{"role":"user","content":"hi"}],"stream":false}"#;

#[tokio::test]
async fn the_proxy_takes_a_token_or_a_signature_or_anybody_if_told() {
    let service = start().await;
    let chat: Value = serde_json::from_str(CHAT).unwrap();
    let (status, answer) = service.ask("POST", "/api/chat", Some(chat)).await;
    assert_eq!((status, answer["done"].as_bool()), (200, Some(true)), "{answer}");
    assert_eq!(service.ask("POST", "/api/pull", Some(json!({}))).await.0, 403);
    let signed = keys().sign("p1", jiff::Timestamp::now().as_second(), CHAT.as_bytes());
    let request = service
        .request("POST", "/api/chat")
        .header("webhook-id", signed.id)
        .header("webhook-timestamp", signed.timestamp)
        .header("webhook-signature", signed.signature)
        .header("content-type", "application/json");
    assert_eq!(request.body(CHAT).send().await.unwrap().status(), 200);

    let service = start_with(|config| config.proxy_auth = ProxyAuth::None).await;
    assert_eq!(service.request("POST", "/api/chat").body(CHAT).send().await.unwrap().status(), 200);
    assert_eq!(service.request("GET", "/memory/stats").send().await.unwrap().status(), 401);
    for (header, value) in [("host", "evil.example"), ("origin", "https://evil.example")] {
        let answer =
            service.request("POST", "/api/chat").header(header, value).body(CHAT).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{header}");
        let refused: Value = answer.json().await.unwrap();
        assert!(refused["error"].as_str().unwrap().contains(header), "in Ollama's shape: {refused}");
    }
    let page = service.request("POST", "/api/chat").header("origin", "http://localhost:3000").body(CHAT);
    assert_eq!(page.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn health_names_what_is_missing_and_how_to_get_it() {
    let service = start().await;
    assert_eq!(service.health().await["status"], "pass");

    let service = start_with(|config| config.chat_model = "qwen3".into()).await;
    let health = service.health().await;
    assert_eq!(health["status"], "warn");
    assert!(
        health["checks"]["ollama:chat-model"][0]["output"].as_str().unwrap().contains("ollama pull qwen3")
    );
    assert_eq!(health["checks"]["ollama:embed-model"][0]["status"], "pass");

    let service = start().await;
    service.ollama.stop().await;
    let health = service.health().await;
    let statuses = [&health["status"], &health["checks"]["memory"][0]["status"]];
    assert_eq!(statuses, ["warn", "pass"]);
    assert!(health["checks"]["ollama"][0]["output"].as_str().unwrap().contains("ollama serve"));
}

#[tokio::test]
async fn what_was_said_while_ollama_was_away_gets_its_vector_when_it_is_back() {
    let service = start().await;
    service.ollama.stop().await;
    assert_eq!(service.ask("POST", "/memory-update", update("Deploys happen on Tuesdays")).await.0, 202);
    service.outcome(0).await;
    let (_, found) = service.ask("GET", "/memory/search?q=deploys", None).await;
    assert_eq!((found["mode"].as_str(), found["results"].as_array().unwrap().len()), (Some("lexical"), 1));
    assert_eq!(service.ask("GET", "/api/tags", None).await.0, 503);
    service.ollama.start_again().await.unwrap();
    service.embedded(1).await;
    let (_, found) = service.ask("GET", "/memory/search?q=deploys", None).await;
    assert_eq!(
        (found["mode"].as_str(), found["results"][0]["vector_rank"].as_u64()),
        (Some("hybrid"), Some(1))
    );
    let embedded = service.ollama.requests().into_iter().filter(|(path, _)| path == "/api/embed");
    let inputs: Vec<Value> = embedded.map(|(_, body)| body["input"][0].clone()).collect();
    assert_eq!(inputs, ["search_document: Deploys happen on Tuesdays", "search_query: deploys"]);
}

#[tokio::test]
async fn a_poisonous_text_and_a_missing_model_hold_up_nothing_else() {
    let service = start().await;
    service.ollama.set_models(vec![Model::llama3_2()]);
    service.ollama.poison("unspeakable");
    for (after, text) in
        ["One plain fact", "An unspeakable one", "Another plain fact"].into_iter().enumerate()
    {
        assert_eq!(service.ask("POST", "/memory-update", update(text)).await.0, 202);
        service.outcome(after as u64).await;
    }
    let health = service.health().await;
    let output = health["checks"]["ollama:embed-model"][0]["output"].as_str().unwrap();
    assert!(output.contains("ollama pull nomic-embed-text"), "{output}");
    let embedder = async || service.health().await["checks"]["embedder"][0].clone();
    until(async || embedder().await["status"] == "warn").await;
    let output = embedder().await["output"].to_string();
    assert!(output.contains("ollama pull nomic-embed-text"), "{output}");
    service.ollama.set_models(vec![Model::nomic_embed_text()]);
    service.embedded(2).await;
    assert_eq!(service.health().await["checks"]["memory:set-aside"][0]["observedValue"], 1);
    let (_, stats) = service.ask("GET", "/memory/stats", None).await;
    assert_eq!(
        (stats["vectors"]["rejected"].as_u64(), stats["vectors"]["waiting"].as_u64()),
        (Some(1), Some(0))
    );
    let (_, found) = service.ask("GET", "/memory/search?q=unspeakable", None).await;
    assert!(
        found["results"][0]["text"].as_str().unwrap().contains("unspeakable"),
        "words find it all the same"
    );
}

#[tokio::test]
async fn a_search_does_not_wait_for_a_cold_model() {
    let service = start().await;
    service.ask("POST", "/memory-update", update("Deploys happen on Tuesdays")).await;
    service.embedded(1).await;
    let loading = service.ollama.gate(post("/api/embed"));
    let (_, found) = service.ask("GET", "/memory/search?q=deploys", None).await;
    assert_eq!((found["mode"].as_str(), found["results"].as_array().unwrap().len()), (Some("lexical"), 1));
    loading.release();
}
