//! The running service, as the commands reach it: with the token, or else by a signature.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use shared::client::{self, SignedClient};
use shared::error::chain;
use url::Url;

use crate::config::Cli;

/// How long the service may take for one answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Running {
    base: Url,
    http: reqwest::Client,
    token: Option<SecretString>,
    signed: Option<SignedClient>,
}

impl Running {
    /// The service that these settings describe.
    pub(super) fn new(cli: &Cli) -> anyhow::Result<Self> {
        let base: Url = cli.service().own_url().parse().context("LISTEN and PORT")?;
        let token = cli.tokens()?.map(|tokens| tokens.first());
        let signed = match &token {
            Some(_) => None,
            None => {
                let keys = cli.service().signing_keys().context(
                    "there is neither MEMORY_TOKEN nor a signing key; set MEMORY_TOKEN (or MEMORY_TOKEN_FILE) to the one that \
                     the ollama-endpoint runs with",
                )?;
                Some(SignedClient::new("ollama-endpoint", base.clone(), keys, PATIENCE)?)
            }
        };
        Ok(Self { base, http: client::http(None)?, token, signed })
    }

    /// The answer to a question.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> anyhow::Result<T> {
        let url = self.url(path, query)?;
        let Some(signed) = &self.signed else {
            let request = self.http.request(Method::GET, url).timeout(PATIENCE);
            return read(&self.send(request).await?.bytes().await.map_err(|error| self.silent(&error))?);
        };
        let path = format!("{}?{}", url.path(), url.query().unwrap_or_default());
        let answer = signed.get(path.trim_end_matches('?'), None).await?;
        match answer.is_success() {
            true => read(&answer.body),
            false => bail!("{}", answer.message()),
        }
    }

    /// Sends an update, whoever asks; `id` is its idempotency key.
    pub(super) async fn update(&self, id: &str, update: Bytes) -> anyhow::Result<Value> {
        let Some(signed) = &self.signed else {
            let request = self.http.post(self.url("/memory-update", &[])?).body(update).timeout(PATIENCE);
            return read(&self.send(request).await?.bytes().await.map_err(|error| self.silent(&error))?);
        };
        let answer = signed.post("/memory-update", id, update).await?;
        match answer.is_success() {
            true => read(&answer.body),
            false => bail!("{}", answer.message()),
        }
    }

    /// What only those may ask for who hold the token; a body has a content type.
    pub(super) async fn with_token(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<(&str, reqwest::Body)>,
    ) -> anyhow::Result<reqwest::Response> {
        if self.token.is_none() {
            bail!(
                "a signature is not enough for this; set MEMORY_TOKEN, as it is set on the ollama-endpoint"
            );
        }
        let request = self.http.request(method, self.url(path, query)?);
        let request = match body {
            Some((content_type, body)) => request.header(CONTENT_TYPE, content_type).body(body),
            None => request,
        };
        self.send(request).await
    }

    fn url(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Url> {
        let mut url = self.base.join(path).context("LISTEN and PORT")?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<reqwest::Response> {
        let request =
            self.token.iter().fold(request, |request, token| request.bearer_auth(token.expose_secret()));
        let response = request.send().await.map_err(|error| self.silent(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        bail!("{}", refusal(&body, status, &self.base))
    }

    fn silent(&self, error: &reqwest::Error) -> anyhow::Error {
        let base = self.base.as_str().trim_end_matches('/');
        anyhow::anyhow!(
            "nothing answers at {base} ({}); is the ollama-endpoint running? ./scripts/start-ai-services.sh --restart starts it, and PORT or \
             --port say where it listens",
            chain(error).replace(self.base.as_str(), "")
        )
    }
}

fn refusal(body: &[u8], status: StatusCode, base: &Url) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = json.pointer("/error/message").and_then(Value::as_str);
    message.map_or_else(
        || format!("{base} answered {status}, not as the ollama-endpoint does; is PORT right?"),
        str::to_owned,
    )
}

fn read<T: DeserializeOwned>(body: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(body)
        .context("the answer cannot be read; is the running ollama-endpoint of another version?")
}
