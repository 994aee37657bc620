//! The calls to GitHub's REST API (version 2022-11-28, "Webhooks"): hooks, their deliveries, redelivery.
//!
//! Not through octocrab: it pages deliveries by number where GitHub has cursors, fails on event names it does not
//! know, and signs for apps with another cryptographic library than the one that is here already.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, header};
use jiff::Timestamp;
use reqwest::RequestBuilder;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use shared::{
    client::http,
    error::{chain, hide},
    github::{AppKey, message, pause},
};
use thiserror::Error;
use url::Url;

use super::plan::Attempt;

/// A whole call.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A page of a hundred deliveries has some 40 kB.
const LARGEST_ANSWER: usize = 8 << 20;
const PER_PAGE: usize = 100;
/// GitHub lets a repository have 20 hooks per event.
const MOST_HOOK_PAGES: usize = 10;

/// What happened to a call.
pub(crate) type Result<T> = std::result::Result<T, GithubError>;

/// Why a call brought nothing.
#[derive(Debug, Error)]
pub(crate) enum GithubError {
    /// 401.
    #[error("GitHub does not accept the credentials")]
    Credentials,
    /// 403.
    #[error("GitHub does not allow it")]
    Forbidden,
    /// 404: GitHub hides what somebody has no right to.
    #[error("there is no such thing, or it may not be seen")]
    NotFound,
    /// A primary or secondary limit.
    #[error("GitHub's rate limit is reached; it lets us go on in {} s", _0.as_secs())]
    Limited(Duration),
    /// Another refusal.
    #[error("GitHub answered {0}: {1}")]
    Refused(u16, String),
    /// No connection, no whole answer in time, or a fault on GitHub's side.
    #[error("GitHub does not answer: {0}")]
    Unavailable(String),
    /// An answer that no documentation knows.
    #[error("GitHub's answer cannot be used: {0}")]
    Unexpected(String),
}

/// With what GitHub is asked.
#[derive(Debug, Clone)]
pub(crate) enum Credential {
    /// A personal or an installation's token.
    Token(SecretString),
    /// As an app.
    App(AppKey),
}

/// Whose hooks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// `owner/name`.
    Repository(String),
    /// Its name.
    Organisation(String),
    /// The app that asks.
    App,
}

/// A hook of GitHub's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hook {
    /// Path in the API under which its deliveries are.
    pub path: String,
    /// Where it leads.
    pub url: String,
}

/// Talks to GitHub as one holder of rights. A rate limit is his: nobody calls before it ends.
#[derive(Debug)]
pub(crate) struct Github {
    http: reqwest::Client,
    base: Url,
    credential: Credential,
    limited_until: Mutex<Option<Instant>>,
}

#[derive(Deserialize)]
struct WireHook {
    id: u64,
    #[serde(default)]
    active: bool,
    config: WireConfig,
}

#[derive(Deserialize)]
struct WireConfig {
    #[serde(default)]
    url: String,
}

impl Github {
    /// A client for the API at `base`.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub(crate) fn new(base: Url, credential: Credential) -> reqwest::Result<Self> {
        Ok(Self { http: http(Some(TIMEOUT))?, base, credential, limited_until: Mutex::default() })
    }

    /// The active hooks of `scope`.
    ///
    /// # Errors
    /// [`GithubError`].
    pub(crate) async fn hooks(&self, scope: &Scope) -> Result<Vec<Hook>> {
        let path = match scope {
            Scope::Repository(name) => format!("/repos/{name}/hooks"),
            Scope::Organisation(name) => format!("/orgs/{name}/hooks"),
            Scope::App => {
                let config: WireConfig = decode(&self.get("/app/hook/config").await?.1)?;
                return Ok(vec![Hook { path: "/app/hook".to_owned(), url: config.url }]);
            }
        };
        let mut hooks = Vec::new();
        for page in 1..=MOST_HOOK_PAGES {
            let (_, body) = self.get(&format!("{path}?per_page={PER_PAGE}&page={page}")).await?;
            let found: Vec<WireHook> = decode(&body)?;
            let last = found.len() < PER_PAGE;
            let active = found.into_iter().filter(|hook| hook.active);
            hooks.extend(
                active.map(|hook| Hook { path: format!("{path}/{}", hook.id), url: hook.config.url }),
            );
            if last {
                break;
            }
        }
        Ok(hooks)
    }

    /// A page of attempts, newest first, from `cursor` on (without one: from now on), and the next page's cursor.
    ///
    /// # Errors
    /// [`GithubError`].
    pub(crate) async fn deliveries(
        &self,
        hook: &str,
        cursor: Option<&str>,
    ) -> Result<(Vec<Attempt>, Option<String>)> {
        let from = cursor.map(|cursor| {
            form_urlencoded::Serializer::new(String::new()).append_pair("cursor", cursor).finish()
        });
        let from = from.map(|pair| format!("&{pair}")).unwrap_or_default();
        let (headers, body) = self.get(&format!("{hook}/deliveries?per_page={PER_PAGE}{from}")).await?;
        Ok((decode(&body)?, next_cursor(&headers)))
    }

    /// Asks for one more attempt like `attempt`. GitHub makes it soon after its answer.
    ///
    /// # Errors
    /// [`GithubError`].
    pub(crate) async fn redeliver(&self, hook: &str, attempt: u64) -> Result<()> {
        self.call(Method::POST, &format!("{hook}/deliveries/{attempt}/attempts")).await.map(drop)
    }

    /// What is at `path`.
    ///
    /// # Errors
    /// [`GithubError`].
    pub(crate) async fn get(&self, path: &str) -> Result<(HeaderMap, Bytes)> {
        self.call(Method::GET, path).await
    }

    /// One request, unless GitHub has asked for a pause.
    async fn call(&self, method: Method, path: &str) -> Result<(HeaderMap, Bytes)> {
        let until = || self.limited_until.lock().unwrap_or_else(PoisonError::into_inner);
        let left = until().and_then(|until| until.checked_duration_since(Instant::now()));
        if let Some(left) = left.filter(|left| !left.is_zero()) {
            return Err(GithubError::Limited(left));
        }
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let token = self.token()?;
        let request = self
            .http
            .request(method, url)
            .bearer_auth(token.expose_secret())
            .header(header::ACCEPT, "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28");
        let answer = exchange(request, &token).await;
        if let Err(GithubError::Limited(pause)) = &answer {
            *until() = Some(Instant::now() + *pause);
        }
        answer
    }

    fn token(&self) -> Result<SecretString> {
        match &self.credential {
            Credential::Token(token) => Ok(token.clone()),
            Credential::App(key) => {
                key.token(Timestamp::now()).map_err(|error| GithubError::Unexpected(error.to_string()))
            }
        }
    }
}

async fn exchange(request: RequestBuilder, token: &SecretString) -> Result<(HeaderMap, Bytes)> {
    let unavailable = |error: reqwest::Error| GithubError::Unavailable(chain(&error.without_url()));
    let mut response = request.send().await.map_err(unavailable)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(unavailable)? {
        if body.len() + chunk.len() > LARGEST_ANSWER {
            return Err(GithubError::Unexpected(format!("it has more than {LARGEST_ANSWER} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return Ok((headers, body.freeze()));
    }
    let body = hide(body.freeze(), token.expose_secret());
    if let Some(pause) = pause(status, &headers, &body) {
        return Err(GithubError::Limited(pause));
    }
    Err(match status.as_u16() {
        401 => GithubError::Credentials,
        403 => GithubError::Forbidden,
        404 => GithubError::NotFound,
        500.. => GithubError::Unavailable(format!("{status}: {}", message(&body))),
        _ => GithubError::Refused(status.as_u16(), message(&body)),
    })
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| GithubError::Unexpected(error.to_string()))
}

/// The cursor in the `Link` header's next page (RFC 8288). Only that: a link elsewhere would carry the token there.
fn next_cursor(headers: &HeaderMap) -> Option<String> {
    let links = headers.get(header::LINK)?.to_str().ok()?;
    let next = links.split(',').find(|link| link.contains("rel=\"next\""))?;
    let url = next.split_once('<')?.1.split_once('>')?.0;
    let query = url.split_once('?')?.1;
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "cursor")
        .map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        let links = "<https://api.github.com/app/hook/deliveries?per_page=100&cursor=v1_120%3D>; rel=\"next\", <https://x/>; rel=\"first\"";
        let headers = HeaderMap::from_iter([(header::LINK, links.parse().unwrap())]);
        assert_eq!(next_cursor(&headers).as_deref(), Some("v1_120="));
        assert_eq!(next_cursor(&HeaderMap::new()), None);
    }
}
