//! A real systemd of a user without rights, on a machine that need not run systemd itself: in a mount namespace and a control
//! group of its own. For root on Linux.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, bail};

const SYSTEMD: &str = "/usr/lib/systemd/systemd";
/// `nobody`, who owns nothing.
const UID: u32 = 65_534;

/// Becomes the user's systemd. The first argument is its home, the second a folder that appears as `HOME/bin`, the third the
/// control group's name.
const BEGIN: &str = r#"
set -e
home=$1 programs=$2 group=$3 uid=$4
for tree in /sys/fs/cgroup/unified /sys/fs/cgroup/systemd /sys/fs/cgroup; do
    [ -e "$tree/cgroup.procs" ] || continue
    mkdir "$tree/$group"
    chown -R "$uid" "$tree/$group"
    echo $$ >"$tree/$group/cgroup.procs"
done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/system "/run/user/$uid" "$home/bin"
chown "$uid" "/run/user/$uid"
chmod 700 "/run/user/$uid"
mount --bind "$programs" "$home/bin"
exec setpriv --reuid "$uid" --regid "$uid" --clear-groups \
    env -i PATH=/usr/bin:/bin HOME="$home" USER=nobody XDG_RUNTIME_DIR="/run/user/$uid" "$SYSTEMD" --user
"#;

/// A user's systemd, running; ended with all that it started when dropped.
#[derive(Debug)]
pub struct UserManager {
    child: Child,
    group: String,
    home: PathBuf,
}

impl UserManager {
    /// Why none can run here, if that is so.
    pub fn missing() -> Option<&'static str> {
        let is_root = fs::metadata("/proc/self").is_ok_and(|ours| ours.uid() == 0);
        if !Path::new(SYSTEMD).exists() {
            Some("there is no systemd here")
        } else if !is_root {
            Some("a systemd of its own needs root")
        } else {
            None
        }
    }

    /// Starts one whose home is `folder`, with `programs` as `HOME/bin`. It can be asked a moment later.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(folder: &Path, programs: &Path) -> anyhow::Result<Self> {
        let home = folder.join("home");
        fs::create_dir_all(&home)?;
        fs::create_dir_all(home.join("bin"))?;
        for path in [folder, &home] {
            own(path)?;
        }
        let group = format!("ai-relay-test-{}-{}", std::process::id(), uuid::Uuid::new_v4());
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", BEGIN, "sh"]).arg(&home).arg(programs);
        command.args([&group, &UID.to_string()]).env("SYSTEMD", SYSTEMD);
        let log = fs::File::create(folder.join("systemd.log"))?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        Ok(Self { child: child.context("cannot run unshare; it comes with util-linux")?, group, home })
    }

    /// The user's home.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// A command of that user, as a login at the machine would run it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.child.id()));
        command.args(["setpriv", "--reuid", &UID.to_string(), "--regid", &UID.to_string(), "--clear-groups"]);
        command.args(["env", "-i", "PATH=/usr/bin:/bin", "USER=nobody"]);
        command.arg(format!("XDG_RUNTIME_DIR=/run/user/{UID}")).arg(format!("HOME={}", self.home.display()));
        command.arg(program).stdin(Stdio::null());
        command
    }

    /// Runs such a command to its end, which must be a good one; what it printed.
    ///
    /// # Errors
    /// It fails; the text has its words.
    pub fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let done = self.command(program).args(arguments).output()?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&done.stdout), text(&done.stderr));
        if !done.status.success() {
            bail!("{program} {arguments:?} ended with {}:\n{out}\n{err}", done.status);
        }
        Ok(out)
    }

    /// Writes a file of the user's own, which others cannot open.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
            fs::create_dir_all(folder)?;
            own(folder)?;
        }
        fs::write(path, text)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        own(path)
    }
}

fn own(path: &Path) -> anyhow::Result<()> {
    Ok(chown(path, Some(UID), Some(UID))?)
}

impl Drop for UserManager {
    fn drop(&mut self) {
        // Everything that the services started is in the group, whoever its parent is by now.
        let trees = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup"];
        let groups =
            || trees.iter().map(|tree| Path::new(tree).join(&self.group)).filter(|group| group.exists());
        for group in groups() {
            let _ = fs::write(group.join("cgroup.kill"), "1");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        for group in groups() {
            remove(&group);
        }
    }
}

/// A control group goes from the inside out, as soon as the kernel has let go of its last process.
fn remove(group: &Path) {
    for _ in 0..1000 {
        for inner in fs::read_dir(group).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if inner.is_dir() {
                remove(&inner);
            }
        }
        if fs::remove_dir(group).is_ok() || !group.exists() {
            return;
        }
        std::thread::yield_now();
    }
}
