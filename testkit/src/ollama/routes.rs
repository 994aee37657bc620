//! The route table, and what Ollama checks before any route.

use std::future::{Ready, ready};
use std::net::IpAddr;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State as Shared};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode, Uri, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::answer::{Dialect, Failure, json_answer};
use super::models::{self, with_tag};
use super::site::Site;
use super::{chat, embed, imitations, responses};
use crate::control::lock;

type Call = fn(&Site, &Value) -> Result<Response, Failure>;

const PLAIN: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "text/plain")];

/// All routes.
pub(super) fn routes(site: Site) -> Router {
    Router::new()
        .route("/", get(async || "Ollama is running"))
        .route("/api/version", get(version))
        .route("/api/tags", get(tags))
        .route("/api/ps", get(ps))
        .route("/api/show", call(show))
        .route("/api/chat", call(chat::chat))
        .route("/api/generate", call(chat::generate))
        .route("/api/embed", post(handle(embed::embed)))
        .route("/api/embeddings", post(handle(embed::old_embeddings)))
        .route("/api/copy", call(copy))
        .route("/api/delete", delete(handle(at_once(remove))))
        .route("/v1/models", get(openai_models))
        .route("/v1/chat/completions", call(imitations::completions))
        .route("/v1/embeddings", post(handle(embed::openai)))
        .route("/v1/messages", call(imitations::messages))
        .route("/v1/responses", call(responses::responses))
        .fallback(async || (StatusCode::NOT_FOUND, PLAIN, "404 page not found"))
        .method_not_allowed_fallback(async || {
            (StatusCode::METHOD_NOT_ALLOWED, PLAIN, "405 method not allowed")
        })
        .layer(middleware::from_fn(local_only))
        .layer(DefaultBodyLimit::disable())
        .with_state(site)
}

fn call(run: Call) -> MethodRouter<Site> {
    post(handle(at_once(run)))
}

/// A call that waits for nothing.
fn at_once(run: Call) -> impl Fn(Site, Value) -> Ready<Result<Response, Failure>> + Clone {
    move |site, body| ready(run(&site, &body))
}

/// Reads the body, remembers it, runs the call, and words a failure in the route's dialect.
fn handle<F>(
    run: impl Fn(Site, Value) -> F + Clone + Send + 'static,
) -> impl Fn(Shared<Site>, Uri, Bytes) -> BoxFuture<'static, Response> + Clone + Send + 'static
where
    F: Future<Output = Result<Response, Failure>> + Send + 'static,
{
    move |Shared(site), uri: Uri, body: Bytes| {
        let dialect = if uri.path().starts_with("/v1/") { Dialect::OpenAi } else { Dialect::Ollama };
        let running = parsed(&body).map(|body| {
            lock(&site.0).requests.push((uri.path().to_owned(), body.clone()));
            run(site, body)
        });
        Box::pin(async move {
            let answer = match running {
                Ok(running) => running.await,
                Err(failure) => Err(failure),
            };
            answer.unwrap_or_else(|failure| failure.respond(dialect))
        })
    }
}

/// Go's messages for what is not JSON.
fn parsed(body: &Bytes) -> Result<Value, Failure> {
    if body.is_empty() {
        return Err(Failure::new(400, "missing request body"));
    }
    serde_json::from_slice(body).map_err(|error| {
        if error.is_eof() {
            return Failure::new(400, "unexpected EOF");
        }
        let line = body.split(|byte| *byte == b'\n').nth(error.line() - 1).unwrap_or_default();
        let (before, at) = line.split_at(error.column().saturating_sub(1).min(line.len()));
        let found = at.first().copied().unwrap_or(b' ') as char;
        let expected = match before.trim_ascii_end().last() {
            Some(b'{') => "object key string",
            _ => "value",
        };
        Failure::new(400, format!("invalid character '{found}' looking for beginning of {expected}"))
    })
}

/// A loopback Ollama answers neither to a foreign `Host` nor to a foreign `Origin`.
async fn local_only(request: Request<Body>, next: Next) -> Response {
    if is_foreign(request.headers()) {
        return StatusCode::FORBIDDEN.into_response();
    }
    next.run(request).await
}

fn is_foreign(headers: &HeaderMap) -> bool {
    let value = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = value(header::HOST).map(without_port);
    let origin = value(header::ORIGIN)
        .and_then(|origin| origin.strip_prefix("http"))
        .map(|rest| without_port(rest.trim_start_matches('s').trim_start_matches("://")));
    host.is_some_and(|host| !is_local(host)) || origin.is_some_and(|origin| !is_local(origin))
}

fn without_port(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

fn is_local(host: &str) -> bool {
    let by_name = ["localhost", ""].contains(&host)
        || [".localhost", ".local", ".internal"].iter().any(|suffix| host.ends_with(suffix));
    by_name
        || host.parse().is_ok_and(|address: IpAddr| match address {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_unspecified(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified(),
        })
}

async fn version() -> Response {
    json_answer(Dialect::Ollama, r#"{"version":"0.33.0"}"#.into())
}

async fn tags(Shared(site): Shared<Site>) -> Response {
    json_answer(Dialect::Ollama, models::tags(&lock(&site.0).models))
}

async fn ps(Shared(site): Shared<Site>) -> Response {
    let expires_at = Timestamp::now() + SignedDuration::from_mins(5);
    json_answer(Dialect::Ollama, models::running(&lock(&site.0).loaded, &format!("{expires_at:.9}")))
}

async fn openai_models(Shared(site): Shared<Site>) -> Response {
    json_answer(Dialect::OpenAi, models::openai_list(&lock(&site.0).models))
}

/// Also of the older field `name`.
fn name_in(body: &Value) -> &str {
    body["model"].as_str().or(body["name"].as_str()).unwrap_or_default()
}

fn show(site: &Site, body: &Value) -> Result<Response, Failure> {
    let name = with_tag(name_in(body));
    let model = site.find(&name).ok_or_else(|| Failure::new(404, format!("model '{name}' not found")))?;
    Ok(json_answer(Dialect::Ollama, models::show(&model)))
}

fn copy(site: &Site, body: &Value) -> Result<Response, Failure> {
    let (from, to) =
        (body["source"].as_str().unwrap_or_default(), body["destination"].as_str().unwrap_or_default());
    let mut model =
        site.find(from).ok_or_else(|| Failure::new(404, format!("model \"{from}\" not found")))?;
    model.name = with_tag(to);
    lock(&site.0).models.push(model);
    Ok(StatusCode::OK.into_response())
}

fn remove(site: &Site, body: &Value) -> Result<Response, Failure> {
    let name = name_in(body);
    let model = site.find(name).ok_or_else(|| Failure::new(404, format!("model '{name}' not found")))?;
    site.unload(&model);
    lock(&site.0).models.retain(|kept| *kept != model);
    Ok(StatusCode::OK.into_response())
}
