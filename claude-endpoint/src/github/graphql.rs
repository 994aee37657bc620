//! GitHub's GraphQL API: one request, and what its errors mean. Most of them come with status 200, beside what could
//! be read.

use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::github::pause;

use super::transport::{GithubError, JSON};
use super::{Github, Result, decode};

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
        matches!(self.kind.as_str(), "RATE_LIMITED" | "RATE_LIMIT")
            || text.contains("rate limit")
            || text.contains("abuse")
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
    /// Asks; `None` if the host has no GraphQL API, or one that does not know what we ask for. `what` is asked for, in
    /// the words of an error.
    pub(super) async fn query(
        &self,
        document: &str,
        variables: &Value,
        what: &str,
    ) -> Result<Option<Answer>> {
        let body = json!({"query": document, "variables": variables});
        let asked = self.exchange(&self.graphql, Method::POST, "/graphql", JSON, Some(&body)).await;
        let (headers, body) = match asked {
            Ok(answer) => answer,
            Err(GithubError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let answer: Answer = decode(&body)?;
        if answer.errors().iter().any(GraphqlError::is_limit) {
            let error = limit(&headers, &body);
            self.heed(&error);
            return Err(error);
        }
        if let Some(misfit) = answer.errors().iter().find(|error| error.is_misfit()) {
            tracing::debug!(reason = misfit.message, "this host's GraphQL API is older; asking over REST");
            return Ok(None);
        }
        if answer.data.is_null() { Err(answer.error(what)) } else { Ok(Some(answer)) }
    }
}

/// How long a limit that came with status 200 lasts.
fn limit(headers: &HeaderMap, body: &[u8]) -> GithubError {
    let retry_after = pause(StatusCode::TOO_MANY_REQUESTS, headers, body).unwrap_or_default();
    GithubError::RateLimited { retry_after }
}

#[cfg(test)]
mod tests {
    use super::base;

    #[test]
    fn an_enterprise_server_has_it_beside_its_rest_api() {
        assert_eq!(base("https://api.github.com/"), "https://api.github.com");
        assert_eq!(base("https://git.acme.test/api/v3"), "https://git.acme.test/api");
        assert_eq!(base("https://git.acme.test/api/v3/"), "https://git.acme.test/api");
        assert_eq!(base("https://api.acme.ghe.com"), "https://api.acme.ghe.com");
        assert_eq!(base("https://mirror.test/v3"), "https://mirror.test/v3");
    }
}
