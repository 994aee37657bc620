//! Webhooks: an event that happens is really posted, every attempt is listed, and one that failed is posted again if
//! somebody asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::extract::{Path, State as Shared};
use axum::response::Response;
use http::{StatusCode, Uri, header};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::GitHub;
use super::answer::{Refusal, Viewer, json_answer, number, text};
use super::app::App;
use super::routes::Site;
use crate::shape::{extended, id_of};
use crate::webhook::{self, Delivery};

/// Deliveries can be seen and repeated for so long.
const KEPT: SignedDuration = SignedDuration::from_hours(72);

/// Whose hook it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookOwner {
    /// `owner/name`.
    Repository(String),
    /// Its name.
    Organisation(String),
    /// The GitHub App of [`GitHub::set_app`].
    App,
}

/// One attempt to deliver an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Of this attempt.
    pub id: u64,
    /// Of the event: `X-GitHub-Delivery`.
    pub guid: String,
    /// When.
    pub delivered_at: Timestamp,
    /// Whether somebody asked for it.
    pub redelivery: bool,
    /// How long the receiver took, in seconds.
    pub duration: f64,
    /// The receiver's answer; 502 if nobody answered.
    pub status_code: u16,
    /// Kind of event.
    pub event: String,
    /// What happened, if the kind has several.
    pub action: Option<String>,
}

#[derive(Debug, Clone)]
struct Hook {
    owner: HookOwner,
    url: String,
    secret: String,
    active: bool,
    /// What is shown of it otherwise than usual.
    shown: Value,
    events: BTreeMap<String, Delivery>,
    attempts: Vec<Attempt>,
}

/// All hooks and who may see them.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    hooks: BTreeMap<u64, Hook>,
    admins: BTreeSet<(HookOwner, String)>,
    pub(crate) app: Option<App>,
    /// How far the deliveries' clock is ahead of the machine's.
    ahead: SignedDuration,
}

impl Hooks {
    fn now(&self) -> Timestamp {
        Timestamp::now() + self.ahead
    }

    /// The viewer's hooks of one owner. GitHub hides hooks from those who may not manage them.
    fn visible(&self, viewer: &Viewer, owner: &HookOwner) -> Result<(), Refusal> {
        let login = &viewer.signed_in()?.login;
        let allowed = match owner {
            HookOwner::App => self.app.as_ref().is_some_and(|app| app.login() == *login),
            _ => self.admins.contains(&(owner.clone(), login.clone())),
        };
        if allowed { Ok(()) } else { Err(Refusal::not_found()) }
    }

    fn of(&self, viewer: &Viewer, place: &Place) -> Result<(u64, &Hook), Refusal> {
        self.visible(viewer, &place.owner)?;
        let is_it = |id: u64, hook: &Hook| hook.owner == place.owner && place.hook.is_none_or(|it| it == id);
        let found = self.hooks.iter().find(|(id, hook)| is_it(**id, hook));
        found.map(|(id, hook)| (*id, hook)).ok_or_else(Refusal::not_found)
    }
}

impl GitHub {
    /// Adds an active hook that leads to `url`; returns its id.
    pub fn add_hook(&self, owner: HookOwner, url: &str, secret: &str) -> u64 {
        let mut state = self.state();
        let id = state.next_id();
        let (url, secret) = (url.to_owned(), secret.to_owned());
        let (shown, events, attempts) = (json!({}), BTreeMap::new(), Vec::new());
        let hook = Hook { owner, url, secret, active: true, shown, events, attempts };
        state.hooks.hooks.insert(id, hook);
        id
    }

    /// Changes where a hook leads, its secret, and whether it is active.
    pub fn change_hook(&self, id: u64, url: &str, secret: &str, active: bool) {
        self.change(|state| {
            if let Some(hook) = state.hooks.hooks.get_mut(&id) {
                (hook.url, hook.secret, hook.active) = (url.to_owned(), secret.to_owned(), active);
            }
        });
    }

    /// Shows some fields of a hook, and of its `config`, otherwise than usual, as somebody has set them.
    pub fn set_up_hook(&self, id: u64, fields: Value) {
        self.change(|state| {
            if let Some(hook) = state.hooks.hooks.get_mut(&id) {
                hook.shown = fields;
            }
        });
    }

    /// Lets `login` manage the hooks of a repository or an organisation.
    pub fn add_hook_admin(&self, owner: HookOwner, login: &str) {
        self.change(|state| {
            state.hooks.admins.insert((owner, login.to_owned()));
        });
    }

    /// Makes the stand-in know a GitHub App by its id and its private key (PEM).
    ///
    /// # Errors
    /// The key is none.
    pub fn set_app(&self, id: &str, private_key: &str) -> anyhow::Result<()> {
        let app = App::new(id, private_key)?;
        self.change(|state| state.hooks.app = Some(app));
        Ok(())
    }

    /// Moves the deliveries' clock ahead.
    pub fn pass_time(&self, by: SignedDuration) {
        self.change(|state| state.hooks.ahead += by);
    }

    /// The time of the deliveries' clock.
    pub fn time(&self) -> Timestamp {
        self.state().hooks.now()
    }

    /// An event happens: GitHub posts it to the hook, once. Returns the status it then shows.
    pub async fn happens(&self, hook: u64, event: Delivery) -> u16 {
        deliver(&self.site(), hook, event, false).await
    }

    /// Lists a first attempt that was answered `status`, without making it.
    pub fn list_attempt(&self, hook: u64, event: Delivery, status: u16) {
        write_down(&self.site(), hook, event, false, status, 0.1);
    }

    /// What GitHub tried of a hook, oldest first.
    pub fn attempts(&self, hook: u64) -> Vec<Attempt> {
        let state = self.state();
        state.hooks.hooks.get(&hook).map(|hook| hook.attempts.clone()).unwrap_or_default()
    }
}

/// Posts an event to a hook and writes down what came of it.
async fn deliver(site: &Site, id: u64, event: Delivery, redelivery: bool) -> u16 {
    let found = site.state().hooks.hooks.get(&id).map(|hook| (hook.url.clone(), hook.secret.clone()));
    let Some((url, secret)) = found else { return 0 };
    let started = Instant::now();
    let status_code = event.send(&url, &secret).await.map_or(502, |answer| answer.status);
    write_down(site, id, event, redelivery, status_code, started.elapsed().as_secs_f64());
    status_code
}

fn write_down(site: &Site, id: u64, event: Delivery, redelivery: bool, status_code: u16, duration: f64) {
    {
        let mut state = site.state();
        let (attempt, delivered_at) = (state.next_id(), state.hooks.now());
        if let Some(hook) = state.hooks.hooks.get_mut(&id) {
            hook.attempts.push(Attempt {
                id: attempt,
                guid: event.id.clone(),
                delivered_at,
                redelivery,
                duration,
                status_code,
                event: event.event.clone(),
                action: webhook::action(&event),
            });
            hook.events.insert(event.id.clone(), event);
        }
    }
    site.control.touch();
}

/// A path's owner and, unless it is the app's only one, hook.
struct Place {
    owner: HookOwner,
    hook: Option<u64>,
}

impl Place {
    /// From `/repos/{owner}/{name}/hooks/{id}…`, `/orgs/{name}/hooks/{id}…` or `/app/hook…`.
    fn of(uri: &Uri) -> Result<Self, Refusal> {
        let parts: Vec<&str> = uri.path().split('/').skip(1).collect();
        let number = |part: Option<&&str>| part.and_then(|part| part.parse().ok());
        match parts.as_slice() {
            ["repos", owner, name, "hooks", rest @ ..] => Ok(Self {
                owner: HookOwner::Repository(format!("{owner}/{name}")),
                hook: number(rest.first()),
            }),
            ["orgs", name, "hooks", rest @ ..] => {
                Ok(Self { owner: HookOwner::Organisation((*name).to_owned()), hook: number(rest.first()) })
            }
            ["app", "hook", ..] => Ok(Self { owner: HookOwner::App, hook: None }),
            _ => Err(Refusal::not_found()),
        }
    }
}

/// `GET …/hooks`.
pub(crate) async fn list(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let (place, state) = (Place::of(&uri)?, site.state());
    state.hooks.visible(&viewer, &place.owner)?;
    let own = state.hooks.hooks.iter().filter(|(_, hook)| hook.owner == place.owner);
    let hooks: Vec<Value> = own.map(|(id, hook)| hook_json(&site.api, uri.path(), *id, hook)).collect();
    Ok(super::answer::page(&site.api, &uri, &hooks))
}

/// `GET /app/hook/config`.
pub(crate) async fn app_config(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
) -> Result<Response, Refusal> {
    let state = site.state();
    let (_, hook) = state.hooks.of(&viewer, &Place { owner: HookOwner::App, hook: None })?;
    Ok(json_answer(StatusCode::OK, &config_json(hook)))
}

/// `GET …/deliveries`: newest first, paged by cursor.
pub(crate) async fn deliveries(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let (place, state) = (Place::of(&uri)?, site.state());
    let (_, hook) = state.hooks.of(&viewer, &place)?;
    let from = match text(&uri, "cursor") {
        None => u64::MAX,
        Some(cursor) => cursor
            .strip_prefix("v1_")
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| Refusal::new(422, "Invalid cursor"))?,
    };
    let per_page = number(&uri, "per_page").unwrap_or(30).clamp(1, 100);
    let now = state.hooks.now();
    let mut kept = hook
        .attempts
        .iter()
        .rev()
        .filter(|attempt| attempt.id <= from && now.duration_since(attempt.delivered_at) <= KEPT);
    let page: Vec<Value> = kept.by_ref().take(per_page).map(attempt_json).collect();
    let mut answer = json_answer(StatusCode::OK, &json!(page));
    if let Some(next) = kept.next() {
        let link =
            format!("<{}{}?per_page={per_page}&cursor=v1_{}>; rel=\"next\"", site.api, uri.path(), next.id);
        if let Ok(link) = link.parse() {
            answer.headers_mut().insert(header::LINK, link);
        }
    }
    Ok(answer)
}

/// `POST …/deliveries/{id}/attempts`: taken now, made soon after.
pub(crate) async fn redeliver(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    uri: Uri,
    Path(path): Path<BTreeMap<String, String>>,
) -> Result<Response, Refusal> {
    let wanted: Option<u64> = path.get("delivery").and_then(|id| id.parse().ok());
    let (hook, event) = {
        let state = site.state();
        let (id, hook) = state.hooks.of(&viewer, &Place::of(&uri)?)?;
        let now = state.hooks.now();
        let attempt = hook
            .attempts
            .iter()
            .find(|attempt| Some(attempt.id) == wanted && now.duration_since(attempt.delivered_at) <= KEPT);
        let event = attempt.and_then(|attempt| hook.events.get(&attempt.guid)).cloned();
        (id, event.ok_or_else(Refusal::not_found)?)
    };
    tokio::spawn(async move { deliver(&site, hook, event, true).await });
    Ok(json_answer(StatusCode::ACCEPTED, &json!({})))
}

fn config_json(hook: &Hook) -> Value {
    let usual = json!({"content_type": "json", "insecure_ssl": "0", "url": hook.url, "secret": "********"});
    extended(usual, hook.shown["config"].clone())
}

fn hook_json(api: &Arc<str>, path: &str, id: u64, hook: &Hook) -> Value {
    let own = format!("{api}{path}/{id}");
    let last = hook.attempts.last().map(|attempt| attempt.status_code);
    let (usual, mut shown) = (
        json!({
            "type": if matches!(hook.owner, HookOwner::Repository(_)) { "Repository" } else { "Organization" },
            "id": id, "name": "web", "active": hook.active, "events": ["*"], "config": config_json(hook),
            "created_at": "2026-11-01T09:00:00Z", "updated_at": "2026-11-01T09:00:00Z", "url": own,
            "test_url": format!("{own}/test"), "ping_url": format!("{own}/pings"),
            "deliveries_url": format!("{own}/deliveries"),
            "last_response": {"code": last, "status": last.map_or("unused", status), "message": null},
        }),
        hook.shown.clone(),
    );
    if let Some(shown) = shown.as_object_mut() {
        // It is in the usual ones already.
        shown.remove("config");
    }
    extended(usual, shown)
}

fn attempt_json(attempt: &Attempt) -> Value {
    json!({
        "id": attempt.id, "guid": attempt.guid, "delivered_at": attempt.delivered_at.to_string(),
        "redelivery": attempt.redelivery, "duration": attempt.duration, "status": status(attempt.status_code),
        "status_code": attempt.status_code, "event": attempt.event, "action": attempt.action,
        "installation_id": null, "repository_id": id_of(&attempt.event), "throttled_at": null,
    })
}

fn status(code: u16) -> &'static str {
    match code {
        200..=299 => "OK",
        502 => "failed to connect to host",
        _ => "Invalid HTTP Response",
    }
}
