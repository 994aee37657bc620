//! What can be wrong as the VPS sees it.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    process::Command,
};

use queue::{Finish, NewDelivery, Route};
use testkit::{scenario::Scenario, sshd::Sshd};

use super::{Seen, Site, ask, command, doctor, flags};
use crate::support::{
    ADMIN_TOKEN, SIGNING_KEY, World,
    binaries::{Process, port},
};

mod github;
mod sshd;

const OTHER_KEY: &str = "whsec_b3RoZXIta2V5LW90aGVyLWtleS1vdGhlci1rZXk=";
const DOWN: &str = "http://127.0.0.1:9";

/// A relay's settings in a folder of its own, whose endpoints are at these ports; nothing runs.
fn alone(folder: &Path, claude: u16, ollama: u16, changes: &[(&str, &str)]) -> Vec<String> {
    let (data, relay) = (folder.join("relay").display().to_string(), port().to_string());
    let [claude, ollama] = [claude, ollama].map(|port| format!("http://127.0.0.1:{port}"));
    let base = [
        ("--data-dir", data.as_str()),
        ("--port", relay.as_str()),
        ("--listen", "127.0.0.1"),
        ("--github-webhook-secret", "0123456789abcdef0123456789abcdefX"),
        ("--relay-signing-key", SIGNING_KEY),
        ("--relay-admin-token", ADMIN_TOKEN),
        ("--claude-endpoint", claude.as_str()),
        ("--ollama-endpoint", ollama.as_str()),
    ];
    flags(&flags(&[], &base), changes)
}

/// The doctor's look at the road to the claude-endpoint, on which it finds whatever listens at this port.
async fn road(claude: u16) -> Seen {
    let folder = tempfile::tempdir().unwrap();
    doctor("relay", &alone(folder.path(), claude, 9, &[]), &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_that_is_down_is_named_before_what_is_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let settings = alone(folder.path(), 9, 9, &[]);
    let seen = doctor("relay", &settings, &[]).await;
    seen.fails("tunnel", "claude listener", "nobody listens on 127.0.0.1:9", "setup-tunnel.sh restart");
    assert_eq!(seen.check("claude-endpoint", "service").0, "skipped");
    seen.fails("relay", "connection", "nothing answers", "systemctl start relay");
    assert_eq!(seen.json["cause"]["hop"], "relay", "the journey begins before the tunnel");
    assert!(!folder.path().join("relay").exists(), "a doctor makes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_squats_on_the_port_is_named() {
    let squatter = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = squatter.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in squatter.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let body = r#"{"status":"accepted"}"#;
            let _ = write!(
                stream,
                "HTTP/1.1 202 Accepted\r\nserver: squatter\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    let seen = road(port).await;
    // This test's own process.
    seen.warns(
        "tunnel",
        "claude listener",
        &format!("(pid {}) listens on 127.0.0.1:{port}, where sshd should", std::process::id()),
        "ss -ltnp",
    );
    seen.fails(
        "claude-endpoint",
        "service",
        "answers 202 (squatter), and not as one of our services",
        "CLAUDE_ENDPOINT",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_open_to_the_internet_or_on_ipv6_alone_is_named() {
    let open = TcpListener::bind("0.0.0.0:0").unwrap();
    let seen = road(open.local_addr().unwrap().port()).await;
    seen.fails("tunnel", "claude listener", "listens on all addresses", "GatewayPorts no");
    let Ok(v6) = TcpListener::bind("[::1]:0") else {
        eprintln!("skipped in part: this machine has no IPv6");
        return;
    };
    road(v6.local_addr().unwrap().port()).await.fails(
        "tunnel",
        "claude listener",
        "[::1]:",
        "setup-tunnel.sh restart",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_end_and_one_where_nothing_runs_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let (vps, home) = (port(), port());
    let sshd = Sshd::start(folder.path(), &[format!("127.0.0.1:{vps}")]).await.unwrap();
    let _tunnel = sshd.tunnel(&[(vps, home)]).unwrap();
    assert!(testkit::sshd::listens_at(vps).await);
    let seen = road(vps).await;
    seen.is("ok", "tunnel", "claude listener", "sshd", "");
    seen.fails(
        "tunnel",
        "claude connection",
        "the tunnel is up, and nothing listens at its end",
        "start-ai-services.sh",
    );

    // The kernel takes connections for it, and it never answers.
    let frozen = TcpListener::bind(("127.0.0.1", home)).unwrap();
    let seen = road(vps).await;
    drop(frozen);
    seen.fails("tunnel", "claude connection", "takes connections and says nothing", "frozen");
    assert_eq!(seen.check("claude-endpoint", "service").0, "skipped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_a_clock_or_a_port_that_differs_is_told_apart() {
    let site = Site::start().await;
    let seen = doctor("relay", &site.relay(&[("--relay-signing-key", OTHER_KEY)]), &["--offline"]).await;
    seen.fails("claude-endpoint", "signatures", "does not match any configured key", "RELAY_SIGNING_KEY");
    let both = format!("{OTHER_KEY},{SIGNING_KEY}");
    let seen = doctor("relay", &site.relay(&[("--relay-signing-key", &both)]), &["--offline"]).await;
    seen.warns("ollama-endpoint", "signatures", "knows number 2 of 2", "add the first key");
    let [claude, ollama] = [&site.binaries.claude.url, &site.binaries.ollama.url];
    let swapped = site.relay(&[("--claude-endpoint", ollama), ("--ollama-endpoint", claude)]);
    let seen = doctor("relay", &swapped, &["--offline"]).await;
    seen.fails(
        "claude-endpoint",
        "service",
        "the ollama-endpoint answers where the claude-endpoint should",
        "mixed up",
    );

    if Command::new("faketime").arg("--version").output().is_err() {
        eprintln!("skipped in part: faketime is missing; on Debian: apt-get install faketime");
        return;
    }
    let well = site.relay(&[]);
    let mut late = Command::new("faketime");
    let usual = command("relay", &well, &["--offline", "--json"]);
    late.args(["-f", "+10m"]).arg(usual.get_program()).args(usual.get_args()).env_clear();
    late.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    let seen = ask(late).await;
    seen.fails("claude-endpoint", "signatures", "timestamp", "timedatectl set-ntp true");
    seen.fails("claude-endpoint", "clock", "s behind this machine", "timedatectl");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_missing_weak_or_wrong_are_named_without_being_shown() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().display().to_string();
    let seen = doctor("relay", &flags(&[], &[("--data-dir", &data), ("--port", "9")]), &[]).await;
    seen.fails("settings", "GITHUB_WEBHOOK_SECRET", "is not set", "relay.env");
    seen.fails("settings", "RELAY_SIGNING_KEY", "is not set", "relay.env");
    seen.warns("settings", "RELAY_ADMIN_TOKEN", "closed", "openssl");
    let file = folder.path().join("secret");
    fs::write(&file, "canary-secret-in-a-file-0123456789").unwrap();
    let file = file.display().to_string();
    for (changes, check, status, says, mend) in [
        (
            &[("--github-webhook-secret", "changeme-canary-changeme")][..],
            "GITHUB_WEBHOOK_SECRET",
            "fail",
            "placeholder",
            "openssl",
        ),
        (&[("--github-webhook-secret", "canary")], "GITHUB_WEBHOOK_SECRET", "fail", "shorter", "openssl"),
        (
            &[("--github-webhook-secret", "canary-of-20-letters")],
            "GITHUB_WEBHOOK_SECRET",
            "warn",
            "20 characters",
            "openssl",
        ),
        (&[("--relay-signing-key", "whsec_canary")], "RELAY_SIGNING_KEY", "fail", "base64", "openssl"),
        (&[("--relay-admin-token", "canary")], "RELAY_ADMIN_TOKEN", "fail", "shorter", "openssl"),
        (
            &[("--relay-admin-token", "0123456789abcdef0123456789abcdefX")],
            "secrets apart",
            "fail",
            "are the same",
            "its own",
        ),
        (&[("--github-token-file", &file)], "GITHUB_TOKEN file", "warn", "mode 6", "chmod 600"),
        (&[("--webhook-url", "ftp://x/y")], "configuration", "fail", "WEBHOOK_URL", "start the relay again"),
    ] {
        let seen = doctor("relay", &alone(folder.path(), 9, 9, changes), &["--offline"]).await;
        seen.is(status, "settings", check, says, mend);
        assert!(!seen.json.to_string().contains("canary"), "{:#}", seen.json);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_runs_with_other_settings_is_named() {
    let site = Site::start().await;
    let other = "another-webhook-secret-0123456789-abc";
    let seen = doctor("relay", &site.relay(&[("--github-webhook-secret", other)]), &[]).await;
    seen.fails("relay", "webhook secret", "does not know", "restart");
    seen.fails("public url", "signed ping", "refuses a ping", "another relay");
    let seen = doctor("relay", &site.relay(&[("--relay-admin-token", other)]), &["--offline"]).await;
    seen.fails("relay", "admin token", "does not take", "restart");
    let wrong_path = format!("{}/hook", site.binaries.relay.url);
    let seen = doctor("relay", &site.relay(&[("--webhook-url", &wrong_path)]), &[]).await;
    seen.fails("public url", "signed ping", "is no relay's webhook", "/github-webhook");
    seen.warns("public url", "url", "not https", "TLS proxy");
    let seen =
        doctor("relay", &site.relay(&[("--webhook-url", "http://127.0.0.1:9/github-webhook")]), &[]).await;
    seen.fails("public url", "signed ping", "does not answer", "firewall");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let seen = doctor("relay", &site.relay(&[("--port", &port)]), &["--offline"]).await;
    seen.fails("relay", "address", "where the relay should", "stop it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_damaged_and_events_that_wait_or_failed_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let settings = alone(folder.path(), 9, 9, &[]);
    let file = folder.path().join("relay/queue.db");
    let queue =
        queue::open(&format!("sqlite://{}", file.display()), queue::Options::default()).await.unwrap();
    for id in ["d1", "d2"] {
        let route = |lane: &str| Route { lane: lane.to_owned(), key: id.to_owned(), replaces: None };
        queue
            .put(NewDelivery {
                id: id.to_owned(),
                digest: None,
                replay_window: std::time::Duration::ZERO,
                redelivery: 0,
                event: "push".to_owned(),
                action: None,
                repository: None,
                headline: String::new(),
                note: None,
                received_at: jiff::Timestamp::now() - jiff::SignedDuration::from_hours(2),
                payload: b"{}".to_vec(),
                routes: vec![route("claude"), route("ollama")],
            })
            .await
            .unwrap();
    }
    queue.record("d1", "claude", 0, Finish::new("failed", "why")).await.unwrap();
    queue.wind_down().await.unwrap();
    drop(queue);
    let seen = doctor("relay", &settings, &["--offline"]).await;
    seen.warns("relay", "store file", "no damage; 3 events wait", "systemctl start relay");

    let world = World::start(&Scenario::default()).await;
    let mut to_run = flags(&settings, &[("--metrics-listen", "127.0.0.1:0")]);
    let at = to_run.iter().position(|flag| flag == "--port").unwrap();
    to_run.drain(at..at + 2);
    let mut relay = Process::new(&world, "relay", to_run);
    relay.start(&world).await;
    let running = flags(&settings, &[("--port", relay.url.rsplit(':').next().unwrap())]);
    let seen = doctor("relay", &running, &["--offline"]).await;
    seen.warns("relay", "claude: oldest waiting", "waited for 2.0 h", "--state pending --target claude");
    seen.warns("relay", "claude: dead letters", "1 events failed for good", "redeliver --state dead");
    relay.kill();

    // What the log holds would be looked at instead.
    for end in ["-wal", "-shm"] {
        let _ = fs::remove_file(file.with_extension(format!("db{end}")));
    }
    let mut bytes = fs::read(&file).unwrap();
    // The first page has the list of tables.
    bytes[8192..].fill(0x5A);
    fs::write(&file, bytes).unwrap();
    let seen = doctor("relay", &settings, &["--offline"]).await;
    seen.fails("relay", "store file", "damaged", "relay restore FILE --replace");
}
