//! `kill -9` of each service at each step of the journey: after the restart it completes, with one review, one
//! memory, one outcome.

use testkit::{
    control::{Gate, Matcher, get, post},
    scenario::Scenario,
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
async fn claude_endpoint_before_it_knows_the_pull_request() {
    killed_at("claude-endpoint", github(get("/repos/acme/shop/pulls/7"))).await;
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
