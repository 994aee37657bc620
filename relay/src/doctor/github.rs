//! GitHub's side: who the token is, the webhooks that lead here, and what of theirs did not arrive.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use shared::doctor::{Finding, clock, github};
use url::Url;

use super::hook::{self, Hook};
use crate::{
    config::{MissedConfig, MissedSettings, RelayArgs},
    missed::{
        self,
        github::{Credential, Github, GithubError, Scope},
        trouble::{Trouble, advice},
    },
};

/// Hooks of one owner that are looked at.
const MOST_HOOKS: usize = 10;
const SCOPES: [&str; 4] = ["admin:repo_hook", "write:repo_hook", "repo", "admin:org_hook"];
const WANTED: &str = "a token with \"Webhooks: read and write\" (a classic one: admin:repo_hook)";
const TRIED: &str = "whether it may see webhooks shows below";

/// Looks, and finds the URL that a webhook of ours has.
pub(super) async fn examine(args: &RelayArgs, offline: bool) -> (Vec<Finding>, Option<Url>) {
    let settings = match args.missed.check() {
        Ok(MissedConfig::On(settings)) => settings,
        Ok(MissedConfig::Off { why, half }) => return (not_set_up(args, why, half), None),
        // The settings have told.
        Err(_) => return (vec![Finding::skipped("webhook", "the settings for GitHub cannot be used")], None),
    };
    if offline {
        return (vec![Finding::skipped("webhook", "GitHub is not asked: --offline")], None);
    }
    let mut look = Look { settings: &settings, found: Vec::new(), url: None };
    look.at_all().await;
    (look.found, look.url)
}

fn not_set_up(args: &RelayArgs, why: String, half: bool) -> Vec<Finding> {
    let mend = "set GITHUB_TOKEN and GITHUB_REPOSITORIES (deploy/README.md, \"Missed deliveries\")";
    let missed = match half || args.missed.missed_every == 0 {
        true => Finding::warn("missed deliveries", why, mend),
        false => Finding::warn(
            "missed deliveries",
            "not looked for: what GitHub cannot deliver while the relay is away is lost",
            mend,
        ),
    };
    let asked = "without these settings the webhook at GitHub cannot be looked at";
    vec![missed, Finding::skipped("webhook", asked)]
}

struct Look<'a> {
    settings: &'a MissedSettings,
    found: Vec<Finding>,
    url: Option<Url>,
}

impl Look<'_> {
    async fn at_all(&mut self) {
        if let Some(hooks) = &self.settings.hooks {
            let credential = Credential::Token(hooks.token.clone());
            let scopes: Vec<_> = hooks
                .repositories
                .iter()
                .cloned()
                .map(Scope::Repository)
                .chain(hooks.organisations.iter().cloned().map(Scope::Organisation))
                .collect();
            if let Some(github) = self.client(credential) {
                self.with(&github, "/user", &scopes).await;
            }
        }
        if let Some(key) = &self.settings.app
            && let Some(github) = self.client(Credential::App(key.clone()))
        {
            self.with(&github, "/app", &[Scope::App]).await;
        }
    }

    fn client(&mut self, credential: Credential) -> Option<Github> {
        match Github::new(self.settings.api.clone(), credential) {
            Ok(github) => Some(github),
            Err(error) => {
                let mend = "install CA certificates: `apt-get install ca-certificates`";
                self.found.push(Finding::fail("credentials", format!("TLS cannot be set up: {error}"), mend));
                None
            }
        }
    }

    /// As one holder of rights: who that is, then each place.
    async fn with(&mut self, github: &Github, whoami: &str, scopes: &[Scope]) {
        let (headers, body) = match github.get(whoami).await {
            Ok(answer) => answer,
            Err(error) => {
                let scope = scopes.first().cloned().unwrap_or(Scope::App);
                return self.found.push(refused("credentials", &scope, error));
            }
        };
        let identity: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let name = identity["login"].as_str().or_else(|| identity["slug"].as_str()).unwrap_or("somebody");
        let now = Timestamp::now();
        self.found.push(Finding::ok("credentials", format!("GitHub knows them as {name}")));
        self.found.push(clock::judge("GitHub", clock::ahead(&headers, now)));
        if whoami == "/user" {
            self.found.push(github::scopes(&headers, &SCOPES, WANTED, TRIED));
            self.found.extend(github::expiry(&headers, now));
        }
        self.found.extend(github::limit(&headers, now));
        for scope in scopes {
            if let Err(error) = self.at(github, scope).await {
                self.found.push(refused(&format!("webhook of {}", named(scope)), scope, error));
            }
        }
    }

    /// The hooks of one owner that lead here, and their deliveries.
    async fn at(&mut self, github: &Github, scope: &Scope) -> Result<(), GithubError> {
        let of = named(scope);
        let list = match scope {
            Scope::Repository(name) => format!("/repos/{name}/hooks"),
            Scope::Organisation(name) => format!("/orgs/{name}/hooks"),
            Scope::App => "/app/hook".to_owned(),
        };
        let hooks: Vec<Hook> = match scope {
            Scope::App => vec![Hook::of_app(read(github, "/app/hook/config").await?)],
            _ => read(github, &format!("{list}?per_page=100")).await?,
        };
        let ours = |hook: &&Hook| missed::is_ours(&hook.config.url, self.settings.webhook_url.as_ref());
        let ours: Vec<Hook> = hooks.iter().filter(ours).take(MOST_HOOKS).cloned().collect();
        if ours.is_empty() {
            let elsewhere: Vec<_> = hooks.iter().map(Hook::host).take(MOST_HOOKS).collect();
            let there = if elsewhere.is_empty() {
                "there is none".to_owned()
            } else {
                format!("there are others: {}", elsewhere.join(", "))
            };
            self.found.push(Finding::fail(
                format!("webhook of {of}"),
                format!("no webhook leads here; {there}"),
                "add one at GitHub: https://YOUR-HOST/github-webhook, application/json, the secret; or set WEBHOOK_URL to the one that does",
            ));
        }
        for hook in ours {
            self.url = self.url.take().or_else(|| Url::parse(&hook.config.url).ok());
            self.found.extend(hook::judge(&of, &hook));
            let path = hook.id.map_or_else(|| list.clone(), |id| format!("{list}/{id}"));
            let (attempts, _) = github.deliveries(&path, None).await?;
            self.found.push(hook::deliveries(&of, attempts, Timestamp::now()));
        }
        Ok(())
    }
}

async fn read<T: DeserializeOwned>(github: &Github, path: &str) -> Result<T, GithubError> {
    let (_, body) = github.get(path).await?;
    serde_json::from_slice(&body).map_err(|error| GithubError::Unexpected(error.to_string()))
}

fn named(scope: &Scope) -> String {
    match scope {
        Scope::Repository(name) | Scope::Organisation(name) => name.clone(),
        Scope::App => "the app".to_owned(),
    }
}

/// What GitHub's refusal means, and what to do.
fn refused(check: &str, scope: &Scope, error: GithubError) -> Finding {
    let says = error.to_string();
    match error {
        GithubError::Limited(_) => Finding::warn(check, says, "wait until then, and look again"),
        GithubError::Unavailable(_) => Finding::fail(
            check,
            says,
            "can this machine reach GITHUB_API_URL? `curl -sI https://api.github.com`; https://www.githubstatus.com",
        ),
        error => Finding::fail(check, says, advice(scope, &Trouble::Github(error))),
    }
}
