//! Who asks as a GitHub App: a token that is signed anew for each call (RFC 7519; GitHub takes RS256 and ten minutes).

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use rustls::{
    SignatureScheme,
    crypto::ring::sign::any_supported_type,
    pki_types::{PrivateKeyDer, pem::PemObject},
    sign::SigningKey,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use thiserror::Error;

/// The token is dated back by so many seconds, for clocks that differ, and valid for so many; GitHub allows 600.
const BACKDATED: i64 = 60;
const VALID: i64 = 540;

/// Why a key is none.
#[derive(Debug, Error)]
#[error(
    "it must be the private key (PEM, RSA) that the GitHub App's settings page makes; as a variable, line breaks may be written as \\n"
)]
pub struct InvalidKey;

/// A GitHub App's id and private key. Cheap to clone.
#[derive(Clone)]
pub struct AppKey {
    id: String,
    key: Arc<dyn SigningKey>,
}

impl fmt::Debug for AppKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl AppKey {
    /// `id` is the App ID or the client ID, `pem` the private key in PKCS #1 or #8.
    ///
    /// # Errors
    /// It is not an RSA key.
    pub fn new(id: &str, pem: &SecretString) -> Result<Self, InvalidKey> {
        let pem = pem.expose_secret().replace("\\n", "\n");
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| InvalidKey)?;
        let key = any_supported_type(&der).map_err(|_| InvalidKey)?;
        let it = Self { id: id.to_owned(), key };
        it.token(Timestamp::UNIX_EPOCH).map(|_| it)
    }

    /// The App ID or the client ID, as it was given.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A token that proves to GitHub who asks, valid from `now` on.
    ///
    /// # Errors
    /// The key cannot sign so.
    pub fn token(&self, now: Timestamp) -> Result<SecretString, InvalidKey> {
        let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
        let issued = now.as_second() - BACKDATED;
        let claims = json!({"iat": issued, "exp": issued + BACKDATED + VALID, "iss": self.id});
        let signed = format!(
            "{}.{}",
            encode(br#"{"alg":"RS256","typ":"JWT"}"#),
            encode(claims.to_string().as_bytes())
        );
        let signer = self.key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).ok_or(InvalidKey)?;
        let signature = signer.sign(signed.as_bytes()).map_err(|_| InvalidKey)?;
        Ok(format!("{signed}.{}", encode(&signature)).into())
    }
}
