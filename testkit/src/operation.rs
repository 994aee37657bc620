//! GraphQL has one path for everything: the name of an operation tells its requests apart.

use axum::body::{Body, Bytes, to_bytes};
use http::Request;
use serde::Deserialize;

/// The longest body that is looked into.
const MOST: usize = 25 << 20;

#[derive(Deserialize)]
struct Operation {
    #[serde(rename = "operationName")]
    name: String,
}

/// The request, and its path with the name of the GraphQL operation, if it is one.
pub(crate) async fn named(request: Request<Body>) -> (Request<Body>, String) {
    let path = request.uri().path().to_owned();
    if !path.ends_with("/graphql") {
        return (request, path);
    }
    let (parts, body) = request.into_parts();
    // what cannot be read now cannot be read by the routes either: they see an empty body
    let body = to_bytes(body, MOST).await.unwrap_or_else(|_| Bytes::new());
    let named = match serde_json::from_slice::<Operation>(&body) {
        Ok(operation) => format!("{path}#{}", operation.name),
        Err(_) => path,
    };
    (Request::from_parts(parts, Body::from(body)), named)
}
