//! A stateful stand-in for api.github.com: what a reviewer needs of it, with its rules and refusals.

mod answer;
mod app;
#[cfg(test)]
mod app_tests;
mod checks;
mod comments;
mod diff;
mod files;
mod graphql;
mod hooks;
mod installations;
mod issues;
mod limits;
mod people;
mod pulls;
mod reactions;
mod review_comments;
mod reviews;
mod routes;
mod rules;
mod state;
#[cfg(test)]
mod talk_tests;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::StatusCode;
use tokio::net::TcpListener;

use self::answer::error_body;
pub use self::app::{APP_ID, APP_SLUG, app_key, strangers_key};
pub use self::checks::CheckRun;
pub use self::diff::Side;
pub use self::hooks::{Attempt, HookOwner};
pub use self::people::Role;
pub use self::reactions::{Reaction, Subject};
use self::routes::{SECONDARY_LIMIT, Site};
pub use self::rules::MAX_BODY;
pub use self::state::{CommitComment, IssueComment, Review, ReviewComment, State, Status};
use self::state::{Head, PullState, RepoState};
use crate::control::{Control, Overdue, Wording, lock};
use crate::server::{ANY_PORT, Server};
pub use crate::shape::{Pull, Repo, User, sha_of};

/// The running stand-in. Cheap to clone; stops with its last clone. Faults, gates and the call log are
/// those of [`Control`].
#[derive(Debug, Clone)]
pub struct GitHub {
    state: Arc<Mutex<State>>,
    control: Control,
    server: Arc<Server>,
}

impl Deref for GitHub {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}

impl GitHub {
    /// Listens on a free port of loopback.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn start() -> io::Result<Self> {
        Self::start_on(ANY_PORT).await
    }

    /// Listens on `address`.
    ///
    /// # Errors
    /// If the address is taken.
    pub async fn start_on(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let state = Arc::<Mutex<State>>::default();
        let control = Control::new(Wording { error, rate_limited });
        let site =
            Site::new(Arc::clone(&state), control.clone(), &format!("http://{}", listener.local_addr()?));
        let server = Server::start(listener, routes::routes(site), control.clone())?;
        Ok(Self { state, control, server: Arc::new(server) })
    }

    /// The base URL, without a slash at the end.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Closes the port and cuts every connection; the state stays.
    pub async fn stop(&self) {
        self.server.stop().await;
    }

    /// Listens again on the same port.
    ///
    /// # Errors
    /// If the port has been taken meanwhile.
    pub async fn start_again(&self) -> io::Result<()> {
        self.server.start_again().await
    }

    /// Waits until the state satisfies `predicate`.
    ///
    /// # Errors
    /// [`Overdue`] with the call log after [`crate::control::DEADLINE`].
    pub async fn wait_for(&self, predicate: impl Fn(&State) -> bool) -> Result<(), Overdue> {
        self.wait_until(|| predicate(&self.state())).await
    }

    fn site(&self) -> Site {
        Site::new(Arc::clone(&self.state), self.control.clone(), &self.url())
    }

    /// The state, locked: let go of it before the next await.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.touch();
    }

    fn change_pull(&self, repo: &str, number: u64, change: impl FnOnce(&mut PullState)) {
        self.change(|state| {
            let at = state.tick();
            if let Some(it) = state.repos.get_mut(repo).and_then(|repo| repo.pulls.get_mut(&number)) {
                it.pull.updated_at = at;
                change(it);
            }
        });
    }

    /// Makes `token` valid for `login` (a bot if it ends with `[bot]`).
    pub fn add_user(&self, token: &str, login: &str) {
        self.change(|state| {
            state.users.insert(token.to_owned(), User::new(login));
        });
    }

    /// Answers to whoever has `token` tell something of it, such as `x-oauth-scopes`.
    pub fn tell_of_token(&self, token: &str, name: &'static str, value: &str) {
        let Ok(value) = value.parse() else { return };
        self.change(|state| {
            state.token_headers.entry(token.to_owned()).or_default().insert(name, value);
        });
    }

    /// Adds a repository, unless it is there; its owner has access.
    pub fn add_repository(&self, repo: Repo) {
        self.change(|state| {
            state.repos.entry(repo.full_name.clone()).or_insert_with(|| RepoState::new(repo));
        });
    }

    /// Gives `login` write access to a repository that was added before.
    pub fn add_member(&self, repo: &str, login: &str) {
        self.change(|state| {
            if let Some(repo) = state.repos.get_mut(repo) {
                repo.members.insert(login.to_owned());
            }
        });
    }

    /// Adds a pull request with the diff from its base to its head, to a repository that was added before.
    pub fn add_pull(&self, repo: &str, pull: Pull, diff: &str) {
        let head = Head { sha: pull.head_sha.clone(), diff: diff.into(), message: pull.title.clone() };
        self.change(|state| {
            if let Some(repo) = state.repos.get_mut(repo) {
                repo.pulls.insert(pull.number, PullState::new(pull, head));
            }
        });
    }

    /// A push to the pull request: a new head, with the diff from the base to it.
    pub fn set_head(&self, repo: &str, number: u64, sha: &str, diff: &str) {
        self.change_pull(repo, number, |it| {
            it.pull.head_sha = sha.to_owned();
            it.heads.push(Head {
                sha: sha.into(),
                diff: diff.into(),
                message: format!("Change {}", it.heads.len()),
            });
        });
    }

    /// Changes anything else of a pull request: title, draft, open, merged ….
    pub fn update_pull(&self, repo: &str, number: u64, change: impl FnOnce(&mut Pull)) {
        self.change_pull(repo, number, |it| change(&mut it.pull));
    }

    /// Adds what `compare/{base}...{head}` answers.
    pub fn add_range(&self, repo: &str, base: &str, head: &str, diff: &str) {
        self.change(|state| {
            if let Some(repo) = state.repos.get_mut(repo) {
                repo.ranges.insert((base.to_owned(), head.to_owned()), diff.to_owned());
            }
        });
    }

    /// Switches on the secondary limits on content creation (GitHub's are 80 and one second).
    pub fn limit_content(&self, per_minute: usize, apart: Duration) {
        self.change(|state| (state.limits.per_minute, state.limits.apart) = (per_minute, apart));
    }

    /// See [`State::reviews`].
    pub fn reviews(&self, repo: &str, number: u64) -> Vec<Review> {
        self.state().reviews(repo, number)
    }

    /// See [`State::comments`].
    pub fn comments(&self, repo: &str, number: u64) -> Vec<ReviewComment> {
        self.state().comments(repo, number)
    }

    /// See [`State::issue_comments`].
    pub fn issue_comments(&self, repo: &str, number: u64) -> Vec<IssueComment> {
        self.state().issue_comments(repo, number)
    }

    /// See [`State::commit_comments`].
    pub fn commit_comments(&self, repo: &str, sha: &str) -> Vec<CommitComment> {
        self.state().commit_comments(repo, sha)
    }

    /// See [`State::statuses`].
    pub fn statuses(&self, repo: &str, sha: &str) -> Vec<Status> {
        self.state().statuses(repo, sha)
    }
}

fn error(status: StatusCode) -> String {
    error_body(status.as_u16(), status.canonical_reason().unwrap_or("Error"), None)
}

fn rate_limited() -> (StatusCode, String) {
    (StatusCode::FORBIDDEN, error_body(403, SECONDARY_LIMIT, None))
}
