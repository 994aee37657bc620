//! The endpoint from the signed event to the outcome, against the stand-ins.

#[path = "review/agents.rs"]
mod agents;
#[path = "review/app.rs"]
mod app;
#[path = "review/commands.rs"]
mod commands;
#[path = "review/conversation.rs"]
mod conversation;
#[path = "review/failures.rs"]
mod failures;
#[path = "review/heads.rs"]
mod heads;
#[path = "review/health.rs"]
mod health;
#[path = "review/money.rs"]
mod money;
#[path = "review/once.rs"]
mod once;
#[path = "review/rounds.rs"]
mod rounds;
#[path = "review/settings.rs"]
mod settings;
#[path = "review/statuses.rs"]
mod statuses;
#[path = "review/talk.rs"]
mod talk;
mod world;

use serde_json::{Value, json};
use testkit::anthropic::{Reply, always};
use testkit::control::post;
use testkit::scenario::{REVIEWER, Scenario};
use world::{World, finding, reply};

const REVIEWS: &str = "/repos/acme/shop/pulls/7/reviews";

fn defects() -> Reply {
    reply(vec![
        finding(
            "src/orders.rs",
            44,
            44,
            "    let sql = format!(\"SELECT {COLUMNS} FROM orders WHERE customer LIKE '%{text}%' ORDER BY id DESC\");",
            "blocker",
        ),
        // the line is wrong, the quotation is right
        finding("web/cart.js", 2, 2, "for (let i = 0; i <= items.length; i++) {", "major"),
        // a range
        finding("web/cart.js", 4, 7, "  let sum = 0;", "nit"),
        finding("src/lib.rs", 1, 1, "mod orders;", "minor"),
        finding("src/orders.rs", 44, 44, "nobody wrote this", "minor"),
    ])
}

#[tokio::test]
async fn one_event_becomes_one_review_one_memory_one_outcome() {
    let world = World::start(always(defects())).await;
    let endpoint = world.endpoint().await;
    let (status, answer) = endpoint.send(&world.opened("d1")).await;
    assert_eq!((status, &answer["status"], &answer["id"]), (202, &json!("accepted"), &json!("d1")));
    let done = endpoint.outcome("d1").await;
    assert_eq!(
        (done["state"].as_str(), done["summary"].as_str()),
        (Some("completed"), Some("reviewed, 5 findings"))
    );

    let reviews = world.github.reviews("acme/shop", 7);
    assert_eq!(reviews.len(), 1);
    assert_eq!((reviews[0].user.login.as_str(), reviews[0].state), (REVIEWER, "COMMENTED"));
    assert_eq!(done["url"], reviews[0].html_url);
    assert!(reviews[0].body.contains("src/lib.rs:1"));
    let comments = world.github.comments("acme/shop", 7);
    assert!(comments.iter().all(|comment| comment.body.contains("<!-- ai-relay v1 delivery=d1 ")));
    let places: Vec<_> = comments.iter().map(|c| (c.path.as_str(), c.start_line, c.line)).collect();
    assert_eq!(
        places,
        [
            ("src/orders.rs", None, Some(43)),
            ("web/cart.js", None, Some(5)),
            ("web/cart.js", Some(4), Some(7)),
            // a finding without a line stands on its file
            ("src/orders.rs", None, None),
        ]
    );
    assert!(comments[3].body.contains("nobody wrote this"));

    let detail = &done["detail"];
    let findings = ["total", "inline", "file", "body", "open"].map(|kind| detail["findings"][kind].as_u64());
    assert_eq!(findings, [5, 3, 1, 1, 5].map(Some));
    let statuses = world.github.statuses("acme/shop", &world.scenario.head_sha);
    let told: Vec<_> = statuses.iter().map(|status| status.state.as_str()).collect();
    assert_eq!((told, &detail["status"]), (vec!["failure"], &json!("failure")));
    assert_eq!(
        (&detail["reviewer"], &detail["posted"], &detail["head_sha"]),
        (&json!("anthropic"), &json!(true), &json!(world.scenario.head_sha))
    );
    for step in ["diff", "recall", "ask", "post", "remember"] {
        assert!(detail["milliseconds"][step].is_u64(), "{step} in {detail}");
    }
    let updates = world.memory.updates();
    assert_eq!(updates.len(), 1);
    assert_eq!((updates[0].id.as_deref(), updates[0].kind.as_deref()), (Some("review-d1"), Some("review")));
    assert!(
        updates[0].context.contains("Search orders by customer")
            && updates[0].context.contains("Searches are paged")
            && !updates[0].context.contains("Money is in cents"),
        "what was recalled is not remembered again: {}",
        updates[0].context
    );

    assert_eq!(endpoint.send(&world.opened("d1")).await.0, 200, "the same delivery again");
    endpoint.send(&world.opened("d2")).await;
    let again = endpoint.outcome("d2").await;
    assert_eq!(
        (again["state"].as_str(), again["summary"].as_str()),
        (Some("completed"), Some("this head is already reviewed"))
    );
    assert_eq!((world.github.reviews("acme/shop", 7).len(), world.anthropic.requests().len()), (1, 1));
}

#[tokio::test]
async fn the_model_sees_the_change_and_the_memory_and_no_secret() {
    let world = World::start(always(defects())).await;
    let endpoint = world.endpoint().await;
    endpoint.send(&world.opened("d1")).await;
    endpoint.outcome("d1").await;
    let request = &world.anthropic.requests()[0];
    let (prompt, whole) = (request.prompt(), request.body.to_string());
    assert!(!prompt.contains("by this very event"), "what the relay has just told the memory is no news");
    assert!(
        prompt.contains("43+    let sql = format!(")
            && prompt.contains("| convention, 2026-11-01: Money is in cents")
    );
    assert!(
        world.memory.searches()[0].contains("Search orders by customer"),
        "{:?}",
        world.memory.searches()
    );
    for secret in [world::SIGNING_KEY, testkit::scenario::REVIEWER_TOKEN, world::API_KEY] {
        assert!(!whole.contains(secret));
    }
}

#[tokio::test]
async fn a_head_that_moves_while_the_model_thinks_is_not_reviewed() {
    let world = World::start(always(defects())).await;
    let gate = world.anthropic.gate(post("/v1/messages"));
    let endpoint = world.endpoint().await;
    endpoint.send(&world.opened("d1")).await;
    gate.reached().await.unwrap();
    world.scenario.fixed().push_to(&world.github);
    gate.release();
    assert_eq!(endpoint.outcome("d1").await["state"], "superseded");
    assert!(world.github.reviews("acme/shop", 7).is_empty());
}

#[tokio::test]
async fn without_a_token_the_review_is_made_and_remembered() {
    let world =
        World::start_with(always(defects()), Scenario { private: false, ..Scenario::default() }).await;
    let endpoint = world.endpoint_with(|config| config.github.token = None).await;
    assert!(
        endpoint.health().await["checks"]["github"][0]["output"]
            .as_str()
            .unwrap()
            .contains("GITHUB_TOKEN is not set")
    );
    endpoint.send(&world.opened("d1")).await;
    let done = endpoint.outcome("d1").await;
    assert_eq!((&done["state"], &done["detail"]["posted"]), (&json!("partial"), &json!(false)));
    assert!(done["summary"].as_str().unwrap().contains("set GITHUB_TOKEN"), "{done}");
    assert_eq!((world.github.reviews("acme/shop", 7).len(), world.memory.updates().len()), (0, 1));
}

#[tokio::test]
async fn without_a_reviewer_events_wait_and_health_says_what_to_set() {
    let world = World::start(always(defects())).await;
    let endpoint = world
        .endpoint_with(|config| {
            config.reviewers = claude_endpoint::reviewer::Reviewers::new(vec![], "set ANTHROPIC_API_KEY");
        })
        .await;
    endpoint.send(&world.opened("d1")).await;
    let health = endpoint.health_until(|health| health["checks"]["queue:lane"].is_array()).await;
    assert_eq!(health["status"], "warn");
    assert!(
        health["checks"]["reviewer"][0]["output"].as_str().unwrap().contains("set ANTHROPIC_API_KEY"),
        "{health}"
    );
    assert_eq!(endpoint.outcomes().await, json!([]));
    endpoint.stop().await;

    let endpoint = world.endpoint().await;
    assert_eq!(endpoint.outcome("d1").await["state"], "completed");
}

#[tokio::test]
async fn what_wants_no_review_is_skipped_with_the_reason() {
    let world = World::start(always(defects())).await;
    let endpoint = world.endpoint().await;
    let skipped = async |envelope: Value| {
        let id = envelope["id"].as_str().unwrap().to_owned();
        endpoint.send(&envelope).await;
        let done = endpoint.outcome(&id).await;
        assert_eq!(done["state"], "skipped", "{done}");
        done["summary"].as_str().unwrap().to_owned()
    };
    let mut closed = world.opened("closed");
    closed["action"] = json!("closed");
    assert_eq!(skipped(closed).await, "`closed` brings no new code");
    let mut comment = world.opened("comment");
    comment["event"] = json!("issue_comment");
    comment["subject"] = json!({"kind": "comment", "number": 7, "comment_id": 1, "body": "hi", "author": "ann", "is_pull_request": true});
    assert_eq!(skipped(comment).await, "`issue_comment.opened` asks for nothing");
    world.github.update_pull("acme/shop", 7, |pull| pull.draft = true);
    assert!(skipped(world.opened("draft")).await.contains("REVIEW_DRAFTS=true"));
    world.github.update_pull("acme/shop", 7, |pull| pull.open = false);
    assert_eq!(skipped(world.opened("late")).await, "the pull request is closed");
    let zeros = "0".repeat(40);
    assert_eq!(
        skipped(world.pushed("gone", |push| push["after"] = json!(zeros))).await,
        "the branch was deleted"
    );
    assert_eq!(
        skipped(world.pushed("new", |push| push["before"] = json!(zeros))).await,
        "the branch is new: there is nothing to compare it with"
    );
    assert!(
        skipped(world.pushed("side", |push| push["ref"] = json!("refs/heads/side")))
            .await
            .contains("only pushes to main")
    );
    let forced = world.pushed("forced", |push| {
        push["before"] = json!("1".repeat(40));
        push["forced"] = json!(true);
    });
    assert_eq!(
        skipped(forced).await,
        "history was rewritten, and GitHub no longer knows what was there before"
    );
    assert!(world.anthropic.requests().is_empty());
}

#[tokio::test]
async fn a_push_is_commented_on_only_where_it_matters() {
    let world = World::start(always(defects())).await;
    let endpoint = world.endpoint().await;
    endpoint.send(&world.pushed("p1", |_| {})).await;
    let done = endpoint.outcome("p1").await;
    let comments = world.github.commit_comments("acme/shop", &world.scenario.head_sha);
    assert_eq!((done["state"].as_str(), comments.len()), (Some("completed"), 1));
    assert!(comments[0].body.contains("src/orders.rs:44") && done["url"] == comments[0].html_url);
    endpoint.send(&world.pushed("p2", |_| {})).await;
    endpoint.outcome("p2").await;
    assert_eq!(world.github.commit_comments("acme/shop", &world.scenario.head_sha).len(), 1);

    let world = World::start(always(reply(vec![finding(
        "src/orders.rs",
        24,
        24,
        "const PAGE_SIZE: usize = 20;",
        "minor",
    )])))
    .await;
    let endpoint = world.endpoint().await;
    endpoint.send(&world.pushed("p3", |_| {})).await;
    let done = endpoint.outcome("p3").await;
    assert_eq!(done["summary"], "reviewed, 1 finding; nothing worth a comment");
    assert!(world.github.commit_comments("acme/shop", &world.scenario.head_sha).is_empty());
    assert_eq!(world.memory.updates().len(), 1);
}

#[tokio::test]
async fn a_planted_marker_does_not_stop_a_review() {
    let world = World::start(always(defects())).await;
    let endpoint = world.endpoint().await;
    endpoint.send(&world.opened("d1")).await;
    endpoint.outcome("d1").await;
    let ours = world.github.reviews("acme/shop", 7)[0].body.clone();
    // a stranger copies our marker to the next head's conversation and claims to be us for it
    let fixed = world.scenario.fixed();
    fixed.push_to(&world.github);
    let stolen = ours.replace(&world.scenario.head_sha, &fixed.head_sha);
    world.github.add_user("ghp_stranger000000000000000000000000000", "stranger");
    world.github.add_member("acme/shop", "stranger");
    world.post_review_as("ghp_stranger000000000000000000000000000", &stolen).await;
    endpoint.send(&world.synchronized("d2", &fixed)).await;
    assert_eq!(endpoint.outcome("d2").await["state"], "completed");
    assert_eq!(world.anthropic.requests().len(), 2);
    let by_us: Vec<_> = world
        .github
        .reviews("acme/shop", 7)
        .into_iter()
        .filter(|review| review.user.login == REVIEWER)
        .collect();
    assert!(by_us[0].body.contains(&format!("Reviewed {}", &fixed.head_sha[..7])), "{}", by_us[0].body);
}
