//! Settings that cannot be used are refused by their name, never by their value.

use std::{collections::BTreeMap, fs, net::TcpListener, process::Command};

use super::{canaries::Canaries, places::Places};
use crate::support::binaries::binary;

/// What a service says that has nothing against its settings: its port is held, so that it ends in any case.
const TAKEN: &str = "cannot listen on";

/// A service with one mistake in its settings, and what its error must name.
struct Mistake {
    service: &'static str,
    settings: Vec<(&'static str, String)>,
    named: &'static str,
}

fn mistake(service: &'static str, settings: &[(&'static str, &str)], named: &'static str) -> Mistake {
    let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Mistake { service, settings, named }
}

fn mistakes(canaries: &Canaries, file: &str) -> Vec<Mistake> {
    let get = |name: &str| canaries.get(name).to_owned();
    let (webhook, signing, admin, memory) = (
        get("GITHUB_WEBHOOK_SECRET"),
        get("RELAY_SIGNING_KEY"),
        get("RELAY_ADMIN_TOKEN"),
        get("MEMORY_TOKEN"),
    );
    let (token, app) = (get("GITHUB_TOKEN"), get("GITHUB_APP_PRIVATE_KEY"));
    let with_password_of = |secret: &str| format!("https://me:{secret}@example.org");
    let url = with_password_of(&admin);
    // that one cannot be read, since the password has a slash; this one can
    let readable = with_password_of(&token);
    let broken = app.replace('A', "!");
    let mut all = vec![
        mistake("relay", &[("GITHUB_WEBHOOK_SECRET", &webhook[..15])], "GITHUB_WEBHOOK_SECRET"),
        mistake(
            "relay",
            &[("GITHUB_WEBHOOK_SECRET", &format!("changeme{webhook}"))],
            "GITHUB_WEBHOOK_SECRET",
        ),
        mistake("relay", &[("RELAY_ADMIN_TOKEN", &admin[..15])], "RELAY_ADMIN_TOKEN"),
        mistake(
            "relay",
            &[("GITHUB_APP_ID", "1"), ("GITHUB_APP_PRIVATE_KEY", &broken)],
            "GITHUB_APP_PRIVATE_KEY",
        ),
        mistake("relay", &[("GITHUB_APP_ID", &token), ("GITHUB_APP_PRIVATE_KEY", &app)], "GITHUB_APP_ID"),
        mistake("relay", &[("GITHUB_APP_PRIVATE_KEY", &app)], "GITHUB_APP_ID"),
        mistake("relay", &[("CLAUDE_ENDPOINT", &url)], "CLAUDE_ENDPOINT"),
        mistake("relay", &[("GITHUB_API_URL", &url)], "GITHUB_API_URL"),
        mistake("relay", &[("CLAUDE_ENDPOINT", &readable)], "CLAUDE_ENDPOINT"),
        mistake("relay", &[("GITHUB_API_URL", &readable)], "GITHUB_API_URL"),
        mistake("relay", &[("WEBHOOK_URL", &url)], "WEBHOOK_URL"),
        mistake("relay", &[("WEBHOOK_URL", &readable)], TAKEN),
        mistake("relay", &[("QUEUE_URL", &url.replace("https", "postgres"))], "QUEUE_URL"),
        mistake("ollama-endpoint", &[("MEMORY_TOKEN", &memory[..15])], "MEMORY_TOKEN"),
        mistake("ollama-endpoint", &[("OLLAMA_URL", &url)], "OLLAMA_URL"),
        mistake(
            "ollama-endpoint",
            &[("MCP_ALLOWED_HOSTS", &format!("me:{admin}@host"))],
            "MCP_ALLOWED_HOSTS",
        ),
        mistake("claude-endpoint", &[("ANTHROPIC_BASE_URL", &url)], "ANTHROPIC_BASE_URL"),
        mistake("claude-endpoint", &[("MEMORY_URL", &url)], "MEMORY_URL"),
        mistake("claude-endpoint", &[("MEMORY_URL", &readable)], "MEMORY_URL"),
        mistake("claude-endpoint", &[("ANTHROPIC_BASE_URL", &readable)], "ANTHROPIC_BASE_URL"),
        mistake(
            "claude-endpoint",
            &[("GITHUB_TOKEN", &token), ("GITHUB_APP_ID", "1"), ("GITHUB_APP_PRIVATE_KEY", &app)],
            "GITHUB_TOKEN",
        ),
    ];
    let unfit = [
        signing.replacen("whsec_", "whsec", 1),
        signing.replacen("whsec_", "whsec_!", 1),
        signing[..30].to_owned(),
    ];
    for service in ["relay", "claude-endpoint", "ollama-endpoint"] {
        all.extend(
            unfit.iter().map(|key| mistake(service, &[("RELAY_SIGNING_KEY", key)], "RELAY_SIGNING_KEY")),
        );
        all.push(mistake(service, &[("RELAY_SIGNING_KEY_FILE", file)], "RELAY_SIGNING_KEY"));
    }
    all
}

/// Configuration files with a mistake near a secret.
fn files(canaries: &Canaries) -> Vec<String> {
    let (admin, key) = (canaries.get("RELAY_ADMIN_TOKEN"), canaries.get(super::canaries::TARGET_KEY));
    let target =
        |rest: &str| format!("[[targets]]\nname = \"bot\"\nurl = \"https://example.org/\"\n{rest}\n");
    vec![
        format!("relay_admin_token = \"{admin}"),
        format!("relay_admin_token = {admin}"),
        format!("relay_admin_tokn = \"{admin}\""),
        format!("relay_admin_token = {{ value = \"{admin}\" }}"),
        format!("relay_admin_token = \"{}\"", &admin[..15]),
        target(&format!("signing_key = \"{}\"", &key["whsec_".len()..])),
        target(&format!("signing_keys = \"{key}\"")),
        target(&format!("signing_key = [\"{key}\"]")),
        target(&format!("signing_key = \"{key}\"\nsigning_key_file = \"x\"")),
        target(&format!("signing_key = \"{key}\"")).replace("https://", &format!("https://me:{key}@")),
        target(&format!("signing_key = \"{key}\"")).replace("bot", key),
        target(&format!("signing_key = \"{key}\"")).replace("https://example.org/", key),
    ]
}

#[test]
fn a_setting_that_cannot_be_used_is_named_and_not_shown() {
    let canaries = Canaries::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("key"), canaries.get("RELAY_SIGNING_KEY")).unwrap();
    let mut all = mistakes(&canaries, &path("key"));
    for (nth, text) in files(&canaries).iter().enumerate() {
        let file = path(&format!("relay-{nth}.toml"));
        fs::write(&file, text).unwrap();
        all.push(Mistake { service: "relay", settings: vec![("CONFIG", file)], named: "" });
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut places = Places::default();
    for (nth, mistake) in all.iter().enumerate() {
        let Mistake { service, settings, named } = mistake;
        let mut environment = BTreeMap::from([
            ("RELAY_SIGNING_KEY", canaries.get("RELAY_SIGNING_KEY").to_owned()),
            ("GITHUB_WEBHOOK_SECRET", canaries.get("GITHUB_WEBHOOK_SECRET").to_owned()),
            ("DATA_DIR", path("data")),
            ("RUST_LOG", "trace".to_owned()),
            ("LISTEN", "127.0.0.1".to_owned()),
            ("PORT", taken.local_addr().unwrap().port().to_string()),
            ("METRICS_LISTEN", "127.0.0.1:0".to_owned()),
        ]);
        environment.extend(settings.iter().cloned());
        let output = Command::new(binary(service)).env_clear().envs(&environment).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!output.status.success() && said.contains(named), "{service} {settings:?} said: {said}");
        places.add(format!("{service}, mistake {nth}, {}", settings[0].0), said);
    }
    let leaks = places.leaks(&canaries, &[]);
    assert!(leaks.is_empty(), "settings are shown: {leaks:#?}");
}
