//! The VPS's sshd, with exactly what the tunnel's setup says that it has to be given.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use tokio::net::TcpStream;

use crate::{
    crash::child::{PATIENCE, Program, until},
    family::{Census, signal},
    place::{PATH, Place},
    sshd::{fingerprint, keygen},
};

/// See the module. Killed with all of its sessions when dropped.
#[derive(Debug)]
pub(super) struct Sshd {
    folder: PathBuf,
    place: Place,
    port: u16,
    program: Program,
}

impl Sshd {
    /// Running, with nobody's key yet.
    pub(super) async fn start(folder: &Path, place: Place, port: u16) -> anyhow::Result<Self> {
        let folder = folder.join("vps-ssh");
        fs::create_dir(&folder)?;
        keygen(&folder.join("host_key"))?;
        // Privilege separation wants this folder; a packaged sshd makes it at boot.
        let _ = fs::create_dir_all("/run/sshd");
        let mut sshd = Self { program: Program::new(folder.join("sshd.log")), folder, place, port };
        sshd.admit("", "")?;
        sshd.up().await?;
        Ok(sshd)
    }

    /// SHA-256 of its host key, as the VPS's console would show it.
    pub(super) fn fingerprint(&self) -> anyhow::Result<String> {
        fingerprint(&self.folder.join("host_key.pub"))
    }

    /// Writes what an administrator would after the tunnel's setup. It is read at the next start.
    pub(super) fn admit(&self, authorized_keys: &str, policy: &str) -> anyhow::Result<()> {
        let here = self.folder.display();
        // As a distribution has it; what the tunnel's account may do stands in the policy alone.
        let config = format!(
            "Port {}\nListenAddress {}\nHostKey {here}/host_key\nAuthorizedKeysFile {here}/authorized_keys\nPidFile none\n\
             UsePAM no\nPasswordAuthentication no\nStrictModes no\n{policy}\n",
            self.port,
            self.place.listen()
        );
        fs::write(self.folder.join("sshd_config"), config)?;
        Ok(fs::write(self.folder.join("authorized_keys"), authorized_keys)?)
    }

    /// Starts it, and waits until it listens.
    pub(super) async fn up(&mut self) -> anyhow::Result<()> {
        // sshd insists on being started by its absolute path.
        let path = PATH.split(':').map(|folder| Path::new(folder).join("sshd")).find(|path| path.exists());
        let mut command = self.place.command(&path.context("sshd is missing (package openssh-server)")?);
        command.args(["-D", "-e", "-f"]).arg(self.folder.join("sshd_config"));
        self.program.spawn(command)?;
        let (program, at) = (&mut self.program, (self.place.address, self.port));
        let up = until(PATIENCE, async || program.has_ended() || TcpStream::connect(at).await.is_ok()).await;
        ensure!(up && !program.has_ended(), "sshd did not start: {}", program.last_words());
        Ok(())
    }

    /// `kill -9`, its sessions with it.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        let Some(pid) = self.program.id() else { return Ok(()) };
        let family = Census::take()?.family(pid);
        signal("KILL", &family);
        self.program.kill();
        Ok(())
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // Without ps there would have been no start.
        let _ = self.kill();
    }
}
