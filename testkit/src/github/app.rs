//! A GitHub App: its tokens (RFC 7519, RS256), checked as GitHub does, and the keys with which it can sign.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header};
use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::{SignedDuration, Timestamp};
use rustls::{
    SignatureScheme,
    crypto::ring::sign::any_supported_type,
    pki_types::{PrivateKeyDer, pem::PemObject},
    sign::SigningKey,
};
use serde_json::{Value, json};

use super::answer::Refusal;
use super::hooks::Hooks;
use super::installations::{Installation, Issued};
use crate::shape::{self, User};

/// The id of the app whose key [`app_key`] is.
pub const APP_ID: &str = "4711";
/// The name of every app here in URLs; its bot is `ai-relay[bot]`.
pub const APP_SLUG: &str = "ai-relay";
/// The longest that GitHub lets a token be valid, in seconds.
const LONGEST: i64 = 600;
/// So long are an installation's tokens valid at GitHub.
const TOKEN_LIFETIME: SignedDuration = SignedDuration::from_hours(1);

/// An RSA key as GitHub makes it for an app (PEM, PKCS #1); of use nowhere but here. It is kept as DER, and not made by
/// each test, which would take a second.
pub fn app_key() -> String {
    pem(include_bytes!("app/app.der"))
}

/// Another one, which no app has.
pub fn strangers_key() -> String {
    pem(include_bytes!("app/stranger.der"))
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let (mut lines, mut rest) = (String::new(), text.as_str());
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        lines.push_str(line);
        lines.push('\n');
        rest = more;
    }
    format!("-----BEGIN RSA PRIVATE KEY-----\n{lines}-----END RSA PRIVATE KEY-----\n")
}

/// An app as GitHub knows it.
#[derive(Debug)]
pub(crate) struct App {
    id: String,
    key: Arc<dyn SigningKey>,
    pub(super) installations: BTreeMap<u64, Installation>,
    /// By their text.
    pub(super) tokens: BTreeMap<String, Issued>,
    pub(super) lifetime: SignedDuration,
    /// How far GitHub's clock is ahead of this machine's.
    pub(super) ahead: SignedDuration,
}

impl App {
    pub(crate) fn new(id: &str, private_key: &str) -> anyhow::Result<Self> {
        let der = PrivateKeyDer::from_pem_slice(private_key.as_bytes())
            .map_err(|error| anyhow!("{error:?}"))
            .context("not a private key")?;
        Ok(Self {
            id: id.to_owned(),
            key: any_supported_type(&der).context("not an RSA key")?,
            installations: BTreeMap::new(),
            tokens: BTreeMap::new(),
            lifetime: TOKEN_LIFETIME,
            ahead: SignedDuration::ZERO,
        })
    }

    /// The name under which the app itself, not one of its installations, asks.
    pub(crate) fn login(&self) -> String {
        format!("app/{}", self.id)
    }

    /// GitHub's time.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::now() + self.ahead
    }

    /// The app in GitHub's shape.
    pub(super) fn json(&self) -> Value {
        let id = self.id.parse().unwrap_or_else(|_| shape::id_of(&self.id));
        let client_id = if self.id.parse::<u64>().is_ok() { "Iv23liTestkit000" } else { self.id.as_str() };
        json!({
            "id": id, "client_id": client_id, "slug": APP_SLUG, "node_id": shape::node_id("A", id),
            "name": "AI Relay", "description": "", "external_url": "https://example.org",
            "html_url": format!("https://github.com/apps/{APP_SLUG}"), "created_at": "2026-11-01T09:00:00Z",
            "updated_at": "2026-11-01T09:00:00Z", "events": ["pull_request", "push"],
        })
    }

    /// Whether `token` is the app's and valid now.
    fn check(&self, token: &str) -> Result<(), Refusal> {
        let undecodable = || Refusal::new(401, "A JSON web token could not be decoded");
        let claims = self.claims(token).ok_or_else(undecodable)?;
        let is_known = [json!(self.id), self.json()["client_id"].clone()].contains(&claims["iss"]);
        if !is_known {
            return Err(Refusal::new(404, "Integration not found"));
        }
        let (issued, expires, now) = (claims["iat"].as_i64(), claims["exp"].as_i64(), self.now().as_second());
        let wrong = if issued.is_none_or(|issued| issued > now) {
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
        } else if expires.is_none_or(|expires| expires <= now) {
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the \
             assertion expires"
        } else if expires.is_some_and(|expires| expires > now + LONGEST) {
            "'Expiration time' claim ('exp') is too far in the future"
        } else {
            return Ok(());
        };
        Err(Refusal::new(401, wrong))
    }

    /// RS256 signs the same the same: so the signature is made again instead of checked with the public key.
    fn claims(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (head, claims) = signed.split_once('.')?;
        let json = |part: &str| -> Option<Value> {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
        };
        let signer = self.key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])?;
        let genuine = signer.sign(signed.as_bytes()).ok()?;
        let is_genuine = URL_SAFE_NO_PAD.decode(signature).ok()? == genuine && json(head)?["alg"] == "RS256";
        is_genuine.then(|| json(claims)).flatten()
    }
}

/// The account that stands for an app or one of its installations, if `token` is theirs and allows `method` on `path`.
pub(crate) fn admitted(
    hooks: &Hooks,
    token: &str,
    method: &http::Method,
    path: &str,
) -> Result<User, Refusal> {
    let app = hooks.app.as_ref().ok_or_else(|| Refusal::new(401, "Bad credentials"))?;
    if token.matches('.').count() == 2 {
        return app.check(token).map(|()| User::new(app.login()));
    }
    app.admitted(token, method, path)
}

/// Sets the `date` of an answer to GitHub's clock, where a test has moved it.
pub(crate) fn date(hooks: &Hooks, headers: &mut HeaderMap) {
    let Some(app) = hooks.app.as_ref().filter(|app| !app.ahead.is_zero()) else { return };
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&app.now());
    if let Some(date) = date.ok().and_then(|date| HeaderValue::from_str(&date).ok()) {
        headers.insert(header::DATE, date);
    }
}
