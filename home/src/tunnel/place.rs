//! The tunnel's files: where they are, and that they are nobody else's.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use super::config::Folders;

/// The tunnel's folder, and those in which the scripts keep pids and logs.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Key, pinned host key and ssh configuration.
    pub(super) folder: PathBuf,
    /// Pids and what else is true only while the tunnel runs.
    pub(super) run: PathBuf,
    log_folder: PathBuf,
    /// Above all of them, unless the tunnel's folder is elsewhere.
    pub(super) data_root: PathBuf,
}

impl Place {
    /// From the settings; relative paths are meant from the working folder.
    ///
    /// # Errors
    /// The path cannot stand in an ssh configuration.
    pub(crate) fn new(folders: &Folders) -> anyhow::Result<Self> {
        let data_root = std::path::absolute(&folders.data_root)?;
        // An empty variable is how people switch a setting off in a file of settings.
        let given = folders.tunnel_dir.as_ref().filter(|path| !path.as_os_str().is_empty());
        let folder = given.map_or_else(|| Ok(data_root.join("tunnel")), std::path::absolute)?;
        let text = folder.to_str().unwrap_or("\n");
        if text.contains(['"', '\\', '\n', '\r']) || text.contains("${") {
            bail!(
                "{} cannot stand in an ssh configuration; set TUNNEL_DIR to a folder without quotes, backslashes and ${{…}} in its name",
                folder.display()
            );
        }
        Ok(Self { run: data_root.join("run"), log_folder: data_root.join("log"), folder, data_root })
    }

    /// The tunnel's private key.
    pub(super) fn key(&self) -> PathBuf {
        self.folder.join("id_ed25519")
    }

    /// Its public half.
    pub(super) fn public_key(&self) -> PathBuf {
        self.folder.join("id_ed25519.pub")
    }

    /// The pinned host key.
    pub(super) fn known_hosts(&self) -> PathBuf {
        self.folder.join("known_hosts")
    }

    /// The configuration that ssh is run with.
    pub(super) fn ssh_config(&self) -> PathBuf {
        self.folder.join("ssh_config")
    }

    /// Is there while both forwards are granted; says since when.
    pub(super) fn connected(&self) -> PathBuf {
        self.run.join("tunnel.connected")
    }

    /// What the tunnel says when it runs in the background.
    pub(super) fn log(&self) -> PathBuf {
        self.log_folder.join("tunnel.log")
    }

    /// Where a new key is kept until it takes the old one's place.
    pub(super) fn next(&self) -> Self {
        Self { folder: self.folder.join("next"), ..self.clone() }
    }

    /// Everything that the tunnel may have written outside of its folder.
    pub(super) fn traces(&self) -> [PathBuf; 7] {
        let run = |name: &str| self.run.join(name);
        let log = |name: &str| self.log_folder.join(name);
        [
            self.connected(),
            run("tunnel.pid"),
            run("tunnel-ssh.pid"),
            run("tunnel.sock"),
            self.log(),
            log("tunnel.log.1"),
            log("tunnel.launchd.log"),
        ]
    }

    /// Makes the folders that are missing, for their owner alone.
    ///
    /// # Errors
    /// One cannot be made.
    pub(super) fn make(&self) -> anyhow::Result<()> {
        for folder in [&self.folder, &self.run, &self.log_folder] {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        Ok(())
    }

    /// Removes key, pinned host key and configuration, and their folder unless somebody keeps something else in it.
    ///
    /// # Errors
    /// One is there and cannot be removed.
    pub(super) fn remove_files(&self) -> anyhow::Result<()> {
        let known_hosts_before = self.folder.join("known_hosts.old");
        let own = [self.key(), self.public_key(), self.ssh_config(), self.known_hosts(), known_hosts_before];
        for file in &own {
            remove(file)?;
        }
        let _ = fs::remove_dir(&self.folder);
        Ok(())
    }

    /// Removes everything; what somebody else keeps in one of the folders stays, and the folder with it.
    ///
    /// # Errors
    /// A file is there and cannot be removed.
    pub(super) fn remove_all(&self) -> anyhow::Result<()> {
        self.next().remove_files()?;
        self.remove_files()?;
        for file in &self.traces() {
            remove(file)?;
        }
        for folder in [&self.run, &self.log_folder] {
            let _ = fs::remove_dir(folder);
        }
        Ok(())
    }

    /// Refuses a folder or key that others can read, change or have put there.
    ///
    /// # Errors
    /// One is unsafe; the text has the command that mends it.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        private(&self.folder, 0o077, "go-rwx")?;
        private(&self.key(), 0o077, "go-rwx")?;
        for file in [self.known_hosts(), self.ssh_config(), self.public_key()] {
            private(&file, 0o022, "go-w")?;
        }
        Ok(())
    }
}

/// A file that does not exist is private.
fn private(path: &Path, forbidden: u32, mend: &str) -> anyhow::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot look at {}", path.display())),
    };
    let shown = path.display();
    if metadata.is_symlink() {
        bail!("{shown} is a symbolic link; put the real file there, or set TUNNEL_DIR to the real folder");
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        bail!("{shown} belongs to another account; run this as the account that set the tunnel up");
    }
    if metadata.mode() & forbidden != 0 {
        bail!("{shown} is open to other accounts of this machine; run: chmod {mend} '{shown}'");
    }
    Ok(())
}

/// Writes a file of the owner's alone, whole or not at all.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    let write = || -> io::Result<()> {
        let _ = fs::remove_file(&new);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        fs::rename(&new, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Removes a file; whether there was one.
///
/// # Errors
/// It is there and cannot be removed.
pub(super) fn remove(path: &Path) -> anyhow::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn place(root: &Path) -> Place {
        let place =
            Place::new(&Folders { data_root: root.to_owned(), tunnel_dir: Some(PathBuf::new()) }).unwrap();
        place.make().unwrap();
        place
    }

    #[test]
    fn files_are_the_owners_alone_and_others_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let place = place(root.path());
        write_private(&place.key(), "a key").unwrap();
        place.check().unwrap();
        for (path, mode, mend) in
            [(place.key(), 0o640, "chmod go-rwx"), (place.folder.clone(), 0o755, "chmod go-rwx")]
        {
            let before = fs::metadata(&path).unwrap().permissions();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refused = place.check().unwrap_err().to_string();
            assert!(refused.contains(mend) && refused.contains(path.to_str().unwrap()), "{refused}");
            fs::set_permissions(&path, before).unwrap();
        }
        write_private(&place.ssh_config(), "Host x").unwrap();
        fs::set_permissions(place.ssh_config(), fs::Permissions::from_mode(0o666)).unwrap();
        assert!(place.check().unwrap_err().to_string().contains("chmod go-w"));
    }

    #[test]
    fn a_link_to_somewhere_else_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let place = place(root.path());
        std::os::unix::fs::symlink("/etc/hostname", place.key()).unwrap();
        assert!(place.check().unwrap_err().to_string().contains("symbolic link"));
    }

    #[test]
    fn a_folder_that_ssh_would_read_otherwise_is_refused() {
        for name in ["a\"b", "a\\b", "a${HOME}"] {
            let folders =
                Folders { data_root: "data".into(), tunnel_dir: Some(PathBuf::from("/tmp").join(name)) };
            assert!(Place::new(&folders).unwrap_err().to_string().contains("TUNNEL_DIR"), "{name}");
        }
    }
}
