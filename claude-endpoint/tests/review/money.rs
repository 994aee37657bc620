//! What reviews cost: the ledger, budgets, recordings.

use std::fs;
use std::sync::Arc;

use claude_endpoint::budget::{Budgets, OverBudget};
use claude_endpoint::config::Config;
use claude_endpoint::reviewer::ollama::Ollama;
use serde_json::{Value, json};
use testkit::anthropic::{Reply, always};

use crate::defects;
use crate::world::{TIMEOUT, World};

fn daily(usd: f64, over: OverBudget) -> impl Fn(&mut Config) {
    move |config| {
        config.desk.terms.budgets = Budgets { daily_usd: Some(usd), review_usd: None, over };
    }
}

#[tokio::test]
async fn each_answer_is_in_the_ledger_also_one_of_no_use() {
    let world = World::start(always(defects())).await;
    world.anthropic.answer_next(Reply::text("Looks good to me!"));
    let endpoint = world.endpoint().await;
    endpoint.send(&world.opened("d1")).await;
    endpoint.outcome("d1").await;
    let table = world.command(&["ledger"]).await;
    assert!(
        table.starts_with("DAY ") && table.contains("acme/shop") && table.contains("pull/7  d1 "),
        "{table}"
    );
    let json: Value =
        serde_json::from_str(&world.command(&["ledger", "--days", "2", "--json"]).await).unwrap();
    assert_eq!((&json["total"]["questions"], &json["total"]["useful"]), (&json!(2), &json!(1)));
    assert_eq!(world.command(&["ledger", "--repository", "acme/other"]).await, "no questions\n");

    let entries = world.ledger();
    let seen: Vec<_> = entries.iter().map(|entry| (entry.delivery.as_str(), entry.useful)).collect();
    assert_eq!(seen, [("d1", false), ("d1", true)]);
    for entry in entries {
        assert_eq!((entry.repository.as_str(), entry.subject.as_str()), ("acme/shop", "pull/7"));
        let usage = entry.usage;
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        let listed = (usage.input_tokens as f64 * 3.0 + usage.output_tokens as f64 * 15.0) / 1e6;
        assert!((entry.cost_usd.unwrap() - listed).abs() < 1e-9 && listed > 0.0, "{entry:?}");
    }
}

#[tokio::test]
async fn a_budget_that_is_used_up_asks_the_cheaper_model_then_nobody_and_says_so() {
    let world = World::start(always(defects())).await;
    // an answer is taken for 4,000 tokens: 0.06 USD of the usual model, 0.02 of the cheaper one
    let endpoint = world.endpoint_with(daily(0.05, OverBudget::Cheaper)).await;
    endpoint.send(&world.opened("d1")).await;
    let done = endpoint.outcome("d1").await;
    let label = "claude-haiku-5-5, since it could exceed today's budget of $0.05";
    assert_eq!((&done["state"], &done["detail"]["instead"]), (&json!("completed"), &json!(label)));
    assert!(world.github.reviews("acme/shop", 7)[0].body.contains("claude-haiku-5-5, since it could exceed"));
    assert_eq!(world.anthropic.requests()[0].model(), "claude-haiku-5-5");
    endpoint.stop().await;

    // what is in the ledger counts after a restart
    let endpoint = world.endpoint_with(daily(0.02, OverBudget::Cheaper)).await;
    endpoint.send(&world.pushed("p1", |_| {})).await;
    let done = endpoint.outcome("p1").await;
    let reason = "not reviewed, since it could exceed today's budget of $0.02";
    assert_eq!((&done["state"], &done["summary"]), (&json!("skipped"), &json!(reason)));
    assert_eq!(world.anthropic.requests().len(), 1);
}

#[tokio::test]
async fn ollama_reviews_for_nothing_where_that_is_set() {
    let world = World::start(always(defects())).await;
    let ollama = testkit::ollama::Ollama::start().await.unwrap();
    let reviewer = Ollama::new(ollama.url().parse().unwrap(), "llama3.2".into(), TIMEOUT).unwrap();
    let change = |config: &mut Config| {
        daily(0.01, OverBudget::Ollama)(config);
        config.desk.ollama = Some(Arc::new(reviewer));
    };
    let endpoint = world.endpoint_with(change).await;
    endpoint.send(&world.opened("d1")).await;
    let done = endpoint.outcome("d1").await;
    assert_eq!(
        (&done["state"], &done["detail"]["reviewer"]),
        (&json!("completed"), &json!("ollama")),
        "{done}"
    );
    assert!(done["detail"]["instead"].as_str().unwrap().starts_with("llama3.2, since"), "{done}");
    assert!(world.anthropic.requests().is_empty());
    let entries = world.ledger();
    assert_eq!((entries.len(), entries[0].cost_usd), (1, Some(0.0)));
}

#[tokio::test]
async fn a_recording_holds_the_question_and_the_answer() {
    let world = World::start(always(defects())).await;
    let folder = tempfile::tempdir().unwrap();
    let endpoint =
        world.endpoint_with(|config| config.desk.record_dir = Some(folder.path().to_owned())).await;
    endpoint.send(&world.opened("d1")).await;
    endpoint.outcome("d1").await;
    let file = fs::read(folder.path().join("d1/01-review.json")).unwrap();
    let recorded: Value = serde_json::from_slice(&file).unwrap();
    let request = &world.anthropic.requests()[0];
    assert_eq!(recorded["user"], request.prompt());
    assert!(recorded["reply"]["text"].as_str().unwrap().contains("Adds a search."));
    for secret in [crate::world::SIGNING_KEY, testkit::scenario::REVIEWER_TOKEN, crate::world::API_KEY] {
        assert!(!recorded.to_string().contains(secret));
    }
}
