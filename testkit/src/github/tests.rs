//! The stand-in refuses what GitHub refuses, and keeps what it accepts.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::control::{Fault, get, post};
use crate::scenario::{REVIEWER, REVIEWER_TOKEN, Scenario};

const PULL: &str = "/repos/acme/shop/pulls/7";

struct Shop {
    github: GitHub,
    client: reqwest::Client,
    scenario: Scenario,
}

async fn shop() -> Shop {
    let (github, scenario) = (GitHub::start().await.unwrap(), Scenario::default());
    scenario.load_into(&github);
    Shop { github, client: shared::client::http(None).unwrap(), scenario }
}

impl Shop {
    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, self.github.url() + path).bearer_auth(REVIEWER_TOKEN)
    }

    async fn get(&self, path: &str) -> Value {
        self.request(Method::GET, path).send().await.unwrap().json().await.unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let answer = self.request(Method::POST, path).body(body.to_string()).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn review(&self, comments: Value) -> (u16, Value) {
        let body = json!({"event": "COMMENT", "body": "Hm.", "commit_id": self.scenario.head_sha,
            "comments": comments});
        self.post(&format!("{PULL}/reviews"), body).await
    }

    fn reviews(&self) -> Vec<Review> {
        self.github.reviews("acme/shop", 7)
    }
}

#[tokio::test]
async fn the_pull_request_is_shown_as_json_and_as_diff() {
    let shop = shop().await;
    let pull = shop.get(PULL).await;
    assert_eq!(pull["head"]["sha"], shop.scenario.head_sha.as_str());
    assert_eq!(
        (&pull["changed_files"], &pull["additions"], &pull["deletions"]),
        (&json!(2), &json!(19), &json!(3))
    );
    for media_type in ["application/vnd.github.diff", "application/vnd.github.v3.diff"] {
        let answer = shop.request(Method::GET, PULL).header("accept", media_type).send().await.unwrap();
        assert!(answer.headers().contains_key("x-ratelimit-remaining"));
        assert_eq!(answer.text().await.unwrap(), shop.scenario.diff);
    }
}

#[tokio::test]
async fn a_second_pull_request_joins_the_first() {
    let shop = shop().await;
    shop.review(json!([])).await;
    Scenario { number: 8, head_sha: sha_of("eight"), ..Scenario::default() }.load_into(&shop.github);
    assert_eq!(shop.get("/repos/acme/shop/pulls/8").await["head"]["sha"], sha_of("eight").as_str());
    assert_eq!(shop.reviews().len(), 1);
}

#[tokio::test]
async fn who_asks_matters() {
    let shop = shop().await;
    let ask = |request: reqwest::RequestBuilder| async { request.send().await.unwrap().status().as_u16() };
    let url = shop.github.url() + PULL;
    assert_eq!(ask(shop.client.get(&url)).await, 404, "private");
    assert_eq!(ask(shop.client.get(&url).bearer_auth("wrong")).await, 401);
    assert_eq!(ask(shop.client.get(&url).header("user-agent", "").bearer_auth(REVIEWER_TOKEN)).await, 403);
    assert_eq!(
        ask(shop.client.get(&url).header("authorization", format!("token {REVIEWER_TOKEN}"))).await,
        200
    );
    shop.github.add_user("stranger-token", "stranger");
    assert_eq!(ask(shop.client.get(&url).bearer_auth("stranger-token")).await, 404);
    assert_eq!(shop.get("/user").await["login"], REVIEWER);
}

#[tokio::test]
async fn a_review_is_kept_with_its_comments() {
    let shop = shop().await;
    let comments = json!([
        {"path": "src/orders.rs", "line": 43, "side": "RIGHT", "start_line": 41, "start_side": "RIGHT", "body": "a"},
        {"path": "web/cart.js", "line": 4, "side": "LEFT", "body": "removed line"},
        {"path": "web/cart.js", "line": 3, "body": "context line"},
    ]);
    let (status, review) = shop.review(comments).await;
    assert_eq!(
        (status, &review["state"], &review["user"]["login"]),
        (200, &json!("COMMENTED"), &json!(REVIEWER))
    );
    assert_eq!(shop.reviews().len(), 1);
    assert_eq!(shop.github.comments("acme/shop", 7).len(), 3);
    let listed = shop.get(&format!("{PULL}/reviews/{}/comments", review["id"])).await;
    assert_eq!((&listed[0]["start_line"], &listed[1]["side"]), (&json!(41), &json!("LEFT")));
}

#[tokio::test]
async fn one_bad_comment_refuses_the_whole_review() {
    let shop = shop().await;
    let good = json!({"path": "src/orders.rs", "line": 43, "body": "a"});
    let bad = [
        (json!({"path": "src/orders.rs", "line": 30, "body": "a"}), "Line could not be resolved"),
        (json!({"path": "src/gone.rs", "line": 1, "body": "a"}), "Path could not be resolved"),
        (json!({"path": "src/orders.rs", "line": 43, "start_line": 23, "body": "a"}), "same hunk"),
        (json!({"path": "src/orders.rs", "line": 43, "start_line": 44, "body": "a"}), "must precede"),
        (json!({"path": "src/orders.rs", "line": 43, "start_line": 43, "body": "a"}), "must precede"),
        (json!({"path": "src/orders.rs", "line": 43, "start_line": 30, "body": "a"}), "Start line could not"),
        (
            json!({"path": "web/cart.js", "line": 36, "side": "LEFT", "body": "a"}),
            "Line could not be resolved",
        ),
        (json!({"path": "src/orders.rs", "line": 43, "body": " "}), "Body can't be blank"),
        (
            json!({"path": "src/orders.rs", "line": 43, "body": "a", "subject_type": "line"}),
            "not a permitted key",
        ),
        (json!({"path": "src/orders.rs", "body": "a"}), "Position could not be resolved"),
    ];
    for (comment, reason) in bad {
        let (status, answer) = shop.review(json!([good, comment])).await;
        assert_eq!(status, 422, "{comment}");
        assert!(answer.to_string().contains(reason), "{comment}: {answer}");
    }
    assert_eq!((shop.reviews().len(), shop.github.comments("acme/shop", 7).len()), (0, 0));
}

#[tokio::test]
async fn a_review_as_a_whole_is_checked() {
    let shop = shop().await;
    shop.github.add_user("author-token", "ann");
    shop.github.add_member("acme/shop", "ann");
    let path = format!("{PULL}/reviews");
    for body in [
        json!({"event": "COMMENT"}),
        json!({"event": "REQUEST_CHANGES", "body": ""}),
        json!({"event": "COMMENT", "body": "x".repeat(MAX_BODY + 1)}),
        json!({"event": "COMMENT", "body": "x", "commit_id": "18be027a1a547219327de627f5f81533f432e0ff"}),
        json!({"event": "SHRUG", "body": "x"}),
    ] {
        assert_eq!(shop.post(&path, body.clone()).await.0, 422, "{:.80}", body.to_string());
    }
    for event in ["APPROVE", "REQUEST_CHANGES"] {
        let own = shop.client.post(shop.github.url() + &path).bearer_auth("author-token");
        let body = json!({"event": event, "body": "x"}).to_string();
        assert_eq!(own.body(body).send().await.unwrap().status(), 422, "{event} of one's own");
    }
    assert_eq!(shop.post(&path, json!({"body": "later"})).await.1["state"], "PENDING");
    assert_eq!(shop.post(&path, json!({"body": "again"})).await.0, 422, "one pending review each");
    assert_eq!(shop.post(&path, json!({"event": "APPROVE"})).await.1["state"], "APPROVED");
}

#[tokio::test]
async fn a_file_comment_goes_by_itself() {
    let shop = shop().await;
    let path = format!("{PULL}/comments");
    let sha = &shop.scenario.head_sha;
    let file = json!({"body": "All of it.", "commit_id": sha, "path": "web/cart.js", "subject_type": "file"});
    let (status, comment) = shop.post(&path, file).await;
    assert_eq!((status, &comment["subject_type"], &comment["line"]), (201, &json!("file"), &Value::Null));
    let unknown = json!({"body": "?", "commit_id": sha, "path": "gone.js", "subject_type": "file"});
    assert_eq!(shop.post(&path, unknown).await.0, 422);
    let off = json!({"body": "?", "commit_id": sha, "path": "web/cart.js", "line": 20});
    assert_eq!(shop.post(&path, off).await.0, 422);
    let answer = json!({"body": "Yes.", "in_reply_to": comment["id"]});
    assert_eq!(shop.post(&path, answer).await.1["path"], "web/cart.js");
    // GitHub puts a review around each; tests see those they made.
    assert_eq!(shop.get(&format!("{PULL}/reviews")).await.as_array().unwrap().len(), 2);
    assert_eq!(shop.reviews().len(), 0);
}

#[tokio::test]
async fn a_new_head_moves_the_diff_and_outdates_comments() {
    let shop = shop().await;
    shop.review(json!([{"path": "src/orders.rs", "line": 43, "body": "SQL"}])).await;
    let fixed = shop.scenario.fixed();
    fixed.push_to(&shop.github);
    assert_eq!(shop.get(PULL).await["head"]["sha"], fixed.head_sha.as_str());
    let comments = shop.get(&format!("{PULL}/comments")).await;
    assert_eq!((&comments[0]["line"], &comments[0]["original_line"]), (&Value::Null, &json!(43)));
    let range = format!("/repos/acme/shop/compare/{}...{}", fixed.before, fixed.head_sha);
    assert_eq!(shop.get(&range).await["files"].as_array().unwrap().len(), 1);
    assert_eq!(shop.get(&format!("{PULL}/commits")).await.as_array().unwrap().len(), 2);
    assert_eq!(shop.get("/repos/acme/shop/compare/a...b").await["status"], "404");
}

#[tokio::test]
async fn a_large_diff_is_406_but_its_files_can_be_paged() {
    let shop = shop().await;
    let one = |n: usize| format!("diff --git a/f{n} b/f{n}\n--- a/f{n}\n+++ b/f{n}\n@@ -1 +1 @@\n-a\n+b\n");
    let diff: String = (0..301).map(one).collect();
    shop.github.set_head("acme/shop", 7, &sha_of("large"), &diff);
    let accept = "application/vnd.github.v3.diff";
    let answer = shop.request(Method::GET, PULL).header("accept", accept).send().await.unwrap();
    assert_eq!(answer.status(), 406);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["errors"][0]["code"], "too_large");
    let (mut url, mut names) = (Some(format!("{}{PULL}/files?per_page=100", shop.github.url())), vec![]);
    while let Some(next) = url.take() {
        let answer = shop.client.get(next).bearer_auth(REVIEWER_TOKEN).send().await.unwrap();
        let link = answer.headers().get("link").unwrap().to_str().unwrap().to_owned();
        url = link
            .split(", ")
            .find_map(|one| one.strip_suffix(">; rel=\"next\""))
            .map(|one| one[1..].to_owned());
        let files: Vec<Value> = answer.json().await.unwrap();
        names.extend(files.iter().map(|file| file["filename"].as_str().unwrap().to_owned()));
    }
    assert_eq!((names.len(), names[300].as_str()), (301, "f300"));
}

#[tokio::test]
async fn comments_and_statuses() {
    let shop = shop().await;
    let (status, comment) = shop.post("/repos/acme/shop/issues/7/comments", json!({"body": "one"})).await;
    assert_eq!(status, 201);
    let path = format!("/repos/acme/shop/issues/comments/{}", comment["id"]);
    let edited = shop.request(Method::PATCH, &path).body(json!({"body": "two"}).to_string());
    assert_eq!(edited.send().await.unwrap().status(), 200);
    assert_eq!(shop.github.issue_comments("acme/shop", 7)[0].body, "two");

    let sha = &shop.scenario.head_sha;
    let commit = format!("/repos/acme/shop/commits/{sha}/comments");
    assert_eq!(shop.post(&commit, json!({"body": "nice"})).await.0, 201);
    assert_eq!(shop.get(&commit).await[0]["body"], "nice");

    let status = format!("/repos/acme/shop/statuses/{sha}");
    assert_eq!(shop.post(&status, json!({"state": "success", "context": "review"})).await.0, 201);
    assert_eq!(shop.post(&status, json!({"state": "fine"})).await.0, 422);
    assert_eq!(shop.post(&status, json!({"state": "success", "description": "x".repeat(141)})).await.0, 422);
    assert_eq!(shop.github.statuses("acme/shop", sha).len(), 1);
    assert_eq!(shop.get(&format!("/repos/acme/shop/commits/{sha}/statuses")).await[0]["context"], "review");
}

#[tokio::test]
async fn content_limits_say_how_long_to_wait() {
    let shop = shop().await;
    shop.github.limit_content(1, Duration::ZERO);
    assert_eq!(shop.review(json!([])).await.0, 200);
    let path = format!("{PULL}/reviews");
    let answer = shop.request(Method::POST, &path).body("{}").send().await.unwrap();
    assert_eq!(answer.status(), 403);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(shop.reviews().len(), 1);
}

#[tokio::test]
async fn faults_happen_once_each() {
    let shop = shop().await;
    let unavailable = Fault::Status(StatusCode::SERVICE_UNAVAILABLE, vec![("retry-after", "3".into())]);
    shop.github.fail_next(get(PULL), unavailable);
    shop.github.fail_next(get(PULL), Fault::RateLimited { retry_after: 7 });
    shop.github.fail_next(get(PULL), Fault::Cut);
    let ask = || shop.request(Method::GET, PULL).send();
    let first = ask().await.unwrap();
    assert_eq!((first.status().as_u16(), &first.headers()["retry-after"]), (503, &"3".parse().unwrap()));
    assert_eq!(ask().await.unwrap().status(), 403);
    assert!(ask().await.is_err(), "cut");
    assert_eq!(ask().await.unwrap().status(), 200);
    let statuses: Vec<_> = shop.github.calls().iter().map(|call| call.status).collect();
    assert_eq!(statuses, [Some(503), Some(403), None, Some(200)]);
}

#[tokio::test]
async fn a_lost_answer_still_took_effect() {
    let shop = shop().await;
    shop.github.fail_next(post(PULL), Fault::LoseAnswer);
    let body = json!({"event": "COMMENT", "body": "x"}).to_string();
    let sent = shop.request(Method::POST, &format!("{PULL}/reviews")).body(body).send().await;
    assert!(sent.is_err());
    assert_eq!(shop.reviews().len(), 1);
}

#[tokio::test]
async fn gates_hold_before_or_after_the_effect() {
    let shop = shop().await;
    let send = || {
        let body = json!({"event": "COMMENT", "body": "x"}).to_string();
        tokio::spawn(shop.request(Method::POST, &format!("{PULL}/reviews")).body(body).send())
    };
    let before = shop.github.gate(post(PULL));
    let sending = send();
    before.reached().await.unwrap();
    assert_eq!(shop.reviews().len(), 0);
    before.release();
    assert_eq!(sending.await.unwrap().unwrap().status(), 200);

    let after = shop.github.gate_answer(post(PULL));
    let sending = send();
    after.reached().await.unwrap();
    assert_eq!(shop.reviews().len(), 2);
    after.release();
    assert_eq!(sending.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn waiting_sees_what_requests_change() {
    let shop = shop().await;
    let github = shop.github.clone();
    let waiting =
        tokio::spawn(async move { github.wait_for(|state| !state.reviews("acme/shop", 7).is_empty()).await });
    shop.review(json!([])).await;
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn stopped_it_is_away_and_comes_back_with_its_state() {
    let shop = shop().await;
    shop.review(json!([])).await;
    shop.github.stop().await;
    assert!(shop.request(Method::GET, PULL).send().await.unwrap_err().is_connect());
    shop.github.start_again().await.unwrap();
    assert_eq!(shop.get(&format!("{PULL}/reviews")).await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_hook_lists_what_was_tried_and_tries_again() {
    let shop = shop().await;
    let owner = HookOwner::Repository("acme/shop".into());
    let hook = shop.github.add_hook(owner.clone(), "http://127.0.0.1:9/github-webhook", "secret");
    let hooks = "/repos/acme/shop/hooks";
    assert_eq!(shop.get(hooks).await["message"], "Not Found", "write access is not enough");
    shop.github.add_hook_admin(owner, REVIEWER);
    let listed = shop.get(hooks).await;
    assert_eq!((&listed[0]["id"], &listed[0]["config"]["secret"]), (&json!(hook), &json!("********")));

    let event = |id: &str| crate::webhook::Delivery::new(id, "push", &json!({"action": "x"}));
    for id in ["a", "b", "c"] {
        assert_eq!(shop.github.happens(hook, event(id)).await, 502);
    }
    let deliveries = format!("{hooks}/{hook}/deliveries");
    let answer = shop.request(Method::GET, &format!("{deliveries}?per_page=2")).send().await.unwrap();
    let link = answer.headers()["link"].to_str().unwrap().to_owned();
    let first: Value = answer.json().await.unwrap();
    assert_eq!(
        (&first[0]["guid"], &first[1]["guid"], &first[0]["action"]),
        (&json!("c"), &json!("b"), &json!("x"))
    );
    let next = link.split(['<', '>']).nth(1).unwrap().strip_prefix(&shop.github.url()).unwrap();
    let last = shop.get(next).await;
    assert_eq!((last.as_array().unwrap().len(), &last[0]["redelivery"]), (1, &json!(false)));

    let again = format!("{deliveries}/{}/attempts", last[0]["id"]);
    assert_eq!(shop.post(&again, json!({})).await.0, 202);
    shop.github.wait_until(|| shop.github.attempts(hook).len() == 4).await.unwrap();
    let newest = &shop.get(&deliveries).await[0];
    assert_eq!((&newest["guid"], &newest["redelivery"]), (&json!("a"), &json!(true)));
    shop.github.pass_time(jiff::SignedDuration::from_hours(73));
    assert_eq!(shop.get(&deliveries).await, json!([]));
    assert_eq!(shop.post(&again, json!({})).await.0, 404);
}
