//! The GraphQL side refuses what GitHub's refuses, in its words and with its status.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::control::{Fault, post};
use crate::github::{GitHub, Role};
use crate::scenario::{REVIEWER, REVIEWER_TOKEN, Scenario};

struct Api {
    github: GitHub,
    client: reqwest::Client,
    scenario: Scenario,
}

const REPO: &str = "acme/shop";

async fn api() -> Api {
    let (github, scenario) = (GitHub::start().await.unwrap(), Scenario::default());
    scenario.load_into(&github);
    Api { github, client: shared::client::http(None).unwrap(), scenario }
}

impl Api {
    async fn send(&self, token: &str, body: &Value) -> (u16, Value) {
        let request = self.client.request(Method::POST, self.github.url() + "/graphql");
        let answer = request.bearer_auth(token).body(body.to_string()).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn ask(&self, query: &str) -> Value {
        self.send(REVIEWER_TOKEN, &json!({"query": query})).await.1
    }

    /// What is inside of the pull request.
    async fn pull(&self, fields: &str) -> Value {
        let query =
            format!(r#"{{repository(owner: "acme", name: "shop") {{pullRequest(number: 7) {{{fields}}}}}}}"#);
        let answer = self.ask(&query).await;
        assert_eq!(answer.get("errors"), None, "{answer}");
        answer["data"]["repository"]["pullRequest"].clone()
    }
}

fn first_error(answer: &Value) -> (&str, &str) {
    let error = &answer["errors"][0];
    (error["type"].as_str().unwrap_or_default(), error["message"].as_str().unwrap())
}

#[tokio::test]
async fn a_pull_request_is_read() {
    let api = api().await;
    api.github.set_fork(REPO, 7, "stranger/shop");
    let pull = api
        .pull(
            "title state isDraft headRefOid baseRefOid changedFiles isCrossRepository updatedAt
             author {__typename login} commits(last: 1) {totalCount nodes {commit {oid message}}}",
        )
        .await;
    let expected = json!({
        "title": api.scenario.title, "state": "OPEN", "isDraft": false, "headRefOid": api.scenario.head_sha,
        "baseRefOid": api.scenario.base_sha, "changedFiles": 2, "isCrossRepository": true,
        "updatedAt": pull["updatedAt"], "author": {"__typename": "User", "login": "ann"},
        "commits": {"totalCount": 1,
            "nodes": [{"commit": {"oid": api.scenario.head_sha, "message": api.scenario.title}}]},
    });
    assert_eq!(pull, expected);
}

#[tokio::test]
async fn a_query_that_does_not_fit_the_schema_is_refused_with_status_200_and_without_data() {
    let api = api().await;
    let pull = |fields: &str| {
        format!(r#"{{repository(owner: "a", name: "b") {{pullRequest(number: 1) {{{fields}}}}}}}"#)
    };
    let cases = [
        (pull("nonsense"), "undefinedField", "Field 'nonsense' doesn't exist on type 'PullRequest'"),
        (pull("title(x: 1)"), "argumentNotAccepted", "Field 'title' doesn't accept argument 'x'"),
        (
            r#"{repository(owner: "a") {name}}"#.to_owned(),
            "missingRequiredArguments",
            "Field 'repository' is missing required arguments: name",
        ),
        (
            r#"query($x: Int!) {viewer {login}}"#.to_owned(),
            "variableNotUsed",
            "Variable $x is declared by anonymous query but not used",
        ),
    ];
    for (query, code, message) in cases {
        let (status, answer) =
            api.send(REVIEWER_TOKEN, &json!({"query": query, "variables": {"x": 1}})).await;
        assert_eq!((status, answer.get("data")), (200, None), "{answer}");
        assert_eq!(
            (&answer["errors"][0]["extensions"]["code"], first_error(&answer).1),
            (&json!(code), message)
        );
    }
    assert!(first_error(&api.ask("{viewer {").await).1.starts_with("Parse error"));
    assert!(first_error(&api.send(REVIEWER_TOKEN, &json!({})).await.1).1.contains("query attribute"));
}

#[tokio::test]
async fn what_does_not_exist_is_null_beside_an_error_with_its_type() {
    let api = api().await;
    let answer =
        api.ask(r#"{repository(owner: "acme", name: "shop") {name pullRequest(number: 9) {title}}}"#).await;
    assert_eq!(answer["data"], json!({"repository": {"name": "shop", "pullRequest": null}}));
    assert_eq!(
        first_error(&answer),
        ("NOT_FOUND", "Could not resolve to a PullRequest with the number of 9.")
    );
    assert_eq!(answer["errors"][0]["path"], json!(["repository", "pullRequest"]));
    let gone = r#"{repository(owner: "acme", name: "gone") {name}}"#;
    let message = "Could not resolve to a Repository with the name 'acme/gone'.";
    assert_eq!(first_error(&api.ask(gone).await), ("NOT_FOUND", message));
    api.github.add_user("stranger-token", "stranger");
    let private = json!({"query": r#"{repository(owner: "acme", name: "shop") {name}}"#});
    assert_eq!(first_error(&api.send("stranger-token", &private).await.1).0, "NOT_FOUND");
    api.github.add_reader(REPO, "stranger");
    assert_eq!(api.send("stranger-token", &private).await.1["data"]["repository"]["name"], "shop");
}

#[tokio::test]
async fn who_asks_must_be_known() {
    let api = api().await;
    let body = json!({"query": "{viewer {login}}"});
    let anonymous =
        api.client.post(api.github.url() + "/graphql").body(body.to_string()).send().await.unwrap();
    assert_eq!(anonymous.status(), 401);
    let answer: Value = anonymous.json().await.unwrap();
    assert_eq!(answer["message"], "This endpoint requires you to be authenticated.");
    assert_eq!(api.send("wrong", &body).await.0, 401);
    api.github.add_user("app-token", "relay-reviewer[bot]");
    let viewer = api.send("app-token", &body).await.1;
    assert_eq!(viewer["data"]["viewer"]["login"], "relay-reviewer[bot]");
    api.github.without_graphql();
    assert_eq!(api.send(REVIEWER_TOKEN, &body).await.0, 404);
}

#[tokio::test]
async fn a_bots_login_lacks_its_suffix_and_ids_beyond_32_bits_are_text() {
    let api = api().await;
    api.github.review_as("google-labs-jules[bot]", REPO, 7, "Hello");
    let id = api.github.review_as("ghost", REPO, 7, "Gone");
    let fields =
        "reviews(first: 2) {nodes {author {__typename login} databaseId fullDatabaseId viewerDidAuthor}}";
    let nodes = &api.pull(fields).await["reviews"]["nodes"];
    assert_eq!(nodes[0]["author"], json!({"__typename": "Bot", "login": "google-labs-jules"}));
    assert_eq!((&nodes[0]["databaseId"], &nodes[0]["viewerDidAuthor"]), (&Value::Null, &json!(false)));
    assert_eq!((&nodes[1]["author"], &nodes[1]["fullDatabaseId"]), (&Value::Null, &json!(id.to_string())));
}

#[tokio::test]
async fn connections_are_paged_both_ways_and_have_limits() {
    let api = api().await;
    for i in 0..5 {
        api.github.review_as(REVIEWER, REPO, 7, &i.to_string());
    }
    let page = async |arguments: &str| {
        let fields = format!(
            "reviews({arguments}) {{totalCount nodes {{body}} pageInfo {{hasNextPage hasPreviousPage startCursor endCursor}}}}"
        );
        api.pull(&fields).await["reviews"].clone()
    };
    let bodies = |page: &Value| -> String {
        page["nodes"].as_array().unwrap().iter().map(|node| node["body"].as_str().unwrap()).collect()
    };
    let first = page("first: 2").await;
    assert_eq!((bodies(&first).as_str(), &first["totalCount"]), ("01", &json!(5)));
    let next = page(&format!("first: 9, after: {}", first["pageInfo"]["endCursor"])).await;
    assert_eq!((bodies(&next).as_str(), &next["pageInfo"]["hasNextPage"]), ("234", &json!(false)));
    let last = page("last: 2").await;
    assert_eq!((bodies(&last).as_str(), &last["pageInfo"]["hasPreviousPage"]), ("34", &json!(true)));
    let before = page(&format!("last: 2, before: {}", last["pageInfo"]["startCursor"])).await;
    assert_eq!(bodies(&before), "12");
    let refused = async |arguments: &str| {
        let query = format!(
            r#"{{repository(owner: "acme", name: "shop") {{pullRequest(number: 7) {{reviewThreads{arguments} {{totalCount}}}}}}}}"#
        );
        let answer = api.ask(&query).await;
        assert_eq!(
            answer["data"],
            json!({"repository": {"pullRequest": null}}),
            "a field that may not be null"
        );
        first_error(&answer).0.to_owned()
    };
    assert_eq!(refused("").await, "MISSING_PAGINATION_BOUNDARIES");
    assert_eq!(refused("(first: 101)").await, "EXCESSIVE_PAGINATION");
    assert_eq!(refused("(first: 1, last: 1)").await, "INVALID_PAGINATION_ARGUMENTS");
    assert_eq!(refused(r#"(first: 1, after: "x")"#).await, "INVALID_CURSOR_ARGUMENTS");
}

#[tokio::test]
async fn a_query_for_too_many_nodes_is_not_run() {
    let api = api().await;
    let query = r#"query($n: Int!) {rateLimit {nodeCount} repository(owner: "acme", name: "shop") {
        pullRequest(number: 7) {reviewThreads(first: $n) {nodes {
            comments(first: 100) {nodes {reactions(first: 100) {totalCount}}}}}}}}"#;
    let ask =
        async |n: u32| api.send(REVIEWER_TOKEN, &json!({"query": query, "variables": {"n": n}})).await.1;
    assert_eq!(first_error(&ask(100).await).0, "MAX_NODE_LIMIT_EXCEEDED");
    assert_eq!(ask(10).await["data"]["rateLimit"]["nodeCount"], 10 + 1_000 + 100_000);
}

#[tokio::test]
async fn files_are_read_by_commit_and_path() {
    let api = api().await;
    let base = api.scenario.base_sha.as_str();
    let odd = "src/a \"b\": c.rs";
    api.github.set_file(REPO, base, odd, "fn main() {}\n");
    api.github.set_file(REPO, base, "logo.png", [137, 80, 0, 1]);
    api.github.set_file(REPO, base, "long.txt", "x".repeat(600_000));
    let query = "query($e: String!) {repository(owner: \"acme\", name: \"shop\") {object(expression: $e) {
        __typename ... on Blob {text byteSize isBinary isTruncated}}}}";
    let read = async |path: &str| {
        let variables = json!({"e": format!("{base}:{path}")});
        let answer = api.send(REVIEWER_TOKEN, &json!({"query": query, "variables": variables})).await.1;
        answer["data"]["repository"]["object"].clone()
    };
    let text = json!({"__typename": "Blob", "text": "fn main() {}\n", "byteSize": 13, "isBinary": false, "isTruncated": false});
    assert_eq!(read(odd).await, text);
    assert_eq!(
        (&read("logo.png").await["text"], &read("logo.png").await["isBinary"]),
        (&Value::Null, &json!(true))
    );
    assert_eq!(read("long.txt").await["isTruncated"], true);
    assert_eq!(read("src").await, json!({"__typename": "Tree"}));
    assert_eq!(read("gone.rs").await, Value::Null);
}

#[tokio::test]
async fn threads_know_who_resolved_them_and_who_dislikes_them() {
    let api = api().await;
    let root = api.github.remark_as(REVIEWER, REPO, 7, ("src/orders.rs", 43), "SQL");
    api.github.reply_as("ann", REPO, 7, root, "No");
    api.github.thumbs_down_as("ann", REPO, root);
    let fields = "reviewThreads(first: 1) {nodes {id isResolved isOutdated line path resolvedBy {login}
        comments(first: 2) {nodes {body viewerDidAuthor reactions(content: THUMBS_DOWN, first: 1) {totalCount viewerHasReacted}}}}}";
    let thread = api.pull(fields).await["reviewThreads"]["nodes"][0].clone();
    let comments = &thread["comments"]["nodes"];
    assert_eq!((&comments[0]["viewerDidAuthor"], &comments[1]["body"]), (&json!(true), &json!("No")));
    assert_eq!(comments[0]["reactions"], json!({"totalCount": 1, "viewerHasReacted": false}));
    assert_eq!((&thread["isResolved"], &thread["line"]), (&json!(false), &json!(43)));
    api.github.resolve_as("ann", REPO, 7, root);
    api.scenario.fixed().push_to(&api.github);
    let thread = api.pull(fields).await["reviewThreads"]["nodes"][0].clone();
    assert_eq!((&thread["resolvedBy"]["login"], &thread["isOutdated"]), (&json!("ann"), &json!(true)));
    assert_eq!(thread["line"], Value::Null);
}

#[tokio::test]
async fn resolving_wants_a_right_of_its_own() {
    let api = api().await;
    let root = api.github.remark_as(REVIEWER, REPO, 7, ("src/orders.rs", 43), "SQL");
    let id =
        api.pull("reviewThreads(first: 1) {nodes {id}}").await["reviewThreads"]["nodes"][0]["id"].clone();
    let query =
        "mutation($id: ID!) {t: resolveReviewThread(input: {threadId: $id}) {thread {id isResolved}}}";
    let resolve = async |id: &Value| {
        api.send(REVIEWER_TOKEN, &json!({"query": query, "variables": {"id": id}})).await.1
    };
    api.github.set_role(REPO, REVIEWER, Role::Triage);
    assert_eq!(
        first_error(&resolve(&id).await),
        ("FORBIDDEN", "Resource not accessible by personal access token")
    );
    api.github.set_role(REPO, REVIEWER, Role::Write);
    let answer = resolve(&id).await;
    assert_eq!(answer["data"]["t"]["thread"], json!({"id": id, "isResolved": true}));
    assert_eq!(first_error(&resolve(&json!("PRRT_x")).await).0, "NOT_FOUND");
    api.github.unresolve(REPO, 7, root);
    api.github.deny_contents_write(REVIEWER);
    let answer = resolve(&id).await;
    assert_eq!((first_error(&answer).0, &answer["data"]), ("FORBIDDEN", &json!({"t": null})));
}

#[tokio::test]
async fn an_operation_is_known_by_its_name() {
    let api = api().await;
    let body = json!({"query": "query Me {viewer {login}}", "operationName": "Me"});
    api.github.fail_next(post("/graphql#Other"), Fault::Cut);
    api.github.fail_next(post("/graphql#Me"), Fault::Status(StatusCode::BAD_GATEWAY, vec![]));
    assert_eq!(api.send(REVIEWER_TOKEN, &body).await.0, 502);
    assert_eq!(api.send(REVIEWER_TOKEN, &body).await.1["data"]["viewer"]["login"], REVIEWER);
    let calls: Vec<_> = api.github.calls_since(1).iter().map(ToString::to_string).collect();
    assert_eq!((calls, api.github.count(&post("/graphql"))), (vec!["POST /graphql#Me 200".to_owned()], 2));
}

#[tokio::test]
async fn a_test_decides_what_fails() {
    let api = api().await;
    api.github.refuse_graphql(
        "RATE_LIMITED",
        "API rate limit exceeded",
        vec![("x-ratelimit-remaining", "0".into())],
    );
    let request = api.client.post(api.github.url() + "/graphql").bearer_auth(REVIEWER_TOKEN);
    let answer = request.body(json!({"query": "{viewer {login}}"}).to_string()).send().await.unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["x-ratelimit-remaining"]),
        (StatusCode::OK, &"0".parse().unwrap())
    );
    assert_eq!(answer.headers()["x-ratelimit-resource"], "graphql");
    api.github.fail_field("PullRequest.closingIssuesReferences", "FORBIDDEN", "Resource not accessible");
    let query = r#"{repository(owner: "acme", name: "shop") {pullRequest(number: 7) {
        title closingIssuesReferences(first: 1) {totalCount}}}}"#;
    let answer = api.ask(query).await;
    assert_eq!(answer["data"]["repository"]["pullRequest"]["title"], api.scenario.title.as_str());
    assert_eq!(answer["errors"][0]["path"], json!(["repository", "pullRequest", "closingIssuesReferences"]));
    api.github.mend_fields();
    assert_eq!(api.ask(query).await.get("errors"), None);
}
