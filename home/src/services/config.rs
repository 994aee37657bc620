//! Where things are on this machine: flags and the environment go first, then the file with the settings.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;

use super::{env_file, text};
use crate::tunnel::{self, config::Folders};

/// Ports of the endpoints, as the tunnel forwards them.
const CLAUDE_ENDPOINT_PORT: u16 = 5050;
const OLLAMA_ENDPOINT_PORT: u16 = 8090;

/// Where things are.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// Folder that relative paths of the settings are meant from [default: the present one]
    #[arg(long, value_name = "FOLDER")]
    root: Option<PathBuf>,
    /// File with the settings and secrets, its owner's alone [default: ROOT/.env]
    #[arg(long, env = "ENV_FILE", value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Folder of everything that is written [default: ROOT/data]
    #[arg(long, env = "DATA_ROOT", value_name = "FOLDER")]
    data_root: Option<PathBuf>,
    /// Folder of the tunnel's key and configuration [default: DATA_ROOT/tunnel]
    #[arg(long, env = "TUNNEL_DIR", value_name = "FOLDER")]
    tunnel_dir: Option<PathBuf>,
    /// Port of the claude-endpoint [default: 5050]
    #[arg(long, env = "CLAUDE_ENDPOINT_PORT", value_name = "PORT")]
    claude_endpoint_port: Option<String>,
    /// Port of the ollama-endpoint [default: 8090]
    #[arg(long, env = "OLLAMA_ENDPOINT_PORT", value_name = "PORT")]
    ollama_endpoint_port: Option<String>,
    #[arg(long, env = "HOME", hide = true)]
    home: Option<PathBuf>,
    #[arg(long, env = "PATH", hide = true)]
    path: Option<OsString>,
    #[arg(long, env = "USER", hide = true)]
    user: Option<String>,
}

/// Where things are, with the settings file read.
#[derive(Clone)]
pub(super) struct Settings {
    /// Folder that relative paths are meant from.
    pub(super) root: PathBuf,
    pub(super) env_file: PathBuf,
    pub(super) home: PathBuf,
    pub(super) user: String,
    /// Where programs are looked for.
    pub(super) path: OsString,
    /// Folder of our programs.
    pub(super) programs: PathBuf,
    pub(super) data_root: PathBuf,
    pub(super) tunnel_dir: PathBuf,
    pub(super) claude_endpoint_port: u16,
    pub(super) ollama_endpoint_port: u16,
    /// What did not come from the file, and a service therefore has to be told.
    pub(super) given: Vec<(String, String)>,
    /// The file's settings; secrets among them.
    pub(super) file: BTreeMap<String, String>,
}

impl Place {
    /// Reads the settings file and puts everything together.
    ///
    /// # Errors
    /// The file is missing, readable by others or malformed, or a setting is.
    pub(super) fn settings(&self) -> anyhow::Result<Settings> {
        let (root, env_file) = (self.root()?, self.env_file()?);
        let file = env_file::read(&env_file)?;
        let program = std::env::current_exe().context("this program's own path cannot be found")?;
        let mut found = Found { root: &root, file: &file, given: Vec::new() };
        let data_root = found.folder("DATA_ROOT", self.data_root.as_deref())?.unwrap_or(root.join("data"));
        let tunnel_dir =
            found.folder("TUNNEL_DIR", self.tunnel_dir.as_deref())?.unwrap_or(data_root.join("tunnel"));
        let claude =
            found.port("CLAUDE_ENDPOINT_PORT", self.claude_endpoint_port.as_deref(), CLAUDE_ENDPOINT_PORT)?;
        let ollama =
            found.port("OLLAMA_ENDPOINT_PORT", self.ollama_endpoint_port.as_deref(), OLLAMA_ENDPOINT_PORT)?;
        Ok(Settings {
            given: found.given,
            home: self.home.clone().filter(|home| home.is_absolute()).context("HOME is not set")?,
            user: match self.user.clone().filter(|user| !user.is_empty()) {
                Some(user) => user,
                None => super::manager::account()?,
            },
            path: self.path.clone().unwrap_or_default(),
            programs: program.parent().unwrap_or(&root).to_owned(),
            claude_endpoint_port: claude,
            ollama_endpoint_port: ollama,
            root,
            env_file,
            data_root,
            tunnel_dir,
            file,
        })
    }

    fn root(&self) -> anyhow::Result<PathBuf> {
        let here = std::env::current_dir().context("the present folder cannot be found")?;
        Ok(here.join(self.root.as_deref().unwrap_or(Path::new(""))))
    }

    /// The file with the settings, whether it is there or not.
    pub(super) fn env_file(&self) -> anyhow::Result<PathBuf> {
        Ok(self.root()?.join(given_path(self.env_file.as_deref()).unwrap_or(Path::new(".env"))))
    }
}

impl Settings {
    /// The tunnel's files.
    ///
    /// # Errors
    /// Their path cannot stand in an ssh configuration.
    pub(super) fn tunnel(&self) -> anyhow::Result<tunnel::place::Place> {
        let (data_root, tunnel_dir) = (self.data_root.clone(), Some(self.tunnel_dir.clone()));
        tunnel::place::Place::new(&Folders { data_root, tunnel_dir })
    }
}

impl std::fmt::Debug for Settings {
    /// Without the file, which holds secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("root", &self.root)
            .field("env_file", &self.env_file)
            .finish_non_exhaustive()
    }
}

/// Looks settings up in their order.
struct Found<'a> {
    root: &'a Path,
    file: &'a BTreeMap<String, String>,
    given: Vec<(String, String)>,
}

impl Found<'_> {
    fn folder(&mut self, name: &str, given: Option<&Path>) -> anyhow::Result<Option<PathBuf>> {
        if let Some(given) = given_path(given) {
            let folder = self.root.join(given);
            self.given.push((name.to_owned(), text::path(&folder)?.to_owned()));
            return Ok(Some(folder));
        }
        Ok(self.file.get(name).filter(|value| !value.is_empty()).map(|value| self.root.join(value)))
    }

    fn port(&mut self, name: &str, given: Option<&str>, default: u16) -> anyhow::Result<u16> {
        let given = given.filter(|port| !port.is_empty());
        let Some(port) = given.or(self.file.get(name).map(String::as_str)).filter(|port| !port.is_empty())
        else {
            return Ok(default);
        };
        if given.is_some() {
            self.given.push((name.to_owned(), port.to_owned()));
        }
        match port.parse() {
            Ok(0) | Err(_) => bail!("{name} must be a port from 1 to 65535, not '{port}'"),
            Ok(port) => Ok(port),
        }
    }
}

/// An empty variable counts as unset, as with every setting.
fn given_path(path: Option<&Path>) -> Option<&Path> {
    path.filter(|path| !path.as_os_str().is_empty())
}

/// Whether the environment has a variable, and so goes before the file; an empty one does, too, as in the scripts.
#[expect(
    clippy::disallowed_methods,
    reason = "the names are those of the settings file, which only the services know"
)]
pub(super) fn is_given(name: &str) -> bool {
    std::env::var_os(name).is_some()
}
