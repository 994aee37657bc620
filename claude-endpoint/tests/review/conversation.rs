//! People who talk to the reviewer.
#![allow(clippy::unwrap_used, reason = "test code fails by panicking")]

use std::sync::Arc;

use claude_endpoint::config::Config;
use serde_json::{Value, json};
use testkit::anthropic::{Reply, Request, Responder, reviewer};
use testkit::github::{IssueComment, Subject};
use testkit::scenario::REVIEWER;

use crate::defects;
use crate::world::{Endpoint, World};

pub(crate) const REPO: &str = "acme/shop";
pub(crate) const ANSWER: &str = "Because pages begin at 0.";

/// Finds the usual defects, and answers each question with [`ANSWER`].
pub(crate) fn model() -> Responder {
    let others = reviewer();
    Arc::new(move |request| match request {
        request if request.asks_for("findings") => defects(),
        request if request.asks_for("answer") => Reply::json(json!({"answer": ANSWER})),
        request => others(request),
    })
}

/// A world in which `ann` may write.
pub(crate) async fn world() -> World {
    let world = World::start(model()).await;
    world.github.add_member(REPO, "ann");
    world
}

/// A comment that stands on GitHub, as the relay tells of it.
pub(crate) struct Said<'a> {
    pub(crate) event: &'a str,
    pub(crate) number: u64,
    pub(crate) comment: u64,
    pub(crate) author: &'a str,
    pub(crate) body: &'a str,
    /// The comment that it answers.
    pub(crate) in_reply_to: Option<u64>,
}

impl Said<'_> {
    pub(crate) fn envelope(&self, id: &str) -> Value {
        let Self { event, number, comment, author, body, in_reply_to } = self;
        let kind = if author.ends_with("[bot]") { "bot" } else { "user" };
        let mut own = json!({"id": comment, "body": body, "user": {"login": author}});
        if *event == "pull_request_review_comment" {
            own["in_reply_to_id"] = json!(in_reply_to);
            own["path"] = json!("web/cart.js");
            own["line"] = json!(5);
            own["diff_hunk"] = json!("@@ -1,7 +1,11 @@\n+  for (let i = 0; i <= items.length; i++) {");
        }
        json!({
            "version": 1, "id": id, "event": event, "action": "created", "received_at": "2026-11-22T10:00:00Z",
            "repository": {"full_name": REPO, "private": true, "default_branch": "main"},
            "sender": {"login": author, "kind": kind},
            "subject": {"kind": "comment", "number": number, "comment_id": comment, "body": body, "author": author,
                        "is_pull_request": *number == 7},
            "payload": {"action": "created", "comment": own},
        })
    }
}

/// Somebody comments in the conversation of the pull request.
pub(crate) fn comment(world: &World, id: &str, author: &str, body: &str) -> Value {
    comment_on(world, 7, id, author, body)
}

pub(crate) fn comment_on(world: &World, number: u64, id: &str, author: &str, body: &str) -> Value {
    let comment = world.github.comment_as(author, REPO, number, body);
    Said { event: "issue_comment", number, comment, author, body, in_reply_to: None }.envelope(id)
}

/// Somebody answers in the thread of a comment on code.
pub(crate) fn answer_in(world: &World, root: u64, id: &str, author: &str, body: &str) -> Value {
    let comment = world.github.reply_as(author, REPO, 7, root, body);
    let event = "pull_request_review_comment";
    Said { event, number: 7, comment, author, body, in_reply_to: Some(root) }.envelope(id)
}

/// Somebody comments on a line of code.
pub(crate) fn remark(world: &World, id: &str, author: &str, body: &str) -> Value {
    let comment = world.github.remark_as(author, REPO, 7, ("web/cart.js", 5), body);
    let event = "pull_request_review_comment";
    Said { event, number: 7, comment, author, body, in_reply_to: None }.envelope(id)
}

/// What we wrote into the conversation of issue or pull request `number`.
pub(crate) fn ours_on(world: &World, number: u64) -> Vec<IssueComment> {
    let comments = world.github.issue_comments(REPO, number);
    comments.into_iter().filter(|comment| comment.user.login == REVIEWER).collect()
}

/// What we wrote into the pull request's conversation.
pub(crate) fn ours(world: &World) -> Vec<IssueComment> {
    ours_on(world, 7)
}

/// The reactions that are left on a comment of an envelope.
pub(crate) fn reactions(world: &World, envelope: &Value) -> usize {
    let id = envelope["subject"]["comment_id"].as_u64().unwrap();
    let on = match envelope["event"].as_str() {
        Some("issue_comment") => Subject::IssueComment(id),
        _ => Subject::ReviewComment(id),
    };
    world.github.reactions(REPO, on).len()
}

/// Sends an envelope and waits for its outcome.
pub(crate) async fn ends(endpoint: &Endpoint, envelope: &Value) -> Value {
    endpoint.send(envelope).await;
    endpoint.outcome(envelope["id"].as_str().unwrap()).await
}

/// An endpoint that sets statuses.
pub(crate) async fn started(world: &World) -> Endpoint {
    world.endpoint_with(|config| config.github.status_context = Some("ai-relay".into())).await
}

/// Reviews the pull request as it was opened.
pub(crate) async fn reviewed(world: &World) -> Endpoint {
    reviewed_with(world, |_| {}).await
}

pub(crate) async fn reviewed_with(world: &World, change: impl FnOnce(&mut Config)) -> Endpoint {
    let endpoint = world
        .endpoint_with(|config| {
            config.github.status_context = Some("ai-relay".into());
            change(config);
        })
        .await;
    assert_eq!(ends(&endpoint, &world.opened("d1")).await["state"], "completed");
    endpoint
}

/// The questions to the model that asked for an answer.
pub(crate) fn questions(world: &World) -> Vec<String> {
    let requests = world.anthropic.requests();
    requests.iter().filter(|request| request.asks_for("answer")).map(Request::prompt).collect()
}

/// How many reviews the model was asked for.
pub(crate) fn reviews_asked(world: &World) -> usize {
    world.anthropic.requests().iter().filter(|request| request.asks_for("findings")).count()
}

/// The newest status of a commit.
pub(crate) fn status(world: &World, head: &str) -> (String, String) {
    let status = world.github.statuses(REPO, head).remove(0);
    (status.state, status.description.unwrap())
}
