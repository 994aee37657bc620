//! What is right and wrong with a webhook as GitHub has it. Pure.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use shared::{config::without_password, doctor::Finding};
use url::Url;

use crate::missed::plan::{self, Attempt, Listing};

/// Where a hook is changed.
const PAGE: &str = "in the webhook's settings at GitHub";
/// What was not delivered longer ago is history.
const LATELY: SignedDuration = SignedDuration::from_hours(24);

/// A hook as GitHub's REST API has it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Hook {
    /// Its number; an app's has none.
    #[serde(default)]
    pub(super) id: Option<u64>,
    /// An app's is, if there is one.
    #[serde(default = "yes")]
    active: bool,
    /// An app's are in its settings.
    #[serde(default)]
    events: Option<Vec<String>>,
    pub(super) config: Config,
    #[serde(default)]
    last_response: Option<LastResponse>,
}

fn yes() -> bool {
    true
}

/// Where it leads, and how.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    pub(super) url: String,
    #[serde(default)]
    content_type: Option<String>,
    /// `"0"` or `"1"`, or a number.
    #[serde(default)]
    insecure_ssl: Option<serde_json::Value>,
    /// Stars, if there is one.
    #[serde(default)]
    secret: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct LastResponse {
    #[serde(default)]
    code: Option<i64>,
    #[serde(default)]
    message: Option<String>,
}

impl Hook {
    /// An app's, of which GitHub tells less.
    pub(super) fn of_app(config: Config) -> Self {
        Self { id: None, active: true, events: None, config, last_response: None }
    }

    /// Where one leads that is not ours, and no more: chats and builders have their secret in the path or the query.
    pub(super) fn host(&self) -> String {
        match Url::parse(&self.config.url) {
            Ok(url) => url.origin().ascii_serialization(),
            Err(_) => "one whose URL cannot be read".to_owned(),
        }
    }
}

/// Looks at a hook of ours; `of` names whose it is, for people.
pub(super) fn judge(of: &str, hook: &Hook) -> Vec<Finding> {
    let check = format!("webhook of {of}");
    let mut found: Vec<Finding> =
        [active(hook), secret(hook), content_type(hook), tls(hook), scheme(hook), events(hook)]
            .into_iter()
            .flatten()
            .map(|one| Finding { check: format!("{check}: {}", one.check), ..one })
            .collect();
    if found.is_empty() {
        found.push(Finding::ok(check, format!("leads to {}", without_password(&hook.config.url))));
    }
    found.extend(last_response(of, hook));
    found
}

fn active(hook: &Hook) -> Option<Finding> {
    let mend = format!("tick \"Active\" {PAGE}");
    (!hook.active).then(|| Finding::fail("active", "it is switched off", mend))
}

fn secret(hook: &Hook) -> Option<Finding> {
    let is_set = hook.config.secret.as_deref().is_some_and(|secret| !secret.is_empty());
    let mend = format!("set \"Secret\" {PAGE} to GITHUB_WEBHOOK_SECRET");
    (!is_set).then(|| Finding::fail("secret", "it has no secret: all it sends is refused", mend))
}

fn content_type(hook: &Hook) -> Option<Finding> {
    let kind = hook.config.content_type.as_deref().filter(|kind| !matches!(*kind, "json" | "form"))?;
    let mend = format!("set \"Content type\" {PAGE} to application/json");
    Some(Finding::fail("content type", format!("its content type is {kind}"), mend))
}

fn tls(hook: &Hook) -> Option<Finding> {
    let is_off = |value: &serde_json::Value| value.as_str().map_or(value == 1, |text| text != "0");
    let mend = format!("\"Enable SSL verification\" {PAGE}");
    let says = "GitHub does not check the relay's certificate";
    hook.config.insecure_ssl.as_ref().is_some_and(is_off).then(|| Finding::warn("certificate", says, mend))
}

fn scheme(hook: &Hook) -> Option<Finding> {
    let mend = format!("change \"Payload URL\" {PAGE} to https");
    let says = "it leads to an http URL: what it sends travels in clear";
    hook.config.url.starts_with("http://").then(|| Finding::warn("url", says, mend))
}

fn events(hook: &Hook) -> Option<Finding> {
    let events = hook.events.as_ref()?;
    let sends = |event: &str| events.iter().any(|one| one == event || one == "*");
    if !sends("pull_request") {
        let mend = format!("choose \"Pull requests\" (and \"Pushes\", \"Issue comments\") {PAGE}");
        return Some(Finding::fail(
            "events",
            "it does not send pull requests: there is nothing to review",
            mend,
        ));
    }
    let says =
        "it does not send all of pushes and comments: the memory learns less, and /ai commands are not heard";
    let mend = format!("choose \"Pushes\" and \"Issue comments\" {PAGE}");
    (!sends("push") || !sends("issue_comment")).then(|| Finding::warn("events", says, mend))
}

/// What the last attempt came to.
fn last_response(of: &str, hook: &Hook) -> Option<Finding> {
    let check = format!("last answer to {of}");
    let last = hook.last_response.as_ref()?;
    let Some(code) = last.code.filter(|code| *code > 0) else {
        let says = "GitHub has not tried yet";
        return Some(Finding::warn(
            check,
            says,
            "redeliver its ping, under \"Recent Deliveries\" of the webhook",
        ));
    };
    let reason = last.message.as_deref().unwrap_or_default();
    Some(match code {
        200..=299 => Finding::ok(check, format!("{code}")),
        _ => Finding::fail(check, format!("{code} {reason}"), advice(code)),
    })
}

/// What to do about an answer that GitHub got.
fn advice(code: i64) -> &'static str {
    match code {
        401 => "the webhook's secret at GitHub and GITHUB_WEBHOOK_SECRET differ: set one to the other",
        404 | 405 => {
            "the webhook's URL must end in /github-webhook, and the proxy must pass the path on as it is"
        }
        413 => "the proxy takes too small bodies: it must pass 25 MB (nginx: `client_max_body_size 25m;`)",
        429 => {
            "many requests came from this address without a valid signature; RATE_LIMIT_ADDRESS, and TRUSTED_PROXIES behind a proxy"
        }
        301..=399 => "set the webhook's URL to where it is sent on to",
        500 | 503 => "the relay could not store: the store and the disk below say why",
        502 | 504 => "the proxy did not reach the relay in time: is it running? See below",
        _ => "its answer stands under \"Recent Deliveries\" of the webhook",
    }
}

/// What became of the events that GitHub lists, newest attempts first.
pub(super) fn deliveries(of: &str, attempts: Vec<Attempt>, now: Timestamp) -> Finding {
    let check = format!("deliveries of {of}");
    let lately: Vec<Attempt> =
        attempts.into_iter().filter(|attempt| now.duration_since(attempt.delivered_at) <= LATELY).collect();
    let events = lately.iter().map(|attempt| &attempt.guid).collect::<std::collections::BTreeSet<_>>().len();
    let newest =
        lately.iter().filter(|attempt| !attempt.succeeded()).max_by_key(|attempt| attempt.delivered_at);
    let newest = newest.map(|attempt| (attempt.delivered_at, attempt.status_code.unwrap_or_default()));
    let listing = Listing { attempts: lately, newest: None };
    let failed = plan::failed(&listing).len();
    match newest {
        Some((at, code)) if failed > 0 => Finding::warn(
            check,
            format!(
                "{failed} of the last day's {events} events did not arrive; the last at {}, with {code}",
                at.strftime("%Y-%m-%d %H:%M UTC")
            ),
            format!("{}; what failed is found and sent again by the running relay", advice(code)),
        ),
        _ => Finding::ok(check, format!("all of the last day's {events} events arrived")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared::doctor::Status;

    use super::*;

    fn hook(change: Value) -> Vec<Finding> {
        let mut hook = json!({"id": 1, "active": true, "events": ["*"], "last_response": {"code": 200, "status": "active", "message": "OK"},
            "config": {"url": "https://relay.example/github-webhook", "content_type": "json", "insecure_ssl": "0", "secret": "********"}});
        for (pointer, value) in change.as_object().unwrap() {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            hook.pointer_mut(parent).unwrap()[key] = value.clone();
        }
        judge("o/r", &serde_json::from_value(hook).unwrap())
    }

    #[test]
    fn a_good_hook_is_good() {
        let found = hook(json!({}));
        assert!(found.iter().all(|one| one.status == Status::Ok), "{found:?}");
        assert_eq!(found[0].says, "leads to https://relay.example/github-webhook");
    }

    #[test]
    fn what_stands_in_a_url_to_prove_who_calls_is_not_shown() {
        let ours = hook(json!({"/config/url": "https://me:s3cret@relay.example/github-webhook?k=s3cret"}));
        assert_eq!(ours[0].says, "leads to https://redacted@relay.example/github-webhook?redacted");
        for (url, shown) in [
            ("https://me:s3cret@chat.example:8443/services/s3cret?token=s3cret", "https://chat.example:8443"),
            ("s3cret", "one whose URL cannot be read"),
        ] {
            let foreign: Hook = serde_json::from_value(json!({"config": {"url": url}})).unwrap();
            assert_eq!(foreign.host(), shown);
        }
    }

    #[test]
    fn each_thing_that_can_be_wrong_with_a_hook_is_named() {
        for (change, status, said, mend) in [
            (json!({"/active": false}), Status::Fail, "switched off", "\"Active\""),
            (json!({"/config/secret": null}), Status::Fail, "no secret", "GITHUB_WEBHOOK_SECRET"),
            (json!({"/config/content_type": "xml"}), Status::Fail, "xml", "application/json"),
            (json!({"/config/insecure_ssl": "1"}), Status::Warn, "certificate", "SSL verification"),
            (json!({"/config/insecure_ssl": 1}), Status::Warn, "certificate", "SSL verification"),
            (
                json!({"/config/url": "http://relay.example/github-webhook"}),
                Status::Warn,
                "in clear",
                "https",
            ),
            (json!({"/events": ["push"]}), Status::Fail, "pull requests", "\"Pull requests\""),
            (json!({"/events": ["pull_request"]}), Status::Warn, "/ai commands", "\"Issue comments\""),
        ] {
            let found = hook(change);
            assert_eq!(found[0].status, status, "{found:?}");
            assert!(
                found[0].says.contains(said) && found[0].mend.as_ref().unwrap().contains(mend),
                "{found:?}"
            );
        }
    }

    #[test]
    fn what_github_was_answered_last_is_told_with_its_cause() {
        for (code, status, mend) in [
            (json!(401), Status::Fail, "differ"),
            (json!(404), Status::Fail, "/github-webhook"),
            (json!(413), Status::Fail, "client_max_body_size"),
            (json!(502), Status::Fail, "running"),
            (json!(null), Status::Warn, "ping"),
            (json!(0), Status::Warn, "ping"),
        ] {
            let found = hook(json!({"/last_response/code": code}));
            let last = found.last().unwrap();
            assert!(last.status == status && last.mend.as_ref().unwrap().contains(mend), "{last:?}");
        }
    }

    #[test]
    fn events_that_did_not_arrive_lately_are_counted_once_each() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let attempt = |id: u64, guid: &str, hours: i64, status: i64| Attempt {
            id,
            guid: guid.to_owned(),
            delivered_at: now - SignedDuration::from_hours(hours),
            redelivery: hours < 2,
            status_code: Some(status),
            event: None,
        };
        let all = vec![
            attempt(1, "a", 3, 502),
            attempt(2, "a", 1, 202),
            attempt(3, "b", 4, 502),
            attempt(4, "b", 1, 401),
            attempt(5, "c", 30, 502),
        ];
        let found = deliveries("o/r", all, now);
        assert!(
            found.status == Status::Warn && found.says.starts_with("1 of the last day's 2 events"),
            "{found:?}"
        );
        assert!(found.says.ends_with("with 401") && found.mend.unwrap().contains("differ"));
        assert_eq!(deliveries("o/r", vec![attempt(1, "a", 1, 200)], now).status, Status::Ok);
    }
}
