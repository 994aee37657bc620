//! A real sshd on loopback, with the restrictions that `deploy/` recommends for the VPS, and a real ssh client.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::port::port;

const START_DEADLINE: Duration = Duration::from_secs(60);

/// A running sshd; stopped when dropped.
#[derive(Debug)]
pub struct Sshd {
    port: u16,
    folder: PathBuf,
    child: Child,
}

impl Sshd {
    /// Starts one that lets the client's key open `forwards` (each `127.0.0.1:PORT`) and nothing else.
    ///
    /// # Errors
    /// OpenSSH is not installed, or sshd does not start; the text has its own words.
    pub async fn start(folder: &Path, forwards: &[String]) -> anyhow::Result<Self> {
        let folder = folder.join("ssh");
        fs::create_dir_all(&folder)?;
        keygen(&folder.join("host_key"))?;
        keygen(&folder.join("client_key"))?;
        // Privilege separation wants this folder; a packaged sshd makes it at boot.
        let _ = fs::create_dir_all("/run/sshd");
        let port = port();
        let listens: Vec<String> =
            forwards.iter().map(|forward| format!("permitlisten=\"{forward}\"")).collect();
        let key = fs::read_to_string(folder.join("client_key.pub"))?;
        let restrictions = format!("restrict,port-forwarding,{},command=\"/bin/false\"", listens.join(","));
        fs::write(folder.join("authorized_keys"), format!("{restrictions} {key}"))?;
        let here = folder.display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {here}/host_key\nAuthorizedKeysFile {here}/authorized_keys\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nAllowTcpForwarding remote\n\
             AllowStreamLocalForwarding no\nGatewayPorts no\nPermitTTY no\nX11Forwarding no\nAllowAgentForwarding no\n\
             ClientAliveInterval 5\nClientAliveCountMax 2\n"
        );
        fs::write(folder.join("sshd_config"), config)?;
        let host_key = fs::read_to_string(folder.join("host_key.pub"))?;
        fs::write(folder.join("known_hosts"), format!("[127.0.0.1]:{port} {host_key}"))?;
        let child = spawn(&folder)?;
        let sshd = Self { port, folder, child };
        if !listens_at(port).await {
            bail!("sshd did not start: {}", fs::read_to_string(sshd.folder.join("sshd.log"))?);
        }
        Ok(sshd)
    }

    /// A tunnel from this sshd's `127.0.0.1:remote` to `127.0.0.1:local`, for each pair. It is up a moment later.
    ///
    /// # Errors
    /// ssh cannot be started.
    pub fn tunnel(&self, pairs: &[(u16, u16)]) -> anyhow::Result<Tunnel> {
        let here = self.folder.display();
        let user = String::from_utf8(Command::new("id").arg("-un").output()?.stdout)?;
        let config = format!(
            "Host vps\n HostName 127.0.0.1\n Port {}\n User {}\n IdentityFile {here}/client_key\n IdentitiesOnly yes\n BatchMode yes\n\
             UserKnownHostsFile {here}/known_hosts\n StrictHostKeyChecking yes\n ControlMaster no\n ConnectTimeout 10\n\
             ExitOnForwardFailure yes\n ServerAliveInterval 10\n ServerAliveCountMax 2\n",
            self.port,
            user.trim()
        );
        let path = self.folder.join("ssh_config");
        fs::write(&path, config)?;
        let mut command = Command::new("ssh");
        command.arg("-F").arg(path).arg("-N").stdin(Stdio::null());
        command.stderr(fs::File::create(self.folder.join("ssh.log"))?);
        for (remote, local) in pairs {
            command.args(["-R", &format!("127.0.0.1:{remote}:127.0.0.1:{local}")]);
        }
        Ok(Tunnel(command.arg("vps").spawn().context("ssh cannot be started")?))
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running ssh client; killed when dropped.
#[derive(Debug)]
pub struct Tunnel(Child);

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until somebody listens at a port of loopback; `false` if nobody does in time.
pub async fn listens_at(port: u16) -> bool {
    let deadline = Instant::now() + START_DEADLINE;
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        if Instant::now() > deadline {
            return false;
        }
        sleep(Duration::from_millis(10)).await;
    }
    true
}

fn spawn(folder: &Path) -> anyhow::Result<Child> {
    // sshd insists on being started by its absolute path.
    let program = ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .context("sshd is missing; scripts/test.sh installs openssh-server")?;
    let log = fs::File::create(folder.join("sshd.log"))?;
    let mut command = Command::new(program);
    command.args(["-D", "-e", "-f"]).arg(folder.join("sshd_config")).stdin(Stdio::null()).stderr(log);
    command.spawn().context("sshd cannot be started")
}

fn keygen(path: &Path) -> anyhow::Result<()> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path);
    let output = command.output().context("ssh-keygen is missing; install OpenSSH")?;
    if !output.status.success() {
        bail!("ssh-keygen: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
