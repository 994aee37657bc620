//! What goes wrong, and where it is to be seen: `/health`, `/memory/stats`, and the mode of a search.

use serde_json::{Value, json};
use testkit::ollama::Model;

use super::running::{Running, start, start_with, until};
use super::update;

impl Running {
    async fn stats(&self) -> Value {
        self.ask("GET", "/memory/stats", None).await.1
    }

    async fn check(&self, component: &str) -> Value {
        self.health().await["checks"][component][0].clone()
    }

    async fn mode(&self, query: &str) -> (Value, usize) {
        let (status, found) = self.ask("GET", &format!("/memory/search?q={query}"), None).await;
        assert_eq!(status, 200, "a search always answers");
        (found["mode"].clone(), found["results"].as_array().unwrap().len())
    }
}

#[tokio::test]
async fn a_full_queue_is_said_to_those_who_send_and_in_health() {
    let service = start_with(|config| config.most_open = 0).await;
    let request = service.request("POST", "/memory-update").bearer_auth(super::TOKEN);
    let answer = request.json(&update("one too many")).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert!(answer.text().await.unwrap().contains("backlog_full"));
    let pending = service.check("queue:pending").await;
    assert_eq!(pending["status"], "warn");
    assert!(
        pending["output"]
            .as_str()
            .unwrap()
            .contains("0 of 0 events wait; at the limit events are answered 503")
    );
    assert_eq!(service.mode("many").await, (json!("lexical"), 0));
}

#[tokio::test]
async fn a_text_that_is_too_long_for_the_model_is_embedded_by_its_beginning_and_counted() {
    let service = start().await;
    let words: String = (0..3_000).map(|_| "a ").collect();
    for text in ["Deploys happen on Tuesdays", &format!("Deploys {words}")] {
        assert_eq!(service.ask("POST", "/memory-update", update(text)).await.0, 202);
    }
    service.embedded(2).await;
    assert_eq!(service.stats().await["vectors"]["cut"], 1);
    let part = service.check("memory:embedded-in-part").await;
    assert_eq!((part["observedValue"].as_u64(), part["status"].as_str()), (Some(1), Some("pass")));
    assert_eq!(service.mode("deploys").await, (json!("hybrid"), 2));
}

#[tokio::test]
async fn another_model_under_the_same_name_embeds_everything_again() {
    let service = start().await;
    service.ask("POST", "/memory-update", update("Deploys happen on Tuesdays")).await;
    service.embedded(1).await;
    service.ollama.set_models(vec![Model::new("nomic-embed-text", 64)]);
    assert_eq!(service.mode("deploys").await, (json!("lexical"), 1), "its vector cannot be compared now");
    let dimensions = async || service.stats().await["vectors"]["models"][0]["dimensions"] == 64;
    until(dimensions).await;
    service.embedded(1).await;
    assert_eq!(service.mode("deploys").await, (json!("hybrid"), 1));
}

#[tokio::test]
async fn ollama_away_is_said_where_one_looks_and_what_waits_is_counted() {
    let service = start().await;
    service.ollama.stop().await;
    service.ask("POST", "/memory-update", update("Deploys happen on Tuesdays")).await;
    service.outcome(0).await;
    until(async || service.stats().await["embedder"]["state"] == "waiting").await;
    let stats = service.stats().await;
    assert_eq!((&stats["ollama"]["state"], &stats["vectors"]["waiting"]), (&json!("away"), &json!(1)));
    assert!(stats["embedder"]["error"].as_str().unwrap().contains("ollama serve"), "{stats}");
    let embedder = service.check("embedder").await;
    assert_eq!(embedder["status"], "warn");
    assert!(embedder["output"].as_str().unwrap().starts_with("search goes on by words"), "{embedder}");
    assert_eq!(service.check("memory:without-vector").await["observedValue"], 1);
    assert_eq!(service.mode("deploys").await, (json!("lexical"), 1));
}
