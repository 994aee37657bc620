//! The relay as `deploy/docker-compose.yaml` runs it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    super::child::{PATIENCE, until},
    engine::{Engine, run},
    report::Report,
    traffic::Traffic,
};

const IMAGE: &str = "ai-relay-test";
/// Holds the binary alone, in place of the stage that builds it.
const BINARY: &str = "ai-relay-test-binary";
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Between two looks at a container.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The compose file's only service, up or not.
pub(super) struct Container<'a> {
    engine: &'a Engine,
    compose_file: PathBuf,
    /// What is other than in the compose file.
    override_file: PathBuf,
    folder: PathBuf,
    environment: Vec<(&'static str, String)>,
    url: String,
    http: reqwest::Client,
}

impl<'a> Container<'a> {
    pub(super) fn new(
        engine: &'a Engine,
        root: &Path,
        folder: &Path,
        traffic: &Traffic,
    ) -> anyhow::Result<Self> {
        let root = root.canonicalize().with_context(|| format!("there is no {}", root.display()))?;
        let override_file = folder.join("override.yaml");
        fs::write(&override_file, overrides(traffic))?;
        Ok(Self {
            engine,
            compose_file: root.join("deploy/docker-compose.yaml"),
            override_file,
            folder: folder.to_owned(),
            environment: traffic.settings(),
            url: traffic.relay(),
            http: shared::client::http(Some(Duration::from_secs(10)))?,
        })
    }

    /// Builds the image by the compose file, with this binary in it.
    pub(super) async fn build(&self, relay: &Path) -> anyhow::Result<()> {
        let context = self.folder.join("binary");
        fs::create_dir_all(&context)?;
        fs::copy(relay, context.join("relay"))?;
        fs::copy(CERTIFICATES, context.join("ca-certificates.crt"))
            .with_context(|| format!("{CERTIFICATES} is missing; install ca-certificates"))?;
        let dockerfile =
            format!("FROM scratch\nCOPY relay /relay\nCOPY ca-certificates.crt {CERTIFICATES}\n");
        fs::write(context.join("Dockerfile"), dockerfile)?;
        let place = context.display().to_string();
        self.engine.docker(["build", "--quiet", "--tag", BINARY, place.as_str()]).await?;
        run(self.compose(&["build"])).await?;
        Ok(())
    }

    fn compose(&self, words: &[&str]) -> Command {
        let mut command = self.engine.compose();
        command.args(["--project-name", "ai-relay-test", "--file"]).arg(&self.compose_file);
        command.arg("--file").arg(&self.override_file).args(words);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(super) async fn describe_image(
        &self,
        most_mb: Option<u64>,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let image = self.inspect(IMAGE).await?;
        let bytes = image["Size"].as_u64().context("the image has no size")?;
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let size =
            format!("{:.1} MB ({})", bytes as f64 / 1e6, image["Architecture"].as_str().unwrap_or("?"));
        report.row("image", &size, most_mb.is_none_or(|most| bytes <= most * 1_000_000));
        let user = image["Config"]["User"].as_str().unwrap_or_default();
        report.row("user of the image", user, user == "65532:65532");
        let health = &image["Config"]["Healthcheck"]["Test"];
        let words = health.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
        report.row("health check", &words.join(" "), words == ["CMD", "/relay", "healthcheck"]);
        Ok(())
    }

    /// Creates and starts it, and waits until it takes webhooks.
    pub(super) async fn up(&self) -> anyhow::Result<()> {
        run(self.compose(&["up", "--detach", "--no-build"])).await?;
        self.is_ready().await
    }

    /// Waits until it takes webhooks.
    pub(super) async fn is_ready(&self) -> anyhow::Result<()> {
        let ready = until(PATIENCE, async || self.status("/readyz").await == Some(200)).await;
        ensure!(ready, "the relay does not answer at {}", self.url);
        Ok(())
    }

    /// Runs a script in which `docker` is the engine that this container is in.
    pub(super) async fn script(&self, script: &str) -> anyhow::Result<String> {
        run(self.engine.shell(script)).await
    }

    /// Where this test may keep files.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The volume, seen from outside.
    pub(super) async fn data(&self) -> anyhow::Result<PathBuf> {
        let container = self.inspect(&self.id().await?).await?;
        let source = container["Mounts"][0]["Source"].as_str().context("the container has no volume")?;
        Ok(PathBuf::from(source))
    }

    /// Stops and removes it, as Coolify does before it starts the next one.
    pub(super) async fn take_away(&self) -> anyhow::Result<()> {
        run(self.compose(&["rm", "--stop", "--force"])).await.map(drop)
    }

    /// `docker compose down`: all but the volume goes.
    pub(super) async fn down(&self) -> anyhow::Result<()> {
        run(self.compose(&["down"])).await.map(drop)
    }

    /// With the volume.
    pub(super) async fn remove(&self) -> anyhow::Result<()> {
        run(self.compose(&["down", "--volumes", "--timeout", "20"])).await.map(drop)
    }

    /// The container's id.
    pub(super) async fn id(&self) -> anyhow::Result<String> {
        let id = run(self.compose(&["ps", "--quiet", "relay"])).await?.trim().to_owned();
        ensure!(!id.is_empty(), "there is no container");
        Ok(id)
    }

    /// What the engine knows of an image or a container.
    pub(super) async fn inspect(&self, name: &str) -> anyhow::Result<Value> {
        let json = self.engine.docker(["inspect", name]).await?;
        let all: Vec<Value> = serde_json::from_str(&json)?;
        all.into_iter().next().with_context(|| format!("the engine does not know {name}"))
    }

    /// Runs the relay's program in the container.
    pub(super) async fn relay(&self, words: &[&str]) -> anyhow::Result<String> {
        let id = self.id().await?;
        self.engine.docker(["exec", id.as_str(), "/relay"].iter().chain(words)).await
    }

    pub(super) async fn status(&self, path: &str) -> Option<u16> {
        Some(self.http.get(format!("{}{path}", self.url)).send().await.ok()?.status().as_u16())
    }

    pub(super) async fn log(&self) -> String {
        run(self.compose(&["logs", "--no-color", "--tail", "30"])).await.unwrap_or_default()
    }

    /// The engine's own verdict, by the health check of the image, while no target is there.
    pub(super) async fn becomes_healthy(&self, report: &mut Report) -> anyhow::Result<()> {
        let (id, deadline) = (self.id().await?, Instant::now() + PATIENCE);
        let mut health = String::new();
        while health != "healthy" && Instant::now() < deadline {
            let container = self.inspect(&id).await?;
            health = container["State"]["Health"]["Status"].as_str().unwrap_or_default().to_owned();
            sleep(LOOK_EVERY).await;
        }
        let said = self.relay(&["healthcheck"]).await?;
        let away = said.lines().filter(|line| line.starts_with("warn  target:")).count();
        let found = format!("{health}, {away} of 2 targets away");
        report.row("health while the tunnel is down", &found, health == "healthy" && away == 2);
        Ok(())
    }

    /// Whether the relay could call GitHub by https.
    pub(super) async fn has_certificates(&self, report: &mut Report) {
        let missing = self.log().await.contains("no CA certificates");
        report.row("CA certificates", if missing { "missing" } else { "found" }, !missing);
    }

    /// SIGTERM ends it in good time and with nothing left to do.
    pub(super) async fn stops(&self, report: &mut Report) -> anyhow::Result<()> {
        let (id, began) = (self.id().await?, Instant::now());
        run(self.compose(&["stop"])).await?;
        let took = began.elapsed();
        let code = self.inspect(&id).await?["State"]["ExitCode"].as_i64();
        let found = format!("exit code {} after {:.1} s", code.unwrap_or(-1), took.as_secs_f64());
        report.row("stopping", &found, code == Some(0) && took < Duration::from_secs(20));
        Ok(())
    }
}

/// The image's name, where its binary comes from, and the stand-ins in place of the world.
fn overrides(traffic: &Traffic) -> String {
    let [claude, ollama] = traffic.targets();
    let github = traffic.github_url();
    format!(
        "services:
  relay:
    image: {IMAGE}
    build:
      args:
        BINARY: {BINARY}
    environment:
      CLAUDE_ENDPOINT: {claude}
      OLLAMA_ENDPOINT: {ollama}
      GITHUB_API_URL: {github}
      GITHUB_PACING_MS: \"0\"
      MISSED_EVERY: \"1\"
      METRICS_LISTEN: 127.0.0.1:0
"
    )
}
