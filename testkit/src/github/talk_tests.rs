//! Conversations over REST: bodies that change, answers in threads, reactions, and who may what.

use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::scenario::{REVIEWER, REVIEWER_TOKEN, Scenario};

const REPO: &str = "/repos/acme/shop";

struct Shop {
    github: GitHub,
    client: reqwest::Client,
    scenario: Scenario,
}

async fn shop() -> Shop {
    let (github, scenario) = (GitHub::start().await.unwrap(), Scenario::default());
    scenario.load_into(&github);
    github.add_user("ann-token", "ann");
    github.add_reader("acme/shop", "ann");
    Shop { github, client: shared::client::http(None).unwrap(), scenario }
}

impl Shop {
    async fn as_user(&self, token: &str, method: Method, path: &str, body: Value) -> (u16, Value) {
        let request = self.client.request(method, format!("{}{REPO}{path}", self.github.url()));
        let answer = request.bearer_auth(token).body(body.to_string()).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        self.as_user(REVIEWER_TOKEN, method, path, body).await
    }
}

#[tokio::test]
async fn a_reviews_body_is_changed_by_its_author() {
    let shop = shop().await;
    let id = shop.github.review_as(REVIEWER, "acme/shop", 7, "one");
    let path = format!("/pulls/7/reviews/{id}");
    let (status, review) = shop.call(Method::PUT, &path, json!({"body": "two"})).await;
    assert_eq!((status, &review["body"], &review["id"]), (200, &json!("two"), &json!(id)));
    assert_eq!(shop.github.reviews("acme/shop", 7)[0].body, "two");
    for body in [json!({"body": " "}), json!({"body": "x".repeat(MAX_BODY + 1)}), json!({})] {
        assert_eq!(shop.call(Method::PUT, &path, body).await.0, 422);
    }
    assert_eq!(shop.as_user("ann-token", Method::PUT, &path, json!({"body": "mine"})).await.0, 403);
    assert_eq!(shop.call(Method::PUT, "/pulls/7/reviews/1", json!({"body": "x"})).await.0, 404);
}

#[tokio::test]
async fn an_answer_joins_the_thread_of_its_first_comment() {
    let shop = shop().await;
    let root = shop.github.remark_as(REVIEWER, "acme/shop", 7, ("web/cart.js", 4), "Hm");
    let (status, reply) =
        shop.call(Method::POST, &format!("/pulls/7/comments/{root}/replies"), json!({"body": "So?"})).await;
    assert_eq!(
        (status, &reply["in_reply_to_id"], &reply["path"]),
        (201, &json!(root), &json!("web/cart.js"))
    );
    let id = &reply["id"];
    let again =
        shop.call(Method::POST, &format!("/pulls/7/comments/{id}/replies"), json!({"body": "x"})).await;
    assert_eq!(again.0, 422, "no answers to answers");
    assert_eq!(shop.call(Method::POST, "/pulls/7/comments/1/replies", json!({"body": "x"})).await.0, 404);
    assert_eq!(shop.call(Method::GET, &format!("/pulls/comments/{id}"), Value::Null).await.1["body"], "So?");
    let (_, newest) =
        shop.call(Method::GET, "/pulls/7/comments?sort=created&direction=desc", Value::Null).await;
    assert_eq!(&newest[0]["id"], id);
}

#[tokio::test]
async fn a_reaction_exists_once_and_is_taken_back_by_its_owner() {
    let shop = shop().await;
    let comment = shop.github.comment_as("ann", "acme/shop", 7, "/ai review");
    let path = format!("/issues/comments/{comment}/reactions");
    let (first, reaction) = shop.call(Method::POST, &path, json!({"content": "eyes"})).await;
    let (second, same) = shop.call(Method::POST, &path, json!({"content": "eyes"})).await;
    assert_eq!((first, second, &reaction["id"]), (201, 200, &same["id"]));
    assert_eq!(shop.call(Method::POST, &path, json!({"content": "wink"})).await.0, 422);
    assert_eq!(
        shop.call(Method::POST, "/issues/comments/1/reactions", json!({"content": "eyes"})).await.0,
        404
    );
    let (_, listed) = shop.call(Method::GET, "/issues/7/comments", Value::Null).await;
    assert_eq!(
        (&listed[0]["reactions"]["eyes"], &listed[0]["reactions"]["total_count"]),
        (&json!(1), &json!(1))
    );
    let own = format!("{path}/{}", reaction["id"]);
    assert_eq!(shop.as_user("ann-token", Method::DELETE, &own, Value::Null).await.0, 404);
    assert_eq!(shop.call(Method::DELETE, &own, Value::Null).await.0, 204);
    assert_eq!(shop.github.reactions("acme/shop", Subject::IssueComment(comment)), []);
    let root = shop.github.remark_as(REVIEWER, "acme/shop", 7, ("web/cart.js", 4), "Hm");
    let on_code = format!("/pulls/comments/{root}/reactions");
    assert_eq!(shop.call(Method::POST, &on_code, json!({"content": "-1"})).await.0, 201);
    assert_eq!(shop.call(Method::GET, &on_code, Value::Null).await.1[0]["content"], "-1");
}

#[tokio::test]
async fn permissions_have_an_old_and_a_new_name() {
    let shop = shop().await;
    let ask = async |login: &str| {
        let path = format!("/collaborators/{login}/permission");
        let (status, answer) = shop.call(Method::GET, &path, Value::Null).await;
        (status, answer["permission"].clone(), answer["role_name"].clone())
    };
    assert_eq!(ask(REVIEWER).await, (200, json!("write"), json!("write")));
    assert_eq!(ask("ann").await, (200, json!("read"), json!("read")));
    for (role, old, new) in [(Role::Triage, "read", "triage"), (Role::Maintain, "write", "maintain")] {
        shop.github.set_role("acme/shop", "ann", role);
        assert_eq!(ask("ann").await, (200, json!(old), json!(new)));
    }
    shop.github.add_user("x", "stranger");
    assert_eq!(ask("stranger").await, (200, json!("none"), json!("")));
    assert_eq!(ask("nobody").await.0, 404);
    shop.github.set_role("acme/shop", "ann", Role::Read);
    let path = format!("/collaborators/{REVIEWER}/permission");
    assert_eq!(shop.as_user("ann-token", Method::GET, &path, Value::Null).await.0, 403);
}

#[tokio::test]
async fn issues_and_the_issue_side_of_pull_requests() {
    let shop = shop().await;
    shop.github.add_issue("acme/shop", 3, "ann", "Search is slow", "Very.");
    let (_, issue) = shop.call(Method::GET, "/issues/3", Value::Null).await;
    assert_eq!(
        (&issue["title"], &issue["state"], issue.get("pull_request")),
        (&json!("Search is slow"), &json!("open"), None)
    );
    let (_, pull) = shop.call(Method::GET, "/issues/7", Value::Null).await;
    assert!(pull["pull_request"].is_object());
    assert_eq!(shop.call(Method::GET, "/issues/4", Value::Null).await.0, 404);
}

#[tokio::test]
async fn files_are_shown_at_a_commit_also_under_an_enterprise_servers_path() {
    let shop = shop().await;
    shop.github.set_file("acme/shop", &shop.scenario.base_sha, ".github/AGENTS.md", "# Rules\n");
    let path = format!("/contents/.github/AGENTS.md?ref={}", shop.scenario.base_sha);
    assert_eq!(shop.call(Method::GET, &path, Value::Null).await.1["content"], "IyBSdWxlcwo=");
    let url = format!("{}/api/v3{REPO}{path}", shop.github.url());
    let raw =
        shop.client.get(url).bearer_auth(REVIEWER_TOKEN).header("accept", "application/vnd.github.raw+json");
    assert_eq!(raw.send().await.unwrap().text().await.unwrap(), "# Rules\n");
    assert_eq!(shop.call(Method::GET, "/contents/AGENTS.md?ref=main", Value::Null).await.0, 404);
}

#[tokio::test]
async fn what_creates_or_changes_counts_for_the_content_limit_and_queries_do_not() {
    let shop = shop().await;
    let id = shop.github.review_as(REVIEWER, "acme/shop", 7, "one");
    shop.github.limit_content(2, Duration::ZERO);
    let query = json!({"query": "{viewer {login}}"}).to_string();
    for _ in 0..3 {
        let request = shop.client.post(shop.github.url() + "/graphql").bearer_auth(REVIEWER_TOKEN);
        assert_eq!(request.body(query.clone()).send().await.unwrap().status(), 200);
    }
    assert_eq!(shop.call(Method::PUT, &format!("/pulls/7/reviews/{id}"), json!({"body": "a"})).await.0, 200);
    assert_eq!(shop.call(Method::POST, "/issues/7/comments", json!({"body": "b"})).await.0, 201);
    let refused = shop.call(Method::POST, "/issues/7/comments", json!({"body": "c"})).await;
    assert_eq!(refused.0, 403);
    let calls = shop.github.calls_since(3);
    let lines: Vec<_> = calls.iter().map(ToString::to_string).collect();
    assert_eq!(lines[1], "POST /repos/acme/shop/issues/7/comments 201");
}
