//! What a review needs to know, in one query.

use testkit::scenario::REVIEWER;

use super::*;
use crate::prompt::{Commit, Text};

const RULES: [&str; 2] = ["AGENTS.md", ".ai-relay.toml"];

fn want<'a>(scenario: &'a Scenario, paths: &'a [String]) -> Want<'a> {
    let Scenario { number, head_sha: head, base_sha: base, .. } = scenario;
    Want { number: *number, head, base, rules: &RULES, paths }
}

fn paths(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

fn graphql() -> testkit::control::Matcher {
    post("/graphql")
}

#[tokio::test]
async fn everything_comes_in_one_call() {
    let (stand_in, scenario, client) = github().await;
    let (head, base) = (scenario.head_sha.as_str(), scenario.base_sha.as_str());
    stand_in.set_message(REPO, 7, head, "Search\n\nBy name.");
    stand_in.add_issue(REPO, 3, "ann", "Find orders", "By customer.");
    stand_in.link_issue(REPO, 7, REPO, 3);
    stand_in.set_file(REPO, base, "AGENTS.md", "# Rules\n");
    stand_in.set_file(REPO, head, "AGENTS.md", "# Rules of the head, which do not count\n");
    stand_in.set_file(REPO, head, "web/cart.js", "let a;\n");
    stand_in.review_as("ann", REPO, 7, "A person's");
    let review = stand_in.review_as(REVIEWER, REPO, 7, "Ours");
    let root = stand_in.remark_as(REVIEWER, REPO, 7, ("web/cart.js", 4), "Off by one");
    let reply = stand_in.reply_as("google-labs-jules[bot]", REPO, 7, root, "Fixed");
    stand_in.thumbs_down_as("ann", REPO, root);
    stand_in.thumbs_down_as(REVIEWER, REPO, root);
    stand_in.remark_as("ann", REPO, 7, ("web/cart.js", 5), "A person's");

    let paths = paths(&["web/cart.js", "src/gone.rs"]);
    let context = client.context(REPO, &want(&scenario, &paths)).await.unwrap();
    let calls: Vec<_> = stand_in.calls().iter().map(ToString::to_string).collect();
    assert_eq!(calls, ["POST /graphql#Context 200"]);
    assert_eq!(context.pull, client.pull(REPO, 7).await.unwrap(), "as REST shows it");
    assert_eq!(context.commits, [Commit { sha: head.into(), message: "Search\n\nBy name.".into() }]);
    let issue = &context.issues[0];
    assert_eq!(
        (issue.number, issue.title.as_str(), issue.author.as_str(), issue.open),
        (3, "Find orders", "ann", true)
    );
    assert_eq!(context.rules, [Text { path: "AGENTS.md".into(), text: "# Rules\n".into() }]);
    assert_eq!(context.files, [Text { path: "web/cart.js".into(), text: "let a;\n".into() }]);
    let [own] = context.reviews.as_slice() else { panic!("{:?}", context.reviews) };
    assert_eq!((own.id, own.body.as_str(), own.commit.as_str()), (review, "Ours", head));
    let [thread] = context.threads.as_slice() else { panic!("{:?}", context.threads) };
    assert_eq!((thread.path.as_str(), thread.line, thread.is_resolved), ("web/cart.js", Some(4), false));
    let [first, second] = thread.comments.as_slice() else { panic!("{thread:?}") };
    assert_eq!((first.id, first.is_ours, first.thumbs_down), (root, true, 1), "one of the two is ours");
    assert_eq!((second.id, second.is_ours, second.author.as_str()), (reply, false, "google-labs-jules[bot]"));
    assert_eq!((context.viewer.as_deref(), context.missing.as_slice()), (Some(REVIEWER), [].as_slice()));
    assert_eq!(client.login().await.unwrap(), Some(REVIEWER));
    assert_eq!(stand_in.count(&get("/user")), 0, "the answer told who we are");
}

#[tokio::test]
async fn who_resolved_a_thread_and_where_its_line_went_is_known() {
    let (stand_in, scenario, client) = github().await;
    for (line, by) in [(4, "ann"), (5, "relay-reviewer[bot]"), (6, "")] {
        let root = stand_in.remark_as(REVIEWER, REPO, 7, ("web/cart.js", line), "x");
        if !by.is_empty() {
            stand_in.resolve_as(by, REPO, 7, root);
        }
    }
    let fixed = scenario.fixed();
    fixed.push_to(&stand_in);
    let threads = client.context(REPO, &want(&fixed, &[])).await.unwrap().threads;
    let seen: Vec<_> = threads.iter().map(|it| (it.is_resolved, it.resolved_by.as_deref())).collect();
    assert_eq!(seen, [(true, Some("ann")), (true, None), (false, None)]);
    assert!(threads.iter().all(|thread| thread.is_outdated && thread.line.is_none()));
}

#[tokio::test]
async fn bots_and_deleted_accounts_are_named_as_rest_names_them() {
    let (stand_in, scenario, client) = github().await;
    for (author, is_bot) in [("google-labs-jules[bot]", true), ("ann", false)] {
        stand_in.update_pull(REPO, 7, |pull| pull.author = testkit::github::User::new(author));
        let by_graphql = client.context(REPO, &want(&scenario, &[])).await.unwrap().pull;
        assert_eq!((by_graphql.author.as_str(), by_graphql.author_is_bot), (author, is_bot));
        assert_eq!(by_graphql, client.pull(REPO, 7).await.unwrap());
    }
    stand_in.update_pull(REPO, 7, |pull| pull.author = testkit::github::User::new("ghost"));
    assert_eq!(client.context(REPO, &want(&scenario, &[])).await.unwrap().pull.author, "");
    assert!(!client.pull(REPO, 7).await.unwrap().is_cross_repository);
    stand_in.set_fork(REPO, 7, "stranger/shop");
    assert!(client.context(REPO, &want(&scenario, &[])).await.unwrap().pull.is_cross_repository);
    assert!(client.pull(REPO, 7).await.unwrap().is_cross_repository);
}

#[tokio::test]
async fn an_app_knows_its_own_words_in_spite_of_its_two_logins() {
    let (stand_in, scenario, _) = github().await;
    let bot = "relay-reviewer[bot]";
    stand_in.add_user("app-token", bot);
    stand_in.add_member(REPO, bot);
    let app = Github::new(&GithubSettings {
        token: Some("app-token".into()),
        ..settings(&stand_in, Duration::ZERO)
    });
    let app = app.unwrap();
    stand_in.review_as("relay-reviewer", REPO, 7, "A person of nearly the same name");
    stand_in.review_as(bot, REPO, 7, "Ours");
    stand_in.remark_as(bot, REPO, 7, ("web/cart.js", 4), "Ours");
    let context = app.context(REPO, &want(&scenario, &[])).await.unwrap();
    assert_eq!((context.reviews.len(), context.reviews[0].body.as_str()), (1, "Ours"));
    assert_eq!((context.threads.len(), context.threads[0].comments[0].author.as_str()), (1, bot));
    assert_eq!(context.viewer.as_deref(), Some(bot));
}

#[tokio::test]
async fn pages_are_followed_for_reviews_and_threads_together() {
    let (stand_in, scenario, client) = github().await;
    for i in 0..230 {
        let by = if i % 100 == 0 { REVIEWER } else { "ann" };
        stand_in.review_as(by, REPO, 7, &i.to_string());
        stand_in.remark_as(by, REPO, 7, ("web/cart.js", 4), &i.to_string());
    }
    let context = client.context(REPO, &want(&scenario, &[])).await.unwrap();
    assert_eq!(stand_in.count(&graphql()), 3);
    let bodies: Vec<_> = context.reviews.iter().map(|review| review.body.as_str()).collect();
    assert_eq!(bodies, ["0", "100", "200"]);
    let threads: Vec<_> = context.threads.iter().map(|it| it.comments[0].body.as_str()).collect();
    assert_eq!(threads, ["0", "100", "200"]);
    assert_eq!(context.missing, [] as [String; 0]);
}

#[tokio::test]
async fn more_than_can_be_followed_is_said_and_never_taken_for_all() {
    let (stand_in, scenario, client) = github().await;
    stand_in.review_as(REVIEWER, REPO, 7, "the very first");
    for i in 0..2_150 {
        stand_in.review_as("ann", REPO, 7, &i.to_string());
    }
    let context = client.context(REPO, &want(&scenario, &[])).await.unwrap();
    assert_eq!(
        (context.reviews.len(), context.missing.as_slice()),
        (0, ["older reviews: there are too many".to_owned()].as_slice())
    );
    assert_eq!(stand_in.count(&graphql()), 1 + 20);
    let look = client.recheck(REPO, 7, None).await;
    assert!(matches!(look, Err(GithubError::Unexpected(_))), "ours could be among those not seen");
    let newest = stand_in.reviews(REPO, 7).pop().unwrap().submitted_at.parse().unwrap();
    assert!(client.recheck(REPO, 7, Some(newest)).await.is_ok());
}

#[tokio::test]
async fn a_further_page_that_fails() {
    let (stand_in, scenario, client) = github().await;
    for i in 0..110 {
        stand_in.remark_as(REVIEWER, REPO, 7, ("web/cart.js", 4), &i.to_string());
    }
    let more = || post("/graphql#More");
    stand_in.fail_next(more(), Fault::Status(StatusCode::BAD_GATEWAY, vec![]));
    assert!(matches!(client.context(REPO, &want(&scenario, &[])).await, Err(GithubError::Broken(..))));
    let held = stand_in.gate(more());
    let want = want(&scenario, &[]);
    let (context, ()) = tokio::join!(client.context(REPO, &want), async {
        held.reached().await.unwrap();
        stand_in.fail_field("PullRequest.reviewThreads", "FORBIDDEN", "Resource not accessible");
        held.release();
    });
    let context = context.unwrap();
    assert_eq!((context.threads.len(), context.missing.len()), (100, 1), "{:?}", context.missing);
}

#[tokio::test]
async fn a_long_thread_shows_its_beginning_and_its_end() {
    let (stand_in, scenario, client) = github().await;
    let root = stand_in.remark_as(REVIEWER, REPO, 7, ("web/cart.js", 4), "first");
    for i in 0..40 {
        stand_in.reply_as("ann", REPO, 7, root, &i.to_string());
    }
    let threads = client.context(REPO, &want(&scenario, &[])).await.unwrap().threads;
    let bodies: Vec<_> = threads[0].comments.iter().map(|comment| comment.body.as_str()).collect();
    assert_eq!((bodies.len(), bodies[0], bodies[1], bodies[20]), (21, "first", "20", "39"));
}

#[tokio::test]
async fn texts_are_whole_and_readable_or_left_out() {
    let (stand_in, scenario, client) = github().await;
    let head = scenario.head_sha.as_str();
    let odd = "src/a \"b\": {$o0}\\ \u{202e}.rs";
    stand_in.set_file(REPO, head, odd, "odd\n");
    stand_in.set_file(REPO, head, "logo.png", [137, 80, 0, 1]);
    stand_in.set_file(REPO, head, "cut.txt", "x".repeat(600_000));
    stand_in.set_file(REPO, head, "large.txt", "x".repeat(300_000));
    stand_in.set_file(REPO, head, "src/lib.rs", "lib\n");
    let wanted = paths(&[odd, "logo.png", "cut.txt", "large.txt", "src", "gone.rs", "src/lib.rs"]);
    let context = client.context(REPO, &want(&scenario, &wanted)).await.unwrap();
    let texts: Vec<_> = context.files.iter().map(|it| (it.path.as_str(), it.text.as_str())).collect();
    assert_eq!(texts, [(odd, "odd\n"), ("src/lib.rs", "lib\n")]);

    let many: Vec<String> = (0..80).map(|i| format!("f{i}")).collect();
    for path in &many {
        stand_in.set_file(REPO, head, path, "x".repeat(100_000));
    }
    let context = client.context(REPO, &want(&scenario, &many)).await.unwrap();
    assert_eq!(context.files.len(), 41, "four megabytes of them");
    let few: Vec<String> = (0..80).map(|i| format!("s{i}")).collect();
    for path in &few {
        stand_in.set_file(REPO, head, path, "x");
    }
    assert_eq!(client.context(REPO, &want(&scenario, &few)).await.unwrap().files.len(), 60);
}

#[tokio::test]
async fn a_linked_issue_of_another_repository_stays_there() {
    let (stand_in, scenario, client) = github().await;
    let secret = testkit::github::Repo {
        full_name: "acme/secret".into(),
        private: true,
        default_branch: "main".into(),
    };
    stand_in.add_repository(secret);
    stand_in.add_member("acme/secret", REVIEWER);
    stand_in.add_issue("acme/secret", 1, "ann", "Password rotation", "The new one is …");
    stand_in.add_issue(REPO, 1, "ann", "Ours", "");
    stand_in.link_issue(REPO, 7, "acme/secret", 1);
    stand_in.link_issue(REPO, 7, REPO, 1);
    let issues = client.context(REPO, &want(&scenario, &[])).await.unwrap().issues;
    assert_eq!(issues.iter().map(|issue| issue.title.as_str()).collect::<Vec<_>>(), ["Ours"]);
}

#[tokio::test]
async fn a_part_that_fails_leaves_the_rest() {
    let (stand_in, scenario, client) = github().await;
    stand_in.review_as(REVIEWER, REPO, 7, "Ours");
    for (field, part) in [
        ("PullRequest.reviewThreads", "review threads"),
        ("PullRequest.closingIssuesReferences", "linked issues"),
        ("PullRequest.commits", "commit messages"),
        ("Repository.object", "AGENTS.md"),
    ] {
        stand_in.fail_field(field, "FORBIDDEN", "Resource not accessible by personal access token");
        let context = client.context(REPO, &want(&scenario, &[])).await.unwrap();
        assert_eq!(context.reviews.len(), 1, "{field}");
        assert!(
            context.missing[0].contains(part) && context.missing[0].contains("accessible"),
            "{:?}",
            context.missing
        );
        stand_in.mend_fields();
    }
    for field in ["PullRequest.reviews", "PullRequest.headRefOid", "Query.repository"] {
        stand_in.fail_field(field, "FORBIDDEN", "Resource protected by organization SAML enforcement");
        let refused = client.context(REPO, &want(&scenario, &[])).await;
        assert!(matches!(refused, Err(GithubError::Forbidden(why)) if why.contains("SAML")), "{field}");
        assert!(client.recheck(REPO, 7, None).await.is_err(), "{field}");
        stand_in.mend_fields();
    }
}

#[tokio::test]
async fn the_last_look_sees_a_new_head_and_our_own_review() {
    let (stand_in, scenario, client) = github().await;
    let look = client.recheck(REPO, 7, None).await.unwrap();
    assert_eq!((look.head_sha.as_str(), look.open, look.draft), (scenario.head_sha.as_str(), true, false));
    assert_eq!(look.reviews, []);
    let posted = client.create_review(REPO, 7, &scenario.head_sha, "Ours", &[]).await.unwrap();
    let fixed = scenario.fixed();
    fixed.push_to(&stand_in);
    stand_in.update_pull(REPO, 7, |pull| (pull.open, pull.draft) = (false, true));
    let look = client.recheck(REPO, 7, None).await.unwrap();
    assert_eq!((look.head_sha.as_str(), look.open, look.draft), (fixed.head_sha.as_str(), false, true));
    let [own] = look.reviews.as_slice() else { panic!("{look:?}") };
    assert_eq!((own.id, own.url.as_str()), (posted.id, posted.url.as_str()));
    assert_eq!(look.updated_at, client.pull(REPO, 7).await.unwrap().updated_at);
}

#[tokio::test]
async fn the_last_look_reads_as_far_back_as_it_must() {
    let (stand_in, _, client) = github().await;
    stand_in.review_as(REVIEWER, REPO, 7, "old");
    for i in 0..250 {
        stand_in.review_as("ann", REPO, 7, &i.to_string());
    }
    let submitted = stand_in.reviews(REPO, 7)[200].submitted_at.parse().unwrap();
    assert_eq!(client.recheck(REPO, 7, Some(submitted)).await.unwrap().reviews, []);
    assert_eq!(stand_in.count(&graphql()), 1);
    assert_eq!(client.recheck(REPO, 7, None).await.unwrap().reviews.len(), 1);
    assert_eq!(stand_in.count(&graphql()), 1 + 3);
}

#[tokio::test]
async fn a_lost_answer_is_found_by_the_last_look() {
    let (stand_in, scenario, client) = github().await;
    stand_in.fail_next(post("/repos/acme/shop/pulls/7/reviews"), Fault::LoseAnswer);
    let head = scenario.head_sha.as_str();
    let body = marker().make(bond(head), "d1", "");
    let lost = client.create_review(REPO, 7, head, &body, &[]).await;
    assert!(matches!(lost, Err(GithubError::Unavailable(_))), "{lost:?}");
    let reviews = client.recheck(REPO, 7, Some(scenario.updated_at.parse().unwrap())).await.unwrap().reviews;
    assert!(marker().is_in(&reviews[0].body, bond(head)));
}
