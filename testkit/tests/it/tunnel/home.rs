//! `ai-relay-home tunnel` as a person runs it.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use rustix::pty;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::{binaries::binary, until};

/// A machine at home: its files, and the tunnel if it runs.
pub(super) struct Home {
    pub data: PathBuf,
    running: Option<Child>,
}

impl Home {
    pub(super) fn new(folder: &Path) -> Self {
        let data = folder.join("home");
        fs::create_dir_all(&data).unwrap();
        Self { data, running: None }
    }

    pub(super) fn tunnel_dir(&self) -> PathBuf {
        self.data.join("tunnel")
    }

    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binary("ai-relay-home"));
        command.arg("tunnel").args(words).env("DATA_ROOT", &self.data).env_remove("TUNNEL_DIR");
        // What is installed on this machine is none of its business.
        command.env("HOME", &self.data);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a verb to its end.
    pub(super) async fn tunnel(&self, words: &[&str]) -> Output {
        let mut command = self.command(words);
        tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
    }

    /// Runs a verb with somebody at its terminal, who says this and is gone.
    pub(super) async fn at_terminal(&self, words: &[&str], said: &str) -> Output {
        let master = pty::openpt(pty::OpenptFlags::RDWR | pty::OpenptFlags::NOCTTY).unwrap();
        pty::grantpt(&master).unwrap();
        pty::unlockpt(&master).unwrap();
        let name = pty::ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let terminal = fs::File::options().read(true).write(true).open(name).unwrap();
        let mut master = fs::File::from(master);
        let mut command = self.command(words);
        command.stdin(terminal);
        // A terminal hands out one line at a time; Ctrl-D is its end.
        master.write_all(format!("{said}\u{4}").as_bytes()).unwrap();
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        drop(master);
        output
    }

    /// Runs a verb that must go well; what it printed.
    pub(super) async fn done(&self, words: &[&str]) -> String {
        let output = self.tunnel(words).await;
        assert!(output.status.success(), "{words:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts the supervisor.
    pub(super) fn run(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.data.join("run.log")).unwrap();
        let mut command = self.command(&["run"]);
        self.running = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.data.join("run.log")).unwrap_or_default()
    }

    /// Waits until the supervisor has said something so many times.
    pub(super) async fn says(&self, words: &str, times: usize) {
        let said = until(async || self.log().matches(words).count() >= times).await;
        assert!(said, "{words:?} was not said {times} times:\n{}", self.log());
    }

    pub(super) fn pid(&self) -> u32 {
        self.running.as_ref().unwrap().id()
    }

    /// The ssh that the supervisor runs.
    pub(super) fn ssh(&self) -> u32 {
        let text = fs::read_to_string(self.data.join("run/tunnel-ssh.pid")).unwrap();
        text.lines().next().unwrap().parse().unwrap()
    }

    /// Waits for the supervisor's end; whether it was a good one.
    pub(super) async fn ended(&mut self) -> bool {
        let mut child = self.running.take().unwrap();
        tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap().success()
    }

    /// What there still is of the tunnel.
    pub(super) fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = vec![self.data.clone()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path.clone());
                }
                found.push(path.strip_prefix(&self.data).unwrap().display().to_string());
            }
        }
        found.sort();
        found
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            let ssh = fs::read_to_string(self.data.join("run/tunnel-ssh.pid")).unwrap_or_default();
            let _ = child.kill();
            let _ = child.wait();
            if let Some(pid) = ssh.lines().next() {
                signal(pid.parse().unwrap(), "KILL");
            }
        }
    }
}

pub(super) fn signal(pid: u32, signal: &str) {
    let _ = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status();
}

pub(super) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A service of this machine that says its name.
pub(super) struct Named {
    pub port: u16,
    serving: tokio::task::JoinHandle<()>,
}

impl Named {
    pub(super) async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(name.as_bytes()).await;
            }
        });
        Self { port, serving }
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Who answers at a port of the VPS's loopback; nothing if nobody does.
pub(super) async fn who(port: u16) -> String {
    let mut name = String::new();
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await {
        let _ = stream.read_to_string(&mut name).await;
    }
    name
}
