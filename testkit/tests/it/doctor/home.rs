//! What can be wrong as the machine at home sees it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use testkit::{ollama::Model, sshd::Sshd};

use super::{Site, doctor};
use crate::support::{binaries::Process, until};

/// A program in the Claude CLI's place that answers as it does.
fn claude_cli(folder: &Path, logged_in: bool) -> PathBuf {
    let program = folder.join("claude");
    let auth = format!("{{\"loggedIn\": {logged_in}, \"authMethod\": \"claude.ai\"}}");
    let text = format!(
        "#!/bin/sh\ncase \"$1\" in --version) echo '2.1.197 (Claude Code)' ;; auth) echo '{auth}' ;; esac\n"
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_down_open_or_runs_with_another_key_is_named() {
    let mut site = Site::start().await;
    for (service, settings) in [("claude-endpoint", site.claude(&[])), ("ollama-endpoint", site.ollama(&[]))]
    {
        let other = super::flags(
            &settings,
            &[("--relay-signing-key", "whsec_b3RoZXIta2V5LW90aGVyLWtleS1vdGhlci1rZXk=")],
        );
        let seen = doctor(service, &other, &["--offline"]).await;
        seen.fails(service, "signatures", "does not match", "runs with another RELAY_SIGNING_KEY");
    }
    let settings = site.claude(&[]);
    site.binaries.claude.kill();
    let seen = doctor("claude-endpoint", &settings, &["--offline"]).await;
    seen.fails("claude-endpoint", "connection", "nothing answers", "start-ai-services.sh");
    let mut flags = site.claude(&[("--listen", "0.0.0.0")]);
    let at = flags.iter().position(|flag| flag == "--port").unwrap();
    flags.drain(at..at + 2);
    let mut open = Process::new(&site.world, "claude-endpoint", flags);
    open.start(&site.world).await;
    let settings = site.claude(&[("--listen", "0.0.0.0"), ("--port", open.url.rsplit(':').next().unwrap())]);
    let seen = doctor("claude-endpoint", &settings, &["--offline"]).await;
    seen.fails("claude-endpoint", "address", "other machines reach it", "LISTEN=127.0.0.1");
    seen.warns("tunnel", "relay", "has not asked since", "relay doctor");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_that_leads_elsewhere_or_meets_another_host_key_is_named() {
    let site = Site::start().await;
    let sshd = Sshd::start(site.world.folder.path(), &["127.0.0.1:5050".to_owned()]).await.unwrap();
    let ssh = site.world.folder.path().join("tunnel");
    let local: u16 = Site::port(&site.binaries.claude.url).parse().unwrap();
    sshd.set_up(&ssh, &[local]).unwrap();
    let folder = ssh.display().to_string();
    let look =
        async |service, settings: Vec<String>| doctor(service, &settings, &["--tunnel-dir", &folder]).await;
    let seen = look("claude-endpoint", site.claude(&[])).await;
    seen.is("ok", "tunnel", "forward", &format!("port {local}"), "");
    seen.is("ok", "tunnel", "host key", "shows the pinned ed25519 SHA256:", "");
    let seen = look("ollama-endpoint", site.ollama(&[])).await;
    seen.fails("tunnel", "forward", &format!("leads to {local}"), "OLLAMA_ENDPOINT_PORT");

    fs::set_permissions(ssh.join("id_ed25519"), fs::Permissions::from_mode(0o644)).unwrap();
    let known = fs::read_to_string(ssh.join("known_hosts")).unwrap();
    let other = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(ssh.join("other"))
        .status();
    assert!(other.unwrap().success());
    let place = known.split(' ').next().unwrap();
    fs::write(
        ssh.join("known_hosts"),
        format!("{place} {}", fs::read_to_string(ssh.join("other.pub")).unwrap()),
    )
    .unwrap();
    let seen = look("claude-endpoint", site.claude(&[])).await;
    seen.fails("tunnel", "host key", "not the pinned one: somebody may be in between", "relay doctor");
    seen.warns("tunnel", "key file", "mode 644", "chmod 600");
    drop(sshd);
    let seen = look("claude-endpoint", site.claude(&[])).await;
    seen.fails("tunnel", "host key", "no ssh server answers", "firewall");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_review_is_named_with_what_is_missing() {
    let site = Site::start().await;
    let look = async |changes: &[(&str, &str)]| doctor("claude-endpoint", &site.claude(changes), &[]).await;
    let seen = look(&[("--anthropic-api-key", "canary")]).await;
    seen.fails("reviewer", "anthropic: CLAUDE_MODEL", "the key is refused", "ANTHROPIC_API_KEY");
    assert!(!seen.json.to_string().contains("canary"));
    seen.fails("reviewer", "in use", "nobody can be asked", "REVIEWER");
    let seen = look(&[("--claude-model", "claude-none-9")]).await;
    seen.fails("reviewer", "anthropic: CLAUDE_MODEL", "no model claude-none-9", "set CLAUDE_MODEL");
    let nowhere = "http://127.0.0.1:9";
    look(&[("--anthropic-base-url", nowhere)]).await.fails(
        "reviewer",
        "anthropic: CLAUDE_MODEL",
        "cannot be reached",
        "status.anthropic.com",
    );
    assert!(site.world.anthropic.requests().is_empty(), "nothing was asked that costs");

    let (yes, no) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let [yes, no] = [(yes.path(), true), (no.path(), false)]
        .map(|(folder, in_)| claude_cli(folder, in_).display().to_string());
    let cli = [("--reviewer", "claude-cli")];
    let seen = look(&[&cli[..], &[("--claude-cli", "claude-that-is-none")]].concat()).await;
    seen.fails("reviewer", "claude-cli: program", "cannot run", "npm install -g");
    let seen = look(&[&cli[..], &[("--claude-cli", &no)]].concat()).await;
    seen.fails("reviewer", "claude-cli: login", "not logged in", "claude setup-token");
    let seen = look(&[&cli[..], &[("--claude-cli", &yes)]].concat()).await;
    seen.is("ok", "reviewer", "claude-cli: login", "claude.ai", "");
    seen.is("ok", "reviewer", "claude-cli: as a service", "services have", "");
}

/// The login trap: who starts the doctor is logged in, and the service that somebody else started is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_the_login_of_the_doctor_s_shell_is_named() {
    let site = Site::start().await;
    let (folder, with_login) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let program = folder.path().join("claude");
    let by_home = "#!/bin/sh\nin=false; [ -e \"$HOME/login\" ] && in=true\n\
        case \"$1\" in --version) echo '2.1.197 (Claude Code)' ;; \
        auth) echo \"{\\\"loggedIn\\\": $in, \\\"authMethod\\\": \\\"claude.ai\\\"}\" ;; esac\n";
    fs::write(&program, by_home).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(with_login.path().join("login"), "").unwrap();
    let [program, here, there] =
        [&program, with_login.path(), folder.path()].map(|path| path.display().to_string());
    let settings = |home: &str, data: &str| {
        let cli = [("--reviewer", "claude-cli"), ("--claude-cli", &program), ("--home", home)];
        super::flags(&site.claude(&cli), &[("--data-dir", data)])
    };
    let data = site.world.data("another-claude-endpoint");
    let mut flags = settings(&there, &data);
    let at = flags.iter().position(|flag| flag == "--port").unwrap();
    flags.drain(at..at + 2);
    let mut service = Process::new(&site.world, "claude-endpoint", flags);
    service.start(&site.world).await;
    let knows = until(async || {
        let health = site.health(&service.url).await.unwrap_or_default();
        health["checks"]["reviewer"].to_string().contains("not logged in")
    });
    assert!(knows.await);
    let here = super::flags(&settings(&here, &data), &[("--port", &Site::port(&service.url))]);
    let seen = doctor("claude-endpoint", &here, &["--offline"]).await;
    seen.is("ok", "reviewer", "claude-cli: login", "claude.ai", "");
    let theirs = "reviewer, as the service sees it";
    seen.warns("claude-endpoint", theirs, "not logged in", "set it in .env");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claude_cli_that_services_would_not_find_is_named() {
    let site = Site::start().await;
    let folder = tempfile::tempdir().unwrap();
    let program = claude_cli(folder.path(), true);
    let here = folder.path().display();
    let settings = site.claude(&[("--reviewer", "claude-cli"), ("--path", &format!("{here}:/usr/bin:/bin"))]);
    let seen = doctor("claude-endpoint", &settings, &["--offline"]).await;
    seen.warns(
        "reviewer",
        "claude-cli: as a service",
        "is not on the PATH that services have",
        &format!("CLAUDE_CLI={}", program.display()),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_or_a_github_that_refuses_is_named() {
    let site = Site::start().await;
    let look = async |changes: &[(&str, &str)], more: &[&str]| {
        doctor("claude-endpoint", &site.claude(changes), more).await
    };
    let token = "another-memory-token-0123456789abcdef";
    let seen = look(&[("--memory-token", token)], &[]).await;
    seen.warns("memory", "access", "refuses MEMORY_TOKEN", "MEMORY_TOKEN must be the one");
    let seen = look(&[("--memory-url", "http://127.0.0.1:9")], &[]).await;
    seen.warns("memory", "connection", "nothing answers", "start-ai-services.sh");
    look(&[("--github-token", "wrong")], &[]).await.fails(
        "github",
        "credentials",
        "GitHub refuses",
        "GITHUB_TOKEN",
    );
    let seen = look(&[], &["--repository", "acme/none"]).await;
    seen.fails("github", "acme/none", "GitHub knows no", "Contents: read");
    let github = &site.world.github;
    github.add_app().unwrap();
    let installation = github.install_app(&[&site.repository]);
    github.permit_app(installation, "checks", None);
    let key = testkit::github::app_key();
    let mut as_app =
        site.claude(&[("--github-app-id", testkit::github::APP_ID), ("--github-app-private-key", &key)]);
    let at = as_app.iter().position(|flag| flag == "--github-token").unwrap();
    as_app.drain(at..at + 2);
    let seen = doctor("claude-endpoint", &as_app, &["--repository", &site.repository]).await;
    seen.fails("github", "permissions", "lacks checks: write", "Permissions & events");
    seen.is("ok", "github", &site.repository, "seen", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_looks_like_the_memory_is_not_given_its_token() {
    let site = Site::start().await;
    let report = shared::health::Report::new("ollama-endpoint");
    let asked = Arc::new(Mutex::new(String::new()));
    let notes = Arc::clone(&asked);
    let routes = axum::Router::new().fallback(async move |headers: http::HeaderMap| {
        notes.lock().unwrap().push_str(&format!("{headers:?}"));
        axum::Json(report)
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let token = "a-canary-token-0123456789abcdefghij";
    let settings = site.claude(&[("--memory-url", &url), ("--memory-token", token)]);
    let seen = doctor("claude-endpoint", &settings, &["--offline"]).await;
    seen.warns("memory", "signatures", "cannot prove it", "");
    seen.is("skipped", "memory", "access", "MEMORY_TOKEN is not sent", "");
    let asked = asked.lock().unwrap().clone();
    assert!(asked.contains("webhook-signature") && !asked.contains(token), "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ollama_that_is_away_lacks_a_model_or_embeds_otherwise_is_named() {
    let site = Site::start().await;
    let (ollama, settings) = (&site.world.ollama, site.ollama(&[]));
    let look = async || doctor("ollama-endpoint", &settings, &[]).await;
    // One memory with its vector, so that there is something to compare with.
    let add = Command::new(crate::support::binaries::binary("ollama-endpoint"))
        .args(&settings)
        .args(["add", "--repository", "o/r", "We use tabs."])
        .output()
        .unwrap();
    assert!(add.status.success(), "{}", String::from_utf8_lossy(&add.stderr));
    let embedded = until(async || {
        look().await.check("memory", "memory file").1.contains("1 memories") && {
            let url = format!("{}/memory/stats", site.binaries.ollama.url);
            let stats =
                site.world.http.get(url).bearer_auth(crate::support::MEMORY_TOKEN).send().await.unwrap();
            stats.json::<serde_json::Value>().await.unwrap()["vectors"]["with"] == 1
        }
    });
    assert!(embedded.await);
    look().await.is("ok", "ollama", "embedding", "768 numbers", "");

    ollama.set_models(vec![Model::llama3_2(), Model::new("nomic-embed-text:latest", 384)]);
    look().await.fails(
        "ollama",
        "embedding",
        "gives 384 numbers, and 1 stored vectors of it have 768",
        "OLLAMA_EMBED_MODEL",
    );
    ollama.set_models(vec![]);
    let seen = look().await;
    seen.fails("ollama", "embed model", "nomic-embed-text is not there", "ollama pull nomic-embed-text");
    seen.warns("ollama", "chat model", "llama3.2 is not there", "ollama pull llama3.2");
    ollama.stop().await;
    look().await.fails("ollama", "connection", "Ollama does not answer", "ollama serve");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_that_is_damaged_or_newer_is_named() {
    let mut site = Site::start().await;
    let settings = site.ollama(&[]);
    site.binaries.ollama.kill();
    let file = site.world.folder.path().join("ollama-endpoint/memory.db");
    let seen = doctor("ollama-endpoint", &settings, &["--offline"]).await;
    seen.is("ok", "memory", "memory file", "no damage, 0 memories", "");
    let whole = fs::read(&file).unwrap();
    let mut torn = whole.clone();
    // After the header and the first page, where the tables are.
    torn[4096..].fill(0x5A);
    fs::write(&file, &torn).unwrap();
    let seen = doctor("ollama-endpoint", &settings, &["--offline"]).await;
    seen.fails("memory", "memory file", "", "ollama-endpoint restore FILE");
    let mut newer = whole;
    // `user_version`, SQLite's file format, section 1.3.
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    fs::write(&file, &newer).unwrap();
    fs::write(file.with_file_name("queue.db"), [0x5A; 8192]).unwrap();
    let seen = doctor("ollama-endpoint", &settings, &["--offline"]).await;
    seen.fails("memory", "memory file", "newer version", "install the version that wrote it");
    let again = "`relay deliveries redeliver --state handed_over --target ollama`";
    seen.fails("ollama-endpoint", "queue file", "", again);
    let open = site.ollama(&[("--ollama-proxy-admin", "1")]);
    doctor("ollama-endpoint", &open, &["--offline"]).await.warns(
        "settings",
        "proxy",
        "delete and replace models",
        "OLLAMA_PROXY_ADMIN=0",
    );
}
