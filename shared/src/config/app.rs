//! The settings of a GitHub App, by whichever service acts as one.

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use clap::Args;
use secrecy::SecretString;

use super::secret;
use crate::github::AppKey;

/// Who a GitHub App is.
#[derive(Debug, Clone, Default, Args)]
pub struct AppArgs {
    /// App ID or client ID of the GitHub App
    #[arg(long, env = "GITHUB_APP_ID")]
    pub github_app_id: Option<String>,
    /// The app's private key, PEM
    // it begins with hyphens, and what is no value is an error that shows it
    #[arg(
        long,
        env = "GITHUB_APP_PRIVATE_KEY",
        hide = true,
        hide_env_values = true,
        allow_hyphen_values = true
    )]
    pub github_app_private_key: Option<SecretString>,
    /// File with GITHUB_APP_PRIVATE_KEY
    #[arg(long, env = "GITHUB_APP_PRIVATE_KEY_FILE", value_name = "FILE")]
    pub github_app_private_key_file: Option<PathBuf>,
}

impl AppArgs {
    /// The app, if one is set.
    ///
    /// # Errors
    /// Half of it is set, or it cannot be used; the text says what to do.
    pub fn key(&self) -> anyhow::Result<Option<AppKey>> {
        let file = self.github_app_private_key_file.as_deref();
        let key = secret("GITHUB_APP_PRIVATE_KEY", self.github_app_private_key.as_ref(), file)?;
        let id = self.github_app_id.as_deref().map(str::trim).filter(|id| !id.is_empty());
        match (id, key) {
            (None, None) => Ok(None),
            (Some(id), Some(key)) => {
                ensure!(
                    id.len() <= 100 && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '.'),
                    "GITHUB_APP_ID must be the App ID (a number) or the client ID on the app's settings page"
                );
                let key = AppKey::new(id, &key).context("GITHUB_APP_PRIVATE_KEY cannot be used")?;
                Ok(Some(key))
            }
            (Some(_), None) => bail!(
                "GITHUB_APP_ID is set, GITHUB_APP_PRIVATE_KEY (or GITHUB_APP_PRIVATE_KEY_FILE) is not; the app's settings page makes one"
            ),
            (None, Some(_)) => {
                bail!("GITHUB_APP_PRIVATE_KEY is set, GITHUB_APP_ID is not; the app's settings page shows it")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(id: Option<&str>, key: Option<&str>) -> String {
        let github_app_private_key = key.map(SecretString::from);
        let args =
            AppArgs { github_app_id: id.map(str::to_owned), github_app_private_key, ..AppArgs::default() };
        format!("{:#}", args.key().unwrap_err())
    }

    #[test]
    fn half_an_app_is_an_error_that_names_the_other_half() {
        assert!(AppArgs::default().key().unwrap().is_none());
        assert!(error(Some("1"), None).contains("GITHUB_APP_PRIVATE_KEY_FILE"));
        assert!(error(None, Some("k")).contains("GITHUB_APP_ID is not"));
        assert!(error(Some("my app"), Some("k")).contains("client ID"));
    }

    #[test]
    fn a_key_that_is_none_is_not_shown() {
        let error = error(Some("1"), Some("-----BEGIN canary"));
        assert!(error.contains("PEM, RSA") && !error.contains("canary"), "{error}");
    }
}
