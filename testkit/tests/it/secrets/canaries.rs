//! One value for each secret that there is, and a search that knows them again in pieces and in other spellings.

use std::collections::BTreeSet;

use aho_corasick::AhoCorasick;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};
use clap::CommandFactory;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use shared::signature::SigningKeys;

/// The signing key of the extra target in the relay's configuration file.
pub const TARGET_KEY: &str = "targets.signing_key";
/// What its URL has in its query.
pub const TARGET_URL: &str = "targets.url";
/// What the webhook's URL has for a password.
pub const WEBHOOK_URL: &str = "WEBHOOK_URL";
/// What the URL of somebody else's webhook has in its path and its query.
pub const FOREIGN_HOOK: &str = "somebody else's webhook";
/// What is made of `RELAY_SIGNING_KEY` for the reviews' markers.
const MARKER_KEY: &str = "RELAY_SIGNING_KEY, derived";

/// As much of a secret as gives it away: a leak of twice that has one whole piece in it.
const PIECE: usize = 10;

/// Of which secret something was found, and how it was spelled.
pub type Found = BTreeSet<(&'static str, &'static str)>;

/// The values, and the search for them.
pub struct Canaries {
    values: Vec<(&'static str, String)>,
    needles: Vec<(&'static str, &'static str, Vec<u8>)>,
    search: AhoCorasick,
}

/// Every setting of the three services that holds a secret, by its variable.
pub fn secret_settings() -> BTreeSet<String> {
    let commands = [
        relay::config::Cli::command(),
        claude_endpoint::config::Cli::command(),
        ollama_endpoint::config::Cli::command(),
    ];
    let all = commands.iter().flat_map(clap::Command::get_arguments);
    let secret = all.filter(|arg| arg.is_hide_env_values_set());
    secret.map(|arg| arg.get_env().unwrap().to_str().unwrap().to_owned()).collect()
}

/// Random to look at, and always the same.
fn random(name: &str) -> [u8; 32] {
    Sha256::digest(format!("canary of {name}")).into()
}

impl Canaries {
    pub fn new() -> Self {
        let text = |name: &'static str, prefix: &str| {
            (
                name,
                format!("{prefix}{}", BASE64_URL_SAFE_NO_PAD.encode(random(name)).replace(['-', '_'], "x")),
            )
        };
        // with the letters that an URL and a form must escape
        let base64 = |name: &'static str, prefix: &str| {
            (name, format!("{prefix}{}", BASE64_STANDARD.encode(random(name))))
        };
        let values = vec![
            base64("GITHUB_WEBHOOK_SECRET", "+/"),
            base64("RELAY_SIGNING_KEY", "whsec_"),
            base64("RELAY_ADMIN_TOKEN", "+/"),
            base64("MEMORY_TOKEN", "+/"),
            text("GITHUB_TOKEN", "ghp_"),
            text("HANDOFF_TOKEN", "ghp_"),
            text("ANTHROPIC_API_KEY", "sk-ant-api03-"),
            text("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-"),
            ("GITHUB_APP_PRIVATE_KEY", testkit::github::app_key()),
            base64(TARGET_KEY, "whsec_"),
            text(TARGET_URL, ""),
            text(WEBHOOK_URL, ""),
            text(FOREIGN_HOOK, ""),
        ];
        let needles: Vec<_> = values.iter().flat_map(|(name, value)| needles(name, value)).collect();
        let search = AhoCorasick::new(needles.iter().map(|(_, _, needle)| needle)).unwrap();
        Self { values, needles, search }
    }

    /// The value of a secret.
    pub fn get(&self, name: &str) -> &str {
        &self.values.iter().find(|(known, _)| *known == name).unwrap().1
    }

    /// Those that are settings.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.values.iter().map(|(name, _)| *name)
    }

    /// What of them is in `bytes`.
    pub fn find(&self, bytes: &[u8]) -> Found {
        let found = self.search.find_overlapping_iter(bytes);
        found
            .map(|hit| &self.needles[hit.pattern().as_usize()])
            .map(|(name, form, _)| (*name, *form))
            .collect()
    }
}

/// What a secret is known by.
fn needles(name: &'static str, value: &str) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let mut secrets: Vec<(&'static str, Vec<u8>)> = Vec::new();
    if value.starts_with("-----BEGIN") {
        let lines: Vec<&str> = value.lines().filter(|line| !line.starts_with("-----")).collect();
        secrets.push((name, BASE64_STANDARD.decode(lines.concat()).unwrap()));
        secrets.extend(lines.iter().map(|line| (name, line.as_bytes().to_vec())));
    } else if let Some(encoded) = value.strip_prefix("whsec_") {
        secrets.push((name, encoded.as_bytes().to_vec()));
        secrets.push((name, BASE64_STANDARD.decode(encoded).unwrap()));
        let derived = SigningKeys::parse(&SecretString::from(value)).unwrap().derive("review-marker/v1");
        let of = if name == TARGET_KEY { TARGET_KEY } else { MARKER_KEY };
        secrets.extend(derived.iter().map(|(_, key)| (of, key.expose_secret().to_vec())));
    } else {
        // the prefix says what it is, not which
        secrets.push((name, value.rsplit(['_', '-']).next().unwrap().as_bytes().to_vec()));
    }
    let pieces =
        secrets.iter().flat_map(|(name, secret)| secret.chunks_exact(PIECE).map(move |piece| (*name, piece)));
    pieces
        .flat_map(|(name, piece)| forms(piece).into_iter().map(move |(form, needle)| (name, form, needle)))
        .collect()
}

/// How a piece of a secret may be spelled.
pub fn forms(piece: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let each = |spell: &dyn Fn(u8) -> String, between: &str| {
        piece.iter().map(|byte| spell(*byte)).collect::<Vec<_>>().join(between).into_bytes()
    };
    let escaped = |upper: bool| {
        move |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ if upper => format!("%{byte:02X}"),
            _ => format!("%{byte:02x}"),
        }
    };
    let mut forms = vec![
        ("plain", piece.to_vec()),
        ("hex", hex::encode(piece).into_bytes()),
        ("hex", hex::encode_upper(piece).into_bytes()),
        ("percent", each(&escaped(true), "")),
        ("percent", each(&escaped(false), "")),
        ("percent, each letter", each(&|byte| format!("%{byte:02X}"), "")),
        ("percent, each letter", each(&|byte| format!("%{byte:02x}"), "")),
        // `{:?}` of bytes, and bytes in JSON
        ("list of numbers", each(&|byte| byte.to_string(), ", ")),
        ("list of numbers", each(&|byte| byte.to_string(), ",")),
    ];
    for before in 0..3 {
        for text in [
            BASE64_STANDARD.encode([&vec![0; before], piece].concat()),
            BASE64_URL_SAFE_NO_PAD.encode([&vec![0; before], piece].concat()),
        ] {
            // only the letters that no neighbour has a part in
            let (from, to) = ((before * 8).div_ceil(6), (before + piece.len()) * 8 / 6);
            forms.push(("base64", text.as_bytes()[from..to].to_vec()));
        }
    }
    // What is spelled as it is, is plain.
    forms.retain(|(form, needle)| *form == "plain" || needle != piece);
    forms
}

#[test]
fn every_secret_of_the_configuration_has_a_canary() {
    let canaries = Canaries::new();
    let missing: Vec<_> =
        secret_settings().into_iter().filter(|name| canaries.names().all(|known| known != name)).collect();
    assert!(missing.is_empty(), "give {missing:?} a value in Canaries::new");
    assert!(secret_settings().len() >= 9);
}

#[test]
fn a_leak_is_found_in_every_form() {
    let canaries = Canaries::new();
    for name in canaries.names() {
        let value = canaries.get(name).trim();
        // what a careless line of code would write, between other things
        let spelled = [
            ("plain", value.to_owned()),
            ("plain", serde_json::json!({"a": value}).to_string()),
            ("plain", value[..value.len() * 3 / 4].to_owned()),
            ("hex", hex::encode(value)),
            ("hex", hex::encode_upper(format!("token={value}"))),
            ("base64", BASE64_STANDARD.encode(value)),
            ("base64", BASE64_STANDARD.encode(format!("u:{value}"))),
            ("base64", BASE64_URL_SAFE_NO_PAD.encode(format!("me:{value}"))),
            ("percent", form_urlencoded(value)),
            ("percent, each letter", value.bytes().map(|byte| format!("%{byte:02x}")).collect()),
            ("list of numbers", format!("{:?}", value.as_bytes())),
            ("list of numbers", serde_json::to_string(value.as_bytes()).unwrap()),
        ];
        for (form, leak) in spelled {
            let found = canaries.find(format!("a line with {leak} in it").as_bytes());
            // a piece without anything to escape is the same in a form
            let as_expected = |as_form: &str| as_form == form || (form == "percent" && as_form == "plain");
            let expected = found.iter().any(|(of, as_form)| *of == name && as_expected(as_form));
            assert!(expected, "{name} as {form}: {found:?}");
            assert!(found.iter().all(|(of, _)| *of == name), "{name} is not taken for another: {found:?}");
        }
    }
}

#[test]
fn a_key_s_bytes_are_as_secret_as_its_text() {
    let canaries = Canaries::new();
    let text = canaries.get("RELAY_SIGNING_KEY").to_owned();
    let key = BASE64_STANDARD.decode(&text["whsec_".len()..]).unwrap();
    let derived = SigningKeys::parse(&text.into()).unwrap().derive("review-marker/v1");
    for (bytes, name) in [(&key[..], "RELAY_SIGNING_KEY"), (derived[0].1.expose_secret(), MARKER_KEY)] {
        for leak in [bytes.to_vec(), hex::encode(bytes).into_bytes(), format!("{bytes:?}").into_bytes()] {
            assert!(canaries.find(&leak).iter().any(|(of, _)| *of == name), "{name}");
        }
    }
}

#[test]
fn what_is_no_secret_is_none() {
    let canaries = Canaries::new();
    let noise: Vec<u8> = (0..20_000_u32).flat_map(|n| random(&n.to_string())).collect();
    for text in [
        &noise[..],
        hex::encode(&noise).as_bytes(),
        BASE64_STANDARD.encode(&noise).as_bytes(),
        b"whsec_ ghp_ sk-ant-api03-",
    ] {
        assert_eq!(canaries.find(text), Found::new());
    }
}

fn form_urlencoded(value: &str) -> String {
    url::form_urlencoded::byte_serialize(value.as_bytes()).collect()
}
