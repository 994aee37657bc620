//! Who takes events: our two endpoints, and the `[[targets]]` of the configuration file.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Context, bail, ensure};
use secrecy::SecretString;
use serde::Deserialize;
use shared::{
    config::{SIGNING_KEY, plain_url, secret_file},
    keys::Ring,
    signature::SigningKeys,
};
use url::Url;

use crate::targets::{CLAUDE, OLLAMA, Subscription};

/// The most extra targets.
const MOST: usize = 32;
/// The longest name of one.
const LONGEST_NAME: usize = 32;

/// A target that events are handed to.
#[derive(Debug, Clone)]
pub struct Target {
    /// Name, also of its lane.
    pub name: String,
    /// An endpoint's base URL; where an extra target takes its deliveries.
    pub url: Url,
    /// What signs for it.
    pub keys: SigningKeys,
    /// Whose it is.
    pub kind: Kind,
}

/// Whose a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An endpoint of ours: it signs its answers, has `/readyz`, and tells what became of each event.
    Endpoint {
        /// The service that must answer.
        service: &'static str,
        /// Path that takes envelopes.
        path: &'static str,
    },
    /// Somebody else's receiver of Standard Webhooks.
    Extra {
        /// Whether its answers carry `relay-signature` as our endpoints' do.
        signed_answers: bool,
    },
}

impl Target {
    /// What its key is called in the book of what keys are used for.
    pub fn key_name(&self) -> String {
        match self.kind {
            Kind::Endpoint { .. } => SIGNING_KEY.to_owned(),
            Kind::Extra { .. } => format!("signing_key of {}", self.name),
        }
    }

    /// Its keys, if they are its own.
    pub fn ring(&self) -> Option<Ring> {
        match self.kind {
            Kind::Endpoint { .. } => None,
            Kind::Extra { .. } => Some(Ring::new(self.key_name(), self.keys.keys())),
        }
    }
}

/// One `[[targets]]`, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    name: String,
    url: String,
    #[serde(default)]
    events: Vec<String>,
    repositories: Option<Vec<String>>,
    signing_key: Option<String>,
    signing_key_file: Option<PathBuf>,
    #[serde(default)]
    signed_answers: bool,
}

/// Our endpoints.
///
/// # Errors
/// A URL that contains a password.
pub(super) fn endpoints(claude: &Url, ollama: &Url, keys: &SigningKeys) -> anyhow::Result<Vec<Target>> {
    let ours = [
        (CLAUDE, "CLAUDE_ENDPOINT", claude, "claude-endpoint", "/ai-sync"),
        (OLLAMA, "OLLAMA_ENDPOINT", ollama, "ollama-endpoint", "/memory-update"),
    ];
    let target = |(name, variable, url, service, path): (&str, &str, &Url, &'static str, &'static str)| {
        plain_url(variable, url)?;
        let kind = Kind::Endpoint { service, path };
        Ok(Target { name: name.to_owned(), url: url.clone(), keys: keys.clone(), kind })
    };
    ours.into_iter().map(target).collect()
}

/// The extra targets of the configuration file, and what each wants.
///
/// # Errors
/// A table that cannot be used; the text names it and says what to do.
pub(super) fn extra(tables: &toml::Table) -> anyhow::Result<(Vec<Target>, Vec<Subscription>)> {
    let Some(tables) = tables.get("targets") else { return Ok((Vec::new(), Vec::new())) };
    let tables = tables.as_array().context("`targets` must be a list of tables: write [[targets]]")?;
    ensure!(tables.len() <= MOST, "there are {} [[targets]]; {MOST} is the limit", tables.len());
    let mut found = (Vec::new(), Vec::new());
    let mut names: BTreeSet<String> = [CLAUDE, OLLAMA].map(str::to_owned).into();
    for (index, table) in tables.iter().enumerate() {
        let given: Result<Given, toml::de::Error> = table.clone().try_into();
        let given = match given {
            Ok(given) => given,
            Err(error) => bail!("[[targets]] number {} cannot be read: {}", index + 1, error.message()),
        };
        check_name(&given.name).with_context(|| format!("[[targets]] number {}", index + 1))?;
        ensure!(names.insert(given.name.clone()), "there is a target `{}` already: rename one", given.name);
        let name = given.name.clone();
        let (target, subscription) = check(given).with_context(|| format!("the target `{name}`"))?;
        found.0.push(target);
        found.1.push(subscription);
    }
    Ok(found)
}

fn check_name(name: &str) -> anyhow::Result<()> {
    let plain = name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    // What is as long as a key may be one, in the wrong line.
    let shown = if name.len() <= LONGEST_NAME { format!("`{name}`") } else { "its `name`".to_owned() };
    ensure!(
        plain && !name.is_empty() && name.len() <= LONGEST_NAME,
        "{shown} is no name for a target: use up to {LONGEST_NAME} of a-z, 0-9 and -"
    );
    Ok(())
}

fn check(given: Given) -> anyhow::Result<(Target, Subscription)> {
    let Given { name, url, events, repositories, signing_key, signing_key_file, signed_answers } = given;
    let url = Url::parse(&url).context("its `url` cannot be read")?;
    ensure!(matches!(url.scheme(), "http" | "https"), "its `url` must begin with https:// or http://");
    plain_url("its `url`", &url)?;
    let list = match (signing_key, signing_key_file) {
        (Some(key), None) => SecretString::from(key),
        (None, Some(path)) => secret_file("its `signing_key_file`", &path)?,
        (Some(_), Some(_)) => bail!("`signing_key` and `signing_key_file` are both set; keep one of them"),
        (None, None) => bail!(
            "it needs a `signing_key` of its own, or a `signing_key_file`: make one with `echo whsec_$(openssl rand -hex 32)`, and give it to the receiver"
        ),
    };
    let keys = SigningKeys::parse(&list).context("its `signing_key` cannot be used")?;
    let subscription = Subscription::new(&name, &events, repositories.as_deref())?;
    Ok((Target { name, url, keys, kind: Kind::Extra { signed_answers } }, subscription))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn read(text: &str) -> anyhow::Result<(Vec<Target>, Vec<Subscription>)> {
        extra(&toml::from_str(text).unwrap())
    }

    fn table(name: &str, rest: &str) -> String {
        format!("[[targets]]\nname = \"{name}\"\nurl = \"https://example.org/hook\"\n{rest}\n")
    }

    fn mistake(rest: &str) -> String {
        format!("{:#}", read(&table("bot", rest)).map(|_| ()).unwrap_err())
    }

    #[test]
    fn a_target_has_a_name_a_url_and_a_key_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, format!("{KEY}\n")).unwrap();
        let text = table("bot", &format!("events = [\"push\"]\nsigning_key = \"{KEY}\""))
            + &table(
                "two",
                &format!("signing_key_file = {:?}\nsigned_answers = true", file.to_str().unwrap()),
            );
        let (targets, subscriptions) = read(&text).unwrap();
        assert_eq!(targets[0].kind, Kind::Extra { signed_answers: false });
        assert_eq!(targets[1].kind, Kind::Extra { signed_answers: true });
        assert_eq!(subscriptions.iter().map(Subscription::target).collect::<Vec<_>>(), ["bot", "two"]);
        assert!(!format!("{targets:?}").contains("MfKQ9r8G"));
        assert!(read("").unwrap().0.is_empty());
    }

    #[test]
    fn a_mistake_says_what_to_do() {
        let good = format!("signing_key = \"{KEY}\"");
        for (rest, said) in [
            ("", "openssl rand"),
            ("signing_key = \"whsec_short\"", "openssl rand"),
            ("signing_key_file = \"/nowhere/key\"", "cannot read its `signing_key_file` /nowhere/key"),
            (&format!("{good}\nsigning_key_file = \"x\""), "keep one of them"),
            (&format!("{good}\nevent = [\"push\"]"), "`event`"),
            (&format!("{good}\nevents = [\"pull_request.*\"]"), "pull_request.opened"),
            (&format!("{good}\nrepositories = [\"name\"]"), "owner/*"),
        ] {
            let text = mistake(rest);
            assert!(text.contains(said) && !text.contains("MfKQ9r8G"), "{text}");
        }
    }

    #[test]
    fn a_name_is_plain_and_its_own_and_a_url_is_for_http_and_without_a_password() {
        let good = format!("signing_key = \"{KEY}\"");
        for name in ["", "Bot", "a b", "a_b", &"x".repeat(33)] {
            assert!(format!("{:#}", read(&table(name, &good)).unwrap_err()).contains("no name for a target"));
        }
        for name in ["claude", "ollama"] {
            assert!(read(&table(name, &good)).unwrap_err().to_string().contains("already"));
        }
        let twice = table("bot", &good).repeat(2);
        assert!(read(&twice).unwrap_err().to_string().contains("`bot` already"));
        let many: String = (0..=MOST).map(|n| table(&format!("bot-{n}"), &good)).collect();
        assert!(read(&many).unwrap_err().to_string().contains("32 is the limit"));
        for url in ["example.org", "ftp://example.org", "https://user:secret@example.org"] {
            let text = table("bot", &good).replace("https://example.org/hook", url);
            let error = format!("{:#}", read(&text).unwrap_err());
            assert!(error.contains("`url`") && !error.contains("secret"), "{error}");
        }
        assert!(read("targets = 1").is_err());
    }
}
