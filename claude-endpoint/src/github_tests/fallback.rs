//! Hosts without the GraphQL API that we need, Enterprise Servers, and no token.

use testkit::control::Matcher;
use testkit::scenario::REVIEWER;

use super::*;

fn want(scenario: &Scenario) -> Want<'_> {
    let Scenario { number, head_sha: head, base_sha: base, .. } = scenario;
    Want { number: *number, head, base, rules: &["AGENTS.md", "docs/a b#?.md"], paths: &[] }
}

async fn talked_about() -> (GitHub, Scenario, Github) {
    let (stand_in, scenario, client) = github().await;
    let base = scenario.base_sha.as_str();
    stand_in.set_file(REPO, base, "AGENTS.md", "# Rules\n");
    stand_in.set_file(REPO, base, "docs/a b#?.md", "odd\n");
    stand_in.review_as("ann", REPO, 7, "A person's");
    stand_in.review_as(REVIEWER, REPO, 7, "Ours");
    let root = stand_in.remark_as(REVIEWER, REPO, 7, ("web/cart.js", 4), "Off by one");
    stand_in.reply_as("ann", REPO, 7, root, "No");
    stand_in.thumbs_down_as("ann", REPO, root);
    stand_in.remark_as("ann", REPO, 7, ("web/cart.js", 5), "A person's");
    (stand_in, scenario, client)
}

fn is_complete(context: &Context) {
    assert_eq!(context.reviews.iter().map(|it| it.body.as_str()).collect::<Vec<_>>(), ["Ours"]);
    assert_eq!(context.reviews[0].commit, context.pull.head_sha);
    let texts: Vec<_> = context.rules.iter().map(|it| (it.path.as_str(), it.text.as_str())).collect();
    assert_eq!(texts, [("AGENTS.md", "# Rules\n"), ("docs/a b#?.md", "odd\n")]);
    let [thread] = context.threads.as_slice() else { panic!("{:?}", context.threads) };
    assert_eq!((thread.path.as_str(), thread.line, thread.is_resolved), ("web/cart.js", Some(4), false));
    let said: Vec<_> =
        thread.comments.iter().map(|it| (it.is_ours, it.body.as_str(), it.thumbs_down)).collect();
    assert_eq!(said, [(true, "Off by one", 1), (false, "No", 0)]);
    assert_eq!(context.viewer.as_deref(), Some(REVIEWER));
}

#[tokio::test]
async fn without_graphql_the_same_is_read_over_rest() {
    let (stand_in, scenario, client) = talked_about().await;
    let by_graphql = client.context(REPO, &want(&scenario)).await.unwrap();
    is_complete(&by_graphql);
    stand_in.without_graphql();
    let by_rest = client.context(REPO, &want(&scenario)).await.unwrap();
    is_complete(&by_rest);
    assert_eq!((&by_rest.pull, &by_rest.reviews), (&by_graphql.pull, &by_graphql.reviews));
    assert!(by_rest.threads[0].id.is_empty() && by_rest.missing[0].contains("no GraphQL API"));
    let look = client.recheck(REPO, 7, None).await.unwrap();
    assert_eq!((look.reviews, look.head_sha), (by_rest.reviews, scenario.head_sha));
    assert!(client.resolve_threads(REPO, &["PRRT_x".into()]).await.is_err());
}

#[tokio::test]
async fn an_older_graphql_api_counts_as_none() {
    let (stand_in, scenario, client) = talked_about().await;
    let older = || {
        let misfit = json!({"errors": [{"message": "Field 'fullDatabaseId' doesn't exist on type 'PullRequestReview'",
            "extensions": {"code": "undefinedField", "typeName": "PullRequestReview", "fieldName": "fullDatabaseId"}}]});
        stand_in.answer_graphql(misfit, vec![]);
    };
    older();
    is_complete(&client.context(REPO, &want(&scenario)).await.unwrap());
    older();
    assert_eq!(client.recheck(REPO, 7, None).await.unwrap().reviews.len(), 1);
}

#[tokio::test]
async fn an_enterprise_server_has_its_apis_side_by_side() {
    let (stand_in, scenario, _) = talked_about().await;
    let url = format!("{}/api/v3/", stand_in.url());
    let client = Github::new(&GithubSettings { url, ..settings(&stand_in, Duration::ZERO) }).unwrap();
    is_complete(&client.context(REPO, &want(&scenario)).await.unwrap());
    client.recheck(REPO, 7, None).await.unwrap();
    client.create_review(REPO, 7, &scenario.head_sha, "x", &[]).await.unwrap();
    assert_eq!(stand_in.count(&post("/api/graphql")), 2);
    assert_eq!(stand_in.count(&post("/api/v3/repos/acme/shop/pulls/7/reviews")), 1);
    assert_eq!(stand_in.calls().len(), 3);
}

#[tokio::test]
async fn without_a_token_only_the_pull_request_is_read() {
    let (stand_in, mut scenario, _) = github().await;
    (scenario.repository, scenario.private) = ("acme/open".into(), false);
    scenario.load_into(&stand_in);
    let client = Github::new(&GithubSettings { token: None, ..settings(&stand_in, Duration::ZERO) }).unwrap();
    let context = client.context("acme/open", &want(&scenario)).await.unwrap();
    assert_eq!((context.pull.head_sha, context.viewer), (scenario.head_sha.clone(), None));
    assert!(context.missing[0].contains("GITHUB_TOKEN"));
    assert_eq!(client.recheck("acme/open", 7, None).await.unwrap().head_sha, scenario.head_sha);
    let calls: Vec<_> = stand_in.calls().iter().map(ToString::to_string).collect();
    assert_eq!(calls, ["GET /repos/acme/open/pulls/7 200"; 2]);
}

#[tokio::test]
async fn an_app_on_a_host_that_does_not_tell_who_it_is_takes_bots_for_itself() {
    let (stand_in, scenario, client) = talked_about().await;
    stand_in.without_graphql();
    stand_in.fail_next(get("/user"), Fault::Status(StatusCode::FORBIDDEN, vec![]));
    stand_in.review_as("relay-reviewer[bot]", REPO, 7, "A bot's");
    let context = client.context(REPO, &want(&scenario)).await.unwrap();
    assert_eq!((context.viewer, context.reviews.len()), (None, 1));
    assert_eq!(context.reviews[0].body, "A bot's");
}

#[tokio::test]
async fn what_is_too_heavy_is_asked_again_without_the_texts() {
    let (stand_in, scenario, client) = talked_about().await;
    stand_in.set_file(REPO, &scenario.head_sha, "web/cart.js", "let a;\n");
    let paths = ["web/cart.js".to_owned()];
    let want = Want { paths: &paths, ..want(&scenario) };
    let something_wrong =
        "Something went wrong while executing your query. This may be the result of a timeout.";
    let heavy: [&dyn Fn(); 3] = [
        &|| stand_in.fail_next(post("/graphql"), Fault::Status(StatusCode::BAD_GATEWAY, vec![])),
        &|| stand_in.answer_graphql(json!({"data": null, "errors": [{"message": something_wrong}]}), vec![]),
        &|| {
            stand_in.refuse_graphql(
                "RESOURCE_LIMITS_EXCEEDED",
                "Resource limits for this query exceeded.",
                vec![],
            );
        },
    ];
    for refuse in heavy {
        refuse();
        let context = client.context(REPO, &want).await.unwrap();
        is_complete(&context);
        assert!(context.files.is_empty() && context.missing[0].contains("texts of the changed files"));
    }
    assert_eq!(client.context(REPO, &want).await.unwrap().files.len(), 1);
    let light = Want { paths: &[], ..want };
    stand_in.answer_graphql(json!({"data": null, "errors": [{"message": something_wrong}]}), vec![]);
    assert!(
        matches!(client.context(REPO, &light).await, Err(GithubError::Broken(_, why)) if why.contains("timeout"))
    );
}

#[tokio::test]
async fn names_and_paths_travel_in_variables_only() {
    let (stand_in, scenario, client) = github().await;
    let paths = [
        "a\" ) { viewer { login } } #".to_owned(),
        "../../etc/passwd".to_owned(),
        "x\n}\nmutation { y }".to_owned(),
        format!("{}:AGENTS.md", scenario.base_sha),
    ];
    let want = Want { paths: &paths, ..want(&scenario) };
    let context = client.context(REPO, &want).await.unwrap();
    assert_eq!((context.files.len(), context.missing.len()), (0, 0));
    for name in ["acme/shop\") { id } #", "acme", "../x", "acme/..", "a/b/c"] {
        assert!(matches!(client.context(name, &want).await, Err(GithubError::Unexpected(_))), "{name}");
        assert!(matches!(client.recheck(name, 7, None).await, Err(GithubError::Unexpected(_))), "{name}");
    }
    for commit in ["HEAD", "main", "18be027:x", ""] {
        assert!(client.context(REPO, &Want { head: commit, ..want }).await.is_err(), "{commit}");
        assert!(client.context(REPO, &Want { base: commit, ..want }).await.is_err(), "{commit}");
    }
    assert_eq!(stand_in.count(&Matcher::any("/")), 1);
}
