//! What `/health` says of money and of who posts.
#![allow(clippy::unwrap_used, reason = "test code fails by panicking")]

use claude_endpoint::budget::{Budgets, OverBudget};
use serde_json::json;
use shared::github::AppKey;
use testkit::github::{APP_ID, app_key};

use crate::conversation::{reviewed_with, world};

#[tokio::test]
async fn the_days_cost_is_shown_and_a_budget_that_runs_out_is_a_warning() {
    let world = world().await;
    let endpoint = world.endpoint().await;
    let health = endpoint.health().await;
    let check = |health: &serde_json::Value, name: &str| health["checks"][name][0].clone();
    let budget = check(&health, "budget");
    assert_eq!((&budget["status"], &budget["observedValue"]), (&json!("pass"), &json!(0.0)), "{budget}");
    assert_eq!(check(&health, "github")["observedValue"], "the owner of GITHUB_TOKEN");
    endpoint.stop().await;

    let endpoint = reviewed_with(&world, |config| {
        config.desk.terms.budgets =
            Budgets { daily_usd: Some(0.07), review_usd: None, over: OverBudget::Cheaper };
        config.desk.terms.second_look = false;
    })
    .await;
    let spent: f64 = world.ledger().iter().filter_map(|entry| entry.cost_usd).sum();
    endpoint.stop().await;
    for (budget, over, words) in [
        (spent * 2.0, OverBudget::Skip, ""),
        (
            spent * 1.1,
            OverBudget::Cheaper,
            "are spent today; where a question could cost more, CLAUDE_CHEAP_MODEL",
        ),
        (spent * 0.9, OverBudget::Skip, "are used up: until midnight UTC nobody is asked"),
    ] {
        let endpoint = world
            .endpoint_with(|config| {
                config.desk.terms.budgets = Budgets { daily_usd: Some(budget), review_usd: None, over };
            })
            .await;
        let shown = check(&endpoint.health().await, "budget");
        assert_eq!(shown["status"], if words.is_empty() { "pass" } else { "warn" }, "{shown}");
        assert!(shown["output"].as_str().unwrap_or_default().contains(words), "{shown}");
        endpoint.stop().await;
    }

    world.github.add_app().unwrap();
    let app = AppKey::new(APP_ID, &app_key().into()).unwrap();
    let endpoint =
        world.endpoint_with(|config| (config.github.token, config.github.app) = (None, Some(app))).await;
    assert_eq!(check(&endpoint.health().await, "github")["observedValue"], "a GitHub App");
}
