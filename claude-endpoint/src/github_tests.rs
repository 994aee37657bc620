use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use shared::signature::SigningKeys;
use testkit::control::{Fault, get, post};
use testkit::github::GitHub;
use testkit::scenario::{REVIEWER_TOKEN, Scenario};

use super::*;
use crate::diff::{self, File, Unreadable};
use crate::marker::{Bond, Marker};
use crate::verdict::Side;

#[path = "github_tests/context.rs"]
mod context;
#[path = "github_tests/fallback.rs"]
mod fallback;
#[path = "github_tests/limits.rs"]
mod limits;
#[path = "github_tests/talk.rs"]
mod talk;

const REPO: &str = "acme/shop";

fn settings(stand_in: &GitHub, pacing: Duration) -> GithubSettings {
    GithubSettings {
        url: stand_in.url(),
        token: Some(REVIEWER_TOKEN.into()),
        pacing,
        ..GithubSettings::default()
    }
}

async fn github() -> (GitHub, Scenario, Github) {
    let (stand_in, scenario) = (GitHub::start().await.unwrap(), Scenario::default());
    scenario.load_into(&stand_in);
    let client = Github::new(&settings(&stand_in, Duration::ZERO)).unwrap();
    (stand_in, scenario, client)
}

fn marker() -> Marker {
    Marker::new(&SigningKeys::parse(&"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()).unwrap())
}

fn inline(path: &str, start_line: Option<u32>, line: u32) -> NewComment {
    let body = "Hm\n\n<!-- ai-relay v1 x -->".to_owned();
    NewComment { path: path.into(), side: Side::Right, start_line, line, body }
}

fn bond(head: &str) -> Bond<'_> {
    Bond { repository: REPO, subject: "pull/7", head }
}

#[tokio::test]
async fn a_pull_request_and_its_diff_are_read() {
    let (stand_in, scenario, client) = github().await;
    let pull = client.pull(REPO, 7).await.unwrap();
    assert!(pull.open && !pull.draft);
    assert_eq!(
        (&pull.head_sha, &pull.title, &pull.author),
        (&scenario.head_sha, &scenario.title, &scenario.author)
    );
    assert_eq!((&pull.base_sha, pull.changed_files), (&scenario.base_sha, 2));
    assert_eq!(pull.updated_at, Some(scenario.updated_at.parse().unwrap()));
    let diff = client.pull_diff(REPO, 7, (&pull.base_sha, &pull.head_sha)).await.unwrap();
    assert_eq!(diff, diff::parse(&scenario.diff).unwrap());
    let compared = format!("/repos/acme/shop/compare/{}...{}", scenario.base_sha, scenario.head_sha);
    assert_eq!(stand_in.count(&get(compared)), 1, "the diff names its commits");
    assert_eq!(client.range_diff(REPO, &scenario.before, &scenario.head_sha).await.unwrap(), diff);
}

#[tokio::test]
async fn what_is_too_large_is_read_file_by_file() {
    let (stand_in, mut scenario, client) = github().await;
    scenario.number = 8;
    scenario.head_sha = "00112233445566778899aabbccddeeff00112233".into();
    scenario.diff = (0..350)
        .map(|i| format!("diff --git a/f{i} b/f{i}\n--- a/f{i}\n+++ b/f{i}\n@@ -1 +1 @@\n-{i}\n+new {i}\n"))
        .collect();
    scenario
        .diff
        .push_str("diff --git a/x.png b/x.png\nindex 1..2 100644\nBinary files a/x.png and b/x.png differ\n");
    scenario.load_into(&stand_in);
    let pull = client.pull(REPO, 8).await.unwrap();
    let diff = client.pull_diff(REPO, 8, (&pull.base_sha, &pull.head_sha)).await.unwrap();
    assert_eq!((diff.files.len(), diff.unlisted), (351, 0));
    assert_eq!(diff.files[349].hunks[0].lines[1].text, "new 349");
    assert_eq!(diff.files[350].unreadable, Some(Unreadable::Binary));
    assert_eq!(stand_in.count(&get("/repos/acme/shop/pulls/8/files")), 4);
    let pushed = client.range_diff(REPO, &scenario.base_sha, &scenario.head_sha).await.unwrap();
    assert_eq!((pushed.files.len(), pushed.unlisted), (300, 1), "at the cap nobody knows how many more");
}

#[tokio::test]
async fn a_diff_that_cannot_be_read_is_read_file_by_file() {
    let (stand_in, scenario, client) = github().await;
    let broken = scenario.diff.replacen("@@ -", "@@ nonsense -", 1);
    stand_in.set_head(REPO, 7, "00112233445566778899aabbccddeeff00112233", &broken);
    let pull = client.pull(REPO, 7).await.unwrap();
    let diff = client.pull_diff(REPO, 7, (&pull.base_sha, &pull.head_sha)).await.unwrap();
    assert_eq!(diff.files.len(), 2);
    assert_eq!(stand_in.count(&get("/repos/acme/shop/pulls/7/files")), 1);
}

#[tokio::test]
async fn an_apps_token_finds_its_review_by_the_marker_alone() {
    let (stand_in, scenario, client) = github().await;
    let bond = bond(&scenario.head_sha);
    stand_in.fail_next(get("/user"), Fault::Status(StatusCode::FORBIDDEN, vec![]));
    let body = marker().make(bond, "d1", "");
    let posted = client.create_review(REPO, 7, &scenario.head_sha, &body, &[]).await.unwrap();
    assert_eq!(client.find_review(7, &marker(), bond).await.unwrap(), Some(posted.url));
    assert_eq!(client.find_review(7, &marker(), self::bond("0123456")).await.unwrap(), None);
}

#[tokio::test]
async fn a_rate_limit_holds_for_every_call_of_the_token() {
    let (stand_in, _, client) = github().await;
    stand_in.fail_next(get("/repos/acme/shop/pulls/7"), Fault::RateLimited { retry_after: 900 });
    let limited = |answer| matches!(answer, Err(GithubError::RateLimited { retry_after }) if (890..=900).contains(&retry_after.as_secs()));
    assert!(limited(client.pull(REPO, 7).await.map(drop)));
    assert!(limited(client.create_commit_comment(REPO, "0123456", "x").await.map(drop)));
    assert_eq!(stand_in.calls().len(), 1, "nobody asks before the time is up");
}

#[test]
fn content_made_too_fast_is_a_limit_also_as_a_422() {
    let refusal = |body: &str| {
        transport::refusal(
            StatusCode::UNPROCESSABLE_ENTITY,
            &http::HeaderMap::new(),
            body.as_bytes(),
            "/",
            Who::Token,
        )
    };
    for limit in [
        r#"{"message":"Validation Failed","errors":[{"resource":"PullRequestReview","code":"abuse","field":"base"}]}"#,
        r#"{"message":"Validation Failed","errors":["was submitted too quickly"]}"#,
    ] {
        assert!(matches!(refusal(limit), GithubError::RateLimited { .. }), "{limit}");
    }
    let other = r#"{"message":"Unprocessable Entity","errors":["Line could not be resolved in abuse.rs"]}"#;
    assert!(matches!(refusal(other), GithubError::Unprocessable(_)));
}

#[tokio::test]
async fn the_files_api_speaks_of_renames_additions_and_what_it_does_not_show() {
    let file = |json: Value| File::from(serde_json::from_value::<wire::File>(json).unwrap());
    let renamed = file(json!({"filename": "b", "previous_filename": "a", "status": "renamed", "changes": 0}));
    assert_eq!(
        (renamed.old_path.as_deref(), renamed.new_path.as_deref(), renamed.unreadable),
        (Some("a"), Some("b"), None)
    );
    let added = file(json!({"filename": "b", "status": "added", "changes": 1, "patch": "@@ -0,0 +1 @@\n+x"}));
    assert_eq!((added.old_path, added.hunks.len()), (None, 1));
    assert_eq!(
        file(json!({"filename": "b", "status": "removed", "changes": 9000})).unreadable,
        Some(Unreadable::TooLarge)
    );
}

#[tokio::test]
async fn a_review_is_posted_and_found_again_by_its_marker() {
    let (stand_in, scenario, client) = github().await;
    let head = scenario.head_sha.as_str();
    assert_eq!(client.find_review(7, &marker(), bond(head)).await.unwrap(), None);
    let comment = inline("web/cart.js", Some(4), 7);
    let body = format!("Summary\n\n{}", marker().make(bond(head), "d1", ""));
    let review = client.create_review(REPO, 7, head, &body, &[comment]).await.unwrap();
    let posted = &stand_in.comments(REPO, 7)[0];
    assert_eq!((posted.start_line, posted.line), (Some(4), Some(7)));
    assert_eq!(posted.body, "Hm\n\n<!-- ai-relay v1 x -->");
    assert_eq!(stand_in.reviews(REPO, 7)[0].id, review.id);
    let url = review.url;
    assert_eq!(client.find_review(7, &marker(), bond(head)).await.unwrap(), Some(url));
    assert_eq!(client.find_review(7, &marker(), bond("0123456")).await.unwrap(), None);
}

#[tokio::test]
async fn our_review_is_found_on_a_later_page() {
    let (_stand_in, scenario, client) = github().await;
    let head = scenario.head_sha.as_str();
    for i in 0..130 {
        let body = if i == 110 { marker().make(bond(head), "d1", "") } else { format!("Review {i}") };
        client.create_review(REPO, 7, head, &body, &[]).await.unwrap();
    }
    assert!(client.find_review(7, &marker(), bond(head)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_commit_comment_is_posted_and_found_again() {
    let (_stand_in, scenario, client) = github().await;
    let bond = Bond { repository: REPO, subject: "commit", head: &scenario.head_sha };
    let posted =
        client.create_commit_comment(REPO, &scenario.head_sha, &marker().make(bond, "d1", "")).await.unwrap();
    assert_eq!(client.find_commit_comment(&marker(), bond).await.unwrap(), Some(posted.url));
}

#[tokio::test]
async fn every_refusal_has_its_type() {
    let (stand_in, _, client) = github().await;
    let pull = || client.pull(REPO, 7);
    let at = || get("/repos/acme/shop/pulls/7");
    let fails = |status: StatusCode| stand_in.fail_next(at(), Fault::Status(status, vec![]));
    fails(StatusCode::NOT_FOUND);
    assert!(matches!(pull().await, Err(GithubError::NotFound(_))));
    fails(StatusCode::UNAUTHORIZED);
    assert!(matches!(pull().await, Err(GithubError::BadToken(_))));
    fails(StatusCode::FORBIDDEN);
    assert!(matches!(pull().await, Err(GithubError::Forbidden(_))));
    fails(StatusCode::BAD_GATEWAY);
    assert!(matches!(pull().await, Err(GithubError::Broken(..))));
    stand_in.fail_next(at(), Fault::Cut);
    assert!(matches!(pull().await, Err(GithubError::Unavailable(_))));
    let line_outside = inline("web/cart.js", None, 9_999);
    let refused = client.create_review(REPO, 7, &Scenario::default().head_sha, "x", &[line_outside]).await;
    assert!(
        matches!(refused, Err(GithubError::Unprocessable(message)) if message.contains("Line could not be resolved"))
    );
    stand_in.stop().await;
    assert!(matches!(pull().await, Err(GithubError::Unavailable(_))));
    assert!(client.probe().await.is_err());
    stand_in.start_again().await.unwrap();
    stand_in.fail_next(at(), Fault::RateLimited { retry_after: 42 });
    assert!(
        matches!(pull().await, Err(GithubError::RateLimited { retry_after }) if retry_after.as_secs() == 42)
    );
}

#[tokio::test(start_paused = true)]
async fn posts_keep_their_distance() {
    let (stand_in, scenario, _) = github().await;
    let client = Github::new(&settings(&stand_in, Duration::from_secs(1))).unwrap();
    let started = Instant::now();
    for _ in 0..3 {
        client.create_review(REPO, 7, &scenario.head_sha, "x", &[]).await.unwrap();
    }
    assert!(started.elapsed() >= Duration::from_secs(2));
    assert_eq!(stand_in.count(&post("/repos/acme/shop/pulls/7/reviews")), 3);
}

#[tokio::test]
async fn a_name_cannot_bend_the_path_of_a_request() {
    let (stand_in, _, client) = github().await;
    for name in ["acme/shop/../../user", "acme", "a/b?x=1", "../user", "acme/..", ""] {
        assert!(matches!(client.pull(name, 1).await, Err(GithubError::Unexpected(_))), "{name}");
    }
    assert!(client.range_diff(REPO, "main", "HEAD/../x").await.is_err());
    assert!(stand_in.calls().is_empty());
}
