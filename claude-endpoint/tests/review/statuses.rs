//! What everybody sees who decides about merging: a success only where all was reviewed and nothing counts.
#![allow(clippy::unwrap_used, reason = "test code fails by panicking")]

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use shared::github::AppKey;
use testkit::anthropic::Reply;
use testkit::control::{Fault, post};
use testkit::github::{APP_ID, app_key};
use testkit::scenario::Scenario;

use crate::REVIEWS;
use crate::heads::{PAY, Place, REPOSITORY, RUN, first, head};
use crate::world::World;

const FINE: Place = ("src/fine.rs", 1, &["+fn fine() {}"]);
const STATUSES: &str = "/repos/acme/shop/statuses/";

fn states(world: &World, head: &Scenario) -> Vec<String> {
    world.github.statuses(REPOSITORY, &head.head_sha).into_iter().rev().map(|status| status.state).collect()
}

#[tokio::test]
async fn a_slow_review_is_announced_and_a_quick_one_is_not() {
    let world = World::of_heads().await;
    let endpoint = world.endpoint_with(|config| config.review.announced_after = Duration::ZERO).await;
    let thinking = world.anthropic.gate(post("/v1/messages"));
    endpoint.send(&world.opened("d1")).await;
    thinking.reached().await.unwrap();
    let is_announced = || states(&world, &first()) == ["pending"];
    world.github.wait_until(is_announced).await.unwrap();
    thinking.release();
    endpoint.outcome("d1").await;
    assert_eq!(states(&world, &first()), ["pending", "failure"]);
    endpoint.stop().await;

    let endpoint = world.endpoint().await;
    let quick = head("quick", &[FINE]);
    world.review(&endpoint, "d2", &quick).await;
    assert_eq!(states(&world, &quick), ["success"]);
    assert_eq!(world.status(&quick).1, "Reviewed: no findings");
}

#[tokio::test]
async fn a_file_that_was_not_reviewed_is_no_success() {
    let world = World::of_heads().await;
    let long = vec!["+    let sum = sum.checked_add(item.cents).ok_or(Overflow)?;"; 3_000].leak();
    let endpoint = world
        .endpoint_with(|config| (config.review.token_budget, config.review.most_prompts) = (8_000, 1))
        .await;
    let large = head("large", &[FINE, ("src/large.rs", 1, long)]);
    let done = world.review(&endpoint, "d1", &large).await;
    assert_eq!(done["state"], "partial", "{done}");
    assert_eq!(
        world.status(&large),
        ("error".into(), "Partial: 1 file not reviewed, or not whole; no findings so far".into())
    );
    // that it was looked at before makes it no better
    let done = world.review(&endpoint, "d2", &head("again", &[FINE, ("src/large.rs", 2, long)])).await;
    assert_eq!((&done["state"], &done["detail"]["status"]), (&json!("partial"), &json!("error")), "{done}");
}

#[tokio::test]
async fn what_is_not_reviewed_says_so() {
    let world = World::of_heads().await;
    let endpoint = world.endpoint().await;
    world.github.update_pull(REPOSITORY, 7, |pull| pull.draft = true);
    let draft = head("draft", &[FINE]);
    assert_eq!(world.review(&endpoint, "draft", &draft).await["state"], "skipped");
    let (state, words) = world.status(&draft);
    assert!(state == "error" && words.starts_with("Skipped: the pull request is a draft"), "{words}");
    world.github.update_pull(REPOSITORY, 7, |pull| pull.draft = false);

    world.anthropic.answer_next(Reply::refusal());
    let refused = head("refused", &[FINE]);
    assert_eq!(world.review(&endpoint, "refused", &refused).await["state"], "failed");
    let (state, words) = world.status(&refused);
    assert!(state == "error" && words.starts_with("Failed: "), "{words}");

    let thinking = world.anthropic.gate(post("/v1/messages"));
    let old = head("old", &[FINE]);
    old.push_to(&world.github);
    endpoint.send(&world.synchronized("old", &old)).await;
    thinking.reached().await.unwrap();
    let new = head("new", &[PAY, RUN]);
    new.push_to(&world.github);
    thinking.release();
    assert_eq!(endpoint.outcome("old").await["state"], "superseded");
    let expected = format!("Superseded: not reviewed, {} is newer", &new.head_sha[..7]);
    assert_eq!(world.status(&old), ("error".into(), expected));

    // what GitHub forbids for good ends in a status, too
    world.github.fail_next(post(REVIEWS), Fault::Status(StatusCode::FORBIDDEN, vec![]));
    assert_eq!(world.review(&endpoint, "new", &new).await["state"], "failed");
    let (state, words) = world.status(&new);
    assert!(state == "error" && words.starts_with("Failed: GitHub does not allow it"), "{words}");
}

#[tokio::test]
async fn what_the_memory_refuses_makes_no_success() {
    let world = World::of_heads().await;
    world.memory.refuse_updates(Some(StatusCode::UNPROCESSABLE_ENTITY));
    let endpoint = world.endpoint().await;
    let fine = head("fine", &[FINE]);
    let done = world.review(&endpoint, "d1", &fine).await;
    assert_eq!((&done["state"], world.status(&fine).0), (&json!("partial"), "error".to_owned()), "{done}");
}

#[tokio::test]
async fn a_paused_pull_request_and_a_programs_last_round_say_so() {
    let world =
        World::start_with(crate::heads::forgetful(), Scenario { author: "renovate[bot]".into(), ..first() })
            .await;
    let by_bot =
        |name: &str, places: &[Place]| Scenario { author: "renovate[bot]".into(), ..head(name, places) };
    let endpoint = world.endpoint_with(|config| config.review.agent_rounds = 1).await;
    world.review(&endpoint, "d1", &by_bot("one", &[PAY])).await;
    let second = by_bot("two", &[PAY, RUN]);
    let done = world.review(&endpoint, "d2", &second).await;
    assert_eq!((&done["state"], world.anthropic.requests().len()), (&json!("skipped"), 1), "{done}");
    let (state, words) = world.status(&second);
    assert!(state == "error" && words.starts_with("Stopped: it had 1 round"), "{words}");
    let summary = &world.own_reviews()[0].body;
    assert!(summary.starts_with("> [!IMPORTANT]\n> it had 1 round"), "{summary}");
    // said once
    let put = testkit::control::Matcher::new(http::Method::PUT, REVIEWS);
    let third = by_bot("three", &[PAY, RUN, FINE]);
    world.review(&endpoint, "d3", &third).await;
    assert_eq!((world.github.count(&put), world.own_reviews().len()), (1, 1));
    assert!(world.status(&third).1.starts_with("Stopped: "));

    world.github.set_role(REPOSITORY, "ann", testkit::github::Role::Write);
    let said = world.github.comment_as("ann", REPOSITORY, 7, "/ai pause");
    let mut pause = world.opened("pause");
    (pause["event"], pause["action"]) = (json!("issue_comment"), json!("created"));
    pause["sender"] = json!({"login": "ann", "kind": "user"});
    pause["subject"] = json!({"kind": "comment", "number": 7, "comment_id": said, "body": "/ai pause",
                              "author": "ann", "is_pull_request": true});
    endpoint.send(&pause).await;
    assert_eq!(endpoint.outcome("pause").await["state"], "completed");
    let fourth = by_bot("four", &[PAY, RUN, FINE]);
    world.review(&endpoint, "d4", &fourth).await;
    assert_eq!(world.status(&fourth).0, "error");
    assert!(
        world.status(&fourth).1.starts_with("Skipped: reviews are paused by ann"),
        "{}",
        world.status(&fourth).1
    );
}

#[tokio::test]
async fn a_status_that_may_not_be_set_costs_no_review() {
    for (fault, words) in
        [(StatusCode::FORBIDDEN, "not permitted: "), (StatusCode::UNPROCESSABLE_ENTITY, "refused: ")]
    {
        let world = World::of_heads().await;
        world.github.fail_next(post(STATUSES), Fault::Status(fault, vec![]));
        let endpoint = world.endpoint().await;
        let done = world.review(&endpoint, "d1", &first()).await;
        assert_eq!((&done["state"], world.own_reviews().len()), (&json!("completed"), 1), "{done}");
        assert!(done["detail"]["status"].as_str().unwrap().starts_with(words), "{done}");
        assert!(states(&world, &first()).is_empty());
    }
}

#[tokio::test]
async fn a_github_app_makes_one_check_run_for_a_head() {
    let world = World::of_heads().await;
    world.github.add_app().unwrap();
    world.github.install_app(&[REPOSITORY]);
    let key = AppKey::new(APP_ID, &app_key().into()).unwrap();
    let endpoint = world
        .endpoint_with(|config| {
            (config.github.token, config.github.app) = (None, Some(key));
            config.review.announced_after = Duration::ZERO;
        })
        .await;
    let thinking = world.anthropic.gate(post("/v1/messages"));
    endpoint.send(&world.opened("d1")).await;
    thinking.reached().await.unwrap();
    let runs = |head: &Scenario| world.github.check_runs(REPOSITORY, &head.head_sha);
    world.github.wait_until(|| !runs(&first()).is_empty()).await.unwrap();
    assert_eq!(runs(&first())[0].status, "in_progress");
    thinking.release();
    endpoint.outcome("d1").await;
    let made = runs(&first());
    assert_eq!((made.len(), made[0].conclusion.as_deref()), (1, Some("failure")));
    assert_eq!(made[0].title.as_deref(), Some("Reviewed: 2 findings (2 major)"));

    world.github.update_pull(REPOSITORY, 7, |pull| pull.draft = true);
    let draft = head("draft", &[FINE]);
    world.review(&endpoint, "d2", &draft).await;
    assert_eq!(
        runs(&draft)[0].conclusion.as_deref(),
        Some("action_required"),
        "it does not let anybody merge"
    );
    world.github.update_pull(REPOSITORY, 7, |pull| pull.draft = false);
    let fine = head("fine", &[FINE]);
    world.review(&endpoint, "d3", &fine).await;
    assert_eq!(runs(&fine)[0].conclusion.as_deref(), Some("success"));
}
