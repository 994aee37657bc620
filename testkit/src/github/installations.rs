//! Where a GitHub App is installed, what it may do there, and the tokens it is given for it.

use std::collections::{BTreeMap, BTreeSet};

use axum::Extension;
use axum::extract::{Path, State as Shared};
use axum::response::Response;
use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::GitHub;
use super::answer::{Refusal, Viewer, json_answer};
use super::app::{APP_ID, APP_SLUG, App, app_key};
use super::routes::{RepoPath, Site};
use super::state::State;
use crate::shape::{self, User};

/// What an app has unless a test takes it away.
const PERMISSIONS: [(&str, &str); 5] = [
    ("checks", "write"),
    ("contents", "write"),
    ("issues", "write"),
    ("metadata", "read"),
    ("pull_requests", "write"),
];

/// An app at one account.
#[derive(Debug)]
pub(crate) struct Installation {
    repositories: BTreeSet<String>,
    permissions: BTreeMap<String, String>,
    suspended: bool,
}

/// A token that was given out.
#[derive(Debug)]
pub(crate) struct Issued {
    installation: u64,
    expires_at: Timestamp,
}

fn bot() -> User {
    User::new(format!("{APP_SLUG}[bot]"))
}

impl App {
    /// The bot, if `token` is one of an installation's and allows `method` on `path`.
    pub(super) fn admitted(&self, token: &str, method: &Method, path: &str) -> Result<User, Refusal> {
        let bad = || Refusal::new(401, "Bad credentials");
        let issued = self.tokens.get(token).filter(|token| token.expires_at > self.now()).ok_or_else(bad)?;
        let installation = self.installations.get(&issued.installation).ok_or_else(bad)?;
        installation.allows(method, path).map(|()| bot())
    }
}

impl Installation {
    fn allows(&self, method: &Method, path: &str) -> Result<(), Refusal> {
        let not_accessible = || Refusal::new(403, "Resource not accessible by integration");
        if self.suspended {
            return Err(Refusal::new(403, "This installation has been suspended"));
        }
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let ["repos", owner, name, rest @ ..] = parts.as_slice() else {
            return if path == "/user" { Err(not_accessible()) } else { Ok(()) };
        };
        if !self.repositories.contains(&format!("{owner}/{name}")) {
            return Err(Refusal::not_found());
        }
        let level = if *method == Method::GET { "read" } else { "write" };
        let has = |permission: &&str| {
            self.permissions.get(*permission).is_some_and(|held| held == "write" || held == level)
        };
        if needed(rest).iter().any(has) { Ok(()) } else { Err(not_accessible()) }
    }
}

/// The permissions of which one is needed for a path below a repository.
fn needed(rest: &[&str]) -> &'static [&'static str] {
    match rest {
        ["check-runs", ..] | ["commits", _, "check-runs"] => &["checks"],
        ["statuses", ..] | ["commits", _, "statuses"] => &["statuses"],
        ["pulls", ..] => &["pull_requests"],
        ["issues", ..] => &["issues", "pull_requests"],
        ["compare" | "contents" | "commits" | "comments" | "git", ..] => &["contents"],
        _ => &["metadata"],
    }
}

impl GitHub {
    fn change_app(&self, change: impl FnOnce(&mut App)) {
        self.change(|state| {
            if let Some(app) = &mut state.hooks.app {
                change(app);
            }
        });
    }

    fn change_installation(&self, id: u64, change: impl FnOnce(&mut Installation)) {
        self.change_app(|app| {
            if let Some(installation) = app.installations.get_mut(&id) {
                change(installation);
            }
        });
    }

    /// Makes the stand-in know the app of [`APP_ID`] and [`app_key`].
    ///
    /// # Errors
    /// Never: the key is one.
    pub fn add_app(&self) -> anyhow::Result<()> {
        self.set_app(APP_ID, &app_key())
    }

    /// Installs the app on repositories that were added before; returns the installation's id. Its bot can write
    /// there.
    pub fn install_app(&self, repositories: &[&str]) -> u64 {
        let id = self.state().next_id();
        let installation = Installation {
            repositories: repositories.iter().map(|&name| name.to_owned()).collect(),
            permissions: PERMISSIONS.map(|(name, level)| (name.to_owned(), level.to_owned())).into(),
            suspended: false,
        };
        self.change_app(|app| {
            app.installations.insert(id, installation);
        });
        for repository in repositories {
            self.add_member(repository, &bot().login);
        }
        id
    }

    /// Somebody uninstalls the app.
    pub fn uninstall_app(&self, installation: u64) {
        self.change_app(|app| {
            app.installations.remove(&installation);
        });
    }

    /// Somebody suspends an installation, or ends that.
    pub fn suspend_app(&self, installation: u64, suspended: bool) {
        self.change_installation(installation, |it| it.suspended = suspended);
    }

    /// Gives an installation a permission (`read`, `write`) or takes it away.
    pub fn permit_app(&self, installation: u64, permission: &str, level: Option<&str>) {
        self.change_installation(installation, |it| {
            match level {
                Some(level) => it.permissions.insert(permission.to_owned(), level.to_owned()),
                None => it.permissions.remove(permission),
            };
        });
    }

    /// How long tokens that are given out from now on are valid; GitHub's are for an hour.
    pub fn set_token_lifetime(&self, lifetime: SignedDuration) {
        self.change_app(|app| app.lifetime = lifetime);
    }

    /// Every token that was given out so far is valid no longer.
    pub fn expire_tokens(&self) {
        self.change_app(|app| app.tokens.clear());
    }

    /// Sets how far GitHub's clock is ahead of this machine's (behind it, if negative).
    pub fn set_clock(&self, ahead: SignedDuration) {
        self.change_app(|app| app.ahead = ahead);
    }
}

/// The app, if the viewer is it and not one of its installations.
fn itself<'a>(state: &'a mut State, viewer: &Viewer) -> Result<&'a mut App, Refusal> {
    let login = &viewer.signed_in()?.login;
    let app = state.hooks.app.as_mut().filter(|app| app.login() == *login);
    app.ok_or_else(|| Refusal::new(401, "A JSON web token could not be decoded"))
}

/// `GET /app`.
pub(crate) async fn app(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
) -> Result<Response, Refusal> {
    let mut state = site.state();
    let app = itself(&mut state, &viewer)?;
    let usual = || PERMISSIONS.map(|(name, level)| (name.to_owned(), level.to_owned())).into();
    let permissions = app.installations.values().next().map_or_else(usual, |it| it.permissions.clone());
    Ok(json_answer(StatusCode::OK, &shape::extended(app.json(), json!({"permissions": permissions}))))
}

/// `GET /repos/{owner}/{name}/installation`.
pub(crate) async fn of_repository(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name)): RepoPath,
) -> Result<Response, Refusal> {
    let (mut state, full) = (site.state(), format!("{owner}/{name}"));
    let app = itself(&mut state, &viewer)?;
    let found = app.installations.iter().find(|(_, it)| it.repositories.contains(&full));
    let (id, installation) = found.ok_or_else(Refusal::not_found)?;
    Ok(json_answer(StatusCode::OK, &installation_json(&site.api, app, *id, installation, &owner)))
}

/// `POST /app/installations/{id}/access_tokens`.
pub(crate) async fn token(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path(id): Path<u64>,
) -> Result<Response, Refusal> {
    let mut state = site.state();
    let token = format!("ghs_testkit{:028}", state.next_id());
    let app = itself(&mut state, &viewer)?;
    let installation = app.installations.get(&id).ok_or_else(Refusal::not_found)?;
    if installation.suspended {
        return Err(Refusal::new(403, "This installation has been suspended"));
    }
    let expires_at = app.now() + app.lifetime;
    let shown = json!({
        "token": token, "expires_at": expires_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "permissions": installation.permissions, "repository_selection": "selected",
    });
    app.tokens.insert(token, Issued { installation: id, expires_at });
    Ok(json_answer(StatusCode::CREATED, &shown))
}

fn installation_json(api: &str, app: &App, id: u64, installation: &Installation, owner: &str) -> Value {
    let known = app.json();
    json!({
        "id": id, "client_id": known["client_id"], "app_id": known["id"], "app_slug": APP_SLUG,
        "account": shape::user(api, &User::new(owner)), "repository_selection": "selected",
        "access_tokens_url": format!("{api}/app/installations/{id}/access_tokens"),
        "repositories_url": format!("{api}/installation/repositories"), "target_type": "Organization",
        "permissions": installation.permissions, "events": known["events"],
        "created_at": "2026-11-01T09:00:00Z", "updated_at": "2026-11-01T09:00:00Z",
        "suspended_at": installation.suspended.then_some("2026-11-20T09:00:00Z"), "suspended_by": null,
    })
}
