//! Commands that do something: reviews on demand, and the memory.
#![allow(clippy::unwrap_used, reason = "test code fails by panicking")]

use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::{Json, Router, routing};
use claude_endpoint::config::MemorySettings;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use testkit::anthropic::Reply;
use testkit::control::{Matcher, post};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::conversation::{
    REPO, comment, ends, ours, reactions, reviewed, reviews_asked, started, status, world,
};

#[tokio::test]
async fn a_review_on_demand_is_made_once_whatever_was_reviewed_paused_or_killed() {
    let world = world().await;
    let endpoint = reviewed(&world).await;
    ends(&endpoint, &comment(&world, "p", "ann", "/ai pause")).await;
    let posted = || (world.github.reviews(REPO, 7).len(), world.github.comments(REPO, 7).len());
    let (before, asked) = (posted(), reviews_asked(&world));
    let command = comment(&world, "c1", "ann", "/ai review");
    let done = ends(&endpoint, &command).await;
    assert_eq!((&done["state"], &done["detail"]["asked"]), (&json!("completed"), &json!("review")), "{done}");
    assert_eq!((&done["detail"]["round"], reviews_asked(&world)), (&json!(1), asked + 1), "{done}");
    let told = ours(&world).pop().unwrap().body;
    assert!(told.starts_with("18be027: reviewed, ") && told.contains("[The review](http"), "{told}");
    assert_eq!(posted(), before, "nothing is told twice");
    assert_eq!(world.memory.updates().len(), 2);
    assert_eq!(world.memory.updates()[1].trust, Some(shared::memory::Trust::Member));
    assert!(world.github.reviews(REPO, 7)[0].body.contains("paused by ann"), "it still is");

    let mut again = command.clone();
    again["redelivery"] = json!(1);
    endpoint.send(&again).await;
    let mut other = command.clone();
    other["id"] = json!("c2");
    assert_eq!(ends(&endpoint, &other).await["summary"], "answered before");

    // the next head: stopped when the review stands there and nobody knows
    world.scenario.fixed().push_to(&world.github);
    let held = world.github.gate_answer(Matcher::new(http::Method::PUT, "/repos/acme/shop/pulls/7/reviews"));
    endpoint.send(&comment(&world, "c3", "ann", "/ai review")).await;
    held.reached().await.unwrap();
    endpoint.stop().await;
    held.release();
    let endpoint = started(&world).await;
    assert_eq!(endpoint.outcome("c3").await["state"], "completed");
    assert_eq!((reviews_asked(&world), ours(&world).len()), (asked + 2, 3));
    let status = status(&world, &world.scenario.fixed().head_sha);
    assert_eq!(status.0, "failure", "{status:?}");
}

#[tokio::test]
async fn a_head_that_moves_under_a_review_on_demand_is_followed() {
    let world = world().await;
    let endpoint = started(&world).await;
    let thinking = world.anthropic.gate(post("/v1/messages"));
    endpoint.send(&comment(&world, "c1", "ann", "/ai review")).await;
    thinking.reached().await.unwrap();
    let fixed = world.scenario.fixed();
    fixed.push_to(&world.github);
    thinking.release();
    assert_eq!(endpoint.outcome("c1").await["state"], "completed");
    assert!(ours(&world)[0].body.starts_with(&fixed.head_sha[..7]), "{:?}", ours(&world));
    let reviews = world.github.reviews(REPO, 7);
    assert_eq!((reviews.len(), &reviews[0].commit_id), (1, &fixed.head_sha));
}

#[tokio::test]
async fn a_review_on_demand_that_cannot_be_made_is_said() {
    let world = world().await;
    let endpoint = started(&world).await;
    world.anthropic.respond_with(testkit::anthropic::always(Reply::refusal()));
    let asked = comment(&world, "c1", "ann", "/ai review");
    assert_eq!(ends(&endpoint, &asked).await["state"], "failed");
    let told = ours(&world);
    assert!(told.len() == 1 && told[0].body.starts_with("That did not work: "), "{told:?}");
    assert_eq!(
        (status(&world, &world.scenario.head_sha).0.as_str(), reactions(&world, &asked)),
        ("error", 0)
    );
    assert!(world.github.reviews(REPO, 7).is_empty());
}

#[tokio::test]
async fn what_is_to_be_remembered_is_told_to_the_memory_now_or_later() {
    let world = world().await;
    let endpoint = started(&world).await;
    let text = "/ai remember Money is in **cents**\nghp_0123456789abcdefghijABCDEFGHIJ012345<!-- x -->";
    ends(&endpoint, &comment(&world, "c1", "ann", text)).await;
    let update = world.memory.updates().remove(0);
    assert!(
        update.context.starts_with("Money is in **cents**\n") && !update.context.contains("ghp_0"),
        "{update:?}"
    );
    assert_eq!((update.kind.as_deref(), update.agent.as_deref()), (Some("decision"), Some("github/ann")));
    assert_eq!(update.trust, Some(shared::memory::Trust::Member));
    assert!(ours(&world)[0].body.starts_with("Remembered."));

    world.memory.refuse_updates(Some(StatusCode::SERVICE_UNAVAILABLE));
    ends(&endpoint, &comment(&world, "c2", "ann", "/ai remember Totals are not")).await;
    assert!(ours(&world)[1].body.starts_with("The memory is away; it will be told."));
    endpoint.stop().await;
    world.memory.refuse_updates(None);
    let endpoint = started(&world).await;
    world.memory.updated(2).await;
    assert_eq!(world.memory.updates()[1].context, "Totals are not");

    world.memory.refuse_updates(Some(StatusCode::UNPROCESSABLE_ENTITY));
    ends(&endpoint, &comment(&world, "c3", "ann", "/ai remember @octocat")).await;
    assert!(
        ours(&world)[2].body.contains("It is not remembered: it is not wanted")
            || ours(&world)[2].body.contains("422")
    );
    ends(&endpoint, &comment(&world, "c4", "ann", "/ai remember")).await;
    assert!(ours(&world)[3].body.contains("`/ai remember TEXT`"), "{:?}", ours(&world)[3]);
    assert!(world.anthropic.requests().is_empty());
}

#[tokio::test]
async fn what_the_memory_knows_is_shown_disarmed() {
    let world = world().await;
    world.memory.know(REPO, "Ask @octocat\n/merge it", "fork");
    let endpoint = started(&world).await;
    ends(&endpoint, &comment(&world, "c1", "ann", "/ai recall money in carts")).await;
    let told = ours(&world).remove(0).body;
    assert!(told.contains("- `m1` (convention, 2026-11-01): Money is in cents\n"), "{told}");
    assert!(
        told.contains("`m3` (convention, 2026-11-01, from a fork)") && !told.contains("@octocat"),
        "{told}"
    );
    let search = world.memory.searches().pop().unwrap();
    assert!(search.contains("money in carts") && search.contains("acme/shop"), "{search}");
    world.memory.fail_next(1);
    ends(&endpoint, &comment(&world, "c2", "ann", "/ai recall")).await;
    assert!(ours(&world)[1].body.starts_with("Nothing can be recalled: "), "{:?}", ours(&world));
    ends(&endpoint, &comment(&world, "c3", "ann", "/ai forget m1")).await;
    assert!(
        ours(&world)[2].body.contains("set MEMORY_TOKEN here and at the ollama-endpoint"),
        "{:?}",
        ours(&world)
    );
}

#[tokio::test]
async fn only_a_memory_of_this_repository_is_forgotten() {
    let world = world().await;
    let memory = owned_memories().await;
    let url: url::Url = memory.0.parse().unwrap();
    let endpoint = world
        .endpoint_with(|config| {
            config.memory = MemorySettings { url, token: Some("local-token".into()) };
        })
        .await;
    for (id, words) in [
        ("mine", "Forgotten."),
        ("mine", "This repository's memory has no such id"),
        ("theirs", "This repository's memory has no such id"),
        ("../mine", "This repository's memory has no such id"),
    ] {
        let n = ours(&world).len();
        ends(&endpoint, &comment(&world, &format!("c{n}"), "ann", &format!("/ai forget {id}"))).await;
        assert!(ours(&world)[n].body.starts_with(words), "{id}: {:?}", ours(&world)[n]);
    }
    assert_eq!(*memory.1.lock().unwrap(), [("theirs".to_owned(), "acme/other".to_owned())]);
}

type Owned = Arc<Mutex<Vec<(String, String)>>>;

/// A memory with two entries, of this repository and of another one, for whoever has the token.
async fn owned_memories() -> (String, Owned) {
    let owned = ["mine", "theirs"].map(str::to_owned);
    let owned: Owned =
        Arc::new(Mutex::new(owned.into_iter().zip(["acme/shop", "acme/other"].map(str::to_owned)).collect()));
    let find = async |State(owned): State<Owned>, Path(id): Path<String>| {
        let found = owned.lock().unwrap().iter().find(|(known, _)| *known == id).cloned();
        found
            .map(|(id, repository)| Json(json!({"id": id, "repository": repository})))
            .ok_or(StatusCode::NOT_FOUND)
    };
    let remove = async |State(owned): State<Owned>, headers: HeaderMap, Path(id): Path<String>| {
        assert_eq!(headers["authorization"], "Bearer local-token");
        owned.lock().unwrap().retain(|(known, _)| *known != id);
        StatusCode::NO_CONTENT
    };
    let routes =
        Router::new().route("/memory/{id}", routing::get(find).delete(remove)).with_state(Arc::clone(&owned));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let limits = shared::server::Limits::default();
    tokio::spawn(shared::server::serve(listener, routes, limits, CancellationToken::new()));
    (url, owned)
}
