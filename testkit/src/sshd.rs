//! A real sshd on loopback, which restricts the tunnel's account by the texts of `deploy/`, and a real ssh client.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use home::tunnel::{Forward, Settings, policy};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::{
    family::{Census, signal},
    port::port,
};

const START_DEADLINE: Duration = Duration::from_secs(60);

/// Where the sshd listens. Linux has all of 127.0.0.0/8, so that a port which is meant for 127.0.0.1 alone can be told
/// from one that is open to every address.
pub const ADDRESS: &str = if cfg!(target_os = "linux") { "127.0.0.2" } else { "127.0.0.1" };

/// An sshd before it starts: its texts may still be changed, to weaker ones.
#[derive(Debug)]
pub struct Plan {
    folder: PathBuf,
    settings: Settings,
    /// The line for the tunnel's key.
    pub authorized_key: String,
    /// The tunnel's key without any option.
    pub bare_key: String,
    /// The end of `sshd_config`: the account's `Match` block.
    pub block: String,
    /// The rest of `sshd_config`, beside what makes it run here.
    pub general: String,
}

/// A running sshd; stopped when dropped.
#[derive(Debug)]
pub struct Sshd {
    folder: PathBuf,
    settings: Settings,
    child: Option<Child>,
}

impl Plan {
    /// Keys and texts for one that lets the client's key listen on these ports of 127.0.0.1 and nothing else.
    ///
    /// # Errors
    /// OpenSSH is not installed.
    pub fn new(folder: &Path, ports: &[u16]) -> anyhow::Result<Self> {
        let folder = folder.join("ssh");
        fs::create_dir_all(&folder)?;
        keygen(&folder.join("host_key"))?;
        keygen(&folder.join("id_ed25519"))?;
        let user = String::from_utf8(Command::new("id").arg("-un").output()?.stdout)?.trim().to_owned();
        let forwards = ports.iter().map(|&remote| Forward { remote, local: 0 }).collect();
        let settings = Settings { host: ADDRESS.to_owned(), user, port: port(), forwards };
        let bare_key = fs::read_to_string(folder.join("id_ed25519.pub"))?;
        Ok(Self {
            authorized_key: policy::authorized_key(&settings, &bare_key),
            bare_key,
            block: policy::sshd(&settings),
            general: "PasswordAuthentication no\nKbdInteractiveAuthentication no\n".to_owned(),
            folder,
            settings,
        })
    }

    /// Starts it.
    ///
    /// # Errors
    /// sshd is not installed, or does not start; the text has its own words.
    pub async fn start(self) -> anyhow::Result<Sshd> {
        // Privilege separation wants this folder; a packaged sshd makes it at boot.
        let _ = fs::create_dir_all("/run/sshd");
        let Self { folder, settings, authorized_key, block, general, .. } = self;
        fs::write(folder.join("authorized_keys"), authorized_key)?;
        let here = folder.display();
        let config = format!(
            "Port {}\nListenAddress {ADDRESS}\nHostKey {here}/host_key\nAuthorizedKeysFile {here}/authorized_keys\nPidFile none\n\
             StrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n{general}\n{block}",
            settings.port
        );
        fs::write(folder.join("sshd_config"), config)?;
        let host_key = fs::read_to_string(folder.join("host_key.pub"))?;
        fs::write(folder.join("known_hosts"), format!("[{ADDRESS}]:{} {host_key}", settings.port))?;
        let mut sshd = Sshd { folder, settings, child: None };
        sshd.run().await?;
        Ok(sshd)
    }
}

impl Sshd {
    /// Starts one that lets the client's key open `forwards` (each `127.0.0.1:PORT`) and nothing else.
    ///
    /// # Errors
    /// OpenSSH is not installed, or sshd does not start; the text has its own words.
    pub async fn start(folder: &Path, forwards: &[String]) -> anyhow::Result<Self> {
        let port = |forward: &String| {
            let port = forward.strip_prefix("127.0.0.1:").context("forwards are to 127.0.0.1")?;
            anyhow::Ok(port.parse()?)
        };
        let ports = forwards.iter().map(port).collect::<anyhow::Result<Vec<u16>>>()?;
        Plan::new(folder, &ports)?.start().await
    }

    /// Starts it again after [`stop`](Self::stop), as it was.
    ///
    /// # Errors
    /// It does not start; the text has its own words.
    pub async fn run(&mut self) -> anyhow::Result<()> {
        self.child = Some(spawn(&self.folder)?);
        if !answers(ADDRESS.parse()?, self.settings.port).await {
            bail!("sshd did not start: {}", fs::read_to_string(self.folder.join("sshd.log"))?);
        }
        Ok(())
    }

    /// Ends it, and every connection that it has.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if let Ok(census) = Census::take() {
            signal("KILL", &census.family(child.id()));
        }
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Makes `folder` a tunnel's, as `setup-tunnel.sh setup` would, that leads to these ports of this machine.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn set_up(&self, folder: &Path, locals: &[u16]) -> anyhow::Result<Settings> {
        let mut settings = self.settings.clone();
        for (forward, local) in settings.forwards.iter_mut().zip(locals) {
            forward.local = *local;
        }
        let mut private = Command::new("install");
        if !private.args(["-d", "-m", "700"]).arg(folder).status()?.success() {
            bail!("{} cannot be made", folder.display());
        }
        for name in ["id_ed25519", "id_ed25519.pub", "known_hosts"] {
            fs::copy(self.folder.join(name), folder.join(name))?;
        }
        fs::write(folder.join("ssh_config"), settings.ssh_config(folder))?;
        Ok(settings)
    }

    /// Where it listens, at [`ADDRESS`].
    pub fn port(&self) -> u16 {
        self.settings.port
    }

    /// Its host key's fingerprint, as its console would show it.
    ///
    /// # Errors
    /// OpenSSH is not installed.
    pub fn fingerprint(&self) -> anyhow::Result<String> {
        fingerprint(&self.folder.join("host_key.pub"))
    }

    /// A tunnel from this sshd's `127.0.0.1:remote` to `127.0.0.1:local`, for each pair. It is up a moment later.
    ///
    /// # Errors
    /// ssh cannot be started.
    pub fn tunnel(&self, pairs: &[(u16, u16)]) -> anyhow::Result<Tunnel> {
        let forwards = pairs.iter().map(|&(remote, local)| Forward { remote, local }).collect();
        let settings = Settings { forwards, ..self.settings.clone() };
        let path = self.folder.join("ssh_config");
        fs::write(&path, settings.ssh_config(&self.folder))?;
        let mut command = Command::new("ssh");
        command.arg("-F").arg(path).args(["-N", home::tunnel::settings::DESTINATION]).stdin(Stdio::null());
        command.stderr(fs::File::create(self.folder.join("ssh.log"))?);
        Ok(Tunnel(command.spawn().context("ssh cannot be started")?))
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// SHA-256 of a public key, as `ssh-keygen -l` shows it.
///
/// # Errors
/// OpenSSH is not installed, or there is no such key.
pub(crate) fn fingerprint(key: &Path) -> anyhow::Result<String> {
    let shown = Command::new("ssh-keygen").arg("-lf").arg(key).output()?;
    let text = String::from_utf8(shown.stdout)?;
    Ok(text.split_whitespace().nth(1).context("ssh-keygen shows no fingerprint")?.to_owned())
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
    answers(IpAddr::from([127, 0, 0, 1]), port).await
}

/// The same at any address.
pub async fn answers(address: IpAddr, port: u16) -> bool {
    let deadline = Instant::now() + START_DEADLINE;
    while TcpStream::connect((address, port)).await.is_err() {
        if Instant::now() > deadline {
            return false;
        }
        sleep(Duration::from_millis(10)).await;
    }
    true
}

/// sshd insists on being started by its absolute path.
///
/// # Errors
/// It is not installed.
pub fn program() -> anyhow::Result<&'static str> {
    ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .context("sshd is missing; scripts/test.sh installs openssh-server")
}

fn spawn(folder: &Path) -> anyhow::Result<Child> {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("sshd.log"))?;
    let mut command = Command::new(program()?);
    command.args(["-D", "-e", "-f"]).arg(folder.join("sshd_config")).stdin(Stdio::null()).stderr(log);
    command.spawn().context("sshd cannot be started")
}

/// Makes a key.
///
/// # Errors
/// OpenSSH is not installed.
pub fn keygen(path: &Path) -> anyhow::Result<()> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path);
    let output = command.output().context("ssh-keygen is missing; install OpenSSH")?;
    if !output.status.success() {
        bail!("ssh-keygen: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
