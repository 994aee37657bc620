//! Each step of a review meets each thing that can happen to a call. Whatever it is: one review, one summary, no comment
//! twice, one question.
#![allow(clippy::unwrap_used, reason = "test code fails by panicking")]

use http::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::control::{Fault, Matcher, get, post};
use testkit::scenario::{REVIEWER, Scenario};
use tokio::task::JoinSet;

use crate::REVIEWS;
use crate::heads::{ABSENT, CART, PAY, Place, REPOSITORY, RUN, first, head, moved};
use crate::world::{Endpoint, World};

const CART_FIXED: Place =
    ("web/cart.js", 30, &["   row.id = item.id;", "+  row.textContent = item.name;", "   return row;"]);

/// What can happen to a call, and what it is called.
fn faults() -> Vec<(&'static str, Fault)> {
    let status = |status: StatusCode| Fault::Status(status, vec![]);
    let after = ("retry-after", "1".to_owned());
    vec![
        ("cut", Fault::Cut),
        ("lost answer", Fault::LoseAnswer),
        ("500", status(StatusCode::INTERNAL_SERVER_ERROR)),
        ("502", status(StatusCode::BAD_GATEWAY)),
        ("504", status(StatusCode::GATEWAY_TIMEOUT)),
        ("secondary limit", Fault::RateLimited { retry_after: 1 }),
        ("429", Fault::Status(StatusCode::TOO_MANY_REQUESTS, vec![after])),
    ]
}

fn refused() -> Fault {
    Fault::Status(StatusCode::UNPROCESSABLE_ENTITY, vec![])
}

/// A later head: one place has moved, one is fixed, one is new, and one remark belongs to no line.
fn later() -> Scenario {
    head("later", &[moved(PAY, 3), CART_FIXED, RUN, ABSENT])
}

/// What stands on GitHub after both heads, however it came there.
#[derive(Debug, PartialEq, Eq)]
struct Count {
    reviews: usize,
    summaries: usize,
    /// Comments beside the code: on lines, on files.
    comments: [usize; 2],
    questions: usize,
    resolved: bool,
    status: String,
}

const WHOLE: [usize; 2] = [3, 1];

fn count(world: &World) -> Count {
    let reviews = world.own_reviews();
    let (lines, files): (Vec<_>, Vec<_>) =
        world.remarks().into_iter().partition(|remark| remark.line.is_some());
    let of_cart = lines.iter().find(|remark| remark.path == "web/cart.js").unwrap().id;
    Count {
        reviews: reviews.len(),
        summaries: reviews.iter().filter(|review| review.body.contains("<sub>Reviewed ")).count(),
        comments: [lines.len(), files.len()],
        questions: world.anthropic.requests().len(),
        resolved: world.github.resolved_by(REPOSITORY, 7, of_cart).as_deref() == Some(REVIEWER),
        status: world.github.statuses(REPOSITORY, &later().head_sha).first().unwrap().state.clone(),
    }
}

fn whole() -> Count {
    Count {
        reviews: 2,
        summaries: 1,
        comments: WHOLE,
        questions: 2,
        resolved: true,
        status: "failure".into(),
    }
}

/// Both heads are reviewed; at the second one call meets a fault.
async fn both(step: Matcher, fault: Fault) -> (World, Endpoint, Value) {
    let world = World::of_heads().await;
    let endpoint = world.endpoint().await;
    world.review(&endpoint, "d1", &first()).await;
    world.github.fail_next(step, fault);
    let done = world.review(&endpoint, "d2", &later()).await;
    assert_eq!(world.github.forget_faults(), 0, "the fault has happened");
    (world, endpoint, done)
}

/// The step meets each fault, each in a world of its own.
async fn survives(step: Matcher) {
    let mut cases = JoinSet::new();
    for (name, fault) in faults() {
        let step = step.clone();
        cases.spawn(async move {
            let (world, _endpoint, done) = both(step, fault).await;
            let posts = world.github.count(&post(REVIEWS));
            println!("{name}: {posts} POST reviews, {:?}", count(&world));
            assert_eq!(done["state"], "completed", "{name}: {done}");
            assert_eq!(count(&world), whole(), "{name}: {:#?}", world.github.calls());
            assert!(world.summary().contains("3 open (1 blocker, 1 major, 1 minor), 1 fixed"), "{name}");
            assert_eq!(
                world.memory.updates().iter().filter(|it| it.id.as_deref() == Some("review-d2")).count(),
                1
            );
        });
    }
    while let Some(case) = cases.join_next().await {
        case.unwrap();
    }
}

#[tokio::test]
async fn the_diff_meets_every_fault() {
    survives(get("/repos/acme/shop/compare/")).await;
}

#[tokio::test]
async fn the_context_meets_every_fault() {
    survives(post("/graphql#Context")).await;
}

#[tokio::test]
async fn the_recheck_meets_every_fault() {
    survives(post("/graphql#Recheck")).await;
}

#[tokio::test]
async fn the_review_meets_every_fault() {
    survives(post(REVIEWS)).await;
}

#[tokio::test]
async fn the_comment_on_a_file_meets_every_fault() {
    survives(post("/repos/acme/shop/pulls/7/comments")).await;
}

#[tokio::test]
async fn the_summary_meets_every_fault() {
    survives(Matcher::new(Method::PUT, REVIEWS)).await;
}

#[tokio::test]
async fn the_resolving_meets_every_fault() {
    survives(post("/graphql#Resolve")).await;
}

#[tokio::test]
async fn the_status_meets_every_fault() {
    survives(post("/repos/acme/shop/statuses/")).await;
}

#[tokio::test]
async fn a_refused_review_stands_in_the_summary() {
    let (world, _endpoint, done) = both(post(REVIEWS), refused()).await;
    assert!(done["summary"].as_str().unwrap().contains("all findings stand in the body"), "{done}");
    assert_eq!(count(&world), Count { reviews: 1, comments: [2, 1], ..whole() });
    assert!(world.summary().contains("Look at eval, version 1"), "{}", world.summary());
}

#[tokio::test]
async fn a_refused_comment_on_a_file_stands_in_the_summary() {
    let files = || post("/repos/acme/shop/pulls/7/comments");
    let (world, endpoint, done) = both(files(), refused()).await;
    assert_eq!(done["state"], "completed", "{done}");
    assert_eq!(count(&world), Count { comments: [3, 0], ..whole() });
    assert!(world.summary().contains("Look at absent, version 1"), "{}", world.summary());
    // and it is open, not dismissed for want of a comment
    let done =
        world.review(&endpoint, "d3", &head("rebased", &[moved(PAY, 4), CART_FIXED, RUN, ABSENT])).await;
    assert_eq!(done["detail"]["findings"]["open"], 3, "{done}");

    // at the first review, which is the summary itself
    let world = World::start_with(crate::heads::forgetful(), head("one", &[PAY, ABSENT])).await;
    let endpoint = world.endpoint().await;
    world.github.fail_next(files(), refused());
    endpoint.send(&world.opened("d1")).await;
    assert_eq!(endpoint.outcome("d1").await["state"], "completed");
    assert_eq!((world.own_reviews().len(), world.remarks().len()), (1, 1));
    assert!(world.summary().contains("Look at absent, version 0"), "{}", world.summary());
}

#[tokio::test]
async fn a_refused_summary_is_tried_again() {
    let (world, _endpoint, done) = both(Matcher::new(Method::PUT, REVIEWS), refused()).await;
    assert_eq!((&done["state"], count(&world)), (&json!("completed"), whole()), "{done}");
}

#[tokio::test]
async fn the_same_head_under_two_ids_at_once_is_reviewed_once() {
    let world = World::of_heads().await;
    let endpoint = world.endpoint().await;
    let thinking = world.anthropic.gate(post("/v1/messages"));
    endpoint.send(&world.opened("d1")).await;
    thinking.reached().await.unwrap();
    endpoint.send(&world.opened("d2")).await;
    thinking.release();
    assert_eq!(endpoint.outcome("d1").await["state"], "completed");
    assert_eq!(endpoint.outcome("d2").await["summary"], "this head is already reviewed");
    assert_eq!(
        (world.own_reviews().len(), world.anthropic.requests().len(), world.remarks().len()),
        (1, 1, 2)
    );
}

#[tokio::test]
async fn of_two_heads_at_once_the_newer_is_reviewed() {
    let world = World::of_heads().await;
    let endpoint = world.endpoint().await;
    let thinking = world.anthropic.gate(post("/v1/messages"));
    endpoint.send(&world.opened("d1")).await;
    thinking.reached().await.unwrap();
    later().push_to(&world.github);
    endpoint.send(&world.synchronized("d2", &later())).await;
    thinking.release();
    assert_eq!(endpoint.outcome("d1").await["state"], "superseded");
    assert_eq!(endpoint.outcome("d2").await["state"], "completed");
    let heads: Vec<_> = world.own_reviews().into_iter().map(|review| review.commit_id).collect();
    assert_eq!(heads, [later().head_sha]);
}

#[tokio::test]
async fn a_head_that_moves_before_the_post_is_not_reviewed_and_after_it_nothing_is_told_twice() {
    let world = World::of_heads().await;
    let endpoint = world.endpoint().await;
    let looking = world.github.gate(post("/graphql#Recheck"));
    endpoint.send(&world.opened("d1")).await;
    looking.reached().await.unwrap();
    let second = head("second", &[PAY, CART, RUN]);
    second.push_to(&world.github);
    looking.release();
    assert_eq!(endpoint.outcome("d1").await["state"], "superseded");
    assert_eq!((world.own_reviews().len(), world.status(&first()).0), (0, "error".to_owned()));

    let posting = world.github.gate(post(REVIEWS));
    endpoint.send(&world.synchronized("d2", &second)).await;
    posting.reached().await.unwrap();
    let third = head("third", &[moved(PAY, 1), CART, RUN, ABSENT]);
    third.push_to(&world.github);
    posting.release();
    assert_eq!(endpoint.outcome("d2").await["state"], "completed");
    endpoint.send(&world.synchronized("d3", &third)).await;
    assert_eq!(endpoint.outcome("d3").await["state"], "completed");
    assert_eq!(world.remarks().len(), 4, "three of the second head, one of the third");
    assert!(world.summary().contains("4 open"), "{}", world.summary());
}

#[tokio::test]
async fn an_event_that_the_operator_sends_again_changes_nothing() {
    let world = World::of_heads().await;
    let endpoint = world.endpoint().await;
    world.review(&endpoint, "d1", &first()).await;
    let mut again = world.opened("d1");
    again["redelivery"] = json!(1);
    let (_, answer) = endpoint.send(&again).await;
    assert_eq!(answer["status"], "accepted", "{answer}");
    let sent_again = async || {
        let outcomes = endpoint.outcomes().await;
        outcomes.as_array().unwrap().iter().filter(|it| it["delivery"] == "d1").count() == 2
    };
    for _ in 0..2_000 {
        if sent_again().await {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(
        (world.own_reviews().len(), world.remarks().len(), world.anthropic.requests().len()),
        (1, 2, 1)
    );
    assert_eq!(world.status(&first()).0, "failure");
}
