//! `kill -9` of each service at each step of the journey: after the restart it completes, with one review, one
//! memory, one outcome.

use std::{collections::BTreeSet, sync::Arc};

use http::Method;
use serde_json::json;
use testkit::{
    anthropic::{Reply, Responder},
    control::{Gate, Matcher, get, post},
    reviewer,
    scenario::{REVIEWER, Scenario},
};

use crate::{
    journey::journey_is_complete,
    support::{Site, World, binaries::Binaries, pull_request, until},
};

const MODEL: &str = "/v1/messages";
const REVIEWS: &str = "/repos/acme/shop/pulls/7/reviews";

async fn start() -> (World, Binaries, Site, Scenario) {
    let scenario = Scenario::default();
    let world = World::start(&scenario).await;
    let mut binaries = Binaries::new(&world);
    binaries.start(&world).await;
    let site = binaries.site(&world);
    (world, binaries, site, scenario)
}

/// Sends the event, kills `victim` when the journey stands at the gate, opens the gate and starts `victim` again.
async fn killed_at(victim: &str, gate: impl FnOnce(&World) -> Gate) {
    let (world, mut binaries, site, scenario) = start().await;
    let gate = gate(&world);
    assert_eq!(site.send(&pull_request("d1", &scenario, "opened")).await, 202);
    gate.reached().await.unwrap();
    binaries.get(victim).kill();
    drop(gate);
    binaries.get(victim).start(&world).await;
    journey_is_complete(&world, &site, "d1", &scenario).await;
}

fn github(matcher: Matcher) -> impl FnOnce(&World) -> Gate {
    move |world| world.github.gate(matcher)
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_endpoint_before_it_knows_the_change() {
    killed_at("claude-endpoint", github(get("/repos/acme/shop/compare/"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_endpoint_before_it_knows_the_pull_request() {
    killed_at("claude-endpoint", github(post("/graphql#Context"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_endpoint_before_it_looks_again() {
    killed_at("claude-endpoint", github(post("/graphql#Recheck"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_endpoint_while_the_model_thinks() {
    killed_at("claude-endpoint", |world| world.anthropic.gate(post(MODEL))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_endpoint_when_the_model_has_answered() {
    killed_at("claude-endpoint", |world| world.anthropic.gate_answer(post(MODEL))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_endpoint_before_the_review_takes_effect() {
    killed_at("claude-endpoint", github(post(REVIEWS))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_endpoint_after_the_review_took_effect() {
    killed_at("claude-endpoint", |world| world.github.gate_answer(post(REVIEWS))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ollama_endpoint_while_it_embeds() {
    killed_at("ollama-endpoint", |world| world.ollama.gate(post("/api/embed"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relay_while_the_review_is_made() {
    killed_at("relay", |world| world.anthropic.gate(post(MODEL))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_them_after_the_review_took_effect() {
    let (world, mut binaries, site, scenario) = start().await;
    let gate = world.github.gate_answer(post(REVIEWS));
    site.send(&pull_request("d1", &scenario, "opened")).await;
    gate.reached().await.unwrap();
    for victim in ["relay", "claude-endpoint", "ollama-endpoint"] {
        binaries.get(victim).kill();
    }
    drop(gate);
    binaries.start(&world).await;
    journey_is_complete(&world, &site, "d1", &scenario).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_endpoint_while_it_remembers() {
    let (world, mut binaries, site, scenario) = start().await;
    let gate = world.github.gate_answer(post(REVIEWS));
    site.send(&pull_request("d1", &scenario, "opened")).await;
    gate.reached().await.unwrap();
    // A stopped process still accepts connections, so the claude-endpoint waits for the memory's answer.
    binaries.ollama.signal("STOP");
    drop(gate);
    assert!(until(async || binaries.claude.log().contains("\"posted\"")).await, "{}", binaries.logs());
    binaries.claude.kill();
    binaries.ollama.signal("CONT");
    binaries.claude.start(&world).await;
    journey_is_complete(&world, &site, "d1", &scenario).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relay_right_after_its_answer_while_nobody_is_home() {
    let (world, mut binaries, site, scenario) = start().await;
    binaries.claude.kill();
    binaries.ollama.kill();
    assert_eq!(site.send(&pull_request("d1", &scenario, "opened")).await, 202);
    binaries.relay.kill();
    binaries.start(&world).await;
    journey_is_complete(&world, &site, "d1", &scenario).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn relay_between_handing_over_and_hearing_so() {
    let (world, mut binaries, site, scenario) = start().await;
    binaries.claude.signal("STOP");
    site.send(&pull_request("d1", &scenario, "opened")).await;
    assert!(until(async || site.state("d1", "claude").await.as_deref() == Some("leased")).await);
    binaries.relay.kill();
    binaries.claude.signal("CONT");
    binaries.relay.start(&world).await;
    journey_is_complete(&world, &site, "d1", &scenario).await;
}

const FILE_COMMENTS: &str = "/repos/acme/shop/pulls/7/comments";
const STATUSES: &str = "/repos/acme/shop/statuses/";
const RESOLVE: &str = "/graphql#Resolve";

/// As the usual model, with one remark more at each head that belongs to no line.
fn remarking() -> Responder {
    Arc::new(|request| {
        if !request.asks_for("findings") {
            return testkit::anthropic::reviewer()(request);
        }
        let prompt = request.prompt();
        let mut review = reviewer::review(&prompt);
        let nth = if prompt.contains("prepare_cached") { "second" } else { "first" };
        if let Some(findings) = review["findings"].as_array_mut() {
            findings.push(json!({
                "path": "src/orders.rs", "line": 1, "end_line": 1, "side": "RIGHT", "quote": format!("the {nth} remark"),
                "severity": "minor", "category": "design", "rule": "remark", "title": format!("The {nth} remark"),
                "body": "It belongs to no line.", "suggestion": null,
            }));
        }
        Reply::review(review)
    })
}

/// Everything that has to stand on GitHub once, after the review of one head or of two.
fn stands_once(world: &World, head: &Scenario, heads: usize) {
    let github = &world.github;
    let reviews = github.reviews(&head.repository, head.number);
    let summaries = reviews.iter().filter(|review| review.body.contains("<sub>Reviewed ")).count();
    assert_eq!((reviews.len(), summaries), (1, 1), "one review, which is the summary: {reviews:#?}");
    assert!(
        reviews[0].body.contains(&format!("<sub>Reviewed {}", &head.head_sha[..7])),
        "{}",
        reviews[0].body
    );
    let comments = github.comments(&head.repository, head.number);
    let told: BTreeSet<_> = comments.iter().map(|it| (&it.path, it.line, it.body.lines().next())).collect();
    assert_eq!(told.len(), comments.len(), "no comment twice: {comments:#?}");
    let on_files = comments.iter().filter(|comment| comment.line.is_none()).count();
    assert_eq!(on_files, heads, "a remark for each head: {comments:#?}");
    let questions = world.anthropic.requests();
    let paid = questions.iter().filter(|question| question.asks_for("findings")).count();
    assert_eq!(paid, heads, "each head is paid for once");
    let statuses = github.statuses(&head.repository, &head.head_sha);
    assert_eq!(statuses.first().map(|status| status.state.as_str()), Some("failure"));
    if heads == 2 {
        let fixed = comments.iter().find(|it| it.body.contains("User input is pasted into SQL")).unwrap();
        assert_eq!(github.resolved_by(&head.repository, head.number, fixed.id).as_deref(), Some(REVIEWER));
    }
    let put = Matcher::new(Method::PUT, REVIEWS);
    println!(
        "{} POST reviews, {} PUT, {} POST comments, {} statuses: {} review, {} comments, {paid} questions",
        github.count(&post(REVIEWS)),
        github.count(&put),
        github.count(&post(FILE_COMMENTS)),
        github.count(&post(STATUSES)),
        reviews.len(),
        comments.len(),
    );
}

/// Kills the claude-endpoint at a gate of the first head's review, or of the second's.
async fn killed_at_head(nth: usize, gate: impl FnOnce(&World) -> Gate) {
    let (world, mut binaries, site, mut head) = start().await;
    world.anthropic.respond_with(remarking());
    let mut id = "d1";
    if nth == 2 {
        site.send(&pull_request(id, &head, "opened")).await;
        site.until(id, "claude", "completed").await;
        (id, head) = ("d2", head.fixed());
        head.push_to(&world.github);
    }
    let gate = gate(&world);
    let action = if nth == 2 { "synchronize" } else { "opened" };
    assert_eq!(site.send(&pull_request(id, &head, action)).await, 202);
    gate.reached().await.unwrap();
    binaries.claude.kill();
    drop(gate);
    binaries.claude.start(&world).await;
    site.until(id, "claude", "completed").await;
    stands_once(&world, &head, nth);
}

fn github_answer(matcher: Matcher) -> impl FnOnce(&World) -> Gate {
    move |world| world.github.gate_answer(matcher)
}

fn summary() -> Matcher {
    Matcher::new(Method::PUT, REVIEWS)
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_endpoint_before_the_comment_on_a_file() {
    killed_at_head(1, github(post(FILE_COMMENTS))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_endpoint_after_the_comment_on_a_file() {
    killed_at_head(1, github_answer(post(FILE_COMMENTS))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_endpoint_before_the_status() {
    killed_at_head(1, github(post(STATUSES))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_endpoint_after_the_status() {
    killed_at_head(1, github_answer(post(STATUSES))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_endpoint_before_the_summary_is_updated() {
    killed_at_head(2, github(summary())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_endpoint_after_the_summary_was_updated() {
    killed_at_head(2, github_answer(summary())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_endpoint_before_a_thread_is_resolved() {
    killed_at_head(2, github(post(RESOLVE))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_endpoint_after_a_thread_was_resolved() {
    killed_at_head(2, github_answer(post(RESOLVE))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_endpoint_before_a_later_head_is_looked_at_again() {
    killed_at_head(2, github(post("/graphql#Recheck"))).await;
}
