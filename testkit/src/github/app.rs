//! A GitHub App's tokens (RFC 7519, RS256), checked as GitHub does: signature, issuer, and at most ten minutes.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use rustls::{
    SignatureScheme,
    crypto::ring::sign::any_supported_type,
    pki_types::{PrivateKeyDer, pem::PemObject},
    sign::SigningKey,
};
use serde_json::Value;

/// The longest that GitHub lets a token be valid, in seconds.
const LONGEST: i64 = 600;

/// An app as GitHub knows it.
#[derive(Debug)]
pub(crate) struct App {
    id: String,
    key: Arc<dyn SigningKey>,
}

impl App {
    pub(crate) fn new(id: &str, private_key: &str) -> anyhow::Result<Self> {
        let der = PrivateKeyDer::from_pem_slice(private_key.as_bytes())
            .map_err(|error| anyhow!("{error:?}"))
            .context("not a private key")?;
        Ok(Self { id: id.to_owned(), key: any_supported_type(&der).context("not an RSA key")? })
    }

    /// The name under which the app itself, not one of its installations, asks.
    pub(crate) fn login(&self) -> String {
        format!("app/{}", self.id)
    }

    /// Whether `token` is the app's and valid at `now`.
    pub(crate) fn accepts(&self, token: &str, now: Timestamp) -> bool {
        self.claims(token).is_some_and(|claims| {
            let time = |name: &str| claims[name].as_i64().unwrap_or_default();
            let (issued, expires, now) = (time("iat"), time("exp"), now.as_second());
            claims["iss"] == self.id.as_str() && issued <= now && now < expires && expires <= now + LONGEST
        })
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
