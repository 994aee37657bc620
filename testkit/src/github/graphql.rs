//! `POST /graphql`: parsed, validated against a typed schema (a part of GitHub's public one) and executed.

use std::collections::VecDeque;
use std::sync::LazyLock;

use async_graphql::parser::types::{ExecutableDocument, OperationType};
use async_graphql::{EmptySubscription, Request, Schema, Variables};
use axum::Extension;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::GitHub;
use super::answer::{JSON, Refusal, Viewer, json_answer};
use super::routes::{SECONDARY_LIMIT, Site};
use crate::shape::User;

mod connection;
mod cost;
mod mutation;
mod objects;
mod pull;
mod query;
mod refusal;
mod review;
#[cfg(test)]
mod tests;

use mutation::Mutation;
use query::Query;

/// Nodes that one query may ask for.
const MOST_NODES: usize = 500_000;

static SCHEMA: LazyLock<Schema<Query, Mutation, EmptySubscription>> =
    LazyLock::new(|| Schema::build(Query, Mutation, EmptySubscription).extension(refusal::Failing).finish());

/// What a test wants of the GraphQL API.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// An older or other host, which has none.
    absent: bool,
    /// Answers to the next requests, whatever they ask.
    canned: VecDeque<Canned>,
    /// Fields that fail: type and field, kind of error, message.
    failing: Vec<(String, String, String)>,
    /// Whose tokens may not write contents.
    contents_read_only: Vec<String>,
}

#[derive(Debug)]
struct Canned {
    body: Value,
    headers: Vec<(&'static str, String)>,
}

/// Who asks, and where.
struct Asking {
    site: Site,
    viewer: User,
    nodes: usize,
}

#[derive(Deserialize)]
struct Body {
    query: String,
    #[serde(default)]
    variables: Value,
    #[serde(rename = "operationName")]
    operation: Option<String>,
}

impl GitHub {
    /// Behaves as a host without a GraphQL API: 404.
    pub fn without_graphql(&self) {
        self.change(|state| state.graphql.absent = true);
    }

    /// The next GraphQL request is answered so, with status 200, whatever it asks.
    pub fn answer_graphql(&self, body: Value, headers: Vec<(&'static str, String)>) {
        self.change(|state| state.graphql.canned.push_back(Canned { body, headers }));
    }

    /// The next GraphQL request is refused by one error of this kind, such as `RATE_LIMITED`, with status 200.
    pub fn refuse_graphql(&self, kind: &str, message: &str, headers: Vec<(&'static str, String)>) {
        let body = json!({"data": null, "errors": [{"type": kind, "message": message}]});
        self.answer_graphql(body, headers);
    }

    /// From now on a field, such as `PullRequest.reviewThreads`, fails with an error of this kind.
    pub fn fail_field(&self, field: &str, kind: &str, message: &str) {
        let failing = (field.to_owned(), kind.to_owned(), message.to_owned());
        self.change(|state| state.graphql.failing.push(failing));
    }

    /// Fields work again.
    pub fn mend_fields(&self) {
        self.change(|state| state.graphql.failing.clear());
    }

    /// From now on the tokens of `login` lack `contents: write`, without which no thread can be resolved.
    pub fn deny_contents_write(&self, login: &str) {
        self.change(|state| state.graphql.contents_read_only.push(login.to_owned()));
    }
}

pub(crate) async fn answer(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    body: Bytes,
) -> Result<Response, Refusal> {
    let (absent, canned) = {
        let mut state = site.state();
        let canned = if viewer.0.is_some() { state.graphql.canned.pop_front() } else { None };
        (state.graphql.absent, canned)
    };
    if absent {
        return Err(Refusal::not_found());
    }
    let viewer =
        viewer.0.ok_or_else(|| Refusal::new(401, "This endpoint requires you to be authenticated."))?;
    if let Some(Canned { body, headers }) = canned {
        return Ok(with_headers(json_answer(StatusCode::OK, &body), headers));
    }
    let asked: Body = match serde_json::from_slice(&body) {
        Ok(asked) => asked,
        Err(error) if error.is_data() => {
            let message = "A query attribute must be specified and must be a string.";
            return Ok(json_answer(StatusCode::OK, &json!({"errors": [{"message": message}]})));
        }
        Err(_) => return Err(Refusal::new(400, "Problems parsing JSON")),
    };
    let answer = executed(site, viewer, asked).await?;
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, JSON)], answer.to_string()).into_response())
}

async fn executed(site: Site, viewer: User, asked: Body) -> Result<Value, Refusal> {
    let document = match async_graphql::parser::parse_query(&asked.query) {
        Ok(document) => document,
        Err(error) => return Ok(refusal::syntax(&error)),
    };
    let nodes = cost::nodes(&document, &asked.variables);
    if nodes > MOST_NODES {
        return Ok(refusal::too_many_nodes(nodes, MOST_NODES));
    }
    if is_mutation(&document) {
        let admitted = site.state().limits.admit(&viewer.login, std::time::Instant::now());
        admitted.map_err(|wait| Refusal::new(403, SECONDARY_LIMIT).retry_after(wait))?;
    }
    let mut request = Request::new(asked.query).variables(Variables::from_json(asked.variables));
    if let Some(operation) = asked.operation {
        request = request.operation_name(operation);
    }
    let answer = SCHEMA.execute(request.data(Asking { site, viewer, nodes })).await;
    Ok(refusal::in_githubs_words(&answer))
}

fn is_mutation(document: &ExecutableDocument) -> bool {
    document.operations.iter().any(|(_, operation)| operation.node.ty == OperationType::Mutation)
}

fn with_headers(mut answer: Response, headers: Vec<(&'static str, String)>) -> Response {
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            answer.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    answer
}
