//! As a GitHub App: which of its installations a repository belongs to, and that installation's token, which GitHub
//! gives for an hour.
//!
//! Nothing here survives a restart, and nothing has to: a token is asked for again in one call.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::{Method, StatusCode, header};
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use shared::github::{AppKey, message};
use tokio::sync::{Mutex as AsyncMutex, OnceCell};

use super::transport::{Answered, GithubError, Hosts, Limit, Request, Who, exchange};
use super::{Result, decode};

/// A token that ends sooner is asked for anew: a call may take a minute, and clocks differ.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);
/// Seconds by which clocks may differ without harm: what the app signs is dated back by a minute.
const HARMLESS: i64 = 30;

/// A GitHub App. A failed question is asked again by the next call, never in a circle.
#[derive(Debug)]
pub(super) struct App {
    key: AppKey,
    /// Seconds that GitHub's clock is ahead of this machine's, once that has mattered.
    ahead: AtomicI64,
    limit: Limit,
    /// By the repository's full name; a cell, so that many reviews at once ask once.
    installed: Mutex<BTreeMap<String, Arc<OnceCell<Arc<Installation>>>>>,
    /// By id: repositories of one account share their installation, and its token.
    known: Mutex<BTreeMap<u64, Arc<Installation>>>,
}

/// The app at one account.
#[derive(Debug)]
struct Installation {
    id: u64,
    limit: Limit,
    /// Locked while it is asked for: whoever comes meanwhile finds it.
    token: AsyncMutex<Option<Token>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Token {
    #[serde(deserialize_with = "secret")]
    token: SecretString,
    expires_at: Timestamp,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

impl Token {
    fn is_fresh(&self, now: Timestamp) -> bool {
        self.expires_at.duration_since(now) > MARGIN
    }
}

#[derive(Deserialize)]
struct WireInstallation {
    id: u64,
}

/// What `/app` tells.
#[derive(Deserialize)]
pub(super) struct Identity {
    slug: String,
}

impl Identity {
    /// The login of the app's bot, the author of all that it posts.
    pub(super) fn login(&self) -> String {
        format!("{}[bot]", self.slug)
    }
}

impl App {
    pub(super) fn new(key: AppKey) -> Self {
        Self {
            key,
            ahead: AtomicI64::new(0),
            limit: Limit::default(),
            installed: Mutex::default(),
            known: Mutex::default(),
        }
    }

    /// The id that GitHub shows of this app, or its client id: as it was set.
    pub(super) fn id(&self) -> &str {
        self.key.id()
    }

    /// As the installation that the request's repository belongs to; as the app itself below `/app`.
    pub(super) async fn call(&self, hosts: &Hosts, request: Request<'_>) -> Result<Answered> {
        match request.repository {
            Some(repository) => self.call_as_installation(hosts, repository, request).await,
            None if request.path.starts_with("/app") => {
                let answer = self.call_as_itself(hosts, request).await?;
                self.limit.note(self.judged(answer, request.path))
            }
            None => Err(GithubError::Unexpected(format!(
                "{} was to be asked as a GitHub App, and no repository says as which installation",
                request.path
            ))),
        }
    }

    /// A refused token did nothing, so the same request goes out again with a new one; so it does where the installation
    /// that was known is there no longer, because somebody has made another one.
    async fn call_as_installation(
        &self,
        hosts: &Hosts,
        repository: &str,
        request: Request<'_>,
    ) -> Result<Answered> {
        let (mut is_sought_again, mut is_renewed) = (false, false);
        loop {
            let installation = self.installation(hosts, repository).await?;
            installation.limit.check()?;
            let token = match self.token(hosts, &installation, repository).await {
                Err(GithubError::NotFound(_)) if !is_sought_again => {
                    self.forget(repository, &installation);
                    is_sought_again = true;
                    continue;
                }
                token => token?,
            };
            let answer = exchange(hosts, request, Some(&token)).await?;
            match answer.status {
                StatusCode::UNAUTHORIZED if !is_renewed => {
                    installation.forget(&token).await;
                    is_renewed = true;
                    continue;
                }
                // it may have moved, or the installation covers it no longer: the next call finds out
                StatusCode::NOT_FOUND => self.forget_place(repository),
                _ => {}
            }
            return installation.limit.note(answer.judged(request.path, Who::App));
        }
    }

    /// Where the app is installed for a repository.
    async fn installation(&self, hosts: &Hosts, repository: &str) -> Result<Arc<Installation>> {
        let cell = Arc::clone(lock(&self.installed).entry(repository.to_owned()).or_default());
        let ask = || async {
            let path = format!("/repos/{repository}/installation");
            let answer = self.call_as_itself(hosts, Request::new(&Method::GET, &path, None)).await?;
            let is_unknown = answer.status == StatusCode::NOT_FOUND && !is_no_app(&answer);
            let answer = self.limit.note(self.judged(answer, &path)).map_err(|error| match error {
                GithubError::NotFound(_) if is_unknown => not_installed(repository),
                error => error,
            })?;
            let id = decode::<WireInstallation>(&answer.body)?.id;
            let mut known = lock(&self.known);
            let installation = known.entry(id).or_insert_with(|| Arc::new(Installation::new(id)));
            Ok(Arc::clone(installation))
        };
        cell.get_or_try_init(ask).await.cloned()
    }

    /// A token that lasts for this call.
    async fn token(
        &self,
        hosts: &Hosts,
        installation: &Installation,
        repository: &str,
    ) -> Result<SecretString> {
        let mut held = installation.token.lock().await;
        if let Some(token) = held.as_ref().filter(|token| token.is_fresh(self.now())) {
            return Ok(token.token.clone());
        }
        let path = format!("/app/installations/{}/access_tokens", installation.id);
        let answer = self.call_as_itself(hosts, Request::new(&Method::POST, &path, None)).await?;
        let reason = message(&answer.body);
        let answer = self.limit.note(self.judged(answer, &path)).map_err(|error| match error {
            GithubError::NotFound(_) => not_installed(repository),
            GithubError::Forbidden(_) => GithubError::Forbidden(format!(
                "the GitHub App gets no token for {repository} ({reason}): if its installation is suspended, the account's settings (\"GitHub Apps\") end that"
            )),
            error => error,
        })?;
        let token: Token = decode(&answer.body)?;
        let secret = token.token.clone();
        *held = Some(token);
        Ok(secret)
    }

    /// One request that the app signs itself. Where its clock is what GitHub minds, GitHub's own is taken, and the
    /// request repeated.
    async fn call_as_itself(&self, hosts: &Hosts, request: Request<'_>) -> Result<Answered> {
        self.limit.check()?;
        let answer = exchange(hosts, request, Some(&self.signed()?)).await?;
        if answer.status != StatusCode::UNAUTHORIZED || !self.takes_clock(&answer) {
            return Ok(answer);
        }
        exchange(hosts, request, Some(&self.signed()?)).await
    }

    fn signed(&self) -> Result<SecretString> {
        self.key.token(self.now()).map_err(|error| GithubError::Unexpected(error.to_string()))
    }

    /// GitHub's time, as far as it is known.
    fn now(&self) -> Timestamp {
        Timestamp::now() + SignedDuration::from_secs(self.ahead.load(Ordering::Relaxed))
    }

    /// Whether the answer shows another time than was thought.
    fn takes_clock(&self, answer: &Answered) -> bool {
        let date = answer.headers.get(header::DATE).and_then(|date| date.to_str().ok());
        let Some(date) = date.and_then(|date| DateTimeParser::new().parse_timestamp(date).ok()) else {
            return false;
        };
        let ahead = date.as_second() - Timestamp::now().as_second();
        if (ahead - self.ahead.load(Ordering::Relaxed)).abs() <= HARMLESS {
            return false;
        }
        tracing::warn!(ahead, "GitHub's clock is so many seconds ahead of this machine's; GitHub's counts");
        self.ahead.store(ahead, Ordering::Relaxed);
        true
    }

    /// What a refusal of the app itself, not of an installation, means.
    fn judged(&self, answer: Answered, path: &str) -> Result<Answered> {
        match answer.status {
            StatusCode::UNAUTHORIZED => Err(GithubError::BadToken(format!(
                "the GitHub App ({}): GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY must be of the same app, and the key one that its settings page still lists",
                message(&answer.body)
            ))),
            StatusCode::NOT_FOUND if is_no_app(&answer) => Err(GithubError::BadToken(
                "the GitHub App: there is none with this GITHUB_APP_ID; its settings page shows the id"
                    .to_owned(),
            )),
            _ => answer.judged(path, Who::App),
        }
    }

    fn forget_place(&self, repository: &str) {
        lock(&self.installed).remove(repository);
    }

    fn forget(&self, repository: &str, installation: &Installation) {
        self.forget_place(repository);
        lock(&self.known).remove(&installation.id);
    }
}

impl Installation {
    fn new(id: u64) -> Self {
        Self { id, limit: Limit::default(), token: AsyncMutex::default() }
    }

    /// Forgets `token`, unless somebody has got a new one meanwhile.
    async fn forget(&self, token: &SecretString) {
        let mut held = self.token.lock().await;
        if held.as_ref().is_some_and(|held| held.token.expose_secret() == token.expose_secret()) {
            *held = None;
        }
    }
}

/// GitHub's words for an app id that nobody has.
fn is_no_app(answer: &Answered) -> bool {
    message(&answer.body).contains("Integration not found")
}

fn not_installed(repository: &str) -> GithubError {
    GithubError::NotFound(format!(
        "installation of the GitHub App for {repository}: install it there (the app's settings, \"Install App\"), and let it have this repository"
    ))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "app_tests.rs"]
mod tests;
