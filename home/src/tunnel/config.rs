//! What the environment and the command line say about the tunnel.

use std::path::PathBuf;

/// Where the tunnel's files are.
#[derive(Debug, Clone, clap::Args)]
pub struct Folders {
    /// Folder of everything that the scripts and the services write
    #[arg(long, env = "DATA_ROOT", value_name = "FOLDER", default_value = "data")]
    pub data_root: PathBuf,
    /// Folder of the tunnel's key, pinned host key and ssh configuration [default: DATA_ROOT/tunnel]
    #[arg(long, env = "TUNNEL_DIR", value_name = "FOLDER")]
    pub tunnel_dir: Option<PathBuf>,
}

/// Where the tunnel ends on this machine; always on loopback.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct LocalPorts {
    /// The claude-endpoint's port on this machine
    #[arg(
        long = "local-claude-port",
        env = "CLAUDE_ENDPOINT_PORT",
        value_name = "PORT",
        default_value_t = 5050
    )]
    pub claude: u16,
    /// The ollama-endpoint's port on this machine
    #[arg(
        long = "local-ollama-port",
        env = "OLLAMA_ENDPOINT_PORT",
        value_name = "PORT",
        default_value_t = 8090
    )]
    pub ollama: u16,
}

/// An administrator's account on the VPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// `ADMIN@HOST` or a `Host` of the person's own ssh configuration.
    pub destination: String,
    /// If not the configured one.
    pub port: Option<u16>,
}

impl Admin {
    /// The account, if it is named here and not in the person's ssh configuration.
    pub fn user(&self) -> Option<&str> {
        self.destination.rsplit_once('@').map(|(user, _)| user)
    }
}

impl std::str::FromStr for Admin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare_ipv6 = text.matches(':').count() > 1;
        let (destination, port) = match text.rsplit_once(':').filter(|_| !bare_ipv6) {
            Some((destination, port)) => (destination, Some(port.parse().map_err(|_| form())?)),
            None => (text, None),
        };
        let odd = |c: char| c.is_whitespace() || c.is_control();
        if destination.is_empty() || destination.starts_with('-') || destination.contains(odd) {
            return Err(form());
        }
        Ok(Self { destination: destination.to_owned(), port })
    }
}

fn form() -> String {
    "give it as ADMIN@HOST or ADMIN@HOST:PORT, an account that is root or may use `sudo -n`".to_owned()
}

/// How the VPS is changed, if that is wanted.
#[derive(Debug, Clone, clap::Args)]
pub struct Apply {
    /// Change the VPS too, over your own ssh: as root, or with `sudo -n`
    #[arg(long, value_name = "ADMIN@HOST[:PORT]")]
    pub apply: Option<Admin>,
    /// An ssh configuration for --apply instead of your own
    #[arg(long, value_name = "FILE", requires = "apply")]
    pub apply_config: Option<PathBuf>,
    /// Do not ask before the VPS is changed
    #[arg(long, requires = "apply")]
    pub yes: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_administrator_is_named_as_ssh_names_accounts() {
        let admin = |text: &str| text.parse::<Admin>().map(|admin| (admin.destination, admin.port));
        assert_eq!(admin("root@vps"), Ok(("root@vps".to_owned(), None)));
        assert_eq!(admin("root@vps:2222"), Ok(("root@vps".to_owned(), Some(2222))));
        assert_eq!(admin("root@2001:db8::1"), Ok(("root@2001:db8::1".to_owned(), None)));
        for wrong in ["", "-oProxyCommand=x", "a b", "root@vps:ssh", "root@vps:99999"] {
            assert_eq!(admin(wrong), Err(form()), "{wrong}");
        }
    }
}
