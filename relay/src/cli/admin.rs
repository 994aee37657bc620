//! The admin routes of the running relay.

use std::time::Duration;

use anyhow::Context;
use http::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use shared::{client, error::chain};
use url::Url;

use crate::{
    config::{RelayArgs, admin_tokens},
    view::DeliveryView,
};

/// How long the relay may take for one answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// A caller with the admin token.
pub(super) struct Admin {
    http: reqwest::Client,
    base: Url,
    token: SecretString,
}

/// The relay answered that it will not.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    message: String,
}

impl Admin {
    pub(super) fn new(args: &RelayArgs) -> anyhow::Result<Self> {
        let tokens = admin_tokens(args)?.context(
            "RELAY_ADMIN_TOKEN is not set here; set it (or RELAY_ADMIN_TOKEN_FILE) to the one that the relay runs with",
        )?;
        Ok(Self { http: client::http(None)?, base: args.base_url()?, token: tokens.first() })
    }

    pub(super) fn url(&self, path: &str) -> anyhow::Result<Url> {
        self.base.join(path).context("RELAY_URL")
    }

    /// The id becomes one segment of the path, whatever it contains.
    pub(super) fn delivery_url(&self, id: &str, verb: Option<&str>) -> anyhow::Result<Url> {
        let mut url = self.url("/api/deliveries")?;
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.push(id).extend(verb);
        }
        Ok(url)
    }

    pub(super) async fn show(&self, id: &str) -> anyhow::Result<DeliveryView> {
        self.call(Method::GET, self.delivery_url(id, None)?).await
    }

    /// One call, with an answer in JSON.
    pub(super) async fn call<T: DeserializeOwned>(&self, method: Method, url: Url) -> anyhow::Result<T> {
        let request = self.http.request(method, url).timeout(PATIENCE);
        let body = self.send(request).await?.bytes().await.map_err(|error| self.silent(error))?;
        serde_json::from_slice(&body).context("the relay's answer cannot be read; is it of another version?")
    }

    /// A call whose answer goes on and on.
    pub(super) async fn open(&self, url: Url) -> anyhow::Result<reqwest::Response> {
        self.send(self.http.get(url)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<reqwest::Response> {
        let request = request.bearer_auth(self.token.expose_secret());
        let response = request.send().await.map_err(|error| self.silent(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let message = json.pointer("/error/message").and_then(serde_json::Value::as_str);
        let message = message.map_or_else(
            || format!("{} answered {status}, not as our relay does; is RELAY_URL right?", self.base),
            str::to_owned,
        );
        Err(Refused { status, message }.into())
    }

    fn silent(&self, error: reqwest::Error) -> anyhow::Error {
        anyhow::anyhow!(
            "nothing answers at {} ({}); is the relay running? RELAY_URL or --port say where",
            self.base,
            chain(&error.without_url())
        )
    }
}

/// Whether a call was refused with this status.
pub(super) fn is_refused(error: &anyhow::Error, status: StatusCode) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|refused| refused.status == status)
}
