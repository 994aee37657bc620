//! What an engine of our own needs of the machine.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const INSTALL: &str = "on Debian and Ubuntu `apt-get install docker.io docker-compose` brings it";

/// Programs that work.
#[derive(Debug)]
pub(super) struct Tools {
    pub(super) dockerd: PathBuf,
    /// A client that builds with BuildKit.
    pub(super) docker: PathBuf,
    /// `docker-compose`, where that is a program of its own; `None`: it is a word of the client's.
    pub(super) compose: Option<PathBuf>,
    pub(super) path: std::ffi::OsString,
}

impl Tools {
    /// Looks for them on the `PATH`.
    ///
    /// # Errors
    /// One is missing or cannot be used; the text says what to do.
    pub(super) fn find(path: &OsStr) -> Result<Self, String> {
        if !cfg!(target_os = "linux") {
            return Err("only Linux runs containers without a virtual machine".to_owned());
        }
        let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
        if !is_root {
            return Err("starting dockerd needs root; try sudo".to_owned());
        }
        let dockerd = programs(path, "dockerd").next().ok_or(format!("dockerd is missing; {INSTALL}"))?;
        let docker = programs(path, "docker")
            .find(|docker| works(Command::new(docker).args(["build", "--help"]).env("DOCKER_BUILDKIT", "1")))
            .ok_or(format!(
                "no docker client that builds with BuildKit; {INSTALL} (newer ones: docker-buildx)"
            ))?;
        let compose = if works(Command::new(&docker).args(["compose", "version"])) {
            None
        } else {
            let alone =
                programs(path, "docker-compose").find(|found| works(Command::new(found).arg("version")));
            Some(alone.ok_or(format!("docker compose is missing; {INSTALL}"))?)
        };
        Ok(Self { dockerd, docker, compose, path: path.to_owned() })
    }
}

/// Every program of this name on the path.
fn programs<'a>(path: &'a OsStr, name: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
    env::split_paths(path).map(move |folder| folder.join(name)).filter(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn works(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
