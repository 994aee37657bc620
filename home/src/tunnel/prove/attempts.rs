//! The escapes that are tried.

use std::{net::IpAddr, path::Path};

use super::judge::{self, COMMAND, Evidence, Verdict};
use crate::tunnel::settings::Settings;

/// One escape.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    /// What it would give.
    pub(super) name: String,
    /// Before the destination.
    pub(super) options: Vec<String>,
    /// Behind it.
    pub(super) command: Option<&'static str>,
    /// What the VPS is sent.
    pub(super) input: &'static [u8],
    /// Variables of ssh.
    pub(super) environment: Vec<(&'static str, String)>,
    /// When ssh has said enough; without it, ssh ends by itself.
    pub(super) decided: fn(&str) -> bool,
    /// What it came to.
    pub(super) judge: fn(&Evidence) -> Verdict,
}

impl Attempt {
    pub(super) fn new(name: impl Into<String>, options: &[&str], judge: fn(&Evidence) -> Verdict) -> Self {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Self {
            name: name.into(),
            options,
            command: None,
            input: b"",
            environment: Vec::new(),
            decided: |_| false,
            judge,
        }
    }

    fn command(self, command: &'static str) -> Self {
        Self { command: Some(command), ..self }
    }

    fn input(self, input: &'static [u8]) -> Self {
        Self { input, ..self }
    }

    pub(super) fn decided(self, decided: fn(&str) -> bool) -> Self {
        Self { decided, ..self }
    }

    /// As one would type it.
    pub(super) fn tried(&self) -> String {
        let mut words = vec!["ssh".to_owned()];
        words.extend(self.options.iter().cloned());
        words.push("VPS".to_owned());
        words.extend(self.command.map(|command| {
            if command.contains(' ') { format!("\"{command}\"") } else { command.to_owned() }
        }));
        words.join(" ")
    }
}

const INIT: &[u8] = b"\0\0\0\x05\x01\0\0\0\x03";

/// What needs a session on the VPS. `agent` is a running agent's socket.
pub(super) fn sessions(agent: &Path) -> Vec<Attempt> {
    let shell = b"sh -c 'echo ai-relay-$((6*7))-proof'\nexit\n";
    let forward = format!("ForwardAgent={}", agent.display());
    let identity = format!("IdentityAgent={}", agent.display());
    let mut x11 = Attempt::new("X11 forwarding", &["-Y"], judge::x11).command("true");
    x11.environment.push(("DISPLAY", "localhost:99".to_owned()));
    x11.decided = |said| said.contains("X11 forwarding request accepted");
    vec![
        Attempt::new("run a command", &[], judge::command).command(COMMAND),
        Attempt::new("open a shell", &["-T"], judge::command).input(shell),
        Attempt::new("get a terminal", &["-tt"], judge::terminal)
            .decided(|said| said.contains("PTY allocation request")),
        Attempt::new("read and write files by sftp", &["-s"], judge::sftp).command("sftp").input(INIT),
        Attempt::new("agent forwarding", &["-o", &forward, "-o", &identity], judge::agent).command(COMMAND),
        x11,
    ]
}

/// Places that the VPS could reach for us: its own sshd, the relay and its metrics, the cloud's metadata, itself from
/// outside.
pub(super) fn passages(settings: &Settings) -> Vec<Attempt> {
    let host = bracketed(&settings.host);
    let places = [
        (format!("127.0.0.1:{}", settings.port), "its own sshd"),
        ("127.0.0.1:4200".to_owned(), "the relay"),
        ("127.0.0.1:9420".to_owned(), "the relay's metrics"),
        (format!("127.0.0.1:{}", settings.forwards[0].remote), "our own port"),
        ("169.254.169.254:80".to_owned(), "the cloud's metadata"),
        (format!("{host}:443"), "the network"),
    ];
    let to = |(place, what): (String, &str)| {
        Attempt::new(format!("reach {what} (-L to {place})"), &["-W", &place], judge::passage)
            .decided(|said| said.contains("open confirm"))
    };
    let none = &["-o", "PreferredAuthentications=none", "-o", "PubkeyAuthentication=no"];
    let mut all: Vec<_> = places.map(to).into();
    all.push(
        Attempt::new("a network device (-w)", &["-N", "-w", "any:any"], judge::tun)
            .decided(|said| said.contains("open confirm") || said.contains("open failed")),
    );
    all.push(Attempt::new("log in without the key", none, judge::password).command("true"));
    all
}

/// Where else than on its own loopback ports the tunnel might listen. `socket` is a path on the VPS that nobody has.
pub(super) fn listens(settings: &Settings, address: Option<IpAddr>, socket: &str) -> Vec<Attempt> {
    let port = settings.forwards[0].remote;
    let other = if settings.forwards.iter().any(|forward| forward.remote == 4200) { 4300 } else { 4200 };
    let mut places = vec![
        (format!("0.0.0.0:{port}"), "every address"),
        (format!("*:{port}"), "every address"),
        (format!("[::]:{port}"), "every address"),
        (port.to_string(), "no address given"),
        (format!("[::1]:{port}"), "IPv6's loopback"),
    ];
    if let Some(address) = address {
        places.push((format!("{}:{port}", bracketed(&address.to_string())), "its address on the network"));
    }
    places.extend([
        (format!("127.0.0.1:{other}"), "another port"),
        ("127.0.0.1:80".to_owned(), "a port of root's"),
        ("127.0.0.1:0".to_owned(), "any port"),
    ]);
    let listen = |name: String, listen: &str| {
        let forward = format!("{listen}:127.0.0.1:9");
        Attempt::new(name, &["-N", "-R", &forward], judge::listen)
            .decided(|said| said.contains("remote forward "))
    };
    let mut all: Vec<_> =
        places.iter().map(|(place, what)| listen(format!("listen: {what} (-R {place})"), place)).collect();
    all.push(listen("listen: a socket file (-R)".to_owned(), socket));
    all
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}
