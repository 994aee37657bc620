//! Writing: reviews and comments that change, threads, reactions, and what others may do.

use testkit::github::{Role, Subject};
use testkit::scenario::REVIEWER;

use super::*;

#[tokio::test]
async fn a_review_is_updated_in_place() {
    let (stand_in, scenario, client) = github().await;
    let first = client.create_review(REPO, 7, &scenario.head_sha, "one", &[]).await.unwrap();
    let second = client.update_review(REPO, 7, first.id, "two").await.unwrap();
    assert_eq!(first, second);
    let reviews = stand_in.reviews(REPO, 7);
    assert_eq!((reviews.len(), reviews[0].body.as_str()), (1, "two"));
    let gone = client.update_review(REPO, 7, 1, "x").await;
    assert!(matches!(gone, Err(GithubError::NotFound(_))), "{gone:?}");
    stand_in.fail_next(testkit::control::Matcher::any("/repos"), Fault::LoseAnswer);
    assert!(client.update_review(REPO, 7, first.id, "three").await.is_err());
    assert_eq!(client.update_review(REPO, 7, first.id, "three").await.unwrap(), first, "may be repeated");
}

#[tokio::test]
async fn a_comment_on_a_file_is_found_again_when_its_answer_was_lost() {
    let (stand_in, scenario, client) = github().await;
    let head = scenario.head_sha.as_str();
    let body = "All of it.\n\n<!-- f1 -->";
    let is_it = |body: &str| body.contains("<!-- f1 -->");
    stand_in.remark_as("ann", REPO, 7, ("web/cart.js", 4), body);
    assert_eq!(client.find_comment(REPO, 7, is_it).await.unwrap(), None, "anybody can copy a marker");
    stand_in.fail_next(post("/repos/acme/shop/pulls/7/comments"), Fault::LoseAnswer);
    assert!(client.file_comment(REPO, 7, head, "web/cart.js", body).await.is_err());
    let found = client.find_comment(REPO, 7, is_it).await.unwrap().unwrap();
    let posted = stand_in.comments(REPO, 7).pop().unwrap();
    assert_eq!((found.id, found.url, posted.line), (posted.id, posted.html_url, None));
    let unknown = client.file_comment(REPO, 7, head, "gone.js", body).await;
    assert!(matches!(unknown, Err(GithubError::Unprocessable(_))), "{unknown:?}");
}

#[tokio::test]
async fn the_newest_of_many_comments_is_found_on_the_first_page() {
    let (stand_in, _, client) = github().await;
    for i in 0..250 {
        stand_in.remark_as(REVIEWER, REPO, 7, ("web/cart.js", 4), &i.to_string());
    }
    let comments = || get("/repos/acme/shop/pulls/7/comments");
    assert!(client.find_comment(REPO, 7, |body| body == "249").await.unwrap().is_some());
    assert_eq!(stand_in.count(&comments()), 1);
    assert!(client.find_comment(REPO, 7, |body| body == "0").await.unwrap().is_some());
    assert_eq!(stand_in.count(&comments()), 1 + 3);
}

#[tokio::test]
async fn an_answer_goes_into_its_thread() {
    let (stand_in, _, client) = github().await;
    let root = stand_in.remark_as(REVIEWER, REPO, 7, ("web/cart.js", 4), "Off by one");
    stand_in.remark_as("ann", REPO, 7, ("web/cart.js", 5), "Another");
    let question = stand_in.reply_as("ann", REPO, 7, root, "Why?");
    let posted = client.reply(REPO, 7, root, "Because.").await.unwrap();
    for comment in [root, question, posted.id] {
        let thread = client.thread_of(REPO, 7, comment).await.unwrap();
        let said: Vec<_> =
            thread.iter().map(|it| (it.author.as_str(), it.is_ours, it.body.as_str())).collect();
        assert_eq!(
            said,
            [(REVIEWER, true, "Off by one"), ("ann", false, "Why?"), (REVIEWER, true, "Because.")]
        );
    }
    assert_eq!(client.thread_of(REPO, 7, 1).await.unwrap(), []);
    let to_an_answer = client.reply(REPO, 7, question, "x").await;
    assert!(matches!(to_an_answer, Err(GithubError::Unprocessable(_))), "{to_an_answer:?}");
}

#[tokio::test]
async fn threads_are_resolved_in_one_call() {
    let (stand_in, scenario, client) = github().await;
    for line in 1..=4 {
        stand_in.remark_as(REVIEWER, REPO, 7, ("web/cart.js", line), "x");
    }
    let want = Want { number: 7, head: &scenario.head_sha, base: &scenario.base_sha, rules: &[], paths: &[] };
    let threads = async || client.context(REPO, &want).await.unwrap().threads;
    let ids: Vec<String> = threads().await.into_iter().map(|thread| thread.id).collect();
    let before = stand_in.calls().len();
    let asked = [&ids[..2], &["PRRT_gone\"){x}".to_owned(), String::new()]].concat();
    assert_eq!(client.resolve_threads(REPO, &asked).await.unwrap(), ids[..2]);
    assert_eq!(client.resolve_threads(REPO, &ids[..2]).await.unwrap(), ids[..2], "again changes nothing");
    assert_eq!(stand_in.calls_since(before).len(), 2);
    let seen: Vec<_> = threads().await.iter().map(|it| (it.is_resolved, it.resolved_by.clone())).collect();
    let ours = (true, Some(REVIEWER.to_owned()));
    assert_eq!(seen, [ours.clone(), ours, (false, None), (false, None)]);
    assert!(matches!(client.resolve_threads(REPO, &["x".into()]).await, Err(GithubError::NotFound(_))));
    assert_eq!(client.resolve_threads(REPO, &[]).await.unwrap(), [] as [String; 0]);
    stand_in.deny_contents_write(REVIEWER);
    let denied = client.resolve_threads(REPO, &ids[2..]).await;
    assert!(matches!(denied, Err(GithubError::Forbidden(why)) if why.contains("write access to contents")));
}

#[tokio::test]
async fn more_threads_than_fit_into_one_mutation_are_resolved_too() {
    let (stand_in, scenario, client) = github().await;
    for _ in 0..120 {
        stand_in.remark_as(REVIEWER, REPO, 7, ("web/cart.js", 4), "x");
    }
    let want = Want { number: 7, head: &scenario.head_sha, base: &scenario.base_sha, rules: &[], paths: &[] };
    let threads = client.context(REPO, &want).await.unwrap().threads;
    let ids: Vec<String> = threads.into_iter().map(|thread| thread.id).collect();
    let before = stand_in.calls().len();
    assert_eq!(client.resolve_threads(REPO, &ids).await.unwrap(), ids);
    assert_eq!((ids.len(), stand_in.calls_since(before).len()), (120, 3));
}

#[tokio::test]
async fn a_conversation_is_read_and_written() {
    let (stand_in, _, client) = github().await;
    stand_in.comment_as("ann", REPO, 7, "/ai review <!-- m -->");
    let posted = client.issue_comment(REPO, 7, "On it. <!-- m -->").await.unwrap();
    let own = client.own_issue_comments(REPO, 7, None).await.unwrap();
    assert_eq!((own.len(), own[0].id, own[0].body.as_str()), (1, posted.id, "On it. <!-- m -->"));
    assert_eq!(client.update_issue_comment(REPO, posted.id, "Done.").await.unwrap(), posted);
    assert_eq!(stand_in.issue_comments(REPO, 7)[1].body, "Done.");
    let changed: Timestamp = stand_in.issue_comments(REPO, 7)[1].updated_at.parse().unwrap();
    let since = async |time: Timestamp| client.own_issue_comments(REPO, 7, Some(time)).await.unwrap().len();
    assert_eq!(since(changed).await, 1);
    assert_eq!(since(changed + jiff::SignedDuration::from_secs(1)).await, 0);
    stand_in.add_issue(REPO, 3, "google-labs-jules[bot]", "Slow", "Very.");
    let issue = client.issue(REPO, 3).await.unwrap();
    assert_eq!(
        (issue.title.as_str(), issue.author.as_str(), issue.open),
        ("Slow", "google-labs-jules[bot]", true)
    );
    assert!(!issue.is_pull_request && client.issue(REPO, 7).await.unwrap().is_pull_request);
    assert!(matches!(client.issue(REPO, 99).await, Err(GithubError::NotFound(_))));
}

#[tokio::test]
async fn a_reaction_is_made_once_and_taken_back() {
    let (stand_in, _, client) = github().await;
    let comment = stand_in.comment_as("ann", REPO, 7, "/ai help");
    let on_code = stand_in.remark_as("ann", REPO, 7, ("web/cart.js", 4), "Why?");
    for (target, subject) in [
        (Target::IssueComment(comment), Subject::IssueComment(comment)),
        (Target::ReviewComment(on_code), Subject::ReviewComment(on_code)),
    ] {
        let id = client.react(REPO, target, Reaction::Eyes).await.unwrap();
        assert_eq!(client.react(REPO, target, Reaction::Eyes).await.unwrap(), id);
        client.react(REPO, target, Reaction::ThumbsUp).await.unwrap();
        let contents = || -> Vec<_> {
            stand_in.reactions(REPO, subject).into_iter().map(|reaction| reaction.content).collect()
        };
        assert_eq!(contents(), ["eyes", "+1"]);
        client.unreact(REPO, target, id).await.unwrap();
        client.unreact(REPO, target, id).await.unwrap();
        assert_eq!(contents(), ["+1"]);
    }
}

#[tokio::test]
async fn what_others_may_do_is_asked_of_github() {
    let (stand_in, _, client) = github().await;
    stand_in.add_user("x", "mallory");
    let may = async |login: &str| client.permission(REPO, login).await.unwrap();
    for (role, permission) in [
        (Role::Read, Permission::Read),
        (Role::Triage, Permission::Read),
        (Role::Write, Permission::Write),
        (Role::Maintain, Permission::Write),
        (Role::Admin, Permission::Admin),
    ] {
        stand_in.set_role(REPO, "ann", role);
        assert_eq!(may("ann").await, permission);
        assert_eq!(permission.may_write(), role >= Role::Write);
    }
    assert_eq!(may("mallory").await, Permission::None);
    assert_eq!(may("nobody").await, Permission::None);
    stand_in.set_role(REPO, "helper[bot]", Role::Write);
    assert_eq!(may("helper[bot]").await, Permission::Write);
    let before = stand_in.calls().len();
    for hostile in ["", "../../user", "ann/permission?x=", "a b", "[bot]"] {
        assert_eq!(may(hostile).await, Permission::None);
    }
    assert_eq!(stand_in.calls().len(), before, "no such login exists");
    stand_in.set_role(REPO, REVIEWER, Role::Read);
    assert!(matches!(client.permission(REPO, "ann").await, Err(GithubError::Forbidden(_))));
}
