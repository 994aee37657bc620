//! The stand-in takes a GitHub App's tokens as GitHub does, and refuses in its words.

use http::Method;
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use shared::github::AppKey;

use super::*;
use crate::scenario::{REVIEWER_TOKEN, Scenario};

const SHOP: &str = "/repos/acme/shop";

struct World {
    github: GitHub,
    client: reqwest::Client,
    head: String,
    installation: u64,
}

async fn world() -> World {
    let (github, scenario) = (GitHub::start().await.unwrap(), Scenario::default());
    scenario.load_into(&github);
    github.add_app().unwrap();
    let installation = github.install_app(&["acme/shop"]);
    let client = shared::client::http(None).unwrap();
    World { github, client, head: scenario.head_sha, installation }
}

fn signed(id: &str, pem: &str, ahead: i64) -> String {
    let key = AppKey::new(id, &pem.into()).unwrap();
    let now = Timestamp::now() + SignedDuration::from_secs(ahead);
    key.token(now).unwrap().expose_secret().to_owned()
}

impl World {
    async fn ask(&self, method: Method, path: &str, token: &str, body: Option<Value>) -> (u16, Value) {
        let request = self.client.request(method, self.github.url() + path).bearer_auth(token);
        let request = if let Some(body) = body { request.body(body.to_string()) } else { request };
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn get(&self, path: &str, token: &str) -> (u16, Value) {
        self.ask(Method::GET, path, token, None).await
    }

    /// A fresh token of the installation.
    async fn token(&self) -> String {
        let path = format!("/app/installations/{}/access_tokens", self.installation);
        let (status, answer) = self.ask(Method::POST, &path, &signed(APP_ID, &app_key(), 0), None).await;
        assert_eq!((status, &answer["permissions"]["checks"]), (201, &json!("write")));
        answer["token"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn an_app_is_believed_by_its_signature_and_its_times() {
    let world = world().await;
    let (status, app) = world.get("/app", &signed(APP_ID, &app_key(), 0)).await;
    assert_eq!((status, &app["slug"]), (200, &json!(APP_SLUG)));
    let by_client = signed(app["client_id"].as_str().unwrap(), &app_key(), 0);
    assert_eq!(world.get(&format!("{SHOP}/installation"), &by_client).await.1["id"], world.installation);
    for (token, status, words) in [
        (signed(APP_ID, &strangers_key(), 0), 401, "A JSON web token could not be decoded"),
        ("a.b.c".to_owned(), 401, "A JSON web token could not be decoded"),
        (signed("12", &app_key(), 0), 404, "Integration not found"),
        (signed(APP_ID, &app_key(), 120), 401, "'Issued at' claim ('iat') must be an Integer"),
        (signed(APP_ID, &app_key(), -900), 401, "must be a numeric value representing the future time"),
        ("ghs_unknown".to_owned(), 401, "Bad credentials"),
    ] {
        let (found, answer) = world.get("/app", &token).await;
        let message = answer["message"].as_str().unwrap();
        assert!(found == status && message.contains(words), "{found} {message}");
    }
    assert_eq!(world.get("/app", &world.token().await).await.0, 401, "an installation is not the app");
}

#[tokio::test]
async fn a_token_is_good_for_its_installation_its_permissions_and_its_time() {
    let world = world().await;
    Scenario { repository: "umbrella/till".into(), ..Scenario::default() }.load_into(&world.github);
    let token = world.token().await;
    let (pull, other) = (format!("{SHOP}/pulls/7"), "/repos/umbrella/till/pulls/7");
    assert_eq!((world.get(&pull, &token).await.0, world.get(other, &token).await.0), (200, 404));
    assert_eq!(world.get("/user", &token).await.0, 403);
    world.github.permit_app(world.installation, "pull_requests", None);
    let (status, answer) = world.get(&pull, &token).await;
    assert_eq!((status, &answer["message"]), (403, &json!("Resource not accessible by integration")));
    world.github.permit_app(world.installation, "pull_requests", Some("read"));
    assert_eq!(world.get(&pull, &token).await.0, 200);
    let review = json!({"event": "COMMENT", "body": "Hm."});
    let posted = world.ask(Method::POST, &format!("{pull}/reviews"), &token, Some(review)).await;
    assert_eq!(posted.0, 403);
    world.github.set_clock(SignedDuration::from_mins(59));
    assert_eq!(world.get(&pull, &token).await.0, 200);
    world.github.set_clock(SignedDuration::from_mins(61));
    assert_eq!(world.get(&pull, &token).await.0, 401);
}

#[tokio::test]
async fn suspended_and_removed_installations_give_no_tokens() {
    let world = world().await;
    let (token, app) = (world.token().await, signed(APP_ID, &app_key(), 0));
    let path = format!("/app/installations/{}/access_tokens", world.installation);
    world.github.suspend_app(world.installation, true);
    let (status, answer) = world.ask(Method::POST, &path, &app, None).await;
    assert_eq!((status, &answer["message"]), (403, &json!("This installation has been suspended")));
    assert_eq!(world.get(SHOP, &token).await.0, 403);
    world.github.uninstall_app(world.installation);
    assert_eq!(world.ask(Method::POST, &path, &app, None).await.0, 404);
    assert_eq!(world.get(&format!("{SHOP}/installation"), &app).await.0, 404);
    assert_eq!(world.get(SHOP, &token).await.0, 401);
}

#[tokio::test]
async fn check_runs_are_for_apps() {
    let world = world().await;
    let (path, of_commit) =
        (format!("{SHOP}/check-runs"), format!("{SHOP}/commits/{}/check-runs", world.head));
    let new = |more: Value| crate::shape::extended(json!({"name": "a b", "head_sha": world.head}), more);
    let (status, answer) = world.ask(Method::POST, &path, REVIEWER_TOKEN, Some(new(json!({})))).await;
    assert_eq!((status, &answer["message"]), (403, &json!("You must authenticate via a GitHub App.")));
    let token = world.token().await;
    for wrong in [
        json!({"status": "completed"}),
        json!({"conclusion": "good"}),
        json!({"head_sha": "0123456"}),
        json!({"output": {"title": "t"}}),
        json!({"colour": "red"}),
    ] {
        assert_eq!(world.ask(Method::POST, &path, &token, Some(new(wrong.clone()))).await.0, 422, "{wrong}");
    }
    let open = new(json!({"status": "in_progress", "external_id": "x"}));
    let (status, made) = world.ask(Method::POST, &path, &token, Some(open.clone())).await;
    assert_eq!(
        (status, &made["status"], &made["app"]["slug"]),
        (201, &json!("in_progress"), &json!(APP_SLUG))
    );
    let own = format!("{path}/{}", made["id"]);
    let done = world.ask(Method::PATCH, &own, &token, Some(json!({"conclusion": "success"}))).await.1;
    assert_eq!((&done["status"], &done["external_id"]), (&json!("completed"), &json!("x")));
    let reopened = world.ask(Method::PATCH, &own, &token, Some(json!({"status": "in_progress"}))).await.1;
    assert_eq!((&reopened["status"], &reopened["conclusion"]), (&json!("completed"), &json!("success")));
    world.ask(Method::POST, &path, &token, Some(open)).await;
    let listed = world.get(&format!("{of_commit}?check_name=a%20b"), REVIEWER_TOKEN).await.1;
    assert_eq!(
        (&listed["total_count"], &listed["check_runs"][0]["status"]),
        (&json!(1), &json!("in_progress"))
    );
    assert_eq!(world.get(&format!("{of_commit}?filter=all"), &token).await.1["total_count"], 2);
    assert_eq!(world.get(&format!("{of_commit}?check_name=other"), &token).await.1["total_count"], 0);
    let foreign = CheckRun { repository: "acme/shop".into(), app: "other".into(), ..CheckRun::default() };
    let foreign = world.github.add_check_run(foreign);
    let refused = world.ask(Method::PATCH, &format!("{path}/{foreign}"), &token, Some(json!({}))).await;
    assert_eq!(refused.0, 403);
}
