//! The settings: whether the relay could start with them, and what its secrets are worth.

use secrecy::SecretString;
use shared::{
    config::{required, secret},
    doctor::{Finding, secrets},
    signature::{GithubSecrets, KeyError, SigningKeys, Tokens},
};
use url::Url;

use crate::{
    config::{Config, RelayArgs, Target},
    targets::{CLAUDE, OLLAMA},
};

/// Where a relay's settings usually are.
const LOAD: &str = "load the relay's settings first, such as `set -a; . /etc/ai-relay/relay.env; set +a`, or run it in the container; \
    .env.example explains each";

/// What the settings give, as far as they can be used.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// GitHub's, one by one.
    pub(crate) webhook: Vec<GithubSecrets>,
    /// Between our services, one by one.
    pub(crate) keys: Vec<SigningKeys>,
    /// Of the admin routes.
    pub(crate) admin: Option<SecretString>,
    /// Our endpoints: lane, service, and where it is.
    pub(crate) endpoints: Vec<(&'static str, &'static str, Url)>,
    /// Everybody else who takes events.
    pub(crate) extra: Vec<Target>,
}

/// Looks at the settings.
pub(super) fn examine(args: &RelayArgs, tables: &toml::Table) -> (Vec<Finding>, Known) {
    let mut found = Vec::new();
    let (webhook, keys, admin) = secrets_of(args, &mut found);
    let mut known = Known {
        webhook: usable(&webhook, GithubSecrets::parse),
        keys: usable(&keys, SigningKeys::parse),
        admin: admin.first().cloned(),
        endpoints: vec![
            (CLAUDE, "claude-endpoint", args.claude_endpoint.clone()),
            (OLLAMA, "ollama-endpoint", args.ollama_endpoint.clone()),
        ],
        extra: Vec::new(),
    };
    found.extend(secrets::reused(&[
        ("GITHUB_WEBHOOK_SECRET", webhook),
        ("RELAY_SIGNING_KEY", keys),
        ("RELAY_ADMIN_TOKEN", admin),
    ]));
    found.extend(files(args));
    match Config::new(args.clone(), tables) {
        Ok(config) => {
            let extra =
                config.targets.into_iter().filter(|target| target.name != CLAUDE && target.name != OLLAMA);
            known.extra = extra.collect();
        }
        // What is wrong with a secret was told above.
        Err(_) if known.webhook.is_empty() || known.keys.is_empty() => {}
        Err(error) => {
            let says = format!("the relay would not start: {error:#}");
            found.push(Finding::fail("configuration", says, "mend what it names, and start the relay again"));
        }
    }
    (found, known)
}

/// The secrets of the three settings, empty where there are none.
fn secrets_of(
    args: &RelayArgs,
    found: &mut Vec<Finding>,
) -> (Vec<SecretString>, Vec<SecretString>, Vec<SecretString>) {
    let webhook = secrets::list(
        found,
        "GITHUB_WEBHOOK_SECRET",
        required(
            "GITHUB_WEBHOOK_SECRET",
            args.github_webhook_secret.as_ref(),
            args.github_webhook_secret_file.as_deref(),
        ),
        LOAD,
        |list| GithubSecrets::parse(list).map(drop),
        secrets::MAKE,
    );
    let service = &args.service;
    let keys = secrets::list(
        found,
        "RELAY_SIGNING_KEY",
        required(
            "RELAY_SIGNING_KEY",
            service.relay_signing_key.as_ref(),
            service.relay_signing_key_file.as_deref(),
        ),
        LOAD,
        |list| SigningKeys::parse(list).map(drop),
        secrets::MAKE_KEY,
    );
    (webhook, keys, admin(args, found))
}

/// The tokens of the admin routes.
fn admin(args: &RelayArgs, found: &mut Vec<Finding>) -> Vec<SecretString> {
    let name = "RELAY_ADMIN_TOKEN";
    match secret(name, args.relay_admin_token.as_ref(), args.relay_admin_token_file.as_deref()) {
        Ok(Some(tokens)) => secrets::list(
            found,
            name,
            Ok(tokens),
            LOAD,
            |tokens| Tokens::parse(tokens).map(drop),
            secrets::MAKE,
        ),
        Ok(None) => {
            let says = "not set: `relay deliveries` and `relay send-test` are closed";
            found.push(Finding::warn(name, says, format!("{}, and start the relay again", secrets::MAKE)));
            Vec::new()
        }
        Err(error) => {
            found.push(Finding::fail(name, format!("{error:#}"), secrets::MAKE));
            Vec::new()
        }
    }
}

fn usable<T>(secrets: &[SecretString], parse: impl Fn(&SecretString) -> Result<T, KeyError>) -> Vec<T> {
    secrets.iter().filter_map(|one| parse(one).ok()).collect()
}

/// Files that hold secrets.
fn files(args: &RelayArgs) -> Vec<Finding> {
    let named = [
        ("GITHUB_WEBHOOK_SECRET", &args.github_webhook_secret_file),
        ("RELAY_SIGNING_KEY", &args.service.relay_signing_key_file),
        ("RELAY_ADMIN_TOKEN", &args.relay_admin_token_file),
        ("GITHUB_TOKEN", &args.missed.github_token_file),
        ("GITHUB_APP_PRIVATE_KEY", &args.missed.app.github_app_private_key_file),
        ("CONFIG", &args.service.config),
    ];
    named.into_iter().filter_map(|(name, file)| secrets::private(name, file.as_deref()?)).collect()
}
