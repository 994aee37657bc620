//! How deliveries that GitHub could not make are found.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use anyhow::ensure;
use clap::Args;
use secrecy::SecretString;
use shared::config::{AppArgs, plain_url, secret};
use shared::github::AppKey;
use url::Url;

/// More are better served by one hook of an organisation or an app: each costs two calls per look, and GitHub allows
/// 5,000 in an hour.
const MOST_SOURCES: usize = 100;

/// What `/health` says where nothing is set up.
const NOT_SET_UP: &str = "off: what GitHub cannot deliver while the relay is away is lost unless somebody redelivers it by hand. \
    Set GITHUB_TOKEN (with \"Webhooks: read and write\") and GITHUB_REPOSITORIES or GITHUB_ORGANISATIONS, \
    or GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY";
const NO_TOKEN: &str = "GITHUB_REPOSITORIES or GITHUB_ORGANISATIONS is set, GITHUB_TOKEN is not: set it to a token \
    with \"Webhooks: read and write\", or missed deliveries are not found";

/// See the module.
#[derive(Debug, Clone, Args)]
pub struct MissedArgs {
    /// Token that lists and redelivers deliveries of the hooks below ("Webhooks: read and write")
    #[arg(long, env = "GITHUB_TOKEN", hide = true, hide_env_values = true)]
    pub github_token: Option<SecretString>,
    /// File with GITHUB_TOKEN
    #[arg(long, env = "GITHUB_TOKEN_FILE", value_name = "FILE")]
    pub github_token_file: Option<PathBuf>,
    /// Base URL of GitHub's API
    #[arg(long, env = "GITHUB_API_URL", default_value = "https://api.github.com")]
    pub github_api_url: Url,
    /// Repositories (owner/name, comma-separated) whose hooks are looked at for missed deliveries
    #[arg(long, env = "GITHUB_REPOSITORIES", value_delimiter = ',')]
    pub github_repositories: Vec<String>,
    /// Organisations (comma-separated) whose hooks are looked at
    #[arg(long, env = "GITHUB_ORGANISATIONS", value_delimiter = ',')]
    pub github_organisations: Vec<String>,
    /// The GitHub App whose webhook is looked at.
    #[command(flatten)]
    pub app: AppArgs,
    /// The relay's URL as the hooks at GitHub have it [default: any URL whose path ends in /github-webhook]
    #[arg(long, env = "WEBHOOK_URL")]
    pub webhook_url: Option<Url>,
    /// Seconds between two looks for missed deliveries; 0: off
    #[arg(long, env = "MISSED_EVERY", default_value = "300", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub missed_every: u64,
    /// Milliseconds between two redeliveries; GitHub asks for a second
    #[arg(long, env = "GITHUB_PACING_MS", default_value = "1000", value_parser = clap::value_parser!(u64).range(0..=60_000))]
    pub github_pacing_ms: u64,
}

/// Whether and where missed deliveries are looked for; checked.
#[derive(Debug)]
pub enum MissedConfig {
    /// Nowhere, as `why` says.
    Off {
        /// For `/health`.
        why: String,
        /// Something is set and something else is missing.
        half: bool,
    },
    /// Here.
    On(Box<MissedSettings>),
}

/// Where missed deliveries are looked for.
#[derive(Debug)]
pub struct MissedSettings {
    /// Base URL of GitHub's API.
    pub api: Url,
    /// Repositories' and organisations' hooks.
    pub hooks: Option<HookSettings>,
    /// The GitHub App.
    pub app: Option<AppKey>,
    /// Where our hooks lead; `None`: to any URL that ends as ours does.
    pub webhook_url: Option<Url>,
    /// Between two looks.
    pub every: Duration,
    /// Between two redeliveries.
    pub pacing: Duration,
    /// What is half set up, for `/health`.
    pub lacking: Option<&'static str>,
}

/// Whose hooks are looked at with a token.
#[derive(Debug)]
pub struct HookSettings {
    /// May list and redeliver their deliveries.
    pub token: SecretString,
    /// `owner/name` each.
    pub repositories: Vec<String>,
    /// Their names.
    pub organisations: Vec<String>,
}

impl MissedArgs {
    /// Checks the settings.
    ///
    /// # Errors
    /// One of them cannot be used; the text says what to do.
    pub fn check(&self) -> anyhow::Result<MissedConfig> {
        let token = secret("GITHUB_TOKEN", self.github_token.as_ref(), self.github_token_file.as_deref())?;
        let repositories = names("GITHUB_REPOSITORIES", "owner/name", 2, &self.github_repositories)?;
        let organisations =
            names("GITHUB_ORGANISATIONS", "the organisation's name", 1, &self.github_organisations)?;
        let app = self.app.key()?;
        plain_url("GITHUB_API_URL", &self.github_api_url)?;
        if let Some(url) = &self.webhook_url {
            ensure!(
                matches!(url.scheme(), "http" | "https"),
                "WEBHOOK_URL must be the URL that the hooks at GitHub have, such as https://relay.example.com/github-webhook"
            );
        }
        let named = !repositories.is_empty() || !organisations.is_empty();
        let lacking = (named && token.is_none()).then_some(NO_TOKEN);
        let hooks = token.filter(|_| named).map(|token| HookSettings { token, repositories, organisations });
        if self.missed_every == 0 {
            return Ok(MissedConfig::Off { why: "off: MISSED_EVERY is 0".to_owned(), half: false });
        }
        if hooks.is_none() && app.is_none() {
            // A token alone says nothing: on a machine of all three services it is there for the reviews.
            let why = lacking.unwrap_or(NOT_SET_UP).to_owned();
            return Ok(MissedConfig::Off { why, half: lacking.is_some() });
        }
        Ok(MissedConfig::On(Box::new(MissedSettings {
            api: self.github_api_url.clone(),
            hooks,
            app,
            webhook_url: self.webhook_url.clone(),
            every: Duration::from_secs(self.missed_every),
            pacing: Duration::from_millis(self.github_pacing_ms),
            lacking,
        })))
    }
}

/// The list without blanks and repetitions. Each name becomes a part of a URL's path, so it is checked.
fn names(variable: &str, shape: &str, parts: usize, given: &[String]) -> anyhow::Result<Vec<String>> {
    let is_name = |part: &str| {
        !part.is_empty()
            && part.len() <= 100
            && !part.starts_with("..")
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let names: BTreeSet<&str> =
        given.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
    for name in &names {
        let well_formed = name.split('/').count() == parts && name.split('/').all(is_name);
        ensure!(well_formed, "{variable} has `{name}`, which is not {shape}");
    }
    ensure!(
        names.len() <= MOST_SOURCES,
        "{variable} has {} names, {MOST_SOURCES} is the limit: use a hook of the organisation or a GitHub App instead",
        names.len()
    );
    Ok(names.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        missed: MissedArgs,
    }

    fn check(flags: &[&str]) -> anyhow::Result<MissedConfig> {
        Cli::parse_from(["relay"].iter().chain(flags)).missed.check()
    }

    #[test]
    fn what_is_missing_is_said() {
        let is_off = |flags: &[&str], half: bool, text: &str| match check(flags).unwrap() {
            MissedConfig::Off { why, half: found } => found == half && why.contains(text),
            MissedConfig::On(_) => false,
        };
        assert!(is_off(&[], false, "GITHUB_REPOSITORIES"));
        assert!(is_off(&["--github-token", "t"], false, "GITHUB_REPOSITORIES"));
        assert!(is_off(&["--github-repositories", "a/b"], true, "GITHUB_TOKEN is not"));
        assert!(is_off(
            &["--github-token", "t", "--github-repositories", "a/b", "--missed-every", "0"],
            false,
            "MISSED_EVERY"
        ));
        assert!(check(&["--github-app-id", "1"]).unwrap_err().to_string().contains("GITHUB_APP_PRIVATE_KEY"));
        assert!(check(&["--github-app-private-key", "k"]).is_err());
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        for wrong in ["shop", "a/b/c", "a/../b", "a/b?c", "/b"] {
            let error = check(&["--github-repositories", wrong]).unwrap_err().to_string();
            assert!(error.contains("owner/name"), "{error}");
        }
        assert!(check(&["--github-organisations", "a/b"]).is_err());
        assert!(check(&["--webhook-url", "ftp://x/y"]).is_err());
    }

    #[test]
    fn lists_are_split_and_cleaned() {
        let MissedConfig::On(settings) =
            check(&["--github-token", "t", "--github-repositories", "b/c, a/b,,a/b"]).unwrap()
        else {
            panic!("it is set up")
        };
        assert_eq!(settings.hooks.unwrap().repositories, ["a/b", "b/c"]);
        assert_eq!(settings.every, Duration::from_secs(300));
    }
}
