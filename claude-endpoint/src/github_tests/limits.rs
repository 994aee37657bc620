//! Rate limits, refusals and pacing.

use super::*;

async fn refused(client: &Github) -> GithubError {
    client.recheck(REPO, 7, None).await.unwrap_err()
}

#[tokio::test]
async fn a_limit_under_status_200_holds_for_every_call() {
    let exhausted = || {
        let reset = (Timestamp::now().as_second() + 900).to_string();
        vec![("x-ratelimit-remaining", "0".to_owned()), ("x-ratelimit-reset", reset)]
    };
    let secondary =
        "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
    for (kind, message, headers, wait) in [
        ("RATE_LIMITED", "API rate limit exceeded for user ID 1.", exhausted(), 890..=901),
        ("RATE_LIMIT", "API rate limit already exceeded for user ID 1.", exhausted(), 890..=901),
        ("", secondary, vec![("retry-after", "120".to_owned())], 120..=120),
        ("FORBIDDEN", secondary, vec![], 60..=60),
    ] {
        let (stand_in, scenario, client) = github().await;
        stand_in.refuse_graphql(kind, message, headers);
        let error = refused(&client).await;
        assert!(
            matches!(error, GithubError::RateLimited { retry_after } if wait.contains(&retry_after.as_secs())),
            "{error:?}"
        );
        let posting = client.create_review(REPO, 7, &scenario.head_sha, "x", &[]).await;
        assert!(matches!(posting, Err(GithubError::RateLimited { .. })), "{posting:?}");
        assert_eq!(stand_in.calls().len(), 1, "nobody asks before the time is up");
    }
}

#[tokio::test]
async fn every_graphql_refusal_has_its_type() {
    let (stand_in, _, client) = github().await;
    let refuse = |kind: &str| stand_in.refuse_graphql(kind, "No.", vec![]);
    refuse("NOT_FOUND");
    assert!(
        matches!(refused(&client).await, GithubError::NotFound(what) if what == "/repos/acme/shop/pulls/7")
    );
    for kind in ["FORBIDDEN", "INSUFFICIENT_SCOPES"] {
        refuse(kind);
        assert!(matches!(refused(&client).await, GithubError::Forbidden(why) if why == "No."));
    }
    refuse("");
    assert!(matches!(refused(&client).await, GithubError::Broken(..)));
    refuse("SOMETHING_NEW");
    assert!(matches!(refused(&client).await, GithubError::Unexpected(why) if why.contains("SOMETHING_NEW")));
    stand_in.answer_graphql(json!({}), vec![]);
    assert!(matches!(refused(&client).await, GithubError::Unexpected(_)));
    let at = || post("/graphql");
    stand_in.fail_next(at(), Fault::Status(StatusCode::UNAUTHORIZED, vec![]));
    assert!(matches!(refused(&client).await, GithubError::BadToken(_)));
    stand_in.fail_next(at(), Fault::Cut);
    assert!(matches!(refused(&client).await, GithubError::Unavailable(_)));
    stand_in.fail_next(at(), Fault::RateLimited { retry_after: 42 });
    assert!(
        matches!(refused(&client).await, GithubError::RateLimited { retry_after } if retry_after.as_secs() == 42)
    );
}

#[tokio::test]
async fn a_pull_request_that_does_not_exist_is_not_found() {
    let (_stand_in, scenario, client) = github().await;
    let want = Want { number: 9, head: &scenario.head_sha, base: &scenario.base_sha, rules: &[], paths: &[] };
    let gone = client.context(REPO, &want).await;
    assert!(matches!(gone, Err(GithubError::NotFound(what)) if what == "/repos/acme/shop/pulls/9"));
    assert!(matches!(client.context("acme/abuse", &want).await, Err(GithubError::NotFound(_))));
}

#[tokio::test]
async fn whatever_writes_keeps_its_distance_and_goes_one_at_a_time() {
    let (stand_in, scenario, _) = github().await;
    let client = Github::new(&settings(&stand_in, Duration::from_millis(50))).unwrap();
    let head = scenario.head_sha.as_str();
    let root = stand_in.remark_as(testkit::scenario::REVIEWER, REPO, 7, ("web/cart.js", 4), "x");
    let thread =
        client.context(REPO, &Want { number: 7, head, base: head, rules: &[], paths: &[] }).await.unwrap();
    let ids = [thread.threads[0].id.clone()];
    let started = Instant::now();
    let review = client.create_review(REPO, 7, head, "x", &[]).await.unwrap();
    let (update, reaction, resolve, comment) = tokio::join!(
        client.update_review(REPO, 7, review.id, "y"),
        client.react(REPO, Target::ReviewComment(root), Reaction::Eyes),
        client.resolve_threads(REPO, &ids),
        client.issue_comment(REPO, 7, "z"),
    );
    assert!(update.is_ok() && reaction.is_ok() && comment.is_ok());
    assert_eq!(resolve.unwrap(), ids);
    assert!(started.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn the_budget_of_a_minute_is_kept_before_github_has_to_say_so() {
    let (stand_in, _, _) = github().await;
    let client = Github::new(&settings(&stand_in, Duration::from_millis(1))).unwrap();
    for i in 0..80 {
        client.issue_comment(REPO, 7, &i.to_string()).await.unwrap();
    }
    let full = client.issue_comment(REPO, 7, "one more").await;
    assert!(
        matches!(full, Err(GithubError::RateLimited { retry_after }) if retry_after.as_secs() > 10),
        "{full:?}"
    );
    assert_eq!(stand_in.issue_comments(REPO, 7).len(), 80);
    assert!(client.recheck(REPO, 7, None).await.is_ok(), "reading goes on");
}

#[tokio::test]
async fn a_refusal_while_writing_stops_everybody() {
    let (stand_in, scenario, client) = github().await;
    stand_in.limit_content(1, Duration::ZERO);
    client.issue_comment(REPO, 7, "one").await.unwrap();
    let refused = client.create_review(REPO, 7, &scenario.head_sha, "x", &[]).await;
    assert!(matches!(refused, Err(GithubError::RateLimited { .. })), "{refused:?}");
    assert!(matches!(client.issue_comment(REPO, 7, "two").await, Err(GithubError::RateLimited { .. })));
    assert_eq!(stand_in.count(&post("/")), 2);
}

#[tokio::test]
async fn the_token_is_in_no_debug_output() {
    let (_stand_in, _, client) = github().await;
    client.recheck(REPO, 7, None).await.unwrap();
    let shown = format!("{client:?} {client:#?}");
    assert!(shown.contains("Github") && !shown.contains(REVIEWER_TOKEN), "{shown}");
}
