//! A VPS to set up: an sshd in namespaces of its own, in which `/etc`, `/home`, `/root` and `/run` are copies, so that accounts
//! and configurations are really made and this machine keeps its own; and no process is another's of the same user id.
//! Linux, as root.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use anyhow::{Context, bail};

use crate::{
    port::port,
    sshd::{ADDRESS, answers, keygen, program},
};

/// A running one; everything in it is gone when dropped.
#[derive(Debug)]
pub struct Vps {
    /// Where its sshd listens.
    pub port: u16,
    folder: PathBuf,
    child: Child,
}

/// `unshare` with these; what runs inside ends with it.
const OWN: [&str; 6] = ["--mount", "--propagation", "private", "--pid", "--kill-child", "--mount-proc"];

/// Runs inside of the namespaces.
const START: &str = r#"set -e
mount -t tmpfs vps "$1/root"
cd "$1/root"
cp -a /etc etc
mkdir -m 755 home run run/sshd
mkdir -m 700 root root/.ssh
cp "$1/admin.pub" root/.ssh/authorized_keys
for folder in etc home root run; do mount --bind "$folder" "/$folder"; done
rm -f /etc/ssh/sshd_config.d/*
ssh-keygen -A >/dev/null
exec "$2" -D -e -p "$3" -o ListenAddress="$4" -o UsePAM=no -o PermitRootLogin=prohibit-password"#;

impl Vps {
    /// Whether this machine can have one; if not, why.
    pub fn possible() -> Result<(), String> {
        let tried = Command::new("unshare").args(OWN).args(["mount", "-t", "tmpfs", "try", "/mnt"]).output();
        match tried {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("unshare: {error}")),
        }
    }

    /// Starts one whose administrator is root with a key of ours.
    ///
    /// # Errors
    /// It does not start; the text has sshd's words.
    pub async fn start(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join("vps");
        fs::create_dir_all(folder.join("root"))?;
        keygen(&folder.join("admin"))?;
        let port = port();
        let log = fs::File::create(folder.join("sshd.log"))?;
        let mut command = Command::new("unshare");
        command.args(OWN).args(["sh", "-c", START, "vps"]);
        command.arg(&folder).arg(program()?).arg(port.to_string()).arg(ADDRESS);
        let child = command.stdin(Stdio::null()).stderr(log).spawn().context("unshare cannot be started")?;
        let vps = Self { port, folder, child };
        if !answers(ADDRESS.parse()?, port).await {
            bail!("the VPS did not start: {}", fs::read_to_string(vps.folder.join("sshd.log"))?);
        }
        Ok(vps)
    }

    /// An ssh configuration of the administrator's.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn admin_config(&self) -> anyhow::Result<PathBuf> {
        let path = self.folder.join("admin_config");
        let text = format!(
            "IdentityFile {}/admin\nIdentitiesOnly yes\nBatchMode yes\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n",
            self.folder.display()
        );
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Runs a shell's command there as root.
    ///
    /// # Errors
    /// ssh cannot be started.
    pub fn run(&self, command: &str) -> anyhow::Result<Output> {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(self.admin_config()?).args(["-p", &self.port.to_string(), &self.admin()]);
        Ok(ssh.arg(command).stdin(Stdio::null()).output()?)
    }

    /// The administrator, as ssh names an account.
    pub fn admin(&self) -> String {
        format!("root@{ADDRESS}")
    }

    /// The fingerprint of a host key, as its console would show it.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn fingerprint(&self) -> anyhow::Result<String> {
        let shown = self.run("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub")?;
        let text = String::from_utf8(shown.stdout)?;
        Ok(text.split_whitespace().nth(1).context("the VPS has no host key")?.to_owned())
    }
}

impl Drop for Vps {
    fn drop(&mut self) {
        // The namespaces and their mounts go with the last process.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
