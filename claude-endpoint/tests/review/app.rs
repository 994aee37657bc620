//! The reviewer as a GitHub App.
#![allow(clippy::unwrap_used, reason = "test code fails by panicking")]

use serde_json::json;
use shared::github::AppKey;
use testkit::anthropic::always;
use testkit::control::post;
use testkit::github::{APP_ID, APP_SLUG, app_key};

use crate::world::{Endpoint, World};
use crate::{REVIEWS, defects};

async fn as_app(world: &World) -> Endpoint {
    let key = AppKey::new(APP_ID, &app_key().into()).unwrap();
    world.endpoint_with(|config| (config.github.token, config.github.app) = (None, Some(key))).await
}

#[tokio::test]
async fn an_app_reviews_once_through_expired_tokens_and_restarts() {
    let world = World::start(always(defects())).await;
    world.github.add_app().unwrap();
    world.github.install_app(&["acme/shop"]);
    let endpoint = as_app(&world).await;
    let thinking = world.anthropic.gate(post("/v1/messages"));
    endpoint.send(&world.opened("d1")).await;
    thinking.reached().await.unwrap();
    world.github.expire_tokens();
    thinking.release();
    let done = endpoint.outcome("d1").await;
    assert_eq!((&done["state"], &done["detail"]["posted"]), (&json!("completed"), &json!(true)), "{done}");
    endpoint.stop().await;

    let endpoint = as_app(&world).await;
    endpoint.send(&world.opened("d2")).await;
    assert_eq!(endpoint.outcome("d2").await["summary"], "this head is already reviewed");
    let reviews = world.github.reviews("acme/shop", 7);
    assert_eq!((reviews.len(), world.github.count(&post(REVIEWS))), (1, 1));
    assert_eq!(reviews[0].user.login, format!("{APP_SLUG}[bot]"));
}

#[tokio::test]
async fn an_app_that_is_not_installed_ends_the_event_with_what_to_do() {
    let world = World::start(always(defects())).await;
    world.github.add_app().unwrap();
    let endpoint = as_app(&world).await;
    endpoint.send(&world.opened("d1")).await;
    let done = endpoint.outcome("d1").await;
    assert_eq!(done["state"], "failed");
    assert!(done.to_string().contains("install it there"), "{done}");
}
