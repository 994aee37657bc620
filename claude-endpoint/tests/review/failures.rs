//! What fails around a review: GitHub, the model, the memory.

use http::StatusCode;
use serde_json::json;
use testkit::anthropic::{Reply, always};
use testkit::control::{Fault, get, post};

use crate::world::World;
use crate::{REVIEWS, defects};

#[tokio::test]
async fn a_lost_answer_from_github_posts_nothing_twice_and_asks_nobody_twice() {
    let world = World::start(always(defects())).await;
    world.github.fail_next(post(REVIEWS), Fault::LoseAnswer);
    let endpoint = world.endpoint().await;
    endpoint.send(&world.opened("d1")).await;
    assert_eq!(endpoint.outcome("d1").await["state"], "completed");
    assert_eq!((world.github.reviews("acme/shop", 7).len(), world.anthropic.requests().len()), (1, 1));
    assert_eq!(world.memory.updates().len(), 1);
}

#[tokio::test]
async fn a_422_in_spite_of_the_anchoring_loses_nothing() {
    let world = World::start(always(defects())).await;
    world.github.fail_next(post(REVIEWS), Fault::Status(StatusCode::UNPROCESSABLE_ENTITY, vec![]));
    let endpoint = world.endpoint().await;
    endpoint.send(&world.opened("d1")).await;
    let done = endpoint.outcome("d1").await;
    assert!(done["summary"].as_str().unwrap().contains("all findings stand in the body"), "{done}");
    let reviews = world.github.reviews("acme/shop", 7);
    let comments = world.github.comments("acme/shop", 7);
    assert!(reviews.len() == 1 && comments.iter().all(|comment| comment.line.is_none()), "{comments:?}");
    assert!(reviews[0].body.contains("src/orders.rs:44") && reviews[0].body.contains("web/cart.js:4-7"));
}

#[tokio::test]
async fn a_memory_that_is_away_delays_only_the_memory() {
    let world = World::start(always(defects())).await;
    world.memory.refuse_updates(Some(StatusCode::SERVICE_UNAVAILABLE));
    world.memory.fail_next(1);
    let endpoint = world.endpoint().await;
    endpoint.send(&world.pushed("p1", |_| {})).await;
    endpoint.send(&world.pushed("p2", |_| {})).await;
    let done = endpoint.outcome("p1").await;
    assert_eq!((&done["state"], &done["detail"]["remembered"]), (&json!("completed"), &json!("queued")));
    assert!(done["summary"].as_str().unwrap().ends_with("the memory is told later"), "{done}");
    assert!(done["detail"]["recall_error"].as_str().unwrap().contains("503"), "{done}");
    assert_eq!(endpoint.outcome("p2").await["state"], "completed", "later pushes of the branch do not wait");
    assert!(world.memory.updates().is_empty());

    endpoint.stop().await;
    world.memory.refuse_updates(None);
    let endpoint = world.endpoint().await;
    world.memory.updated(2).await;
    let ids: Vec<_> = world.memory.updates().into_iter().filter_map(|update| update.id).collect();
    assert!(ids.contains(&"review-p1".to_owned()) && ids.contains(&"review-p2".to_owned()), "{ids:?}");
    endpoint.send(&world.opened("d1")).await;
    endpoint.outcome("d1").await;
    let told = endpoint.outcomes().await;
    let told: Vec<_> = told.as_array().unwrap().iter().map(|one| one["delivery"].as_str().unwrap()).collect();
    assert_eq!(told, ["p1", "p2", "d1"], "what the remember lane did is nobody's event");
}

#[tokio::test]
async fn what_the_memory_refuses_is_said_at_once() {
    let world = World::start(always(defects())).await;
    world.memory.refuse_updates(Some(StatusCode::UNPROCESSABLE_ENTITY));
    let endpoint = world.endpoint().await;
    endpoint.send(&world.opened("d1")).await;
    let done = endpoint.outcome("d1").await;
    assert_eq!((&done["state"], &done["detail"]["remembered"]), (&json!("partial"), &json!("refused")));
    assert!(done["summary"].as_str().unwrap().contains("422: it is not wanted"), "{done}");
    assert_eq!(world.github.reviews("acme/shop", 7).len(), 1);
}

#[tokio::test]
async fn a_refusal_and_a_cut_off_answer_are_no_reviews() {
    for (answer, words) in [
        (Reply::refusal(), "refused"),
        (Reply::max_tokens(), "cut off"),
        (Reply::spend_limit(), "spend limit"),
    ] {
        let world = World::start(always(answer)).await;
        let endpoint = world.endpoint().await;
        endpoint.send(&world.opened("d1")).await;
        let done = endpoint.outcome("d1").await;
        assert_eq!(done["state"], "failed");
        assert!(done["summary"].as_str().unwrap().contains(words), "{done}");
        assert_eq!((world.github.reviews("acme/shop", 7).len(), world.anthropic.requests().len()), (0, 1));
    }
}

#[tokio::test]
async fn an_unusable_answer_is_not_paid_for_without_end() {
    let world = World::start(always(Reply::text("Looks good to me!"))).await;
    let endpoint = world.endpoint().await;
    endpoint.send(&world.opened("d1")).await;
    let done = endpoint.outcome("d1").await;
    assert_eq!(done["state"], "failed");
    assert!(done["summary"].as_str().unwrap().contains("does not fit the schema"), "{done}");
    assert_eq!((world.github.reviews("acme/shop", 7).len(), world.anthropic.requests().len()), (0, 4));
}

#[tokio::test]
async fn a_token_that_may_not_see_the_repository_ends_the_event_with_what_to_do() {
    let world = World::start(always(defects())).await;
    for _ in 0..4 {
        world.github.fail_next(get("/repos/acme/shop/compare"), Fault::Status(StatusCode::NOT_FOUND, vec![]));
    }
    let endpoint = world.endpoint().await;
    endpoint.send(&world.opened("d1")).await;
    let done = endpoint.outcome("d1").await;
    assert_eq!(done["state"], "failed");
    assert!(done.to_string().contains("GITHUB_TOKEN may not see it"), "{done}");
}

#[tokio::test]
async fn a_webhook_that_is_ahead_of_githubs_reads_waits_for_them() {
    let world = World::start(always(defects())).await;
    let fixed = world.scenario.fixed();
    let mut event = world.synchronized("d1", &fixed);
    event["subject"]["updated_at"] = json!("2026-11-22T10:00:01Z");
    // neither the new commit nor then the pull request's new head is to be seen at first
    world.github.fail_next(get("/repos/acme/shop/compare"), Fault::Status(StatusCode::NOT_FOUND, vec![]));
    world.github.add_range("acme/shop", &fixed.base_sha, &fixed.head_sha, &fixed.diff);
    let endpoint = world.endpoint().await;
    endpoint.send(&event).await;
    world.github.wait_until(|| world.github.count(&post("/graphql#Context")) >= 1).await.unwrap();
    fixed.push_to(&world.github);
    assert_eq!(endpoint.outcome("d1").await["state"], "completed");
    assert_eq!(world.github.reviews("acme/shop", 7)[0].commit_id, fixed.head_sha);
}

#[tokio::test]
async fn a_posted_review_is_found_although_the_pull_request_is_merged_meanwhile() {
    let world = World::start(always(defects())).await;
    world.github.fail_next(post(REVIEWS), Fault::LoseAnswer);
    let gate = world.github.gate_answer(post(REVIEWS));
    let endpoint = world.endpoint().await;
    endpoint.send(&world.opened("d1")).await;
    gate.reached().await.unwrap();
    world.github.update_pull("acme/shop", 7, |pull| (pull.open, pull.merged) = (false, true));
    gate.release();
    let done = endpoint.outcome("d1").await;
    assert_eq!((&done["state"], &done["detail"]["posted"]), (&json!("completed"), &json!(true)));
    assert_eq!(done["url"], world.github.reviews("acme/shop", 7)[0].html_url);
}

#[tokio::test]
async fn a_refused_body_ends_the_event() {
    let world = World::start(always(defects())).await;
    for _ in 0..8 {
        world.github.fail_next(post(REVIEWS), Fault::Status(StatusCode::UNPROCESSABLE_ENTITY, vec![]));
    }
    let endpoint = world.endpoint().await;
    endpoint.send(&world.opened("d1")).await;
    let done = endpoint.outcome("d1").await;
    assert_eq!(done["state"], "failed");
    assert!(done.to_string().contains("GitHub refused the request"), "{done}");
    assert_eq!(world.anthropic.requests().len(), 1);
}

#[tokio::test]
async fn failures_of_github_use_up_no_question() {
    let world = World::start(always(defects())).await;
    for _ in 0..3 {
        world
            .github
            .fail_next(get("/repos/acme/shop/compare"), Fault::Status(StatusCode::BAD_GATEWAY, vec![]));
    }
    world.anthropic.answer_next(Reply::text("Looks good to me!"));
    let endpoint = world.endpoint().await;
    endpoint.send(&world.opened("d1")).await;
    assert_eq!(
        endpoint.outcome("d1").await["state"],
        "completed",
        "the fourth attempt is the first question"
    );
    assert_eq!(world.anthropic.requests().len(), 2);
}

#[tokio::test]
async fn every_refusal_has_the_same_shape_and_the_open_routes_are_quick() {
    let world = World::start(always(defects())).await;
    let endpoint = world.endpoint().await;
    for (answer, status, code) in [
        (endpoint.get("/outcomes?after=x").await, 400, "invalid_query"),
        (endpoint.get("/ai-sync").await, 405, "method_not_allowed"),
        (endpoint.post("/health").await, 405, "method_not_allowed"),
    ] {
        assert_eq!((answer.0, answer.1["error"]["code"].as_str()), (status, Some(code)));
    }
    assert_eq!(endpoint.get("/readyz").await.0, 200);
    let health = endpoint.health_until(|health| health["checks"]["reviewer"][0]["status"] == "pass").await;
    assert_eq!(health["checks"]["reviewer"][0]["observedValue"], "anthropic claude-sonnet-5-5");
}
