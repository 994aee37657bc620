//! What a project sets: from its base branch only.
#![allow(clippy::unwrap_used, reason = "test code fails by panicking")]

use serde_json::json;

use crate::heads::{CART, PAY, REPOSITORY, first, head};
use crate::world::World;

const FILE: &str = ".ai-relay.toml";

async fn with_settings(toml: &str) -> World {
    let world = World::of_heads().await;
    world.github.set_file(REPOSITORY, &world.scenario.base_sha, FILE, toml);
    world
}

#[tokio::test]
async fn rules_come_from_the_base_branch_and_never_from_the_head() {
    let world =
        with_settings("[review]\ninstructions = \"Money is counted in cents: zxcv-settings.\"\n").await;
    let (base, head) = (world.scenario.base_sha.clone(), world.scenario.head_sha.clone());
    for name in ["AGENTS.md", "REVIEW.md", "CLAUDE.md"] {
        world.github.set_file(REPOSITORY, &base, name, format!("Rule of the base in {name}"));
        world.github.set_file(REPOSITORY, &head, name, format!("Rule of the head in {name}"));
    }
    world.github.set_file(
        REPOSITORY,
        &head,
        FILE,
        "[review]\nenabled = false\ninstructions = \"Head's wish\"\n",
    );
    let endpoint = world.endpoint().await;
    let done = world.review(&endpoint, "d1", &first()).await;
    assert_eq!(done["state"], "completed", "{done}");
    let prompt = world.prompt();
    assert!(
        prompt.contains(
            "## Project rules\n| From .ai-relay.toml:\n| Money is counted in cents: zxcv-settings."
        ),
        "{prompt}"
    );
    for name in ["AGENTS.md", "REVIEW.md", "CLAUDE.md"] {
        assert!(prompt.contains(&format!("| From {name}:\n| Rule of the base in {name}")), "{prompt}");
    }
    assert!(!prompt.contains("Rule of the head") && !prompt.contains("Head's wish"), "{prompt}");
}

#[tokio::test]
async fn what_the_project_ignores_is_not_reviewed_and_is_named() {
    let world = with_settings("[review]\nignore = [\"web/**\"]\n").await;
    let endpoint = world.endpoint().await;
    let done = world.review(&endpoint, "d1", &first()).await;
    assert_eq!((&done["state"], world.remarks().len()), (&json!("completed"), 1), "{done}");
    assert!(!world.prompt().contains("row.innerHTML"));
    assert!(done["detail"]["not_reviewed"].to_string().contains("web/cart.js"), "{done}");
    assert!(world.summary().contains("web/cart.js"), "{}", world.summary());
}

#[tokio::test]
async fn a_project_that_switches_reviews_off_gets_none() {
    let world = with_settings("[review]\nenabled = false\n").await;
    let endpoint = world.endpoint().await;
    let done = world.review(&endpoint, "d1", &first()).await;
    assert_eq!((&done["state"], world.anthropic.requests().len()), (&json!("skipped"), 0));
    assert!(done["summary"].as_str().unwrap().contains(FILE), "{done}");
    assert_eq!(done["detail"]["status"], "none wanted");
    assert!(world.github.statuses(REPOSITORY, &first().head_sha).is_empty(), "nobody wants one");
}

#[tokio::test]
async fn a_project_may_want_its_drafts_reviewed() {
    let world = with_settings("[review]\ndrafts = true\n").await;
    world.github.update_pull(REPOSITORY, 7, |pull| pull.draft = true);
    let endpoint = world.endpoint().await;
    let done = world.review(&endpoint, "d1", &first()).await;
    assert_eq!((&done["state"], &done["detail"]["posted"]), (&json!("completed"), &json!(true)), "{done}");
}

#[tokio::test]
async fn the_project_says_what_makes_a_failure() {
    for (fail_on, expected) in [("blocker", "success"), ("never", "success"), ("major", "failure")] {
        let world = with_settings(&format!("[review]\nfail_on = \"{fail_on}\"\n")).await;
        let endpoint = world.endpoint().await;
        world.review(&endpoint, "d1", &first()).await;
        assert_eq!(world.status(&first()).0, expected, "{fail_on}");
        // the same head again, and a rebase of it, say the same
        world.github.set_file(
            REPOSITORY,
            &world.scenario.base_sha,
            FILE,
            format!("[review]\nfail_on = \"{fail_on}\"\n"),
        );
        endpoint.send(&world.opened("d2")).await;
        assert_eq!(endpoint.outcome("d2").await["detail"]["status"], expected);
        let rebased = head("rebased", &[CART, PAY]);
        assert_eq!(world.review(&endpoint, "d3", &rebased).await["detail"]["status"], expected);
    }
}

#[tokio::test]
async fn settings_that_cannot_be_read_are_said_in_the_summary() {
    let world = with_settings("[review]\nfail_at = \"never\"\n").await;
    let endpoint = world.endpoint().await;
    let done = world.review(&endpoint, "d1", &first()).await;
    assert_eq!(done["state"], "completed", "{done}");
    let summary = world.summary();
    assert!(
        summary.contains("**.ai-relay.toml of the base branch is not used: unknown field `fail_at`"),
        "{summary}"
    );
    assert_eq!(world.status(&first()).0, "failure", "it sets nothing");
}
