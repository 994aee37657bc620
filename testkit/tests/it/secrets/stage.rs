//! The three services as their binaries, with a canary for each secret and a tap on each wire between them.

use std::{fs, process::Command, time::Duration};

use http::StatusCode;
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use tempfile::TempDir;
use testkit::{
    github::{APP_ID, HookOwner},
    scenario::{REVIEWER, Scenario},
};

use super::{
    canaries::{Canaries, FOREIGN_HOOK, TARGET_KEY, TARGET_URL, WEBHOOK_URL},
    places::Places,
    wires::{Echo, Tap},
};
use crate::support::{
    World,
    binaries::{Process, binary, port},
    pull_request, until,
};

/// As much as anybody can ask to be told. What libraries of others tell at this level is their own, and is told too.
const EVERYTHING: &str = "trace";

pub struct Stage {
    pub world: World,
    pub canaries: Canaries,
    pub places: Places,
    pub relay: Process,
    pub claude: Process,
    pub ollama: Process,
    /// Where the relay's metrics are.
    pub metrics: String,
    taps: Vec<(&'static str, Tap)>,
    /// What may hold secrets: not searched.
    settings: TempDir,
    _bot: Echo,
}

impl Stage {
    pub async fn set(canaries: Canaries) -> Self {
        let scenario = Scenario::default();
        let world = World::start(&scenario).await;
        let [relay, claude, ollama] = ["relay", "claude-endpoint", "ollama-endpoint"]
            .map(|name| Process::new(&world, name, Vec::new()));
        let bot = Echo::answering(StatusCode::INTERNAL_SERVER_ERROR).await;
        let (github, anthropic) = (world.github.url(), world.anthropic.url());
        let mut taps = Vec::new();
        for (name, url) in [
            ("wire from the relay to GitHub", &github),
            ("wire from the relay to the claude-endpoint", &claude.url),
            ("wire from the relay to the ollama-endpoint", &ollama.url),
            ("wire from the relay to the extra target", &bot.url),
            ("wire from the claude-endpoint to GitHub", &github),
            ("wire from the claude-endpoint to Anthropic", &anthropic),
            ("wire from the claude-endpoint to the memory", &ollama.url),
            ("wire from the ollama-endpoint to Ollama", &world.ollama.url()),
        ] {
            taps.push((name, Tap::before(url).await));
        }
        people(&world, &canaries, &relay.url);
        let (places, settings) = (Places::default(), tempfile::tempdir().unwrap());
        let metrics = format!("127.0.0.1:{}", port());
        let mut stage =
            Self { world, canaries, places, relay, claude, ollama, metrics, taps, settings, _bot: bot };
        stage.configure();
        stage.metrics = format!("http://{}/metrics", stage.metrics);
        stage
    }

    fn tap(&self, name: &str) -> String {
        self.taps.iter().find(|(known, _)| known.ends_with(name)).unwrap().1.url.clone()
    }

    fn configure(&mut self) {
        let config = self.settings.path().join("relay.toml");
        let bot = format!("{}/hook?token={}", self.tap("extra target"), self.canaries.get(TARGET_URL));
        let target = format!(
            "[[targets]]\nname = \"bot\"\nurl = \"{bot}\"\nevents = [\"pull_request\"]\nsigning_key = \"{}\"\n",
            self.canaries.get(TARGET_KEY)
        );
        fs::write(&config, target).unwrap();
        let relay = [
            ("LISTEN", "127.0.0.1".to_owned()),
            ("METRICS_LISTEN", self.metrics.clone()),
            ("CONFIG", config.display().to_string()),
            ("CLAUDE_ENDPOINT", self.tap("relay to the claude-endpoint")),
            ("OLLAMA_ENDPOINT", self.tap("relay to the ollama-endpoint")),
            ("GITHUB_API_URL", self.tap("relay to GitHub")),
            ("GITHUB_REPOSITORIES", "acme/shop".to_owned()),
            ("GITHUB_APP_ID", APP_ID.to_owned()),
            ("MISSED_EVERY", "1".to_owned()),
            ("GITHUB_PACING_MS", "0".to_owned()),
            ("RATE_LIMIT_ADDRESS", "0".to_owned()),
            ("RELAY_URL", self.relay.url.clone()),
            ("WEBHOOK_URL", webhook_url(&self.canaries, &self.relay.url)),
        ];
        let claude = [
            ("GITHUB_API_URL", self.tap("claude-endpoint to GitHub")),
            ("GITHUB_PACING_MS", "0".to_owned()),
            ("ANTHROPIC_BASE_URL", self.tap("to Anthropic")),
            ("MEMORY_URL", self.tap("to the memory")),
            ("REVIEWER", "anthropic".to_owned()),
            ("JULES_HANDOFF", "on".to_owned()),
            ("RECORD_DIR", self.world.data("records")),
        ];
        let ollama = [("OLLAMA_URL", self.tap("to Ollama"))];
        let secrets = [
            &[
                "GITHUB_WEBHOOK_SECRET",
                "RELAY_SIGNING_KEY",
                "RELAY_ADMIN_TOKEN",
                "GITHUB_TOKEN",
                "GITHUB_APP_PRIVATE_KEY",
            ][..],
            &[
                "RELAY_SIGNING_KEY",
                "GITHUB_TOKEN",
                "HANDOFF_TOKEN",
                "ANTHROPIC_API_KEY",
                "CLAUDE_CODE_OAUTH_TOKEN",
                "MEMORY_TOKEN",
            ],
            &["RELAY_SIGNING_KEY", "MEMORY_TOKEN"],
        ];
        let [relay, claude, ollama] =
            [(relay.to_vec(), secrets[0]), (claude.to_vec(), secrets[1]), (ollama.to_vec(), secrets[2])]
                .map(|(plain, secrets)| self.environment(plain, secrets));
        for (process, name, mut environment) in [
            (&mut self.relay, "relay", relay),
            (&mut self.claude, "claude-endpoint", claude),
            (&mut self.ollama, "ollama-endpoint", ollama),
        ] {
            environment
                .push(("DATA_DIR".to_owned(), self.world.folder.path().join(name).display().to_string()));
            environment.push(("PORT".to_owned(), process.url.rsplit(':').next().unwrap().to_owned()));
            process.environment = environment;
        }
    }

    fn environment(&self, plain: Vec<(&str, String)>, secrets: &[&str]) -> Vec<(String, String)> {
        let secrets = secrets.iter().map(|name| (*name, self.canaries.get(name).to_owned()));
        let log = [("RUST_LOG", EVERYTHING.to_owned()), ("LOG_FORMAT", "json".to_owned())];
        plain.into_iter().chain(secrets).chain(log).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The same secrets from files, by `NAME_FILE`, as most people should give them.
    pub fn secrets_from_files(&mut self) {
        let secrets = super::canaries::secret_settings();
        for process in [&mut self.relay, &mut self.claude, &mut self.ollama] {
            for (name, value) in
                process.environment.clone().into_iter().filter(|(name, _)| secrets.contains(name))
            {
                let file = self.settings.path().join(&name);
                fs::write(&file, value).unwrap();
                process.environment.retain(|(known, _)| *known != name);
                process.set(&format!("{name}_FILE"), &file.display().to_string());
            }
        }
    }

    pub async fn start(&mut self) {
        self.ollama.start(&self.world).await;
        self.claude.start(&self.world).await;
        self.relay.start(&self.world).await;
    }

    /// Ends all three, and adds everything that they have written and sent to the places.
    pub fn stop_and_collect(&mut self) {
        for process in [&mut self.relay, &mut self.claude, &mut self.ollama] {
            process.stop();
        }
        self.places.add_files(self.world.folder.path());
        for (name, tap) in &self.taps {
            self.places.add(*name, tap.heard());
        }
    }

    pub fn http(&self) -> Client {
        self.world.http.clone()
    }

    /// Sends a request, and keeps the whole answer for the search.
    pub async fn ask(&mut self, request: RequestBuilder) -> (u16, String) {
        let answer = request.timeout(Duration::from_secs(30)).send().await.unwrap();
        let status = answer.status().as_u16();
        let headers = answer
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
        let headers: String = headers.collect();
        let body = String::from_utf8_lossy(&answer.bytes().await.unwrap()).into_owned();
        self.places.add("answers", format!("{status}\n{headers}\n{body}"));
        (status, body)
    }

    /// Opens a pull request: GitHub knows it, and the relay is told.
    pub async fn open(&mut self, id: &str, scenario: &Scenario) {
        scenario.load_into(&self.world.github);
        let event = pull_request(id, scenario, "opened");
        let secret = self.canaries.get("GITHUB_WEBHOOK_SECRET");
        let answer = event.send(&format!("{}/github-webhook", self.relay.url), secret).await.unwrap();
        assert_eq!(answer.status, 202, "{}", answer.body);
        self.places.add("answers", answer.body);
    }

    async fn delivery(&mut self, id: &str) -> Value {
        let url = format!("{}/api/deliveries/{id}", self.relay.url);
        let request = self.http().get(url).bearer_auth(self.canaries.get("RELAY_ADMIN_TOKEN"));
        serde_json::from_str(&self.ask(request).await.1).unwrap()
    }

    /// Waits until a target of a delivery has come to `state`.
    pub async fn until(&mut self, id: &str, target: &str, state: &str) {
        let reached = until(async || {
            let delivery = self.delivery(id).await;
            delivery["targets"]
                .as_array()
                .unwrap()
                .iter()
                .any(|one| one["target"] == target && one["state"] == state)
        });
        assert!(reached.await, "{id} did not become {state} at {target}: {:#}", self.delivery(id).await);
    }

    /// Whether the memory has one of this kind.
    pub async fn memory_says(&mut self, kind: &str) -> bool {
        let url = format!("{}/memory/search?repository=acme/shop&q=search&limit=50", self.ollama.url);
        let request = self.http().get(url).bearer_auth(self.canaries.get("MEMORY_TOKEN"));
        self.ask(request).await.1.contains(&format!("\"kind\":\"{kind}\""))
    }

    /// Runs a service's program with that service's environment, and keeps what it prints.
    pub fn run(&mut self, name: &str, words: &[&str]) {
        let process = match name {
            "relay" => &self.relay,
            "claude-endpoint" => &self.claude,
            _ => &self.ollama,
        };
        let output = Command::new(binary(name))
            .args(words)
            .env_clear()
            .envs(process.environment.clone())
            .output()
            .unwrap();
        self.places.add(format!("output of {name}"), [output.stdout, output.stderr].concat());
    }
}

/// Where GitHub sends events to, with a password for a proxy on the way.
fn webhook_url(canaries: &Canaries, relay: &str) -> String {
    format!("{}/github-webhook", relay.replace("://", &format!("://me:{}@", canaries.get(WEBHOOK_URL))))
}

/// Who is who at GitHub.
fn people(world: &World, canaries: &Canaries, relay: &str) {
    let shop = || HookOwner::Repository("acme/shop".to_owned());
    world.github.add_user(canaries.get("GITHUB_TOKEN"), REVIEWER);
    world.github.add_user(canaries.get("HANDOFF_TOKEN"), "ann");
    world.github.add_member("acme/shop", "ann");
    world.github.add_hook_admin(shop(), REVIEWER);
    let chat = canaries.get(FOREIGN_HOOK);
    world.github.add_hook(shop(), &format!("https://chat.example/services/{chat}?token={chat}"), "theirs");
    let secret = canaries.get("GITHUB_WEBHOOK_SECRET");
    world.github.add_hook(shop(), &webhook_url(canaries, relay), secret);
    world.github.set_app(APP_ID, canaries.get("GITHUB_APP_PRIVATE_KEY")).unwrap();
}
