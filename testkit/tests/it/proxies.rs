//! The snippets for Caddy and nginx in `deploy/`, in the real programs: TLS, large bodies, and who the client is.

use std::{
    fs::{self, File},
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use reqwest::{Certificate, Client};
use serde_json::Value;
use testkit::{
    port::port,
    scenario::Scenario,
    sshd::listens_at,
    webhook::{ContentType, Delivery},
};

use crate::{
    journey::journey_is_complete,
    support::{
        WEBHOOK_SECRET, World,
        binaries::{Binaries, Process},
        pull_request,
    },
};

const NOWHERE: &str = "http://127.0.0.1:9";
/// The most that GitHub sends and the relay takes.
const LARGEST: usize = 25 << 20;

/// A proxy before a relay, running; killed when dropped.
struct Proxy {
    child: Child,
    port: u16,
    certificate: PathBuf,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Caddy,
    Nginx,
}

impl Kind {
    /// Where the program is; `None`, loudly, where it is not installed.
    fn program(self) -> Option<&'static str> {
        let (name, places) = match self {
            Self::Caddy => ("caddy", ["/usr/bin/caddy", "/usr/local/bin/caddy", "/opt/homebrew/bin/caddy"]),
            Self::Nginx => ("nginx", ["/usr/sbin/nginx", "/usr/local/bin/nginx", "/opt/homebrew/bin/nginx"]),
        };
        let found = places.into_iter().find(|place| Path::new(place).exists());
        if found.is_none() {
            eprintln!(
                "SKIPPED: {name} is missing, so its snippet in deploy/ is not tried; install it with your package manager"
            );
        }
        found
    }
}

fn deploy(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy").join(name);
    fs::read_to_string(path).unwrap()
}

/// The snippet with other words in it; each must be there.
fn with(snippet: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(snippet.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the snippet has no `{from}`");
        text.replace(from, to)
    })
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

/// A certificate for 127.0.0.1 and its key.
fn certificate(folder: &Path) -> [PathBuf; 2] {
    let files = ["tls.pem", "tls.key"].map(|name| folder.join(name));
    let names = "subjectAltName=IP:127.0.0.1";
    run(Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"])
        .args(["-days", "2", "-subj", "/CN=relay", "-addext", names])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-out"])
        .arg(&files[0])
        .arg("-keyout")
        .arg(&files[1]));
    files
}

impl Proxy {
    /// Checks the snippet by the program itself and runs it before the relay at `upstream`.
    async fn start(kind: Kind, program: &str, folder: &Path, upstream: &str) -> Self {
        let (port, [certificate, key]) = (port(), certificate(folder));
        let upstream = upstream.strip_prefix("http://").unwrap();
        let (here, tls) =
            (folder.display().to_string(), [&certificate, &key].map(|file| file.display().to_string()));
        let config = folder.join("proxy.conf");
        let mut command = Command::new(program);
        match kind {
            Kind::Caddy => {
                let name =
                    format!("https://127.0.0.1:{port} {{\n\tbind 127.0.0.1\n\ttls {} {}", tls[0], tls[1]);
                let snippet = deploy("Caddyfile");
                let text = with(&snippet, &[("relay.example.com {", &name), ("127.0.0.1:4200", upstream)]);
                // Its administration and the plain port 80 are of no use here.
                let alone = "{\n\tadmin off\n\tauto_https disable_redirects\n\tstorage file_system HERE\n}\n";
                fs::write(&config, alone.replace("HERE", &here) + &text).unwrap();
                command.args(["run", "--adapter", "caddyfile", "--config"]).arg(&config);
                run(Command::new(program)
                    .args(["validate", "--adapter", "caddyfile", "--config"])
                    .arg(&config)
                    .env("HOME", folder));
            }
            Kind::Nginx => {
                let (listen, live) =
                    (format!("listen 127.0.0.1:{port} ssl;"), "/etc/letsencrypt/live/relay.example.com");
                let text = with(
                    &deploy("nginx.conf"),
                    &[
                        ("listen 443 ssl;", &listen),
                        ("    listen [::]:443 ssl;\n", ""),
                        (&format!("{live}/fullchain.pem"), &tls[0]),
                        (&format!("{live}/privkey.pem"), &tls[1]),
                        ("127.0.0.1:4200", upstream),
                    ],
                );
                fs::write(folder.join("ai-relay.conf"), text).unwrap();
                fs::write(&config, nginx_main()).unwrap();
                command.args(["-p", &here, "-c"]).arg(&config);
                run(Command::new(program).arg("-t").args(["-p", &here, "-c"]).arg(&config));
            }
        }
        let log = File::create(folder.join("proxy.log")).unwrap();
        command.env("HOME", folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().unwrap();
        let proxy = Self { child, port, certificate };
        assert!(listens_at(port).await, "{}", fs::read_to_string(folder.join("proxy.log")).unwrap());
        proxy
    }

    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    /// A client that believes the proxy's certificate alone and calls from this address.
    fn client_at(&self, last: u8) -> Client {
        // So that TLS is set up as in the services.
        drop(shared::client::http(None).unwrap());
        let own = Certificate::from_pem(&fs::read(&self.certificate).unwrap()).unwrap();
        let address = IpAddr::from(Ipv4Addr::new(127, 0, 0, last));
        let builder = Client::builder().tls_certs_only([own]).local_address(address).no_proxy();
        builder.timeout(Duration::from_secs(60)).build().unwrap()
    }

    /// Sends a webhook; status and body of the answer.
    async fn send(&self, delivery: &Delivery) -> (u16, Value) {
        let answer =
            delivery.send_by(&self.client_at(1), &self.url("/github-webhook"), WEBHOOK_SECRET).await.unwrap();
        (answer.status, serde_json::from_str(&answer.body).unwrap_or(Value::String(answer.body)))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One process in its own folder, as the package's nginx.conf would include the snippet.
fn nginx_main() -> &'static str {
    "daemon off; master_process off; pid nginx.pid; error_log stderr;
     events { worker_connections 256; }
     http {
         access_log off;
         client_body_temp_path client; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
         uwsgi_temp_path uwsgi; scgi_temp_path scgi;
         include ai-relay.conf;
     }"
}

/// A relay without targets, whose only trusted proxy is at 127.0.0.1.
fn relay(world: &World) -> Process {
    let mut flags = world.relay_flags(NOWHERE, NOWHERE);
    flags.extend(["--trusted-proxies", "127.0.0.1", "--rate-limit-address", "1"].map(str::to_owned));
    Process::new(world, "relay", flags)
}

/// A push of exactly so many bytes, of which every third is not ASCII.
fn padded(id: &str, size: usize) -> Delivery {
    let start = r#"{"ref":"refs/heads/main","padding":""#;
    let room = size - start.len() - 2;
    let padding = format!("{}{}", "aä".repeat(room / 3), "x".repeat(room % 3));
    let body = format!("{start}{padding}\"}}").into_bytes();
    assert_eq!(body.len(), size);
    Delivery { id: id.to_owned(), event: "push".to_owned(), body, content_type: ContentType::Json }
}

async fn a_journey_goes_through(kind: Kind) {
    let Some(program) = kind.program() else { return };
    let scenario = Scenario::default();
    let world = World::start(&scenario).await;
    let mut binaries = Binaries::new(&world);
    binaries.start(&world).await;
    let proxy = Proxy::start(kind, program, world.folder.path(), &binaries.relay.url).await;
    let site = binaries.site(&world);
    assert_eq!(proxy.send(&pull_request("d1", &scenario, "opened")).await.0, 202);
    journey_is_complete(&world, &site, "d1", &scenario).await;
}

/// The signature is one over the raw bytes: what is accepted has passed byte for byte.
async fn the_largest_body_passes_and_a_larger_one_is_refused_by_the_relay(kind: Kind) {
    let Some(program) = kind.program() else { return };
    let world = World::start(&Scenario::default()).await;
    let mut relay = relay(&world);
    relay.start(&world).await;
    let proxy = Proxy::start(kind, program, world.folder.path(), &relay.url).await;
    let (status, answer) = proxy.send(&padded("largest", LARGEST)).await;
    assert_eq!(status, 202, "{answer}");
    let (status, answer) = proxy.send(&padded("larger", LARGEST + 1)).await;
    assert_eq!(status, 413, "{answer}");
    assert!(answer["error"]["code"].is_string(), "in the relay's own words: {answer}");
}

/// Who has used up their rate stays refused whatever they write into the header, and others are not.
async fn the_relay_knows_the_client(kind: Kind) {
    let Some(program) = kind.program() else { return };
    let world = World::start(&Scenario::default()).await;
    let mut relay = relay(&world);
    relay.start(&world).await;
    let proxy = Proxy::start(kind, program, world.folder.path(), &relay.url).await;
    let [greedy, other] = [2, 3].map(|last| proxy.client_at(last));
    let unsigned = async |client: &Client, claims: Option<&str>| {
        let request = client.post(proxy.url("/github-webhook")).header("content-type", "application/json");
        let request =
            claims.into_iter().fold(request, |request, claim| request.header("x-forwarded-for", claim));
        request.send().await.unwrap().status().as_u16()
    };
    let mut refused = false;
    for _ in 0..1_000 {
        refused = unsigned(&greedy, None).await == 429;
        if refused {
            break;
        }
    }
    assert!(refused, "127.0.0.2 has a rate");
    assert_eq!(unsigned(&other, None).await, 401, "127.0.0.3 is somebody else");
    assert_eq!(unsigned(&greedy, Some("203.0.113.7")).await, 429, "a claim of its own does not count");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journey_goes_through_caddy() {
    a_journey_goes_through(Kind::Caddy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journey_goes_through_nginx() {
    a_journey_goes_through(Kind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_passes_the_largest_body_and_the_relay_refuses_a_larger_one() {
    the_largest_body_passes_and_a_larger_one_is_refused_by_the_relay(Kind::Caddy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_passes_the_largest_body_and_the_relay_refuses_a_larger_one() {
    the_largest_body_passes_and_a_larger_one_is_refused_by_the_relay(Kind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_knows_who_comes_through_caddy() {
    the_relay_knows_the_client(Kind::Caddy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_knows_who_comes_through_nginx() {
    the_relay_knows_the_client(Kind::Nginx).await;
}

#[test]
fn the_caddyfile_is_as_caddy_formats_it() {
    let Some(program) = Kind::Caddy.program() else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/Caddyfile");
    let formatted = run(Command::new(program).arg("fmt").arg(&path));
    assert_eq!(formatted, fs::read_to_string(path).unwrap());
}
