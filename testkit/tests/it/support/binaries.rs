//! The three services as the real binaries, to be killed.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

pub use testkit::port::port;

use super::{Site, World, until};

/// A real binary, running; killed when dropped.
pub struct Process {
    name: &'static str,
    flags: Vec<String>,
    /// All of its environment.
    pub environment: Vec<(String, String)>,
    log: PathBuf,
    pub url: String,
    /// In KiB: a disk that is full at some time.
    pub largest_file: Option<u32>,
    child: Option<Child>,
}

/// Where cargo put a binary of this workspace.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join(name);
    assert!(path.exists(), "{} is missing; `cargo build --workspace --bins` builds it", path.display());
    path
}

impl Process {
    /// A process that is not started yet, with a port of its own.
    pub fn new(world: &World, name: &'static str, flags: Vec<String>) -> Self {
        Self::on(world, name, flags, port())
    }

    /// The same on a given port.
    pub fn on(world: &World, name: &'static str, mut flags: Vec<String>, port: u16) -> Self {
        flags.extend(["--port".to_owned(), port.to_string()]);
        let log = world.folder.path().join(format!("{name}.log"));
        let url = format!("http://127.0.0.1:{port}");
        Self { name, flags, environment: Vec::new(), log, url, largest_file: None, child: None }
    }

    /// Starts it and waits until it answers.
    pub async fn start(&mut self, world: &World) {
        self.spawn();
        self.up(world).await;
    }

    /// Starts it.
    pub fn spawn(&mut self) {
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = match self.largest_file {
            None => Command::new(binary(self.name)),
            Some(kibibytes) => {
                // Ignoring the signal, which the program inherits, makes the write fail as on a full disk.
                let limited = format!("trap '' XFSZ; ulimit -S -f {}; exec \"$0\" \"$@\"", kibibytes * 2);
                let mut command = Command::new("/bin/sh");
                command.arg("-c").arg(limited).arg(binary(self.name));
                command
            }
        };
        command.args(&self.flags).env_clear().envs(self.environment.clone());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// Waits until it answers.
    pub async fn up(&self, world: &World) {
        let url = format!("{}/livez", self.url);
        let up = until(async || world.http.get(&url).send().await.is_ok_and(|answer| answer.status() == 200))
            .await;
        assert!(up, "{} did not start:\n{}", self.name, self.log());
    }

    /// Gives it a secret by a file instead of a flag, from its next start on.
    pub fn replace_secret(&mut self, name: &str, file: &str) {
        let flag = format!("--{}", name.to_lowercase().replace('_', "-"));
        if let Some(at) = self.flags.iter().position(|known| *known == flag) {
            self.flags.drain(at..at + 2);
        }
        self.flags.extend([format!("{flag}-file"), file.to_owned()]);
    }

    /// Sets a variable of its environment, from its next start on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops it as its supervisor would, and waits until it has ended.
    pub fn stop(&mut self) {
        self.signal("TERM");
        if let Some(mut child) = self.child.take() {
            let ended = child.wait().unwrap();
            assert!(ended.success(), "{} ended with {ended}:\n{}", self.name, self.log());
        }
    }

    /// Lifts the limit on its files: the disk has room again.
    #[cfg(target_os = "linux")]
    pub fn make_room(&self) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(
            Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status().unwrap().success()
        );
    }

    /// Sends a signal by name, such as `STOP`.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// All three binaries, in a world.
pub struct Binaries {
    pub claude: Process,
    pub ollama: Process,
    pub relay: Process,
}

impl Binaries {
    /// Not started yet; the relay reaches the endpoints directly.
    pub fn new(world: &World) -> Self {
        let ollama = Process::new(world, "ollama-endpoint", world.ollama_flags());
        let claude = Process::new(world, "claude-endpoint", world.claude_flags(&ollama.url));
        let relay = Process::new(world, "relay", world.relay_flags(&claude.url, &ollama.url));
        Self { claude, ollama, relay }
    }

    /// Starts all three.
    pub async fn start(&mut self, world: &World) {
        self.ollama.start(world).await;
        self.claude.start(world).await;
        self.relay.start(world).await;
    }

    /// One of them by name.
    pub fn get(&mut self, name: &str) -> &mut Process {
        match name {
            "relay" => &mut self.relay,
            "claude-endpoint" => &mut self.claude,
            _ => &mut self.ollama,
        }
    }

    /// What a test asks of them.
    pub fn site(&self, world: &World) -> Site {
        Site { relay: self.relay.url.clone(), memory: self.ollama.url.clone(), http: world.http.clone() }
    }

    /// All logs, for a failed test and for a look at what must not be in them.
    pub fn logs(&self) -> String {
        [&self.relay, &self.claude, &self.ollama]
            .map(|one| format!("== {}\n{}", one.name, one.log()))
            .join("\n")
    }
}
