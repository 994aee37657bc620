//! The route table, and what every request goes through first.

use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Request, State as Shared};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use axum::{Extension, Router};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use serde_json::json;

use super::answer::{Refusal, Viewer, json_answer};
use super::state::{RepoState, State};
use super::{
    app, checks, comments, files, graphql, hooks, installations, issues, people, pulls, reactions,
    review_comments, reviews,
};
use crate::control::{Control, lock};
use crate::shape;

/// Requests an hour a token may make.
pub(crate) const PRIMARY_LIMIT: u64 = 5_000;
/// GitHub's longest request body.
const MAX_REQUEST: usize = 25 << 20;

/// What the handlers share.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    state: Arc<Mutex<State>>,
    /// Base of the `url` fields and of `Link`: the stand-in itself.
    pub(crate) api: Arc<str>,
    /// Told of what happens outside of a request.
    pub(crate) control: Control,
}

/// `{owner}/{repo}` of a path.
pub(crate) type RepoPath = Path<(String, String)>;

impl Site {
    pub(crate) fn new(state: Arc<Mutex<State>>, control: Control, api: &str) -> Self {
        Self { state, api: api.into(), control }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// The repository, if the viewer may see it; one that may not be seen does not exist.
pub(crate) fn visible<'a>(
    state: &'a mut State,
    viewer: &Viewer,
    owner: &str,
    name: &str,
) -> Result<&'a mut RepoState, Refusal> {
    let repo = state.repos.get_mut(&format!("{owner}/{name}")).ok_or_else(Refusal::not_found)?;
    let role = repo.role(viewer.0.as_ref().map_or("", |user| user.login.as_str()));
    if role.is_none() { Err(Refusal::not_found()) } else { Ok(repo) }
}

/// All routes: where github.com has them, and where an Enterprise Server has.
pub(crate) fn routes(site: Site) -> Router {
    Router::new()
        .route("/graphql", post(graphql::answer))
        .route("/api/graphql", post(graphql::answer))
        .nest("/api/v3", rest())
        .merge(rest())
        .fallback(async || Refusal::not_found())
        .layer(middleware::from_fn_with_state(site.clone(), enter))
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .with_state(site)
}

fn rest() -> Router<Site> {
    let at = |tail: &str| format!("/repos/{{owner}}/{{name}}{tail}");
    Router::new()
        .route("/meta", get(meta))
        .route("/user", get(user))
        .route(&at(""), get(repository))
        .route(&at("/pulls/{number}"), get(pulls::show))
        .route(&at("/pulls/{number}/files"), get(pulls::files))
        .route(&at("/pulls/{number}/commits"), get(pulls::commits))
        .route(&at("/pulls/{number}/reviews"), get(reviews::list).post(reviews::create))
        .route(&at("/pulls/{number}/reviews/{id}"), get(reviews::show).put(reviews::update))
        .route(&at("/pulls/{number}/reviews/{id}/comments"), get(review_comments::of_review))
        .route(&at("/pulls/{number}/comments"), get(review_comments::list).post(review_comments::create))
        .route(&at("/pulls/{number}/comments/{id}/replies"), post(review_comments::reply))
        .route(&at("/pulls/comments/{id}"), get(review_comments::show))
        .route(&at("/issues/{number}"), get(issues::show))
        .route(&at("/collaborators/{login}/permission"), get(people::permission))
        .route(&at("/contents/{*path}"), get(files::contents))
        .merge(reaction_routes(&at("/issues/comments/{id}/reactions")))
        .merge(reaction_routes(&at("/pulls/comments/{id}/reactions")))
        .route(&at("/compare/{range}"), get(pulls::compare))
        .route(&at("/issues/{number}/comments"), get(comments::of_issue).post(comments::on_issue))
        .route(&at("/issues/comments/{id}"), patch(comments::edit_on_issue))
        .route(&at("/commits/{sha}/comments"), get(comments::of_commit).post(comments::on_commit))
        .route(&at("/commits/{sha}/statuses"), get(comments::statuses))
        .route(&at("/statuses/{sha}"), post(comments::set_status))
        .route(&at("/check-runs"), post(checks::create))
        .route(&at("/check-runs/{id}"), patch(checks::update))
        .route(&at("/commits/{sha}/check-runs"), get(checks::list))
        .route("/app", get(installations::app))
        .route("/app/installations/{id}/access_tokens", post(installations::token))
        .route(&at("/installation"), get(installations::of_repository))
        .merge(hook_routes("/repos/{owner}/{name}/hooks/{hook}"))
        .merge(hook_routes("/orgs/{org}/hooks/{hook}"))
        .merge(hook_routes("/app/hook"))
        .route(&at("/hooks"), get(hooks::list))
        .route("/orgs/{org}/hooks", get(hooks::list))
        .route("/app/hook/config", get(hooks::app_config))
}

fn reaction_routes(at: &str) -> Router<Site> {
    Router::new()
        .route(at, get(reactions::list).post(reactions::create))
        .route(&format!("{at}/{{reaction}}"), delete(reactions::delete))
}

fn hook_routes(hook: &str) -> Router<Site> {
    Router::new()
        .route(&format!("{hook}/deliveries"), get(hooks::deliveries))
        .route(&format!("{hook}/deliveries/{{delivery}}/attempts"), post(hooks::redeliver))
}

/// User agent, credentials and limits; then the headers every answer carries.
async fn enter(Shared(site): Shared<Site>, mut request: Request<Body>, next: Next) -> Response {
    let (entered, count, told) = {
        let mut state = site.state();
        state.requests += 1;
        (admitted(&mut state, &request), state.requests, state.told(request.headers()))
    };
    let resource = if is_graphql(request.uri()) { "graphql" } else { "core" };
    let mut answer = match entered {
        Ok(viewer) => {
            request.extensions_mut().insert(viewer);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    };
    answer.headers_mut().extend(told);
    common_headers(answer.headers_mut(), count, resource);
    app::date(&site.state().hooks, answer.headers_mut());
    answer
}

fn admitted(state: &mut State, request: &Request<Body>) -> Result<Viewer, Refusal> {
    let (headers, path) = (request.headers(), request.uri().path());
    // a GraphQL query is a POST that creates nothing; mutations are counted where they are read
    let creates = ![Method::GET, Method::HEAD].contains(request.method())
        && !is_graphql(request.uri())
        && !path.ends_with("/access_tokens");
    if headers.get(header::USER_AGENT).is_none_or(HeaderValue::is_empty) {
        let message = "Request forbidden by administrative rules. Please make sure your request has a User-Agent \
                       header (https://docs.github.com/en/rest/overview/resources-in-the-rest-api#user-agent-required).";
        return Err(Refusal::new(403, message));
    }
    let viewer = match headers.get(header::AUTHORIZATION).map(HeaderValue::to_str) {
        None => Viewer(None),
        Some(value) => {
            let token = value.ok().and_then(|value| value.split_once(' ')).filter(|(scheme, _)| {
                scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token")
            });
            let token = token.map(|(_, token)| token.trim()).unwrap_or_default();
            Viewer(Some(match state.users.get(token) {
                Some(user) => user.clone(),
                None => app::admitted(&state.hooks, token, request.method(), path)?,
            }))
        }
    };
    if let (Some(user), true) = (&viewer.0, creates) {
        let admitted = state.limits.admit(&user.login, std::time::Instant::now());
        admitted.map_err(|wait| Refusal::new(403, SECONDARY_LIMIT).retry_after(wait))?;
    }
    Ok(viewer)
}

/// GitHub's words when content is created too fast.
pub(crate) const SECONDARY_LIMIT: &str = "You have exceeded a secondary rate limit and have been temporarily \
    blocked from content creation. Please retry your request again later. If you reach out to GitHub Support for \
    help, please include the request ID.";

fn is_graphql(uri: &Uri) -> bool {
    uri.path() == "/graphql" || uri.path() == "/api/graphql"
}

/// When the primary limits begin anew.
pub(crate) fn reset() -> i64 {
    jiff::Timestamp::now().as_second() / 3_600 * 3_600 + 3_600
}

/// Headers that a test has set stay.
fn common_headers(headers: &mut HeaderMap, count: u64, resource: &str) {
    let mut set = |name: &'static str, value: String| {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.entry(name).or_insert(value);
        }
    };
    set("server", "github.com".into());
    set("x-github-request-id", format!("ABCD:{count:04X}:1A2B3C:4D5E6F:6920A1B2"));
    set("x-github-api-version-selected", "2022-11-28".into());
    set("x-ratelimit-limit", PRIMARY_LIMIT.to_string());
    set("x-ratelimit-remaining", PRIMARY_LIMIT.saturating_sub(count).to_string());
    set("x-ratelimit-used", count.to_string());
    set("x-ratelimit-reset", reset().to_string());
    set("x-ratelimit-resource", resource.into());
}

async fn user(Shared(site): Shared<Site>, Extension(viewer): Extension<Viewer>) -> Result<Response, Refusal> {
    let user = viewer.signed_in()?;
    let more = json!({"name": user.login, "company": null, "email": null, "public_repos": 1, "followers": 0});
    Ok(json_answer(StatusCode::OK, &shape::extended(shape::user(&site.api, user), more)))
}

/// What anybody may ask, for a probe without a token.
async fn meta() -> Response {
    let networks = json!(["192.30.252.0/22", "185.199.108.0/22", "140.82.112.0/20"]);
    let meta = json!({"verifiable_password_authentication": false, "hooks": networks, "web": networks, "api": networks});
    json_answer(StatusCode::OK, &meta)
}

async fn repository(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name)): RepoPath,
) -> Result<Response, Refusal> {
    let mut state = site.state();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let member = viewer.0.as_ref().is_some_and(|user| repo.members.contains(&user.login));
    let permissions = json!({"permissions": {"admin": false, "maintain": false, "push": member, "triage": member, "pull": true}});
    Ok(json_answer(StatusCode::OK, &shape::extended(shape::repository(&site.api, &repo.repo), permissions)))
}
