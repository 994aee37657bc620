//! A real sshd on loopback, with the restrictions that `deploy/` recommends for the VPS, and a real ssh client.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::{binaries::port, until};

/// A running sshd; stopped when dropped.
pub struct Sshd {
    pub port: u16,
    folder: PathBuf,
    child: Option<Child>,
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn keygen(path: &Path) {
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path));
}

impl Sshd {
    /// Starts one that lets the client's key open `forwards` (each `127.0.0.1:PORT`) and nothing else.
    pub async fn start(folder: &Path, forwards: &[String]) -> Self {
        let folder = folder.join("ssh");
        fs::create_dir_all(&folder).unwrap();
        keygen(&folder.join("host_key"));
        keygen(&folder.join("client_key"));
        // Privilege separation wants this folder; a packaged sshd makes it at boot.
        let _ = fs::create_dir_all("/run/sshd");
        let port = port();
        let listens: Vec<String> =
            forwards.iter().map(|forward| format!("permitlisten=\"{forward}\"")).collect();
        let key = fs::read_to_string(folder.join("client_key.pub")).unwrap();
        let restrictions = format!("restrict,port-forwarding,{},command=\"/bin/false\"", listens.join(","));
        fs::write(folder.join("authorized_keys"), format!("{restrictions} {key}")).unwrap();
        let here = folder.display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {here}/host_key\nAuthorizedKeysFile {here}/authorized_keys\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nAllowTcpForwarding remote\n\
             AllowStreamLocalForwarding no\nGatewayPorts no\nPermitTTY no\nX11Forwarding no\nAllowAgentForwarding no\n\
             ClientAliveInterval 5\nClientAliveCountMax 2\n"
        );
        fs::write(folder.join("sshd_config"), config).unwrap();
        let host_key = fs::read_to_string(folder.join("host_key.pub")).unwrap();
        fs::write(folder.join("known_hosts"), format!("[127.0.0.1]:{port} {host_key}")).unwrap();
        let mut sshd = Self { port, folder, child: None };
        sshd.spawn();
        let up = until(async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
        assert!(
            up,
            "sshd did not start: {}",
            fs::read_to_string(sshd.folder.join("sshd.log")).unwrap_or_default()
        );
        sshd
    }

    fn spawn(&mut self) {
        // sshd insists on being started by its absolute path.
        let program = ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        let program =
            program.unwrap_or_else(|| panic!("sshd is missing; scripts/test.sh installs openssh-server"));
        let log = fs::File::create(self.folder.join("sshd.log")).unwrap();
        let mut command = Command::new(program);
        command
            .args(["-D", "-e", "-f"])
            .arg(self.folder.join("sshd_config"))
            .stdin(Stdio::null())
            .stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// A tunnel from this sshd's `127.0.0.1:remote` to `127.0.0.1:local`, for each pair.
    pub fn tunnel(&self, pairs: &[(u16, u16)]) -> Tunnel {
        let here = self.folder.display();
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        let config = format!(
            "Host vps\n HostName 127.0.0.1\n Port {}\n User {}\n IdentityFile {here}/client_key\n IdentitiesOnly yes\n BatchMode yes\n\
             UserKnownHostsFile {here}/known_hosts\n StrictHostKeyChecking yes\n ControlMaster no\n ConnectTimeout 10\n\
             ExitOnForwardFailure yes\n ServerAliveInterval 10\n ServerAliveCountMax 2\n",
            self.port,
            user.trim()
        );
        let path = self.folder.join("ssh_config");
        fs::write(&path, config).unwrap();
        let mut command = Command::new("ssh");
        command.arg("-F").arg(path).arg("-N").stdin(Stdio::null());
        command.stderr(fs::File::create(self.folder.join("ssh.log")).unwrap());
        for (remote, local) in pairs {
            command.args(["-R", &format!("127.0.0.1:{remote}:127.0.0.1:{local}")]);
        }
        Tunnel(command.arg("vps").spawn().unwrap())
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A running ssh client; killed when dropped.
pub struct Tunnel(Child);

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
