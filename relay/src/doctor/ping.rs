//! GitHub's `ping`, signed with our secrets: whoever answers `pong` is a relay that knows them, and got every byte as it
//! was sent. The relay stores nothing of it.

use std::time::Duration;

use shared::{client, config::without_password, doctor::Finding, error::chain, signature::GithubSecrets};
use url::Url;

/// What GitHub would wait for.
const TIMEOUT: Duration = Duration::from_secs(10);
/// With signs that a proxy that meddles with text would change.
const BODY: &str = "{\"zen\":\"Keep it logically awesome.\",\"doctor\":\"\\u00e9 é <&> \\r\\n\"}";

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pong {
    /// A relay knows the secret at this place, from 1.
    Known(usize),
    /// Another answer, and what it says.
    Status(u16, String),
    /// A redirect, and where to.
    Redirect(String),
    /// No answer.
    None(String),
}

/// Sends it to `url`, signed with each of `secrets` until one is known; and the answer's certificate, if it came by TLS.
pub(super) async fn send(url: &Url, secrets: &[GithubSecrets]) -> (Pong, Option<Vec<u8>>) {
    let http = match client::http_with_certificate(Some(TIMEOUT)) {
        Ok(http) => http,
        Err(error) => return (Pong::None(chain(&error)), None),
    };
    let (mut first, mut certificate) = (None, None);
    for (index, secret) in secrets.iter().enumerate() {
        let (pong, shown) = one(&http, url, secret).await;
        certificate = certificate.or(shown);
        match pong {
            Pong::Known(_) => return (Pong::Known(index + 1), certificate),
            Pong::Status(401, _) => first = first.or(Some(pong)),
            other => return (other, certificate),
        }
    }
    (first.unwrap_or_else(|| Pong::None("there is no secret to sign with".to_owned())), certificate)
}

async fn one(http: &reqwest::Client, url: &Url, secret: &GithubSecrets) -> (Pong, Option<Vec<u8>>) {
    let request = http
        .post(url.clone())
        .header("content-type", "application/json")
        .header("x-github-event", "ping")
        .header("x-github-delivery", format!("doctor-{}", uuid::Uuid::new_v4()))
        .header("x-hub-signature-256", secret.sign(BODY.as_bytes()))
        .body(BODY);
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) => return (Pong::None(chain(&error.without_url())), None),
    };
    let certificate = response
        .extensions()
        .get::<reqwest::tls::TlsInfo>()
        .and_then(|info| info.peer_certificate().map(<[u8]>::to_vec));
    let status = response.status();
    if status.is_redirection() {
        let to = response.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
        // A relative one is read as one of the same place.
        let to = url.join(to).map_or_else(|_| to.to_owned(), String::from);
        return (Pong::Redirect(without_password(&to)), certificate);
    }
    let start = response.chunk().await.ok().flatten().unwrap_or_default();
    let said: serde_json::Value = serde_json::from_slice(&start).unwrap_or_default();
    if status.is_success() && said["status"] == "pong" {
        return (Pong::Known(1), certificate);
    }
    let message = said.pointer("/error/message").and_then(serde_json::Value::as_str);
    // Who says back what it was sent would say the password too.
    let message = message.filter(|_| without_password(url.as_str()) == url.as_str()).unwrap_or_default();
    (Pong::Status(status.as_u16(), message.chars().take(200).collect()), certificate)
}

/// What the running relay on this machine makes of it.
pub(super) fn judge_here(pong: &Pong, secrets: usize) -> Finding {
    let check = "webhook secret";
    let restart = "the relay runs with other settings than these: `systemctl restart relay`, or redeploy it";
    match pong {
        Pong::Known(_) => Finding::ok(
            check,
            format!("the running relay knows {}", if secrets > 1 { "one of them" } else { "it" }),
        ),
        Pong::Status(401, _) => Finding::fail(
            check,
            "the running relay does not know GITHUB_WEBHOOK_SECRET as it is set here",
            restart,
        ),
        Pong::Status(status, why) => {
            Finding::fail(check, format!("a signed ping is answered {status} {why}"), restart)
        }
        Pong::Redirect(to) => Finding::fail(check, format!("a signed ping is sent on to {to}"), restart),
        Pong::None(why) => Finding::skipped(check, format!("no answer to a signed ping: {why}")),
    }
}

/// What whoever answers at the URL that GitHub knows makes of it.
pub(super) fn judge_outside(url: &Url, pong: &Pong) -> Finding {
    let (check, url) = ("signed ping", without_password(url.as_str()));
    let proxy = "see the TLS proxy's log; deploy/README.md has what it must do";
    match pong {
        Pong::Known(_) => Finding::ok(check, format!("{url} answers pong: every byte arrives")),
        Pong::Status(401, _) => Finding::fail(
            check,
            format!("{url} refuses a ping signed with GITHUB_WEBHOOK_SECRET"),
            "compare with *webhook secret* under *relay* below: if that is ok, the proxy changes bodies, or another \
             relay answers at this name",
        ),
        Pong::Status(404 | 405, _) => Finding::fail(
            check,
            format!("{url} is no relay's webhook"),
            "WEBHOOK_URL and the webhook at GitHub must end in /github-webhook, and the proxy must pass the path on as it is",
        ),
        Pong::Status(413, _) => Finding::fail(check, format!("{url} takes no body of this size"), proxy),
        Pong::Status(status @ 500..=599, why) => Finding::fail(
            check,
            format!(
                "{url} answers {status} {why}: the proxy does not reach the relay, or the relay cannot store"
            ),
            proxy,
        ),
        Pong::Status(status, why) => Finding::fail(check, format!("{url} answers {status} {why}"), proxy),
        Pong::Redirect(to) => Finding::fail(
            check,
            format!("{url} sends GitHub on to {to}, and GitHub does not go"),
            "set the webhook's URL at GitHub, and WEBHOOK_URL, to where it leads",
        ),
        Pong::None(why) => Finding::fail(
            check,
            format!("{url} does not answer: {why}"),
            "is the proxy up, does the name lead here (`getent hosts NAME`), and does the firewall let 443 through?",
        ),
    }
}
