//! GitHub's GraphQL API: one request, and what its errors mean. Most of them come with status 200, beside what could
//! be read.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::github::pause;

use super::transport::{GithubError, Request, repository_in};
use super::{Github, Result, decode};

/// Below its base URL.
pub(super) const PATH: &str = "/graphql";

/// The base URL of the GraphQL API: an Enterprise Server has its REST API at `/api/v3` and this one at `/api`.
pub(super) fn base(rest: &str) -> &str {
    let rest = rest.trim_end_matches('/');
    rest.strip_suffix("/v3").filter(|base| base.ends_with("/api")).unwrap_or(rest)
}

/// What could be read, and what could not.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    #[serde(default)]
    pub(super) data: Value,
    #[serde(default)]
    errors: Option<Vec<GraphqlError>>,
}

/// One error of an answer.
#[derive(Debug, Clone, Deserialize)]
struct GraphqlError {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    path: Vec<Value>,
    #[serde(default)]
    extensions: Value,
}

impl GraphqlError {
    /// The query does not fit the schema: an older host.
    fn is_misfit(&self) -> bool {
        let code = self.extensions["code"].as_str().unwrap_or_default();
        matches!(code, "undefinedField" | "argumentNotAccepted" | "undefinedType")
    }

    /// Primary and secondary limits; the kind has had two names, and secondary ones had none.
    fn is_limit(&self) -> bool {
        let text = self.message.to_lowercase();
        match self.kind.as_str() {
            "RATE_LIMITED" | "RATE_LIMIT" => true,
            // these name a repository, which may be called anything
            "NOT_FOUND" => false,
            _ => text.contains("rate limit") || text.contains("abuse"),
        }
    }

    fn typed(&self, what: &str) -> GithubError {
        let message = self.message.clone();
        match self.kind.as_str() {
            "NOT_FOUND" => GithubError::NotFound(what.to_owned()),
            "FORBIDDEN" | "INSUFFICIENT_SCOPES" => GithubError::Forbidden(message),
            "MAX_NODE_LIMIT_EXCEEDED" | "RESOURCE_LIMITS_EXCEEDED" => GithubError::TooLarge,
            // no kind: "Something went wrong while executing your query", a timeout most often
            "" | "INTERNAL" | "SERVICE_UNAVAILABLE" => GithubError::Broken(StatusCode::OK, message),
            kind => GithubError::Unexpected(format!("{kind}: {message}")),
        }
    }
}

impl Answer {
    fn errors(&self) -> &[GraphqlError] {
        self.errors.as_deref().unwrap_or_default()
    }

    /// Why the field `name` of the repository could not be read, if it could not.
    pub(super) fn error_at(&self, name: &str, what: &str) -> Option<GithubError> {
        let at = |error: &&GraphqlError| error.path.iter().any(|step| step == name);
        self.errors().iter().find(at).map(|error| error.typed(what))
    }

    /// Why nothing at all could be read.
    pub(super) fn error(&self, what: &str) -> GithubError {
        let first = self.errors().first().map(|error| error.typed(what));
        first.unwrap_or_else(|| GithubError::Unexpected("GraphQL answered without data".to_owned()))
    }
}

impl Github {
    /// Asks about what a path of the REST API names, as the installation for its repository where we are a GitHub App;
    /// `None` if the host has no GraphQL API, or one that does not know what we ask for.
    pub(super) async fn query(
        &self,
        document: &str,
        variables: &Value,
        what: &str,
    ) -> Result<Option<Answer>> {
        let mut body = json!({"query": document, "variables": variables});
        if let Some(name) = operation(document) {
            body["operationName"] = json!(name);
        }
        let request = Request::new(&Method::POST, PATH, Some(&body));
        let asked = self.transport.call(Request { repository: repository_in(what), ..request }).await;
        let body = match asked {
            Ok(answer) => answer.body,
            Err(GithubError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let answer: Answer = decode(&body)?;
        if let Some(misfit) = answer.errors().iter().find(|error| error.is_misfit()) {
            tracing::debug!(reason = misfit.message, "this host's GraphQL API is older; asking over REST");
            return Ok(None);
        }
        if answer.data.is_null() { Err(answer.error(what)) } else { Ok(Some(answer)) }
    }
}

/// The name of a document's only operation, by which logs tell them apart.
fn operation(document: &str) -> Option<&str> {
    let (_, rest) = document.split_once(' ')?;
    rest.split(['(', ' ', '{']).next().filter(|name| !name.is_empty())
}

/// How long a limit lasts that came with status 200, if the answer tells of one.
pub(super) fn limit(headers: &HeaderMap, body: &[u8]) -> Option<Duration> {
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let is_limited = answer.errors().iter().any(GraphqlError::is_limit);
    is_limited.then(|| pause(StatusCode::TOO_MANY_REQUESTS, headers, body).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{base, operation};

    #[test]
    fn operations_have_names() {
        assert_eq!(operation("query Viewer { viewer { login } }"), Some("Viewer"));
        assert_eq!(operation("query Context($owner: String!) {"), Some("Context"));
        assert_eq!(operation("query { viewer }"), None);
    }

    #[test]
    fn an_enterprise_server_has_it_beside_its_rest_api() {
        assert_eq!(base("https://api.github.com/"), "https://api.github.com");
        assert_eq!(base("https://git.acme.test/api/v3"), "https://git.acme.test/api");
        assert_eq!(base("https://git.acme.test/api/v3/"), "https://git.acme.test/api");
        assert_eq!(base("https://api.acme.ghe.com"), "https://api.acme.ghe.com");
        assert_eq!(base("https://mirror.test/v3"), "https://mirror.test/v3");
    }
}
