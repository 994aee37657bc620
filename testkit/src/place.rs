//! Where a program runs, and how it is reached from here.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::Command,
};

/// Where the system's own programs are, `ip` and `sshd` among them.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// This machine's own network, or a network namespace on it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Where this process finds what listens there.
    pub(crate) address: IpAddr,
    /// The namespace's name, if it is one.
    pub(crate) namespace: Option<String>,
}

impl Default for Place {
    fn default() -> Self {
        Self { address: Ipv4Addr::LOCALHOST.into(), namespace: None }
    }
}

impl Place {
    /// A command that runs `program` there, with nothing of this process's environment.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = match &self.namespace {
            None => Command::new(program),
            Some(name) => {
                let mut command = Command::new("ip");
                // It becomes the program: the process id is the program's own.
                command.args(["netns", "exec", name]).arg(program);
                command
            }
        };
        command.env_clear().env("PATH", PATH);
        command
    }

    /// The address that a service there has to listen at, so that this process and its neighbours reach it.
    pub(crate) fn listen(&self) -> &'static str {
        if self.namespace.is_some() { "0.0.0.0" } else { "127.0.0.1" }
    }

    /// The URL of a port there, as this process sees it.
    pub(crate) fn url(&self, port: u16) -> String {
        format!("http://{}:{port}", self.address)
    }
}
