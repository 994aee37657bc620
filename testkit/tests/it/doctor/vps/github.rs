//! What GitHub knows of the webhook, and what it thinks of the relay's credentials.

use serde_json::json;
use testkit::{github::APP_ID, webhook};

use super::DOWN;
use crate::{
    doctor::{Site, TOKEN, doctor},
    support::World,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_set_up_wrongly_at_github_is_named() {
    let site = Site::start().await;
    let (github, settings) = (&site.world.github, site.relay(&[]));
    let webhook = format!("webhook of {}", site.repository);
    for (fields, what, says, mend) in [
        (json!({"active": false}), "active", "switched off", "Active"),
        (json!({"config": {"secret": null}}), "secret", "no secret", "GITHUB_WEBHOOK_SECRET"),
        (json!({"config": {"content_type": "xml"}}), "content type", "xml", "application/json"),
        (json!({"events": ["push"]}), "events", "pull requests", "Pull requests"),
    ] {
        github.set_up_hook(site.hook, fields);
        doctor("relay", &settings, &[]).await.fails("github", &format!("{webhook}: {what}"), says, mend);
    }
    github.set_up_hook(site.hook, json!({"config": {"insecure_ssl": "1"}}));
    let seen = doctor("relay", &settings, &[]).await;
    seen.warns("github", &format!("{webhook}: certificate"), "does not check", "SSL");
    seen.warns("github", &format!("{webhook}: url"), "in clear", "https");
    github.set_up_hook(site.hook, json!({}));
    let event = |id: &str| webhook::Delivery::new(id, "push", &json!({}));
    github.list_attempt(site.hook, event("d1"), 401);
    let seen = doctor("relay", &settings, &[]).await;
    seen.fails("github", &format!("last answer to {}", site.repository), "401", "differ");
    seen.warns(
        "github",
        &format!("deliveries of {}", site.repository),
        "1 of the last day's 1 events did not arrive",
        "differ",
    );
    github.change_hook(site.hook, "https://elsewhere.example/hook?token=canary", "x", true);
    let seen = doctor("relay", &settings, &[]).await;
    let elsewhere = "no webhook leads here; there are others: https://elsewhere.example";
    seen.fails("github", &webhook, elsewhere, "WEBHOOK_URL");
    assert!(!seen.json.to_string().contains("canary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_wrong_short_or_ends_soon_is_named() {
    let site = Site::start().await;
    let github = &site.world.github;
    let seen = doctor("relay", &site.relay(&[("--github-token", "wrong")]), &[]).await;
    seen.fails("github", "credentials", "does not accept the credentials", "make a new one");
    let seen = doctor("relay", &site.relay(&[("--github-repositories", "acme/none")]), &[]).await;
    seen.fails("github", "webhook of acme/none", "may not be seen", "Webhooks: read and write");
    github.tell_of_token(TOKEN, "x-oauth-scopes", "read:user");
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(73);
    let soon = soon.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    github.tell_of_token(TOKEN, "github-authentication-token-expiration", &soon);
    github.tell_of_token(TOKEN, "x-ratelimit-remaining", "7");
    let seen = doctor("relay", &site.relay(&[]), &[]).await;
    seen.fails("github", "token scopes", "read:user", "admin:repo_hook");
    seen.warns("github", "token's end", "in 3 days", "make a new one");
    seen.warns("github", "rate limit", "7 of 5000", "begins anew");
    github.stop().await;
    let seen = doctor("relay", &site.relay(&[]), &[]).await;
    seen.fails("github", "credentials", "GitHub does not answer", "curl -sI");
    let unset = World::relay_flags(&site.world, DOWN, DOWN);
    doctor("relay", &unset, &[]).await.warns("github", "missed deliveries", "not looked for", "GITHUB_TOKEN");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_s_clock_that_differs_from_github_s_is_named() {
    let site = Site::start().await;
    let (github, key) = (&site.world.github, testkit::github::app_key());
    github.add_app().unwrap();
    github.set_clock(jiff::SignedDuration::from_secs(30));
    let as_app = site.relay(&[("--github-app-id", APP_ID), ("--github-app-private-key", &key)]);
    let seen = doctor("relay", &as_app, &[]).await;
    seen.warns("github", "clock", "GitHub is 3", "timedatectl");
    seen.fails("github", "webhook of the app", "no such thing", "no webhook");
}
